//! Rows of several partitions put into one sequence, in order of event time.
//!
//! Takes the rows of each partition in its own order and keeps that order, whatever their times are; of equal times the
//! first partition's come first. So the sequence is the same however the rows came in batches.

use arrow::error::ArrowError;

use super::select::select;
use crate::decode::DecodedBatch;

/// Rows of one partition that have not had their turn.
#[derive(Debug, Default)]
pub struct Pending {
    batch: DecodedBatch,
    /// The first row that has not.
    next: usize,
}

impl Pending {
    /// All rows of a batch.
    pub fn new(batch: DecodedBatch) -> Self {
        Self { batch, next: 0 }
    }

    /// Whether no row is left.
    pub fn is_empty(&self) -> bool {
        self.time().is_none()
    }

    fn time(&self) -> Option<i64> {
        self.batch.rows.event_time.get(self.next).copied()
    }
}

/// The rows up to the last of the first partition that has none left: which ones follow then, only its next batch can
/// tell. Without rows where none are pending.
pub fn side_by_side(pending: &mut [Pending]) -> Result<DecodedBatch, ArrowError> {
    let mut order: Vec<(usize, u32)> = Vec::new();
    let earliest = |pending: &[Pending]| {
        let times = pending.iter().enumerate().filter_map(|(index, own)| Some((own.time()?, index)));
        times.min().map(|(_, index)| index)
    };
    while let Some(index) = earliest(pending) {
        let own = &mut pending[index];
        order.push((index, u32::try_from(own.next).unwrap_or(u32::MAX)));
        own.next += 1;
        if own.is_empty() {
            break;
        }
    }
    let dead_letters =
        pending.iter_mut().flat_map(|own| std::mem::take(&mut own.batch.dead_letters)).collect();
    let batches: Vec<&DecodedBatch> = pending.iter().map(|own| &own.batch).collect();
    let whole = order.first().map(|(index, _)| *index).filter(|first| {
        order.len() == batches[*first].rows.event_time.len() && order.iter().all(|(index, _)| index == first)
    });
    let merged = match whole {
        Some(index) => std::mem::take(&mut pending[index]).batch,
        None => select(&batches, &order)?,
    };
    Ok(DecodedBatch { dead_letters, ..merged })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, AsArray, Int64Array};
    use arrow::datatypes::Int64Type;

    use super::*;
    use crate::decode::{Rows, StreamRows};

    /// Rows of a partition; the only column says their times again.
    fn pending(partition: u32, times: &[i64]) -> Pending {
        let count = times.len();
        let rows = Rows {
            event_time: times.to_vec(),
            partition: vec![partition; count],
            offset: (0..i64::try_from(count).unwrap()).collect(),
            timestamp: vec![i64::MIN; count],
            ..Rows::default()
        };
        let column: ArrayRef = Arc::new(Int64Array::from(times.to_vec()));
        let own =
            StreamRows { rows: (0..u32::try_from(count).unwrap()).collect(), columns: vec![Some(column)] };
        Pending::new(DecodedBatch { rows, streams: vec![own], dead_letters: Vec::new() })
    }

    /// Partitions and times of all rows, where they come in batches of so many.
    fn merged(partitions: &[&[i64]], batch_rows: usize) -> Vec<(u32, i64)> {
        let mut batches: Vec<_> = partitions.iter().map(|times| times.chunks(batch_rows)).collect();
        let mut all = Vec::new();
        let mut waiting: Vec<Pending> = partitions.iter().map(|_| Pending::default()).collect();
        loop {
            for (partition, (own, batches)) in (0..).zip(waiting.iter_mut().zip(&mut batches)) {
                if own.is_empty() {
                    *own = batches.next().map_or_else(Pending::default, |times| pending(partition, times));
                }
            }
            let batch = side_by_side(&mut waiting).unwrap();
            if batch.rows.event_time.is_empty() {
                return all;
            }
            let column = batch.streams[0].columns[0].as_ref().unwrap().as_primitive::<Int64Type>();
            assert_eq!(column.values(), batch.rows.event_time.as_slice());
            all.extend(batch.rows.partition.iter().copied().zip(batch.rows.event_time.iter().copied()));
        }
    }
    #[test]
    fn rows_stand_in_order_of_time_and_ties_in_that_of_partitions_however_they_are_cut() {
        let wanted = [(0, 1), (1, 1), (2, 2), (0, 3), (1, 3), (1, 4), (1, 5), (0, 9), (2, 9)];
        for batch_rows in [1, 2, 3, 100] {
            assert_eq!(merged(&[&[1, 3, 9], &[1, 3, 4, 5], &[2, 9]], batch_rows), wanted, "{batch_rows}");
        }
    }

    #[test]
    fn a_partition_whose_times_go_back_keeps_its_own_order() {
        let wanted = [(0, 1), (1, 2), (1, 6), (0, 7), (0, 3), (0, 8), (1, 9)];
        for batch_rows in [1, 2, 100] {
            assert_eq!(merged(&[&[1, 7, 3, 8], &[2, 6, 9], &[]], batch_rows), wanted, "{batch_rows}");
        }
    }
}
