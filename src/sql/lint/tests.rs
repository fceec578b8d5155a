//! Each lint: what it finds, and what looks alike and is meant.

use super::*;
use crate::diagnostic::SourceText;
use crate::sql::{Catalog, CatalogSources, Query, compile};

const SCHEMA: &str = "CREATE TABLE payments (tx VARCHAR NOT NULL, event_time TIMESTAMP NOT NULL, card VARCHAR NOT NULL, \
                      amount DECIMAL(12, 2) NOT NULL, country VARCHAR, parts BIGINT NOT NULL, ok BOOLEAN NOT NULL, \
                      PRIMARY KEY (tx))";

fn catalog() -> Catalog {
    let contract = Some(SourceText::new("schema.sql", SCHEMA));
    Catalog::build(CatalogSources { contract, ..CatalogSources::default() }).expect("a contract").0
}

fn compiled(queries: &[&str]) -> RuleGraph {
    let queries: Vec<Query> = queries
        .iter()
        .enumerate()
        .map(|(index, text)| Query { id: format!("q{index}"), source: SourceText::new("q.sql", *text) })
        .collect();
    let compiled = compile(&catalog(), &queries);
    assert_eq!(compiled.diagnostics, []);
    compiled.graph
}

/// Code and message of what is found in the condition of a query.
fn found(text: &str) -> Vec<String> {
    let graph = compiled(&[text]);
    query_lints(&graph, &graph.queries[0])
        .into_iter()
        .map(|lint| format!("{}: {}", lint.code, lint.message))
        .collect()
}

fn filtered(condition: &str) -> Vec<String> {
    found(&format!("SELECT tx, amount, country, parts FROM payments WHERE {condition}"))
}

const WINDOW: &str = "WINDOW w AS (PARTITION BY card ORDER BY event_time RANGE BETWEEN INTERVAL '1 hour' PRECEDING AND CURRENT ROW)";

fn counted(condition: &str) -> Vec<String> {
    found(&format!("SELECT tx, count(*) OVER w AS n FROM payments {WINDOW} QUALIFY {condition}"))
}

#[test]
fn a_condition_that_no_value_can_meet_is_found() {
    for (condition, words) in [
        ("amount > 10 AND amount < 5", "amount"),
        ("parts > 4 AND parts < 5", "parts"),
        ("country = 'DE' AND country = 'FR'", "country"),
        ("country IN ('DE', 'FR', 'IT', 'ES') AND country = 'GB'", "country"),
        ("country IS NULL AND country = 'DE'", "country"),
        ("amount BETWEEN 10 AND 5", "amount"),
        ("1 = 2", "condition"),
    ] {
        let found = filtered(condition);
        assert_eq!(found.len(), 1, "{condition}: {found:?}");
        assert!(found[0].starts_with("never-true") && found[0].contains(words), "{condition}: {found:?}");
    }
}

#[test]
fn a_condition_that_can_be_met_is_not() {
    for condition in [
        "amount > 5 AND amount < 10",
        "amount >= 5 AND amount <= 5",
        "parts > 4 AND parts < 6",
        "country = 'DE' OR country = 'FR'",
        "country IN ('DE', 'FR', 'IT', 'ES') AND country <> 'DE'",
        "country IS NULL OR country = 'DE'",
        "ok AND amount > 5",
        "amount > 5 AND parts < 5",
    ] {
        assert_eq!(filtered(condition), [] as [String; 0], "{condition}");
    }
}

#[test]
fn a_condition_that_another_makes_idle_is_found() {
    assert_eq!(
        filtered("amount > 10 AND amount > 5"),
        ["always-true: amount > 5.00 is always true where amount > 10.00"]
    );
    assert_eq!(filtered("parts >= 5 AND parts <> 3").len(), 1);
}

#[test]
fn a_count_is_never_below_what_its_frame_holds_nor_above_it() {
    assert_eq!(counted("n >= 1"), ["always-true: n >= 1 is always true"]);
    assert_eq!(counted("n > 1"), [] as [String; 0]);
    assert_eq!(counted("n < 1").len(), 1);
    let rows = |condition: &str| {
        found(&format!(
            "SELECT tx, count(*) OVER (PARTITION BY card ORDER BY event_time ROWS BETWEEN 5 PRECEDING AND 1 PRECEDING) \
             AS n FROM payments QUALIFY {condition}"
        ))
    };
    assert_eq!(rows("n >= 5"), [] as [String; 0]);
    let found = rows("n >= 6");
    assert!(found[0].starts_with("never-true: n >= 6 is never true: no frame"), "{found:?}");
}

