//! The columns of a key with many rows.
//!
//! Keeps rows in (time, arrival) order, one vector a column. A row's *number* counts from the first row
//! the buffer ever held, so numbers survive eviction; an insertion in the middle moves those after it.
//! Evicted rows stay until a quarter of the vectors is gone, and whole blocks stay readable, so sums
//! over blocks may read a little before the first held row.

use super::column::{Flag, Layout};
use super::measure::Rows;

/// Rows of a block, and blocks of a bigger block.
pub(super) const FAN_OUT: usize = 16;

#[derive(Debug, Default)]
pub(super) struct Columns {
    /// Number of the row at position 0 of the vectors; a multiple of [`FAN_OUT`].
    base: usize,
    /// Number of the first held row.
    front: usize,
    times: Vec<i64>,
    flags: Vec<Vec<u64>>,
    words: Vec<Vec<u64>>,
}

impl Rows for Columns {
    #[inline]
    fn len(&self) -> usize {
        self.end() - self.front
    }

    #[inline]
    fn time(&self, index: usize) -> i64 {
        self.times[self.front - self.base + index]
    }

    #[inline]
    fn flags(&self, index: usize, word: usize) -> u64 {
        self.flags[word][self.front - self.base + index]
    }

    #[inline]
    fn word(&self, index: usize, word: usize) -> u64 {
        self.words[word][self.front - self.base + index]
    }

    fn first_at_from_oldest(&self, time: i64) -> usize {
        self.seek(0, |other| other >= time)
    }

    fn first_where(&self, passes: impl Fn(i64) -> bool) -> usize {
        self.times[self.front - self.base..].partition_point(|&time| !passes(time))
    }
}

/// The same rows by number, so that a block may be read whole.
pub(super) struct Numbered<'a>(pub(super) &'a Columns);

impl Rows for Numbered<'_> {
    fn len(&self) -> usize {
        self.0.end()
    }

    #[inline]
    fn time(&self, index: usize) -> i64 {
        self.0.times[index - self.0.base]
    }

    #[inline]
    fn flags(&self, index: usize, word: usize) -> u64 {
        self.0.flags[word][index - self.0.base]
    }

    #[inline]
    fn word(&self, index: usize, word: usize) -> u64 {
        self.0.words[word][index - self.0.base]
    }
}

/// The same rows with a guess of where a frame starts and ends.
pub(super) struct Guessed<'a> {
    pub(super) columns: &'a Columns,
    pub(super) guess: (usize, usize),
}

impl Rows for Guessed<'_> {
    fn len(&self) -> usize {
        self.columns.len()
    }

    fn time(&self, index: usize) -> i64 {
        self.columns.time(index)
    }

    fn flags(&self, index: usize, word: usize) -> u64 {
        self.columns.flags(index, word)
    }

    fn word(&self, index: usize, word: usize) -> u64 {
        self.columns.word(index, word)
    }

    fn first_at(&self, time: i64) -> usize {
        self.columns.seek(self.guess.0, |other| other >= time)
    }

    fn first_after(&self, time: i64) -> usize {
        self.columns.seek(self.guess.1, |other| other > time)
    }
}

impl Columns {
    pub(super) fn new(layout: &Layout) -> Self {
        Self {
            flags: vec![Vec::new(); layout.flags],
            words: vec![Vec::new(); layout.words],
            ..Self::default()
        }
    }

    /// Number of the first held row.
    #[inline]
    pub(super) fn front(&self) -> usize {
        self.front
    }

    /// One past the number of the newest row.
    #[inline]
    pub(super) fn end(&self) -> usize {
        self.base + self.times.len()
    }

    /// Values of a column from one row number to before another.
    #[inline]
    pub(super) fn slice(&self, word: usize, start: usize, end: usize) -> &[u64] {
        &self.words[word][start - self.base..end - self.base]
    }

    /// How many rows from one number to before another have all flags of a mask.
    #[inline]
    pub(super) fn count_flags(&self, word: usize, mask: u64, start: usize, end: usize) -> u64 {
        let flags = &self.flags[word][start - self.base..end - self.base];
        flags.iter().map(|flags| u64::from(flags & mask == mask)).sum()
    }

