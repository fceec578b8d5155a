//! Bad records, and rules that fail on good ones: each costs what it must, and every row is accounted for.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, Decimal128Array, Int32Array, StringArray, TimestampMicrosecondArray};
use arrow::record_batch::RecordBatch;
use datafusion_expr::{ColumnarValue, Expr, ScalarUDF, Volatility, create_udf};
use tollgate::decode::Stage;
use tollgate::sql::RowSource;

use crate::support::{Order, SCHEMA, World, time};

const COUNTED: &str = "SELECT tx, card, count(*) OVER (PARTITION BY card ORDER BY event_time
    RANGE BETWEEN INTERVAL '1 minute' PRECEDING AND CURRENT ROW) AS times, sum(amount) OVER w AS total
    FROM payments WINDOW w AS (PARTITION BY card ORDER BY event_time) QUALIFY times >= 3";

/// A sound record, one second after the last.
fn record(number: usize) -> String {
    let seconds = i64::try_from(number).expect("few records");
    format!(
        r#"{{"tx": "t{number}", "event_time": "{}", "card": "c{}", "amount": 1.25, "n": 3, "unknown": [1, {{"a": null}}]}}"#,
        time(seconds),
        number % 7
    )
}

/// One bad record of each kind and the word under which it is counted.
fn bad_records(number: usize) -> Vec<(&'static str, Vec<u8>)> {
    let good = record(number);
    let with = |from: &str, to: &str| {
        assert!(good.contains(from), "{from}");
        good.replacen(from, to, 1).into_bytes()
    };
    let id = format!("\"t{number}\"");
    let at = time(i64::try_from(number).expect("few records"));
    let mut not_text = good.clone().into_bytes();
    let place = good.find("unknown").expect("is there");
    not_text[place] = 0xff;
    vec![
        ("malformed", good.as_bytes()[..good.len() / 2].to_vec()),
        ("malformed", b"".to_vec()),
        ("malformed", with("1.25", "1.2.5")),
        ("malformed", b"{\"tx\": }".to_vec()),
        ("not_object", b"[1, 2]".to_vec()),
        ("not_object", b"null".to_vec()),
        ("mistyped", with("\"card\": ", "\"card\": true, \"card2\": ")),
        ("mistyped", with("1.25", "\"much\"")),
        ("mistyped", with("\"n\": 3", "\"n\": 3.5")),
        ("mistyped", with(&at, "yesterday")),
        ("out_of_range", with("1.25", "1e300")),
        ("out_of_range", with("1.25", "123456789012345678901234567890")),
        ("out_of_range", with("1.25", "1.255")),
        ("out_of_range", with("\"n\": 3", "\"n\": 99999999999")),
        ("missing", with(&id, "null")),
        ("missing", with("\"event_time\"", "\"eventTime\"")),
        ("invalid_utf8", not_text),
        ("too_deep", with("[1,", &format!("{}1{}, [1,", "[".repeat(500), "]".repeat(500)))),
        ("oversize", with("\"c", &format!("\"{}", "x".repeat(10 << 20)))),
        ("future", with(&at, "2031-01-01T00:00:00Z")),
    ]
}

#[test]
fn one_record_in_a_hundred_is_bad_and_every_one_is_counted() {
    for order in [Order::OnArrival, Order::InOrder] {
        let queries = [COUNTED, "SELECT tx, n, event_time FROM payments WHERE amount > 1"];
        let mut running = World::default().running(&queries, order);
        // The broker took all of them a day later: only the date in 2031 is past it.
        running.timestamp = Some((1_767_225_600 + 86_400) * 1_000_000);
        let kinds = bad_records(0).len();
        let mut expected: BTreeMap<&str, u64> = BTreeMap::new();
        let mut records: Vec<Vec<u8>> = Vec::new();
        for number in 0..kinds * 100 {
            records.push(record(number).into_bytes());
            if number % 100 == 50 {
                let (kind, payload) = bad_records(number).swap_remove(number / 100);
                *expected.entry(kind).or_default() += 1;
                records.push(payload);
            }
            if number % 500 == 499 {
                records.push(record(number).into_bytes());
            }
        }
        let (sent, repeats) = (records.len() as u64, kinds as u64 * 100 / 500);
        for batch in records.chunks(333) {
            let batch: Vec<(usize, &[u8])> = batch.iter().map(|payload| (0, payload.as_slice())).collect();
            running.step_records(&batch);
            assert!(running.core.counts().balanced());
        }
        let counts = running.core.counts().into_owned();
        assert_eq!(counts.dead_letters_by_kind, expected, "{order:?}");
        assert_eq!((counts.rows_in, counts.repeats, counts.rule_errors), (sent, repeats, 0));
        assert_eq!(counts.answered + counts.waiting, kinds as u64 * 100);
        assert_eq!(counts.waiting > 0, order == Order::InOrder);
        running.core.finish().expect("the rest is answered");
        let counts = running.core.counts();
        assert_eq!((counts.waiting, counts.answered), (0, kinds as u64 * 100));
        assert!(counts.balanced());
    }
}

