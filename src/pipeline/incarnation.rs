//! One life of the job: a sink, a consumer and a core that belong together.
//!
//! Takes what [`Job`] holds; runs until it is told to stop or something ends it. Keeps how far each partition
//! was read, and what is not yet committed. A closed enum comes in, one method answers each kind. What would
//! surprise: the sink is made before the consumer, for committed offsets may be read only once every
//! transactional id is ours.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crossbeam_channel::RecvTimeoutError;

use super::already::AlreadySent;
use super::commit::Pruning;
use super::first_read::FirstRead;
use super::job::{Job, JobError, JobEvent};
use super::latencies::{self, Latencies};
use super::messages::{MessageContext, decision_messages, messages, summary_messages};
use super::observe::Seen;
use super::parts::Parts;
use super::quarantine::Measured;
use super::recover;
use super::refusal::Refusal;
use super::reload::{Making, Wanted};
use super::{Core, StepOutcome};
use crate::checkpoint::{Note, Offsets, PartitionCommit, Position};
use crate::event::{Offset, Partition, crash_point};
use crate::history::Writer;
use crate::labels::Labels;
use crate::metrics::Phase;
use crate::sink::{Outgoing, Sink, SinkError, end_hanging, probe};
use crate::source::kafka::{Assigned, Assignment, KafkaEvent, KafkaSource, SourceError};
use crate::source::{Fetched, Partitions, RawBatch, index_of};

/// Whether the process has started a job before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Birth {
    First,
    Again,
}

/// How long to wait for records before deliveries and idle partitions are looked at.
const TURN_WAIT: Duration = Duration::from_millis(5);

/// Shorter wait while deliveries are under way, so that their commit is not late.
const DELIVERY_WAIT: Duration = Duration::from_millis(1);

/// And shorter still while alerts wait for the acknowledgement of those before them.
const HELD_WAIT: Duration = Duration::from_micros(200);

/// How long the end of a consumer and its producers is waited for.
const DISCARD_WAIT: Duration = Duration::from_secs(10);

/// How long a producer that was shut out waits to hear whether its consumer was too.
const VERDICT_WAIT: Duration = Duration::from_secs(8);

/// Steps between two looks at what window state holds.
const STEPS_PER_WEIGHING: u64 = 64;

pub(super) struct Incarnation<'a> {
    pub(super) job: &'a Job<'a>,
    pub(super) source: KafkaSource,
    pub(super) sink: Sink,
    pub(super) seen: Seen,
    /// How long alerts take.
    pub(super) latencies: Latencies,
    /// What rules cost since they were last judged.
    pub(super) measured: Measured,
    /// Which hits were right, as far as labels have come.
    pub(super) labels: Labels,
    /// Whether what was known before this life was read back.
    pub(super) labels_recalled: bool,
    pub(super) parts: Parts,
    pub(super) history: Option<Writer>,
    pub(super) step: u64,
    pub(super) first_read: FirstRead,
    /// Whether a transaction of before ended in part.
    hung: bool,
    /// What of it was sent.
    pub(super) already: Option<AlreadySent>,
    /// Whether it was told to stop while windows were being filled: time is not what it was, so nothing may be
    /// committed.
    pub(super) interrupted: bool,
    pub(super) offsets: Offsets,
    /// Partitions in the order of their indexes.
    pub(super) table: Partitions,
    /// Partitions whose windows the core holds.
    pub(super) held: Vec<Partition>,
    /// How many partitions each topic had when they were assigned.
    pub(super) counts: BTreeMap<Arc<str>, usize>,
    /// Event time from which on windows hold everything; none where they always did.
    pub(super) complete_from: Option<i64>,
    /// When each partition last had a record, and its stream; none once it was found idle.
    last_record: BTreeMap<u32, (Duration, usize)>,
    pub(super) last_commit: Duration,
    pub(super) pruning: Pruning,
    /// The last step whose receipt has come.
    pub(super) received: u64,
    /// At-least-once: a commit that waits for the receipt of a step.
    pub(super) waiting_commit: Option<(u64, Vec<PartitionCommit>)>,
    /// When a commit was last asked for.
    pub(super) commit_asked: Option<Duration>,
    pub(super) delivered: bool,
    /// The assignment in force, to fill windows again.
    pub(super) assigned: Option<Assigned>,
    /// Rules that are made ready to take over.
    pub(super) making: Option<Making>,
    /// Rules that were in the making when the life before ended.
    pub(super) wanted: Option<Wanted>,
}

