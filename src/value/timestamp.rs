//! `timestamp` and `timestamp with time zone` (in `TimeZone` UTC, so always `+00`), DateStyle ISO, years 0001 to 9999, as
//! microseconds since 1970-01-01 00:00. `infinity`, BC and other zones stay text.

use super::{date, time};

const UTC: &[u8] = b"+00";

/// Whether the text names its zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Zone {
    /// `timestamp without time zone`.
    Absent,
    /// `timestamp with time zone`, printed in UTC.
    Utc,
}

/// Microseconds since 1970-01-01 00:00 (UTC where there is a zone).
pub fn parse(text: &[u8], zone: Zone) -> Option<i64> {
    let text = match zone {
        Zone::Absent => text,
        Zone::Utc => text.strip_suffix(UTC)?,
    };
    let (day, clock) = text.split_at_checked(10)?;
    let clock = clock.strip_prefix(b" ")?;
    Some(i64::from(date::parse(day)?) * time::DAY + time::parse(clock)?)
}

/// Appends the timestamp; `None` (and nothing appended) outside of the years 0001 to 9999.
pub fn print(microseconds: i64, zone: Zone, out: &mut Vec<u8>) -> Option<()> {
    let day = i32::try_from(microseconds.div_euclid(time::DAY)).ok()?;
    date::print(day, out)?;
    out.push(b' ');
    time::print(microseconds.rem_euclid(time::DAY), out)?;
    if zone == Zone::Utc {
        out.extend_from_slice(UTC);
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_parsed_prints_back() {
        for text in [
            "1970-01-01 00:00:00",
            "1969-12-31 23:59:59.999999",
            "0001-01-01 00:00:00",
            "9999-12-31 23:59:59.5",
        ] {
            for (zone, suffix) in [(Zone::Absent, ""), (Zone::Utc, "+00")] {
                let (text, mut out) = (format!("{text}{suffix}"), Vec::new());
                print(parse(text.as_bytes(), zone).unwrap(), zone, &mut out).unwrap();
                assert_eq!(String::from_utf8(out).unwrap(), text);
            }
        }
        assert_eq!(parse(b"1970-01-02 00:00:01+00", Zone::Utc), Some(86_401_000_000));
        for text in [
            "infinity",
            "-infinity",
            "0044-03-15 00:00:00 BC",
            "10000-01-01 00:00:00",
            "2000-01-01",
            "2000-01-01T00:00:00",
            "2000-01-01 00:00:00+00",
        ] {
            assert_eq!(parse(text.as_bytes(), Zone::Absent), None, "{text}");
        }
        for text in ["2000-01-01 00:00:00", "2000-01-01 00:00:00+02", "infinity", "2000-01-01 00:00:00+00 BC"]
        {
            assert_eq!(parse(text.as_bytes(), Zone::Utc), None, "{text}");
        }
        assert_eq!(print(i64::MAX, Zone::Utc, &mut Vec::new()), None);
    }
}
