//! A rule set made ready beside the one in force: compiled, and its new windows filled, on a thread of its own.
//!
//! Takes what the core in force keeps and how it stands; hands on a [`Successor`] that has taken in every row which
//! the core in force has. First the bulk: history and topic up to where reading stood. Then the job forks: it says
//! how it stands now and hands every batch from there on, decoded with the columns of both rule sets. What lies
//! between is read again, the batches follow, and when none is left the two cores stand at the same row.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crossbeam_channel::{Receiver, Sender, TryRecvError};

use super::job::JobError;
use super::parts::Parts;
use super::refusal::RecoveryPolicy;
use super::reload::NextParts;
use super::sources::{Need, Origins};
use super::succession::{Before, Filled, Standing};
use crate::decode::{DecodedBatch, Decoders};
use crate::event::{Offset, Partition};
use crate::graph::{Lasting, Reach};
use crate::history::History;
use crate::source::kafka::{ConsumerSettings, Replay, ReplayRange, topic_bounds};
use crate::source::{Fetched, Partitions, index_of};

/// Where reading stands between two batches.
#[derive(Debug, Clone)]
pub(super) struct Place {
    pub standing: Standing,
    /// Each partition, the index of its stream, and the next offset.
    pub next: Vec<(Partition, usize, Offset)>,
}

/// What the job hands over once it has forked.
pub(super) enum Handed {
    /// How it stands: every row from here on is handed over.
    Fork(Place),
    /// Rows that it answers, without repeats.
    Batch(DecodedBatch),
    /// Partitions that it no longer waits for.
    Idle(Vec<u32>),
    /// Nothing more: the successor takes over here.
    End,
}

/// What the thread tells the job.
pub(super) enum Told {
    /// The bulk is done: fork, and decode with these.
    Fork(Option<Decoders>),
    /// It is ready, or can't be.
    Done(Box<Result<Successor, JobError>>),
}

/// A rule set that is ready to take over.
pub(super) struct Successor {
    pub parts: Parts,
    /// How it was filled, if so up to the last row handed over.
    pub filled: Filled,
    /// Event time from which on its new windows hold everything; none where they hold all that they need.
    pub complete_from: Option<i64>,
}

/// The two ends' common knowledge.
#[derive(Debug, Default)]
pub(super) struct Signs {
    /// The thread has run out of batches for the first time.
    pub caught_up: AtomicBool,
    /// Nobody waits for the successor any more.
    pub cancelled: AtomicBool,
    /// Rows handed over and not yet taken.
    pub rows_waiting: AtomicU64,
}

/// Everything that the thread needs.
pub(super) struct Filling {
    pub next: NextParts,
    pub before: Before,
    pub place: Place,
    pub consumer: ConsumerSettings,
    pub history: Option<History>,
    pub policy: RecoveryPolicy,
    pub table: Partitions,
    /// Time of day, for windows that can't be filled at all.
    pub now: i64,
    pub handed: Receiver<Handed>,
    pub told: Sender<Told>,
    pub signs: Arc<Signs>,
}

impl Filling {
    pub(super) fn run(self) {
        let done = self.successor();
        // A job that has gone on without it needs no answer.
        let _ = self.told.send(Told::Done(Box::new(done)));
    }

    fn successor(&self) -> Result<Successor, JobError> {
        let mut parts = (self.next)(&self.before)?;
        let more = |(used, before): (&Vec<bool>, &Vec<bool>)| used.iter().zip(before).any(|(u, b)| *u && !*b);
        let reads_more = self.history.is_none() && parts.used.iter().zip(&self.before.used).any(more);
        let Some(reach) = parts.core.to_fill(&self.before, reads_more) else {
            return Ok(Successor { parts, filled: Filled::Not, complete_from: None });
        };
        parts.core.begin_filling(&self.place.standing);
        let (complete_from, [from_history, from_topics]) = self.bulk(&mut parts, reach)?;
        tracing::info!(from_history, from_topics, "new windows are filled up to where reading stood");
        let widened = parts.widened.take();
        self.told.send(Told::Fork(widened)).map_err(|_| cancelled())?;
        let Ok(Handed::Fork(place)) = self.handed.recv() else { return Err(cancelled()) };
        parts.core.begin_filling(&place.standing);
        self.replay(&mut parts, &self.between(&place), &mut BTreeMap::new())?;
        parts.core.catch_up(place.standing)?;
        self.follow(&mut parts)?;
        let filled = if reads_more { Filled::Rows } else { Filled::Windows };
        Ok(Successor { parts, filled, complete_from })
    }

