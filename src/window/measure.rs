//! The quantities that answers are made of: counts, sums, extremes, moments of a set of rows.
//!
//! A measure is kept once however many aggregates and frames use it (`avg` is a sum and a count).
//! Values of neighbouring ranges merge and are never subtracted, so a float sum holds only what is
//! in its frame, and NaN or infinity leave with the row that brought them.

use super::column::{Column, Encoding, Flag};
use super::intern::Interner;

/// Which rows count: those with all these flags set.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub(super) struct Selection {
    /// Flag word and mask; a mask of 0 takes every row.
    first: (usize, u64),
    /// Masks in other flag words, for states with more than 64 flags.
    more: Vec<(usize, u64)>,
}

impl Selection {
    pub(super) fn new(flags: impl IntoIterator<Item = Flag>) -> Self {
        let mut masks: Vec<(usize, u64)> = Vec::new();
        for flag in flags {
            match masks.iter_mut().find(|(word, _)| *word == flag.word) {
                Some((_, mask)) => *mask |= flag.bit,
                None => masks.push((flag.word, flag.bit)),
            }
        }
        masks.sort_unstable();
        let first = masks.first().copied().unwrap_or_default();
        Self { first, more: masks.into_iter().skip(1).collect() }
    }

    /// Whether every row is taken.
    #[inline]
    pub(super) fn is_all(&self) -> bool {
        self.first.1 == 0
    }

    /// Flag word and mask, where one word holds all flags; a mask of 0 takes every row.
    #[inline]
    pub(super) fn single(&self) -> Option<(usize, u64)> {
        self.more.is_empty().then_some(self.first)
    }

    #[inline(always)]
    pub(super) fn takes<R: Rows>(&self, rows: &R, index: usize) -> bool {
        let (word, mask) = self.first;
        if mask == 0 {
            return true;
        }
        rows.flags(index, word) & mask == mask
            && (self.more.is_empty()
                || self.more.iter().all(|(word, mask)| rows.flags(index, *word) & mask == *mask))
    }
}

/// The held rows of one key, in (time, arrival) order, by position from 0.
pub(super) trait Rows {
    fn len(&self) -> usize;
    fn time(&self, index: usize) -> i64;
    fn flags(&self, index: usize, word: usize) -> u64;
    fn word(&self, index: usize, word: usize) -> u64;

    /// Calls `add` with a flag word and a value word of each row, newest first.
    #[inline]
    fn each_newest_first(
        &self,
        (start, end): (usize, usize),
        (flags, word): (usize, usize),
        mut add: impl FnMut(u64, u64),
    ) {
        for index in (start..end).rev() {
            add(self.flags(index, flags), self.word(index, word));
        }
    }

    /// The value of a column as one number, whatever its encoding.
    #[inline]
    fn value(&self, index: usize, column: &Column) -> u128 {
        let word = u128::from(self.word(index, column.word));
        if column.encoding == Encoding::Wide {
            return word << 64 | u128::from(self.word(index, column.word + 1));
        }
        word
    }

    /// First position whose time is at or past `time`.
    fn first_at(&self, time: i64) -> usize {
        self.first_where(|row| row >= time)
    }

    /// The same, where it is likely to be near the oldest row.
    fn first_at_from_oldest(&self, time: i64) -> usize {
        self.first_at(time)
    }

    /// First position whose time is past `time`.
    fn first_after(&self, time: i64) -> usize {
        self.first_where(|row| row > time)
    }

    /// First position whose time passes a test that all later times pass too.
    fn first_where(&self, passes: impl Fn(i64) -> bool) -> usize {
        let (mut low, mut high) = (0, self.len());
        while low < high {
            let middle = usize::midpoint(low, high);
            if passes(self.time(middle)) {
                high = middle;
            } else {
                low = middle + 1;
            }
        }
        low
    }
}

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Count,
    /// Wrapping 64-bit sum, signed and unsigned alike.
    SumWord,
    /// Exact 128-bit sum.
    SumWide,
    SumFloat,
    /// Count, mean and squared deviations.
    Moments,
    Min,
    Max,
    /// Different values; the flag is set on the last row of the buffer that has a value.
    Distinct(Flag),
}

/// One measure of the rows that its selection takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Measure {
    pub(super) kind: Kind,
    /// Column measured; for a count, the first column or any.
    pub(super) column: Column,
    pub(super) selection: Selection,
    /// Whether only null values are left out, whose words are zero.
    pub(super) plain: bool,
}

/// Value of a measure over a range of rows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Value {
    Count(i64),
    Word(u64),
    Wide(i128),
    Float(f64),
    Moments(Moments),
    Best(Option<u128>),
}

/// Count, mean and sum of squared deviations (Welford 1962; merged after Chan, Golub and LeVeque 1979).
#[derive(Clone, Copy, Debug, PartialEq, Default)]
pub(super) struct Moments {
    pub(super) count: f64,
    pub(super) mean: f64,
    pub(super) squares: f64,
}

