//! The exactly-once sink: messages and input offsets in one Kafka transaction, on a ring of producers.
//!
//! Takes [`Outgoing`] steps into the open transaction; [`TransactionSink::commit`] closes it together with the
//! offsets that its steps have answered, and a thread of its own commits it while the next producer takes
//! further steps. Hands on [`Receipt`]s of committed steps. Keeps at most one open transaction and one a
//! further producer under way; when no producer is free, the open transaction takes more steps, so the
//! interval steers itself.
//!
//! Commits are strictly serial. The first that fails ends the sink: it and all later ones are dropped, and
//! whoever owns the sink starts again with new producers of the same ids, whose `init_transactions` aborts
//! what was left open, and reads the committed offsets back. Nothing is ever guessed about a transaction
//! whose end is not known. What would surprise: a producer's first message waits until the messages of the
//! producer before it are acknowledged, or the output would lose its order.
//!
//! Protocol: Kafka's KIP-98 (transactions), KIP-447 (fencing by the group's generation).

mod committer;
mod ends;
mod hanging;
mod probe;
mod producer;

pub use ends::TransactionEnds;
pub use hanging::end_hanging;
pub use probe::probe;

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded};
use rdkafka::consumer::ConsumerGroupMetadata;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::Producer;

use super::dead_letter::in_place_of;
use super::deliveries::about_itself;
use super::kafka::{KafkaSinkSettings, Topics, room_beside};
use super::{Destination, OutMessage, Outgoing, Receipt, Rejected, SinkError};
use crate::event::Coordinates;
use crate::source::kafka::{PartitionCommit, words};
use committer::{COMMITTING, Closed, Committer, Settled};
use producer::{TransactionProducer, produce, serve_events};

/// How long one poll waits when there is nothing else to do.
const WAIT: Duration = Duration::from_millis(1);

/// Shortest and longest wait between two looks at a transaction whose messages are under way: brokers may be away.
const LOOK_WAIT_MIN: Duration = Duration::from_micros(200);
const LOOK_WAIT_MAX: Duration = Duration::from_millis(5);

/// Messages that a broker refused for what they are: their coordinates and where they were to go.
pub type RefusedMessages = Arc<std::sync::Mutex<HashSet<(Coordinates, Destination)>>>;

/// What a transactional sink is given.
#[derive(Debug, Clone)]
pub struct TransactionSettings {
    /// Brokers, topics, linger.
    pub kafka: KafkaSinkSettings,
    /// Transactional ids are this and `-0`, `-1` and so on: a restart under the same name shuts out what it replaces.
    pub id: String,
    /// Whose offsets are committed.
    pub group: String,
    /// How many producers take turns.
    pub producers: usize,
    /// What earlier sinks of this process learned of messages that no transaction may hold.
    pub refused: RefusedMessages,
    /// What earlier sinks of this process know of their last transactions.
    pub ends: TransactionEnds,
}

/// How many producers take turns unless said otherwise: one is filled, one commits, one is free.
pub const PRODUCERS: usize = 3;

/// A ring of transactional producers.
pub struct TransactionSink {
    settings: TransactionSettings,
    idle: VecDeque<Arc<TransactionProducer>>,
    open: Option<Arc<TransactionProducer>>,
    /// Messages of the open transaction that its producer was not given yet.
    held: VecDeque<OutMessage>,
    closed: Option<Sender<Closed>>,
    settled: Receiver<Settled>,
    thread: Option<JoinHandle<()>>,
    /// Tells the thread that nobody waits for it any more.
    abandoned: Arc<AtomicBool>,
    /// Transactions handed over and not settled.
    under_way: usize,
    /// The last transaction handed over, which the next one's first message waits for.
    before: Option<Arc<TransactionProducer>>,
    step: u64,
    committed: u64,
    handed: u64,
    rejected: Vec<Rejected>,
    /// How long each commit took that was settled since it was last asked for.
    took: Vec<Duration>,
}

impl std::fmt::Debug for TransactionSink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TransactionSink")
            .field("id", &self.settings.id)
            .field("under_way", &self.under_way)
            .finish_non_exhaustive()
    }
}

