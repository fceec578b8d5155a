//! Why a rule hit one event, or did not.
//!
//! Takes the steps of a core whose only rule is the one in question, twice over the same rows: the first time until
//! the event is found, the second time for the events behind the answers of its windows. Hands on an
//! [`Explanation`]. It runs the real engine, so the alert that it makes is the one that was sent, byte for byte, if
//! rows and rule are the same.

mod events;
mod words;

use std::collections::HashSet;

use arrow::array::ArrayRef;
use serde::Serialize;
use serde_json::Value;

use crate::alert::{Alert, RowTimes, json_value, source_of};
use crate::event::{Coordinates, EventTime};
use crate::graph::{Condition, EngineError, HitScores, QueryHits, QueryTrace, RuleHits};
use crate::pipeline::{Answered, Parts, StepOutcome};
use crate::rules::Emit;

pub use events::{EVENTS_MAX, WindowEvent};
use events::{Place, WindowEvents};
use words::difference;

/// Which event is asked about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// The one of this record.
    Record(Coordinates),
    /// The first one with this id.
    Event(String),
}

/// What a rule made of one event.
#[derive(Debug, Serialize)]
pub struct Explanation {
    /// Id of the event.
    pub event_id: String,
    /// Its time.
    pub event_time: String,
    /// Where it stands: topic or file, partition, offset.
    pub source: String,
    /// How far it came behind its partition's latest event time, milliseconds.
    pub late_ms: i64,
    /// Whether the rule hit it.
    pub hit: bool,
    /// Why the rule could not be evaluated on it, where it could not.
    pub error: Option<String>,
    /// What the rule asked of it, up to the first filter that it did not pass.
    pub conditions: Vec<ConditionWords>,
    /// What the conditions read besides windows.
    pub columns: Vec<ColumnWords>,
    /// Windows that answered about it, and the events they saw.
    pub windows: Vec<WindowWords>,
    /// The alert's reason, where there is an alert.
    pub reason: Option<String>,
    /// Why a hit is no alert: `suppressed`, `over_budget`, `out_of_validity` or `switched_off`.
    pub held_back: Option<&'static str>,
    /// The alerts it gives, as they leave the job.
    #[serde(skip)]
    pub alerts: Vec<Alert>,
}

/// A condition with the values that it compared.
#[derive(Debug, Serialize)]
pub struct ConditionWords {
    /// As the rule says it.
    pub text: String,
    /// What it came to; none for unknown.
    pub truth: Option<bool>,
    /// The left side as the rule says it, where it compares.
    pub left_text: Option<String>,
    /// Value of the left side.
    pub left: Option<Value>,
    /// The comparison.
    pub operator: Option<&'static str>,
    /// The right side as the rule says it.
    pub right_text: Option<String>,
    /// Value of the right side: the threshold.
    pub right: Option<Value>,
    /// Left less right, of numbers and times.
    pub margin: Option<String>,
    /// Its parts, where it joins some.
    pub parts: Vec<ConditionWords>,
}

/// A column that a condition read.
#[derive(Debug, Serialize)]
pub struct ColumnWords {
    /// Its name.
    pub name: String,
    /// How it is computed, where it is.
    pub computed_as: Option<String>,
    /// Its value.
    pub value: Value,
}

/// A window's answer and where it comes from.
#[derive(Debug, Serialize)]
pub struct WindowWords {
    /// What the rule calls it.
    pub name: String,
    /// The function with its arguments and filter.
    pub function: String,
    /// The key's columns and values.
    pub key: Vec<(String, Value)>,
    /// Which rows of the key it sees.
    pub frame: String,
    /// The answer.
    pub value: Value,
    /// Names of the values that it reads of each event.
    pub reads: Vec<String>,
    /// How many events it saw.
    pub events_seen: u64,
    /// The newest of them, newest first.
    pub events: Vec<WindowEvent>,
}

/// What was found the first time.
struct Found {
    at: Coordinates,
    place: Place,
    trace: QueryTrace,
    explanation: Explanation,
    windows: Vec<WindowEvents>,
}

/// One question, while rows go by.
pub struct Inquiry {
    emit: Emit,
    target: Target,
    sent: Option<HashSet<String>>,
    found: Option<Found>,
    /// Rows that went by.
    rows: u64,
}

impl Inquiry {
    /// Asks about an event. Where the ids of the alerts that were sent are known, `@dedup` remembers those; else it
    /// remembers what it admits itself.
    pub fn new(parts: &Parts, target: Target, sent: Option<HashSet<String>>) -> Self {
        let emit = if parts.in_order.rules().is_empty() { Emit::OnArrival } else { Emit::InOrder };
        Self { emit, target, sent, found: None, rows: 0 }
    }

