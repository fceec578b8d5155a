//! What `check` passes, the engine runs; what the engine can't run, `check` names.

use crate::scratch::{Printed, Scratch};

const CONTRACT: &str = "CREATE TABLE payments (tx_id VARCHAR NOT NULL, event_time TIMESTAMP NOT NULL, \
                        card_id VARCHAR NOT NULL, PRIMARY KEY (tx_id))";

const EVENTS: &str = r#"{"tx_id":"a","event_time":"2026-11-22T10:00:00Z","card_id":"c"}
{"tx_id":"b","event_time":"2026-11-22T10:01:00Z","card_id":"c"}
"#;

const WINDOW: &str = "OVER (PARTITION BY card_id ORDER BY event_time \
                      RANGE BETWEEN INTERVAL '10 minutes' PRECEDING AND CURRENT ROW)";

/// A folder with one rule.
fn folder(query: &str) -> Scratch {
    let header = "-- @id: r\n-- @title: t\n-- @status: live\n-- @severity: low\n-- @score: 1\n\
                  -- @reason: \"x\"\n-- @owner: o\n";
    let scratch = Scratch::new();
    scratch.write("rules/schema.sql", CONTRACT);
    scratch.write("rules/r.sql", &format!("{header}{query}\n"));
    scratch.write("events.ndjson", EVENTS);
    scratch
}

fn hits(query: &str) -> String {
    let Printed { text, code } = folder(query)
        .shell("tollgate replay --rules rules --input events.ndjson --output - 2> summary || cat summary");
    assert_eq!(code, Some(0), "{text}");
    text
}

#[test]
fn row_number_counts_the_rows_of_a_key() {
    let query = format!("SELECT tx_id, row_number() {WINDOW} AS n FROM payments");
    let lines = "{\"rule\":\"r\",\"row\":{\"tx_id\":\"a\",\"n\":1}}\n{\"rule\":\"r\",\"row\":{\"tx_id\":\"b\",\"n\":2}}\n";
    assert_eq!(hits(&query), lines);
}

#[test]
fn an_aggregate_of_a_constant_takes_it_once_a_row() {
    let query =
        format!("SELECT sum(1) {WINDOW} AS n, max(7) {WINDOW} AS m, median(3) {WINDOW} AS x FROM payments");
    let lines = "{\"rule\":\"r\",\"row\":{\"n\":1,\"m\":7,\"x\":3.0}}\n{\"rule\":\"r\",\"row\":{\"n\":2,\"m\":7,\"x\":3.0}}\n";
    assert_eq!(hits(&query), lines);
}

#[test]
fn a_window_in_where_is_refused_where_it_stands() {
    let query = format!("SELECT tx_id FROM payments\nWHERE count(*) {WINDOW} > 1");
    let printed = folder(&query).shell("tollgate check");
    assert_eq!(printed.code, Some(1));
    assert!(printed.text.contains("rules/r.sql:9:7") && printed.text.contains("QUALIFY"), "{}", printed.text);
}

#[test]
fn a_query_that_plans_and_cannot_run_is_a_finding_and_leaves_the_others() {
    let scratch = folder("SELECT tx_id FROM payments WHERE card_id = $1");
    let sound = "-- @id: sound\n-- @title: t\n-- @status: live\n-- @severity: low\n-- @score: 1\n\
                 -- @reason: \"x\"\n-- @owner: o\nSELECT tx_id FROM payments\n";
    scratch.write("rules/sound.sql", sound);
    let printed = scratch.shell("tollgate check");
    assert_eq!(printed.code, Some(1));
    assert!(printed.text.contains("rules/r.sql:8:1"), "{}", printed.text);
    assert!(printed.text.contains("1 sound rules, 1 errors"), "{}", printed.text);
}

#[test]
fn a_column_type_that_no_record_is_decoded_into_is_refused_in_the_contract() {
    let scratch = folder("SELECT tx_id FROM payments");
    scratch.write("rules/schema.sql", &CONTRACT.replace("card_id VARCHAR", "card_id BYTEA"));
    let printed = scratch.shell("tollgate check");
    assert_eq!(printed.code, Some(1));
    assert!(printed.text.contains("can't be of type BYTEA"), "{}", printed.text);
}

#[test]
fn a_replay_writes_the_format_that_its_file_is_named_for_and_refuses_others() {
    let scratch = Scratch::new();
    scratch.write(
        "rules/schema.sql",
        "CREATE TABLE payments (tx_id VARCHAR NOT NULL, event_time TIMESTAMP NOT NULL, card VARCHAR, \
         amount DECIMAL(12, 2) NOT NULL, PRIMARY KEY (tx_id))",
    );
    let rule = "-- @id: a\n-- @title: a\n-- @status: live\n-- @severity: low\n-- @score: 1\n-- @reason: \"r\"\n-- @owner: o\n\
                SELECT tx_id, event_time, card, amount, amount > 2 AS much FROM payments\n";
    scratch.write("rules/a.sql", rule);
    scratch.write(
        "events.ndjson",
        "{\"tx_id\":\"t1\",\"event_time\":\"2026-11-22T10:00:00.5Z\",\"card\":\"c,1\",\"amount\":2.5}\n\
         {\"tx_id\":\"t2\",\"event_time\":\"2026-11-22T10:00:01Z\",\"amount\":1}\n",
    );
    let replay = |output: &str| {
        scratch.shell(&format!("tollgate replay --rules rules --input events.ndjson --output {output} 2>&1"))
    };
    assert_eq!(replay("hits.csv").code, Some(0));
    let written = std::fs::read_to_string(scratch.path("hits.csv")).expect("hits");
    assert_eq!(
        written,
        "tx_id,event_time,card,amount,much\n\
         t1,2026-11-22T10:00:00.500,\"c,1\",2.50,true\nt2,2026-11-22T10:00:01,,1.00,false\n"
    );
    let again = "cp hits.csv payments.csv && tollgate replay --rules rules --input payments.csv --output - 2> summary";
    let (again, lines) = (scratch.shell(again).text, replay("-"));
    // CSV can't tell an empty text from none.
    let again = again.replace("\"card\":\"\"", "\"card\":null");
    assert!(again.lines().count() == 2 && lines.text.contains(&again), "{again}{}", lines.text);
    let refused = replay("hits.xlsx");
    assert_eq!(refused.code, Some(2), "{}", refused.text);
    assert!(refused.text.contains("a .ndjson, .csv or .parquet file, and not to one that ends in .xlsx"));
    assert!(!scratch.path("hits.xlsx").exists());
    scratch.write("rules/b.sql", &rule.replace("@id: a", "@id: b"));
    let two = replay("hits.csv");
    assert_eq!(two.code, Some(2));
    assert!(two.text.contains("a Parquet or CSV output takes one rule, and 2 run"), "{}", two.text);
}
