//! What DataFusion gets wrong, or does otherwise than a stream must, when it is left alone.
//!
//! One sentence for each trap that experiments with the library showed; most of them fail silently.

use crate::support::{Order, World, answers};

#[track_caller]
fn gives(query: &str, rows: &[&str], expected: &[&str]) {
    assert_eq!(answers(query, rows).lines().collect::<Vec<_>>(), expected, "{query}");
}

/// How many window states some queries hold together.
fn states(queries: &[&str]) -> usize {
    World::default().run(queries).windows().len()
}

#[test]
fn a_named_window_in_qualify_may_repeat_the_selected_aggregate() {
    gives(
        "SELECT tx, count(*) OVER w AS times FROM payments
         WINDOW w AS (PARTITION BY card ORDER BY event_time RANGE BETWEEN INTERVAL '1 hour' PRECEDING AND CURRENT ROW)
         QUALIFY count(*) OVER w >= 2",
        &["00:00 card=a", "00:01 card=a"],
        &["tx | times", "t2 | 2"],
    );
}

#[test]
fn a_window_may_be_made_from_another() {
    gives(
        "SELECT tx, count(*) OVER w2 AS times, count(*) OVER w3 AS same FROM payments
         WINDOW w1 AS (PARTITION BY card ORDER BY event_time),
                w2 AS (w1 RANGE BETWEEN INTERVAL '5 seconds' PRECEDING AND CURRENT ROW),
                w3 AS w2",
        &["00:00 card=a", "00:03 card=a", "00:03 card=b", "00:08 card=a"],
        &["tx | times | same", "t1 | 1 | 1", "t2 | 2 | 2", "t3 | 1 | 1", "t4 | 2 | 2"],
    );
}

#[test]
fn a_frame_added_to_a_named_window_keeps_its_partition_and_order() {
    gives(
        "SELECT tx, sum(n) OVER (w ROWS BETWEEN 1 PRECEDING AND CURRENT ROW) AS total FROM payments
         WINDOW w AS (PARTITION BY card ORDER BY event_time)",
        &["00:00 card=a n=1", "00:01 card=b n=10", "00:02 card=a n=2", "00:03 card=a n=4"],
        &["tx | total", "t1 | 1", "t2 | 10", "t3 | 3", "t4 | 6"],
    );
}

#[test]
fn sixty_minutes_and_an_hour_are_one_window_and_a_day_is_24_hours() {
    let query = |length: &str| {
        format!(
            "SELECT tx, count(*) OVER (PARTITION BY card ORDER BY event_time
             RANGE BETWEEN INTERVAL '{length}' PRECEDING AND CURRENT ROW) AS times FROM payments"
        )
    };
    for (one, other) in [
        ("60 minutes", "1 hour"),
        ("1 day", "24 hours"),
        ("1 week", "7 days"),
        ("90 seconds", "1 minute 30 seconds"),
    ] {
        let queries = [query(one), query(other)];
        let running = World::default().run(&[&queries[0], &queries[1]]);
        let windows = running.windows();
        assert_eq!(windows.len(), 1, "{one} and {other}");
        assert_eq!(windows[0].answers.len(), 1, "{one} and {other}: one answer for both");
        assert_eq!(windows[0].queries, [0, 1]);
    }
    // A day of 24 hours, to the microsecond.
    gives(
        &query("1 day"),
        &["00:00 card=a", "1d 00:00 card=a", "2d 00:01 card=a"],
        &["tx | times", "t1 | 1", "t2 | 2", "t3 | 1"],
    );
}

#[test]
fn a_clock_is_not_folded_into_a_constant() {
    for clock in ["now()", "current_timestamp", "current_date", "random()", "uuid()"] {
        let drawn = World::default().refusal(&format!("SELECT tx, {clock} AS x FROM payments"));
        assert!(drawn.contains("is different on each run"), "{clock}: {drawn}");
    }
}

