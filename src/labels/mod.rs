//! What became known of events later: which hits of each rule were fraud, and which frauds it missed.
//!
//! Takes the hits of every batch, and the rows of the stream that the settings name as labels; hands on a [`Quality`]
//! for each rule, live or in shadow. Keeps which rules hit which event, and what each event was labelled, for as long as
//! the settings say and at most [`EVENTS_MAX`] of either. A label acts when it arrives and never before, so a rule is
//! judged by what was known at that moment; one that is corrected takes back what it had said.
//! What would surprise: an event is known by a 64-bit hash of its id, for a wrong match among millions is rarer than
//! any wrong label.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher, Hasher};

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::DataType;

use crate::alert::{AlertMaker, event_id, text_value};
use crate::decode::DecodedBatch;
use crate::event::Span;
use crate::graph::RuleHits;
use crate::rules::Rule;

/// Which rows are labels, and how they are read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LabelColumns {
    /// Index of the stream in the contract.
    pub stream: usize,
    /// Columns with the id of the event that a label is about: its `PRIMARY KEY`, part by part, or one with all of it
    /// as alerts write it.
    pub event_id: Vec<usize>,
    /// Column that says whether it was fraud: a truth, or a whole number that is 0 where it was not.
    pub fraud: usize,
    /// For how long of event time hits and labels are remembered.
    pub remember: Span,
}

/// Events with hits, and labelled events, that are remembered at most; then the oldest are forgotten.
pub const EVENTS_MAX: usize = 5_000_000;

/// How a rule has done so far, by the labels that have come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Quality {
    /// Events that it hit and that were fraud.
    pub true_positives: u64,
    /// Events that it hit and that were not.
    pub false_positives: u64,
    /// Frauds that it did not hit.
    pub missed: u64,
}

impl Quality {
    /// Share of its labelled hits that were fraud; none before the first.
    pub fn precision(&self) -> Option<f64> {
        ratio(self.true_positives, self.false_positives)
    }

    /// Share of the labelled frauds that it hit; none before the first.
    pub fn recall(&self) -> Option<f64> {
        ratio(self.true_positives, self.missed)
    }
}

#[expect(clippy::cast_precision_loss, reason = "a share")]
fn ratio(part: u64, rest: u64) -> Option<f64> {
    (part + rest > 0).then(|| part as f64 / (part + rest) as f64)
}

/// A rule by what makes it another one: its id and version.
type Name = (String, String);

/// Hits and labels that are remembered.
#[derive(Debug, Default)]
pub struct Labels {
    /// Rules that were ever judged, and how they have done; a rule's number is its place here.
    rules: Vec<(Name, Quality)>,
    /// By event, the rules that hit it, and when it was last hit.
    hits: Remembered<Vec<u32>>,
    /// By event, whether it was fraud.
    labels: Remembered<bool>,
    frauds: u64,
    genuine: u64,
}

/// Something about events, the oldest of which are forgotten.
#[derive(Debug)]
struct Remembered<T> {
    by_event: HashMap<u64, T>,
    order: VecDeque<(i64, u64)>,
}

impl<T> Default for Remembered<T> {
    fn default() -> Self {
        Self { by_event: HashMap::new(), order: VecDeque::new() }
    }
}

impl<T: Default> Remembered<T> {
    fn entry(&mut self, event: u64, at: i64) -> &mut T {
        if !self.by_event.contains_key(&event) {
            self.order.push_back((at, event));
        }
        self.by_event.entry(event).or_default()
    }

    fn forget(&mut self, before: i64) {
        while let Some((at, event)) = self.order.front().copied()
            && (at < before || self.order.len() > EVENTS_MAX)
        {
            self.order.pop_front();
            self.by_event.remove(&event);
        }
    }
}

impl Labels {
    /// Takes note of the hits of a batch, whose rules `maker` has.
    pub fn hits(&mut self, maker: &AlertMaker, batch: &DecodedBatch, hits: &RuleHits) {
        for found in &hits.hits {
            let rule = &maker.rules()[found.query];
            let mut last = None;
            for row in &found.rows {
                if last.replace(*row) != Some(*row) {
                    let at = batch.rows.event_time[*row as usize];
                    self.hit(&rule.header.id, &rule.version, &maker.event_id(batch, *row), at);
                }
            }
        }
    }

    /// Takes note that a rule hit an event of this time.
    pub fn hit(&mut self, rule: &str, version: &str, event_id: &str, at: i64) {
        let (event, number) = (hashed(event_id), self.number(rule, version));
        let known = self.hits.entry(event, at);
        if known.contains(&number) {
            return;
        }
        known.push(number);
        // A label may be there before its event, where partitions are read far apart.
        match self.labels.by_event.get(&event) {
            Some(true) => {
                let quality = &mut self.rules[number as usize].1;
                quality.true_positives += 1;
                quality.missed = quality.missed.saturating_sub(1);
            }
            Some(false) => self.rules[number as usize].1.false_positives += 1,
            None => {}
        }
    }

