//! `plan`: rules, alerts, windows and warnings of a change, exact on a few events; `--fail-on`; wrong input.

use serde_json::{Value, json};

use crate::job::{Bench, stop};
use crate::scratch::Scratch;

const SCHEMA: &str = "CREATE TABLE payments (tx VARCHAR NOT NULL, event_time TIMESTAMP NOT NULL, card VARCHAR NOT NULL, \
                      amount DECIMAL(12, 2) NOT NULL, PRIMARY KEY (tx));";

const WINDOW: &str = "WINDOW w AS (PARTITION BY card ORDER BY event_time RANGE BETWEEN INTERVAL '10 minutes' PRECEDING AND CURRENT ROW)";

fn rule(id: &str, query: &str) -> String {
    format!(
        "-- @id: {id}\n-- @title: T\n-- @status: live\n-- @severity: high\n-- @score: 60\n-- @reason: \"seen {{tx}}\"\n\
         -- @owner: us\n-- @entity: card\n{query}\n"
    )
}

fn counted(least: u32) -> String {
    rule(
        "count",
        &format!("SELECT tx, card, count(*) OVER w AS n\nFROM payments\n{WINDOW}\nQUALIFY n >= {least}"),
    )
}

fn large(least: u32) -> String {
    rule("large", &format!("SELECT tx, card FROM payments WHERE amount > {least}"))
}

/// Two folders: `count` gets a lower threshold, `old` goes, `large` comes, `same` stays.
fn folders() -> Scratch {
    let scratch = Scratch::new();
    let same = rule("same", "SELECT tx, card FROM payments WHERE card = 'c9'");
    for folder in ["old", "new"] {
        scratch.write(&format!("{folder}/schema.sql"), SCHEMA);
        scratch.write(&format!("{folder}/same.sql"), &same);
    }
    scratch.write("old/count.sql", &counted(3));
    scratch.write("new/count.sql", &counted(2));
    scratch.write("old/gone.sql", &rule("gone", "SELECT tx, card FROM payments WHERE amount = 7"));
    scratch.write("new/large.sql", &large(100));
    let event = |tx: &str, minute: u32, card: &str, amount: u32| {
        format!(
            r#"{{"tx":"{tx}","event_time":"2026-01-01T10:{minute:02}:00Z","card":"{card}","amount":{amount}}}"#
        ) + "\n"
    };
    let events = [
        event("t1", 0, "c1", 7),
        event("t2", 1, "c1", 5),
        event("t3", 2, "c1", 5),
        event("t4", 3, "c2", 500),
        event("t5", 30, "c9", 5),
    ];
    scratch.write("events.ndjson", &events.concat());
    scratch.write(
        "labels.ndjson",
        "{\"id\":\"t3\",\"known_at\":\"2026-01-02T00:00:00Z\",\"fraud\":true}\n\
         {\"id\":\"t2\",\"known_at\":\"2026-01-02T00:00:00Z\",\"fraud\":false}\n",
    );
    scratch
}

fn plan(scratch: &Scratch, options: &str) -> Value {
    let printed = scratch.shell(&format!("tollgate plan old new --format json {options} 2>errors.txt"));
    serde_json::from_str(&printed.text).unwrap_or_else(|_| panic!("{}", printed.text))
}

#[test]
fn rules_added_changed_and_removed_are_told_with_what_changed() {
    let changes = &plan(&folders(), "")["changes"];
    assert_eq!((&changes["added"], &changes["removed"]), (&json!(["large"]), &json!(["gone"])));
    assert_eq!((&changes["unchanged"], &changes["files"]), (&json!(1), &json!([])));
    let changed = &changes["changed"][0];
    assert_eq!((&changed["rule"], &changed["parts"]), (&json!("count"), &json!(["query"])));
    let diff: Vec<&str> =
        changed["diff"].as_array().expect("lines").iter().filter_map(Value::as_str).collect();
    assert!(diff.contains(&"- QUALIFY n >= 3") && diff.contains(&"+ QUALIFY n >= 2"), "{diff:?}");
}

