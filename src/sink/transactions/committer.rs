//! Commits closed transactions one after the other, on a thread of its own.
//!
//! Takes [`Closed`] transactions, hands on each as [`Settled`]. After the first failure nothing more is
//! committed: every later one is handed back as failed, for it may rest on what the failed one held.
//!
//! The library's traps: `commit_transaction` polls in steps of 100 ms while messages are under way, so they
//! are drained first; `send_offsets_to_transaction` and `commit_transaction` are repeated with the same
//! arguments while the fault is retriable, and nothing else is concluded from such a fault.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender};
use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::ConsumerGroupMetadata;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Message};
use rdkafka::producer::{Producer, ProducerContext};

use super::ends::{Committed, LastMessages, TransactionEnds};
use super::producer::{TransactionProducer, serve_events};
use super::{LOOK_WAIT_MAX, LOOK_WAIT_MIN, TransactionSettings};
use crate::event::{Coordinates, crash_point};
use crate::sink::deliveries::{WRONG_CLOCK, about_itself};
use crate::sink::{Destination, SinkError};
use crate::source::kafka::{PartitionCommit, log_line, offsets_to_commit, tells_lost_connection, words};

/// A transaction that takes no more messages.
pub(super) struct Closed {
    pub(super) producer: Arc<TransactionProducer>,
    /// The last step in it.
    pub(super) step: u64,
    pub(super) offsets: Vec<PartitionCommit>,
    pub(super) group: ConsumerGroupMetadata,
}

/// How a transaction ended.
pub(super) struct Settled {
    pub(super) producer: Arc<TransactionProducer>,
    pub(super) step: u64,
    pub(super) outcome: Result<(), SinkError>,
    /// From the acknowledgement of its last message to the broker's answer.
    pub(super) took: Duration,
}

pub(super) struct Committer {
    pub(super) settings: TransactionSettings,
    /// All producers: a fault that any of them met counts.
    pub(super) ring: Vec<Arc<TransactionProducer>>,
    pub(super) to_commit: Receiver<Closed>,
    pub(super) settled: Sender<Settled>,
    pub(super) abandoned: Arc<AtomicBool>,
}

/// What is attempted here.
pub(super) const COMMITTING: &str = "committing a transaction";

/// How long one request of a commit may take before it is repeated.
const ANSWER_WAIT: Duration = Duration::from_secs(5);

/// How often a request of a commit is repeated: past the default transaction timeout of a minute a broker
/// has aborted the transaction by itself.
const ATTEMPTS_MAX: usize = 16;

impl Committer {
    pub(super) fn run(self) {
        let mut failed = None;
        let ends = &self.settings.ends;
        while let Ok(closed) = self.to_commit.recv() {
            let mut began = ends.elapsed();
            let outcome = match &failed {
                None => drain(&closed.producer).and_then(|()| {
                    began = ends.elapsed();
                    self.commit(&closed)
                }),
                Some(reason) => Err(SinkError::Transaction {
                    attempt: COMMITTING,
                    reason: format!("an earlier one failed: {reason}"),
                }),
            };
            if let Err(error) = &outcome {
                tracing::warn!(id = self.settings.id, %error, "a transaction was not committed");
                failed.get_or_insert_with(|| error.to_string());
            }
            let took = ends.elapsed().saturating_sub(began);
            let settled = Settled { producer: closed.producer, step: closed.step, outcome, took };
            if self.settled.send(settled).is_err() {
                return;
            }
        }
    }

    /// Ends a transaction; fails also where it was committed and the brokers may have lost its end.
    fn commit(&self, closed: &Closed) -> Result<(), SinkError> {
        let (producer, abandoned, ends) = (&closed.producer, &self.abandoned, &self.settings.ends);
        let began = ends.elapsed();
        let check = || {
            self.ring.iter().for_each(|one| serve_events(one));
            ends.check(&self.settings, abandoned)
        };
        crash_point("before-send-offsets");
        check()?;
        if !closed.offsets.is_empty() {
            let offsets = offsets_to_commit(closed.offsets.iter())
                .map_err(|error| failed("adding offsets to a transaction", &error))?;
            again("adding offsets to a transaction", abandoned, || {
                producer.send_offsets_to_transaction(&offsets, &closed.group, ANSWER_WAIT)
            })?;
        }
        crash_point("after-send-offsets");
        check()?;
        ends.trying(&closed.offsets);
        crash_point("before-commit");
        again(COMMITTING, abandoned, || producer.commit_transaction(ANSWER_WAIT))?;
        crash_point("after-commit");
        ends.committed(Committed {
            step: closed.step,
            messages: producer.context().last_messages(),
            offsets: closed.offsets.clone(),
            began,
            ended: ends.elapsed(),
        });
        check()
    }
}

/// Waits until every message is acknowledged. Each wait is half as long again as the one before it: a broker that is away
/// costs no processor time.
fn drain(producer: &TransactionProducer) -> Result<(), SinkError> {
    let mut wait = LOOK_WAIT_MIN;
    loop {
        serve_events(producer);
        if let Some(reason) = producer.context().failure() {
            return Err(SinkError::Transaction { attempt: "publishing into a transaction", reason });
        }
        if producer.in_flight_count() == 0 {
            return Ok(());
        }
        std::thread::sleep(wait);
        wait = LOOK_WAIT_MAX.min(wait + wait / 2);
    }
}

