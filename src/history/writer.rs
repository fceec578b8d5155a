//! The writing thread and the gate before it.
//!
//! [`Writer::append`] hands a batch over and returns; where too much is held it waits, so that a slow disk
//! slows the job. Where the store fails, or does not move for [`STALL_MOST`], it waits no longer: rows that
//! find no room are let go and counted, and their offsets will be read from the topic again.

use std::collections::BTreeMap;
use std::ops::{Add, Range};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use arrow::array::{Array, ArrayRef};
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};

use super::carry::Old;
use super::error::HistoryError;
use super::name::Segment;
use super::recorder::{Appended, Recorder, spans};
use super::segment::Encoded;
use crate::decode::DecodedBatch;
use crate::event::{Clock, Offset, Partition};
use crate::settings::HistorySettings;

/// Batches on their way to the thread; rows and bytes have limits of their own.
const BATCHES_MAX: usize = 256;
/// How often the thread looks whether anything is due.
const TICK: Duration = Duration::from_millis(200);
/// After the last batch that is there the thread does not wait for the next one, which would have to wake it: where events
/// come in ones and twos, that costs whoever hands over more than the event.
const PAUSE: Duration = Duration::from_millis(10);
/// A store that takes nothing for this long is treated like one that fails.
const STALL_MOST: Duration = Duration::from_secs(10);

/// How segments are cut and how much may wait.
#[derive(Debug, Clone)]
pub struct WriterSettings {
    /// Rows of a segment; a batch is never cut.
    pub segment_rows: usize,
    /// The longest that rows stay in memory only.
    pub flush_interval: Duration,
    /// Small neighbouring segments that are merged into one.
    pub merge_segments: usize,
    /// Rows that may wait to be written, beside the batch that is being taken in.
    pub rows_max: usize,
    /// Bytes that may wait to be written.
    pub bytes_max: usize,
}

impl WriterSettings {
    /// As the settings file says.
    pub fn of(settings: &HistorySettings) -> Self {
        Self {
            segment_rows: settings.segment_rows.get(),
            flush_interval: settings.flush_interval.to_std(),
            merge_segments: 16,
            rows_max: 4_000_000,
            bytes_max: 256 << 20,
        }
    }
}

/// What the writing side has done so far.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WriterStatus {
    /// Segments written.
    pub segments: u64,
    /// Small segments that were merged into others.
    pub merged: u64,
    /// Bytes of the segments written.
    pub bytes: u64,
    /// Rows in them.
    pub rows: u64,
    /// Rows let go; their offsets are gaps.
    pub rows_dropped: u64,
    /// Rows handed over and not yet written.
    pub rows_waiting: u64,
    /// Whether the last write failed.
    pub failing: bool,
    /// Writes that failed, before any retry.
    pub failures: u64,
    /// What failed last, if anything ever did.
    pub last_failure: Option<String>,
    /// Up to where (exclusive) the newest segment of each partition reaches.
    pub durable: BTreeMap<Partition, Offset>,
    /// Earliest and latest event time, microseconds, in the segments of each recorded partition.
    pub times: BTreeMap<Partition, (i64, i64)>,
}

/// Hands rows to the thread `history`. Dropping it writes nothing more: use [`Writer::close`].
#[derive(Debug)]
pub struct Writer {
    messages: Sender<Message>,
    gate: Arc<Gate>,
    thread: Option<JoinHandle<()>>,
}

enum Message {
    Append(Appended),
    StartAt(Partition, Offset, i64),
    Forget(Vec<Partition>),
    Prune(Old),
    Flush(Sender<()>),
}

