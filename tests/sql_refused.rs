//! What can't stream is refused, with its place, the reason, and what to write instead.
//!
//! Each golden file holds queries as an analyst might write them and the drawing of what is said of each;
//! `TOLLGATE_BLESS=1` rewrites them, to be read in review.

use crate::support::{World, assert_golden};

/// Each query is refused; all drawings stand in one golden file.
#[track_caller]
fn refused(golden: &str, queries: &[&str]) {
    refused_in(&World::default(), golden, queries);
}

#[track_caller]
fn refused_in(world: &World, golden: &str, queries: &[&str]) {
    let mut text = String::new();
    for query in queries {
        let drawn = world.refusal(query);
        assert!(!drawn.is_empty() || std::env::var_os("TOLLGATE_BLESS").is_some(), "accepted: {query}");
        text += &format!("{drawn}\n");
        if drawn.is_empty() {
            text += &format!("ACCEPTED: {query}\n\n");
        }
    }
    assert_golden(golden, &text);
}

#[test]
fn misspelt_names_are_answered_with_the_nearest_one() {
    refused(
        "refused_names.txt",
        &[
            "SELECT *\nFROM transactions",
            "SELECT *\nFROM paymnets",
            "SELECT *\nFROM public.payments",
            "SELECT tx, amuont\nFROM payments",
            "SELECT tx, p.amuont\nFROM payments p",
            "SELECT tx, q.amount\nFROM payments p",
            "SELECT tx\nFROM payments\nWHERE currency = 'EUR'",
            "SELECT tx\nFROM payments\nWHERE merchant_name = 'x' AND amount > 5",
            "SELECT tx, cuont(*) OVER w AS n\nFROM payments\nWINDOW w AS (PARTITION BY card ORDER BY event_time)",
            "SELECT tx, geo_distance(lat, lon, 1, 2)\nFROM payments",
            "SELECT tx, count(*) OVER w2 AS n\nFROM payments\nWINDOW w AS (PARTITION BY card ORDER BY event_time)",
            "SELECT tx, count(*) OVER per_card AS n\nFROM payments",
            "SELECT tx, count(*) OVER w AS n_10m\nFROM payments\nWINDOW w AS (PARTITION BY card ORDER BY event_time)\nQUALIFY n_1om > 3",
            "SELECT tx, count(*) OVER w AS n\nFROM payments\nWINDOW w AS (PARTITION BY cards ORDER BY event_time)",
            "SELECT tx, count(*) OVER w AS n\nFROM payments\nWINDOW w AS (PARTITION BY card ORDER BY evnt_time)",
            "SELECT tx FROM payments p JOIN countries c ON p.country = c.cuontry",
            "SELECT tx FROM payments WHERE mcc IN (SELECT mmc FROM mccs)",
            "SELECT tx FROM payments WHERE mcc IN (SELECT mcc FROM mcc)",
            "WITH big AS (SELECT tx, amount FROM payments)\nSELECT tx FROM bgi",
            "WITH big AS (SELECT tx, amount FROM payments)\nSELECT card FROM big",
            "SELECT \"Amount\" FROM payments",
        ],
    );
}

#[test]
fn what_needs_the_end_of_the_stream_is_refused() {
    refused(
        "refused_endless.txt",
        &[
            "SELECT tx\nFROM payments\nORDER BY amount DESC",
            "SELECT tx\nFROM payments\nLIMIT 10",
            "SELECT tx\nFROM payments\nOFFSET 10",
            "SELECT tx\nFROM payments\nFETCH FIRST 5 ROWS ONLY",
            "SELECT DISTINCT card\nFROM payments",
            "SELECT DISTINCT ON (card) card, tx\nFROM payments",
            "SELECT card, count(*)\nFROM payments\nGROUP BY card",
            "SELECT card, count(*) AS n\nFROM payments\nGROUP BY card\nHAVING count(*) > 5",
            "SELECT card, sum(amount) AS total\nFROM payments\nGROUP BY ALL",
            "SELECT max(amount)\nFROM payments",
            "SELECT tx\nFROM payments\nWHERE amount > avg(amount)",
            "SELECT tx\nFROM payments\nWHERE amount > (SELECT avg(amount) FROM payments)",
            "SELECT tx, (SELECT max(risk) FROM mccs) AS worst\nFROM payments",
            "SELECT tx FROM payments\nUNION\nSELECT login FROM logins",
            "SELECT tx FROM payments\nEXCEPT\nSELECT login FROM logins",
            "SELECT tx FROM payments\nINTERSECT ALL\nSELECT login FROM logins",
            "WITH RECURSIVE r AS (SELECT tx FROM payments UNION ALL SELECT tx FROM r)\nSELECT tx FROM r",
            "SELECT p.tx\nFROM payments p\nJOIN logins l ON l.card = p.card",
            "SELECT p.tx\nFROM payments p, logins l\nWHERE l.card = p.card",
            "SELECT p.tx\nFROM payments p\nJOIN payments q ON q.card = p.card AND q.event_time < p.event_time",
            "SELECT tx\nFROM payments\nWHERE card IN (SELECT card FROM logins)",
            "SELECT tx\nFROM payments p\nWHERE EXISTS (SELECT 1 FROM logins l WHERE l.card = p.card)",
            "SELECT tx\nFROM payments\nWHERE event_time > now() - INTERVAL '1 hour'",
            "SELECT tx\nFROM payments\nWHERE random() < 0.1",
            "SELECT tx, current_timestamp AS seen\nFROM payments",
            "SELECT tx, uuid() AS id\nFROM payments",
            "SELECT tx, current_date AS d FROM payments",
        ],
    );
}

