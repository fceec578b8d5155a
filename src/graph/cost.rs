//! What each query costs: time, measured on one batch in [`EVERY`], and its share of window state.
//!
//! Takes a reading of the clock after each step; hands on the time of each query since it was last asked. A step that
//! several queries share is shared out evenly among them, so the costs of all add up to what was spent. What would
//! surprise: reading the clock a hundred times costs microseconds, which is much for a batch of one row, so most
//! batches are not measured and the others stand for them, by their rows.

use std::sync::Arc;
use std::time::Duration;

use super::schedule::Step;
use super::{Engine, RuleHits};
use crate::event::Clock;

/// One batch in so many is measured.
const EVERY: u64 = 16;

/// What queries cost since the last look.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Costs {
    /// Rows that were processed.
    pub rows: u64,
    /// Those of them in batches that were measured.
    pub measured_rows: u64,
    /// Time of each query over the measured rows.
    pub spent: Vec<Duration>,
}

impl Costs {
    /// Mean time that a query takes for a row, nanoseconds; none while nothing was measured.
    #[expect(clippy::cast_precision_loss, reason = "a mean")]
    pub fn nanos_a_row(&self, query: usize) -> Option<f64> {
        let spent = self.spent.get(query).filter(|_| self.measured_rows > 0)?;
        Some(spent.as_nanos() as f64 / self.measured_rows as f64)
    }

    /// Adds what was measured since.
    pub fn add(&mut self, later: &Self) {
        self.rows += later.rows;
        self.measured_rows += later.measured_rows;
        self.spent.resize(self.spent.len().max(later.spent.len()), Duration::ZERO);
        self.spent.iter_mut().zip(&later.spent).for_each(|(spent, more)| *spent += *more);
    }
}

/// Measures the steps of an engine.
pub(super) struct Meter {
    clock: Arc<dyn Clock>,
    /// One batch in so many is measured.
    every: u64,
    batches: u64,
    /// For each step, the queries that it is for.
    readers: Vec<Vec<usize>>,
    costs: Costs,
}

fn none(queries: usize) -> Costs {
    Costs { spent: vec![Duration::ZERO; queries], ..Costs::default() }
}

impl Meter {
    fn new(clock: &Arc<dyn Clock>, every: u64, steps: &[Step], queries: usize) -> Self {
        Self { clock: Arc::clone(clock), every, batches: 0, readers: readers(steps), costs: none(queries) }
    }

    /// Whether a batch is measured, and from when on.
    pub(super) fn begin(&mut self, rows: usize) -> Option<Duration> {
        self.costs.rows += rows as u64;
        self.batches += 1;
        if rows == 0 || !(self.batches - 1).is_multiple_of(self.every) {
            return None;
        }
        self.costs.measured_rows += rows as u64;
        Some(self.clock.elapsed())
    }

    /// A step has ended that began at `from`.
    pub(super) fn step(&mut self, step: usize, from: &mut Duration) {
        let now = self.clock.elapsed();
        let spent = now.saturating_sub(std::mem::replace(from, now));
        share(&mut self.costs.spent, &self.readers[step], spent);
    }

    /// What queries select of their hits was evaluated since `from`.
    pub(super) fn hits(&mut self, hits: &RuleHits, from: Duration) {
        let spent = self.clock.elapsed().saturating_sub(from);
        let queries: Vec<usize> = hits.hits.iter().map(|found| found.query).collect();
        share(&mut self.costs.spent, &queries, spent);
    }
}

fn share(spent: &mut [Duration], queries: &[usize], time: Duration) {
    let Ok(count) = u32::try_from(queries.len()) else { return };
    if count > 0 {
        queries.iter().for_each(|query| spent[*query] += time / count);
    }
}

impl Engine {
    /// What queries cost since the last call; the first one begins to measure, with this clock.
    pub fn costs(&mut self, clock: &Arc<dyn Clock>) -> Costs {
        let (steps, queries) = (&self.steps, self.queries.len());
        let meter = self.meter.get_or_insert_with(|| Meter::new(clock, EVERY, steps, queries));
        std::mem::replace(&mut meter.costs, none(queries))
    }

    /// Measures every batch from here on, where the engine works for nothing else.
    pub fn measure_all(&mut self, clock: &Arc<dyn Clock>) {
        self.meter = Some(Meter::new(clock, 1, &self.steps, self.queries.len()));
    }

    /// Bytes of window state of each query: a state that several read is shared out evenly.
    pub fn bytes_by_query(&self) -> Vec<usize> {
        let mut bytes = vec![0; self.queries.len()];
        for window in self.windows() {
            let share = window.usage.bytes / window.queries.len().max(1);
            window.queries.iter().for_each(|query| bytes[*query] += share);
        }
        bytes
    }
}

/// The queries of each step; what is known early of a filter is for those of the filter.
fn readers(steps: &[Step]) -> Vec<Vec<usize>> {
    let of_rows = |wanted| {
        steps.iter().find_map(|step| match step {
            Step::Rows { rows, queries, .. } if *rows == wanted => Some(queries.clone()),
            _ => None,
        })
    };
    let of = |step: &Step| match step {
        Step::Early { rows, .. } => of_rows(*rows).unwrap_or_default(),
        Step::Rows { queries, .. } | Step::Column { queries, .. } => queries.clone(),
        Step::Window(window) => window.queries(),
    };
    steps.iter().map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::ManualClock;

    #[test]
    fn time_is_shared_out_among_the_readers_of_a_step_and_one_batch_stands_for_sixteen() {
        let manual = Arc::new(ManualClock::default());
        let clock: Arc<dyn Clock> = Arc::clone(&manual) as Arc<dyn Clock>;
        let readers = vec![vec![0, 1], vec![1], Vec::new()];
        let mut meter = Meter { clock, every: EVERY, batches: 0, readers, costs: none(2) };
        for batch in 0..32 {
            let begun = meter.begin(10);
            assert_eq!(begun.is_some(), batch % 16 == 0, "{batch}");
            let Some(mut from) = begun else { continue };
            for step in 0..3 {
                manual.advance(Duration::from_micros(100));
                meter.step(step, &mut from);
            }
        }
        let micros = Duration::from_micros;
        assert_eq!(meter.costs.spent, [micros(100), micros(300)]);
        assert_eq!((meter.costs.rows, meter.costs.measured_rows), (320, 20));
        assert_eq!(meter.costs.nanos_a_row(1), Some(15_000.0));
    }
}
