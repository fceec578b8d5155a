//! Models in a rules folder: called from SQL, refused where they don't fit, part of a rule's version.

use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;
use tollgate::rules::{AnswerOrder, Emit, RuleFiles, RuleSet};

const SCHEMA: &str = "CREATE TABLE payments (tx VARCHAR NOT NULL, event_time TIMESTAMP NOT NULL, amount DOUBLE, \
                      age_days DOUBLE, count_1h BIGINT, kind INTEGER, note VARCHAR, PRIMARY KEY (tx));";

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/models/fixtures").join(name)
}

fn folder(rules: &[(&str, &str)], models: &[(&str, &str)]) -> TempDir {
    let folder = TempDir::new().unwrap();
    std::fs::write(folder.path().join("schema.sql"), SCHEMA).unwrap();
    std::fs::create_dir(folder.path().join("models")).unwrap();
    for (from, to) in models {
        std::fs::copy(fixture(from), folder.path().join("models").join(to)).unwrap();
    }
    for (name, text) in rules {
        let header = format!(
            "-- @id: {name}\n-- @title: {name}\n-- @status: live\n-- @severity: low\n-- @score: 1\n-- @reason: \"scored\"\n-- @owner: team\n"
        );
        std::fs::write(folder.path().join(format!("{name}.sql")), header + text).unwrap();
    }
    folder
}

/// The rows of the fixtures as events.
fn events() -> String {
    let rows = std::fs::read_to_string(fixture("rows.csv")).unwrap();
    let names = ["amount", "age_days", "count_1h", "kind"];
    let mut events = String::new();
    for (row, line) in rows.lines().enumerate() {
        let mut event = serde_json::json!({"tx": row.to_string(), "event_time": "2026-01-01T00:00:00Z"});
        for (name, value) in names.iter().zip(line.split(',')) {
            let Ok(number) = value.parse::<f64>() else { continue };
            let whole = ["count_1h", "kind"].contains(name);
            #[expect(clippy::cast_possible_truncation, reason = "small whole numbers")]
            let value = if whole { serde_json::json!(number as i64) } else { serde_json::json!(number) };
            event[*name] = value;
        }
        events += &format!("{event}\n");
    }
    events
}

#[test]
fn an_alert_says_what_moved_the_model_and_it_adds_up_to_the_score() {
    let rule = "SELECT tx, score FROM (SELECT tx, predict('risk', amount, age_days, count_1h, kind) AS score FROM payments) \
                WHERE score > 0.05";
    let folder = folder(&[("scores", rule)], &[("xgb_logistic.json", "risk.json")]);
    let input = folder.path().join("events.ndjson");
    std::fs::write(&input, events()).unwrap();
    let mut told = 0;
    for row in 0..20 {
        let output = Command::new(env!("CARGO_BIN_EXE_tollgate"))
            .args(["why", "--format", "json", "--rule", "scores", "--event", &row.to_string(), "--rules"])
            .arg(folder.path())
            .arg("--input")
            .arg(&input)
            .output()
            .unwrap();
        let why: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        let Some(alert) = why["alerts"].as_array().unwrap().first() else { continue };
        let said = &alert["models"]["risk"];
        assert_eq!(said["score"], alert["values"]["score"], "{alert:#}");
        let parts = said["contributions"].as_array().unwrap();
        let number = |value: &serde_json::Value| value.as_f64().unwrap();
        let sizes: Vec<f64> = parts.iter().map(|part| number(&part["contribution"]).abs()).collect();
        assert!(sizes.is_sorted_by(|a, b| a >= b), "{sizes:?}");
        assert!(parts.iter().any(|part| part["feature"] == "amount"), "{parts:?}");
        let sum: f64 = parts.iter().map(|part| number(&part["contribution"])).sum();
        let sum = sum + number(&said["bias"]) + number(&said["other"]);
        let score = number(&said["score"]);
        assert!(((score / (1.0 - score)).ln() - sum).abs() < 1e-5, "row {row}: {said:#}");
        told += 1;
    }
    assert!(told >= 3, "{told} alerts");
}

