//! `backtest` from end to end: a small world of payments, its figures counted here by plain loops.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use serde_json::Value;

use crate::scratch::Scratch;

const CONTRACT: &str = "CREATE TABLE payments (tx_id BIGINT NOT NULL, event_time TIMESTAMP NOT NULL, \
                        card VARCHAR NOT NULL, amount DECIMAL(12, 2) NOT NULL, is_fraud BOOLEAN NOT NULL, \
                        PRIMARY KEY (tx_id))";

const BIG: &str = "-- @id: big\n-- @title: Big\n-- @status: live\n-- @severity: low\n-- @score: 30\n\
                   -- @reason: \"{amount}\"\n-- @owner: o\nSELECT tx_id, amount FROM payments WHERE amount >= 80\n";

const FAST: &str = "-- @id: fast\n-- @title: Fast\n-- @status: live\n-- @severity: low\n-- @score: 50\n\
                    -- @reason: \"{n}\"\n-- @dedup: card 1h\n-- @owner: o\n\
                    SELECT tx_id, card, count(*) OVER w AS n FROM payments WINDOW w AS (PARTITION BY card ORDER BY \
                    event_time RANGE BETWEEN INTERVAL '10 minutes' PRECEDING AND CURRENT ROW) QUALIFY n >= 3\n";

struct Payment {
    seconds: i64,
    card: usize,
    amount: i64,
    fraud: bool,
}

/// 600 payments of 12 cards over some three days, from a fixed recurrence.
fn payments() -> Vec<Payment> {
    let (mut state, mut seconds) = (12_345_u64, 0);
    let mut next = |bound: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % bound
    };
    let payment = |_| {
        seconds += 1 + i64::try_from(next(900)).unwrap();
        let card = usize::try_from(next(12)).unwrap();
        let amount = i64::try_from(next(100)).unwrap();
        let fraud = next(if amount >= 80 { 3 } else { 40 }) == 0;
        Payment { seconds, card: if next(3) == 0 { 0 } else { card }, amount, fraud }
    };
    (0..600).map(payment).collect()
}

fn written(payments: &[Payment]) -> String {
    let mut out = String::new();
    for (id, Payment { seconds, card, amount, fraud }) in payments.iter().enumerate() {
        let (day, rest) = (1 + seconds / 86_400, seconds % 86_400);
        let (hour, minute, second) = (rest / 3_600, rest / 60 % 60, rest % 60);
        writeln!(
            out,
            "{{\"tx_id\":{id},\"event_time\":\"2026-01-{day:02}T{hour:02}:{minute:02}:{second:02}Z\",\
             \"card\":\"c{card}\",\"amount\":{amount},\"is_fraud\":{fraud}}}"
        )
        .unwrap();
    }
    out
}

fn world() -> (Scratch, Vec<Payment>) {
    let (scratch, payments) = (Scratch::new(), payments());
    scratch.write("rules/schema.sql", CONTRACT);
    scratch.write("rules/big.sql", BIG);
    scratch.write("rules/fast.sql", FAST);
    scratch.write("events.ndjson", &written(&payments));
    (scratch, payments)
}

/// Payments that are the n-th of their card within ten minutes, or later; ties see each other.
fn fast(payments: &[Payment], n: usize) -> BTreeSet<usize> {
    let seen = |own: &Payment| {
        let near =
            |other: &&Payment| other.card == own.card && (0..=600).contains(&(own.seconds - other.seconds));
        payments.iter().filter(near).count()
    };
    (0..payments.len()).filter(|index| seen(&payments[*index]) >= n).collect()
}

fn backtest(scratch: &Scratch, options: &str) -> Value {
    let line = format!(
        "tollgate backtest --input events.ndjson --entity-column card --value-column amount --format json {options}"
    );
    let printed = scratch.shell(&line);
    assert_eq!(printed.code, Some(0), "{}", printed.text);
    serde_json::from_str(&printed.text).unwrap_or_else(|fault| panic!("{fault}: {}", printed.text))
}

fn assert_close(ours: &Value, part: usize, whole: usize) {
    let wanted = f64::from(u32::try_from(part).unwrap()) / f64::from(u32::try_from(whole).unwrap());
    assert!((ours.as_f64().unwrap() - wanted).abs() < 1e-12, "{ours} is not {part}/{whole}");
}

