//! The events behind a window's answer: which rows of the key it saw.
//!
//! Takes the rows of the key one after the other, in the order in which they were answered; keeps the newest that
//! the frame holds. It judges by time and arrival alone, as the documentation of windows says, and not by what the
//! window's state holds: the two agreeing is what the tests hold them to.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

use crate::alert::{AlertMaker, json_value, source_of};
use crate::decode::DecodedBatch;
use crate::event::EventTime;
use crate::graph::{KeyRow, WindowTrace};
use crate::window::Frame;

/// Events of one window that are kept.
pub const EVENTS_MAX: usize = 1_000;

/// An event that a window saw.
#[derive(Debug, Clone, Serialize)]
pub struct WindowEvent {
    /// Its id.
    pub event_id: String,
    /// Its time.
    pub event_time: String,
    /// Where it stands: topic or file, partition, offset.
    pub source: String,
    /// What the function reads of it.
    pub values: Vec<Value>,
}

/// Where the event in question stands among the others.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    /// Its time, microseconds.
    pub event_time: i64,
    /// The watermark at its row.
    pub watermark: i64,
    /// Its number in the order of the answers.
    pub arrival: u64,
    /// Whether it sees all events of its own time, as in batch SQL, and not only those before it.
    pub together: bool,
}

/// The events of one window.
pub(super) struct WindowEvents {
    frame: Frame,
    kept_max: usize,
    kept: BTreeMap<(i64, u64), WindowEvent>,
    seen: u64,
    /// Whether the event in question is older than the watermark.
    late: bool,
    /// Rows behind it that are older than the watermark too: they take places of those that are held for late ones.
    passed_later: usize,
}

impl WindowEvent {
    pub(super) fn of(maker: &AlertMaker, batch: &DecodedBatch, row: &KeyRow) -> Self {
        Self {
            event_id: maker.event_id(batch, row.row),
            event_time: EventTime(batch.rows.event_time[row.row as usize]).to_string(),
            source: source_of(batch, row.row).0.to_string(),
            values: row.arguments.iter().map(|value| json_value(value, 0)).collect(),
        }
    }
}

impl WindowEvents {
    pub(super) fn of(window: &WindowTrace) -> Self {
        let frame = match window.lag {
            Some(offset) => Frame::Rows { start: Some(offset), end: offset },
            None => window.frame,
        };
        let kept_max = match frame {
            Frame::Rows { start: Some(start), .. } => start.saturating_add(1).min(EVENTS_MAX),
            _ => EVENTS_MAX,
        };
        Self { frame, kept_max, kept: BTreeMap::new(), seen: 0, late: false, passed_later: 0 }
    }

    /// Whether the window saw a row of its key: `crate::window` says which rows one sees, and what of them a late one
    /// still does.
    pub(super) fn sees(&mut self, place: &Place, time: i64, arrival: u64) -> bool {
        let arrived = arrival <= place.arrival || place.together;
        let passed = time < place.watermark;
        match self.frame {
            Frame::Range { start: Some(start), end } => {
                let earliest = place.event_time.max(place.watermark).saturating_sub(start);
                arrived && (earliest..=place.event_time.saturating_sub(end)).contains(&time)
            }
            Frame::Range { start: None, end } => {
                let folded = passed && time < place.watermark.saturating_sub(end);
                arrived && (folded || time <= place.event_time.saturating_sub(end))
            }
            Frame::Rows { start, .. } => {
                let before = (time, arrival) <= (place.event_time, place.arrival);
                let arrived = arrival <= place.arrival;
                self.passed_later += usize::from(arrived && passed && !before);
                self.late = place.event_time < place.watermark;
                arrived && (before || (start.is_none() && passed))
            }
        }
    }

    pub(super) fn add(&mut self, at: (i64, u64), event: WindowEvent) {
        self.seen += 1;
        self.kept.insert(at, event);
        if self.kept.len() > self.kept_max {
            self.kept.pop_first();
        }
    }

    /// How many events the window saw, and the newest of them, newest first.
    pub(super) fn finish(self) -> (u64, Vec<WindowEvent>) {
        let skipped = match self.frame {
            Frame::Rows { end, .. } => end,
            Frame::Range { .. } => 0,
        };
        let held = match self.frame {
            Frame::Rows { start: Some(start), .. } if self.late => {
                start.saturating_sub(self.passed_later).max(1)
            }
            _ => usize::MAX,
        };
        let events: Vec<WindowEvent> = self.kept.into_values().rev().take(held).skip(skipped).collect();
        let seen = match self.frame {
            Frame::Rows { start: Some(_), .. } => events.len() as u64,
            _ => self.seen.saturating_sub(skipped as u64),
        };
        (seen, events)
    }
}
