//! Rebuilds the windows of assigned partitions, and says from where each is read on.
//!
//! Takes an assignment with its committed offsets and notes. For each partition: what the history holds below
//! the next offset is absorbed, what it lacks is read from the topic again, and both stay silent. Rows of the
//! longest `@dedup` period are answered again, so that suppression knows what was sent; what was sent is read
//! from the topics of alerts. Then the time is set as it was at the commit, and the rest is live.
//!
//! Fails with a [`Refusal`] where going on could give wrong answers, and names the choices. A history that is
//! missing, stale or damaged costs time only, while the topic reaches back.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::delivered::{self, Delivered};
use super::incarnation::Incarnation;
use super::job::{JobError, JobEvent};
use super::refusal::{Accept, Refusal};
use super::returning::{Returning, returning};
use super::silent::answered_by_all;
use super::sources::{Incomplete, Need};
use super::witness::Witness;
use super::{Progress, Restored, StepOutcome};
use crate::checkpoint::Position;
use crate::decode::DecodedBatch;
use crate::event::{EventTime, Offset, Partition, crash_point};
use crate::history::Plan;
use crate::source::kafka::{Assigned, Replay, ReplayRange};
use crate::source::{Fetched, RawBatch};

/// The offsets that a batch covers, by partition.
pub(super) fn ranges(batch: &RawBatch) -> Vec<(Partition, Range<Offset>)> {
    let mut covered: BTreeMap<u32, (i64, i64)> = BTreeMap::new();
    for record in &batch.records {
        let range = covered.entry(record.partition).or_insert((record.offset, record.offset + 1));
        *range = (range.0.min(record.offset), range.1.max(record.offset + 1));
    }
    let named = |(index, (from, to)): (u32, (i64, i64))| {
        (batch.partitions[index as usize].partition.clone(), Offset(from)..Offset(to))
    };
    covered.into_iter().map(named).collect()
}

/// Rebuilds everything for an assignment; hands on where each partition is read on.
pub(super) fn recover(
    run: &mut Incarnation<'_>,
    assigned: &Assigned,
    stop: &AtomicBool,
    watch: &mut impl FnMut(JobEvent<'_>),
) -> Result<Vec<Position>, JobError> {
    let started = run.job.clock.elapsed();
    run.parts = (run.job.parts)()?;
    run.keeps_for_other_rules();
    run.complete_from = None;
    let returning = returning(run, assigned)?;
    for one in &returning {
        run.parts.core.watermarks().expect(one.index);
    }
    let mut known = Vec::new();
    for one in &returning {
        known.extend(one.known(run)?);
    }
    let witness = Witness::ask(run.job, &run.table, known)?;
    let restored: Vec<Restored> = returning.iter().map(Returning::restored).collect();
    if restored.iter().any(|restored| restored.answered_below != i64::MAX) {
        run.parts.core.watermarks().hold_below(answered_by_all(&restored));
    }
    let mut recovery = Recovery {
        progress: Progress::default(),
        earliest: BTreeMap::new(),
        rehearse_from: rehearse_from(run, &returning),
        delivered: Delivered::default(),
    };
    if let Some(from) = recovery.rehearse_from {
        recovery.delivered = delivered::read(run.job, from)?;
    }
    let mut sources = run.job.origins(&run.parts.contract).sources(&needs(&returning))?;
    recovery.progress.to_replay =
        sources.ranges.iter().map(|range| (range.to.0 - range.from.0).max(0) as u64).sum();
    recovery.progress.to_absorb = sources.plans.iter().map(|plan| plan.rows).sum();
    run.observe_recovery(recovery.progress);
    watch(JobEvent::Recovering(recovery.progress));
    let plans = std::mem::take(&mut sources.plans);
    let next_arrival = recovery.absorb_history(run, plans, stop, watch)?;
    sources.forget_below_gaps(&run.table, &mut recovery.earliest);
    witness.compare()?;
    open_history(run, &returning, &sources.ranges, next_arrival)?;
    crash_point("during-recovery");
    recovery.replay(run, &sources.ranges, assigned, stop, watch)?;
    let outcome = run.parts.core.restore(&restored)?;
    recovery.remember(run, &outcome);
    // What was held back in periods that had ended was told before the commit.
    drop(run.parts.summaries());
    run.complete_from = recovery.complete_from(run, &returning, &sources.incomplete)?;
    let longest = run.parts.core.reach().longest;
    let exact_since = run.complete_from.map(|from| EventTime(from.saturating_add(longest.0)));
    run.parts.on_arrival.set_exact_since(exact_since);
    run.parts.in_order.set_exact_since(exact_since);
    recovery.progress.took = run.job.clock.elapsed().saturating_sub(started);
    run.observe_recovered(recovery.progress);
    watch(JobEvent::Recovered(recovery.progress));
    Ok(returning.iter().map(Returning::position).collect())
}

/// From which event time on answers are repeated in silence; none where no suppression could rest on them.
fn rehearse_from(run: &Incarnation<'_>, returning: &[Returning<'_>]) -> Option<i64> {
    let alerts = run.parts.longest_memory();
    let restored =
        returning.iter().filter_map(|one| one.note.as_ref()?.watermark.or(one.note.as_ref()?.latest));
    let least = restored.min()?;
    let lateness =
        run.parts.core.settings().streams.iter().map(|stream| stream.lateness.0).max().unwrap_or_default();
    (alerts.0 > 0).then(|| least.saturating_sub(alerts.0).saturating_sub(lateness))
}

