//! `tollgate test`: the shipped cases, cases that fail, and files that are wrong.

use crate::scratch::Scratch;
use crate::support::assert_golden;

const SCHEMA: &str = "\
CREATE TABLE payments (
    tx_id VARCHAR NOT NULL, event_time TIMESTAMP NOT NULL, card_id VARCHAR NOT NULL,
    amount DECIMAL(12, 2) NOT NULL, device_id VARCHAR, PRIMARY KEY (tx_id)
);
";
const RULE: &str = "\
-- @id: many
-- @title: Many payments
-- @status: draft
-- @severity: low
-- @score: 10
-- @reason: \"{n} payments of together {spent}\"
-- @dedup: card_id 10m
-- @owner: fraud
SELECT tx_id, card_id, count(*) OVER w AS n, sum(amount) OVER w AS spent
FROM payments
WINDOW w AS (PARTITION BY card_id ORDER BY event_time
             RANGE BETWEEN INTERVAL '10 minutes' PRECEDING AND CURRENT ROW)
QUALIFY n >= 3
";

/// A folder with the rule and a test file for it.
fn folder(cases: &str) -> Scratch {
    let scratch = Scratch::new();
    scratch.write("rules/schema.sql", SCHEMA);
    scratch.write("rules/many.sql", RULE);
    if !cases.is_empty() {
        scratch.write("rules/many.test.toml", cases);
    }
    scratch
}

#[test]
fn every_shipped_rule_fires_and_stays_silent_as_its_cases_say() {
    let scratch = Scratch::new();
    let rules = concat!(env!("CARGO_MANIFEST_DIR"), "/rules");
    let printed = scratch.shell(&format!("tollgate test {rules} --format json"));
    assert_eq!(printed.code, Some(0), "{}", printed.text);
    let report: serde_json::Value = serde_json::from_str(&printed.text).expect("JSON");
    assert_eq!(report["without_test_file"], serde_json::json!([]));
    let tested = report["rules"].as_array().expect("rules");
    assert_eq!(tested.len(), 21);
    for rule in tested {
        assert!(rule["cases"].as_array().is_some_and(|cases| cases.len() >= 2), "{rule}");
    }
    let notes = scratch.shell(&format!("tollgate test {rules}")).text;
    assert!(!notes.contains("note:"), "each rule has an event that fires it and one that does not: {notes}");
}

#[test]
fn a_case_that_fails_shows_what_came_event_by_event() {
    let scratch = folder(
        r#"[[case]]
name = "the third fires"
events = [
  { at = "0s", times = 2, every = "1m", amount = 5 },
  { at = "9m", amount = 5, hit = true, values = { n = 4, spent = 15 }, reason = "3 payments" },
  { at = "9m30s", amount = 1.50, hit = true, alert = true },
  { at = "25m", hit = true },
]

[[case]]
name = "what holds"
events = [{ at = "0s" }, { at = "0s", clock = true }, { at = "1h", amount = -3 }]
"#,
    );
    let printed = scratch.shell("tollgate test --junit junit.xml; echo \"exit code $?\"");
    assert_golden("rule_test_fails.txt", &printed.text);
    let junit = std::fs::read_to_string(scratch.path("junit.xml")).expect("a report");
    for part in [
        "<testsuite name=\"many\" tests=\"2\" failures=\"1\" errors=\"0\"",
        "<failure message=\"event 3 at 2026-01-05T12:09:00Z (rules/many.test.toml:5): `n` must be 4, and is 3\">",
        "name=\"what holds\"",
    ] {
        assert!(junit.contains(part), "{junit}");
    }
    assert_eq!(scratch.shell("tollgate test --filter holds").code, Some(0));
    assert_eq!(scratch.shell("tollgate test --filter nothing").code, Some(2));
    let missing = scratch.shell("tollgate test rules/none.sql");
    assert_eq!(missing.code, Some(2));
    assert!(missing.text.contains("rule file rules/none.sql can't be read"), "{}", missing.text);
}

