//! Why a rule hit an event or did not: conditions, margins, and the events behind windows.

use serde_json::{Value, json};

use crate::job::{Bench, SCHEMA, rule, stop};
use crate::scratch::Scratch;
use crate::support::assert_golden;

const QUERY: &str = "\
SELECT tx_id, card_id, amount, count(*) OVER w AS n, sum(amount) OVER w AS total,
       count(*) FILTER (WHERE amount > 20) OVER w AS big, max(amount) OVER r AS top, lag(amount, 2) OVER r AS before
FROM payments
WINDOW w AS (PARTITION BY card_id ORDER BY event_time RANGE BETWEEN INTERVAL '10 minutes' PRECEDING AND CURRENT ROW),
       r AS (PARTITION BY card_id ORDER BY event_time ROWS BETWEEN 3 PRECEDING AND CURRENT ROW)
QUALIFY n >= 4 AND (total > 90 OR big >= 2)";

/// Payments of three cards, one in seven of which comes a while after its turn, as NDJSON.
fn payments(count: u64) -> String {
    let line = |index: u64| {
        let seconds = index * 40 - if index % 7 == 3 { 130 } else { 0 };
        let at =
            format!("2026-11-22T{:02}:{:02}:{:02}Z", 10 + seconds / 3600, seconds / 60 % 60, seconds % 60);
        let cents = index * 7919 % 4000;
        json!({"tx_id": format!("t{index}"), "event_time": at, "card_id": format!("c{}", index * 31 % 3),
            "amount": format!("{}.{:02}", cents / 100, cents % 100)})
    };
    (4..count + 4).map(|index| format!("{}\n", line(index))).collect()
}

/// Runs a line and reads the JSON it prints.
fn answer(scratch: &Scratch, line: &str) -> Value {
    let printed = scratch.shell(line);
    serde_json::from_str(&printed.text).unwrap_or_else(|error| panic!("{line}: {error} in {}", printed.text))
}

fn cents(value: &Value) -> i64 {
    value
        .as_str()
        .unwrap_or_else(|| panic!("{value} is no decimal"))
        .replace('.', "")
        .parse()
        .expect("a number")
}

fn window<'a>(explanation: &'a Value, name: &str) -> &'a Value {
    let windows = explanation["windows"].as_array().expect("windows");
    windows
        .iter()
        .find(|window| window["name"] == json!(name))
        .unwrap_or_else(|| panic!("no {name} in {windows:?}"))
}

#[test]
fn the_events_that_are_shown_give_each_windows_answer_late_or_not_in_either_order() {
    let scratch = Scratch::new();
    scratch.write("rules/schema.sql", SCHEMA);
    scratch.write("rules/busy.sql", &rule("busy", "shadow", 10, "", QUERY));
    scratch.write("payments.ndjson", &payments(120));
    for emit in ["on_arrival", "in_order"] {
        let source = format!("--rules rules --input payments.ndjson --emit {emit} --lateness 60s");
        let hits = scratch.shell(&format!("tollgate replay {source} --output hits.ndjson"));
        assert_eq!(hits.code, Some(0), "{}", hits.text);
        let hits = std::fs::read_to_string(scratch.path("hits.ndjson")).expect("hits");
        assert!(!hits.is_empty());
        let (mut hit, mut late) = (0, 0);
        for index in (14..120).step_by(9).chain([94, 101]) {
            let event = format!("t{index}");
            let told = answer(
                &scratch,
                &format!("tollgate why {source} --rule busy --event {event} --events 1000 --format json"),
            );
            let own = &told["explanation"];
            let values = |name: &str| -> Vec<i64> {
                let events = window(own, name)["events"].as_array().expect("events");
                events.iter().map(|event| cents(&event["values"][0])).collect()
            };
            let seen = |name: &str| json!(window(own, name)["events"].as_array().expect("events").len());
            assert_eq!(window(own, "n")["value"], seen("n"), "{emit} {event}: {own:#}");
            assert_eq!(window(own, "big")["value"], seen("big"), "{emit} {event}: {own:#}");
            assert_eq!(
                cents(&window(own, "total")["value"]),
                values("total").iter().sum::<i64>(),
                "{emit} {event}"
            );
            assert_eq!(
                Some(cents(&window(own, "top")["value"])),
                values("top").into_iter().max(),
                "{emit} {event}"
            );
            let is_hit = hits.lines().any(|line| line.contains(&format!("\"tx_id\":\"{event}\"")));
            assert_eq!(own["hit"], json!(is_hit), "{emit} {event}: {own:#}");
            let first = &own["conditions"][0];
            let margin = window(own, "n")["value"].as_i64().expect("a count") - 4;
            assert_eq!(first["margin"], json!(format!("{margin:+}")), "{first}");
            hit += usize::from(is_hit);
            late += usize::from(own["late_ms"] != json!(0));
        }
        assert!(hit > 0 && late > 0, "{emit}: {hit} hits and {late} late events were looked at");
    }
}

