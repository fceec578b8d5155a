//! What of an incarnation's work is durable, and when offsets are committed.
//!
//! Under exactly-once a transaction is closed with the offsets in it; otherwise a commit waits for the receipt of the
//! step before it. Every commit is of all partitions at once, for their watermark is one.

use std::sync::Arc;
use std::time::Duration;

use super::incarnation::Incarnation;
use super::job::JobError;
use super::recover;
use crate::checkpoint::{Note, PartitionCommit, Standing};
use crate::event::{Offset, Partition};
use crate::graph::Carrier;
use crate::history::Old;
use crate::sink::TransactionSink;
use crate::source::index_of;
use crate::source::kafka::{EndedCommits, KafkaSource};

/// How often the history is told what is no longer needed: once in so many of its flushes, within these bounds.
const PRUNE_FLUSHES: u32 = 3;
const PRUNE_INTERVALS: [Duration; 2] = [Duration::from_secs(2), Duration::from_secs(30)];

/// What the history need not keep any more, once it is committed.
#[derive(Default)]
pub(super) struct Pruning {
    /// When it was last looked at.
    looked: Duration,
    /// What need not be kept once a step is committed.
    waiting: Option<(u64, Old)>,
    /// Picks what windows without a bound in time need, once it was asked for under the rules in force.
    carrier: Option<Arc<Carrier>>,
    /// Steps up to this one are known to be committed, and to stay so.
    committed: u64,
    /// At-least-once: the step of the last commit that was asked for, and how many commits have not ended.
    asked: (u64, u64),
}

impl Pruning {
    /// One that failed is asked for again by the next, so once none is left the last one tells.
    fn ended(&mut self, ended: EndedCommits) {
        let (step, left) = &mut self.asked;
        *left = left.saturating_sub(ended.done + ended.failed);
        if *left == 0 && ended.failed == 0 {
            self.committed = *step;
        }
    }
}

