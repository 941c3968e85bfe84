//! `real` and `double precision` as PostgreSQL prints them with `extra_float_digits` 1: the shortest digits that read
//! back to the same number, fixed notation for exponents from -4 up to 14 (`real`: 5), else `1e+20`, `1e-05`.
//! Source: `to_chars` in PostgreSQL's d2s.c and f2s.c.
//!
//! Where two texts are equally short PostgreSQL never takes one that lies exactly between two numbers and Rust may;
//! such a text is simply not taken as native (`parse` compares), so the column stays text.

use std::io::Write;

/// The number, if it prints back as exactly this text.
pub fn parse4(text: &[u8]) -> Option<f32> {
    let value = match text {
        b"NaN" => return Some(f32::NAN),
        b"Infinity" => return Some(f32::INFINITY),
        b"-Infinity" => return Some(f32::NEG_INFINITY),
        _ => number(text)?.parse().ok()?,
    };
    let mut printed = Printed::default();
    print_finite(&Shortest::of(format_args!("{value:e}")), FIXED_BELOW_REAL, &mut printed);
    (printed.bytes() == text).then_some(value)
}

/// The number, if it prints back as exactly this text.
pub fn parse8(text: &[u8]) -> Option<f64> {
    let value = match text {
        b"NaN" => return Some(f64::NAN),
        b"Infinity" => return Some(f64::INFINITY),
        b"-Infinity" => return Some(f64::NEG_INFINITY),
        _ => number(text)?.parse().ok()?,
    };
    let mut printed = Printed::default();
    print_finite(&Shortest::of(format_args!("{value:e}")), FIXED_BELOW_DOUBLE, &mut printed);
    (printed.bytes() == text).then_some(value)
}

/// Appends a `real` as PostgreSQL prints it.
pub fn print4(value: f32, out: &mut Vec<u8>) {
    if value.is_finite() {
        let mut printed = Printed::default();
        print_finite(&Shortest::of(format_args!("{value:e}")), FIXED_BELOW_REAL, &mut printed);
        out.extend_from_slice(printed.bytes());
    } else {
        print_special(f64::from(value), out);
    }
}

/// Appends a `double precision` as PostgreSQL prints it.
pub fn print8(value: f64, out: &mut Vec<u8>) {
    if value.is_finite() {
        let mut printed = Printed::default();
        print_finite(&Shortest::of(format_args!("{value:e}")), FIXED_BELOW_DOUBLE, &mut printed);
        out.extend_from_slice(printed.bytes());
    } else {
        print_special(value, out);
    }
}

const FIXED_BELOW_REAL: i32 = 6;
const FIXED_BELOW_DOUBLE: i32 = 15;

/// Only what may be a printed number: Rust's parser would also take `inf`, `+1` or `1_0`.
fn number(text: &[u8]) -> Option<&str> {
    let plausible =
        text.len() < 40 && text.iter().all(|b| matches!(b, b'0'..=b'9' | b'.' | b'-' | b'+' | b'e'));
    if plausible { std::str::from_utf8(text).ok() } else { None }
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

/// Text of at most 40 bytes on the stack.
struct Printed {
    buffer: [u8; 40],
    length: usize,
}

impl Default for Printed {
    fn default() -> Self {
        Self { buffer: [0; 40], length: 0 }
    }
}

impl Printed {
    fn bytes(&self) -> &[u8] {
        &self.buffer[..self.length]
    }

    fn push(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            if let Some(place) = self.buffer.get_mut(self.length) {
                *place = byte;
                self.length += 1;
            }
        }
    }

    fn push_zeros(&mut self, count: i32) {
        for _ in 0..count {
            self.push(b"0");
        }
    }
}

/// Sign, shortest digits and decimal exponent (of the first digit) of a finite number.
struct Shortest {
    negative: bool,
    digits: [u8; 20],
    count: usize,
    exponent: i32,
}

impl Shortest {
    /// From Rust's `{:e}`, which is `[-]d[.ddd]e[-]x` with the shortest digits.
    fn of(scientific: std::fmt::Arguments<'_>) -> Self {
        let mut buffer = [0_u8; 40];
        let mut free = &mut buffer[..];
        // 17 digits, two signs, point, `e` and three digits of exponent always fit.
        let written = if free.write_fmt(scientific).is_ok() { 40 - free.len() } else { 0 };
        let mut shortest = Self { negative: false, digits: [0; 20], count: 0, exponent: 0 };
        let mut bytes = buffer[..written].iter();
        for &byte in bytes.by_ref() {
            match byte {
                b'-' => shortest.negative = true,
                b'.' => {}
                b'e' => break,
                digit => {
                    shortest.digits[shortest.count] = digit;
                    shortest.count += 1;
                }
            }
        }
        let mut negative = false;
        for &byte in bytes {
            if byte == b'-' {
                negative = true;
            } else {
                shortest.exponent = shortest.exponent * 10 + i32::from(byte - b'0');
            }
        }
        if negative {
            shortest.exponent = -shortest.exponent;
        }
        shortest
    }
}

fn print_finite(number: &Shortest, fixed_below: i32, out: &mut Printed) {
    if number.negative {
        out.push(b"-");
    }
    let digits = &number.digits[..number.count];
    if (-4..fixed_below).contains(&number.exponent) {
        print_fixed(digits, number.exponent, out);
    } else {
        print_scientific(digits, number.exponent, out);
    }
}

fn print_fixed(digits: &[u8], exponent: i32, out: &mut Printed) {
    let Ok(whole) = usize::try_from(exponent + 1) else {
        out.push(b"0.");
        out.push_zeros(-exponent - 1);
        out.push(digits);
        return;
    };
    if whole == 0 {
        out.push(b"0.");
        out.push(digits);
    } else if digits.len() > whole {
        out.push(&digits[..whole]);
        out.push(b".");
        out.push(&digits[whole..]);
    } else {
        out.push(digits);
        for _ in digits.len()..whole {
            out.push(b"0");
        }
    }
}

fn print_scientific(digits: &[u8], exponent: i32, out: &mut Printed) {
    out.push(&digits[..1]);
    if digits.len() > 1 {
        out.push(b".");
        out.push(&digits[1..]);
    }
    out.push(if exponent < 0 { b"e-" } else { b"e+" });
    let mut buffer = [0; 40];
    let size = super::integer::decimal(u128::from(exponent.unsigned_abs()), &mut buffer);
    if size.len() < 2 {
        out.push(b"0");
    }
    out.push(size);
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
