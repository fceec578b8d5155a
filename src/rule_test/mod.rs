//! Named cases for a rule: events by the second, and what each must give.
//!
//! Takes `<rule>.test.toml` beside a rule file; hands on [`Case`]s, and for each a [`Verdict`]: what the engine that
//! a job runs answered, and where that is not what was expected. Every case is run several [`Way`]s, for the answer
//! must not depend on batches, restarts or threads. What would surprise: an event without an expectation must not
//! hit, for a rule that also fires where nobody looked is not tested.

mod events;
mod read;
mod run;

pub use read::read;
pub use run::{RunError, run};

use std::fmt;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use serde_json::{Map, Value};

use crate::diagnostic::SourceText;
use crate::event::EventTime;
use crate::sql::List;

/// One `.test.toml`.
#[derive(Debug)]
pub struct TestFile {
    /// Its text.
    pub source: Arc<SourceText>,
    /// The rule file that it is about.
    pub rule: PathBuf,
    /// Its cases, in their order.
    pub cases: Vec<Case>,
}

/// One case.
#[derive(Debug, Clone)]
pub struct Case {
    /// What it shows, as a sentence.
    pub name: String,
    /// Where it stands in the file.
    pub span: Range<usize>,
    /// Lists of the rules folder with other rows.
    pub lists: Vec<List>,
    /// What happens, in order of arrival.
    pub moments: Vec<Moment>,
}

/// One entry of a case's `events`, or one of its repetitions.
#[derive(Debug, Clone)]
pub struct Moment {
    /// Where it stands in the file.
    pub span: Range<usize>,
    /// Event time.
    pub at: EventTime,
    /// What happens then.
    pub what: What,
    /// What must come of it.
    pub expected: Expected,
}

/// What happens at a moment.
#[derive(Debug, Clone, PartialEq)]
pub enum What {
    /// An event comes in.
    Event {
        /// Index of its stream in the contract.
        stream: usize,
        /// Its record, as it would stand in the topic.
        record: Map<String, Value>,
    },
    /// Nothing comes; the time of all partitions moves on.
    Clock,
}

/// What must come of an event.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Expected {
    /// Whether the rule hits.
    pub hit: bool,
    /// Whether an alert leaves, where that is asked: `@dedup` may hold a hit back.
    pub alert: Option<bool>,
    /// Values of selected columns.
    pub values: Vec<(String, Value)>,
    /// The alert's sentence.
    pub reason: Option<String>,
}

/// What came of an event.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Observed {
    /// One entry a hit; more than one where a join gives several rows.
    pub hits: Vec<Map<String, Value>>,
    /// Sentences of the alerts that left.
    pub reasons: Vec<String>,
    /// Why the record could not be answered.
    pub dead_letter: Option<String>,
}

/// How the events of a case are put through the engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// All in one batch.
    Straight,
    /// One event a batch.
    EventByEvent,
    /// A process that has seen so many moments is gone, and another goes on.
    Restart(usize),
    /// In one batch, windows shared out to two threads.
    TwoShards,
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Straight => f.write_str("in one batch"),
            Self::EventByEvent => f.write_str("event by event"),
            Self::Restart(after) => write!(f, "with a restart after event {after}"),
            Self::TwoShards => f.write_str("with two shards"),
        }
    }
}

/// One thing that is not as expected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mismatch {
    /// Index of the moment.
    pub moment: usize,
    /// What was expected and what came.
    pub message: String,
}

/// What came of a case.
#[derive(Debug, Clone)]
pub struct Verdict {
    /// For each moment, what came of it in one batch.
    pub observed: Vec<Observed>,
    /// What is not as the case says.
    pub mismatches: Vec<Mismatch>,
    /// Ways that gave another answer than one batch did, with the first moment that differs: a fault of the engine.
    pub astray: Vec<(Way, usize, Observed)>,
}

impl Verdict {
    /// Whether all is as it should be.
    pub fn passed(&self) -> bool {
        self.mismatches.is_empty() && self.astray.is_empty()
    }
}
