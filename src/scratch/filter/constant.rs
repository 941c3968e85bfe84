//! A column against constants, decided on the raw field: which types and operators can be, and how. Anything else has no
//! [`Test`], and its clause is left to PostgreSQL.

use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::sync::Arc;

use super::moment::{self, Moment, Shape};
use super::orders::{Labels, Orders};
use super::outcomes::Outcomes;
use super::{Encoding, decimal};
use crate::catalog::{Column, Table};
use crate::ident::Ident;
use crate::sql::condition::{ColumnTest, Comparison, Literal, Question};
use crate::value::BaseType;
use crate::value::copy_text::{is_null, push_escaped, push_unescaped};

/// Gives a clause its meaning in one table.
#[derive(Debug, Clone, Copy)]
pub struct Meaning<'a> {
    pub(super) table: &'a Table,
    pub(super) encoding: Encoding,
    pub(super) orders: &'a Orders,
}

/// What is asked of a field.
#[derive(Debug, PartialEq, Eq)]
pub enum Test {
    IsNull,
    /// The column's truth.
    IsTrue,
    Compare(Comparison, Constant),
    /// Equal to one of these; all of one sort.
    Among(BTreeSet<Constant>),
    /// Begins with `prefix`, escaped as in the dump. `exact`: that decides it, else what follows may still say no.
    Like {
        prefix: Vec<u8>,
        exact: bool,
    },
}

/// A constant in the form in which fields are compared with it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Constant {
    Whole(i64),
    Truth(bool),
    /// Escaped as in the dump; compared for equality only.
    Text(Vec<u8>),
    /// A text as it is, whose order is that of its bytes.
    Bytes(Vec<u8>),
    /// The place of an enum's label among all.
    Label(usize, Arc<Labels>),
    /// Canonical, so that the order of the texts is that of the values.
    Uuid(Vec<u8>),
    Moment(Moment, Shape),
    Numeric(Vec<u8>),
}

impl Meaning<'_> {
    /// How to decide `test`; `None` when that takes PostgreSQL.
    pub(super) fn of(&self, test: &ColumnTest) -> Option<Test> {
        let column = self.table.column(&Ident::new(test.column.clone()))?;
        if column.generated {
            return None;
        }
        let is_varchar =
            column.base_type == BaseType::Varchar && column.type_name.starts_with("character varying");
        let as_text = is_varchar && test.cast.as_deref() == Some("text");
        match &test.question {
            // NULL is NULL in any type, but a cast may make one of a value.
            Question::IsNull => (test.cast.is_none() || as_text).then_some(Test::IsNull),
            _ if test.cast.is_some() && !as_text => None,
            Question::IsTrue => (column.type_name == "boolean").then_some(Test::IsTrue),
            Question::Compare(comparison, literal) => {
                let constant = self.constant(column, literal)?;
                let by_order = !matches!(comparison, Comparison::Equal | Comparison::NotEqual);
                (!by_order || constant.has_order()).then_some(Test::Compare(*comparison, constant))
            }
            Question::Among(literals) => {
                let constants: Option<BTreeSet<Constant>> =
                    literals.iter().map(|literal| self.constant(column, literal)).collect();
                constants.map(Test::Among)
            }
            Question::Like(pattern) => {
                let is_text = column.type_name == "text" || as_text;
                (is_text && self.compares_text(column) && pattern.type_name == "text")
                    .then(|| like(&pattern.text))
            }
        }
    }

    fn compares_text(&self, column: &Column) -> bool {
        self.encoding == Encoding::Utf8 && column.deterministic
    }

    /// The constant in the column's own type; mixed types are PostgreSQL's business.
    fn constant(&self, column: &Column, literal: &Literal) -> Option<Constant> {
        let text = literal.text.as_bytes();
        // Domains print like their base type, but PostgreSQL shows a cast; so these never get here with a plain type.
        match (column.base_type, literal.type_name.as_str()) {
            (BaseType::Int2 | BaseType::Int4 | BaseType::Int8, "smallint" | "integer" | "bigint") => {
                whole_number(text).map(Constant::Whole)
            }
            (BaseType::Bool, "boolean") => match text {
                b"true" | b"t" => Some(Constant::Truth(true)),
                b"false" | b"f" => Some(Constant::Truth(false)),
                _ => None,
            },
            (BaseType::Uuid, "uuid") => is_uuid(text).then(|| Constant::Uuid(text.to_vec())),
            (BaseType::Date, "date") => moment(text, Shape::Date, Shape::Date),
            // A date among timestamps without time zone is its midnight, whatever the session's time zone.
            (BaseType::Timestamp, "date") => moment(text, Shape::Date, Shape::Timestamp),
            (BaseType::Timestamp, "timestamp without time zone") => {
                moment(text, Shape::Timestamp, Shape::Timestamp)
            }
            (BaseType::TimestampTz, "timestamp with time zone") => {
                moment(text, Shape::TimestampTz, Shape::TimestampTz)
            }
            (BaseType::Numeric { .. } | BaseType::UnboundedNumeric, "numeric") => {
                decimal::is_numeric(text).then(|| Constant::Numeric(text.to_vec()))
            }
            (BaseType::Text | BaseType::Varchar, "text") if self.compares_text(column) => {
                let by_bytes = self.orders.is_by_bytes(&column.name);
                Some(if by_bytes { Constant::Bytes(text.to_vec()) } else { Constant::Text(escaped(text)) })
            }
            (BaseType::Other, name)
                if column.is_enum && name == column.type_name && self.encoding == Encoding::Utf8 =>
            {
                let field = escaped(text);
                let label = self.orders.labels(&column.name).and_then(|labels| {
                    labels.get(&field).map(|place| Constant::Label(*place, labels.clone()))
                });
                Some(label.unwrap_or(Constant::Text(field)))
            }
            _ => None,
        }
    }
}

