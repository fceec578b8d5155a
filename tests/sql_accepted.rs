//! Everything that the SQL of rules accepts runs, and gives the rows that SQL gives.
//!
//! Expected values are worked out by hand from what stands in the test.

use crate::support::{Order, World, answers};

/// A query's answers are these lines.
#[track_caller]
fn gives(query: &str, rows: &[&str], expected: &[&str]) {
    assert_eq!(answers(query, rows).lines().collect::<Vec<_>>(), expected, "{query}");
}

#[test]
fn a_query_without_a_condition_gives_every_row() {
    gives(
        "SELECT tx, card, amount FROM payments",
        &["00:00 card=a amount=1.50", "00:01 card=b"],
        &["tx | card | amount", "t1 | a | 1.50", "t2 | b | -"],
    );
}

#[test]
fn select_star_gives_every_column() {
    let world = World {
        schema: "CREATE TABLE s (id VARCHAR, event_time TIMESTAMP NOT NULL, x INT, PRIMARY KEY (id));".into(),
        ..World::default()
    };
    assert_eq!(
        world.answers("SELECT * FROM s WHERE x > 1", &["00:00 x=1", "00:01 x=2"]),
        "id | event_time | x\nt2 | 2026-01-01T00:00:01Z | 2"
    );
}

#[test]
fn a_condition_that_is_null_is_not_true() {
    gives(
        "SELECT tx FROM payments WHERE amount > 1",
        &["00:00 amount=2", "00:01", "00:02 amount=1"],
        &["tx", "t1"],
    );
    gives(
        "SELECT tx FROM payments WHERE NOT (amount > 1)",
        &["00:00 amount=2", "00:01", "00:02 amount=1"],
        &["tx", "t3"],
    );
}

#[test]
fn a_window_counts_its_own_row_and_those_before_it() {
    gives(
        "SELECT tx, count(*) OVER w AS times, sum(amount) OVER w AS total FROM payments
         WINDOW w AS (PARTITION BY card ORDER BY event_time
                      RANGE BETWEEN INTERVAL '10 seconds' PRECEDING AND CURRENT ROW)",
        &["00:00 card=a amount=1", "00:05 card=b amount=5", "00:10 card=a amount=2", "00:11 card=a amount=4"],
        &["tx | times | total", "t1 | 1 | 1.00", "t2 | 1 | 5.00", "t3 | 2 | 3.00", "t4 | 2 | 6.00"],
    );
}

#[test]
fn null_keys_are_one_key() {
    gives(
        "SELECT tx, count(*) OVER (PARTITION BY card ORDER BY event_time) AS times FROM payments",
        &["00:00", "00:01 card=a", "00:02"],
        &["tx | times", "t1 | 1", "t2 | 1", "t3 | 2"],
    );
}

#[test]
fn a_window_without_partition_by_is_over_all_rows() {
    gives(
        "SELECT tx, count(*) OVER (ORDER BY event_time) AS times FROM payments",
        &["00:00 card=a", "00:01 card=b"],
        &["tx | times", "t1 | 1", "t2 | 2"],
    );
}

#[test]
fn the_frame_may_end_before_the_current_row() {
    gives(
        "SELECT tx, sum(amount) OVER w AS total, count(*) OVER w AS times FROM payments
         WINDOW w AS (PARTITION BY card ORDER BY event_time
                      RANGE BETWEEN INTERVAL '10 seconds' PRECEDING AND INTERVAL '5 seconds' PRECEDING)",
        &["00:00 card=a amount=1", "00:04 card=a amount=2", "00:05 card=a amount=4", "00:10 card=a amount=8"],
        &["tx | total | times", "t1 | - | 0", "t2 | - | 0", "t3 | 1.00 | 1", "t4 | 7.00 | 3"],
    );
}

#[test]
fn rows_frames_count_rows() {
    gives(
        "SELECT tx, sum(n) OVER (PARTITION BY card ORDER BY event_time ROWS BETWEEN 1 PRECEDING AND CURRENT ROW) AS two,
                sum(n) OVER (PARTITION BY card ORDER BY event_time ROWS BETWEEN 2 PRECEDING AND 1 PRECEDING) AS before,
                sum(n) OVER (PARTITION BY card ORDER BY event_time ROWS 2 PRECEDING) AS three
         FROM payments",
        &["00:00 card=a n=1", "00:00 card=a n=2", "00:09 card=a n=4", "00:10 card=a n=8"],
        &["tx | two | before | three", "t1 | 1 | - | 1", "t2 | 3 | 1 | 3", "t3 | 6 | 3 | 7", "t4 | 12 | 6 | 14"],
    );
}

