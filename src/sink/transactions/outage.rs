//! Whether every broker was away while the end of a transaction may not have been written yet.
//!
//! A broker says that a transaction is committed once the decision is in its log; the marks that end it in each partition
//! follow. Brokers of Kafka 4 that all went down in between may forget those marks (KAFKA-20734): readers of committed
//! records, and the group's offsets, then wait for ever, or until a later transaction of the same producer ends both,
//! rightly or wrongly. So nothing more may be committed behind such an outage until [`super::end_hanging`] was here.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::event::{Clock, SystemClock};

/// The marks of a transaction are long written when so much time has passed since it was committed.
const MARKS_WRITTEN: Duration = Duration::from_secs(10);

/// What the producers of a ring know of their brokers.
#[derive(Debug)]
pub(super) struct Outages {
    clock: SystemClock,
    count: AtomicU64,
    last: Mutex<Duration>,
}

impl Default for Outages {
    fn default() -> Self {
        Self { clock: SystemClock::start(), count: AtomicU64::new(0), last: Mutex::default() }
    }
}

impl Outages {
    /// Time since the ring was made.
    pub(super) fn elapsed(&self) -> Duration {
        self.clock.elapsed()
    }

    /// A producer has lost its last broker.
    pub(super) fn note(&self) {
        self.note_at(self.elapsed());
    }

    fn note_at(&self, at: Duration) {
        *self.last.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = at;
        self.count.fetch_add(1, Ordering::Release);
    }

    fn last(&self) -> Duration {
        *self.last.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// The committer's view of the outages, from one commit to the next.
#[derive(Debug, Default)]
pub(super) struct Watch {
    harmless: u64,
    committed_at: Option<Duration>,
}

impl Watch {
    /// Before a transaction is ended: forgives outages that came when nothing was ended, or long after.
    pub(super) fn begin(&mut self, outages: &Outages) -> bool {
        let count = outages.count.load(Ordering::Acquire);
        if self.committed_at.is_none_or(|committed| outages.last() > committed + MARKS_WRITTEN) {
            self.harmless = count;
        }
        self.clear(outages)
    }

    /// Whether there was no outage that counts.
    pub(super) fn clear(&self, outages: &Outages) -> bool {
        outages.count.load(Ordering::Acquire) == self.harmless
    }

    /// A transaction was committed just now.
    pub(super) fn committed(&mut self, outages: &Outages) {
        self.committed_at = Some(outages.elapsed());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outage_counts_from_the_start_of_a_commit_until_its_marks_are_surely_written() {
        let (outages, mut watch) = (Outages::default(), Watch::default());
        outages.note();
        assert!(watch.begin(&outages), "nothing was committed before it");
        watch.committed(&outages);
        let committed = outages.elapsed();
        outages.note_at(committed + MARKS_WRITTEN * 2);
        assert!(watch.begin(&outages), "the marks were written by then");
        outages.note_at(committed + MARKS_WRITTEN / 2);
        assert!(!watch.clear(&outages), "it came while a transaction was being ended");
        assert!(!watch.begin(&outages), "nothing more may be ended");
    }
}
