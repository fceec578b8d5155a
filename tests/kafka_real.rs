//! Security of the wire against a real broker: what works, what is refused and how clearly, and what is never said.
//!
//! Needs a broker of `tests/kafka/up` in `TOLLGATE_TEST_KAFKA`; each test is skipped without it.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use tollgate::event::{Clock, Coordinates, Offset, Partition, SystemClock};
use tollgate::sink::{Destination, KafkaSink, KafkaSinkSettings, OutMessage, Outgoing, Topics};
use tollgate::source::kafka::{
    ConsumerSettings, KafkaEvent, KafkaSettings, KafkaSource, Start, TopicBinding, cluster_id,
};

use crate::broker::Broker;
use crate::scratch::Scratch;

const WAIT: Duration = Duration::from_millis(100);
const GRACE: Duration = Duration::from_secs(30);

/// Properties of a user over TLS, by SASL.
fn sasl<'a>(
    broker: &'a Broker,
    ca: &'a str,
    mechanism: &'a str,
    password: &'a str,
) -> Vec<(&'static str, &'a str)> {
    vec![
        ("security.protocol", "sasl_ssl"),
        ("ssl.ca.location", ca),
        ("sasl.mechanism", mechanism),
        ("sasl.username", broker.value("KAFKA_USER")),
        ("sasl.password", password),
    ]
}

/// Properties of a client with these certificates.
fn mutual<'a>(ca: &'a str, certificate: &'a str, key: &'a str) -> Vec<(&'static str, &'a str)> {
    vec![
        ("security.protocol", "ssl"),
        ("ssl.ca.location", ca),
        ("ssl.certificate.location", certificate),
        ("ssl.key.location", key),
    ]
}

fn source_of(kafka: &KafkaSettings, topic: &str) -> Result<KafkaSource, String> {
    let binding = TopicBinding { stream: 0, start: Start::Earliest };
    let topics = BTreeMap::from([(topic.to_owned(), binding)]);
    KafkaSource::start(ConsumerSettings::new(kafka.clone(), format!("{topic}-group"), topics))
        .map_err(|error| error.to_string())
}

/// Sends ten alerts through the sink and reads them back through the source.
fn delivers_and_reads_back(kafka: &KafkaSettings, topic: &str) {
    assert!(cluster_id(kafka).expect("an answer").is_some_and(|id| !id.is_empty()));
    let topics = Topics { alerts: topic.to_owned(), ..Topics::default() };
    let settings =
        KafkaSinkSettings { kafka: kafka.clone(), client_id: "job".to_owned(), topics, linger_ms: 0 };
    let mut sink = KafkaSink::start(settings).expect("a sink");
    let alert = |number: usize| OutMessage {
        destination: Destination::Alerts,
        key: Some(number.to_string().into_bytes()),
        value: Some(format!("alert {number}").into_bytes()),
        headers: Vec::new(),
        coordinates: Coordinates {
            partition: Partition { topic: Arc::from("payments"), partition: 0 },
            offset: Offset(0),
        },
    };
    sink.publish(Outgoing { step: 1, messages: (0..10).map(alert).collect() }).expect("published");
    assert_eq!(sink.finish(GRACE).expect("delivered").step(), 1);

    let source = source_of(kafka, topic).expect("a source");
    let mut read = BTreeSet::new();
    for _ in 0..300 {
        let event = source.next(WAIT);
        if let KafkaEvent::Assigned(assigned) = &event {
            let from = assigned.partitions.iter().map(|own| (own.partition.clone(), own.start));
            source.begin(assigned, from.collect()).expect("begin");
        }
        if let KafkaEvent::Batch(batch) = event {
            let text = |record: &tollgate::source::RawRecord| {
                String::from_utf8_lossy(batch.slice(record.payload.as_ref()).unwrap_or_default()).into_owned()
            };
            read.extend(batch.records.iter().map(text));
        }
        if read.len() >= 10 {
            break;
        }
    }
    assert_eq!(read, (0..10).map(|number| format!("alert {number}")).collect());
    source.shutdown().expect("a clean end");
}

