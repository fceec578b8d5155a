//! The Kafka source and sink against the broker inside the process.
//!
//! The embedded broker lets the first member of a group wait 3 seconds, so each start of a source costs
//! that much; waits below are bounded counts of polls.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::{Header, Headers, Message, OwnedHeaders, OwnedMessage};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};
use tollgate::event::{Coordinates, EventTime, Offset, Partition};
use tollgate::sink::{Destination, KafkaSink, KafkaSinkSettings, OutMessage, Outgoing, Receipt, Topics};
use tollgate::source::embedded::EmbeddedBroker;
use tollgate::source::kafka::{
    ConsumerSettings, KafkaEvent, KafkaSettings, KafkaSource, PartitionCommit, SourceError, Start,
    TopicBinding,
};
use tollgate::source::{RawBatch, RawRecord};

const WAIT: Duration = Duration::from_millis(100);
const GRACE: Duration = Duration::from_secs(30);

fn kafka(broker: &EmbeddedBroker) -> KafkaSettings {
    KafkaSettings {
        brokers: vec![broker.bootstrap_servers()],
        properties: BTreeMap::from([
            ("session.timeout.ms".to_owned(), "6000".to_owned()),
            ("heartbeat.interval.ms".to_owned(), "300".to_owned()),
        ]),
    }
}

fn source(broker: &EmbeddedBroker, start: Start) -> KafkaSource {
    let topics = BTreeMap::from([("payments".to_owned(), TopicBinding { stream: 4, start })]);
    KafkaSource::start(ConsumerSettings::new(kafka(broker), "job", topics)).expect("a source")
}

fn producer(broker: &EmbeddedBroker) -> BaseProducer {
    ClientConfig::new().set("bootstrap.servers", broker.bootstrap_servers()).create().expect("a producer")
}

fn produce(broker: &EmbeddedBroker, numbers: std::ops::Range<usize>) {
    let producer = producer(broker);
    for number in numbers {
        let value = number.to_string();
        let partition = i32::try_from(number % 2).expect("0 or 1");
        let record = BaseRecord::<str, str>::to("payments").partition(partition).payload(&value);
        producer.send(record).expect("room in the queue");
    }
    producer.flush(GRACE).expect("delivered");
}

/// Waits for an event that `wanted` takes; the others are dropped.
fn wait_for<T>(source: &KafkaSource, mut wanted: impl FnMut(KafkaEvent) -> Option<T>) -> T {
    let mut next = || {
        let event = source.next(WAIT);
        if let KafkaEvent::Assigned(assigned) = &event {
            let from = assigned.partitions.iter().map(|own| (own.partition.clone(), own.start));
            source.begin(assigned, from.collect()).expect("begin");
        }
        wanted(event)
    };
    (0..300).find_map(|_| next()).expect("something within 30 seconds")
}

fn assigned(source: &KafkaSource) -> usize {
    wait_for(source, |event| match event {
        KafkaEvent::Assigned(assigned) => Some(assigned.partitions.len()),
        _ => None,
    })
}

/// Reads `count` records; payloads by partition number, in the order of their arrival.
fn read(source: &KafkaSource, count: usize) -> HashMap<i32, Vec<(i64, String)>> {
    let mut read: HashMap<i32, Vec<(i64, String)>> = HashMap::new();
    let mut seen = 0;
    wait_for(source, |event| {
        if let KafkaEvent::Batch(batch) = event {
            for record in &batch.records {
                let entry = &batch.partitions[record.partition as usize];
                assert_eq!((&*entry.partition.topic, entry.stream), ("payments", 4));
                let text = String::from_utf8_lossy(batch.slice(record.payload.as_ref()).expect("payload"));
                read.entry(entry.partition.partition).or_default().push((record.offset, text.into_owned()));
            }
            seen += batch.records.len();
        }
        (seen >= count).then_some(())
    });
    assert_eq!(seen, count);
    read
}

fn nothing_more(source: &KafkaSource) {
    for _ in 0..3 {
        let event = source.next(WAIT);
        assert!(matches!(event, KafkaEvent::Idle), "{event:?}");
    }
}

fn commits(next: &[(i32, i64)]) -> Vec<PartitionCommit> {
    let commit = |&(number, offset): &(i32, i64)| PartitionCommit {
        partition: partition(number),
        offset: Offset(offset),
        note: String::new(),
    };
    next.iter().map(commit).collect()
}

