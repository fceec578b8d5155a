//! The producers of a ring: how one is made, served, and given records.

use std::sync::Arc;
use std::time::Duration;

use rdkafka::error::KafkaError;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};

use super::committer::{self, Reports};
use super::{SinkError, TransactionSettings};
use crate::event::{Coordinates, Offset, Partition};
use crate::sink::kafka::{KafkaSinkSettings, headers};
use crate::sink::{Destination, OutMessage};
use crate::source::kafka::Side;

/// How often `init_transactions` is tried, 10 seconds each.
const INIT_ATTEMPTS_MAX: usize = 6;

/// After so long a broker aborts the transaction of a process that has died, which the next one may wait for;
/// brokers that are away for longer cost a restart from the committed offsets.
const TIMEOUT_MS: &str = "15000";

pub(in crate::sink) type TransactionProducer = BaseProducer<Reports>;

/// Makes a producer of the ring and takes over its id.
pub(super) fn make(
    settings: &TransactionSettings,
    index: usize,
) -> Result<Arc<TransactionProducer>, SinkError> {
    let id = format!("{}-{index}", settings.id);
    let linger = settings.kafka.linger_ms.to_string();
    let ours = [("linger.ms", linger.as_str()), ("transactional.id", id.as_str())];
    let mut config = settings.kafka.kafka.client_config(Side::Producer, &settings.kafka.client_id, &ours)?;
    // No message may outlive its transaction.
    let timeout = config.get("transaction.timeout.ms").unwrap_or(TIMEOUT_MS).to_owned();
    config.set("transaction.timeout.ms", &timeout);
    config.set("message.timeout.ms", timeout);
    let producer: TransactionProducer = config
        .create_with_context(Reports::new(settings.ends.clone()))
        .map_err(|error| SinkError::Producer(error.to_string()))?;
    meet(&producer, &settings.kafka.topics.alerts);
    initialise(&producer, &id)?;
    Ok(Arc::new(producer))
}

/// Serves every event that is there; `poll(0)` serves one a call. Longer polls of this library turn round and round for the
/// last millisecond, so where there is nothing to do this thread sleeps instead.
pub(super) fn serve_events(producer: &TransactionProducer) {
    loop {
        let before = producer.context().events();
        producer.poll(Duration::ZERO);
        if producer.context().events() == before {
            return;
        }
    }
}

/// Waits until what a producer was given is acknowledged, for so many times 10 ms at most.
pub(super) fn drain(producer: &TransactionProducer, polls_max: usize) {
    for _ in 0..polls_max {
        serve_events(producer);
        if producer.in_flight_count() == 0 {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Sends a record of a transaction that will be aborted, with a key and a value or without both.
pub(super) fn send_doomed(
    producer: &TransactionProducer,
    place: &Partition,
    content: Option<(&str, &str)>,
) -> Result<(), KafkaError> {
    let about = Coordinates { partition: place.clone(), offset: Offset(0) };
    let about = Arc::new((about, Destination::Audit));
    let record = BaseRecord::<str, str, committer::About>::with_opaque_to(&place.topic, about);
    let record =
        BaseRecord { key: content.map(|(key, _)| key), payload: content.map(|(_, value)| value), ..record };
    producer.send(record.partition(place.partition)).map_err(|(error, _)| error)?;
    producer.context().give();
    Ok(())
}

pub(super) fn produce(
    producer: &TransactionProducer,
    settings: &KafkaSinkSettings,
    message: &OutMessage,
) -> Result<(), KafkaError> {
    let topic = settings.topics.of(message.destination);
    let about = Arc::new((message.coordinates.clone(), message.destination));
    let record = BaseRecord::<[u8], [u8], committer::About>::with_opaque_to(topic, about);
    let record = BaseRecord {
        key: message.key.as_deref(),
        payload: message.value.as_deref(),
        headers: (!message.headers.is_empty()).then(|| headers(message)),
        ..record
    };
    producer.send(record).map_err(|(error, _)| error)
}

/// Has a producer connect to a broker by its name, which the address it starts from is not: where it knows none that is up,
/// the library looks for a coordinator each half second only. The first answer names the brokers, the second comes from one.
fn meet(producer: &TransactionProducer, topic: &str) {
    const WAIT: Duration = Duration::from_secs(2);
    for _ in 0..2 {
        if let Err(error) = producer.client().fetch_metadata(Some(topic), WAIT) {
            tracing::debug!(%error, "no broker answers a producer yet");
            return;
        }
    }
}

/// Waits for a broker to take the id, which ends and aborts what its earlier owner left open.
fn initialise(producer: &TransactionProducer, id: &str) -> Result<(), SinkError> {
    let mut attempts_left = INIT_ATTEMPTS_MAX;
    loop {
        let Err(error) = producer.init_transactions(Duration::from_secs(10)) else { return Ok(()) };
        let again = match &error {
            KafkaError::Transaction(fault) => fault.is_retriable() && !fault.is_fatal(),
            _ => false,
        };
        attempts_left -= 1;
        if !again || attempts_left == 0 {
            let mut failed = committer::failed("initialising transactions", &error);
            if let SinkError::Transaction { reason, .. } = &mut failed {
                reason.push_str(&format!(" (transactional id `{id}`)"));
            }
            return Err(failed);
        }
        tracing::warn!(id, %error, "transactions could not be initialised yet");
    }
}
