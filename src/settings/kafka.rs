//! `[kafka]`: addresses, and properties of the client library passed through.
//!
//! Hands on [`KafkaSettings`]. Properties that would break a promise of the job are refused by name with
//! what to set instead; all others are tried on the client library here, one by one, so that a mistyped one
//! is found with its line instead of at start-up. Dotted names work with and without quotes.

use std::collections::BTreeMap;

use rdkafka::ClientConfig;
use toml::Spanned;
use toml::de::DeValue;

use super::reader::{Found, Reader, Section, Value, join};
use super::values::{self, PropertyValue, Secret, Wrong};
use crate::diagnostic::{Diagnostic, suggest};

/// How to reach the brokers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KafkaSettings {
    /// Addresses to connect to first; empty only where no broker is needed.
    pub brokers: Vec<String>,
    /// The cluster's name in alerts and their ids; none: the id that the brokers report.
    pub cluster: Option<String>,
    /// Properties of the client library by name, none of them refused.
    pub properties: BTreeMap<String, PropertyValue>,
}

const BROKERS: &str = "set `brokers` under `[kafka]`";
const START: &str = "set `start` of the stream: \"earliest\", \"latest\" or a time";
const COMMITS: &str = "offsets are committed last, after what they stand for was delivered";
const COMMIT_INTERVAL: &str = "set `commit_interval` under `[job]`";
const NAME: &str = "set `name` under `[job]`";
const REMOVE: &str = "leave it out";

/// Refused properties: name, why, what to do instead.
const REFUSED: &[(&str, &str, &str)] = &[
    ("bootstrap.servers", "the addresses have a key of their own", BROKERS),
    ("metadata.broker.list", "the addresses have a key of their own", BROKERS),
    ("test.mock.num.brokers", "it would replace the brokers by ones in memory", REMOVE),
    ("group.id", "the consumer group is the job's name", NAME),
    ("group.instance.id", "a restart must come back as the same member of the group", NAME),
    ("transactional.id", "a restart must shut out what it replaces, by the same id", NAME),
    ("group.protocol", "the new group protocol locks a killed job out until its session ends", REMOVE),
    (
        "partition.assignment.strategy",
        "the job drains and commits when partitions move, which needs them to move together",
        REMOVE,
    ),
    ("enable.auto.commit", COMMITS, COMMIT_INTERVAL),
    ("auto.commit.enable", COMMITS, COMMIT_INTERVAL),
    ("auto.commit.interval.ms", COMMITS, COMMIT_INTERVAL),
    ("enable.auto.offset.store", COMMITS, COMMIT_INTERVAL),
    ("offset.store.method", COMMITS, COMMIT_INTERVAL),
    ("auto.offset.reset", "offsets that are gone must stop the job, not be skipped or repeated", START),
    ("isolation.level", "records of aborted transactions must not be answered", REMOVE),
    ("enable.partition.eof", "the end of a partition is nothing the job acts on", REMOVE),
    ("topic.blacklist", "records would be left out without being counted", "list the topics of the stream"),
    ("check.crcs", "a damaged record must be noticed; checksums are always checked", REMOVE),
    ("enable.idempotence", "a retried alert must not arrive twice or out of order; it is always on", REMOVE),
    ("acks", "an alert counts as delivered when all in-sync replicas have it", REMOVE),
    ("request.required.acks", "an alert counts as delivered when all in-sync replicas have it", REMOVE),
    ("delivery.report.only.error", "offsets are committed only for what was reported as delivered", REMOVE),
    ("enable.sasl.oauthbearer.unsecure.jwt", UNSIGNED, OIDC),
    ("sasl.oauthbearer.config", UNSIGNED, OIDC),
];
const UNSIGNED: &str = "tokens that nobody signed prove nothing";
const OIDC: &str = "set `sasl.oauthbearer.method` = \"oidc\", which asks an identity provider for tokens";

/// Names that a mistyped property was probably meant to be.
const USUAL: &[&str] = &[
    "client.id",
    "client.rack",
    "compression.codec",
    "compression.type",
    "debug",
    "delivery.timeout.ms",
    "fetch.max.bytes",
    "fetch.min.bytes",
    "fetch.queue.backoff.ms",
    "fetch.wait.max.ms",
    "heartbeat.interval.ms",
    "https.ca.location",
    "linger.ms",
    "max.partition.fetch.bytes",
    "max.poll.interval.ms",
    "message.max.bytes",
    "queue.buffering.max.messages",
    "queued.max.messages.kbytes",
    "queued.min.messages",
    "receive.message.max.bytes",
    "sasl.mechanism",
    "sasl.mechanisms",
    "sasl.oauthbearer.client.id",
    "sasl.oauthbearer.client.secret",
    "sasl.oauthbearer.method",
    "sasl.oauthbearer.scope",
    "sasl.oauthbearer.token.endpoint.url",
    "sasl.password",
    "sasl.username",
    "security.protocol",
    "session.timeout.ms",
    "socket.keepalive.enable",
    "socket.timeout.ms",
    "ssl.ca.location",
    "ssl.certificate.location",
    "ssl.endpoint.identification.algorithm",
    "ssl.key.location",
    "ssl.key.password",
    "statistics.interval.ms",
    "transaction.timeout.ms",
];

