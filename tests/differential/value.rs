//! Values outside of any engine: how they are read from Arrow, compared, and put into columns.

use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

use arrow::array::*;
use arrow::compute::cast;
use arrow::datatypes::{
    DataType, Decimal128Type, Float64Type, Int64Type, TimeUnit, TimestampMicrosecondType, UInt64Type,
};

/// One SQL value.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    Null,
    Whole(i128),
    /// Unscaled number and scale.
    Decimal(i128, i8),
    Float(f64),
    Text(String),
    Truth(bool),
    /// Microseconds since 1970.
    Time(i64),
}

/// How near two floats must be to agree: within a part of the larger one, or of 1 where both are smaller.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Closeness {
    Exact,
    /// As near as a deviation that subtracts from floating-point sums comes.
    Drifted,
}

impl Closeness {
    fn holds(self, left: f64, right: f64) -> bool {
        let tolerance = match self {
            Self::Exact => 1e-9,
            // A root of a drifted zero, which may have become negative.
            Self::Drifted if left.is_nan() || right.is_nan() => return left.abs().min(right.abs()) <= 1e-4,
            Self::Drifted => 1e-4,
        };
        let size = left.abs().max(right.abs()).max(1.0);
        left.total_cmp(&right).is_eq() || (left - right).abs() <= tolerance * size
    }
}

impl Value {
    pub(super) fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }

    pub(super) fn float(&self) -> f64 {
        match self {
            Self::Whole(number) => *number as f64,
            Self::Decimal(number, scale) => *number as f64 / 10f64.powi(i32::from(*scale)),
            Self::Float(number) => *number,
            other => panic!("{other} is no number"),
        }
    }

    /// Unscaled number at a scale that is not smaller than its own.
    pub(super) fn at_scale(&self, wanted: i8) -> i128 {
        match self {
            Self::Whole(number) => number * 10i128.pow(wanted as u32),
            Self::Decimal(number, scale) => number * 10i128.pow((wanted - scale) as u32),
            other => panic!("{other} is no exact number"),
        }
    }

    pub(super) fn scale(&self) -> i8 {
        match self {
            Self::Decimal(_, scale) => *scale,
            _ => 0,
        }
    }

    /// SQL's order of two values that are not null.
    pub(super) fn order(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Text(left), Self::Text(right)) => left.cmp(right),
            (Self::Truth(left), Self::Truth(right)) => left.cmp(right),
            (Self::Time(left), Self::Time(right)) => left.cmp(right),
            (Self::Float(_), _) | (_, Self::Float(_)) => self.float().total_cmp(&other.float()),
            _ => {
                let scale = self.scale().max(other.scale());
                self.at_scale(scale).cmp(&other.at_scale(scale))
            }
        }
    }

    /// Whether two engines may give these two values for one cell: floats within the tolerance, all
    /// else exactly.
    pub(super) fn agrees(&self, other: &Self, closeness: Closeness) -> bool {
        match (self, other) {
            (Self::Float(left), Self::Float(right)) => closeness.holds(*left, *right),
            _ => self == other,
        }
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("NULL"),
            Self::Whole(number) => write!(f, "{number}"),
            Self::Decimal(number, scale) => write!(f, "{number}e-{scale}"),
            Self::Float(number) => write!(f, "{number:?}"),
            Self::Text(text) => write!(f, "'{text}'"),
            Self::Truth(truth) => write!(f, "{truth}"),
            Self::Time(micros) => write!(f, "{}", tollgate::event::EventTime(*micros)),
        }
    }
}

/// The value of one row of a column.
pub(super) fn read(column: &ArrayRef, row: usize) -> Value {
    if column.is_null(row) {
        return Value::Null;
    }
    match column.data_type() {
        DataType::Null => Value::Null,
        DataType::Float32 | DataType::Float64 => {
            let column = cast(column, &DataType::Float64).unwrap();
            Value::Float(column.as_primitive::<Float64Type>().value(row))
        }
        DataType::Decimal128(_, scale) => {
            Value::Decimal(column.as_primitive::<Decimal128Type>().value(row), *scale)
        }
        DataType::Boolean => Value::Truth(column.as_boolean().value(row)),
        DataType::UInt64 => Value::Whole(i128::from(column.as_primitive::<UInt64Type>().value(row))),
        DataType::Timestamp(..) => {
            let micros = cast(column, &DataType::Timestamp(TimeUnit::Microsecond, None)).unwrap();
            Value::Time(micros.as_primitive::<TimestampMicrosecondType>().value(row))
        }
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => {
            let texts = cast(column, &DataType::Utf8).unwrap();
            Value::Text(texts.as_string::<i32>().value(row).to_owned())
        }
        _ => {
            let numbers = cast(column, &DataType::Int64).unwrap();
            Value::Whole(i128::from(numbers.as_primitive::<Int64Type>().value(row)))
        }
    }
}

/// A column of values that are all of one type.
pub(super) fn column<'a>(data_type: &DataType, values: impl Iterator<Item = &'a Value>) -> ArrayRef {
    let whole = |value: &Value| match value {
        Value::Null => None,
        Value::Whole(number) => Some(*number as i64),
        Value::Time(micros) => Some(*micros),
        other => panic!("{other} is not whole"),
    };
    match data_type {
        DataType::Float64 => {
            let numbers = values.map(|value| (!value.is_null()).then(|| value.float()));
            Arc::new(numbers.collect::<Float64Array>())
        }
        DataType::Decimal128(_, scale) => {
            let numbers = values.map(|value| (!value.is_null()).then(|| value.at_scale(*scale)));
            Arc::new(numbers.collect::<Decimal128Array>().with_data_type(data_type.clone()))
        }
        DataType::Boolean => {
            let truths = values.map(|value| match value {
                Value::Truth(truth) => Some(*truth),
                _ => None,
            });
            Arc::new(truths.collect::<BooleanArray>())
        }
        DataType::Utf8 => {
            let texts = values.map(|value| match value {
                Value::Text(text) => Some(text.clone()),
                _ => None,
            });
            Arc::new(texts.collect::<StringArray>())
        }
        _ => cast(&(Arc::new(values.map(whole).collect::<Int64Array>()) as ArrayRef), data_type).unwrap(),
    }
}
