//! The real broker that `TOLLGATE_TEST_KAFKA` names (a state directory of `tests/kafka/up`), and its clients.
//!
//! Without it a test that needs one says that it is skipped and returns: `.ci/run` brings one up.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::{Headers, Message, OwnedMessage};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use tollgate::source::kafka::KafkaSettings;

const WAIT: Duration = Duration::from_secs(30);

/// A running broker.
pub(crate) struct Broker {
    environment: BTreeMap<String, String>,
    /// What the names of this test's topics begin with.
    prefix: String,
}

impl Broker {
    /// The broker that the environment names; none where it names none, and then the test says so.
    pub(crate) fn of_environment(test: &str) -> Option<Self> {
        let Some(state) = std::env::var_os("TOLLGATE_TEST_KAFKA").filter(|state| !state.is_empty()) else {
            eprintln!("skipped: {test}: TOLLGATE_TEST_KAFKA names no broker; start one with tests/kafka/up");
            return None;
        };
        let path = PathBuf::from(state).join("env");
        let text = std::fs::read_to_string(&path)
            .expect("TOLLGATE_TEST_KAFKA is a state directory of tests/kafka/up");
        let entry = |line: &str| {
            let (name, value) = line.strip_prefix("export ")?.split_once('=')?;
            Some((name.to_owned(), value.to_owned()))
        };
        let environment = text.lines().filter_map(entry).collect();
        // Runs and tests share the broker: names of topics and groups must not meet.
        Some(Self { environment, prefix: format!("{test}-{}", std::process::id()) })
    }

    /// A value that `tests/kafka/up` printed.
    pub(crate) fn value(&self, name: &str) -> &str {
        self.environment.get(name).expect("tests/kafka/up prints it")
    }

    /// A file among the certificates.
    pub(crate) fn certificate(&self, name: &str) -> String {
        format!("{}/{name}", self.value("KAFKA_TLS"))
    }

    /// A name for a topic or a group of this test's own.
    pub(crate) fn name(&self, of: &str) -> String {
        format!("{}-{of}", self.prefix)
    }

    /// Settings for the plaintext listener.
    pub(crate) fn plaintext(&self) -> KafkaSettings {
        self.settings("KAFKA_PLAINTEXT", &[])
    }

    /// Settings for a listener, by the name of its variable.
    pub(crate) fn settings(&self, listener: &str, properties: &[(&str, &str)]) -> KafkaSettings {
        let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        KafkaSettings {
            brokers: self.value(listener).split(',').map(str::to_owned).collect(),
            properties: properties.iter().map(own).collect(),
        }
    }

    /// Makes a topic and waits until the broker has it; returns its full name.
    pub(crate) fn topic(&self, name: &str, partitions: i32, settings: &[(&str, &str)]) -> String {
        let topic = self.name(name);
        let admin: AdminClient<DefaultClientContext> = self.client().create().expect("an admin client");
        let mut new = NewTopic::new(&topic, partitions, TopicReplication::Fixed(-1));
        for (name, value) in settings {
            new = new.set(name, value);
        }
        let options = AdminOptions::new().operation_timeout(Some(WAIT));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let made = runtime.block_on(admin.create_topics([&new], &options)).expect("an answer");
        assert!(made.iter().all(Result::is_ok), "{made:?}");
        topic
    }

    /// Deletes a topic and waits until the broker has forgotten it.
    pub(crate) fn delete_topic(&self, topic: &str) {
        let admin: AdminClient<DefaultClientContext> = self.client().create().expect("an admin client");
        let options = AdminOptions::new().operation_timeout(Some(WAIT));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let gone = runtime.block_on(admin.delete_topics(&[topic], &options)).expect("an answer");
        assert!(gone.iter().all(Result::is_ok), "{gone:?}");
        std::thread::sleep(Duration::from_secs(1));
    }

    fn client(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", self.value("KAFKA_PLAINTEXT"));
        config
    }

    /// Writes messages to one partition, one after the other, and waits until they are there.
    pub(crate) fn produce(&self, topic: &str, partition: i32, messages: &[(&str, &str)]) {
        let producer: BaseProducer = self.client().create().expect("a producer");
        for (key, value) in messages {
            let record = BaseRecord::<str, str>::to(topic).partition(partition).key(key).payload(value);
            producer.send(record).expect("room in the queue");
        }
        producer.flush(WAIT).expect("delivered");
    }

    /// The committed messages of a topic, in the order of partitions and offsets: all that are there now.
    pub(crate) fn messages(&self, topic: &str) -> Vec<OwnedMessage> {
        let consumer: BaseConsumer = self
            .client()
            .set("group.id", self.name("reader"))
            .set("enable.auto.commit", "false")
            .set("enable.partition.eof", "true")
            .create()
            .expect("a consumer");
        let metadata = consumer.fetch_metadata(Some(topic), WAIT).expect("metadata");
        let partitions = metadata.topics()[0].partitions().len();
        let mut list = rdkafka::TopicPartitionList::new();
        for partition in 0..i32::try_from(partitions).expect("few") {
            list.add_partition_offset(topic, partition, rdkafka::Offset::Beginning).expect("an entry");
        }
        consumer.assign(&list).expect("assigned");
        let mut messages = Vec::new();
        let mut ended = 0;
        while ended < partitions {
            match consumer.poll(WAIT).expect("a message or the end of a partition") {
                Ok(message) => messages.push(message.detach()),
                Err(rdkafka::error::KafkaError::PartitionEOF(_)) => ended += 1,
                Err(error) => panic!("{error}"),
            }
        }
        messages.sort_by_key(|message| (message.partition(), message.offset()));
        messages
    }
}

/// A header's value as text; empty where there is none.
pub(crate) fn header(message: &OwnedMessage, name: &str) -> String {
    let found = message.headers().and_then(|headers| headers.iter().find(|header| header.key == name)?.value);
    String::from_utf8_lossy(found.unwrap_or_default()).into_owned()
}
