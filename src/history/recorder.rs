//! Collects rows by partition, rolls them into segments, writes those, and merges small neighbours.
//!
//! Knows neither threads nor clocks: it is told what was read and what time it is. A write that fails is
//! tried again, later each time; what is collected meanwhile is bounded by the gate in [`super::writer`],
//! which lets rows go. Such rows, and those of a batch that can't be kept, are a gap: the segment before it
//! is closed, and the next one begins behind it.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;

use super::History;
use super::carry::{self, Old, Proven, Under};
use super::contract::{OFFSET_COLUMN, segment_schema};
use super::error::HistoryError;
use super::merge;
use super::name::{Place, Segment};
use super::segment::{Covered, Encoded, encode, event_times, int64};
use super::split::split;
use super::writer::{Gate, Load, WriterSettings};
use crate::decode::DecodedBatch;
use crate::event::{Contract, Offset, Partition, crash_point};
use crate::source::index_of;

const BACKOFF_LEAST: Duration = Duration::from_secs(1);
const BACKOFF_MOST: Duration = Duration::from_secs(30);

/// A batch, and the offsets that the step read, whether they became rows or not.
#[derive(Debug)]
pub(super) struct Appended {
    pub(super) batch: DecodedBatch,
    pub(super) read: Vec<(Partition, Range<Offset>)>,
    pub(super) load: Load,
}

pub(super) struct Recorder {
    history: History,
    contract: Contract,
    schemas: Vec<SchemaRef>,
    generations: Vec<u32>,
    settings: WriterSettings,
    next_arrival: i64,
    partitions: BTreeMap<Partition, Recorded>,
    /// Where partitions begin that have no rows yet, and what is known of the events before.
    starts: BTreeMap<Partition, (Offset, i64)>,
    unwritten: VecDeque<Unwritten>,
    retry: Option<(Duration, Duration)>,
    gate: Arc<Gate>,
}

/// One partition that is being recorded.
#[derive(Debug)]
struct Recorded {
    place: Place,
    stream: usize,
    /// The offset behind the last one that went by, and what all event times below it are earlier than.
    next: Offset,
    floor: i64,
    open: Option<Collected>,
    /// The newest segments, which touch each other, as long as they are small.
    small: Vec<Segment>,
    proven: Proven,
}

/// Rows that will be one segment.
#[derive(Debug)]
struct Collected {
    covered: Covered,
    batches: Vec<RecordBatch>,
    load: Load,
    since: Duration,
}

#[derive(Debug)]
struct Unwritten {
    partition: Partition,
    place: Place,
    encoded: Encoded,
    load: Load,
}

impl Recorder {
    pub(super) fn new(
        history: History,
        contract: &Contract,
        generations: &[u32],
        settings: WriterSettings,
        next_arrival: i64,
    ) -> Result<Self, HistoryError> {
        let schemas = contract.streams.iter().map(|stream| segment_schema(stream));
        Ok(Self {
            schemas: schemas.collect::<Result<_, _>>()?,
            history,
            contract: contract.clone(),
            generations: generations.to_vec(),
            next_arrival,
            partitions: BTreeMap::new(),
            starts: BTreeMap::new(),
            unwritten: VecDeque::new(),
            retry: None,
            gate: Arc::new(Gate::new(&settings)),
            settings,
        })
    }

    /// What bounds the rows on their way here.
    pub(super) fn gate(&self) -> Arc<Gate> {
        self.gate.clone()
    }

    /// Notes that all events of a partition below `offset` are earlier than `floor`.
    pub(super) fn start_at(&mut self, partition: Partition, offset: Offset, floor: i64) {
        if let Some(recorded) = self.partitions.get_mut(&partition) {
            if recorded.next == offset {
                recorded.floor = recorded.floor.min(floor);
                return;
            }
            self.close(&partition);
            self.partitions.remove(&partition);
        }
        self.starts.insert(partition, (offset, floor));
    }

