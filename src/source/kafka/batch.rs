//! Fills a batch with what has arrived, and numbers the partitions it came from.
//!
//! Takes the consumer, hands on a [`Filled`]. Waits for the first record only; after that it takes what
//! is there, up to the limits, and never waits for more. Keeps the table of partitions, which only grows.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, Headers, Message};

use super::consumer::Subscribed;
use super::{ConsumerSettings, TopicBinding};
use crate::event::Partition;
use crate::source::{Partitions, RawBatch, RawRecord, SourcePartition};

/// What one round of polls brought.
#[derive(Default)]
pub(super) struct Filled {
    /// Records, perhaps none.
    pub(super) batch: RawBatch,
    /// A fault that ended the round.
    pub(super) error: Option<KafkaError>,
}

/// Polls for the first record up to `wait`, then takes the rest of what has arrived.
pub(super) fn fill(
    consumer: &Subscribed,
    table: &mut PartitionTable,
    settings: &ConsumerSettings,
    wait: Duration,
) -> Filled {
    let mut filled = Filled::default();
    let mut polled = consumer.poll(wait);
    while let Some(result) = polled {
        match result {
            Ok(message) => take(&mut filled.batch, table, &message),
            Err(error) => {
                filled.error = Some(error);
                break;
            }
        }
        let batch = &filled.batch;
        if batch.records.len() >= settings.batch_rows_max || batch.bytes.len() >= settings.batch_bytes_max {
            break;
        }
        polled = consumer.poll(Duration::ZERO);
    }
    filled.batch.partitions = Arc::clone(&table.partitions);
    filled
}

fn take(batch: &mut RawBatch, table: &mut PartitionTable, message: &BorrowedMessage<'_>) {
    let partition = table.index(message.topic(), message.partition());
    append_record(batch, partition, message);
}

/// Copies a message behind those that the batch has.
pub(super) fn append_record(batch: &mut RawBatch, partition: u32, message: &BorrowedMessage<'_>) {
    let payload = message.payload().map(|bytes| append(&mut batch.bytes, bytes));
    let key = message.key().map(|bytes| append(&mut batch.bytes, bytes));
    let traceparent = message
        .headers()
        .and_then(|headers| headers.iter().find(|header| header.key == "traceparent")?.value)
        .map(|bytes| append(&mut batch.bytes, bytes));
    batch.records.push(RawRecord {
        partition,
        offset: message.offset(),
        timestamp: message.timestamp().to_millis().and_then(|millis| millis.checked_mul(1000)),
        payload,
        key,
        traceparent,
    });
}

fn append(bytes: &mut Vec<u8>, more: &[u8]) -> Range<usize> {
    let start = bytes.len();
    bytes.extend_from_slice(more);
    start..bytes.len()
}

/// Numbers partitions in the order in which they are first met.
pub(super) struct PartitionTable {
    partitions: Partitions,
    topics: HashMap<String, TopicEntry>,
}

struct TopicEntry {
    name: Arc<str>,
    stream: usize,
    /// Index in the table by partition number.
    indexes: Vec<Option<u32>>,
}

impl PartitionTable {
    /// An empty table for the topics that are read.
    pub(super) fn new(topics: &BTreeMap<String, TopicBinding>) -> Self {
        let entry = |(name, binding): (&String, &TopicBinding)| {
            let entry =
                TopicEntry { name: Arc::from(name.as_str()), stream: binding.stream, indexes: Vec::new() };
            (name.clone(), entry)
        };
        Self { partitions: Partitions::default(), topics: topics.iter().map(entry).collect() }
    }

    /// The table as it stands.
    pub(super) fn partitions(&self) -> &Partitions {
        &self.partitions
    }

    /// The table's index of a partition, entered when it is new.
    pub(super) fn index(&mut self, topic: &str, partition: i32) -> u32 {
        let slot = usize::try_from(partition).unwrap_or_default();
        let known = self.topics.get(topic).and_then(|entry| *entry.indexes.get(slot)?);
        known.unwrap_or_else(|| self.enter(topic, slot, partition))
    }

    fn enter(&mut self, topic: &str, slot: usize, partition: i32) -> u32 {
        // Only subscribed topics arrive, and all of those were entered at the start.
        let entry = self.topics.entry(topic.to_owned()).or_insert_with(|| TopicEntry {
            name: Arc::from(topic),
            stream: 0,
            indexes: Vec::new(),
        });
        let table = Arc::make_mut(&mut self.partitions);
        let index = u32::try_from(table.len()).unwrap_or(u32::MAX);
        let named = Partition { topic: Arc::clone(&entry.name), partition };
        table.push(SourcePartition { partition: named, stream: entry.stream });
        if entry.indexes.len() <= slot {
            entry.indexes.resize(slot + 1, None);
        }
        entry.indexes[slot] = Some(index);
        index
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::kafka::Start;

    #[test]
    fn a_partition_keeps_its_index_and_old_tables_stay_as_they_were() {
        let binding = |stream| TopicBinding { stream, start: Start::Earliest };
        let topics = BTreeMap::from([("a".to_owned(), binding(0)), ("b".to_owned(), binding(1))]);
        let mut table = PartitionTable::new(&topics);
        assert_eq!(table.index("b", 3), 0);
        let before = Arc::clone(&table.partitions);
        assert_eq!(table.index("a", 0), 1);
        assert_eq!(table.index("b", 0), 2);
        assert_eq!(table.index("b", 3), 0);
        assert_eq!(before.len(), 1);
        let streams: Vec<_> = table.partitions.iter().map(|entry| entry.stream).collect();
        assert_eq!(streams, [1, 0, 1]);
    }
}