fn escaped(text: &[u8]) -> Vec<u8> {
    let mut field = Vec::with_capacity(text.len());
    push_escaped(&mut field, text);
    field
}

fn moment(text: &[u8], shape: Shape, column: Shape) -> Option<Constant> {
    moment::parse(text, shape).map(|moment| Constant::Moment(moment, column))
}

fn like(pattern: &str) -> Test {
    let end = pattern.find(['%', '_']).unwrap_or(pattern.len());
    let (prefix, wild) = pattern.split_at(end);
    if wild.is_empty() {
        return Test::Compare(Comparison::Equal, Constant::Text(escaped(prefix.as_bytes())));
    }
    Test::Like { prefix: escaped(prefix.as_bytes()), exact: wild.bytes().all(|byte| byte == b'%') }
}

impl Test {
    /// What the question may come out as for this raw field.
    pub(super) fn outcomes(&self, field: &[u8]) -> Outcomes {
        if is_null(field) {
            return if *self == Self::IsNull { Outcomes::TRUE } else { Outcomes::NULL };
        }
        match self {
            Self::IsNull => Outcomes::FALSE,
            Self::IsTrue => truth(field).map_or(Outcomes::ANY, Outcomes::certain),
            Self::Compare(comparison, constant) => constant
                .order(field)
                .map_or(Outcomes::ANY, |order| Outcomes::certain(holds(*comparison, order))),
            Self::Among(constants) => among(constants, field),
            Self::Like { prefix, exact } => {
                if !is_canonical(field) {
                    return Outcomes::ANY;
                }
                match (field.starts_with(prefix), exact) {
                    (false, _) => Outcomes::FALSE,
                    (true, true) => Outcomes::TRUE,
                    (true, false) => Outcomes::NOT_NULL,
                }
            }
        }
    }

    /// The values for which the answer is yes, as a dump writes them; `None` where they cannot be listed.
    pub(super) fn values(&self) -> Option<BTreeSet<Vec<u8>>> {
        match self {
            Self::Compare(Comparison::Equal, constant) => Some(BTreeSet::from([constant.written()?])),
            Self::Among(constants) => constants.iter().map(Constant::written).collect(),
            _ => None,
        }
    }

    /// In words, for people.
    pub(super) fn words(&self) -> String {
        match self {
            Self::IsNull => "is null".to_owned(),
            Self::IsTrue => "is true".to_owned(),
            Self::Compare(comparison, constant) => format!("{} {}", sign(*comparison), constant.sort()),
            Self::Among(constants) => format!("in ({} constants)", constants.len()),
            Self::Like { .. } => "like a prefix".to_owned(),
        }
    }
}

fn sign(comparison: Comparison) -> &'static str {
    match comparison {
        Comparison::Equal => "=",
        Comparison::NotEqual => "<>",
        Comparison::Less => "<",
        Comparison::LessOrEqual => "<=",
        Comparison::Greater => ">",
        Comparison::GreaterOrEqual => ">=",
    }
}

fn holds(comparison: Comparison, order: Ordering) -> bool {
    match comparison {
        Comparison::Equal => order.is_eq(),
        Comparison::NotEqual => order.is_ne(),
        Comparison::Less => order.is_lt(),
        Comparison::LessOrEqual => order.is_le(),
        Comparison::Greater => order.is_gt(),
        Comparison::GreaterOrEqual => order.is_ge(),
    }
}

fn among(constants: &BTreeSet<Constant>, field: &[u8]) -> Outcomes {
    // All are of the column's sort, so the first one tells how to look.
    let found = match constants.first() {
        None => Some(false),
        Some(Constant::Whole(_)) => {
            whole_number(field).map(|number| constants.contains(&Constant::Whole(number)))
        }
        Some(_) => constants
            .iter()
            .try_fold(false, |found, constant| constant.order(field).map(|order| found || order.is_eq())),
    };
    found.map_or(Outcomes::ANY, Outcomes::certain)
}