impl Incarnation<'_> {
    /// Commits what may be committed, at most once an interval.
    pub(super) fn commit(&mut self) -> Result<(), JobError> {
        let receipt = self.sink.receipt()?;
        self.delivered |= receipt.is_some();
        self.observe_receipt(receipt);
        let rejected = self.sink.rejected();
        self.observe_refused(rejected.len());
        for rejected in rejected {
            tracing::warn!(coordinates = %rejected.coordinates, reason = %rejected.reason, "a message was set aside as a dead letter");
        }
        // Its receipt may have come before the commit was due: where nothing follows there is no other.
        self.received = receipt.map_or(self.received, |receipt| receipt.step());
        let received = self.received;
        if let Some(transactions) = self.sink.transactions() {
            self.pruning.committed = transactions.ends().ended();
        }
        self.look_into_outages();
        if let Some((step, commits)) = self.waiting_commit.take_if(|(step, _)| *step <= received) {
            self.ask_commit(step, commits)?;
        }
        let ended = self.source.commits();
        if ended != EndedCommits::default() {
            self.pruning.ended(ended);
            self.observe_commits(ended);
        }
        let now = self.job.clock.elapsed();
        self.prune(now);
        let due = now.saturating_sub(self.last_commit) >= self.job.policy.commit_interval.to_std();
        if !due || !self.offsets.changed() {
            return Ok(());
        }
        let ready = match self.sink.transactions() {
            Some(transactions) => transactions.can_commit()?,
            None => self.waiting_commit.is_none(),
        };
        if ready {
            self.last_commit = now;
            self.close_step()?;
        }
        Ok(())
    }

    /// Lets the history forget what nothing needs any more.
    fn prune(&mut self, now: Duration) {
        let (Some(writer), Some(kept)) = (&self.history, &self.job.history) else { return };
        let [shortest, longest] = PRUNE_INTERVALS;
        let interval = kept.writer.flush_interval.saturating_mul(PRUNE_FLUSHES).clamp(shortest, longest);
        if now.saturating_sub(self.pruning.looked) < interval {
            return;
        }
        self.pruning.looked = now;
        let committed = self.pruning.committed;
        // Once it is committed no restart goes on from before it.
        if let Some((_, old)) = self.pruning.waiting.take_if(|(step, _)| *step <= committed) {
            writer.prune(old);
        }
        if self.pruning.waiting.is_some() {
            return;
        }
        let watermark = self.parts.core.watermarks().current();
        let Some(needed) = recover::needed_from(self, watermark) else { return };
        let carrier = match &self.pruning.carrier {
            Some(carrier) => Ok(Arc::clone(carrier)),
            None => self.parts.core.carrier(&self.parts.contract).map(Arc::new),
        };
        match carrier {
            Ok(carrier) => {
                let read = self.offsets.iter().map(|(partition, next)| (partition.clone(), next)).collect();
                let before = needed.saturating_sub(kept.keep.0);
                self.pruning.waiting = Some((self.step, Old { before, read, carrier: Arc::clone(&carrier) }));
                self.pruning.carrier = Some(carrier);
            }
            Err(error) => tracing::warn!(%error, "the history keeps all: what windows need is not known"),
        }
    }

    /// The windows in force are others now: what was not needed for those of before may be.
    pub(super) fn keeps_for_other_rules(&mut self) {
        self.pruning.waiting = None;
        self.pruning.carrier = None;
    }

    /// At-least-once: commits offsets, all that was published up to a step.
    fn ask_commit(&mut self, step: u64, commits: Vec<PartitionCommit>) -> Result<(), JobError> {
        self.commit_asked = Some(self.job.clock.elapsed());
        self.pruning.asked = (step, self.pruning.asked.1 + 1);
        Ok(self.source.commit(commits)?)
    }

    /// Closes the transaction, or notes which receipt the commit waits for.
    fn close_step(&mut self) -> Result<(), JobError> {
        let commits = self.commits();
        match self.sink.transactions() {
            Some(transactions) => close_transaction(transactions, commits, &self.source),
            None => {
                self.waiting_commit = Some((self.step, commits));
                Ok(())
            }
        }
    }

    pub(super) fn commits(&mut self) -> Vec<PartitionCommit> {
        let (core, table) = (&self.parts.core, &self.table);
        let waits = |partition: &Partition| core.waiting_from(index_of(table, partition).unwrap_or(u32::MAX));
        self.already.take_if(|already| already.done(&self.offsets, waits));
        let Self { offsets, parts, table, counts, job, complete_from, already, first_read, .. } = self;
        let ruleset = parts.ruleset.clone();
        let core = &mut parts.core;
        let watermark = Some(core.watermarks().current()).filter(|watermark| *watermark != i64::MIN);
        offsets.take(|partition| {
            let index = index_of(table, partition);
            let stream = index.map_or(0, |index| table[index as usize].stream);
            let index = index.unwrap_or(u32::MAX);
            let note = Note {
                watermark,
                latest: core.watermarks().latest(index, stream),
                ruleset: first_read.answered_before(partition).unwrap_or_else(|| ruleset.clone()),
                partitions: counts.get(&partition.topic).copied().unwrap_or_default(),
                generation: job.policy.recovery.generation(stream),
                complete_from: *complete_from,
                again: already.is_some(),
                ..Note::new(Offset(0))
            };
            Standing { waiting_from: core.waiting_from(index), note }
        })
    }

    /// Has a commit follow where the last ones may be lost, though nothing new is to be committed.
    fn look_into_outages(&mut self) {
        if self.sink.transactions().is_some_and(|transactions| transactions.in_doubt()) {
            self.offsets.touch();
        }
    }

    /// Delivers everything under way and commits it.
    pub(super) fn drain(&mut self) -> Result<(), JobError> {
        self.look_into_outages();
        if let Some((step, commits)) = self.waiting_commit.take() {
            debug_assert!(step <= self.step, "a commit waits for a step that was published");
            drop(commits);
            self.offsets.touch();
        }
        if !self.offsets.changed() {
            self.sink.finish(self.job.policy.grace)?;
            return Ok(());
        }
        self.close_step()?;
        let receipt = self.sink.finish(self.job.policy.grace)?;
        self.delivered |= receipt.step() > 0;
        if let Some((step, commits)) = self.waiting_commit.take() {
            self.ask_commit(step, commits)?;
        }
        Ok(())
    }
}

fn close_transaction(
    transactions: &mut TransactionSink,
    commits: Vec<PartitionCommit>,
    source: &KafkaSource,
) -> Result<(), JobError> {
    let group = source.group_metadata()?;
    Ok(transactions.commit(commits, group)?)
}
