//! Reference lists in queries: joins, `IN` and `EXISTS` answer as SQL does, nulls and all.
//!
//! Expected values are worked out by hand from what stands in the test.

use crate::support::{World, answers};

/// A query's answers are these lines.
#[track_caller]
fn gives(query: &str, rows: &[&str], expected: &[&str]) {
    assert_eq!(answers(query, rows).lines().collect::<Vec<_>>(), expected, "{query}");
}

#[test]
fn an_inner_join_keeps_rows_that_the_list_knows_and_a_left_join_keeps_all() {
    let rows = ["00:00 country=IR", "00:01 country=DE", "00:02"];
    gives(
        "SELECT tx, c.reason, c.code FROM payments p JOIN countries c ON p.country = c.country",
        &rows,
        &["tx | reason | code", "t1 | sanctions | 1"],
    );
    gives(
        "SELECT tx, c.reason, c.code FROM payments p LEFT JOIN countries c ON p.country = c.country",
        &rows,
        &["tx | reason | code", "t1 | sanctions | 1", "t2 | - | -", "t3 | - | -"],
    );
    gives(
        "SELECT tx, c.code FROM countries c RIGHT JOIN payments p ON p.country = c.country",
        &rows,
        &["tx | code", "t1 | 1", "t2 | -", "t3 | -"],
    );
    gives("SELECT tx, code FROM payments JOIN countries USING (country)", &rows, &["tx | code", "t1 | 1"]);
    gives("SELECT tx, code FROM payments NATURAL JOIN countries", &rows, &["tx | code", "t1 | 1"]);
}

#[test]
fn columns_of_a_list_can_be_tested_after_the_join_and_in_it() {
    let rows = ["00:00 country=IR", "00:01 country=KP", "00:02 country=DE"];
    gives(
        "SELECT tx FROM payments p JOIN countries c ON p.country = c.country WHERE c.code > 1",
        &rows,
        &["tx", "t2"],
    );
    gives(
        "SELECT tx FROM payments p LEFT JOIN countries c ON p.country = c.country WHERE c.code IS NULL OR c.code = 2",
        &rows,
        &["tx", "t2", "t3"],
    );
    gives(
        "SELECT tx, c.code FROM payments p LEFT JOIN countries c ON p.country = c.country AND c.code > 1",
        &rows,
        &["tx | code", "t1 | -", "t2 | 2", "t3 | -"],
    );
    gives(
        "SELECT tx, c.code FROM payments p JOIN countries c ON p.country = c.country AND p.n > c.code",
        &["00:00 country=IR n=1", "00:01 country=IR n=2"],
        &["tx | code", "t2 | 1"],
    );
}

#[test]
fn a_list_may_be_joined_by_an_expression_and_through_a_sub_select() {
    gives(
        "SELECT tx, c.code FROM payments p JOIN countries c ON upper(trim(p.country)) = c.country",
        &["00:00 country=ir", "00:01 country=IR", "00:02 country=de"],
        &["tx | code", "t1 | 1", "t2 | 1"],
    );
    gives(
        "SELECT tx, c.twice FROM payments p
         JOIN (SELECT country AS land, code * 2 AS twice FROM countries WHERE code > 1) c ON p.country = c.land",
        &["00:00 country=IR", "00:01 country=KP"],
        &["tx | twice", "t2 | 4"],
    );
    gives(
        "WITH risky AS (SELECT country FROM countries WHERE code > 1)
         SELECT tx FROM payments p JOIN risky r ON p.country = r.country",
        &["00:00 country=IR", "00:01 country=KP"],
        &["tx", "t2"],
    );
}

#[test]
fn codes_of_a_list_match_text_whatever_they_look_like() {
    gives(
        "SELECT tx, m.risk FROM payments p JOIN mccs m ON p.mcc = m.mcc",
        &["00:00 mcc=0742", "00:01 mcc=742", "00:02 mcc=7995", "00:03 mcc=x"],
        &["tx | risk", "t1 | 1", "t3 | 9"],
    );
    let world =
        World { lists: vec![("codes.csv".into(), "mcc,risk\n7995,9\n6051,3\n".into())], ..World::default() };
    for query in [
        "SELECT tx FROM payments p JOIN codes c ON p.mcc = c.mcc",
        "SELECT tx FROM payments p WHERE p.mcc IN (SELECT mcc FROM codes)",
        "SELECT tx FROM payments p WHERE EXISTS (SELECT 1 FROM codes c WHERE c.mcc = p.mcc)",
    ] {
        let mut running = world.run(&[query]);
        let outcome = running.step(&["00:00 mcc=7995", "00:01 mcc=1234", "00:02 mcc=x1", "00:03"]);
        assert_eq!(running.table(0, &outcome), "tx\nt1", "{query}");
        assert_eq!(running.core.counts().rule_errors, 0, "{query}");
    }
}

