//! The buffer of a key with many rows: columns, and an index for each measure that makes the answer
//! over any range cheap, however many rows are in it.
//!
//! Whole-number sums and counts are differences of running totals; floats, moments and extremes come
//! from a tree of block summaries; distinct counts follow the frames. The structure depends on the
//! key's own rows only, so float sums come out the same, bit for bit, whatever the batches.

use super::answer::{Seen, add_folded, count_distinct};
use super::carry::WordSet;
use super::distinct::{Distinct, Ends};
use super::intern::Interner;
use super::measure::{Kind, Measure, Moments, Rows, Value};
use super::plan::{Cell, Plan, PlannedMeasure};
use super::prefix::Prefix;
use super::rows::Columns;
use super::small::{Small, SmallRows};
use super::spec::Frame;
use super::tree::{Best, Tree};

/// Rows from which a key is dense, and below which it is small again.
pub(super) const DENSE_ROWS_MIN: usize = 65;
pub(super) const SMALL_ROWS_MAX: usize = 24;

/// Insertions between two countings of bytes.
const ACCOUNT_INTERVAL: usize = 64;

#[derive(Debug)]
pub(super) struct Dense {
    pub(super) columns: Columns,
    /// One a measure of the plan.
    indexes: Vec<Index>,
    /// Where each frame was found last.
    pub(super) guesses: Vec<(usize, usize)>,
    bytes: usize,
}

#[derive(Debug)]
enum Index {
    /// Every row counts: a difference of positions.
    Length,
    Words(Prefix<u64>),
    Wide(Prefix<i128>),
    Float(Tree<f64>),
    Moments(Tree<Moments>),
    Best(Tree<Best>),
    Distinct(Distinct),
}

impl Index {
    fn new(plan: &Plan, planned: &PlannedMeasure, columns: &Columns) -> Self {
        let measure = &planned.measure;
        match measure.kind {
            Kind::Count if measure.selection.is_all() => Self::Length,
            Kind::Count | Kind::SumWord => Self::Words(Prefix::default()),
            Kind::SumWide => Self::Wide(Prefix::default()),
            Kind::SumFloat => Self::Float(Tree::default()),
            Kind::Moments => Self::Moments(Tree::default()),
            Kind::Min | Kind::Max => Self::Best(Tree::default()),
            Kind::Distinct(flag) => {
                let cells = planned.cells.iter().map(|cell| ends(plan, cell));
                Self::Distinct(Distinct::new(flag, measure, columns, cells))
            }
        }
    }

    /// Takes in the rows from a number to the end.
    fn extend(&mut self, measure: &Measure, columns: &Columns, from: usize, interner: &Interner) {
        match self {
            Self::Words(prefix) => prefix.extend(measure, columns, from),
            Self::Wide(prefix) => prefix.extend(measure, columns, from),
            Self::Float(tree) => tree.extend(measure, columns, from, interner),
            Self::Moments(tree) => tree.extend(measure, columns, from, interner),
            Self::Best(tree) => tree.extend(measure, columns, from, interner),
            Self::Length | Self::Distinct(_) => {}
        }
    }

    fn bytes(&self) -> usize {
        match self {
            Self::Length => 0,
            Self::Words(prefix) => prefix.bytes(),
            Self::Wide(prefix) => prefix.bytes(),
            Self::Float(tree) => tree.bytes(),
            Self::Moments(tree) => tree.bytes(),
            Self::Best(tree) => tree.bytes(),
            Self::Distinct(distinct) => distinct.bytes(),
        }
    }
}

fn ends(plan: &Plan, cell: &Cell) -> Ends {
    match plan.frames[cell.frame].frame {
        Frame::Range { start: None, .. } | Frame::Rows { start: None, .. } => Ends::Folded,
        Frame::Range { end: 0, .. } | Frame::Rows { end: 0, .. } => Ends::AtCurrent,
        _ => Ends::Before,
    }
}

impl Dense {
    /// The same rows as a small buffer holds, whose strings go over with them.
    pub(super) fn new(plan: &Plan, rows: &SmallRows<'_>, interner: &Interner) -> Self {
        let mut columns = Columns::new(&plan.layout);
        for record in rows.records() {
            columns.insert(&plan.layout, record);
        }
        let indexes = plan.measures.iter().map(|planned| {
            let mut index = Index::new(plan, planned, &columns);
            index.extend(&planned.measure, &columns, 0, interner);
            index
        });
        let indexes = indexes.collect();
        let guesses = vec![(0, 0); plan.frames.len()];
        let mut dense = Self { columns, indexes, guesses, bytes: 0 };
        dense.account();
        dense
    }

