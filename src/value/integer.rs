//! `smallint`, `integer`, `bigint`: decimal digits without leading zeros, a minus sign for negative numbers.

/// The number, if PostgreSQL would print it exactly so and it fits 64 bits.
pub fn parse(text: &[u8]) -> Option<i64> {
    let (negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    match digits {
        [b'0'] => return (!negative).then_some(0),
        [] | [b'0', ..] => return None,
        _ => {}
    }
    let mut value: i64 = 0;
    for &byte in digits {
        let digit = digit(byte)?;
        // Counted downwards, because the smallest number has no positive twin.
        value = value.checked_mul(10)?.checked_sub(i64::from(digit))?;
    }
    if negative { Some(value) } else { value.checked_neg() }
}

/// Appends the number as PostgreSQL prints it.
pub fn print(value: i64, out: &mut Vec<u8>) {
    print_wide(i128::from(value), out);
}

/// Appends a number of up to 39 digits.
pub(super) fn print_wide(value: i128, out: &mut Vec<u8>) {
    if value < 0 {
        out.push(b'-');
    }
    let mut buffer = [0; 40];
    out.extend_from_slice(decimal(value.unsigned_abs(), &mut buffer));
}

/// The decimal digits of a number, written to the end of `buffer`; at least one.
pub(super) fn decimal(value: u128, buffer: &mut [u8; 40]) -> &[u8] {
    let mut at = buffer.len();
    let mut wide = value;
    // Division of 128 bits is slow, so it is only done where it must be.
    while u64::try_from(wide).is_err() {
        at -= 1;
        buffer[at] = ascii(wide % 10);
        wide /= 10;
    }
    let mut rest = u64::try_from(wide).unwrap_or_default();
    loop {
        at -= 1;
        buffer[at] = ascii(u128::from(rest % 10));
        rest /= 10;
        if rest == 0 {
            return &buffer[at..];
        }
    }
}

fn ascii(digit: u128) -> u8 {
    b'0' + u8::try_from(digit).unwrap_or_default()
}

/// The value of one ASCII digit.
pub(super) fn digit(byte: u8) -> Option<u8> {
    let value = byte.wrapping_sub(b'0');
    (value < 10).then_some(value)
}

/// Appends a number with zeros before it, so that it has at least `width` digits.
pub(super) fn print_padded(value: u32, width: usize, out: &mut Vec<u8>) {
    let mut buffer = [0; 40];
    let digits = decimal(u128::from(value), &mut buffer);
    for _ in digits.len()..width {
        out.push(b'0');
    }
    out.extend_from_slice(digits);
}

/// The number that a run of digits of a fixed width stands for (leading zeros belong there).
pub(super) fn fixed_digits(text: &[u8]) -> Option<u32> {
    text.iter().try_fold(0_u32, |value, &byte| Some(value.checked_mul(10)? + u32::from(digit(byte)?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_parsed_prints_back() {
        for text in ["0", "7", "-1", "9223372036854775807", "-9223372036854775808", "100", "32768"] {
            let mut out = Vec::new();
            print(parse(text.as_bytes()).unwrap(), &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), text);
        }
        for foreign in
            ["", "-", "-0", "+1", "007", "1 ", "9223372036854775808", "-9223372036854775809", "1e3"]
        {
            assert_eq!(parse(foreign.as_bytes()), None, "{foreign}");
        }
        let mut out = Vec::new();
        print_wide(i128::MIN, &mut out);
        assert_eq!(out, i128::MIN.to_string().into_bytes());
    }
}
