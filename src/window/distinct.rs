//! Counts of different values for a key with many rows.
//!
//! A value counts in a frame that ends at the newest row if and only if its last row is inside. So one
//! table of last rows serves all such frames, and each keeps a start and a count that follow it: O(1)
//! amortised a row. A frame that ends before the current row keeps a table of its own and two ends, O(1)
//! amortised too. A frame that goes back, which is a late row's, is counted by looking at its rows.

use foldhash::fast::FixedState;
use hashbrown::HashMap;

use super::column::Flag;
use super::intern::HASHER;
use super::measure::{Measure, Rows};
use super::rows::{Columns, Numbered};

type Table<T> = HashMap<u64, T, FixedState>;

#[derive(Debug)]
pub(super) struct Distinct {
    flag: Flag,
    /// Number of the last row of each value.
    last: Table<usize>,
    /// One a cell of the measure.
    counters: Vec<Counter>,
}

/// Count of one frame, as it was when it was asked for last.
#[derive(Debug)]
enum Counter {
    /// All rows from `start` on.
    Newest { start: usize, count: i64 },
    /// Rows from `start` to before `end`, with how often each value is among them.
    Between { start: usize, end: usize, counts: Table<u32> },
    /// Counted by looking.
    Looked,
}

/// How the frame of a cell ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ends {
    AtCurrent,
    Before,
    /// It has no start.
    Folded,
}

impl Distinct {
    /// Of rows whose last flags are set already.
    pub(super) fn new(
        flag: Flag,
        measure: &Measure,
        columns: &Columns,
        cells: impl Iterator<Item = Ends>,
    ) -> Self {
        let rows = Numbered(columns);
        let front = columns.front();
        let mut last = Table::with_hasher(HASHER);
        for row in front..columns.end() {
            if rows.flags(row, flag.word) & flag.bit != 0 {
                last.insert(rows.word(row, measure.column.word), row);
            }
        }
        let counters = cells.map(|ends| match ends {
            Ends::AtCurrent => Counter::Newest { start: front, count: last.len() as i64 },
            Ends::Before => Counter::Between { start: front, end: front, counts: Table::with_hasher(HASHER) },
            Ends::Folded => Counter::Looked,
        });
        Self { flag, counters: counters.collect(), last }
    }

    /// Takes in the row that was inserted with a number.
    pub(super) fn insert(&mut self, measure: &Measure, columns: &mut Columns, row: usize) {
        let end = columns.end();
        if row + 1 < end {
            let rows = Numbered(columns);
            for moved in row + 1..end {
                if rows.flags(moved, self.flag.word) & self.flag.bit != 0 {
                    self.last.insert(rows.word(moved, measure.column.word), moved);
                }
            }
        }
        let rows = Numbered(columns);
        let taken = measure.selection.takes(&rows, row);
        let word = rows.word(row, measure.column.word);
        // Of the values' last rows only those after the new one have moved.
        let mut place = if taken { self.last.get_mut(&word) } else { None };
        let known = place.as_deref().copied();
        for counter in &mut self.counters {
            counter.insert(row, word, taken, known);
        }
        match (&mut place, known) {
            (Some(place), Some(known)) if known < row => {
                columns.set_flag(known, self.flag, u64::MIN);
                **place = row;
            }
            (None, _) if taken => {
                self.last.insert(word, row);
            }
            _ => return,
        }
        columns.set_flag(row, self.flag, u64::MAX);
    }

    /// Follows the eviction of all rows before a number.
    pub(super) fn evict(&mut self, measure: &Measure, columns: &Columns, front: usize) {
        for counter in &mut self.counters {
            counter.evict(self.flag, measure, columns, front);
        }
        let rows = Numbered(columns);
        for row in columns.front()..front {
            if rows.flags(row, self.flag.word) & self.flag.bit != 0 {
                self.last.remove(&rows.word(row, measure.column.word));
            }
        }
        if self.last.len() * 8 < self.last.capacity() {
            self.last.shrink_to(self.last.len() * 2);
        }
    }

