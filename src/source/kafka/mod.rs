//! The Kafka source: a consumer polled by its own thread, handing on through a bounded channel, or by the pipeline itself.
//!
//! Takes [`ConsumerSettings`], hands on [`KafkaEvent`]s. Keeps up to [`EVENTS_WAITING_MAX`] events in the
//! channel, and the records that the client library fetched ahead. When the channel is full the reading
//! thread waits: it still obeys commits and releases, but it does not poll, and a pipeline that stands
//! still for longer than `max.poll.interval.ms` (10 minutes here) loses its partitions to the group.
//! A fault that the library gets over is reported and reading goes on; after any other the thread only
//! obeys commands until it is shut down.
//!
//! What would surprise: `auto.offset.reset` is `error`. Where a partition without a committed offset
//! begins is resolved when it is assigned and, but for `earliest`, committed at once, so a restart
//! before the first commit begins where the first start did; a position that is gone is never skipped.

mod batch;
mod consumer;
mod contact;
mod error;
mod member;
mod polling;
mod positions;
mod properties;
mod reader;
mod replay;
mod topic;

pub(crate) use consumer::{log_line, tells_lost_connection};
pub(crate) use error::words;
pub use error::{Remedy, SourceError};
pub use member::another_lives;
pub use positions::{Assignment, Start};
pub(crate) use properties::Side;
pub use properties::{KafkaSettings, refused};
pub(crate) use reader::offsets_to_commit;
pub use replay::{Replay, ReplayRange, first_records_at, topic_bounds};
pub use topic::{Followed, ReadFrom, StoredRecord, TopicReader};

use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use rdkafka::consumer::{Consumer, ConsumerGroupMetadata};

use crate::event::{Offset, Partition};
use crate::source::{Partitions, RawBatch};
use batch::PartitionTable;
use polling::Polling;

/// Everything that reading from Kafka can bring.
#[derive(Debug)]
pub enum KafkaEvent {
    /// Records, in the order in which the client library gave them.
    Batch(RawBatch),
    /// These partitions are ours now, and no others; they are read once [`KafkaSource::begin`] says from where.
    Assigned(Assigned),
    /// These partitions are being taken away; every record of theirs was handed on before this.
    ///
    /// Publish and commit what is under way, then call [`KafkaSource::release`].
    Revoked {
        /// The partitions.
        partitions: Vec<Partition>,
        /// They already belong to someone else: commits for them are left out.
        lost: bool,
    },
    /// Nothing arrived within the wait.
    Idle,
    /// A fault; [`SourceError::retry`] says whether reading goes on.
    Error(SourceError),
}

/// Partitions that were assigned together.
#[derive(Debug, Clone, Default)]
pub struct Assigned {
    /// Counts the assignments of this source.
    pub epoch: u64,
    /// What the brokers say of each partition.
    pub partitions: Vec<Assignment>,
    /// The table that later batches index, with all assigned partitions in it.
    pub table: Partitions,
}

/// A committed offset and the note that rides in its metadata.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionCommit {
    /// The partition.
    pub partition: Partition,
    /// The next record to answer.
    pub offset: Offset,
    /// What the next start must know besides; at most 4096 bytes.
    pub note: String,
}

/// The stream that a topic feeds, and where its first start begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TopicBinding {
    /// Index of the stream in the contract.
    pub stream: usize,
    /// Where partitions without a committed offset begin.
    pub start: Start,
}

/// What a consumer is given.
#[derive(Debug, Clone)]
pub struct ConsumerSettings {
    /// Brokers and properties.
    pub kafka: KafkaSettings,
    /// Consumer group; the job's name.
    pub group: String,
    /// Stable name of this instance (`group.instance.id`): its restart takes its partitions back at once.
    pub instance: Option<String>,
    /// Topics to read, by name.
    pub topics: BTreeMap<String, TopicBinding>,
    /// A batch is handed on when it has so many records …
    pub batch_rows_max: usize,
    /// … or so many bytes; one record may be larger.
    pub batch_bytes_max: usize,
    /// How long a revocation waits for [`KafkaSource::release`].
    pub release_wait: Duration,
}

impl ConsumerSettings {
    /// Settings with the default limits: 8192 records, 8 MiB, 20 seconds for a release.
    pub fn new(
        kafka: KafkaSettings,
        group: impl Into<String>,
        topics: BTreeMap<String, TopicBinding>,
    ) -> Self {
        Self {
            kafka,
            group: group.into(),
            instance: None,
            topics,
            batch_rows_max: 8192,
            batch_bytes_max: 8 << 20,
            release_wait: Duration::from_secs(20),
        }
    }
}

/// The id that the brokers give their cluster; none where they give none.
///
/// Fails where no broker answers within 30 seconds, and sooner where credentials or certificates are refused.
pub fn cluster_id(settings: &KafkaSettings) -> Result<Option<String>, SourceError> {
    consumer::cluster_id(settings)
}

/// How commits of offsets ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct EndedCommits {
    /// The group's coordinator has them.
    pub done: u64,
    /// It may not have them.
    pub failed: u64,
}

/// What the reading thread is told.
#[derive(Debug)]
enum Command {
    Begin { epoch: u64, from: Vec<(Partition, Offset)> },
    Commit(Vec<PartitionCommit>),
    Release,
    Shutdown,
}