impl Writer {
    pub(super) fn start(
        mut recorder: Recorder,
        flush_interval: Duration,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, HistoryError> {
        let (messages, received) = bounded(BATCHES_MAX);
        let gate = recorder.gate();
        let tick = TICK.min(flush_interval);
        let ending = Ending(gate.clone());
        let thread = std::thread::Builder::new()
            .name("history".to_owned())
            .spawn(move || {
                let _ending = ending;
                obey(&mut recorder, &received, tick, &*clock);
            })
            .map_err(|error| HistoryError::Thread {
                thread: "history",
                reason: format!("can't be started: {error}"),
            })?;
        Ok(Self { messages, gate, thread: Some(thread) })
    }

    /// Hands over the rows of a step (without repeats) and all offsets that it read: rows or not, a range
    /// begins where the one before it ended, or there is a gap. Waits where too much is held.
    pub fn append(&self, batch: &DecodedBatch, read: &[(Partition, Range<Offset>)]) {
        let load = Load::of(batch);
        if !self.gate.enter(load) {
            return self.gate.lose(load, spans(batch, read));
        }
        let batch = DecodedBatch { dead_letters: Vec::new(), ..batch.clone() };
        let message = Message::Append(Appended { batch, read: read.to_vec(), load });
        if let Err(refused) = self.messages.send_timeout(message, STALL_MOST) {
            let Message::Append(refused) = refused.into_inner() else { return };
            self.gate.release(load);
            self.gate.lose(load, spans(&refused.batch, read));
        }
    }

    /// Says what is known of a partition's events below the first offset that will be appended: all are
    /// earlier than `floor` (microseconds; the latest event time that was seen, and one), or the job never
    /// reads any (`i64::MIN`: a first start). Without it, and unless recording starts at offset 0, a plan is
    /// not complete before a window's length of new segments is there.
    pub fn start_at(&self, partition: &Partition, offset: Offset, floor: i64) {
        self.tell(Message::StartAt(partition.clone(), offset, floor));
    }

    /// Writes what is held of partitions that are another process's now, and forgets them.
    pub fn forget(&self, partitions: &[Partition]) {
        self.tell(Message::Forget(partitions.to_vec()));
    }

    /// Deletes segments of the recorded partitions that are not needed any more; what windows without a bound in time
    /// still need of them is written on first.
    pub fn prune(&self, old: Old) {
        self.tell(Message::Prune(old));
    }

    fn tell(&self, message: Message) {
        if self.messages.send_timeout(message, STALL_MOST).is_err() {
            self.gate.failed("the thread `history` does not answer".to_owned());
        }
    }

    /// What was done so far.
    pub fn status(&self) -> WriterStatus {
        self.gate.status()
    }

    /// Writes all that was appended before, within `grace`.
    pub fn flush(&self, grace: Duration) -> Result<(), HistoryError> {
        let (done, wait) = bounded(1);
        self.tell(Message::Flush(done));
        let _ = wait.recv_timeout(grace);
        let status = self.status();
        if status.rows_waiting == 0 && !status.failing {
            return Ok(());
        }
        let reason = status.last_failure.unwrap_or_else(|| "the store is too slow".to_owned());
        Err(HistoryError::Unwritten { rows: status.rows_waiting, waited: grace, reason })
    }

    /// Writes all that was appended, within `grace`, and ends the thread.
    pub fn close(mut self, grace: Duration) -> Result<(), HistoryError> {
        let flushed = self.flush(grace);
        let (closed, _) = bounded(0);
        self.messages = closed;
        // A thread that hangs in a write is left to itself: the process is about to end.
        if let (Ok(()), Some(thread)) = (&flushed, self.thread.take()) {
            thread.join().map_err(|_| HistoryError::Thread {
                thread: "history",
                reason: "ended in a defect".to_owned(),
            })?;
        }
        flushed
    }
}

fn obey(recorder: &mut Recorder, messages: &Receiver<Message>, tick: Duration, clock: &dyn Clock) {
    loop {
        let message = messages.recv_timeout(tick);
        let now = clock.elapsed();
        match message {
            Ok(Message::Append(appended)) => {
                recorder.take(appended, now);
                if messages.is_empty() {
                    std::thread::sleep(PAUSE);
                }
            }
            Ok(Message::StartAt(partition, offset, floor)) => recorder.start_at(partition, offset, floor),
            Ok(Message::Forget(partitions)) => recorder.forget(&partitions, now),
            Ok(Message::Prune(old)) => recorder.prune(&old),
            Ok(Message::Flush(done)) => {
                recorder.flush(now);
                // Who asked may have lost patience.
                let _ = done.try_send(());
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        recorder.tick(now);
    }
}

/// Whatever ends the thread, nobody waits for it any longer.
struct Ending(Arc<Gate>);

impl Drop for Ending {
    fn drop(&mut self) {
        self.0.store_failed("the thread `history` has ended".to_owned());
    }
}

/// Rows and bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Load {
    pub(super) rows: usize,
    pub(super) bytes: usize,
}

impl Add for Load {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self { rows: self.rows + other.rows, bytes: self.bytes + other.bytes }
    }
}

impl Load {
    /// Bytes of a row beside its columns: time, offset, timestamp, arrival.
    const ROW_BYTES: usize = 32;

    fn of(batch: &DecodedBatch) -> Self {
        let columns = batch.streams.iter().flat_map(|stream| stream.columns.iter().flatten());
        let rows = batch.rows.event_time.len();
        Self { rows, bytes: rows * Self::ROW_BYTES + columns.map(bytes_of).sum::<usize>() }
    }

