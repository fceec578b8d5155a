//! The history of one key: its held rows and what it keeps of earlier ones.
//!
//! Takes one record at a time and hands on the position it got. The order of the steps is the meaning
//! of the state: forget an idle past, fold what is older than the watermark, let go of what no frame
//! holds, insert. All of it depends on the row's own time and watermark only, so batch sizes, shards
//! and sweeping change nothing.

use super::carry::Carry;
use super::dense::{DENSE_ROWS_MIN, Dense, SMALL_ROWS_MAX};
use super::frame::{fold_to, held_from};
use super::intern::Interner;
use super::measure::Rows;
use super::plan::Plan;
use super::small::Small;

#[derive(Debug)]
pub(super) struct History {
    /// Greatest time of any row of the key.
    pub(super) last: i64,
    pub(super) buffer: Buffer,
    pub(super) carry: Option<Box<Carry>>,
}

/// The held rows; answers don't depend on which form they have.
#[derive(Debug)]
pub(super) enum Buffer {
    Small(Small),
    Dense(Box<Dense>),
}

/// Evaluates an expression with the rows of a buffer, whichever form they have.
macro_rules! with_rows {
    ($buffer:expr, $layout:expr, $rows:ident => $body:expr) => {
        match $buffer {
            Buffer::Small(small) => {
                let $rows = &small.rows($layout);
                $body
            }
            Buffer::Dense(dense) => {
                let $rows = &dense.columns;
                $body
            }
        }
    };
}

impl Default for History {
    fn default() -> Self {
        Self { last: i64::MIN, buffer: Buffer::Small(Small::default()), carry: None }
    }
}

impl History {
    /// Rows held.
    #[inline]
    pub(super) fn len(&self) -> usize {
        match &self.buffer {
            Buffer::Small(small) => small.len(),
            Buffer::Dense(dense) => dense.columns.len(),
        }
    }

    /// Lets go of what the watermark has passed, and says how many rows that were.
    pub(super) fn advance(
        &mut self,
        plan: &Plan,
        watermark: i64,
        idle: Option<i64>,
        interner: &mut Interner,
    ) -> usize {
        let layout = &plan.layout;
        if let Some(carry) = &mut self.carry {
            let horizon = horizon(watermark, idle);
            with_rows!(&self.buffer, layout, rows => {
                if self.last < horizon {
                    carry.reset(plan, horizon, rows.len(), interner);
                }
                fold(plan, carry, rows, watermark, interner);
            });
        }
        let gone =
            with_rows!(&self.buffer, layout, rows => passed(plan, rows, watermark, self.carry.as_deref()));
        if gone > 0 {
            self.evict(plan, gone, interner);
            if let Some(carry) = &mut self.carry {
                carry.evicted(gone);
            }
        }
        gone
    }

    fn evict(&mut self, plan: &Plan, rows: usize, interner: &mut Interner) {
        match &mut self.buffer {
            Buffer::Small(small) => small.evict(&plan.layout, rows, interner),
            Buffer::Dense(dense) => {
                dense.evict(plan, rows, interner);
                if dense.columns.len() > SMALL_ROWS_MAX {
                    return;
                }
                let small = Buffer::Small(Small::default());
                if let Buffer::Dense(dense) = std::mem::replace(&mut self.buffer, small) {
                    self.buffer = Buffer::Small(dense.into_small(plan));
                }
            }
        }
    }

    /// Adds a row, and says at which position.
    pub(super) fn insert(
        &mut self,
        plan: &Plan,
        record: &[u64],
        watermark: i64,
        idle: Option<i64>,
        interner: &mut Interner,
    ) -> usize {
        let time = record[0].cast_signed();
        let position = match &mut self.buffer {
            Buffer::Dense(dense) => dense.insert(plan, record, interner),
            Buffer::Small(small) => {
                let position = small.insert(plan, record);
                if small.len() >= DENSE_ROWS_MIN {
                    let dense = Dense::new(plan, &small.rows(&plan.layout), interner);
                    self.buffer = Buffer::Dense(Box::new(dense));
                }
                position
            }
        };
        if plan.carries {
            let carry =
                self.carry.get_or_insert_with(|| Box::new(Carry::new(plan, horizon(watermark, idle))));
            with_rows!(&self.buffer, &plan.layout, rows => {
                fold_late(plan, carry, rows, position, interner);
                fold(plan, carry, rows, watermark, interner);
            });
        }
        self.last = self.last.max(time);
        position
    }

