//! What stands beside the job in a measurement: programs that do as little as can be done.
//!
//! The echo passes every record on as soon as it can; exactly-once it does so on a ring of three producers, in
//! transactions with its offsets, as the job does. The consumer polls and parses, and answers nothing.

use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::{BorrowedMessage, Message};
use rdkafka::producer::{BaseProducer, BaseRecord};
use serde::Deserialize;

use super::Failure;
use crate::event::{Clock, Coordinates, Offset, Partition, Span, SystemClock};
use crate::sink::{
    Destination, KafkaSinkSettings, OutMessage, Outgoing, PRODUCERS, RefusedMessages, Topics,
    TransactionEnds, TransactionSettings, TransactionSink,
};
use crate::source::kafka::{KafkaSettings, PartitionCommit};

/// Records taken at once at most.
const TAKEN_MAX: usize = 1000;

/// One record in so many that the consumer passes on.
const SEEN_ONE_IN: u64 = 100;

/// Where to read and where to write.
pub(super) struct Bare<'a> {
    pub(super) brokers: &'a str,
    pub(super) from: &'a str,
    pub(super) to: &'a str,
    /// The echo passes on one record in so many.
    pub(super) every: u64,
}

/// What the rules of the job read of a record.
#[derive(Deserialize)]
#[expect(dead_code, reason = "parsed, and that is all")]
struct Parsed<'a> {
    tx_id: i64,
    ts: &'a str,
    card_id: &'a str,
    merchant_id: &'a str,
    amount: f64,
    country: &'a str,
    device_id: &'a str,
}

impl Bare<'_> {
    /// Runs until the process is ended.
    pub(super) fn serve(&self, which: &str, interval: &str) -> Result<(), Failure> {
        match which {
            "consumer" => self.consume(),
            "ring" => self.ring(interval.parse().map_err(Failure::usage)?),
            _ => self.echo(),
        }
    }

    fn consumer(&self) -> Result<BaseConsumer, Failure> {
        let mut config = ClientConfig::new();
        let consumer: BaseConsumer = config
            .set("bootstrap.servers", self.brokers)
            .set("group.id", self.to)
            .set("enable.auto.commit", "false")
            .set("fetch.wait.max.ms", "10")
            .create()
            .map_err(Failure::outside)?;
        let metadata =
            consumer.fetch_metadata(Some(self.from), Duration::from_secs(30)).map_err(Failure::outside)?;
        let mut list = rdkafka::TopicPartitionList::new();
        for partition in metadata.topics().iter().flat_map(|topic| topic.partitions()) {
            list.add_partition_offset(self.from, partition.id(), rdkafka::Offset::End)
                .map_err(Failure::outside)?;
        }
        consumer.assign(&list).map_err(Failure::outside)?;
        Ok(consumer)
    }

    fn producer(&self) -> Result<BaseProducer, Failure> {
        ClientConfig::new()
            .set("bootstrap.servers", self.brokers)
            .set("linger.ms", "0")
            .create()
            .map_err(Failure::outside)
    }

    fn pass_on(&self, producer: &BaseProducer, message: &BorrowedMessage<'_>) -> Result<(), Failure> {
        let payload = message.payload().unwrap_or_default();
        let record = BaseRecord::<[u8], [u8]>::to(self.to).partition(0).payload(payload);
        producer.send(record).map_err(|(cause, _)| Failure::outside(cause))
    }

    fn echo(&self) -> Result<(), Failure> {
        let (consumer, producer) = (self.consumer()?, self.producer()?);
        let mut seen = 0;
        loop {
            if let Some(Ok(message)) = consumer.poll(Duration::from_millis(100)) {
                seen += 1;
                if seen % self.every == 0 {
                    self.pass_on(&producer, &message)?;
                }
            }
            producer.poll(Duration::ZERO);
        }
    }

    fn consume(&self) -> Result<(), Failure> {
        let (consumer, producer) = (self.consumer()?, self.producer()?);
        let mut seen = 0;
        loop {
            let Some(Ok(message)) = consumer.poll(Duration::from_millis(100)) else { continue };
            let payload = message.payload().unwrap_or_default();
            std::hint::black_box(serde_json::from_slice::<Parsed<'_>>(payload).map_err(Failure::outside)?);
            seen += 1;
            if seen % SEEN_ONE_IN == 0 {
                self.pass_on(&producer, &message)?;
                producer.poll(Duration::ZERO);
            }
        }
    }

    fn ring(&self, interval: Span) -> Result<(), Failure> {
        let clock = SystemClock::start();
        let consumer = self.consumer()?;
        let mut sink = self.sink()?;
        let (mut step, mut last, mut seen) = (0, Duration::ZERO, 0);
        let mut open: Vec<PartitionCommit> = Vec::new();
        loop {
            let mut messages = Vec::new();
            let mut polled = consumer.poll(Duration::from_millis(1));
            while let Some(Ok(message)) = polled {
                let taken = self.taken(&message, &mut open);
                seen += 1;
                messages.extend((seen % self.every == 0).then_some(taken));
                polled = if messages.len() < TAKEN_MAX { consumer.poll(Duration::ZERO) } else { None };
            }
            if !messages.is_empty() {
                step += 1;
                sink.publish(Outgoing { step, messages }).map_err(Failure::outside)?;
            }
            sink.receipt().map_err(Failure::outside)?;
            let now = clock.elapsed();
            let due = !open.is_empty() && now.saturating_sub(last) >= interval.to_std();
            if due && sink.can_commit().map_err(Failure::outside)? {
                let group = consumer.group_metadata();
                let group = group.ok_or_else(|| Failure::outside("the echo has no group"))?;
                sink.commit(std::mem::take(&mut open), group).map_err(Failure::outside)?;
                last = now;
            }
        }
    }

    fn sink(&self) -> Result<TransactionSink, Failure> {
        let brokers = self.brokers.split(',').map(str::to_owned).collect();
        let kafka = KafkaSinkSettings {
            kafka: KafkaSettings { brokers, ..KafkaSettings::default() },
            client_id: "tollgate-bench-echo".to_owned(),
            topics: Topics { alerts: self.to.to_owned(), ..Topics::default() },
            linger_ms: 0,
        };
        TransactionSink::start(TransactionSettings {
            kafka,
            id: self.to.to_owned(),
            group: self.to.to_owned(),
            producers: PRODUCERS,
            refused: RefusedMessages::default(),
            ends: TransactionEnds::default(),
        })
        .map_err(Failure::outside)
    }

    /// A record as a message of the open transaction, and its offset among those that are committed with it.
    fn taken(&self, message: &BorrowedMessage<'_>, open: &mut Vec<PartitionCommit>) -> OutMessage {
        let partition = Partition { topic: self.from.into(), partition: message.partition() };
        let next = Offset(message.offset() + 1);
        match open.iter_mut().find(|commit| commit.partition == partition) {
            Some(commit) => commit.offset = next,
            None => {
                let note = String::new();
                open.push(PartitionCommit { partition: partition.clone(), offset: next, note });
            }
        }
        OutMessage {
            destination: Destination::Alerts,
            key: None,
            value: message.payload().map(<[u8]>::to_vec),
            headers: Vec::new(),
            coordinates: Coordinates { partition, offset: Offset(message.offset()) },
        }
    }
}
