//! Episodes of fraud, and how long each rule takes to find one.
//!
//! An episode is a run of frauds of one entity in which no two neighbours are further apart than the gap.
//! It is detected at its first fraud that alerts, for nobody sees a hit that `@dedup` or `@budget` held back; the time to
//! detection is from its first fraud to that one.

use std::collections::BTreeMap;

use serde::Serialize;

use super::Flags;
use super::events::Events;
use crate::event::Span;

/// Frauds of one episode, in order of event time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Episode {
    pub frauds: Vec<u32>,
}

/// Bounds of the histogram: name, and the longest time in it in seconds.
pub const BUCKETS: [(&str, i64); 8] = [
    ("at once", 0),
    ("1 minute", 60),
    ("1 hour", 3_600),
    ("6 hours", 21_600),
    ("1 day", 86_400),
    ("3 days", 259_200),
    ("7 days", 604_800),
    ("later", i64::MAX),
];

/// How soon episodes are found.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Detection {
    /// Episodes of fraud.
    pub episodes: u64,
    /// Those with an alert on one of their frauds.
    pub detected: u64,
    /// Those whose first fraud alerted.
    pub at_first: u64,
    /// Seconds to detection of the detected: the middle one (the lower of two).
    pub median_seconds: Option<f64>,
    /// Of ten detected, nine were no slower (nearest rank).
    pub p90_seconds: Option<f64>,
    /// The mean.
    pub mean_seconds: Option<f64>,
    /// Frauds that went through before detection, a detected episode, in the mean.
    pub mean_frauds_before: Option<f64>,
    /// Detected episodes by time: up to each of [`BUCKETS`].
    pub histogram: Vec<u64>,
}

/// Cuts the scored frauds into episodes; none where entities are not known.
pub(super) fn episodes(events: &Events, scored: &[bool], gap: Span) -> Vec<Episode> {
    let mut by_entity: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    for (event, fraud) in (0_u32..).zip(&events.fraud) {
        if *fraud
            && scored[event as usize]
            && let Some(entity) = events.entity.get(event as usize)
        {
            by_entity.entry(*entity).or_default().push(event);
        }
    }
    let mut episodes = Vec::new();
    for mut frauds in by_entity.into_values() {
        let time = |event: &u32| events.time[*event as usize];
        frauds.sort_by_key(time);
        let runs = frauds.chunk_by(|before, after| time(after) - time(before) <= gap.0);
        episodes.extend(runs.map(|run| Episode { frauds: run.to_vec() }));
    }
    episodes
}

/// How soon the flags find the episodes; none where there are no entities to speak of.
pub(super) fn detection(events: &Events, episodes: &[Episode], flags: &Flags) -> Option<Detection> {
    if events.entity.is_empty() || events.fraud.is_empty() {
        return None;
    }
    let mut micros = Vec::new();
    let (mut at_first, mut before) = (0, 0);
    for episode in episodes {
        let found = episode.frauds.iter().position(|event| flags.alerts.binary_search(event).is_ok());
        let Some(found) = found else { continue };
        at_first += u64::from(found == 0);
        before += found as u64;
        micros.push(events.time[episode.frauds[found] as usize] - events.time[episode.frauds[0] as usize]);
    }
    micros.sort_unstable();
    let detected = micros.len() as u64;
    let mut histogram = vec![0; BUCKETS.len()];
    for time in &micros {
        let bucket = BUCKETS.iter().position(|(_, most)| *time <= most.saturating_mul(1_000_000));
        histogram[bucket.unwrap_or(BUCKETS.len() - 1)] += 1;
    }
    Some(Detection {
        episodes: episodes.len() as u64,
        detected,
        at_first,
        median_seconds: nearest_rank(&micros, 50).map(seconds),
        p90_seconds: nearest_rank(&micros, 90).map(seconds),
        mean_seconds: mean(micros.iter().sum(), detected).map(|micros| micros / 1e6),
        mean_frauds_before: super::share(before, detected),
        histogram,
    })
}

/// The least value that at least `percent` of a hundred don't exceed.
fn nearest_rank(sorted: &[i64], percent: usize) -> Option<i64> {
    let rank = (sorted.len() * percent).div_ceil(100);
    sorted.get(rank.checked_sub(1)?).copied()
}

#[expect(clippy::cast_precision_loss, reason = "a figure for people")]
fn seconds(micros: i64) -> f64 {
    micros as f64 / 1e6
}

#[expect(clippy::cast_precision_loss, reason = "a figure for people")]
fn mean(sum: i64, count: u64) -> Option<f64> {
    (count > 0).then(|| sum as f64 / count as f64)
}
