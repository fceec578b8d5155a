//! Where the rows come from that windows are filled with: the history first, the topic for the rest.
//!
//! Takes how far back rows of each partition are needed and up to which offset; hands on plans for the history,
//! ranges of topics, and the partitions of which neither reaches back far enough.

use std::collections::BTreeMap;

use super::job::{Job, JobError};
use super::refusal::RecoveryPolicy;
use crate::event::{Contract, EventTime, Offset, Partition};
use crate::graph::Lasting;
use crate::history::{History, Plan, Wanted};
use crate::source::kafka::{ConsumerSettings, ReplayRange, first_records_at};
use crate::source::{SourcePartition, index_of};

/// Everything that rows can be read from again.
pub(super) struct Origins<'a> {
    pub consumer: &'a ConsumerSettings,
    pub history: Option<&'a History>,
    pub contract: &'a Contract,
    pub policy: &'a RecoveryPolicy,
}

/// What is needed of one partition.
#[derive(Debug, Clone)]
pub(super) struct Need {
    pub partition: Partition,
    /// Index of its stream in the contract.
    pub stream: usize,
    /// The oldest offset that the topic holds.
    pub low: Offset,
    /// The first offset that is not needed.
    pub next: Offset,
    /// Event time from which on rows are needed, microseconds.
    pub since: i64,
    /// And those that are needed however old they are.
    pub lasting: Lasting,
}

/// Where the rows come from.
#[derive(Default)]
pub(super) struct Sources {
    pub plans: Vec<Plan>,
    pub ranges: Vec<ReplayRange>,
    /// Partitions of which older rows are needed than are left.
    pub incomplete: Vec<Incomplete>,
}

/// A partition of which older rows are needed than are left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Incomplete {
    pub partition: Partition,
    /// Whether rows between the history's end and the topic's beginning are gone: what the history holds says nothing
    /// of how far back rows are whole.
    pub gap: bool,
    /// Event time before which rows of windows without a bound in time may be missing, though older ones are there.
    pub whole_from: Option<i64>,
}

impl Incomplete {
    /// Event time from which on rows are whole; `earliest` is that of the earliest row, below a gap not counted.
    pub(super) fn reaches(&self, earliest: Option<i64>, now: i64) -> i64 {
        earliest.unwrap_or(now).max(self.whole_from.unwrap_or(i64::MIN))
    }
}

impl Sources {
    /// Takes what is needed of a partition from the topic, where its first record of that time or later is known, and
    /// from what the history has.
    fn add(&mut self, need: &Need, found: Option<Offset>, plan: Option<Plan>) {
        // Where rows are needed however old they are, no time is earlier than the topic's beginning.
        let all = need.since == i64::MIN || need.lasting != Lasting::Nothing;
        let first = if all { Some(need.low) } else { found };
        let from = first.unwrap_or(need.next).clamp(need.low.min(need.next), need.next);
        let topic_reaches = from > need.low || need.low.0 == 0;
        let plan = plan.filter(|plan| plan.reaches.is_some()).filter(|plan| {
            let starts = plan.complete || plan.starts.is_some_and(|first| first <= from);
            !topic_reaches || starts && plan.whole_from.is_none()
        });
        let whole_from = plan.as_ref().and_then(|plan| plan.whole_from);
        let complete = plan.as_ref().is_some_and(|plan| plan.complete) && whole_from.is_none();
        let resume = plan.as_ref().and_then(|plan| plan.reaches).unwrap_or(from);
        // Rows between the history's end and the topic's beginning are lost to the windows.
        let gap = resume < need.low && resume < need.next;
        if gap || !(topic_reaches || complete) {
            self.incomplete.push(Incomplete { partition: need.partition.clone(), gap, whole_from });
        }
        self.plans.extend(plan);
        self.ranges.push(ReplayRange {
            partition: need.partition.clone(),
            from: resume.max(need.low).min(need.next),
            to: need.next,
        });
    }

    /// Of the earliest rows of the history, by the partitions' indexes, leaves out those below a gap.
    pub(super) fn forget_below_gaps(&self, table: &[SourcePartition], earliest: &mut BTreeMap<u32, i64>) {
        for incomplete in self.incomplete.iter().filter(|incomplete| incomplete.gap) {
            index_of(table, &incomplete.partition).and_then(|index| earliest.remove(&index));
        }
    }
}

