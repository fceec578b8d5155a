//! Reads given ranges of partitions once and ends: for recovery, warm-up and single records.
//!
//! Takes [`ReplayRange`]s, hands on [`RawBatch`]es whose partitions are numbered as in a given table. Stands
//! beside the job's consumer: it joins no group and commits nothing. A range ends at its last offset or at
//! the end of the partition, for the last offsets may be markers of transactions, which nobody is shown.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use rdkafka::Offset as Position;
use rdkafka::TopicPartitionList;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, Message};

use super::batch::append_record;
use super::consumer::Reporter;
use super::{KafkaSettings, Side, SourceError, error, positions};
use crate::event::{EventTime, Offset, Partition};
use crate::source::{Partitions, RawBatch, SourcePartition};

/// The records of one partition from one offset up to, and without, another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplayRange {
    /// The partition.
    pub partition: Partition,
    /// First offset.
    pub from: Offset,
    /// First offset that is not read.
    pub to: Offset,
}

/// How long a poll waits for a first record.
const POLL_WAIT: Duration = Duration::from_millis(20);

/// One consumer a topic, for the end of a partition is told without the topic's name.
struct TopicReplay {
    consumer: BaseConsumer<Reporter>,
    topic: Arc<str>,
    /// For each partition still read: its index in the table, and the first offset that is not wanted.
    open: BTreeMap<i32, (u32, i64)>,
}

/// Ranges that are being read.
pub struct Replay {
    topics: Vec<TopicReplay>,
    table: Partitions,
    batch_rows_max: usize,
    next: usize,
}

impl std::fmt::Debug for Replay {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Replay").field("topics", &self.topics.len()).finish_non_exhaustive()
    }
}

impl Replay {
    /// Starts to read; `table` numbers the partitions, and those it lacks are entered behind the others.
    pub fn start(
        settings: &KafkaSettings,
        group: &str,
        ranges: &[ReplayRange],
        table: &Partitions,
        batch_rows_max: usize,
    ) -> Result<Self, SourceError> {
        let mut replay = Self { topics: Vec::new(), table: Arc::clone(table), batch_rows_max, next: 0 };
        let mut by_topic: BTreeMap<&Arc<str>, Vec<&ReplayRange>> = BTreeMap::new();
        for range in ranges.iter().filter(|range| range.from < range.to) {
            by_topic.entry(&range.partition.topic).or_default().push(range);
        }
        for (topic, ranges) in by_topic {
            let consumer = consumer(settings, group)?;
            let failed = |fault| SourceError::stop(&format!("reading {topic} again"), &fault);
            let mut list = TopicPartitionList::new();
            let mut open = BTreeMap::new();
            for range in ranges {
                let (number, from) = (range.partition.partition, range.from.0);
                list.add_partition_offset(topic, number, Position::Offset(from)).map_err(failed)?;
                open.insert(number, (replay.index(&range.partition), range.to.0));
            }
            consumer.assign(&list).map_err(failed)?;
            replay.topics.push(TopicReplay { consumer, topic: Arc::clone(topic), open });
        }
        Ok(replay)
    }

    fn index(&mut self, partition: &Partition) -> u32 {
        let known = self.table.iter().position(|entry| entry.partition == *partition);
        let index = known.unwrap_or_else(|| {
            let entry = SourcePartition { partition: partition.clone(), stream: 0 };
            Arc::make_mut(&mut self.table).push(entry);
            self.table.len() - 1
        });
        u32::try_from(index).unwrap_or(u32::MAX)
    }

    /// The next records, perhaps none yet; [`None`] once every range has ended.
    pub fn next_batch(&mut self) -> Result<Option<RawBatch>, SourceError> {
        self.topics.retain(|topic| !topic.open.is_empty());
        if self.topics.is_empty() {
            return Ok(None);
        }
        self.next = (self.next + 1) % self.topics.len();
        let mut batch = RawBatch { partitions: Arc::clone(&self.table), ..RawBatch::default() };
        self.topics[self.next].fill(&mut batch, self.batch_rows_max)?;
        Ok(Some(batch))
    }
}

