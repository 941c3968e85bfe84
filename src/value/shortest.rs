//! The shortest digits of a floating-point number, as PostgreSQL chooses them (Ryu in d2s.c and f2s.c).
//!
//! Rust's shortest digits differ from PostgreSQL's in two cases, which are settled here: PostgreSQL never takes digits
//! that lie exactly between two numbers, and of two texts equally near it takes the one with the even last digit.

use std::fmt::LowerExp;
use std::io::Write;
use std::str::FromStr;

/// What differs between the two widths.
pub(super) trait Binary: Copy + LowerExp + FromStr + PartialEq {
    /// Exponents from here on are printed in scientific notation.
    const FIXED_BELOW: i32;
    /// Digits that always read back to the same number.
    const MOST_DIGITS: usize;
    /// Bits of the significand that are stored.
    const STORED_BITS: u32;
    /// What the stored exponent is too large by, the significand taken as an integer.
    const BIAS: i32;

    /// The exponent of the largest finite number.
    const MOST_EXPONENT: i32;

    /// The stored bits without the sign.
    fn magnitude_bits(self) -> u64;

    /// Is it neither infinite nor NaN?
    fn finite(self) -> bool {
        self.parts().exponent <= Self::MOST_EXPONENT
    }

    /// The number without its sign is significand × 2^exponent.
    fn parts(self) -> Parts {
        let bits = self.magnitude_bits();
        let stored = bits & ((1 << Self::STORED_BITS) - 1);
        let exponent = i32::try_from(bits >> Self::STORED_BITS).unwrap_or_default();
        let normal = exponent > 0;
        Parts {
            significand: stored | (u64::from(normal) << Self::STORED_BITS),
            exponent: exponent.max(1) - Self::BIAS,
            nearer_below: stored == 0 && exponent > 1,
        }
    }
}

impl Binary for f32 {
    const FIXED_BELOW: i32 = 6;
    const MOST_DIGITS: usize = 9;
    const STORED_BITS: u32 = 23;
    const BIAS: i32 = 150;
    const MOST_EXPONENT: i32 = 104;

    fn magnitude_bits(self) -> u64 {
        u64::from(self.abs().to_bits())
    }
}

impl Binary for f64 {
    const FIXED_BELOW: i32 = 15;
    const MOST_DIGITS: usize = 17;
    const STORED_BITS: u32 = 52;
    const BIAS: i32 = 1075;
    const MOST_EXPONENT: i32 = 971;

    fn magnitude_bits(self) -> u64 {
        self.abs().to_bits()
    }
}

/// A number as an integer times a power of two.
#[derive(Clone, Copy)]
pub(super) struct Parts {
    significand: u64,
    exponent: i32,
    /// The next smaller number is only half as far away as the next larger one.
    nearer_below: bool,
}

impl Parts {
    /// Is digits × 10^scale exactly half way to a neighbour, and read back as this number all the same?
    fn is_edge(self, digits: u64, scale: i32) -> bool {
        let Self { significand, exponent, nearer_below } = self;
        if significand == 0 || significand % 2 == 1 {
            return false;
        }
        let below = if nearer_below {
            (4 * significand - 1, exponent - 2)
        } else {
            (2 * significand - 1, exponent - 1)
        };
        equal(digits, scale, 2 * significand + 1, exponent - 1) || equal(digits, scale, below.0, below.1)
    }

    /// Is the number exactly digits × 10^scale?
    fn is(self, digits: u64, scale: i32) -> bool {
        equal(digits, scale, self.significand, self.exponent)
    }
}

/// digits × 10^scale = significand × 2^exponent, all above zero? Compares the powers of two, then the odd factors.
fn equal(digits: u64, scale: i32, significand: u64, exponent: i32) -> bool {
    let (twos, other_twos) = (digits.trailing_zeros(), significand.trailing_zeros());
    if digits == 0 || significand == 0 || twos.cast_signed() + scale != other_twos.cast_signed() + exponent {
        return false;
    }
    let (odd, other_odd) = (u128::from(digits >> twos), u128::from(significand >> other_twos));
    let Some(fives) = 5_u128.checked_pow(scale.unsigned_abs()) else { return false };
    if scale >= 0 {
        odd.checked_mul(fives) == Some(other_odd)
    } else {
        other_odd.checked_mul(fives) == Some(odd)
    }
}

