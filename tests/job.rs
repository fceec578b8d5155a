//! A job of its own process over the broker inside the test's, with outputs in files.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use serde_json::Value;
use tollgate::event::{Clock, SystemClock};
use tollgate::source::embedded::EmbeddedBroker;
use tollgate::source::kafka::{KafkaSettings, ReadFrom, SourceError, TopicReader};

use crate::scratch::Scratch;

const WAIT: Duration = Duration::from_secs(60);

/// A broker with a topic `payments` of two partitions, and a folder with rules and settings over it.
pub(crate) struct Bench {
    pub(crate) scratch: Scratch,
    /// Lives as long as the job.
    broker: EmbeddedBroker,
    producer: BaseProducer,
}

pub(crate) const SCHEMA: &str = "\
CREATE TABLE payments (
    tx_id VARCHAR NOT NULL, event_time TIMESTAMP NOT NULL, card_id VARCHAR NOT NULL,
    amount DECIMAL(12, 2) NOT NULL, PRIMARY KEY (tx_id)
);
";

/// A rule file; `more` are header lines.
pub(crate) fn rule(id: &str, status: &str, score: u32, more: &str, query: &str) -> String {
    format!(
        "-- @id: {id}\n-- @title: {id}\n-- @status: {status}\n-- @severity: low\n-- @score: {score}\n\
         -- @reason: \"{id} of {{amount}}\"\n-- @owner: fraud\n{more}{query}\n"
    )
}

impl Bench {
    /// Settings with alerts, shadow alerts, dead letters and decisions in files; `more` is appended.
    pub(crate) fn new(rules: &[(&str, String)], more: &str) -> Self {
        let topics = [("payments", 2), ("audit", 1)];
        let broker = EmbeddedBroker::start(&topics).expect("a broker");
        let servers = broker.bootstrap_servers();
        let scratch = Scratch::new();
        scratch.write("rules/schema.sql", SCHEMA);
        for (file, text) in rules {
            scratch.write(&format!("rules/{file}"), text);
        }
        scratch.write(
            "tollgate.toml",
            &format!(
                "[job]\nname = \"bench\"\nrules = \"rules\"\ndelivery = \"at_least_once\"\n[kafka]\nbrokers = [\"{servers}\"]\n\
                 [kafka.properties]\n\"session.timeout.ms\" = 6000\n\"heartbeat.interval.ms\" = 300\n\
                 [streams.payments]\ntopics = [\"payments\"]\ntopic_key = \"card_id\"\nstart = \"earliest\"\n\
                 [output]\nalerts = \"file:alerts.ndjson\"\nshadow = \"file:shadow.ndjson\"\ndead_letters = \"file:dead.ndjson\"\n\
                 decisions = \"file:decisions.ndjson\"\n[http]\nlisten = \"off\"\n{more}"
            ),
        );
        let producer = ClientConfig::new().set("bootstrap.servers", servers).create().expect("a producer");
        Self { scratch, broker, producer }
    }

    /// Puts something else in place of a part of the settings.
    pub(crate) fn set(&self, part: &str, instead: &str) {
        let settings = std::fs::read_to_string(self.path("tollgate.toml")).expect("settings");
        assert!(settings.contains(part), "`{part}` is not in the settings");
        self.scratch.write("tollgate.toml", &settings.replace(part, instead));
    }

    /// Starts the job; its log goes to a file.
    pub(crate) fn start(&self) -> Child {
        self.start_as("tollgate.toml", "0")
    }

    /// Starts an instance of the job, whose settings are in a file of its own; its log stands beside them.
    pub(crate) fn start_as(&self, settings: &str, instance: &str) -> Child {
        let settings = self.scratch.path(settings);
        let log = std::fs::File::options()
            .create(true)
            .append(true)
            .open(settings.with_file_name("job.log"))
            .expect("a log file");
        Command::new(env!("CARGO_BIN_EXE_tollgate"))
            .args(["run", "--instance", instance, "--config"])
            .arg(settings)
            .env("NO_COLOR", "1")
            .env("TOLLGATE_LOG", "info")
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("the program starts")
    }

