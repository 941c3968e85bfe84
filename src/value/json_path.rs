//! A path into a JSON document, as a recipe writes it behind a column (`->'customer'->>'id'`, `#>>'{customer,id}'`): the same
//! path as an SQL expression, and read and overwritten in the document's own text, of which nothing else changes.

mod document;
mod notation;

use std::borrow::Cow;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::copy_text::{RawKey, is_null, push_escaped, unescape};
use crate::sql::literal::literal;

/// A path that ends in a text; it has at least one step.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct JsonPath {
    steps: Vec<Step>,
}

/// One step down.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Step {
    /// `-> 'key'`: of an object only.
    Key(String),
    /// One of `#> '{…}'`: a key of an object, or an element of an array by its number, from its end where negative.
    Either(String),
}

/// Why a value cannot be put where a path leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unfit {
    /// There is nothing to replace.
    Nothing,
    /// A number stands there, and the value is none.
    NoNumber,
}

impl fmt::Display for Unfit {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Nothing => "holds neither a string nor a number",
            Self::NoNumber => "holds a number, which the other row's value is not",
        })
    }
}

impl JsonPath {
    /// Reads a path, without the column before it. `None` when it is none, or does not end in `->>` or `#>>`.
    pub fn parse(text: &str) -> Option<Self> {
        notation::parse(text).map(|steps| Self { steps })
    }

    /// The text where the path leads, NULL unless a string or a number stands there: an expression over `column`, which is
    /// SQL of type `json` or `jsonb`.
    pub fn to_sql(&self, column: &str) -> String {
        let path = |last: &str| notation::show(&self.steps, last, &literal);
        format!(
            "(case when ({column}{})::text ~ '^[\"0-9-]' then {column}{} end)",
            path(notation::AS_JSON),
            path(notation::AS_TEXT)
        )
    }

    /// The same of a raw COPY field, as a raw COPY field.
    pub fn read(&self, field: &[u8]) -> Option<RawKey> {
        if is_null(field) {
            return None;
        }
        let document = unescape(field);
        let document = std::str::from_utf8(&document).ok()?;
        let text = document::scalar(&document[document::find(document, &self.steps)?])?;
        let mut raw = Vec::with_capacity(text.len());
        push_escaped(&mut raw, text.as_bytes());
        Some(RawKey::from_slice(&raw))
    }

    /// The raw field of the document with `value`, a raw field too, where the path leads: a string stays a string, a number a
    /// number.
    pub fn write(&self, field: &[u8], value: &[u8]) -> Result<RawKey, Unfit> {
        let document = if is_null(field) { Vec::new() } else { unescape(field).into_owned() };
        let document = String::from_utf8(document).unwrap_or_default();
        let place = document::find(&document, &self.steps).ok_or(Unfit::Nothing)?;
        let value = String::from_utf8_lossy(&unescape(value)).into_owned();
        let instead = match document[place.clone()].chars().next() {
            Some('"') => document::string(&value),
            Some('-' | '0'..='9') if document::is_number(&value) => value,
            Some('-' | '0'..='9') => return Err(Unfit::NoNumber),
            _ => return Err(Unfit::Nothing),
        };
        let text = format!("{}{instead}{}", &document[..place.start], &document[place.end..]);
        let mut raw = Vec::with_capacity(text.len());
        push_escaped(&mut raw, text.as_bytes());
        Ok(raw.into())
    }
}

/// A raw COPY field, or what a path leads to in it; `None` for NULL and where it leads to nothing.
pub fn value_at<'f>(path: Option<&JsonPath>, field: &'f [u8]) -> Option<Cow<'f, [u8]>> {
    match path {
        Some(path) => path.read(field).map(|found| Cow::Owned(found.into_vec())),
        None => (!is_null(field)).then_some(Cow::Borrowed(field)),
    }
}

/// Raw fields at these positions of a row, or what paths lead to in them, joined by tabs; `None` when one of them is nothing.
/// `paths` may be shorter than `positions`.
pub fn key_in<F: AsRef<[u8]>>(paths: &[Option<JsonPath>], row: &[F], positions: &[usize]) -> Option<RawKey> {
    let mut key = RawKey::new();
    for (at, &position) in positions.iter().enumerate() {
        if at > 0 {
            key.push(b'\t');
        }
        let path = paths.get(at).and_then(Option::as_ref);
        key.extend_from_slice(&value_at(path, row.get(position)?.as_ref())?);
    }
    Some(key)
}

impl fmt::Display for JsonPath {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&notation::show(&self.steps, notation::AS_TEXT, &notation::plain_literal))
    }
}

impl From<JsonPath> for String {
    fn from(path: JsonPath) -> Self {
        path.to_string()
    }
}

