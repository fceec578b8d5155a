//! The Kafka sink: an idempotent producer that waits for all replicas.
//!
//! Takes [`Outgoing`] steps, hands on [`Receipt`]s. Keeps messages until they are acknowledged, in the
//! client library's bounded queue; when that is full, `publish` serves deliveries until there is room.
//! Passing faults of brokers are retried by the library for `message.timeout.ms` (5 minutes here).
//!
//! What would surprise: time is never read here, so waits are counted. `poll(t)` of this library takes all of `t` and turns
//! round and round for the last millisecond of it, so this thread sleeps instead; `poll(0)` serves one event a call, so it
//! is called until nothing comes; and the library's `flush`, which polls in steps of 100 ms, is not used.
//!
//! Messages are held back here while a few are under way. The library lets an idempotent producer have five *messages*
//! of a partition in flight, and where one more waits its thread spins until the broker has answered: half of the job's
//! processor time at 1,000 events a second, taken from a broker on the same machine. Held back, they wait no longer, and
//! leave together.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};

use super::dead_letter::in_place_of;
use super::deliveries::{Company, Deliveries, Refused, Sent, about_itself, advice};
use super::{Destination, OutMessage, Outgoing, Receipt, Rejected, SinkError};
use crate::source::kafka::{KafkaSettings, Side, words};

/// How long the thread sleeps when there is nothing else to do.
const WAIT: Duration = Duration::from_millis(1);

/// Messages under way with which the library sends the next one at once: its `RD_KAFKA_IDEMP_MAX_INFLIGHT`.
const UNDER_WAY_MAX: u64 = 5;

/// Messages held back at most; past it the library has them all, whose queue has the limits that users set.
const HELD_MAX: usize = 1024;

/// What a Kafka sink is given.
#[derive(Debug, Clone)]
pub struct KafkaSinkSettings {
    /// Brokers and properties.
    pub kafka: KafkaSettings,
    /// The client's name at the brokers; the job's.
    pub client_id: String,
    /// Topic of each destination.
    pub topics: Topics,
    /// How long a message waits for company: 0 for the lowest latency, 1 on the embedded broker.
    pub linger_ms: u32,
}

/// Topic names by destination.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topics {
    /// Alerts of live rules.
    pub alerts: String,
    /// Records that could not be answered.
    pub dead_letters: String,
    /// One answer an event.
    pub decisions: String,
    /// Alerts of rules on trial.
    pub shadow: String,
    /// What was changed.
    pub audit: String,
}

impl Default for Topics {
    fn default() -> Self {
        Self {
            alerts: "tollgate.alerts".to_owned(),
            dead_letters: "tollgate.dead-letters".to_owned(),
            decisions: "tollgate.decisions".to_owned(),
            shadow: "tollgate.shadow".to_owned(),
            audit: "tollgate.audit".to_owned(),
        }
    }
}

impl Topics {
    /// The topic of a destination.
    pub fn of(&self, destination: Destination) -> &str {
        match destination {
            Destination::Alerts => &self.alerts,
            Destination::DeadLetters => &self.dead_letters,
            Destination::Decisions => &self.decisions,
            Destination::Shadow => &self.shadow,
            Destination::Audit => &self.audit,
        }
    }
}

/// A producer and what it has under way.
pub struct KafkaSink {
    producer: BaseProducer<Deliveries>,
    topics: Topics,
    /// Messages that the library has not been given yet.
    held: VecDeque<Sent>,
    /// Messages that it was given.
    given: u64,
    handed: u64,
    rejected: Vec<Rejected>,
}

impl std::fmt::Debug for KafkaSink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KafkaSink")
            .field("topics", &self.topics)
            .field("handed", &self.handed)
            .finish_non_exhaustive()
    }
}

impl KafkaSink {
    /// Makes the producer; brokers are first needed when something is published.
    pub fn start(settings: KafkaSinkSettings) -> Result<Self, SinkError> {
        let linger = settings.linger_ms.to_string();
        let config =
            settings.kafka.client_config(Side::Producer, &settings.client_id, &[("linger.ms", &linger)])?;
        let producer = config
            .create_with_context(Deliveries::default())
            .map_err(|error| SinkError::Producer(error.to_string()))?;
        let topics = settings.topics;
        Ok(Self { producer, topics, held: VecDeque::new(), given: 0, handed: 0, rejected: Vec::new() })
    }

    /// See [`super::Sink::publish`].
    pub fn publish(&mut self, outgoing: Outgoing) -> Result<(), SinkError> {
        self.serve()?;
        let step = outgoing.step;
        self.producer.context().state().steps.open(step, outgoing.messages.len());
        let sent = outgoing.messages.into_iter().map(|message| Sent { step, message, company: Company::Any });
        self.held.extend(sent);
        self.hand_over()
    }

    /// Whether messages wait for those under way: the sink is to be asked for its receipt again soon.
    pub(super) fn holds_back(&self) -> bool {
        !self.held.is_empty()
    }

    /// Gives the library what it will send at once: everything where nothing is under way, a few beside a few.
    fn hand_over(&mut self) -> Result<(), SinkError> {
        let under_way = self.given.saturating_sub(self.producer.context().reported());
        for _ in 0..room_beside(under_way, self.held.len()) {
            let Some(sent) = self.held.pop_front() else { break };
            self.send(sent)?;
        }
        Ok(())
    }