impl Constant {
    /// As a dump writes it, where it writes it in one way only.
    fn written(&self) -> Option<Vec<u8>> {
        match self {
            Self::Whole(number) => Some(number.to_string().into_bytes()),
            Self::Text(field) | Self::Uuid(field) => Some(field.clone()),
            Self::Bytes(text) => Some(escaped(text)),
            Self::Truth(_) | Self::Label(..) | Self::Moment(..) | Self::Numeric(_) => None,
        }
    }

    /// Is the order of fields and constants known, not only their equality?
    fn has_order(&self) -> bool {
        !matches!(self, Self::Text(_))
    }

    /// How the field compares with the constant; of a text only whether it is equal. `None`: the field is not spelled as
    /// a server spells it.
    fn order(&self, field: &[u8]) -> Option<Ordering> {
        match self {
            Self::Whole(constant) => whole_number(field).map(|number| number.cmp(constant)),
            Self::Truth(constant) => truth(field).map(|value| value.cmp(constant)),
            Self::Text(constant) => {
                if field == constant.as_slice() {
                    return Some(Ordering::Equal);
                }
                // The same value could be escaped in another way by another hand.
                is_canonical(field).then_some(Ordering::Less)
            }
            Self::Bytes(constant) => by_bytes(field, constant),
            Self::Label(place, labels) => labels.get(field).map(|found| found.cmp(place)),
            Self::Uuid(constant) => is_uuid(field).then(|| field.cmp(constant.as_slice())),
            Self::Moment(constant, shape) => moment::parse(field, *shape).map(|moment| moment.cmp(constant)),
            Self::Numeric(constant) => decimal::compare(field, constant),
        }
    }

    /// The sort of constant; values of rows are not shown.
    fn sort(&self) -> String {
        match self {
            Self::Whole(number) => number.to_string(),
            Self::Truth(truth) => truth.to_string(),
            Self::Text(_) | Self::Bytes(_) => "a text".to_owned(),
            Self::Label(..) => "a label".to_owned(),
            Self::Uuid(_) => "a uuid".to_owned(),
            Self::Moment(..) => "a time".to_owned(),
            Self::Numeric(text) => String::from_utf8_lossy(text).into_owned(),
        }
    }
}

/// `None` when the field is not escaped as a server escapes it.
fn by_bytes(field: &[u8], constant: &[u8]) -> Option<Ordering> {
    if !field.contains(&b'\\') {
        return Some(field.cmp(constant));
    }
    let mut value = Vec::with_capacity(field.len());
    push_unescaped(&mut value, field).then(|| value.as_slice().cmp(constant))
}

/// Every number of so many digits is an `i64`.
const DIGITS_THAT_FIT: usize = 18;

/// An integer as a server prints it.
pub fn whole_number(text: &[u8]) -> Option<i64> {
    let digits = text.strip_prefix(b"-").unwrap_or(text);
    let canonical = match digits {
        [b'0'] => digits.len() == text.len(),
        [b'1'..=b'9', ..] => true,
        _ => false,
    };
    if !canonical {
        return None;
    }
    let negative = digits.len() != text.len();
    if digits.len() <= DIGITS_THAT_FIT {
        let mut magnitude = 0_i64;
        for byte in digits {
            let digit = byte.wrapping_sub(b'0');
            if digit > 9 {
                return None;
            }
            magnitude = magnitude * 10 + i64::from(digit);
        }
        return Some(if negative { -magnitude } else { magnitude });
    }
    let magnitude = digits.iter().try_fold(0_i64, |number, digit| {
        let value = digit.is_ascii_digit().then(|| i64::from(digit - b'0'))?;
        // Counted downwards, since there is one more negative number.
        number.checked_mul(10)?.checked_sub(value)
    })?;
    if negative { Some(magnitude) } else { magnitude.checked_neg() }
}

/// An integer or a uuid in sixteen bytes; `Some(None)` for NULL, `None` when the field is not as a server prints one.
/// Only keys of one column's type may be compared with each other.
pub fn packed_key(field: &[u8]) -> Option<Option<u128>> {
    if is_null(field) {
        return Some(None);
    }
    if let Some(number) = whole_number(field) {
        return Some(Some(u128::from(number.cast_unsigned())));
    }
    let digits = || field.iter().filter(|byte| **byte != b'-');
    let digit = |byte: &u8| char::from(*byte).to_digit(16).map_or(0, u128::from);
    is_uuid(field).then(|| Some(digits().fold(0, |number, byte| number << 4 | digit(byte))))
}

fn truth(text: &[u8]) -> Option<bool> {
    match text {
        b"t" => Some(true),
        b"f" => Some(false),
        _ => None,
    }
}

fn is_uuid(text: &[u8]) -> bool {
    text.len() == 36
        && text.iter().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => *byte == b'-',
            _ => matches!(byte, b'0'..=b'9' | b'a'..=b'f'),
        })
}

/// Is the field escaped as a server escapes it?
pub fn is_canonical(field: &[u8]) -> bool {
    !field.contains(&b'\\') || push_unescaped(&mut Vec::with_capacity(field.len()), field)
}
