//! Whether the last transactions have ended everywhere, before anything more is committed behind them.
//!
//! A broker says that a transaction is committed once the decision is in its log; the marks that end it in each partition
//! follow. Brokers of Kafka 4 that went down in between may forget those marks (KAFKA-20734): readers of committed
//! records, and the group's offsets, then wait for ever, or until a later transaction of the same producer ends both,
//! rightly or wrongly. Offsets that a later transaction commits would hide that the forgotten one is lost. So after
//! anything that may be the sign of such an outage (a connection lost or refused, a commit that took long), the brokers are
//! asked about the transactions of the last seconds: the committed offsets must be those of the last, and readers of
//! committed records must get past the messages of all. Where they don't, nothing more is committed until
//! [`super::end_hanging`] was here, which goes back to the offsets of before them.
//!
//! The library's own report that all brokers are down is no such sign: it counts the addresses it started from among
//! them, which it does not look at once it has others.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaResult;
use rdkafka::{Offset as Position, TopicPartitionList};

use super::hanging::reader;
use super::{SinkError, TransactionSettings, committer};
use crate::event::{Clock, Offset, Partition, SystemClock};
use crate::sink::Destination;
use crate::source::kafka::{PartitionCommit, offsets_to_commit};

/// A commit that takes longer is a sign of an outage.
const SLOW: Duration = Duration::from_secs(3);

/// A transaction has ended everywhere once another began so long after it was committed and there was no sign of an outage:
/// brokers write the marks within milliseconds, and the decisions of one that lives are not forgotten.
const SURE: Duration = Duration::from_secs(10);

/// How long one question may take, and how long the marks of a transaction are waited for.
const ANSWER_WAIT: Duration = Duration::from_secs(2);
pub(super) const MARKS_WAIT: Duration = Duration::from_secs(10);

/// How far apart the same question is asked.
const PAUSE_MIN: Duration = Duration::from_millis(10);
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// The last message of a transaction in each partition of its outputs.
pub(super) type LastMessages = BTreeMap<(Destination, i32), i64>;

/// What the sinks of a process know of their brokers and of the transactions that they committed last: the next ring goes on
/// from it, for a broker may have ended a transaction in the group's offsets and forgotten it in the outputs.
#[derive(Debug, Clone)]
pub struct TransactionEnds(Arc<Ends>);

#[derive(Debug)]
struct Ends {
    clock: SystemClock,
    /// Signs of an outage so far.
    faults: AtomicU64,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    /// Faults up to which every transaction is known to have ended.
    faults: u64,
    /// The offsets of before [`Self::recent`].
    before: BTreeMap<Partition, PartitionCommit>,
    /// Transactions that may not have ended everywhere, the oldest first.
    recent: VecDeque<Committed>,
    /// The last step whose transaction has ended everywhere.
    step: u64,
    /// How far the offsets of transactions reach that were tried to be committed.
    tried: BTreeMap<Partition, Offset>,
}

/// What a committed transaction must have left behind.
#[derive(Debug)]
pub(super) struct Committed {
    pub(super) step: u64,
    pub(super) messages: LastMessages,
    pub(super) offsets: Vec<PartitionCommit>,
    /// When the commit began and ended, since [`TransactionEnds`] was made.
    pub(super) began: Duration,
    pub(super) ended: Duration,
}

impl Default for TransactionEnds {
    fn default() -> Self {
        let known = Mutex::default();
        Self(Arc::new(Ends { clock: SystemClock::start(), faults: AtomicU64::default(), known }))
    }
}

impl Known {
    /// The oldest transaction has ended everywhere.
    fn retire(&mut self) {
        if let Some(ended) = self.recent.pop_front() {
            self.step = ended.step;
            self.before.extend(ended.offsets.into_iter().map(|commit| (commit.partition.clone(), commit)));
        }
    }

    /// What all recent transactions together must have left behind: the furthest of each.
    fn furthest(&self) -> Furthest {
        let mut furthest = Furthest::default();
        for committed in &self.recent {
            furthest.messages.extend(committed.messages.iter().map(|(place, offset)| (*place, *offset)));
            let offsets = committed.offsets.iter();
            furthest.offsets.extend(offsets.map(|commit| (commit.partition.clone(), commit.clone())));
        }
        furthest
    }
}

