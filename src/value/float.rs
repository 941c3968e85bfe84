//! `real` and `double precision` as PostgreSQL prints them with `extra_float_digits` 1: the shortest digits that read
//! back to the same number, fixed notation for exponents from -4 up to 14 (`real`: 5), else `1e+20`, `1e-05`.
//! Source: `to_chars` in PostgreSQL's d2s.c and f2s.c.
//!
//! Should `shortest` not choose as PostgreSQL did, `parse` notices (it compares) and the column stays text.

use super::shortest::{Binary, Text, settled};

/// The number, if it prints back as exactly this text.
pub fn parse4(text: &[u8]) -> Option<f32> {
    match text {
        b"NaN" => Some(f32::NAN),
        b"Infinity" => Some(f32::INFINITY),
        b"-Infinity" => Some(f32::NEG_INFINITY),
        _ => parse_finite(text),
    }
}

/// The number, if it prints back as exactly this text.
pub fn parse8(text: &[u8]) -> Option<f64> {
    match text {
        b"NaN" => Some(f64::NAN),
        b"Infinity" => Some(f64::INFINITY),
        b"-Infinity" => Some(f64::NEG_INFINITY),
        _ => parse_finite(text),
    }
}

/// Appends a `real` as PostgreSQL prints it.
pub fn print4(value: f32, out: &mut Vec<u8>) {
    if value.is_finite() {
        out.extend_from_slice(printed(value).bytes());
    } else {
        print_special(f64::from(value), out);
    }
}

/// Appends a `double precision` as PostgreSQL prints it.
pub fn print8(value: f64, out: &mut Vec<u8>) {
    if value.is_finite() {
        out.extend_from_slice(printed(value).bytes());
    } else {
        print_special(value, out);
    }
}

fn parse_finite<T: Binary>(text: &[u8]) -> Option<T> {
    // Rust's parser would also take `inf`, `+1` and more.
    let plausible =
        text.len() < 40 && text.iter().all(|b| matches!(b, b'0'..=b'9' | b'.' | b'-' | b'+' | b'e'));
    let value: T = std::str::from_utf8(text).ok().filter(|_| plausible)?.parse().ok()?;
    // More digits than the type has read as an infinite number.
    (value.finite() && printed(value).bytes() == text).then_some(value)
}

fn print_special(value: f64, out: &mut Vec<u8>) {
    out.extend_from_slice(if value.is_nan() {
        b"NaN"
    } else if value > 0.0 {
        b"Infinity"
    } else {
        b"-Infinity"
    });
}

/// A finite number as PostgreSQL prints it.
fn printed<T: Binary>(value: T) -> Text {
    let digits = settled(value);
    let mut text = Text::empty();
    if digits.negative {
        text.push(b"-");
    }
    if (-4..T::FIXED_BELOW).contains(&digits.exponent) {
        push_fixed(&mut text, digits.bytes(), digits.exponent);
    } else {
        push_scientific(&mut text, digits.bytes(), digits.exponent);
    }
    text
}

fn push_fixed(text: &mut Text, digits: &[u8], exponent: i32) {
    // At most 14 before the point and 3 behind it.
    const ZEROS: &[u8] = b"00000000000000000000";
    let zeros = |count: usize| ZEROS.get(..count).unwrap_or_default();
    let Some(whole) = usize::try_from(exponent).ok().map(|exponent| exponent + 1) else {
        text.push(b"0.");
        text.push(zeros(usize::try_from(-exponent - 1).unwrap_or_default()));
        text.push(digits);
        return;
    };
    if digits.len() > whole {
        text.push(&digits[..whole]);
        text.push(b".");
        text.push(&digits[whole..]);
    } else {
        text.push(digits);
        text.push(zeros(whole - digits.len()));
    }
}

fn push_scientific(text: &mut Text, digits: &[u8], exponent: i32) {
    text.push(&digits[..1]);
    if digits.len() > 1 {
        text.push(b".");
        text.push(&digits[1..]);
    }
    text.push(if exponent < 0 { b"e-" } else { b"e+" });
    let mut buffer = [0; 40];
    let size = super::integer::decimal(u128::from(exponent.unsigned_abs()), &mut buffer);
    if size.len() < 2 {
        text.push(b"0");
    }
    text.push(size);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn printed8(value: f64) -> String {
        let mut out = Vec::new();
        print8(value, &mut out);
        String::from_utf8(out).unwrap()
    }

    fn printed4(value: f32) -> String {
        let mut out = Vec::new();
        print4(value, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn prints_as_postgresql_does() {
        let cases: [(f64, &str); 18] = [
            (0.0, "0"),
            (-0.0, "-0"),
            (1.0, "1"),
            (-1.5, "-1.5"),
            (0.1, "0.1"),
            (0.0001, "0.0001"),
            (0.00012, "0.00012"),
            (0.00001, "1e-05"),
            (123_456_789_012_345.0, "123456789012345"),
            (1e15, "1e+15"),
            (1_234_567_890_123_456.0, "1.234567890123456e+15"),
            (1e20, "1e+20"),
            (1.797_693_134_862_315_7e308, "1.7976931348623157e+308"),
            (5e-324, "5e-324"),
            (100.0, "100"),
            (f64::NAN, "NaN"),
            (f64::INFINITY, "Infinity"),
            (f64::NEG_INFINITY, "-Infinity"),
        ];
        for (value, text) in cases {
            assert_eq!(printed8(value), text);
            let parsed = parse8(text.as_bytes()).unwrap();
            assert!(parsed.to_bits() == value.to_bits() || value.is_nan(), "{text}");
        }
        for (value, text) in
            [(1e6_f32, "1e+06"), (123_456.0, "123456"), (0.1, "0.1"), (3.402_823_5e38, "3.4028235e+38")]
        {
            assert_eq!(printed4(value), text);
            assert_eq!(parse4(text.as_bytes()), Some(value));
        }
    }

    /// Digits in the middle between two numbers, and two texts equally near; as PostgreSQL 15 prints them.
    #[test]
    fn edges_and_ties_are_settled_as_postgresql_does() {
        for text in [
            "4.9999999999999996e+22",
            "9.500000000000001e+21",
            "3.1525197391593472e+16",
            "-1.1445979285553562e+15",
            "2.9802322387695312e-08",
            "5.960464477539063e-08",
            "1.0728836059570312e-06",
        ] {
            assert_eq!(printed8(text.parse().unwrap()), text);
        }
        for text in
            ["4.0824528e+07", "-1.02013264e+08", "1.4690712e+06", "177871.12", "498631.62", "1.1754944e-38"]
        {
            assert_eq!(printed4(text.parse().unwrap()), text);
        }
    }

    #[test]
    fn other_spellings_are_not_taken() {
        for text in
            ["", "1.0", "+1", "1e20", "1E+20", "inf", "nan", "0.10", ".5", "1000000000000000", "--1", "1_0"]
        {
            assert_eq!(parse8(text.as_bytes()), None, "{text}");
        }
        assert_eq!(parse4(b"1000000"), None);
        assert_eq!(parse4(b"0.30000000000000004"), None);
    }
}
