//! `numeric(p,s)` with p up to 38 and 0 ≤ s ≤ p as a 128-bit integer counting units of 10^-s. PostgreSQL prints exactly
//! s digits after the point. `NaN` and everything larger stay text.

use super::integer::{decimal, digit};

/// Can a column of this precision and scale be a decimal of 128 bits?
pub fn fits_decimal(precision: u16, scale: i16) -> Option<(u8, i8)> {
    let (precision, scale) = (u8::try_from(precision).ok()?, i8::try_from(scale).ok()?);
    let scale_digits = u8::try_from(scale).ok()?;
    ((1..=38).contains(&precision) && scale_digits <= precision).then_some((precision, scale))
}

/// The units, if a `numeric(precision, scale)` would be printed exactly so.
pub fn parse(text: &[u8], precision: u8, scale: i8) -> Option<i128> {
    let scale = usize::try_from(scale).ok()?;
    let (negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    let (whole, fraction) = match digits.len().checked_sub(scale + 1) {
        Some(point) if scale > 0 => match digits.split_at_checked(point)? {
            (whole, [b'.', fraction @ ..]) => (whole, fraction),
            _ => return None,
        },
        _ if scale > 0 => return None,
        _ => (digits, &[][..]),
    };
    match whole {
        [b'0'] => {}
        [] | [b'0', ..] => return None,
        whole if whole.len() + scale > usize::from(precision) => return None,
        _ => {}
    }
    let mut units: i128 = 0;
    for &byte in whole.iter().chain(fraction) {
        units = units * 10 + i128::from(digit(byte)?);
    }
    match (negative, units) {
        (true, 0) => None,
        (true, units) => Some(-units),
        (false, units) => Some(units),
    }
}

/// Appends `units` of 10^-scale with exactly `scale` digits after the point.
pub fn print(units: i128, scale: u8, out: &mut Vec<u8>) {
    if units < 0 {
        out.push(b'-');
    }
    let mut buffer = [0; 40];
    let digits = decimal(units.unsigned_abs(), &mut buffer);
    let scale = usize::from(scale);
    if scale == 0 {
        out.extend_from_slice(digits);
        return;
    }
    match digits.len().checked_sub(scale) {
        Some(whole) if whole > 0 => {
            out.extend_from_slice(&digits[..whole]);
            out.push(b'.');
            out.extend_from_slice(&digits[whole..]);
        }
        _ => {
            out.extend_from_slice(b"0.");
            for _ in digits.len()..scale {
                out.push(b'0');
            }
            out.extend_from_slice(digits);
        }
    }
}

/// The same number counted in units of another scale; `None` when that would lose digits or does not fit.
pub fn rescale(units: i128, from: i8, to: i8) -> Option<i128> {
    let shift = i32::from(to) - i32::from(from);
    let factor = 10_i128.checked_pow(shift.unsigned_abs())?;
    if shift >= 0 { units.checked_mul(factor) } else { (units % factor == 0).then_some(units / factor) }
}

/// Has the number at most `precision` digits?
pub fn within(units: i128, precision: u8) -> bool {
    10_u128.checked_pow(u32::from(precision)).is_none_or(|limit| units.unsigned_abs() < limit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_parsed_prints_back() {
        let widest = "9".repeat(38);
        let small = format!("-0.{}1", "0".repeat(37));
        let cases: [(&str, u8, i8); 9] = [
            ("0.00", 12, 2),
            ("-0.01", 12, 2),
            ("1234567890.12", 12, 2),
            ("0", 5, 0),
            ("-99999", 5, 0),
            (&widest, 38, 0),
            (&small, 38, 38),
            ("0.5", 1, 1),
            ("10.50", 12, 2),
        ];
        for (text, precision, scale) in cases {
            let mut out = Vec::new();
            print(parse(text.as_bytes(), precision, scale).unwrap(), scale.unsigned_abs(), &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), text);
        }
        for foreign in [
            "",
            "-",
            "1",
            "1.5",
            "1.500",
            "01.50",
            "-0.00",
            "NaN",
            "Infinity",
            ".50",
            "+1.00",
            "12345678901.00",
            "1.5x",
        ] {
            assert_eq!(parse(foreign.as_bytes(), 12, 2), None, "{foreign}");
        }
        assert_eq!(parse(b"1.", 5, 0), None);
    }

    #[test]
    fn rescaling_never_rounds() {
        assert_eq!(
            (rescale(12_300, 4, 2), rescale(12_345, 4, 2), rescale(5, 0, 2)),
            (Some(123), None, Some(500))
        );
        assert_eq!((within(99, 2), within(-100, 2)), (true, false));
    }
}