#[test]
fn months_are_refused_as_a_length() {
    for length in ["1 month", "2 years", "1 mon", "1 quarter"] {
        let drawn = World::default().refusal(&format!(
            "SELECT tx, count(*) OVER (PARTITION BY card ORDER BY event_time
             RANGE BETWEEN INTERVAL '{length}' PRECEDING AND CURRENT ROW) AS times FROM payments"
        ));
        assert!(drawn.contains("months and years differ in length"), "{length}: {drawn}");
    }
}

#[test]
fn a_window_without_order_is_refused_wherever_it_is_written() {
    for query in [
        "SELECT tx, count(*) OVER (PARTITION BY card) AS times FROM payments",
        "SELECT tx, count(*) OVER w AS times FROM payments WINDOW w AS (PARTITION BY card)",
        "SELECT tx, count(*) OVER (w ROWS 3 PRECEDING) AS times FROM payments WINDOW w AS (PARTITION BY card)",
        "SELECT tx FROM payments QUALIFY count(*) OVER (PARTITION BY card) > 3",
    ] {
        let drawn = World::default().refusal(query);
        assert!(drawn.contains("without ORDER BY takes in the future"), "{query}: {drawn}");
    }
}

#[test]
fn a_sum_of_money_is_exact_and_has_room_to_grow() {
    let query = "SELECT tx, sum(amount) OVER (PARTITION BY card ORDER BY event_time) AS total FROM payments";
    let (_, compiled) = World::default().compile(&[query]);
    assert_eq!(compiled.graph.queries[0].outputs[1].data_type.to_string(), "Decimal128(28, 2)");
    gives(
        query,
        &[
            "00:00 card=a amount=9999999999999999.99",
            "00:01 card=a amount=9999999999999999.99",
            "00:02 card=a amount=0.03",
        ],
        &["tx | total", "t1 | 9999999999999999.99", "t2 | 19999999999999999.98", "t3 | 20000000000000000.01"],
    );
}

#[test]
fn count_distinct_counts_different_values() {
    gives(
        "SELECT tx, count(DISTINCT merchant) OVER w AS different, count(merchant) OVER w AS known FROM payments
         WINDOW w AS (PARTITION BY card ORDER BY event_time RANGE BETWEEN INTERVAL '10 seconds' PRECEDING AND CURRENT ROW)",
        &["00:00 card=a merchant=m", "00:05 card=a merchant=m", "00:06 card=a", "00:07 card=a merchant=x", "00:16 card=a merchant=x"],
        &["tx | different | known", "t1 | 1 | 1", "t2 | 1 | 2", "t3 | 1 | 2", "t4 | 2 | 3", "t5 | 1 | 2"],
    );
}

#[test]
fn what_plans_and_then_fails_in_a_sliding_frame_works_here() {
    gives(
        "SELECT tx, bool_or(ok) OVER w AS any, bool_and(ok) OVER w AS every, string_agg(card, '+') OVER w AS cards,
                approx_distinct(n) OVER w AS ns, approx_percentile_cont(ratio, 0.5) OVER w AS middle
         FROM payments
         WINDOW w AS (PARTITION BY card ORDER BY event_time RANGE BETWEEN INTERVAL '5 seconds' PRECEDING AND CURRENT ROW)",
        &["00:00 card=a ok=true n=1 ratio=1", "00:03 card=a ok=false n=2 ratio=2", "00:06 card=a ok=false n=2 ratio=4"],
        &[
            "tx | any | every | cards | ns | middle",
            "t1 | true | true | a | 1 | 1.0",
            "t2 | true | false | a+a | 2 | 1.5",
            "t3 | false | false | a+a | 1 | 3.0",
        ],
    );
}

#[test]
fn an_aggregate_that_can_not_run_is_refused_before_it_runs() {
    let drawn = World::default().refusal(
        "SELECT tx, approx_distinct(ratio) OVER (PARTITION BY card ORDER BY event_time) AS about FROM payments",
    );
    assert!(drawn.contains("approx_distinct"), "{drawn}");
}

