//! Columns of files: what is cast, what is refused, and which rows are cut out.

use super::*;

fn columns_of(columns: Vec<(&str, ArrayRef)>) -> Fetched {
    let columns =
        RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(n, a)| (n, a, true))).unwrap();
    Fetched::Columns(ColumnBatch { partitions: partitions(&[0]), partition: 0, first_offset: 100, columns })
}

fn times(count: usize) -> ArrayRef {
    Arc::new(TimestampMicrosecondArray::from(vec![TIME_MICROS; count]))
}

fn ids(count: usize) -> ArrayRef {
    Arc::new(StringArray::from_iter_values((0..count).map(|row| format!("id{row}"))))
}

#[test]
fn columns_of_the_contracts_types_are_handed_on_without_a_copy() {
    let stream = stream_of("s", &[("n", DataType::Int64, true), ("absent", DataType::Utf8, true)]);
    let numbers = Int64Array::from(vec![1, 2]);
    let decoded = Decoders::new(vec![decoder(&stream, "")]).decode(columns_of(vec![
        ("n", Arc::new(numbers.clone())),
        ("event_time", times(2)),
        ("tx_id", ids(2)),
        ("unknown", ids(2)),
    ]));
    assert_eq!(decoded.dead_letters, vec![]);
    assert_eq!(decoded.rows.offset, vec![100, 101]);
    assert_eq!(decoded.rows.event_time, vec![TIME_MICROS; 2]);
    let column = decoded.streams[0].columns[2].clone().unwrap();
    assert_eq!(column.as_primitive::<Int64Type>().values().as_ptr(), numbers.values().as_ptr());
    assert_eq!(decoded.streams[0].columns[3].as_ref().unwrap().null_count(), 2);
}

#[test]
fn columns_of_other_types_are_cast_where_no_value_changes() {
    let stream = stream_of(
        "s",
        &[
            ("money", DataType::Decimal128(9, 2), true),
            ("n", DataType::Int32, true),
            ("t", DataType::Utf8, true),
        ],
    );
    let nanos =
        TimestampNanosecondArray::from(vec![TIME_MICROS * 1000 + 999; 2]).with_timezone("Europe/Paris");
    let words: DictionaryArray<arrow::datatypes::Int32Type> = vec!["x", "y"].into_iter().collect();
    let decoded = Decoders::new(vec![decoder(&stream, "")]).decode(columns_of(vec![
        ("tx_id", Arc::new(Int64Array::from(vec![8, 9]))),
        ("event_time", Arc::new(nanos)),
        ("money", Arc::new(Float64Array::from(vec![1.1, 2.999]))),
        ("n", Arc::new(Float64Array::from(vec![7.0, 8.0]))),
        ("t", Arc::new(words)),
    ]));
    assert_eq!(decoded.dead_letters, vec![]);
    assert_eq!(decoded.rows.event_time, vec![TIME_MICROS; 2], "the instant stays, whatever the zone");
    let columns = &decoded.streams[0].columns;
    assert_eq!(columns[0].as_ref().unwrap().as_string::<i32>(), &StringArray::from(vec!["8", "9"]));
    assert_eq!(columns[2].as_ref().unwrap().as_primitive::<Decimal128Type>().values().as_ref(), &[110, 300]);
    assert_eq!(columns[3].as_ref().unwrap().as_ref(), &Int32Array::from(vec![7, 8]) as &dyn Array);
    assert_eq!(columns[4].as_ref().unwrap().as_string::<i32>(), &StringArray::from(vec!["x", "y"]));
}

#[test]
fn rows_that_break_the_contract_are_cut_out_of_their_columns() {
    let stream = stream_of("s", &[("n", DataType::Int8, false), ("money", DataType::Decimal128(9, 2), true)]);
    let money = Decimal128Array::from(vec![Some(1000), Some(1001), None, Some(2000), Some(10_i128.pow(12))]);
    let money = money.with_precision_and_scale(18, 3).unwrap();
    let decoded = Decoders::new(vec![decoder(&stream, "")]).decode(columns_of(vec![
        ("tx_id", ids(5)),
        ("event_time", times(5)),
        ("n", Arc::new(Int64Array::from(vec![Some(1), Some(2), Some(300), None, Some(5)]))),
        ("money", Arc::new(money)),
    ]));
    assert_eq!(decoded.rows.offset, vec![100]);
    assert_eq!(decoded.streams[0].rows, vec![0]);
    assert_eq!(
        decoded.streams[0].columns[3].as_ref().unwrap().as_primitive::<Decimal128Type>().value(0),
        100
    );
    let letters: Vec<(i64, &str)> =
        decoded.dead_letters.iter().map(|letter| (letter.coordinates.offset.0, letter.kind)).collect();
    assert_eq!(
        letters,
        [(101, "out_of_range"), (102, "out_of_range"), (103, "missing"), (104, "out_of_range")]
    );
    assert_eq!(decoded.dead_letters[0].payload, None);
}

