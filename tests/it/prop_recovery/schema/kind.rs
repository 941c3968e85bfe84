//! Types of columns and their values.

use crate::prop_recovery::dice::Dice;

/// A type of column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Int,
    Big,
    Text,
    Uuid,
    Numeric,
    Stamp,
    Date,
    Bool,
    Json,
    Ints,
    Bytes,
    Double,
    Mood,
}

pub(super) const PAYLOAD: [Kind; 13] = [
    Kind::Int,
    Kind::Big,
    Kind::Text,
    Kind::Uuid,
    Kind::Numeric,
    Kind::Stamp,
    Kind::Date,
    Kind::Bool,
    Kind::Json,
    Kind::Ints,
    Kind::Bytes,
    Kind::Double,
    Kind::Mood,
];

const TEXTS: [&str; 10] =
    ["", "NULL", "\\N", "it's", "a\tb", "line\nbreak", "back\\slash", "Zoë 日本", "\"quoted\"", " blank "];

impl Kind {
    pub(super) fn sql(self) -> &'static str {
        match self {
            Self::Int => "int",
            Self::Big => "bigint",
            Self::Text => "text",
            Self::Uuid => "uuid",
            Self::Numeric => "numeric",
            Self::Stamp => "timestamptz",
            Self::Date => "date",
            Self::Bool => "bool",
            Self::Json => "jsonb",
            Self::Ints => "int[]",
            Self::Bytes => "bytea",
            Self::Double => "double precision",
            Self::Mood => "mood",
        }
    }

    /// Any value.
    pub fn any(self, dice: &mut Dice) -> String {
        match self {
            Self::Int => (dice.below(2000)).to_string(),
            Self::Big => format!("{}", 9_000_000_000_u64 + dice.below(50) as u64),
            Self::Text if dice.chance(50) => (*dice.pick(&TEXTS)).to_owned(),
            Self::Text => format!("text {}", dice.below(40)),
            Self::Uuid => uuid(dice.below(1_000_000)),
            Self::Numeric => {
                (*dice.pick(&["0.10", "-1e30", "NaN", "12345678901234567890.5", "7"])).to_owned()
            }
            Self::Stamp => {
                (*dice.pick(&["2026-01-01 00:00+00", "infinity", "0044-03-15 12:00:00+00 BC"])).to_owned()
            }
            Self::Date => format!("2026-0{}-1{}", dice.between(1, 9), dice.below(9)),
            Self::Bool => (*dice.pick(&["t", "f"])).to_owned(),
            Self::Json => format!("{{\"a\": {}, \"b\": [null, \"x\\ny\"]}}", dice.below(9)),
            Self::Ints => (*dice.pick(&["{}", "{1,NULL,3}", "[2:3]={7,8}"])).to_owned(),
            Self::Bytes => format!("\\x00ff{:02x}", dice.below(256)),
            Self::Double => (*dice.pick(&["0.1", "-0", "NaN", "1e300", "-Infinity"])).to_owned(),
            Self::Mood => (*dice.pick(&["good", "bad", "so, so"])).to_owned(),
        }
    }

    /// The value of this number: another number, another value. Only for types of keys.
    pub fn numbered(self, number: usize) -> String {
        match self {
            Self::Text => format!("{} #{number}", TEXTS[number % TEXTS.len()]),
            Self::Uuid => uuid(number),
            Self::Big => (10_000_000_000 + number as u64).to_string(),
            _ => number.to_string(),
        }
    }
}

fn uuid(number: usize) -> String {
    format!("a0eebc99-9c0b-4ef8-bb6d-{number:012}")
}