#[test]
fn windows_that_look_ahead_or_have_no_order_are_refused() {
    refused(
        "refused_windows.txt",
        &[
            "SELECT tx, count(*) OVER (PARTITION BY card) AS n\nFROM payments",
            "SELECT tx, count(*) OVER () AS n\nFROM payments",
            "SELECT tx, count(*) OVER w AS n\nFROM payments\nWINDOW w AS (PARTITION BY card)",
            "SELECT tx, count(*) OVER (PARTITION BY card ORDER BY amount) AS n\nFROM payments",
            "SELECT tx, count(*) OVER (PARTITION BY card ORDER BY booked RANGE BETWEEN INTERVAL '1 hour' PRECEDING AND CURRENT ROW) AS n\nFROM payments",
            "SELECT tx, count(*) OVER (PARTITION BY card ORDER BY event_time DESC) AS n\nFROM payments",
            "SELECT tx, count(*) OVER (PARTITION BY card ORDER BY event_time, tx) AS n\nFROM payments",
            "SELECT tx, count(*) OVER (PARTITION BY card ORDER BY date_trunc('hour', event_time)) AS n\nFROM payments",
            "SELECT tx, count(*) OVER w AS n\nFROM payments\nWINDOW w AS (PARTITION BY card ORDER BY event_time\n             RANGE BETWEEN INTERVAL '1 hour' PRECEDING AND INTERVAL '1 hour' FOLLOWING)",
            "SELECT tx, count(*) OVER w AS n\nFROM payments\nWINDOW w AS (PARTITION BY card ORDER BY event_time\n             ROWS BETWEEN 3 PRECEDING AND UNBOUNDED FOLLOWING)",
            "SELECT tx, count(*) OVER w AS n\nFROM payments\nWINDOW w AS (PARTITION BY card ORDER BY event_time\n             RANGE BETWEEN INTERVAL '1 month' PRECEDING AND CURRENT ROW)",
            "SELECT tx, count(*) OVER w AS n\nFROM payments\nWINDOW w AS (PARTITION BY card ORDER BY event_time\n             RANGE BETWEEN INTERVAL '2' YEAR PRECEDING AND CURRENT ROW)",
            "SELECT tx, count(*) OVER w AS n\nFROM payments\nWINDOW w AS (PARTITION BY card ORDER BY event_time\n             RANGE BETWEEN 600 PRECEDING AND CURRENT ROW)",
            "SELECT tx, count(*) OVER w AS n\nFROM payments\nWINDOW w AS (PARTITION BY card ORDER BY event_time\n             RANGE BETWEEN '10 minuts' PRECEDING AND CURRENT ROW)",
            "SELECT tx, count(*) OVER w AS n\nFROM payments\nWINDOW w AS (PARTITION BY card ORDER BY event_time\n             RANGE BETWEEN INTERVAL '10 minuts' PRECEDING AND CURRENT ROW)",
            "SELECT tx, count(*) OVER w AS n\nFROM payments\nWINDOW w AS (PARTITION BY card ORDER BY event_time\n             RANGE BETWEEN INTERVAL '1 day' PRECEDING AND INTERVAL '2 days' PRECEDING)",
            "SELECT tx, count(*) OVER w AS n\nFROM payments\nWINDOW w AS (PARTITION BY card ORDER BY event_time\n             RANGE BETWEEN CURRENT ROW AND INTERVAL '1 hour' PRECEDING)",
            "SELECT tx, count(*) OVER w AS n\nFROM payments\nWINDOW w AS (PARTITION BY card ORDER BY event_time\n             RANGE BETWEEN INTERVAL '-1 hour' PRECEDING AND CURRENT ROW)",
            "SELECT tx, count(*) OVER w AS n\nFROM payments\nWINDOW w AS (PARTITION BY card ORDER BY event_time\n             GROUPS BETWEEN 2 PRECEDING AND CURRENT ROW)",
            "SELECT tx, count(*) OVER w AS n\nFROM payments\nWINDOW w AS (PARTITION BY card ORDER BY event_time\n             ROWS BETWEEN INTERVAL '1 hour' PRECEDING AND CURRENT ROW)",
            "SELECT tx, lead(amount) OVER (PARTITION BY card ORDER BY event_time) AS next\nFROM payments",
            "SELECT tx, rank() OVER (PARTITION BY card ORDER BY event_time) AS r\nFROM payments",
            "SELECT tx, ntile(4) OVER (PARTITION BY card ORDER BY event_time) AS r\nFROM payments",
            "SELECT tx, lag(amount, -1) OVER (PARTITION BY card ORDER BY event_time) AS next\nFROM payments",
            "SELECT tx, lag(amount) IGNORE NULLS OVER (PARTITION BY card ORDER BY event_time) AS before\nFROM payments",
            "SELECT tx, nth_value(amount, 0) OVER (PARTITION BY card ORDER BY event_time) AS v\nFROM payments",
            "SELECT tx, array_agg(amount ORDER BY amount) OVER (PARTITION BY card ORDER BY event_time) AS v\nFROM payments",
            "SELECT tx, sum(count(*) OVER w) OVER w AS n\nFROM payments\nWINDOW w AS (PARTITION BY card ORDER BY event_time)",
            "SELECT tx, count(*) OVER w AS n\nFROM payments\nWHERE count(*) OVER w > 3\nWINDOW w AS (PARTITION BY card ORDER BY event_time)",
            "SELECT tx, count(*) OVER w AS times\nFROM payments\nWHERE times > 3\nWINDOW w AS (PARTITION BY card ORDER BY event_time)",
            "SELECT tx, count(*) OVER w AS n\nFROM payments\nHAVING n > 3\nWINDOW w AS (PARTITION BY card ORDER BY event_time)",
            "SELECT tx, count(*) OVER w AS calls\nFROM payments\nWINDOW w AS (PARTITION BY card ORDER BY event_time),\n       w AS (PARTITION BY merchant ORDER BY event_time)",
            "SELECT tx, count(*) OVER b AS calls\nFROM payments\nWINDOW b AS (a ROWS 3 PRECEDING),\n       a AS (PARTITION BY merchant ORDER BY event_time)",
            "SELECT tx, count(*) OVER w AS n\nFROM payments\nWINDOW w AS (PARTITION BY card ORDER BY event_time)\nQUALIFY n > 3",
            "SELECT tx\nFROM payments\nQUALIFY amount > 5",
            "SELECT tx, count(*) AS n OVER (PARTITION BY card ORDER BY event_time)\nFROM payments",
        ],
    );
}

