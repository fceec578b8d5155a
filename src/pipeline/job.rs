//! The deployed job: Kafka in, alerts out, offsets committed last.
//!
//! Takes a source, a [`Core`] and a sink; runs until it is told to stop, then finishes what is under way.
//! Keeps the offsets of steps whose alerts are not yet durable. Delivery is at least once: after a crash the
//! records since the last commit are answered again and their alerts leave under the same ids.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::messages::{MessageContext, messages};
use super::offsets::Offsets;
use super::{Core, StepOutcome};
use crate::alert::{Alert, AlertMaker};
use crate::event::{Clock, Partition, Span};
use crate::graph::EngineError;
use crate::rules::Emit;
use crate::sink::{Masking, Outgoing, Sink, SinkError};
use crate::source::kafka::{KafkaEvent, KafkaSource, SourceError};
use crate::source::{Fetched, RawBatch};

/// How a job runs.
#[derive(Debug, Clone)]
pub struct JobPolicy {
    /// The longest time that delivered work stays uncommitted.
    pub commit_interval: Span,
    /// For each stream of the contract, the silence after which a partition no longer holds the watermark.
    pub idle_after: Vec<Span>,
    /// Whether dead letters keep their record's bytes.
    pub masking: Masking,
    /// How long a shutdown waits for deliveries.
    pub grace: Duration,
    /// Version of the rule set, for the headers of alerts.
    pub ruleset: String,
    /// Name of this process, for the headers of alerts.
    pub instance: String,
}

