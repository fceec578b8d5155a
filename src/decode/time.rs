//! Points in time and dates from their text.
//!
//! The shape that nearly every record has, `2026-01-01T00:00:00.000Z`, is read by hand; every other
//! goes to chrono. Digits below a microsecond are cut off. Text without an offset is UTC.

use chrono::{DateTime, Datelike, NaiveDate, NaiveDateTime};

use super::fault::ValueFault;

const MICROS_A_DAY: i64 = 86_400_000_000;
/// 0001-01-01T00:00:00Z.
const FIRST_MICROS: i64 = -62_135_596_800_000_000;
/// 9999-12-31T23:59:59.999999Z.
const LAST_MICROS: i64 = 253_402_300_799_999_999;
/// Days from 0000-03-01 to 1970-01-01 in the proleptic Gregorian calendar.
const DAYS_BEFORE_EPOCH: i64 = 719_468;

/// Microseconds since 1970-01-01T00:00:00Z of ISO 8601 text.
pub(super) fn parse_timestamp(text: &str) -> Result<i64, ValueFault> {
    match parse_common_shape(text.as_bytes()) {
        Some(micros) => Ok(micros),
        None => parse_any_shape(text),
    }
}

/// Days since 1970-01-01 of an ISO 8601 date.
pub(super) fn parse_date(text: &str) -> Result<i32, ValueFault> {
    let date = NaiveDate::parse_from_str(text, "%Y-%m-%d").map_err(|_| ValueFault::Unreadable)?;
    if !(1..=9999).contains(&date.year()) {
        return Err(ValueFault::YearOutOfRange);
    }
    let days = date.signed_duration_since(NaiveDate::default()).num_days();
    i32::try_from(days).map_err(|_| ValueFault::YearOutOfRange)
}

/// Refuses times outside the years 1 to 9999, which no RFC 3339 text could write.
pub(super) fn check_year(micros: i64) -> Result<i64, ValueFault> {
    match (FIRST_MICROS..=LAST_MICROS).contains(&micros) {
        true => Ok(micros),
        false => Err(ValueFault::YearOutOfRange),
    }
}

/// `YYYY-MM-DDTHH:MM:SS`, up to nine digits of a fraction, and `Z` or nothing.
fn parse_common_shape(text: &[u8]) -> Option<i64> {
    let (seconds, rest) = text.split_at_checked(19)?;
    let separators = [seconds[4], seconds[7], seconds[13], seconds[16]];
    if separators != *b"--::" || !matches!(seconds[10], b'T' | b' ') {
        return None;
    }
    let year = two_digits(seconds, 0)? * 100 + two_digits(seconds, 2)?;
    let (month, day) = (two_digits(seconds, 5)?, two_digits(seconds, 8)?);
    let (hour, minute, second) =
        (two_digits(seconds, 11)?, two_digits(seconds, 14)?, two_digits(seconds, 17)?);
    let in_range = year >= 1 && (1..=12).contains(&month) && hour < 24 && minute < 60 && second < 60;
    if !in_range || day < 1 || day > days_in_month(year, month) {
        return None;
    }
    let fraction = parse_fraction(rest)?;
    let time_of_day = (hour * 3600 + minute * 60 + second) * 1_000_000 + fraction;
    Some(days_from_civil(year, month, day) * MICROS_A_DAY + time_of_day)
}

fn two_digits(text: &[u8], at: usize) -> Option<i64> {
    let tens = text.get(at)?.wrapping_sub(b'0');
    let ones = text.get(at + 1)?.wrapping_sub(b'0');
    (tens < 10 && ones < 10).then(|| i64::from(tens) * 10 + i64::from(ones))
}

/// Microseconds of `.123`, `.123Z`, `Z` or nothing.
fn parse_fraction(rest: &[u8]) -> Option<i64> {
    let rest = rest.strip_suffix(b"Z").unwrap_or(rest);
    let Some((point, digits)) = rest.split_first() else {
        return Some(0);
    };
    if *point != b'.' || digits.is_empty() || digits.len() > 9 {
        return None;
    }
    let mut micros = 0;
    for index in 0..digits.len().max(6) {
        let digit = digits.get(index).copied().unwrap_or(b'0').wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        if index < 6 {
            micros = micros * 10 + i64::from(digit);
        }
    }
    Some(micros)
}

fn days_in_month(year: i64, month: i64) -> i64 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days since 1970-01-01, counted in years that begin in March so that a leap day comes last.
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let march_year = if month <= 2 { year - 1 } else { year };
    let march_month = (month + 9) % 12;
    let day_of_year = (153 * march_month + 2) / 5 + day - 1;
    let leap_days = march_year / 4 - march_year / 100 + march_year / 400;
    march_year * 365 + leap_days + day_of_year - DAYS_BEFORE_EPOCH
}

