//! Records as wholes: what makes one a row, and every way to be a dead letter.

use super::*;

#[test]
fn good_records_become_columns_of_the_contracts_types() {
    let stream =
        stream_of("s", &[("amount", DataType::Decimal128(18, 2), false), ("n", DataType::Int32, true)]);
    let first = record("\"amount\":1.99,\"n\":7,\"other\":{\"deep\":[1,2]}");
    let second = record("\"n\":null,\"amount\":\"20\"");
    let decoded = decode(decoder(&stream, ""), &[&first, &second]);
    assert_eq!(decoded.dead_letters, vec![]);
    assert_eq!(decoded.rows.event_time, vec![TIME_MICROS; 2]);
    assert_eq!(decoded.rows.offset, vec![0, 1]);
    assert_eq!(decoded.rows.timestamp, vec![i64::MIN; 2]);
    let rows = &decoded.streams[0];
    assert_eq!(rows.rows, vec![0, 1]);
    let columns: Vec<ArrayRef> = rows.columns.iter().map(|column| column.clone().unwrap()).collect();
    let batch = RecordBatch::try_new(stream.schema.clone(), columns).unwrap();
    let printed = arrow::util::pretty::pretty_format_batches(&[batch]).unwrap().to_string();
    let expected = "\
+-------+-------------------------+--------+---+
| tx_id | event_time              | amount | n |
+-------+-------------------------+--------+---+
| a     | 2025-11-22T10:15:02.123 | 1.99   | 7 |
| a     | 2025-11-22T10:15:02.123 | 20.00  |   |
+-------+-------------------------+--------+---+";
    assert_eq!(printed, expected);
}

#[test]
fn a_nullable_column_that_no_rule_reads_is_not_looked_at() {
    let stream = stream_of("s", &[("n", DataType::Int32, true), ("m", DataType::Int32, false)]);
    let used = [false, false, false, false];
    let decoder = Decoder::new(stream, &StreamBinding::default(), &used, DecodeLimits::default()).unwrap();
    assert_eq!(decoder.column_names(), ["tx_id", "event_time", "m"]);
    let decoded = decode(decoder, &[&record("\"n\":\"wrong\",\"m\":1"), &record("\"n\":1,\"m\":\"wrong\"")]);
    assert!(decoded.streams[0].columns[2].is_none());
    assert_eq!(decoded.streams[0].rows, vec![0]);
    assert_eq!(
        letter_of(&decoded).reason,
        "column `m` expects INTEGER, found text that does not read as one"
    );
}

#[test]
fn a_column_kept_for_the_history_alone_is_null_where_it_can_not_be_read() {
    let stream = stream_of("s", &[("n", DataType::Int32, true), ("m", DataType::Int32, true)]);
    let used = [false, false, false, true];
    let binding = StreamBinding { unused: Unused::Keep, ..StreamBinding::default() };
    let decoder = Decoder::new(stream, &binding, &used, DecodeLimits::default()).unwrap();
    let records =
        ["\"n\":\"wrong\",\"m\":1", "\"n\":[{\"a\":1}],\"m\":2", "\"n\":7,\"m\":3", "\"n\":8,\"m\":\"x\""];
    let records = records.map(record);
    let decoded = decode(decoder, &records.each_ref().map(Vec::as_slice));
    let columns = &decoded.streams[0].columns;
    let kept = Int32Array::from(vec![None, None, Some(7)]);
    assert_eq!(columns[2].as_ref().unwrap().as_ref(), &kept as &dyn Array);
    assert_eq!(columns[3].as_ref().unwrap().as_ref(), &Int32Array::from(vec![1, 2, 3]) as &dyn Array);
    assert_eq!(decoded.dead_letters.len(), 1);
}

#[test]
fn one_bad_record_never_harms_its_batch() {
    let stream = stream_of("s", &[("n", DataType::Int32, true), ("t", DataType::Utf8, true)]);
    let good = |n: i32| record(&format!("\"n\":{n},\"t\":\"t{n}\""));
    let (one, two, three) = (good(1), good(2), good(3));
    let late_fault = record("\"t\":\"lost\",\"n\":true");
    let decoded = decode(decoder(&stream, ""), &[&one, b"{\"tx_id\":\"a\"", &two, &late_fault, &three]);
    assert_eq!(decoded.rows.offset, vec![0, 2, 4]);
    let columns = &decoded.streams[0].columns;
    assert_eq!(columns[2].as_ref().unwrap().as_ref(), &Int32Array::from(vec![1, 2, 3]) as &dyn Array);
    assert_eq!(columns[3].as_ref().unwrap().as_string::<i32>(), &StringArray::from(vec!["t1", "t2", "t3"]));
    let offsets: Vec<i64> = decoded.dead_letters.iter().map(|letter| letter.coordinates.offset.0).collect();
    assert_eq!(offsets, vec![1, 3]);
}

