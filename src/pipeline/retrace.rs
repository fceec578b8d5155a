//! Rows that a job has read before, read again beside it up to one record, to look at what a rule made of it.
//!
//! Takes where the job's rows can be read from and a record; hands every step on to whoever looks. Joins no group,
//! commits nothing and sends nothing. Rows come from the history in the order of their arrival, and what it does not
//! hold comes from the topics. What would surprise: where several partitions are read from topics, their order
//! against each other is not the job's; only the history knows that.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::job::JobError;
use super::parts::Parts;
use super::refusal::RecoveryPolicy;
use super::sources::{Need, Origins};
use super::{Progress, StepOutcome};
use crate::event::{Coordinates, EventTime, Offset, Partition};
use crate::graph::{EngineError, Lasting};
use crate::history::History;
use crate::rules::Emit;
use crate::source::kafka::{ConsumerSettings, Replay, ReplayRange, first_records_at, topic_bounds};
use crate::source::{Fetched, Partitions, SourcePartition};

/// How much later than a record others may have been written that are answered before it in order: the clocks of
/// producers differ, microseconds.
const CLOCKS_DIFFER: i64 = 60_000_000;

/// Where the rows of a job are read again.
pub struct Retrace<'a> {
    /// Topics, and how they are read.
    pub consumer: &'a ConsumerSettings,
    /// What the job keeps of its rows, if it does.
    pub history: Option<&'a History>,
    /// Generations of topics, and how far event times may lie ahead.
    pub policy: &'a RecoveryPolicy,
}

/// What there was to read.
#[derive(Debug, Default)]
pub struct Retraced {
    /// Rows and records that were read.
    pub progress: Progress,
    /// Partitions of which older rows would be needed than are left: windows may lack events.
    pub incomplete: Vec<Partition>,
    /// Partitions that were read from their topics beside others, so that their order is not certain.
    pub interleaved: bool,
}

impl Retrace<'_> {
    /// The time and the event time of a record that its topic still holds, microseconds.
    pub fn times_of(
        &self,
        parts: &mut Parts,
        record: &Coordinates,
    ) -> Result<Option<(i64, Option<i64>)>, JobError> {
        let range = ReplayRange {
            partition: record.partition.clone(),
            from: record.offset,
            to: Offset(record.offset.0 + 1),
        };
        let table = self.table(&self.bounds()?);
        let mut replay = Replay::start(&self.consumer.kafka, &self.consumer.group, &[range], &table, 1)?;
        while let Some(batch) = replay.next_batch()? {
            let Some(timestamp) = batch.records.first().and_then(|record| record.timestamp) else { continue };
            let decoded = parts.core.decode(Fetched::Records(batch))?;
            return Ok(Some((timestamp, decoded.rows.event_time.first().copied())));
        }
        Ok(None)
    }

    /// Reads everything that the answers about a record rest on, and hands on each step until `take` says that it
    /// has seen enough. `timestamp` is the record's own time and `event_time` that of its event.
    pub fn run(
        &self,
        parts: &mut Parts,
        (record, timestamp, event_time): (&Coordinates, Option<i64>, i64),
        mut take: impl FnMut(&mut Parts, &StepOutcome) -> Result<bool, EngineError>,
    ) -> Result<Retraced, JobError> {
        let bounds = self.bounds()?;
        let table = self.table(&bounds);
        let needs = self.needs(parts, &bounds, (record, timestamp, event_time))?;
        let contract = parts.contract.clone();
        let origins = Origins {
            consumer: self.consumer,
            history: self.history,
            contract: &contract,
            policy: self.policy,
        };
        let sources = origins.sources(&needs)?;
        let own = |range: &&ReplayRange| range.from < range.to;
        let mut done = Retraced {
            incomplete: sources.incomplete.into_iter().map(|incomplete| incomplete.partition).collect(),
            interleaved: sources.ranges.iter().filter(own).count() > 1,
            ..Retraced::default()
        };
        for index in 0..u32::try_from(table.len()).unwrap_or(u32::MAX) {
            parts.core.watermarks().expect(index);
        }
        if let (Some(history), false) = (self.history, sources.plans.is_empty()) {
            let loader = history.load(sources.plans, &contract, &parts.used, Arc::clone(&table))?;
            for batch in loader {
                let batch = parts.core.without_repeats(batch?)?;
                done.progress.absorbed += batch.rows.event_time.len() as u64;
                let outcome = parts.core.answer(batch)?;
                if take(parts, &outcome)? {
                    return Ok(done);
                }
            }
        }
        let (kafka, group) = (&self.consumer.kafka, &self.consumer.group);
        let mut replay = Replay::start(kafka, group, &sources.ranges, &table, self.consumer.batch_rows_max)?;
        while let Some(batch) = replay.next_batch()? {
            done.progress.replayed += batch.records.len() as u64;
            let outcome = parts.core.step(Fetched::Records(batch))?;
            if take(parts, &outcome)? {
                return Ok(done);
            }
        }
        // What still waits would have been answered by later rows.
        let rest = parts.core.finish()?;
        take(parts, &rest)?;
        Ok(done)
    }

    fn bounds(&self) -> Result<Vec<(Partition, usize, Offset, Offset)>, JobError> {
        let mut bounds = Vec::new();
        for (topic, binding) in &self.consumer.topics {
            let own = topic_bounds(&self.consumer.kafka, &self.consumer.group, topic)?;
            bounds
                .extend(own.into_iter().map(|(partition, low, high)| (partition, binding.stream, low, high)));
        }
        Ok(bounds)
    }

    fn table(&self, bounds: &[(Partition, usize, Offset, Offset)]) -> Partitions {
        let entry = |(partition, stream, ..): &(Partition, usize, Offset, Offset)| SourcePartition {
            partition: partition.clone(),
            stream: *stream,
        };
        Arc::new(bounds.iter().map(entry).collect())
    }

    fn needs(
        &self,
        parts: &Parts,
        bounds: &[(Partition, usize, Offset, Offset)],
        (record, timestamp, event_time): (&Coordinates, Option<i64>, i64),
    ) -> Result<Vec<Need>, JobError> {
        let core = &parts.core;
        let policies = &core.settings().streams;
        let lateness = policies.iter().map(|stream| stream.lateness.0).max().unwrap_or_default();
        let carrier = core.carrier(&parts.contract)?;
        let since = event_time.saturating_sub(parts.looks_back().0);
        let ordered = core.engines().any(|(emit, _)| emit == Emit::InOrder);
        let later = if ordered { lateness + CLOCKS_DIFFER } else { 1_000 };
        let until = EventTime(timestamp.unwrap_or(event_time).saturating_add(later));
        let times: Vec<_> = bounds.iter().map(|(partition, ..)| (partition.clone(), until)).collect();
        let ends: BTreeMap<Partition, Option<Offset>> = times
            .iter()
            .map(|(partition, _)| partition.clone())
            .zip(first_records_at(&self.consumer.kafka, &self.consumer.group, &times)?)
            .collect();
        let need = |(partition, stream, low, high): &(Partition, usize, Offset, Offset)| {
            let end = ends.get(partition).copied().flatten().unwrap_or(*high);
            let own = Offset(record.offset.0 + 1);
            let next = match *partition == record.partition {
                true if ordered => end.max(own),
                true => own,
                false => end,
            };
            let lasting = carrier.lasting(*stream);
            let since = if lasting == Lasting::Everything { i64::MIN } else { since };
            Need { partition: partition.clone(), stream: *stream, low: *low, next, since, lasting }
        };
        Ok(bounds.iter().map(need).collect())
    }
}
