//! Ends transactions whose end the brokers have lost, before anything else is committed.
//!
//! Takes a ring whose ids were just initialised, so that none of its producers has a transaction under way; asks the
//! brokers whether one hangs all the same: records that readers of committed records can't pass, or offsets of the group
//! that wait to be decided. Records are aborted: every producer of the ring aborts a transaction of its own that touches
//! each such place, which ends what hung there before it. Offsets are committed as they were before, with a mark that
//! what follows them may have been sent, for the end of a transaction may be lost in one partition and written in
//! another. So what it answered is answered again, and [`crate::pipeline`] leaves out what receivers have already.
//!
//! Where the end of a transaction may be written in the offsets and lost in the outputs, [`super::ends`] knows which
//! offsets to go back to, as long as the process lives. Aborted records without key or value stay behind, which readers
//! of committed records never see. Kafka: KAFKA-20734.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use rdkafka::client::{Client, ClientContext};
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::metadata::MetadataPartition;
use rdkafka::producer::Producer;
use rdkafka::{Offset as Position, TopicPartitionList};

use super::ends::MARKS_WAIT;
use super::producer::{drain, send_doomed};
use super::{TransactionSettings, TransactionSink, committer};
use crate::event::{Offset, Partition};
use crate::sink::{Destination, SinkError};
use crate::source::kafka::{ConsumerSettings, PartitionCommit, Side};

/// How long one question may take.
const ANSWER_WAIT: Duration = Duration::from_secs(10);

/// How long the group's offsets are waited for: other instances leave theirs undecided for an instant.
const DECISION_WAIT: Duration = Duration::from_secs(5);
const ONE_DECISION_WAIT: Duration = Duration::from_secs(2);

/// How often a question that fails is asked, and how far apart: as long as a broker may take to start.
const QUESTIONS_MAX: usize = 30;
const QUESTION_PAUSE: Duration = Duration::from_secs(1);

/// How often a place is looked at again, [`PAUSE`] apart: transactions of others end meanwhile.
const LOOKS: usize = 10;
const PAUSE: Duration = Duration::from_millis(50);

/// How long the acknowledgement of the records to be aborted is waited for, in polls of 10 ms.
const POLLS_MAX: usize = 1000;

/// Looks for transactions that hang, in the output topics and in the group's offsets, and ends them; whether there was
/// one, or may have been. Nothing of the ring may be under way. `mark` makes of a commit's note one that says so.
///
/// A place that hangs for another's transaction, say of another instance, is found as well, and stays as it is.
pub fn end_hanging(
    sink: &mut TransactionSink,
    source: &ConsumerSettings,
    mark: &dyn Fn(&str) -> String,
) -> Result<bool, SinkError> {
    const ATTEMPT: &str = "looking for transactions that hang";
    let failed = |error: KafkaError| committer::failed(ATTEMPT, &error);
    let TransactionSink { settings, idle, .. } = sink;
    let committed = reader(settings, &[])?;
    let all = reader(settings, &[("isolation.level", "read_uncommitted")])?;
    let faults = settings.ends.faults();
    let doubted = patiently(|| still_doubted(&all, settings.ends.doubted())).map_err(failed)?;
    // Brokers that have just come back may not know yet who leads what.
    let places =
        patiently(|| undecided_records(settings, committed.client(), all.client())).map_err(failed)?;
    let offsets = patiently(|| undecided_offsets(&committed, source)).map_err(failed)?;
    if places.is_empty() && offsets.count() == 0 && doubted.is_empty() {
        settings.ends.begin(faults);
        return Ok(false);
    }
    tracing::warn!(
        records = ?places, offsets = offsets.count(), in_doubt = doubted.len(),
        "a transaction hangs or may have been lost, as brokers leave it that all went down at once: it is ended, and answered \
         again"
    );
    let mut before = committed_before(&all, &offsets, mark).map_err(failed)?;
    let back = go_back(&mut before, &doubted, mark).map_err(failed)?;
    let group = committed.group_metadata();
    for producer in idle {
        if !places.is_empty() {
            producer.begin_transaction().map_err(failed)?;
            places.iter().try_for_each(|place| send_doomed(producer, place, None)).map_err(failed)?;
            drain(producer, POLLS_MAX);
            producer.abort_transaction(ANSWER_WAIT).map_err(failed)?;
        }
        let Some(group) = &group else { continue };
        // First none of what hangs, or a commit would complete the offsets of partitions that had none before.
        if offsets.count() > 0 {
            producer.begin_transaction().map_err(failed)?;
            producer.send_offsets_to_transaction(&offsets, group, ANSWER_WAIT).map_err(failed)?;
            producer.abort_transaction(ANSWER_WAIT).map_err(failed)?;
        }
        if before.count() > 0 {
            producer.begin_transaction().map_err(failed)?;
            producer.send_offsets_to_transaction(&before, group, ANSWER_WAIT).map_err(failed)?;
            producer.commit_transaction(ANSWER_WAIT).map_err(failed)?;
        }
    }
    // What was gone back to is in doubt as well, until it is seen. Others may hang for another instance.
    if back.count() > 0 && !decided(&committed, back, MARKS_WAIT).map_err(failed)? {
        let reason = "the offsets that were gone back to are not seen yet".to_owned();
        return Err(SinkError::Transaction { attempt: ATTEMPT, reason });
    }
    settings.ends.begin(faults);
    Ok(true)
}

