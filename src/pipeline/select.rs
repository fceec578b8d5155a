//! Rows picked out of decoded batches and put in a new order.

use arrow::array::{Array, ArrayRef};
use arrow::compute::interleave;
use arrow::error::ArrowError;

use crate::decode::{DecodedBatch, Rows, StreamRows};

/// The rows `(batch, row)` in the given order, as one batch; all batches are of one contract.
pub(super) fn select(batches: &[&DecodedBatch], order: &[(usize, u32)]) -> Result<DecodedBatch, ArrowError> {
    let Some(latest) =
        batches.iter().map(|batch| &batch.rows.partitions).max_by_key(|partitions| partitions.len())
    else {
        return Ok(DecodedBatch::default());
    };
    let gather = |values: fn(&Rows) -> &Vec<i64>| {
        order.iter().map(|(batch, row)| values(&batches[*batch].rows)[*row as usize]).collect()
    };
    let rows = Rows {
        partitions: latest.clone(),
        event_time: gather(|rows| &rows.event_time),
        offset: gather(|rows| &rows.offset),
        timestamp: gather(|rows| &rows.timestamp),
        partition: order.iter().map(|(batch, row)| batches[*batch].rows.partition[*row as usize]).collect(),
        traceparents: traceparents(batches, order),
        keys: keys(batches, order),
    };
    let stream_count = batches.iter().map(|batch| batch.streams.len()).max().unwrap_or(0);
    let streams =
        (0..stream_count).map(|stream| select_stream(batches, order, stream)).collect::<Result<_, _>>()?;
    Ok(DecodedBatch { rows, streams, dead_letters: Vec::new() })
}

fn traceparents(batches: &[&DecodedBatch], order: &[(usize, u32)]) -> Vec<(u32, String)> {
    if batches.iter().all(|batch| batch.rows.traceparents.is_empty()) {
        return Vec::new();
    }
    let found = (0_u32..).zip(order).filter_map(|(new, (batch, row))| {
        let known = &batches[*batch].rows.traceparents;
        let index = known.binary_search_by_key(row, |(row, _)| *row).ok()?;
        Some((new, known[index].1.clone()))
    });
    found.collect()
}

fn keys(batches: &[&DecodedBatch], order: &[(usize, u32)]) -> Vec<Option<std::sync::Arc<[u8]>>> {
    if batches.iter().all(|batch| batch.rows.keys.is_empty()) {
        return Vec::new();
    }
    order.iter().map(|(batch, row)| batches[*batch].rows.keys.get(*row as usize).cloned().flatten()).collect()
}

fn select_stream(
    batches: &[&DecodedBatch],
    order: &[(usize, u32)],
    stream: usize,
) -> Result<StreamRows, ArrowError> {
    let mut rows = Vec::new();
    let mut places = Vec::new();
    for (new, (batch, row)) in (0_u32..).zip(order) {
        let own = batches[*batch].streams.get(stream).map(|own| own.rows.as_slice()).unwrap_or_default();
        let place = if own.len() == batches[*batch].rows.event_time.len() {
            Ok(*row as usize)
        } else {
            own.binary_search(row)
        };
        if let Ok(index) = place {
            rows.push(new);
            places.push((*batch, index));
        }
    }
    let empty = StreamRows::default();
    let of = |batch: &&DecodedBatch| -> Vec<Option<ArrayRef>> {
        batch.streams.get(stream).unwrap_or(&empty).columns.clone()
    };
    let sources: Vec<Vec<Option<ArrayRef>>> = batches.iter().map(of).collect();
    let width = sources.iter().map(Vec::len).max().unwrap_or(0);
    let columns =
        (0..width).map(|column| select_column(&sources, &places, column)).collect::<Result<_, _>>()?;
    Ok(StreamRows { rows, columns })
}

fn select_column(
    sources: &[Vec<Option<ArrayRef>>],
    places: &[(usize, usize)],
    column: usize,
) -> Result<Option<ArrayRef>, ArrowError> {
    let Some(sample) = sources.iter().find_map(|columns| columns.get(column)?.as_ref()) else {
        return Ok(None);
    };
    // Rows that were decoded while other rules were in force may lack a column that no rule reads now.
    let lacks = |(source, _): &(usize, usize)| sources[*source].get(column).is_none_or(Option::is_none);
    if places.iter().any(lacks) {
        return Ok(None);
    }
    let none = arrow::array::new_empty_array(sample.data_type());
    let arrays =
        sources.iter().map(|columns| columns.get(column).and_then(Option::as_ref).unwrap_or(&none).as_ref());
    let arrays: Vec<&dyn Array> = arrays.collect();
    interleave(&arrays, places).map(Some)
}
