//! `check --online`: whether the brokers are as the settings and the rules need them.
//!
//! Takes settings and compiled rules, hands on findings, each with what to do. Only asks, changes nothing. Rights
//! are seen as far as a question is refused: the right to write shows when something is written.

use std::collections::BTreeMap;
use std::time::Duration;

use rdkafka::admin::{AdminClient, AdminOptions, ConfigResource, ResourceSpecifier};
use rdkafka::client::DefaultClientContext;

use super::reach::{Reach, reach};
use crate::cli::failure::Failure;
use crate::cli::rules::audit_topic;
use crate::cli::service::{kafka_settings, source_failure};
use crate::diagnostic::{Diagnostic, Severity};
use crate::event::Span;
use crate::rules::RuleSet;
use crate::settings::{Destination, Settings};
use crate::source::kafka::{KafkaSettings, Side, TopicReader, cluster_id, words};

const WAIT: Duration = Duration::from_secs(15);

/// What was found out about a topic.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Topic {
    partitions: usize,
    /// Its settings, by Kafka's names; empty where they may not be read.
    settings: BTreeMap<String, String>,
}

/// Asks the brokers; fails only where none answers.
pub(super) fn findings(settings: &Settings, set: &RuleSet) -> Result<Vec<Diagnostic>, Failure> {
    let kafka = kafka_settings(settings);
    cluster_id(&kafka).map_err(|error| source_failure(&error))?;
    let mut findings = Vec::new();
    let inputs: Vec<&str> =
        settings.streams.values().flat_map(|stream| &stream.topics).map(String::as_str).collect();
    let outputs = outputs(settings);
    let mut topics = BTreeMap::new();
    for name in inputs.iter().chain(&outputs) {
        match TopicReader::open(&kafka, &settings.job.name, name) {
            Ok(reader) => {
                let partitions = reader.partitions();
                topics.insert((*name).to_owned(), Topic { partitions, ..Topic::default() });
            }
            Err(error) => findings.push(of_topic(name, error.to_string()).with_code("topic")),
        }
    }
    let broker = read_settings(&kafka, &mut topics, &mut findings)?;
    findings.extend(uneven(settings, &topics));
    findings.extend(too_short(&inputs, &topics, reach(set)));
    findings.extend(outputs.iter().filter_map(|name| too_small(name, topics.get(*name)?, &kafka)));
    let audit = audit_topic(settings).and_then(|name| Some((name, topics.get(name)?)));
    findings.extend(audit.into_iter().flat_map(|(name, topic)| forgetful(name, topic)));
    findings.extend(transactions(&broker, &kafka));
    Ok(findings)
}

/// Topics that the job writes to.
fn outputs(settings: &Settings) -> Vec<&str> {
    let output = &settings.output;
    [&output.alerts, &output.shadow, &output.dead_letters]
        .into_iter()
        .chain(&output.decisions)
        .chain(&output.audit)
        .filter_map(|place| match place {
            Destination::Topic(topic) => Some(topic.as_str()),
            Destination::Ndjson(_) | Destination::Parquet(_) => None,
        })
        .collect()
}

fn of_topic(name: &str, message: impl Into<String>) -> Diagnostic {
    Diagnostic::file_error(format!("topic {name}"), message)
}

fn warning(finding: Diagnostic) -> Diagnostic {
    Diagnostic { severity: Severity::Warning, ..finding }
}

/// Adds the topics' settings and hands on those of one broker.
fn read_settings(
    kafka: &KafkaSettings,
    topics: &mut BTreeMap<String, Topic>,
    findings: &mut Vec<Diagnostic>,
) -> Result<BTreeMap<String, String>, Failure> {
    let admin: AdminClient<DefaultClientContext> =
        kafka.client_config(Side::Producer, "tollgate-check", &[])?.create().map_err(Failure::outside)?;
    let metadata = admin.inner().fetch_metadata(None, WAIT).map_err(Failure::outside)?;
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Failure::outside)?;
    let mut read = |about: String, resource: ResourceSpecifier<'_>| {
        let options = AdminOptions::new().request_timeout(Some(WAIT));
        let answer = runtime.block_on(admin.describe_configs([&resource], &options));
        match answer.map(|mut answer| answer.pop()) {
            Ok(Some(Ok(resource))) => values(resource),
            other => {
                let reason = match other {
                    Ok(Some(Err(code))) => code.to_string(),
                    Ok(_) => "no answer".to_owned(),
                    Err(error) => words(&error),
                };
                let finding = Diagnostic::file_error(about, format!("its settings can't be read: {reason}"));
                let help = "allow the job's user to describe configs, or compare the limits by hand";
                findings.push(warning(finding).with_help(help).with_code("not-seen"));
                BTreeMap::new()
            }
        }
    };
    for (name, topic) in &mut *topics {
        topic.settings = read(format!("topic {name}"), ResourceSpecifier::Topic(name));
    }
    let Some(broker) = metadata.brokers().first().map(|broker| broker.id()) else {
        return Ok(BTreeMap::new());
    };
    Ok(read(format!("broker {broker}"), ResourceSpecifier::Broker(broker)))
}

