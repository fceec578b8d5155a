//! Summaries over any range of a key's rows, for what can be merged but not subtracted: float sums,
//! moments, extremes.
//!
//! Keeps a summary of each whole block of 16 rows, of each 16 such blocks, and so on. A range is put
//! together from at most 30 summaries a level. An insertion in the middle makes the blocks after it
//! anew, so it costs the distance from the end.

use super::column::Encoding;
use super::intern::Interner;
use super::measure::{Kind, Measure, Moments, Rows, Value, better, number};
use super::rows::{Columns, FAN_OUT, Numbered};

/// A mergeable value over a range of rows.
pub(super) trait Summary: Copy {
    const EMPTY: Self;
    fn add(&mut self, measure: &Measure, columns: &Columns, row: usize, interner: &Interner);
    fn merge(&mut self, other: &Self, measure: &Measure, interner: &Interner);
    fn value(self) -> Value;

    /// Adds the summaries of neighbouring blocks.
    #[inline]
    fn merge_all(&mut self, parts: &[Self], measure: &Measure, interner: &Interner) {
        for part in parts {
            self.merge(part, measure, interner);
        }
    }

    /// Adds the rows from one number to before another.
    #[inline]
    fn add_rows(&mut self, measure: &Measure, columns: &Columns, rows: (usize, usize), interner: &Interner) {
        for row in rows.0..rows.1 {
            self.add(measure, columns, row, interner);
        }
    }
}

impl Summary for f64 {
    const EMPTY: Self = 0.0;

    #[inline]
    fn add(&mut self, measure: &Measure, columns: &Columns, row: usize, _: &Interner) {
        let rows = Numbered(columns);
        if measure.selection.takes(&rows, row) {
            *self += number(&measure.column, rows.value(row, &measure.column));
        }
    }

    #[inline]
    fn merge(&mut self, other: &Self, _: &Measure, _: &Interner) {
        *self += other;
    }

    fn value(self) -> Value {
        Value::Float(self)
    }

    #[inline]
    fn merge_all(&mut self, parts: &[Self], _: &Measure, _: &Interner) {
        *self += sum_in_lanes(parts, |part| part);
    }

    #[inline]
    fn add_rows(&mut self, measure: &Measure, columns: &Columns, rows: (usize, usize), interner: &Interner) {
        // The word of a null is zero, so only a filter makes the flags worth reading.
        if measure.plain && measure.column.encoding == Encoding::Float {
            let words = columns.slice(measure.column.word, rows.0, rows.1);
            *self += sum_in_lanes(words, Self::from_bits);
            return;
        }
        for row in rows.0..rows.1 {
            self.add(measure, columns, row, interner);
        }
    }
}

/// Adds in four lanes: one long chain of additions would wait for each of them.
#[inline]
fn sum_in_lanes<T: Copy>(values: &[T], number: impl Fn(T) -> f64) -> f64 {
    let mut lanes = [0.0; 4];
    let (fours, rest) = values.as_chunks::<4>();
    for four in fours {
        for (lane, &value) in lanes.iter_mut().zip(four) {
            *lane += number(value);
        }
    }
    for (lane, &value) in lanes.iter_mut().zip(rest) {
        *lane += number(value);
    }
    (lanes[0] + lanes[1]) + (lanes[2] + lanes[3])
}

impl Summary for Moments {
    const EMPTY: Self = Self { count: 0.0, mean: 0.0, squares: 0.0 };

    fn add(&mut self, measure: &Measure, columns: &Columns, row: usize, _: &Interner) {
        let rows = Numbered(columns);
        if measure.selection.takes(&rows, row) {
            Self::add(self, number(&measure.column, rows.value(row, &measure.column)));
        }
    }

    fn merge(&mut self, other: &Self, _: &Measure, _: &Interner) {
        Self::merge(self, other);
    }

    fn value(self) -> Value {
        Value::Moments(self)
    }
}

/// The least or greatest value, where there is any.
pub(super) type Best = Option<u128>;

impl Summary for Best {
    const EMPTY: Self = None;

    #[inline]
    fn add(&mut self, measure: &Measure, columns: &Columns, row: usize, interner: &Interner) {
        let rows = Numbered(columns);
        if measure.selection.takes(&rows, row) {
            let candidate = rows.value(row, &measure.column);
            self.merge(&Some(candidate), measure, interner);
        }
    }

    #[inline]
    fn merge(&mut self, other: &Self, measure: &Measure, interner: &Interner) {
        debug_assert!(matches!(measure.kind, Kind::Min | Kind::Max));
        if let Some(candidate) = *other
            && self.is_none_or(|best| better(measure, candidate, best, interner))
        {
            *self = Some(candidate);
        }
    }

