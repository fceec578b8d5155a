//! Small neighbouring segments of a partition become one.
//!
//! The new segment is written before the old ones are deleted. A process that dies in between leaves an
//! overlap, which planning resolves.

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use super::History;
use super::contract::contract_id;
use super::name::{Place, Segment};
use super::segment::{Covered, check, encode};
use crate::event::{Offset, Stream};

/// The newest of a partition's segments that touch each other and `until`, as long as they are small.
pub(super) fn small_tail(mut segments: Vec<Segment>, until: Offset, rows_max: usize) -> Vec<Segment> {
    segments.retain(|segment| segment.name.to <= until && !segment.name.carried);
    let mut end = until;
    let newest_first = segments.into_iter().rev();
    let mut tail: Vec<Segment> = newest_first
        .take_while(|segment| {
            let touches = segment.name.to == end && segment.name.rows < rows_max as u64;
            end = segment.name.from;
            touches
        })
        .collect();
    tail.reverse();
    tail
}

/// Writes segments that touch each other as one and deletes them; nothing is done for fewer than two, or
/// where they can't be merged (another contract, a fault), which costs no more than their number.
pub(super) fn merge(
    history: &History,
    place: &Place,
    stream: &Stream,
    schema: &SchemaRef,
    segments: &[Segment],
) -> Result<Option<Segment>, String> {
    let [first, .., last] = segments else { return Ok(None) };
    let mut batches: Vec<RecordBatch> = Vec::new();
    for segment in segments {
        let location = history.location(place, &segment.name);
        let bytes = history.objects.get(&location).map_err(|error| error.to_string())?;
        // Somebody else merged or pruned it.
        let Some(bytes) = bytes else { return Ok(None) };
        let wrong = |reason: String| format!("{location} can't be merged: {reason}");
        let checked = check(&bytes, &history.identity, place, &segment.name).map_err(wrong)?;
        if checked.contract != contract_id(stream) {
            return Ok(None);
        }
        let reader = ParquetRecordBatchReaderBuilder::new_with_metadata(bytes, checked.metadata).build();
        let reader = reader.map_err(|error| wrong(error.to_string()))?;
        for batch in reader {
            let batch = batch.map_err(|error| wrong(error.to_string()))?;
            let batch = RecordBatch::try_new(schema.clone(), batch.columns().to_vec());
            batches.push(batch.map_err(|error| wrong(error.to_string()))?);
        }
    }
    let offsets = first.name.from..last.name.to;
    let covered = Covered { offsets, floor: first.name.floor, carried: None };
    let encoded = encode(&history.identity, place, stream, &covered, (schema, &batches))?;
    let location = history.location(place, &encoded.name);
    let bytes = encoded.bytes.len() as u64;
    history.objects.put(&location, encoded.bytes).map_err(|error| error.to_string())?;
    for segment in segments {
        history.objects.delete(&history.location(place, &segment.name)).map_err(|error| error.to_string())?;
    }
    Ok(Some(Segment { name: encoded.name, bytes }))
}
