//! A job that comes back on a real broker and finds another world than it left.
//!
//! Needs a broker of `tests/kafka/up` in `TOLLGATE_TEST_KAFKA`; each test is skipped without it.

use std::collections::BTreeMap;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use rdkafka::message::Message;
use tollgate::event::{Clock, SystemClock};
use tollgate::source::kafka::{
    ConsumerSettings, KafkaEvent, KafkaSource, Start, TopicBinding, another_lives,
};

use crate::broker::Broker;
use crate::job::{SCHEMA, rule, stop};
use crate::scratch::Scratch;

const WAIT: Duration = Duration::from_secs(60);

/// A folder with a rule that every payment hits, and settings for a job over the topics.
fn folder(broker: &Broker, payments: &str, alerts: &str) -> Scratch {
    let scratch = Scratch::new();
    scratch.write("rules/schema.sql", SCHEMA);
    scratch.write(
        "rules/any.sql",
        &rule("any", "live", 1, "", "SELECT tx_id, amount FROM payments WHERE amount > 0"),
    );
    scratch.write(
        "tollgate.toml",
        &format!(
            "[job]\nname = \"{}\"\nrules = \"rules\"\n[kafka]\nbrokers = [\"{}\"]\n[streams.payments]\n\
             topics = [\"{payments}\"]\nstart = \"earliest\"\n[output]\nalerts = \"{alerts}\"\n[history]\nurl = \"history\"\n[http]\nlisten = \"off\"\n",
            broker.name("job"),
            broker.value("KAFKA_PLAINTEXT"),
        ),
    );
    scratch
}

fn run(scratch: &Scratch) -> Child {
    Command::new(env!("CARGO_BIN_EXE_tollgate"))
        .args(["run", "--config"])
        .arg(scratch.path("tollgate.toml"))
        .env("NO_COLOR", "1")
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts")
}

fn produce(broker: &Broker, topic: &str, ids: std::ops::Range<usize>) {
    let records: Vec<String> = ids
        .map(|id| {
            format!(
                r#"{{"tx_id": "t{id}", "card_id": "c", "amount": 5, "event_time": "2026-11-22T10:00:00Z"}}"#
            )
        })
        .collect();
    let records: Vec<(&str, &str)> = records.iter().map(|value| ("c", value.as_str())).collect();
    broker.produce(topic, 0, &records);
}

fn wait_for_alerts(broker: &Broker, alerts: &str, count: usize) {
    let clock = SystemClock::start();
    while broker.messages(alerts).len() < count {
        assert!(clock.elapsed() < WAIT, "{count} alerts did not come");
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn a_topic_that_was_made_anew_is_refused_though_it_holds_as_many_records() {
    let Some(broker) = Broker::of_environment("anew") else { return };
    let (payments, alerts) = (broker.topic("payments", 1, &[]), broker.topic("alerts", 1, &[]));
    let scratch = folder(&broker, &payments, &alerts);
    produce(&broker, &payments, 0..5);
    let job = run(&scratch);
    wait_for_alerts(&broker, &alerts, 5);
    assert_eq!(stop(job), Some(0));

    // The same topic goes on: nothing is said about it, and nothing is answered twice.
    let job = run(&scratch);
    produce(&broker, &payments, 5..7);
    wait_for_alerts(&broker, &alerts, 7);
    assert_eq!(stop(job), Some(0));

    broker.delete_topic(&payments);
    assert_eq!(broker.topic("payments", 1, &[]), payments);
    produce(&broker, &payments, 0..9);
    let refused = run(&scratch).wait_with_output().expect("it ends");
    let said = String::from_utf8_lossy(&refused.stderr);
    assert_eq!(refused.status.code(), Some(4), "{said}");
    // With the topic went its commits, so it is the history that knows the record.
    for part in ["holds another record at offset 6", "raise `generation`"] {
        assert!(said.contains(part), "{said}");
    }

    let settings = std::fs::read_to_string(scratch.path("tollgate.toml"))
        .expect("settings")
        .replace("start =", "generation = 2\nstart =");
    scratch.write("tollgate.toml", &settings);
    let job = run(&scratch);
    wait_for_alerts(&broker, &alerts, 16);
    assert_eq!(stop(job), Some(0));
    assert!(broker.messages(&alerts).iter().all(|message| message.payload().is_some()));
}

#[test]
fn a_member_that_nobody_is_any_more_is_told_from_one_that_lives() {
    let Some(broker) = Broker::of_environment("a_member_that_nobody_is") else { return };
    let topic = broker.topic("payments", 1, &[]);
    let session = [("session.timeout.ms", "6000"), ("heartbeat.interval.ms", "500")];
    let kafka = broker.settings("KAFKA_PLAINTEXT", &session);
    let topics = BTreeMap::from([(topic, TopicBinding { stream: 0, start: Start::Earliest })]);
    let settings = ConsumerSettings {
        instance: Some("a".to_owned()),
        ..ConsumerSettings::new(kafka, broker.name("group"), topics)
    };
    let (clock, stop) = (SystemClock::start(), AtomicBool::new(false));
    let lives = || another_lives(&settings, &clock, &stop);
    assert!(!lives(), "nobody has joined yet");
    let source = KafkaSource::start(settings.clone()).expect("a source");
    let joined = (0..300).any(|_| matches!(source.next(WAIT / 300), KafkaEvent::Assigned(_)));
    assert!(joined && lives(), "its heartbeats go on");
    // A member with a name does not leave: it may come back within its session.
    source.shutdown().expect("a clean end");
    let gone_at = clock.elapsed();
    assert!(!lives(), "brokers forget it");
    assert!(clock.elapsed() - gone_at > Duration::from_secs(1), "not before its session had passed");
}
