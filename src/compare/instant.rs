//! Moments that another session printed in its own time zone, in the spelling of a session in UTC. Asks nobody.

use jiff::SignedDuration;
use jiff::civil::DateTime;

use crate::value::copy_text::is_null;

/// The field as a session in UTC prints it; `None` when it already is, or cannot be brought there (years beyond 9999,
/// BC): then its text is all there is.
pub(super) fn in_utc(field: &[u8]) -> Option<Vec<u8>> {
    if field.ends_with(b"+00") || is_null(field) {
        return None;
    }
    let text = std::str::from_utf8(field).ok()?;
    let clock = text.get(..19)?;
    let zone = 19 + text.get(19..)?.find(['+', '-'])?;
    let moved = civil(clock)?.checked_sub(offset(&text[zone..])?).ok()?;
    let (date, time) = (moved.date(), moved.time());
    let printed = format!(
        "{:04}-{:02}-{:02} {:02}:{:02}:{:02}{}+00",
        date.year(),
        date.month(),
        date.day(),
        time.hour(),
        time.minute(),
        time.second(),
        // An offset is whole seconds: the fraction stays.
        &text[19..zone]
    );
    (date.year() > 0).then(|| printed.into_bytes())
}

/// Reads `2026-11-19 14:03:00`.
fn civil(text: &str) -> Option<DateTime> {
    let marks = text.bytes().enumerate().all(|(at, byte)| match at {
        4 | 7 => byte == b'-',
        10 => byte == b' ',
        13 | 16 => byte == b':',
        _ => byte.is_ascii_digit(),
    });
    let part = |from: usize, to: usize| text.get(from..to)?.parse::<i8>().ok();
    let year = text.get(..4)?.parse::<i16>().ok()?;
    marks.then_some(())?;
    DateTime::new(year, part(5, 7)?, part(8, 10)?, part(11, 13)?, part(14, 16)?, part(17, 19)?, 0).ok()
}

/// Reads `+02`, `-03:30`, `+00:19:32`.
fn offset(text: &str) -> Option<SignedDuration> {
    let (sign, digits) = text.split_at_checked(1)?;
    let mut seconds = 0;
    let mut unit = 3600;
    for part in digits.split(':') {
        seconds += unit * part.parse::<u32>().ok().map(i64::from)?;
        unit /= 60;
    }
    Some(SignedDuration::from_secs(if sign == "-" { -seconds } else { seconds }))
}

#[cfg(test)]
mod tests {
    use super::in_utc;

    fn utc(text: &str) -> Option<String> {
        in_utc(text.as_bytes()).map(|bytes| String::from_utf8(bytes).unwrap())
    }

    #[test]
    fn other_zones_come_to_utc_and_nothing_is_rounded() {
        let pairs = [
            ("2026-11-19 14:03:00+02", "2026-11-19 12:03:00+00"),
            ("2026-01-01 00:30:00.123456+01", "2025-12-31 23:30:00.123456+00"),
            ("2024-02-28 22:00:00-03:30", "2024-02-29 01:30:00+00"),
            ("1900-01-01 00:00:00+00:19:32", "1899-12-31 23:40:28+00"),
        ];
        for (text, wanted) in pairs {
            assert_eq!(utc(text).as_deref(), Some(wanted));
        }
    }

    #[test]
    fn what_is_utc_already_or_out_of_reach_stays_as_it_is() {
        for text in [
            "2026-11-19 14:03:00+00",
            "\\N",
            "infinity",
            "-infinity",
            "10000-01-01 00:00:00+02",
            "0044-03-15 12:00:00+00:49:56 BC",
            "0001-01-01 00:30:00+01",
        ] {
            assert_eq!(utc(text), None, "{text}");
        }
    }
}
