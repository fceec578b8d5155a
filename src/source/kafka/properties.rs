//! Properties of the Kafka client library: those that are ours, and those that users may not change.
//!
//! Takes [`KafkaSettings`], hands on the library's configuration for a consumer or a producer. A user's
//! property overrides a default of ours, but never one that a promise rests on: those are refused by
//! name, with the reason, also under the library's alternative names for them.

use std::collections::BTreeMap;
use std::fmt;

use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::error::KafkaError;

use super::SourceError;

/// Where the brokers are and how to talk to them; shared by source and sink.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct KafkaSettings {
    /// `host:port` of the brokers to ask first.
    pub brokers: Vec<String>,
    /// Properties of librdkafka, by its names, for both consumer and producer.
    pub properties: BTreeMap<String, String>,
}

impl fmt::Debug for KafkaSettings {
    /// Values are left out: some are secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&String> = self.properties.keys().collect();
        f.debug_struct("KafkaSettings").field("brokers", &self.brokers).field("properties", &names).finish()
    }
}

/// Which client a configuration is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    Consumer,
    Producer,
}

/// What a property may be set to.
enum Allowed {
    /// Only these values, written in lower case.
    Only(&'static [&'static str]),
    /// No value: something else decides.
    Never,
    /// A whole number from 1 to this.
    UpTo(i64),
}

const TRUE: Allowed = Allowed::Only(&["true", "1", "t"]);
const FALSE: Allowed = Allowed::Only(&["false", "0", "f"]);

/// Properties that a promise rests on, with the reason that a refusal gives.
const GUARDED: &[(&str, Allowed, &str)] = &[
    ("bootstrap.servers", Allowed::Never, "the brokers are set by `kafka.brokers`"),
    ("metadata.broker.list", Allowed::Never, "the brokers are set by `kafka.brokers`"),
    ("test.mock.num.brokers", Allowed::Never, "it would replace the brokers by a mock that keeps nothing"),
    ("group.id", Allowed::Never, "the consumer group is `job.name`: the committed offsets belong to it"),
    (
        "transactional.id",
        Allowed::Never,
        "it is derived from `job.name`, so that a restart fences what it replaces",
    ),
    ("enable.auto.commit", FALSE, "offsets are committed only after everything they gave rise to is durable"),
    ("auto.commit.enable", FALSE, "offsets are committed only after everything they gave rise to is durable"),
    (
        "enable.auto.offset.store",
        FALSE,
        "offsets are stored only after everything they gave rise to is durable",
    ),
    ("offset.store.method", Allowed::Only(&["broker"]), "the group's committed offsets are the only truth"),
    (
        "auto.offset.reset",
        Allowed::Never,
        "the first start is set by `start` of the stream, and a position that is gone must stop the job, not skip records",
    ),
    (
        "isolation.level",
        Allowed::Only(&["read_committed"]),
        "records of aborted transactions must not be judged",
    ),
    ("check.crcs", TRUE, "a record damaged on its way must not be judged"),
    ("enable.idempotence", TRUE, "without it a retry can double or reorder alerts"),
    (
        "acks",
        Allowed::Only(&["all", "-1"]),
        "offsets are committed after alerts that no broker failure can lose",
    ),
    (
        "request.required.acks",
        Allowed::Only(&["all", "-1"]),
        "offsets are committed after alerts that no broker failure can lose",
    ),
    ("max.in.flight", Allowed::UpTo(5), "with more than 5 requests in flight a retry can reorder alerts"),
    (
        "max.in.flight.requests.per.connection",
        Allowed::UpTo(5),
        "with more than 5 requests in flight a retry can reorder alerts",
    ),
    ("retries", Allowed::UpTo(i64::MAX), "without retries a passing fault of a broker stops the job"),
    (
        "message.send.max.retries",
        Allowed::UpTo(i64::MAX),
        "without retries a passing fault of a broker stops the job",
    ),
    ("delivery.report.only.error", FALSE, "a commit waits for the report of each delivery"),
    (
        "log.connection.close",
        TRUE,
        "a lost connection is the sign to ask whether the last transactions have ended",
    ),
    (
        "group.protocol",
        Allowed::Only(&["classic"]),
        "under the protocol `consumer` a killed instance keeps its partitions until its session ends, \
         even from its own replacement",
    ),
    (
        "partition.assignment.strategy",
        Allowed::Only(&["range", "roundrobin", "range,roundrobin", "roundrobin,range"]),
        "a revocation hands back the whole assignment, which cooperative strategies do not allow for",
    ),
];

