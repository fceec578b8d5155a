//! Whether the last transaction has ended everywhere, before anything is committed behind it.
//!
//! A broker says that a transaction is committed once the decision is in its log; the marks that end it in each partition
//! follow. Brokers of Kafka 4 that went down in between may forget those marks (KAFKA-20734): readers of committed
//! records, and the group's offsets, then wait for ever, or until a later transaction of the same producer ends both,
//! rightly or wrongly. Offsets that a later transaction commits would hide that the forgotten one is lost. So after
//! anything that may be the sign of such an outage (a connection lost or refused, a commit that took long), the brokers are
//! asked: the committed offsets must be those of the last transaction, and readers of committed records must get past
//! its messages. Where they don't, nothing more is committed until [`super::end_hanging`] was here.
//!
//! The library's own report that all brokers are down is no such sign: it counts the addresses it started from among
//! them, which it does not look at once it has others.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaResult;
use rdkafka::{Offset as Position, TopicPartitionList};

use super::hanging::reader;
use super::{SinkError, TransactionSettings, committer};
use crate::event::{Clock, Partition, SystemClock};
use crate::sink::Destination;
use crate::source::kafka::{PartitionCommit, offsets_to_commit};

/// A commit that takes longer is a sign of an outage.
const SLOW: Duration = Duration::from_secs(3);

/// How long one question may take, and how long the marks of a transaction are waited for.
const ANSWER_WAIT: Duration = Duration::from_secs(2);
const MARKS_WAIT: Duration = Duration::from_secs(10);

/// How far apart the same question is asked.
const PAUSE_MIN: Duration = Duration::from_millis(10);
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// What the producers of a ring know of their brokers.
#[derive(Debug)]
pub(super) struct Faults {
    clock: SystemClock,
    count: AtomicU64,
}

impl Default for Faults {
    fn default() -> Self {
        Self { clock: SystemClock::start(), count: AtomicU64::default() }
    }
}

impl Faults {
    /// Time since the ring was made.
    pub(super) fn elapsed(&self) -> Duration {
        self.clock.elapsed()
    }

    /// A sign of an outage.
    pub(super) fn note(&self) {
        self.count.fetch_add(1, Ordering::Release);
    }

    fn count(&self) -> u64 {
        self.count.load(Ordering::Acquire)
    }
}

/// The last message of a transaction in each partition of its outputs.
pub(super) type LastMessages = BTreeMap<(Destination, i32), i64>;

/// What the last transaction must have left behind.
#[derive(Debug)]
struct Last {
    messages: LastMessages,
    offsets: Vec<PartitionCommit>,
}

/// The offsets to go back to where the last transaction may not have ended everywhere: what the sinks of a process tell
/// the next one, for a broker may have ended it in the group's offsets and forgotten it in the outputs.
#[derive(Debug, Clone, Default)]
pub struct Doubt(Arc<Mutex<Doubted>>);

#[derive(Debug, Default)]
struct Doubted {
    /// Offsets of the transactions before the last.
    before: BTreeMap<Partition, PartitionCommit>,
    last: Vec<PartitionCommit>,
    faults: Option<Arc<Faults>>,
    /// Faults up to which the last transaction is known to have ended.
    known: u64,
}

impl Doubt {
    fn open(&self) -> MutexGuard<'_, Doubted> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn committed(&self, offsets: &[PartitionCommit]) {
        let mut doubted = self.open();
        let ended = std::mem::replace(&mut doubted.last, offsets.to_vec());
        doubted.before.extend(ended.into_iter().map(|commit| (commit.partition.clone(), commit)));
    }

    fn settled(&self, faults: &Arc<Faults>, known: u64) {
        let mut doubted = self.open();
        (doubted.faults, doubted.known) = (Some(Arc::clone(faults)), known);
    }

    /// What is in doubt, once; begins anew with the faults of the next sink. Where a transaction was under way as well, going back
    /// behind the one before it covers both.
    pub(super) fn take(&self, next: &Arc<Faults>) -> Vec<PartitionCommit> {
        let doubted = std::mem::take(&mut *self.open());
        self.settled(next, next.count());
        let in_doubt = doubted.faults.is_some_and(|faults| faults.count() != doubted.known);
        if in_doubt { doubted.before.into_values().collect() } else { Vec::new() }
    }
}