#[test]
fn figures_are_those_of_a_plain_loop() {
    let (scratch, payments) = world();
    let report =
        backtest(&scratch, "--label-column is_fraud --sweep fast:n=2..4 --output a.ndjson --report r.html");
    let frauds: BTreeSet<usize> = (0..payments.len()).filter(|index| payments[*index].fraud).collect();
    let big: BTreeSet<usize> = (0..payments.len()).filter(|index| payments[*index].amount >= 80).collect();
    let quick = fast(&payments, 3);
    assert!(!frauds.is_empty() && !big.is_empty() && big.intersection(&quick).count() > 0);
    for (rule, hits) in [(0, &big), (1, &quick)] {
        let (rule, caught) = (&report["rules"][rule], hits.intersection(&frauds).count());
        assert_eq!(rule["hits"], hits.len());
        assert_eq!(rule["frauds_caught"], caught);
        assert_close(&rule["precision"], caught, hits.len());
        assert_close(&rule["recall"], caught, frauds.len());
        assert_close(&rule["f1"], 2 * caught, hits.len() + frauds.len());
        let value: i64 = hits.intersection(&frauds).map(|index| payments[*index].amount).sum();
        assert_eq!(rule["value_caught"], format!("{value}.00"));
    }
    // @dedup: a card alerts again an hour after its last alert.
    let mut last: BTreeMap<usize, i64> = BTreeMap::new();
    let mut alerts = 0;
    for payment in quick.iter().map(|index| &payments[*index]) {
        if last.get(&payment.card).is_none_or(|at| payment.seconds - at >= 3_600) {
            last.insert(payment.card, payment.seconds);
            alerts += 1;
        }
    }
    assert!(alerts < quick.len());
    assert_eq!(report["rules"][1]["alerts"], alerts);
    assert_eq!(report["overlap"]["events"][0][1], big.intersection(&quick).count());
    let only_quick = quick.difference(&big).filter(|index| frauds.contains(index)).count();
    assert_eq!(report["rules"][1]["marginal"]["frauds"], only_quick);
    assert_eq!(report["sets"][0]["hits"], big.union(&quick).count());
    for (point, n) in report["sweeps"][0]["points"].as_array().unwrap().iter().zip(2..) {
        assert_eq!(point["hits"], fast(&payments, n).len(), "n >= {n}");
        assert_eq!(point["current"], n == 3);
    }
    let rows = std::fs::read_to_string(scratch.path("a.ndjson")).unwrap();
    assert_eq!(rows.lines().count(), big.len() + alerts);
    let page = std::fs::read_to_string(scratch.path("r.html")).unwrap();
    assert!(page.contains("<svg") && !page.contains("http") && !page.contains("src="), "nothing is fetched");
}

#[test]
fn alerts_that_are_written_are_those_of_the_scored_period_and_dedup_knows_what_came_before_it() {
    let (scratch, _) = world();
    backtest(&scratch, "--label-column is_fraud --output all.ndjson");
    backtest(&scratch, "--label-column is_fraud --from 2026-01-02 --until 2026-01-03 --output day.ndjson");
    let rows = |file: &str| std::fs::read_to_string(scratch.path(file)).unwrap();
    let (all, day) = (rows("all.ndjson"), rows("day.ndjson"));
    let of_day: Vec<&str> = all.lines().filter(|row| row.contains("\"event_time\":\"2026-01-02T")).collect();
    assert!(of_day.len() > 10 && of_day.len() < all.lines().count());
    assert_eq!(day.lines().collect::<Vec<_>>(), of_day);
}

#[test]
fn a_file_of_labels_gives_the_same_figures_as_a_column() {
    let (scratch, payments) = world();
    scratch.write("labels.ndjson", &labels(&payments));
    let mut by_column = backtest(&scratch, "--label-column is_fraud");
    let mut by_file = backtest(&scratch, "--labels labels.ndjson");
    by_column["run"] = Value::Null;
    by_file["run"] = Value::Null;
    assert_eq!(by_column, by_file);
    let mut table = "event_id,event_time,fraud\n".to_owned();
    for (index, payment) in payments.iter().enumerate() {
        writeln!(table, "{index},2026-01-05T00:00:00Z,{}", u8::from(payment.fraud)).unwrap();
    }
    scratch.write("labels.csv", &table);
    // The column may be called `is_fraud`; what can't be read as one is refused, and not taken for a list of frauds.
    let all: String = (0..4)
        .map(|index| {
            format!(
                "{{\"event_id\":\"{index}\",\"known_at\":\"2026-02-01T00:00:00Z\",\"is_fraud\":{}}}\n",
                index == 1
            )
        })
        .collect();
    scratch.write("named.ndjson", &all);
    assert_eq!(backtest(&scratch, "--labels named.ndjson")["scope"]["frauds"], 1);
    scratch.write("named.ndjson", &all.replace("true", "\"yes\""));
    let refused =
        scratch.shell("tollgate backtest --input events.ndjson --entity-column card --labels named.ndjson");
    assert_eq!(refused.code, Some(2), "{}", refused.text);
    assert!(refused.text.contains("fraud or is_fraud"), "{}", refused.text);
    let mut by_table = backtest(&scratch, "--labels labels.csv --label-delay 7d");
    by_table["run"] = Value::Null;
    assert_eq!(by_column, by_table);
}