impl TryFrom<String> for JsonPath {
    type Error = String;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::parse(&text).ok_or_else(|| format!("{text} is no path into a JSON document"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> JsonPath {
        JsonPath::parse(text).unwrap()
    }

    fn read(at: &str, document: &str) -> Option<String> {
        let mut raw = Vec::new();
        push_escaped(&mut raw, document.as_bytes());
        let found = path(at).read(&raw)?;
        Some(String::from_utf8(unescape(&found).into_owned()).unwrap())
    }

    fn write(at: &str, document: &str, value: &str) -> Result<String, Unfit> {
        let (mut raw, mut new) = (Vec::new(), Vec::new());
        push_escaped(&mut raw, document.as_bytes());
        push_escaped(&mut new, value.as_bytes());
        let found = path(at).write(&raw, &new)?;
        Ok(String::from_utf8(unescape(&found).into_owned()).unwrap())
    }

    #[test]
    fn paths_are_read_and_shown() {
        for text in [
            "->>'id'",
            "->'customer'->>'id'",
            "#>>'{customer,id}'",
            "->'it''s'->>'a b'",
            "#>'{a}'->>'b'",
            "->'a'#>>'{\"b c\",\"d,\\\\e\\\"\"}'",
        ] {
            assert_eq!(path(text).to_string(), text);
        }
        assert_eq!(path(" -> 'a'  ->> 'b' "), path("->'a'->>'b'"));
        assert_eq!(path("#>'{a}'#>>'{b, 1}'"), path("#>>'{a,b,1}'"));
        for wrong in [
            "",
            "->'id'",
            "->>'a'->>'b'",
            "->>id",
            "['id']",
            "->>'id'::text",
            "#>>'{}'",
            "#>>'{a'",
            "#>>'{a,}'",
            "#>>'{{a}}'",
            "#>>'{null}'",
            "->>'a' b",
            "->> ",
            "->>'a",
            "->0->>'a'",
        ] {
            assert_eq!(JsonPath::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn strings_and_numbers_are_references_and_nothing_else() {
        assert_eq!(read("->>'id'", r#"{"id": "a\"b\nc é"}"#).as_deref(), Some("a\"b\nc é"));
        assert_eq!(read("->>'id'", r#" {"x":{"id":1} , "id" : -7.50 }"#).as_deref(), Some("-7.50"));
        assert_eq!(read("->'a'->>'id'", r#"{"id": 1, "a": {"id": 2}}"#).as_deref(), Some("2"));
        assert_eq!(read("#>>'{a,1,id}'", r#"{"a": ["}", {"id": "x]"}]}"#).as_deref(), Some("x]"));
        assert_eq!(read("#>>'{a,-1}'", r#"{"a": [1, [2], 3]}"#).as_deref(), Some("3"));
        assert_eq!(read("->>'é'", "{\"\\u00e9\": 5}").as_deref(), Some("5"));
        assert_eq!(read("->>'id'", r#"{"id": 1, "id": 2}"#).as_deref(), Some("2"), "the last one counts");
        for nothing in [
            r#"{"id": null}"#,
            r#"{"id": true}"#,
            r#"{"id": {"id": 1}}"#,
            r#"{"id": [1]}"#,
            "{}",
            "[1]",
            "7",
            "null",
        ] {
            assert_eq!(read("->>'id'", nothing), None, "{nothing}");
        }
        assert_eq!(read("->>'0'", "[1]"), None, "a key is of an object");
        assert_eq!(path("->>'id'").read(b"\\N"), None);
    }

    #[test]
    fn only_the_value_changes_and_its_type_stays() {
        assert_eq!(
            write("->'a'->>'id'", r#"{ "id":1, "a" : {"id" :2} }"#, "45").unwrap(),
            r#"{ "id":1, "a" : {"id" :45} }"#
        );
        assert_eq!(
            write("->>'id'", r#"{"id": "7", "b": "é\n"}"#, "a\"\\\t\u{1}é").unwrap(),
            r#"{"id": "a\"\\\t\u0001é", "b": "é\n"}"#
        );
        assert_eq!(write("#>>'{0,0}'", "[[-1e5, 2]]", "3.50").unwrap(), "[[3.50, 2]]");
        assert_eq!(write("->>'id'", r#"{"id": 7}"#, "x7"), Err(Unfit::NoNumber));
        assert_eq!(write("->>'id'", r#"{"id": 7}"#, "007"), Err(Unfit::NoNumber));
        assert_eq!(write("->>'id'", r#"{"id": null}"#, "7"), Err(Unfit::Nothing));
        assert_eq!(write("->>'id'", "{}", "7"), Err(Unfit::Nothing));
    }

    #[test]
    fn the_expression_holds_what_sql_would_misread() {
        assert_eq!(
            path(r"->'it''s\'->>'b'").to_sql("c.\"x\""),
            r#"(case when (c."x"-> E'it''s\\'->'b')::text ~ '^["0-9-]' then c."x"-> E'it''s\\'->>'b' end)"#
        );
    }
}