#[test]
fn files_that_are_wrong_say_where_and_what_to_write() {
    let faults = [
        ("[[case]]\nname = \"x\"\nevent = []\n", 1),
        ("stream = \"payment\"\n[[case]]\nname = \"x\"\nevents = [{ at = \"0s\" }]\n", 1),
        (
            "[[case]]\nname = \"x\"\nevents = [\n  { amount = 1 },\n  { at = \"soon\", card = \"c\" },\n  \
             { at = \"1m\", hit = \"yes\", values = { m = 3 } },\n  { at = \"1m\", hit = false, reason = \"r\" },\n  \
             { at = \"1m\", times = 0, null = [\"amount\"] },\n]\nlists.blocked = [1]\n",
            1,
        ),
        ("[[case]]\nname = \"x\"\nevents = [{ at = \"0s\", amount = \"much\" }]\n", 1),
        ("[[case]]\nname = \"x\"\nevents = [{ at = \"0s\", stream = 5 }]\n", 1),
        ("[[case]]\nname = \"x\"\nevents = []\n[[case]]\nname = \"x\"\nevents = [{ at = \"0s\" }]\n", 1),
        ("", 2),
    ];
    let mut all = String::new();
    for (text, code) in faults {
        let scratch = folder(text);
        let printed = scratch.shell("tollgate test rules/many.sql");
        assert_eq!(printed.code, Some(code), "{}", printed.text);
        all += &format!("{text}---\n{}\n", printed.text);
    }
    assert_golden("rule_test_faults.txt", &all);
}

#[test]
fn a_new_file_passes_as_it_is_written_and_is_never_written_over() {
    let scratch = folder("");
    let made =
        scratch.shell("tollgate test --new rules/many.sql && tollgate test && cat rules/many.test.toml");
    assert_eq!(made.code, Some(0), "{}", made.text);
    assert!(made.text.contains("1 passed, 0 failed"), "{}", made.text);
    let again = scratch.shell("tollgate test --new rules/many.sql");
    assert_eq!(again.code, Some(2));
    assert!(again.text.contains("is there already"), "{}", again.text);
}

#[test]
fn a_case_cut_out_of_real_events_hits_as_the_events_did() {
    let scratch = folder("");
    let line = |id: u32, minute: u32, card: &str, amount: &str| {
        format!(
            "{{\"tx_id\": \"t{id}\", \"event_time\": \"2026-11-22T10:{minute:02}:00Z\", \"card_id\": \"{card}\", \"amount\": {amount}}}\n"
        )
    };
    let events: String = [
        line(1, 0, "c1", "3.5"),
        line(2, 5, "c2", "1"),
        line(3, 20, "c2", "2"),
        line(4, 24, "c1", "7"),
        line(5, 25, "c2", "4"),
        line(6, 29, "c2", "8.25"),
    ]
    .concat();
    scratch.write("day.ndjson", &events);
    let made = scratch.shell(
        "tollgate test --new rules/many.sql --from day.ndjson && cat rules/many.test.toml && tollgate test",
    );
    assert_eq!(made.code, Some(0), "{}", made.text);
    assert_golden("rule_test_cut.txt", &made.text);
    let other = folder("");
    other.write("day.ndjson", &events);
    let none = other.shell("tollgate test --new rules/many.sql --from day.ndjson --event t5");
    assert_eq!(none.code, Some(2), "{}", none.text);
    assert!(none.text.contains("event t5 does not"), "{}", none.text);
}

#[test]
fn part_of_a_folder_is_tested_with_the_contract_of_the_whole() {
    let scratch = folder("[[case]]\nname = \"one is silent\"\nevents = [{ at = \"0s\" }]\n");
    let of = |id: &str| RULE.replace("@id: many", &format!("@id: {id}"));
    scratch.write("rules/part/inner/few.sql", &of("few").replace(">= 3", ">= 1"));
    scratch.write("rules/part/bare.sql", &of("bare"));
    let fires = "[[case]]\nname = \"one fires\"\nevents = [{ at = \"0s\", hit = true }]\n";
    scratch.write("rules/part/inner/few.test.toml", fires);
    for line in [
        "tollgate test rules/part --format json",
        "cd rules && tollgate test part/ --format json",
        "mv rules/schema.sql other.sql && tollgate test rules/part --schema other.sql --format json",
    ] {
        let printed = scratch.shell(line);
        assert_eq!(printed.code, Some(0), "{line}: {}", printed.text);
        let report: serde_json::Value = serde_json::from_str(&printed.text).expect("JSON");
        let tested: Vec<_> =
            report["rules"].as_array().expect("rules").iter().map(|rule| &rule["rule"]).collect();
        assert_eq!(tested, ["few"], "{line}");
        let bare = report["without_test_file"].as_array().expect("files");
        assert!(
            bare.len() == 1 && bare[0].as_str().is_some_and(|file| file.ends_with("part/bare.sql")),
            "{bare:?}"
        );
    }
}
