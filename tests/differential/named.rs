//! Named cases: each known deviation of DataFusion, and defects of the engine that random queries found.

use super::data::{Data, Event, World};
use super::deviation::Deviation;
use super::engine;
use super::naive::{Order, Sequence};
use super::oracle::Oracle;
use super::value::Value;

const START: i64 = 1_795_000_000;

/// A payment: id and points are given, the card is `c`, all else is plain.
fn payment(seconds: i64, id: i128, points: Option<i128>) -> Event {
    let time = (START + seconds) * 1_000_000;
    let values = vec![
        Value::Whole(id),
        Value::Time(time),
        Value::Text("c".into()),
        Value::Text("s".into()),
        Value::Null,
        points.map_or(Value::Null, Value::Whole),
        Value::Whole(1),
        Value::Decimal(100, 2),
        Value::Decimal(10, 2),
        Value::Float(0.5),
        Value::Float(0.25),
        Value::Truth(points.is_some_and(|points| points > 0)),
        Value::Truth(true),
        Value::Null,
    ];
    Event { stream: 0, time, values }
}

fn login(seconds: i64, id: i128) -> Event {
    let time = (START + seconds) * 1_000_000;
    let nothing = [Value::Null, Value::Null, Value::Whole(1), Value::Null, Value::Null, Value::Null];
    let values = [vec![Value::Whole(id), Value::Time(time)], nothing.to_vec()].concat();
    Event { stream: 1, time, values }
}

