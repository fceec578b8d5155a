//! `backtest` over what a running job keeps: the same report as over the same events in files.

use std::path::PathBuf;

use serde_json::{Value, json};

use crate::job::{Bench, rule, stop};
use crate::labels::CONTRACT;

const STREAM: &str = "[streams.labels]\ntopics = [\"audit\"]\nstart = \"earliest\"\n";
const MORE: &str = "[history]\nurl = \"history\"\nflush_interval = \"200ms\"\nkeep = \"40d\"\n[labels]\nstream = \"labels\"\n";
const COUNT: u64 = 120;

fn busy(id: &str, more: &str, least: u32, length: &str) -> String {
    let query = format!(
        "SELECT tx_id, card_id, amount, count(*) OVER (PARTITION BY card_id ORDER BY event_time RANGE BETWEEN \
         INTERVAL '{length}' PRECEDING AND CURRENT ROW) AS n FROM payments QUALIFY n >= {least}"
    );
    rule(id, "live", 10, more, &query)
}

/// A job that has ended, whose history holds two hours of payments of three cards and what became known of them, and
/// the same events in files.
fn world() -> Bench {
    let rules = [
        ("often.sql", busy("often", "-- @entity: card_id\n-- @dedup: card_id 10m\n", 20, "50 minutes")),
        ("soon.sql", busy("soon", "", 3, "5 minutes")),
    ];
    let bench = Bench::new(&rules, &format!("{STREAM}{MORE}"));
    bench.scratch.write("rules/schema.sql", CONTRACT);
    let (mut payments, mut labels) = (String::new(), String::new());
    let job = bench.start();
    for index in 0..COUNT {
        let at = index * 60 + index * 7919 % 41;
        let at = format!("2026-11-22T{:02}:{:02}:{:02}Z", 10 + at / 3600, at / 60 % 60, at % 60);
        let (id, card, amount) =
            (format!("t{index}"), format!("c{}", index * index % 7 % 3), format!("{index}.50"));
        bench.pay(&id, &at, &card, &amount);
        let line = json!({"tx_id": id, "event_time": at, "card_id": card, "amount": amount});
        payments += &format!("{line}\n");
        if index % 3 == 0 {
            // Some become known a day later and some after four.
            let day = if index < COUNT / 2 { "11-23" } else { "11-26" };
            let (known_at, fraud) = (format!("2026-{day}T00:00:00Z"), index % 9 == 0);
            let label = json!({"event_id": id, "known_at": known_at, "fraud": fraud});
            bench.send("audit", &label.to_string());
            labels += &format!("{label}\n");
        }
    }
    bench.flush();
    bench.scratch.write("payments.ndjson", &payments);
    bench.scratch.write("labels.ndjson", &labels);
    bench.wait_until("all are in the history", || {
        let listed = bench.scratch.shell("tollgate history ls --format json 2>errors.txt").text;
        let listed: Value = serde_json::from_str(&listed).unwrap_or_default();
        let partitions = listed["partitions"].as_array().cloned().unwrap_or_default();
        partitions.iter().filter_map(|own| own["rows"].as_u64()).sum::<u64>() == COUNT + COUNT / 3
    });
    assert_eq!(stop(job), Some(0), "{}", bench.log());
    bench
}

/// The report, and how the run went.
fn report(bench: &Bench, options: &str) -> (Value, Value) {
    let line = format!(
        "tollgate backtest --entity-column card_id --value-column amount --format json {options} 2>errors.txt"
    );
    let printed = bench.scratch.shell(&line);
    let mut report: Value =
        serde_json::from_str(&printed.text).unwrap_or_else(|_| panic!("{}", printed.text));
    let run = report["run"].take();
    (report, run)
}