/// Sign, digits and the decimal exponent of the first digit.
pub(super) struct Digits {
    pub(super) negative: bool,
    letters: [u8; 20],
    count: usize,
    pub(super) exponent: i32,
}

impl Digits {
    /// From Rust's scientific notation, `[-]d[.ddd]e[-]x`.
    fn of(scientific: &[u8]) -> Self {
        let mut found = Self { negative: false, letters: [b'0'; 20], count: 0, exponent: 0 };
        let (mut in_exponent, mut below) = (false, false);
        for &byte in scientific {
            match byte {
                b'-' if in_exponent => below = true,
                b'-' => found.negative = true,
                b'e' => in_exponent = true,
                b'0'..=b'9' if in_exponent => found.exponent = found.exponent * 10 + i32::from(byte - b'0'),
                b'0'..=b'9' if found.count < found.letters.len() => {
                    found.letters[found.count] = byte;
                    found.count += 1;
                }
                _ => {}
            }
        }
        if below {
            found.exponent = -found.exponent;
        }
        found.count = found.count.max(1);
        found
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.letters[..self.count]
    }

    /// The digits as an integer, and the power of ten that it is to be multiplied with.
    fn scaled(&self) -> (u64, i32) {
        let value = self.bytes().iter().fold(0, |value: u64, digit| value * 10 + u64::from(digit - b'0'));
        (value, self.exponent + 1 - i32::try_from(self.count).unwrap_or_default())
    }
}

/// The digits that PostgreSQL prints.
pub(super) fn settled<T: Binary>(value: T) -> Digits {
    let mut digits = Digits::of(Text::formatted(format_args!("{value:e}")).bytes());
    let (parts, (integer, scale)) = (value.parts(), digits.scaled());
    if parts.is_edge(integer, scale) {
        return longer(value, digits);
    }
    // Rust went up from half way; PostgreSQL goes to the even digit. No carry: an odd digit is at least 1.
    if integer % 2 == 1 && digits.count < 18 && parts.is(integer * 10 - 5, scale - 1) {
        let up = digits.letters[digits.count - 1];
        digits.letters[digits.count - 1] = up - 1;
        if parts.nearer_below && !reads_back(&digits, value) {
            digits.letters[digits.count - 1] = up;
        }
    }
    digits
}

/// Are the digits read as the number again?
fn reads_back<T: Binary>(digits: &Digits, value: T) -> bool {
    let (sign, (integer, scale)) = (if digits.negative { "-" } else { "" }, digits.scaled());
    let text = Text::formatted(format_args!("{sign}{integer}e{scale}"));
    std::str::from_utf8(text.bytes()).ok().and_then(|text| text.parse().ok()) == Some(value)
}

/// The shortest digits beyond those found that read back and lie in no middle.
fn longer<T: Binary>(value: T, found: Digits) -> Digits {
    for count in found.count + 1..=T::MOST_DIGITS {
        let text = Text::formatted(format_args!("{value:.precision$e}", precision = count - 1));
        let digits = Digits::of(text.bytes());
        let (integer, scale) = digits.scaled();
        if reads_back(&digits, value) && !value.parts().is_edge(integer, scale) {
            return digits;
        }
    }
    found
}

/// At most 40 bytes of text, on the stack.
pub(super) struct Text {
    buffer: [u8; 40],
    length: usize,
}

impl Text {
    pub(super) const fn empty() -> Self {
        Self { buffer: [0; 40], length: 0 }
    }

    /// What is to be written must fit; anything longer is left out.
    fn formatted(what: std::fmt::Arguments<'_>) -> Self {
        let mut text = Self::empty();
        let mut free = &mut text.buffer[..];
        text.length = if free.write_fmt(what).is_ok() { 40 - free.len() } else { 0 };
        text
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.buffer[..self.length]
    }

    pub(super) fn push(&mut self, bytes: &[u8]) {
        if let Some(place) = self.buffer.get_mut(self.length..self.length + bytes.len()) {
            place.copy_from_slice(bytes);
            self.length += bytes.len();
        }
    }
}