    /// Takes the labels among the rows of a batch; `rules` are those that could have hit what they are about.
    pub fn labels(&mut self, columns: &LabelColumns, batch: &DecodedBatch, rules: &[&Rule]) {
        said(columns, batch, |id, fraud, at| self.label(&id, fraud, at, rules.iter().copied()));
        let own = batch.streams.get(columns.stream).map_or(&[][..], |own| &own.rows);
        if let Some(latest) = own.iter().map(|row| batch.rows.event_time[*row as usize]).max() {
            let before = latest.saturating_sub(columns.remember.0);
            self.hits.forget(before);
            self.labels.forget(before);
        }
    }

    /// Takes one label that became known at a time.
    pub fn label<'a>(&mut self, event_id: &str, fraud: bool, at: i64, rules: impl Iterator<Item = &'a Rule>) {
        let event = hashed(event_id);
        let before = self.labels.by_event.get(&event).copied();
        if before == Some(fraud) {
            return;
        }
        *self.labels.entry(event, at) = fraud;
        let judging: Vec<u32> = rules.map(|rule| self.number(&rule.header.id, &rule.version)).collect();
        let hit = self.hits.by_event.get(&event).cloned().unwrap_or_default();
        if let Some(before) = before {
            self.count(before, &judging, &hit, |count| *count = count.saturating_sub(1));
        }
        self.count(fraud, &judging, &hit, |count| *count += 1);
    }

    fn count(&mut self, fraud: bool, judging: &[u32], hit: &[u32], mut change: impl FnMut(&mut u64)) {
        change(if fraud { &mut self.frauds } else { &mut self.genuine });
        for number in judging.iter().chain(hit.iter().filter(|number| !judging.contains(number))) {
            let quality = &mut self.rules[*number as usize].1;
            match (fraud, hit.contains(number)) {
                (true, true) => change(&mut quality.true_positives),
                (true, false) => change(&mut quality.missed),
                (false, true) => change(&mut quality.false_positives),
                (false, false) => {}
            }
        }
    }

    /// How a rule has done; none where no label has come since it was first judged.
    pub fn quality(&self, rule: &Rule) -> Option<Quality> {
        let known =
            self.rules.iter().find(|((id, version), _)| *id == rule.header.id && *version == rule.version);
        known.map(|(_, quality)| *quality).filter(|quality| *quality != Quality::default())
    }

    /// Events that were labelled: frauds, and others.
    pub fn counted(&self) -> (u64, u64) {
        (self.frauds, self.genuine)
    }

    fn number(&mut self, rule: &str, version: &str) -> u32 {
        let known = self.rules.iter().position(|((id, own), _)| id == rule && own == version);
        let number = known.unwrap_or_else(|| {
            self.rules.push(((rule.to_owned(), version.to_owned()), Quality::default()));
            self.rules.len() - 1
        });
        u32::try_from(number).unwrap_or(u32::MAX)
    }
}

/// Hands on each label among the rows of a batch: the event's id, whether it was fraud, and when that became known.
pub fn said(columns: &LabelColumns, batch: &DecodedBatch, mut each: impl FnMut(String, bool, i64)) {
    let Some(own) = batch.streams.get(columns.stream) else { return };
    let column = |index: usize| own.columns.get(index).and_then(Option::as_ref);
    let ids: Option<Vec<&ArrayRef>> = columns.event_id.iter().map(|index| column(*index)).collect();
    let (Some(ids), Some(frauds)) = (ids, column(columns.fraud)) else { return };
    let part = |index: usize| move |id: &&ArrayRef| id.is_valid(index).then(|| text_value(id, index));
    for (index, row) in own.rows.iter().enumerate() {
        let id: Option<Vec<String>> = ids.iter().map(part(index)).collect();
        if let (Some(fraud), Some(id)) = (truth(frauds, index), id) {
            each(event_id(&id), fraud, batch.rows.event_time[*row as usize]);
        }
    }
}

/// Whether a type can say whether something was fraud.
pub fn says_fraud(data_type: &DataType) -> bool {
    *data_type == DataType::Boolean || data_type.is_integer()
}

fn truth(column: &ArrayRef, row: usize) -> Option<bool> {
    if column.is_null(row) {
        return None;
    }
    match column.as_boolean_opt() {
        Some(truths) => Some(truths.value(row)),
        None => Some(text_value(column, row) != "0"),
    }
}

fn hashed(event_id: &str) -> u64 {
    // The same in every process, so that what is read back after a restart is found.
    let mut hasher = foldhash::quality::FixedState::default().build_hasher();
    hasher.write(event_id.as_bytes());
    hasher.finish()
}

#[cfg(test)]
mod tests;
