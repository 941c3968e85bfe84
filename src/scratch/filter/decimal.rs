//! Numerics as PostgreSQL prints them, compared digit by digit.

use std::cmp::Ordering;

/// A numeric's text, checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Decimal<'a> {
    Lowest,
    Finite {
        negative: bool,
        /// Without leading zeros.
        whole: &'a [u8],
        /// Without trailing zeros.
        part: &'a [u8],
    },
    Highest,
    /// PostgreSQL orders it behind everything else, equal to itself.
    NotANumber,
}

/// How two numerics compare; `None` when one of the texts is not as a server prints it.
pub fn compare(left: &[u8], right: &[u8]) -> Option<Ordering> {
    let (left, right) = (parse(left)?, parse(right)?);
    let rank = |value: &Decimal<'_>| match value {
        Decimal::Lowest => 0,
        Decimal::Finite { .. } => 1,
        Decimal::Highest => 2,
        Decimal::NotANumber => 3,
    };
    let (Decimal::Finite { negative, whole, part }, Decimal::Finite { negative: other, whole: w, part: p }) =
        (left, right)
    else {
        return Some(rank(&left).cmp(&rank(&right)));
    };
    // Positive before negative; of one sign by the length of the whole part, then digit by digit.
    let size = whole.len().cmp(&w.len()).then_with(|| whole.cmp(w)).then_with(|| part.cmp(p));
    Some(match (negative, other) {
        (false, false) => size,
        (true, true) => size.reverse(),
        (true, false) => Ordering::Less,
        (false, true) => Ordering::Greater,
    })
}

/// Is this a text that a server prints?
pub fn is_numeric(text: &[u8]) -> bool {
    parse(text).is_some()
}

fn parse(text: &[u8]) -> Option<Decimal<'_>> {
    match text {
        b"NaN" => return Some(Decimal::NotANumber),
        b"Infinity" => return Some(Decimal::Highest),
        b"-Infinity" => return Some(Decimal::Lowest),
        _ => {}
    }
    let (negative, digits) = text.strip_prefix(b"-").map_or((false, text), |rest| (true, rest));
    let (whole, part) = match memchr::memchr(b'.', digits) {
        Some(point) => (&digits[..point], &digits[point + 1..]),
        None => (digits, &digits[digits.len()..]),
    };
    let pure = |digits: &[u8]| digits.iter().all(u8::is_ascii_digit);
    if whole.is_empty() || !pure(whole) || !pure(part) {
        return None;
    }
    let first = whole.iter().position(|&digit| digit != b'0').unwrap_or(whole.len());
    let last = part.iter().rposition(|&digit| digit != b'0').map_or(0, |at| at + 1);
    let (whole, part) = (&whole[first..], &part[..last]);
    // There is one zero.
    let negative = negative && !(whole.is_empty() && part.is_empty());
    Some(Decimal::Finite { negative, whole, part })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_ordered_as_the_server_orders_them() {
        let ordered = [
            "-Infinity",
            "-100",
            "-99.5",
            "-1.01",
            "-1",
            "-0.001",
            "0.00",
            "0.001",
            "0.01",
            "1",
            "1.1",
            "9.99",
            "10",
            "Infinity",
            "NaN",
        ];
        for (at, left) in ordered.iter().enumerate() {
            for (other, right) in ordered.iter().enumerate() {
                assert_eq!(
                    compare(left.as_bytes(), right.as_bytes()),
                    Some(at.cmp(&other)),
                    "{left} {right}"
                );
            }
        }
        for (left, right) in [("1", "1.000"), ("-0", "0.0"), ("007", "7"), ("-1.50", "-1.5")] {
            assert_eq!(compare(left.as_bytes(), right.as_bytes()), Some(Ordering::Equal));
        }
        for odd in ["", "-", ".5", "1e5", " 1", "+1", "0x1f", "1_000", "nan"] {
            assert_eq!(compare(odd.as_bytes(), b"1"), None, "{odd}");
        }
    }
}
