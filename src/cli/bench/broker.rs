//! The broker that is measured on, its topics, and who listens for alerts.

use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::Message;
use rdkafka::producer::BaseProducer;
use serde::Deserialize;

use super::target::Kind;
use super::{Arguments, Failure};
use crate::source::embedded::EmbeddedBroker;

const WAIT: Duration = Duration::from_secs(30);

/// How often a topic without a leader is asked for again, a tenth of a second each.
const LEADER_WAITS_MAX: usize = 50;

/// A broker, and names of topics on it.
pub(super) struct Bench {
    embedded: Option<EmbeddedBroker>,
    pub(super) brokers: String,
    prefix: String,
}

const TOPICS: [(&str, bool); 8] = [
    ("payments", true),
    ("alerts", false),
    ("shadow", false),
    ("dead", false),
    ("echo-in", true),
    ("echo-out", false),
    ("consumer-in", true),
    ("consumer-out", false),
];

impl Bench {
    /// Brings a broker up, or makes topics on the one that is named.
    pub(super) fn open(arguments: &Arguments) -> Result<Self, Failure> {
        let prefix = format!("tollgate-bench-{}", std::process::id());
        let partitions = i32::from(arguments.partitions);
        let names: Vec<(String, i32)> = TOPICS
            .iter()
            .map(|(name, input)| (format!("{prefix}-{name}"), if *input { partitions } else { 1 }))
            .collect();
        let Some(brokers) = &arguments.brokers else {
            let topics: Vec<(&str, i32)> =
                names.iter().map(|(name, count)| (name.as_str(), *count)).collect();
            let embedded = EmbeddedBroker::start(&topics).map_err(Failure::outside)?;
            let brokers = embedded.bootstrap_servers();
            return Ok(Self { embedded: Some(embedded), brokers, prefix });
        };
        let bench = Self { embedded: None, brokers: brokers.clone(), prefix };
        let new: Vec<NewTopic<'_>> = names
            .iter()
            .map(|(name, count)| NewTopic::new(name, *count, TopicReplication::Fixed(-1)))
            .collect();
        let (admin, options, runtime) = bench.admin()?;
        let made = runtime
            .block_on(admin.create_topics(&new, &options))
            .map_err(|cause| bench.unanswered(&cause))?;
        match made.into_iter().find_map(Result::err) {
            None => Ok(bench),
            Some((topic, cause)) => Err(Failure::outside(format!("topic {topic} can't be made: {cause}"))),
        }
    }

    /// A client for topics, what it is asked with, and what runs it.
    fn admin(
        &self,
    ) -> Result<(AdminClient<DefaultClientContext>, AdminOptions, tokio::runtime::Runtime), Failure> {
        let client = self.client().create().map_err(Failure::outside)?;
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Failure::outside)?;
        let options = AdminOptions::new().operation_timeout(Some(WAIT)).request_timeout(Some(WAIT));
        Ok((client, options, runtime))
    }

    fn unanswered(&self, cause: &KafkaError) -> Failure {
        Failure::outside(format!("{} did not answer: {cause}; check the address", self.brokers))
    }

    fn client(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.brokers).set("client.id", "tollgate-bench");
        config
    }

    /// Name of one of the topics.
    pub(super) fn topic(&self, name: &str) -> String {
        format!("{}-{name}", self.prefix)
    }

    /// Consumer group of the job.
    pub(super) fn name(&self) -> &str {
        &self.prefix
    }

    /// The topic that a target reads.
    pub(super) fn input(&self, kind: Kind) -> String {
        self.topic(kind.topics()[0])
    }

    /// A producer of events.
    pub(super) fn producer(&self) -> Result<BaseProducer, Failure> {
        self.client()
            .set("linger.ms", "0")
            .set("queue.buffering.max.messages", "1000000")
            .create()
            .map_err(Failure::outside)
    }

    /// Listens to what a target writes, from now on.
    pub(super) fn listen(&self, kind: Kind) -> Result<Listener, Failure> {
        let consumer: BaseConsumer = self
            .client()
            .set("group.id", "tollgate-bench-listener")
            .set("enable.auto.commit", "false")
            .set("isolation.level", "read_committed")
            .set("fetch.wait.max.ms", "10")
            .create()
            .map_err(Failure::outside)?;
        let topic = self.topic(kind.topics()[1]);
        let mut list = rdkafka::TopicPartitionList::new();
        let mut asked = consumer.fetch_watermarks(&topic, 0, WAIT);
        // A topic that was just made has no leader for a moment.
        for _ in 0..LEADER_WAITS_MAX {
            if asked.is_err() {
                std::thread::sleep(Duration::from_millis(100));
                asked = consumer.fetch_watermarks(&topic, 0, WAIT);
            }
        }
        let (_, end) = asked.map_err(Failure::outside)?;
        list.add_partition_offset(&topic, 0, rdkafka::Offset::Offset(end)).map_err(Failure::outside)?;
        consumer.assign(&list).map_err(Failure::outside)?;
        Ok(Listener { consumer, kind })
    }

    /// Deletes what was made.
    pub(super) fn close(self) {
        if self.embedded.is_some() {
            return;
        }
        let names: Vec<String> = TOPICS.iter().map(|(name, _)| self.topic(name)).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let deleted = self.admin().and_then(|(admin, options, runtime)| {
            runtime.block_on(admin.delete_topics(&names, &options)).map_err(|cause| self.unanswered(&cause))
        });
        if let Err(failure) = deleted {
            eprintln!("topics {}-… are left over: {failure}", self.prefix);
        }
    }
}

/// Hears what a target writes.
pub(super) struct Listener {
    consumer: BaseConsumer,
    kind: Kind,
}

#[derive(Deserialize)]
struct Payment {
    tx_id: u64,
}

#[derive(Deserialize)]
struct Alert {
    values: Payment,
}

impl Listener {
    /// The number of the event that the next message is about; none if nothing comes for a moment.
    pub(super) fn next(&self) -> Result<Option<u64>, Failure> {
        let message = match self.consumer.poll(Duration::from_millis(20)) {
            None => return Ok(None),
            Some(Ok(message)) => message,
            Some(Err(KafkaError::MessageConsumption(code))) => {
                return Err(Failure::outside(format!("reading alerts failed: {code}")));
            }
            Some(Err(_)) => return Ok(None),
        };
        let Some(payload) = message.payload() else { return Ok(None) };
        Ok(match self.kind {
            Kind::Job => serde_json::from_slice::<Alert>(payload).ok().map(|alert| alert.values.tx_id),
            Kind::Echo | Kind::Consumer => {
                serde_json::from_slice::<Payment>(payload).ok().map(|payment| payment.tx_id)
            }
        })
    }
}