    /// Reads one word of the buffer, to have it in cache; what it is means nothing.
    #[inline]
    pub(super) fn touch_near(&self) -> u64 {
        match &self.buffer {
            Buffer::Small(small) => small.touch_newest(),
            Buffer::Dense(dense) => dense.columns.end() as u64,
        }
    }

    /// Reads the parts of the buffer that a record will need.
    #[inline]
    pub(super) fn touch_far(&self, plan: &Plan, record: &[u64]) -> u64 {
        match &self.buffer {
            Buffer::Small(small) => small.touch(8),
            Buffer::Dense(dense) => dense.touch(plan, record),
        }
    }

    /// Whether nothing of the key can be seen by any later row.
    pub(super) fn is_over(&self, plan: &Plan, watermark: i64, idle: Option<i64>) -> bool {
        let held = plan.retention.time;
        let past = |distance: Option<i64>| {
            distance.is_some_and(|distance| self.last < watermark.saturating_sub(distance))
        };
        past(held) && (!plan.carries || past(idle))
    }

    /// Lets go of everything.
    pub(super) fn clear(mut self, plan: &Plan, interner: &mut Interner) {
        let rows = self.len();
        self.evict(plan, rows, interner);
        if let Some(mut carry) = self.carry {
            carry.reset(plan, i64::MIN, 0, interner);
        }
    }

    /// Memory in bytes beyond the struct itself.
    #[inline]
    pub(super) fn bytes(&self) -> usize {
        let buffer = match &self.buffer {
            Buffer::Small(small) => small.bytes(),
            Buffer::Dense(dense) => dense.bytes(),
        };
        buffer + self.carry.as_ref().map_or(0, |carry| carry.bytes())
    }
}

/// How many of the oldest rows no frame holds any more.
#[inline]
fn passed<R: Rows>(plan: &Plan, rows: &R, watermark: i64, carry: Option<&Carry>) -> usize {
    let Some(time) = plan.retention.time else { return 0 };
    let by_time = watermark.saturating_sub(time);
    if rows.len() == 0 || rows.time(0) >= by_time {
        return 0;
    }
    let first = rows.first_at_from_oldest(by_time);
    match plan.retention.rows {
        0 => first,
        count => first.min(held_from(rows, watermark, count).max(carry.map_or(0, |carry| carry.floor))),
    }
}

/// Folds all rows that the watermark has passed.
fn fold<R: Rows>(plan: &Plan, carry: &mut Carry, rows: &R, watermark: i64, interner: &mut Interner) {
    for frame in &plan.frames {
        let Some(index) = frame.fold else { continue };
        let fold = &mut carry.folds[index];
        let to = fold_to(frame, rows, watermark);
        while fold.cursor < to {
            fold.add(plan, frame, rows, fold.cursor, interner);
            fold.cursor += 1;
        }
    }
}

/// Time before which a key that has been idle for so long forgets.
fn horizon(watermark: i64, idle: Option<i64>) -> i64 {
    idle.map_or(i64::MIN, |idle| watermark.saturating_sub(idle))
}

/// Makes room for a row inserted below what is folded, and folds it unless it is forgotten already.
fn fold_late<R: Rows>(plan: &Plan, carry: &mut Carry, rows: &R, position: usize, interner: &mut Interner) {
    if rows.time(position) < carry.horizon {
        carry.floor += 1;
        carry.folds.iter_mut().for_each(|fold| fold.cursor += 1);
        return;
    }
    for frame in &plan.frames {
        let Some(index) = frame.fold else { continue };
        let fold = &mut carry.folds[index];
        if position < fold.cursor {
            fold.add(plan, frame, rows, position, interner);
            fold.cursor += 1;
        }
    }
}
