//! Values of columns as JSON, by the contract of the events: decimals and integers above 2^53 are strings.

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{DataType, Float32Type, Float64Type, Int64Type, TimeUnit, TimestampMicrosecondType};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use serde_json::{Number, Value};

use crate::event::EventTime;

/// Largest integer that every JSON reader takes exactly.
const EXACT_MAX: i64 = 1 << 53;

/// The value of one row: null, a truth, a number, or text.
pub fn value(column: &ArrayRef, row: usize) -> Value {
    if column.is_null(row) {
        return Value::Null;
    }
    match column.data_type() {
        DataType::Null => Value::Null,
        DataType::Boolean => Value::Bool(column.as_boolean().value(row)),
        DataType::Float64 => float(column.as_primitive::<Float64Type>().value(row)),
        DataType::Float32 => float(f64::from(column.as_primitive::<Float32Type>().value(row))),
        DataType::Int64 => {
            let number = column.as_primitive::<Int64Type>().value(row);
            let exact = (-EXACT_MAX..=EXACT_MAX).contains(&number);
            if exact { Value::from(number) } else { Value::String(number.to_string()) }
        }
        data_type if data_type.is_integer() => {
            let text = key(column, row);
            match text.parse::<i64>() {
                Ok(number) if (-EXACT_MAX..=EXACT_MAX).contains(&number) => Value::from(number),
                _ => Value::String(text),
            }
        }
        _ => Value::String(key(column, row)),
    }
}

fn float(number: f64) -> Value {
    Number::from_f64(number).map_or_else(|| Value::String(number.to_string()), Value::Number)
}

/// The value of one row as text, for keys and sentences; empty for null.
pub(crate) fn key(column: &ArrayRef, row: usize) -> String {
    if column.is_null(row) {
        return String::new();
    }
    if let DataType::Timestamp(TimeUnit::Microsecond, _) = column.data_type() {
        return EventTime(column.as_primitive::<TimestampMicrosecondType>().value(row)).to_string();
    }
    // What is by far the most frequent needs no formatter.
    match column.data_type() {
        DataType::Utf8 => return column.as_string::<i32>().value(row).to_owned(),
        DataType::Utf8View => return column.as_string_view().value(row).to_owned(),
        DataType::Int64 => return column.as_primitive::<Int64Type>().value(row).to_string(),
        _ => {}
    }
    let options = FormatOptions::default();
    ArrayFormatter::try_new(column.as_ref(), &options)
        .map(|text| text.value(row).to_string())
        .unwrap_or_default()
}