/// The reason why a property can't have this value, or none where it can.
pub fn refused(property: &str, value: &str) -> Option<&'static str> {
    let (_, allowed, reason) = GUARDED.iter().find(|(name, ..)| *name == property)?;
    let value = value.split_whitespace().collect::<String>().to_ascii_lowercase();
    let fine = match allowed {
        Allowed::Only(values) => values.contains(&value.as_str()),
        Allowed::Never => false,
        Allowed::UpTo(most) => value.parse::<i64>().is_ok_and(|number| (1..=*most).contains(&number)),
    };
    (!fine).then_some(*reason)
}

impl KafkaSettings {
    /// Everything wrong with these settings, without asking a broker: refused and unknown properties.
    pub fn faults(&self) -> Vec<SourceError> {
        let mut faults = Vec::new();
        if self.brokers.iter().all(|broker| broker.trim().is_empty()) {
            faults.push(SourceError::NoBroker);
        }
        for (property, value) in &self.properties {
            match refused(property, value) {
                Some(reason) => faults.push(SourceError::Refused { property: property.clone(), reason }),
                None => faults.extend(not_understood(property, value)),
            }
        }
        faults
    }

    /// The library's configuration: our defaults, then the user's properties, then what is guarded.
    pub(crate) fn client_config(
        &self,
        side: Side,
        client_id: &str,
        ours: &[(&str, &str)],
    ) -> Result<ClientConfig, SourceError> {
        if let Some(fault) = self.faults().into_iter().next() {
            return Err(fault);
        }
        let mut config = ClientConfig::new();
        // Without a level of its own the library's log would end with the making of the client, whatever `debug` says.
        let debug = self.properties.contains_key("debug");
        config.set_log_level(if debug { RDKafkaLogLevel::Debug } else { RDKafkaLogLevel::Info });
        config.set("client.id", client_id);
        let (defaults, guarded): (_, &[_]) = match side {
            Side::Consumer => (CONSUMER_DEFAULTS, &CONSUMER_GUARDED),
            Side::Producer => (PRODUCER_DEFAULTS, &PRODUCER_GUARDED),
        };
        for (property, value) in SHARED_DEFAULTS.iter().chain(defaults).chain(ours) {
            config.set(*property, *value);
        }
        for (property, value) in self.properties.iter().filter(|(property, _)| belongs(property, side)) {
            forget_aliases(&mut config, property);
            config.set(property, value);
        }
        config.set("bootstrap.servers", self.brokers.join(","));
        for (property, value) in guarded {
            config.set(*property, *value);
        }
        Ok(config)
    }
}

/// Latency before packing: small messages leave at once, lost connections are tried again soon.
const SHARED_DEFAULTS: &[(&str, &str)] = &[
    ("socket.nagle.disable", "true"),
    ("socket.keepalive.enable", "true"),
    ("reconnect.backoff.max.ms", "2000"),
];

