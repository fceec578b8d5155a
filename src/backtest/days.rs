//! Alerts by day.

use std::collections::BTreeMap;

use serde::Serialize;

use super::Flags;
use super::case::{Case, DAY};
use crate::event::EventTime;

/// One UTC day.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Day {
    /// `2018-08-08`.
    pub day: String,
    /// Alerts.
    pub alerts: u64,
    /// Alerts on frauds.
    pub on_frauds: u64,
}

/// Every day of the scope, those without alerts among them.
pub(super) fn daily(case: &Case<'_>, flags: &Flags) -> Vec<Day> {
    let Some((first, last)) = case.day_range() else { return Vec::new() };
    let mut counts: BTreeMap<i64, (u64, u64)> = (first..=last).map(|day| (day, (0, 0))).collect();
    for event in &flags.alerts {
        let count = counts.entry(case.day(*event)).or_default();
        count.0 += 1;
        count.1 += u64::from(case.events.is_fraud(*event));
    }
    let named = |(day, (alerts, on_frauds))| {
        let day = EventTime(day * DAY).to_string().chars().take(10).collect();
        Day { day, alerts, on_frauds }
    };
    counts.into_iter().map(named).collect()
}
