//! A Kafka broker inside the process, for the demo and for tests: librdkafka's mock cluster.
//!
//! Takes the topics to make, hands on an address that any Kafka client can use. Keeps all records in
//! memory and loses everything with the process. It is not a Kafka, and its limits are these:
//!
//! - A partition keeps 5 MiB or 100,000 batches and then drops its oldest records in silence: pace a
//!   producer on the consumer's position. (The source stops when its position is gone, so the loss is loud.)
//! - A fetch answers with one batch: above 2,000 messages a second a producer needs `linger.ms` of 1 or more.
//! - `fetch.wait.max.ms` is slept in full when there is nothing to read: 1 to 5 ms, as the source sets it.
//! - Topics are made here, or on first use with 4 partitions, not by the admin client.
//! - There is no seek by time: a stream that starts at a time starts at the end.
//! - Transactions succeed and mean nothing: it can't be used for exactly-once delivery.
//! - The first member of a group waits 3 seconds for others, and later members for most of a session timeout.
//! - A commit that arrives during a rebalance is refused, so what it covered is answered again (a Kafka takes it).

use rdkafka::error::KafkaError;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;

/// A broker that runs until it is dropped; it stays on the thread that started it.
pub struct EmbeddedBroker {
    cluster: MockCluster<'static, DefaultProducerContext>,
}

/// The broker or one of its topics could not be made.
#[derive(Debug, thiserror::Error)]
#[error("the embedded broker failed while {attempt}: {reason}")]
pub struct EmbeddedBrokerError {
    attempt: String,
    reason: KafkaError,
}

impl EmbeddedBroker {
    /// Starts a broker on a free port of this host, with these topics and their counts of partitions.
    pub fn start(topics: &[(&str, i32)]) -> Result<Self, EmbeddedBrokerError> {
        let failed = |attempt: String| move |reason| EmbeddedBrokerError { attempt, reason };
        let cluster = MockCluster::new(1).map_err(failed("starting".to_owned()))?;
        for (topic, partitions) in topics {
            let attempt = format!("making topic `{topic}` with {partitions} partitions");
            cluster.create_topic(topic, *partitions, 1).map_err(failed(attempt))?;
        }
        Ok(Self { cluster })
    }

    /// `host:port` of the broker.
    pub fn bootstrap_servers(&self) -> String {
        self.cluster.bootstrap_servers()
    }

    /// The mock cluster, for tests that make it fail.
    pub fn cluster(&self) -> &MockCluster<'static, DefaultProducerContext> {
        &self.cluster
    }
}