#[test]
fn a_null_key_is_a_key_and_a_bad_value_in_a_column_that_no_rule_reads_is_no_fault() {
    let mut running = World::default().run(&[COUNTED]);
    let records: Vec<String> = (0..3)
        .map(|number| {
            format!(
                r#"{{"tx": "t{number}", "event_time": "{}", "card": null, "lat": "nowhere"}}"#,
                time(number)
            )
        })
        .collect();
    let records: Vec<(usize, &[u8])> = records.iter().map(|text| (0, text.as_bytes())).collect();
    let outcome = running.step_records(&records);
    assert_eq!(running.table(0, &outcome), "tx | card | times | total\nt2 | - | 3 | -");
}

#[test]
fn a_division_by_zero_costs_its_rule_its_row_and_nothing_else() {
    let queries = [
        "SELECT tx, 100 / n AS share FROM payments",
        "SELECT tx FROM payments WHERE 100 / n > 30",
        "SELECT tx, sum(100 / n) OVER (PARTITION BY card ORDER BY event_time) AS total FROM payments",
        "SELECT tx, CAST(merchant AS INTEGER) AS m FROM payments WHERE n > 0",
        "SELECT tx, n FROM payments",
    ];
    let mut running = World::default().run(&queries);
    let outcome = running.step(&[
        "00:00 card=a n=2 merchant=7",
        "00:01 card=a n=0 merchant=x",
        "00:02 card=a n=5 merchant=y",
        "00:03 card=a merchant=9",
    ]);
    let tables: Vec<String> =
        (0..5).map(|query| running.table(query, &outcome).replace('\n', "; ")).collect();
    assert_eq!(
        tables,
        [
            "tx | share; t1 | 50; t3 | 20; t4 | -",
            "tx; t1",
            "tx | total; t1 | 50; t3 | 70; t4 | 70",
            "tx | m; t1 | 7",
            "tx | n; t1 | 2; t2 | 0; t3 | 5; t4 | -",
        ]
    );
    let errors: Vec<(usize, u32, &str)> = outcome.answered[0]
        .hits
        .errors
        .iter()
        .map(|error| (error.query, error.row, error.message.as_str()))
        .collect();
    let zero = "division by zero";
    assert_eq!(errors, [(0, 1, zero), (1, 1, zero), (2, 1, zero), (3, 2, "a value that can't be cast")]);
    assert_eq!(running.core.counts().rule_errors, 4);
    assert!(outcome.dead_letters.is_empty() && running.core.counts().balanced());
}

