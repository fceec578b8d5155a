//! Who polls the consumer: the reading thread, or the pipeline itself.
//!
//! Takes the right to poll from one and gives it to the other. The thread reads ahead while there is a backlog, while
//! partitions come and go, and while the pipeline is busy with something long. Where records come in ones and twos it lends
//! the right to the pipeline, which then waits in the client library itself: a channel and a second thread to wake cost more
//! than the record. What would surprise: whoever polls holds the table until what was polled is on its way, so records never
//! pass each other.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded};
use rdkafka::error::KafkaError;

use super::batch::{Filled, PartitionTable, fill};
use super::consumer::{Subscribed, open};
use super::{ConsumerSettings, KafkaEvent};

/// A round with more records is a backlog: the thread reads it ahead of the pipeline.
const LENT_ROWS_MAX: usize = 512;

/// How long the thread waits for the pipeline to poll before it polls again itself: far less than
/// `max.poll.interval.ms`, and longer than a step takes.
pub(super) const STAND_BY: Duration = Duration::from_millis(100);

/// The library counts in milliseconds, and turns round and round where it is told to wait for less.
const LIBRARY_WAIT_MIN: Duration = Duration::from_millis(1);

/// The right to poll.
pub(super) struct Polling {
    table: Mutex<PartitionTable>,
    lent: AtomicBool,
    /// Rounds of the pipeline.
    rounds: AtomicU64,
    /// A fault that the pipeline met; the thread knows what to do about it.
    fault: Mutex<Option<KafkaError>>,
    taken_back: Sender<()>,
    called: Receiver<()>,
}

impl Polling {
    pub(super) fn new(table: PartitionTable) -> Self {
        let (taken_back, called) = bounded(1);
        Self {
            table: Mutex::new(table),
            lent: AtomicBool::new(false),
            rounds: AtomicU64::new(0),
            fault: Mutex::default(),
            taken_back,
            called,
        }
    }

    /// The partitions' numbers; nobody else polls while they are held.
    pub(super) fn table(&self) -> MutexGuard<'_, PartitionTable> {
        open(&self.table)
    }

    /// Whether the pipeline polls.
    pub(super) fn lent(&self) -> bool {
        self.lent.load(Ordering::Acquire)
    }

    /// The thread lets the pipeline poll.
    pub(super) fn lend(&self) {
        let _ = self.called.try_recv();
        self.lent.store(true, Ordering::Release);
    }

    /// The thread polls again.
    pub(super) fn take_back(&self) {
        self.lent.store(false, Ordering::Release);
        let _ = self.taken_back.try_send(());
    }

    /// Comes to the thread once it has to poll again.
    pub(super) fn called(&self) -> &Receiver<()> {
        &self.called
    }

    /// How often the pipeline has polled: unchanged after [`STAND_BY`], it is busy with something else.
    pub(super) fn rounds(&self) -> u64 {
        self.rounds.load(Ordering::Relaxed)
    }

    /// What the pipeline met while it polled.
    pub(super) fn fault(&self) -> Option<KafkaError> {
        open(&self.fault).take()
    }

    /// A round of the pipeline; none where the right is not its own.
    pub(super) fn round(
        &self,
        consumer: &Subscribed,
        settings: &ConsumerSettings,
        events: &Receiver<KafkaEvent>,
        wait: Duration,
    ) -> Option<KafkaEvent> {
        let mut table = self.table();
        // What the thread read before it lent comes first.
        if let Ok(event) = events.try_recv() {
            return Some(event);
        }
        if !self.lent() {
            return None;
        }
        self.rounds.fetch_add(1, Ordering::Relaxed);
        let Filled { batch, error } = match wait < LIBRARY_WAIT_MIN {
            false => fill(consumer, &mut table, settings, wait),
            true => {
                let filled = fill(consumer, &mut table, settings, Duration::ZERO);
                if filled.batch.records.is_empty() && filled.error.is_none() {
                    std::thread::sleep(wait);
                }
                filled
            }
        };
        if error.is_some() || consumer.reporter().has_reports() || !few(batch.records.len()) {
            *open(&self.fault) = error;
            self.take_back();
        }
        Some(if batch.records.is_empty() { KafkaEvent::Idle } else { KafkaEvent::Batch(batch) })
    }
}

/// Whether a round had so few records that the pipeline may do the next by itself.
pub(super) fn few(records: usize) -> bool {
    records <= LENT_ROWS_MAX
}
