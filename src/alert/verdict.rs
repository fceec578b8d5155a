//! What becomes of a hit, and when it is judged.

use crate::event::EventTime;

/// When a hit is judged.
#[derive(Debug, Clone, Copy)]
pub struct Moment {
    /// The event's own time.
    pub event_time: EventTime,
    /// The watermark at its row.
    pub watermark: EventTime,
}

/// What becomes of a hit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It alerts.
    Alert {
        /// Hits that were held back since the last alert about the same matter.
        suppressed_before: u64,
    },
    /// `@dedup` holds it back.
    Suppressed,
    /// It is past the rule's `@budget`, and leaves in a summary.
    OverBudget,
    /// It is outside `@valid_from` to `@valid_until`.
    OutOfValidity,
    /// Its rule is switched off.
    SwitchedOff,
}
