//! What the brokers know of each assigned partition, and where a first start begins.
//!
//! Takes an assignment, hands on an [`Assignment`] for every partition: the group's committed offset with
//! its note, or what the stream's [`Start`] says on a first start, and what the topic still holds. Asks the
//! brokers and keeps nothing.

use std::collections::BTreeMap;
use std::sync::Arc;

use rdkafka::Offset as Position;
use rdkafka::TopicPartitionList;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, KafkaResult};

use super::consumer::{ANSWER_WAIT, Subscribed};
use super::{PartitionCommit, TopicBinding};
use crate::event::{EventTime, Offset, Partition};

/// Where answers begin when the group has committed nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// With the oldest record that the topic still holds.
    Earliest,
    /// With the first record written after the first start.
    Latest,
    /// With the first record whose Kafka timestamp is this or later.
    At(EventTime),
}

/// One assigned partition as the brokers know it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assignment {
    /// Which.
    pub partition: Partition,
    /// Index of its stream in the contract.
    pub stream: usize,
    /// The committed offset, or where a first start begins.
    pub start: Offset,
    /// The note of the commit; empty where none rides in it, none on a first start.
    pub note: Option<String>,
    /// The oldest record that the topic still holds.
    pub low: Offset,
    /// The next record to be written.
    pub high: Offset,
    /// How many partitions the topic has.
    pub partitions: usize,
}

impl Assignment {
    /// What the group has committed; none on a first start.
    pub fn committed(&self) -> Option<PartitionCommit> {
        let note = self.note.clone()?;
        Some(PartitionCommit { partition: self.partition.clone(), offset: self.start, note })
    }
}

/// Positions of an assignment.
pub(super) struct Positions {
    /// Every partition.
    pub(super) all: Vec<Assignment>,
    /// Those that were found by time or at the end, to be committed so that a restart finds them too.
    pub(super) found: TopicPartitionList,
}

/// Resolves where each partition of an assignment begins.
pub(super) fn resolve(
    consumer: &Subscribed,
    assigned: &TopicPartitionList,
    topics: &BTreeMap<String, TopicBinding>,
) -> KafkaResult<Positions> {
    let mut positions = Positions { all: Vec::new(), found: TopicPartitionList::new() };
    if assigned.count() == 0 {
        return Ok(positions);
    }
    let committed = consumer.committed_offsets(assigned.clone(), ANSWER_WAIT)?;
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for element in committed.elements() {
        element.error()?;
        let (topic, partition) = (element.topic(), element.partition());
        if !counts.contains_key(topic) {
            let metadata = consumer.fetch_metadata(Some(topic), ANSWER_WAIT)?;
            let count = metadata.topics().first().map_or(0, |topic| topic.partitions().len());
            counts.insert(topic.to_owned(), count);
        }
        let (low, high) = consumer.fetch_watermarks(topic, partition, ANSWER_WAIT)?;
        let binding = topics.get(topic).copied();
        let mut assignment = Assignment {
            partition: Partition { topic: Arc::from(topic), partition },
            stream: binding.map_or(0, |binding| binding.stream),
            start: Offset(low),
            note: None,
            low: Offset(low),
            high: Offset(high),
            partitions: counts.get(topic).copied().unwrap_or_default(),
        };
        if let Position::Offset(offset) = element.offset() {
            assignment.start = Offset(offset);
            assignment.note = Some(element.metadata().to_owned());
            positions.all.push(assignment);
            continue;
        }
        let start = binding.map_or(Start::Earliest, |binding| binding.start);
        assignment.start = match start {
            Start::Earliest => Offset(low),
            Start::Latest => Offset(high),
            Start::At(time) => first_at(&**consumer, &assignment.partition, time)?.unwrap_or(Offset(high)),
        };
        if start != Start::Earliest {
            let position = Position::Offset(assignment.start.0);
            positions.found.add_partition_offset(topic, partition, position)?;
        }
        positions.all.push(assignment);
    }
    Ok(positions)
}

/// The first record at or after a time; none where there is none yet.
pub(super) fn first_at<C: ConsumerContext>(
    consumer: &BaseConsumer<C>,
    partition: &Partition,
    time: EventTime,
) -> KafkaResult<Option<Offset>> {
    let mut asked = TopicPartitionList::new();
    // Kafka's timestamps are milliseconds: rounding up keeps records from before the time out.
    let millis = time.0.div_euclid(1000) + i64::from(time.0.rem_euclid(1000) > 0);
    asked.add_partition_offset(&partition.topic, partition.partition, Position::Offset(millis.max(0)))?;
    let answer = consumer.offsets_for_times(asked, ANSWER_WAIT)?;
    let element =
        answer.find_partition(&partition.topic, partition.partition).ok_or(KafkaError::NoMessageReceived)?;
    element.error()?;
    match element.offset() {
        Position::Offset(offset) => Ok(Some(Offset(offset))),
        _ => Ok(None),
    }
}