    fn value(self) -> Value {
        Value::Best(self)
    }
}

#[derive(Debug, Default)]
pub(super) struct Tree<T> {
    levels: Vec<Level<T>>,
}

/// Summaries of whole blocks of one size.
#[derive(Debug)]
struct Level<T> {
    /// Block of the first summary.
    first: usize,
    blocks: Vec<T>,
}

impl<T: Summary> Level<T> {
    fn end(&self) -> usize {
        self.first + self.blocks.len()
    }

    fn push(&mut self, block: usize, summary: T, front: usize) {
        if self.blocks.is_empty() {
            self.first = block;
        }
        if self.blocks.len() == self.blocks.capacity() {
            let gone = front.saturating_sub(self.first).min(self.blocks.len());
            if gone > 0 && gone * 4 >= self.blocks.len() {
                self.blocks.drain(..gone);
                self.first += gone;
            } else {
                self.blocks.reserve_exact(4 + self.blocks.len() / 4);
            }
        }
        self.blocks.push(summary);
    }

    /// The summaries that are there, from one block to before another.
    #[inline]
    fn slice(&self, start: usize, end: usize) -> &[T] {
        let position = |block: usize| block.saturating_sub(self.first).min(self.blocks.len());
        &self.blocks[position(start)..position(end)]
    }
}

impl<T: Summary> Tree<T> {
    /// Takes in the rows from number `from` to the end; blocks after it are made anew.
    pub(super) fn extend(&mut self, measure: &Measure, columns: &Columns, from: usize, interner: &Interner) {
        let end = columns.end();
        if from + 1 == end && !end.is_multiple_of(FAN_OUT) {
            return;
        }
        let mut block = from;
        for level in &mut self.levels {
            block /= FAN_OUT;
            level.blocks.truncate(block.saturating_sub(level.first));
        }
        for block in from / FAN_OUT..end / FAN_OUT {
            let mut summary = T::EMPTY;
            let start = block * FAN_OUT;
            summary.add_rows(measure, columns, (start, start + FAN_OUT), interner);
            self.push(measure, columns.front(), block, summary, interner);
        }
    }

    /// Adds a block of rows, and each bigger block that it completes.
    fn push(&mut self, measure: &Measure, front: usize, block: usize, summary: T, interner: &Interner) {
        let (mut block, mut summary, mut front) = (block, summary, front / FAN_OUT);
        for depth in 0.. {
            if depth == self.levels.len() {
                self.levels.push(Level { first: 0, blocks: Vec::new() });
            }
            let level = &mut self.levels[depth];
            level.push(block, summary, front);
            if !(block + 1).is_multiple_of(FAN_OUT) {
                return;
            }
            summary = T::EMPTY;
            for part in level.slice(block + 1 - FAN_OUT, block + 1) {
                summary.merge(part, measure, interner);
            }
            block /= FAN_OUT;
            front /= FAN_OUT;
        }
    }

    /// Summary of the rows from one number to before another.
    pub(super) fn between(
        &self,
        measure: &Measure,
        columns: &Columns,
        start: usize,
        end: usize,
        interner: &Interner,
    ) -> Value {
        let mut summary = T::EMPTY;
        let (mut first, mut last) = (start.div_ceil(FAN_OUT), end / FAN_OUT);
        if first >= last {
            summary.add_rows(measure, columns, (start, end), interner);
            return summary.value();
        }
        summary.add_rows(measure, columns, (start, first * FAN_OUT), interner);
        summary.add_rows(measure, columns, (last * FAN_OUT, end), interner);
        for (depth, level) in self.levels.iter().enumerate() {
            debug_assert!(level.first <= first && last <= level.end());
            let (inner_first, inner_last) = (first.div_ceil(FAN_OUT), last / FAN_OUT);
            let deepest = depth + 1 == self.levels.len();
            if inner_first >= inner_last || deepest {
                summary.merge_all(level.slice(first, last), measure, interner);
                break;
            }
            summary.merge_all(level.slice(first, inner_first * FAN_OUT), measure, interner);
            summary.merge_all(level.slice(inner_last * FAN_OUT, last), measure, interner);
            (first, last) = (inner_first, inner_last);
        }
        summary.value()
    }

    pub(super) fn bytes(&self) -> usize {
        self.levels.iter().map(|level| level.blocks.capacity() * size_of::<T>()).sum()
    }
}