/// What a backtest of the folder over some events says.
fn backtest(folder: &TempDir, name: &str, events: &str, more: &[&str]) -> serde_json::Value {
    let input = folder.path().join(name);
    std::fs::write(&input, events).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_tollgate"));
    command.args(["backtest", "--format", "json", "--one-order", "--rules"]).arg(folder.path()).args(more);
    let output = command.arg("--input").arg(&input).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn compiled(folder: &TempDir) -> RuleSet {
    let files = RuleFiles::open(folder.path(), None).unwrap();
    RuleSet::compile(files, AnswerOrder::Default(Emit::OnArrival)).unwrap()
}

fn findings(query: &str) -> String {
    let folder =
        folder(&[("r", query)], &[("xgb_logistic.json", "risk.json"), ("lgb_multi.txt", "kinds.txt")]);
    let found = compiled(&folder).diagnostics;
    found.iter().map(|finding| format!("{} {:?}\n", finding.message, finding.help)).collect()
}

#[test]
fn a_call_that_does_not_fit_its_model_is_refused_with_a_way_out() {
    for (call, message) in [
        ("predict('rysk', amount, age_days, count_1h, kind)", "did you mean 'risk'?"),
        ("predict('risk', amount, age_days)", "takes 4 features and is given 2"),
        (
            "predict('risk', age_days, amount, count_1h, kind)",
            "age_days stands where model 'risk' has its feature amount",
        ),
        ("predict('risk', note, age_days, count_1h, kind)", "predict() can't take (VARCHAR, VARCHAR, DOUBLE"),
        ("predict('kinds', amount, age_days, count_1h, kind)", "tells 3 classes apart"),
        ("predict('kinds#3', amount, age_days, count_1h, kind)", "has the classes 0 to 2"),
        ("predict('risk#0', amount, age_days, count_1h, kind)", "has one value and no classes"),
        ("predict(note, amount, age_days, count_1h, kind)", "takes the name of a model as text"),
    ] {
        let found = findings(&format!("SELECT tx, {call} AS score FROM payments"));
        assert!(found.contains(message), "{call}: {found}");
    }
    let found =
        findings("SELECT tx, predict('risk', amount, age_days * 2, count_1h, kind) AS score FROM payments");
    assert_eq!(found, "");
}

#[test]
fn a_broken_model_stops_only_the_rules_that_use_it() {
    let rule = "SELECT tx, predict('risk', amount, age_days, count_1h, kind) AS score FROM payments";
    let folder = folder(&[("uses", rule), ("other", "SELECT tx FROM payments")], &[]);
    std::fs::write(folder.path().join("models/risk.json"), "{\"learner\": {}}").unwrap();
    let set = compiled(&folder);
    assert_eq!(set.running().map(|rule| rule.header.id.as_str()).collect::<Vec<_>>(), ["other"]);
    let about: Vec<bool> =
        set.diagnostics.iter().map(|finding| finding.source.file.ends_with("risk.json")).collect();
    assert!(about.contains(&true) && about.contains(&false), "{:?}", set.diagnostics);
}

#[test]
fn check_warns_of_a_model_with_more_trees_than_its_early_stopping_chose() {
    let rule = "SELECT tx, predict('risk', amount, age_days, count_1h, kind) AS score FROM payments";
    let folder =
        folder(&[("uses", rule)], &[("xgb_stopped.json", "risk.json"), ("xgb_logistic.json", "other.json")]);
    let run = |arguments: &[&str]| {
        let output =
            Command::new(env!("CARGO_BIN_EXE_tollgate")).args(arguments).arg(folder.path()).output().unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (code, said) = run(&["check"]);
    assert_eq!(code, Some(0), "{said}");
    for part in
        ["models/risk.json", "all of its 11 rounds of trees", "chose the first 7", "save `booster[:7]`"]
    {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert!(!said.contains("other.json"), "{said}");
    assert_eq!(run(&["check", "--fail-on", "early-stopping"]).0, Some(1));
    assert!(run(&["models", "--rules"]).1.contains("chose the first 7"));
}

#[test]
fn a_new_model_is_a_new_version_of_the_rules_that_use_it() {
    let rules = [
        ("uses", "SELECT tx, predict('risk', amount, age_days, count_1h, kind) AS score FROM payments"),
        ("other", "SELECT tx FROM payments"),
    ];
    let versions = |model: &str| {
        let set = compiled(&folder(&rules, &[(model, "risk.json")]));
        let version = |id: &str| set.running().find(|rule| rule.header.id == id).unwrap().version.clone();
        (version("uses"), version("other"))
    };
    let (before, after) = (versions("xgb_logistic.json"), versions("xgb_dart.json"));
    assert_ne!(before.0, after.0);
    assert_eq!(before.1, after.1);
    assert_eq!(before, versions("xgb_logistic.json"));
}

#[test]
fn a_rule_gives_the_numbers_of_the_library() {
    let folder = folder(
        &[("scores", "SELECT tx, predict('risk', amount, age_days, count_1h, kind) AS score FROM payments")],
        &[("xgb_logistic.json", "risk.json")],
    );
    let input = folder.path().join("payments.ndjson");
    std::fs::write(&input, events()).unwrap();
    let mut replay = Command::new(env!("CARGO_BIN_EXE_tollgate"));
    replay.arg("replay").arg("--rules").arg(folder.path()).arg("--input").arg(&input);
    let output = replay.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let expected = std::fs::read_to_string(fixture("xgb_logistic.csv")).unwrap();
    let expected: Vec<f64> = expected.lines().map(|line| line.parse().unwrap()).collect();
    let mut count = 0;
    for line in String::from_utf8(output.stdout).unwrap().lines() {
        let hit: serde_json::Value = serde_json::from_str(line).unwrap();
        let row: usize = hit["row"]["tx"].as_str().unwrap().parse().unwrap();
        let score = hit["row"]["score"].as_f64().unwrap();
        assert!((score - expected[row]).abs() <= 1e-6 * expected[row], "row {row}: {score}");
        count += 1;
    }
    assert_eq!(count, expected.len());
}

#[test]
fn a_model_is_asked_once_for_all_rules_and_only_about_rows_that_cheaper_conditions_let_through() {
    let scored = "(SELECT *, predict('risk', amount, age_days, count_1h, kind) AS score FROM payments)";
    let wide = format!("SELECT tx, score FROM {scored} WHERE score > 0.05 AND amount > 0");
    let narrow = format!("SELECT tx, score FROM {scored} WHERE amount > 0 AND score > 0.5");
    let spared = scored.replace("'risk'", "'spared'");
    let spared = format!("SELECT tx FROM {spared} WHERE CASE WHEN amount > 1 THEN score END > 0.2");
    let folder = folder(
        &[("wide", &wide), ("narrow", &narrow), ("spared", &spared)],
        &[("xgb_logistic.json", "risk.json"), ("xgb_dart.json", "spared.json")],
    );
    let report = backtest(&folder, "events.ndjson", &events(), &[]);
    let amounts: Vec<f64> = std::fs::read_to_string(fixture("rows.csv"))
        .unwrap()
        .lines()
        .filter_map(|line| line.split(',').next()?.parse().ok())
        .collect();
    let above = |least: f64| amounts.iter().filter(|amount| **amount > least).count();
    let asked: Vec<_> =
        report["models"].as_array().unwrap().iter().map(|model| model["rows"].clone()).collect();
    assert_eq!(asked, [above(0.0), above(1.0)], "{:#}", report["models"]);
    assert!(
        report["rules"].as_array().unwrap().iter().all(|rule| rule["hits"].as_u64() > Some(0)),
        "{report:#}"
    );
}

#[test]
fn a_backtest_says_how_far_a_model_has_moved_from_the_training_period_that_another_one_wrote() {
    let rule = "SELECT tx, predict('risk', amount, age_days, count_1h, kind) AS score FROM payments";
    let folder = folder(&[("scores", rule)], &[("xgb_logistic.json", "risk.json")]);
    // Each row of the fixtures forty times, so that one in sixteen of them is enough.
    let many = |amount: Option<f64>| {
        let mut events = String::new();
        for round in 0..40 {
            for line in self::events().lines() {
                let mut event: serde_json::Value = serde_json::from_str(line).unwrap();
                event["tx"] = format!("{}-{round}", event["tx"].as_str().unwrap()).into();
                if let Some(amount) = amount {
                    event["amount"] = amount.into();
                }
                events += &format!("{event}\n");
            }
        }
        events
    };
    let backtest = |name: &str, events: String, more: &[&str]| backtest(&folder, name, &events, more);
    let index = |report: &serde_json::Value, name: &str| {
        let moved = report["models"][0]["moved"].as_array().unwrap();
        moved.iter().find(|one| one["name"] == name).unwrap()["index"].as_f64().unwrap()
    };
    let trained = backtest("training.ndjson", many(None), &["--baseline"]);
    assert_eq!(trained["models"][0]["moved"], serde_json::Value::Null, "there was no baseline yet");
    let why = trained["models"][0]["not_compared"].as_str().unwrap();
    assert!(why.contains("it has no baseline, which `tollgate backtest --baseline` writes"), "{why}");
    let missing = trained["models"][0]["missing"].as_array().unwrap();
    assert!(missing.iter().any(|one| one[0] == "amount" && one[1].as_u64().unwrap() > 1_000), "{missing:?}");
    let same = backtest("same.ndjson", many(None), &[]);
    assert!(index(&same, "amount") < 0.05 && index(&same, "score") < 0.05, "{:#}", same["models"]);
    assert_eq!(same["models"][0]["not_compared"], serde_json::Value::Null);
    let page = folder.path().join("report.html");
    let few = backtest("few.ndjson", self::events(), &["--report", page.to_str().unwrap()]);
    let why = few["models"][0]["not_compared"].as_str().unwrap().to_owned();
    assert!(why.starts_with("it was asked about ") && few["models"][0]["moved"].is_null(), "{why}");
    assert!(std::fs::read_to_string(&page).unwrap().contains(&why), "the page tells of it");
    let shifted = backtest("shifted.ndjson", many(Some(3.0)), &["--report", page.to_str().unwrap()]);
    let page = std::fs::read_to_string(page).unwrap();
    assert!(page.contains("<h2>Model risk</h2>") && page.contains("<td>amount</td>"), "the page tells of it");
    assert!(index(&shifted, "amount") > 1.0 && index(&shifted, "kind") < 0.05, "{:#}", shifted["models"]);
    assert!(index(&shifted, "score") > 0.1, "{:#}", shifted["models"]);

    let models = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tollgate"));
        let output =
            command.args(["models", "--format", "json", "--rules"]).arg(folder.path()).output().unwrap();
        let found: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        (found["models"][0].clone(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (model, _) = models();
    assert_eq!((&model["rules"][0], &model["baseline_rows"]), (&"scores".into(), &1_000.into()), "{model:#}");
    // Another model under the same name is not compared with what the first one was trained on.
    std::fs::copy(fixture("xgb_dart.json"), folder.path().join("models/risk.json")).unwrap();
    let (model, said) = models();
    assert!(
        model["baseline_rows"].is_null() && said.contains("make it anew with `tollgate backtest --baseline`"),
        "{said}"
    );
    std::fs::write(folder.path().join("models/risk.baseline"), "{}").unwrap();
    let (model, said) = models();
    assert!(
        model["baseline_rows"].is_null() && said.contains("the baseline can't be used: missing field"),
        "{said}"
    );
}