#[test]
fn a_filter_of_the_window_says_nothing_of_the_row() {
    let query = format!(
        "SELECT tx, count(*) FILTER (WHERE NOT ok) OVER w AS failed FROM payments {WINDOW} QUALIFY ok AND failed >= 1"
    );
    assert_eq!(found(&query), [] as [String; 0]);
}

#[test]
fn a_stricter_rule_is_implied_by_a_wider_one_over_the_same_window() {
    let rule = |condition: &str| {
        format!("SELECT tx, count(*) OVER w AS n FROM payments WHERE amount < 5 {WINDOW} QUALIFY {condition}")
    };
    let other =
        format!("SELECT tx, count(*) OVER w AS n FROM payments WHERE amount < 6 {WINDOW} QUALIFY n >= 3");
    let texts = [rule("n >= 8"), rule("n >= 3"), rule("n >= 8 AND country = 'DE'"), other];
    let graph = compiled(&texts.each_ref().map(String::as_str));
    let queries = &graph.queries;
    assert!(implied(&graph, &queries[0], &queries[1]) && implied(&graph, &queries[2], &queries[1]));
    assert!(!implied(&graph, &queries[1], &queries[0]) && !implied(&graph, &queries[0], &queries[2]));
    assert!(!implied(&graph, &queries[0], &queries[3]), "its window counts other events");
}

#[test]
fn a_division_that_nothing_keeps_from_zero_is_found() {
    assert_eq!(filtered("amount / parts > 5").len(), 1);
    for condition in [
        "parts > 0 AND amount / parts > 5",
        "parts <> 0 AND amount / parts > 5",
        "amount / nullif(parts, 0) > 5",
        "amount / 2 > 5",
    ] {
        assert_eq!(filtered(condition), [] as [String; 0], "{condition}");
    }
    assert_eq!(counted("n > 5 AND 100 / n > 3"), [] as [String; 0]);
}

#[test]
fn a_frame_that_is_not_written_is_found_once() {
    let places = |text: &str| -> Vec<(String, String)> {
        let lints = implicit_frames(&SourceText::new("r.sql", text));
        let shown = |lint: Lint| match lint.place {
            Place::Span(span) => (text[span].to_owned(), lint.message.chars().take(16).collect()),
            other => (format!("{other:?}"), lint.message),
        };
        lints.into_iter().map(shown).collect()
    };
    let open = "SELECT count(*) OVER w AS n, sum(amount) OVER w AS s FROM payments WINDOW w AS (PARTITION BY card ORDER BY event_time)";
    assert_eq!(places(open), [("w".to_owned(), "the window has n".to_owned())]);
    let inline = "SELECT count(*) OVER (PARTITION BY card ORDER BY event_time RANGE INTERVAL '1 day' PRECEDING) AS n FROM payments";
    assert_eq!(places(inline), [("count".to_owned(), "the end of the w".to_owned())]);
    for meant in [
        &format!("SELECT count(*) OVER w AS n FROM payments {WINDOW}"),
        "SELECT lag(amount) OVER w AS l FROM payments WINDOW w AS (PARTITION BY card ORDER BY event_time)",
        "SELECT count(*) OVER (w ROWS BETWEEN 2 PRECEDING AND CURRENT ROW) AS n FROM payments WINDOW w AS (PARTITION BY card ORDER BY event_time)",
    ] {
        assert_eq!(places(meant), [], "{meant}");
    }
}

#[test]
fn a_test_for_null_of_a_column_that_is_never_null_is_found() {
    let contract = catalog().contract;
    let codes = |condition: &str| -> Vec<&'static str> {
        let source = SourceText::new("r.sql", format!("SELECT tx FROM payments WHERE {condition}"));
        needless_null_tests(&contract, &source).into_iter().map(|lint| lint.code).collect()
    };
    assert_eq!(codes("amount IS NULL"), ["never-true"]);
    assert_eq!(codes("card IS NOT NULL AND country IS NOT NULL"), ["always-true"]);
    assert_eq!(codes("country IS NULL"), [] as [&str; 0]);
}
