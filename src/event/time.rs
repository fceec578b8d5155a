//! Event time and lengths of time, both in microseconds.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, SecondsFormat};
use serde::{Deserialize, Deserializer};

/// Microseconds since 1970-01-01T00:00:00Z, from the record, never from the host's clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventTime(pub i64);

impl fmt::Display for EventTime {
    /// RFC 3339 in UTC with as many digits as the value needs: none, 3 or 6.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match DateTime::from_timestamp_micros(self.0) {
            Some(time) => f.write_str(&time.to_rfc3339_opts(SecondsFormat::AutoSi, true)),
            None => write!(f, "{} µs", self.0),
        }
    }
}

/// A length of time of zero or more, in microseconds; written `250ms`, `5s`, `10m`, `24h`, `7d`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Span(pub i64);

const UNITS: [(&str, i64); 6] = [
    ("d", 86_400_000_000),
    ("h", 3_600_000_000),
    ("m", 60_000_000),
    ("s", 1_000_000),
    ("ms", 1_000),
    ("us", 1),
];

impl Span {
    /// A span of whole seconds.
    pub const fn seconds(count: i64) -> Self {
        Self(count * 1_000_000)
    }

    /// The span as the standard library's type.
    pub fn to_std(self) -> std::time::Duration {
        std::time::Duration::from_micros(self.0.max(0).unsigned_abs())
    }
}

/// A length of time that can't be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not a length of time: write a whole number and a unit, such as \"250ms\", \"5s\", \"10m\", \"24h\" or \"7d\""
)]
pub struct SpanError(pub String);

impl FromStr for Span {
    type Err = SpanError;

    fn from_str(text: &str) -> Result<Self, SpanError> {
        let error = || SpanError(text.to_owned());
        let digits = text.find(|c: char| !c.is_ascii_digit()).ok_or_else(error)?;
        let (number, unit) = text.split_at(digits);
        let number: i64 = number.parse().map_err(|_| error())?;
        let (_, micros) = UNITS.iter().find(|(name, _)| *name == unit.trim()).ok_or_else(error)?;
        number.checked_mul(*micros).map(Span).ok_or_else(error)
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == 0 {
            return f.write_str("0s");
        }
        let (unit, micros) = UNITS.iter().find(|(_, micros)| self.0 % micros == 0).unwrap_or(&("us", 1));
        write!(f, "{}{unit}", self.0 / micros)
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_read_back_as_they_are_written() {
        for text in ["250ms", "5s", "10m", "24h", "7d", "0s", "90m"] {
            let span: Span = text.parse().expect(text);
            assert_eq!(span.to_string().parse::<Span>().expect(text), span);
        }
        assert_eq!("90m".parse::<Span>(), Ok(Span::seconds(5400)));
    }

    #[test]
    fn a_span_without_a_unit_or_past_the_range_is_refused() {
        for text in ["", "5", "s", "5 weeks", "-1s", "1.5h", "99999999999999999999s", "9223372036854775807d"]
        {
            assert!(text.parse::<Span>().is_err(), "{text}");
        }
    }

    #[test]
    fn event_times_print_as_rfc_3339_in_utc() {
        assert_eq!(EventTime(1_763_806_502_123_000).to_string(), "2025-11-22T10:15:02.123Z");
        assert_eq!(EventTime(i64::MAX).to_string(), format!("{} µs", i64::MAX));
    }
}
