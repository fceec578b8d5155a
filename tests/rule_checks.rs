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
