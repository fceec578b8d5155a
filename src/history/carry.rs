//! Old segments are let go of, and what windows without a bound in time still need of them is written on.
//!
//! Takes the time before which no other window needs anything; deletes the oldest segments of a partition, all rows of
//! which are earlier. Rows that [`Carrier`] picks out of them go on in one carry-over a partition, together with those
//! of the carry-over before. It is durable before anything is deleted: a process that dies in between leaves an overlap,
//! which planning resolves. It is written anew only once there is as much to carry as it holds, so that a row is written
//! a few times at most however long the job runs. Where an old segment can't be read, or older rows are not there, all
//! stays as it is.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BooleanArray, new_null_array};
use arrow::compute::{cast, filter_record_batch};
use arrow::datatypes::{SchemaRef, TimestampMicrosecondType};
use arrow::record_batch::RecordBatch;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use super::History;
use super::contract::{ColumnOrigin, OFFSET_COLUMN, origins};
use super::name::{Place, Segment, SegmentName};
use super::segment::{CarriedFor, Checked, Covered, check, encode, int64};
use crate::decode::{DecodedBatch, Rows, StreamRows};
use crate::event::{Contract, Offset, Partition, crash_point};
use crate::graph::{Carrier, LastRows, Lasting, Picking};

/// What the history need not keep any more.
#[derive(Debug, Clone)]
pub struct Old {
    /// Rows of an earlier event time are needed by windows without a bound in time only, microseconds.
    pub before: i64,
    /// For each partition, the offset below which this holds: nothing is read again from there.
    pub read: BTreeMap<Partition, Offset>,
    /// Says which of those rows windows without a bound in time need.
    pub carrier: Arc<Carrier>,
}

/// The contract under which rows are written on.
pub(super) struct Under<'a> {
    pub(super) contract: &'a Contract,
    /// Index of the partition's stream.
    pub(super) stream: usize,
    pub(super) schema: &'a SchemaRef,
}

/// The segments of a partition.
struct Front {
    /// The oldest whose rows are all old, ascending and without a gap.
    old: Vec<SegmentName>,
    /// The carry-over that reaches furthest.
    carried: Option<Source>,
    /// What a carry-over made needless, and a process that died left behind.
    needless: Vec<SegmentName>,
}

/// Lets go of what is old below `until`; which segments were deleted.
pub(super) fn prune(
    history: &History,
    place: &Place,
    under: &Under<'_>,
    (old, until): (&Old, Offset),
) -> Result<BTreeSet<SegmentName>, String> {
    let said = |error: super::HistoryError| error.to_string();
    let needs = match old.carrier.lasting(under.stream) {
        Lasting::Everything => return Ok(BTreeSet::new()),
        Lasting::Nothing => None,
        Lasting::Last(needs) => Some(needs),
    };
    let segments = history.segments(&place.partition, place.generation).map_err(said)?;
    let front = Front::of(history, place, segments, (old.before, until));
    let mut deleted: BTreeSet<SegmentName> = front.needless.iter().cloned().collect();
    let deletes_front = match &needs {
        Some(needs) => carry(history, place, under, (&front, old, needs.as_slice()))?,
        None => true,
    };
    if deletes_front {
        deleted.extend(front.old.into_iter().chain(front.carried.map(|source| source.name)));
    }
    for name in &deleted {
        history.objects.delete(&history.location(place, name)).map_err(said)?;
    }
    Ok(deleted)
}

impl Front {
    fn of(history: &History, place: &Place, segments: Vec<Segment>, (before, until): (i64, Offset)) -> Self {
        let (mut needless, whole): (Vec<SegmentName>, Vec<SegmentName>) =
            segments.into_iter().map(|segment| segment.name).partition(|name| name.carried);
        needless.sort_by_key(|name| std::cmp::Reverse((name.to, name.floor)));
        let carried = needless.iter().find_map(|name| open(history, place, name).ok());
        let reaching = carried.as_ref().map(|source| source.name.clone());
        needless.retain(|name| Some(name) != reaching.as_ref());
        let newest = whole.iter().map(|name| name.to).max();
        let is_old = |name: &SegmentName| {
            name.times.is_none_or(|(_, latest)| latest < before)
                && name.to <= until
                && Some(name.to) != newest
        };
        let mut end = reaching.as_ref().map(|name| name.to);
        let mut old = Vec::new();
        for name in whole {
            if reaching.as_ref().is_some_and(|reaching| reaching.from <= name.from && reaching.to >= name.to)
            {
                needless.push(name);
            } else if is_old(&name) && end.is_none_or(|end| name.from <= end) {
                end = end.max(Some(name.to));
                old.push(name);
            } else {
                break;
            }
        }
        Self { old, carried, needless }
    }
}