#[test]
fn the_history_of_a_job_gives_the_report_that_its_events_and_labels_give_as_files() {
    let bench = world();
    let files = "--input payments=payments.ndjson --labels labels.ndjson --stream payments";
    let (kept, run) = report(&bench, "--config tollgate.toml --output kept.ndjson");
    let (filed, _) = report(&bench, &format!("{files} --output filed.ndjson"));
    assert_eq!(kept, filed);
    assert_eq!((&run["counts"]["rows_in"], &run["balanced"]), (&json!(COUNT + COUNT / 3), &json!(true)));
    assert_eq!(run["notes"], json!([]));
    assert!(kept["scope"]["frauds"].as_u64() > Some(5) && kept["rules"][0]["precision"].as_f64() > Some(0.0));

    // The last hour: what came before fills windows and @dedup. The last payment is at 11:59:17.
    let (kept, _) = report(&bench, "--config tollgate.toml --hours 1");
    let (filed, _) = report(&bench, &format!("{files} --from 2026-11-22T10:59:17.000001Z"));
    assert_eq!(kept["scope"], filed["scope"]);
    assert_eq!((&kept["rules"], &kept["sets"]), (&filed["rules"], &filed["sets"]));
    let (alerts, hits) = (&kept["rules"][0]["alerts"], &kept["rules"][0]["hits"]);
    assert!(alerts.as_u64() > Some(0) && alerts.as_u64() < hits.as_u64(), "{alerts} of {hits}");

    // A label became known when its row says.
    let alerts = |file: &str| -> Vec<Value> {
        let mut alerts = bench.lines(file);
        // Ids hold the place of the event, which is another in a file.
        alerts.iter_mut().for_each(|alert| alert["alert_id"] = Value::Null);
        alerts
    };
    assert_eq!(alerts("kept.ndjson"), alerts("filed.ndjson"));
    for known_at in ["2026-11-23T00:00:00Z", "2026-11-26T00:00:00Z"] {
        let known = |alert: &Value| alert["known_at"] == json!(known_at);
        assert!(alerts("kept.ndjson").iter().any(known), "{known_at}");
    }

    unusable(&bench);
}

/// A damaged file is left out and told of; where nothing is left, it is refused with what to do.
fn unusable(bench: &Bench) {
    let backtest =
        |options: &str| bench.scratch.shell(&format!("tollgate backtest --stream payments {options}"));
    bench.scratch.write(
        "other/schema.sql",
        &CONTRACT.replace("DECIMAL(12, 2)", "VARCHAR").replace("fraud B", "fraud BIGINT, b B"),
    );
    bench.scratch.write("other/soon.sql", &busy("soon", "", 3, "5 minutes"));
    let other = backtest("--config tollgate.toml --rules other");
    assert_eq!(other.code, Some(4), "{}", other.text);
    let words = [
        "is left out: its column `fraud` is Boolean, and Int64 in the contract",
        "take the rules' `schema.sql`",
    ];
    assert!(words.iter().all(|words| other.text.contains(words)), "{}", other.text);

    let files = segments(&bench.path("history/payments"));
    let damage = |file: &PathBuf| std::fs::write(file, "no Parquet").expect("written");
    damage(&files[0]);
    let some = backtest("--config tollgate.toml");
    assert_eq!(some.code, Some(0), "{}", some.text);
    assert!(some.text.contains("is left out: "), "{}", some.text);
    files.iter().chain(&segments(&bench.path("history/audit"))).for_each(damage);
    let none = backtest("--config tollgate.toml");
    assert_eq!(none.code, Some(4), "{}", none.text);
    assert!(none.text.contains("has no events that can be used"), "{}", none.text);
}

fn segments(folder: &std::path::Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
    entries.flat_map(|path| if path.is_dir() { segments(&path) } else { vec![path] }).collect()
}

#[test]
fn a_history_that_can_not_be_read_is_told_with_what_to_write() {
    let bench = Bench::new(&[("soon.sql", busy("soon", "", 3, "5 minutes"))], "");
    let settings = std::fs::read_to_string(bench.path("tollgate.toml")).expect("settings");
    let write = |file: &str, more: &str| bench.scratch.write(file, &format!("{settings}{more}"));
    write("empty.toml", "[history]\nurl = \"empty\"\n");
    write("absent.toml", "[history]\nurl = \"absent\"\n");
    write("store.toml", "[history]\nurl = \"memory:///fraud\"\n");
    write("labels.toml", &format!("[history]\nurl = \"empty\"\n{STREAM}[labels]\nstream = \"lables\"\n"));
    bench.scratch.write("empty/history.json", r#"{"format": 1, "cluster": "c", "job": "bench"}"#);
    for (options, code, words) in [
        (
            "--config tollgate.toml",
            2,
            "names no history: set `url` under `[history]`, or give events as files",
        ),
        ("--config absent.toml", 2, "there is no history in"),
        ("--config store.toml", 2, "there is no history in `memory:///fraud`"),
        ("--config empty.toml", 2, "holds no events of the job's topics yet"),
        ("--config none.toml", 2, "none.toml"),
        ("--config empty.toml --input events.ndjson", 2, "cannot be used with"),
        ("--config empty.toml --lateness 3s", 2, "cannot be used with"),
        ("--config empty.toml --hours 3 --from 2026-11-22", 2, "cannot be used with"),
        ("--input events.ndjson --hours 3", 2, "--config"),
        ("--hours 3", 2, "--input"),
        ("", 2, "--input"),
    ] {
        let printed = bench.scratch.shell(&format!("tollgate backtest {options}"));
        assert_eq!(printed.code, Some(code), "{options}: {}", printed.text);
        assert!(printed.text.contains(words), "{options}: {}", printed.text);
    }
}
