//! Why a row is staged, as staging writes it down. Pure.

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
    /// Numbers of the recipe's entries that select it, from 0.
    pub entries: Vec<u16>,
    /// The reference that led to it, beside or instead of an entry.
    pub followed: Option<Followed>,
    /// Name of that foreign key; empty without one.
    pub foreign_key: &'a str,
}

impl<'a> Origin<'a> {
    /// Reads `predicate 0,2`, `cascade <foreign key>`, `parent <foreign key>`, or the first and one of the others.
    pub fn parse(text: &'a str) -> Self {
        let mut found = Self { entries: Vec::new(), followed: None, foreign_key: "" };
        let mut rest = text;
        if let Some(entries) = rest.strip_prefix("predicate ") {
            let (numbers, follows) = entries.split_once(' ').unwrap_or((entries, ""));
            found.entries = numbers.split(',').filter_map(|number| number.parse().ok()).collect();
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
            entries: entries.to_vec(),
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
        ];
        for (text, wanted) in cases {
            assert_eq!(Origin::parse(text), wanted, "{text}");
        }
    }
}