/// What happens while a job runs, for views and logs.
#[derive(Debug)]
pub enum JobEvent<'a> {
    /// Partitions are now read.
    Assigned(&'a [Partition]),
    /// A step was published.
    Step {
        /// Records it took in.
        rows: usize,
        /// Its alerts.
        alerts: &'a [Alert],
        /// Records it set aside.
        dead_letters: usize,
    },
    /// A fault that the job gets over.
    Fault(&'a SourceError),
}

/// Why a job ended other than by being asked to.
#[derive(Debug, thiserror::Error)]
pub enum JobError {
    /// Reading failed for good.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// Delivering failed for good.
    #[error(transparent)]
    Sink(#[from] SinkError),
    /// The graph failed: a defect of the program.
    #[error(transparent)]
    Engine(#[from] EngineError),
}

/// Everything that runs.
pub struct Job<'a> {
    /// Records in.
    pub source: KafkaSource,
    /// Decoding and answering.
    pub core: Core,
    /// Alerts of rules answered on arrival.
    pub on_arrival: AlertMaker,
    /// Alerts of rules answered in order.
    pub in_order: AlertMaker,
    /// Alerts out.
    pub sink: Sink,
    /// How to run.
    pub policy: JobPolicy,
    /// Time of day, for headers and idle partitions.
    pub clock: &'a dyn Clock,
}

/// What a running job remembers between steps.
#[derive(Default)]
struct Progress {
    step: u64,
    offsets: Offsets,
    /// Partitions in the order of their indexes.
    partitions: Vec<Partition>,
    /// When each partition last had a record, and its stream; none once it was found idle.
    last_record: BTreeMap<u32, (Duration, usize)>,
    last_commit: Duration,
}

/// How long to wait for records before deliveries and idle partitions are looked at.
const TURN_WAIT: Duration = Duration::from_millis(5);

/// Shorter wait while deliveries are under way, so that their commit is not late.
const DELIVERY_WAIT: Duration = Duration::from_millis(1);

impl Job<'_> {
    /// Runs until `stop` is set; then finishes, commits and leaves the group.
    pub fn run(mut self, stop: &AtomicBool, mut watch: impl FnMut(JobEvent<'_>)) -> Result<Core, JobError> {
        let mut progress = Progress::default();
        while !stop.load(Ordering::Relaxed) {
            let wait = if progress.offsets.steps_under_way() > 0 { DELIVERY_WAIT } else { TURN_WAIT };
            match self.source.next(wait) {
                KafkaEvent::Batch(batch) => self.step(batch, &mut progress, &mut watch)?,
                KafkaEvent::Assigned(partitions) => {
                    self.assigned(&partitions, &mut progress);
                    watch(JobEvent::Assigned(&partitions));
                }
                KafkaEvent::Revoked { partitions, lost } => self.revoked(&partitions, lost, &mut progress)?,
                KafkaEvent::Idle => self.idle(&mut progress, &mut watch)?,
                KafkaEvent::Error(fault) if fault.retry() => watch(JobEvent::Fault(&fault)),
                KafkaEvent::Error(fault) => return Err(fault.into()),
            }
            self.commit(&mut progress)?;
        }
        self.drain(&mut progress)?;
        self.source.shutdown()?;
        Ok(self.core)
    }

    /// The path of a batch: decode, answer, alert, publish. Its offsets are committed once a receipt says so.
    fn step(
        &mut self,
        batch: RawBatch,
        progress: &mut Progress,
        watch: &mut impl FnMut(JobEvent<'_>),
    ) -> Result<(), JobError> {
        let ingested_at = self.clock.now_micros();
        progress.offsets.read(&batch);
        self.note_records(&batch, progress);
        let rows = batch.records.len();
        let outcome = self.core.step(Fetched::Records(batch))?;
        self.publish(&outcome, rows, ingested_at, progress, watch)
    }

    fn publish(
        &mut self,
        outcome: &StepOutcome,
        rows: usize,
        ingested_at: i64,
        progress: &mut Progress,
        watch: &mut impl FnMut(JobEvent<'_>),
    ) -> Result<(), JobError> {
        let mut alerts = Vec::new();
        let mut outgoing = Vec::new();
        let context = MessageContext { policy: &self.policy, ingested_at, clock: self.clock };
        for answered in &outcome.answered {
            let maker = match answered.emit {
                Emit::OnArrival => &mut self.on_arrival,
                Emit::InOrder => &mut self.in_order,
            };
            let made = maker.make(&answered.batch, &answered.hits, &answered.late);
            outgoing.extend(messages(&made.alerts, &answered.batch, &context));
            alerts.extend(made.alerts);
        }
        let set_aside = outcome.dead_letters.iter();
        outgoing.extend(
            set_aside.map(|dead_letter| crate::sink::dead_letter_message(dead_letter, self.policy.masking)),
        );
        progress.step += 1;
        self.sink.publish(Outgoing { step: progress.step, messages: outgoing })?;
        let (core, partitions) = (&self.core, &progress.partitions);
        progress.offsets.published(progress.step, |partition| {
            let index = partitions.iter().position(|known| known == partition)?;
            core.waiting_from(u32::try_from(index).ok()?)
        });
        watch(JobEvent::Step { rows, alerts: &alerts, dead_letters: outcome.dead_letters.len() });
        Ok(())
    }

    fn note_records(&self, batch: &RawBatch, progress: &mut Progress) {
        let now = self.clock.elapsed();
        if progress.partitions.len() < batch.partitions.len() {
            progress.partitions = batch.partitions.iter().map(|known| known.partition.clone()).collect();
        }
        for record in &batch.records {
            let stream = batch.partitions[record.partition as usize].stream;
            progress.last_record.insert(record.partition, (now, stream));
        }
    }

    /// The watermark waits for every partition that is read, until it is found idle.
    fn assigned(&mut self, partitions: &[Partition], progress: &mut Progress) {
        let now = self.clock.elapsed();
        for partition in partitions {
            // The source numbers partitions in the order in which it is first assigned them.
            let known = progress.partitions.iter().position(|known| known == partition);
            let index = known.unwrap_or_else(|| {
                progress.partitions.push(partition.clone());
                progress.partitions.len() - 1
            });
            let Ok(index) = u32::try_from(index) else { continue };
            self.core.watermarks().expect(index);
            progress.last_record.entry(index).or_insert((now, 0));
        }
    }

    /// Lets partitions go: delivers and commits what they gave rise to, unless they are lost already.
    fn revoked(
        &mut self,
        partitions: &[Partition],
        lost: bool,
        progress: &mut Progress,
    ) -> Result<(), JobError> {
        if !lost {
            self.drain(progress)?;
        }
        progress.offsets.forget(partitions);
        for partition in partitions {
            let index = progress.partitions.iter().position(|known| known == partition);
            if let Some(index) = index.and_then(|index| u32::try_from(index).ok()) {
                self.core.watermarks().release(index);
                progress.last_record.remove(&index);
            }
        }
        Ok(self.source.release()?)
    }

    /// Stops waiting for partitions that have been silent for too long, and answers what that sets free.
    fn idle(
        &mut self,
        progress: &mut Progress,
        watch: &mut impl FnMut(JobEvent<'_>),
    ) -> Result<(), JobError> {
        let now = self.clock.elapsed();
        let idle_after = &self.policy.idle_after;
        let silent = |(at, stream): &(Duration, usize)| {
            now.saturating_sub(*at) >= idle_after.get(*stream).map_or(Duration::MAX, |span| span.to_std())
        };
        let quiet: Vec<u32> =
            progress.last_record.iter().filter(|(_, last)| silent(last)).map(|(index, _)| *index).collect();
        if quiet.is_empty() {
            return Ok(());
        }
        for partition in quiet {
            tracing::info!(partition, "partition is idle: the watermark no longer waits for it");
            progress.last_record.remove(&partition);
            self.core.watermarks().release(partition);
        }
        let ingested_at = self.clock.now_micros();
        let outcome = self.core.release_waiting()?;
        self.publish(&outcome, 0, ingested_at, progress, watch)
    }

    /// Commits what receipts allow, at most once an interval.
    fn commit(&mut self, progress: &mut Progress) -> Result<(), JobError> {
        if let Some(receipt) = self.sink.receipt()? {
            progress.offsets.durable(receipt);
        }
        for rejected in self.sink.rejected() {
            tracing::warn!(coordinates = %rejected.coordinates, reason = %rejected.reason, "a message was set aside as a dead letter");
        }
        let now = self.clock.elapsed();
        if now.saturating_sub(progress.last_commit) >= self.policy.commit_interval.to_std() {
            let offsets = progress.offsets.take();
            if !offsets.is_empty() {
                self.source.commit(offsets)?;
                progress.last_commit = now;
            }
        }
        Ok(())
    }

    /// Delivers everything under way and commits it.
    fn drain(&mut self, progress: &mut Progress) -> Result<(), JobError> {
        let receipt = self.sink.finish(self.policy.grace)?;
        progress.offsets.durable(receipt);
        let offsets = progress.offsets.take();
        if !offsets.is_empty() {
            self.source.commit(offsets)?;
        }
        Ok(())
    }
}
