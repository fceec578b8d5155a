//! Segments back to decoded batches, all planned partitions merged in the order of arrival.
//!
//! A thread of its own reads, proves and decodes ahead of who takes the batches; it holds one segment a
//! partition and [`AHEAD`] finished batches. Rows of one partition stay in the order of their offsets even
//! where two processes wrote them and their arrival numbers can't be compared.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::sync::Arc;
use std::thread::JoinHandle;

use arrow::array::{
    Array, ArrayData, ArrayRef, AsArray, MutableArrayData, make_array, new_empty_array, new_null_array,
};
use arrow::buffer::ScalarBuffer;
use arrow::compute::cast;
use arrow::datatypes::TimestampMicrosecondType;
use arrow::error::ArrowError;
use crossbeam_channel::{Receiver, Sender, bounded};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};

use super::History;
use super::contract::{ARRIVAL_COLUMN, ColumnOrigin, OFFSET_COLUMN, TIMESTAMP_COLUMN, origins};
use super::error::HistoryError;
use super::name::Place;
use super::plan::{Plan, Planned};
use super::segment::{check, int64};
use crate::decode::{DecodedBatch, Rows, StreamRows};
use crate::event::{Contract, Stream};
use crate::source::{Partitions, index_of};

/// Rows of a batch: enough that the cost of a batch vanishes, few enough to stay in the cache.
const BATCH_ROWS: usize = 16_384;
/// Batches that are ready before they are taken.
const AHEAD: usize = 4;

/// Batches in the order of arrival; ends after the last row or the first error.
#[derive(Debug)]
pub struct Loader {
    batches: Receiver<Result<DecodedBatch, HistoryError>>,
    thread: Option<JoinHandle<()>>,
}

impl Iterator for Loader {
    type Item = Result<DecodedBatch, HistoryError>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Ok(batch) = self.batches.recv() {
            return Some(batch);
        }
        let ended = self.thread.take()?.join();
        let defect = || HistoryError::Thread { thread: "history-load", reason: "ended in a defect".into() };
        ended.is_err().then(|| Err(defect()))
    }
}

pub(super) fn start(
    history: &History,
    plans: Vec<Plan>,
    contract: &Contract,
    used: &[Vec<bool>],
    partitions: Partitions,
) -> Result<Loader, HistoryError> {
    let mut sources = Vec::new();
    for plan in plans {
        let index = index_of(&partitions, &plan.place.partition);
        let stream = contract.streams.get(plan.stream).cloned();
        let (Some(index), Some(stream)) = (index, stream) else {
            return Err(HistoryError::Store {
                attempt: format!("loading {}", plan.place.partition),
                reason: "the partition or its stream is not in the table of partitions or the contract"
                    .into(),
            });
        };
        sources.push(PartitionRows {
            history: history.clone(),
            index,
            stream_index: plan.stream,
            stream,
            used: used.get(plan.stream).cloned().unwrap_or_default(),
            waiting: plan.segments.into(),
            place: plan.place,
            open: None,
            latest: i64::MIN,
        });
    }
    let (sender, batches) = bounded(AHEAD);
    let merge = Merge { sources, heads: Vec::new(), partitions, empty: empty_columns(contract, used) };
    let thread = std::thread::Builder::new()
        .name("history-load".to_owned())
        .spawn(move || merge.run(&sender))
        .map_err(|error| HistoryError::Thread {
            thread: "history-load",
            reason: format!("can't be started: {error}"),
        })?;
    Ok(Loader { batches, thread: Some(thread) })
}

fn empty_columns(contract: &Contract, used: &[Vec<bool>]) -> Vec<Vec<Option<ArrayRef>>> {
    let column = |stream: usize, index: usize, of: &Stream| {
        let read = index == of.event_time
            || used.get(stream).and_then(|used| used.get(index)).copied().unwrap_or(false);
        read.then(|| new_empty_array(of.schema.field(index).data_type()))
    };
    let streams = contract.streams.iter().enumerate();
    streams
        .map(|(stream, of)| (0..of.schema.fields().len()).map(|index| column(stream, index, of)).collect())
        .collect()
}