#[test]
fn wrong_types_and_wrong_arguments_are_refused_at_their_word() {
    refused(
        "refused_types.txt",
        &[
            "SELECT tx\nFROM payments\nWHERE amount > 'many'",
            "SELECT tx\nFROM payments\nWHERE amount",
            "SELECT tx\nFROM payments\nWHERE amount + ok > 3",
            "SELECT tx, sum(merchant) OVER w AS s\nFROM payments\nWINDOW w AS (PARTITION BY card ORDER BY event_time)",
            "SELECT tx, avg(ok) OVER w AS s\nFROM payments\nWINDOW w AS (PARTITION BY card ORDER BY event_time)",
            "SELECT tx, distance_km(lat, lon) AS d\nFROM payments",
            "SELECT tx, distance_km(lat, lon, 'x', 'y') AS d\nFROM payments",
            "SELECT tx, ip_in_network(ip) AS d\nFROM payments",
            "SELECT tx, upper(card, mcc) AS d\nFROM payments",
            "SELECT tx, CAST(amount AS MONEY) AS m\nFROM payments",
            "SELECT tx\nFROM payments\nWHERE event_time > 5",
            "SELECT tx\nFROM payments\nWHERE event_time > 'yesterday'",
            "SELECT tx, count(*) OVER w AS n\nFROM payments\nWINDOW w AS (PARTITION BY card ORDER BY event_time)\nQUALIFY count(*) OVER w",
            "SELECT tx FROM payments WHERE mcc IN (SELECT mcc, risk FROM mccs)",
            "SELECT tx FROM payments WHERE ok LIKE 'x%'",
            "SELECT tx, NOT amount AS m FROM payments",
            "SELECT tx, count(*) FILTER (WHERE amount) OVER (PARTITION BY card ORDER BY event_time) AS n\nFROM payments",
            "SELECT tx, regexp_like(merchant, '(') AS r FROM payments",
        ],
    );
}

