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
use crate::event::Offset;
use crate::history::Old;
use crate::sink::TransactionSink;
use crate::source::kafka::KafkaSource;

/// How often the history is told what is no longer needed.
const PRUNE_INTERVAL: Duration = Duration::from_secs(30);

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
        if let (Some(receipt), Some((step, _))) = (receipt, &self.waiting_commit)
            && receipt.step() >= *step
            && let Some((_, commits)) = self.waiting_commit.take()
        {
            self.commit_asked = Some(self.job.clock.elapsed());
            self.source.commit(commits)?;
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
        if now.saturating_sub(self.last_prune) < PRUNE_INTERVAL {
            return;
        }
        // What stood at the look before this one was committed since, so no restart goes on from before it.
        if let Some(old) = self.prunable.take() {
            writer.prune(old);
        }
        self.last_prune = now;
        let watermark = self.parts.core.watermarks().current();
        let Some(needed) = recover::needed_from(self, watermark) else { return };
        let carrier = match &self.carrier {
            Some(carrier) => Ok(Arc::clone(carrier)),
            None => self.parts.core.carrier(&self.parts.contract).map(Arc::new),
        };
        match carrier {
            Ok(carrier) => {
                let read = self.offsets.iter().map(|(partition, next)| (partition.clone(), next)).collect();
                let before = needed.saturating_sub(kept.keep.0);
                self.prunable = Some(Old { before, read, carrier: Arc::clone(&carrier) });
                self.carrier = Some(carrier);
            }
            Err(error) => tracing::warn!(%error, "the history keeps all: what windows need is not known"),
        }
    }

    /// The windows in force are others now: what was not needed for those of before may be.
    pub(super) fn keeps_for_other_rules(&mut self) {
        self.prunable = None;
        self.carrier = None;
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
        self.already.take_if(|already| already.done(&self.offsets));
        let Self { offsets, parts, table, counts, job, complete_from, already, .. } = self;
        let ruleset = parts.ruleset.clone();
        let core = &mut parts.core;
        let watermark = Some(core.watermarks().current()).filter(|watermark| *watermark != i64::MIN);
        offsets.take(|partition| {
            let index = table.iter().position(|known| known.partition == *partition);
            let stream = index.map_or(0, |index| table[index].stream);
            let index = index.and_then(|index| u32::try_from(index).ok()).unwrap_or(u32::MAX);
            let note = Note {
                watermark,
                latest: core.watermarks().latest(index, stream),
                ruleset: ruleset.clone(),
                partitions: counts.get(&partition.topic).copied().unwrap_or_default(),
                generation: job.policy.recovery.generation(stream),
                complete_from: *complete_from,
                again: already.is_some(),
                ..Note::new(Offset(0))
            };
            Standing { waiting_from: core.waiting_from(index), note }
        })
    }

    /// Delivers everything under way and commits it.
    pub(super) fn drain(&mut self) -> Result<(), JobError> {
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
        if let Some((_, commits)) = self.waiting_commit.take() {
            self.source.commit(commits)?;
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