fn needs(returning: &[Returning<'_>]) -> Vec<Need> {
    let need = |one: &Returning<'_>| {
        Some(Need {
            partition: one.assignment.partition.clone(),
            stream: one.assignment.stream,
            low: one.assignment.low,
            next: one.next,
            since: one.since?,
            lasting: one.lasting.clone(),
        })
    };
    returning.iter().filter_map(need).collect()
}

/// Starts to record, behind what the history already holds.
fn open_history(
    run: &mut Incarnation<'_>,
    returning: &[Returning<'_>],
    ranges: &[ReplayRange],
    next_arrival: i64,
) -> Result<(), JobError> {
    let Some(kept) = &run.job.history else { return Ok(()) };
    let generations = &run.job.policy.recovery.generations;
    // A writer of an earlier assignment would go on from what it knew of these partitions then.
    if let Some(before) = run.history.take() {
        drop(before.close(run.job.policy.grace));
    }
    let writer = kept.history.writer(
        &run.parts.contract,
        generations,
        kept.writer.clone(),
        next_arrival,
        Arc::clone(&kept.clock),
    )?;
    for one in returning {
        let partition = &one.assignment.partition;
        let from =
            ranges.iter().find(|range| range.partition == *partition).map_or(one.next, |range| range.from);
        let latest =
            one.note.as_ref().map(|note| note.latest.map_or(i64::MIN, |latest| latest.saturating_add(1)));
        writer.start_at(partition, from, latest.unwrap_or(i64::MIN));
    }
    run.history = Some(writer);
    Ok(())
}

/// Rows of the history that no suppression needs any more, and no window but those without a bound in time, are earlier
/// than this.
pub(super) fn needed_from(run: &Incarnation<'_>, watermark: i64) -> Option<i64> {
    (watermark != i64::MIN).then(|| watermark.saturating_sub(run.parts.looks_back().0))
}

struct Recovery {
    progress: Progress,
    /// Earliest event time absorbed of each partition, by its index.
    earliest: BTreeMap<u32, i64>,
    rehearse_from: Option<i64>,
    delivered: Delivered,
}

impl Recovery {
    /// Absorbs what the history holds; hands on the next number in the order of arrival.
    fn absorb_history(
        &mut self,
        run: &mut Incarnation<'_>,
        plans: Vec<Plan>,
        stop: &AtomicBool,
        watch: &mut impl FnMut(JobEvent<'_>),
    ) -> Result<i64, JobError> {
        let Some(kept) = &run.job.history else { return Ok(0) };
        let next_arrival = plans.iter().map(|plan| plan.next_arrival).max().unwrap_or_default();
        if plans.is_empty() {
            return Ok(next_arrival);
        }
        let loader = kept.history.load(plans, &run.parts.contract, &run.parts.used, run.table.clone())?;
        for batch in loader {
            if stop.load(Ordering::Relaxed) {
                break;
            }
            let batch = run.parts.core.without_repeats(batch?)?;
            self.progress.absorbed += batch.rows.event_time.len() as u64;
            self.take(run, batch)?;
            run.observe_recovery(self.progress);
            watch(JobEvent::Recovering(self.progress));
        }
        Ok(next_arrival)
    }

    /// Reads again what the history lacks.
    fn replay(
        &mut self,
        run: &mut Incarnation<'_>,
        ranges: &[ReplayRange],
        assigned: &Assigned,
        stop: &AtomicBool,
        watch: &mut impl FnMut(JobEvent<'_>),
    ) -> Result<(), JobError> {
        let consumer = &run.job.consumer;
        let mut replay = Replay::start(
            &consumer.kafka,
            &consumer.group,
            ranges,
            &assigned.table,
            consumer.batch_rows_max,
        )?;
        while !stop.load(Ordering::Relaxed) {
            let Some(batch) = replay.next_batch()? else { break };
            if batch.records.is_empty() {
                continue;
            }
            crash_point("during-replay");
            self.progress.replayed += batch.records.len() as u64;
            let read = self::ranges(&batch);
            let decoded = run.parts.core.decode(Fetched::Records(batch))?;
            if let Some(history) = &run.history {
                history.append(&decoded, &read);
            }
            self.take(run, decoded)?;
            run.observe_recovery(self.progress);
            watch(JobEvent::Recovering(self.progress));
        }
        Ok(())
    }

    fn take(&mut self, run: &mut Incarnation<'_>, batch: DecodedBatch) -> Result<(), JobError> {
        for (partition, time) in batch.rows.partition.iter().zip(&batch.rows.event_time) {
            let earliest = self.earliest.entry(*partition).or_insert(*time);
            *earliest = (*earliest).min(*time);
        }
        let latest = batch.rows.event_time.iter().max().copied();
        if self.rehearse_from.is_some() && latest >= self.rehearse_from {
            let outcome = run.parts.core.rehearse(batch)?;
            self.remember(run, &outcome);
        } else {
            run.parts.core.absorb(batch)?;
        }
        Ok(())
    }

    /// Lets suppression see which hits were sent and which were held back.
    fn remember(&self, run: &mut Incarnation<'_>, outcome: &StepOutcome) {
        if self.rehearse_from.is_none() {
            return;
        }
        run.parts.remember(outcome, |alert_id| self.delivered.contains(alert_id));
    }

    /// Event time from which on windows are whole, where they are not whole from the start.
    fn complete_from(
        &self,
        run: &Incarnation<'_>,
        returning: &[Returning<'_>],
        incomplete: &[Incomplete],
    ) -> Result<Option<i64>, JobError> {
        let mut complete_from: Option<i64> = None;
        for one in returning {
            let partition = &one.assignment.partition;
            let known = one.note.as_ref().and_then(|note| note.complete_from);
            let needed = one.needed_from();
            if let Some(known) = known.filter(|known| *known > needed) {
                complete_from = complete_from.max(Some(known));
            }
            let Some(lacking) = incomplete.iter().find(|one| one.partition == *partition) else { continue };
            let reaches = lacking.reaches(self.earliest.get(&one.index).copied(), run.job.clock.now_micros());
            let first = one.assignment.note.is_none();
            let worse = known.is_none_or(|known| reaches > known);
            if !first && worse && !run.job.policy.recovery.accept.contains(&Accept::IncompleteWindows) {
                let (needed, reaches) = (EventTime(needed), EventTime(reaches));
                return Err(Refusal::Incomplete { partition: partition.clone(), needed, reaches }.into());
            }
            complete_from = complete_from.max(Some(reaches));
        }
        Ok(complete_from)
    }
}