impl<'a> Incarnation<'a> {
    /// Takes over the transactional ids, then joins the group.
    pub(super) fn start(job: &'a Job<'a>, birth: Birth) -> Result<Self, JobError> {
        let parts = (job.parts)()?;
        let mut sink = (job.sink)()?;
        let hung = match sink.transactions() {
            Some(transactions) => end_hanging(transactions, &job.consumer, &Note::marked_again)?,
            None => false,
        };
        let (hidden, source) = std::thread::scope(|scope| {
            let to_probe = sink.transactions().filter(|_| birth == Birth::First);
            let probing = to_probe.map(|transactions| scope.spawn(|| probe(transactions)));
            // Joining reads nothing yet, so it need not wait for the answer.
            let source = KafkaSource::start(job.consumer.clone());
            let broke_off = || Err(SinkError::Producer("the thread that probes broke off".to_owned()));
            let hidden = probing.map_or(Ok(true), |probing| probing.join().unwrap_or_else(|_| broke_off()));
            (hidden, source)
        });
        if !hidden? {
            return Err(Refusal::AbortedVisible.into());
        }
        let source = source?;
        Ok(Self {
            job,
            source,
            sink,
            seen: Seen::default(),
            latencies: Latencies::default(),
            measured: Measured::default(),
            labels: Labels::default(),
            labels_recalled: false,
            parts,
            history: None,
            step: 0,
            first_read: FirstRead::of(birth),
            hung,
            already: None,
            interrupted: false,
            offsets: Offsets::default(),
            table: Partitions::default(),
            held: Vec::new(),
            counts: BTreeMap::new(),
            complete_from: None,
            last_record: BTreeMap::new(),
            last_commit: Duration::ZERO,
            pruning: Pruning::default(),
            received: 0,
            waiting_commit: None,
            commit_asked: None,
            delivered: false,
            assigned: None,
            making: None,
            wanted: None,
        })
    }

    /// Whether anything was committed in this life.
    pub(super) fn delivered(&self) -> bool {
        self.delivered
    }