/// - `fetch.wait.max.ms`: an idle fetch is held by the broker so long; the embedded broker sleeps it in full.
/// - `session.timeout.ms`: how long a dead instance holds its partitions when another must take them.
/// - `max.poll.interval.ms`: how long the pipeline may block the reader, above the sink's own limit for
///   a delivery, so that a sink that is stuck is reported before the group takes the partitions away.
/// - `queued.max.messages.kbytes`: memory for records fetched ahead.
/// - `fetch.queue.backoff.ms`: the library's 1000 let a job that reads 100,000 records a second or more behind a
///   backlog run dry each time its queue had been full, and so held it at that rate.
/// - `range`: topics with equal counts of partitions are shared out alike, so streams keyed alike meet.
const CONSUMER_DEFAULTS: &[(&str, &str)] = &[
    ("fetch.wait.max.ms", "5"),
    ("session.timeout.ms", "10000"),
    ("heartbeat.interval.ms", "3000"),
    ("max.poll.interval.ms", "600000"),
    ("queued.max.messages.kbytes", "65536"),
    ("fetch.queue.backoff.ms", "10"),
    ("partition.assignment.strategy", "range"),
];

/// `auto.offset.reset` is `error`: where a partition starts is said when it is assigned, so a reset can
/// only mean that records the job still owed an answer are gone.
const CONSUMER_GUARDED: [(&str, &str); 6] = [
    ("enable.auto.commit", "false"),
    ("enable.auto.offset.store", "false"),
    ("auto.offset.reset", "error"),
    ("isolation.level", "read_committed"),
    ("check.crcs", "true"),
    ("enable.partition.eof", "false"),
];

/// - `message.timeout.ms`: how long a broker may be away before the sink gives up.
/// - `queue.buffering.*`: the sink's bounded queue; when it is full, `publish` waits.
/// - `partitioner`: the one of Kafka's Java clients, so that an alert's key lands where others expect it.
const PRODUCER_DEFAULTS: &[(&str, &str)] = &[
    ("message.timeout.ms", "300000"),
    ("queue.buffering.max.messages", "100000"),
    ("queue.buffering.max.kbytes", "131072"),
    ("compression.type", "lz4"),
    ("partitioner", "murmur2_random"),
];

const PRODUCER_GUARDED: [(&str, &str); 2] = [("enable.idempotence", "true"), ("acks", "all")];

/// Two names of one property; the library applies both in no fixed order, so only the user's stays.
const ALIASES: &[(&str, &str)] = &[
    ("linger.ms", "queue.buffering.max.ms"),
    ("compression.type", "compression.codec"),
    ("message.timeout.ms", "delivery.timeout.ms"),
];

fn forget_aliases(config: &mut ClientConfig, property: &str) {
    for (one, other) in ALIASES {
        if property == *one {
            config.remove(other);
        } else if property == *other {
            config.remove(one);
        }
    }
}

/// Whether the property means anything to this side; the library warns of those that don't.
fn belongs(property: &str, side: Side) -> bool {
    const CONSUMER_ONLY: [&str; 9] = [
        "fetch.",
        "group.",
        "session.timeout.ms",
        "heartbeat.interval.ms",
        "max.poll.",
        "queued.",
        "partition.assignment.strategy",
        "isolation.level",
        "check.crcs",
    ];
    const PRODUCER_ONLY: [&str; 11] = [
        "transaction.timeout.ms",
        "linger.ms",
        "queue.buffering.",
        "compression.",
        "batch.",
        "message.timeout.ms",
        "delivery.",
        "partitioner",
        "acks",
        "enable.idempotence",
        "retries",
    ];
    let other: &[&str] = match side {
        Side::Consumer => &PRODUCER_ONLY,
        Side::Producer => &CONSUMER_ONLY,
    };
    !other.iter().any(|prefix| property.starts_with(prefix))
}

/// What the library itself says of a property, in words that never repeat a secret.
fn not_understood(property: &str, value: &str) -> Option<SourceError> {
    let mut config = ClientConfig::new();
    config.set(property, value);
    let error = config.create_native_config().err()?;
    let reason = match error {
        KafkaError::ClientConfig(_, description, ..) if !secret(property) => description,
        KafkaError::ClientConfig(..) => "the client library does not accept the value".to_owned(),
        other => other.to_string(),
    };
    Some(SourceError::Property { property: property.to_owned(), reason })
}