/// Repeats a request with the same arguments for as long as the library says that this is all right.
fn again(
    attempt: &'static str,
    abandoned: &AtomicBool,
    mut request: impl FnMut() -> Result<(), KafkaError>,
) -> Result<(), SinkError> {
    for _ in 1..ATTEMPTS_MAX {
        if abandoned.load(Ordering::Relaxed) {
            break;
        }
        match request() {
            Ok(()) => return Ok(()),
            Err(KafkaError::Transaction(fault))
                if fault.is_retriable() && !fault.txn_requires_abort() && !fault.is_fatal() =>
            {
                tracing::info!(%fault, "{attempt} is tried again");
            }
            Err(error) => return Err(failed(attempt, &error)),
        }
    }
    request().map_err(|error| failed(attempt, &error))
}

/// Sorts a fault of the transaction protocol: shut out by another owner of the id, or to be started again.
pub(super) fn failed(attempt: &'static str, error: &KafkaError) -> SinkError {
    use RDKafkaErrorCode as Code;
    let reason = match error {
        KafkaError::Transaction(fault) => fault.to_string(),
        error => words(error),
    };
    match error.rdkafka_error_code() {
        Some(Code::Fenced | Code::ProducerFenced | Code::InvalidProducerEpoch) => {
            SinkError::Fenced { attempt, reason }
        }
        Some(
            Code::TransactionalIdAuthorizationFailed
            | Code::GroupAuthorizationFailed
            | Code::TopicAuthorizationFailed
            | Code::ClusterAuthorizationFailed,
        ) => SinkError::Refused { attempt, reason },
        Some(Code::UnsupportedFeature | Code::UnsupportedVersion | Code::InvalidTransactionTimeout) => {
            SinkError::Refused { attempt, reason }
        }
        _ => SinkError::Transaction { attempt, reason },
    }
}

/// What a message was about.
pub(super) type About = Arc<(Coordinates, Destination)>;

/// Receives the library's reports; the callbacks only take notes.
#[derive(Debug, Default)]
pub(in crate::sink) struct Reports {
    ends: TransactionEnds,
    events: AtomicU64,
    given: AtomicU64,
    reported: AtomicU64,
    notes: Mutex<Notes>,
}

#[derive(Debug, Default)]
struct Notes {
    failure: Option<String>,
    refused: Vec<(Coordinates, Destination)>,
    /// The broker does not take this host's time.
    wrong_clock: bool,
    last: LastMessages,
}

impl Reports {
    /// Reports of one producer of a ring.
    pub(super) fn new(ends: TransactionEnds) -> Self {
        Self { ends, ..Self::default() }
    }

    /// How many events were served so far.
    pub(super) fn events(&self) -> u64 {
        self.events.load(Ordering::Relaxed)
    }

    /// Takes note that the library was given a message.
    pub(super) fn give(&self) {
        self.given.fetch_add(1, Ordering::Relaxed);
    }

    /// Messages that the library was given and has not reported on.
    pub(super) fn under_way(&self) -> u64 {
        self.given.load(Ordering::Relaxed).saturating_sub(self.reported.load(Ordering::Relaxed))
    }

    /// Why the transaction can't be committed, once it can't.
    pub(super) fn failure(&self) -> Option<String> {
        self.notes().failure.clone()
    }

    /// Messages that the broker refused for what they are.
    pub(super) fn refused(&self) -> Vec<(Coordinates, Destination)> {
        std::mem::take(&mut self.notes().refused)
    }

    /// Where the last acknowledged messages stand, of the partitions that had any since this was last asked.
    pub(super) fn last_messages(&self) -> LastMessages {
        std::mem::take(&mut self.notes().last)
    }

    fn notes(&self) -> MutexGuard<'_, Notes> {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ClientContext for Reports {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        self.events.fetch_add(1, Ordering::Relaxed);
        // Of a request with several messages the library tells each that it is invalid, and why in its log only.
        if message.contains("Invalid timestamp") {
            self.notes().wrong_clock = true;
        }
        if tells_lost_connection(facility) {
            self.ends.fault();
        }
        log_line(level, facility, message);
    }

    /// Not read, but an event that was served: there may be others behind it.
    fn stats_raw(&self, _: &[u8]) {
        self.events.fetch_add(1, Ordering::Relaxed);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.events.fetch_add(1, Ordering::Relaxed);
        self.ends.fault();
        if error == KafkaError::Global(RDKafkaErrorCode::Fatal) {
            self.notes().failure.get_or_insert_with(|| reason.to_owned());
        } else {
            tracing::warn!(target: "librdkafka", %error, "{reason}");
        }
    }
}

impl ProducerContext for Reports {
    type DeliveryOpaque = About;

    fn delivery(&self, result: &DeliveryResult<'_>, about: About) {
        self.events.fetch_add(1, Ordering::Relaxed);
        self.reported.fetch_add(1, Ordering::Relaxed);
        let mut notes = self.notes();
        let (error, message) = match result {
            Err(refused) => refused,
            Ok(message) => {
                notes.last.insert((about.1, message.partition()), message.offset());
                return;
            }
        };
        let mut reason = format!("topic `{}` did not take a message: {}", message.topic(), words(error));
        let timestamp = *error == KafkaError::MessageProduction(RDKafkaErrorCode::InvalidTimestamp);
        let wrong_clock = timestamp || notes.wrong_clock;
        if wrong_clock {
            reason.extend(["; ", WRONG_CLOCK]);
        }
        notes.failure.get_or_insert(reason);
        if about_itself(error) && !wrong_clock {
            notes.refused.push((*about).clone());
        }
    }
}