#[test]
fn unbounded_preceding_remembers_everything() {
    gives(
        "SELECT tx, max(amount) OVER (PARTITION BY card ORDER BY event_time
                    RANGE BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS most,
                min(amount) OVER (PARTITION BY card ORDER BY event_time ROWS UNBOUNDED PRECEDING) AS least,
                avg(n) OVER (PARTITION BY card ORDER BY event_time) AS mean
         FROM payments",
        &["00:00 card=a amount=3 n=1", "90d 00:00 card=a amount=2 n=2"],
        &["tx | most | least | mean", "t1 | 3.00 | 3.00 | 1.0", "t2 | 3.00 | 2.00 | 1.5"],
    );
}

#[test]
fn first_last_nth_and_lag_give_values_of_rows() {
    gives(
        "SELECT tx, first_value(n) OVER w AS first, last_value(n) OVER w AS last, nth_value(n, 2) OVER w AS second,
                lag(n) OVER o AS before, lag(n, 2, -1) OVER o AS two_before, row_number() OVER o AS number
         FROM payments
         WINDOW o AS (PARTITION BY card ORDER BY event_time),
                w AS (o RANGE BETWEEN INTERVAL '5 seconds' PRECEDING AND CURRENT ROW)",
        &["00:00 card=a n=1", "00:04 card=a n=2", "00:09 card=a n=3"],
        &[
            "tx | first | last | second | before | two_before | number",
            "t1 | 1 | 1 | - | - | -1 | 1",
            "t2 | 1 | 2 | 2 | 1 | -1 | 2",
            "t3 | 2 | 3 | 3 | 2 | 1 | 3",
        ],
    );
}

#[test]
fn values_of_rows_can_pass_over_nulls() {
    gives(
        "SELECT tx, last_value(merchant) IGNORE NULLS OVER (PARTITION BY card ORDER BY event_time
                    ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS before,
                first_value(merchant) IGNORE NULLS OVER (PARTITION BY card ORDER BY event_time) AS first
         FROM payments",
        &["00:00 card=a", "00:01 card=a merchant=m", "00:02 card=a"],
        &["tx | before | first", "t1 | - | -", "t2 | - | m", "t3 | m | m"],
    );
}

#[test]
fn a_filter_picks_the_rows_that_count() {
    gives(
        "SELECT tx, count(*) FILTER (WHERE NOT ok) OVER w AS declined,
                sum(amount) FILTER (WHERE country = 'IR') OVER w AS there
         FROM payments WINDOW w AS (PARTITION BY card ORDER BY event_time)",
        &[
            "00:00 card=a ok=true amount=1 country=IR",
            "00:01 card=a ok=false amount=2",
            "00:02 card=a amount=4 country=DE",
        ],
        &["tx | declined | there", "t1 | 0 | 1.00", "t2 | 1 | 1.00", "t3 | 1 | 1.00"],
    );
}

#[test]
fn a_filter_keeps_rows_away_from_an_argument_that_would_fail() {
    gives(
        "SELECT tx, sum(100 / n) FILTER (WHERE n <> 0) OVER (PARTITION BY card ORDER BY event_time) AS total
         FROM payments",
        &["00:00 card=a n=10", "00:01 card=a n=0", "00:02 card=a n=50"],
        &["tx | total", "t1 | 10", "t2 | 10", "t3 | 12"],
    );
}

#[test]
fn where_keeps_rows_out_of_the_window_and_qualify_only_out_of_the_answer() {
    let rows = ["00:00 card=a amount=1", "00:01 card=a amount=9", "00:02 card=a amount=2"];
    gives(
        "SELECT tx, count(*) OVER w AS times FROM payments WHERE amount < 5
         WINDOW w AS (PARTITION BY card ORDER BY event_time)",
        &rows,
        &["tx | times", "t1 | 1", "t3 | 2"],
    );
    gives(
        "SELECT tx, count(*) OVER w AS times FROM payments
         WINDOW w AS (PARTITION BY card ORDER BY event_time) QUALIFY amount < 5",
        &rows,
        &["tx | times", "t1 | 1", "t3 | 3"],
    );
}

