//! The transactional producer of a redrive.
//!
//! Takes letters and their records, hands nothing on: a batch is committed when it is full and at the end. A batch
//! that fails is aborted as a whole, and nothing of it is seen by those who read committed records.

use std::time::Duration;

use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};

use crate::cli::dead_letters::Place;
use crate::cli::dead_letters::letter::{Letter, REDRIVEN, REDRIVEN_FROM, path};
use crate::cli::failure::{Exit, Failure};
use crate::cli::terminal::grouped;
use crate::source::kafka::{Side, StoredRecord, words};

/// Records of one transaction: few enough that it ends well within its time limit.
const BATCH_MAX: u64 = 500;
const WAIT: Duration = Duration::from_secs(30);

/// A producer and its open transaction.
pub(super) struct Sender {
    producer: BaseProducer,
    letters: String,
    id: String,
    open: u64,
    committed: u64,
}

impl Sender {
    /// Makes the producer, ends what a run before left open, and shuts out a run at the same time.
    pub(super) fn start(place: &Place) -> Result<Self, Failure> {
        let id = format!("{}-redrive", place.settings.job.name);
        let ours = [("transactional.id", id.as_str()), ("linger.ms", "5")];
        let mut config = place.kafka.client_config(Side::Producer, &place.client_id, &ours)?;
        // The library wants a delivery to give up before its transaction; a person waits for neither for long.
        config.remove("delivery.timeout.ms");
        config.set("message.timeout.ms", "30000").set("transaction.timeout.ms", "60000");
        let producer: BaseProducer = config.create().map_err(Failure::outside)?;
        let sender = Self { producer, letters: place.topic.clone(), id, open: 0, committed: 0 };
        sender.producer.init_transactions(WAIT).map_err(|error| sender.failed("starting", &error))?;
        Ok(sender)
    }

    /// Puts a record and its note into the open transaction.
    pub(super) fn send(&mut self, letter: &Letter, record: &StoredRecord) -> Result<(), Failure> {
        if self.open == 0 {
            self.producer.begin_transaction().map_err(|error| self.failed("beginning", &error))?;
        }
        self.open += 1;
        let from = path(&letter.position);
        let mut headers = OwnedHeaders::new();
        for (name, value) in record.headers.iter().filter(|(name, _)| name != REDRIVEN_FROM) {
            headers = headers.insert(Header { key: name, value: value.as_deref() });
        }
        headers = headers.insert(Header { key: REDRIVEN_FROM, value: Some(from.as_bytes()) });
        self.put(BaseRecord {
            key: record.key.as_deref(),
            payload: record.payload.as_deref(),
            timestamp: record.timestamp.map(|time| time.0.div_euclid(1000)),
            headers: Some(headers),
            ..to(&letter.record.partition.topic, letter.record.partition.partition)
        })?;
        let (partition, offset) = letter.place();
        let note = format!("{partition}/{}", offset.0);
        let headers = OwnedHeaders::new().insert(Header { key: REDRIVEN, value: Some(note.as_bytes()) });
        self.put(BaseRecord { headers: Some(headers), ..to(&self.letters, partition) })?;
        if self.open >= BATCH_MAX { self.commit() } else { Ok(()) }
    }

    /// Commits what is open.
    pub(super) fn finish(mut self) -> Result<(), Failure> {
        if self.open > 0 { self.commit() } else { Ok(()) }
    }

    fn put(&self, record: BaseRecord<'_, [u8], [u8]>) -> Result<(), Failure> {
        let mut record = record;
        loop {
            match self.producer.send(record) {
                Ok(()) => return Ok(()),
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back)) => record = back,
                Err((error, _)) => return Err(self.failed("sending", &error)),
            }
            self.producer.poll(Duration::from_millis(10));
        }
    }

    fn commit(&mut self) -> Result<(), Failure> {
        if let Err(error) = self.producer.commit_transaction(WAIT) {
            let failure = self.failed("committing", &error);
            // The broker aborts it anyway; this only makes it soon.
            let _ = self.producer.abort_transaction(WAIT);
            return Err(failure);
        }
        self.committed += self.open;
        self.open = 0;
        Ok(())
    }

    fn failed(&self, doing: &str, error: &KafkaError) -> Failure {
        use RDKafkaErrorCode as Code;
        let advice = match error.rdkafka_error_code() {
            Some(Code::Fenced | Code::ProducerFenced | Code::InvalidProducerEpoch) => {
                "another redrive of this job has begun: let that one finish"
            }
            Some(Code::TransactionalIdAuthorizationFailed) => {
                "allow the user to write and describe this transactional id"
            }
            Some(Code::TopicAuthorizationFailed) => {
                "allow the user to write to the topics of the streams and of the dead letters"
            }
            _ => "run it again: what was sent is noted in the dead-letter topic and is not sent twice",
        };
        Failure {
            exit: Exit::Outside,
            message: format!(
                "{doing} transaction `{}` failed: {}; {} were sent before; {advice}",
                self.id,
                words(error),
                grouped(self.committed)
            ),
        }
    }
}

fn to(topic: &str, partition: i32) -> BaseRecord<'_, [u8], [u8]> {
    BaseRecord::to(topic).partition(partition)
}
