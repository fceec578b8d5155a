//! A model's prediction as points, and weights that are fitted to labels, all the way to decisions.

use std::fmt::Write as _;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;
use tempfile::TempDir;

const SCHEMA: &str = "CREATE TABLE payments (tx_id BIGINT NOT NULL, event_time TIMESTAMP WITH TIME ZONE NOT NULL, card_id VARCHAR NOT NULL, \
     amount DOUBLE, fraud BOOLEAN, PRIMARY KEY (tx_id));\n";

fn rule(id: &str, score: &str, query: &str) -> String {
    format!(
        "-- @id: {id}\n-- @title: {id}\n-- @status: live\n-- @severity: low\n-- @score: {score}\n-- @reason: \"{id}\"\n\
         -- @owner: team\n{query}\n"
    )
}

/// A folder of rules; `small` hits every other event, and `sized` the larger ones with points by their amount.
fn folder() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let sized = "SELECT tx_id, card_id, amount / 1000 AS risk FROM payments WHERE amount > 100";
    let files = [
        ("schema.sql", SCHEMA.to_owned()),
        ("small.sql", rule("small", "60", "SELECT tx_id, card_id FROM payments WHERE tx_id % 2 = 0")),
        ("sized.sql", rule("sized", "{risk} * 100", sized)),
    ];
    for (name, text) in files {
        std::fs::write(folder.path().join(name), text).unwrap();
    }
    let mut events = String::new();
    for id in 0..200_u32 {
        let amount = id * 37 % 1000;
        let fraud = amount > 700 && id % 3 != 0 || id % 20 == 0 && amount > 100;
        let (minute, second) = (id / 60, id % 60);
        let _ = writeln!(
            events,
            r#"{{"tx_id": {id}, "event_time": "2026-03-01T10:{minute:02}:{second:02}Z", "card_id": "c{}", "amount": {amount}.0, "fraud": {fraud}}}"#,
            id % 9
        );
    }
    std::fs::write(folder.path().join("events.ndjson"), events).unwrap();
    folder
}

fn backtest(folder: &Path, more: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tollgate"));
    command.current_dir(folder).args(["backtest", "--rules", ".", "--input", "events.ndjson"]);
    command.args(["--label-column", "fraud", "--format", "json", "--one-order"]).args(more).output().unwrap()
}