impl TransactionSink {
    /// Makes the producers and initialises all ids: what earlier owners left open is aborted, and they are
    /// shut out. Committed offsets may be read only after this.
    ///
    /// Fails where a broker can't do transactions, or none answers within a minute.
    pub fn start(settings: TransactionSettings) -> Result<Self, SinkError> {
        // Side by side, for the first use of an id takes a broker up to a second.
        let made: Vec<Result<_, SinkError>> = std::thread::scope(|scope| {
            let settings = &settings;
            let threads: Vec<_> = (0..settings.producers.max(1))
                .map(|index| scope.spawn(move || producer::make(settings, index)))
                .collect();
            let ended = |thread: std::thread::ScopedJoinHandle<'_, _>| {
                thread.join().unwrap_or_else(|_| Err(SinkError::Producer("its thread broke off".to_owned())))
            };
            threads.into_iter().map(ended).collect()
        });
        let idle = made.into_iter().collect::<Result<VecDeque<_>, _>>()?;
        let (closed, to_commit) = bounded(idle.len());
        let (settled_tx, settled) = bounded(idle.len());
        let abandoned = Arc::new(AtomicBool::new(false));
        let committer = Committer {
            settings: settings.clone(),
            ring: idle.iter().cloned().collect(),
            to_commit,
            settled: settled_tx,
            abandoned: Arc::clone(&abandoned),
        };
        let thread = std::thread::Builder::new()
            .name("committer".to_owned())
            .spawn(move || committer.run())
            .map_err(|error| SinkError::Producer(error.to_string()))?;
        Ok(Self {
            settings,
            idle,
            open: None,
            held: VecDeque::new(),
            closed: Some(closed),
            settled,
            thread: Some(thread),
            abandoned,
            under_way: 0,
            before: None,
            step: 0,
            committed: 0,
            handed: 0,
            rejected: Vec::new(),
            took: Vec::new(),
        })
    }

    /// Takes a step into the open transaction, and opens one where there is none.
    pub fn publish(&mut self, outgoing: Outgoing) -> Result<(), SinkError> {
        self.serve()?;
        self.step = outgoing.step;
        self.held.extend(outgoing.messages);
        self.hand_over(false)
    }

    /// Whether messages wait for those under way.
    pub(super) fn holds_back(&self) -> bool {
        !self.held.is_empty()
    }

    /// Gives the producer what it will send at once, or everything: see [`room_beside`].
    fn hand_over(&mut self, everything: bool) -> Result<(), SinkError> {
        let under_way = self.open.as_ref().map_or(0, |open| open.context().under_way());
        let room = if everything { u64::MAX } else { room_beside(under_way, self.held.len()) };
        for _ in 0..room {
            let Some(message) = self.held.pop_front() else { break };
            self.send(message)?;
        }
        Ok(())
    }

    /// Whether a transaction can be closed without making the next step wait for its commit.
    pub fn can_commit(&mut self) -> Result<bool, SinkError> {
        self.serve()?;
        let free = self.idle.len() + usize::from(self.open.is_some());
        Ok(free > 1 || (free == 1 && self.settings.producers <= 1))
    }

    /// Closes the open transaction with the offsets of all steps published so far; a thread commits it.
    pub fn commit(
        &mut self,
        offsets: Vec<PartitionCommit>,
        group: ConsumerGroupMetadata,
    ) -> Result<(), SinkError> {
        self.hand_over(true)?;
        self.opened()?;
        let Some(open) = self.open.take() else { return Ok(()) };
        self.before = Some(Arc::clone(&open));
        self.under_way += 1;
        let closed = Closed { producer: open, step: self.step, offsets, group };
        let sent = self.closed.as_ref().map(|committer| committer.send(closed).is_ok());
        if sent == Some(true) { Ok(()) } else { Err(self.ended()) }
    }

    /// Where it delivers.
    pub fn topics(&self) -> &Topics {
        &self.settings.kafka.topics
    }

    /// What is known of the transactions committed last.
    pub fn ends(&self) -> &TransactionEnds {
        &self.settings.ends
    }

    /// Whether a commit should follow, though nothing was published: it looks into an outage. Asks the idle producers too,
    /// whom nobody else serves, for they may have lost their connections.
    pub fn in_doubt(&self) -> bool {
        self.idle.iter().for_each(|idle| serve_events(idle));
        self.settings.ends.in_doubt()
    }

    /// Transactions whose commit is not known yet.
    pub fn under_way(&self) -> usize {
        self.under_way
    }

    /// The newest receipt, if more is committed than the last one said, and what the commit took.
    pub fn receipt(&mut self) -> Result<Option<Receipt>, SinkError> {
        self.serve()?;
        let newer = self.committed > self.handed;
        self.handed = self.committed;
        Ok(newer.then(|| Receipt::up_to(self.committed)))
    }

    /// Waits for the commits under way, and gives up after `grace`.
    pub fn finish(&mut self, grace: Duration) -> Result<Receipt, SinkError> {
        let mut waits_left = grace.as_millis() / WAIT.as_millis();
        while self.under_way > 0 {
            if let Ok(settled) = self.settled.recv_timeout(WAIT) {
                self.settle(settled)?;
            } else if waits_left == 0 {
                return Err(SinkError::Unfinished { messages: 0, steps: self.under_way });
            } else {
                waits_left -= 1;
            }
        }
        self.handed = self.committed;
        Ok(Receipt::up_to(self.committed))
    }

    /// How long each commit took, from the acknowledgement of its last message, since this was last asked.
    pub fn commits(&mut self) -> Vec<Duration> {
        std::mem::take(&mut self.took)
    }

    /// See [`super::Sink::rejected`].
    pub fn rejected(&mut self) -> Vec<Rejected> {
        std::mem::take(&mut self.rejected)
    }

    fn serve(&mut self) -> Result<(), SinkError> {
        while let Ok(settled) = self.settled.try_recv() {
            self.settle(settled)?;
        }
        if let Some(open) = &self.open {
            serve_events(open);
            self.check(&Arc::clone(open))?;
            self.hand_over(false)?;
        }
        Ok(())
    }

    fn settle(&mut self, settled: Settled) -> Result<(), SinkError> {
        self.under_way = self.under_way.saturating_sub(1);
        if let Err(error) = settled.outcome {
            self.note_refused(&settled.producer);
            return Err(error);
        }
        self.committed = self.committed.max(settled.step);
        self.took.push(settled.took);
        tracing::trace!(step = settled.step, "committed a transaction");
        self.idle.push_back(settled.producer);
        Ok(())
    }

    /// Fails once a message of the open transaction was not taken: the transaction can only be aborted.
    fn check(&mut self, producer: &TransactionProducer) -> Result<(), SinkError> {
        match producer.context().failure() {
            None => Ok(()),
            Some(reason) => {
                self.note_refused(producer);
                Err(SinkError::Transaction { attempt: "publishing into a transaction", reason })
            }
        }
    }

    /// A message that a broker refused for what it is would be refused again: the next sink sends a dead letter.
    fn note_refused(&self, producer: &TransactionProducer) {
        let refused = producer.context().refused();
        if !refused.is_empty() {
            let mut known = self.settings.refused.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            known.extend(refused);
        }
    }

    fn opened(&mut self) -> Result<&Arc<TransactionProducer>, SinkError> {
        if self.open.is_none() {
            let producer = loop {
                match self.idle.pop_front() {
                    Some(producer) => break producer,
                    None => {
                        let settled = self.settled.recv().map_err(|_| self.ended())?;
                        self.settle(settled)?;
                    }
                }
            };
            producer
                .begin_transaction()
                .map_err(|error| committer::failed("beginning a transaction", &error))?;
            // Those of aborted transactions, as of a probe.
            drop(producer.context().last_messages());
            self.open = Some(producer);
        }
        self.open.as_ref().ok_or_else(|| SinkError::Producer("no transaction is open".to_owned()))
    }

    fn ended(&self) -> SinkError {
        SinkError::Transaction { attempt: COMMITTING, reason: "the thread that commits has ended".to_owned() }
    }

    /// Messages of one producer are read in order; those of two only if the first are there already.
    fn wait_for_those_before(&mut self) -> Result<(), SinkError> {
        let Some(before) = self.before.take() else { return Ok(()) };
        let mut wait = LOOK_WAIT_MIN;
        while before.in_flight_count() > 0 && before.context().failure().is_none() {
            // The committer serves them only while it commits.
            serve_events(&before);
            if let Ok(settled) = self.settled.recv_timeout(wait) {
                self.settle(settled)?;
            }
            wait = LOOK_WAIT_MAX.min(wait * 2);
        }
        Ok(())
    }

    fn send(&mut self, message: OutMessage) -> Result<(), SinkError> {
        let message = match self.known_as_refused(&message) {
            true => self.in_place_of(&message, "the broker refused it before")?,
            false => message,
        };
        self.opened()?;
        self.wait_for_those_before()?;
        let mut message = message;
        loop {
            let producer = Arc::clone(self.opened()?);
            match produce(&producer, &self.settings.kafka, &message) {
                Ok(()) => {
                    producer.context().give();
                    break;
                }
                Err(KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull)) => {
                    std::thread::sleep(WAIT);
                    serve_events(&producer);
                    self.check(&producer)?;
                }
                Err(error) if about_itself(&error) => {
                    message = self.in_place_of(&message, &words(&error))?;
                }
                Err(error) => return Err(committer::failed("publishing into a transaction", &error)),
            }
        }
        Ok(())
    }

    fn known_as_refused(&self, message: &OutMessage) -> bool {
        let known = self.settings.refused.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        !known.is_empty() && known.contains(&(message.coordinates.clone(), message.destination))
    }

    fn in_place_of(&mut self, message: &OutMessage, reason: &str) -> Result<OutMessage, SinkError> {
        let size = message.value.as_ref().map_or(0, Vec::len) + message.key.as_ref().map_or(0, Vec::len);
        let reason = format!("{} message of {size} bytes: {reason}", message.destination);
        let letter = in_place_of(message, &reason).ok_or_else(|| SinkError::Delivery {
            topic: self.settings.kafka.topics.of(message.destination).to_owned(),
            destination: message.destination,
            reason: reason.clone(),
            advice: "raise `max.message.bytes` of the topic",
        })?;
        let coordinates = message.coordinates.clone();
        self.rejected.push(Rejected { coordinates, destination: message.destination, reason });
        Ok(letter)
    }
}

impl Drop for TransactionSink {
    fn drop(&mut self) {
        self.abandoned.store(true, Ordering::Relaxed);
        self.closed = None;
        // Dropping the receiver first lets a thread that reports to a full channel go on.
        let (_, nothing) = bounded(0);
        self.settled = nothing;
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}