    /// Count of the rows from one number to before another, if the cell's frame only moved on.
    pub(super) fn count(
        &mut self,
        cell: usize,
        measure: &Measure,
        columns: &Columns,
        range: (usize, usize),
    ) -> Option<i64> {
        let counter = self.counters.get_mut(cell)?;
        match counter {
            Counter::Newest { start, .. } if range.1 == columns.end() && range.0 >= *start => {}
            Counter::Between { start, end, .. }
                if range.0 >= *start && range.1 >= *end && range.0 <= range.1 => {}
            _ => return None,
        }
        Some(counter.follow(self.flag, measure, columns, range))
    }

    /// Number of values whose last row is at or after a number: the count of a frame that ends at the
    /// newest row, by looking.
    pub(super) fn count_last(&self, columns: &Columns, start: usize) -> i64 {
        let rows = Numbered(columns);
        let is_last = |row: &usize| rows.flags(*row, self.flag.word) & self.flag.bit != 0;
        (start..columns.end()).filter(is_last).count() as i64
    }

    /// Looks the value of a record up, to have its entry in cache.
    #[inline]
    pub(super) fn touch(&self, word: u64) -> u64 {
        self.last.get(&word).map_or(0, |&row| row as u64)
    }

    pub(super) fn bytes(&self) -> usize {
        let counters = self.counters.iter().map(|counter| match counter {
            Counter::Between { counts, .. } => counts.allocation_size(),
            _ => 0,
        });
        self.last.allocation_size()
            + counters.sum::<usize>()
            + self.counters.capacity() * size_of::<Counter>()
    }
}

impl Counter {
    /// Takes in a new row, whose value had its last row at `known`.
    fn insert(&mut self, row: usize, word: u64, taken: bool, known: Option<usize>) {
        match self {
            Self::Newest { start, .. } if row < *start => *start += 1,
            Self::Newest { start, count } => {
                // `known` may be before the row, and so not have moved, or after it.
                *count += i64::from(taken && known.is_none_or(|known| known < *start));
            }
            Self::Between { start, end, .. } if row < *start => {
                *start += 1;
                *end += 1;
            }
            Self::Between { end, counts, .. } if row < *end => {
                *end += 1;
                if taken {
                    *counts.entry(word).or_insert(0) += 1;
                }
            }
            Self::Between { .. } | Self::Looked => {}
        }
    }

    fn evict(&mut self, flag: Flag, measure: &Measure, columns: &Columns, front: usize) {
        let range = match self {
            Self::Newest { start, .. } => (front.max(*start), columns.end()),
            Self::Between { start, end, .. } => (front.max(*start), front.max(*end)),
            Self::Looked => return,
        };
        self.follow(flag, measure, columns, range);
    }

    /// Moves the frame's ends forward to a range and gives the count.
    fn follow(&mut self, flag: Flag, measure: &Measure, columns: &Columns, range: (usize, usize)) -> i64 {
        let rows = Numbered(columns);
        let word = measure.column.word;
        match self {
            Self::Newest { start, count } => {
                for row in *start..range.0 {
                    *count -= i64::from(rows.flags(row, flag.word) & flag.bit != 0);
                }
                *start = range.0;
                *count
            }
            Self::Between { start, end, counts } => {
                for row in *end..range.1 {
                    if measure.selection.takes(&rows, row) {
                        *counts.entry(rows.word(row, word)).or_insert(0) += 1;
                    }
                }
                for row in *start..range.0 {
                    if measure.selection.takes(&rows, row) {
                        drop_one(counts, rows.word(row, word));
                    }
                }
                (*start, *end) = range;
                counts.len() as i64
            }
            Self::Looked => 0,
        }
    }
}

fn drop_one(counts: &mut Table<u32>, word: u64) {
    if let Some(count) = counts.get_mut(&word) {
        *count -= 1;
        if *count == 0 {
            counts.remove(&word);
        }
    }
}