#[test]
fn columns_of_text_are_read_as_json_text_is_with_a_reason_a_row() {
    let stream = stream_of(
        "s",
        &[
            ("money", DataType::Decimal128(9, 2), true),
            ("n", DataType::Int64, false),
            ("t", DataType::Utf8, false),
        ],
    );
    let text = |values: [&str; 5]| Arc::new(StringArray::from(values.to_vec())) as ArrayRef;
    let faults = StringArray::from(vec![None, None, None, None, Some("the row has 2 fields")]);
    let decoded = Decoders::new(vec![decoder(&stream, "[fields]\nmoney = { minor_units = 2 }")]).decode(
        columns_of(vec![
            ("tx_id", ids(5)),
            ("event_time", cast(&text([TIME; 5]), &DataType::LargeUtf8).unwrap()),
            ("money", text(["1.99", "", "x", "", ""])),
            ("n", text(["1", "2", "3", "", "5"])),
            ("t", text(["", "a", "b", "c", "d"])),
            (FAULT_COLUMN, Arc::new(faults)),
        ]),
    );
    assert_eq!(decoded.rows.offset, vec![100, 101]);
    let columns = &decoded.streams[0].columns;
    assert_eq!(
        columns[2].as_ref().unwrap().as_primitive::<Decimal128Type>().value(0),
        199,
        "amounts, not cents"
    );
    assert!(columns[2].as_ref().unwrap().is_null(1), "an empty field is null");
    assert_eq!(columns[4].as_ref().unwrap().as_string::<i32>().value(0), "", "but for text");
    let letters: Vec<(&str, &str)> =
        decoded.dead_letters.iter().map(|letter| (letter.kind, letter.reason.as_str())).collect();
    assert_eq!(
        letters,
        [
            ("mistyped", "column `money` expects DECIMAL(9,2), found text that does not read as one"),
            ("missing", "column `n` is NOT NULL and the record has no value for it"),
            ("malformed", "the row has 2 fields"),
        ]
    );
}

#[test]
fn a_file_whose_columns_do_not_fit_is_refused_before_its_first_row() {
    let stream =
        stream_of("s", &[("amount", DataType::Decimal128(9, 2), false), ("flag", DataType::Boolean, true)]);
    let schema = Schema::new(vec![
        Field::new("tx_id", DataType::Utf8, true),
        Field::new("event_time", DataType::Int64, true),
        Field::new("Amount", DataType::Float64, true),
        Field::new("flag", DataType::Int64, true),
    ]);
    let error = decoder(&stream, "").check_columns(&schema).unwrap_err().to_string();
    assert_eq!(
        error,
        "the columns don't fit stream `s` of the contract: column `event_time` has type Int64, which can't be cast to \
         TIMESTAMP: bind the column with unit = \"s\", \"ms\" or \"us\" to read epoch times; NOT NULL column `amount` is \
         missing; did you mean `Amount`?; column `flag` has type Int64, which can't be cast to BOOLEAN \
         (columns of the file: tx_id, event_time, Amount, flag)"
    );
}

#[test]
fn whole_number_times_of_a_file_are_read_in_their_bound_unit() {
    let stream = stream_of("s", &[]);
    let decoded = Decoders::new(vec![decoder(&stream, "[fields]\nevent_time = { unit = \"ms\" }")]).decode(
        columns_of(vec![
            ("tx_id", ids(3)),
            (
                "event_time",
                Arc::new(Int64Array::from(vec![TIME_MICROS / 1000, i64::MAX, 400_000_000_000_000])),
            ),
        ]),
    );
    assert_eq!(decoded.rows.event_time, vec![TIME_MICROS]);
    assert!(decoded.dead_letters.iter().all(|letter| letter.kind == "out_of_range"));
    assert_eq!(decoded.dead_letters.len(), 2);
}

#[test]
fn a_batch_whose_columns_do_not_fit_is_all_dead_letters_and_an_empty_one_is_none() {
    let stream = stream_of("s", &[]);
    let mut decoders = Decoders::new(vec![decoder(&stream, "")]);
    let decoded = decoders.decode(columns_of(vec![("tx_id", ids(3))]));
    assert_eq!((decoded.rows.offset.len(), decoded.dead_letters.len()), (0, 3));
    let decoded = decoders.decode(columns_of(vec![("tx_id", ids(0)), ("event_time", times(0))]));
    assert_eq!((decoded.rows.offset.len(), decoded.dead_letters.len()), (0, 0));
}

#[test]
fn a_panic_while_columns_are_cast_costs_the_guilty_row_only() {
    let stream = stream_of("s", &[("n", DataType::Int8, true)]);
    let mut decoder = decoder(&stream, "");
    decoder.panic_on = Some(b"id1");
    let decoded = Decoders::new(vec![decoder]).decode(columns_of(vec![
        ("tx_id", ids(4)),
        ("event_time", times(4)),
        ("n", Arc::new(StringArray::from(vec!["1", "2", "x", "4"]))),
    ]));
    assert_eq!(decoded.rows.offset, vec![100, 103]);
    let letters: Vec<(i64, &str)> =
        decoded.dead_letters.iter().map(|letter| (letter.coordinates.offset.0, letter.kind)).collect();
    assert_eq!(letters, [(101, "panic"), (102, "mistyped")]);
    let column = decoded.streams[0].columns[2].clone().unwrap();
    assert_eq!(column.as_ref(), &arrow::array::Int8Array::from(vec![1, 4]) as &dyn Array);
}
