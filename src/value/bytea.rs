//! `bytea` in `bytea_output` hex: `\x` and two lower-case hexadecimal digits per byte. In a COPY row the backslash is
//! escaped, so the raw field begins with two of them.

const PREFIX: &[u8] = b"\\\\x";

/// Appends the bytes of a raw field; `false` (with rubbish appended) when it would not print back exactly so.
#[must_use]
pub fn parse(field: &[u8], bytes: &mut Vec<u8>) -> bool {
    let Some(digits) = field.strip_prefix(PREFIX) else { return false };
    let pairs = digits.chunks_exact(2);
    if !pairs.remainder().is_empty() {
        return false;
    }
    bytes.reserve(pairs.len());
    for pair in pairs {
        match (nibble(pair[0]), nibble(pair[1])) {
            (Some(high), Some(low)) => bytes.push(high << 4 | low),
            _ => return false,
        }
    }
    true
}

/// Appends the raw field for these bytes.
pub fn print(bytes: &[u8], out: &mut Vec<u8>) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    out.reserve(PREFIX.len() + 2 * bytes.len());
    out.extend_from_slice(PREFIX);
    for &byte in bytes {
        out.extend_from_slice(&[DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
    }
}

fn nibble(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_parsed_prints_back() {
        let all: Vec<u8> = (0..=255).collect();
        for bytes in [&b""[..], b"\0", &all] {
            let (mut field, mut parsed) = (Vec::new(), Vec::new());
            print(bytes, &mut field);
            assert!(parse(&field, &mut parsed));
            assert_eq!(parsed, bytes);
        }
        for foreign in [&b"\\x00"[..], b"\\\\xA0", b"\\\\x0", b"abc", b"\\\\000", b""] {
            assert!(!parse(foreign, &mut Vec::new()), "{foreign:?}");
        }
    }
}