fn partition(number: i32) -> Partition {
    Partition { topic: Arc::from("payments"), partition: number }
}

#[test]
fn a_thousand_records_of_two_partitions_are_read_in_order_and_once() {
    let broker = EmbeddedBroker::start(&[("payments", 2)]).expect("a broker");
    produce(&broker, 0..1000);
    let source = source(&broker, Start::Earliest);
    assert_eq!(assigned(&source), 2);
    let read = read(&source, 1000);
    for (partition, records) in &read {
        let expected: Vec<(i64, String)> =
            (0..500).map(|offset| (offset, (offset * 2 + i64::from(*partition)).to_string())).collect();
        assert_eq!(records, &expected, "partition {partition}");
    }
    nothing_more(&source);
    source.shutdown().expect("a clean end");
}

#[test]
fn records_keep_their_order_however_the_thread_and_the_pipeline_take_turns_to_poll() {
    let broker = EmbeddedBroker::start(&[("payments", 2)]).expect("a broker");
    let source = source(&broker, Start::Earliest);
    assert_eq!(assigned(&source), 2);
    let mut produced = 0;
    // Ones and twos are polled by the pipeline, a burst by the thread, and so is what comes while the pipeline is busy.
    for (records, busy_ms) in [(2, 0), (2, 0), (6000, 0), (2, 150), (2, 0), (4000, 250), (2, 0), (2, 0)] {
        produce(&broker, produced..produced + records);
        std::thread::sleep(Duration::from_millis(busy_ms));
        for (partition, read) in read(&source, records) {
            let expected =
                (produced..produced + records).skip(usize::try_from(partition).expect("0 or 1")).step_by(2);
            let expected: Vec<(i64, String)> =
                expected.map(|number| (number as i64 / 2, number.to_string())).collect();
            assert_eq!(read, expected, "partition {partition} from {produced}");
        }
        produced += records;
    }
    nothing_more(&source);
    source.shutdown().expect("a clean end");
}

#[test]
fn a_restart_goes_on_from_the_commit() {
    let broker = EmbeddedBroker::start(&[("payments", 2)]).expect("a broker");
    produce(&broker, 0..1000);
    let first = source(&broker, Start::Earliest);
    read(&first, 1000);
    first.commit(commits(&[(0, 500), (1, 493)])).expect("commit");
    first.shutdown().expect("a clean end");

    let second = source(&broker, Start::Earliest);
    let read = read(&second, 7);
    assert_eq!(read[&1].first(), Some(&(493, "987".to_owned())));
    assert_eq!(read.get(&0), None);
    nothing_more(&second);
}

#[test]
fn a_pipeline_that_stands_still_can_commit_and_loses_nothing() {
    let broker = EmbeddedBroker::start(&[("payments", 2)]).expect("a broker");
    produce(&broker, 0..1000);
    let binding = TopicBinding { stream: 4, start: Start::Earliest };
    let topics = BTreeMap::from([("payments".to_owned(), binding)]);
    let settings =
        ConsumerSettings { batch_rows_max: 10, ..ConsumerSettings::new(kafka(&broker), "job", topics) };
    let source = KafkaSource::start(settings).expect("a source");
    assigned(&source);
    source.commit(commits(&[(0, 3), (1, 4)])).expect("commit");
    committed(&broker, [3, 4]);
    let full = (0..100).any(|_| {
        std::thread::sleep(WAIT / 10);
        source.is_full()
    });
    assert!(full, "the thread reads ahead of a pipeline that stands still");
    let read = read(&source, 1000);
    assert_eq!(read[&0].iter().map(|(offset, _)| *offset).collect::<Vec<_>>(), (0..500).collect::<Vec<_>>());
}

#[test]
fn a_start_at_the_end_is_remembered_before_anything_is_committed() {
    let broker = EmbeddedBroker::start(&[("payments", 2)]).expect("a broker");
    produce(&broker, 0..10);
    let first = source(&broker, Start::Latest);
    assigned(&first);
    first.shutdown().expect("a clean end");
    produce(&broker, 10..14);
    let second = source(&broker, Start::Latest);
    let read = read(&second, 4);
    assert_eq!(read[&0], [(5, "10".to_owned()), (6, "12".to_owned())]);
}