#[test]
fn a_window_that_a_condition_on_the_row_makes_needless_is_never_seen_unanswered() {
    let rows = [
        "00:00 card=a n=1 amount=5",
        "00:01 card=a n=0 amount=500",
        "00:02 card=a n=2 amount=500",
        "00:03 card=a n=3 amount=5",
        "00:04 card=a n=0 amount=5",
    ];
    let counted = "SELECT tx, count(*) OVER w AS k, sum(n) OVER w AS s FROM payments
        WINDOW w AS (PARTITION BY card ORDER BY event_time) QUALIFY ";
    let cases = [
        // What a null would make of it is asked of no row that has one for want of an answer.
        (
            "amount > 50 AND 10 / coalesce(s - 1, 0) > 3",
            "tx | k | s; t3 | 3 | 3",
            vec![(1, "division by zero")],
        ),
        ("amount > 50 AND 10 / coalesce(s, 0) >= 3", "tx | k | s; t2 | 2 | 1; t3 | 3 | 3", vec![]),
        ("10 / coalesce(s, 0) >= 3 AND amount > 50", "tx | k | s; t2 | 2 | 1; t3 | 3 | 3", vec![]),
        ("(s IS NULL OR s > 3) AND amount < 50", "tx | k | s; t4 | 4 | 6; t5 | 5 | 6", vec![]),
        ("amount > 50", "tx | k | s; t2 | 2 | 1; t3 | 3 | 3", vec![]),
        // The condition on the row fails itself: rows are judged as it is written, by full answers.
        (
            "1 / n >= 0 AND k > 1",
            "tx | k | s; t3 | 3 | 3; t4 | 4 | 6",
            vec![(1, "division by zero"), (4, "division by zero")],
        ),
        ("k > 2 AND 1 / n >= 0", "tx | k | s; t3 | 3 | 3; t4 | 4 | 6", vec![(4, "division by zero")]),
        ("n <> 0 AND 1 / n >= 0 AND k > 1", "tx | k | s; t3 | 3 | 3; t4 | 4 | 6", vec![]),
    ];
    for (condition, expected, failed) in cases {
        let alone = format!("{counted}{condition}");
        // A second reader of the same answers, for other rows or for all of them, changes nothing.
        for other in [alone.clone(), format!("{counted} k > 0"), format!("{counted} amount < 50 AND k > 1")] {
            let mut running = World::default().run(&[&alone, &other]);
            let outcome = running.step(&rows);
            assert_eq!(
                running.table(0, &outcome).replace('\n', "; "),
                expected,
                "{condition} beside {other}"
            );
            let errors = outcome.answered[0].hits.errors.iter().filter(|error| error.query == 0);
            let errors: Vec<(u32, &str)> = errors.map(|error| (error.row, error.message.as_str())).collect();
            assert_eq!(errors, failed, "{condition}");
        }
    }
}

/// A function that gives its argument back, and panics on 13.
fn superstitious() -> ScalarUDF {
    let answer = |arguments: &[ColumnarValue]| {
        let value = arguments[0].to_array(1)?;
        let numbers = value.as_any().downcast_ref::<Int32Array>().expect("numbers");
        assert!(!numbers.iter().any(|number| number == Some(13)), "thirteen");
        Ok(ColumnarValue::Array(value))
    };
    let integer = arrow::datatypes::DataType::Int32;
    create_udf("superstitious", vec![integer.clone()], integer, Volatility::Immutable, Arc::new(answer))
}

#[test]
fn a_record_that_makes_a_rule_panic_becomes_a_dead_letter_and_the_others_are_answered() {
    for order in [Order::OnArrival, Order::InOrder] {
        let queries = [
            "SELECT tx, n FROM payments",
            "SELECT tx FROM payments WHERE n + 0 > 0",
            "SELECT tx, n AS same FROM payments",
        ];
        let mut running = World::default().running_changed(&queries, order, |graph| {
            let value = &mut graph.queries[0].outputs[1].expression;
            let argument = value.clone();
            *value = superstitious().call(vec![argument.clone()]);
            let row_set =
                graph.row_sets.iter_mut().find(|rows| matches!(rows.source, RowSource::Filter { .. }));
            if let Some(RowSource::Filter { predicate, .. }) = row_set.map(|rows| &mut rows.source) {
                *predicate = superstitious().call(vec![argument]).gt(Expr::Literal(0_i32.into(), None));
            }
        });
        let mut outcome = running.step(&["00:00 n=1", "00:01 n=13", "00:02 n=2"]);
        let rest = running.core.finish().expect("the rest is answered");
        outcome.answered.extend(rest.answered);
        outcome.dead_letters.extend(rest.dead_letters);
        let tables: Vec<String> =
            (0..3).map(|query| running.table(query, &outcome).replace('\n', "; ")).collect();
        assert_eq!(
            tables,
            ["tx | n; t1 | 1; t3 | 2", "tx; t1; t3", "tx | same; t1 | 1; t2 | 13; t3 | 2"],
            "{order:?}"
        );
        let [letter] = &outcome.dead_letters[..] else { panic!("{:?}", outcome.dead_letters) };
        assert_eq!((letter.coordinates.offset.0, letter.stage, letter.kind), (2, Stage::Evaluate, "panic"));
        assert_eq!(letter.rule.as_deref(), Some("q0"));
        assert!(running.core.counts().balanced());
    }
}

