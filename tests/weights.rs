//! Weights of rules that change while a job runs.

use std::os::unix::fs::symlink;

use serde_json::{Value, json};

use crate::job::{Bench, rule, signal, stop};

/// A tenth of the amount is what an event has in points.
fn sized() -> String {
    let sized = rule("sized", "live", 1, "-- @action: allow\n", "SELECT tx_id, amount FROM payments");
    sized.replace("@score: 1", "@score: {amount} * 0.1")
}

fn weights(each: &str) -> String {
    format!(
        "schema = \"tollgate.weights/1\"\ncap = 1000\nbias = -3.0\nreview = 300\nblock = 700\n[weights]\nsized = {each}\n"
    )
}

/// The score of 300.00 by the formula of the README.
fn score(each: f64) -> i64 {
    #[expect(clippy::cast_possible_truncation, reason = "0 to 1000")]
    let score = (1000.0 / (1.0 + (3.0 - each * 30.0).exp())).round() as i64;
    score
}

/// A job that decides by the weights of a file, and keeps an audit.
fn bench(file: &str, audit: &str) -> Bench {
    let more = format!("[decisions]\nmethod = \"logistic\"\nweights = \"{file}\"\n");
    let bench = Bench::new(&[("a.sql", sized())], &more);
    bench.set("[http]", &format!("audit = \"{audit}\"\n[http]"));
    bench
}

/// Payments of 300.00, over both partitions.
fn pay(bench: &Bench, range: std::ops::Range<usize>) {
    for index in range {
        let at = format!("2026-11-22T10:00:{index:02}Z");
        bench.pay(&format!("t{index}"), &at, &format!("c{}", index % 2), "300.00");
    }
    bench.flush();
}

fn scores(bench: &Bench, file: &str) -> Vec<(String, i64)> {
    let told = |decision: Value| {
        let id = decision["event_id"].as_str().unwrap_or_default().to_owned();
        (id, decision["score"].as_i64().unwrap_or(-1))
    };
    let mut scores: Vec<_> = bench.lines(file).into_iter().map(told).collect();
    scores.sort_by_key(|(id, _)| id[1..].parse::<usize>().unwrap_or_default());
    scores
}

/// Puts weights where a ConfigMap would: behind a link to a link, the second of which is turned.
fn turn(bench: &Bench, version: &str, text: &str) {
    bench.scratch.write(&format!("config/..{version}/weights.toml"), text);
    symlink(format!("..{version}"), bench.path("config/..next")).expect("a link");
    std::fs::rename(bench.path("config/..next"), bench.path("config/..data")).expect("the link is turned");
}