fn report(folder: &Path, more: &[&str]) -> Value {
    let output = backtest(folder, more);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn points_that_a_column_says_are_those_of_each_hit() {
    let folder = folder();
    let found = report(folder.path(), &["--only", "sized", "--output", "alerts.ndjson"]);
    assert_eq!(found["rules"][0]["points"], "{risk} * 100");
    let alerts = std::fs::read_to_string(folder.path().join("alerts.ndjson")).unwrap();
    let mut told = 0;
    for line in alerts.lines() {
        let alert: Value = serde_json::from_str(line).unwrap();
        let id = alert["event_id"].as_str().unwrap().parse::<u32>().unwrap();
        let points = (f64::from(id * 37 % 1000) / 1000.0 * 100.0).round();
        assert_eq!(alert["points"].as_f64().unwrap(), points, "{alert}");
        told += 1;
    }
    assert_eq!(told, found["rules"][0]["alerts"].as_u64().unwrap());
    let curve = found["sets"][0]["curve"].as_array().unwrap();
    assert!(curve.len() > 40, "a threshold for each number of points, not {}", curve.len());
    assert!(curve.iter().is_sorted_by(|a, b| a["threshold"].as_u64() > b["threshold"].as_u64()));
}

#[test]
fn a_rule_that_takes_points_from_a_column_is_judged_by_them_alone_as_in_a_set() {
    let folder = folder();
    let all = rule("all", "{risk} * 100", "SELECT tx_id, card_id, amount / 1000 AS risk FROM payments");
    std::fs::write(folder.path().join("all.sql"), all).unwrap();
    let sweep = ["--only", "sized", "--sweep", "sized:amount=100..200/100"];
    for (of, more) in [("all", ["--only", "all"].as_slice()), ("sized", sweep.as_slice())] {
        let found = report(folder.path(), more);
        let (rule, set) = (&found["rules"][0], &found["sets"][0]);
        for figure in ["average_precision", "auc_roc"] {
            assert_eq!(rule[figure], set[figure], "{figure} of {of}");
        }
        assert!(rule["auc_roc"].as_f64().unwrap() > 0.6, "{of}: {}", rule["auc_roc"]);
        if let Some(points) = found["sweeps"][0]["points"].as_array() {
            assert_eq!((&points[0]["current"], &points[0]["auc_roc"]), (&true.into(), &rule["auc_roc"]));
        }
    }
}

#[test]
fn all_together_and_thresholds_are_of_the_rules_that_a_job_decides_by() {
    let folder = folder();
    let status = |id: &str, status: &str| {
        let path = folder.path().join(format!("{id}.sql"));
        let text = std::fs::read_to_string(&path).unwrap();
        let old = text.lines().find(|line| line.contains("@status")).unwrap().to_owned();
        std::fs::write(&path, text.replace(&old, &format!("-- @status: {status}"))).unwrap();
    };
    let goal = ["--review-at", "events=60/d"];
    let live = report(folder.path(), &[&["--only", "sized"], goal.as_slice()].concat());
    status("small", "shadow");
    let mixed = report(folder.path(), &goal);
    assert_eq!(mixed["sets"][0], live["sets"][0]);
    assert_eq!(mixed["thresholds"], live["thresholds"]);
    assert_eq!(mixed["sets"][1]["name"], "with shadow");
    assert_eq!(mixed["sets"][1]["rules"], serde_json::json!(["sized", "small"]));
    let table = |more: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tollgate"));
        command.current_dir(folder.path()).args(["backtest", "--rules", ".", "--input", "events.ndjson"]);
        let output = command.args(more).output().unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let told = table(&[]);
    assert!(told.contains("= with shadow") && told.contains("counts small (shadow) as well"), "{told}");
    // Those that are named count, and so do all where none is live; that no job would is said.
    let named = report(folder.path(), &["--only", "sized,small"]);
    assert_eq!(named["sets"][0]["rules"], serde_json::json!(["sized", "small"]));
    status("sized", "draft");
    let told = table(&["--drafts"]);
    assert!(told.contains("sized (draft), small (shadow)") && !told.contains("= with"), "{told}");
}

#[test]
fn a_score_ends_at_the_same_cap_in_a_backtest_and_in_a_job() {
    let settings = "[job]\nname = 'fraud'\n[streams.payments]\ntopics = ['payments']";
    let surroundings = tollgate::settings::Surroundings::bare(".");
    let inspect = tollgate::settings::Purpose::Inspect;
    let loaded =
        tollgate::settings::Settings::parse("tollgate.toml", settings, &surroundings, inspect).unwrap();
    let folder = folder();
    let most =
        |more: &[&str]| report(folder.path(), more)["sets"][0]["curve"][0]["threshold"].as_i64().unwrap();
    assert_eq!(most(&[]), loaded.settings.decisions.cap, "60 and up to 100 points add up to more");
    assert!(most(&["--cap", "1000"]) > 100);
    let path = folder.path().join("sized.sql");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(path, text.replace("{risk} * 100", "{risk} * 1000")).unwrap();
    let said = String::from_utf8_lossy(&backtest(folder.path(), &[]).stderr).into_owned();
    assert!(said.contains("sized gives up to 999 points and no score is above 100"), "{said}");
}

#[test]
fn fitted_weights_rank_events_as_the_report_says_they_do_on_another_run() {
    let folder = folder();
    let goals = ["--review-at", "events=40/d", "--block-at", "precision=0.7"];
    let fitted = report(folder.path(), &[&["--fit", "weights.toml"], goals.as_slice()].concat());
    let again = report(folder.path(), &[&["--weights", "weights.toml"], goals.as_slice()].concat());
    assert_eq!(fitted["sets"], again["sets"]);
    assert_eq!(fitted["thresholds"], again["thresholds"]);
    let sums = report(folder.path(), &goals);
    let precision = |report: &Value| report["sets"][0]["average_precision"].as_f64().unwrap();
    assert!(
        precision(&fitted) > precision(&sums) + 0.02,
        "{} after {}",
        precision(&fitted),
        precision(&sums)
    );
    let [review, block] = [0, 1].map(|at| fitted["thresholds"][at]["point"].clone());
    assert!(review["flagged"].as_u64().unwrap() <= 40 && block["precision"].as_f64().unwrap() >= 0.7);
    let file = std::fs::read_to_string(folder.path().join("weights.toml")).unwrap();
    for line in [format!("review = {}", review["threshold"]), format!("block = {}", block["threshold"])] {
        assert!(file.lines().any(|own| own == line), "{line} is not in {file}");
    }
}

#[test]
fn what_can_not_be_fitted_or_used_is_said() {
    let folder = folder();
    let said = |more: &[&str]| {
        let output = backtest(folder.path(), more);
        (output.status.code().unwrap(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (code, text) = said(&["--fit", "w.toml", "--until", "2026-03-01T10:00:01Z"]);
    assert!(code == 1 && text.contains("there are 0 frauds among 1"), "{code}: {text}");
    let (code, text) = said(&["--weights", "none.toml"]);
    assert!(code == 2 && text.contains("none.toml can't be read"), "{code}: {text}");
    std::fs::write(folder.path().join("bad.toml"), "schema = \"tollgate.weights/1\"\nbias = 1\n").unwrap();
    let (code, text) = said(&["--weights", "bad.toml"]);
    assert!(code == 2 && text.contains("missing field"), "{code}: {text}");
    let (code, text) = said(&["--review-at", "precision=3"]);
    assert!(code == 2 && text.contains("write precision=0.9, or events=50/d"), "{code}: {text}");
    let unsound = rule("named", "{card_id}", "SELECT tx_id, card_id FROM payments");
    std::fs::write(folder.path().join("named.sql"), unsound).unwrap();
    let (code, text) = said(&[]);
    assert!(
        code == 1 && text.contains("takes its points from card_id, which is no number"),
        "{code}: {text}"
    );
}
