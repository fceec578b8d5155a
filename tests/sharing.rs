//! Rules share what is equal, whatever it is called, and nothing else.
//!
//! Counted on the states that the engine holds, not on what the compiler says.

use tollgate::event::{Clock, SystemClock};

use crate::support::World;

const HOUR: &str =
    "PARTITION BY card ORDER BY event_time RANGE BETWEEN INTERVAL '1 hour' PRECEDING AND CURRENT ROW";

/// Number of states and of answers that some queries hold together.
#[track_caller]
fn held(queries: &[&str]) -> (usize, usize) {
    let windows = World::default().run(queries).windows();
    (windows.len(), windows.iter().map(|window| window.answers.len()).sum())
}

#[test]
fn a_thousand_rules_that_differ_in_thresholds_hold_one_window_state() {
    let rule = |times: usize| {
        format!(
            "SELECT tx, count(*) OVER w AS times, sum(amount) OVER w AS total FROM payments
             WINDOW w AS ({HOUR}) QUALIFY times >= {} AND total > {}",
            times % 40,
            times / 40
        )
    };
    let queries: Vec<String> = (0..1_000).map(rule).collect();
    let queries: Vec<&str> = queries.iter().map(String::as_str).collect();
    let clock = SystemClock::start();
    let mut running = World::default().run(&queries);
    println!("1,000 rules compiled in {:?}", clock.elapsed());
    let mut alone = World::default().run(&queries[..1]);
    let rows = ["00:00 card=a amount=1", "00:01 card=b amount=2", "00:02 card=a amount=30"];
    let outcome = running.step(&rows);
    alone.step(&rows);
    let (all, one) = (running.windows(), alone.windows());
    assert_eq!((all.len(), one.len()), (1, 1), "one state");
    assert_eq!(all[0].queries.len(), 1_000);
    assert_eq!(all[0].answers.len(), 2);
    assert_eq!(all[0].usage, one[0].usage, "a thousand rules hold what one holds");
    // t3 has 2 payments of 31.00 together: every threshold is judged for itself.
    let hits = |query: usize| running.table(query, &outcome).lines().count() - 1;
    assert_eq!([hits(2), hits(3), hits(2 + 40 * 24), hits(41)], [1, 0, 1, 2]);
}

#[test]
fn names_of_rules_windows_tables_and_columns_do_not_matter() {
    let same = [
        format!("SELECT tx, count(*) OVER w AS n_1h FROM payments WINDOW w AS ({HOUR})"),
        format!("SELECT tx, count(1) OVER other AS calls FROM payments AS p WINDOW other AS ({HOUR}) QUALIFY calls > 3"),
        format!("SELECT tx FROM payments QUALIFY count(*) OVER ({HOUR}) > 5"),
        format!("WITH c AS (SELECT tx AS id, count(*) OVER ({HOUR}) AS n FROM payments) SELECT id FROM c WHERE n > 5"),
        "SELECT s.id, count(*) OVER (PARTITION BY s.who ORDER BY s.at RANGE BETWEEN INTERVAL '3600 seconds' PRECEDING AND CURRENT ROW) AS k
         FROM (SELECT tx AS id, card AS who, event_time AS at FROM payments) AS s"
            .to_owned(),
        "SELECT tx, count(*) OVER (b RANGE INTERVAL '60 minutes' PRECEDING) AS k FROM payments WINDOW a AS (PARTITION BY card), b AS (a ORDER BY event_time)".to_owned(),
    ];
    let same: Vec<&str> = same.iter().map(String::as_str).collect();
    assert_eq!(held(&same), (1, 1));
}

#[test]
fn a_view_and_its_query_written_out_share() {
    let world =
        World::with_views("CREATE VIEW big AS SELECT tx, card, event_time FROM payments WHERE amount > 5");
    let queries = [
        format!("SELECT tx, count(*) OVER ({HOUR}) AS a FROM big"),
        format!("SELECT tx, count(*) OVER ({HOUR}) AS b FROM payments WHERE amount > 5"),
        format!(
            "SELECT tx, count(*) OVER ({HOUR}) AS c FROM (SELECT * FROM payments) AS x WHERE x.amount > 5"
        ),
    ];
    let queries: Vec<&str> = queries.iter().map(String::as_str).collect();
    let windows = world.run(&queries).windows();
    assert_eq!(windows.len(), 1);
    assert_eq!(windows[0].answers.len(), 1);
}