#[test]
fn another_folder_shows_what_is_gained_and_lost() {
    let (scratch, payments) = world();
    scratch.write("old/schema.sql", CONTRACT);
    scratch.write("old/big.sql", &BIG.replace(">= 80", ">= 90"));
    let report = backtest(&scratch, "--label-column is_fraud --only big --against old");
    let gained = payments.iter().filter(|payment| (80..90).contains(&payment.amount)).count();
    let change = &report["against"]["changes"][1];
    assert_eq!((&change["rule"], &change["state"]), (&Value::from("big"), &Value::from("changed")));
    assert_eq!((&change["gained"], &change["lost"]), (&Value::from(gained), &Value::from(0)));
}

#[test]
fn a_rule_that_reads_the_label_of_its_own_event_is_refused() {
    let (scratch, _) = world();
    scratch.write("rules/big.sql", &BIG.replace("amount >= 80", "is_fraud"));
    let printed = scratch.shell("tollgate backtest --input events.ndjson --label-column is_fraud");
    assert_eq!(printed.code, Some(4), "{}", printed.text);
    assert!(printed.text.contains("big reads labels that are 0s old"), "{}", printed.text);

    // So are those of a folder that is compared with.
    let (scratch, _) = world();
    scratch.write("old/schema.sql", CONTRACT);
    scratch.write("old/big.sql", &BIG.replace("amount >= 80", "is_fraud"));
    let printed =
        scratch.shell("tollgate backtest --input events.ndjson --label-column is_fraud --against old");
    assert_eq!(printed.code, Some(4), "{}", printed.text);
    let words = "--against old: big reads labels that are 0s old";
    assert!(printed.text.contains(words), "{}", printed.text);
}

#[test]
fn what_can_not_be_swept_is_said_with_what_can() {
    let (scratch, _) = world();
    let printed = scratch.shell("tollgate backtest --input events.ndjson --sweep fast:m=1..3");
    assert_eq!(printed.code, Some(2), "{}", printed.text);
    assert!(printed.text.contains("compares no number with m; it does with `n`"), "{}", printed.text);
}

/// All frauds as a file of labels.
fn labels(payments: &[Payment]) -> String {
    let frauds = (0..payments.len()).filter(|index| payments[*index].fraud);
    frauds.fold(String::new(), |all, index| {
        all + &format!("{{\"id\":\"{index}\",\"known_at\":\"2026-02-01T00:00:00Z\"}}\n")
    })
}

#[test]
fn a_label_column_is_guarded_beside_a_file_of_labels_and_what_looks_like_one_is_warned_of() {
    let (scratch, payments) = world();
    scratch.write("labels.ndjson", &labels(&payments));
    let line = "tollgate backtest --input events.ndjson --labels labels.ndjson --report r.html";
    let printed = |more: &str| scratch.shell(&format!("{line} {more}"));
    let page = || std::fs::read_to_string(scratch.path("r.html")).unwrap();
    let sound = printed("");
    assert!(sound.code == Some(0) && !sound.text.contains("warning"), "{}", sound.text);
    assert!(page().contains("was not checked") && !page().contains("is refused"));
    let guarded = printed("--label-column is_fraud");
    assert!(guarded.code == Some(0) && page().contains("reads is_fraud sooner than"), "{}", guarded.text);
    scratch.write("rules/big.sql", &BIG.replace("amount >= 80", "is_fraud"));
    let warned = printed("");
    assert_eq!(warned.code, Some(0), "{}", warned.text);
    assert!(warned.text.contains("warning: big reads is_fraud of payments"), "{}", warned.text);
    let refused = printed("--label-column is_fraud");
    assert_eq!(refused.code, Some(4), "{}", refused.text);
}