#[test]
fn qualify_may_ask_for_a_window_that_is_not_selected() {
    gives(
        "SELECT tx FROM payments QUALIFY count(*) OVER (PARTITION BY card ORDER BY event_time) = 2",
        &["00:00 card=a", "00:01 card=a", "00:02 card=a"],
        &["tx", "t2"],
    );
}

#[test]
fn common_table_expressions_and_sub_selects_are_as_if_written_out() {
    let rows = ["00:00 card=a amount=1", "00:01 card=a amount=9", "00:02 card=a amount=7"];
    let expected = ["tx | times", "t3 | 2"];
    gives(
        "WITH big AS (SELECT tx AS id, card AS who, event_time FROM payments WHERE amount > 5),
              counted AS (SELECT id, count(*) OVER (PARTITION BY who ORDER BY event_time) AS times FROM big)
         SELECT id AS tx, times FROM counted WHERE times > 1",
        &rows,
        &expected,
    );
    gives(
        "SELECT c.id AS tx, c.times FROM (
             SELECT b.id, count(*) OVER (PARTITION BY b.who ORDER BY b.at) AS times
             FROM (SELECT tx AS id, card AS who, event_time AS at FROM payments WHERE amount > 5) AS b
         ) AS c WHERE c.times > 1",
        &rows,
        &expected,
    );
    gives(
        "WITH outermost AS (
             WITH inner_one AS (SELECT tx, card, event_time FROM payments WHERE amount > 5)
             SELECT i.tx, count(*) OVER (PARTITION BY i.card ORDER BY i.event_time) AS times FROM inner_one i
         )
         SELECT o.tx, o.times FROM outermost o WHERE o.times > 1",
        &rows,
        &expected,
    );
}

#[test]
fn a_window_over_the_answers_of_a_window() {
    gives(
        "SELECT tx, max(times) OVER (PARTITION BY merchant ORDER BY event_time) AS worst FROM (
             SELECT tx, merchant, event_time, count(*) OVER (PARTITION BY card ORDER BY event_time) AS times
             FROM payments
         ) AS counted",
        &[
            "00:00 card=a merchant=m",
            "00:01 card=a merchant=m",
            "00:02 card=b merchant=m",
            "00:03 card=b merchant=x",
        ],
        &["tx | worst", "t1 | 1", "t2 | 2", "t3 | 2", "t4 | 2"],
    );
}

#[test]
fn views_stand_for_their_query() {
    let world = World::with_views(
        "CREATE VIEW second AS SELECT tx, card, event_time, amount FROM first WHERE amount < 100;
         CREATE VIEW first AS SELECT tx, card, event_time, amount FROM payments WHERE amount > 5;",
    );
    assert_eq!(
        world.answers(
            "SELECT s.tx, count(*) OVER (PARTITION BY s.card ORDER BY s.event_time) AS times FROM second s",
            &[
                "00:00 card=a amount=6",
                "00:01 card=a amount=1",
                "00:02 card=a amount=7",
                "00:03 card=a amount=700"
            ],
        ),
        "tx | times\nt1 | 1\nt3 | 2"
    );
}

#[test]
fn views_and_queries_may_use_the_same_names_for_their_parts() {
    let world = World::with_views(
        "CREATE VIEW big AS WITH part AS (SELECT tx, amount FROM payments WHERE amount > 5) SELECT tx, amount FROM part",
    );
    assert_eq!(
        world.answers(
            "WITH part AS (SELECT tx, amount FROM big WHERE amount < 10) SELECT tx FROM part",
            &["00:00 amount=6", "00:01 amount=1", "00:02 amount=70"],
        ),
        "tx\nt1"
    );
}

#[test]
fn union_all_is_one_sequence_in_order_of_arrival() {
    let world = World::with_views(
        "CREATE VIEW activity AS
         SELECT tx AS id, event_time, card, 'payment' AS kind FROM payments
         UNION ALL
         SELECT login AS id, event_time, card, kind FROM logins",
    );
    assert_eq!(
        world.answers(
            "SELECT id, kind, count(*) FILTER (WHERE kind = 'reset') OVER w AS resets, count(*) OVER w AS events
             FROM activity
             WINDOW w AS (PARTITION BY card ORDER BY event_time
                          RANGE BETWEEN INTERVAL '10 seconds' PRECEDING AND CURRENT ROW)",
            &["logins 00:00 card=a kind=reset", "00:01 card=a", "logins 00:02 card=a kind=login", "00:11 card=a"],
        ),
        "id | kind | resets | events\n\
         t1 | reset | 1 | 1\n\
         t2 | payment | 1 | 2\n\
         t3 | login | 1 | 3\n\
         t4 | payment | 0 | 3"
    );
}

