//! The consumer itself: its configuration, its callbacks, and its end.
//!
//! Takes [`ConsumerSettings`], hands on a [`Subscribed`] consumer. Its callbacks only report: what a
//! rebalance or a failed commit means is decided by the loop that polls. What would surprise: the
//! library's own reaction to a rebalance is replaced, so partitions stay assigned until the loop lets
//! them go; while closing, when no loop is left, they are let go at once, or closing would wait for ever.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Deref;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::types::RDKafkaRespErr;
use rdkafka::{ClientContext, TopicPartitionList};

use super::contact::{Complaint, ask};
use super::{ConsumerSettings, EndedCommits, KafkaSettings, Remedy, Side, SourceError};
use crate::event::Partition;

/// How long a question to the brokers may take.
pub(super) const ANSWER_WAIT: Duration = Duration::from_secs(30);

/// What a callback saw.
pub(super) enum Report {
    Assigned(TopicPartitionList),
    Revoked(TopicPartitionList),
    CommitFailed(KafkaError),
}

/// Receives the library's callbacks and keeps them until the loop asks; callbacks run only while the
/// loop polls and it asks after each poll, so a handful is the most that waits here.
#[derive(Default)]
pub(super) struct Reporter {
    reports: Mutex<VecDeque<Report>>,
    ends: Mutex<BTreeMap<Partition, i64>>,
    detail: Mutex<Option<String>>,
    complaint: Mutex<Option<Complaint>>,
    commits: Mutex<EndedCommits>,
    closing: AtomicBool,
}

impl Reporter {
    /// The oldest report not yet taken.
    pub(super) fn take(&self) -> Option<Report> {
        open(&self.reports).pop_front()
    }

    /// Whether a report waits to be taken.
    pub(super) fn has_reports(&self) -> bool {
        !open(&self.reports).is_empty()
    }

    /// The end of each partition that is read, as the library last heard of it.
    pub(super) fn ends(&self) -> BTreeMap<Partition, i64> {
        open(&self.ends).clone()
    }

    /// Commits of offsets that ended since this was last asked.
    pub(super) fn commits(&self) -> EndedCommits {
        std::mem::take(&mut *open(&self.commits))
    }

    /// The library's sentence about the last error.
    pub(super) fn detail(&self) -> Option<String> {
        open(&self.detail).take()
    }

    fn note(&self, complaint: Complaint) {
        let mut kept = open(&self.complaint);
        if kept.as_ref().is_none_or(|kept| complaint.outweighs(kept)) {
            *kept = Some(complaint);
        }
    }

    /// What the library said of its connections since this was last asked: the one that says most.
    pub(super) fn complaint(&self) -> Option<Complaint> {
        open(&self.complaint).take()
    }
}

/// Locks; what a panic left behind is a note or a table, and whole.
pub(super) fn open<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl ClientContext for Reporter {
    fn stats(&self, statistics: rdkafka::Statistics) {
        let mut ends = open(&self.ends);
        for (topic, counts) in &statistics.topics {
            let known = counts.partitions.iter().filter(|(number, end)| **number >= 0 && end.ls_offset >= 0);
            for (number, end) in known {
                let partition = Partition { topic: topic.as_str().into(), partition: *number };
                ends.insert(partition, end.ls_offset);
            }
        }
    }

    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        if let Some(complaint) = Complaint::of_log(facility, message) {
            self.note(complaint);
        }
        log_line(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        *open(&self.detail) = Some(reason.to_owned());
        self.note(Complaint::new(&error, reason));
    }
}

impl ConsumerContext for Reporter {
    fn rebalance(
        &self,
        consumer: &BaseConsumer<Self>,
        cause: RDKafkaRespErr,
        partitions: &mut TopicPartitionList,
    ) {
        if self.closing.load(Ordering::Acquire) {
            if let Err(error) = consumer.unassign() {
                tracing::warn!(%error, "partitions could not be let go while closing");
            }
            return;
        }
        let report = match cause {
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS => Report::Assigned(partitions.clone()),
            _ => Report::Revoked(partitions.clone()),
        };
        open(&self.reports).push_back(report);
    }

    fn commit_callback(&self, result: KafkaResult<()>, _: &TopicPartitionList) {
        match result {
            Err(KafkaError::ConsumerCommit(RDKafkaErrorCode::NoOffset)) => {}
            Ok(()) => open(&self.commits).done += 1,
            Err(error) => {
                open(&self.commits).failed += 1;
                open(&self.reports).push_back(Report::CommitFailed(error));
            }
        }
    }
}

