//! Thresholds of a score, chosen for what they shall reach.

use std::str::FromStr;

use serde::Serialize;

use super::CurvePoint;
use crate::decision::Outcome;

/// What a threshold shall reach.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Goal {
    /// At least such a share of frauds among what it flags.
    Precision(f64),
    /// At most so many flagged events a day.
    ADay(f64),
}

impl FromStr for Goal {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is no goal: write precision=0.9, or events=50/d");
        let number =
            |text: &str| text.parse::<f64>().ok().filter(|number| number.is_finite() && *number > 0.0);
        match text.split_once('=').ok_or_else(wrong)? {
            ("precision", share) => number(share).filter(|share| *share <= 1.0).map(Self::Precision),
            ("events", count) => count.strip_suffix("/d").and_then(number).map(Self::ADay),
            _ => None,
        }
        .ok_or_else(wrong)
    }
}

impl std::fmt::Display for Goal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Precision(share) => write!(f, "precision={share}"),
            Self::ADay(count) => write!(f, "events={count}/d"),
        }
    }
}

/// A goal for what is done from a threshold on.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Wanted {
    /// What is done.
    pub outcome: Outcome,
    /// What it shall reach.
    pub goal: Goal,
}

/// The threshold for a goal.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ThresholdReport {
    /// What is done from there on.
    pub outcome: Outcome,
    /// What it shall reach.
    pub goal: String,
    /// The lowest threshold that does, and what it comes to; none where no threshold does.
    pub point: Option<CurvePoint>,
    /// Events a day that it flags.
    pub flagged_a_day: Option<f64>,
}

impl Wanted {
    /// The lowest threshold of a curve over so many days that reaches the goal. What is flagged by no rule is not flagged.
    #[expect(clippy::cast_precision_loss, reason = "counts stay far below 2^53")]
    pub fn report(&self, curve: &[CurvePoint], days: u64) -> ThresholdReport {
        let a_day = |point: &CurvePoint| point.flagged as f64 / days.max(1) as f64;
        let reaches = |point: &&CurvePoint| match self.goal {
            Goal::Precision(share) => point.precision >= share,
            Goal::ADay(count) => a_day(point) <= count,
        };
        let point = curve.iter().filter(|point| point.threshold > 0).rfind(reaches).cloned();
        ThresholdReport {
            outcome: self.outcome,
            goal: self.goal.to_string(),
            flagged_a_day: point.as_ref().map(a_day),
            point,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lowest_threshold_that_reaches_a_goal_is_chosen_and_none_where_none_does() {
        let point = |threshold, flagged, frauds, precision| CurvePoint {
            threshold,
            flagged,
            frauds,
            precision,
            recall: None,
        };
        let curve =
            [point(90, 2, 2, 1.0), point(60, 10, 6, 0.6), point(50, 20, 14, 0.7), point(0, 900, 20, 0.02)];
        let chosen = |text: &str| {
            let wanted = Wanted { outcome: Outcome::Review, goal: text.parse().unwrap() };
            let report = wanted.report(&curve, 2);
            (report.point.map(|point| point.threshold), report.flagged_a_day)
        };
        assert_eq!(chosen("precision=0.65"), (Some(50), Some(10.0)));
        assert_eq!(chosen("precision=0.8"), (Some(90), Some(1.0)));
        assert_eq!(chosen("events=7/d"), (Some(60), Some(5.0)));
        assert_eq!(chosen("events=1000/d"), (Some(50), Some(10.0)));
        assert_eq!(chosen("events=0.5/d"), (None, None));
        for wrong in ["precision", "precision=2", "precision=-1", "events=50", "events=x/d", "recall=1"] {
            assert!(wrong.parse::<Goal>().unwrap_err().contains("is no goal"), "{wrong}");
        }
    }
}
