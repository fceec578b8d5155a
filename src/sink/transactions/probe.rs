//! Whether a broker's transactions mean anything: one is aborted, and nobody may be able to read it.
//!
//! Some brokers take the requests of the protocol and show aborted records all the same; exactly-once
//! delivery would be a false promise there.

use std::time::Duration;

use rdkafka::Offset as Position;
use rdkafka::TopicPartitionList;
use rdkafka::consumer::Consumer;
use rdkafka::message::Message;
use rdkafka::producer::Producer;

use super::hanging::reader;
use super::producer::{drain, send_doomed};
use super::{TransactionSink, committer};
use crate::event::Partition;
use crate::sink::{Destination, SinkError};
use crate::source::kafka::words;

/// The key of the record that must not be seen.
const PROBE_KEY: &str = "tollgate-probe";

/// How long the end of the topic is waited for.
const POLLS_MAX: usize = 200;

/// Aborts a transaction and reads it back; whether the aborted record stays hidden, as it must.
///
/// Leaves an aborted record in the topic of alerts, which readers of committed records never see.
pub fn probe(sink: &mut TransactionSink) -> Result<bool, SinkError> {
    let Some(producer) = sink.idle.front() else { return Ok(true) };
    let topic = sink.settings.kafka.topics.of(Destination::Alerts).to_owned();
    let attempt = "probing the broker's transactions";
    let failed = |error: &rdkafka::error::KafkaError| committer::failed(attempt, error);
    let reader = reader(&sink.settings, &[("enable.partition.eof", "true")])?;
    let (_, end) = reader.fetch_watermarks(&topic, 0, Duration::from_secs(10)).map_err(|error| {
        SinkError::Refused { attempt, reason: format!("topic `{topic}`: {}", words(&error)) }
    })?;
    producer.begin_transaction().map_err(|error| failed(&error))?;
    let place = Partition { topic: topic.as_str().into(), partition: 0 };
    send_doomed(producer, &place, Some((PROBE_KEY, "aborted"))).map_err(|error| failed(&error))?;
    drain(producer, POLLS_MAX);
    producer.abort_transaction(Duration::from_secs(10)).map_err(|error| failed(&error))?;
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(&topic, 0, Position::Offset(end)).map_err(|error| failed(&error))?;
    reader.assign(&list).map_err(|error| failed(&error))?;
    for _ in 0..POLLS_MAX {
        match reader.poll(Duration::from_millis(10)) {
            Some(Ok(message)) if message.key() == Some(PROBE_KEY.as_bytes()) => return Ok(false),
            // The end of what a reader of committed records may see.
            Some(Err(rdkafka::error::KafkaError::PartitionEOF(_))) => return Ok(true),
            _ => {}
        }
    }
    Ok(true)
}
