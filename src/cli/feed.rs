//! Feeds generated events to topics named as their streams.
//!
//! Keeps to the pace by waiting in ticks of a millisecond: a loop that spins would take half of one core
//! from the job beside it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};

use super::failure::Failure;
use crate::event::Clock;
use crate::generate::{GeneratedEvent, Pace};

/// A producer that keeps to a pace.
pub(super) struct Feed<'a> {
    producer: BaseProducer,
    pace: Option<Pace>,
    clock: &'a dyn Clock,
    started: Duration,
    unserved: u32,
}

/// Sends between two looks at delivery reports.
const SENDS_UNSERVED_MAX: u32 = 256;

impl<'a> Feed<'a> {
    /// Connects to brokers, separated by commas; sends as fast as they take it until a pace is set.
    pub(super) fn start(brokers: &str, clock: &'a dyn Clock) -> Result<Self, Failure> {
        let producer: BaseProducer = ClientConfig::new()
            .set("bootstrap.servers", brokers)
            .set("client.id", "tollgate-generate")
            .set("linger.ms", "1")
            .set("compression.type", "lz4")
            .set("message.timeout.ms", "30000")
            .set("topic.metadata.propagation.max.ms", "3000")
            .create()
            .map_err(Failure::outside)?;
        producer.client().fetch_metadata(None, Duration::from_secs(10)).map_err(|cause| {
            Failure::outside(format!(
                "no answer from {brokers}: {cause}; check the address and that the broker runs"
            ))
        })?;
        Ok(Self { producer, pace: None, clock, started: Duration::ZERO, unserved: 0 })
    }

    /// From now on an event is sent when it is due.
    pub(super) fn keep_pace(&mut self, pace: Pace) {
        self.pace = Some(pace);
        self.started = self.clock.elapsed();
    }

    /// Sends an event once it is due; whether it was sent, which it is not once `stop` is set.
    pub(super) fn send(&mut self, event: &GeneratedEvent, stop: &AtomicBool) -> Result<bool, Failure> {
        if !self.wait_until_due(event, stop) {
            return Ok(false);
        }
        loop {
            let record =
                BaseRecord::to(event.stream.name()).key(event.key.as_str()).payload(event.json.as_str());
            match self.producer.send(record) {
                Ok(()) => break,
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), _))
                    if !stop.load(Ordering::Relaxed) =>
                {
                    self.producer.poll(Duration::from_millis(10));
                }
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), _)) => return Ok(false),
                Err((cause, _)) => {
                    return Err(Failure::outside(format!(
                        "topic {} did not take an event: {cause}",
                        event.stream.name()
                    )));
                }
            }
        }
        self.unserved += 1;
        if self.unserved >= SENDS_UNSERVED_MAX {
            self.serve();
        }
        Ok(true)
    }

    fn wait_until_due(&mut self, event: &GeneratedEvent, stop: &AtomicBool) -> bool {
        while let Some(pace) = self.pace {
            let wait = pace.wait(event.event_time, self.clock.elapsed().saturating_sub(self.started));
            if wait.is_zero() {
                return true;
            }
            if stop.load(Ordering::Relaxed) {
                return false;
            }
            self.serve();
            std::thread::sleep(wait.clamp(Duration::from_millis(1), Duration::from_millis(20)));
        }
        true
    }

    /// `poll` serves one delivery report a call.
    fn serve(&mut self) {
        for _ in 0..self.unserved {
            self.producer.poll(Duration::ZERO);
        }
        self.unserved = 0;
    }

    /// Waits until everything is delivered.
    pub(super) fn finish(self) -> Result<(), Failure> {
        self.producer.flush(Duration::from_secs(30)).map_err(|cause| {
            Failure::outside(format!(
                "{} events were not delivered: {cause}",
                self.producer.in_flight_count()
            ))
        })
    }
}