    /// Begins to look at what parts answer: once for each of the two times.
    pub fn begin(&mut self, parts: &mut Parts) {
        self.rows = 0;
        if let Some(engine) = parts.core.engine_mut(self.emit) {
            engine.keep_traces();
        }
    }

    /// Whether the event was found, so that a second time makes sense.
    pub fn found(&self) -> bool {
        self.found.is_some()
    }

    /// Takes one step of the first time; true once the event was found.
    pub fn look(&mut self, parts: &mut Parts, outcome: &StepOutcome) -> Result<bool, EngineError> {
        let Some(engine) = parts.core.engine_mut(self.emit) else { return Ok(true) };
        let traces = engine.take_traces();
        let answers = outcome.answered.iter().filter(|answered| answered.emit == self.emit);
        for (answered, traced) in answers.zip(&traces) {
            let Some(row) = self.row(parts, answered) else {
                self.remember(parts, answered, &answered.hits);
                self.rows += answered.batch.rows.event_time.len() as u64;
                continue;
            };
            let (before, own) = parted(&answered.hits, row);
            self.remember(parts, answered, &before);
            let Some(engine) = parts.core.engine_mut(self.emit) else { return Ok(true) };
            let trace = engine.trace(traced, 0, row)?.unwrap_or_default();
            let place = Place {
                event_time: answered.batch.rows.event_time[row as usize],
                watermark: answered.watermarks.get(row as usize).copied().unwrap_or(i64::MIN),
                arrival: self.rows + u64::from(row),
                together: self.emit == Emit::InOrder && answered.late[row as usize] == 0,
            };
            let explanation = self.explained(parts, answered, row, (&trace, &own));
            let windows = trace.windows.iter().map(WindowEvents::of).collect();
            let at = source_of(&answered.batch, row).0;
            self.found = Some(Found { at, place, trace, explanation, windows });
            return Ok(true);
        }
        Ok(false)
    }