fn values(resource: ConfigResource) -> BTreeMap<String, String> {
    resource.entries.into_iter().filter_map(|entry| Some((entry.name, entry.value?))).collect()
}

/// Topics whose rows meet in one state must be cut alike, or a key's rows land on different instances.
fn uneven(settings: &Settings, topics: &BTreeMap<String, Topic>) -> Option<Diagnostic> {
    let mut counts: BTreeMap<&str, BTreeMap<&str, usize>> = BTreeMap::new();
    for (name, stream) in &settings.streams {
        let key = stream.topic_key.as_deref().unwrap_or(name);
        for topic in &stream.topics {
            if let Some(found) = topics.get(topic) {
                counts.entry(key).or_default().insert(topic, found.partitions);
            }
        }
    }
    let uneven = counts.into_iter().find(|(_, topics)| topics.values().min() != topics.values().max());
    let (key, topics) = uneven?;
    let list: Vec<String> = topics.iter().map(|(topic, count)| format!("{topic} has {count}")).collect();
    let message = format!(
        "topics of one key, {key}, have unequal counts of partitions: {}; with more than one instance their rows \
         would not meet",
        list.join(", ")
    );
    let first = topics.keys().next().copied().unwrap_or_default();
    let help = "make the topics anew with equal counts, or run one instance";
    Some(warning(of_topic(first, message)).with_help(help).with_code("uneven-partitions"))
}

/// Input topics that let go of records that windows still hold.
fn too_short(inputs: &[&str], topics: &BTreeMap<String, Topic>, reach: Reach) -> Vec<Diagnostic> {
    let mut findings = Vec::new();
    for (name, topic) in inputs.iter().filter_map(|name| Some((name, topics.get(*name)?))) {
        let set = |key: &str| topic.settings.get(key).map(String::as_str);
        if set("cleanup.policy").is_some_and(|policy| policy.contains("compact")) {
            let message = "it is compacted: of the records of a key only the newest is sure to be read";
            let help = "set cleanup.policy=delete";
            findings.push(of_topic(name, message).with_help(help).with_code("compacted"));
        }
        let Some(kept) = set("retention.ms").and_then(|text| text.parse::<i64>().ok()) else { continue };
        let kept = Span(kept.saturating_mul(1000));
        if kept.0 >= 0 && kept < reach.longest {
            let message = format!(
                "it keeps records for {kept}, and the longest windows reach back {}: without the job's own history \
                 they could not be filled again",
                reach.longest
            );
            let help = format!("set retention.ms to {} or more", reach.longest.0 / 1000);
            findings.push(warning(of_topic(name, message)).with_help(help).with_code("short-retention"));
        } else if kept.0 >= 0 && reach.unbounded {
            let message = format!(
                "it keeps records for {kept}, and some windows have no bound in time: they can be filled again only \
                 from there on"
            );
            let help = "set retention.ms=-1, or give the windows a bound";
            findings.push(warning(of_topic(name, message)).with_help(help).with_code("short-retention"));
        }
    }
    findings
}

/// Switches of rules are known from the audit topic alone, at every start: it must keep its records.
fn forgetful(name: &str, topic: &Topic) -> Vec<Diagnostic> {
    let set = |key: &str| topic.settings.get(key).map(String::as_str);
    if set("cleanup.policy").is_some_and(|policy| policy.contains("compact")) {
        let message =
            "the audit goes there and it is compacted: it refuses records without a key, such as starts";
        let help = "set cleanup.policy=delete and retention.ms=-1";
        return vec![of_topic(name, message).with_help(help).with_code("compacted")];
    }
    let limit = |key: &str| {
        let value = set(key).filter(|value| *value != "-1")?;
        let message = format!(
            "the audit goes there and {key} is {value}: a rule that was switched off is on again at the first start \
             after its record is deleted"
        );
        let help = format!("set {key}=-1");
        Some(warning(of_topic(name, message)).with_help(help).with_code("short-retention"))
    };
    ["retention.ms", "retention.bytes"].into_iter().filter_map(limit).collect()
}

/// An output topic that refuses messages which the client would send.
fn too_small(name: &str, topic: &Topic, kafka: &KafkaSettings) -> Option<Diagnostic> {
    let taken: i64 = topic.settings.get("max.message.bytes")?.parse().ok()?;
    let sent = property(kafka, "message.max.bytes", 1_000_000);
    if sent <= taken {
        return None;
    }
    let message = format!(
        "it takes messages of up to {taken} bytes, and the job sends up to {sent}: larger ones are refused"
    );
    let help = format!("set max.message.bytes of the topic to {sent}, or `message.max.bytes` to {taken}");
    Some(of_topic(name, message).with_help(help).with_code("small-messages"))
}