    pub(super) fn of_columns(rows: usize, columns: &[ArrayRef]) -> Self {
        Self { rows, bytes: columns.iter().map(bytes_of).sum() }
    }
}

/// Bytes that a column's own rows take, whatever buffer they are a part of.
fn bytes_of(column: &ArrayRef) -> usize {
    column.to_data().get_slice_memory_size().unwrap_or_else(|_| column.get_array_memory_size())
}

/// The earliest and the latest of all.
fn widest(times: impl Iterator<Item = (i64, i64)>) -> Option<(i64, i64)> {
    times.reduce(|all, one| (all.0.min(one.0), all.1.max(one.1)))
}

/// What may wait to be written, and what became of it.
#[derive(Debug)]
pub(super) struct Gate {
    most: Load,
    inner: Mutex<Held>,
    moved: Condvar,
}

#[derive(Debug, Default)]
struct Held {
    load: Load,
    status: WriterStatus,
    /// Rows let go before they reached the thread: offsets and latest event time.
    lost: BTreeMap<Partition, (Range<Offset>, i64)>,
}

impl Gate {
    pub(super) fn new(settings: &WriterSettings) -> Self {
        let most = Load { rows: settings.rows_max, bytes: settings.bytes_max };
        Self { most, inner: Mutex::default(), moved: Condvar::new() }
    }

    /// A thread that panicked in between left numbers that are at worst out of date.
    fn held(&self) -> MutexGuard<'_, Held> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn fits(&self, held: &Held, load: Load) -> bool {
        let with = held.load + load;
        // A batch larger than the gate passes alone.
        held.load == Load::default() || with.rows <= self.most.rows && with.bytes <= self.most.bytes
    }

    /// Waits for room and takes it; whether there was any.
    fn enter(&self, load: Load) -> bool {
        let held = self.held();
        let waits = |held: &mut Held| !held.status.failing && !self.fits(held, load);
        let waited = self.moved.wait_timeout_while(held, STALL_MOST, waits);
        let (mut held, _) = waited.unwrap_or_else(PoisonError::into_inner);
        let fits = self.fits(&held, load);
        if fits {
            held.load = held.load + load;
        }
        fits
    }

    pub(super) fn hold(&self, load: Load) {
        let mut held = self.held();
        held.load = held.load + load;
    }

    pub(super) fn release(&self, load: Load) {
        let mut held = self.held();
        held.load.rows = held.load.rows.saturating_sub(load.rows);
        held.load.bytes = held.load.bytes.saturating_sub(load.bytes);
        self.moved.notify_all();
    }

    /// Whether this alone takes half of the room.
    pub(super) fn is_half(&self, load: Load) -> bool {
        load.rows > self.most.rows / 2 || load.bytes > self.most.bytes / 2
    }

    fn lose(&self, load: Load, spans: Vec<(Partition, Range<Offset>, i64)>) {
        let mut held = self.held();
        held.status.rows_dropped += load.rows as u64;
        for (partition, offsets, latest) in spans {
            let (known, time) = held.lost.entry(partition).or_insert((offsets.clone(), latest));
            known.end = known.end.max(offsets.end);
            *time = (*time).max(latest);
        }
    }

    /// What was let go, of the partitions whose turn it is by the first offset.
    pub(super) fn take_lost(
        &self,
        due: impl Fn(&Partition, Offset) -> bool,
    ) -> BTreeMap<Partition, (Range<Offset>, i64)> {
        let mut held = self.held();
        let lost = std::mem::take(&mut held.lost);
        let (due, later) =
            lost.into_iter().partition(|(partition, (offsets, _))| due(partition, offsets.start));
        held.lost = later;
        due
    }

    pub(super) fn dropped(&self, rows: u64, reason: String) {
        let mut held = self.held();
        held.status.rows_dropped += rows;
        held.status.last_failure = Some(reason);
    }

    pub(super) fn failed(&self, reason: String) {
        self.held().status.last_failure = Some(reason);
    }

    pub(super) fn store_failed(&self, reason: String) {
        let mut held = self.held();
        held.status.failing = true;
        held.status.failures += 1;
        held.status.last_failure = Some(reason);
        self.moved.notify_all();
    }

    pub(super) fn written(&self, partition: &Partition, encoded: &Encoded) {
        let mut held = self.held();
        let status = &mut held.status;
        status.failing = false;
        status.segments += 1;
        status.bytes += encoded.bytes.len() as u64;
        status.rows += encoded.name.rows;
        status.durable.insert(partition.clone(), encoded.name.to);
        if let Some(times) =
            widest(status.times.get(partition).copied().into_iter().chain(encoded.name.times))
        {
            status.times.insert(partition.clone(), times);
        }
    }

    /// What the segments of a partition hold that were there before, or are left.
    pub(super) fn holds(&self, partition: &Partition, segments: &[Segment]) {
        let whole = segments.iter().filter(|segment| !segment.name.carried);
        let times = widest(whole.filter_map(|segment| segment.name.times));
        let known = &mut self.held().status.times;
        match times {
            Some(times) => drop(known.insert(partition.clone(), times)),
            None => drop(known.remove(partition)),
        }
    }

    pub(super) fn merged(&self, segments: u64) {
        self.held().status.merged += segments;
    }

    pub(super) fn status(&self) -> WriterStatus {
        let held = self.held();
        WriterStatus { rows_waiting: held.load.rows as u64, ..held.status.clone() }
    }
}