#[test]
fn scram_over_tls_delivers_and_reads_back() {
    let Some(broker) = Broker::of_environment("scram_over_tls") else { return };
    let topic = broker.topic("alerts", 2, &[]);
    let ca = broker.certificate("ca.pem");
    let properties = sasl(&broker, &ca, "SCRAM-SHA-512", broker.value("KAFKA_PASSWORD"));
    delivers_and_reads_back(&broker.settings("KAFKA_SASL_SSL", &properties), &topic);
}

#[test]
fn plain_over_tls_delivers_and_reads_back() {
    let Some(broker) = Broker::of_environment("plain_over_tls") else { return };
    let topic = broker.topic("alerts", 2, &[]);
    let ca = broker.certificate("ca.pem");
    let properties = sasl(&broker, &ca, "PLAIN", broker.value("KAFKA_PASSWORD"));
    delivers_and_reads_back(&broker.settings("KAFKA_SASL_SSL", &properties), &topic);
}

#[test]
fn mutual_tls_delivers_and_reads_back() {
    let Some(broker) = Broker::of_environment("mutual_tls") else { return };
    let topic = broker.topic("alerts", 2, &[]);
    let [ca, certificate, key] = ["ca.pem", "client.pem", "client.key"].map(|file| broker.certificate(file));
    delivers_and_reads_back(&broker.settings("KAFKA_MTLS", &mutual(&ca, &certificate, &key)), &topic);
}

/// `{"alg":"none"}` and `{"sub":"tollgate","iat":1600000000,"exp":4102444800}`: the user whom the brokers know, until 2100.
const TOKEN: &str =
    "eyJhbGciOiJub25lIn0.eyJzdWIiOiJ0b2xsZ2F0ZSIsImlhdCI6MTYwMDAwMDAwMCwiZXhwIjo0MTAyNDQ0ODAwfQ.";