/// Reads `[kafka]`.
pub(super) fn read<'a>(reader: &mut Reader<'a>, root: &Section<'a>) -> KafkaSettings {
    let section = reader.open(root, "kafka", "kafka");
    let addresses = |text: &str| -> Result<Vec<String>, Wrong> {
        text.split(',').map(|address| values::broker(address.trim())).collect()
    };
    let brokers = reader.texts(&section, "brokers", addresses).into_iter().flatten().collect();
    let cluster = reader.text(&section, "cluster", |text| values::name(text, "cluster"));
    let mut properties = BTreeMap::new();
    if let Some(value) = section.table.and_then(|table| table.get("properties")) {
        let path = join(&section.path, "properties");
        if reader.table(&path, value).is_some() {
            read_properties(reader, &path, "", value, &mut properties);
            find_way_to_tokens(reader, &path, &properties);
        }
    }
    KafkaSettings { brokers, cluster, properties }
}

/// Reads one property, or all below a dotted name that was written without quotes.
fn read_properties<'a>(
    reader: &mut Reader<'a>,
    section: &str,
    name: &str,
    value: &'a Spanned<DeValue<'a>>,
    properties: &mut BTreeMap<String, PropertyValue>,
) {
    if let DeValue::Table(table) = value.get_ref() {
        for (key, value) in table {
            let full_name = join(name, key.get_ref());
            reader.places.insert(join(section, &full_name), key.span());
            read_properties(reader, section, &full_name, value, properties);
        }
        return;
    }
    let path = join(section, name);
    if let Some((_, reason, instead)) = REFUSED.iter().find(|(refused, _, _)| *refused == name) {
        let finding = reader.error_at(&path, format!("the property `{name}` is refused: {reason}"));
        reader.findings.push(finding.with_help(*instead).with_code("refused-property"));
        return;
    }
    let Some(found) = reader.convert(&path, value) else { return };
    let Some(text) = property_text(&found) else {
        reader.wrong(&found, &Wrong::expected("text, a number, `true` or `false`"));
        return;
    };
    let secret = found.hidden || names_a_secret(name);
    try_property(reader, name, &text, secret, &found);
    let value = if secret { PropertyValue::Secret(Secret::new(text)) } else { PropertyValue::Plain(text) };
    properties.insert(name.to_owned(), value);
}

/// OAUTHBEARER without a way to tokens would wait for one for ever. The client library asks an identity provider for
/// them where `sasl.oauthbearer.method` is `oidc`; which other properties that needs depends on the grant.
fn find_way_to_tokens(reader: &mut Reader<'_>, section: &str, properties: &BTreeMap<String, PropertyValue>) {
    let says = |name: &str, value: &str| {
        properties.get(name).is_some_and(|found| found.reveal().trim().eq_ignore_ascii_case(value))
    };
    let mechanism = ["sasl.mechanism", "sasl.mechanisms"].into_iter().find(|name| says(name, "OAUTHBEARER"));
    let Some(mechanism) = mechanism else { return };
    let mut needed = Vec::new();
    if !says("sasl.oauthbearer.method", "oidc") {
        needed.push("`sasl.oauthbearer.method` = \"oidc\"".to_owned());
    }
    let lacks = |name: &&str| !properties.contains_key(*name);
    if lacks(&"sasl.oauthbearer.metadata.authentication.type") {
        let grant = "sasl.oauthbearer.grant.type";
        let secret = lacks(&grant) || says(grant, "client_credentials");
        let id = ["sasl.oauthbearer.client.id", "sasl.oauthbearer.client.secret"];
        let names =
            ["sasl.oauthbearer.token.endpoint.url"].into_iter().chain(id.into_iter().filter(|_| secret));
        needed.extend(names.filter(lacks).map(|name| format!("`{name}`")));
    }
    if !needed.is_empty() {
        let message = format!("`{mechanism}` is OAUTHBEARER, and nothing says where its tokens come from");
        let help = format!("set {} under `[kafka.properties]`", needed.join(", "));
        let finding = reader.error_at(&join(section, mechanism), message).with_help(help);
        reader.findings.push(finding.with_code("no-tokens"));
    }
}

fn property_text(found: &Found) -> Option<String> {
    match &found.value {
        Value::Text(text) | Value::Float(text) => Some(text.clone()),
        Value::Integer(number) => Some(number.to_string()),
        Value::Boolean(value) => Some(value.to_string()),
        Value::List(_) | Value::Table => None,
    }
}

/// Asks the client library whether it knows the property and takes the value.
fn try_property(reader: &mut Reader<'_>, name: &str, text: &str, secret: bool, found: &Found) {
    let Err(error) = ClientConfig::new().set(name, text).create_native_config() else { return };
    let known = ClientConfig::new().create_native_config().is_ok_and(|config| config.get(name).is_ok());
    if known {
        let reason = if secret { String::new() } else { format!(": {error}") };
        let message = format!("the Kafka client does not take the value of `{name}`{reason}");
        let span = found.span.clone().unwrap_or_default();
        reader.findings.push(Diagnostic::error(&reader.source, span, message).with_code("wrong-value"));
        return;
    }
    let message = format!("the Kafka client has no property `{}`", name.escape_debug());
    let list = "its properties are listed in librdkafka's CONFIGURATION.md";
    let help = match suggest(name, USUAL.iter().copied()) {
        Some(near) => format!("did you mean `{near}`? {list}"),
        None => list.to_owned(),
    };
    let finding = reader.error_at(&found.path, message).with_help(help);
    reader.findings.push(finding.with_code("unknown-property"));
}

/// Whether a property's name says that its value must not be shown.
pub(super) fn names_a_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    ["password", "passphrase", "secret", "token", "key", ".pem", "oauthbearer.config"]
        .iter()
        .any(|part| name.contains(part))
}