    /// Takes a batch in; segments that are full are written.
    pub(super) fn take(&mut self, appended: Appended, now: Duration) {
        let Appended { batch, read, load } = appended;
        self.gate.release(load);
        self.skip_lost();
        let pieces = split(&batch, &self.contract, &self.schemas, self.next_arrival);
        self.next_arrival += batch.rows.event_time.len() as i64;
        let mut pieces = match pieces {
            Ok(pieces) => pieces,
            Err(reason) => {
                self.gate.dropped(batch.rows.event_time.len() as u64, reason);
                for (partition, offsets, latest) in spans(&batch, &read) {
                    self.skip(&partition, offsets, latest);
                }
                return;
            }
        };
        let mut outside = 0;
        for (partition, offsets) in read {
            let table = batch.rows.partitions.iter();
            let Some(index) = table.clone().position(|known| known.partition == partition) else {
                self.gate.failed(format!("{partition} is not in the batch's table of partitions"));
                continue;
            };
            let stream = batch.rows.partitions[index].stream;
            let piece = pieces.get_mut(&(index as u32));
            let rows = piece.map(|piece| {
                outside += cut_off(piece, offsets.start).num_rows();
                cut_off(piece, offsets.end)
            });
            self.extend(&partition, stream, offsets, rows, now);
        }
        outside += pieces.values().map(RecordBatch::num_rows).sum::<usize>();
        if outside > 0 {
            let reason = "rows lie outside of the offsets that were read".to_owned();
            self.gate.dropped(outside as u64, reason);
        }
        self.write(now);
    }

    /// Adds rows (all below the end of the range) to what is collected of a partition.
    fn extend(
        &mut self,
        partition: &Partition,
        stream: usize,
        offsets: Range<Offset>,
        rows: Option<RecordBatch>,
        now: Duration,
    ) {
        if offsets.is_empty() {
            return;
        }
        let open = self.partitions.get(partition).and_then(|recorded| recorded.open.as_ref());
        if open.is_some_and(|open| open.covered.offsets.end != offsets.start) {
            self.close(partition);
        }
        let Some(event_time) = self.contract.streams.get(stream).map(|stream| stream.event_time) else {
            return;
        };
        let gate = self.gate.clone();
        let segment_rows = self.settings.segment_rows;
        let Some(recorded) = self.recorded(partition, stream, offsets.start) else { return };
        if offsets.start > recorded.next {
            // Nothing is known of what was read in between.
            recorded.floor = i64::MAX;
        }
        let floor = recorded.floor;
        let rows = rows.filter(|rows| rows.num_rows() > 0);
        let times = rows.as_ref().and_then(|rows| event_times(rows, event_time));
        let behind = times.map_or(i64::MIN, |(_, latest)| latest.saturating_add(1));
        recorded.next = recorded.next.max(offsets.end);
        recorded.floor = floor.max(behind);
        let open = recorded.open.get_or_insert_with(|| Collected {
            covered: Covered { offsets: offsets.start..offsets.start, floor, carried: None },
            batches: Vec::new(),
            load: Load::default(),
            since: now,
        });
        open.covered.offsets.end = offsets.end;
        if let Some(rows) = rows {
            let load = Load::of_columns(rows.num_rows(), rows.columns());
            gate.hold(load);
            open.load = open.load + load;
            open.batches.push(rows);
        }
        if open.load.rows >= segment_rows {
            self.close(partition);
        }
    }

    fn recorded(&mut self, partition: &Partition, stream: usize, from: Offset) -> Option<&mut Recorded> {
        let generation = *self.generations.get(stream)?;
        if !self.partitions.contains_key(partition) {
            let place = Place { partition: partition.clone(), generation };
            let (next, floor) = match self.starts.remove(partition) {
                Some((next, floor)) => (next, floor),
                None if from.0 == 0 => (from, i64::MIN),
                None => (from, i64::MAX),
            };
            self.history.objects.sweep(&self.history.folder(&place));
            // Neither merging nor what is told of the history is needed for anything: where the listing fails, none
            // is as good an answer.
            let segments = self.history.segments(partition, generation).unwrap_or_default();
            self.gate.holds(partition, &segments);
            let small = merge::small_tail(segments, from, self.settings.segment_rows / 2);
            let recorded = Recorded { place, stream, next, floor, open: None, small, proven: None };
            self.partitions.insert(partition.clone(), recorded);
        }
        self.partitions.get_mut(partition)
    }

