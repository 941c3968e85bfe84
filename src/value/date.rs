//! `date` in DateStyle ISO, years 0001 to 9999, as days since 1970-01-01. `infinity`, BC and larger years stay text:
//! other readers of Parquet do not agree on what lies beyond.

use super::integer::{fixed_digits, print_padded};

/// First and last day that are taken, as days since 1970-01-01: 0001-01-01 and 9999-12-31.
pub const RANGE: std::ops::RangeInclusive<i32> = -719_162..=2_932_896;

/// Days since 1970-01-01 of `YYYY-MM-DD`.
pub fn parse(text: &[u8]) -> Option<i32> {
    let [y1, y2, y3, y4, b'-', m1, m2, b'-', d1, d2] = *text else { return None };
    let year = fixed_digits(&[y1, y2, y3, y4])?;
    let (month, day) = (fixed_digits(&[m1, m2])?, fixed_digits(&[d1, d2])?);
    if year == 0 || !(1..=12).contains(&month) || day == 0 || day > days_in_month(year, month) {
        return None;
    }
    i32::try_from(i64::from(days_before(year, month) + day - 1) - DAYS_TO_1970).ok()
}

/// Appends `YYYY-MM-DD`; `None` (and nothing appended) outside of [`RANGE`].
pub fn print(days: i32, out: &mut Vec<u8>) -> Option<()> {
    if !RANGE.contains(&days) {
        return None;
    }
    let (year, month, day) = civil(u32::try_from(i64::from(days) + DAYS_TO_1970).ok()?);
    print_padded(year, 4, out);
    out.push(b'-');
    print_padded(month, 2, out);
    out.push(b'-');
    print_padded(day, 2, out);
    Some(())
}

/// Days from 0000-03-01 to 1970-01-01. Counting years from March makes the leap day the last of its year.
const DAYS_TO_1970: i64 = 719_468;

/// Days from 0000-03-01 to the first of a month. Source: H. Hinnant, "chrono-Compatible Low-Level Date Algorithms".
fn days_before(year: u32, month: u32) -> u32 {
    let year = if month <= 2 { year - 1 } else { year };
    let months_from_march = (month + 9) % 12;
    year * 365 + year / 4 - year / 100 + year / 400 + (153 * months_from_march + 2) / 5
}

/// Year, month and day of a number of days since 0000-03-01.
fn civil(days: u32) -> (u32, u32, u32) {
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let months_from_march = (5 * day_of_year + 2) / 153;
    let month = if months_from_march < 10 { months_from_march + 3 } else { months_from_march - 9 };
    let year = era * 400 + year_of_era + u32::from(month <= 2);
    (year, month, day_of_year - (153 * months_from_march + 2) / 5 + 1)
}

fn days_in_month(year: u32, month: u32) -> u32 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400)) => 29,
        2 => 28,
        _ => 31,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_day_prints_and_parses_back() {
        let mut out = Vec::new();
        for days in RANGE {
            out.clear();
            print(days, &mut out).unwrap();
            assert_eq!(parse(&out), Some(days));
        }
        assert_eq!((parse(b"1970-01-01"), parse(b"2000-02-29")), (Some(0), Some(11_016)));
        assert_eq!((parse(b"0001-01-01"), parse(b"9999-12-31")), (Some(*RANGE.start()), Some(*RANGE.end())));
        assert_eq!((print(RANGE.end() + 1, &mut out), print(RANGE.start() - 1, &mut out)), (None, None));
    }

    #[test]
    fn other_texts_are_not_taken() {
        for text in [
            "",
            "infinity",
            "0000-01-01",
            "2001-02-29",
            "1900-02-29",
            "2000-13-01",
            "2000-00-10",
            "2000-01-00",
            "0044-03-15 BC",
            "10000-01-01",
            "2000-1-1",
            "2000/01/01",
            "2000-04-31",
        ] {
            assert_eq!(parse(text.as_bytes()), None, "{text}");
        }
    }
}
