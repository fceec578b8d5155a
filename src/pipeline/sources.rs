//! Where the rows come from that windows are filled with: the history first, the topic for the rest.
//!
//! Takes how far back rows of each partition are needed and up to which offset; hands on plans for the history,
//! ranges of topics, and the partitions of which neither reaches back far enough.

use super::job::{Job, JobError};
use super::refusal::RecoveryPolicy;
use crate::event::{Contract, EventTime, Offset, Partition};
use crate::graph::Lasting;
use crate::history::{History, Plan, Wanted};
use crate::source::kafka::{ConsumerSettings, ReplayRange, first_records_at};

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
    pub incomplete: Vec<Partition>,
    /// Event time before which rows of windows without a bound in time may be missing, though the history is whole.
    pub whole_from: Option<i64>,
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
            // Where rows are needed however old they are, no time is earlier than the topic's beginning.
            let all = need.since == i64::MIN || need.lasting != Lasting::Nothing;
            let first = if all { Some(need.low) } else { found };
            let from = first.unwrap_or(need.next).clamp(need.low.min(need.next), need.next);
            let topic_reaches = from > need.low || need.low.0 == 0;
            let plan = self.plan(need)?.filter(|plan| {
                plan.reaches.is_some()
                    && (plan.complete || plan.starts.is_some_and(|first| first <= from) || !topic_reaches)
            });
            let complete = topic_reaches || plan.as_ref().is_some_and(|plan| plan.complete);
            let resume = plan.as_ref().and_then(|plan| plan.reaches).unwrap_or(from);
            // Rows between the history's end and the topic's beginning are lost to the windows.
            let gap = resume < need.low && resume < need.next;
            if gap || !complete {
                sources.incomplete.push(need.partition.clone());
            }
            sources.whole_from = sources.whole_from.max(plan.as_ref().and_then(|plan| plan.whole_from));
            sources.plans.extend(plan);
            sources.ranges.push(ReplayRange {
                partition: need.partition.clone(),
                from: resume.max(need.low).min(need.next),
                to: need.next,
            });
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