#[test]
fn null_payloads_keys_times_and_the_traceparent_survive() {
    let broker = EmbeddedBroker::start(&[("payments", 1)]).expect("a broker");
    let producer = producer(&broker);
    let traceparent = OwnedHeaders::new()
        .insert(Header { key: "other", value: Some("x") })
        .insert(Header { key: "traceparent", value: Some("00-ab-cd-01") });
    let send = |record| assert!(producer.send::<str, str>(record).is_ok());
    send(BaseRecord::to("payments").key("only a key").timestamp(1_763_806_502_123));
    send(BaseRecord::to("payments").payload("no key").headers(traceparent));
    send(BaseRecord::to("payments").key("").payload(""));
    producer.flush(GRACE).expect("delivered");

    let source = source(&broker, Start::Earliest);
    let mut table = Vec::new();
    wait_for(&source, |event| {
        if let KafkaEvent::Batch(batch) = event {
            table.extend(batch.records.iter().map(|record| row(&batch, record)));
        }
        (table.len() >= 3).then_some(())
    });
    assert_eq!(
        table,
        [
            "key=only a key payload=null traceparent=null at 2025-11-22T10:15:02.123Z",
            "key=null payload=no key traceparent=00-ab-cd-01",
            "key= payload= traceparent=null",
        ]
    );
}

fn row(batch: &RawBatch, record: &RawRecord) -> String {
    let text = |range| match batch.slice(range) {
        Some(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        None => "null".to_owned(),
    };
    let [key, payload, traceparent] =
        [&record.key, &record.payload, &record.traceparent].map(|range| text(range.as_ref()));
    let set = record.timestamp.filter(|time| *time == 1_763_806_502_123_000);
    let time = set.map_or_else(String::new, |time| format!(" at {}", EventTime(time)));
    format!("key={key} payload={payload} traceparent={traceparent}{time}")
}

/// Waits until the group has these offsets: the embedded broker takes no commit during a rebalance.
fn committed(broker: &EmbeddedBroker, expected: [i64; 2]) {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", broker.bootstrap_servers())
        .set("group.id", "job")
        .create()
        .expect("a consumer");
    let mut list = rdkafka::TopicPartitionList::new();
    list.add_partition_range("payments", 0, 1);
    let expected = expected.map(rdkafka::Offset::Offset);
    let arrived = (0..1000).any(|_| {
        let answer = consumer.committed_offsets(list.clone(), GRACE).expect("an answer");
        answer.elements().iter().map(|element| element.offset()).eq(expected)
    });
    assert!(arrived);
}

#[test]
fn a_second_member_goes_on_where_the_first_let_go() {
    let broker = EmbeddedBroker::start(&[("payments", 2)]).expect("a broker");
    produce(&broker, 0..10);
    let first = source(&broker, Start::Earliest);
    read(&first, 10);
    first.commit(commits(&[(0, 5), (1, 5)])).expect("commit");
    committed(&broker, [5, 5]);
    let second = source(&broker, Start::Earliest);
    let (partitions, lost) = wait_for(&first, |event| match event {
        KafkaEvent::Revoked { partitions, lost } => Some((partitions.len(), lost)),
        _ => None,
    });
    assert_eq!((partitions, lost), (2, false));
    first.release().expect("release");
    produce(&broker, 10..12);
    // The two are asked in turn: a group whose members are slow may settle more than once, and a
    // partition that moves again begins again where the commit stands.
    let mut held = [0, 0];
    let mut read = BTreeSet::new();
    let done = (0..600).any(|turn| {
        let member = turn % 2;
        let source = [&first, &second][member];
        match source.next(WAIT) {
            KafkaEvent::Revoked { .. } => {
                held[member] = 0;
                source.release().expect("release");
            }
            KafkaEvent::Assigned(assigned) => {
                held[member] = assigned.partitions.len();
                let from = assigned.partitions.iter().map(|own| (own.partition.clone(), own.start));
                source.begin(&assigned, from.collect()).expect("begin");
            }
            KafkaEvent::Batch(batch) => read.extend(batch.records.iter().map(|record| {
                let text = String::from_utf8_lossy(batch.slice(record.payload.as_ref()).expect("payload"));
                let partition = batch.partitions[record.partition as usize].partition.partition;
                (partition, record.offset, text.into_owned())
            })),
            _ => {}
        }
        held == [1, 1] && read.len() >= 2
    });
    assert!(done, "held {held:?}, read {read:?}");
    let expected = [(0, 5, "10".to_owned()), (1, 5, "11".to_owned())];
    assert_eq!(read, expected.into());
}

#[test]
fn a_position_that_is_gone_stops_the_reading_and_is_never_skipped() {
    let broker = EmbeddedBroker::start(&[("payments", 2)]).expect("a broker");
    produce(&broker, 0..10);
    let first = source(&broker, Start::Earliest);
    read(&first, 10);
    first.commit(commits(&[(0, 5_000)])).expect("commit");
    first.shutdown().expect("a clean end");
    let second = source(&broker, Start::Earliest);
    let error = wait_for(&second, |event| match event {
        KafkaEvent::Error(error) if !error.retry() => Some(error),
        _ => None,
    });
    assert!(matches!(&error, SourceError::PositionGone { .. }), "{error}");
}

#[test]
fn a_topic_that_does_not_exist_stops_the_start() {
    let broker = EmbeddedBroker::start(&[("payments", 2)]).expect("a broker");
    let missing = RDKafkaRespErr::RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART;
    broker.cluster().topic_error("payments", missing).expect("set");
    let binding = TopicBinding { stream: 0, start: Start::Earliest };
    let topics = BTreeMap::from([("payments".to_owned(), binding)]);
    let error =
        KafkaSource::start(ConsumerSettings::new(kafka(&broker), "job", topics)).expect_err("refused");
    assert!(error.to_string().contains("create the topic"), "{error}");
}

fn sink(broker: &EmbeddedBroker) -> KafkaSink {
    lingering_sink(broker, 1)
}

/// One that waits so long for more messages of a request.
fn lingering_sink(broker: &EmbeddedBroker, linger_ms: u32) -> KafkaSink {
    let topics = Topics { alerts: "alerts".to_owned(), dead_letters: "dead".to_owned(), ..Topics::default() };
    let client_id = "job".to_owned();
    KafkaSink::start(KafkaSinkSettings { kafka: kafka(broker), client_id, topics, linger_ms })
        .expect("a sink")
}

fn alert(value: Vec<u8>) -> OutMessage {
    OutMessage {
        destination: Destination::Alerts,
        key: Some(b"card-1".to_vec()),
        value: Some(value),
        headers: vec![("tollgate-ruleset", b"9f3c".to_vec())],
        coordinates: Coordinates { partition: partition(1), offset: Offset(42) },
    }
}

fn step(step: u64, values: &[&[u8]]) -> Outgoing {
    Outgoing { step, messages: values.iter().map(|value| alert(value.to_vec())).collect() }
}

/// All messages of a topic with one partition.
fn topic(broker: &EmbeddedBroker, topic: &str, count: usize) -> Vec<OwnedMessage> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", broker.bootstrap_servers())
        .set("group.id", "reader")
        .set("fetch.wait.max.ms", "5")
        .create()
        .expect("a consumer");
    let mut list = rdkafka::TopicPartitionList::new();
    list.add_partition_offset(topic, 0, rdkafka::Offset::Beginning).expect("an entry");
    consumer.assign(&list).expect("assigned");
    let mut messages = Vec::new();
    let mut polls_left = 100;
    while messages.len() < count && polls_left > 0 {
        match consumer.poll(WAIT) {
            Some(message) => messages.push(message.expect("a message").detach()),
            None => polls_left -= 1,
        }
    }
    messages
}