impl TopicReplay {
    fn fill(&mut self, batch: &mut RawBatch, rows_max: usize) -> Result<(), SourceError> {
        let mut wait = POLL_WAIT;
        while batch.records.len() < rows_max && !self.open.is_empty() {
            match self.consumer.poll(wait) {
                None => return Ok(()),
                Some(Ok(message)) => take(&mut self.open, batch, &message),
                Some(Err(KafkaError::PartitionEOF(partition))) => {
                    self.open.remove(&partition);
                }
                Some(Err(fault)) => {
                    match error::polled(&fault, self.consumer.context().detail()) {
                        Some(fault) if !fault.retry() => return Err(fault),
                        Some(fault) => {
                            tracing::warn!(topic = &*self.topic, %fault, "a fault while reading again");
                        }
                        None => {}
                    }
                    return Ok(());
                }
            }
            wait = Duration::ZERO;
        }
        Ok(())
    }
}

fn take(open: &mut BTreeMap<i32, (u32, i64)>, batch: &mut RawBatch, message: &BorrowedMessage<'_>) {
    let Some(&(index, to)) = open.get(&message.partition()) else { return };
    if message.offset() < to {
        append_record(batch, index, message);
    }
    if message.offset() >= to - 1 {
        open.remove(&message.partition());
    }
}

fn consumer(settings: &KafkaSettings, group: &str) -> Result<BaseConsumer<Reporter>, SourceError> {
    let mut config = settings.client_config(Side::Consumer, group, &[("group.id", group)])?;
    config.set("enable.partition.eof", "true");
    config
        .create_with_context(Reporter::default())
        .map_err(|error| SourceError::stop("making a Kafka consumer", &error))
}

/// For each partition, the first record at or after a time; none where there is none.
pub fn first_records_at(
    settings: &KafkaSettings,
    group: &str,
    times: &[(Partition, EventTime)],
) -> Result<Vec<Option<Offset>>, SourceError> {
    let consumer = consumer(settings, group)?;
    let failed = |fault| SourceError::stop("asking the brokers for offsets by time", &fault);
    times
        .iter()
        .map(|(partition, time)| patient(|| positions::first_at(&consumer, partition, *time)))
        .collect::<Result<_, _>>()
        .map_err(failed)
}

/// Asks again while brokers that come back still look for leaders and coordinators, for half a minute.
fn patient<T>(mut ask: impl FnMut() -> Result<T, KafkaError>) -> Result<T, KafkaError> {
    const ATTEMPTS_MAX: usize = 60;
    const PAUSE: Duration = Duration::from_millis(500);
    for _ in 1..ATTEMPTS_MAX {
        match ask() {
            Err(fault) if super::error::passes(&fault) => std::thread::sleep(PAUSE),
            answer => return answer,
        }
    }
    ask()
}

/// Every partition of a topic and the offsets it holds: the oldest, and the next to be written.
pub fn topic_bounds(
    settings: &KafkaSettings,
    group: &str,
    topic: &str,
) -> Result<Vec<(Partition, Offset, Offset)>, SourceError> {
    let consumer = consumer(settings, group)?;
    let failed = |fault| SourceError::stop(&format!("asking the brokers for {topic}"), &fault);
    let wait = super::consumer::ANSWER_WAIT;
    let metadata = patient(|| consumer.fetch_metadata(Some(topic), wait)).map_err(failed)?;
    let numbers = metadata.topics().iter().flat_map(|topic| topic.partitions()).map(|entry| entry.id());
    let bounds = |number| {
        let (low, high) = patient(|| consumer.fetch_watermarks(topic, number, wait)).map_err(failed)?;
        Ok((Partition { topic: Arc::from(topic), partition: number }, Offset(low), Offset(high)))
    };
    numbers.map(bounds).collect()
}

#[cfg(test)]
mod tests {
    use rdkafka::error::RDKafkaErrorCode as Code;

    use super::*;

    #[test]
    fn a_broker_that_is_on_its_way_back_is_asked_again_and_a_refusal_is_taken() {
        let fault = |code| KafkaError::OffsetFetch(code);
        let mut answers =
            vec![Ok(7), Err(fault(Code::UnknownLeaderEpoch)), Err(fault(Code::OperationTimedOut))];
        assert_eq!(patient(|| answers.pop().expect("an answer")), Ok(7));
        let mut asked = 0;
        let refused: Result<i32, _> = patient(|| {
            asked += 1;
            Err(fault(Code::TopicAuthorizationFailed))
        });
        assert_eq!((refused, asked), (Err(fault(Code::TopicAuthorizationFailed)), 1));
    }
}