#[test]
fn one_row_may_stand_in_both_parts_of_a_union() {
    gives(
        "SELECT tx, what FROM (
             SELECT tx, 'big' AS what FROM payments WHERE amount > 5
             UNION ALL
             SELECT tx, 'there' AS what FROM payments WHERE country = 'IR'
         ) AS both",
        &["00:00 amount=9 country=IR", "00:01 amount=1", "00:02 amount=6"],
        &["tx | what", "t1 | big", "t1 | there", "t3 | big"],
    );
}

#[test]
fn parts_of_a_union_are_cast_to_one_type() {
    gives(
        "SELECT id, v FROM (SELECT tx AS id, n AS v FROM payments UNION ALL SELECT login AS id, NULL AS v FROM logins
                            UNION ALL SELECT tx AS id, amount AS v FROM payments) AS u",
        &["00:00 n=2 amount=1.25", "logins 00:01"],
        &["id | v", "t1 | 2.00", "t1 | 1.25", "t2 | -"],
    );
}

#[test]
fn case_evaluates_only_the_branch_that_it_takes() {
    gives(
        "SELECT tx, CASE WHEN n = 0 THEN -1 ELSE 100 / n END AS share FROM payments",
        &["00:00 n=0", "00:01 n=4", "00:02"],
        &["tx | share", "t1 | -1", "t2 | 25", "t3 | -"],
    );
}

#[test]
fn aggregates_that_have_no_running_state_run_over_each_frame() {
    gives(
        "SELECT tx, median(n) OVER w AS middle, approx_distinct(merchant) OVER w AS about,
                string_agg(merchant, ',') OVER w AS names, corr(ratio, n) OVER w AS r,
                sum(DISTINCT n) OVER w AS different, bit_or(n) OVER w AS bits
         FROM payments
         WINDOW w AS (PARTITION BY card ORDER BY event_time
                      RANGE BETWEEN INTERVAL '10 seconds' PRECEDING AND CURRENT ROW)",
        &[
            "00:00 card=a n=1 ratio=1 merchant=x",
            "00:05 card=a n=3 ratio=3 merchant=y",
            "00:12 card=a n=3 ratio=5 merchant=y",
        ],
        &[
            "tx | middle | about | names | r | different | bits",
            "t1 | 1.0 | 1 | x | - | 1 | 1",
            "t2 | 2.0 | 2 | x,y | 1.0 | 4 | 3",
            "t3 | 3.0 | 1 | y,y | - | 3 | 3",
        ],
    );
}

#[test]
fn spread_and_truth_aggregates() {
    gives(
        "SELECT tx, stddev(n) OVER w AS s, stddev_pop(n) OVER w AS p, var(n) OVER w AS v, var_pop(n) OVER w AS vp,
                bool_and(ok) OVER w AS every, bool_or(ok) OVER w AS any
         FROM payments WINDOW w AS (PARTITION BY card ORDER BY event_time)",
        &["00:00 card=a n=2 ok=true", "00:01 card=a n=4 ok=false"],
        &["tx | s | p | v | vp | every | any", "t1 | - | 0.0 | - | 0.0 | true | true", "t2 | 1.4142135623730951 | 1.0 | 2.0 | 1.0 | false | true"],
    );
}

#[test]
fn an_aggregate_of_a_constant_counts_the_rows_of_the_frame() {
    gives(
        "SELECT tx, sum(1) OVER w AS ones, count(1) OVER w AS rows, count(NULL) OVER w AS nothing,
                max('x') OVER w AS word, count(DISTINCT 7) OVER w AS one
         FROM payments WINDOW w AS (PARTITION BY card ORDER BY event_time)",
        &["00:00 card=a", "00:01 card=a"],
        &["tx | ones | rows | nothing | word | one", "t1 | 1 | 1 | 0 | x | 1", "t2 | 2 | 2 | 0 | x | 1"],
    );
}

