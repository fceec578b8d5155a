//! Backtests: what rules would have caught, missed and cost on labelled events of the past.
//!
//! Takes [`Events`] with their labels and the [`Flags`] that each rule raised; hands on a [`Report`]. Keeps
//! nothing. A *hit* is an event that a rule flags; an *alert* is a hit that `@dedup` and `@budget` let through. Precision,
//! recall and value are of hits, workload and time to detection are of alerts. A number that has no meaning (a precision without
//! hits, anything of labels without labels) is none, never zero.
//! What would surprise: labels never take part in the rules' answers here. Where they feed something (entities
//! known as compromised), only what was known by then counts, and [`look_ahead`] finds rules that would read
//! a label before it was known.

mod case;
mod days;
mod episodes;
mod events;
mod fit;
mod look_ahead;
mod overlap;
mod quality;
mod report;
mod scores;
mod sweep;
mod threshold;
mod versions;

pub use case::{Case, Scope, Settings};
pub use days::Day;
pub use episodes::{BUCKETS, Detection};
pub use events::{Amount, EventColumns, EventTable, Events, Label, Labels, NO_EVENT};
pub use fit::{Fit, FitError, fit};
pub use look_ahead::{LookAhead, look_ahead};
pub use overlap::{Marginal, Overlap};
pub use quality::Quality;
pub use report::{
    Changed, Comparison, ModelReport, NamedSet, OrderChange, Report, RuleReport, Ruled, SetReport,
    SweepPoint, SweepReport, SweptRule, compare,
};
pub use scores::{CurvePoint, Member, Scores};
pub use sweep::{Sweep, SweepError, Variant};
pub use threshold::{Goal, ThresholdReport, Wanted};
pub use versions::VersionReport;

use std::cmp::Reverse;

/// What one rule raised, by index of event.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Flags {
    /// Events that hit, ascending, each once.
    pub hits: Vec<u32>,
    /// Events that alerted, ascending; an event that alerts twice stands twice.
    pub alerts: Vec<u32>,
    /// Points of each hit where a column says them, by event, ascending; empty where each hit has as many.
    pub points: Vec<(u32, u32)>,
    /// Hits that `@dedup` or `@budget` held back.
    pub suppressed: u64,
    /// Hits on rows of streams that are not scored.
    pub elsewhere: u64,
}

impl Flags {
    /// Puts events in order and takes repeats out of the hits.
    pub fn settle(&mut self) {
        self.hits.sort_unstable();
        self.hits.dedup();
        // An event that hits twice has the most points of its hits.
        self.points.sort_unstable_by_key(|(event, points)| (*event, Reverse(*points)));
        self.points.dedup_by_key(|(event, _)| *event);
        self.alerts.sort_unstable();
    }

    /// Only what is on events that are scored.
    #[must_use]
    pub fn within(&self, scored: &[bool]) -> Self {
        let kept = |events: &[u32]| {
            events.iter().copied().filter(|event| scored.get(*event as usize) == Some(&true)).collect()
        };
        let points = self.points.iter().copied();
        let points = points.filter(|(event, _)| scored.get(*event as usize) == Some(&true)).collect();
        Self { hits: kept(&self.hits), alerts: kept(&self.alerts), points, ..*self }
    }

    /// What several rules raised together: an event hits if any of them does; alerts add up.
    pub fn united<'a>(all: impl IntoIterator<Item = &'a Self>) -> Self {
        let mut united = Self::default();
        for flags in all {
            united.hits.extend_from_slice(&flags.hits);
            united.alerts.extend_from_slice(&flags.alerts);
            united.suppressed += flags.suppressed;
            united.elsewhere += flags.elsewhere;
        }
        united.settle();
        united
    }
}

/// Share of a whole; none of nothing.
#[expect(clippy::cast_precision_loss, reason = "counts stay far below 2^53")]
fn share(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

#[cfg(test)]
mod tests;