#[test]
fn joins_that_a_list_can_not_answer_are_refused() {
    refused(
        "refused_lists.txt",
        &[
            "SELECT tx FROM payments p JOIN countries c ON p.amount > c.code",
            "SELECT tx FROM payments p CROSS JOIN countries",
            "SELECT tx FROM payments p RIGHT JOIN countries c ON p.country = c.country",
            "SELECT tx FROM payments p FULL JOIN countries c ON p.country = c.country",
            "SELECT tx, c.code FROM payments p JOIN countries c ON c.reason = p.country",
            "SELECT tx FROM payments p LEFT JOIN countries c ON p.country = c.country AND p.amount > 5",
            "SELECT country FROM countries",
            "SELECT 1 AS one",
            "SELECT tx FROM payments p WHERE EXISTS (SELECT 1 FROM mccs m WHERE m.mcc > p.mcc)",
            "SELECT tx FROM payments p WHERE country IN (SELECT country FROM countries c WHERE c.reason = p.merchant)",
            "SELECT tx FROM payments p WHERE country IN (SELECT max(country) FROM countries)",
            "SELECT p.country, c.country FROM payments p JOIN countries c ON p.country = c.country",
            "SELECT * FROM payments p JOIN countries c ON p.country = c.country",
            "SELECT amount, amount FROM payments",
            "SELECT tx, amount AS tx FROM payments",
            "WITH countries AS (SELECT tx FROM payments) SELECT tx FROM countries",
            "SELECT mcc FROM payments p JOIN mccs m ON p.mcc = m.mcc",
            "SELECT tx FROM payments, LATERAL (SELECT country FROM countries) x",
            "SELECT tx FROM generate_series(1, 3)",
            "SELECT * FROM (VALUES (1), (2)) AS t(tx)",
        ],
    );
}

#[test]
fn what_is_no_query_is_refused() {
    refused(
        "refused_statements.txt",
        &[
            "",
            "-- @id: nothing\n",
            "SELCT tx FROM payments",
            "SELECT tx\nFORM payments",
            "SELECT tx FROM payments WHERE",
            "SELECT tx\nFROM payments\nWHERE (amount > 5",
            "SELECT tx\nFROM payments\nWHERE card = 'abc",
            "SELECT tx\nFROM payments\nWHERE amount >> > 5",
            "SELECT tx FROM payments; SELECT card FROM payments",
            "DELETE FROM payments",
            "DROP TABLE payments",
            "INSERT INTO payments SELECT * FROM payments",
            "CREATE TABLE copy AS SELECT * FROM payments",
            "UPDATE payments SET amount = 0",
            "SELECT tx INTO copy FROM payments",
            "CREATE VIEW v AS SELECT tx FROM payments",
            "SELECT tx FROM payments WHERE card = \"abc\"",
            "SELECT tx FROM payments WHERE amount = = 5",
            "SELECT tx count(*) OVER w FROM payments",
        ],
    );
}

#[test]
fn conditions_too_deep_to_walk_are_refused_and_overflow_no_stack() {
    for terms in [250, 1_900, 50_000] {
        let tests: Vec<String> = (0..terms).map(|n| format!("merchant = 'm{n}'")).collect();
        let drawn =
            World::default().refusal(&format!("SELECT tx FROM payments WHERE {}", tests.join(" OR ")));
        assert!(drawn.contains("write IN (…) instead of many OR"), "{terms} terms");
    }
    let nests = [("(", ")"), ("NOT (", ")"), ("NOT ", ""), ("abs(", ")"), ("CASE WHEN ok THEN ", " END")];
    for (open, close) in nests {
        for depth in [9, 45, 5_000] {
            // A slip at the bottom: the parser goes back over all that stands around it.
            let query =
                format!("SELECT {}n ! !{} AS x FROM payments", open.repeat(depth), close.repeat(depth));
            assert!(!World::default().refusal(&query).is_empty(), "{open}");
        }
    }
}