/// A transaction that may last longer than brokers allow can't be begun.
fn transactions(broker: &BTreeMap<String, String>, kafka: &KafkaSettings) -> Option<Diagnostic> {
    let allowed: i64 = broker.get("transaction.max.timeout.ms")?.parse().ok()?;
    let ours = property(kafka, "transaction.timeout.ms", 60_000);
    if ours <= allowed {
        return None;
    }
    let message = format!(
        "transactions may last {allowed} ms there, and the job's {ours} ms: exactly-once delivery would be refused"
    );
    let help = format!(
        "set `transaction.timeout.ms` to {allowed} or less, or raise transaction.max.timeout.ms of the brokers"
    );
    Some(Diagnostic::file_error("brokers", message).with_help(help).with_code("short-transactions"))
}

fn property(kafka: &KafkaSettings, name: &str, default: i64) -> i64 {
    kafka.properties.get(name).and_then(|text| text.trim().parse().ok()).unwrap_or(default)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::{Purpose, Surroundings};

    fn topic(partitions: usize, settings: &[(&str, &str)]) -> Topic {
        let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        Topic { partitions, settings: settings.iter().map(own).collect() }
    }

    fn codes(findings: &[Diagnostic]) -> Vec<&'static str> {
        findings.iter().filter_map(|finding| finding.code).collect()
    }

    #[test]
    fn a_topic_that_forgets_before_the_longest_window_ends_is_found_and_one_that_keeps_enough_is_not() {
        let day = Span(86_400_000_000);
        let reach = |longest, unbounded| Reach { longest, unbounded };
        let found = |settings: &[(&str, &str)], reach| {
            codes(&too_short(&["a"], &BTreeMap::from([("a".to_owned(), topic(1, settings))]), reach))
        };
        assert_eq!(found(&[("retention.ms", "86399999")], reach(day, false)), ["short-retention"]);
        assert_eq!(found(&[("retention.ms", "86400000")], reach(day, false)), [""; 0]);
        assert_eq!(found(&[("retention.ms", "-1")], reach(day, true)), [""; 0]);
        assert_eq!(found(&[("retention.ms", "604800000")], reach(day, true)), ["short-retention"]);
        assert_eq!(found(&[("cleanup.policy", "compact,delete")], reach(day, false)), ["compacted"]);
    }

    #[test]
    fn every_topic_that_the_job_writes_to_is_asked_about_and_the_audit_must_keep_its_records() {
        let text = "[job]\nname = \"a\"\n[streams.p]\ntopics = [\"p\"]\n[output]\nalerts = \"a\"\nshadow = \"s\"\n\
            dead_letters = \"file:d.ndjson\"\ndecisions = \"decided\"\naudit = \"log\"\n";
        let surroundings = Surroundings { variables: BTreeMap::new(), folder: ".".into() };
        let loaded = Settings::parse("tollgate.toml", text, &surroundings, Purpose::Inspect);
        assert_eq!(outputs(&loaded.expect("settings").settings), ["a", "s", "decided", "log"]);
        let found = |settings: &[(&str, &str)]| codes(&forgetful("log", &topic(1, settings)));
        assert_eq!(
            found(&[("cleanup.policy", "delete"), ("retention.ms", "-1"), ("retention.bytes", "-1")]),
            [""; 0]
        );
        assert_eq!(found(&[]), [""; 0], "what can't be read is told elsewhere");
        assert_eq!(found(&[("retention.ms", "604800000"), ("retention.bytes", "-1")]), ["short-retention"]);
        assert_eq!(found(&[("cleanup.policy", "compact"), ("retention.ms", "604800000")]), ["compacted"]);
    }

    #[test]
    fn limits_of_brokers_and_topics_are_compared_with_what_the_job_sends() {
        let kafka = |properties: &[(&str, &str)]| KafkaSettings {
            properties: topic(0, properties).settings,
            ..KafkaSettings::default()
        };
        let small = topic(1, &[("max.message.bytes", "1048588")]);
        assert_eq!(too_small("a", &small, &kafka(&[])), None);
        assert!(too_small("a", &small, &kafka(&[("message.max.bytes", "2000000")])).is_some());
        let broker = topic(0, &[("transaction.max.timeout.ms", "900000")]).settings;
        assert_eq!(transactions(&broker, &kafka(&[])), None);
        let long = transactions(&broker, &kafka(&[("transaction.timeout.ms", "900001")]));
        assert!(long.is_some_and(|finding| finding.message.contains("900000 ms")));
    }
}