/// The rows of one partition, segment after segment.
struct PartitionRows {
    history: History,
    index: u32,
    stream_index: usize,
    stream: Arc<Stream>,
    used: Vec<bool>,
    waiting: VecDeque<Planned>,
    place: Place,
    open: Option<OpenSegment>,
    /// The latest arrival handed on.
    latest: i64,
}

struct OpenSegment {
    planned: Planned,
    reader: ParquetRecordBatchReader,
    origins: Vec<ColumnOrigin>,
}

/// Some rows of one partition, under today's contract.
struct Chunk {
    columns: Vec<Option<ArrayRef>>,
    offset: ScalarBuffer<i64>,
    event_time: ScalarBuffer<i64>,
    timestamp: Vec<i64>,
    /// Never falls: see the module's header.
    arrival: Vec<i64>,
}

impl PartitionRows {
    fn next_chunk(&mut self) -> Result<Option<Chunk>, HistoryError> {
        loop {
            if self.open.is_none() {
                let Some(planned) = self.waiting.pop_front() else { return Ok(None) };
                self.open = Some(self.open_segment(planned)?);
            }
            let Some(open) = &mut self.open else { continue };
            let name = open.planned.name.to_string();
            let Some(batch) = open.reader.next() else {
                self.open = None;
                continue;
            };
            let batch = batch.map_err(|error| self.changed(&name, error.to_string()))?;
            let Some(open) = &self.open else { continue };
            let chunk = self.chunk(open, &batch).map_err(|reason| self.changed(&name, reason))?;
            if !chunk.offset.is_empty() {
                self.latest = chunk.arrival.last().copied().unwrap_or(self.latest);
                return Ok(Some(chunk));
            }
        }
    }

    fn changed(&self, name: &str, reason: String) -> HistoryError {
        HistoryError::Changed { segment: format!("{}/{name}", self.place), reason }
    }

    fn open_segment(&self, planned: Planned) -> Result<OpenSegment, HistoryError> {
        let name = planned.name.to_string();
        let changed = |reason: String| self.changed(&name, reason);
        let location = self.history.location(&self.place, &planned.name);
        let bytes = self.history.objects.get(&location)?.ok_or_else(|| changed("it is gone".into()))?;
        let checked = check(&bytes, &self.history.identity, &self.place, &planned.name).map_err(changed)?;
        let schema = checked.metadata.schema().clone();
        let origins = origins(&schema, &self.stream).map_err(changed)?;
        let mut roots: Vec<usize> = [OFFSET_COLUMN, TIMESTAMP_COLUMN, ARRIVAL_COLUMN]
            .iter()
            .filter_map(|name| schema.index_of(name).ok())
            .collect();
        for (column, origin) in origins.iter().enumerate() {
            if let (true, ColumnOrigin::Same(index) | ColumnOrigin::Widened(index)) =
                (self.reads(column), origin)
            {
                roots.push(*index);
            }
        }
        let builder = ParquetRecordBatchReaderBuilder::new_with_metadata(bytes, checked.metadata);
        let mask = ProjectionMask::roots(builder.parquet_schema(), roots);
        let reader = builder.with_projection(mask).with_batch_size(BATCH_ROWS).build();
        let reader = reader.map_err(|error| changed(error.to_string()))?;
        Ok(OpenSegment { planned, reader, origins })
    }

    /// The event time is read in any case.
    fn reads(&self, column: usize) -> bool {
        column == self.stream.event_time || self.used.get(column).copied().unwrap_or(false)
    }