#[cold]
fn parse_any_shape(text: &str) -> Result<i64, ValueFault> {
    if let Ok(time) = DateTime::parse_from_rfc3339(text) {
        return check_year(time.timestamp_micros());
    }
    for shape in ["%Y-%m-%dT%H:%M:%S%.f%#z", "%Y-%m-%d %H:%M:%S%.f%#z", "%Y-%m-%d %H:%M:%S%.f %#z"] {
        if let Ok(time) = DateTime::parse_from_str(text, shape) {
            return check_year(time.timestamp_micros());
        }
    }
    for shape in ["%Y-%m-%dT%H:%M:%S%.fZ", "%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%dT%H:%M"] {
        if let Ok(time) = NaiveDateTime::parse_from_str(text, shape) {
            return check_year(time.and_utc().timestamp_micros());
        }
    }
    let days = parse_date(text)?;
    Ok(i64::from(days) * MICROS_A_DAY)
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::SecondsFormat;
    use rand::{RngExt, SeedableRng};

    #[test]
    fn the_hand_written_parser_agrees_with_chrono() {
        let seed = 20_261_123;
        println!("seed {seed}");
        let mut random = rand_chacha::ChaCha8Rng::seed_from_u64(seed);
        for _ in 0..200_000 {
            let micros = random.random_range(FIRST_MICROS..=LAST_MICROS);
            let time = DateTime::from_timestamp_micros(micros).unwrap();
            let text = time.to_rfc3339_opts(SecondsFormat::Micros, true);
            assert_eq!(parse_common_shape(text.as_bytes()), Some(micros), "{text}");
            assert_eq!(parse_any_shape(&text), Ok(micros), "{text}");
        }
    }

    #[test]
    fn the_hand_written_parser_accepts_nothing_that_chrono_refuses() {
        let seed = 7;
        println!("seed {seed}");
        let mut random = rand_chacha::ChaCha8Rng::seed_from_u64(seed);
        let letters = b"0123456789-:TZ. 2+";
        for _ in 0..200_000 {
            let mut text = b"2024-02-28T23:59:59.123Z".to_vec();
            for _ in 0..random.random_range(1..4) {
                let at = random.random_range(0..text.len());
                text[at] = letters[random.random_range(0..letters.len())];
            }
            let text = String::from_utf8(text).unwrap();
            if let Some(micros) = parse_common_shape(text.as_bytes()) {
                assert_eq!(parse_any_shape(&text), Ok(micros), "{text}");
            }
        }
    }

    #[test]
    fn every_usual_shape_of_one_instant_reads_the_same() {
        for text in [
            "2025-11-22T10:15:02.123Z",
            "2025-11-22 10:15:02.123",
            "2025-11-22T10:15:02.123",
            "2025-11-22T11:15:02.123+01:00",
            "2025-11-22T05:45:02.123-0430",
            "2025-11-22 11:15:02.123+01",
            "2025-11-22t10:15:02.123z",
            "2025-11-22T10:15:02.123000999Z",
            "2025-11-22 10:15:02.123Z",
        ] {
            assert_eq!(parse_timestamp(text), Ok(1_763_806_502_123_000), "{text}");
        }
        assert_eq!(parse_timestamp("2025-11-22"), Ok(1_763_769_600_000_000));
        assert_eq!(parse_timestamp("2025-11-22T10:15"), Ok(1_763_806_500_000_000));
    }

    #[test]
    fn times_that_do_not_exist_are_refused() {
        for text in [
            "",
            "now",
            "2025-02-29T00:00:00Z",
            "2025-13-01T00:00:00Z",
            "2025-01-01T24:00:00Z",
            "2025-01-01T00:60:00Z",
            "2025-01-01T00:00:00.Z",
            "22/11/2025",
            "1763806502",
        ] {
            assert_eq!(parse_timestamp(text), Err(ValueFault::Unreadable), "{text}");
        }
    }

    #[test]
    fn years_before_1_and_after_9999_are_out_of_range() {
        for text in ["0000-01-01T00:00:00Z", "+12026-01-01T00:00:00", "-0001-01-01T00:00:00", "0000-12-31"] {
            assert_eq!(parse_timestamp(text), Err(ValueFault::YearOutOfRange), "{text}");
        }
        assert_eq!(parse_timestamp("0001-01-01T00:00:00Z"), Ok(FIRST_MICROS));
        assert_eq!(parse_timestamp("9999-12-31T23:59:59.999999Z"), Ok(LAST_MICROS));
    }

    #[test]
    fn dates_read_as_days() {
        assert_eq!(parse_date("1970-01-02"), Ok(1));
        assert_eq!(parse_date("1969-12-31"), Ok(-1));
        assert!(parse_date("2025-02-30").is_err());
        assert!(parse_date("2025-02-03T00:00:00").is_err());
    }
}
