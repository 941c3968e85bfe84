//! The text of a JSON document: where a value stands in it. The document was written by PostgreSQL, so it is well-formed; of
//! one that is not nothing is found.

use std::ops::Range;

use super::Step;

/// Where the value stands that the steps lead to.
pub(super) fn find(document: &str, steps: &[Step]) -> Option<Range<usize>> {
    let mut place = value(document, blanks(document, 0))?;
    for step in steps {
        let inside = place.start;
        place = match (document.as_bytes().get(inside)?, step) {
            (b'{', Step::Key(key) | Step::Either(key)) => member(document, inside, key)?,
            (b'[', Step::Either(number)) => element(document, inside, number.parse().ok()?)?,
            _ => return None,
        };
    }
    Some(place)
}

/// The text of a string or a number.
pub(super) fn scalar(value: &str) -> Option<String> {
    match value.as_bytes().first()? {
        b'"' => serde_json::from_str(value).ok(),
        b'-' | b'0'..=b'9' => Some(value.to_owned()),
        _ => None,
    }
}

/// A string as PostgreSQL prints it in a document.
pub(super) fn string(value: &str) -> String {
    let mut text = String::from("\"");
    for letter in value.chars() {
        match letter {
            '"' => text.push_str("\\\""),
            '\\' => text.push_str("\\\\"),
            '\u{8}' => text.push_str("\\b"),
            '\u{c}' => text.push_str("\\f"),
            '\n' => text.push_str("\\n"),
            '\r' => text.push_str("\\r"),
            '\t' => text.push_str("\\t"),
            other if other < ' ' => text.push_str(&format!("\\u{:04x}", u32::from(other))),
            other => text.push(other),
        }
    }
    text.push('"');
    text
}

/// Is it a number as JSON writes them?
pub(super) fn is_number(text: &str) -> bool {
    let mut rest = text.strip_prefix('-').unwrap_or(text);
    let digits = |rest: &mut &str| {
        let end = rest.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(rest.len());
        let found = &rest[..end];
        *rest = &rest[end..];
        found.to_owned()
    };
    let whole = digits(&mut rest);
    if whole.is_empty() || (whole.len() > 1 && whole.starts_with('0')) {
        return false;
    }
    if let Some(behind) = rest.strip_prefix('.') {
        rest = behind;
        if digits(&mut rest).is_empty() {
            return false;
        }
    }
    if let Some(behind) = rest.strip_prefix(['e', 'E']) {
        rest = behind.strip_prefix(['+', '-']).unwrap_or(behind);
        if digits(&mut rest).is_empty() {
            return false;
        }
    }
    rest.is_empty()
}

fn blanks(document: &str, at: usize) -> usize {
    let rest = document.as_bytes().get(at..).unwrap_or_default();
    at + rest.iter().take_while(|byte| matches!(byte, b' ' | b'\t' | b'\n' | b'\r')).count()
}

/// The value that begins here.
fn value(document: &str, start: usize) -> Option<Range<usize>> {
    let bytes = document.as_bytes();
    let end = match bytes.get(start)? {
        b'"' => end_of_string(bytes, start)?,
        b'{' | b'[' => {
            let (mut depth, mut at) = (0_usize, start);
            loop {
                match bytes.get(at)? {
                    b'"' => at = end_of_string(bytes, at)? - 1,
                    b'{' | b'[' => depth += 1,
                    b'}' | b']' => depth -= 1,
                    _ => {}
                }
                at += 1;
                if depth == 0 {
                    break at;
                }
            }
        }
        _ => {
            let is_end = |byte: &u8| matches!(byte, b',' | b'}' | b']' | b' ' | b'\t' | b'\n' | b'\r');
            start + bytes[start..].iter().take_while(|byte| !is_end(byte)).count()
        }
    };
    Some(start..end)
}

fn end_of_string(bytes: &[u8], start: usize) -> Option<usize> {
    let mut at = start + 1;
    loop {
        match bytes.get(at)? {
            b'"' => return Some(at + 1),
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
}

/// The value of a key of the object that begins at `start`; of several the last, which PostgreSQL takes.
fn member(document: &str, start: usize, key: &str) -> Option<Range<usize>> {
    let mut found = None;
    let mut at = blanks(document, start + 1);
    while document.as_bytes().get(at) == Some(&b'"') {
        let name = value(document, at)?;
        let colon = blanks(document, name.end);
        let of = value(document, blanks(document, colon + 1))?;
        if is_named(&document[name], key) {
            found = Some(of.clone());
        }
        let comma = blanks(document, of.end);
        at = blanks(document, comma + 1);
    }
    found
}

fn is_named(name: &str, key: &str) -> bool {
    if name.contains('\\') { scalar(name).as_deref() == Some(key) } else { &name[1..name.len() - 1] == key }
}

/// An element of the array that begins at `start`; a negative number counts from its end.
fn element(document: &str, start: usize, number: i32) -> Option<Range<usize>> {
    let mut found = Vec::new();
    let mut at = blanks(document, start + 1);
    while !matches!(document.as_bytes().get(at)?, b']') {
        let of = value(document, at)?;
        let comma = blanks(document, of.end);
        found.push(of);
        at = if document.as_bytes().get(comma)? == &b',' { blanks(document, comma + 1) } else { comma };
    }
    let at = usize::try_from(number.unsigned_abs()).ok()?;
    let at = if number < 0 { found.len().checked_sub(at)? } else { at };
    found.into_iter().nth(at)
}
