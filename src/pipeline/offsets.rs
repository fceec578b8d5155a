//! Which offsets may be committed: those whose alerts are durable and whose rows no longer wait.
//!
//! Takes the offsets that each step read and the receipts that come back; hands on the offsets to commit.
//! A commit names the next offset to read, and is only ever made from a [`Receipt`].

use std::collections::{BTreeMap, VecDeque};

use crate::event::{Offset, Partition};
use crate::sink::Receipt;
use crate::source::RawBatch;

/// Offsets on their way to a commit.
#[derive(Debug, Default)]
pub(super) struct Offsets {
    /// Next offset to read of each partition, as of the last step.
    read: BTreeMap<Partition, Offset>,
    /// For each published step, the offsets that its receipt allows.
    published: VecDeque<(u64, BTreeMap<Partition, Offset>)>,
    /// Allowed and not committed yet.
    allowed: BTreeMap<Partition, Offset>,
}

impl Offsets {
    /// Takes note of a batch that is about to be answered.
    pub(super) fn read(&mut self, batch: &RawBatch) {
        for record in &batch.records {
            let partition = &batch.partitions[record.partition as usize].partition;
            let next = Offset(record.offset + 1);
            match self.read.get_mut(partition) {
                Some(known) => *known = (*known).max(next),
                None => {
                    self.read.insert(partition.clone(), next);
                }
            }
        }
    }

    /// Takes note that a step was published; `waiting` is the lowest offset of a partition that still waits.
    pub(super) fn published(&mut self, step: u64, waiting: impl Fn(&Partition) -> Option<Offset>) {
        let held_back = |(partition, next): (&Partition, &Offset)| {
            let next = waiting(partition).map_or(*next, |first| first.min(*next));
            (partition.clone(), next)
        };
        self.published.push_back((step, self.read.iter().map(held_back).collect()));
    }

    /// Takes a proof that steps are durable.
    pub(super) fn durable(&mut self, receipt: Receipt) {
        while self.published.front().is_some_and(|(step, _)| *step <= receipt.step()) {
            if let Some((_, offsets)) = self.published.pop_front() {
                self.allowed.extend(offsets);
            }
        }
    }

    /// What may be committed now and was not before.
    pub(super) fn take(&mut self) -> Vec<(Partition, Offset)> {
        std::mem::take(&mut self.allowed).into_iter().collect()
    }

    /// Forgets partitions that are no longer ours.
    pub(super) fn forget(&mut self, partitions: &[Partition]) {
        for partition in partitions {
            self.read.remove(partition);
            self.allowed.remove(partition);
            for (_, offsets) in &mut self.published {
                offsets.remove(partition);
            }
        }
    }

    /// Steps published and not known to be durable.
    pub(super) fn steps_under_way(&self) -> usize {
        self.published.len()
    }
}
