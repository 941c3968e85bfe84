//! The text format of COPY: one line per row, fields separated by tabs, `\N` for NULL, backslash escapes.
//! A *row* here is always one line without its newline, exactly as a server writes it. Escaping is deterministic,
//! so two fields are the same value text exactly when their escaped bytes are equal.
//! Source: PostgreSQL documentation, COPY, "Text Format".

use std::borrow::Cow;

use smallvec::SmallVec;

/// One or more raw fields, joined by tabs. Most are short, and need no memory of their own then.
pub type RawKey = SmallVec<[u8; 24]>;

/// How NULL is written.
pub const NULL: &[u8] = b"\\N";

/// The raw (still escaped) fields of a row, in order.
pub fn fields(row: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(row);
    std::iter::from_fn(move || {
        let line = rest?;
        if let Some(at) = memchr::memchr(b'\t', line) {
            rest = Some(&line[at + 1..]);
            Some(&line[..at])
        } else {
            rest = None;
            Some(line)
        }
    })
}

/// Is this raw field NULL?
pub fn is_null(field: &[u8]) -> bool {
    field == NULL
}

/// The value's bytes without escapes. Must not be called for NULL.
pub fn unescape(field: &[u8]) -> Cow<'_, [u8]> {
    let Some(first) = memchr::memchr(b'\\', field) else { return Cow::Borrowed(field) };
    let mut value = Vec::with_capacity(field.len());
    value.extend_from_slice(&field[..first]);
    let mut bytes = field[first..].iter().copied();
    while let Some(byte) = bytes.next() {
        if byte != b'\\' {
            value.push(byte);
            continue;
        }
        match bytes.next() {
            Some(letter) => value.push(plain_byte(letter).unwrap_or(letter)),
            None => value.push(b'\\'),
        }
    }
    Cow::Owned(value)
}

/// The text of a raw field; `None` for NULL. COPY text of a UTF-8 session is UTF-8.
pub fn text(field: &[u8]) -> Option<String> {
    (!is_null(field)).then(|| String::from_utf8_lossy(&unescape(field)).into_owned())
}

/// Appends the value of a raw field that is not NULL. `false` (with rubbish appended) when the field is not spelled as
/// COPY TO spells it, so that escaping the value again would give other bytes.
#[must_use]
pub fn push_unescaped(value: &mut Vec<u8>, field: &[u8]) -> bool {
    let mut rest = field;
    while let Some(at) = rest.iter().position(|&byte| is_special(byte)) {
        value.extend_from_slice(&rest[..at]);
        let (b'\\', Some(&letter)) = (rest[at], rest.get(at + 1)) else { return false };
        let Some(byte) = plain_byte(letter) else { return false };
        value.push(byte);
        rest = &rest[at + 2..];
    }
    value.extend_from_slice(rest);
    true
}

/// Appends `value` escaped as a server's COPY TO writes it.
pub fn push_escaped(row: &mut Vec<u8>, value: &[u8]) {
    let mut rest = value;
    while let Some(at) = rest.iter().position(|&byte| is_special(byte)) {
        row.extend_from_slice(&rest[..at]);
        let letter = match rest[at] {
            8 => b'b',
            b'\t' => b't',
            b'\n' => b'n',
            11 => b'v',
            12 => b'f',
            b'\r' => b'r',
            other => other,
        };
        row.extend_from_slice(&[b'\\', letter]);
        rest = &rest[at + 1..];
    }
    row.extend_from_slice(rest);
}

/// Appends a field (with a tab before it unless it is the first of the row).
pub fn push_field(row: &mut Vec<u8>, first: bool, value: Option<&[u8]>) {
    if !first {
        row.push(b'\t');
    }
    match value {
        Some(value) => push_escaped(row, value),
        None => row.extend_from_slice(NULL),
    }
}

/// The bytes that COPY TO escapes.
fn is_special(byte: u8) -> bool {
    matches!(byte, 8..=13 | b'\\')
}

/// What a backslash and this letter stand for; `None` for letters that COPY TO never writes.
fn plain_byte(letter: u8) -> Option<u8> {
    Some(match letter {
        b'b' => 8,
        b't' => b'\t',
        b'n' => b'\n',
        b'v' => 11,
        b'f' => 12,
        b'r' => b'\r',
        b'\\' => b'\\',
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splits_escapes_and_unescapes() {
        let mut row = Vec::new();
        push_field(&mut row, true, Some(b"a\tb\\\n\r\x08\x0b\x0c"));
        push_field(&mut row, false, None);
        push_field(&mut row, false, Some(b""));
        push_field(&mut row, false, Some(b"\\N"));
        assert_eq!(row, b"a\\tb\\\\\\n\\r\\b\\v\\f\t\\N\t\t\\\\N");
        let raw: Vec<_> = fields(&row).collect();
        assert_eq!(raw.len(), 4);
        assert_eq!(unescape(raw[0]).as_ref(), b"a\tb\\\n\r\x08\x0b\x0c");
        assert!(is_null(raw[1]));
        assert_eq!((raw[2], is_null(raw[2])), (&b""[..], false));
        assert_eq!((unescape(raw[3]).as_ref(), is_null(raw[3])), (&b"\\N"[..], false));
    }

    #[test]
    fn spellings_that_a_server_never_writes_are_noticed() {
        let mut value = Vec::new();
        assert!(push_unescaped(&mut value, b"a\\tb\\\\N \x01\x1f"));
        assert_eq!(value, b"a\tb\\N \x01\x1f");
        for foreign in [&b"\\x41"[..], b"\\101", b"\\q", b"trailing\\", b"raw\rreturn", b"\x08"] {
            assert!(!push_unescaped(&mut Vec::new(), foreign), "{foreign:?}");
        }
    }
}
