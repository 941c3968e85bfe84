//! `time`: `HH:MM:SS` with up to six digits of fraction, without zeros at its end, as microseconds since midnight.
//! `24:00:00` stays text: it is no time of day elsewhere.

use super::integer::{fixed_digits, print_padded};

/// Microseconds of one day.
pub const DAY: i64 = 86_400_000_000;

/// Microseconds since midnight.
pub fn parse(text: &[u8]) -> Option<i64> {
    let (clock, fraction) = text.split_at_checked(8)?;
    let [h1, h2, b':', m1, m2, b':', s1, s2] = *clock else { return None };
    let (hour, minute, second) =
        (fixed_digits(&[h1, h2])?, fixed_digits(&[m1, m2])?, fixed_digits(&[s1, s2])?);
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let whole = i64::from(hour * 3_600 + minute * 60 + second) * 1_000_000;
    Some(whole + i64::from(parse_fraction(fraction)?))
}

fn parse_fraction(text: &[u8]) -> Option<u32> {
    let digits = match text {
        [] => return Some(0),
        [b'.', digits @ ..] => digits,
        _ => return None,
    };
    if digits.is_empty() || digits.len() > 6 || digits.ends_with(b"0") {
        return None;
    }
    let missing = u32::try_from(6 - digits.len()).ok()?;
    Some(fixed_digits(digits)? * 10_u32.pow(missing))
}

/// Appends the time; `None` (and nothing appended) outside of one day.
pub fn print(microseconds: i64, out: &mut Vec<u8>) -> Option<()> {
    if !(0..DAY).contains(&microseconds) {
        return None;
    }
    let seconds = u32::try_from(microseconds / 1_000_000).ok()?;
    let mut fraction = u32::try_from(microseconds % 1_000_000).ok()?;
    print_padded(seconds / 3_600, 2, out);
    out.push(b':');
    print_padded(seconds / 60 % 60, 2, out);
    out.push(b':');
    print_padded(seconds % 60, 2, out);
    if fraction > 0 {
        let mut width = 6;
        while fraction.is_multiple_of(10) {
            fraction /= 10;
            width -= 1;
        }
        out.push(b'.');
        print_padded(fraction, width, out);
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_parsed_prints_back() {
        for text in ["00:00:00", "23:59:59.999999", "12:30:00.5", "01:02:03.000001", "09:00:10.05"] {
            let mut out = Vec::new();
            print(parse(text.as_bytes()).unwrap(), &mut out).unwrap();
            assert_eq!(String::from_utf8(out).unwrap(), text);
        }
        for text in [
            "",
            "24:00:00",
            "12:60:00",
            "12:00:60",
            "1:00:00",
            "12:00",
            "12:00:00.",
            "12:00:00.10",
            "12:00:00.1234567",
            "12:00:00+00",
        ] {
            assert_eq!(parse(text.as_bytes()), None, "{text}");
        }
        assert_eq!((print(DAY, &mut Vec::new()), print(-1, &mut Vec::new())), (None, None));
    }
}
