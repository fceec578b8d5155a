//! Rules that change while a job runs, and switches that are turned.

use std::collections::BTreeSet;

use serde_json::json;

use crate::job::{Bench, rule, signal, stop};

const WINDOW: &str = "WINDOW w AS (PARTITION BY card_id ORDER BY event_time RANGE BETWEEN INTERVAL '1 hour' PRECEDING AND CURRENT ROW)";

/// A rule on the count of a card's payments within an hour.
fn count(id: &str, least: u32) -> String {
    let query = format!(
        "SELECT tx_id, card_id, amount, count(*) OVER w AS n FROM payments {WINDOW} QUALIFY n >= {least}"
    );
    rule(id, "live", 10, "", &query)
}

/// A rule on the sum of them: another function, so another window state.
fn sum(id: &str, least: u32) -> String {
    let query = format!(
        "SELECT tx_id, card_id, amount, sum(amount) OVER w AS spent FROM payments {WINDOW} QUALIFY spent >= {least}"
    );
    rule(id, "live", 10, "", &query)
}

/// Payments `range`, one a second over four cards.
fn pay(bench: &Bench, range: std::ops::Range<usize>) {
    for index in range {
        let at = format!("2026-11-22T10:{:02}:{:02}Z", index / 60, index % 60);
        bench.pay(&format!("t{index}"), &at, &format!("c{}", index % 4), "10.00");
    }
    bench.flush();
}

/// Ids of the events that a rule alerted about, and the values of one column.
fn alerts(bench: &Bench, rule: &str, column: &str) -> Vec<(String, String)> {
    let own = bench.lines("alerts.ndjson").into_iter().filter(|alert| alert["rule"]["id"] == json!(rule));
    let text = |alert: serde_json::Value| {
        let value = alert["values"][column].clone();
        let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        (alert["event_id"].as_str().unwrap_or_default().to_owned(), value)
    };
    let mut own: Vec<_> = own.map(text).collect();
    own.sort_by_key(|(id, _)| id[1..].parse::<usize>().unwrap_or_default());
    own
}

/// What a rule must alert about from a payment on: the payments of a card so far, times a factor.
fn expected(
    range: std::ops::Range<usize>,
    least: usize,
    show: impl Fn(usize) -> String,
) -> Vec<(String, String)> {
    let counted = range.map(|index| (index, index / 4 + 1)).filter(|(_, n)| *n >= least);
    counted.map(|(index, n)| (format!("t{index}"), show(n))).collect()
}

#[test]
fn a_threshold_that_changes_takes_its_window_along_and_no_other_rule_notices() {
    let bench = Bench::new(&[("a.sql", count("a", 3)), ("b.sql", count("b", 5))], "");
    pay(&bench, 0..40);
    let job = bench.start();
    bench.wait_until("40 decisions", || bench.lines("decisions.ndjson").len() >= 40);
    bench.scratch.write("rules/a.sql", &count("a", 12));
    bench.wait_until("the reload", || bench.log().contains("changed rules are in force"));
    assert!(bench.log().contains("windows_filled=false"), "{}", bench.log());
    pay(&bench, 40..80);
    bench.wait_until("80 decisions", || bench.lines("decisions.ndjson").len() >= 80);
    assert_eq!(stop(job), Some(0));
    let show = |n: usize| n.to_string();
    let mut a = expected(0..40, 3, show);
    a.extend(expected(40..80, 12, show));
    assert_eq!(alerts(&bench, "a", "n"), a);
    assert_eq!(alerts(&bench, "b", "n"), expected(0..80, 5, show));
    assert_eq!(bench.lines("decisions.ndjson").len(), 80, "nothing is lost and nothing twice");
}