impl Job<'_> {
    pub(super) fn origins<'a>(&'a self, contract: &'a Contract) -> Origins<'a> {
        Origins {
            consumer: &self.consumer,
            history: self.history.as_ref().map(|kept| &kept.history),
            contract,
            policy: &self.policy.recovery,
        }
    }
}

impl Origins<'_> {
    pub(super) fn sources(&self, needs: &[Need]) -> Result<Sources, JobError> {
        let mut sources = Sources::default();
        let time = |since: i64| EventTime(since.saturating_sub(self.policy.future.0).max(0));
        let times: Vec<_> = needs.iter().map(|need| (need.partition.clone(), time(need.since))).collect();
        let found = first_records_at(&self.consumer.kafka, &self.consumer.group, &times)?;
        for (need, found) in needs.iter().zip(found) {
            sources.add(need, found, self.plan(need)?);
        }
        Ok(sources)
    }

    fn plan(&self, need: &Need) -> Result<Option<Plan>, JobError> {
        let Some(history) = self.history else { return Ok(None) };
        let wanted = Wanted {
            partition: need.partition.clone(),
            stream: need.stream,
            generation: self.policy.generation(need.stream),
            until: need.next,
            since: need.since,
            lasting: need.lasting.clone(),
        };
        let plan = history.plan(self.contract, &wanted)?;
        for (name, reason) in &plan.unusable {
            tracing::warn!(segment = %name, %reason, "a segment of the history can't be used");
        }
        Ok(Some(plan))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::LastRows;
    use crate::history::Place;

    fn partition() -> Partition {
        Partition { topic: "payments".into(), partition: 0 }
    }

    /// Rows however old they are, up to offset 100, of a topic that begins here.
    fn need(low: i64) -> Need {
        let last = LastRows { of: "card".to_owned(), rows: 3 };
        let lasting = Lasting::Last(vec![last]);
        Need { partition: partition(), stream: 0, low: Offset(low), next: Offset(100), since: 50, lasting }
    }

    /// A history from the first offset on.
    fn plan(reaches: i64, whole_from: Option<i64>) -> Plan {
        Plan {
            place: Place { partition: partition(), generation: 1 },
            stream: 0,
            segments: Vec::new(),
            starts: Some(Offset(0)),
            reaches: Some(Offset(reaches)),
            complete: true,
            whole_from,
            rows: 0,
            next_arrival: 0,
            unusable: Vec::new(),
        }
    }

    fn added(low: i64, plan: Plan) -> (Sources, Offset) {
        let mut sources = Sources::default();
        sources.add(&need(low), None, Some(plan));
        let from = sources.ranges[0].from;
        (sources, from)
    }

    #[test]
    fn a_whole_history_is_read_and_the_topic_behind_it() {
        for low in [0, 30] {
            let (sources, from) = added(low, plan(90, None));
            assert_eq!((sources.plans.len(), sources.incomplete, from), (1, Vec::new(), Offset(90)));
        }
    }

    #[test]
    fn a_history_that_lacks_rows_of_windows_without_a_bound_gives_way_to_a_topic_that_has_them() {
        let (sources, from) = added(0, plan(90, Some(70)));
        assert_eq!((sources.plans.len(), sources.incomplete, from), (0, Vec::new(), Offset(0)));
    }

    #[test]
    fn where_the_topic_has_them_no_longer_the_partition_is_incomplete_from_when_the_history_is_whole() {
        let (sources, from) = added(30, plan(90, Some(70)));
        assert_eq!((sources.plans.len(), from), (1, Offset(90)));
        let [lacking] = sources.incomplete.as_slice() else { panic!("{:?}", sources.incomplete) };
        // The rows that were carried over are older and prove nothing.
        assert_eq!((lacking.gap, lacking.reaches(Some(5), 1_000)), (false, 70));
    }

    #[test]
    fn rows_below_a_gap_do_not_say_from_when_windows_are_whole() {
        let (sources, from) = added(95, plan(90, None));
        assert_eq!(from, Offset(95));
        let table = [SourcePartition { partition: partition(), stream: 0 }];
        let mut earliest = BTreeMap::from([(0, 5), (1, 5)]);
        sources.forget_below_gaps(&table, &mut earliest);
        assert_eq!(earliest, BTreeMap::from([(1, 5)]));
        assert_eq!(sources.incomplete[0].reaches(None, 1_000), 1_000);
    }
}
