//! Reads a topic for people and tools: what is there now, or one record by its coordinates.
//!
//! Takes [`KafkaSettings`] and a topic, hands on [`StoredRecord`]s. Reads committed records only, belongs to no
//! group, commits nothing and keeps nothing. What would surprise: it ends at what was committed when it got
//! there, so it never waits for a transaction that is still open.

use std::sync::Arc;
use std::time::Duration;

use rdkafka::Offset as Position;
use rdkafka::TopicPartitionList;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, Headers, Message};

use super::consumer::{ANSWER_WAIT, Reporter, partitions_of};
use super::error::passes;
use super::{KafkaSettings, Remedy, Side, SourceError, words};
use crate::event::{Coordinates, EventTime, Offset, Partition};

/// How long one poll waits, and how many in a row may bring nothing: half a minute of silence is a failure.
const WAIT: Duration = Duration::from_secs(1);
const SILENT_POLLS_MAX: usize = 30;

/// A record as it is stored, with all that is needed to send it again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredRecord {
    /// Where it stands.
    pub coordinates: Coordinates,
    /// Its Kafka timestamp, of creation or of arrival as the topic is set.
    pub timestamp: Option<EventTime>,
    /// The key.
    pub key: Option<Vec<u8>>,
    /// The payload; none for a tombstone.
    pub payload: Option<Vec<u8>>,
    /// Headers in their order; a name may repeat, a value may be null.
    pub headers: Vec<(String, Option<Vec<u8>>)>,
}

impl StoredRecord {
    /// The text of the first header of that name.
    pub fn header(&self, name: &str) -> Option<String> {
        let (_, value) = self.headers.iter().find(|(header, _)| header == name)?;
        Some(String::from_utf8_lossy(value.as_deref()?).into_owned())
    }
}

/// What comes while a topic is followed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Followed {
    /// A record.
    Record(StoredRecord),
    /// All that was there at first has been handed on; told once.
    CaughtUp,
    /// Nothing new.
    Nothing,
}

/// Where reading begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadFrom {
    /// With the oldest record that the topic still holds.
    Beginning,
    /// With the first record whose Kafka timestamp is this or later.
    Time(EventTime),
}

/// A topic that exists, and a client to read it with.
pub struct TopicReader {
    consumer: BaseConsumer<Reporter>,
    topic: Arc<str>,
    partitions: usize,
}

impl std::fmt::Debug for TopicReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TopicReader").field("topic", &self.topic).finish_non_exhaustive()
    }
}

impl TopicReader {
    /// Asks the brokers for the topic.
    ///
    /// Fails where settings are refused, no broker answers within 30 seconds, or the topic does not exist.
    pub fn open(kafka: &KafkaSettings, client_id: &str, topic: &str) -> Result<Self, SourceError> {
        // A group is never joined, but without a name for one the library assigns nothing.
        let mut config =
            kafka.client_config(Side::Consumer, client_id, &[("group.id", "tollgate-topic-reader")])?;
        config.set("enable.partition.eof", "true");
        let consumer: BaseConsumer<Reporter> = config
            .create_with_context(Reporter::default())
            .map_err(|error| SourceError::stop("making a Kafka consumer", &error))?;
        let partitions = partitions_of(&consumer, topic, &kafka.brokers)?;
        Ok(Self { consumer, topic: Arc::from(topic), partitions })
    }

    /// How many partitions the topic has.
    pub fn partitions(&self) -> usize {
        self.partitions
    }

    /// Hands every committed record of all partitions on, each partition in its order, until all are read or `each`
    /// fails.
    pub fn read<E: From<SourceError>>(
        &self,
        from: ReadFrom,
        mut each: impl FnMut(StoredRecord) -> Result<(), E>,
    ) -> Result<(), E> {
        self.assign(&self.start(from)?)?;
        let mut left = self.partitions;
        while left > 0 {
            match self.next()? {
                Some(record) => each(record)?,
                None => left -= 1,
            }
        }
        Ok(())
    }

    /// Hands on every committed record from the oldest, then goes on with those that come, until `each` says no.
    /// While nothing comes it is told so several times a second.
    pub fn follow(&self, mut each: impl FnMut(Followed) -> bool) -> Result<(), SourceError> {
        const QUIET: Duration = Duration::from_millis(200);
        self.assign(&self.start(ReadFrom::Beginning)?)?;
        let mut behind: std::collections::BTreeSet<i32> =
            (0..i32::try_from(self.partitions).unwrap_or(i32::MAX)).collect();
        loop {
            let event = match self.consumer.poll(QUIET) {
                None => Followed::Nothing,
                Some(Ok(message)) => Followed::Record(self.stored(&message)),
                Some(Err(KafkaError::PartitionEOF(partition))) => {
                    match behind.remove(&partition) && behind.is_empty() {
                        true => Followed::CaughtUp,
                        false => Followed::Nothing,
                    }
                }
                Some(Err(error)) if passes(&error) => Followed::Nothing,
                Some(Err(error)) => {
                    let detail = self.consumer.context().detail().unwrap_or_else(|| words(&error));
                    return Err(self.gives_up(Remedy::Change, detail));
                }
            };
            if !each(event) {
                return Ok(());
            }
        }
    }