impl TransactionEnds {
    /// Time since this was made.
    pub(super) fn elapsed(&self) -> Duration {
        self.0.clock.elapsed()
    }

    /// A sign of an outage.
    pub(super) fn fault(&self) {
        self.0.faults.fetch_add(1, Ordering::Release);
    }

    /// Signs of an outage so far.
    pub(super) fn faults(&self) -> u64 {
        self.0.faults.load(Ordering::Acquire)
    }

    /// Up to which step every transaction has ended everywhere: no start goes back behind it.
    pub fn ended(&self) -> u64 {
        self.known().step
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A ring begins; nothing that was committed up to so many faults is in doubt any more.
    pub(super) fn begin(&self, faults: u64) {
        *self.known() = Known { faults, ..Known::default() };
    }

    /// Partitions are read from these committed offsets on.
    pub fn gained(&self, offsets: impl Iterator<Item = PartitionCommit>) {
        self.known().before.extend(offsets.map(|commit| (commit.partition.clone(), commit)));
    }

    /// Partitions are another's, who may commit for them.
    pub fn gone(&self, partitions: &[Partition]) {
        let mut known = self.known();
        known.before.retain(|partition, _| !partitions.contains(partition));
        known.tried.retain(|partition, _| !partitions.contains(partition));
        let recent = known.recent.iter_mut();
        recent.for_each(|one| one.offsets.retain(|commit| !partitions.contains(&commit.partition)));
    }

    /// A transaction with these offsets is going to be committed.
    pub(super) fn trying(&self, offsets: &[PartitionCommit]) {
        let reached = offsets.iter().map(|commit| (commit.partition.clone(), commit.offset));
        self.known().tried.extend(reached);
    }

    /// A transaction was committed.
    pub(super) fn committed(&self, committed: Committed) {
        if committed.ended.saturating_sub(committed.began) > SLOW {
            self.fault();
        }
        let mut known = self.known();
        let calm = self.faults() == known.faults;
        let sure = |older: &Committed| committed.began.saturating_sub(older.ended) >= SURE;
        while calm && known.recent.front().is_some_and(sure) {
            known.retire();
        }
        known.recent.push_back(committed);
    }

    /// Whether a transaction may not have ended everywhere, which the next commit would tell.
    pub(super) fn in_doubt(&self) -> bool {
        let known = self.known();
        self.faults() != known.faults && !known.recent.is_empty()
    }

    /// The offsets to go back to where a transaction may not have ended everywhere, each with how far commits of this
    /// process may have reached: what is committed beyond is another's. A transaction that was under way when the ring
    /// broke is covered as well.
    pub(super) fn doubted(&self) -> Vec<(PartitionCommit, Offset)> {
        let known = self.known();
        if self.faults() == known.faults {
            return Vec::new();
        }
        let reached = |commit: &PartitionCommit| known.tried.get(&commit.partition).copied();
        known
            .before
            .values()
            .map(|commit| (commit.clone(), reached(commit).unwrap_or(commit.offset)))
            .collect()
    }

    /// Fails where a recent transaction may not have ended everywhere. Asks the brokers only after a fault.
    pub(super) fn check(
        &self,
        settings: &TransactionSettings,
        abandoned: &AtomicBool,
    ) -> Result<(), SinkError> {
        let count = self.faults();
        let furthest = {
            let known = self.known();
            if count == known.faults {
                return Ok(());
            }
            (!known.recent.is_empty()).then(|| known.furthest())
        };
        if let Some(furthest) = furthest {
            tracing::debug!("brokers were away: asking whether the last transactions have ended");
            self.await_marks(&furthest, settings, abandoned)?;
        }
        let mut known = self.known();
        while !known.recent.is_empty() {
            known.retire();
        }
        known.faults = count;
        Ok(())
    }

    fn await_marks(
        &self,
        furthest: &Furthest,
        settings: &TransactionSettings,
        abandoned: &AtomicBool,
    ) -> Result<(), SinkError> {
        let committed = reader(settings, &[])?;
        let all = reader(settings, &[("isolation.level", "read_uncommitted")])?;
        let until = self.elapsed() + MARKS_WAIT;
        let mut pause = PAUSE_MIN;
        let mut reason = "it was not waited for".to_owned();
        while !abandoned.load(Ordering::Relaxed) && self.elapsed() < until {
            match furthest.unmarked(settings, &committed, &all) {
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
                "brokers were away, and whether the transactions before it have ended is not known: {reason}"
            ),
        })
    }
}

