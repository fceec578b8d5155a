//! Partitions on their way back: what their commits say, where each goes on, and how far back its rows are needed.
//!
//! Takes an assignment with its committed offsets and notes; hands on a [`Returning`] for each partition, or the
//! [`Refusal`] that names the choices.

use super::Restored;
use super::incarnation::Incarnation;
use super::job::JobError;
use super::refusal::{Accept, RecoveryPolicy, Refusal, WarmUp};
use super::witness::Known;
use crate::checkpoint::{Note, Position};
use crate::event::{Offset, Partition};
use crate::graph::Lasting;
use crate::source::kafka::{Assigned, Assignment, Replay, ReplayRange, Start};

/// One partition on its way back.
pub(super) struct Returning<'a> {
    pub(super) assignment: &'a Assignment,
    pub(super) index: u32,
    pub(super) note: Option<Note>,
    /// The first offset that is live.
    pub(super) next: Offset,
    /// Event time from which on its rows are needed; none where none are.
    pub(super) since: Option<i64>,
    /// Which older ones are needed too.
    pub(super) lasting: Lasting,
}

impl Returning<'_> {
    /// Where it goes on, and the record before, where the commit knew it and the topic may still hold it.
    pub(super) fn position(&self) -> Position {
        let known =
            self.note.as_ref().filter(|note| note.next() == self.next && self.next > self.assignment.low);
        let last = known.and_then(|note| note.last);
        Position { partition: self.assignment.partition.clone(), next: self.next, last }
    }

    /// A record of before, and what is known of it.
    pub(super) fn known(
        &self,
        run: &Incarnation<'_>,
    ) -> Result<Option<(Partition, Offset, Known)>, JobError> {
        let Position { partition, next, last } = self.position();
        if let Some(mark) = last {
            return Ok(Some((partition, Offset(next.0 - 1), Known::Committed(mark))));
        }
        let (None, Some(kept)) = (&self.assignment.note, &run.job.history) else { return Ok(None) };
        let generation = run.job.policy.recovery.generation(self.assignment.stream);
        let newest = kept.history.newest(&partition, generation, self.assignment.high)?;
        let held = newest.filter(|(at, _)| *at >= self.assignment.low);
        Ok(held.map(|(at, timestamp)| (partition, at, Known::Recorded(timestamp))))
    }

    /// Event time from which on any row may be needed.
    pub(super) fn needed_from(&self) -> i64 {
        let lasting = self.lasting != Lasting::Nothing;
        self.since.map_or(i64::MAX, |since| if lasting { i64::MIN } else { since })
    }

    pub(super) fn restored(&self) -> Restored {
        let note = self.note.as_ref();
        Restored {
            partition: self.index,
            stream: self.assignment.stream,
            answered_below: note.map_or(i64::MAX, |note| note.watermark.unwrap_or(i64::MIN)),
            latest: note.and_then(|note| note.latest),
        }
    }
}

pub(super) fn returning<'a>(
    run: &Incarnation<'_>,
    assigned: &'a Assigned,
) -> Result<Vec<Returning<'a>>, JobError> {
    let policy = &run.job.policy.recovery;
    let mut returning = Vec::new();
    for assignment in &assigned.partitions {
        let index = run.index(&assignment.partition).unwrap_or(u32::MAX);
        let generation = policy.generation(assignment.stream);
        let note = note_of(assignment)?.filter(|note| note.generation == generation);
        // A note of another generation is about a topic that is no more: the new one is read from its beginning.
        let other_generation =
            note.is_none() && assignment.note.as_ref().is_some_and(|text| !text.is_empty());
        let next =
            if other_generation { assignment.low } else { next_of(assignment, note.as_ref(), policy)? };
        if let Some(note) = &note
            && note.partitions != 0
            && note.partitions != assignment.partitions
            && !policy.accept.contains(&Accept::PartitionCount)
        {
            let topic = assignment.partition.topic.to_string();
            return Err(
                Refusal::PartitionCount { topic, was: note.partitions, now: assignment.partitions }.into()
            );
        }
        let lasting = Lasting::Nothing;
        returning.push(Returning { assignment, index, note, next, since: None, lasting });
    }
    set_since(run, &mut returning)?;
    Ok(returning)
}