#[test]
fn two_lists_may_be_joined_one_after_the_other() {
    gives(
        "SELECT tx, c.code, m.risk FROM payments p
         JOIN countries c ON p.country = c.country
         LEFT JOIN mccs m ON p.mcc = m.mcc",
        &["00:00 country=IR mcc=7995", "00:01 country=IR mcc=1", "00:02 country=DE mcc=7995"],
        &["tx | code | risk", "t1 | 1 | 9", "t2 | 1 | -"],
    );
    gives(
        "SELECT tx, m.mcc, k.risk FROM payments p
         LEFT JOIN merchants m ON p.merchant = m.merchant
         LEFT JOIN mccs k ON m.mcc = k.mcc",
        &["00:00 merchant=m1", "00:01 merchant=m9"],
        &["tx | mcc | risk", "t1 | 7995 | 9", "t2 | - | -"],
    );
    gives(
        "SELECT tx, a.code AS a, b.code AS b FROM payments p
         JOIN countries a ON p.country = a.country LEFT JOIN countries b ON p.country = b.country AND b.code > 1",
        &["00:00 country=IR", "00:01 country=KP", "00:02 country=DE"],
        &["tx | a | b", "t1 | 1 | -", "t2 | 2 | 2"],
    );
}

#[test]
fn a_window_may_be_over_what_a_join_brings() {
    gives(
        "SELECT tx, sum(m.risk) OVER (PARTITION BY card ORDER BY event_time) AS risk FROM payments p
         JOIN mccs m ON p.mcc = m.mcc",
        &["00:00 card=a mcc=7995", "00:01 card=a mcc=5555", "00:02 card=a mcc=0742"],
        &["tx | risk", "t1 | 9", "t3 | 10"],
    );
}

#[test]
fn in_and_not_in_follow_the_three_values_of_sql() {
    let rows = ["00:00 country=IR", "00:01 country=DE", "00:02"];
    let is = |query: &str, expected: &[&str]| {
        let query = format!("SELECT tx FROM payments WHERE {query}");
        let expected: Vec<&str> = std::iter::once("tx").chain(expected.iter().copied()).collect();
        gives(&query, &rows, &expected);
    };
    is("country IN ('IR', 'KP')", &["t1"]);
    is("country NOT IN ('IR', 'KP')", &["t2"]);
    is("country NOT IN ('IR', NULL)", &[]);
    is("country IN (SELECT country FROM countries)", &["t1"]);
    is("country NOT IN (SELECT country FROM countries)", &["t2"]);
    // A null in the list: nothing is known to be outside of it.
    is("country IN (SELECT country FROM holes)", &["t1"]);
    is("country NOT IN (SELECT country FROM holes)", &[]);
    is("country NOT IN (SELECT country FROM holes WHERE country IS NOT NULL)", &["t2"]);
    // Nothing is in an empty list, not even null.
    is("country IN (SELECT country FROM countries WHERE code > 5)", &[]);
    is("country NOT IN (SELECT country FROM countries WHERE code > 5)", &["t1", "t2", "t3"]);
    is("(country IN (SELECT country FROM countries)) IS NULL", &["t3"]);
    is("country IN (SELECT DISTINCT country FROM countries)", &["t1"]);
}

#[test]
fn exists_looks_for_a_row_and_is_never_null() {
    let rows = ["00:00 country=IR n=1", "00:01 country=DE n=1", "00:02"];
    let is = |query: &str, expected: &[&str]| {
        let query = format!("SELECT tx FROM payments p WHERE {query}");
        let expected: Vec<&str> = std::iter::once("tx").chain(expected.iter().copied()).collect();
        gives(&query, &rows, &expected);
    };
    is("EXISTS (SELECT 1 FROM countries c WHERE c.country = p.country)", &["t1"]);
    is("EXISTS (SELECT * FROM countries c WHERE p.country = c.country)", &["t1"]);
    is("NOT EXISTS (SELECT 1 FROM countries c WHERE c.country = p.country)", &["t2", "t3"]);
    is("EXISTS (SELECT 1 FROM countries c WHERE c.country = p.country AND c.code = p.n)", &["t1"]);
    is("EXISTS (SELECT 1 FROM countries c WHERE c.country = p.country AND c.code = p.n + 1)", &[]);
    is("EXISTS (SELECT 1 FROM countries c WHERE c.country = p.country AND c.code > 1)", &[]);
    is("EXISTS (SELECT 1 FROM countries c WHERE c.code > 1)", &["t1", "t2", "t3"]);
    is("NOT EXISTS (SELECT 1 FROM countries c WHERE c.code > 5)", &["t1", "t2", "t3"]);
    is("EXISTS (SELECT 1 FROM countries c WHERE lower(c.country) = lower(p.country))", &["t1"]);
}

#[test]
fn a_lookup_may_stand_in_an_expression() {
    gives(
        "SELECT tx, CASE WHEN country IN (SELECT country FROM countries) THEN 'listed' ELSE 'other' END AS what
         FROM payments",
        &["00:00 country=IR", "00:01 country=DE", "00:02"],
        &["tx | what", "t1 | listed", "t2 | other", "t3 | other"],
    );
    gives(
        "SELECT tx, count(*) FILTER (WHERE mcc IN (SELECT mcc FROM mccs WHERE risk > 5))
                    OVER (PARTITION BY card ORDER BY event_time) AS risky
         FROM payments QUALIFY risky >= 2",
        &["00:00 card=a mcc=7995", "00:01 card=a mcc=0742", "00:02 card=a mcc=7995"],
        &["tx | risky", "t3 | 2"],
    );
}
