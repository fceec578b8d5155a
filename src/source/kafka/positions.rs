//! Where each assigned partition begins.
//!
//! Takes an assignment, hands on the same list with an offset for every partition: the group's committed
//! one, or what the stream's [`Start`] says on a first start. Asks the brokers and keeps nothing.

use std::collections::BTreeMap;

use rdkafka::Offset as Position;
use rdkafka::TopicPartitionList;
use rdkafka::consumer::Consumer;
use rdkafka::error::{KafkaError, KafkaResult};

use super::TopicBinding;
use super::consumer::{ANSWER_WAIT, Subscribed};
use crate::event::EventTime;

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

/// Positions of an assignment.
pub(super) struct Positions {
    /// Every partition and where it begins.
    pub(super) all: TopicPartitionList,
    /// Those that were found by time or at the end, to be committed so that a restart finds them too.
    pub(super) found: TopicPartitionList,
}

/// Resolves where each partition of an assignment begins.
pub(super) fn resolve(
    consumer: &Subscribed,
    assigned: &TopicPartitionList,
    topics: &BTreeMap<String, TopicBinding>,
) -> KafkaResult<Positions> {
    let mut positions = Positions { all: TopicPartitionList::new(), found: TopicPartitionList::new() };
    if assigned.count() == 0 {
        return Ok(positions);
    }
    let committed = consumer.committed_offsets(assigned.clone(), ANSWER_WAIT)?;
    for element in committed.elements() {
        element.error()?;
        let (topic, partition) = (element.topic(), element.partition());
        if let Position::Offset(_) = element.offset() {
            positions.all.add_partition_offset(topic, partition, element.offset())?;
            continue;
        }
        let start = topics.get(topic).map_or(Start::Earliest, |binding| binding.start);
        let position = match start {
            Start::Earliest => Position::Beginning,
            Start::Latest => end(consumer, topic, partition)?,
            Start::At(time) => at(consumer, topic, partition, time)?,
        };
        positions.all.add_partition_offset(topic, partition, position)?;
        if start != Start::Earliest {
            positions.found.add_partition_offset(topic, partition, position)?;
        }
    }
    Ok(positions)
}

fn end(consumer: &Subscribed, topic: &str, partition: i32) -> KafkaResult<Position> {
    consumer.fetch_watermarks(topic, partition, ANSWER_WAIT).map(|(_, high)| Position::Offset(high))
}

/// The first record at or after a time; the end where there is none yet.
fn at(consumer: &Subscribed, topic: &str, partition: i32, time: EventTime) -> KafkaResult<Position> {
    let mut asked = TopicPartitionList::new();
    // Kafka's timestamps are milliseconds: rounding up keeps records from before the time out.
    let millis = time.0.div_euclid(1000) + i64::from(time.0.rem_euclid(1000) > 0);
    asked.add_partition_offset(topic, partition, Position::Offset(millis.max(0)))?;
    let answer = consumer.offsets_for_times(asked, ANSWER_WAIT)?;
    let element = answer.find_partition(topic, partition).ok_or(KafkaError::NoMessageReceived)?;
    element.error()?;
    match element.offset() {
        Position::Offset(offset) => Ok(Position::Offset(offset)),
        _ => end(consumer, topic, partition),
    }
}