    /// Position of the first row that passes, looked for outward from a guess.
    #[inline]
    pub(super) fn seek(&self, guess: usize, passes: impl Fn(i64) -> bool) -> usize {
        let times = &self.times[self.front - self.base..];
        let guess = guess.min(times.len());
        let mut step = 1;
        if guess < times.len() && !passes(times[guess]) {
            let mut low = guess;
            while low + step < times.len() && !passes(times[low + step]) {
                low += step;
                step *= 2;
            }
            let high = (low + step).min(times.len());
            return low + 1 + times[low + 1..high].partition_point(|&time| !passes(time));
        }
        let mut high = guess;
        while high >= step && passes(times[high - step]) {
            high -= step;
            step *= 2;
        }
        let low = high.saturating_sub(step);
        low + times[low..high].partition_point(|&time| !passes(time))
    }

    /// Inserts a record after all rows that are not later, and gives its number.
    pub(super) fn insert(&mut self, layout: &Layout, record: &[u64]) -> usize {
        let time = record[0].cast_signed();
        self.make_room();
        if self.times.last().is_none_or(|&newest| newest <= time) {
            self.times.push(time);
            for (column, &flags) in self.flags.iter_mut().zip(&record[1..]) {
                column.push(flags);
            }
            for (column, &word) in self.words.iter_mut().zip(&record[layout.values_at()..]) {
                column.push(word);
            }
            return self.end() - 1;
        }
        let at = self.front - self.base + self.seek(usize::MAX, |other| other > time);
        self.times.insert(at, time);
        for (column, &flags) in self.flags.iter_mut().zip(&record[1..]) {
            column.insert(at, flags);
        }
        for (column, &word) in self.words.iter_mut().zip(&record[layout.values_at()..]) {
            column.insert(at, word);
        }
        self.base + at
    }

    fn make_room(&mut self) {
        let (length, capacity) = (self.times.len(), self.times.capacity());
        if length < capacity {
            return;
        }
        let gone = (self.front - self.base) / FAN_OUT * FAN_OUT;
        let grow = if gone * 4 >= length { 0 } else { FAN_OUT + length / 4 };
        self.base += gone;
        self.times.drain(..gone);
        self.times.reserve_exact(grow);
        for column in self.flags.iter_mut().chain(&mut self.words) {
            column.drain(..gone);
            column.reserve_exact(grow);
        }
    }

    /// Lets the first `rows` held rows go.
    pub(super) fn evict(&mut self, rows: usize) {
        self.front += rows;
    }

    /// Sets or clears a flag of a row, by number.
    #[inline]
    pub(super) fn set_flag(&mut self, row: usize, flag: Flag, on: u64) {
        let word = &mut self.flags[flag.word][row - self.base];
        *word = *word & !flag.bit | flag.bit & on;
    }

    /// All held rows as records.
    pub(super) fn records(&self, layout: &Layout) -> Vec<u64> {
        let mut records = Vec::with_capacity(self.len() * layout.stride());
        for index in 0..self.len() {
            records.push(self.time(index).cast_unsigned());
            records.extend((0..layout.flags).map(|word| self.flags(index, word)));
            records.extend((0..layout.words).map(|word| self.word(index, word)));
        }
        records
    }

    /// Reads the row at a position, to have it in cache.
    #[inline]
    pub(super) fn touch(&self, index: usize) -> u64 {
        if index >= self.len() {
            return 0;
        }
        let flags = (0..self.flags.len()).fold(0, |sum, word| sum ^ self.flags(index, word));
        let words = (0..self.words.len()).fold(flags, |sum, word| sum ^ self.word(index, word));
        words ^ self.time(index).cast_unsigned()
    }

    /// Memory in bytes.
    pub(super) fn bytes(&self) -> usize {
        self.times.capacity() * size_of::<u64>() * (1 + self.flags.len() + self.words.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeking_from_any_guess_finds_the_same_row() {
        let layout = Layout { flags: 1, words: 1, ..Layout::default() };
        let mut columns = Columns::new(&layout);
        for time in [1u64, 1, 2, 5, 5, 5, 9, 10, 40, 41, 41] {
            columns.insert(&layout, &[time, 0, 0]);
        }
        columns.evict(2);
        for time in 0..50 {
            let expected = columns.first_at(time);
            for guess in 0..14 {
                assert_eq!(columns.seek(guess, |other| other >= time), expected, "{time} from {guess}");
            }
        }
    }
}
