//! A core takes the place of another between two batches: new rules, the windows of before.
//!
//! Takes what the core in force keeps ([`Before`]); a core is made with it, filled aside where it has windows that
//! the other lacks, and then put in its place by [`Core::succeed`]. Times, ids of repeats, counts and waiting rows
//! stay. What would surprise: where new rules read columns that nobody had decoded, rows that wait are taken over from
//! the new core, which decoded them again; both must hold the same rows.

use super::silent::answered_by_all;
use super::watermark::Watermarks;
use super::{Core, Ordered, Restored, StepOutcome, Work};
use crate::decode::{DecodedBatch, Decoders};
use crate::event::{EventTime, Span};
use crate::graph::{EngineError, Lineage, Reach};
use crate::rules::Emit;

/// What a core keeps, for the one that follows it.
#[derive(Debug, Clone)]
pub struct Before {
    /// Windows of the rules answered on arrival and of those answered in order.
    pub lineages: [Lineage; 2],
    /// For each stream, the columns that its rules read.
    pub used: Vec<Vec<bool>>,
    /// Whether any rule is answered in order, so that rows wait.
    pub ordered: bool,
}

/// How a core stands between two batches.
#[derive(Debug, Clone)]
pub struct Standing {
    watermarks: Watermarks,
    /// Time of each partition.
    pub partitions: Vec<Restored>,
}

/// How a core was filled that is to take the place of another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Filled {
    /// Not at all: it has no windows that the other lacks.
    Not,
    /// Its new windows were, up to the last row that the other took in.
    Windows,
    /// The same, and rows that wait were decoded again there, with columns that the other did not read.
    Rows,
}

/// Why a core can't take the place of another.
#[derive(Debug, thiserror::Error)]
pub enum SuccessionError {
    /// The rows that wait for their turn were not all found again.
    #[error("the rows that wait for their turn could not all be found again, so nothing was changed")]
    Waiting,
}

impl Core {
    /// What this core keeps; `used` are the columns that its rules read.
    pub fn before(&self, used: &[Vec<bool>]) -> Before {
        let ordered = self.in_order.as_ref().map(|ordered| ordered.engine.lineage()).unwrap_or_default();
        Before {
            lineages: [self.on_arrival.lineage(), ordered],
            used: used.to_vec(),
            ordered: self.in_order.is_some(),
        }
    }

    /// How this core stands; `partitions` are index and stream of those it reads.
    pub fn standing(&self, partitions: impl IntoIterator<Item = (u32, usize)>) -> Standing {
        let answered_below = self.watermarks.current();
        let time = |(partition, stream)| Restored {
            partition,
            stream,
            answered_below,
            latest: self.watermarks.latest(partition, stream),
        };
        Standing {
            watermarks: self.watermarks.clone(),
            partitions: partitions.into_iter().map(time).collect(),
        }
    }

    /// How far back windows look that must be filled before this core can take another's place; none where
    /// nothing is to be filled. Rows that wait must be decoded again where a rule reads more of them.
    pub fn to_fill(&self, before: &Before, reads_more: bool) -> Option<Reach> {
        let ordered = self.in_order.as_ref().and_then(|ordered| {
            let rows_only = (reads_more || !before.ordered).then(Reach::default);
            ordered.engine.reach_to_fill().or(rows_only)
        });
        let either = |one: Reach, other: Reach| Reach {
            longest: one.longest.max(other.longest),
            unbounded: one.unbounded || other.unbounded,
        };
        match (self.on_arrival.reach_to_fill(), ordered) {
            (Some(arrival), Some(ordered)) => Some(either(arrival, ordered)),
            (arrival, ordered) => arrival.or(ordered),
        }
    }

    /// From here on rows fill the windows that no core before had, up to those that `standing` had answered.
    pub fn begin_filling(&mut self, standing: &Standing) {
        self.work = Work::Fill;
        for restored in &standing.partitions {
            self.watermarks.expect(restored.partition);
        }
        self.watermarks.hold_below(answered_by_all(&standing.partitions));
    }

    /// All rows that the other core had taken in when it stood so are here too: the others wait as they do there.
    pub fn catch_up(&mut self, standing: Standing) -> Result<StepOutcome, EngineError> {
        self.watermarks.hold_below(answered_by_all(&standing.partitions));
        let outcome = self.restore(&standing.partitions)?;
        self.watermarks = standing.watermarks;
        Ok(outcome)
    }

    /// Decodes with these from the next batch on.
    pub fn decode_with(&mut self, decoders: Decoders) {
        self.decoders = decoders;
    }

    /// Has another core of the same contract take this one's place.
    pub fn succeed(&mut self, next: Self, filled: Filled) -> Result<(), SuccessionError> {
        if let (Some(own), Some(other), true) = (&self.in_order, &next.in_order, filled != Filled::Not)
            && !own.reorder.holds_the_same(&other.reorder)
        {
            return Err(SuccessionError::Waiting);
        }
        let Self { decoders, mut on_arrival, in_order, .. } = next;
        on_arrival.take_over(&mut self.on_arrival);
        self.on_arrival = on_arrival;
        self.decoders = decoders;
        let waiting = |ordered: &Ordered| ordered.reorder.waiting();
        self.in_order = match (self.in_order.take(), in_order) {
            (Some(mut own), Some(mut other)) => {
                other.engine.take_over(&mut own.engine);
                let reorder = if filled == Filled::Rows { other.reorder } else { own.reorder };
                Some(Ordered { engine: other.engine, reorder })
            }
            // Rows that rules answered on arrival have judged wait for those answered in order, and count again.
            (None, Some(other)) => {
                self.counts.rows_in += waiting(&other);
                Some(other)
            }
            (Some(own), None) => {
                self.counts.answered += waiting(&own);
                None
            }
            (None, None) => None,
        };
        Ok(())
    }

    /// For each rule of an order, how far back it looks if any of its windows goes on from none of before.
    pub fn rules_to_fill(&self, emit: Emit) -> Vec<Option<Span>> {
        let engine = self.engines().find(|(own, _)| *own == emit).map(|(_, engine)| engine);
        engine.map(|engine| engine.queries_to_fill()).unwrap_or_default()
    }

    /// Partitions that the other core no longer waits for.
    pub fn release_idle(&mut self, partitions: &[u32]) -> Result<(), EngineError> {
        for partition in partitions {
            self.watermarks.release(*partition);
        }
        self.absorb(DecodedBatch::default())
    }
}

impl Standing {
    /// Rows below this had been answered; `i64::MIN` before any was.
    pub fn answered_below(&self) -> EventTime {
        EventTime(answered_by_all(&self.partitions))
    }
}