    /// Takes one step of the second time; true once nothing more is to be seen.
    pub fn gather(&mut self, parts: &mut Parts, outcome: &StepOutcome) -> Result<bool, EngineError> {
        let Some(engine) = parts.core.engine_mut(self.emit) else { return Ok(true) };
        let traces = engine.take_traces();
        let Some(found) = &mut self.found else { return Ok(true) };
        let answers = outcome.answered.iter().filter(|answered| answered.emit == self.emit);
        for (answered, traced) in answers.zip(&traces) {
            for (window, events) in found.trace.windows.iter().zip(&mut found.windows) {
                let Some(engine) = parts.core.engine_mut(self.emit) else { return Ok(true) };
                for key_row in engine.rows_of_key(traced, window)? {
                    let arrival = self.rows + u64::from(key_row.row);
                    let time = answered.batch.rows.event_time[key_row.row as usize];
                    if events.sees(&found.place, time, arrival) {
                        let event = WindowEvent::of(parts.maker(self.emit), &answered.batch, &key_row);
                        events.add((time, arrival), event);
                    }
                }
            }
            self.rows += answered.batch.rows.event_time.len() as u64;
            if self.rows > found.place.arrival {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The answer; none if the event was not found.
    pub fn answer(self) -> Option<Explanation> {
        let found = self.found?;
        let mut explanation = found.explanation;
        for (words, events) in explanation.windows.iter_mut().zip(found.windows) {
            (words.events_seen, words.events) = events.finish();
        }
        Some(explanation)
    }

    /// Where the event stands, once it was found.
    pub fn coordinates(&self) -> Option<&Coordinates> {
        self.found.as_ref().map(|found| &found.at)
    }

    /// The row that is asked about, if it is in a batch.
    fn row(&self, parts: &mut Parts, answered: &Answered) -> Option<u32> {
        let rows = &answered.batch.rows;
        let all = 0..u32::try_from(rows.event_time.len()).unwrap_or(u32::MAX);
        match &self.target {
            Target::Record(record) => {
                let known = rows.partitions.iter().position(|known| known.partition == record.partition)?;
                let is = |row: &u32| {
                    rows.partition[*row as usize] as usize == known
                        && rows.offset[*row as usize] == record.offset.0
                };
                all.into_iter().find(is)
            }
            Target::Event(id) => {
                let maker = parts.maker(answered.emit);
                all.into_iter().find(|row| maker.event_id(&answered.batch, *row) == *id)
            }
        }
    }

    /// Lets suppression see hits from before the event.
    fn remember(&self, parts: &mut Parts, answered: &Answered, hits: &RuleHits) {
        let maker = parts.maker(answered.emit);
        match &self.sent {
            Some(sent) => maker.remember(&answered.batch, hits, |alert_id| sent.contains(alert_id)),
            None => drop(maker.make(&answered.batch, hits, answered.times())),
        }
    }

    fn explained(
        &self,
        parts: &mut Parts,
        answered: &Answered,
        row: u32,
        (trace, own): (&QueryTrace, &RuleHits),
    ) -> Explanation {
        let maker = parts.maker(answered.emit);
        let times = RowTimes { late: &answered.late, watermarks: &[] };
        let made = maker.make(&answered.batch, own, times);
        let held_back = [
            ("suppressed", made.suppressed),
            ("over_budget", made.over_budget_rules.len() as u64),
            ("out_of_validity", made.out_of_validity),
            ("switched_off", made.switched_off),
        ];
        let error = answered.hits.errors.iter().find(|error| error.row == row);
        let at = EventTime(answered.batch.rows.event_time[row as usize]);
        Explanation {
            event_id: maker.event_id(&answered.batch, row),
            event_time: at.to_string(),
            source: source_of(&answered.batch, row).0.to_string(),
            late_ms: answered.late[row as usize] / 1_000,
            hit: trace.hit && error.is_none(),
            error: error.map(|error| error.message.clone()),
            conditions: trace.conditions.iter().map(condition).collect(),
            columns: trace.columns.iter().map(column).collect(),
            windows: trace.windows.iter().map(window).collect(),
            reason: made.alerts.first().map(|alert| alert.reason.clone()),
            held_back: held_back.iter().find(|(_, count)| *count > 0).map(|(why, _)| *why),
            alerts: made.alerts,
        }
    }
}

/// The hits before a row and those of the row.
fn parted(hits: &RuleHits, row: u32) -> (RuleHits, RuleHits) {
    let cut = |from: &dyn Fn(&[u32]) -> std::ops::Range<usize>| {
        let cut = |found: &QueryHits| {
            let range = from(&found.rows);
            let columns: Vec<ArrayRef> =
                found.columns.iter().map(|column| column.slice(range.start, range.len())).collect();
            let scores = found.scores.iter().map(|scores| HitScores {
                features: scores
                    .features
                    .iter()
                    .map(|values| values.slice(range.start, range.len()))
                    .collect(),
                scores: scores.scores.as_ref().map(|said| said.slice(range.start, range.len())),
                ..scores.clone()
            });
            let scores = scores.collect();
            QueryHits { query: found.query, rows: found.rows[range].to_vec(), columns, scores }
        };
        let hits = hits.hits.iter().map(cut).filter(|found| !found.rows.is_empty()).collect();
        RuleHits { hits, ..RuleHits::default() }
    };
    let start = |rows: &[u32]| rows.partition_point(|other| *other < row);
    let end = |rows: &[u32]| rows.partition_point(|other| *other <= row);
    (cut(&|rows| 0..start(rows)), cut(&|rows| start(rows)..end(rows)))
}

fn one(value: &ArrayRef) -> Value {
    json_value(value, 0)
}

fn condition(condition: &Condition) -> ConditionWords {
    let sides = condition.comparison.as_ref();
    ConditionWords {
        text: condition.text.clone(),
        truth: condition.truth,
        left_text: sides.map(|sides| sides.left_text.clone()),
        left: sides.map(|sides| one(&sides.left)),
        operator: sides.map(|sides| sides.operator),
        right_text: sides.map(|sides| sides.right_text.clone()),
        right: sides.map(|sides| one(&sides.right)),
        margin: sides.and_then(|sides| sides.margin.as_ref()).and_then(difference),
        parts: condition.parts.iter().map(self::condition).collect(),
    }
}

fn column((name, computed_as, value): &(String, Option<String>, ArrayRef)) -> ColumnWords {
    ColumnWords { name: name.clone(), computed_as: computed_as.clone(), value: one(value) }
}

fn window(window: &crate::graph::WindowTrace) -> WindowWords {
    WindowWords {
        name: window.label.clone(),
        function: window.function.clone(),
        key: window.key.iter().map(|(name, value)| (name.clone(), one(value))).collect(),
        frame: window.frame.to_string(),
        value: one(&window.answer),
        reads: window.arguments.clone(),
        events_seen: 0,
        events: Vec::new(),
    }
}
