//! Labels in the job: hits and labels as they pass, and what was known of both before a restart.
//!
//! Takes answered batches; keeps [`Labels`]. At a start the alerts that were sent are read back from where they went,
//! and the labels from their topics, for as long as the settings remember them, so that a label that comes a month
//! late finds its alert. A hit that was no alert (held back by `@dedup`) is known only to the process that saw it.

use std::io::{BufRead, BufReader};
use std::sync::atomic::{AtomicBool, Ordering};

use serde::Deserialize;

use super::Answered;
use super::incarnation::Incarnation;
use super::job::JobError;
use crate::event::{EventTime, Offset};
use crate::labels::Labels;
use crate::rules::Rule;
use crate::source::Fetched;
use crate::source::kafka::{Replay, ReplayRange, first_records_at, topic_bounds};

/// Records a batch of the reading.
const BATCH_ROWS: usize = 8192;

/// What is read of an alert's JSON.
#[derive(Deserialize)]
struct Message<'a> {
    event_id: &'a str,
    event_time: &'a str,
    rule: RuleOf<'a>,
}

#[derive(Deserialize)]
struct RuleOf<'a> {
    id: &'a str,
    version: &'a str,
}

impl Incarnation<'_> {
    /// Takes the hits and the labels of a batch.
    pub(super) fn label(&mut self, answered: &Answered) {
        let Some(columns) = self.parts.core.settings().labels.clone() else { return };
        let maker = match answered.emit {
            crate::rules::Emit::OnArrival => &self.parts.on_arrival,
            crate::rules::Emit::InOrder => &self.parts.in_order,
        };
        self.labels.hits(maker, &answered.batch, &answered.hits);
        // Rows are answered by both graphs, and a label counts once.
        if self.parts.decides(answered.emit) {
            let makers = [&self.parts.on_arrival, &self.parts.in_order];
            let rules: Vec<&Rule> = makers.into_iter().flat_map(|maker| maker.rules().iter()).collect();
            self.labels.labels(&columns, &answered.batch, &rules);
        }
    }

    /// Reads back what was known before this start, once.
    pub(super) fn recall_labels(&mut self, stop: &AtomicBool) -> Result<(), JobError> {
        let Some(columns) = self.parts.core.settings().labels.clone().filter(|_| !self.labels_recalled)
        else {
            return Ok(());
        };
        self.labels_recalled = true;
        let from = EventTime(self.job.clock.now_micros().saturating_sub(columns.remember.0).max(0));
        let mut labels = std::mem::take(&mut self.labels);
        self.recall_alerts(&mut labels, from, stop)?;
        // A core of its own: this one must not take these rows for repeats later.
        let mut aside = (self.job.parts)()?;
        let topics = self.job.consumer.topics.iter().filter(|(_, binding)| binding.stream == columns.stream);
        for (topic, _) in topics {
            let mut ranges = self.since(topic, from)?;
            for range in &mut ranges {
                // What comes after is still to be read.
                let next = self.offsets.iter().find(|(partition, _)| **partition == range.partition);
                range.to = next.map_or(range.to, |(_, next)| next.min(range.to));
            }
            let makers = [&self.parts.on_arrival, &self.parts.in_order];
            let rules: Vec<&Rule> = makers.into_iter().flat_map(|maker| maker.rules().iter()).collect();
            self.read(&ranges, stop, |batch| {
                let decoded = aside.core.decode(Fetched::Records(batch))?;
                labels.labels(&columns, &decoded, &rules);
                Ok(())
            })?;
        }
        self.labels = labels;
        Ok(())
    }

    fn recall_alerts(&self, labels: &mut Labels, from: EventTime, stop: &AtomicBool) -> Result<(), JobError> {
        let policy = &self.job.policy.recovery;
        let mut note = |value: &[u8]| {
            let Ok(alert) = serde_json::from_slice::<Message<'_>>(value) else { return };
            let Ok(at) = chrono::DateTime::parse_from_rfc3339(alert.event_time) else { return };
            labels.hit(alert.rule.id, alert.rule.version, alert.event_id, at.timestamp_micros());
        };
        for topic in &policy.alert_topics {
            self.read(&self.since(topic, from)?, stop, |batch| {
                for record in &batch.records {
                    note(batch.slice(record.payload.as_ref()).unwrap_or_default());
                }
                Ok(())
            })?;
        }
        for path in &policy.alert_files {
            let Ok(file) = std::fs::File::open(path) else { continue };
            BufReader::new(file).split(b'\n').map_while(Result::ok).for_each(|line| note(&line));
        }
        Ok(())
    }

    /// All of a topic from a time on.
    fn since(&self, topic: &str, from: EventTime) -> Result<Vec<ReplayRange>, JobError> {
        let (kafka, group) = (&self.job.consumer.kafka, &self.job.consumer.group);
        let bounds = topic_bounds(kafka, group, topic)?;
        let times: Vec<_> = bounds.iter().map(|(partition, ..)| (partition.clone(), from)).collect();
        let found = first_records_at(kafka, group, &times)?;
        let range = |((partition, _, high), from): ((_, Offset, Offset), Option<Offset>)| {
            Some(ReplayRange { partition, from: from?, to: high })
        };
        Ok(bounds.into_iter().zip(found).filter_map(range).collect())
    }

    fn read(
        &self,
        ranges: &[ReplayRange],
        stop: &AtomicBool,
        mut each: impl FnMut(crate::source::RawBatch) -> Result<(), JobError>,
    ) -> Result<(), JobError> {
        let (kafka, group) = (&self.job.consumer.kafka, &self.job.consumer.group);
        let mut replay = Replay::start(kafka, group, ranges, &self.table, BATCH_ROWS)?;
        while !stop.load(Ordering::Relaxed) {
            let Some(batch) = replay.next_batch()? else { break };
            each(batch)?;
        }
        Ok(())
    }
}
