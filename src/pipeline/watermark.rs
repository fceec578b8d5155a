//! Event time as the job knows it: how far each partition has come, and how far all have.
//!
//! Takes rows in order of arrival; hands on for each the watermark in force and how late it is. The watermark
//! is the least, over the partitions that are not idle, of a partition's latest event time minus its stream's
//! lateness; it never goes back. A row is too late when its own partition had come further than its lateness
//! allows, which is the same on any run.

use super::StreamPolicy;
use crate::decode::Rows;
use crate::event::Span;

/// How far each partition has come.
#[derive(Debug, Clone)]
pub struct Watermarks {
    lateness: Vec<Span>,
    partitions: Vec<PartitionTime>,
    current: i64,
    /// The watermark goes no further than this.
    ceiling: i64,
}

#[derive(Debug, Clone, Copy)]
struct PartitionTime {
    /// Latest event time minus lateness; `i64::MIN` before the first row.
    reached: i64,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Not known to the job.
    Absent,
    /// Holds the watermark.
    Active,
    /// Was found quiet, or ended: holds nothing until its next row.
    Idle,
}

/// What the watermark says of each row of a batch.
#[derive(Debug, Default)]
pub(super) struct RowTimes {
    /// Watermark with the row taken in.
    pub watermarks: Vec<i64>,
    /// How far the row came behind its partition's latest event time; 0 if it did not.
    pub late: Vec<i64>,
    /// Whether its turn had passed.
    pub too_late: Vec<bool>,
}

impl Watermarks {
    /// Times for streams with the given policies; no partition is known yet.
    pub(super) fn new(streams: &[StreamPolicy]) -> Self {
        Self {
            lateness: streams.iter().map(|stream| stream.lateness).collect(),
            partitions: Vec::new(),
            current: i64::MIN,
            ceiling: i64::MAX,
        }
    }

    /// The watermark: rows below it have had their turn.
    pub fn current(&self) -> i64 {
        self.current
    }

    /// Tells that rows of a partition are to come, so that the watermark waits for them.
    pub fn expect(&mut self, partition: u32) {
        let time = self.partition(partition);
        if time.state == State::Absent {
            time.state = State::Active;
        }
    }

    /// Tells that a partition has ended or gone quiet, so that the watermark does not wait for it.
    pub fn release(&mut self, partition: u32) {
        self.partition(partition).state = State::Idle;
        self.recompute();
    }

    /// Tells that every partition has come so far, though no row says so: the clock of a test.
    pub fn pass(&mut self, time: i64) {
        self.partitions.iter_mut().for_each(|partition| partition.reached = partition.reached.max(time));
        self.recompute();
    }

    /// Takes over how far a partition had come when its state was last committed.
    pub(super) fn restore(&mut self, partition: u32, stream: usize, latest: i64) {
        let lateness = self.lateness.get(stream).map_or(0, |lateness| lateness.0);
        let time = self.partition(partition);
        time.reached = time.reached.max(latest.saturating_sub(lateness));
        if time.state == State::Absent {
            time.state = State::Active;
        }
    }

    /// Keeps the watermark from passing this while rows are taken in that were answered before, perhaps by a
    /// process that had other partitions: no row has its turn that had not had it then.
    pub(super) fn hold_below(&mut self, ceiling: i64) {
        self.ceiling = ceiling;
    }

    /// Takes over a watermark: the one in force when the state was last committed.
    pub(super) fn restore_current(&mut self, watermark: i64) {
        self.current = self.current.max(watermark);
    }

    /// Latest event time of a partition; none before its first row.
    pub fn latest(&self, partition: u32, stream: usize) -> Option<i64> {
        let time = self.partitions.get(partition as usize)?;
        let lateness = self.lateness.get(stream).map_or(0, |lateness| lateness.0);
        (time.reached != i64::MIN).then(|| time.reached.saturating_add(lateness))
    }

