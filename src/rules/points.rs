//! `@score`: the points of a hit, a number or a selected column, such as a model's prediction.
//!
//! `60` gives every hit 60 points. `{points}` gives each what its column says, and `{risk} * 1000` a column times a
//! number. Anything else a mapping needs is written in the query.

use std::fmt;
use std::sync::Arc;

use serde::{Serialize, Serializer};

use super::header::Header;
use crate::diagnostic::{Diagnostic, SourceText};
use crate::sql::Output;

/// The most points that every hit of a rule can have.
const FIXED_MAX: u32 = 1_000;

/// The most points that one hit can have by its column.
pub const POINTS_MAX: u32 = 1_000_000;

/// How many points a hit has.
#[derive(Debug, Clone, PartialEq)]
pub enum Points {
    /// Each as many, 0 to 1000.
    Fixed(u32),
    /// As many as a selected column says.
    Selected {
        /// The column's name.
        column: String,
        /// What its values are multiplied with.
        times: f64,
    },
}

impl Points {
    /// Reads what stands in a header.
    pub fn parse(text: &str) -> Option<Self> {
        let Some(rest) = text.strip_prefix('{') else {
            return text.parse().ok().filter(|points| *points <= FIXED_MAX).map(Self::Fixed);
        };
        let (column, factor) = rest.split_once('}')?;
        let times = match factor.trim() {
            "" => 1.0,
            factor => factor.strip_prefix('*')?.trim().parse().ok()?,
        };
        let (named, sound) =
            (!column.is_empty() && !column.contains('{'), f64::is_finite(times) && times > 0.0);
        (named && sound).then(|| Self::Selected { column: column.to_owned(), times })
    }

    /// The column that says them; none where each hit has as many.
    pub fn column(&self) -> Option<&str> {
        match self {
            Self::Fixed(_) => None,
            Self::Selected { column, .. } => Some(column),
        }
    }

    /// The points of every hit; none where a column says them.
    pub fn fixed(&self) -> Option<u32> {
        match self {
            Self::Fixed(points) => Some(*points),
            Self::Selected { .. } => None,
        }
    }

    /// The points of a hit by the value of its column: rounded, half away from zero, and 0 to [`POINTS_MAX`]. No value
    /// is no points.
    pub fn of(&self, value: Option<f64>) -> u32 {
        match self {
            Self::Fixed(points) => *points,
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "within its bounds; NaN is 0"
            )]
            Self::Selected { times, .. } => {
                value.map_or(0, |value| (value * times).round().clamp(0.0, f64::from(POINTS_MAX)) as u32)
            }
        }
    }
}

/// A finding where the column that gives a rule's points is no number.
pub(super) fn check_points(
    header: &Header,
    source: &Arc<SourceText>,
    outputs: &[Output],
) -> Option<Diagnostic> {
    let column = header.score.column()?;
    let output = outputs.iter().find(|output| output.name == column && !output.data_type.is_numeric())?;
    let message = format!("@score takes its points from {column}, which is no number: {}", output.data_type);
    let help = "select a number, or give each hit the same points: `-- @score: 60`";
    Some(Diagnostic::error(source, header.place("score"), message).with_help(help).with_code("header"))
}

/// As a header writes it.
impl fmt::Display for Points {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fixed(points) => write!(f, "{points}"),
            Self::Selected { column, times } if (times - 1.0).abs() < f64::EPSILON => {
                write!(f, "{{{column}}}")
            }
            Self::Selected { column, times } => write!(f, "{{{column}}} * {times}"),
        }
    }
}

/// A number, or text where a column says it.
impl Serialize for Points {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Fixed(points) => serializer.serialize_u32(*points),
            Self::Selected { .. } => serializer.collect_str(self),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_are_a_number_or_a_column_times_a_number_and_nothing_else() {
        let read = |text: &str| Points::parse(text).map(|points| points.to_string());
        for text in ["0", "1000", "{points}", "{risk} * 250"] {
            assert_eq!(read(text).as_deref(), Some(text));
        }
        assert_eq!(read("{risk}*0.5").as_deref(), Some("{risk} * 0.5"));
        for text in ["1001", "-1", "1.5", "{risk", "{}", "{risk} + 1", "{risk} * -1", "{risk} * x", "risk"] {
            assert_eq!(read(text), None, "{text}");
        }
    }

    #[test]
    fn a_value_is_rounded_and_kept_within_bounds_and_none_is_no_points() {
        let points = Points::Selected { column: "risk".to_owned(), times: 100.0 };
        let values = [Some(0.125), Some(0.834), Some(-2.0), Some(1e9), Some(f64::NAN), None];
        assert_eq!(values.map(|value| points.of(value)), [13, 83, 0, POINTS_MAX, 0, 0]);
        assert_eq!(Points::Fixed(7).of(None), 7);
    }
}