#[test]
fn functions_for_fraud_rules() {
    gives(
        "SELECT tx, round(distance_km(lat, lon, 51.5, 0.0)) AS km, ip_in_network(ip, '10.0.0.0/8') AS inside,
                date_part('hour', event_time) AS hour, date_trunc('minute', event_time) AS minute,
                extract(dow FROM event_time) AS weekday, upper(country) AS land, abs(n) AS size
         FROM payments",
        &["61:05 lat=48.85 lon=2.35 ip=10.2.3.4 country=fr n=-3", "00:01 ip=nonsense"],
        &[
            "tx | km | inside | hour | minute | weekday | land | size",
            "t1 | 339.0 | true | 1 | 2026-01-01T01:01:00Z | 4 | FR | 3",
            "t2 | - | - | 0 | 2026-01-01T00:00:00Z | 4 | - | -",
        ],
    );
}

#[test]
fn speed_between_two_events_of_a_card() {
    gives(
        "SELECT tx, round(distance_km(lat, lon, lag(lat) OVER w, lag(lon) OVER w)) AS km,
                date_part('epoch', event_time - lag(event_time) OVER w) AS seconds
         FROM payments WINDOW w AS (PARTITION BY card ORDER BY event_time)",
        &["00:00 card=a lat=0 lon=0", "01:40 card=a lat=0 lon=1"],
        &["tx | km | seconds", "t1 | - | -", "t2 | 111.0 | 100.0"],
    );
}

#[test]
fn quoted_names_keep_their_capitals() {
    let world = World {
        schema: "CREATE TABLE \"Events\" (\"Id\" VARCHAR, event_time TIMESTAMP NOT NULL, \"cardId\" VARCHAR, PRIMARY KEY (\"Id\"));".into(),
        lists: vec![("Known.csv".into(), "Card,Points\na,1\n".into())],
        ..World::default()
    };
    assert_eq!(
        world.answers(
            "SELECT \"Id\", \"cardId\" AS \"Card\", k.points AS POINTS FROM \"Events\" e JOIN known k ON e.\"cardId\" = k.CARD",
            &["00:00 cardId=a"]
        ),
        "Id | Card | points\nt1 | a | 1"
    );
}

#[test]
fn names_of_tables_and_columns_are_compared_without_capitals() {
    gives(
        "SELECT TX, Payments.AMOUNT FROM PAYMENTS WHERE Amount > 1",
        &["00:00 amount=2"],
        &["tx | amount", "t1 | 2.00"],
    );
}

#[test]
fn a_column_without_a_name_is_called_as_it_is_written() {
    gives(
        "SELECT tx, amount * 2, count(*) OVER w, upper(card) FROM payments WINDOW w AS (PARTITION BY card ORDER BY event_time)",
        &["00:00 amount=2 card=a"],
        &["tx | amount * 2 | count(*) OVER w | upper(card)", "t1 | 4.00 | 1 | A"],
    );
}

#[test]
fn in_order_rows_of_equal_time_see_each_other() {
    let query = "SELECT tx, count(*) OVER (PARTITION BY card ORDER BY event_time) AS times FROM payments";
    let rows = ["00:00 card=a", "00:00 card=a", "00:09 card=a"];
    let mut running = World::default().running(&[query], Order::InOrder);
    let first = running.step(&rows);
    assert_eq!(running.table(0, &first), "tx | times\nt1 | 2\nt2 | 2");
    let rest = running.core.finish().expect("the rest is answered");
    assert_eq!(running.table(0, &rest), "tx | times\nt3 | 3");
}

#[test]
fn long_lists_and_long_conditions_are_no_trouble() {
    let list: Vec<String> = (0..2_000).map(|n| format!("'m{n}'")).collect();
    gives(
        &format!("SELECT tx FROM payments WHERE merchant IN ({})", list.join(", ")),
        &["00:00 merchant=m1999", "00:01 merchant=x"],
        &["tx", "t1"],
    );
    let tests: Vec<String> = (200..390).map(|n| format!("merchant = 'm{n}'")).collect();
    gives(
        &format!("SELECT tx FROM payments WHERE {}", tests.join(" OR ")),
        &["00:00 merchant=m299", "00:01 merchant=x"],
        &["tx", "t1"],
    );
}