/// The committer's view of the outages, from one commit to the next.
#[derive(Debug, Default)]
pub(super) struct Watch {
    last: Option<Last>,
    /// Faults up to which the last transaction is known to have ended.
    known: u64,
}

impl Watch {
    /// A transaction was committed just now; `took` from its first request on.
    pub(super) fn committed(
        &mut self,
        faults: &Faults,
        doubt: &Doubt,
        messages: LastMessages,
        offsets: Vec<PartitionCommit>,
        took: Duration,
    ) {
        doubt.committed(&offsets);
        self.last = Some(Last { messages, offsets });
        if took > SLOW {
            faults.note();
        }
    }

    /// Fails where the last transaction may not have ended everywhere. Asks the brokers only after a fault.
    pub(super) fn check(
        &mut self,
        faults: &Arc<Faults>,
        settings: &TransactionSettings,
        abandoned: &AtomicBool,
    ) -> Result<(), SinkError> {
        let count = faults.count();
        if count == self.known {
            return Ok(());
        }
        if let Some(last) = &self.last {
            tracing::debug!("brokers were away: asking whether the last transaction has ended");
            last.await_marks(faults, settings, abandoned)?;
        }
        self.known = count;
        settings.doubt.settled(faults, count);
        Ok(())
    }
}

impl Last {
    fn await_marks(
        &self,
        faults: &Faults,
        settings: &TransactionSettings,
        abandoned: &AtomicBool,
    ) -> Result<(), SinkError> {
        let committed = reader(settings, &settings.group, "read_committed")?;
        let all = reader(settings, &settings.group, "read_uncommitted")?;
        let until = faults.elapsed() + MARKS_WAIT;
        let mut pause = PAUSE_MIN;
        let mut reason = "it was not waited for".to_owned();
        while !abandoned.load(Ordering::Relaxed) && faults.elapsed() < until {
            match self.unmarked(settings, &committed, &all) {
                Ok(None) => return Ok(()),
                Ok(Some(place)) => reason = format!("{place} does not show it"),
                Err(error) => reason = crate::source::kafka::words(&error),
            }
            std::thread::sleep(pause);
            pause = PAUSE_MAX.min(pause * 2);
        }
        Err(SinkError::Transaction {
            attempt: committer::COMMITTING,
            reason: format!(
                "brokers were away, and whether the transaction before it has ended is not known: {reason}"
            ),
        })
    }

    /// A place where the transaction has not ended.
    fn unmarked(
        &self,
        settings: &TransactionSettings,
        committed: &BaseConsumer,
        all: &BaseConsumer,
    ) -> KafkaResult<Option<String>> {
        // Offsets that are still to be decided are not seen by who reads everything: what is seen is what was decided.
        let expected = offsets_to_commit(self.offsets.iter())?;
        if let Some(place) = behind(&expected, &all.committed_offsets(expected.clone(), ANSWER_WAIT)?) {
            return Ok(Some(place));
        }
        for ((destination, partition), last) in &self.messages {
            let topic = settings.kafka.topics.of(*destination);
            let (_, stable) = committed.fetch_watermarks(topic, *partition, ANSWER_WAIT)?;
            if stable <= *last {
                return Ok(Some(format!("{topic}/{partition}")));
            }
        }
        Ok(None)
    }
}

