//! Looking at a history: what it lists, and whether all of it holds.
//!
//! Reads every segment once, and those that overlap once more. What is found costs time at the next start
//! and nothing else; an overlap whose rows differ is the one finding that should not be possible.

use std::collections::BTreeMap;

use arrow::array::Array;
use arrow::record_batch::RecordBatch;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde::Serialize;

use super::contract::{ARRIVAL_COLUMN, OFFSET_COLUMN};
use super::error::HistoryError;
use super::name::{Place, Segment, SegmentName};
use super::segment::{check, event_times, int64};
use super::{History, MARKER};
use crate::event::{Offset, Partition};

/// Something that does not hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The object's name below the root.
    pub object: String,
    /// What is wrong with it.
    pub fault: String,
}

/// What a verification saw.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Verified {
    /// Segments read.
    pub segments: u64,
    /// Rows in them.
    pub rows: u64,
    /// Bytes read.
    pub bytes: u64,
    /// Everything that does not hold.
    pub findings: Vec<Finding>,
}

/// All objects of a history.
#[derive(Debug, Default)]
pub(super) struct Listing {
    pub(super) places: BTreeMap<Place, Vec<Segment>>,
    /// Names of objects that are no segments.
    pub(super) strangers: Vec<String>,
}

pub(super) fn list(history: &History) -> Result<Listing, HistoryError> {
    let mut listing = Listing::default();
    for object in history.objects.list(&history.objects.at([]))? {
        let parts = history.objects.parts(&object.location).unwrap_or_default();
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        match place_and_name(&parts) {
            Some((place, name)) => {
                listing.places.entry(place).or_default().push(Segment { name, bytes: object.size });
            }
            None if parts == [MARKER] => {}
            None => listing.strangers.push(parts.join("/")),
        }
    }
    listing.places.values_mut().for_each(|segments| segments.sort_by(|a, b| a.name.cmp(&b.name)));
    Ok(listing)
}

fn place_and_name(parts: &[&str]) -> Option<(Place, SegmentName)> {
    let [topic, generation, partition, name] = parts else { return None };
    let partition = Partition { topic: (*topic).into(), partition: partition.parse().ok()? };
    let place = Place { partition, generation: generation.parse().ok()? };
    Some((place, SegmentName::parse(name)?))
}

pub(super) fn verify(history: &History) -> Result<Verified, HistoryError> {
    let listing = list(history)?;
    let mut verified = Verified::default();
    for object in listing.strangers {
        verified.findings.push(Finding { object, fault: "it is not the name of a segment".to_owned() });
    }
    for (place, segments) in &listing.places {
        let mut before: Option<(&SegmentName, RecordBatch)> = None;
        for segment in segments {
            let object = format!("{place}/{}", segment.name);
            let rows = match read(history, place, &segment.name)? {
                Ok(rows) => rows,
                Err(fault) => {
                    verified.findings.push(Finding { object, fault });
                    continue;
                }
            };
            verified.segments += 1;
            verified.rows += segment.name.rows;
            verified.bytes += segment.bytes;
            if segment.name.carried {
                continue;
            }
            if let Some((other, other_rows)) = &before
                && let Err(fault) = agree((other, other_rows), (&segment.name, &rows))
            {
                verified.findings.push(Finding { object, fault });
            }
            if before.as_ref().is_none_or(|(other, _)| other.to <= segment.name.to) {
                before = Some((&segment.name, rows));
            }
        }
    }
    Ok(verified)
}

/// All rows of a segment, or what is wrong with it.
fn read(
    history: &History,
    place: &Place,
    name: &SegmentName,
) -> Result<Result<RecordBatch, String>, HistoryError> {
    let Some(bytes) = history.objects.get(&history.location(place, name))? else {
        return Ok(Err("it is gone".to_owned()));
    };
    let rows = || -> Result<RecordBatch, String> {
        let checked = check(&bytes, &history.identity, place, name)?;
        let schema = checked.metadata.schema().clone();
        let reader = ParquetRecordBatchReaderBuilder::new_with_metadata(bytes, checked.metadata).build();
        let batches: Result<Vec<RecordBatch>, _> = reader.map_err(|error| error.to_string())?.collect();
        let batches = batches.map_err(|error| format!("its rows can't be read: {error}"))?;
        let rows = arrow::compute::concat_batches(&schema, &batches).map_err(|error| error.to_string())?;
        hold(&rows, name, &checked.event_time).map(|()| rows)
    };
    Ok(rows())
}

/// Checks the rows against the name.
fn hold(rows: &RecordBatch, name: &SegmentName, event_time: &str) -> Result<(), String> {
    let offsets = int64(rows, OFFSET_COLUMN).ok_or("it has no column `_offset`")?.values();
    int64(rows, ARRIVAL_COLUMN).ok_or("it has no column `_arrival`")?;
    if let Some(pair) = offsets.windows(2).find(|pair| pair[0] >= pair[1]) {
        return Err(format!("the offset {} stands before {}", pair[0], pair[1]));
    }
    let outside = |offset: &&i64| **offset < name.from.0 || **offset >= name.to.0;
    if let Some(offset) = offsets.iter().find(outside) {
        return Err(format!("the offset {offset} is not one that it covers"));
    }
    let column = rows.schema().index_of(event_time).map_err(|error| error.to_string())?;
    let times = event_times(rows, column);
    if times != name.times {
        return Err(format!("its event times are {times:?}, and its name says {:?}", name.times));
    }
    Ok(())
}

/// Checks that two segments, the first of which begins first, have the same rows where both cover.
fn agree(first: (&SegmentName, &RecordBatch), second: (&SegmentName, &RecordBatch)) -> Result<(), String> {
    let common = second.0.from..first.0.to.min(second.0.to);
    if common.is_empty() || first.1.schema().fields() != second.1.schema().fields() {
        return Ok(());
    }
    let part = |rows: &RecordBatch| -> Option<RecordBatch> {
        let offsets = int64(rows, OFFSET_COLUMN)?.values();
        let at = |bound: Offset| offsets.partition_point(|offset| *offset < bound.0);
        let rows = rows.slice(at(common.start), at(common.end) - at(common.start));
        let kept: Vec<usize> = (0..rows.num_columns())
            // The same rows may have arrived a second time.
            .filter(|column| rows.schema().field(*column).name() != ARRIVAL_COLUMN)
            .collect();
        rows.project(&kept).ok()
    };
    let (ours, theirs) = (part(first.1), part(second.1));
    let same = ours.zip(theirs).is_some_and(|(ours, theirs)| {
        ours.columns().iter().zip(theirs.columns()).all(|(a, b)| a.to_data() == b.to_data())
            && ours.num_rows() == theirs.num_rows()
    });
    if same {
        return Ok(());
    }
    Err(format!("its rows from {} to {} differ from those of {}", common.start.0, common.end.0, first.0))
}