/// An identity provider for as many requests as come: hands out a token that the brokers of `tests/kafka/up` believe
/// to the client `tollgate` with the secret `of-the-job`, and a refusal to others. The address to ask.
fn identity_provider() -> String {
    const SHOWN: &str = "Authorization: Basic dG9sbGdhdGU6b2YtdGhlLWpvYg==";
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    std::thread::spawn(move || {
        for mut request in listener.incoming().flatten() {
            let (mut asked, mut part) = (String::new(), [0; 1024]);
            // The last of a request is what it asks for.
            while !asked.contains("grant_type=client_credentials") {
                let Ok(length @ 1..) = request.read(&mut part) else { break };
                asked.push_str(&String::from_utf8_lossy(&part[..length]));
            }
            let known = asked.lines().any(|line| line == SHOWN);
            let (status, body) = if known {
                let answer = r#"{"token_type": "Bearer", "expires_in": 3600, "access_token": "TOKEN"}"#;
                ("200 OK", answer.replace("TOKEN", TOKEN))
            } else {
                ("401 Unauthorized", r#"{"error": "invalid_client"}"#.to_owned())
            };
            let head = format!("HTTP/1.1 {status}\r\nContent-Type: application/json\r\nConnection: close");
            // A client that hung up has what it wanted.
            let _ = write!(request, "{head}\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        }
    });
    format!("http://{address}/token")
}

/// Properties of a client whose tokens an identity provider hands out.
fn oidc<'a>(ca: &'a str, endpoint: &'a str, secret: &'a str) -> Vec<(&'static str, &'a str)> {
    vec![
        ("security.protocol", "sasl_ssl"),
        ("ssl.ca.location", ca),
        ("sasl.mechanism", "OAUTHBEARER"),
        ("sasl.oauthbearer.method", "oidc"),
        ("sasl.oauthbearer.token.endpoint.url", endpoint),
        ("sasl.oauthbearer.client.id", "tollgate"),
        ("sasl.oauthbearer.client.secret", secret),
    ]
}

#[test]
fn tokens_of_an_identity_provider_deliver_and_read_back_over_tls() {
    let Some(broker) = Broker::of_environment("tokens_of_an_identity_provider") else { return };
    let topic = broker.topic("alerts", 2, &[]);
    let ca = broker.certificate("ca.pem");
    let endpoint = identity_provider();
    delivers_and_reads_back(&broker.settings("KAFKA_SASL_SSL", &oidc(&ca, &endpoint, "of-the-job")), &topic);
}

#[test]
fn an_identity_provider_that_refuses_or_is_not_there_is_named_as_such() {
    let Some(broker) = Broker::of_environment("an_identity_provider_that_refuses") else { return };
    let topic = broker.topic("alerts", 1, &[]);
    let ca = broker.certificate("ca.pem");
    let endpoint = identity_provider();
    let says = ["OAUTHBEARER token", "`sasl.oauthbearer.token.endpoint.url`"];
    for (endpoint, secret) in [(endpoint.as_str(), "of-nobody"), ("http://127.0.0.1:1/token", "of-the-job")] {
        let properties = oidc(&ca, endpoint, secret);
        refused(&broker.settings("KAFKA_SASL_SSL", &properties), &topic, &says);
    }
}

/// Each question to the brokers fails within 15 seconds, in one sentence that names what was tried, what was refused
/// and what to check.
fn refused(kafka: &KafkaSettings, topic: &str, says: &[&str]) {
    let clock = SystemClock::start();
    let of_cluster = cluster_id(kafka).expect_err("refused").to_string();
    let halfway = clock.elapsed();
    let of_topic = source_of(kafka, topic).expect_err("refused");
    for (waited, error) in [(halfway, &of_cluster), (clock.elapsed() - halfway, &of_topic)] {
        assert!(waited < Duration::from_secs(15), "{waited:?}: {error}");
        assert!(!error.contains('\n'), "{error}");
        for part in says {
            assert!(error.contains(part), "`{part}` is not in: {error}");
        }
    }
    assert!(of_topic.contains(&format!("topic `{topic}`")), "{of_topic}");
}

#[test]
fn a_wrong_password_is_named_as_such() {
    let Some(broker) = Broker::of_environment("wrong_password") else { return };
    let topic = broker.topic("payments", 1, &[]);
    let ca = broker.certificate("ca.pem");
    for mechanism in ["SCRAM-SHA-512", "PLAIN"] {
        let kafka = broker.settings("KAFKA_SASL_SSL", &sasl(&broker, &ca, mechanism, "hunter2"));
        refused(&kafka, &topic, &[broker.value("KAFKA_SASL_SSL"), "uthentication", "`sasl.password`"]);
        assert!(!cluster_id(&kafka).expect_err("refused").to_string().contains("hunter2"));
    }
}

#[test]
fn a_mechanism_that_the_broker_does_not_offer_is_named() {
    let Some(broker) = Broker::of_environment("wrong_mechanism") else { return };
    let topic = broker.topic("payments", 1, &[]);
    let ca = broker.certificate("ca.pem");
    let properties = sasl(&broker, &ca, "SCRAM-SHA-256", broker.value("KAFKA_PASSWORD"));
    let kafka = broker.settings("KAFKA_SASL_SSL", &properties);
    refused(&kafka, &topic, &["SCRAM-SHA-256", "SCRAM-SHA-512", "`sasl.mechanism`"]);
}

#[test]
fn a_broker_of_another_ca_is_not_trusted_and_the_error_names_the_ca() {
    let Some(broker) = Broker::of_environment("wrong_ca") else { return };
    let topic = broker.topic("payments", 1, &[]);
    let ca = broker.certificate("other-ca.pem");
    let properties = sasl(&broker, &ca, "SCRAM-SHA-512", broker.value("KAFKA_PASSWORD"));
    let kafka = broker.settings("KAFKA_SASL_SSL", &properties);
    refused(&kafka, &topic, &["certificate verify failed", "`ssl.ca.location`"]);
}

#[test]
fn a_client_certificate_that_expired_is_named() {
    let Some(broker) = Broker::of_environment("expired_certificate") else { return };
    let topic = broker.topic("payments", 1, &[]);
    let [ca, certificate, key] =
        ["ca.pem", "expired.pem", "expired.key"].map(|file| broker.certificate(file));
    let kafka = broker.settings("KAFKA_MTLS", &mutual(&ca, &certificate, &key));
    refused(&kafka, &topic, &["`ssl.certificate.location`", "expired"]);
}

#[test]
fn a_client_certificate_of_another_ca_is_named() {
    let Some(broker) = Broker::of_environment("stranger") else { return };
    let topic = broker.topic("payments", 1, &[]);
    let [ca, certificate, key] =
        ["ca.pem", "stranger.pem", "stranger.key"].map(|file| broker.certificate(file));
    let kafka = broker.settings("KAFKA_MTLS", &mutual(&ca, &certificate, &key));
    refused(&kafka, &topic, &["`ssl.certificate.location`", "which the broker trusts"]);
}

#[test]
fn a_missing_client_certificate_is_asked_for() {
    let Some(broker) = Broker::of_environment("missing_certificate") else { return };
    let topic = broker.topic("payments", 1, &[]);
    let ca = broker.certificate("ca.pem");
    let properties = [("security.protocol", "ssl"), ("ssl.ca.location", ca.as_str())];
    let kafka = broker.settings("KAFKA_MTLS", &properties);
    refused(&kafka, &topic, &["set `ssl.certificate.location`", "`ssl.key.location`"]);
}

#[test]
fn the_wrong_protocol_for_a_listener_is_named_both_ways() {
    let Some(broker) = Broker::of_environment("wrong_protocol") else { return };
    let topic = broker.topic("payments", 1, &[]);
    refused(&broker.settings("KAFKA_MTLS", &[]), &topic, &["check `security.protocol`"]);
    let ca = broker.certificate("ca.pem");
    let tls = [("security.protocol", "ssl"), ("ssl.ca.location", ca.as_str())];
    refused(&broker.settings("KAFKA_PLAINTEXT", &tls), &topic, &["speaks no TLS", "`security.protocol`"]);
}

#[test]
fn a_user_without_rights_is_told_which_right_is_missing() {
    let Some(broker) = Broker::of_environment("outsider") else { return };
    let topic = broker.topic("payments", 1, &[]);
    let ca = broker.certificate("ca.pem");
    let mut properties = sasl(&broker, &ca, "SCRAM-SHA-512", broker.value("KAFKA_PASSWORD"));
    properties.push(("sasl.username", broker.value("KAFKA_OUTSIDER")));
    let error = source_of(&broker.settings("KAFKA_SASL_SSL", &properties), &topic).expect_err("refused");
    assert!(error.contains("allow the job's user to read and describe the topic"), "{error}");
}

/// A folder with a rule and settings for a job over TLS, with everything that the client library can log.
fn job(broker: &Broker, topics: &[String; 2], properties: &[(&str, String)]) -> Scratch {
    let scratch = Scratch::new();
    scratch.write(
        "rules/schema.sql",
        "CREATE TABLE payments (tx_id VARCHAR NOT NULL, card_id VARCHAR, amount DECIMAL(18,2), \
         event_time TIMESTAMP NOT NULL, PRIMARY KEY (tx_id));\n",
    );
    scratch.write(
        "rules/large.sql",
        "-- @id: large\n-- @title: Large\n-- @status: live\n-- @severity: low\n-- @score: 1\n-- @reason: \"large\"\n\
         -- @owner: fraud\nSELECT tx_id, amount FROM payments WHERE amount > 1000\n",
    );
    let mut settings = format!(
        "[job]\nname = \"{}\"\nrules = \"rules\"\n[kafka]\nbrokers = [\"{}\"]\n[kafka.properties]\n\"debug\" = \"all\"\n",
        broker.name("job"),
        broker.value("KAFKA_SASL_SSL"),
    );
    for (name, value) in properties {
        settings.push_str(&format!("\"{name}\" = '''{value}'''\n"));
    }
    settings.push_str(&format!(
        "[streams.payments]\ntopics = [\"{}\"]\nstart = \"earliest\"\n[output]\nalerts = \"{}\"\n",
        topics[0], topics[1],
    ));
    scratch.write("tollgate.toml", &settings);
    scratch
}

/// Everything that the job writes at the most verbose level, until it has a partition or ends by itself.
fn everything_written(scratch: &Scratch) -> (String, Option<i32>) {
    let mut job = Command::new(env!("CARGO_BIN_EXE_tollgate"))
        .args(["run", "--config"])
        .arg(scratch.path("tollgate.toml"))
        .env("TOLLGATE_LOG", "trace")
        .env("NO_COLOR", "1")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    let mut written = String::new();
    let mut lines = BufReader::new(job.stderr.take().expect("standard error"));
    let mut stopped = false;
    while lines.read_line(&mut written).expect("text") > 0 {
        if !stopped && written.contains("partitions assigned") {
            stopped = true;
            let id = job.id().to_string();
            assert!(Command::new("kill").args(["-TERM", &id]).status().expect("kill runs").success());
        }
    }
    job.stdout.take().expect("standard output").read_to_string(&mut written).expect("text");
    (written, job.wait().expect("it ends").code())
}

#[test]
fn a_password_is_in_nothing_that_the_job_writes_at_the_most_verbose_level() {
    let Some(broker) = Broker::of_environment("secret") else { return };
    let topics = ["payments", "alerts"].map(|name| broker.topic(name, 1, &[]));
    let password = broker.value("KAFKA_PASSWORD").to_owned();
    let key = std::fs::read_to_string(broker.certificate("client.key")).expect("a key");
    let certificate = std::fs::read_to_string(broker.certificate("client.pem")).expect("a certificate");
    for (mechanism, password, fine) in [
        ("SCRAM-SHA-512", password.as_str(), true),
        ("PLAIN", &password, true),
        ("PLAIN", "wrong-Horse-staple", false),
    ] {
        let scratch = job(
            &broker,
            &topics,
            &[
                ("security.protocol", "sasl_ssl".to_owned()),
                ("ssl.ca.location", broker.certificate("ca.pem")),
                ("ssl.key.pem", key.clone()),
                ("ssl.certificate.pem", certificate.clone()),
                ("sasl.mechanism", mechanism.to_owned()),
                ("sasl.username", broker.value("KAFKA_USER").to_owned()),
                ("sasl.password", password.to_owned()),
            ],
        );
        let (written, code) = everything_written(&scratch);
        assert_eq!(code, Some(if fine { 0 } else { 3 }), "{}", tail(&written));
        assert_eq!(written.contains("partitions assigned"), fine);
        assert!(
            written.contains("librdkafka") && written.contains("SASL"),
            "the library's own lines are there"
        );
        let base64 = key.lines().nth(1).expect("the key's first line");
        for secret in [password, base64] {
            let line = written.lines().find(|line| line.contains(secret));
            assert_eq!(line, None, "a secret was written");
        }
        if !fine {
            let errors: Vec<_> = written.lines().filter(|line| line.starts_with("error:")).collect();
            assert_eq!(errors.len(), 1, "{errors:?}");
            assert!(errors[0].contains("`sasl.password`"), "{errors:?}");
        }
    }
}

fn tail(text: &str) -> String {
    let lines: Vec<_> = text.lines().rev().take(5).collect();
    lines.into_iter().rev().collect::<Vec<_>>().join("\n")
}