/// Whether a line of the library's log is about a connection that was lost or refused.
pub(crate) fn tells_lost_connection(facility: &str) -> bool {
    facility == "FAIL"
}

/// Writes a line of the client library to our log.
pub(crate) fn log_line(level: RDKafkaLogLevel, facility: &str, message: &str) {
    match level {
        RDKafkaLogLevel::Emerg
        | RDKafkaLogLevel::Alert
        | RDKafkaLogLevel::Critical
        | RDKafkaLogLevel::Error => tracing::error!(target: "librdkafka", facility, "{message}"),
        RDKafkaLogLevel::Warning => tracing::warn!(target: "librdkafka", facility, "{message}"),
        RDKafkaLogLevel::Notice | RDKafkaLogLevel::Info => {
            tracing::info!(target: "librdkafka", facility, "{message}");
        }
        RDKafkaLogLevel::Debug => tracing::debug!(target: "librdkafka", facility, "{message}"),
    }
}

/// A consumer that has joined its group, and that lets go of its partitions when it is dropped.
pub(super) struct Subscribed(BaseConsumer<Reporter>);

impl Subscribed {
    pub(super) fn reporter(&self) -> &Reporter {
        self.0.context()
    }
}

impl Deref for Subscribed {
    type Target = BaseConsumer<Reporter>;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl Drop for Subscribed {
    fn drop(&mut self) {
        self.0.context().closing.store(true, Ordering::Release);
        if let Err(error) = self.0.unassign() {
            tracing::warn!(%error, "partitions could not be let go while closing");
        }
    }
}

/// Makes the consumer, checks that every topic exists, and subscribes.
pub(super) fn subscribe(settings: &ConsumerSettings) -> Result<Subscribed, SourceError> {
    let mut ours = vec![("group.id", settings.group.as_str())];
    ours.extend(settings.instance.as_deref().map(|instance| ("group.instance.id", instance)));
    let config = settings.kafka.client_config(Side::Consumer, &settings.group, &ours)?;
    let mut config = config;
    if config.get("statistics.interval.ms").is_none() {
        config.set("statistics.interval.ms", "1000");
    }
    let consumer: BaseConsumer<Reporter> = config
        .create_with_context(Reporter::default())
        .map_err(|error| SourceError::stop("making the Kafka consumer", &error))?;
    let consumer = Subscribed(consumer);
    let topics: Vec<&str> = settings.topics.keys().map(String::as_str).collect();
    for topic in &topics {
        partitions_of(&consumer, topic, &settings.kafka.brokers)?;
    }
    consumer
        .subscribe(&topics)
        .map_err(|error| SourceError::stop(&format!("subscribing to {}", topics.join(", ")), &error))?;
    Ok(consumer)
}

/// How many partitions a topic has; one that does not exist would be waited for in silence.
pub(super) fn partitions_of(
    consumer: &BaseConsumer<Reporter>,
    topic: &str,
    brokers: &[String],
) -> Result<usize, SourceError> {
    let attempt = format!("asking the brokers for topic `{topic}`");
    let metadata = ask(consumer, brokers, &attempt, |wait| consumer.fetch_metadata(Some(topic), wait))?;
    let found = metadata.topics().iter().find(|found| found.name() == topic);
    let reason = match found.map(|found| (found.error(), found.partitions().len())) {
        Some((None, partitions @ 1..)) => return Ok(partitions),
        Some((Some(RDKafkaRespErr::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED), _)) => {
            "this user may not see it; allow the job's user to read and describe the topic".to_owned()
        }
        Some((Some(code), _)) => format!("{}; {CREATE}", RDKafkaErrorCode::from(code)),
        _ => format!("it does not exist; {CREATE}"),
    };
    Err(SourceError::Client { attempt, reason, remedy: Remedy::Change })
}

const CREATE: &str = "create the topic, or correct `topics` of the stream";

/// See [`super::cluster_id`].
pub(super) fn cluster_id(settings: &KafkaSettings) -> Result<Option<String>, SourceError> {
    let config =
        settings.client_config(Side::Consumer, "tollgate", &[("group.id", "tollgate-cluster-id")])?;
    let consumer: BaseConsumer<Reporter> = config
        .create_with_context(Reporter::default())
        .map_err(|error| SourceError::stop("making a Kafka client", &error))?;
    // The library asks for the id with the first metadata it fetches.
    let attempt = "asking the brokers for their cluster";
    ask(&consumer, &settings.brokers, attempt, |wait| consumer.fetch_metadata(None, wait))?;
    Ok(consumer.client().fetch_cluster_id(ANSWER_WAIT))
}
