//! Sinks: what a step gave rise to, delivered to Kafka topics or to files.
//!
//! Takes [`Outgoing`] messages step by step, hands on [`Receipt`]s: the only proof that everything up to
//! a step is durable, and what a commit of offsets must be given. Keeps what is under way, within the
//! limits of each sink; when those are reached `publish` waits, it never drops. A message that a sink
//! can't take for what it is (too large) becomes a dead letter within its own step, so the receipt of
//! the step covers that too; any other failure is for good and stops the job.

pub(crate) mod dead_letter;
mod deliveries;
mod file;
mod kafka;
mod parquet;
mod routed;
mod transactions;

pub use dead_letter::{Masking, dead_letter_message};
pub use file::{AlertFormat, FileSink, FileSinkSettings};
pub use kafka::{KafkaSink, KafkaSinkSettings, Topics};
pub use routed::RoutedSink;
pub use transactions::{
    PRODUCERS, RefusedMessages, TransactionEnds, TransactionSettings, TransactionSink, end_hanging, probe,
};

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use crate::event::Coordinates;
use crate::source::kafka::SourceError;

/// Everything one step gave rise to, perhaps nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outgoing {
    /// Number of the step: from 1, each greater than the last.
    pub step: u64,
    /// Messages in the order in which they are to be read.
    pub messages: Vec<OutMessage>,
}

/// One message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutMessage {
    /// Where it goes.
    pub destination: Destination,
    /// Kafka key.
    pub key: Option<Vec<u8>>,
    /// Value; none for a dead letter whose record had none, or whose payload is masked.
    pub value: Option<Vec<u8>>,
    /// Kafka headers; files leave them out, but for dead letters.
    pub headers: Vec<(&'static str, Vec<u8>)>,
    /// The input record that it is about.
    pub coordinates: Coordinates,
}

/// The outputs of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Destination {
    /// Alerts of live rules.
    Alerts,
    /// Records that could not be answered.
    DeadLetters,
    /// One answer an event.
    Decisions,
    /// Alerts of rules on trial.
    Shadow,
    /// What was changed, when and by whom.
    Audit,
}

impl Destination {
    /// All destinations, in the order of their indexes.
    pub const ALL: [Self; 5] = [Self::Alerts, Self::DeadLetters, Self::Decisions, Self::Shadow, Self::Audit];

    fn index(self) -> usize {
        self as usize
    }
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Alerts => "alerts",
            Self::DeadLetters => "dead-letters",
            Self::Decisions => "decisions",
            Self::Shadow => "shadow",
            Self::Audit => "audit",
        })
    }
}

/// Proof that all messages of all steps up to one are durable; only a sink makes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Receipt {
    step: u64,
}

impl Receipt {
    fn up_to(step: u64) -> Self {
        Self { step }
    }

    /// The last step that is covered; 0 where none was published.
    pub fn step(self) -> u64 {
        self.step
    }
}

/// A message that its destination would not take, and that became a dead letter of its step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejected {
    /// The input record that it was about.
    pub coordinates: Coordinates,
    /// Where it was to go.
    pub destination: Destination,
    /// Why not.
    pub reason: String,
}

/// Where a job delivers.
#[derive(Debug)]
pub enum Sink {
    /// Kafka topics.
    Kafka(Box<KafkaSink>),
    /// Files in a folder.
    Files(Box<FileSink>),
    /// Some destinations to topics, the others to files.
    Routed(Box<RoutedSink>),
    /// Kafka topics, in one transaction with the input offsets.
    Transactions(Box<TransactionSink>),
}

impl Sink {
    /// Hands a step over. Waits while the sink is full, up to its own limit for a delivery.
    pub fn publish(&mut self, outgoing: Outgoing) -> Result<(), SinkError> {
        match self {
            Self::Kafka(sink) => sink.publish(outgoing),
            Self::Files(sink) => sink.publish(&outgoing),
            Self::Routed(sink) => sink.publish(outgoing),
            Self::Transactions(sink) => sink.publish(outgoing),
        }
    }

    /// The newest receipt, if more is durable than the last one said.
    pub fn receipt(&mut self) -> Result<Option<Receipt>, SinkError> {
        match self {
            Self::Kafka(sink) => sink.receipt(),
            Self::Files(sink) => sink.receipt(),
            Self::Routed(sink) => sink.receipt(),
            Self::Transactions(sink) => sink.receipt(),
        }
    }