fn header(message: &OwnedMessage, name: &str) -> String {
    let headers = message.headers().expect("headers");
    let value = headers.iter().find(|header| header.key == name).and_then(|header| header.value);
    String::from_utf8_lossy(value.unwrap_or(b"(none)")).into_owned()
}

#[test]
fn alerts_arrive_with_key_and_headers_and_the_receipt_names_the_last_step() {
    let broker = EmbeddedBroker::start(&[("alerts", 1)]).expect("a broker");
    let mut sink = sink(&broker);
    for number in 1..=500_u64 {
        sink.publish(step(number, &[number.to_string().as_bytes()])).expect("published");
    }
    sink.publish(step(501, &[])).expect("published");
    assert_eq!(sink.finish(GRACE).expect("finished").step(), 501);
    let messages = topic(&broker, "alerts", 500);
    let values: Vec<String> =
        messages.iter().map(|m| String::from_utf8_lossy(m.payload().expect("value")).into_owned()).collect();
    assert_eq!(values, (1..=500).map(|number| number.to_string()).collect::<Vec<_>>());
    assert_eq!(messages[0].key(), Some(&b"card-1"[..]));
    assert_eq!(header(&messages[0], "tollgate-ruleset"), "9f3c");
}

#[test]
fn a_full_queue_makes_publish_wait_and_drops_nothing() {
    let broker = EmbeddedBroker::start(&[("alerts", 1)]).expect("a broker");
    let mut kafka = kafka(&broker);
    kafka.properties.insert("queue.buffering.max.messages".to_owned(), "5".to_owned());
    let topics = Topics { alerts: "alerts".to_owned(), ..Topics::default() };
    let settings = KafkaSinkSettings { kafka, client_id: "job".to_owned(), topics, linger_ms: 1 };
    let mut sink = KafkaSink::start(settings).expect("a sink");
    for number in 1..=50 {
        sink.publish(step(number, &[b"a", b"b"])).expect("published");
    }
    assert_eq!(sink.finish(GRACE).expect("finished").step(), 50);
    assert_eq!(topic(&broker, "alerts", 100).len(), 100);
}