#[test]
fn predicates_on_the_partition_key_do_not_split_the_state() {
    let window = "WINDOW w AS (PARTITION BY card ORDER BY event_time RANGE BETWEEN INTERVAL '1 hour' PRECEDING AND CURRENT ROW)";
    let queries = ["a", "b", "c"].map(|card| {
        format!(
            "SELECT tx, count(*) OVER w AS times FROM payments {window} QUALIFY times > 2 AND card = '{card}'"
        )
    });
    let queries: Vec<&str> = queries.iter().map(String::as_str).collect();
    assert_eq!(states(&queries), 1);
}

#[test]
fn arguments_that_two_windows_share_are_not_pulled_out_of_them() {
    // The full optimiser would make `__common_expr_1` of amount * 2, and another state of each rule.
    let queries = [
        "SELECT tx, sum(amount * 2) OVER (PARTITION BY card ORDER BY event_time) AS s FROM payments",
        "SELECT tx, sum(amount * 2) OVER (PARTITION BY card ORDER BY event_time) AS s,
                avg(amount * 2) OVER (PARTITION BY card ORDER BY event_time) AS a FROM payments",
    ];
    let windows = World::default().run(&queries).windows();
    assert_eq!(windows.len(), 1);
    assert_eq!(windows[0].answers.len(), 2);
}

#[test]
fn arguments_are_evaluated_only_on_rows_that_where_lets_in() {
    gives(
        "SELECT tx, sum(100 / n) OVER (PARTITION BY card ORDER BY event_time) AS total FROM payments WHERE n <> 0",
        &["00:00 card=a n=10", "00:01 card=a n=0", "00:02 card=a n=50"],
        &["tx | total", "t1 | 10", "t3 | 12"],
    );
}

#[test]
fn float_sums_do_not_drift() {
    gives(
        "SELECT tx, sum(ratio) OVER (PARTITION BY card ORDER BY event_time
                    RANGE BETWEEN INTERVAL '5 seconds' PRECEDING AND CURRENT ROW) AS total FROM payments",
        &[
            "00:00 card=a ratio=1e16",
            "00:03 card=a ratio=1",
            "00:06 card=a ratio=1",
            "00:20 card=a ratio=0.5",
        ],
        &["tx | total", "t1 | 1e+16", "t2 | 1e+16", "t3 | 2.0", "t4 | 0.5"],
    );
}

#[test]
fn the_last_row_is_not_held_back() {
    gives(
        "SELECT tx, count(*) OVER (PARTITION BY card ORDER BY event_time) AS times FROM payments",
        &["00:00 card=a"],
        &["tx | times", "t1 | 1"],
    );
}

#[test]
fn current_row_takes_in_equal_times_that_came_before_on_arrival_and_all_of_them_in_order() {
    let query = "SELECT tx, count(*) OVER (PARTITION BY card ORDER BY event_time
                 RANGE BETWEEN INTERVAL '1 hour' PRECEDING AND CURRENT ROW) AS times FROM payments";
    gives(query, &["00:00 card=a", "00:00 card=a"], &["tx | times", "t1 | 1", "t2 | 2"]);
    let mut running = World::default().running(&[query], Order::InOrder);
    running.step(&["00:00 card=a", "00:00 card=a"]);
    let rest = running.core.finish().expect("answered");
    assert_eq!(running.table(0, &rest), "tx | times\nt1 | 2\nt2 | 2");
}

#[test]
fn an_integer_is_not_cast_where_its_sum_is_shared() {
    // sum() of an INTEGER casts it to BIGINT: the same cast in every rule, and one state.
    assert_eq!(
        states(&[
            "SELECT tx, sum(n) OVER (PARTITION BY card ORDER BY event_time) AS s FROM payments",
            "SELECT tx, sum(p.n) OVER (PARTITION BY p.card ORDER BY p.event_time) AS t FROM payments AS p",
        ]),
        1
    );
}

#[test]
fn a_window_in_where_is_refused_and_not_forgotten() {
    let drawn = World::default()
        .refusal("SELECT tx FROM payments WHERE count(*) OVER (PARTITION BY card ORDER BY event_time) > 3");
    assert!(drawn.contains("move the test to QUALIFY"), "{drawn}");
}