    /// Delivers what is under way, and gives up after `grace`.
    pub fn finish(&mut self, grace: Duration) -> Result<Receipt, SinkError> {
        match self {
            Self::Kafka(sink) => sink.finish(grace),
            Self::Files(sink) => sink.finish(),
            Self::Routed(sink) => sink.finish(grace),
            Self::Transactions(sink) => sink.finish(grace),
        }
    }

    /// Messages set aside since this was last asked.
    pub fn rejected(&mut self) -> Vec<Rejected> {
        match self {
            Self::Kafka(sink) => sink.rejected(),
            Self::Files(_) => Vec::new(),
            Self::Routed(sink) => sink.rejected(),
            Self::Transactions(sink) => sink.rejected(),
        }
    }

    /// The sink that commits offsets itself, where this is one.
    pub fn transactions(&mut self) -> Option<&mut TransactionSink> {
        match self {
            Self::Transactions(sink) => Some(sink),
            _ => None,
        }
    }

    /// Whether messages are held back until those before them are acknowledged.
    pub fn holds_back(&self) -> bool {
        match self {
            Self::Kafka(sink) => sink.holds_back(),
            Self::Routed(sink) => sink.holds_back(),
            Self::Transactions(sink) => sink.holds_back(),
            Self::Files(_) => false,
        }
    }

    /// Whether a commit of its own is under way.
    pub fn under_way(&self) -> bool {
        matches!(self, Self::Transactions(sink) if sink.under_way() > 0)
    }
}

impl From<KafkaSink> for Sink {
    fn from(sink: KafkaSink) -> Self {
        Self::Kafka(Box::new(sink))
    }
}

impl From<TransactionSink> for Sink {
    fn from(sink: TransactionSink) -> Self {
        Self::Transactions(Box::new(sink))
    }
}

impl From<FileSink> for Sink {
    fn from(sink: FileSink) -> Self {
        Self::Files(Box::new(sink))
    }
}

/// A failure after which nothing more can be delivered.
#[derive(Debug, thiserror::Error)]
pub enum SinkError {
    /// The producer's settings are refused.
    #[error(transparent)]
    Settings(#[from] SourceError),
    /// The producer could not be made.
    #[error("making the Kafka producer failed: {0}")]
    Producer(String),
    /// A message was not delivered.
    #[error("publishing to topic `{topic}` ({destination}) failed: {reason}; {advice}")]
    Delivery {
        /// The topic.
        topic: String,
        /// What goes there.
        destination: Destination,
        /// The client library's words.
        reason: String,
        /// What to do.
        advice: &'static str,
    },
    /// A transaction could not be committed, or its end is not known: start again from the committed offsets.
    #[error("{attempt} failed: {reason}; what it held is answered again")]
    Transaction {
        /// What was tried.
        attempt: &'static str,
        /// The broker's or the client library's words.
        reason: String,
    },
    /// Another process runs under the same transactional id, or a broker took this one for dead.
    #[error(
        "{attempt} failed: {reason}; another process has taken over this job's transactional id, \
         or this one stood still for longer than `transaction.timeout.ms`"
    )]
    Fenced {
        /// What was tried.
        attempt: &'static str,
        /// The broker's or the client library's words.
        reason: String,
    },
    /// The brokers will not do it, however often they are asked.
    #[error(
        "{attempt} failed: {reason}; check the rights of the job's user on its transactional ids, group and topics, \
         and that the brokers can do transactions"
    )]
    Refused {
        /// What was tried.
        attempt: &'static str,
        /// The broker's or the client library's words.
        reason: String,
    },
    /// The grace period ended first.
    #[error(
        "{messages} messages of {steps} steps were not acknowledged within the grace period: \
         their input is read and answered again after the restart"
    )]
    Unfinished {
        /// Messages under way.
        messages: u64,
        /// Steps they belong to.
        steps: usize,
    },
    /// A file could not be made or written.
    #[error("writing {path} failed: {reason}; check the folder, its owner and the space left")]
    File {
        /// The file or folder.
        path: PathBuf,
        /// The operating system's words.
        reason: String,
    },
}

impl From<RoutedSink> for Sink {
    fn from(sink: RoutedSink) -> Self {
        Self::Routed(Box::new(sink))
    }
}
