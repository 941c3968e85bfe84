//! Which columns of two rows with the same key differ, where the same value may be printed in two ways: by an older
//! server, for a column whose type has changed since, under other settings.

use std::collections::BTreeSet;

use crate::catalog::Column;
use crate::value::BaseType;
use crate::value::copy_text::is_null;

/// How texts of a column's values are held against each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Spelling {
    /// Equal values have equal texts.
    Fixed,
    /// Zeros at the end of the fraction do not count.
    Decimal,
    /// Older servers print more digits than it takes.
    Float4,
    /// The same for double precision.
    Float8,
    /// Printed in UTC, equal values have equal texts; otherwise a server tells.
    Moment,
    /// Only a server can tell.
    Server,
}

/// One column that is compared.
#[derive(Debug, Clone)]
pub(super) struct Compared {
    spelling: Spelling,
    /// What the server is asked to read the backup's text as.
    pub(super) cast: String,
}

impl Compared {
    pub(super) fn of(column: &Column) -> Self {
        let spelling = match column.base_type {
            BaseType::Numeric { .. } | BaseType::UnboundedNumeric => Spelling::Decimal,
            BaseType::Float4 => Spelling::Float4,
            BaseType::Float8 => Spelling::Float8,
            BaseType::TimestampTz => Spelling::Moment,
            BaseType::Other if !column.is_enum => Spelling::Server,
            _ => Spelling::Fixed,
        };
        Self { spelling, cast: without_lengths(&column.type_name) }
    }
}

/// A cast to `varchar(3)` or `bit(3)[]` would cut values off and make different ones equal.
fn without_lengths(type_name: &str) -> String {
    if type_name.contains('"') {
        return type_name.to_owned();
    }
    let mut name = String::with_capacity(type_name.len());
    let mut depth = 0;
    for letter in type_name.chars() {
        match letter {
            '(' => depth += 1,
            ')' => depth -= 1,
            _ if depth == 0 => name.push(letter),
            _ => {}
        }
    }
    let array = name.find('[').map_or(String::new(), |at| name.split_off(at));
    let base = match name.as_str() {
        "character" => "bpchar",
        "bit" => "varbit",
        other => other,
    };
    format!("{base}{array}")
}

/// Positions that differ for sure, and positions that only a server can decide.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Differences {
    pub(super) sure: BTreeSet<usize>,
    pub(super) open: BTreeSet<usize>,
}

impl Differences {
    /// Of raw fields, in the order of `columns`.
    pub(super) fn between(columns: &[Compared], backup: &[&[u8]], live: &[&[u8]]) -> Self {
        let mut found = Self::default();
        for (at, column) in columns.iter().enumerate() {
            let (one, other) = (backup.get(at).copied(), live.get(at).copied());
            let (Some(one), Some(other)) = (one, other) else {
                found.sure.insert(at);
                continue;
            };
            if one == other {
                continue;
            }
            if column.is_open(one, other) {
                found.open.insert(at);
            } else if !column.same(one, other) {
                found.sure.insert(at);
            }
        }
        found
    }
}

impl Compared {
    /// Can only a server tell whether these two texts are of one value?
    fn is_open(&self, one: &[u8], other: &[u8]) -> bool {
        !is_null(one)
            && !is_null(other)
            && match self.spelling {
                Spelling::Server => true,
                Spelling::Moment => !one.ends_with(b"+00"),
                _ => false,
            }
    }

    fn same(&self, one: &[u8], other: &[u8]) -> bool {
        if is_null(one) || is_null(other) {
            return false;
        }
        let bits4 = |field: &[u8]| number::<f32>(field).map(f32::to_bits);
        let bits8 = |field: &[u8]| number::<f64>(field).map(f64::to_bits);
        match self.spelling {
            Spelling::Fixed | Spelling::Server | Spelling::Moment => false,
            Spelling::Decimal => without_zeros(one) == without_zeros(other),
            Spelling::Float4 => bits4(one).is_some() && bits4(one) == bits4(other),
            Spelling::Float8 => bits8(one).is_some() && bits8(one) == bits8(other),
        }
    }
}

fn number<F: std::str::FromStr>(field: &[u8]) -> Option<F> {
    std::str::from_utf8(field).ok()?.parse().ok()
}

fn without_zeros(field: &[u8]) -> &[u8] {
    if !field.contains(&b'.') {
        return field;
    }
    let kept = field.iter().rposition(|&byte| byte != b'0').map_or(0, |at| at + 1);
    field[..kept].strip_suffix(b".").unwrap_or(&field[..kept])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn same(spelling: Spelling, one: &str, other: &str) -> bool {
        let column = Compared { spelling, cast: String::new() };
        let found = Differences::between(&[column], &[one.as_bytes()], &[other.as_bytes()]);
        found == Differences::default()
    }

    #[test]
    fn numbers_are_the_same_in_any_spelling_and_no_other_is() {
        for (one, other) in [("1.10", "1.1"), ("1.0", "1"), ("0.00", "0"), ("-7.500", "-7.5")] {
            assert!(same(Spelling::Decimal, one, other) && same(Spelling::Decimal, other, one));
            assert!(!same(Spelling::Fixed, one, other));
        }
        for (one, other) in [("1.10", "1.11"), ("10", "1"), ("100", "1.00"), ("\\N", "0"), ("NaN", "0")] {
            assert!(!same(Spelling::Decimal, one, other), "{one} {other}");
        }
        assert!(same(Spelling::Float8, "0.10000000000000001", "0.1"));
        assert!(!same(Spelling::Float8, "0.10000000000000002", "0.1"));
        assert!(same(Spelling::Float4, "0.100000001", "0.1"));
        assert!(!same(Spelling::Float8, "-0", "0"));
    }

    #[test]
    fn only_a_server_decides_about_arrays_but_null_is_null() {
        let column = || Compared { spelling: Spelling::Server, cast: String::new() };
        let open = Differences::between(&[column()], &[b"{1}"], &[b"{2}"]);
        assert_eq!((open.sure.len(), open.open.len()), (0, 1));
        let sure = Differences::between(&[column()], &[b"{1}"], &[b"\\N"]);
        assert_eq!((sure.sure.len(), sure.open.len()), (1, 0));
    }

    #[test]
    fn casts_never_cut() {
        for (name, cast) in [
            ("character varying(3)[]", "character varying[]"),
            ("bit(3)", "varbit"),
            ("character(5)[]", "bpchar[]"),
            ("timestamp(3) with time zone", "timestamp with time zone"),
            ("app.\"odd(3)\"", "app.\"odd(3)\""),
            ("numeric(10,2)[]", "numeric[]"),
        ] {
            assert_eq!(without_lengths(name), cast);
        }
    }
}