    /// Takes in what history and topic hold up to where reading stood at the beginning; from when on windows hold all,
    /// and how many rows came from where.
    fn bulk(&self, parts: &mut Parts, reach: Reach) -> Result<(Option<i64>, [u64; 2]), JobError> {
        let settings = parts.core.settings();
        let repeats = settings.streams.iter().map(|stream| stream.repeats.0).max().unwrap_or_default();
        let below = self.place.standing.answered_below().0;
        let carrier = parts.core.carrier(&parts.contract)?;
        let since = match below {
            i64::MIN => below,
            _ => below.saturating_sub(reach.longest.0.max(repeats)),
        };
        let needs = self.needs(since, |stream| match reach.unbounded {
            true => carrier.lasting(stream),
            false => Lasting::Nothing,
        })?;
        let origins = Origins {
            consumer: &self.consumer,
            history: self.history.as_ref(),
            contract: &parts.contract,
            policy: &self.policy,
        };
        let mut sources = origins.sources(&needs)?;
        let (mut earliest, mut from_history) = (BTreeMap::new(), 0);
        if let (Some(history), false) = (&self.history, sources.plans.is_empty()) {
            let loader = history.load(
                std::mem::take(&mut sources.plans),
                &parts.contract,
                &parts.used,
                Arc::clone(&self.table),
            )?;
            for batch in loader {
                self.go_on()?;
                let batch = parts.core.without_repeats(batch?)?;
                from_history += batch.rows.event_time.len() as u64;
                note_earliest(&batch, &mut earliest);
                parts.core.absorb(batch)?;
            }
        }
        sources.forget_below_gaps(&self.table, &mut earliest);
        let from_topics = self.replay(parts, &sources.ranges, &mut earliest)?;
        let reaches = sources.incomplete.iter().map(|lacking| {
            let earliest = index_of(&self.table, &lacking.partition).and_then(|index| earliest.get(&index));
            lacking.reaches(earliest.copied(), self.now)
        });
        Ok((reaches.max(), [from_history, from_topics]))
    }

    fn needs(&self, since: i64, lasting: impl Fn(usize) -> Lasting) -> Result<Vec<Need>, JobError> {
        let mut lows: BTreeMap<Partition, Offset> = BTreeMap::new();
        let mut topics: Vec<&Arc<str>> = self.place.next.iter().map(|(own, ..)| &own.topic).collect();
        topics.sort_unstable();
        topics.dedup();
        for topic in topics {
            let bounds = topic_bounds(&self.consumer.kafka, &self.consumer.group, topic)?;
            lows.extend(bounds.into_iter().map(|(partition, low, _)| (partition, low)));
        }
        let need = |(partition, stream, next): &(Partition, usize, Offset)| {
            let lasting = lasting(*stream);
            Need {
                partition: partition.clone(),
                stream: *stream,
                low: lows.get(partition).copied().unwrap_or(*next),
                next: *next,
                since: if lasting == Lasting::Everything { i64::MIN } else { since },
                lasting,
            }
        };
        Ok(self.place.next.iter().map(need).collect())
    }

    /// What was read between the beginning and the fork.
    fn between(&self, fork: &Place) -> Vec<ReplayRange> {
        let from: BTreeMap<&Partition, Offset> =
            self.place.next.iter().map(|(partition, _, next)| (partition, *next)).collect();
        let range = |(partition, _, to): &(Partition, usize, Offset)| ReplayRange {
            partition: partition.clone(),
            from: from.get(partition).copied().unwrap_or(*to),
            to: *to,
        };
        fork.next.iter().map(range).collect()
    }

    /// Takes in records of topics; how many there were.
    fn replay(
        &self,
        parts: &mut Parts,
        ranges: &[ReplayRange],
        earliest: &mut BTreeMap<u32, i64>,
    ) -> Result<u64, JobError> {
        let Self { consumer, table, .. } = self;
        let mut records = 0;
        let mut replay =
            Replay::start(&consumer.kafka, &consumer.group, ranges, table, consumer.batch_rows_max)?;
        while let Some(batch) = replay.next_batch()? {
            self.go_on()?;
            records += batch.records.len() as u64;
            let batch = parts.core.decode(Fetched::Records(batch))?;
            note_earliest(&batch, earliest);
            parts.core.absorb(batch)?;
        }
        Ok(records)
    }

    /// Takes what the job hands over, until it says that nothing more comes.
    fn follow(&self, parts: &mut Parts) -> Result<(), JobError> {
        loop {
            let handed = match self.handed.try_recv() {
                Ok(handed) => handed,
                Err(TryRecvError::Empty) => {
                    self.signs.caught_up.store(true, Ordering::Release);
                    self.handed.recv().map_err(|_| cancelled())?
                }
                Err(TryRecvError::Disconnected) => return Err(cancelled()),
            };
            match handed {
                Handed::Batch(batch) => {
                    let rows = batch.rows.event_time.len() as u64;
                    parts.core.absorb(batch)?;
                    self.signs.rows_waiting.fetch_sub(rows, Ordering::Relaxed);
                }
                Handed::Idle(partitions) => parts.core.release_idle(&partitions)?,
                Handed::End => return Ok(()),
                Handed::Fork(_) => {}
            }
        }
    }

    fn go_on(&self) -> Result<(), JobError> {
        if self.signs.cancelled.load(Ordering::Relaxed) { Err(cancelled()) } else { Ok(()) }
    }
}

fn note_earliest(batch: &DecodedBatch, earliest: &mut BTreeMap<u32, i64>) {
    for (partition, time) in batch.rows.partition.iter().zip(&batch.rows.event_time) {
        let known = earliest.entry(*partition).or_insert(*time);
        *known = (*known).min(*time);
    }
}

fn cancelled() -> JobError {
    JobError::Rules("the new rule set was given up before it was ready".to_owned())
}