    /// See [`super::Sink::receipt`]. Waits only where the broker refused a message, to send it again alone.
    pub fn receipt(&mut self) -> Result<Option<Receipt>, SinkError> {
        self.serve()?;
        let durable = self.producer.context().state().steps.durable();
        let newer = durable > self.handed;
        self.handed = durable;
        Ok(newer.then(|| Receipt::up_to(durable)))
    }

    /// See [`super::Sink::finish`].
    pub fn finish(&mut self, grace: Duration) -> Result<Receipt, SinkError> {
        let mut waits_left = grace.as_millis() / WAIT.as_millis();
        loop {
            self.serve()?;
            let mut state = self.producer.context().state();
            self.handed = state.steps.durable();
            let (messages, steps) = state.steps.under_way();
            drop(state);
            if steps == 0 {
                return Ok(Receipt::up_to(self.handed));
            }
            if waits_left == 0 {
                return Err(SinkError::Unfinished { messages, steps });
            }
            waits_left -= 1;
            std::thread::sleep(WAIT);
        }
    }

    /// See [`super::Sink::rejected`].
    pub fn rejected(&mut self) -> Vec<Rejected> {
        std::mem::take(&mut self.rejected)
    }

    /// Serves every event that is there, and finds a place for what brokers refused.
    fn serve(&mut self) -> Result<(), SinkError> {
        self.serve_events();
        loop {
            let mut state = self.producer.context().state();
            let refused = std::mem::take(&mut state.refused);
            let failed = state.failed.take();
            drop(state);
            if let Some(error) = failed {
                return Err(error);
            }
            if refused.is_empty() {
                return self.hand_over();
            }
            for refused in refused {
                self.settle_refused(refused)?;
            }
        }
    }

    fn serve_events(&self) {
        loop {
            let before = self.producer.context().events();
            self.producer.poll(Duration::ZERO);
            if self.producer.context().events() == before {
                return;
            }
        }
    }

    /// Sends a refused message again by itself, for the broker refuses a request as a whole; a message
    /// that is refused alone is set aside.
    fn settle_refused(&mut self, refused: Refused) -> Result<(), SinkError> {
        let Refused { sent, reason } = refused;
        if sent.company == Company::None {
            return self.set_aside(sent.step, &sent.message, &reason);
        }
        self.drain()?;
        self.send(Sent { step: sent.step, message: sent.message.clone(), company: Company::None })?;
        self.drain()
    }

    /// Waits until nothing is under way; the library's own time limit for a delivery bounds it.
    fn drain(&mut self) -> Result<(), SinkError> {
        while self.producer.in_flight_count() > 0 {
            std::thread::sleep(WAIT);
            self.serve_events();
        }
        match self.producer.context().state().failed.take() {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }

    fn set_aside(&mut self, step: u64, message: &OutMessage, reason: &str) -> Result<(), SinkError> {
        let size = message.value.as_ref().map_or(0, Vec::len) + message.key.as_ref().map_or(0, Vec::len);
        let reason = format!("{} message of {size} bytes: {reason}", message.destination);
        let Some(letter) = in_place_of(message, &reason) else {
            return Err(self.failed(message.destination, reason, "raise `max.message.bytes` of the topic"));
        };
        self.rejected.push(Rejected {
            coordinates: message.coordinates.clone(),
            destination: message.destination,
            reason,
        });
        self.send(Sent { step, message: letter, company: Company::Any })
    }

    /// Puts a message into the library's queue, waiting for room.
    fn send(&mut self, sent: Sent) -> Result<(), SinkError> {
        let sent = Arc::new(sent);
        let topic = self.topics.of(sent.message.destination);
        loop {
            let record = BaseRecord::<[u8], [u8], Arc<Sent>>::with_opaque_to(topic, Arc::clone(&sent));
            let message = &sent.message;
            let record = BaseRecord {
                key: message.key.as_deref(),
                payload: message.value.as_deref(),
                headers: (!message.headers.is_empty()).then(|| headers(message)),
                ..record
            };
            let Err((error, _)) = self.producer.send(record) else {
                self.given += 1;
                return Ok(());
            };
            if error == KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull) {
                std::thread::sleep(WAIT);
                self.serve_events();
                if let Some(error) = self.producer.context().state().failed.take() {
                    return Err(error);
                }
            } else if about_itself(&error) {
                return self.set_aside(sent.step, &sent.message, &words(&error));
            } else {
                return Err(self.failed(sent.message.destination, words(&error), advice(&error)));
            }
        }
    }

    fn failed(&self, destination: Destination, reason: String, advice: &'static str) -> SinkError {
        SinkError::Delivery { topic: self.topics.of(destination).to_owned(), destination, reason, advice }
    }
}

/// How many messages an idempotent producer may be given so that none waits in it, where so many are under way and so
/// many are held back.
pub(super) fn room_beside(under_way: u64, held: usize) -> u64 {
    if under_way == 0 || held > HELD_MAX { u64::MAX } else { UNDER_WAY_MAX.saturating_sub(under_way) }
}

pub(super) fn headers(message: &OutMessage) -> OwnedHeaders {
    message
        .headers
        .iter()
        .fold(OwnedHeaders::new_with_capacity(message.headers.len()), |headers, (key, value)| {
            headers.insert(Header { key, value: Some(value) })
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_held_back_beside_five_until_there_are_too_many_to_hold() {
        let rooms: Vec<u64> =
            [0, 1, 4, 5, 900].into_iter().map(|under_way| room_beside(under_way, 3)).collect();
        assert_eq!(rooms, [u64::MAX, 4, 1, 0, 0]);
        assert_eq!(room_beside(900, HELD_MAX + 1), u64::MAX);
    }
}