    /// The rows of a batch whose offsets are to be taken.
    fn chunk(&self, open: &OpenSegment, batch: &arrow::record_batch::RecordBatch) -> Result<Chunk, String> {
        let offsets = int64(batch, OFFSET_COLUMN).ok_or("it has no offsets")?;
        let first = offsets.values().partition_point(|offset| *offset < open.planned.offsets.start.0);
        let behind = offsets.values().partition_point(|offset| *offset < open.planned.offsets.end.0);
        let batch = batch.slice(first, behind.saturating_sub(first));
        let offsets = int64(&batch, OFFSET_COLUMN).ok_or("it has no offsets")?.values().clone();
        let arrivals = int64(&batch, ARRIVAL_COLUMN).ok_or("it has no arrivals")?;
        let timestamps = batch.column_by_name(TIMESTAMP_COLUMN).ok_or("it has no timestamps")?;
        let timestamps =
            timestamps.as_primitive_opt::<TimestampMicrosecondType>().ok_or("it has no timestamps")?;
        let mut columns = Vec::with_capacity(open.origins.len());
        for (column, origin) in open.origins.iter().enumerate() {
            let field = self.stream.schema.field(column);
            let array = || batch.column_by_name(field.name()).cloned().ok_or("a column is gone");
            columns.push(match origin {
                _ if !self.reads(column) => None,
                ColumnOrigin::Absent => Some(new_null_array(field.data_type(), batch.num_rows())),
                ColumnOrigin::Same(_) => Some(array()?),
                ColumnOrigin::Widened(_) => {
                    Some(cast(&array()?, field.data_type()).map_err(|error| error.to_string())?)
                }
            });
        }
        let times = columns.get(self.stream.event_time).and_then(Option::as_ref);
        let times = times.and_then(|times| times.as_primitive_opt::<TimestampMicrosecondType>());
        let event_time = times.ok_or("it has no event times")?.values().clone();
        let timestamp = match timestamps.null_count() {
            0 => timestamps.values().to_vec(),
            _ => timestamps.iter().map(|time| time.unwrap_or(i64::MIN)).collect(),
        };
        let mut latest = self.latest;
        let arrival = arrivals.values().iter().map(|arrival| {
            latest = latest.max(*arrival);
            latest
        });
        Ok(Chunk { arrival: arrival.collect(), columns, offset: offsets, event_time, timestamp })
    }
}

/// Puts the partitions' rows in one order.
struct Merge {
    sources: Vec<PartitionRows>,
    heads: Vec<Option<Head>>,
    partitions: Partitions,
    /// The columns of each stream in a batch that has none of its rows.
    empty: Vec<Vec<Option<ArrayRef>>>,
}

struct Head {
    chunk: Arc<Chunk>,
    next: usize,
}

/// Rows of one chunk that follow each other in the batch too.
struct Piece {
    source: usize,
    chunk: Arc<Chunk>,
    start: usize,
    end: usize,
}

impl Merge {
    fn run(mut self, batches: &Sender<Result<DecodedBatch, HistoryError>>) {
        if let Err(error) = self.merge(batches) {
            // Whoever took the batches may have gone: then nobody needs the error.
            let _ = batches.send(Err(error));
        }
    }

    fn merge(&mut self, batches: &Sender<Result<DecodedBatch, HistoryError>>) -> Result<(), HistoryError> {
        let mut order = BinaryHeap::new();
        for source in 0..self.sources.len() {
            self.heads.push(None);
            order.extend(self.refill(source)?.map(|arrival| Reverse((arrival, source))));
        }
        let mut pieces = Vec::new();
        let mut rows = 0;
        while let Some(Reverse((_, source))) = order.pop() {
            let other = order.peek().map_or((i64::MAX, usize::MAX), |Reverse(other)| *other);
            let Some(head) = self.heads[source].as_mut() else { continue };
            let rest = &head.chunk.arrival[head.next..];
            let run = rest.partition_point(|arrival| (*arrival, source) <= other);
            let run = run.clamp(1, BATCH_ROWS - rows);
            let (start, end) = (head.next, head.next + run);
            pieces.push(Piece { source, chunk: head.chunk.clone(), start, end });
            rows += run;
            head.next = end;
            let next = match head.chunk.arrival.get(end) {
                Some(arrival) => Some(*arrival),
                None => self.refill(source)?,
            };
            order.extend(next.map(|arrival| Reverse((arrival, source))));
            if rows == BATCH_ROWS {
                if batches.send(self.batch(&pieces)).is_err() {
                    return Ok(());
                }
                pieces.clear();
                rows = 0;
            }
        }
        if rows > 0 {
            let _ = batches.send(self.batch(&pieces));
        }
        Ok(())
    }