/// Writes the rows that are still needed on, where that is due; whether what they come from may be deleted.
fn carry(
    history: &History,
    place: &Place,
    under: &Under<'_>,
    (front, old, needs): (&Front, &Old, &[LastRows]),
) -> Result<bool, String> {
    let before = front.carried.as_ref().map(|source| &source.name);
    let Some(first) = before.or(front.old.first()) else { return Ok(false) };
    // Without a carry-over before it, the first segment must be the first of all.
    if before.is_none() && first.from.0 != 0 && first.floor != i64::MIN {
        return Ok(false);
    }
    let carried = carried_for(needs, front.carried.as_ref());
    let rows: u64 = front.old.iter().map(|name| name.rows).sum();
    let due = front.carried.as_ref().is_none_or(|source| {
        let asked_anew = carried.iter().any(|own| !source.checked.carried.contains(own));
        asked_anew || !front.old.is_empty() && rows >= source.name.rows
    });
    if !due {
        return Ok(false);
    }
    let to = front.old.last().map_or(first.to, |last| last.to);
    let floor = before.map_or(old.before, |name| name.floor.max(old.before));
    let batches = pick(history, place, under, (front, old.carrier.pick(floor)))?;
    let covered = Covered { offsets: first.from..to, floor, carried: Some(carried) };
    let stream = &under.contract.streams[under.stream];
    let encoded = encode(&history.identity, place, stream, &covered, (under.schema, &batches))?;
    crash_point("before-carry-over");
    let written = history.objects.put(&history.location(place, &encoded.name), encoded.bytes);
    written.map_err(|error| error.to_string())?;
    crash_point("after-carry-over");
    Ok(true)
}

/// What the next carry-over is for: what the one before lacks is whole only from the time before which it holds no more
/// than it was asked for.
fn carried_for(needs: &[LastRows], before: Option<&Source>) -> Vec<CarriedFor> {
    let since = |need: &LastRows| {
        let before = before?;
        let known = before.checked.carried.iter().find(|known| known.serves(need));
        known.map_or(Some(before.name.floor), |known| known.since)
    };
    needs.iter().map(|need| CarriedFor { last: need.clone(), since: since(need) }).collect()
}

