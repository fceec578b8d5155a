//! Hits one by one: the row of each, where its record stands, and its place among the hits of that row.

use super::{Moment, RowTimes};
use crate::decode::DecodedBatch;
use crate::event::{Coordinates, EventTime, Offset};
use crate::graph::RuleHits;
use crate::rules::Rule;

/// Where a row's record stands, and the index of its stream.
pub(crate) fn source_of(batch: &DecodedBatch, row: u32) -> (Coordinates, usize) {
    let rows = &batch.rows;
    let source = &rows.partitions[rows.partition[row as usize] as usize];
    let offset = Offset(rows.offset[row as usize]);
    (Coordinates { partition: source.partition.clone(), offset }, source.stream)
}

/// One hit of one row.
pub(super) struct Place<'a> {
    pub(super) batch: &'a DecodedBatch,
    pub(super) row: u32,
    /// Index among the query's hits.
    pub(super) hit: usize,
    /// How many hits of the same rule on the same row came before.
    pub(super) ordinal: usize,
    pub(super) late: i64,
    pub(super) watermark: i64,
}

impl Place<'_> {
    pub(super) fn source(&self) -> (Coordinates, usize) {
        source_of(self.batch, self.row)
    }

    /// Whether the event is older than its rule's `@max_age`: by the record's own timestamp, so that it is the same
    /// whenever the record is read.
    pub(super) fn stale(&self, rule: &Rule) -> bool {
        let rows = &self.batch.rows;
        let (timestamp, event_time) = (rows.timestamp[self.row as usize], rows.event_time[self.row as usize]);
        let age = timestamp.saturating_sub(event_time);
        rule.header.max_age.is_some_and(|most| timestamp != i64::MIN && age > most.0)
    }

    pub(super) fn event_time(&self) -> EventTime {
        EventTime(self.batch.rows.event_time[self.row as usize])
    }

    pub(super) fn moment(&self) -> Moment {
        Moment { event_time: self.event_time(), watermark: EventTime(self.watermark) }
    }
}

/// Hits in the order of their rows, then of their rules: index of the query's hits, of the hit, and its place.
pub(super) fn in_order_of_rows<'a>(
    batch: &'a DecodedBatch,
    hits: &RuleHits,
    times: RowTimes<'_>,
) -> Vec<(usize, usize, Place<'a>)> {
    let mut order: Vec<(u32, usize, usize)> = Vec::new();
    for (index, found) in hits.hits.iter().enumerate() {
        order.extend(found.rows.iter().enumerate().map(|(hit, row)| (*row, index, hit)));
    }
    order.sort_unstable();
    let mut ordinal = 0;
    let mut previous = None;
    let place = |(row, index, hit): (u32, usize, usize)| {
        ordinal = if previous == Some((row, index)) { ordinal + 1 } else { 0 };
        previous = Some((row, index));
        let late = times.late.get(row as usize).copied().unwrap_or(0);
        let watermark = times.watermarks.get(row as usize).copied().unwrap_or(i64::MIN);
        (index, hit, Place { batch, row, hit, ordinal, late, watermark })
    };
    order.into_iter().map(place).collect()
}