#[test]
fn rules_that_are_named_are_the_only_ones_of_the_other_folder_too() {
    let (scratch, _) = world();
    for (file, rule) in [("schema", CONTRACT), ("big", BIG), ("fast", FAST)] {
        scratch.write(&format!("old/{file}.sql"), rule);
    }
    let states = |options: &str| -> Vec<Value> {
        let report = backtest(&scratch, &format!("--label-column is_fraud --against old {options}"));
        let changes = report["against"]["changes"].as_array().unwrap().iter();
        changes.map(|change| change["state"].clone()).skip(1).collect()
    };
    assert_eq!(states("--only big"), ["same version"]);
    std::fs::remove_file(scratch.path("old/big.sql")).unwrap();
    assert_eq!(states("--only big"), ["added"]);
}

#[test]
fn what_can_be_seen_to_fail_is_said_before_events_are_read() {
    let (scratch, _) = world();
    scratch.write("weights.toml", "kept");
    for (options, code, words) in [
        ("--set x=big,fats", 2, "--set x: of the rules that run, there is no rule fats"),
        ("--output a.csv", 2, "to a .ndjson or .parquet file, and not to one that ends in .csv"),
        ("--report none/r.html", 3, "none/r.html can't be written"),
        ("--output rules", 3, "rules can't be written"),
    ] {
        // There are no such events: what is told comes before they are looked for.
        let printed =
            scratch.shell(&format!("tollgate backtest --input gone.ndjson --fit weights.toml {options}"));
        assert!(printed.text.contains(words), "{options}: {}", printed.text);
        assert_eq!(printed.code, Some(code), "{options}: {}", printed.text);
    }
    assert_eq!(std::fs::read_to_string(scratch.path("weights.toml")).unwrap(), "kept");
    let late = scratch.shell("tollgate backtest --input events.ndjson --from 2027-01-01 --report new.html");
    assert_eq!(late.code, Some(0), "{}", late.text);
    assert!(late.text.contains("warning: of 600 events none is scored"), "{}", late.text);
    assert!(late.text.contains("they are of 2026-01-01T"), "{}", late.text);
}

#[test]
fn the_sweeps_that_readme_and_help_show_are_of_the_shipped_rules() {
    let scratch = Scratch::new();
    let project = env!("CARGO_MANIFEST_DIR");
    let readme = std::fs::read_to_string(format!("{project}/README.md")).unwrap();
    let help = scratch.shell("tollgate backtest --help").text;
    let made = scratch.shell("tollgate generate --output events --events 50 --seed 1");
    assert_eq!(made.code, Some(0), "{}", made.text);
    for text in [readme, help] {
        let sweeps: Vec<&str> =
            text.split("--sweep ").skip(1).filter_map(|rest| rest.split([' ', '\n', '`']).next()).collect();
        let sweep = sweeps.iter().find(|sweep| sweep.contains(':')).expect("one is shown");
        let line = format!(
            "tollgate backtest --rules {project}/rules --stream payments --sweep {sweep} --input events/payments.ndjson"
        );
        let printed = scratch.shell(&line);
        assert_eq!(printed.code, Some(0), "{sweep}: {}", printed.text);
    }
}

#[test]
fn the_page_has_what_the_table_has() {
    let (scratch, _) = world();
    let line = "tollgate backtest --input events.ndjson --label-column is_fraud --entity-column card --k 5 \
                --review-at events=20/d --block-at precision=1 --report r.html";
    let printed = scratch.shell(line);
    assert_eq!(printed.code, Some(0), "{}", printed.text);
    let page = std::fs::read_to_string(scratch.path("r.html")).unwrap();
    for words in [
        "<h2>Thresholds</h2>",
        "<td>events=20/d</td>",
        "<th>average precision</th>",
        "<th>AUC</th>",
        "<th>card precision@5</th>",
        "<th>at first fraud</th>",
    ] {
        assert!(page.contains(words), "{words} is not in the page");
    }
    let report = backtest(&scratch, "--label-column is_fraud --k 5");
    for rule in report["rules"].as_array().unwrap() {
        for figure in ["average_precision", "auc_roc", "card_precision_at_k"] {
            let cell = format!("<td>{:.3}</td>", rule[figure].as_f64().unwrap());
            assert!(page.contains(&cell), "{figure} of {}", rule["id"]);
        }
    }
}
