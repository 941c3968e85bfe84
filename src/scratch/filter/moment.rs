//! Dates and timestamps as PostgreSQL prints them under DateStyle ISO, which pg_dump always sets. The offset of a
//! `timestamptz` is that of the session that dumped it, so it is taken into account, never compared as text.

/// A point on the time line: microseconds since 1970, or one of the ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Moment {
    /// `-infinity`
    Lowest,
    /// Microseconds; with an offset: in UTC.
    At(i128),
    /// `infinity`
    Highest,
}

/// What a text must have behind its date.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Shape {
    /// Nothing.
    Date,
    /// A time of day.
    Timestamp,
    /// A time of day and an offset.
    TimestampTz,
}

const DAY: i128 = 86_400_000_000;

/// `None` when the text is not as a server prints it.
pub fn parse(text: &[u8], shape: Shape) -> Option<Moment> {
    match text {
        b"infinity" => return Some(Moment::Highest),
        b"-infinity" => return Some(Moment::Lowest),
        _ => {}
    }
    let (text, before_christ) = text.strip_suffix(b" BC").map_or((text, false), |rest| (rest, true));
    let mut scan = Scan { rest: text };
    let year = scan.digits(4, 6)?;
    scan.byte(b'-')?;
    let month = scan.two(1, 12)?;
    scan.byte(b'-')?;
    let day = scan.two(1, 31)?;
    let year = if before_christ { 1 - year } else { year };
    let mut at = days(year, month, day) * DAY;
    if shape != Shape::Date {
        scan.byte(b' ')?;
        at += scan.time_of_day()?;
    }
    if shape == Shape::TimestampTz {
        at -= scan.offset()?;
    }
    scan.rest.is_empty().then_some(Moment::At(at))
}

/// Days since 1970-01-01 in the proleptic Gregorian calendar; source: H. Hinnant, "chrono-Compatible Low-Level Date
/// Algorithms", days_from_civil.
fn days(year: i128, month: i128, day: i128) -> i128 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

struct Scan<'a> {
    rest: &'a [u8],
}

impl Scan<'_> {
    fn byte(&mut self, wanted: u8) -> Option<()> {
        let (first, rest) = self.rest.split_first()?;
        self.rest = rest;
        (*first == wanted).then_some(())
    }

    /// A number of `least` to `most` digits.
    fn digits(&mut self, least: usize, most: usize) -> Option<i128> {
        let count = self.rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        if !(least..=most).contains(&count) {
            return None;
        }
        let (digits, rest) = self.rest.split_at(count);
        self.rest = rest;
        Some(digits.iter().fold(0, |number, digit| number * 10 + i128::from(digit - b'0')))
    }

    fn two(&mut self, least: i128, most: i128) -> Option<i128> {
        self.digits(2, 2).filter(|number| (least..=most).contains(number))
    }

    fn time_of_day(&mut self) -> Option<i128> {
        let hours = self.two(0, 23)?;
        self.byte(b':')?;
        let minutes = self.two(0, 59)?;
        self.byte(b':')?;
        let seconds = self.two(0, 59)?;
        let mut micros = ((hours * 60 + minutes) * 60 + seconds) * 1_000_000;
        if self.rest.first() == Some(&b'.') {
            self.byte(b'.')?;
            let before = self.rest.len();
            let fraction = self.digits(1, 6)?;
            let missing = 6_u32.checked_sub(u32::try_from(before - self.rest.len()).ok()?)?;
            micros += fraction * 10_i128.pow(missing);
        }
        Some(micros)
    }

    /// `+02`, `-03:30`, `+00:19:32`.
    fn offset(&mut self) -> Option<i128> {
        let (sign, rest) = self.rest.split_first()?;
        let sign = match sign {
            b'+' => 1,
            b'-' => -1,
            _ => return None,
        };
        self.rest = rest;
        let mut seconds = self.two(0, 59)? * 3600;
        for unit in [60, 1] {
            if self.rest.is_empty() {
                break;
            }
            self.byte(b':')?;
            seconds += self.two(0, 59)? * unit;
        }
        Some(sign * seconds * 1_000_000)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tz(text: &str) -> Option<Moment> {
        parse(text.as_bytes(), Shape::TimestampTz)
    }

    #[test]
    fn one_moment_in_many_offsets() {
        let noon = Some(Moment::At(1_772_366_400_000_000));
        for text in [
            "2026-03-01 12:00:00+00",
            "2026-03-01 13:00:00+01",
            "2026-03-01 08:30:00-03:30",
            "2026-03-01 12:19:32+00:19:32",
            "2026-03-02 02:00:00.000000+14",
        ] {
            assert_eq!(tz(text), noon, "{text}");
        }
        assert_eq!(parse(b"2026-03-01 12:00:00", Shape::Timestamp), noon);
        assert_eq!(tz("2026-03-01 12:00:00.1+00"), Some(Moment::At(1_772_366_400_100_000)));
    }

    #[test]
    fn the_time_line_is_in_order() {
        let dates = [
            "-infinity",
            "4713-01-01 BC",
            "0044-03-15 BC",
            "0001-12-31 BC",
            "0001-01-01",
            "1970-01-01",
            "2024-02-29",
            "2024-03-01",
            "12026-01-01",
            "294276-12-31",
            "infinity",
        ];
        let parsed: Vec<_> = dates.iter().map(|text| parse(text.as_bytes(), Shape::Date).unwrap()).collect();
        assert!(parsed.is_sorted_by(|left, right| left < right), "{parsed:?}");
        assert_eq!(parsed[5], Moment::At(0));
        assert_eq!(parsed[7], Moment::At(19_783 * DAY));
    }

    #[test]
    fn other_spellings_are_not_read() {
        for odd in [
            "2026-1-01",
            "2026-13-01",
            "26-01-01",
            "2026-01-01 00:00:00",
            "01.02.2026",
            "2026-01-01 ",
            "today",
            "",
        ] {
            assert_eq!(parse(odd.as_bytes(), Shape::Date), None, "{odd}");
        }
        for odd in [
            "2026-01-01 00:00:00",
            "2026-01-01 00:00:00 CET",
            "2026-01-01 24:00:00+00",
            "2026-01-01 00:00:00+0100",
            "2026-01-01 00:00:00.1234567+00",
        ] {
            assert_eq!(tz(odd), None, "{odd}");
        }
    }
}
