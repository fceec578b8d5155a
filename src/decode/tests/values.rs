//! Single values: what each type of the contract takes and refuses.

use super::*;

#[test]
fn mistyped_values_are_named_by_column_and_type_and_never_quoted() {
    let cases = [
        (DataType::Boolean, "1", "column `x` expects BOOLEAN, found a number"),
        (DataType::Int32, "true", "column `x` expects INTEGER, found a boolean"),
        (
            DataType::Int32,
            "1.5",
            "column `x` expects INTEGER, found a number that is not written as a whole number",
        ),
        (DataType::Int32, "{}", "column `x` expects INTEGER, found an object"),
        (DataType::Utf8, "[1]", "column `x` expects VARCHAR, found an array"),
        (DataType::Utf8, "false", "column `x` expects VARCHAR, found a boolean"),
        (DataType::Float64, "\"secret\"", "column `x` expects DOUBLE, found text that does not read as one"),
        (DataType::Float64, "\"inf\"", "column `x` expects DOUBLE, found text that does not read as one"),
        (DataType::Date32, "\"secret\"", "column `x` expects DATE, found text that does not read as one"),
        (
            timestamp(),
            "1763806502123",
            "column `x` expects TIMESTAMP, found a number: bind the column with unit = \"s\", \"ms\" or \"us\" to read epoch times",
        ),
    ];
    for (data_type, json, reason) in cases {
        assert_eq!(decode_value(data_type, "", json).unwrap_err(), ("mistyped", reason.to_owned()), "{json}");
    }
}

#[test]
fn values_past_their_types_range_are_out_of_range() {
    let money = DataType::Decimal128(9, 2);
    let cases = [
        (DataType::Int8, "128"),
        (DataType::Int64, "9223372036854775808"),
        (DataType::UInt8, "-1"),
        (DataType::UInt64, "18446744073709551616"),
        (DataType::Float64, "1e400"),
        (DataType::Float32, "1e39"),
        (money.clone(), "10000000"),
        (money.clone(), "1e999999999999999999999"),
        (money.clone(), "0.001"),
        (timestamp(), "\"0000-01-01T00:00:00Z\""),
    ];
    for (data_type, json) in cases {
        assert_eq!(kind_of(data_type.clone(), json), "out_of_range", "{data_type} {json}");
    }
    let (_, reason) = decode_value(money, "", "0.001").unwrap_err();
    assert_eq!(
        reason,
        "column `x` expects DECIMAL(9,2), found more digits after the point than DECIMAL(9,2) holds"
    );
    let digits = "9".repeat(5000);
    for data_type in [DataType::Int64, DataType::Float64, DataType::Decimal128(38, 0), DataType::Utf8] {
        assert!(!matches!(kind_of(data_type.clone(), &digits), "row" | "null"), "{data_type}");
    }
}

#[test]
fn values_at_the_ends_of_their_range_are_rows() {
    for (data_type, json) in [
        (DataType::Int8, "-128"),
        (DataType::UInt32, "4294967295"),
        (DataType::Int64, "-9223372036854775808"),
        (DataType::UInt64, "18446744073709551615"),
        (DataType::Int16, "\"-32768\""),
        (DataType::Boolean, "\"TRUE\""),
        (DataType::Float32, "3.4e38"),
        (DataType::Decimal128(38, 0), "99999999999999999999999999999999999999"),
        (DataType::Date32, "\"2024-02-29\""),
        (DataType::Utf8, "12345678901234567890"),
    ] {
        assert_eq!(kind_of(data_type.clone(), json), "row", "{data_type} {json}");
    }
}

#[test]
fn epoch_times_are_read_in_their_unit_and_text_is_refused_there() {
    for (unit, json) in [
        ("s", "1763806502.123"),
        ("ms", "1763806502123"),
        ("us", "\"1763806502123000\""),
        ("iso", "\"2025-11-22T10:15:02.123Z\""),
    ] {
        let array =
            decode_value(timestamp(), &format!("[fields]\nx = {{ unit = \"{unit}\" }}"), json).unwrap();
        assert_eq!(array.as_primitive::<TimestampMicrosecondType>().value(0), TIME_MICROS, "{unit}");
    }
    let (kind, _) =
        decode_value(timestamp(), "[fields]\nx = { unit = \"ms\" }", &format!("\"{TIME}\"")).unwrap_err();
    assert_eq!(kind, "mistyped");
    let (kind, _) = decode_value(timestamp(), "[fields]\nx = { unit = \"s\" }", "1763806502123").unwrap_err();
    assert_eq!(kind, "out_of_range", "milliseconds read as seconds lie past the year 9999");
}