#[test]
fn a_dead_letter_keeps_the_records_own_bytes_and_key() {
    let mut batch = batch_of(&[b"oops"]);
    let start = batch.bytes.len();
    batch.bytes.extend_from_slice(b"key");
    batch.records[0].key = Some(start..start + 3);
    batch.records[0].timestamp = Some(5);
    let stream = stream_of("s", &[]);
    let decoded = Decoders::new(vec![decoder(&stream, "")]).decode(Fetched::Records(batch));
    let letter = letter_of(&decoded);
    assert_eq!(letter.payload.as_deref(), Some(&b"oops"[..]));
    assert_eq!(letter.key.as_deref(), Some(&b"key"[..]));
    assert_eq!((letter.timestamp, letter.stage), (Some(5), Stage::Decode));
    assert_eq!(letter.coordinates.to_string(), "topic-0[0]@0");
}

#[test]
fn every_way_to_be_no_record_has_its_own_kind_and_position() {
    let deep = format!("{{\"x\":{}{}}}", "[".repeat(64), "]".repeat(64));
    let deep_enough = record(&format!("\"x\":{}{}", "[".repeat(63), "]".repeat(63)));
    let deep_top = "[".repeat(100_000);
    let cases: [(&[u8], &str, &str); 14] = [
        (b"", "malformed", "cut JSON, it ends at byte 0"),
        (b"  ", "malformed", "cut JSON, it ends at byte 2"),
        (b"{\"tx_id\":\"a\",\"event", "malformed", "cut JSON, it ends at byte 19"),
        (b"{\"tx_id\":\"a\"", "malformed", "cut JSON, it ends at byte 12"),
        (b"{\"tx_id\":\"a\"} x", "malformed", "not valid JSON, trailing characters at byte 14"),
        (b"{\"tx_id\" \"a\"}", "malformed", "not valid JSON, expected `:` at byte 9"),
        (b"{\"other\":01}", "malformed", "not valid JSON, invalid number at byte 10"),
        (b"oops", "malformed", "not valid JSON, expected value at byte 0"),
        (b"{\"tx_id\":\"\xff\"}", "invalid_utf8", "the record is not UTF-8 text at byte 10"),
        (b"{\"other\":\"\xff\"}", "invalid_utf8", "the record is not UTF-8 text at byte 10"),
        (b"[1,2]", "not_object", "the record is an array, a JSON object was expected"),
        (b" \"text\" ", "not_object", "the record is text, a JSON object was expected"),
        (deep.as_bytes(), "too_deep", "objects and arrays are nested deeper than 64 levels at byte 68"),
        (deep_top.as_bytes(), "too_deep", "objects and arrays are nested deeper than 64 levels at byte 64"),
    ];
    let stream = stream_of("s", &[]);
    for (payload, kind, reason) in cases {
        let decoded = decode(decoder(&stream, ""), &[payload]);
        let letter = letter_of(&decoded);
        assert_eq!((letter.kind, letter.reason.as_str()), (kind, reason));
        assert_eq!(decoded.rows.event_time.len(), 0);
    }
    assert_eq!(decode(decoder(&stream, ""), &[&deep_enough]).dead_letters, vec![]);
}

#[test]
fn a_null_payload_is_a_tombstone() {
    let mut batch = batch_of(&[b""]);
    batch.records[0].payload = None;
    let stream = stream_of("s", &[]);
    let decoded = Decoders::new(vec![decoder(&stream, "")]).decode(Fetched::Records(batch));
    assert_eq!((letter_of(&decoded).kind, &letter_of(&decoded).payload), ("tombstone", &None));
}

#[test]
fn a_record_past_the_size_limit_is_set_aside_unread() {
    let stream = stream_of("s", &[]);
    let huge = record(&format!("\"x\":\"{}\"", "y".repeat(10_000_000)));
    let decoded = decode(decoder(&stream, ""), &[&huge]);
    assert_eq!(letter_of(&decoded).kind, "oversize");
    assert!(letter_of(&decoded).reason.ends_with("1048576 are allowed"));
}

#[test]
fn missing_or_null_is_a_dead_letter_only_where_the_contract_says_not_null() {
    let stream = stream_of("s", &[("must", DataType::Int64, false), ("may", DataType::Int64, true)]);
    let reason = "column `must` is NOT NULL and the record has no value for it";
    for fields in ["\"may\":1", "\"must\":null", "\"must\":1,\"must\":null"] {
        let decoded = decode(decoder(&stream, ""), &[&record(fields)]);
        assert_eq!((letter_of(&decoded).kind, letter_of(&decoded).reason.as_str()), ("missing", reason));
    }
    for fields in ["\"must\":1", "\"must\":1,\"may\":null"] {
        let decoded = decode(decoder(&stream, ""), &[&record(fields)]);
        assert!(decoded.streams[0].columns[3].as_ref().unwrap().is_null(0));
    }
    let no_key =
        decode(decoder(&stream, ""), &[format!("{{\"event_time\":\"{TIME}\",\"must\":1}}").as_bytes()]);
    assert!(letter_of(&no_key).reason.contains("`tx_id`"));
}