/// Hits of the program for one file, and what it says of the rows.
fn replayed(rules: &Path, input: &Path) -> (String, serde_json::Value) {
    let hits = input.with_extension("hits.ndjson");
    let output = Command::new(env!("CARGO_BIN_EXE_tollgate"))
        .args(["replay", "--format", "json", "--rules"])
        .arg(rules)
        .arg("--input")
        .arg(input)
        .arg("--output")
        .arg(&hits)
        .output()
        .expect("the program starts");
    let said = String::from_utf8(output.stderr).expect("text");
    assert!(output.status.success(), "{}: {said}", input.display());
    let summary = said.lines().last().expect("a summary");
    (std::fs::read_to_string(&hits).expect("hits"), serde_json::from_str(summary).expect("JSON"))
}

fn parquet(path: &Path, rows: usize) {
    let numbers = || 0..rows;
    let texts = |of: &dyn Fn(usize) -> String| Arc::new(StringArray::from_iter_values(numbers().map(of)));
    let times = numbers().map(|n| (1_767_225_600 + i64::try_from(n).expect("few")) * 1_000_000);
    let amounts = Decimal128Array::from_iter_values(numbers().map(|n| n as i128 * 125));
    let counted = Int32Array::from_iter(numbers().map(|n| (n % 5 != 0).then_some(n as i32)));
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("tx", texts(&|n| format!("t{n}"))),
        ("event_time", Arc::new(TimestampMicrosecondArray::from_iter_values(times))),
        ("card", texts(&|n| format!("c{}", n % 7))),
        ("amount", Arc::new(amounts.with_precision_and_scale(18, 2).expect("fits"))),
        ("n", Arc::new(counted)),
    ];
    let batch = RecordBatch::try_from_iter(columns).expect("columns");
    let file = std::fs::File::create(path).expect("a file");
    let mut writer = parquet::arrow::ArrowWriter::try_new(file, batch.schema(), None).expect("a writer");
    writer.write(&batch).expect("rows");
    writer.close().expect("closed");
}

#[test]
fn csv_ndjson_and_parquet_of_the_same_events_give_the_same_hits() {
    let folder = tempfile::tempdir().expect("a folder");
    let header = "-- @id: counted\n-- @title: t\n-- @status: live\n-- @severity: low\n-- @score: 1\n-- @reason: \"{times}\"\n-- @owner: o\n";
    let rules = folder.path().join("rules");
    std::fs::create_dir(&rules).expect("a folder");
    std::fs::write(rules.join("schema.sql"), SCHEMA).expect("a file");
    let query = COUNTED.replace("AS total", "AS total, n, amount, event_time");
    std::fs::write(rules.join("counted.sql"), format!("{header}{query}")).expect("a file");
    let rows = 60;
    let (mut csv, mut ndjson) = ("tx,event_time,card,amount,n\n".to_owned(), String::new());
    for n in 0..rows {
        let at = time(i64::try_from(n).expect("few"));
        let amount = format!("{}.{:02}", n * 125 / 100, n * 125 % 100);
        let number = if n % 5 == 0 { String::new() } else { n.to_string() };
        csv += &format!("t{n},{at},c{},{amount},{number}\n", n % 7);
        let number = if n % 5 == 0 { "null".to_owned() } else { number };
        ndjson += &format!(
            "{{\"tx\": \"t{n}\", \"event_time\": \"{at}\", \"card\": \"c{}\", \"amount\": {amount}, \"n\": {number}}}\n",
            n % 7
        );
    }
    let file = |name: &str| folder.path().join(name);
    std::fs::write(file("payments.csv"), csv).expect("a file");
    std::fs::write(file("payments.ndjson"), ndjson).expect("a file");
    parquet(&file("payments.parquet"), rows);
    let of = |name: &str| replayed(&rules, &file(name));
    let (expected, summary) = of("payments.ndjson");
    assert_eq!(expected.lines().count(), rows - 2 * 7);
    assert_eq!(summary["counts"]["answered"], rows);
    assert!(expected.lines().next().is_some_and(|line| line.contains("\"tx\":\"t14\"")), "{expected}");
    for name in ["payments.csv", "payments.parquet"] {
        let (hits, summary) = of(name);
        assert_eq!(hits, expected, "{name}");
        assert_eq!(summary["counts"]["answered"], rows, "{name}");
        assert_eq!(summary["balanced"], true, "{name}");
    }
}