    /// Sends a payment, keyed by its card.
    pub(crate) fn pay(&self, tx_id: &str, at: &str, card: &str, amount: &str) {
        let value = format!(
            r#"{{"tx_id": "{tx_id}", "event_time": "{at}", "card_id": "{card}", "amount": "{amount}"}}"#
        );
        let partition = i32::from(card.as_bytes().last().is_some_and(|last| last % 2 == 1));
        let record = BaseRecord::<str, str>::to("payments").partition(partition).key(card).payload(&value);
        self.producer.send(record).expect("room in the queue");
    }

    /// Sends a record without a key to a topic of one partition.
    pub(crate) fn send(&self, topic: &str, value: &str) {
        let record = BaseRecord::<str, str>::to(topic).partition(0).payload(value);
        self.producer.send(record).expect("room in the queue");
    }

    /// Waits until what was sent is in the topic.
    pub(crate) fn flush(&self) {
        self.producer.flush(WAIT).expect("delivered");
    }

    /// The lines of an output so far; the last may be half written.
    pub(crate) fn lines(&self, file: &str) -> Vec<Value> {
        let text = std::fs::read_to_string(self.scratch.path(file)).unwrap_or_default();
        text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    /// The records of a topic of one partition so far.
    pub(crate) fn records(&self, topic: &str) -> Vec<Value> {
        let kafka =
            KafkaSettings { brokers: vec![self.broker.bootstrap_servers()], ..KafkaSettings::default() };
        let mut records = Vec::new();
        let reader = TopicReader::open(&kafka, "bench", topic).expect("the topic is there");
        let read = reader.read(ReadFrom::Beginning, |record| {
            records.extend(record.payload.and_then(|bytes| serde_json::from_slice(&bytes).ok()));
            Ok::<(), SourceError>(())
        });
        read.expect("the topic can be read");
        records
    }

    /// Waits until something holds.
    pub(crate) fn wait_until(&self, what: &str, holds: impl Fn() -> bool) {
        let clock = SystemClock::start();
        while !holds() {
            assert!(clock.elapsed() < WAIT, "{what}: {}", self.log());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// What the job has logged.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.scratch.path("job.log")).unwrap_or_default()
    }

    /// A path in the folder.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.scratch.path(name)
    }
}

/// Sends a signal and waits for the end; the exit code.
pub(crate) fn stop(mut job: Child) -> Option<i32> {
    signal(&job, "-TERM");
    job.wait().expect("it ends").code()
}

/// Sends a signal.
pub(crate) fn signal(job: &Child, signal: &str) {
    let id = job.id().to_string();
    assert!(Command::new("kill").args([signal, &id]).status().expect("kill runs").success());
}

#[test]
fn the_offsets_of_the_last_events_are_committed_though_nothing_comes_after_them() {
    let query = "SELECT tx_id, card_id, amount FROM payments WHERE amount > 100";
    let bench = Bench::new(&[("large.sql", rule("large", "live", 10, "", query))], "");
    // Longer than it takes to answer: what was answered is known to be delivered before its commit is due.
    bench.set("delivery =", "commit_interval = \"1s\"\ndelivery =");
    let job = bench.start();
    bench.pay("t1", "2026-01-01T00:00:00Z", "c1", "150.00");
    bench.flush();
    bench.wait_until("an alert", || !bench.lines("alerts.ndjson").is_empty());
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", bench.broker.bootstrap_servers())
        .set("group.id", "bench")
        .create()
        .expect("a consumer");
    let mut list = rdkafka::TopicPartitionList::new();
    list.add_partition_range("payments", 0, 1);
    bench.wait_until("a commit", || {
        let committed = consumer.committed_offsets(list.clone(), WAIT).expect("an answer");
        committed.elements().iter().any(|own| own.offset() == rdkafka::Offset::Offset(1))
    });
    assert_eq!(stop(job), Some(0));
}