#[test]
fn alerts_gained_and_lost_are_those_of_the_events_with_their_reasons() {
    let plan = plan(&folders(), "--input events.ndjson --labels labels.ndjson");
    let events = &plan["events"];
    assert_eq!((&events["events"], &events["gained"], &events["lost"]), (&json!(5), &json!(2), &json!(1)));
    let of = |id: &str| {
        let rules = events["rules"].as_array().expect("rules");
        rules.iter().find(|rule| rule["rule"] == id).cloned().expect("the rule")
    };
    let count = of("count");
    assert_eq!((&count["before"], &count["after"], &count["gained"]), (&json!(1), &json!(2), &json!(1)));
    assert_eq!((&count["precision_before"], &count["precision_after"]), (&json!(1.0), &json!(0.5)));
    let gained = json!([{"event_time": "2026-01-01T10:01:00Z", "entity": "c1", "reason": "seen t2"}]);
    assert_eq!(count["gained_examples"], gained);
    assert_eq!(of("gone")["lost_examples"][0]["reason"], "seen t1");
    assert_eq!((&of("large")["gained"], &of("same")["gained"]), (&json!(1), &json!(0)));
}

#[test]
fn the_last_hours_are_compared_and_earlier_events_fill_windows() {
    let scratch = folders();
    let late = r#"{"tx":"t6","event_time":"2026-01-01T11:02:30Z","card":"c3","amount":5}"#;
    scratch.shell(&format!("echo '{late}' >> events.ndjson"));
    let events = &plan(&scratch, "--input events.ndjson --hours 1")["events"];
    // t1 to t2 are more than an hour before the last event; t4 is not.
    assert_eq!((&events["gained"], &events["lost"]), (&json!(1), &json!(0)));
}

#[test]
fn a_live_rule_that_goes_into_shadow_loses_its_alerts() {
    let scratch = folders();
    for folder in ["old", "new"] {
        scratch.write(&format!("{folder}/same.sql"), &large(7).replace("@id: large", "@id: same"));
    }
    let live = std::fs::read_to_string(scratch.path("new/same.sql")).expect("the rule");
    let before = plan(&scratch, "--input events.ndjson")["events"].clone();
    scratch.write("new/same.sql", &live.replace("@status: live", "@status: shadow"));
    let after = &plan(&scratch, "--input events.ndjson")["events"];
    let own = |shadow: bool| {
        let rules = after["rules"].as_array().expect("rules").iter();
        let mut own = rules.filter(|rule| rule["rule"] == "same" && rule["shadow"] == shadow);
        own.next().cloned().unwrap_or_default()
    };
    let hits = own(false)["lost"].as_u64().expect("alerts are lost");
    assert!(hits > 0);
    assert_eq!(own(true)["gained"], hits, "they go on in shadow");
    assert_eq!(after["lost"].as_u64(), before["lost"].as_u64().map(|lost| lost + hits));
    assert_eq!(after["gained"], before["gained"], "what is gained in shadow is told with its rule only");
}

#[test]
fn a_window_that_both_ask_for_is_kept_and_another_length_is_built() {
    let scratch = folders();
    let windows = |scratch: &Scratch| plan(scratch, "")["windows"].clone();
    assert_eq!(windows(&scratch), json!({"reused": 1, "built": [], "dropped": []}));
    scratch.write("new/count.sql", &counted(2).replace("10 minutes", "1 hour"));
    assert_eq!(windows(&scratch), json!({"reused": 0, "built": ["n by card"], "dropped": ["n by card"]}));
}

#[test]
fn a_view_or_list_that_changed_names_the_rules_it_touches() {
    let scratch = folders();
    let viewed = rule("viewed", "SELECT tx, card FROM small WHERE card IN (SELECT card FROM bad)");
    for (folder, most, list) in [("old", 5, "card\nc1\n"), ("new", 6, "card\nc2\n")] {
        scratch.write(
            &format!("{folder}/views/small.sql"),
            &format!("CREATE VIEW small AS SELECT * FROM payments WHERE amount < {most}"),
        );
        scratch.write(&format!("{folder}/lists/bad.csv"), list);
        scratch.write(&format!("{folder}/viewed.sql"), &viewed);
    }
    let changes = &plan(&scratch, "")["changes"];
    let file = |kind: &str, name: &str| json!({"kind": kind, "name": name, "change": "changed", "rules": ["viewed"]});
    assert_eq!(changes["files"], json!([file("list", "bad"), file("view", "small")]));
    let changed = changes["changed"].as_array().expect("rules");
    assert!(
        changed.iter().any(|rule| rule["rule"] == "viewed" && rule["parts"] == json!(["views or models"]))
    );
}

