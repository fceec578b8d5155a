//! A decoded batch, which holds rows of many partitions and streams, as one Arrow batch a partition.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, TimestampMicrosecondArray, UInt32Array};
use arrow::compute::take;
use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;

use crate::decode::{DecodedBatch, StreamRows};
use crate::event::Contract;

/// The rows of each partition (by its index in the batch's table) in order of arrival, under the segments'
/// schemas; `first_arrival` is the number of the batch's first row. Says why if the batch can't be kept.
pub(super) fn split(
    batch: &DecodedBatch,
    contract: &Contract,
    schemas: &[SchemaRef],
    first_arrival: i64,
) -> Result<BTreeMap<u32, RecordBatch>, String> {
    let mut pieces = BTreeMap::new();
    for ((stream, rows), schema) in contract.streams.iter().zip(&batch.streams).zip(schemas) {
        if rows.rows.is_empty() {
            continue;
        }
        let missing = rows.columns.iter().position(Option::is_none);
        if let Some(index) = missing.or((rows.columns.len() < stream.schema.fields().len()).then_some(0)) {
            return Err(format!(
                "the column `{}` of stream {} was not decoded, and a history keeps all columns",
                stream.schema.field(index).name(),
                stream.name
            ));
        }
        for (partition, positions) in by_partition(batch, rows) {
            let piece = piece(batch, rows, positions.as_deref(), schema, first_arrival);
            pieces.insert(partition, piece.map_err(|error| error.to_string())?);
        }
    }
    Ok(pieces)
}

/// Positions in the stream's columns by partition; none where all of them are of that partition.
fn by_partition(batch: &DecodedBatch, rows: &StreamRows) -> BTreeMap<u32, Option<Vec<u32>>> {
    let of = |row: u32| batch.rows.partition.get(row as usize).copied().unwrap_or(u32::MAX);
    let first = rows.rows.first().map_or(u32::MAX, |row| of(*row));
    if rows.rows.iter().all(|row| of(*row) == first) {
        return BTreeMap::from([(first, None)]);
    }
    let mut all: BTreeMap<u32, Option<Vec<u32>>> = BTreeMap::new();
    for (position, row) in (0..).zip(&rows.rows) {
        all.entry(of(*row)).or_default().get_or_insert_default().push(position);
    }
    all
}

fn piece(
    batch: &DecodedBatch,
    rows: &StreamRows,
    positions: Option<&[u32]>,
    schema: &SchemaRef,
    first_arrival: i64,
) -> Result<RecordBatch, arrow::error::ArrowError> {
    let mut columns: Vec<ArrayRef> = match positions {
        None => rows.columns.iter().flatten().cloned().collect(),
        Some(positions) => {
            let indices = UInt32Array::from(positions.to_vec());
            rows.columns
                .iter()
                .flatten()
                .map(|column| take(column, &indices, None))
                .collect::<Result<_, _>>()?
        }
    };
    let numbers: Vec<usize> = match positions {
        None => rows.rows.iter().map(|row| *row as usize).collect(),
        Some(positions) => positions.iter().map(|position| rows.rows[*position as usize] as usize).collect(),
    };
    let offsets: Int64Array = numbers.iter().map(|row| batch.rows.offset[*row]).collect();
    let known = |time: &i64| (*time != i64::MIN).then_some(*time);
    let timestamps = numbers.iter().map(|row| batch.rows.timestamp.get(*row).and_then(known));
    let timestamps: TimestampMicrosecondArray = timestamps.collect();
    let arrivals: Int64Array = numbers.iter().map(|row| first_arrival + *row as i64).collect();
    columns.push(Arc::new(offsets));
    columns.push(Arc::new(timestamps));
    columns.push(Arc::new(arrivals));
    RecordBatch::try_new(schema.clone(), columns)
}
