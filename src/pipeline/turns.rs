//! When the loop last turned, and whether the brokers were away lately.
//!
//! Takes the time of each turn and of each outage; tells an outage of the brokers from connections that are lost because
//! this process stood still and nobody served them.

use std::time::Duration;

/// So long after brokers were away a member may still be on its way back into the group.
const REJOINED_WITHIN: Duration = Duration::from_secs(60);

/// A loop that did not turn for so long was not running: another may have been started in its place.
const STOOD_STILL: Duration = Duration::from_secs(3);

#[derive(Debug, Default)]
pub(super) struct Turns {
    last: Duration,
    /// When the loop last went on after it had stood still.
    woken: Option<Duration>,
    outage: Option<Duration>,
}

impl Turns {
    /// The loop turns.
    pub(super) fn note(&mut self, now: Duration) {
        if now.saturating_sub(self.last) > STOOD_STILL && self.last > Duration::ZERO {
            (self.woken, self.outage) = (Some(now), None);
        }
        self.last = now;
    }

    /// No broker can be reached.
    pub(super) fn note_outage(&mut self) {
        let served = self.woken.is_none_or(|woken| self.last.saturating_sub(woken) >= REJOINED_WITHIN);
        self.outage = served.then_some(self.last);
    }

    /// Whether no broker could be reached a moment ago, though this process was there to do so.
    pub(super) fn brokers_were_away(&self, now: Duration) -> bool {
        self.outage.is_some_and(|outage| now.saturating_sub(outage) < REJOINED_WITHIN)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn an_outage_counts_for_a_minute_and_not_where_the_process_stood_still_before_it() {
        let mut turns = Turns::default();
        turns.note(SECOND);
        turns.note_outage();
        assert!(turns.brokers_were_away(SECOND * 60));
        assert!(!turns.brokers_were_away(SECOND * 61));
        turns.note(SECOND * 12);
        turns.note_outage();
        assert!(!turns.brokers_were_away(SECOND * 13), "it was stopped for eleven seconds");
        for second in 13..80 {
            turns.note(SECOND * second);
        }
        turns.note_outage();
        assert!(turns.brokers_were_away(SECOND * 80));
    }
}
