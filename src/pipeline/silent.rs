//! Rows that were answered before a restart: they fill windows again, and nothing is sent.
//!
//! Rows from before what `@dedup` can remember are absorbed: no rule is evaluated. Later ones are answered as
//! ever and their answers dropped by the caller, who lets suppression see them. At the end [`Core::restore`]
//! sets the time as it was at the commit, and tells the rows that had been answered from those that waited.

use arrow::error::ArrowError;

use super::select::select;
use super::{Answered, Core, Counts, Ordered, StepOutcome, Work, finish_batch, run};
use crate::decode::DecodedBatch;
use crate::graph::{EngineError, EngineInput};
use crate::rules::Emit;
use crate::window::Ties;

/// What the last commit says of the time of one partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Restored {
    /// Index in the source's table.
    pub partition: u32,
    /// Index of its stream.
    pub stream: usize,
    /// Rows below this had been answered, microseconds: the watermark at the commit, `i64::MIN` before the first
    /// row; all rows (`i64::MAX`) on a first start.
    pub answered_below: i64,
    /// Latest event time of the partition then.
    pub latest: Option<i64>,
}

/// Below this, rows of every partition had been answered; `i64::MIN` where no partition was ever committed.
pub(super) fn answered_by_all(partitions: &[Restored]) -> i64 {
    let committed =
        partitions.iter().map(|restored| restored.answered_below).filter(|below| *below != i64::MAX);
    committed.min().unwrap_or(i64::MIN)
}

impl Core {
    /// Takes rows that were kept: those that are no repeats, whose ids are known from here on.
    pub fn without_repeats(&mut self, batch: DecodedBatch) -> Result<DecodedBatch, EngineError> {
        self.drop_repeats(batch)
    }

    /// Takes rows without repeats that were answered before: times and windows move on.
    pub fn absorb(&mut self, batch: DecodedBatch) -> Result<(), EngineError> {
        let work = self.work;
        if work == Work::Answer {
            self.work = Work::Absorb;
        }
        let absorbed = self.answer(batch);
        self.work = work;
        absorbed.map(|_| ())
    }

    /// Takes rows without repeats that were answered before, and answers them again for whoever must know the hits.
    pub fn rehearse(&mut self, batch: DecodedBatch) -> Result<StepOutcome, EngineError> {
        self.answer(batch)
    }

    /// Sets the time as it was at the commit. Rows below their partition's watermark had been answered, and
    /// are handed on as such; the others wait again. From here on rows are counted anew.
    pub fn restore(&mut self, partitions: &[Restored]) -> Result<StepOutcome, EngineError> {
        let mut outcome = StepOutcome::default();
        for restored in partitions {
            if let Some(latest) = restored.latest {
                self.watermarks.restore(restored.partition, restored.stream, latest);
            }
        }
        self.watermarks.hold_below(i64::MAX);
        self.watermarks.restore_current(answered_by_all(partitions));
        if let Some(mut ordered) = self.in_order.take() {
            let parted = self.part_waiting(&mut ordered, partitions, &mut outcome);
            self.in_order = Some(ordered);
            parted?;
        }
        self.counts = Counts::default();
        self.counts.rows_in = self.in_order.as_ref().map_or(0, |ordered| ordered.reorder.waiting());
        Ok(outcome)
    }

    fn part_waiting(
        &mut self,
        ordered: &mut Ordered,
        partitions: &[Restored],
        outcome: &mut StepOutcome,
    ) -> Result<(), EngineError> {
        let watermark = |index: u32| {
            let own = partitions.iter().find(|restored| restored.partition == index);
            own.map_or(i64::MIN, |restored| restored.answered_below)
        };
        if let Some((all, late)) = ordered.reorder.take_all()? {
            let rows = 0..u32::try_from(all.rows.event_time.len()).unwrap_or(u32::MAX);
            let passed =
                |row: &u32| all.rows.event_time[*row as usize] < watermark(all.rows.partition[*row as usize]);
            let (answered, waiting): (Vec<u32>, Vec<u32>) = rows.partition(passed);
            if !answered.is_empty() {
                let (batch, late) = picked(&all, &late, &answered)?;
                // Not their own times: another partition may not have come so far, and its frames must stay whole.
                let watermarks = vec![self.watermarks.current(); batch.rows.event_time.len()];
                let input = EngineInput { batch: &batch, watermarks: &watermarks, ties: Ties::Together };
                let hits = run(&mut ordered.engine, &input, self.work)?;
                let answered = Answered { emit: Emit::InOrder, batch, hits, late, watermarks };
                finish_batch(answered, ordered.engine.graph(), outcome);
            }
            ordered.reorder.hold(&all, &waiting, &late)?;
        }
        // What comes below the watermark from now on is late, as it would have been.
        let current = self.watermarks.current();
        self.release(ordered, current, outcome)
    }
}

fn picked(all: &DecodedBatch, late: &[i64], rows: &[u32]) -> Result<(DecodedBatch, Vec<i64>), ArrowError> {
    let order: Vec<(usize, u32)> = rows.iter().map(|row| (0, *row)).collect();
    Ok((select(&[all], &order)?, rows.iter().map(|row| late[*row as usize]).collect()))
}