#[test]
fn fail_on_ends_with_one_where_it_is_so() {
    let scratch = folders();
    let code = |what: &str| {
        scratch.shell(&format!("tollgate plan old new --input events.ndjson --fail-on {what}")).code
    };
    for (what, ends) in [
        ("removed", 1),
        ("lost", 1),
        ("gained", 1),
        ("lints", 1),
        ("no-test", 1),
        ("never-true", 0),
        ("state=100000%", 0),
    ] {
        assert_eq!(code(what), Some(ends), "{what}");
    }
    let same =
        scratch.shell("tollgate plan new new --input events.ndjson --fail-on lost,gained,removed,lints");
    assert_eq!(same.code, Some(0), "{}", same.text);
}

#[test]
fn wrong_input_is_told_with_what_to_write() {
    let scratch = folders();
    let settings = "[job]\nname = \"x\"\n[streams.payments]\ntopics = [\"payments\"]\n";
    scratch.write("no-history.toml", settings);
    scratch.write("empty.toml", &format!("{settings}[history]\nurl = \"nothing\"\n"));
    for (options, words) in [
        ("old nowhere", "nowhere is no rules folder"),
        ("old new --fail-on losst", "did you mean"),
        ("old new --fail-on cost=much", "write a whole number"),
        ("old new --hours 3", "--config"),
        ("old new --config tollgate.toml --input events.ndjson", "cannot be used with"),
        ("old new --config none.toml", "none.toml"),
        ("old new --config no-history.toml", "names no history"),
        ("old new --config empty.toml", "there is no history in"),
        ("old new --input none.ndjson", "none.ndjson"),
    ] {
        let printed = scratch.shell(&format!("tollgate plan {options}"));
        assert_eq!(printed.code, Some(2), "{options}: {}", printed.text);
        assert!(printed.text.contains(words), "{options}: {}", printed.text);
    }
    scratch.write("new/count.sql", &counted(2).replace("FROM payments", "FROM paymets"));
    assert_eq!(scratch.shell("tollgate plan old new").code, Some(1));
}

/// Payments of three cards over three hours: number, seconds since the first, card.
fn payments() -> Vec<(u64, i64, u64)> {
    let second = |index: u64| i64::try_from(index * 60 + index * 7919 % 41).expect("small");
    (0..180).map(|index| (index, second(index), (index * index + index / 7) % 11 % 3)).collect()
}

/// The payments before which and with which a card had so many or more within a length of time, in the last hour.
fn busy(least: usize, seconds: i64) -> Vec<String> {
    let all = payments();
    let latest = all.iter().map(|(_, at, _)| *at).max().expect("some");
    let hits = all.iter().filter(|(index, at, card)| {
        let within =
            |(other, time, own): &&(u64, i64, u64)| own == card && other <= index && at - time <= seconds;
        *at > latest - 3_600 && all.iter().filter(within).count() >= least
    });
    hits.map(|(index, ..)| format!("t{index}")).collect()
}

