//! The text format of COPY: one line per row, fields separated by tabs, `\N` for NULL, backslash escapes.
//! A *row* here is always one line without its newline, exactly as a server writes it. Escaping is deterministic,
//! so two fields are the same value text exactly when their escaped bytes are equal.
//! Source: PostgreSQL documentation, COPY, "Text Format".

use std::borrow::Cow;

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
    let mut bytes = field[first..].iter().copied().peekable();
    while let Some(byte) = bytes.next() {
        if byte != b'\\' {
            value.push(byte);
            continue;
        }
        match bytes.next() {
            Some(b'b') => value.push(8),
            Some(b'f') => value.push(12),
            Some(b'n') => value.push(b'\n'),
            Some(b'r') => value.push(b'\r'),
            Some(b't') => value.push(b'\t'),
            Some(b'v') => value.push(11),
            Some(other) => value.push(other),
            None => value.push(b'\\'),
        }
    }
    Cow::Owned(value)
}

/// Appends `value` escaped as a server's COPY TO writes it.
pub fn push_escaped(row: &mut Vec<u8>, value: &[u8]) {
    for &byte in value {
        let letter = match byte {
            8 => b'b',
            12 => b'f',
            b'\n' => b'n',
            b'\r' => b'r',
            b'\t' => b't',
            11 => b'v',
            b'\\' => b'\\',
            other => {
                row.push(other);
                continue;
            }
        };
        row.extend_from_slice(&[b'\\', letter]);
    }
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
}
