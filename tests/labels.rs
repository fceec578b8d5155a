//! Labels that come after their events: what each rule got right, and windows over what was known.

use std::io::{Read, Write};

use serde_json::{Value, json};

use crate::job::{Bench, rule, stop};
use crate::scratch::Scratch;

pub(crate) const CONTRACT: &str = "\
CREATE TABLE payments (
    tx_id VARCHAR NOT NULL, event_time TIMESTAMP NOT NULL, card_id VARCHAR NOT NULL,
    amount DECIMAL(12, 2) NOT NULL, PRIMARY KEY (tx_id)
);
-- @event_time: known_at
CREATE TABLE labels (event_id VARCHAR NOT NULL, known_at TIMESTAMP NOT NULL, fraud BOOLEAN NOT NULL);
";

/// A number that the job serves.
pub(crate) fn metric(address: &str, name: &str) -> Option<f64> {
    let mut served = String::new();
    let mut socket = std::net::TcpStream::connect(address).ok()?;
    socket.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").ok()?;
    socket.read_to_string(&mut served).ok()?;
    let line = served.lines().find(|line| line.starts_with(name))?;
    line.rsplit(' ').next()?.parse().ok()
}

/// A job that takes labels from the topic `audit`, and the address where it serves its metrics.
fn with_labels(rules: &[(&str, String)], contract: &str, more: &str) -> (Bench, String) {
    let bench = Bench::new(rules, &format!("[labels]\nstream = \"labels\"\n{more}"));
    bench.scratch.write("rules/schema.sql", contract);
    let address = format!("127.0.0.1:{}", free_port());
    bench.set("listen = \"off\"", &format!("listen = \"{address}\""));
    bench.set("[output]", "[streams.labels]\ntopics = [\"audit\"]\nstart = \"earliest\"\n[output]");
    (bench, address)
}

#[test]
fn a_label_of_an_event_with_a_composite_key_names_all_of_its_columns() {
    let contract = CONTRACT
        .replace("PRIMARY KEY (tx_id)", "PRIMARY KEY (card_id, tx_id)")
        .replace("event_id VARCHAR NOT NULL,", "card VARCHAR, tx VARCHAR,");
    let rules = [("a.sql", rule("a", "live", 10, "", "SELECT tx_id, card_id, amount FROM payments"))];
    let (bench, address) = with_labels(&rules, &contract, "event_id = [\"card\", \"tx\"]\n");
    let job = bench.start();
    for (tx, card) in [("t1", "c1"), ("t1", "c2"), ("t2", "c1")] {
        bench.pay(tx, "2026-11-22T10:00:00Z", card, "10.00");
    }
    bench.flush();
    bench.wait_until("3 decisions", || bench.lines("decisions.ndjson").len() >= 3);
    let label = |card: Value, tx: &str, fraud: bool| {
        let value = json!({"card": card, "tx": tx, "known_at": "2026-11-23T00:00:00Z", "fraud": fraud});
        bench.send("audit", &value.to_string());
    };
    let wait = |name: &str, expected: f64| {
        bench.wait_until(&format!("{name} {expected}"), || metric(&address, name) == Some(expected));
    };
    label(json!("c1"), "t1", true);
    label(json!("c2"), "t1", false);
    label(json!("c2"), "t2", true);
    label(Value::Null, "t2", true);
    bench.flush();
    wait("tollgate_labelled_events{label=\"fraud\"}", 2.0);
    wait("tollgate_rule_precision_ratio", 0.5);
    wait("tollgate_rule_recall_ratio", 0.5);
    assert_eq!(stop(job), Some(0), "{}", bench.log());
    // The next start knows the hit from the alert that was sent. The broker inside the process finds no offset by
    // time, so that labels of before are not read again.
    let job = bench.start();
    label(json!("c1"), "t2", true);
    bench.flush();
    wait("tollgate_labelled_events{label=\"fraud\"}", 1.0);
    wait("tollgate_rule_precision_ratio", 1.0);
    assert_eq!(stop(job), Some(0), "{}", bench.log());
}