    /// Rows that the gate let go and whose turn it is: batches before them may still be on their way.
    fn skip_lost(&mut self) {
        let (partitions, starts) = (&self.partitions, &self.starts);
        let next = |partition: &Partition| {
            let recorded = partitions.get(partition).map(|recorded| recorded.next);
            recorded.or_else(|| starts.get(partition).map(|(next, _)| *next))
        };
        let lost = self.gate.take_lost(|partition, from| next(partition).is_none_or(|next| from <= next));
        for (partition, (offsets, latest)) in lost {
            self.skip(&partition, offsets, latest);
        }
    }

    /// Notes rows that went by and are not kept.
    fn skip(&mut self, partition: &Partition, offsets: Range<Offset>, latest: i64) {
        self.close(partition);
        let floor = latest.saturating_add(1);
        if let Some(recorded) = self.partitions.get_mut(partition) {
            recorded.floor = if offsets.start > recorded.next { i64::MAX } else { recorded.floor.max(floor) };
            recorded.next = recorded.next.max(offsets.end);
        } else if let Some((next, before)) = self.starts.get_mut(partition) {
            *before = if offsets.start > *next { i64::MAX } else { (*before).max(floor) };
            *next = (*next).max(offsets.end);
        }
    }

    /// Makes a segment of what is collected of a partition; writing it is another matter.
    fn close(&mut self, partition: &Partition) {
        let Some(recorded) = self.partitions.get_mut(partition) else { return };
        let Some(open) = recorded.open.take() else { return };
        let stream = &self.contract.streams[recorded.stream];
        let rows = (&self.schemas[recorded.stream], open.batches.as_slice());
        self.gate.release(open.load);
        match encode(&self.history.identity, &recorded.place, stream, &open.covered, rows) {
            Ok(encoded) => {
                let load = Load { rows: open.load.rows, bytes: encoded.bytes.len() };
                self.gate.hold(load);
                let place = recorded.place.clone();
                self.unwritten.push_back(Unwritten { partition: partition.clone(), place, encoded, load });
            }
            Err(reason) => self.gate.dropped(open.load.rows as u64, reason),
        }
    }

    /// Closes and writes what is due by time, or because too much is held.
    pub(super) fn tick(&mut self, now: Duration) {
        self.skip_lost();
        let interval = self.settings.flush_interval;
        let due = |recorded: &Recorded| {
            recorded.open.as_ref().is_some_and(|open| now >= open.since.saturating_add(interval))
        };
        let due: Vec<_> = self.names(due);
        due.iter().for_each(|partition| self.close(partition));
        self.relieve();
        self.write(now);
    }

    /// Closes the largest while what is collected takes half of the room; what is still on its way here would
    /// not get less by it, and many small segments are more work.
    fn relieve(&mut self) {
        loop {
            let open = self
                .partitions
                .iter()
                .filter_map(|(name, recorded)| Some((name, recorded.open.as_ref()?.load)));
            let all = open.clone().fold(Load::default(), |all, (_, load)| all + load);
            let largest = open.max_by_key(|(_, load)| load.bytes).map(|(name, _)| name.clone());
            let Some(largest) = largest.filter(|_| self.gate.is_half(all)) else { return };
            self.close(&largest);
        }
    }

    fn names(&self, which: impl Fn(&Recorded) -> bool) -> Vec<Partition> {
        let found = self.partitions.iter().filter(|(_, recorded)| which(recorded));
        found.map(|(name, _)| name.clone()).collect()
    }

    /// Closes everything and writes it now, whatever happened before.
    pub(super) fn flush(&mut self, now: Duration) {
        self.skip_lost();
        self.names(|_| true).iter().for_each(|partition| self.close(partition));
        self.retry = None;
        self.write(now);
    }

    /// Writes what a partition has collected and forgets it: it is another process's now.
    pub(super) fn forget(&mut self, partitions: &[Partition], now: Duration) {
        for partition in partitions {
            self.close(partition);
        }
        self.write(now);
        for partition in partitions {
            self.partitions.remove(partition);
            self.starts.remove(partition);
            self.gate.holds(partition, &[]);
        }
    }

