//! The set of values that a test of a row may have: certain, or anything where the text does not tell.

/// A set out of true, false and NULL; never empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outcomes(u8);

impl Outcomes {
    /// Certainly true.
    pub const TRUE: Self = Self(1);
    /// Certainly false.
    pub const FALSE: Self = Self(2);
    /// Certainly NULL.
    pub const NULL: Self = Self(4);
    /// True or false.
    pub const NOT_NULL: Self = Self(3);
    /// Nothing is known.
    pub const ANY: Self = Self(7);

    /// A truth that is known.
    pub fn certain(truth: bool) -> Self {
        if truth { Self::TRUE } else { Self::FALSE }
    }

    /// May it be true?
    pub fn may_be_true(self) -> bool {
        self.0 & 1 != 0
    }

    /// May it be false?
    pub fn may_be_false(self) -> bool {
        self.0 & 2 != 0
    }
}
