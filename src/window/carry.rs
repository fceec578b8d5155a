//! What a key keeps of rows it no longer holds, for frames without a start.
//!
//! Rows older than the watermark (less the frame's end) are folded, in (time, arrival) order, into one
//! value a measure. A late row that stands below the fold is folded at once: such a frame sees what was
//! folded whatever its time. First and last values keep the few rows they need, in order. The cost of
//! `count(DISTINCT)` without a start is a set of all values the key ever had.

use std::collections::VecDeque;

use foldhash::fast::FixedState;
use hashbrown::HashSet;

use super::column::Encoding;
use super::intern::{HASHER, Interner};
use super::measure::{Kind, Measure, Rows, Value, better};
use super::plan::{EdgePlan, Plan, PlannedFrame, Side};

/// A set of words.
pub(super) type WordSet = HashSet<u64, FixedState>;

#[derive(Debug, Default)]
pub(super) struct Carry {
    /// Rows of earlier times are forgotten by all but bounded `RANGE` frames.
    pub(super) horizon: i64,
    /// First position that is not forgotten.
    pub(super) floor: usize,
    /// One a frame without a start.
    pub(super) folds: Vec<Fold>,
}

#[derive(Debug, Default)]
pub(super) struct Fold {
    /// Rows below this position are folded.
    pub(super) cursor: usize,
    pub(super) values: Vec<Folded>,
    pub(super) edges: Vec<VecDeque<EdgeRow>>,
}

#[derive(Debug)]
pub(super) enum Folded {
    Value(Value),
    Set(WordSet),
}

/// A row kept from one side of what was folded.
#[derive(Clone, Copy, Debug)]
pub(super) struct EdgeRow {
    time: i64,
    pub(super) valid: bool,
    pub(super) value: u128,
}

impl Carry {
    pub(super) fn new(plan: &Plan, horizon: i64) -> Self {
        let unbounded = plan.frames.iter().filter(|frame| frame.fold.is_some());
        Self { horizon, floor: 0, folds: unbounded.map(|frame| Fold::new(plan, frame)).collect() }
    }

    /// Forgets everything: all rows, which are `position` many, are older than the horizon.
    pub(super) fn reset(&mut self, plan: &Plan, horizon: i64, position: usize, interner: &mut Interner) {
        self.horizon = horizon;
        self.floor = position;
        for frame in &plan.frames {
            let Some(index) = frame.fold else { continue };
            let fold = std::mem::replace(&mut self.folds[index], Fold::new(plan, frame));
            fold.release(plan, frame, interner);
            self.folds[index].cursor = position;
        }
    }

    /// Follows the eviction of the first `rows` rows.
    pub(super) fn evicted(&mut self, rows: usize) {
        self.floor = self.floor.saturating_sub(rows);
        for fold in &mut self.folds {
            fold.cursor = fold.cursor.saturating_sub(rows);
        }
    }

    /// Memory in bytes.
    pub(super) fn bytes(&self) -> usize {
        let fold = |fold: &Fold| {
            let values = fold.values.capacity() * size_of::<Folded>();
            let edges: usize = fold.edges.iter().map(|rows| rows.capacity() * size_of::<EdgeRow>()).sum();
            let sets: usize = fold
                .values
                .iter()
                .map(|value| if let Folded::Set(set) = value { set.allocation_size() } else { 0 })
                .sum();
            values + edges + sets + fold.edges.capacity() * size_of::<VecDeque<EdgeRow>>()
        };
        size_of::<Self>()
            + self.folds.capacity() * size_of::<Fold>()
            + self.folds.iter().map(fold).sum::<usize>()
    }
}

impl Fold {
    fn new(plan: &Plan, frame: &PlannedFrame) -> Self {
        let value = |&index: &usize| {
            let measure = &plan.measures[index].measure;
            match measure.kind {
                Kind::Distinct(_) => Folded::Set(WordSet::with_hasher(HASHER)),
                _ => Folded::Value(measure.identity()),
            }
        };
        Self {
            cursor: 0,
            values: frame.folded.iter().map(value).collect(),
            edges: frame.edges.iter().map(|_| VecDeque::new()).collect(),
        }
    }

    /// Folds one row.
    pub(super) fn add<R: Rows>(
        &mut self,
        plan: &Plan,
        frame: &PlannedFrame,
        rows: &R,
        index: usize,
        interner: &mut Interner,
    ) {
        for (value, &measure) in self.values.iter_mut().zip(&frame.folded) {
            let measure = &plan.measures[measure].measure;
            match value {
                Folded::Set(set) => {
                    if measure.selection.takes(rows, index)
                        && set.insert(rows.word(index, measure.column.word))
                    {
                        hold(measure.column.encoding, rows.value(index, &measure.column), interner);
                    }
                }
                Folded::Value(value) => add_value(measure, value, rows, index, interner),
            }
        }
        for (edge, plan) in self.edges.iter_mut().zip(&frame.edges) {
            add_edge(edge, plan, rows, index, interner);
        }
    }

    /// Lets all held strings go.
    pub(super) fn release(self, plan: &Plan, frame: &PlannedFrame, interner: &mut Interner) {
        for (value, &measure) in self.values.into_iter().zip(&frame.folded) {
            let encoding = plan.measures[measure].measure.column.encoding;
            match value {
                Folded::Set(set) => set.into_iter().for_each(|word| release(encoding, word.into(), interner)),
                Folded::Value(Value::Best(Some(best))) => release(encoding, best, interner),
                Folded::Value(_) => {}
            }
        }
        for (edge, plan) in self.edges.into_iter().zip(&frame.edges) {
            edge.into_iter().for_each(|row| release(plan.column.encoding, row.value, interner));
        }
    }
}

fn hold(encoding: Encoding, value: u128, interner: &mut Interner) {
    if encoding == Encoding::Bytes {
        interner.hold(value as u64);
    }
}

fn release(encoding: Encoding, value: u128, interner: &mut Interner) {
    if encoding == Encoding::Bytes {
        interner.release(value as u64);
    }
}

fn add_value<R: Rows>(measure: &Measure, value: &mut Value, rows: &R, index: usize, interner: &mut Interner) {
    let Value::Best(best) = value else {
        measure.add(value, rows, index, interner);
        return;
    };
    if !measure.selection.takes(rows, index) {
        return;
    }
    let candidate = rows.value(index, &measure.column);
    if best.is_some_and(|best| !better(measure, candidate, best, interner)) {
        return;
    }
    hold(measure.column.encoding, candidate, interner);
    if let Some(replaced) = best.replace(candidate) {
        release(measure.column.encoding, replaced, interner);
    }
}

fn add_edge<R: Rows>(
    edge: &mut VecDeque<EdgeRow>,
    plan: &EdgePlan,
    rows: &R,
    index: usize,
    interner: &mut Interner,
) {
    if !plan.selection.takes(rows, index) {
        return;
    }
    let time = rows.time(index);
    let position = edge.partition_point(|row| row.time <= time);
    let full = edge.len() >= plan.rows_max;
    if full && (plan.side == Side::Start && position == edge.len() || plan.side == Side::End && position == 0)
    {
        return;
    }
    let valid = rows.flags(index, plan.column.valid.word) & plan.column.valid.bit != 0;
    let value = rows.value(index, &plan.column);
    hold(plan.column.encoding, value, interner);
    edge.insert(position, EdgeRow { time, valid, value });
    if full {
        let dropped = if plan.side == Side::Start { edge.pop_back() } else { edge.pop_front() };
        if let Some(dropped) = dropped {
            release(plan.column.encoding, dropped.value, interner);
        }
    }
}