#[test]
fn a_rule_in_shadow_and_a_live_one_are_judged_as_labels_come_and_after_a_restart() {
    let query = |least: u32| format!("SELECT tx_id, card_id, amount FROM payments WHERE amount >= {least}");
    let rules = [
        ("a.sql", rule("a", "live", 10, "", &query(50))),
        ("b.sql", rule("b", "shadow", 10, "", &query(80))),
    ];
    let (bench, address) = with_labels(&rules, CONTRACT, "");
    let job = bench.start();
    // 10 to 100: a hits t5 to t10, b hits t8 to t10.
    for index in 1..=10 {
        let at = format!("2026-11-22T10:00:{index:02}Z");
        bench.pay(&format!("t{index}"), &at, "c1", &format!("{index}0.00"));
    }
    bench.flush();
    bench.wait_until("10 decisions", || bench.lines("decisions.ndjson").len() >= 10);
    let label = |index: usize, fraud: bool| {
        let value =
            json!({"event_id": format!("t{index}"), "known_at": "2026-11-23T00:00:00Z", "fraud": fraud});
        bench.send("audit", &value.to_string());
    };
    for (index, fraud) in [(4, true), (6, true), (7, false), (9, true), (10, false)] {
        label(index, fraud);
    }
    bench.flush();
    let wait = |name: &str, expected: f64| {
        bench.wait_until(&format!("{name} {expected}"), || metric(&address, name) == Some(expected));
    };
    let quality = |rule: &str, status: &str, what: &str| {
        format!("tollgate_rule_{what}_ratio{{rule=\"{rule}\",status=\"{status}\"}}")
    };
    wait(&quality("a", "live", "precision"), 0.5);
    wait(&quality("a", "live", "recall"), 2.0 / 3.0);
    wait(&quality("b", "shadow", "precision"), 0.5);
    wait(&quality("b", "shadow", "recall"), 1.0 / 3.0);
    wait("tollgate_labelled_events{label=\"fraud\"}", 3.0);
    // A label is corrected.
    label(10, true);
    bench.flush();
    wait(&quality("b", "shadow", "precision"), 1.0);
    assert_eq!(stop(job), Some(0), "{}", bench.log());
    assert_eq!(bench.lines("alerts.ndjson").len(), 6, "a label is no event of these rules");
    assert_eq!(bench.lines("decisions.ndjson").len(), 10, "one for each payment and none for a label");
    // The next start knows from the alerts that were sent what each rule had hit.
    let job = bench.start();
    label(8, true);
    label(5, false);
    bench.flush();
    wait(&quality("a", "live", "precision"), 0.5);
    wait(&quality("b", "shadow", "precision"), 1.0);
    wait(&quality("b", "shadow", "recall"), 1.0);
    assert_eq!(stop(job), Some(0), "{}", bench.log());
}

pub(crate) fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("an address").port()
}

#[test]
fn what_labels_name_and_the_contract_lacks_is_said_with_what_there_is() {
    for (key, words) in [
        ("stream = \"labls\"", "did you mean labels?"),
        ("stream = \"labels\"\nevent_id = \"tx_id\"", "stream labels has no column tx_id"),
        ("stream = \"labels\"\nfraud = \"event_id\"", "name a BOOLEAN column"),
        ("stream = \"labels\"\nevent_id = []", "event_id"),
        ("stream = \"labels\"\nevent_id = [\"event_id\", \"tx\"]", "stream labels has no column tx"),
        ("stream = \"labels\"\nevent_id = [\"event_id\", \"fraud\"]", "event_id = [\"tx_id\"]"),
    ] {
        let bench = Bench::new(
            &[("a.sql", rule("a", "live", 10, "", "SELECT tx_id, amount FROM payments"))],
            &format!("[labels]\n{key}\n"),
        );
        bench.scratch.write("rules/schema.sql", CONTRACT);
        let printed = bench.scratch.shell("tollgate run --config tollgate.toml");
        assert_eq!(printed.code, Some(2), "{}", printed.text);
        assert!(printed.text.contains(words), "{}", printed.text);
    }
}

/// A terminal's known frauds: payments and their labels in one view, each at the moment at which it was known.
#[test]
fn a_window_over_labels_sees_a_fraud_from_the_moment_at_which_it_was_known() {
    let scratch = Scratch::new();
    scratch.write(
        "rules/schema.sql",
        "CREATE TABLE payments (tx_id VARCHAR NOT NULL, event_time TIMESTAMP NOT NULL, terminal_id VARCHAR NOT NULL, PRIMARY KEY (tx_id));
         -- @event_time: known_at
         CREATE TABLE labels (event_id VARCHAR NOT NULL, known_at TIMESTAMP NOT NULL, terminal_id VARCHAR NOT NULL, fraud BOOLEAN NOT NULL);",
    );
    scratch.write(
        "rules/views/terminal_events.sql",
        "CREATE VIEW terminal_events AS
         SELECT event_time, terminal_id, tx_id, false AS known_fraud FROM payments
         UNION ALL SELECT known_at, terminal_id, event_id, fraud FROM labels",
    );
    scratch.write(
        "rules/terminal.sql",
        "-- @id: terminal\n-- @title: t\n-- @status: live\n-- @severity: low\n-- @score: 1\n-- @reason: \"{frauds}\"\n-- @owner: o
         SELECT tx_id, known_fraud, count(*) FILTER (WHERE known_fraud) OVER w AS frauds FROM terminal_events
         WINDOW w AS (PARTITION BY terminal_id ORDER BY event_time RANGE BETWEEN INTERVAL '28 days' PRECEDING AND CURRENT ROW)
         QUALIFY NOT known_fraud",
    );
    let line = |value: Value| format!("{value}\n");
    let payment = |tx: &str, at: &str| line(json!({"tx_id": tx, "event_time": at, "terminal_id": "x"}));
    scratch.write(
        "payments.ndjson",
        &[
            payment("t1", "2026-11-01T10:00:00Z"),
            payment("t2", "2026-11-08T09:59:59Z"),
            payment("t3", "2026-11-08T10:00:01Z"),
            payment("t4", "2026-12-06T10:00:01Z"),
        ]
        .concat(),
    );
    // t1 was fraud, and that is known seven days later.
    let label =
        json!({"event_id": "t1", "known_at": "2026-11-08T10:00:00Z", "terminal_id": "x", "fraud": true});
    scratch.write("labels.ndjson", &line(label));
    for emit in ["on_arrival", "in_order"] {
        let printed = scratch.shell(&format!(
            "tollgate replay --rules rules --input payments.ndjson labels.ndjson --emit {emit} --output - 2> /dev/null"
        ));
        let frauds: Vec<(Value, Value)> = printed
            .text
            .lines()
            .map(|line| {
                serde_json::from_str::<Value>(line)
                    .unwrap_or_else(|error| panic!("{error}: {}", printed.text))
            })
            .map(|hit| (hit["row"]["tx_id"].clone(), hit["row"]["frauds"].clone()))
            .collect();
        let expected = [("t1", 0), ("t2", 0), ("t3", 1), ("t4", 0)].map(|(tx, n)| (json!(tx), json!(n)));
        assert_eq!(frauds, expected, "{emit}");
    }
}