    fn partition(&mut self, partition: u32) -> &mut PartitionTime {
        let index = partition as usize;
        if self.partitions.len() <= index {
            self.partitions.resize(index + 1, PartitionTime { reached: i64::MIN, state: State::Absent });
        }
        &mut self.partitions[index]
    }

    fn recompute(&mut self) {
        let active = self.partitions.iter().filter(|time| time.state == State::Active);
        if let Some(least) = active.map(|time| time.reached).min() {
            self.current = self.current.max(least.min(self.ceiling));
        } else if let Some(latest) = self.partitions.iter().map(|time| time.reached).max() {
            // Nobody holds it back: it stands where the furthest partition has come.
            self.current = self.current.max(latest.min(self.ceiling));
        }
    }

    /// Takes in the rows of a batch.
    pub(super) fn advance(&mut self, rows: &Rows) -> RowTimes {
        let count = rows.event_time.len();
        let mut times = RowTimes {
            watermarks: Vec::with_capacity(count),
            late: Vec::with_capacity(count),
            too_late: Vec::with_capacity(count),
        };
        for (time, partition) in rows.event_time.iter().zip(&rows.partition) {
            let stream = rows.partitions[*partition as usize].stream;
            let lateness = self.lateness.get(stream).map_or(0, |lateness| lateness.0);
            let before = *self.partition(*partition);
            let reached = time.saturating_sub(lateness);
            times.too_late.push(*time < before.reached || *time < self.current);
            let behind =
                if before.reached == i64::MIN { 0 } else { (before.reached.saturating_sub(reached)).max(0) };
            times.late.push(behind);
            if reached > before.reached || before.state != State::Active {
                *self.partition(*partition) =
                    PartitionTime { reached: reached.max(before.reached), state: State::Active };
                self.recompute();
            }
            times.watermarks.push(self.current);
        }
        times
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::event::Partition;
    use crate::source::SourcePartition;

    fn rows(rows: &[(u32, i64)]) -> Rows {
        let partition = |number| SourcePartition {
            partition: Partition { topic: "t".into(), partition: number },
            stream: 0,
        };
        Rows {
            partitions: Arc::new(vec![partition(0), partition(1)]),
            event_time: rows.iter().map(|(_, time)| *time).collect(),
            partition: rows.iter().map(|(partition, _)| *partition).collect(),
            ..Rows::default()
        }
    }

    fn watermarks(lateness: i64) -> Watermarks {
        Watermarks::new(&[StreamPolicy { lateness: Span(lateness), repeats: Span(0) }])
    }

    #[test]
    fn the_slowest_partition_holds_the_watermark_until_it_is_idle() {
        let mut times = watermarks(10);
        times.expect(0);
        times.expect(1);
        assert_eq!(times.advance(&rows(&[(0, 100), (0, 200)])).watermarks, [i64::MIN; 2]);
        assert_eq!(times.advance(&rows(&[(1, 150)])).watermarks, [140]);
        times.release(1);
        assert_eq!(times.current(), 190);
        assert_eq!(times.advance(&rows(&[(1, 160)])).too_late, [true]);
    }

    #[test]
    fn a_row_is_too_late_by_its_own_partition() {
        let mut times = watermarks(10);
        let advanced = times.advance(&rows(&[(0, 100), (0, 95), (0, 89), (0, 90)]));
        assert_eq!(advanced.too_late, [false, false, true, false]);
        assert_eq!(advanced.late, [0, 5, 11, 10]);
    }

    #[test]
    fn the_watermark_does_not_depend_on_how_rows_are_cut_into_batches() {
        let all: Vec<(u32, i64)> =
            (0..50).map(|i| (u32::from(i % 3 == 0), i64::from((i * 37) % 41))).collect();
        let mut whole = watermarks(5);
        let together = whole.advance(&rows(&all)).watermarks;
        let mut cut = watermarks(5);
        let apart: Vec<i64> = all.chunks(7).flat_map(|chunk| cut.advance(&rows(chunk)).watermarks).collect();
        assert_eq!(together, apart);
    }
}