fn printed(rows: &[Vec<Value>]) -> Vec<String> {
    let mut lines: Vec<String> =
        rows.iter().map(|row| row.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")).collect();
    lines.sort();
    lines
}

/// What the engine answers, the whole input being one batch.
fn engine_rows(data: &Data, sql: &str) -> Vec<String> {
    let world = World::new();
    let graph = engine::compiled(&world.catalog(data), &[sql.to_owned()]).unwrap();
    let events: Vec<usize> = (0..data.events.len()).collect();
    let watermarks = events.iter().map(|event| data.events[*event].time).collect();
    let sequence = Sequence { order: Order::InOrder, events, watermarks };
    let answers = engine::run_in_batches(&world, data, &graph, &sequence, (1, &mut || 1000)).unwrap();
    printed(&answers[0].rows)
}

fn datafusion_rows(data: &Data, sql: &str) -> Result<Vec<String>, String> {
    super::quiet_workers();
    let work = || {
        let (world, oracle) = (World::new(), Oracle::new());
        oracle.load(&world, data);
        oracle.answer(sql).map(|answer| printed(&answer.rows))
    };
    std::thread::scope(|scope| {
        let worker = std::thread::Builder::new().name(super::WORKER.to_owned()).stack_size(64 << 20);
        worker.spawn_scoped(scope, work).expect("a thread").join().expect("no panic passes the oracle")
    })
}

fn payments(points: &[Option<i128>]) -> Data {
    let events = (0..).zip(points).map(|(index, points)| payment(index * 60, index as i128, *points));
    Data { events: events.collect(), lists: vec![vec![]; 3] }
}

// ---- deviations of DataFusion ------------------------------------------------------------------

#[test]
fn bool_or_over_a_sliding_frame_is_answered_where_datafusion_has_not_implemented_it() {
    let data = payments(&[Some(1), Some(0), Some(0)]);
    let sql = "SELECT payment_id, bool_or(approved) OVER (ORDER BY event_time \
               RANGE BETWEEN INTERVAL '1 minute' PRECEDING AND CURRENT ROW) AS any FROM payments";
    assert_eq!(engine_rows(&data, sql), ["0 true", "1 true", "2 false"]);
    let failure = datafusion_rows(&data, sql).unwrap_err();
    assert!(failure.contains("`retract_batch` is not implemented: bool_or"), "{failure}");
}

#[test]
fn two_windows_of_one_computed_key_are_answered_where_datafusion_panics() {
    let data = payments(&[Some(1), Some(4), Some(2)]);
    let over = "OVER (PARTITION BY points % 3 ORDER BY event_time)";
    // The sum's argument is simplified before the common key is pulled out of the two windows.
    let sql =
        format!("SELECT payment_id, count(*) {over} AS n, sum(points + (2 - 1)) {over} AS s FROM payments");
    let expected = ["0 1 2", "1 2 7", "2 1 3"];
    assert_eq!(engine_rows(&data, &sql), expected);
    match datafusion_rows(&data, &sql) {
        // The check that panics is a debug assertion.
        Ok(rows) => assert!(!cfg!(debug_assertions) && rows == expected, "{rows:?}"),
        Err(failure) => assert!(failure.contains("shall have the same sort keys"), "{failure}"),
    }
}

#[test]
fn a_union_keyed_by_its_branch_is_answered_where_datafusion_refuses_its_own_plan() {
    let data = payments(&[Some(1), Some(1)]);
    let sql = "SELECT q.payment_id, q.branch, count(*) OVER (PARTITION BY q.branch, q.payment_id ORDER BY q.event_time) AS n \
               FROM (SELECT payment_id, event_time, 'a' AS branch, points FROM payments \
                     UNION ALL SELECT payment_id, event_time, 'b' AS branch, points FROM payments) AS q \
               LEFT JOIN devices ON q.points = devices.device";
    assert_eq!(engine_rows(&data, sql), ["0 'a' 1", "0 'b' 1", "1 'a' 1", "1 'b' 1"]);
    let failure = datafusion_rows(&data, sql).unwrap_err();
    assert!(failure.contains("SanityCheckPlan"), "{failure}");
}

#[test]
fn not_in_beside_or_is_unknown_where_the_list_holds_a_null() {
    let mut data = payments(&[Some(1), Some(2)]);
    data.lists[1] = vec![vec![Value::Whole(1), Value::Null, Value::Null], vec![Value::Null; 3]];
    let sql =
        "SELECT payment_id FROM payments WHERE points NOT IN (SELECT device FROM devices) OR points = 9";
    assert_eq!(engine_rows(&data, sql), Vec::<String>::new());
    assert_eq!(datafusion_rows(&data, sql).unwrap(), ["1"], "DataFusion takes unknown for true");
}

#[test]
fn a_list_is_looked_into_wherever_an_expression_stands_which_datafusion_has_not_implemented() {
    let mut data = payments(&[Some(1), Some(2), None]);
    data.lists[1] = vec![vec![Value::Whole(1), Value::Null, Value::Null]];
    let over = "OVER (ORDER BY event_time)";
    let listed = "points IN (SELECT device FROM devices)";
    let exists = "EXISTS (SELECT 1 FROM devices AS l WHERE l.device = payments.points)";
    let selected = format!("SELECT payment_id, {listed} AS listed FROM payments");
    let filtered = format!("SELECT payment_id, count(*) FILTER (WHERE {exists}) {over} AS n FROM payments");
    assert_eq!(engine_rows(&data, &selected), ["0 true", "1 false", "2 NULL"]);
    assert_eq!(engine_rows(&data, &filtered), ["0 1", "1 1", "2 1"]);
    for sql in [selected, filtered] {
        let failure = datafusion_rows(&data, &sql).unwrap_err();
        assert!(failure.contains("does not support logical expression"), "{failure}");
    }
}

#[test]
fn equal_values_do_not_spread_whatever_left_the_frame() {
    let data = payments(&[Some(9_000_001), Some(3), Some(1), Some(1)]);
    let sql = "SELECT payment_id, var_pop(CAST(points AS DOUBLE) * 0.1) OVER (ORDER BY event_time \
               ROWS BETWEEN 1 PRECEDING AND CURRENT ROW) AS spread FROM payments";
    let last = |rows: Vec<String>| rows.last().cloned().unwrap();
    assert_eq!(last(engine_rows(&data, sql)), "3 0.0");
    assert_ne!(last(datafusion_rows(&data, sql).unwrap()), "3 0.0", "DataFusion subtracts what left");
}

#[test]
fn two_windows_that_simplify_to_one_are_answered_where_datafusion_panics() {
    let data = payments(&[Some(1), Some(2)]);
    let over = "OVER (PARTITION BY card ORDER BY event_time)";
    let sql = format!(
        "SELECT payment_id, sum(coalesce(fee, fee)) {over} AS a, sum(fee) {over} AS b FROM payments \
         QUALIFY sum(fee) {over} > 0"
    );
    assert_eq!(engine_rows(&data, &sql), ["0 10e-2 10e-2", "1 20e-2 20e-2"]);
    let failure = datafusion_rows(&data, &sql).unwrap_err();
    assert!(failure.contains("entered unreachable code"), "{failure}");
}

#[test]
fn every_deviation_has_its_named_case() {
    // Whoever adds one must name it here, in the table of `tests/differential.rs`, and above.
    let case = |deviation: Deviation| match deviation {
        Deviation::SlidingTruth => "bool_or_over_a_sliding_frame_is_answered",
        Deviation::KeyPulledOut => "two_windows_of_one_computed_key_are_answered",
        Deviation::JoinOrder => "a_union_keyed_by_its_branch_is_answered",
        Deviation::MembershipBesideOr => "not_in_beside_or_is_unknown",
        Deviation::LookupOutsideWhere => "a_list_is_looked_into_wherever",
        Deviation::SpreadDrift => "equal_values_do_not_spread",
        Deviation::EqualTwins => "two_windows_that_simplify_to_one",
    };
    let (table, cases) = (include_str!("../differential.rs"), include_str!("named.rs"));
    for deviation in [
        Deviation::SlidingTruth,
        Deviation::KeyPulledOut,
        Deviation::JoinOrder,
        Deviation::MembershipBesideOr,
        Deviation::LookupOutsideWhere,
        Deviation::SpreadDrift,
        Deviation::EqualTwins,
    ] {
        assert!(table.contains(&format!("| `{deviation:?}` |")), "{deviation:?}");
        assert!(cases.contains(&format!("fn {}", case(deviation))), "{deviation:?}");
    }
}

// ---- defects of the engine, found and mended -----------------------------------------------------

#[test]
fn a_union_with_as_many_rows_as_its_batch_keeps_the_times_of_its_own_rows() {
    let data = Data { events: vec![payment(0, 0, None), login(60, 1)], lists: vec![vec![]; 3] };
    let sql = "SELECT payment_id, count(*) OVER (ORDER BY event_time \
                      RANGE BETWEEN INTERVAL '1 second' PRECEDING AND CURRENT ROW) AS n \
               FROM (SELECT payment_id, event_time FROM payments \
                     UNION ALL SELECT payment_id, event_time FROM payments) AS q";
    assert_eq!(engine_rows(&data, sql), ["0 2", "0 2"]);
}

#[test]
fn count_distinct_of_a_constant_is_one_and_of_null_is_none() {
    let data = payments(&[Some(1), Some(1)]);
    let sql = "SELECT payment_id, count(DISTINCT 'x') OVER w AS one, count(NULL) OVER w AS none, count(1) OVER w AS rows \
               FROM payments WINDOW w AS (ORDER BY event_time)";
    assert_eq!(engine_rows(&data, sql), ["0 1 0 1", "1 1 0 2"]);
}