/// Events waiting for the pipeline: enough that it never waits for the thread to wake, few enough that
/// a full channel holds no more than 32 MiB.
pub const EVENTS_WAITING_MAX: usize = 4;

/// Commands waiting for the thread, which obeys them at least every poll.
const COMMANDS_WAITING_MAX: usize = 64;

/// The near end of a reading thread.
pub struct KafkaSource {
    consumer: Arc<consumer::Subscribed>,
    settings: Arc<ConsumerSettings>,
    polling: Arc<Polling>,
    events: Receiver<KafkaEvent>,
    commands: Sender<Command>,
    thread: Option<JoinHandle<Result<(), SourceError>>>,
}

impl std::fmt::Debug for KafkaSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KafkaSource").field("events", &self.events.len()).finish_non_exhaustive()
    }
}

impl KafkaSource {
    /// Asks the brokers for the topics, joins the group and starts to read.
    ///
    /// Fails where settings are refused, no broker answers within 30 seconds, or a topic does not exist.
    pub fn start(settings: ConsumerSettings) -> Result<Self, SourceError> {
        let consumer = Arc::new(consumer::subscribe(&settings)?);
        let polling = Arc::new(Polling::new(PartitionTable::new(&settings.topics)));
        let settings = Arc::new(settings);
        let (reading, read_by, lending) =
            (Arc::clone(&consumer), Arc::clone(&settings), Arc::clone(&polling));
        let (events_tx, events) = bounded(EVENTS_WAITING_MAX);
        let (commands, commands_rx) = bounded(COMMANDS_WAITING_MAX);
        let thread = std::thread::Builder::new()
            .name("kafka-reader".to_owned())
            .spawn(move || reader::run(reading, read_by, lending, events_tx, commands_rx))
            .map_err(|error| SourceError::Client {
                attempt: "starting the thread that reads from Kafka".to_owned(),
                reason: error.to_string(),
                remedy: Remedy::Change,
            })?;
        Ok(Self { consumer, settings, polling, events, commands, thread: Some(thread) })
    }

    /// The next event, or [`KafkaEvent::Idle`] when none came within `wait`.
    pub fn next(&self, wait: Duration) -> KafkaEvent {
        if self.polling.lent()
            && let Some(event) = self.polling.round(&self.consumer, &self.settings, &self.events, wait)
        {
            return event;
        }
        match self.events.recv_timeout(wait) {
            Ok(event) => event,
            Err(RecvTimeoutError::Timeout) => KafkaEvent::Idle,
            Err(RecvTimeoutError::Disconnected) => KafkaEvent::Error(SourceError::Ended),
        }
    }

    /// Whether as much waits as may.
    pub fn is_full(&self) -> bool {
        self.events.is_full()
    }

    /// Starts to read the partitions of an assignment, each from an offset. An assignment that has been
    /// revoked meanwhile is left alone.
    pub fn begin(&self, assigned: &Assigned, from: Vec<(Partition, Offset)>) -> Result<(), SourceError> {
        self.commands.send(Command::Begin { epoch: assigned.epoch, from }).map_err(|_| SourceError::Ended)
    }

    /// The end of each partition that is read, as it was a second ago at most: what committed readers may see.
    pub fn ends(&self) -> BTreeMap<Partition, i64> {
        self.consumer.reporter().ends()
    }

    /// Commits of offsets that ended since this was last asked.
    pub fn commits(&self) -> EndedCommits {
        self.consumer.reporter().commits()
    }

    /// Who this member is to its group right now: what a transaction needs that commits offsets.
    ///
    /// Fails where the consumer has not joined its group.
    pub fn group_metadata(&self) -> Result<ConsumerGroupMetadata, SourceError> {
        self.consumer.group_metadata().ok_or_else(|| SourceError::Client {
            attempt: "asking for this member's place in the group".to_owned(),
            reason: "the consumer has none".to_owned(),
            remedy: Remedy::Change,
        })
    }

    /// Commits, for each partition, the offset of the next record to read (last + 1).
    ///
    /// Returns at once; a commit that the group refuses comes back as an error event that is retried
    /// by the next commit. Partitions that are not assigned are left out.
    pub fn commit(&self, next: Vec<PartitionCommit>) -> Result<(), SourceError> {
        self.commands.send(Command::Commit(next)).map_err(|_| SourceError::Ended)
    }

    /// Lets the partitions of the last [`KafkaEvent::Revoked`] go.
    pub fn release(&self) -> Result<(), SourceError> {
        self.commands.send(Command::Release).map_err(|_| SourceError::Ended)
    }

    /// Waits until the commits given so far are at the broker, leaves the group (but for a static
    /// member, which keeps its place) and ends the thread. Events not yet taken are dropped.
    pub fn shutdown(mut self) -> Result<(), SourceError> {
        self.stop()
    }

    fn stop(&mut self) -> Result<(), SourceError> {
        let Some(thread) = self.thread.take() else { return Ok(()) };
        let asked = self.commands.send(Command::Shutdown);
        let ended = thread.join().unwrap_or(Err(SourceError::Ended));
        if asked.is_err() { ended.and(Err(SourceError::Ended)) } else { ended }
    }
}

impl Drop for KafkaSource {
    fn drop(&mut self) {
        if let Err(error) = self.stop() {
            tracing::warn!(%error, "the kafka source did not stop cleanly");
        }
    }
}