#[test]
fn windows_on_one_key_share_its_rows_and_answer_for_themselves() {
    let queries = [
        format!("SELECT tx, count(*) OVER ({HOUR}) AS a FROM payments"),
        "SELECT tx, sum(amount) OVER (PARTITION BY card ORDER BY event_time RANGE BETWEEN INTERVAL '1 day' PRECEDING AND CURRENT ROW) AS b FROM payments".to_owned(),
    ];
    let queries: Vec<&str> = queries.iter().map(String::as_str).collect();
    assert_eq!(held(&queries), (1, 2));
}

#[test]
fn another_key_another_where_and_another_stream_are_other_states_with_answers_of_their_own() {
    let rows = [
        "00:00 card=a merchant=m amount=9",
        "logins 00:01 card=a",
        "00:02 card=a merchant=m amount=1",
        "00:03 card=b merchant=m amount=9",
    ];
    let queries = [
        "SELECT tx, count(*) OVER (PARTITION BY card ORDER BY event_time) AS k FROM payments",
        "SELECT tx, count(*) OVER (PARTITION BY merchant ORDER BY event_time) AS k FROM payments",
        "SELECT tx, count(*) OVER (PARTITION BY card ORDER BY event_time) AS k FROM payments WHERE amount > 5",
        "SELECT login, count(*) OVER (PARTITION BY card ORDER BY event_time) AS k FROM logins",
    ];
    let mut running = World::default().run(&queries);
    let outcome = running.step(&rows);
    assert_eq!(running.windows().len(), 4);
    let answers: Vec<String> =
        (0..4).map(|query| running.table(query, &outcome).replace('\n', "; ")).collect();
    assert_eq!(
        answers,
        [
            "tx | k; t1 | 1; t3 | 2; t4 | 1",
            "tx | k; t1 | 1; t3 | 2; t4 | 3",
            "tx | k; t1 | 1; t4 | 1",
            "login | k; t2 | 1"
        ]
    );
}

#[test]
fn other_arguments_filters_frames_and_defaults_are_other_answers() {
    let answers = [
        "sum(n) OVER w",
        "sum(n + 1) OVER w",
        "sum(DISTINCT n) OVER w",
        "count(n) OVER w",
        "count(DISTINCT n) OVER w",
        "count(*) FILTER (WHERE ok) OVER w",
        "count(*) FILTER (WHERE NOT ok) OVER w",
        "lag(n) OVER w",
        "lag(n, 2) OVER w",
        "lag(n, 1, 0) OVER w",
        "lag(n, 1, 7) OVER w",
        "nth_value(n, 2) OVER w",
        "nth_value(n, 3) OVER w",
        "first_value(n) OVER w",
        "first_value(n) IGNORE NULLS OVER w",
        "string_agg(card, ',') OVER w",
        "string_agg(card, ';') OVER w",
        "approx_percentile_cont(n, 0.5) OVER w",
        "approx_percentile_cont(n, 0.9) OVER w",
        "sum(n) OVER (w ROWS 2 PRECEDING)",
        "sum(n) OVER (w ROWS 3 PRECEDING)",
    ];
    let queries = answers.map(|answer| {
        format!("SELECT tx, {answer} AS v FROM payments WINDOW w AS (PARTITION BY card ORDER BY event_time)")
    });
    let queries: Vec<&str> = queries.iter().map(String::as_str).collect();
    assert_eq!(held(&queries), (1, answers.len()));
    let twice: Vec<&str> = queries.iter().chain(&queries).copied().collect();
    assert_eq!(held(&twice), (1, answers.len()));
}

#[test]
fn lists_are_told_apart_by_what_is_in_them_and_how_they_are_read() {
    let rule =
        |condition: &str| format!("SELECT tx, count(*) OVER ({HOUR}) AS k FROM payments p WHERE {condition}");
    let same = [
        rule("country IN (SELECT country FROM countries WHERE code > 1)"),
        rule("p.country IN (SELECT c.country FROM countries AS c WHERE c.code > 1)"),
    ];
    assert_eq!(held(&[&same[0], &same[1]]), (1, 1));
    let different = [
        "country IN (SELECT country FROM countries)",
        "country IN (SELECT country FROM countries WHERE code > 1)",
        "country IN (SELECT country FROM holes)",
        "country IN (SELECT reason FROM countries)",
        "country NOT IN (SELECT country FROM countries)",
        "merchant IN (SELECT country FROM countries)",
        "EXISTS (SELECT 1 FROM countries c WHERE c.country = p.country)",
        "EXISTS (SELECT 1 FROM countries c WHERE c.reason = p.country)",
    ];
    let queries = different.map(rule);
    let queries: Vec<&str> = queries.iter().map(String::as_str).collect();
    assert_eq!(held(&queries), (different.len(), different.len()));
}