#[test]
fn of_a_key_that_stands_twice_the_last_value_counts() {
    let stream = stream_of("s", &[("n", DataType::Int64, true), ("inner", DataType::Utf8, true)]);
    let fields = "[fields]\nn = { path = \"o.n\" }\ninner = { path = \"o.inner\" }";
    let value = |decoded: &DecodedBatch, column: usize| decoded.streams[0].columns[column].clone().unwrap();
    let twice = decode(decoder(&stream, fields), &[&record("\"o\":{\"n\":1,\"inner\":\"x\",\"n\":2}")]);
    assert_eq!(value(&twice, 2).as_primitive::<Int64Type>().value(0), 2);
    assert_eq!(value(&twice, 3).as_string::<i32>().value(0), "x");
    for second in ["{\"n\":3}", "null"] {
        let replaced = decode(
            decoder(&stream, fields),
            &[&record(&format!("\"o\":{{\"n\":1,\"inner\":\"x\"}},\"o\":{second}"))],
        );
        assert!(value(&replaced, 3).is_null(0), "nothing of the first object stays");
    }
}

#[test]
fn nested_paths_escapes_and_shared_fields_are_found() {
    let stream = stream_of(
        "s",
        &[
            ("amount", DataType::Decimal128(18, 2), false),
            ("dot", DataType::Utf8, true),
            ("same", DataType::Utf8, true),
        ],
    );
    let fields = r#"
[fields]
amount = { path = "payment.amountMinor", minor_units = 2 }
dot = { path = "\"a.b\"" }
same = { path = "payment.amountMinor" }"#;
    let json = record(r#""p\u0061yment":{"x":[{}],"amountMinor":199},"a.b":"\u00e9\n""#);
    let decoded = decode(decoder(&stream, fields), &[&json]);
    assert_eq!(decoded.dead_letters, vec![]);
    let columns = &decoded.streams[0].columns;
    assert_eq!(columns[2].as_ref().unwrap().as_primitive::<Decimal128Type>().value(0), 199);
    assert_eq!(columns[3].as_ref().unwrap().as_string::<i32>().value(0), "é\n");
    assert_eq!(columns[4].as_ref().unwrap().as_string::<i32>().value(0), "199");
    let flat = decode(decoder(&stream, fields), &[&record("\"payment\":7")]);
    assert_eq!(letter_of(&flat).kind, "mistyped");
    assert!(letter_of(&flat).reason.starts_with("column `amount` is inside an object"));
}

#[test]
fn fields_are_found_in_whatever_order_they_come() {
    let names = ["a", "b", "c", "d"];
    let columns: Vec<_> = names.iter().map(|name| (*name, DataType::Int64, true)).collect();
    let stream = stream_of("s", &columns);
    let mut random = ChaCha8Rng::seed_from_u64(3);
    let mut payloads = Vec::new();
    for _ in 0..500 {
        let mut fields: Vec<String> = (0..4).map(|index| format!("\"{}\":{index}", names[index])).collect();
        fields.extend((0..random.random_range(0..3)).map(|index| format!("\"unknown{index}\":{{\"a\":9}}")));
        for index in (1..fields.len()).rev() {
            fields.swap(index, random.random_range(0..=index));
        }
        payloads.push(record(&fields.join(",")));
    }
    let payloads: Vec<&[u8]> = payloads.iter().map(Vec::as_slice).collect();
    let decoded = decode(decoder(&stream, ""), &payloads);
    for (index, column) in decoded.streams[0].columns[2..].iter().enumerate() {
        let expected = Int64Array::from(vec![index as i64; 500]);
        assert_eq!(column.as_ref().unwrap().as_ref(), &expected as &dyn Array);
    }
}

#[test]
fn an_event_time_past_the_records_own_timestamp_is_a_future_dead_letter() {
    let stream = stream_of("s", &[]);
    let payload = format!("{{\"tx_id\":\"a\",\"event_time\":\"{TIME}\"}}");
    let mut batch = batch_of(&[payload.as_bytes(), payload.as_bytes(), payload.as_bytes()]);
    batch.records[0].timestamp = Some(TIME_MICROS - Span::seconds(300).0);
    batch.records[1].timestamp = Some(TIME_MICROS - Span::seconds(300).0 - 1);
    let decoded = Decoders::new(vec![decoder(&stream, "")]).decode(Fetched::Records(batch));
    assert_eq!(decoded.rows.offset, vec![0, 2], "at the limit, and without a timestamp");
    let letter = letter_of(&decoded);
    assert_eq!((letter.kind, letter.coordinates.offset.0), ("future", 1));
    assert_eq!(
        letter.reason,
        "event time `event_time` is more than 5m past the record's own Kafka timestamp"
    );
}

#[test]
fn records_of_several_streams_keep_their_order_of_arrival() {
    let contract = Contract {
        streams: vec![
            stream_of("a", &[("n", DataType::Int64, true)]),
            stream_of("b", &[("t", DataType::Utf8, true)]),
        ],
    };
    let used: Vec<Vec<bool>> = vec![vec![true; 3]; 2];
    let bindings = vec![StreamBinding::default(); 2];
    let mut decoders = Decoders::of_contract(&contract, &bindings, &used, DecodeLimits::default()).unwrap();
    let mut batch = RawBatch { partitions: partitions(&[1, 0, 7]), ..RawBatch::default() };
    for (partition, fields) in
        [(1, "\"n\":1"), (0, "\"t\":\"x\""), (1, "\"n\":\"y\""), (2, "\"z\":1"), (1, "\"n\":2")]
    {
        push(&mut batch, partition, &record(fields));
    }
    batch.bytes.extend_from_slice(b"00-trace");
    batch.records[4].traceparent = Some(batch.bytes.len() - 8..batch.bytes.len());
    let decoded = decoders.decode(Fetched::Records(batch));
    assert_eq!(decoded.rows.offset, vec![0, 1, 4]);
    assert_eq!(decoded.rows.partition, vec![1, 0, 1]);
    assert_eq!(decoded.rows.traceparents, vec![(2, "00-trace".to_owned())]);
    assert_eq!(decoded.streams[0].rows, vec![0, 2]);
    assert_eq!(decoded.streams[1].rows, vec![1]);
    let kinds: Vec<&str> = decoded.dead_letters.iter().map(|letter| letter.kind).collect();
    assert_eq!(kinds, ["mistyped", "unbound"]);
    let empty = decoders.decode(Fetched::Records(RawBatch::default()));
    assert_eq!(empty.streams.len(), 2);
    assert_eq!(empty.streams[0].columns[2].as_ref().map(|column| column.len()), Some(0));
}

#[test]
fn a_panic_costs_the_guilty_record_only() {
    let stream = stream_of("s", &[("n", DataType::Int64, true)]);
    let mut decoder = decoder(&stream, "");
    decoder.panic_on = Some(b"boom");
    let (one, two) = (record("\"n\":1"), record("\"n\":2"));
    let decoded = decode(decoder, &[b"boom", &one, b"boom", b"boom", &two, b"boom"]);
    assert_eq!(decoded.rows.offset, vec![1, 4]);
    let column = decoded.streams[0].columns[2].clone().unwrap();
    assert_eq!(column.as_ref(), &Int64Array::from(vec![1, 2]) as &dyn Array);
    assert!(decoded.dead_letters.iter().all(|letter| letter.kind == "panic"));
    assert_eq!(decoded.dead_letters.len(), 4);
}

#[test]
fn bindings_that_do_not_fit_the_contract_are_refused_with_what_to_do() {
    let stream =
        stream_of("s", &[("amount", DataType::Decimal128(18, 2), true), ("odd", DataType::Binary, true)]);
    let refusal = |fields: &str, used: &[bool]| {
        let binding: StreamBinding = toml::from_str(fields).unwrap();
        Decoder::new(stream.clone(), &binding, used, DecodeLimits::default()).unwrap_err().to_string()
    };
    let used = [true, true, true, false];
    assert_eq!(
        refusal("[fields]\namuont = {}", &used),
        "[streams.s.fields] binds `amuont`, which is no column of the stream; did you mean `amount`? (its columns: tx_id, event_time, amount, odd)"
    );
    assert!(refusal("[fields]\namount = { path = \"a..b\" }", &used).contains("a name is empty"));
    assert!(refusal("[fields]\namount = { unit = \"ms\" }", &used).contains("is for TIMESTAMP columns"));
    assert!(refusal("[fields]\ntx_id = { minor_units = 2 }", &used).contains("is for DECIMAL columns"));
    assert!(refusal("[fields]\namount = { minor_units = 99 }", &used).contains("from 0 to 38"));
    assert!(
        refusal("[fields]\namount = { path = \"tx_id.x\" }", &used).contains("bind each column to a value")
    );
    assert!(refusal("", &[true; 4]).contains("`odd` of stream `s` has type Binary"));
    assert!(refusal("", &[true; 3]).contains("another length"));
}