    /// Lets go of segments that are not needed any more, partition by partition.
    pub(super) fn prune(&mut self, old: &Old) {
        for recorded in self.partitions.values_mut() {
            let (place, stream) = (&recorded.place, recorded.stream);
            let Some(until) = old.read.get(&place.partition).copied() else { continue };
            let under = Under { contract: &self.contract, stream, schema: &self.schemas[stream] };
            match carry::prune(&self.history, place, &under, (old, until, &mut recorded.proven)) {
                Ok(deleted) => {
                    // Those that are gone can't be merged.
                    recorded.small.retain(|segment| !deleted.contains(&segment.name));
                    if !deleted.is_empty()
                        && let Ok(left) = self.history.segments(&place.partition, place.generation)
                    {
                        self.gate.holds(&place.partition, &left);
                    }
                }
                Err(reason) => self.gate.failed(reason),
            }
        }
    }

    fn write(&mut self, now: Duration) {
        if self.retry.is_some_and(|(at, _)| now < at) {
            return;
        }
        while let Some(next) = self.unwritten.front() {
            let location = self.history.location(&next.place, &next.encoded.name);
            crash_point("before-history-write");
            if let Err(error) = self.history.objects.put(&location, next.encoded.bytes.clone()) {
                let wait = self.retry.map_or(BACKOFF_LEAST, |(_, wait)| (wait * 2).min(BACKOFF_MOST));
                self.retry = Some((now.saturating_add(wait), wait));
                self.gate.store_failed(error.to_string());
                return;
            }
            crash_point("after-history-write");
            self.retry = None;
            if let Some(written) = self.unwritten.pop_front() {
                self.gate.release(written.load);
                self.gate.written(&written.partition, &written.encoded);
                self.merge(written);
            }
        }
    }

    /// Merges the small segments behind which the new one stands, once there are enough of them.
    fn merge(&mut self, written: Unwritten) {
        let limit = self.settings.segment_rows;
        let Some(recorded) = self.partitions.get_mut(&written.partition) else { return };
        let name = written.encoded.name;
        if recorded.small.last().is_some_and(|last| last.name.to != name.from) {
            recorded.small.clear();
        }
        let small = name.rows < limit as u64 / 2;
        if small {
            recorded.small.push(Segment { name, bytes: written.encoded.bytes.len() as u64 });
        }
        let rows: u64 = recorded.small.iter().map(|segment| segment.name.rows).sum();
        if small && recorded.small.len() < self.settings.merge_segments && rows < limit as u64 {
            return;
        }
        let small = std::mem::take(&mut recorded.small);
        let stream = &self.contract.streams[recorded.stream];
        match merge::merge(&self.history, &recorded.place, stream, &self.schemas[recorded.stream], &small) {
            Ok(merged) => {
                self.gate.merged(merged.as_ref().map_or(0, |_| small.len() as u64));
                recorded.small.extend(merged.filter(|merged| merged.name.rows < limit as u64 / 2));
            }
            Err(reason) => self.gate.failed(reason),
        }
    }
}

/// Takes the rows below `end` off the front of a piece.
fn cut_off(piece: &mut RecordBatch, end: Offset) -> RecordBatch {
    let below = int64(piece, OFFSET_COLUMN)
        .map_or(0, |offsets| offsets.values().partition_point(|offset| *offset < end.0));
    let front = piece.slice(0, below);
    *piece = piece.slice(below, piece.num_rows() - below);
    front
}

/// For each range that was read, the latest event time among its rows; `i64::MIN` without any.
pub(super) fn spans(
    batch: &DecodedBatch,
    read: &[(Partition, Range<Offset>)],
) -> Vec<(Partition, Range<Offset>, i64)> {
    let mut latest = vec![i64::MIN; batch.rows.partitions.len()];
    for (partition, time) in batch.rows.partition.iter().zip(&batch.rows.event_time) {
        if let Some(known) = latest.get_mut(*partition as usize) {
            *known = (*known).max(*time);
        }
    }
    let of = |partition: &Partition| {
        index_of(&batch.rows.partitions, partition).map_or(i64::MIN, |index| latest[index as usize])
    };
    read.iter().map(|(partition, offsets)| (partition.clone(), offsets.clone(), of(partition))).collect()
}