#[test]
fn no_receipt_is_given_while_the_broker_is_away() {
    let broker = EmbeddedBroker::start(&[("alerts", 1)]).expect("a broker");
    let mut sink = sink(&broker);
    sink.publish(step(1, &[b"before"])).expect("published");
    let receipt = wait_for_receipt(&mut sink);
    assert_eq!(receipt.step(), 1);
    broker.cluster().broker_down(1).expect("down");
    sink.publish(step(2, &[b"during"])).expect("published");
    sink.publish(step(3, &[])).expect("published");
    let error = sink.finish(Duration::from_millis(300)).expect_err("nobody answers");
    assert!(error.to_string().contains("1 messages of 2 steps"), "{error}");
    assert_eq!(sink.receipt().expect("no failure"), None);
    broker.cluster().broker_up(1).expect("up");
    assert_eq!(sink.finish(GRACE).expect("finished").step(), 3);
    assert_eq!(topic(&broker, "alerts", 2).len(), 2);
}

fn wait_for_receipt(sink: &mut KafkaSink) -> Receipt {
    for _ in 0..100_000 {
        if let Some(receipt) = sink.receipt().expect("no failure") {
            return receipt;
        }
        std::thread::yield_now();
    }
    sink.finish(GRACE).expect("finished")
}

#[test]
fn an_alert_too_large_becomes_a_dead_letter_of_its_step() {
    let broker = EmbeddedBroker::start(&[("alerts", 1), ("dead", 1)]).expect("a broker");
    let mut sink = sink(&broker);
    let mut large = br#"{"rule":{"id":"card-testing"},"reason":""#.to_vec();
    large.resize(2_000_000, b'x');
    large.extend_from_slice(b"\"}");
    sink.publish(step(1, &[b"fine", &large])).expect("published");
    assert_eq!(sink.finish(GRACE).expect("finished").step(), 1);
    let rejected = sink.rejected();
    assert_eq!(rejected.len(), 1);
    assert_eq!(rejected[0].destination, Destination::Alerts);
    let letters = topic(&broker, "dead", 1);
    assert_eq!(letters[0].payload(), None);
    assert_eq!(header(&letters[0], "tollgate-offset"), "42");
    assert_eq!(header(&letters[0], "tollgate-stage"), "sink");
    assert_eq!(header(&letters[0], "tollgate-rule"), "card-testing");
    assert_eq!(topic(&broker, "alerts", 1).len(), 1);
}

#[test]
fn a_request_refused_as_too_large_costs_only_the_alert_that_is() {
    let broker = EmbeddedBroker::start(&[("alerts", 1), ("dead", 1)]).expect("a broker");
    // Both messages are there long before their request leaves.
    let mut sink = lingering_sink(&broker, 200);
    sink.publish(step(1, &[b"first"])).expect("published");
    assert_eq!(sink.finish(GRACE).expect("finished").step(), 1);
    let refusal = RDKafkaRespErr::RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE;
    // The request that carries both is refused, then the first of them when it is sent alone.
    broker.cluster().request_errors(RDKafkaApiKey::Produce, &[refusal, refusal]);
    sink.publish(step(2, &[b"too large", b"its neighbour"])).expect("published");
    assert_eq!(sink.finish(GRACE).expect("finished").step(), 2);
    assert_eq!(sink.rejected().len(), 1);
    let values: Vec<_> =
        topic(&broker, "alerts", 2).iter().map(|m| m.payload().unwrap_or_default().to_vec()).collect();
    assert_eq!(values, [b"first".to_vec(), b"its neighbour".to_vec()]);
    assert_eq!(topic(&broker, "dead", 1).len(), 1);
}
