//! `uuid`: kept as readable text in our own files; other writers of Parquet store sixteen bytes, printed here.

/// Appends sixteen bytes as lower-case hexadecimal digits in groups of 8-4-4-4-12; `None` for another length.
pub fn print(bytes: &[u8], out: &mut Vec<u8>) -> Option<()> {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    if bytes.len() != 16 {
        return None;
    }
    for (position, &byte) in bytes.iter().enumerate() {
        if matches!(position, 4 | 6 | 8 | 10) {
            out.push(b'-');
        }
        out.extend_from_slice(&[DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_the_usual_groups() {
        let mut out = Vec::new();
        let bytes: Vec<u8> = (0..16).map(|n| n * 17).collect();
        print(&bytes, &mut out).unwrap();
        assert_eq!(out, b"00112233-4455-6677-8899-aabbccddeeff");
        assert_eq!(print(&bytes[1..], &mut out), None);
    }
}