    pub(super) fn run(
        &mut self,
        stop: &AtomicBool,
        watch: &mut impl FnMut(JobEvent<'_>),
    ) -> Result<(), JobError> {
        let mut held_wait = HELD_WAIT;
        while !stop.load(Ordering::Relaxed) {
            let holds_back = self.sink.holds_back();
            let wait = match () {
                () if holds_back => held_wait,
                () if self.under_way() => DELIVERY_WAIT,
                () => TURN_WAIT,
            };
            // What is held back for long waits for a broker that is away.
            held_wait = if holds_back { TURN_WAIT.min(held_wait * 2) } else { HELD_WAIT };
            let event = self.source.next(wait);
            match event {
                KafkaEvent::Batch(batch) => self.step(batch, watch)?,
                KafkaEvent::Assigned(assigned) => self.assigned(&assigned, stop, watch)?,
                KafkaEvent::Revoked { partitions, lost } => self.revoked(&partitions, lost)?,
                KafkaEvent::Idle => self.idle(watch)?,
                KafkaEvent::Error(fault) if fault.retry() => watch(JobEvent::Fault(&fault)),
                KafkaEvent::Error(fault) => return Err(fault.into()),
            }
            self.take_changes(stop, watch)?;
            if self.first_read.held {
                self.begin()?;
            }
            self.commit()?;
            self.observe();
            self.quarantine(watch)?;
        }
        Ok(())
    }

    /// Finishes what is under way, commits it, closes the history and leaves the group.
    pub(super) fn end(mut self) -> Result<Core, JobError> {
        self.observe_phase(Phase::Draining);
        if self.first_read.started || self.first_read.held {
            self.audit("stopped", serde_json::Value::Null)?;
        }
        self.drain()?;
        self.observe();
        if let Some(history) = self.history.take()
            && let Err(error) = history.close(self.job.policy.grace)
        {
            tracing::warn!(%error, "the history lacks its last rows: the next start reads them from the topic");
        }
        self.observe_phase(Phase::Stopped);
        self.source.shutdown()?;
        Ok(self.parts.core)
    }

    /// Lets go of consumer and producers. The client library may hang in it where a producer has failed for good
    /// or brokers are away, so it is not waited for without end: the next life shuts this one out in any case.
    pub(super) fn discard(self) {
        let Self { source, sink, history, .. } = self;
        let (done, wait) = crossbeam_channel::bounded::<()>(1);
        let dropping = std::thread::Builder::new().name("discard".to_owned()).spawn(move || {
            drop((source, sink, history));
            drop(done);
        });
        let ended = dropping.is_ok() && wait.recv_timeout(DISCARD_WAIT) != Err(RecvTimeoutError::Timeout);
        if !ended {
            tracing::warn!(
                "consumer and producers of before did not end in time: they are left to themselves"
            );
        }
    }

    /// What really ended this life: where a producer was shut out or partitions were lost, the consumer is asked
    /// whether another process has taken over, for then this one must not take it back.
    pub(super) fn died(&mut self, error: JobError, stop: &AtomicBool) -> JobError {
        if !matches!(&error, JobError::Lost | JobError::Sink(SinkError::Fenced { .. })) {
            return error;
        }
        let until = self.job.clock.elapsed() + VERDICT_WAIT;
        while self.job.clock.elapsed() < until && !stop.load(Ordering::Relaxed) {
            match self.source.next(Duration::from_millis(100)) {
                KafkaEvent::Error(fault) if fault.fenced() => return fault.into(),
                KafkaEvent::Revoked { .. } if self.source.release().is_err() => return error,
                // The group took this member back, so nobody else goes by its name.
                KafkaEvent::Assigned(_) | KafkaEvent::Error(SourceError::Ended) => return error,
                _ => {}
            }
        }
        error
    }

    /// Whether a transaction is open that nobody will commit if this life ends now.
    pub(super) fn transaction_open(&mut self) -> bool {
        self.under_way() && self.sink.transactions().is_some()
    }

    /// Whether something was published and is not committed.
    fn under_way(&self) -> bool {
        self.waiting_commit.is_some() || self.offsets.changed() || self.sink.under_way()
    }

    /// The path of a batch: decode, keep, answer, alert, publish.
    fn step(&mut self, batch: RawBatch, watch: &mut impl FnMut(JobEvent<'_>)) -> Result<(), JobError> {
        let ingested_at = self.job.clock.now_micros();
        self.offsets.read(&batch);
        self.note_records(&batch);
        self.observe_records(&batch);
        let began = self.job.clock.elapsed();
        let rows = batch.records.len();
        let read = recover::ranges(&batch);
        let decoded = self.parts.core.decode(Fetched::Records(batch))?;
        if let Some(history) = &self.history {
            history.append(&decoded, &read);
        }
        self.hand(&decoded);
        let outcome = self.parts.core.answer(decoded)?;
        self.observe_answered(began);
        self.publish(&outcome, rows, ingested_at, watch)?;
        self.weigh()
    }

    fn publish(
        &mut self,
        outcome: &StepOutcome,
        rows: usize,
        ingested_at: i64,
        watch: &mut impl FnMut(JobEvent<'_>),
    ) -> Result<(), JobError> {
        let policy = &self.job.policy;
        let mut alerts = Vec::new();
        let mut outgoing = Vec::new();
        let mut timed = Vec::new();
        let ruleset = self.parts.ruleset.clone();
        let context = MessageContext { policy, ruleset: &ruleset, ingested_at, clock: self.job.clock };
        for answered in &outcome.answered {
            let maker = self.parts.maker(answered.emit);
            let made = maker.make(&answered.batch, &answered.hits, answered.times());
            self.seen.answered(answered, &made);
            self.observe_early(answered);
            self.observe_agreement(answered);
            self.label(answered);
            timed.extend(latencies::timed(&made, self.parts.maker(answered.emit), &answered.batch.rows));
            outgoing.extend(messages(&made, &answered.batch, &context));
            let decisions = self.parts.decide(answered, &made);
            self.seen.decided(&decisions);
            outgoing.extend(decision_messages(decisions, &answered.batch, &context));
            alerts.extend(made.alerts);
        }
        self.parts.judged();
        outgoing.extend(summary_messages(&self.parts.summaries(), &context));
        let set_aside = outcome.dead_letters.iter();
        outgoing.extend(
            set_aside.map(|dead_letter| crate::sink::dead_letter_message(dead_letter, policy.masking)),
        );
        if let Some(already) = &mut self.already {
            already.leave_out(&mut outgoing);
        }
        let step = self.next_step();
        self.latencies.published(step, timed);
        crash_point("before-produce");
        self.sink.publish(Outgoing { step, messages: outgoing })?;
        crash_point("after-produce");
        self.offsets.touch();
        watch(JobEvent::Step { rows, alerts: &alerts, dead_letters: outcome.dead_letters.len() });
        Ok(())
    }

    pub(super) fn next_step(&mut self) -> u64 {
        self.step += 1;
        self.step
    }

    /// Window state past its limit ends the job: forgetting events would give wrong answers in silence.
    fn weigh(&self) -> Result<(), JobError> {
        let allowed = self.job.policy.memory_max;
        if !self.step.is_multiple_of(STEPS_PER_WEIGHING) {
            return Ok(());
        }
        let held = self.parts.core.engines().map(|(_, engine)| engine.usage().bytes).sum();
        if held > allowed { Err(JobError::Memory { held, allowed }) } else { Ok(()) }
    }

    fn note_records(&mut self, batch: &RawBatch) {
        let now = self.job.clock.elapsed();
        if self.table.len() < batch.partitions.len() {
            self.table = Arc::clone(&batch.partitions);
        }
        let mut last = None;
        for record in &batch.records {
            if last != Some(record.partition) {
                last = Some(record.partition);
                let stream = batch.partitions[record.partition as usize].stream;
                self.last_record.insert(record.partition, (now, stream));
            }
        }
    }

    pub(super) fn index(&self, partition: &Partition) -> Option<u32> {
        index_of(&self.table, partition)
    }

    /// Rebuilds the windows of partitions that were gained, and begins to read. The watermark waits for every
    /// partition that is read, until it is found idle.
    fn assigned(
        &mut self,
        assigned: &Assigned,
        stop: &AtomicBool,
        watch: &mut impl FnMut(JobEvent<'_>),
    ) -> Result<(), JobError> {
        let partitions: Vec<Partition> =
            assigned.partitions.iter().map(|assignment| assignment.partition.clone()).collect();
        let wanted = self.making.take().map(|making| making.wanted.clone()).or(self.wanted.take());
        watch(JobEvent::Assigned(&partitions));
        self.observe_assigned(&partitions);
        self.table = Arc::clone(&assigned.table);
        self.counts = assigned.partitions.iter().map(|a| (a.partition.topic.clone(), a.partitions)).collect();
        if let Some(transactions) = self.sink.transactions() {
            transactions.ends().gained(assigned.partitions.iter().filter_map(Assignment::committed));
        }
        let from = match self.retained(assigned) {
            Some(from) => from,
            None => {
                if let Some(transactions) = self.sink.transactions() {
                    let topics = transactions.topics();
                    self.already = AlreadySent::read(self.job, topics, assigned, self.hung)?;
                }
                recover::recover(self, assigned, stop, watch)?
            }
        };
        self.interrupted |= stop.load(Ordering::Relaxed);
        self.held.clone_from(&partitions);
        self.offsets = Offsets::default();
        for position in &from {
            self.offsets.begin(position.clone());
        }
        self.expect_all();
        self.recall_labels(stop)?;
        self.assigned = Some(assigned.clone());
        self.begin()?;
        // Windows of other partitions are filled now than those it was made ready for.
        wanted.map_or(Ok(()), |wanted| self.make(wanted, stop, watch))
    }

    /// Lets the watermark wait for every partition that is read, until it is found idle.
    pub(super) fn expect_all(&mut self) {
        let now = self.job.clock.elapsed();
        self.last_record.clear();
        let partitions: Vec<Partition> =
            self.offsets.iter().map(|(partition, _)| partition.clone()).collect();
        let indexes: Vec<u32> = partitions.iter().filter_map(|partition| self.index(partition)).collect();
        for index in indexes {
            self.parts.core.watermarks().expect(index);
            let stream = self.table[index as usize].stream;
            self.last_record.insert(index, (now, stream));
        }
    }

    /// Where to go on if the core holds the windows of these partitions and of no others, and nobody has answered
    /// for them since. What waits of a partition that is gone must never be answered here.
    fn retained(&mut self, assigned: &Assigned) -> Option<Vec<Position>> {
        let known: BTreeMap<&Partition, Offset> = self.offsets.iter().collect();
        let go_on = |assignment: &Assignment| {
            let next = *known.get(&assignment.partition)?;
            let note = Note::read(assignment.note.as_deref()?).ok()??;
            let partition = assignment.partition.clone();
            let last = self.offsets.last(&partition);
            (note.next() == next).then_some(Position { partition, next, last })
        };
        if self.held.len() != assigned.partitions.len() {
            return None;
        }
        assigned.partitions.iter().map(go_on).collect()
    }

    /// Lets partitions go: delivers and commits what they gave rise to, unless they are lost already.
    fn revoked(&mut self, partitions: &[Partition], lost: bool) -> Result<(), JobError> {
        if lost {
            self.source.release()?;
            return Err(JobError::Lost);
        }
        self.drain()?;
        self.first_read.held = false;
        if let Some(transactions) = self.sink.transactions() {
            transactions.ends().gone(partitions);
        }
        // The core stays as it is: if the same partitions come back, it goes on with them.
        self.last_record.clear();
        if let Some(history) = &self.history {
            history.forget(partitions);
        }
        Ok(self.source.release()?)
    }

    /// Stops waiting for partitions that have been silent for too long, and answers what that sets free.
    fn idle(&mut self, watch: &mut impl FnMut(JobEvent<'_>)) -> Result<(), JobError> {
        let now = self.job.clock.elapsed();
        let idle_after = &self.job.policy.idle_after;
        let silent = |(at, stream): &(Duration, usize)| {
            now.saturating_sub(*at) >= idle_after.get(*stream).map_or(Duration::MAX, |span| span.to_std())
        };
        let quiet: Vec<u32> =
            self.last_record.iter().filter(|(_, last)| silent(last)).map(|(index, _)| *index).collect();
        if quiet.is_empty() || self.first_read.held {
            return Ok(());
        }
        self.hand_idle(&quiet);
        for partition in quiet {
            tracing::info!(partition, "partition is idle: the watermark no longer waits for it");
            self.last_record.remove(&partition);
            self.parts.core.watermarks().release(partition);
        }
        let ingested_at = self.job.clock.now_micros();
        let outcome = self.parts.core.release_waiting()?;
        self.publish(&outcome, 0, ingested_at, watch)
    }
}
