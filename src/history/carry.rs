//! Old segments are let go of, and what windows without a bound in time still need of them is written on.
//!
//! Takes the time before which no other window needs anything; deletes the oldest segments of a partition, all rows of
//! which are earlier. Rows that [`Carrier`] picks out of them go on in one carry-over a partition, together with those
//! of the carry-over before. It is durable before anything is deleted: a process that dies in between leaves an overlap,
//! which planning resolves. It is written anew only once there is as much to carry as it holds, so that a row is written
//! a few times at most however long the job runs. Where an old segment can't be read, and its rows were not written again,
//! all stays as it is. Where older
//! rows are not there, the carry-over says from when on it is whole; it is made anew once they were read from the topic.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
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
#[derive(Default)]
struct Front {
    /// Those whose rows are all old, ascending by their ends.
    old: Vec<SegmentName>,
    /// The carry-over that goes on in the next one.
    carried: Option<Source>,
    /// The carry-over that the next one stands for without reading it.
    replaced: Option<SegmentName>,
    /// What a carry-over made needless, and a process that died left behind.
    needless: Vec<SegmentName>,
    /// Rows earlier than this may be missing before an old segment, microseconds: a history that begins later than its
    /// topic, or rows that were let go. `i64::MAX` where nothing is known of them.
    missing: Option<i64>,
}

/// A carry-over that was proven, and holds all that was asked of it then: it is not read again before it is due.
pub(super) type Proven = Option<(SegmentName, Vec<LastRows>)>;

/// Lets go of what is old below `until`; which segments were deleted.
pub(super) fn prune(
    history: &History,
    place: &Place,
    under: &Under<'_>,
    (old, until, proven): (&Old, Offset, &mut Proven),
) -> Result<BTreeSet<SegmentName>, String> {
    let said = |error: super::HistoryError| error.to_string();
    let needs = match old.carrier.lasting(under.stream) {
        Lasting::Everything => return Ok(BTreeSet::new()),
        Lasting::Nothing => Vec::new(),
        Lasting::Last(needs) => needs,
    };
    let segments = history.segments(&place.partition, place.generation).map_err(said)?;
    let names = Names::of(segments, (old.before, until));
    if let Some((name, asked)) = proven
        && *asked == needs
        && !names.is_due(name)
    {
        return Ok(BTreeSet::new());
    }
    let front = Front::of(history, place, names, &needs)?;
    let mut deleted: BTreeSet<SegmentName> = front.needless.iter().cloned().collect();
    *proven = front.proven(&needs);
    if needs.is_empty() || carry(history, place, under, (&front, old, &needs))? {
        *proven = None;
        deleted.extend(front.old.into_iter().chain(front.carried.map(|source| source.name)));
        deleted.extend(front.replaced);
    }
    for name in &deleted {
        history.objects.delete(&history.location(place, name)).map_err(said)?;
    }
    Ok(deleted)
}

/// What a partition's segments are by their names.
struct Names {
    /// The carry-overs, first the one that reaches furthest.
    carried: Vec<SegmentName>,
    /// The others, ascending by offset.
    whole: Vec<SegmentName>,
    before: i64,
    until: Offset,
}

impl Names {
    fn of(segments: Vec<Segment>, (before, until): (i64, Offset)) -> Self {
        let (mut carried, whole): (Vec<SegmentName>, Vec<SegmentName>) =
            segments.into_iter().map(|segment| segment.name).partition(|name| name.carried);
        carried.sort_by_key(|name| std::cmp::Reverse((name.to, name.floor)));
        Self { carried, whole, before, until }
    }

    /// Whether there is as much to carry as a carry-over holds, or it is not the only one.
    fn is_due(&self, carried: &SegmentName) -> bool {
        let old = self.behind(Some(carried)).old;
        let rows: u64 = old.iter().map(|name| name.rows).sum();
        self.carried.as_slice() != std::slice::from_ref(carried) || !old.is_empty() && rows >= carried.rows
    }

    /// The old segments behind a carry-over, or from the topic's beginning on.
    fn behind(&self, carried: Option<&SegmentName>) -> Front {
        let newest = self.whole.iter().map(|name| name.to).max();
        let is_old = |name: &SegmentName| {
            name.times.is_none_or(|(_, latest)| latest < self.before)
                && name.to <= self.until
                && Some(name.to) != newest
        };
        let mut front = Front::default();
        let mut end = carried.map_or(Offset(0), |name| name.to);
        for name in &self.whole {
            let covered = carried.is_some_and(|carried| carried.from <= name.from && carried.to >= name.to);
            match (is_old(name), covered) {
                (true, true) => front.needless.push(name.clone()),
                (false, true) => {}
                (true, false) => {
                    if name.from > end && name.floor != i64::MIN {
                        front.missing = front.missing.max(Some(name.floor));
                    }
                    end = end.max(name.to);
                    front.old.push(name.clone());
                }
                (false, false) => break,
            }
        }
        front.old.sort_by_key(|name| (name.to, std::cmp::Reverse(name.from)));
        front
    }
}

