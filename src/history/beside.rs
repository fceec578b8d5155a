//! Rows of a history whose job goes on to write, to merge and to prune it.
//!
//! Takes what is wanted of each partition; hands on batches as a [`Loader`] does, with whatever is missing left out.
//! A segment may be gone when its turn comes: then the rest is planned anew from the row that was reached.

use std::sync::Arc;

use super::History;
use super::error::HistoryError;
use super::load::Loader;
use super::plan::{Plan, Wanted};
use crate::decode::DecodedBatch;
use crate::event::{Contract, Offset};
use crate::source::Partitions;

/// How often in a row segments may be gone before it is given up.
const GONE_MAX: u32 = 10;

/// Batches in the order of arrival; ends after the last row or the first error.
#[derive(Debug)]
pub struct Beside {
    history: History,
    contract: Contract,
    used: Vec<Vec<bool>>,
    partitions: Partitions,
    /// One a partition.
    wanted: Vec<Wanted>,
    /// For each partition, the first offset that has not been read.
    next: Vec<Offset>,
    loader: Loader,
    plans: Vec<Plan>,
    gone: u32,
}

impl Beside {
    pub(super) fn start(
        history: &History,
        wanted: Vec<Wanted>,
        contract: &Contract,
        used: &[Vec<bool>],
        partitions: Partitions,
    ) -> Result<Self, HistoryError> {
        let next = vec![Offset(0); wanted.len()];
        let plans = plans(history, contract, &wanted, &next)?;
        Ok(Self {
            loader: history.load(plans.clone(), contract, used, Arc::clone(&partitions))?,
            history: history.clone(),
            contract: contract.clone(),
            used: used.to_vec(),
            partitions,
            wanted,
            next,
            plans,
            gone: 0,
        })
    }

    /// What was there at the beginning, one a partition.
    pub fn plans(&self) -> &[Plan] {
        &self.plans
    }

    fn go_on(&mut self) -> Result<(), HistoryError> {
        let plans = plans(&self.history, &self.contract, &self.wanted, &self.next)?;
        self.loader = self.history.load(plans, &self.contract, &self.used, Arc::clone(&self.partitions))?;
        Ok(())
    }
}

impl Iterator for Beside {
    type Item = Result<DecodedBatch, HistoryError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let next = self.loader.next()?;
            match next {
                Err(HistoryError::Changed { .. }) if self.gone < GONE_MAX => {
                    self.gone += 1;
                    if let Err(error) = self.go_on() {
                        return Some(Err(error));
                    }
                }
                Ok(batch) => {
                    self.gone = 0;
                    for (partition, offset) in batch.rows.partition.iter().zip(&batch.rows.offset) {
                        self.next[*partition as usize] = Offset(offset + 1);
                    }
                    return Some(Ok(batch));
                }
                Err(error) => return Some(Err(error)),
            }
        }
    }
}

/// All that is wanted from the next offsets on.
fn plans(
    history: &History,
    contract: &Contract,
    wanted: &[Wanted],
    next: &[Offset],
) -> Result<Vec<Plan>, HistoryError> {
    let plan = |(wanted, next): (&Wanted, &Offset)| {
        let mut plan = history.plan_with_gaps(contract, wanted)?;
        for segment in &mut plan.segments {
            segment.offsets.start = segment.offsets.start.max(*next);
        }
        plan.segments.retain(|segment| segment.offsets.start < segment.offsets.end);
        Ok(plan)
    };
    wanted.iter().zip(next).map(plan).collect()
}