/// How far transactions reach in their outputs and in the group's offsets.
#[derive(Debug, Default)]
struct Furthest {
    messages: LastMessages,
    offsets: BTreeMap<Partition, PartitionCommit>,
}

impl Furthest {
    /// A place where one of the transactions has not ended.
    fn unmarked(
        &self,
        settings: &TransactionSettings,
        committed: &BaseConsumer,
        all: &BaseConsumer,
    ) -> KafkaResult<Option<String>> {
        // Offsets that are still to be decided are not seen by who reads everything: what is seen is what was decided.
        let expected = offsets_to_commit(self.offsets.values())?;
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

    fn settings(ends: &TransactionEnds) -> TransactionSettings {
        let nowhere = KafkaSettings { brokers: vec!["127.0.0.1:1".to_owned()], ..KafkaSettings::default() };
        TransactionSettings {
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
            ends: ends.clone(),
        }
    }

    /// Nobody waits for the answer, so asking fails at once.
    fn asks(ends: &TransactionEnds) -> bool {
        ends.check(&settings(ends), &AtomicBool::new(true)).is_err()
    }

    fn commit(partition: i32, offset: i64) -> PartitionCommit {
        let partition = Partition { topic: "payments".into(), partition };
        PartitionCommit { partition, offset: Offset(offset), note: String::new() }
    }

    /// A transaction of one partition, committed in no time so many seconds after the start.
    fn at(seconds: u64, offset: i64) -> Committed {
        let ended = Duration::from_secs(seconds);
        let offsets = vec![commit(0, offset)];
        Committed { step: seconds, messages: LastMessages::new(), offsets, began: ended, ended }
    }

    fn doubted(ends: &TransactionEnds) -> Vec<i64> {
        ends.doubted().iter().map(|(commit, _)| commit.offset.0).collect()
    }

    #[test]
    fn brokers_are_asked_after_a_fault_and_only_for_a_transaction_that_was_committed() {
        let ends = TransactionEnds::default();
        ends.fault();
        assert!(!asks(&ends), "nothing was committed that could be lost");
        ends.committed(at(0, 7));
        assert!(!asks(&ends), "no fault since");
        ends.fault();
        assert!(asks(&ends) && asks(&ends), "until it is answered");

        let ends = TransactionEnds::default();
        ends.committed(Committed { ended: SLOW * 2, ..at(0, 7) });
        assert!(asks(&ends), "a commit that takes long is a sign as well");
    }

    #[test]
    fn after_a_fault_the_offsets_of_before_all_transactions_of_the_last_seconds_are_gone_back_to() {
        let ends = TransactionEnds::default();
        ends.gained([commit(0, 5)].into_iter());
        [(0, 7), (6, 9), (11, 11)]
            .into_iter()
            .for_each(|(seconds, offset)| ends.committed(at(seconds, offset)));
        assert!(doubted(&ends).is_empty(), "no fault");
        assert_eq!(ends.ended(), 0, "the first, at second 0, is surely written");
        ends.fault();
        assert_eq!(doubted(&ends), [7]);
        ends.committed(at(60, 13));
        assert_eq!(doubted(&ends), [7], "nothing is sure that nobody has looked into");
        assert_eq!(doubted(&ends), [7], "a start that failed leaves it to the next");
        ends.begin(ends.faults());
        assert!(doubted(&ends).is_empty());
    }

    #[test]
    fn the_first_transaction_of_a_partition_goes_back_to_where_it_was_gained_and_what_is_gone_to_nowhere() {
        let ends = TransactionEnds::default();
        ends.gained([commit(0, 5), commit(1, 50)].into_iter());
        ends.committed(at(0, 7));
        assert!(!ends.in_doubt());
        ends.fault();
        assert!(ends.in_doubt());
        assert_eq!(doubted(&ends), [5, 50]);
        ends.trying(&[commit(0, 9)]);
        let reached: Vec<i64> = ends.doubted().iter().map(|(_, reached)| reached.0).collect();
        assert_eq!(reached, [9, 50], "a commit that failed may have been made");
        ends.gone(&[commit(0, 0).partition]);
        assert_eq!(doubted(&ends), [50]);
        assert!(ends.known().furthest().offsets.is_empty(), "its next owner commits for it");
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