/// The first partition of which less is committed than expected.
fn behind(expected: &TopicPartitionList, found: &TopicPartitionList) -> Option<String> {
    let known = |place: &rdkafka::topic_partition_list::TopicPartitionListElem<'_>| match found
        .find_partition(place.topic(), place.partition())?
        .offset()
    {
        Position::Offset(offset) => Some(offset),
        _ => None,
    };
    expected.elements().iter().find_map(|place| {
        let Position::Offset(wanted) = place.offset() else { return None };
        let short = known(place).is_none_or(|offset| offset < wanted);
        short.then(|| format!("the offset of {}/{}", place.topic(), place.partition()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sink::RefusedMessages;
    use crate::sink::kafka::{KafkaSinkSettings, Topics};
    use crate::source::kafka::KafkaSettings;

    #[test]
    fn brokers_are_asked_after_a_fault_and_only_for_a_transaction_that_was_committed() {
        let nowhere = KafkaSettings { brokers: vec!["127.0.0.1:1".to_owned()], ..KafkaSettings::default() };
        let settings = TransactionSettings {
            kafka: KafkaSinkSettings {
                kafka: nowhere,
                client_id: "job".to_owned(),
                topics: Topics::default(),
                linger_ms: 0,
            },
            id: "job".to_owned(),
            group: "job".to_owned(),
            producers: 1,
            refused: RefusedMessages::default(),
            doubt: Doubt::default(),
        };
        let (faults, mut watch) = (Arc::new(Faults::default()), Watch::default());
        // Nobody waits for the answer, so asking fails at once.
        let asks = |watch: &mut Watch| watch.check(&faults, &settings, &AtomicBool::new(true)).is_err();
        faults.note();
        assert!(!asks(&mut watch), "nothing was committed that could be lost");
        watch.committed(&faults, &settings.doubt, LastMessages::new(), Vec::new(), SLOW);
        assert!(!asks(&mut watch), "no fault since");
        faults.note();
        assert!(asks(&mut watch) && asks(&mut watch), "until it is answered");

        let mut watch = Watch { known: faults.count(), last: None };
        watch.committed(&faults, &settings.doubt, LastMessages::new(), Vec::new(), SLOW * 2);
        assert!(asks(&mut watch), "a commit that takes long is a sign as well");
    }

    #[test]
    fn after_a_fault_that_nobody_looked_into_the_offsets_before_the_last_transaction_are_gone_back_to() {
        let commit = |offset| PartitionCommit {
            partition: Partition { topic: "payments".into(), partition: 0 },
            offset: crate::event::Offset(offset),
            note: String::new(),
        };
        let (doubt, faults, next) = (Doubt::default(), Arc::<Faults>::default(), Arc::<Faults>::default());
        assert_eq!(doubt.take(&faults).len(), 0);
        [7, 9].into_iter().for_each(|offset| doubt.committed(&[commit(offset)]));
        faults.note();
        let back = doubt.take(&next);
        assert_eq!(back.iter().map(|commit| commit.offset.0).collect::<Vec<_>>(), [7]);
        [11, 13].into_iter().for_each(|offset| doubt.committed(&[commit(offset)]));
        faults.note();
        assert_eq!(doubt.take(&Arc::default()).len(), 0, "faults of a ring that is gone");
    }

    fn offsets(of: &[(i32, Position)]) -> TopicPartitionList {
        let mut list = TopicPartitionList::new();
        of.iter().for_each(|(partition, offset)| {
            list.add_partition_offset("payments", *partition, *offset).expect("an offset");
        });
        list
    }

    #[test]
    fn offsets_of_a_transaction_whose_end_is_lost_are_behind_and_those_of_the_next_owner_are_not() {
        let expected = offsets(&[(0, Position::Offset(7)), (1, Position::Offset(9))]);
        assert_eq!(behind(&expected, &expected), None);
        let later = offsets(&[(0, Position::Offset(7)), (1, Position::Offset(12))]);
        assert_eq!(behind(&expected, &later), None);
        for lost in [Position::Offset(8), Position::Invalid] {
            let found = offsets(&[(0, Position::Offset(7)), (1, lost)]);
            assert_eq!(behind(&expected, &found).as_deref(), Some("the offset of payments/1"));
        }
        assert_eq!(behind(&expected, &offsets(&[])).as_deref(), Some("the offset of payments/0"));
    }
}