/// Two payments files and accounts in between, each with a record that can't be read.
#[test]
fn answers_over_several_files_do_not_depend_on_how_many_rows_are_read_at_once() {
    let scratch = Scratch::new();
    scratch.write(
        "rules/schema.sql",
        "CREATE TABLE payments (tx_id VARCHAR NOT NULL, event_time TIMESTAMP NOT NULL, card VARCHAR NOT NULL, PRIMARY KEY (tx_id));
         CREATE TABLE logins (login_id VARCHAR NOT NULL, event_time TIMESTAMP NOT NULL, card VARCHAR NOT NULL, PRIMARY KEY (login_id));",
    );
    scratch.write(
        "rules/views/activity.sql",
        "CREATE VIEW activity AS SELECT event_time, card, tx_id AS id FROM payments
         UNION ALL SELECT event_time, card, login_id FROM logins",
    );
    scratch.write(
        "rules/busy.sql",
        "-- @id: busy\n-- @title: t\n-- @status: live\n-- @severity: low\n-- @score: 1\n-- @reason: \"{n}\"\n-- @owner: o
         SELECT id, count(*) OVER w AS n, lag(id) OVER w AS before FROM activity
         WINDOW w AS (PARTITION BY card ORDER BY event_time RANGE BETWEEN INTERVAL '9 seconds' PRECEDING AND CURRENT ROW)",
    );
    // Times are equal across files, go back within the logins, and end at different moments.
    let seconds = |count: usize, step: usize, of: usize| (0..count).map(move |row| row * step % of);
    let files = [("payments", "tx_id", "a"), ("payments", "tx_id", "b"), ("logins", "login_id", "l")];
    let mut inputs = String::new();
    for ((stream, id, file), times) in
        files.into_iter().zip([seconds(30, 2, 60), seconds(15, 3, 60), seconds(40, 7, 50)])
    {
        let mut lines = String::from("{\n");
        for (row, second) in times.enumerate() {
            let at = format!("2026-11-01T10:00:{second:02}Z");
            lines += &format!("{}\n", json!({id: format!("{file}{row}"), "event_time": at, "card": "c"}));
        }
        scratch.write(&format!("{file}.ndjson"), &lines);
        inputs += &format!(" {stream}={file}.ndjson");
    }
    for emit in ["on_arrival", "in_order"] {
        let run = |batch_rows: u32| {
            let line = format!(
                "tollgate replay --rules rules --emit {emit} --lateness 20s --batch-rows {batch_rows} --output hits.ndjson \
                 --format json --input{inputs}"
            );
            let summary: Value = serde_json::from_str(&scratch.shell(&line).text).expect("a summary");
            let hits = std::fs::read_to_string(scratch.path("hits.ndjson")).expect("hits");
            (summary["counts"].clone(), summary["balanced"].clone(), hits)
        };
        let (counts, balanced, hits) = run(1);
        assert_eq!((&counts["dead_letters"], &balanced), (&json!(3), &json!(true)), "{emit}: {counts}");
        assert_eq!(hits.lines().count(), 85, "{emit}");
        for batch_rows in [2, 7, 8192] {
            assert_eq!(
                run(batch_rows),
                (counts.clone(), balanced.clone(), hits.clone()),
                "{emit}, {batch_rows}"
            );
        }
    }
}