fn secret(property: &str) -> bool {
    ["password", "secret", "key", "pem", "jaas", "oauthbearer.config"]
        .iter()
        .any(|word| property.contains(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(properties: &[(&str, &str)]) -> KafkaSettings {
        KafkaSettings {
            brokers: vec!["localhost:9092".to_owned()],
            properties: properties
                .iter()
                .map(|(name, value)| (name.to_string(), value.to_string()))
                .collect(),
        }
    }

    #[test]
    fn properties_that_would_break_a_promise_are_refused_with_the_reason() {
        let broken = [
            ("bootstrap.servers", "kafka:9092"),
            ("metadata.broker.list", "kafka:9092"),
            ("group.id", "mine"),
            ("transactional.id", "mine"),
            ("enable.auto.commit", "true"),
            ("auto.commit.enable", "TRUE"),
            ("enable.auto.offset.store", " true "),
            ("auto.offset.reset", "earliest"),
            ("isolation.level", "read_uncommitted"),
            ("check.crcs", "false"),
            ("enable.idempotence", "false"),
            ("acks", "1"),
            ("request.required.acks", "0"),
            ("max.in.flight", "6"),
            ("retries", "0"),
            ("delivery.report.only.error", "true"),
            ("group.protocol", "consumer"),
            ("partition.assignment.strategy", "cooperative-sticky"),
            ("test.mock.num.brokers", "3"),
        ];
        for (property, value) in broken {
            assert!(refused(property, value).is_some(), "{property}={value}");
        }
    }

    #[test]
    fn properties_that_only_repeat_a_promise_or_tune_are_accepted() {
        let fine = [
            ("enable.auto.commit", "false"),
            ("isolation.level", "READ_COMMITTED"),
            ("check.crcs", "true"),
            ("acks", "all"),
            ("acks", "-1"),
            ("max.in.flight", "5"),
            ("retries", "10"),
            ("partition.assignment.strategy", "range, roundrobin"),
            ("linger.ms", "5"),
            ("sasl.password", "x"),
            ("security.protocol", "ssl"),
        ];
        for (property, value) in fine {
            assert_eq!(refused(property, value), None, "{property}={value}");
        }
    }

    #[test]
    fn all_faults_are_reported_at_once_and_name_their_property() {
        let faults =
            settings(&[("group.id", "x"), ("linger.sm", "1"), ("fetch.wait.max.ms", "soon")]).faults();
        let text: Vec<String> = faults.iter().map(ToString::to_string).collect();
        assert_eq!(text.len(), 3, "{text:?}");
        for (line, property) in text.iter().zip(["fetch.wait.max.ms", "group.id", "linger.sm"]) {
            assert!(line.contains(property), "{line}");
        }
    }

    #[test]
    fn a_faulty_secret_is_never_repeated() {
        let fault = not_understood("ssl.key.pem.nonsense", "hunter2").expect("unknown");
        assert!(!fault.to_string().contains("hunter2"), "{fault}");
        let settings = settings(&[("sasl.password", "hunter2")]);
        assert!(!format!("{settings:?}").contains("hunter2"));
    }

    #[test]
    fn what_is_guarded_wins_and_what_is_tuned_overrides() {
        let config = settings(&[("queue.buffering.max.ms", "7"), ("session.timeout.ms", "7000")]);
        let producer = config.client_config(Side::Producer, "job", &[("linger.ms", "0")]).expect("fine");
        assert_eq!(producer.get("acks"), Some("all"));
        assert_eq!(producer.get("linger.ms"), None);
        assert_eq!(producer.get("queue.buffering.max.ms"), Some("7"));
        assert_eq!(producer.get("session.timeout.ms"), None);
        let consumer = config.client_config(Side::Consumer, "job", &[]).expect("fine");
        assert_eq!(consumer.get("session.timeout.ms"), Some("7000"));
        assert_eq!(consumer.get("auto.offset.reset"), Some("error"));
    }

    #[test]
    fn every_default_of_ours_is_known_to_the_library() {
        for side in [Side::Consumer, Side::Producer] {
            let config = settings(&[]).client_config(side, "job", &[]).expect("fine");
            config.create_native_config().expect("known");
        }
    }
}