    /// The same rows as a small buffer.
    pub(super) fn into_small(self, plan: &Plan) -> Small {
        Small::from_words(self.columns.records(&plan.layout), &plan.layout)
    }

    /// Inserts a record after all rows that are not later, and says where.
    pub(super) fn insert(&mut self, plan: &Plan, record: &[u64], interner: &Interner) -> usize {
        let row = self.columns.insert(&plan.layout, record);
        for (index, planned) in self.indexes.iter_mut().zip(&plan.measures) {
            match index {
                Index::Distinct(distinct) => distinct.insert(&planned.measure, &mut self.columns, row),
                index => index.extend(&planned.measure, &self.columns, row, interner),
            }
        }
        if self.columns.end().is_multiple_of(ACCOUNT_INTERVAL) {
            self.account();
        }
        row - self.columns.front()
    }

    /// Lets the first `rows` rows go.
    pub(super) fn evict(&mut self, plan: &Plan, rows: usize, interner: &mut Interner) {
        let front = self.columns.front() + rows;
        for (index, planned) in self.indexes.iter_mut().zip(&plan.measures) {
            if let Index::Distinct(distinct) = index {
                distinct.evict(&planned.measure, &self.columns, front);
            }
        }
        for &word in &plan.layout.interned {
            (0..rows).for_each(|index| interner.release(self.columns.word(index, word)));
        }
        for guess in &mut self.guesses {
            *guess = (guess.0.saturating_sub(rows), guess.1.saturating_sub(rows));
        }
        self.columns.evict(rows);
    }

    /// The rows, the indexes and the guesses, apart.
    pub(super) fn parts(&mut self) -> (&Columns, DenseIndexes<'_>, &mut [(usize, usize)]) {
        (&self.columns, DenseIndexes(&mut self.indexes), &mut self.guesses)
    }

    /// Reads the parts that a record will need, to have them in cache.
    #[inline]
    pub(super) fn touch(&self, plan: &Plan, record: &[u64]) -> u64 {
        let newest = self.columns.touch(self.columns.len().wrapping_sub(1));
        let starts = self.guesses.iter().fold(newest, |sum, guess| sum ^ self.columns.touch(guess.0));
        self.indexes.iter().zip(&plan.measures).fold(starts, |sum, (index, planned)| {
            let front = self.columns.front();
            sum ^ match index {
                Index::Distinct(distinct) => {
                    distinct.touch(record[plan.layout.values_at() + planned.measure.column.word])
                }
                Index::Words(prefix) => {
                    self.guesses.iter().fold(0, |sum, guess| sum ^ prefix.touch(front + guess.0))
                }
                _ => 0,
            }
        })
    }

    fn account(&mut self) {
        self.bytes = size_of::<Self>()
            + self.columns.bytes()
            + self.indexes.iter().map(|index| size_of::<Index>() + index.bytes()).sum::<usize>()
            + self.guesses.capacity() * size_of::<(usize, usize)>();
    }

    /// Memory in bytes, as of a while ago.
    #[inline]
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }
}

/// The indexes of a [`Dense`], to be asked while its rows are read.
pub(super) struct DenseIndexes<'a>(&'a mut [Index]);

impl DenseIndexes<'_> {
    /// Computes the values of a measure over all its frames that are due.
    pub(super) fn measure(
        &mut self,
        seen: &Seen<'_, Columns>,
        at: usize,
        values: &mut [Value],
        set: &mut WordSet,
    ) {
        let planned = &seen.plan.measures[at];
        let measure = &planned.measure;
        let columns = seen.rows;
        for (place, cell) in planned.cells.iter().enumerate() {
            if !seen.due.takes(cell.phase, cell.asks) {
                continue;
            }
            let range = seen.ranges[cell.frame];
            let (start, end) = (columns.front() + range.start, columns.front() + range.end);
            let mut value = match &mut self.0[at] {
                Index::Length => Value::Count(range.len() as i64),
                Index::Words(prefix) => prefix.between(measure, columns, start, end),
                Index::Wide(prefix) => prefix.between(measure, columns, start, end),
                Index::Float(tree) => tree.between(measure, columns, start, end, seen.interner),
                Index::Moments(tree) => tree.between(measure, columns, start, end, seen.interner),
                Index::Best(tree) => tree.between(measure, columns, start, end, seen.interner),
                Index::Distinct(distinct) => {
                    let count = match distinct.count(place, measure, columns, (start, end)) {
                        Some(count) => count,
                        None if end == columns.end() && cell.fold.is_none() => {
                            distinct.count_last(columns, start)
                        }
                        None => count_distinct(seen, measure, cell, set),
                    };
                    values[cell.value] = Value::Count(count);
                    continue;
                }
            };
            add_folded(seen, measure, cell, &mut value);
            values[cell.value] = value;
        }
    }
}
