//! `boolean`: `t` and `f`.

/// The value of `t` or `f`.
pub fn parse(text: &[u8]) -> Option<bool> {
    match text {
        b"t" => Some(true),
        b"f" => Some(false),
        _ => None,
    }
}

/// Appends `t` or `f`.
pub fn print(value: bool, out: &mut Vec<u8>) {
    out.push(if value { b't' } else { b'f' });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_printed_spelling_is_taken() {
        let mut out = Vec::new();
        print(true, &mut out);
        print(false, &mut out);
        assert_eq!(out, b"tf");
        assert_eq!(
            (parse(b"t"), parse(b"f"), parse(b"true"), parse(b"")),
            (Some(true), Some(false), None, None)
        );
    }
}