fn note_of(assignment: &Assignment) -> Result<Option<Note>, Refusal> {
    let read = assignment.note.as_deref().map_or(Ok(None), Note::read);
    read.map_err(|cause| Refusal::Note { partition: assignment.partition.clone(), cause })
}

/// The first offset that is live, if the topic still holds what comes after the commit.
fn next_of(assignment: &Assignment, note: Option<&Note>, policy: &RecoveryPolicy) -> Result<Offset, Refusal> {
    let partition = || assignment.partition.clone();
    let next = note.map_or(assignment.start, Note::next);
    if assignment.start > assignment.high {
        let (committed, high) = (assignment.start.0, assignment.high.0);
        return Err(Refusal::TopicShrunk { partition: partition(), committed, high });
    }
    if assignment.start < assignment.low {
        if policy.accept.contains(&Accept::LostRecords) {
            return Ok(next.max(assignment.low));
        }
        let (committed, low) = (assignment.start.0, assignment.low.0);
        return Err(Refusal::RecordsGone { partition: partition(), committed, low });
    }
    Ok(next)
}

/// From which event time on rows are needed: the watermark less the longest window, less what `@dedup` remembers.
/// Windows without a bound in time need others as well.
fn set_since(run: &Incarnation<'_>, returning: &mut [Returning<'_>]) -> Result<(), JobError> {
    let reach = run.parts.core.reach();
    let carrier = run.parts.core.carrier(&run.parts.contract)?;
    let settings = run.parts.core.settings();
    let repeats = settings.streams.iter().map(|stream| stream.repeats.0).max().unwrap_or_default();
    let span = reach.longest.0.saturating_add(run.parts.longest_memory().0).max(repeats);
    let bases: Result<Vec<Option<i64>>, JobError> = returning.iter().map(|one| base(run, one)).collect();
    let bases = bases?;
    let least = returning
        .iter()
        .zip(&bases)
        .filter(|(one, _)| one.note.is_some())
        .filter_map(|(_, base)| *base)
        .min();
    for (one, base) in returning.iter_mut().zip(bases) {
        let Some(base) = base.map(|own| if one.note.is_some() { least.unwrap_or(own) } else { own }) else {
            continue;
        };
        let first = one.assignment.note.is_none();
        let warm_up = run.job.policy.recovery.warm_up.get(one.assignment.stream);
        one.since = match warm_up.filter(|_| first) {
            Some(WarmUp::Nothing) => None,
            Some(WarmUp::For(span)) => Some(base.saturating_sub(span.0)),
            _ => {
                one.lasting = carrier.lasting(one.assignment.stream);
                let all = one.lasting == Lasting::Everything;
                Some(if all { i64::MIN } else { base.saturating_sub(span) })
            }
        };
    }
    Ok(())
}

/// The time at which live rows of a partition go on; none where nothing came before.
fn base(run: &Incarnation<'_>, one: &Returning<'_>) -> Result<Option<i64>, JobError> {
    let assignment = one.assignment;
    if let Some(note) = &one.note {
        let lateness =
            run.parts.core.settings().streams.get(assignment.stream).map_or(0, |stream| stream.lateness.0);
        return Ok(note.watermark.or(note.latest.map(|latest| latest.saturating_sub(lateness))));
    }
    if one.next <= assignment.low {
        return Ok(None);
    }
    let start = run.job.consumer.topics.get(&*assignment.partition.topic).map(|binding| binding.start);
    if let (None, Some(Start::At(time))) = (&assignment.note, start) {
        return Ok(Some(time.0));
    }
    // The newest record before the start says where time stands; an idle topic has none, and needs none.
    let last = ReplayRange {
        partition: assignment.partition.clone(),
        from: Offset((one.next.0 - 1).max(assignment.low.0)),
        to: one.next,
    };
    let mut replay = Replay::start(
        &run.job.consumer.kafka,
        &run.job.consumer.group,
        std::slice::from_ref(&last),
        &run.table,
        1,
    )?;
    while let Some(batch) = replay.next_batch()? {
        if let Some(timestamp) = batch.records.first().and_then(|record| record.timestamp) {
            return Ok(Some(timestamp));
        }
    }
    Ok(Some(run.job.clock.now_micros()))
}