    /// Waits until every transaction is over that had written to the topic when this was called, so that
    /// [`Self::read`] misses nothing that was committed before.
    ///
    /// Fails where one is still open after 90 seconds; brokers end those of a dead producer after a minute.
    pub fn wait_for_open_transactions(
        &self,
        kafka: &KafkaSettings,
        client_id: &str,
    ) -> Result<(), SourceError> {
        const PAUSE: Duration = Duration::from_millis(100);
        const PAUSES_MAX: usize = 900;
        let mut config = kafka.client_config(Side::Consumer, client_id, &[])?;
        config.set("isolation.level", "read_uncommitted");
        let written: BaseConsumer =
            config.create().map_err(|error| SourceError::stop("making a Kafka consumer", &error))?;
        for partition in 0..i32::try_from(self.partitions).unwrap_or(i32::MAX) {
            let (_, end) = written
                .fetch_watermarks(&self.topic, partition, ANSWER_WAIT)
                .map_err(|error| self.failed(&error))?;
            let mut pauses = 0;
            while self.end(partition)? < end {
                if pauses == PAUSES_MAX {
                    let reason = format!(
                        "a transaction that writes to partition {partition} is still open after 90 seconds: see \
                         whether its producer hangs, or wait until the broker ends it"
                    );
                    return Err(self.gives_up(Remedy::Change, reason));
                }
                pauses += 1;
                std::thread::sleep(PAUSE);
            }
        }
        Ok(())
    }

    /// The offset after the last record that is in no open transaction.
    fn end(&self, partition: i32) -> Result<i64, SourceError> {
        let marks = self.consumer.fetch_watermarks(&self.topic, partition, ANSWER_WAIT);
        marks.map(|(_, end)| end).map_err(|error| self.failed(&error))
    }

    /// The record at an offset; none where the topic holds none there, or no longer.
    pub fn fetch(&self, partition: i32, offset: Offset) -> Result<Option<StoredRecord>, SourceError> {
        let (low, high) = self
            .consumer
            .fetch_watermarks(&self.topic, partition, ANSWER_WAIT)
            .map_err(|error| self.failed(&error))?;
        if offset.0 < low || offset.0 >= high {
            return Ok(None);
        }
        let mut list = TopicPartitionList::new();
        self.add(&mut list, partition, Position::Offset(offset.0))?;
        self.assign(&list)?;
        // Where it was compacted away, aborted, or is no record but a marker, a later one comes, or the end.
        Ok(self.next()?.filter(|record| record.coordinates.offset == offset))
    }

    fn start(&self, from: ReadFrom) -> Result<TopicPartitionList, SourceError> {
        let mut list = TopicPartitionList::new();
        let position = match from {
            ReadFrom::Beginning => Position::Beginning,
            ReadFrom::Time(time) => Position::Offset(time.0.div_euclid(1000).max(0)),
        };
        for partition in 0..i32::try_from(self.partitions).unwrap_or(i32::MAX) {
            self.add(&mut list, partition, position)?;
        }
        if from == ReadFrom::Beginning {
            return Ok(list);
        }
        // Past the last record of that time the answer is the end, which the library takes as it is.
        self.consumer.offsets_for_times(list, ANSWER_WAIT).map_err(|error| self.failed(&error))
    }

    fn add(
        &self,
        list: &mut TopicPartitionList,
        partition: i32,
        position: Position,
    ) -> Result<(), SourceError> {
        list.add_partition_offset(&self.topic, partition, position).map_err(|error| self.failed(&error))
    }

    fn assign(&self, list: &TopicPartitionList) -> Result<(), SourceError> {
        self.consumer.assign(list).map_err(|error| self.failed(&error))
    }

    /// The next record, or none at the end of a partition.
    fn next(&self) -> Result<Option<StoredRecord>, SourceError> {
        let mut last = "nothing came for 30 seconds".to_owned();
        let mut silent = 0;
        while silent < SILENT_POLLS_MAX {
            match self.consumer.poll(WAIT) {
                None => silent += 1,
                Some(Ok(message)) => return Ok(Some(self.stored(&message))),
                Some(Err(KafkaError::PartitionEOF(_))) => return Ok(None),
                Some(Err(error)) => {
                    let reason = self.consumer.context().detail().unwrap_or_else(|| words(&error));
                    if !passes(&error) {
                        return Err(self.gives_up(Remedy::Change, reason));
                    }
                    last = reason;
                }
            }
        }
        Err(self.gives_up(Remedy::AnotherStart, last))
    }

    fn stored(&self, message: &BorrowedMessage<'_>) -> StoredRecord {
        let header = |header: rdkafka::message::Header<'_, &[u8]>| {
            (header.key.to_owned(), header.value.map(<[u8]>::to_vec))
        };
        StoredRecord {
            coordinates: Coordinates {
                partition: Partition { topic: Arc::clone(&self.topic), partition: message.partition() },
                offset: Offset(message.offset()),
            },
            timestamp: message.timestamp().to_millis().map(|millis| EventTime(millis.saturating_mul(1000))),
            key: message.key().map(<[u8]>::to_vec),
            payload: message.payload().map(<[u8]>::to_vec),
            headers: message
                .headers()
                .map(|headers| headers.iter().map(header).collect())
                .unwrap_or_default(),
        }
    }

    fn failed(&self, error: &KafkaError) -> SourceError {
        SourceError::stop(&self.attempt(), error)
    }

    fn gives_up(&self, remedy: Remedy, reason: String) -> SourceError {
        SourceError::Client { attempt: self.attempt(), reason, remedy }
    }

    fn attempt(&self) -> String {
        format!("reading topic `{}`", self.topic)
    }
}
