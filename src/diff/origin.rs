//! Why a row is staged, as staging writes it down. Pure.

use smallvec::SmallVec;

/// Numbers of entries: few.
pub type Numbers = SmallVec<[u16; 8]>;

/// How a reference led to a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Followed {
    /// Down, from a parent that was taken.
    Cascade,
    /// Up, from a child that needs it.
    Parent,
}

/// Why a row is staged; a row without a reason was put there by the operator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin<'a> {
    /// Numbers of the entries whose `misrouted_to` had a row of its key in the backup.
    pub twins: Numbers,
    /// Numbers of the recipe's entries that select it, from 0.
    pub entries: Numbers,
    /// The reference that led to it, beside or instead of an entry.
    pub followed: Option<Followed>,
    /// Name of that foreign key; empty without one.
    pub foreign_key: &'a str,
}

impl<'a> Origin<'a> {
    /// Reads `twin 0` before all else, `predicate 0,2`, `cascade <foreign key>`, `parent <foreign key>`, or the first and one of the others.
    pub fn parse(text: &'a str) -> Self {
        let mut found =
            Self { twins: Numbers::new(), entries: Numbers::new(), followed: None, foreign_key: "" };
        let numbers = |list: &str| list.split(',').filter_map(|number| number.parse().ok()).collect();
        let mut rest = text;
        if let Some(twins) = rest.strip_prefix("twin ") {
            let (list, follows) = twins.split_once(' ').unwrap_or((twins, ""));
            found.twins = numbers(list);
            rest = follows;
        }
        if let Some(entries) = rest.strip_prefix("predicate ") {
            let (list, follows) = entries.split_once(' ').unwrap_or((entries, ""));
            found.entries = numbers(list);
            rest = follows;
        }
        for (word, followed) in [("cascade ", Followed::Cascade), ("parent ", Followed::Parent)] {
            if let Some(name) = rest.strip_prefix(word) {
                found.followed = Some(followed);
                found.foreign_key = name;
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_are_read_as_extract_writes_them() {
        let origin = |entries: &[u16], followed, foreign_key| Origin {
            twins: Numbers::new(),
            entries: entries.into(),
            followed,
            foreign_key,
        };
        let cases = [
            ("predicate 0", origin(&[0], None, "")),
            ("predicate 0,12", origin(&[0, 12], None, "")),
            ("cascade a b", origin(&[], Some(Followed::Cascade), "a b")),
            ("parent predicate 1", origin(&[], Some(Followed::Parent), "predicate 1")),
            ("predicate 3 cascade parent x", origin(&[3], Some(Followed::Cascade), "parent x")),
            ("", origin(&[], None, "")),
            ("typed by hand", origin(&[], None, "")),
            (
                "twin 0,3 predicate 3 cascade x",
                Origin { twins: Numbers::from_slice(&[0, 3]), ..origin(&[3], Some(Followed::Cascade), "x") },
            ),
        ];
        for (text, wanted) in cases {
            assert_eq!(Origin::parse(text), wanted, "{text}");
        }
    }
}
