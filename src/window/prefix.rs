//! Exact sums over any range of a key's rows: differences of running totals.
//!
//! For whole numbers only, whose sums come out the same in any order and grouping. Keeps the total
//! before each block of rows; what is between a row and its block's start is added when asked.

use super::column::Encoding;
use super::measure::{Kind, Measure, Rows, Value, whole};
use super::rows::{Columns, FAN_OUT, Numbered};

/// A number whose sums wrap.
pub(super) trait Whole: Copy + Default {
    fn plus(self, other: Self) -> Self;
    fn minus(self, other: Self) -> Self;
    fn of_row<R: Rows>(measure: &Measure, rows: &R, row: usize) -> Self;
    fn of_words(measure: &Measure, words: &[u64]) -> Self;
    fn of_count(count: u64) -> Self;
    fn value(self, measure: &Measure) -> Value;
}

impl Whole for u64 {
    #[inline]
    fn plus(self, other: Self) -> Self {
        self.wrapping_add(other)
    }

    #[inline]
    fn minus(self, other: Self) -> Self {
        self.wrapping_sub(other)
    }

    #[inline]
    fn of_row<R: Rows>(measure: &Measure, rows: &R, row: usize) -> Self {
        if measure.kind == Kind::Count { 1 } else { rows.word(row, measure.column.word) }
    }

    #[inline]
    fn of_count(count: u64) -> Self {
        count
    }

    #[inline]
    fn of_words(_: &Measure, words: &[u64]) -> Self {
        words.iter().fold(0, |sum, &word| sum.wrapping_add(word))
    }

    #[inline]
    fn value(self, measure: &Measure) -> Value {
        if measure.kind == Kind::Count { Value::Count(self.cast_signed()) } else { Value::Word(self) }
    }
}

impl Whole for i128 {
    #[inline]
    fn plus(self, other: Self) -> Self {
        self.wrapping_add(other)
    }

    #[inline]
    fn minus(self, other: Self) -> Self {
        self.wrapping_sub(other)
    }

    #[inline]
    fn of_row<R: Rows>(measure: &Measure, rows: &R, row: usize) -> Self {
        whole(measure.column.encoding, rows.value(row, &measure.column))
    }

    #[inline]
    fn of_count(count: u64) -> Self {
        Self::from(count)
    }

    #[inline]
    fn of_words(measure: &Measure, words: &[u64]) -> Self {
        let encoding = measure.column.encoding;
        words.iter().fold(0, |sum, &word| sum + whole(encoding, u128::from(word)))
    }

    #[inline]
    fn value(self, _: &Measure) -> Value {
        Value::Wide(self)
    }
}

#[derive(Debug, Default)]
pub(super) struct Prefix<T> {
    /// Block of the first mark.
    first: usize,
    /// Total of all rows before each block, from some row that all have in common.
    marks: Vec<T>,
    /// Total of all rows.
    total: T,
}

impl<T: Whole> Prefix<T> {
    /// Takes in the rows from number `from` to the end; those after it are counted anew.
    pub(super) fn extend(&mut self, measure: &Measure, columns: &Columns, from: usize) {
        let rows = Numbered(columns);
        let mut row = from;
        let block = from / FAN_OUT;
        if self.marks.is_empty() {
            self.first = block;
        }
        if from + 1 < columns.end() && block - self.first < self.marks.len() {
            self.marks.truncate(block - self.first + 1);
            self.total = self.marks[block - self.first];
            row = block * FAN_OUT;
        }
        while row < columns.end() {
            if row / FAN_OUT - self.first == self.marks.len() {
                self.make_room(columns);
                self.marks.push(self.total);
            }
            if measure.selection.takes(&rows, row) {
                self.total = self.total.plus(T::of_row(measure, &rows, row));
            }
            row += 1;
        }
    }

    fn make_room(&mut self, columns: &Columns) {
        if self.marks.len() < self.marks.capacity() {
            return;
        }
        let gone = (columns.front() / FAN_OUT).saturating_sub(self.first).min(self.marks.len());
        if gone * 4 >= self.marks.len() && gone > 0 {
            self.marks.drain(..gone);
            self.first += gone;
        } else {
            self.marks.reserve_exact(4 + self.marks.len() / 4);
        }
    }

    /// Sum of the rows before a number.
    #[inline]
    fn before(&self, measure: &Measure, columns: &Columns, row: usize) -> T {
        if row == columns.end() {
            return self.total;
        }
        let block = row / FAN_OUT;
        let rows = Numbered(columns);
        let mut sum = self.marks[block - self.first];
        if measure.plain && measure.column.encoding != Encoding::Wide {
            let words = columns.slice(measure.column.word, block * FAN_OUT, row);
            return sum.plus(T::of_words(measure, words));
        }
        if measure.kind == Kind::Count
            && let Some((word, mask)) = measure.selection.single()
        {
            return sum.plus(T::of_count(columns.count_flags(word, mask, block * FAN_OUT, row)));
        }
        for row in block * FAN_OUT..row {
            if measure.selection.takes(&rows, row) {
                sum = sum.plus(T::of_row(measure, &rows, row));
            }
        }
        sum
    }

    /// Sum of the rows from one number to before another.
    #[inline]
    pub(super) fn between(&self, measure: &Measure, columns: &Columns, start: usize, end: usize) -> Value {
        if start >= end {
            return T::default().value(measure);
        }
        self.before(measure, columns, end).minus(self.before(measure, columns, start)).value(measure)
    }

    /// Reads the mark before a row, to have it in cache.
    #[inline]
    pub(super) fn touch(&self, row: usize) -> T {
        self.marks.get((row / FAN_OUT).wrapping_sub(self.first)).copied().unwrap_or_default()
    }

    pub(super) fn bytes(&self) -> usize {
        self.marks.capacity() * size_of::<T>()
    }
}
