//! What is judged: which events are scored, on which days, and what is true of them.
//!
//! Takes [`Events`] and [`Settings`]; keeps what every rule's figures need, worked out once.

use std::collections::HashSet;

use serde::Serialize;

use super::episodes::Episode;
use super::events::Events;
use crate::decision::Combination;
use crate::event::{EventTime, Span};

/// Microseconds of a day; days are UTC.
pub(super) const DAY: i64 = 86_400_000_000;

/// How a backtest is scored.
#[derive(Debug, Clone)]
pub struct Settings {
    /// First event time that is scored.
    pub from: Option<EventTime>,
    /// First event time that is no longer scored.
    pub until: Option<EventTime>,
    /// Leaves an entity out from the first day that begins after a fraud of it became known.
    pub skip_known: bool,
    /// Frauds before this do not make an entity known.
    pub known_from: Option<EventTime>,
    /// Entities looked at each day.
    pub k: u32,
    /// Longest time between two frauds of one episode.
    pub episode_gap: Span,
    /// How points of several rules combine.
    pub combination: Combination,
}

/// What was scored, in numbers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Scope {
    /// Events that the rules saw.
    pub events: u64,
    /// Events that are scored.
    pub scored: u64,
    /// Frauds among them; none without labels.
    pub frauds: Option<u64>,
    /// Events inside the bounds that are not scored, their entity being known as compromised.
    pub left_out_as_known: u64,
    /// Entities among the scored events; none without an entity column.
    pub entities: Option<u64>,
    /// UTC days from the first to the last that is scored.
    pub days: u64,
    /// First scored event time.
    pub from: Option<String>,
    /// Last scored event time.
    pub to: Option<String>,
    /// Value of the scored events.
    pub value: Option<super::Amount>,
    /// Value of the frauds among them.
    pub value_of_frauds: Option<super::Amount>,
    /// Labels of a file whose event did not come.
    pub labels_without_event: u64,
}

/// Events, what of them is scored, and what is true of them.
#[derive(Debug)]
pub struct Case<'a> {
    /// All events.
    pub events: &'a Events,
    /// How they are scored.
    pub settings: &'a Settings,
    /// Whether each event is scored.
    pub scored: Vec<bool>,
    /// The figures of the scope.
    pub scope: Scope,
    /// Days with scored events, ascending, as days since 1970.
    pub(super) days: Vec<i64>,
    /// Entities with a scored fraud, by day.
    pub(super) compromised: HashSet<(i64, u32)>,
    /// Episodes of scored frauds.
    pub(super) episodes: Vec<Episode>,
}

impl<'a> Case<'a> {
    /// Decides what is scored.
    pub fn new(events: &'a Events, settings: &'a Settings) -> Self {
        let known = if settings.skip_known { first_known(events, settings) } else { Vec::new() };
        let within = |time: i64| {
            settings.from.is_none_or(|from| from.0 <= time)
                && settings.until.is_none_or(|until| time < until.0)
        };
        let mut scored = Vec::with_capacity(events.len());
        let mut left_out = 0;
        for (index, time) in events.time.iter().enumerate() {
            let midnight = time.div_euclid(DAY) * DAY;
            let entity = events.entity.get(index).map(|entity| *entity as usize);
            let is_known = entity.and_then(|entity| known.get(entity)).is_some_and(|known| *known < midnight);
            left_out += u64::from(within(*time) && is_known);
            scored.push(within(*time) && !is_known);
        }
        let mut case = Self {
            events,
            settings,
            days: days_of(events, &scored),
            compromised: compromised(events, &scored),
            episodes: super::episodes::episodes(events, &scored, settings.episode_gap),
            scope: scope(events, &scored, left_out),
            scored,
        };
        case.scope.days = case.days_spanned();
        case
    }

    /// Scored events, ascending.
    pub fn scored_events(&self) -> impl Iterator<Item = u32> {
        (0_u32..).zip(&self.scored).filter(|(_, scored)| **scored).map(|(event, _)| event)
    }

    /// Whether labels are known at all.
    pub fn labelled(&self) -> bool {
        self.scope.frauds.is_some()
    }

    /// The UTC day of an event, in days since 1970.
    pub(super) fn day(&self, event: u32) -> i64 {
        self.events.time[event as usize].div_euclid(DAY)
    }

    /// First and last day of the scope: of the bounds where they are given, else of the events.
    pub(super) fn day_range(&self) -> Option<(i64, i64)> {
        let (first, last) = (*self.days.first()?, *self.days.last()?);
        let from = self.settings.from.map_or(first, |from| from.0.div_euclid(DAY));
        let until = self.settings.until.map_or(last, |until| (until.0 - 1).div_euclid(DAY));
        Some((from.min(first), until.max(last)))
    }

    fn days_spanned(&self) -> u64 {
        self.day_range().map_or(0, |(first, last)| (last - first + 1).unsigned_abs())
    }
}

/// When each entity first became known as compromised; `i64::MAX` where it did not.
fn first_known(events: &Events, settings: &Settings) -> Vec<i64> {
    let mut known = vec![i64::MAX; events.entities.len()];
    let frauds = events.fraud.iter().enumerate().filter(|(_, fraud)| **fraud).map(|(index, _)| index);
    for index in frauds.filter(|index| settings.known_from.is_none_or(|from| from.0 <= events.time[*index])) {
        if let Some(entity) = events.entity.get(index) {
            let known = &mut known[*entity as usize];
            *known = (*known).min(events.known_at[index]);
        }
    }
    known
}

fn days_of(events: &Events, scored: &[bool]) -> Vec<i64> {
    let of_scored = events.time.iter().zip(scored).filter(|(_, scored)| **scored);
    let mut days: Vec<i64> = of_scored.map(|(time, _)| time.div_euclid(DAY)).collect();
    days.dedup();
    days.sort_unstable();
    days.dedup();
    days
}

fn compromised(events: &Events, scored: &[bool]) -> HashSet<(i64, u32)> {
    let frauds =
        events.fraud.iter().zip(scored).enumerate().filter(|(_, (fraud, scored))| **fraud && **scored);
    frauds
        .filter_map(|(index, _)| Some((events.time[index].div_euclid(DAY), *events.entity.get(index)?)))
        .collect()
}

fn scope(events: &Events, scored: &[bool], left_out_as_known: u64) -> Scope {
    let chosen = || scored.iter().enumerate().filter(|(_, scored)| **scored).map(|(index, _)| index);
    let frauds = || chosen().filter(|index| events.fraud.get(*index) == Some(&true));
    let sum = |units: i128| super::Amount { units, scale: events.value_scale };
    let has_values = !events.value.is_empty();
    let entities: HashSet<u32> = chosen().filter_map(|index| events.entity.get(index).copied()).collect();
    Scope {
        events: events.len() as u64,
        scored: chosen().count() as u64,
        frauds: (!events.fraud.is_empty()).then(|| frauds().count() as u64),
        left_out_as_known,
        entities: (!events.entity.is_empty()).then_some(entities.len() as u64),
        days: 0,
        from: chosen().map(|index| events.time[index]).min().map(|time| EventTime(time).to_string()),
        to: chosen().map(|index| events.time[index]).max().map(|time| EventTime(time).to_string()),
        value: has_values.then(|| sum(chosen().map(|index| events.value[index]).sum())),
        value_of_frauds: (has_values && !events.fraud.is_empty())
            .then(|| sum(frauds().map(|index| events.value[index]).sum())),
        labels_without_event: events.labels_unmatched,
    }
}
