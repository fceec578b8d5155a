//! Warnings of `check`: each kind at its place, none where rules are sound, and `--fail-on`.

use std::path::Path;

use tollgate::diagnostic::Severity;
use tollgate::rules::{AnswerOrder, Emit, RuleFiles, RuleSet};

use crate::scratch::Scratch;

const SCHEMA: &str = "CREATE TABLE payments (tx VARCHAR NOT NULL, event_time TIMESTAMP NOT NULL, card VARCHAR NOT NULL, \
                      amount DECIMAL(12, 2) NOT NULL, parts BIGINT NOT NULL, PRIMARY KEY (tx));";

const WINDOW: &str = "WINDOW w AS (PARTITION BY card ORDER BY event_time RANGE BETWEEN INTERVAL '10 minutes' PRECEDING AND CURRENT ROW)";

/// A folder of rules: id, lines added to the header, query; each with a test file beside it.
fn folder(rules: &[(&str, &str, &str)]) -> Scratch {
    let scratch = Scratch::new();
    scratch.write("rules/schema.sql", SCHEMA);
    for (id, header, query) in rules {
        let text = format!(
            "-- @id: {id}\n-- @title: T\n-- @status: live\n-- @severity: high\n-- @score: 60\n-- @reason: \"x\"\n\
             -- @owner: us\n-- @entity: card\n{header}{query}\n"
        );
        scratch.write(&format!("rules/{id}.sql"), &text);
        scratch.write(&format!("rules/{id}.test.toml"), "");
    }
    scratch
}

/// File, kind and the words pointed at.
fn lints(scratch: &Scratch) -> Vec<(String, &'static str, String)> {
    let files = RuleFiles::open(&scratch.path("rules"), None).expect("a folder");
    let set = RuleSet::compile(files, AnswerOrder::Default(Emit::OnArrival)).expect("a contract");
    assert_eq!(set.diagnostics, []);
    let lints = set.lints().into_iter();
    let shown = lints.map(|lint| {
        assert_eq!(lint.severity, Severity::Warning);
        assert!(lint.help.is_some(), "{lint:?}");
        let file = Path::new(&lint.source.file).file_name().map(|name| name.to_string_lossy().into_owned());
        let words = lint.span.clone().and_then(|span| lint.source.text.get(span)).unwrap_or_default();
        (file.unwrap_or_default(), lint.code.unwrap_or_default(), words.to_owned())
    });
    shown.collect()
}

fn counted(condition: &str) -> String {
    format!(
        "SELECT tx, card, count(*) OVER w AS n FROM payments WHERE amount < 5 {WINDOW} QUALIFY {condition}"
    )
}

#[test]
fn a_rule_that_another_makes_redundant_is_found_and_one_that_does_more_is_not() {
    let (wide, narrow) = (counted("n >= 3"), counted("n >= 8"));
    let redundant = |header: &str| lints(&folder(&[("wide", "", &wide), ("narrow", header, &narrow)]));
    assert_eq!(redundant(""), [("narrow.sql".to_owned(), "redundant-rule", "SELECT".to_owned())]);
    assert_eq!(redundant("-- @action: block\n"), []);
    assert_eq!(redundant("-- @dedup: card 1h\n"), []);
}

#[test]
fn of_two_rules_that_ask_the_same_the_later_one_is_redundant() {
    let query = counted("n >= 3");
    let found = lints(&folder(&[("a", "", &query), ("b", "", &query)]));
    assert_eq!(found, [("b.sql".to_owned(), "redundant-rule", "SELECT".to_owned())]);
}

#[test]
fn a_lint_points_at_the_number_that_is_compared() {
    let found = lints(&folder(&[(
        "a",
        "",
        "SELECT tx, card, amount FROM payments WHERE amount < 5 AND amount > 10",
    )]));
    assert_eq!(found, [("a.sql".to_owned(), "never-true", "10".to_owned())]);
}

#[test]
fn a_rule_without_a_test_beside_it_is_found() {
    let scratch = folder(&[("a", "", "SELECT tx, card FROM payments WHERE amount > 5")]);
    assert_eq!(lints(&scratch), []);
    std::fs::remove_file(scratch.path("rules/a.test.toml")).expect("it is there");
    assert_eq!(lints(&scratch), [("a.sql".to_owned(), "no-test", String::new())]);
}

#[test]
fn a_warning_counts_where_fail_on_names_its_kind() {
    let scratch = folder(&[("a", "", "SELECT tx, card FROM payments WHERE amount > 5 AND amount > 3")]);
    let code = |options: &str| scratch.shell(&format!("tollgate check {options}")).code;
    assert_eq!(code(""), Some(0));
    assert_eq!(code("--fail-on always-true"), Some(1));
    assert_eq!(code("--fail-on warnings"), Some(1));
    assert_eq!(code("--fail-on never-true,no-test"), Some(0));
    let wrong = scratch.shell("tollgate check --fail-on allways-true");
    assert!(wrong.code == Some(2) && wrong.text.contains("did you mean always-true?"), "{}", wrong.text);
}

#[test]
fn the_rules_of_this_project_are_free_of_lints() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("rules");
    let files = RuleFiles::open(&folder, None).expect("a folder");
    let set = RuleSet::compile(files, AnswerOrder::Default(Emit::OnArrival)).expect("a contract");
    // Whether each rule has a test is what the tests of rules look at.
    let found: Vec<_> = set.lints().into_iter().filter(|lint| lint.code != Some("no-test")).collect();
    assert_eq!(found, []);
    assert_eq!(set.running().count(), 21);
}