/// The rows that are still needed, ascending by offset.
fn pick(
    history: &History,
    place: &Place,
    under: &Under<'_>,
    (front, mut picking): (&Front, Picking<'_>),
) -> Result<Vec<RecordBatch>, String> {
    let mut picked = Vec::new();
    // From the newest on: what is picked of a segment depends on what stands behind it.
    let mut end = Offset(i64::MAX);
    for name in front.old.iter().rev() {
        let source = open(history, place, name)?;
        picked.extend(source.needed(under, (end, place), &mut picking)?);
        end = name.from;
    }
    if let Some(source) = &front.carried {
        picked.extend(source.needed(under, (end, place), &mut picking)?);
    }
    picked.reverse();
    Ok(picked)
}

/// A segment that is what its name says.
struct Source {
    name: SegmentName,
    bytes: bytes::Bytes,
    checked: Checked,
}

fn open(history: &History, place: &Place, name: &SegmentName) -> Result<Source, String> {
    let wrong = |reason: String| format!("{place}/{name} can't be carried over: {reason}");
    let bytes = history.objects.get(&history.location(place, name)).map_err(|error| error.to_string())?;
    let bytes = bytes.ok_or_else(|| wrong("it is gone".to_owned()))?;
    let checked = check(&bytes, &history.identity, place, name).map_err(wrong)?;
    Ok(Source { name: name.clone(), bytes, checked })
}

impl Source {
    /// The rows that are needed of those below an offset, under today's contract, the newest batch first.
    fn needed(
        &self,
        under: &Under<'_>,
        (end, place): (Offset, &Place),
        picking: &mut Picking<'_>,
    ) -> Result<Vec<RecordBatch>, String> {
        let wrong = |reason: String| format!("{place}/{} can't be carried over: {reason}", self.name);
        let (bytes, metadata) = (self.bytes.clone(), self.checked.metadata.clone());
        let stream = &under.contract.streams[under.stream];
        let origins = origins(metadata.schema(), stream).map_err(wrong)?;
        let reader = ParquetRecordBatchReaderBuilder::new_with_metadata(bytes, metadata).build();
        let batches: Result<Vec<RecordBatch>, _> =
            reader.map_err(|error| wrong(error.to_string()))?.collect();
        let mut picked = Vec::new();
        for batch in batches.map_err(|error| wrong(error.to_string()))?.iter().rev() {
            let column = int64(batch, OFFSET_COLUMN).ok_or_else(|| wrong("it has no offsets".to_owned()))?;
            let below = column.values().partition_point(|offset| *offset < end.0);
            let batch = under.today(&batch.slice(0, below), &origins).map_err(wrong)?;
            let decoded = under.decoded(&batch, place).ok_or_else(|| wrong("it has no times".to_owned()))?;
            let needed = picking.needed(&decoded).map_err(|error| wrong(error.to_string()))?;
            let needed = BooleanArray::new(needed, None);
            let batch = filter_record_batch(&batch, &needed).map_err(|error| wrong(error.to_string()))?;
            if batch.num_rows() > 0 {
                picked.push(batch);
            }
        }
        Ok(picked)
    }
}

impl Under<'_> {
    /// Rows of a segment with today's columns.
    fn today(&self, batch: &RecordBatch, origins: &[ColumnOrigin]) -> Result<RecordBatch, String> {
        let own = self.schema.fields().iter().skip(origins.len());
        let mut columns: Vec<ArrayRef> = Vec::with_capacity(self.schema.fields().len());
        for (origin, field) in origins.iter().zip(self.schema.fields()) {
            columns.push(match origin {
                ColumnOrigin::Absent => new_null_array(field.data_type(), batch.num_rows()),
                ColumnOrigin::Same(index) => Arc::clone(batch.column(*index)),
                ColumnOrigin::Widened(index) => {
                    cast(batch.column(*index), field.data_type()).map_err(|error| error.to_string())?
                }
            });
        }
        for field in own {
            let column = batch.column_by_name(field.name()).ok_or("a column is gone")?;
            columns.push(Arc::clone(column));
        }
        RecordBatch::try_new(self.schema.clone(), columns).map_err(|error| error.to_string())
    }

    /// The same as the engine takes them.
    fn decoded(&self, batch: &RecordBatch, place: &Place) -> Option<DecodedBatch> {
        let stream = &self.contract.streams[self.stream];
        let times = batch.column(stream.event_time).as_primitive_opt::<TimestampMicrosecondType>()?;
        let count = u32::try_from(batch.num_rows()).ok()?;
        let rows = Rows {
            partitions: Arc::new(vec![crate::source::SourcePartition {
                partition: place.partition.clone(),
                stream: self.stream,
            }]),
            event_time: times.values().to_vec(),
            offset: int64(batch, OFFSET_COLUMN)?.values().to_vec(),
            timestamp: vec![i64::MIN; batch.num_rows()],
            partition: vec![0; batch.num_rows()],
            ..Rows::default()
        };
        let mut streams = vec![StreamRows::default(); self.contract.streams.len()];
        let own = batch.columns().iter().take(stream.schema.fields().len());
        streams[self.stream] =
            StreamRows { rows: (0..count).collect(), columns: own.cloned().map(Some).collect() };
        Some(DecodedBatch { rows, streams, dead_letters: Vec::new() })
    }
}