#[test]
fn a_person_reads_which_condition_failed_and_by_how_much() {
    let scratch = Scratch::new();
    scratch.write("rules/schema.sql", SCHEMA);
    scratch.write("rules/busy.sql", &rule("busy", "live", 10, "", QUERY));
    scratch.write("payments.ndjson", &payments(60));
    let printed = scratch
        .shell("tollgate why --rules rules --input payments.ndjson --rule busy --event t20 --events 2");
    assert_eq!(printed.code, Some(0), "{}", printed.text);
    assert_golden("why_no_hit.txt", &printed.text);
}

#[test]
fn an_event_that_is_not_there_a_rule_that_is_not_there_and_half_a_question_are_said() {
    let scratch = Scratch::new();
    scratch.write("rules/schema.sql", SCHEMA);
    scratch.write("rules/busy.sql", &rule("busy", "live", 10, "", QUERY));
    scratch.write("payments.ndjson", &payments(20));
    let cases = [
        ("--rules rules --input payments.ndjson --rule busy --event t999", 1, "no event with the id t999"),
        ("--rules rules --input payments.ndjson --rule bussy --event t9", 2, "did you mean busy?"),
        ("--rules rules --input payments.ndjson", 2, "--event"),
        ("", 2, "say what is to be explained"),
        ("12", 2, "tollgate.toml"),
    ];
    for (line, code, words) in cases {
        let printed = scratch.shell(&format!("tollgate why {line}"));
        assert_eq!(printed.code, Some(code), "{line}: {}", printed.text);
        assert!(printed.text.contains(words), "{line}: {}", printed.text);
    }
}

#[test]
fn an_alert_that_was_sent_is_made_again_byte_for_byte_from_what_the_job_has_kept() {
    let window = "WINDOW w AS (PARTITION BY card_id ORDER BY event_time RANGE BETWEEN INTERVAL '1 hour' PRECEDING AND CURRENT ROW)";
    let query =
        format!("SELECT tx_id, card_id, amount, count(*) OVER w AS n FROM payments {window} QUALIFY n >= 3");
    let text = rule("count", "live", 10, "-- @entity: card_id\n-- @dedup: card_id 5m\n", &query);
    let more = "[history]\nurl = \"history\"\nflush_interval = \"200ms\"\n";
    let bench = Bench::new(&[("count.sql", text.clone())], more);
    for index in 0..80 {
        let at = format!("2026-11-22T10:{:02}:{:02}Z", index / 4, index % 4 * 15);
        bench.pay(&format!("t{index}"), &at, &format!("c{}", index % 3), "10.00");
    }
    bench.flush();
    let job = bench.start();
    bench.wait_until("all are decided", || bench.lines("decisions.ndjson").len() == 80);
    assert_eq!(stop(job), Some(0), "{}", bench.log());
    let alerts = bench.lines("alerts.ndjson");
    assert!(alerts.len() > 6, "{alerts:?}");
    let alert = &alerts[alerts.len() - 2];
    assert!(alert["suppressed_before"].as_u64() > Some(0), "{alert}");
    let id = alert["alert_id"].as_str().expect("an id");
    let told = answer(&bench.scratch, &format!("tollgate why {id} --format json"));
    assert_eq!(told["reproduced"], json!(true), "{told:#}");
    assert_eq!(told["alerts"][0], *alert);
    let n = &alert["values"]["n"];
    assert_eq!(told["explanation"]["windows"][0]["events_seen"], *n, "{told:#}");
    // What the file says of the rule may change; what it answers may not.
    let described =
        text.replace("@title: count", "@title: Many payments").replace("severity: low", "severity: high");
    bench.scratch.write("rules/count.sql", &described);
    let printed = bench.scratch.shell(&format!("tollgate why {id}"));
    assert_eq!(printed.code, Some(0), "{}", printed.text);
    assert!(printed.text.contains("which has changed since: rule.severity, rule.title"), "{}", printed.text);
    bench.scratch.write("rules/count.sql", &text.replace("@entity: card_id", "@entity: tx_id"));
    let printed = bench.scratch.shell(&format!("tollgate why {id}"));
    assert_eq!(printed.code, Some(1), "{}", printed.text);
    assert!(printed.text.contains("differs from this one in entity"), "{}", printed.text);
    bench.scratch.write("rules/count.sql", &text.replace("n >= 3", "n >= 2"));
    let printed = bench.scratch.shell(&format!("tollgate why {id}"));
    assert!(printed.text.contains("--rules FOLDER takes the rules as they were"), "{}", printed.text);
    let schema = std::fs::read_to_string(bench.path("rules/schema.sql")).expect("the contract");
    bench.scratch.write("before/schema.sql", &schema);
    bench.scratch.write("before/count.sql", &text);
    let told = answer(&bench.scratch, &format!("tollgate why {id} --rules before --format json"));
    assert_eq!((&told["reproduced"], &told["differs"]), (&json!(true), &json!([])), "{told:#}");
    bench.scratch.write("rules/count.sql", &text);
    // A hit that was held back is told of as such.
    let held = bench.lines("decisions.ndjson");
    let held = held.iter().find(|decision| decision["hits"][0]["suppressed"] == json!(true)).expect("one");
    let (partition, offset) = (&held["source"]["partition"], &held["source"]["offset"]);
    let printed =
        bench.scratch.shell(&format!("tollgate why --at payments/{partition}/{offset} --rule count"));
    assert!(printed.text.contains("no alert: @dedup held the hit back"), "{}", printed.text);
}
