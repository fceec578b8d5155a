//! Which alerts were sent lately, read back from where they went.
//!
//! Takes the topics and files of alerts; hands on a set of alert ids. Records of aborted transactions are not
//! in it, so it says exactly what a receiver has seen. An id is 128 bits; a million take 32 MB.

use std::collections::HashSet;
use std::io::{BufRead, BufReader};

use super::job::{Job, JobError};
use crate::event::EventTime;
use crate::source::kafka::{Replay, ReplayRange, TopicReader, first_records_at, topic_bounds};

/// Ids of alerts that were sent.
#[derive(Debug, Default)]
pub(super) struct Delivered {
    ids: HashSet<u128>,
}

/// How much earlier than the events it is about an alert's own time may be, for clocks differ: 10 minutes.
const CLOCKS_DIFFER_MICROS: i64 = 600_000_000;

/// Records a batch of the reading.
const BATCH_ROWS: usize = 8192;

impl Delivered {
    pub(super) fn contains(&self, alert_id: &str) -> bool {
        u128::from_str_radix(alert_id, 16).is_ok_and(|id| self.ids.contains(&id))
    }

    /// Takes the id out of an alert's JSON; anything else in the topic is passed over.
    fn note(&mut self, value: &[u8]) {
        #[derive(serde::Deserialize)]
        struct Alert<'a> {
            alert_id: &'a str,
        }
        if let Ok(alert) = serde_json::from_slice::<Alert<'_>>(value)
            && let Ok(id) = u128::from_str_radix(alert.alert_id, 16)
        {
            self.ids.insert(id);
        }
    }
}

/// From when on messages about events of this time and later were sent, microseconds. An event time is at most
/// `limits.future` past its record's time, and a message is sent after its record.
pub(super) fn sent_from(job: &Job<'_>, events_from: i64) -> i64 {
    let future = job.policy.recovery.future.0;
    events_from.saturating_sub(future).saturating_sub(CLOCKS_DIFFER_MICROS).max(0)
}

/// Alerts about events of this time and later.
pub(super) fn read(job: &Job<'_>, events_from: i64) -> Result<Delivered, JobError> {
    let policy = &job.policy.recovery;
    let (kafka, group) = (&job.consumer.kafka, &job.consumer.group);
    let sent_from = sent_from(job, events_from);
    let mut delivered = Delivered::default();
    for topic in &policy.alert_topics {
        // What another instance committed a moment ago may not be visible yet, and must not be missed.
        TopicReader::open(kafka, group, topic)?.wait_for_open_transactions(kafka, group)?;
        let bounds = topic_bounds(kafka, group, topic)?;
        let times: Vec<_> =
            bounds.iter().map(|(partition, ..)| (partition.clone(), EventTime(sent_from))).collect();
        let found = first_records_at(kafka, group, &times)?;
        let ranges: Vec<ReplayRange> = bounds
            .into_iter()
            .zip(found)
            .filter_map(|((partition, _, high), from)| Some(ReplayRange { partition, from: from?, to: high }))
            .collect();
        let mut replay =
            Replay::start(kafka, group, &ranges, &crate::source::Partitions::default(), BATCH_ROWS)?;
        while let Some(batch) = replay.next_batch()? {
            for record in &batch.records {
                delivered.note(batch.slice(record.payload.as_ref()).unwrap_or_default());
            }
        }
    }
    for path in &policy.alert_files {
        let Ok(file) = std::fs::File::open(path) else { continue };
        for line in BufReader::new(file).split(b'\n').map_while(Result::ok) {
            delivered.note(&line);
        }
    }
    Ok(delivered)
}