#[test]
fn a_new_window_is_filled_before_its_first_answer() {
    let bench =
        Bench::new(&[("a.sql", count("a", 3))], "[history]\nurl = \"history\"\nflush_interval = \"200ms\"\n");
    pay(&bench, 0..40);
    let job = bench.start();
    bench.wait_until("40 decisions", || bench.lines("decisions.ndjson").len() >= 40);
    bench.scratch.write("rules/s.sql", &sum("s", 20));
    bench.wait_until("the reload", || bench.log().contains("changed rules are in force"));
    assert!(bench.log().contains("windows_filled=true"), "{}", bench.log());
    pay(&bench, 40..80);
    bench.wait_until("80 decisions", || bench.lines("decisions.ndjson").len() >= 80);
    assert_eq!(stop(job), Some(0));
    assert_eq!(alerts(&bench, "a", "n"), expected(0..80, 3, |n| n.to_string()));
    assert_eq!(alerts(&bench, "s", "spent"), expected(40..80, 2, |n| format!("{n}0.00")));
    assert_eq!(bench.lines("decisions.ndjson").len(), 80, "nothing is lost and nothing twice");
}

#[test]
fn a_new_window_is_filled_while_others_answer_and_nobody_loses_or_doubles_an_alert() {
    let bench =
        Bench::new(&[("a.sql", count("a", 1))], "[history]\nurl = \"history\"\nflush_interval = \"200ms\"\n");
    pay(&bench, 0..400);
    let job = bench.start();
    bench.wait_until("400 decisions", || bench.lines("decisions.ndjson").len() >= 400);
    bench.scratch.write("rules/s.sql", &sum("s", 1));
    let mut sent = 400;
    while sent < 3_000 && !bench.log().contains("changed rules are in force") {
        pay(&bench, sent..sent + 4);
        sent += 4;
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    bench.wait_until("the reload", || bench.log().contains("changed rules are in force"));
    assert!(bench.log().contains("windows_filled=true"), "{}", bench.log());
    assert!(!bench.log().contains("answers wait"), "{}", bench.log());
    pay(&bench, sent..sent + 100);
    sent += 100;
    bench.wait_until("all decisions", || bench.lines("decisions.ndjson").len() >= sent);
    assert_eq!(stop(job), Some(0));
    assert_eq!(alerts(&bench, "a", "n"), expected(0..sent, 1, |n| n.to_string()));
    let own = alerts(&bench, "s", "spent");
    assert!(own.len() >= 100, "{} alerts of the new rule", own.len());
    // The rules change between two batches, and by then one partition may have come further than the other.
    for partition in 0..2 {
        let of =
            |(id, _): &&(String, String)| id[1..].parse::<usize>().is_ok_and(|index| index % 2 == partition);
        let own: Vec<_> = own.iter().filter(of).cloned().collect();
        let first = own.first().and_then(|(id, _)| id[1..].parse::<usize>().ok()).expect("an alert");
        let all = expected(first..sent, 1, |n| format!("{n}0.00"));
        let wanted: Vec<_> = all.iter().filter(of).cloned().collect();
        assert_eq!(own, wanted, "from its first event on");
    }
    assert_eq!(bench.lines("decisions.ndjson").len(), sent, "nothing is lost and nothing twice");
}

/// Two instances of a job, each with a folder of its own, a partition each: `one`, and `two` under `other`.
fn pair(bench: &Bench) -> [std::process::Child; 2] {
    let settings = std::fs::read_to_string(bench.path("tollgate.toml")).expect("settings");
    let settings = settings.replace("[http]", "audit = \"audit\"\n[http]");
    let settings = settings.replace("[kafka]\n", "instances = 2\n[kafka]\n");
    let schema = std::fs::read_to_string(bench.path("rules/schema.sql")).expect("the contract");
    let files = [("tollgate.toml", settings), ("rules/schema.sql", schema), ("rules/a.sql", count("a", 3))];
    for (file, text) in &files {
        bench.scratch.write(file, text);
        bench.scratch.write(&format!("other/{file}"), text);
    }
    let one = bench.start_as("tollgate.toml", "one");
    bench.wait_until("the first", || bench.log().contains("windows are filled"));
    let two = bench.start_as("other/tollgate.toml", "two");
    let shares = |log: String| {
        log.lines()
            .rfind(|line| line.contains("partitions assigned"))
            .unwrap_or_default()
            .contains("partitions=1")
    };
    bench.wait_until("a partition each", || shares(bench.log()) && shares(other_log(bench)));
    [one, two]
}

fn other_log(bench: &Bench) -> String {
    std::fs::read_to_string(bench.path("other/job.log")).unwrap_or_default()
}

#[test]
fn instances_of_a_job_agree_on_changed_rules_before_one_of_them_answers_with_them() {
    let bench = Bench::new(&[("a.sql", count("a", 3))], "");
    let [one, two] = pair(&bench);
    let other_log = || other_log(&bench);
    let alerted = || [alerts(&bench, "a", "n").len(), bench.lines("other/alerts.ndjson").len()];
    pay(&bench, 0..16);
    bench.wait_until("8 alerts", || alerted() == [4, 4]);

    // The folder of one instance has changed: it is ready, and goes on with the rules that both have.
    bench.scratch.write("rules/a.sql", &count("a", 1));
    bench.wait_until("one to be ready", || bench.log().contains("wait until these instances are"));
    pay(&bench, 16..24);
    bench.wait_until("16 alerts", || alerted() == [8, 8]);
    assert!(!bench.log().contains("changed rules are in force"), "{}", bench.log());
    let listed = |what: &str| bench.log().matches(what).count();
    assert_eq!(listed("the rules folder is read again"), 1);

    bench.scratch.write("other/rules/a.sql", &count("a", 1));
    let both = || [bench.log(), other_log()].iter().all(|log| log.contains("changed rules are in force"));
    bench.wait_until("both", both);
    bench.pay("t24", "2026-11-22T10:00:24Z", "d8", "10.00");
    bench.pay("t25", "2026-11-22T10:00:25Z", "d9", "10.00");
    bench.flush();
    bench.wait_until("alerts of the changed rule", || alerted() == [9, 9]);
    assert_eq!([stop(one), stop(two)], [Some(0), Some(0)]);
}

#[test]
fn an_instance_that_starts_with_other_rules_than_its_group_reads_nothing_until_they_agree() {
    let bench = Bench::new(&[("a.sql", count("a", 3))], "");
    let [one, two] = pair(&bench);
    // Groups of this broker know no members that keep their partitions, and a rebalance may repeat alerts.
    let alerted = || {
        let files = ["alerts.ndjson", "other/alerts.ndjson"].map(|file| bench.lines(file));
        let ids = files.iter().flatten().filter_map(|alert| alert["event_id"].as_str().map(str::to_owned));
        ids.collect::<BTreeSet<_>>()
    };
    pay(&bench, 0..16);
    bench.wait_until("8 alerts", || alerted().len() == 8);
    assert_eq!(stop(two), Some(0));
    bench.scratch.write("other/rules/a.sql", &count("a", 1));
    let two = bench.start_as("other/tollgate.toml", "two");
    let waits = || other_log(&bench).contains("nothing is read until they have the same");
    bench.wait_until("two to wait", waits);
    bench.pay("t16", "2026-11-22T10:00:16Z", "d8", "10.00");
    bench.pay("t17", "2026-11-22T10:00:17Z", "d9", "10.00");
    pay(&bench, 20..24);
    bench.wait_until("alerts of the partition that is read", || alerted().len() == 10);

    bench.scratch.write("rules/a.sql", &count("a", 1));
    bench.wait_until("alerts of the other, by the changed rule", || alerted().len() >= 13);
    bench.pay("t26", "2026-11-22T10:00:26Z", "e8", "10.00");
    bench.pay("t27", "2026-11-22T10:00:27Z", "e9", "10.00");
    bench.flush();
    let both = ["t26", "t27"].map(str::to_owned);
    bench.wait_until("the changed rule on both", || both.iter().all(|id| alerted().contains(id)));
    assert_eq!([stop(one), stop(two)], [Some(0), Some(0)]);
    let events = bench.records("audit");
    let of = |instance: &str, what: &str| {
        let own = events.iter().filter(|event| event["what"] == what && event["instance"] == instance);
        own.collect::<Vec<_>>()
    };
    assert_eq!(of("bench-two", "rules_ready").len(), 1);
    assert!(!of("bench-one", "rules_ready").is_empty());
    let [.., started] = of("bench-two", "started")[..] else { panic!("{events:?}") };
    assert_eq!(started["to"], of("bench-one", "reloaded")[0]["to"]);
    assert_eq!(started["without"], json!(null));
}

#[test]
fn a_start_says_which_rules_changed_since_the_last_commit() {
    let bench = Bench::new(&[("a.sql", count("a", 1)), ("b.sql", count("b", 1))], "");
    bench.set("[http]", "audit = \"audit\"\n[http]");
    let warned = || bench.log().matches("the rules are others than those of the last commit").count();
    let answers = |range: std::ops::Range<usize>| {
        let until = range.end;
        let job = bench.start();
        pay(&bench, range);
        bench.wait_until("decisions", || bench.lines("decisions.ndjson").len() >= until);
        assert_eq!(stop(job), Some(0));
    };
    answers(0..4);
    bench.scratch.write("rules/a.sql", &count("a", 2));
    std::fs::rename(bench.path("rules/b.sql"), bench.path("b.sql")).expect("it is there");
    bench.scratch.write("rules/c.sql", &count("c", 1));
    answers(4..8);
    assert_eq!(warned(), 1);
    answers(8..12);
    assert_eq!(warned(), 1);
    let events = bench.records("audit");
    let starts: Vec<_> = events.iter().filter(|event| event["what"] == "started").collect();
    let [first, second, third] = starts[..] else { panic!("{events:?}") };
    assert_eq!((&second["from"], &third["from"]), (&first["to"], &json!(null)));
    let version = |start: &serde_json::Value| start["rules"]["a"].clone();
    let changed = json!([{"id": "a", "from": version(first), "to": version(second)}]);
    assert_eq!(second["changes"], json!({"added": ["c"], "changed": changed, "removed": ["b"]}));
}

#[test]
fn the_audit_says_what_changed_of_rules_that_keep_their_version() {
    let listed = "SELECT tx_id, card_id, amount FROM payments WHERE card_id IN (SELECT card FROM blocked)";
    let rules = [("a.sql", count("a", 1)), ("b.sql", rule("b", "live", 10, "", listed))];
    let bench = Bench::new(&rules, "");
    bench.scratch.write("rules/lists/blocked.csv", "card\nc9\n");
    bench.set("[http]", "audit = \"file:audit.ndjson\"\n[http]");
    let job = bench.start();
    pay(&bench, 0..4);
    bench.wait_until("4 alerts", || bench.lines("alerts.ndjson").len() >= 4);
    let reloads = |count: usize| {
        let log = || bench.log().matches("changed rules are in force").count();
        bench.wait_until("a reload", || log() == count);
    };
    let shadow = count("a", 2).replace("@status: live", "@status: shadow");
    bench.scratch.write("rules/a.sql", &shadow);
    reloads(1);
    bench.scratch.write("rules/lists/blocked.csv", "card\nc8\n");
    reloads(2);
    bench.scratch.write("rules/a.sql", &format!("-- @valid_until: 2030-01-01T00:00:00Z\n{shadow}"));
    reloads(3);
    assert_eq!(stop(job), Some(0));
    let events = bench.lines("audit.ndjson");
    let what = |event: usize| events[event]["rules"]["changed"][0]["what"].clone();
    assert_eq!(what(1), json!(["query", "status"]));
    assert_eq!(events[2]["rules"]["changed"], json!([]));
    let lists = events[2]["rules"]["lists"].as_object().expect("lists");
    assert_eq!(lists.keys().collect::<Vec<_>>(), ["blocked"]);
    assert_eq!(what(3), json!(["valid_until"]));
    assert_eq!(events[3]["rules"]["changed"][0]["from"], events[3]["rules"]["changed"][0]["to"]);
}

#[test]
fn broken_rules_and_another_contract_leave_those_in_force() {
    let bench = Bench::new(&[("a.sql", count("a", 1))], "");
    bench.set("[http]", "audit = \"file:audit.ndjson\"\n[http]");
    let job = bench.start();
    pay(&bench, 0..4);
    bench.wait_until("4 alerts", || bench.lines("alerts.ndjson").len() >= 4);
    bench.scratch.write("rules/a.sql", "SELECT nonsense");
    bench.wait_until("a refusal", || bench.log().contains("the rules in force stay"));
    bench.scratch.write("rules/a.sql", &count("a", 1));
    bench.wait_until("a reload", || bench.log().contains("changed rules are in force"));
    let schema = std::fs::read_to_string(bench.path("rules/schema.sql")).expect("the contract");
    bench
        .scratch
        .write("rules/schema.sql", &schema.replace("amount DECIMAL", "city VARCHAR, amount DECIMAL"));
    bench.wait_until("another refusal", || bench.log().contains("a new contract needs a restart"));
    // SIGHUP asks for a look although nothing has changed since.
    let looks = || bench.log().matches("the rules folder is read again").count();
    let before = looks();
    signal(&job, "-HUP");
    bench.wait_until("a look", || looks() > before);
    pay(&bench, 4..8);
    bench.wait_until("8 alerts", || bench.lines("alerts.ndjson").len() >= 8);
    assert_eq!(stop(job), Some(0));
    let told: Vec<String> = bench
        .lines("audit.ndjson")
        .iter()
        .filter_map(|event| event["what"].as_str().map(str::to_owned))
        .collect();
    assert_eq!(
        told,
        ["started", "reload_refused", "reloaded", "reload_refused", "reload_refused", "stopped"]
    );
    assert_eq!(alerts(&bench, "a", "n"), expected(0..8, 1, |n| n.to_string()));
}

#[test]
fn a_rule_that_is_switched_off_is_silent_on_all_instances_until_it_is_on_again() {
    let bench = Bench::new(&[("a.sql", count("a", 1)), ("b.sql", count("b", 1))], "");
    bench.set("[http]", "audit = \"audit\"\n[http]");
    let switch = |line: &str| {
        let printed = bench.scratch.shell(&format!("tollgate rules {line}"));
        (printed.code, printed.text)
    };
    let unknown = switch("off aa");
    assert_eq!(unknown.0, Some(2), "{}", unknown.1);
    assert!(unknown.1.contains("did you mean a?"), "{}", unknown.1);
    let job = bench.start();
    pay(&bench, 0..8);
    bench.wait_until("8 decisions", || bench.lines("decisions.ndjson").len() >= 8);
    let turned = |count: usize| bench.log().matches("a rule was switched").count() == count;
    assert_eq!(switch("off a").0, Some(0));
    bench.wait_until("the turn", || turned(1));
    pay(&bench, 8..16);
    bench.wait_until("16 decisions", || bench.lines("decisions.ndjson").len() >= 16);
    assert_eq!(switch("on a").0, Some(0));
    bench.wait_until("the other turn", || turned(2));
    pay(&bench, 16..24);
    bench.wait_until("24 decisions", || bench.lines("decisions.ndjson").len() >= 24);
    assert_eq!(switch("off a --by ann --reason 'it floods'").0, Some(0));
    bench.wait_until("the third turn", || turned(3));
    assert_eq!(stop(job), Some(0));
    let show = |n: usize| n.to_string();
    let mut a = expected(0..8, 1, show);
    a.extend(expected(16..24, 1, show));
    assert_eq!(alerts(&bench, "a", "n"), a, "its window was filled while it was off");
    assert_eq!(alerts(&bench, "b", "n"), expected(0..24, 1, show));
    // The turn holds over a restart.
    let listed = switch("ls");
    assert!(listed.1.contains("by ann: it floods"), "{}", listed.1);
    let job = bench.start();
    pay(&bench, 24..32);
    bench.wait_until("32 decisions", || bench.lines("decisions.ndjson").len() >= 32);
    assert_eq!(stop(job), Some(0));
    assert_eq!(alerts(&bench, "a", "n").len(), 16);
    assert_eq!(alerts(&bench, "b", "n").len(), 32);
    let hits = |tx: usize| {
        let decisions = bench.lines("decisions.ndjson");
        let decision = decisions.iter().find(|decision| decision["event_id"] == json!(format!("t{tx}")));
        decision.expect("a decision")["hits"].as_array().expect("hits").len()
    };
    assert_eq!([hits(7), hits(15), hits(23), hits(31)], [2, 1, 2, 1]);
}

#[test]
fn a_rule_is_switched_off_though_its_file_is_broken_or_gone() {
    let bench = Bench::new(&[("a.sql", count("a", 1)), ("b.sql", count("b", 1))], "");
    bench.set("[http]", "audit = \"audit\"\n[http]");
    let off = |line: &str, code: i32, words: &str| {
        let printed = bench.scratch.shell(&format!("tollgate rules off {line}"));
        assert_eq!(printed.code, Some(code), "{line}: {}", printed.text);
        assert!(printed.text.contains(words), "{line}: {}", printed.text);
    };
    assert_eq!(bench.scratch.shell("tollgate check rules --write-lock").code, Some(0));
    let broken = count("a", 1).replace("SELECT", "SELCT").replace("severity: low", "severity: none");
    bench.scratch.write("rules/a.sql", &broken);
    std::fs::remove_file(bench.path("rules/b.sql")).expect("it is there");
    off("a", 0, "a is switched off");
    off("b", 0, "b is switched off");
    std::fs::remove_file(bench.path("rules/rules.lock")).expect("it is there");
    bench.scratch.write("rules/schema.sql", "CREATE");
    off("a", 0, "a is switched off");
    off("bb", 2, "no rule of");
    off("bb", 2, "--force turns the switch all the same");
    off("bb --force", 0, "bb is switched off");
}

#[test]
fn a_rule_that_costs_more_than_it_may_goes_into_shadow_and_a_person_turns_it_back() {
    let plain = "SELECT tx_id, card_id, amount FROM payments WHERE amount > 1";
    let rules = [("a.sql", count("a", 1)), ("b.sql", rule("b", "live", 10, "", plain))];
    let bench = Bench::new(&rules, "[limits]\nrule_memory = \"100B\"\n");
    bench.set("[http]", "audit = \"audit\"\n[http]");
    let job = bench.start();
    pay(&bench, 0..8);
    bench.wait_until("8 decisions", || bench.lines("decisions.ndjson").len() >= 8);
    bench.wait_until("a turn", || bench.log().contains("goes into shadow"));
    pay(&bench, 8..16);
    bench.wait_until("16 decisions", || bench.lines("decisions.ndjson").len() >= 16);
    let listed = bench.scratch.shell("tollgate rules ls").text;
    assert!(
        listed.contains("SHADOW since") && listed.contains("`limits.rule_memory` allows 100"),
        "{listed}"
    );
    // Who turns it back has ten seconds before it is judged again.
    assert_eq!(bench.scratch.shell("tollgate rules on a").code, Some(0));
    bench.wait_until("the other turn", || bench.log().matches("a rule was switched").count() >= 2);
    pay(&bench, 16..20);
    bench.wait_until("20 decisions", || bench.lines("decisions.ndjson").len() >= 20);
    assert_eq!(stop(job), Some(0));
    let shadow = bench.lines("shadow.ndjson");
    assert_eq!(shadow.len(), 8, "{shadow:?}");
    assert!(
        shadow
            .iter()
            .all(|alert| alert["rule"]["status"] == json!("shadow") && alert["rule"]["id"] == json!("a"))
    );
    assert_eq!(alerts(&bench, "b", "amount").len(), 20, "the other rule goes on");
    assert_eq!(alerts(&bench, "a", "n").len(), 12);
    let hits = |tx: usize| {
        let decisions = bench.lines("decisions.ndjson");
        let decision = decisions.iter().find(|decision| decision["event_id"] == json!(format!("t{tx}")));
        decision.expect("a decision")["hits"].as_array().expect("hits").len()
    };
    assert_eq!((hits(3), hits(12), hits(18)), (2, 1, 2), "no decision counts what is in shadow");
}

/// Judged every ten seconds: into shadow at the first, stopped at the third after it.
#[test]
fn a_rule_that_costs_too_much_in_shadow_as_well_is_stopped_until_a_person_turns_it_back() {
    let plain = "SELECT tx_id, card_id, amount FROM payments WHERE amount > 1";
    let rules = [("a.sql", count("a", 1)), ("b.sql", rule("b", "live", 10, "", plain))];
    let bench =
        Bench::new(&rules, "[limits]\nrule_memory = \"100B\"\n[history]\nurl = \"history\"\nkeep = \"1d\"\n");
    let address = format!("127.0.0.1:{}", crate::labels::free_port());
    bench.set("[http]", "audit = \"audit\"\n[http]");
    bench.set("listen = \"off\"", &format!("listen = \"{address}\""));
    let metric = |name: &str| crate::labels::metric(&address, name);
    let mut job = bench.start();
    pay(&bench, 0..8);
    bench.wait_until("8 decisions", || bench.lines("decisions.ndjson").len() >= 8);
    bench.wait_until("windows", || metric("tollgate_window_keys").is_some());
    bench.wait_until("the end of it", || bench.log().contains("is not evaluated any more"));
    bench.wait_until("the rules without it", || bench.log().contains("changed rules are in force"));
    pay(&bench, 8..16);
    bench.wait_until("16 decisions", || bench.lines("decisions.ndjson").len() >= 16);
    bench.wait_until("no windows", || metric("tollgate_window_keys").is_none());
    assert_eq!(metric("tollgate_stopped_rules"), Some(1.0));
    assert_eq!(metric("tollgate_rule_hits_total{rule=\"a\""), None, "its series have ended");
    // It holds over a restart, and `off` does not bring it back to cost again.
    assert_eq!(bench.scratch.shell("tollgate rules off a").code, Some(0));
    assert_eq!(stop(job), Some(0), "{}", bench.log());
    job = bench.start();
    pay(&bench, 16..24);
    bench.wait_until("24 decisions", || bench.lines("decisions.ndjson").len() >= 24);
    assert_eq!(metric("tollgate_window_keys"), None);
    let listed = bench.scratch.shell("tollgate rules ls").text;
    assert!(
        listed.contains("STOPPED since") && listed.contains("`limits.rule_memory` allows 100"),
        "{listed}"
    );
    assert_eq!(bench.scratch.shell("tollgate rules on a").code, Some(0));
    bench.wait_until("its windows are filled", || {
        bench.log().matches("changed rules are in force").count() == 2
    });
    pay(&bench, 24..28);
    bench.wait_until("28 decisions", || bench.lines("decisions.ndjson").len() >= 28);
    assert_eq!(stop(job), Some(0), "{}", bench.log());
    let show = |n: usize| n.to_string();
    let mut a = expected(0..8, 1, show);
    a.extend(expected(24..28, 1, show));
    assert_eq!(alerts(&bench, "a", "n"), a, "it is exact again at once");
    assert_eq!(alerts(&bench, "b", "amount").len(), 28, "the other rule goes on");
}