    /// Reads on in a partition; its next arrival, or none at its end.
    fn refill(&mut self, source: usize) -> Result<Option<i64>, HistoryError> {
        let chunk = self.sources[source].next_chunk()?;
        let first = chunk.as_ref().and_then(|chunk| chunk.arrival.first().copied());
        self.heads[source] = chunk.map(|chunk| Head { chunk: Arc::new(chunk), next: 0 });
        Ok(first)
    }

    fn batch(&self, pieces: &[Piece]) -> Result<DecodedBatch, HistoryError> {
        let mut rows = Rows { partitions: self.partitions.clone(), ..Rows::default() };
        let empty = self.empty.iter().cloned();
        let mut streams: Vec<StreamRows> =
            empty.map(|columns| StreamRows { rows: Vec::new(), columns }).collect();
        for piece in pieces {
            let source = &self.sources[piece.source];
            let first = rows.event_time.len() as u32;
            let range = piece.start..piece.end;
            streams[source.stream_index].rows.extend(first..first + range.len() as u32);
            rows.event_time.extend_from_slice(&piece.chunk.event_time[range.clone()]);
            rows.offset.extend_from_slice(&piece.chunk.offset[range.clone()]);
            rows.timestamp.extend_from_slice(&piece.chunk.timestamp[range.clone()]);
            rows.partition.resize(rows.partition.len() + range.len(), source.index);
        }
        for (index, stream) in streams.iter_mut().enumerate() {
            let own = pieces.iter().filter(|piece| self.sources[piece.source].stream_index == index);
            let own: Vec<&Piece> = own.collect();
            for (number, column) in stream.columns.iter_mut().enumerate().filter(|_| !own.is_empty()) {
                *column = gather(&own, number).map_err(|error| HistoryError::Store {
                    attempt: "putting the rows of partitions in order".to_owned(),
                    reason: error.to_string(),
                })?;
            }
        }
        Ok(DecodedBatch { rows, streams, dead_letters: Vec::new() })
    }
}

/// One column of all pieces, end to end.
fn gather(pieces: &[&Piece], column: usize) -> Result<Option<ArrayRef>, ArrowError> {
    let array = |piece: &Piece| piece.chunk.columns.get(column).cloned().flatten();
    if let [piece] = pieces {
        return Ok(array(piece).map(|array| array.slice(piece.start, piece.end - piece.start)));
    }
    let mut data: Vec<ArrayData> = Vec::new();
    let mut places = Vec::with_capacity(pieces.len());
    let mut known: Vec<(*const Chunk, usize)> = Vec::new();
    for piece in pieces {
        let address = Arc::as_ptr(&piece.chunk);
        let place = match known.iter().find(|(chunk, _)| *chunk == address) {
            Some((_, place)) => *place,
            None => {
                // A column is read in all chunks of a stream, or in none.
                let Some(array) = array(piece) else { return Ok(None) };
                data.push(array.to_data());
                known.push((address, data.len() - 1));
                data.len() - 1
            }
        };
        places.push(place);
    }
    let rows = pieces.iter().map(|piece| piece.end - piece.start).sum();
    let mut gathered = MutableArrayData::new(data.iter().collect(), false, rows);
    for (piece, place) in pieces.iter().zip(places) {
        gathered.try_extend(place, piece.start, piece.end)?;
    }
    Ok(Some(make_array(gathered.freeze())))
}