impl Front {
    fn of(history: &History, place: &Place, names: Names, needs: &[LastRows]) -> Result<Self, String> {
        let whole = names.behind(None);
        if needs.is_empty() {
            return Ok(Self { needless: names.carried, ..whole });
        }
        let mut reaching = None;
        for name in &names.carried {
            match open(history, place, name)? {
                Ok(source) => {
                    reaching = Some(source);
                    break;
                }
                Err(reason) => tracing::warn!(%reason, "a carry-over of the history can't be used"),
            }
        }
        let Some(source) = reaching else { return Ok(whole) };
        // Only what is sound makes others needless.
        let others = names.carried.iter().filter(|name| **name != source.name && name.to <= source.name.to);
        let others: Vec<SegmentName> = others.cloned().collect();
        let lacks = carried_for(needs, Some(&source), None).iter().any(|own| own.since.is_some());
        let again = whole.missing.is_none() && whole.old.last().is_some_and(|last| last.to >= source.name.to);
        if lacks && again {
            // All rows were read from the topic again, those among them that it lacks.
            return Ok(Self { replaced: Some(source.name), needless: others, ..whole });
        }
        let mut front = names.behind(Some(&source.name));
        front.needless.extend(others);
        Ok(Self { carried: Some(source), ..front })
    }

    /// The carry-over that need not be read again before it is due.
    fn proven(&self, needs: &[LastRows]) -> Proven {
        let source = self.carried.as_ref()?;
        let whole = |need: &LastRows| {
            source.checked.carried.iter().any(|held| held.last == *need && held.since.is_none())
        };
        needs.iter().all(whole).then(|| (source.name.clone(), needs.to_vec()))
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
    let covered = || front.old.iter().chain(before);
    let (Some(from), Some(to)) = (covered().map(|name| name.from).min(), covered().map(|name| name.to).max())
    else {
        return Ok(false);
    };
    if front.missing == Some(i64::MAX) {
        return Ok(false);
    }
    let carried = carried_for(needs, front.carried.as_ref(), front.missing);
    let rows: u64 = front.old.iter().map(|name| name.rows).sum();
    let due = front.carried.as_ref().is_none_or(|source| {
        let asked_anew = carried.iter().any(|own| !source.checked.carried.contains(own));
        asked_anew || !front.old.is_empty() && rows >= source.name.rows
    });
    if !due {
        return Ok(false);
    }
    let floor = before.map_or(old.before, |name| name.floor.max(old.before));
    let batches = pick(history, place, under, (front, old.carrier.pick(floor)))?;
    let covered = Covered { offsets: from..to, floor, carried: Some(carried) };
    let stream = &under.contract.streams[under.stream];
    let encoded = encode(&history.identity, place, stream, &covered, (under.schema, &batches))?;
    crash_point("before-carry-over");
    let written = history.objects.put(&history.location(place, &encoded.name), encoded.bytes);
    written.map_err(|error| error.to_string())?;
    crash_point("after-carry-over");
    Ok(true)
}

/// What the next carry-over is for: what the one before lacks is whole only from the time before which it holds no more
/// than it was asked for, and so is everything where earlier rows are missing.
fn carried_for(needs: &[LastRows], before: Option<&Source>, missing: Option<i64>) -> Vec<CarriedFor> {
    let since = |need: &LastRows| {
        let before = before?;
        let known = before.checked.carried.iter().find(|known| known.serves(need));
        known.map_or(Some(before.name.floor), |known| known.since)
    };
    needs.iter().map(|need| CarriedFor { last: need.clone(), since: since(need).max(missing) }).collect()
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
    let mut sound: Vec<Range<Offset>> = Vec::new();
    let mut take = |source: &Source| -> Result<(), String> {
        picked.extend(source.needed(under, (end, place), &mut picking)?);
        end = end.min(source.name.from);
        sound.push(source.name.from..source.name.to);
        Ok(())
    };
    let mut damaged: Vec<(&SegmentName, String)> = Vec::new();
    let mut carried = front.carried.as_ref();
    for name in front.old.iter().rev() {
        if let Some(source) = carried.take_if(|source| source.name.to > name.to) {
            take(source)?;
        }
        match open(history, place, name)? {
            Ok(source) => take(&source)?,
            Err(reason) => damaged.push((name, reason)),
        }
    }
    carried.map_or(Ok(()), take)?;
    sound.sort_unstable_by_key(|range| range.start);
    for (name, reason) in damaged {
        // A restart read its rows from the topic and wrote them again.
        if !covers(&sound, name) {
            return Err(reason);
        }
    }
    picked.reverse();
    Ok(picked)
}

/// Whether ranges, ascending by their starts, have every offset of a segment.
fn covers(ranges: &[Range<Offset>], name: &SegmentName) -> bool {
    let reach = |reached: Offset, range: &Range<Offset>| {
        if range.start <= reached { reached.max(range.end) } else { reached }
    };
    ranges.iter().fold(name.from, reach) >= name.to
}

/// A segment that is what its name says.
struct Source {
    name: SegmentName,
    bytes: bytes::Bytes,
    checked: Checked,
}

/// Proves a segment; the outer error is the store's, which says nothing of the segment.
fn open(history: &History, place: &Place, name: &SegmentName) -> Result<Result<Source, String>, String> {
    let bytes = history.objects.get(&history.location(place, name)).map_err(|error| error.to_string())?;
    let checked = |bytes: bytes::Bytes| {
        let checked = check(&bytes, &history.identity, place, name)?;
        Ok(Source { name: name.clone(), bytes, checked })
    };
    let source = bytes.ok_or_else(|| "it is gone".to_owned()).and_then(checked);
    Ok(source.map_err(|reason| format!("{place}/{name} can't be carried over: {reason}")))
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
