//! `check --online` against a real broker: it names what is missing, and is content with what is right.
//!
//! Needs a broker of `tests/kafka/up` in `TOLLGATE_TEST_KAFKA`; each test is skipped without it.

use crate::broker::Broker;
use crate::scratch::{Printed, Scratch};

const RULE: &str = "-- @id: often\n-- @title: Often\n-- @status: live\n-- @severity: low\n-- @score: 1\n\
    -- @reason: \"often\"\n-- @owner: fraud\nSELECT tx_id, count(*) OVER w AS n FROM payments\n\
    WINDOW w AS (PARTITION BY card_id ORDER BY event_time RANGE BETWEEN INTERVAL '2 days' PRECEDING AND CURRENT ROW)\n\
    QUALIFY n >= 5\n";

fn check(broker: &Broker, kafka: &str, payments: &str, logins: &str, output: &str) -> Printed {
    let scratch = Scratch::new();
    let stream = |name: &str| {
        format!(
            "CREATE TABLE {name} (tx_id VARCHAR NOT NULL, card_id VARCHAR, event_time TIMESTAMP NOT NULL, \
             PRIMARY KEY (tx_id));\n"
        )
    };
    scratch.write("rules/schema.sql", &(stream("payments") + &stream("logins")));
    scratch.write("rules/often.sql", RULE);
    scratch.write(
        "tollgate.toml",
        &format!(
            "[job]\nname = \"{}\"\nrules = \"rules\"\n{kafka}\n\
             [streams.payments]\ntopics = [\"{payments}\"]\ntopic_key = \"card_id\"\n\
             [streams.logins]\ntopics = [\"{logins}\"]\ntopic_key = \"card_id\"\n\
             [output]\nalerts = \"{output}\"\nshadow = \"{output}-shadow\"\ndead_letters = \"{output}-dead\"\n",
            broker.name("job"),
        ),
    );
    scratch.shell("tollgate check --online --config tollgate.toml")
}

/// Makes the three topics that a job writes to; the name of the first.
fn outputs(broker: &Broker) -> String {
    for name in ["output-shadow", "output-dead"] {
        broker.topic(name, 1, &[]);
    }
    broker.topic("output", 1, &[])
}

#[test]
fn what_the_brokers_lack_is_named_with_what_to_do() {
    let Some(broker) = Broker::of_environment("check_online") else { return };
    let kafka = format!(
        "[kafka]\nbrokers = [\"{}\"]\n[kafka.properties]\n\"transaction.timeout.ms\" = 1000000\n",
        broker.value("KAFKA_PLAINTEXT")
    );
    let payments = broker.topic("payments", 2, &[("retention.ms", "86400000")]);
    let logins = broker.topic("logins", 3, &[("cleanup.policy", "compact")]);
    let missing = broker.name("missing");
    let printed = check(&broker, &kafka, &payments, &logins, &missing);
    assert_eq!(printed.code, Some(1), "{}", printed.text);
    for part in [
        &format!("topic `{missing}` failed"),
        "create the topic",
        "it keeps records for 1d, and the longest windows reach back 2d",
        "set retention.ms to 172800000 or more",
        "set cleanup.policy=delete",
        &format!("{logins} has 3, {payments} has 2"),
        "transactions may last 900000 ms there, and the job's 1000000 ms",
    ] {
        assert!(printed.text.contains(part), "`{part}` is not in:\n{}", printed.text);
    }
}

#[test]
fn a_job_whose_brokers_have_all_it_needs_has_no_findings() {
    let Some(broker) = Broker::of_environment("check_online_fine") else { return };
    let kafka = format!("[kafka]\nbrokers = [\"{}\"]\n", broker.value("KAFKA_PLAINTEXT"));
    let [payments, logins] =
        ["payments", "logins"].map(|name| broker.topic(name, 2, &[("retention.ms", "172800000")]));
    let output = outputs(&broker);
    let printed = check(&broker, &kafka, &payments, &logins, &output);
    assert_eq!(printed.code, Some(0), "{}", printed.text);
    assert!(printed.text.contains(" 0 errors, "), "{}", printed.text);
}

#[test]
fn a_user_without_rights_is_told_which_are_missing() {
    let Some(broker) = Broker::of_environment("check_online_rights") else { return };
    let kafka = format!(
        "[kafka]\nbrokers = [\"{}\"]\n[kafka.properties]\n\"security.protocol\" = \"sasl_ssl\"\n\
         \"ssl.ca.location\" = \"{}\"\n\"sasl.mechanism\" = \"SCRAM-SHA-512\"\n\"sasl.username\" = \"{}\"\n\
         \"sasl.password\" = \"{}\"\n",
        broker.value("KAFKA_SASL_SSL"),
        broker.certificate("ca.pem"),
        broker.value("KAFKA_OUTSIDER"),
        broker.value("KAFKA_PASSWORD"),
    );
    let [payments, logins] = ["payments", "logins"].map(|name| broker.topic(name, 1, &[]));
    let output = outputs(&broker);
    let printed = check(&broker, &kafka, &payments, &logins, &output);
    assert_eq!(printed.code, Some(1), "{}", printed.text);
    assert!(printed.text.contains("allow the job's user to read and describe the topic"), "{}", printed.text);
    assert!(!printed.text.contains(broker.value("KAFKA_PASSWORD")));
}
