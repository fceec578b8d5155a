//! One record that the history holds, by which a topic is known again.

use arrow::array::Array;
use arrow::array::AsArray;
use arrow::datatypes::TimestampMicrosecondType;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use super::History;
use super::contract::{OFFSET_COLUMN, TIMESTAMP_COLUMN};
use super::error::HistoryError;
use super::name::{Place, Segment};
use super::segment::{check, int64};
use crate::event::{Offset, Partition};

/// How many segments are tried: damaged ones say nothing.
const SEGMENTS_MAX: usize = 3;

/// Offset and Kafka timestamp (microseconds) of the newest record below an offset that the history can prove.
pub(super) fn newest(
    history: &History,
    partition: &Partition,
    generation: u32,
    below: Offset,
) -> Result<Option<(Offset, i64)>, HistoryError> {
    let place = Place { partition: partition.clone(), generation };
    let segments = history.segments(partition, generation)?;
    let holding = segments.iter().rev().filter(|segment| segment.name.from < below && segment.name.rows > 0);
    for segment in holding.take(SEGMENTS_MAX) {
        if let Some(found) = newest_in(history, &place, segment, below)? {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

fn newest_in(
    history: &History,
    place: &Place,
    segment: &Segment,
    below: Offset,
) -> Result<Option<(Offset, i64)>, HistoryError> {
    let Some(bytes) = history.objects.get(&history.location(place, &segment.name))? else { return Ok(None) };
    let Ok(checked) = check(&bytes, &history.identity, place, &segment.name) else { return Ok(None) };
    let builder = ParquetRecordBatchReaderBuilder::new_with_metadata(bytes, checked.metadata);
    let wanted = ProjectionMask::columns(builder.parquet_schema(), [OFFSET_COLUMN, TIMESTAMP_COLUMN]);
    let Ok(reader) = builder.with_projection(wanted).build() else { return Ok(None) };
    let mut newest = None;
    for batch in reader.map_while(Result::ok) {
        let Some(offsets) = int64(&batch, OFFSET_COLUMN) else { continue };
        let Some(times) = batch.column_by_name(TIMESTAMP_COLUMN) else { continue };
        let Some(times) = times.as_primitive_opt::<TimestampMicrosecondType>() else { continue };
        let rows = offsets.values().partition_point(|offset| *offset < below.0);
        let last = (0..rows).rev().find(|row| !times.is_null(*row));
        newest = last.map(|row| (Offset(offsets.value(row)), times.value(row))).or(newest);
    }
    Ok(newest)
}
