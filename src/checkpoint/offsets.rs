//! How far each partition was read, and so what a commit made now would say.
//!
//! Takes the batches that are answered; hands on the commits of all partitions at once, for their watermark
//! is one. Keeps the next offset of each partition, and whether anything was read since the last commit.

use std::collections::BTreeMap;

use super::{Note, PartitionCommit, RecordMark};
use crate::event::{Offset, Partition};
use crate::source::RawBatch;

/// What is known of a partition beside how far it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// Its lowest offset that still waits for its turn.
    pub waiting_from: Option<Offset>,
    /// What the next start must know; its `next` and `last` are filled in here.
    pub note: Note,
}

/// Where a partition is read on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Position {
    /// The partition.
    pub partition: Partition,
    /// The next offset.
    pub next: Offset,
    /// The record before it, where it is known.
    pub last: Option<RecordMark>,
}

/// Next offset to read of each partition.
#[derive(Debug, Default)]
pub struct Offsets {
    /// The next offset, and the mark of the record before it where that is known.
    read: BTreeMap<Partition, (Offset, Option<RecordMark>)>,
    changed: bool,
}

impl Offsets {
    /// Goes on from a position.
    pub fn begin(&mut self, position: Position) {
        self.read.insert(position.partition, (position.next, position.last));
    }

    /// Takes note of a batch that is about to be answered.
    pub fn read(&mut self, batch: &RawBatch) {
        for record in &batch.records {
            let partition = &batch.partitions[record.partition as usize].partition;
            let next = Offset(record.offset + 1);
            self.changed = true;
            let read = (next, Some(RecordMark::of(record)));
            match self.read.get_mut(partition) {
                Some(known) if known.0 >= next => {}
                Some(known) => *known = read,
                None => {
                    self.read.insert(partition.clone(), read);
                }
            }
        }
    }

    /// Takes note that rows were answered without anything new being read.
    pub fn touch(&mut self) {
        self.changed = true;
    }

    /// Whether a commit would say anything new.
    pub fn changed(&self) -> bool {
        self.changed
    }

    /// Commits for every partition as of now; from here on nothing is new.
    pub fn take(&mut self, mut standing: impl FnMut(&Partition) -> Standing) -> Vec<PartitionCommit> {
        self.changed = false;
        let commit = |(partition, (next, last)): (&Partition, &(Offset, Option<RecordMark>))| {
            let Standing { waiting_from, note } = standing(partition);
            let offset = waiting_from.map_or(*next, |waiting| waiting.min(*next));
            let note = Note { last: *last, ..note.with_next(*next) }.write();
            PartitionCommit { partition: partition.clone(), offset, note }
        };
        self.read.iter().map(commit).collect()
    }

    /// Next offset of each partition.
    pub fn iter(&self) -> impl Iterator<Item = (&Partition, Offset)> {
        self.read.iter().map(|(partition, (next, _))| (partition, *next))
    }

    /// The record before a partition's next offset, where it is known.
    pub fn last(&self, partition: &Partition) -> Option<RecordMark> {
        self.read.get(partition)?.1
    }

    /// Forgets partitions that are no longer ours.
    pub fn forget(&mut self, partitions: &[Partition]) {
        for partition in partitions {
            self.read.remove(partition);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::source::{RawRecord, SourcePartition};

    fn partition(number: i32) -> Partition {
        Partition { topic: "t".into(), partition: number }
    }

    fn batch(records: &[(u32, i64)]) -> RawBatch {
        let entry = |number| SourcePartition { partition: partition(number), stream: 0 };
        let record =
            |&(partition, offset): &(u32, i64)| RawRecord { partition, offset, ..RawRecord::default() };
        RawBatch {
            partitions: Arc::new(vec![entry(0), entry(1)]),
            records: records.iter().map(record).collect(),
            bytes: Vec::new(),
        }
    }

    #[test]
    fn a_commit_stays_below_what_waits_and_its_note_says_what_was_read() {
        let mut offsets = Offsets::default();
        offsets.begin(Position { partition: partition(1), next: Offset(7), last: None });
        offsets.read(&batch(&[(0, 4), (0, 5)]));
        assert!(offsets.changed());
        let waiting = |number: &Partition| (number.partition == 0).then_some(Offset(2));
        let commits = offsets.take(|own| Standing { waiting_from: waiting(own), note: Note::new(Offset(0)) });
        let said: Vec<_> = commits
            .iter()
            .map(|commit| {
                let note = Note::read(&commit.note).expect("a note").expect("one");
                (commit.partition.partition, commit.offset.0, note.next().0, note.last)
            })
            .collect();
        assert_eq!(said, [(0, 2, 6, Some(RecordMark(None, 0))), (1, 7, 7, None)]);
        assert!(!offsets.changed());
    }
}