/// A client that asks what stands in the topics and what the group has committed, and reads what is committed unless a
/// property says otherwise.
pub(super) fn reader(
    settings: &TransactionSettings,
    properties: &[(&str, &str)],
) -> Result<BaseConsumer, SinkError> {
    let kafka = &settings.kafka;
    let group = [("group.id", settings.group.as_str())];
    let mut config = kafka.kafka.client_config(Side::Consumer, &kafka.client_id, &group)?;
    properties.iter().for_each(|(property, value)| {
        config.set(*property, *value);
    });
    let made = config.create();
    made.map_err(|error| committer::failed("asking the brokers about transactions", &error))
}

/// Asks again for a while when a question fails.
fn patiently<T>(mut question: impl FnMut() -> KafkaResult<T>) -> KafkaResult<T> {
    for _ in 1..QUESTIONS_MAX {
        match question() {
            Ok(answer) => return Ok(answer),
            Err(error) if forbidden(error.rdkafka_error_code()) => return Err(error),
            Err(error) => tracing::info!(%error, "the brokers can't say yet which transactions hang"),
        }
        std::thread::sleep(QUESTION_PAUSE);
    }
    question()
}

fn forbidden(code: Option<RDKafkaErrorCode>) -> bool {
    use RDKafkaErrorCode as Code;
    matches!(code, Some(Code::TopicAuthorizationFailed | Code::GroupAuthorizationFailed))
}

/// Leaves out partitions for which another has committed since.
fn still_doubted(
    all: &BaseConsumer,
    doubted: Vec<(PartitionCommit, Offset)>,
) -> KafkaResult<Vec<PartitionCommit>> {
    let mut asked = TopicPartitionList::new();
    doubted.iter().for_each(|(PartitionCommit { partition, .. }, _)| {
        asked.add_partition(&partition.topic, partition.partition);
    });
    if doubted.is_empty() {
        return Ok(Vec::new());
    }
    let found = all.committed_offsets(asked, ANSWER_WAIT)?;
    let ours = |(commit, reached): (PartitionCommit, Offset)| {
        let place = found.find_partition(&commit.partition.topic, commit.partition.partition)?;
        let beyond = matches!(place.offset(), Position::Offset(offset) if offset > reached.0);
        (!beyond).then_some(commit)
    };
    Ok(doubted.into_iter().filter_map(ours).collect())
}

/// Enters the offsets of before transactions in doubt, with the mark; hands on their places.
fn go_back(
    before: &mut TopicPartitionList,
    doubted: &[PartitionCommit],
    mark: &dyn Fn(&str) -> String,
) -> KafkaResult<TopicPartitionList> {
    let mut places = TopicPartitionList::new();
    for PartitionCommit { partition: Partition { topic, partition }, offset, note } in doubted {
        places.add_partition(topic, *partition);
        if before.find_partition(topic, *partition).is_none() {
            before.add_partition(topic, *partition);
        }
        if let Some(mut place) = before.find_partition(topic, *partition) {
            place.set_offset(Position::Offset(offset.0))?;
            place.set_metadata(mark(note));
        }
    }
    Ok(places)
}

