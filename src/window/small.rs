//! The buffer of a key with few rows: records end to end in one vector, read backwards.
//!
//! Keeps rows in (time, arrival) order. Evicting moves the head; the gap is reused before the vector
//! grows. Each record also carries, per distinct count, a flag on the last row that has a value, so a
//! distinct count over rows up to the newest is a count of flags.

use super::column::{Flag, Layout};
use super::intern::Interner;
use super::measure::{Kind, Measure, Rows};
use super::plan::Plan;

#[derive(Debug, Default)]
pub(super) struct Small {
    words: Vec<u64>,
    /// Evicted records at the front of `words`.
    head: u32,
    /// Records after those.
    len: u32,
}

/// The rows of a [`Small`].
#[derive(Clone, Copy)]
pub(super) struct SmallRows<'a> {
    words: &'a [u64],
    stride: usize,
    values_at: usize,
    len: usize,
}

impl Rows for SmallRows<'_> {
    #[inline]
    fn len(&self) -> usize {
        self.len
    }

    #[inline]
    fn time(&self, index: usize) -> i64 {
        self.words[index * self.stride].cast_signed()
    }

    #[inline]
    fn flags(&self, index: usize, word: usize) -> u64 {
        self.words[index * self.stride + 1 + word]
    }

    #[inline]
    fn word(&self, index: usize, word: usize) -> u64 {
        self.words[index * self.stride + self.values_at + word]
    }

    #[inline]
    fn each_newest_first(
        &self,
        (start, end): (usize, usize),
        (flags, word): (usize, usize),
        mut add: impl FnMut(u64, u64),
    ) {
        let (flags, word) = (1 + flags, self.values_at + word);
        for record in self.words[start * self.stride..end * self.stride].chunks_exact(self.stride).rev() {
            add(record[flags], record[word]);
        }
    }

    /// From the newest row back: what is asked for is mostly near the end, or everything, as by the longest frame.
    #[inline]
    fn first_where(&self, passes: impl Fn(i64) -> bool) -> usize {
        if self.len > 0 && passes(self.time(0)) {
            return 0;
        }
        let mut index = self.len;
        while index > 0 && passes(self.time(index - 1)) {
            index -= 1;
        }
        index
    }
}

impl<'a> SmallRows<'a> {
    /// The records, oldest first.
    pub(super) fn records(&self) -> impl Iterator<Item = &'a [u64]> {
        self.words.chunks_exact(self.stride)
    }
}

impl Small {
    /// A buffer of these records.
    pub(super) fn from_words(words: Vec<u64>, layout: &Layout) -> Self {
        let len = (words.len() / layout.stride()) as u32;
        Self { words, head: 0, len }
    }

    /// Records held.
    #[inline]
    pub(super) fn len(&self) -> usize {
        self.len as usize
    }

    #[inline]
    pub(super) fn rows(&self, layout: &Layout) -> SmallRows<'_> {
        let stride = layout.stride();
        let words = &self.words[self.head as usize * stride..];
        SmallRows { words, stride, values_at: layout.values_at(), len: self.len() }
    }

    /// Inserts a record after all rows that are not later, and says where.
    pub(super) fn insert(&mut self, plan: &Plan, record: &[u64]) -> usize {
        let stride = record.len();
        let position = self.rows(&plan.layout).first_after(record[0].cast_signed());
        self.make_room(stride);
        let at = (self.head as usize + position) * stride;
        let newest = at == self.words.len();
        self.words.extend_from_slice(record);
        if !newest {
            self.words[at..].rotate_right(stride);
        }
        self.len += 1;
        for &distinct in &plan.distincts {
            self.flag_last(plan, &plan.measures[distinct].measure, position);
        }
        position
    }

    fn make_room(&mut self, stride: usize) {
        if self.words.len() + stride <= self.words.capacity() {
            return;
        }
        if self.head > 0 {
            self.words.drain(..self.head as usize * stride);
            self.head = 0;
            return;
        }
        self.words.reserve_exact(stride * (2 + self.len() / 3));
    }

    /// Sets the flag of a new row if no later row has its value, and clears it on the row before.
    fn flag_last(&mut self, plan: &Plan, measure: &Measure, position: usize) {
        let Kind::Distinct(flag) = measure.kind else { return };
        let rows = self.rows(&plan.layout);
        if !measure.selection.takes(&rows, position) {
            return;
        }
        let word = measure.column.word;
        let value = rows.word(position, word);
        let has =
            |index: &usize| rows.flags(*index, flag.word) & flag.bit != 0 && rows.word(*index, word) == value;
        if position + 1 < rows.len() && (position + 1..rows.len()).any(|index| has(&index)) {
            return;
        }
        let before = (0..position).rev().find(has);
        if let Some(before) = before {
            self.set_flag(&plan.layout, before, flag, u64::MIN);
        }
        self.set_flag(&plan.layout, position, flag, u64::MAX);
    }

    fn set_flag(&mut self, layout: &Layout, index: usize, flag: Flag, value: u64) {
        let word = &mut self.words[(self.head as usize + index) * layout.stride() + 1 + flag.word];
        *word = *word & !flag.bit | flag.bit & value;
    }

    /// Lets the first `rows` rows go.
    pub(super) fn evict(&mut self, layout: &Layout, rows: usize, interner: &mut Interner) {
        if !layout.interned.is_empty() {
            let held = self.rows(layout);
            for index in 0..rows {
                for &word in &layout.interned {
                    interner.release(held.word(index, word));
                }
            }
        }
        self.head += rows as u32;
        self.len -= rows as u32;
        if self.len == 0 {
            self.words.clear();
            self.head = 0;
        }
    }

    /// Reads the newest word, to have it in cache.
    #[inline]
    pub(super) fn touch_newest(&self) -> u64 {
        self.words.last().copied().unwrap_or_default()
    }

    /// Reads one in `step` words (at least one each), to have them in cache.
    #[inline]
    pub(super) fn touch(&self, step: usize) -> u64 {
        self.words.rchunks(step).fold(0, |sum, words| sum ^ words[0])
    }

    /// Memory in bytes beyond the struct itself.
    #[inline]
    pub(super) fn bytes(&self) -> usize {
        self.words.capacity() * size_of::<u64>()
    }
}