/// A job whose history holds all payments, and in `next/` other rules: `count` hits from 22 payments within an hour on and
/// not from 25, `gone` is not there, and `few` is new.
fn kept() -> (Bench, std::process::Child) {
    let query = |least: usize, length: &str| {
        let window = format!(
            "PARTITION BY card_id ORDER BY event_time RANGE BETWEEN INTERVAL '{length}' PRECEDING AND CURRENT ROW"
        );
        format!(
            "SELECT tx_id, card_id, amount, count(*) OVER ({window}) AS n FROM payments QUALIFY n >= {least}"
        )
    };
    let rule = |id: &str, emit: &str, query: &str| {
        let more = format!("-- @entity: card_id\n-- @emit: {emit}\n");
        crate::job::rule(id, "live", 10, &more, query).replace("of {amount}", "{tx_id}")
    };
    let rules = [
        ("count.sql", rule("count", "on_arrival", &query(25, "1 hour"))),
        ("gone.sql", rule("gone", "in_order", &query(16, "40 minutes"))),
    ];
    let more = "[history]\nurl = \"history\"\nflush_interval = \"200ms\"\nkeep = \"1d\"\n";
    let bench = Bench::new(&rules, more);
    bench.scratch.write("next/schema.sql", crate::job::SCHEMA);
    bench.scratch.write("next/count.sql", &rule("count", "on_arrival", &query(22, "1 hour")));
    bench.scratch.write("next/few.sql", &rule("few", "in_order", &query(3, "5 minutes")));
    let job = bench.start();
    for (index, at, card) in payments() {
        let at = format!("2026-11-22T{:02}:{:02}:{:02}Z", 10 + at / 3600, at / 60 % 60, at % 60);
        bench.pay(&format!("t{index}"), &at, &format!("c{card}"), "10.00");
    }
    bench.flush();
    let rows = || {
        let listed = bench.scratch.shell("tollgate history ls --format json 2>errors.txt").text;
        let listed: Value = serde_json::from_str(&listed).unwrap_or_default();
        let partitions = listed["partitions"].as_array().cloned().unwrap_or_default();
        partitions.iter().filter_map(|own| own["rows"].as_u64()).sum::<u64>()
    };
    bench.wait_until("all are in the history", || rows() == 180);
    (bench, job)
}

#[test]
fn the_history_of_a_running_job_says_what_a_change_would_have_done_in_the_last_hour() {
    let (bench, job) = kept();
    let options = "--config tollgate.toml --hours 1 --examples 1000 --format json 2>errors.txt";
    let printed = bench.scratch.shell(&format!("tollgate plan rules next {options}"));
    assert_eq!(stop(job), Some(0), "{}", bench.log());
    let plan: Value = serde_json::from_str(&printed.text).unwrap_or_else(|_| panic!("{}", printed.text));
    let events = &plan["events"];
    assert_eq!((&events["events"], &events["notes"]), (&json!(180), &json!([])), "{events:#}");

    let (before, after) = (busy(25, 3_600), busy(22, 3_600));
    let more: Vec<String> = after.iter().filter(|id| !before.contains(id)).cloned().collect();
    assert!(!before.is_empty() && !more.is_empty(), "{before:?} {after:?}");
    for (id, gained, lost) in [
        ("count", more, Vec::new()),
        ("few", busy(3, 300), Vec::new()),
        ("gone", Vec::new(), busy(16, 2_400)),
    ] {
        let of = |list: &str| -> Vec<String> {
            let rules = events["rules"].as_array().expect("rules");
            let rule = rules.iter().find(|rule| rule["rule"] == id).expect(id);
            let sent = rule[list].as_array().expect("examples").iter();
            sent.map(|sent| sent["reason"].as_str().expect("text").replace(&format!("{id} "), "")).collect()
        };
        assert_eq!((of("gained_examples"), of("lost_examples")), (gained, lost), "{id}");
    }

    let cost = |id: &str| {
        let costs = events["rule_costs"].as_array().expect("costs");
        costs.iter().find(|cost| cost["rule"] == id).cloned().expect("the rule")
    };
    let (count, few, gone) = (cost("count"), cost("few"), cost("gone"));
    assert_eq!((&count["kept_bytes"], &count["built_bytes"]), (&count["after"]["state_bytes"], &json!(0)));
    assert_eq!((&few["kept_bytes"], &few["built_bytes"]), (&json!(0), &few["after"]["state_bytes"]));
    assert!(few["built_bytes"].as_u64() > Some(0) && count["kept_bytes"].as_u64() > Some(0), "{few} {count}");
    assert!(count["after"]["nanos_an_event"].as_f64() > Some(0.0), "{count}");
    assert_eq!((&few["before"], &gone["after"]), (&Value::Null, &Value::Null));
}
