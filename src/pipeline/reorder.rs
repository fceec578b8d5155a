//! Rows that wait for their turn, released in order of event time and, within it, of arrival.
//!
//! Takes rows as they arrive, hands on all rows strictly below a watermark at once, so that rows of equal
//! time are never parted. Keeps the batches that still have rows waiting. Past its limit of rows the oldest
//! are released early, and what then comes below them counts as late.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use arrow::error::ArrowError;

use super::select::select;
use crate::decode::DecodedBatch;
use crate::event::Offset;

/// One waiting row: event time, order of arrival, its batch, its row there.
type Entry = Reverse<(i64, u64, u64, u32)>;

/// The waiting rows.
#[derive(Debug)]
pub(super) struct Reorder {
    heap: BinaryHeap<Entry>,
    /// Batches by number; an entry leaves with its last row.
    batches: BTreeMap<u64, Held>,
    next_batch: u64,
    arrivals: u64,
    released: i64,
    rows_max: usize,
    /// Waiting offsets of each partition.
    offsets: BTreeMap<(u32, i64), ()>,
}

#[derive(Debug)]
struct Held {
    batch: DecodedBatch,
    late: Vec<i64>,
    rows: usize,
}

impl Reorder {
    pub(super) fn new(rows_max: usize) -> Self {
        Self {
            heap: BinaryHeap::new(),
            batches: BTreeMap::new(),
            next_batch: 0,
            arrivals: 0,
            released: i64::MIN,
            rows_max,
            offsets: BTreeMap::new(),
        }
    }

    /// Rows that wait.
    pub(super) fn waiting(&self) -> u64 {
        self.heap.len() as u64
    }

    /// Whether the same rows wait in both.
    pub(super) fn holds_the_same(&self, other: &Self) -> bool {
        self.offsets == other.offsets
    }

    /// All rows below this have been released.
    pub(super) fn released(&self) -> i64 {
        self.released
    }

    /// The lowest waiting offset of a partition.
    pub(super) fn waiting_from(&self, partition: u32) -> Option<Offset> {
        let mut own = self.offsets.range((partition, i64::MIN)..=(partition, i64::MAX));
        own.next().map(|((_, offset), ())| Offset(*offset))
    }

    /// Takes rows of a batch.
    pub(super) fn hold(
        &mut self,
        batch: &DecodedBatch,
        rows: &[u32],
        late: &[i64],
    ) -> Result<(), ArrowError> {
        if rows.is_empty() {
            return Ok(());
        }
        let order: Vec<(usize, u32)> = rows.iter().map(|row| (0, *row)).collect();
        let own = if rows.len() == batch.rows.event_time.len() {
            DecodedBatch { dead_letters: Vec::new(), ..batch.clone() }
        } else {
            select(&[batch], &order)?
        };
        let late = rows.iter().map(|row| late[*row as usize]).collect();
        let number = self.next_batch;
        self.next_batch += 1;
        for (row, time) in (0_u32..).zip(&own.rows.event_time) {
            self.heap.push(Reverse((*time, self.arrivals, number, row)));
            self.arrivals += 1;
            self.offsets.insert((own.rows.partition[row as usize], own.rows.offset[row as usize]), ());
        }
        self.batches.insert(number, Held { rows: rows.len(), batch: own, late });
        Ok(())
    }

    /// All rows strictly below the watermark, in order, with how late each came; none if there is none.
    pub(super) fn release(&mut self, watermark: i64) -> Result<Option<(DecodedBatch, Vec<i64>)>, ArrowError> {
        let mut due = Vec::new();
        while let Some(Reverse((time, _, batch, row))) = self.heap.peek().copied() {
            let early = self.heap.len() > self.rows_max;
            let peer = due.last().is_some_and(|(last, _, _)| *last == time);
            if time >= watermark && watermark != i64::MAX && !early && !peer {
                break;
            }
            self.heap.pop();
            due.push((time, batch, row));
        }
        let reached = due.last().map_or(i64::MIN, |(time, _, _)| time.saturating_add(1));
        self.released = self.released.max(watermark).max(reached);
        if due.is_empty() {
            return Ok(None);
        }
        self.gather(&due).map(Some)
    }

    /// Every waiting row, in order, with how late each came; what was released before stays so.
    pub(super) fn take_all(&mut self) -> Result<Option<(DecodedBatch, Vec<i64>)>, ArrowError> {
        let mut all = Vec::with_capacity(self.heap.len());
        while let Some(Reverse((time, _, batch, row))) = self.heap.pop() {
            all.push((time, batch, row));
        }
        if all.is_empty() { Ok(None) } else { self.gather(&all).map(Some) }
    }

    fn gather(&mut self, due: &[(i64, u64, u32)]) -> Result<(DecodedBatch, Vec<i64>), ArrowError> {
        let mut used: Vec<u64> = due.iter().map(|(_, batch, _)| *batch).collect();
        used.sort_unstable();
        used.dedup();
        let index = |batch: &u64| used.binary_search(batch).unwrap_or(0);
        let order: Vec<(usize, u32)> = due.iter().map(|(_, batch, row)| (index(batch), *row)).collect();
        let held: Vec<&Held> = used.iter().filter_map(|batch| self.batches.get(batch)).collect();
        let batches: Vec<&DecodedBatch> = held.iter().map(|held| &held.batch).collect();
        let gathered = select(&batches, &order)?;
        let late = order.iter().map(|(batch, row)| held[*batch].late[*row as usize]).collect();
        for (partition, offset) in gathered.rows.partition.iter().zip(&gathered.rows.offset) {
            self.offsets.remove(&(*partition, *offset));
        }
        for (_, batch, _) in due {
            if let Some(held) = self.batches.get_mut(batch) {
                held.rows -= 1;
                if held.rows == 0 {
                    self.batches.remove(batch);
                }
            }
        }
        Ok((gathered, late))
    }
}