impl Moments {
    #[inline]
    pub(super) fn add(&mut self, value: f64) {
        self.count += 1.0;
        let delta = value - self.mean;
        self.mean += delta / self.count;
        self.squares += delta * (value - self.mean);
    }

    pub(super) fn merge(&mut self, other: &Self) {
        if other.count == 0.0 {
            return;
        }
        if self.count == 0.0 {
            *self = *other;
            return;
        }
        let count = self.count + other.count;
        let delta = other.mean - self.mean;
        self.mean += delta * other.count / count;
        self.squares += other.squares + delta * delta * self.count * other.count / count;
        self.count = count;
    }
}

/// The number that a value word stands for.
#[inline]
pub(super) fn number(column: &Column, value: u128) -> f64 {
    let whole = match column.encoding {
        Encoding::Float => return f64::from_bits(value as u64),
        Encoding::Unsigned => return value as u64 as f64,
        Encoding::Wide => value.cast_signed() as f64,
        Encoding::Signed | Encoding::Bytes => (value as u64).cast_signed() as f64,
    };
    if column.scale == 0 { whole } else { whole / 10f64.powi(i32::from(column.scale)) }
}

/// The whole number that a value word stands for (a decimal's digits).
#[inline]
pub(super) fn whole(encoding: Encoding, value: u128) -> i128 {
    match encoding {
        Encoding::Wide => value.cast_signed(),
        Encoding::Unsigned => value.cast_signed(),
        _ => i128::from((value as u64).cast_signed()),
    }
}

/// Whether `candidate` takes the place of `best`.
#[inline]
pub(super) fn better(measure: &Measure, candidate: u128, best: u128, interner: &Interner) -> bool {
    let (left, right) = match measure.kind {
        Kind::Min => (candidate, best),
        _ => (best, candidate),
    };
    match measure.column.encoding {
        Encoding::Signed => (left as u64).cast_signed() < (right as u64).cast_signed(),
        Encoding::Unsigned => left < right,
        Encoding::Wide => left.cast_signed() < right.cast_signed(),
        Encoding::Float => f64::from_bits(left as u64).total_cmp(&f64::from_bits(right as u64)).is_lt(),
        Encoding::Bytes => interner.compare(left as u64, right as u64).is_lt(),
    }
}

impl Measure {
    /// Value over no rows.
    pub(super) fn identity(&self) -> Value {
        match self.kind {
            Kind::Count | Kind::Distinct(_) => Value::Count(0),
            Kind::SumWord => Value::Word(0),
            Kind::SumWide => Value::Wide(0),
            Kind::SumFloat => Value::Float(0.0),
            Kind::Moments => Value::Moments(Moments::default()),
            Kind::Min | Kind::Max => Value::Best(None),
        }
    }

    /// Adds one row; a distinct count counts the flagged last rows.
    #[inline]
    pub(super) fn add<R: Rows>(&self, value: &mut Value, rows: &R, index: usize, interner: &Interner) {
        if let (Kind::Distinct(last), Value::Count(count)) = (self.kind, &mut *value) {
            *count += i64::from(rows.flags(index, last.word) & last.bit != 0);
            return;
        }
        if !self.selection.takes(rows, index) {
            return;
        }
        match value {
            Value::Count(count) => *count += 1,
            Value::Word(sum) => *sum = sum.wrapping_add(rows.word(index, self.column.word)),
            Value::Wide(sum) => {
                *sum = sum.wrapping_add(whole(self.column.encoding, rows.value(index, &self.column)));
            }
            Value::Float(sum) => *sum += number(&self.column, rows.value(index, &self.column)),
            Value::Moments(moments) => moments.add(number(&self.column, rows.value(index, &self.column))),
            Value::Best(best) => {
                let candidate = rows.value(index, &self.column);
                if best.is_none_or(|best| better(self, candidate, best, interner)) {
                    *best = Some(candidate);
                }
            }
        }
    }

    /// Adds the value of the rows that follow.
    pub(super) fn merge(&self, value: &mut Value, other: &Value, interner: &Interner) {
        match (value, other) {
            (Value::Count(count), Value::Count(other)) => *count += other,
            (Value::Word(sum), Value::Word(other)) => *sum = sum.wrapping_add(*other),
            (Value::Wide(sum), Value::Wide(other)) => *sum = sum.wrapping_add(*other),
            (Value::Float(sum), Value::Float(other)) => *sum += other,
            (Value::Moments(moments), Value::Moments(other)) => moments.merge(other),
            (Value::Best(best), Value::Best(Some(other)))
                if best.is_none_or(|best| better(self, *other, best, interner)) =>
            {
                *best = Some(*other);
            }
            _ => {}
        }
    }
}