#[test]
fn changed_weights_decide_from_the_next_batch_on_and_broken_ones_never() {
    let bench = bench("config/weights.toml", "file:audit.ndjson");
    turn(&bench, "v1", &weights("0.1"));
    symlink("..data/weights.toml", bench.path("config/weights.toml")).expect("a link");
    let job = bench.start();
    pay(&bench, 0..8);
    bench.wait_until("8 decisions", || bench.lines("decisions.ndjson").len() >= 8);
    turn(&bench, "v2", &weights("0.05"));
    bench.wait_until("the change", || bench.log().contains("changed rules are in force"));
    pay(&bench, 8..16);
    bench.wait_until("16 decisions", || bench.lines("decisions.ndjson").len() >= 16);
    turn(&bench, "v3", &weights("0.2").replace("block = 700", "block = 7"));
    let refused = |times: usize| bench.log().matches("the rules in force stay").count() == times;
    bench.wait_until("the refusal", || refused(1));
    signal(&job, "-HUP");
    bench.wait_until("the same again", || refused(2));
    pay(&bench, 16..24);
    bench.wait_until("24 decisions", || bench.lines("decisions.ndjson").len() >= 24);
    // Rules are not compiled anew for weights alone.
    assert_eq!(bench.log().matches("the rules folder is read again").count(), 1, "{}", bench.log());
    turn(&bench, "v4", &weights("0.2"));
    bench.wait_until("the next", || bench.log().matches("changed rules are in force").count() == 2);
    assert_eq!(stop(job), Some(0));
    // A restart decides by what was in force at the end.
    let job = bench.start();
    pay(&bench, 24..32);
    bench.wait_until("32 decisions", || bench.lines("decisions.ndjson").len() >= 32);
    assert_eq!(stop(job), Some(0));

    let by = |range: std::ops::Range<usize>, each: f64| {
        range.map(|index| (format!("t{index}"), score(each))).collect::<Vec<_>>()
    };
    assert_eq!(
        scores(&bench, "decisions.ndjson"),
        [by(0..8, 0.1), by(8..24, 0.05), by(24..32, 0.2)].concat(),
        "nothing is lost, nothing twice"
    );
    let audit = bench.lines("audit.ndjson");
    let told: Vec<&str> = audit.iter().filter_map(|event| event["what"].as_str()).collect();
    let refusals = ["reload_refused"; 2];
    assert_eq!(told[..2], ["started", "reloaded"]);
    assert_eq!(told[2..4], refusals);
    assert_eq!(told[4..], ["reloaded", "stopped", "started", "stopped"]);
    assert!(
        audit[2]["reason"]
            .as_str()
            .is_some_and(|reason| reason.contains("`review` (300) is more than `block` (7)"))
    );
    let versions = |event: &Value| {
        let text = event["to"].as_str().expect("a version");
        let (rules, weights) = text.split_once('+').expect("of rules and weights");
        (rules.to_owned(), weights.to_owned())
    };
    let [first, second, third] = [0, 1, 4].map(|at| versions(&audit[at]));
    assert_eq!((&first.0, &second.0), (&second.0, &third.0), "the rules are the same");
    assert_eq!(audit[1]["windows_filled"], json!(false));
    assert_eq!(
        audit[1]["rules"],
        json!({"added": [], "changed": [], "removed": [], "weights": {"from": first.1, "to": second.1}})
    );
    assert_eq!(audit[4]["rules"]["weights"], json!({"from": second.1, "to": third.1}));
    assert_eq!(audit[6]["to"], audit[4]["to"], "what the restart decides by");
}

#[test]
fn instances_agree_on_changed_weights_before_one_of_them_decides_by_them() {
    let bench = bench("weights.toml", "audit");
    let settings = std::fs::read_to_string(bench.path("tollgate.toml")).expect("settings");
    let settings = settings.replace("[kafka]\n", "instances = 2\n[kafka]\n");
    let schema = std::fs::read_to_string(bench.path("rules/schema.sql")).expect("the contract");
    let files = [
        ("tollgate.toml", settings),
        ("rules/schema.sql", schema),
        ("rules/a.sql", sized()),
        ("weights.toml", weights("0.1")),
    ];
    for (file, text) in &files {
        bench.scratch.write(file, text);
        bench.scratch.write(&format!("other/{file}"), text);
    }
    let one = bench.start_as("tollgate.toml", "one");
    bench.wait_until("the first", || bench.log().contains("windows are filled"));
    let two = bench.start_as("other/tollgate.toml", "two");
    let other_log = || std::fs::read_to_string(bench.path("other/job.log")).unwrap_or_default();
    let shares = |log: String| {
        log.lines()
            .rfind(|line| line.contains("partitions assigned"))
            .is_some_and(|line| line.contains("partitions=1"))
    };
    bench.wait_until("a partition each", || shares(bench.log()) && shares(other_log()));
    let decided = || ["decisions.ndjson", "other/decisions.ndjson"].map(|file| bench.lines(file).len());
    pay(&bench, 0..8);
    bench.wait_until("8 decisions", || decided() == [4, 4]);

    bench.scratch.write("weights.toml", &weights("0.05"));
    bench.wait_until("one to be ready", || bench.log().contains("wait until these instances are"));
    pay(&bench, 8..16);
    bench.wait_until("16 decisions", || decided() == [8, 8]);
    bench.scratch.write("other/weights.toml", &weights("0.05"));
    let both = || [bench.log(), other_log()].iter().all(|log| log.contains("changed rules are in force"));
    bench.wait_until("both", both);
    pay(&bench, 16..24);
    bench.wait_until("24 decisions", || decided() == [12, 12]);
    assert_eq!([stop(one), stop(two)], [Some(0), Some(0)]);
    for file in ["decisions.ndjson", "other/decisions.ndjson"] {
        let own: Vec<i64> = scores(&bench, file).into_iter().map(|(_, score)| score).collect();
        assert_eq!(own, [[score(0.1); 8].as_slice(), &[score(0.05); 4]].concat(), "{file}");
    }
}