/// What was committed of these partitions before what waits to be decided, each with the mark.
fn committed_before(
    all: &BaseConsumer,
    undecided: &TopicPartitionList,
    mark: &dyn Fn(&str) -> String,
) -> KafkaResult<TopicPartitionList> {
    let mut before = TopicPartitionList::new();
    if undecided.count() == 0 {
        return Ok(before);
    }
    let known = all.committed_offsets(undecided.clone(), ANSWER_WAIT)?;
    for element in known.elements() {
        element.error()?;
        if let Position::Offset(offset) = element.offset() {
            before.add_partition_offset(element.topic(), element.partition(), Position::Offset(offset))?;
            if let Some(mut kept) = before.find_partition(element.topic(), element.partition()) {
                kept.set_metadata(mark(element.metadata()));
            }
        }
    }
    Ok(before)
}

/// Partitions of the output in which committed readers can't reach the end.
fn undecided_records<C: ConsumerContext>(
    settings: &TransactionSettings,
    committed: &Client<C>,
    all: &Client<C>,
) -> KafkaResult<Vec<Partition>> {
    let topics = &settings.kafka.topics;
    // A topic that the job does not use, and may not see, is none of its outputs.
    let names: BTreeSet<&str> = Destination::ALL.iter().map(|destination| topics.of(*destination)).collect();
    let mut places = Vec::new();
    for topic in names {
        for partition in partitions(committed, topic, topic != topics.alerts)? {
            if hangs(committed, all, topic, partition)? {
                places.push(Partition { topic: Arc::from(topic), partition });
            }
        }
    }
    Ok(places)
}

/// The partitions of a topic, each with a leader; none of one that `may_be_absent`, where it is, or is not for us.
fn partitions<C: ClientContext>(
    client: &Client<C>,
    topic: &str,
    may_be_absent: bool,
) -> KafkaResult<Vec<i32>> {
    let metadata = client.fetch_metadata(Some(topic), ANSWER_WAIT)?;
    let Some(found) = metadata.topics().first() else { return Err(KafkaError::NoMessageReceived) };
    match found.error().map(RDKafkaErrorCode::from) {
        None => {}
        Some(RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic) if may_be_absent => {
            return Ok(Vec::new());
        }
        Some(code) if may_be_absent && forbidden(Some(code)) => return Ok(Vec::new()),
        Some(code) => return Err(KafkaError::MetadataFetch(code)),
    }
    let one = |partition: &MetadataPartition| match partition.error() {
        None if partition.leader() >= 0 => Ok(partition.id()),
        error => {
            let code = error.map_or(RDKafkaErrorCode::LeaderNotAvailable, RDKafkaErrorCode::from);
            Err(KafkaError::MetadataFetch(code))
        }
    };
    found.partitions().iter().map(one).collect()
}

fn hangs<C: ClientContext>(
    committed: &Client<C>,
    all: &Client<C>,
    topic: &str,
    partition: i32,
) -> KafkaResult<bool> {
    let (_, end) = all.fetch_watermarks(topic, partition, ANSWER_WAIT)?;
    for _ in 0..LOOKS {
        let (_, stable) = committed.fetch_watermarks(topic, partition, ANSWER_WAIT)?;
        if stable >= end {
            return Ok(false);
        }
        std::thread::sleep(PAUSE);
    }
    Ok(true)
}

/// Partitions of the input whose committed offsets wait to be decided, each with an offset to touch it by.
fn undecided_offsets(committed: &BaseConsumer, source: &ConsumerSettings) -> KafkaResult<TopicPartitionList> {
    let mut undecided = TopicPartitionList::new();
    let mut asked = TopicPartitionList::new();
    for topic in source.topics.keys() {
        for partition in partitions(committed.client(), topic, false)? {
            asked.add_partition(topic, partition);
        }
    }
    if decided(committed, asked.clone(), DECISION_WAIT)? {
        return Ok(undecided);
    }
    // Those of other instances are decided within moments.
    for element in asked.elements() {
        let mut one = TopicPartitionList::new();
        one.add_partition(element.topic(), element.partition());
        if !decided(committed, one, ONE_DECISION_WAIT)? {
            undecided.add_partition_offset(element.topic(), element.partition(), Position::Offset(0))?;
        }
    }
    Ok(undecided)
}

/// Whether the committed offsets of partitions are known. The library asks again while they are undecided, so what
/// says that they are is a time that ran out.
fn decided(committed: &BaseConsumer, asked: TopicPartitionList, wait: Duration) -> KafkaResult<bool> {
    match committed.committed_offsets(asked, wait) {
        Ok(found) => found.elements().iter().try_for_each(|element| element.error()).map(|()| true),
        Err(error) if error.rdkafka_error_code() == Some(RDKafkaErrorCode::OperationTimedOut) => Ok(false),
        Err(error) => Err(error),
    }
}
