//! Whether a topic is still the one that was read: a record of before, looked at again.
//!
//! A topic that was deleted and made anew under its old name has the same offsets for other records. Takes what the
//! note of the last commit says of the record before it; where there is no note, for brokers forget the commits of
//! a deleted topic, what the history says of its newest record. Asks for those records before the windows are
//! filled, and compares them after, so that the asking costs no time of its own. A record that retention or
//! compaction has removed tells nothing.

use std::collections::BTreeMap;

use super::job::{Job, JobError};
use super::refusal::Refusal;
use crate::checkpoint::RecordMark;
use crate::event::{Offset, Partition};
use crate::source::kafka::{Replay, ReplayRange};
use crate::source::{Partitions, RawBatch, RawRecord};

/// What is known of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Known {
    /// By the note of a commit.
    Committed(RecordMark),
    /// By the history: its Kafka timestamp, microseconds.
    Recorded(i64),
}

/// Records that were asked for, and what is known of them.
pub(super) struct Witness {
    replay: Replay,
    known: BTreeMap<Partition, Known>,
}

impl Witness {
    /// Asks for records.
    pub(super) fn ask(
        job: &Job<'_>,
        table: &Partitions,
        records: Vec<(Partition, Offset, Known)>,
    ) -> Result<Self, JobError> {
        let range = |(partition, at, _): &(Partition, Offset, Known)| ReplayRange {
            partition: partition.clone(),
            from: *at,
            to: Offset(at.0 + 1),
        };
        let ranges: Vec<ReplayRange> = records.iter().map(range).collect();
        let known = records.into_iter().map(|(partition, _, known)| (partition, known)).collect();
        let consumer = &job.consumer;
        let replay =
            Replay::start(&consumer.kafka, &consumer.group, &ranges, table, consumer.batch_rows_max)?;
        Ok(Self { replay, known })
    }

    /// Refuses where another record stands at one of the offsets.
    pub(super) fn compare(mut self) -> Result<(), JobError> {
        while let Some(batch) = self.replay.next_batch()? {
            if let Some((partition, offset)) = stranger(&batch, &self.known) {
                return Err(Refusal::TopicRecreated { partition, offset }.into());
            }
        }
        Ok(())
    }
}

/// The first record that is not what is known of it.
fn stranger(batch: &RawBatch, known: &BTreeMap<Partition, Known>) -> Option<(Partition, i64)> {
    let other = |record: &&RawRecord| match known.get(&batch.partitions[record.partition as usize].partition)
    {
        Some(Known::Committed(mark)) => *mark != RecordMark::of(record),
        Some(Known::Recorded(timestamp)) => record.timestamp != Some(*timestamp),
        None => false,
    };
    let record = batch.records.iter().find(other)?;
    Some((batch.partitions[record.partition as usize].partition.clone(), record.offset))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::source::{RawRecord, SourcePartition};

    #[test]
    fn another_record_at_the_same_offset_is_a_stranger_and_an_unknown_partition_is_not() {
        let partition = |number| Partition { topic: "t".into(), partition: number };
        let entry = |number| SourcePartition { partition: partition(number), stream: 0 };
        let record = |partition, timestamp| RawRecord {
            partition,
            offset: 41,
            timestamp: Some(timestamp),
            payload: Some(0..10),
            ..RawRecord::default()
        };
        let batch = RawBatch {
            partitions: Arc::new(vec![entry(0), entry(1)]),
            records: vec![record(1, 5), record(0, 7)],
            bytes: vec![0; 10],
        };
        let known = |known| BTreeMap::from([(partition(0), known)]);
        let mark = |timestamp, bytes| known(Known::Committed(RecordMark(Some(timestamp), bytes)));
        assert_eq!(stranger(&batch, &mark(7, 10)), None);
        assert_eq!(stranger(&batch, &mark(8, 10)), Some((partition(0), 41)));
        assert_eq!(stranger(&batch, &mark(7, 9)), Some((partition(0), 41)));
        assert_eq!(stranger(&batch, &known(Known::Recorded(7))), None);
        assert_eq!(stranger(&batch, &known(Known::Recorded(8))), Some((partition(0), 41)));
    }
}
