//! Frames to ranges of positions: which held rows a row sees.
//!
//! Takes the rows of a key and the current row, hands on one range a frame. "Held" is defined by the
//! watermark and the frame alone, not by what is still in memory, so an answer does not depend on when
//! memory is freed or on which windows share the buffer. A row always sees itself where the frame ends
//! at the current row, even one too late to see anything else.

use super::carry::Carry;
use super::measure::Rows;
use super::plan::{Due, Phase, Plan, PlannedFrame};
use super::rows::{Columns, Guessed};
use super::spec::Frame;

/// The row being answered.
#[derive(Clone, Copy, Debug)]
pub(super) struct Current {
    pub(super) time: i64,
    pub(super) watermark: i64,
    /// Its position among the rows of its key.
    pub(super) position: usize,
}

/// Positions from `start` to before `end`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Positions {
    pub(super) start: usize,
    pub(super) end: usize,
}

impl Positions {
    fn new(start: usize, end: usize) -> Self {
        Self { start: start.min(end), end }
    }

    pub(super) fn len(self) -> usize {
        self.end - self.start
    }
}

/// Sets the ranges of all frames that are due; for a frame without a start, of what is not folded.
pub(super) fn find<R: Rows>(
    plan: &Plan,
    due: Due,
    rows: &R,
    current: &Current,
    carry: Option<&Carry>,
    ranges: &mut Vec<Positions>,
) {
    ranges.resize(plan.frames.len(), Positions::default());
    for (frame, range) in plan.frames.iter().zip(ranges) {
        if due.takes(frame.phase, frame.asks) {
            *range = positions(frame, rows, current, carry);
        }
    }
}

/// The same for a key with many rows: each frame is looked for where it was before.
pub(super) fn find_dense(
    plan: &Plan,
    due: Due,
    (columns, guesses): (&Columns, &mut [(usize, usize)]),
    current: &Current,
    carry: Option<&Carry>,
    ranges: &mut Vec<Positions>,
) {
    ranges.resize(plan.frames.len(), Positions::default());
    for ((frame, range), guess) in plan.frames.iter().zip(ranges).zip(guesses) {
        if !due.takes(frame.phase, frame.asks) {
            continue;
        }
        let start = if frame.phase == Phase::Ties { guess.0 } else { usize::MAX };
        let end = if frame.ends_at_current() { current.position + 1 } else { guess.1 };
        *range = positions(frame, &Guessed { columns, guess: (start, end) }, current, carry);
        // A late row's frame says nothing about the next row's.
        if current.position + 1 == columns.len() {
            *guess = (range.start, range.end);
        }
    }
}

/// The range of one frame.
pub(super) fn positions<R: Rows>(
    planned: &PlannedFrame,
    rows: &R,
    current: &Current,
    carry: Option<&Carry>,
) -> Positions {
    let folded = planned.fold.zip(carry).map_or(0, |(fold, carry)| carry.folds[fold].cursor);
    let floor = carry.map_or(0, |carry| carry.floor);
    let forgotten = carry.is_some_and(|carry| current.time < carry.horizon);
    match planned.frame {
        Frame::Range { start: Some(start), end } => {
            let from = current.time.max(current.watermark).saturating_sub(start);
            let to = current.time.saturating_sub(end);
            if from > to {
                return alone(end == 0, current);
            }
            Positions::new(rows.first_at(from), rows.first_after(to))
        }
        Frame::Range { start: None, end } if forgotten => alone(end == 0, current),
        Frame::Rows { end, .. } if forgotten => alone(end == 0, current),
        Frame::Range { start: None, end } => {
            let end = rows.first_after(current.time.saturating_sub(end));
            Positions::new(folded, end.max(folded))
        }
        Frame::Rows { start: Some(start), end } => {
            let held = held_from(rows, current.watermark, start).max(floor);
            if current.position < held {
                return alone(end == 0, current);
            }
            let to = (current.position + 1).saturating_sub(end);
            Positions::new(current.position.saturating_sub(start).max(held), to)
        }
        Frame::Rows { start: None, end } => {
            let end = (current.position + 1).saturating_sub(end);
            Positions::new(folded, end.max(folded))
        }
    }
}

fn alone(with_current: bool, current: &Current) -> Positions {
    let end = current.position + usize::from(with_current);
    Positions::new(current.position, end)
}

/// First of the `count` rows before the watermark.
pub(super) fn held_from<R: Rows>(rows: &R, watermark: i64, count: usize) -> usize {
    rows.first_at(watermark).saturating_sub(count)
}

/// Position up to which a frame without a start folds.
pub(super) fn fold_to<R: Rows>(planned: &PlannedFrame, rows: &R, watermark: i64) -> usize {
    match planned.frame {
        Frame::Range { end, .. } => rows.first_at(watermark.saturating_sub(end)),
        Frame::Rows { end, .. } => held_from(rows, watermark, end),
    }
}
