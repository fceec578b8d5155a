//! One value into one column: the rules of the contract's types, the same for JSON and for text files.
//!
//! The table of what each type takes is in the module above. Objects and arrays are refused
//! everywhere; null is for the caller.

use arrow::datatypes::DataType;

use super::binding::{FieldBinding, TimeUnitText};
use super::column::Column;
use super::fault::ValueFault;
use super::number::{DecimalLimits, parse_decimal, parse_epoch, parse_integer};
use super::time::{check_year, parse_date, parse_timestamp};

/// A value that is neither null nor nested.
#[derive(Debug, Clone, Copy)]
pub(super) enum Scalar<'v> {
    Boolean(bool),
    /// A number's text.
    Number(&'v [u8]),
    Text(&'v str),
}

/// How the values of one column are read: its type, and what the binding adds to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reading {
    Boolean,
    Whole { least: i64, most: i64 },
    Unsigned,
    Float { single: bool },
    Decimal { precision: u8, scale: i8, minor_units: Option<u8> },
    Text,
    Date,
    Timestamp { epoch_places: Option<i64> },
}

impl Reading {
    /// None for a type that records are not decoded into.
    pub(super) fn new(data_type: &DataType, binding: &FieldBinding) -> Option<Self> {
        let whole = |least: i64, most: i64| Some(Self::Whole { least, most });
        match data_type {
            DataType::Boolean => Some(Self::Boolean),
            DataType::Int8 => whole(i8::MIN.into(), i8::MAX.into()),
            DataType::Int16 => whole(i16::MIN.into(), i16::MAX.into()),
            DataType::Int32 => whole(i32::MIN.into(), i32::MAX.into()),
            DataType::Int64 => whole(i64::MIN, i64::MAX),
            DataType::UInt8 => whole(0, u8::MAX.into()),
            DataType::UInt16 => whole(0, u16::MAX.into()),
            DataType::UInt32 => whole(0, u32::MAX.into()),
            DataType::UInt64 => Some(Self::Unsigned),
            DataType::Float32 => Some(Self::Float { single: true }),
            DataType::Float64 => Some(Self::Float { single: false }),
            DataType::Decimal128(precision, scale) => {
                Some(Self::Decimal { precision: *precision, scale: *scale, minor_units: binding.minor_units })
            }
            DataType::Utf8 => Some(Self::Text),
            DataType::Date32 => Some(Self::Date),
            DataType::Timestamp(..) => {
                Some(Self::Timestamp { epoch_places: binding.unit.and_then(TimeUnitText::epoch_places) })
            }
            _ => None,
        }
    }

    /// The same for files of columns, which hold amounts and not minor units.
    pub(super) fn without_minor_units(self) -> Self {
        match self {
            Self::Decimal { precision, scale, .. } => Self::Decimal { precision, scale, minor_units: None },
            other => other,
        }
    }
}

/// Appends the value to the column, or says why it can't be and leaves the column as it was.
pub(super) fn push_value(column: &mut Column, reading: Reading, value: Scalar<'_>) -> Result<(), ValueFault> {
    match reading {
        Reading::Text => return push_text(column, value),
        Reading::Timestamp { epoch_places } => column.push_whole(read_timestamp(value, epoch_places)?),
        Reading::Decimal { precision, scale, minor_units } => {
            let limits = DecimalLimits { precision, scale };
            column.push_decimal(read_decimal(value, limits, minor_units)?);
        }
        Reading::Whole { least, most } => {
            let value = parse_integer(number_text(value)?)?;
            let value = i64::try_from(value).map_err(|_| ValueFault::TooLarge)?;
            if !(least..=most).contains(&value) {
                return Err(ValueFault::TooLarge);
            }
            column.push_whole(value);
        }
        Reading::Unsigned => {
            let value = parse_integer(number_text(value)?)?;
            column.push_unsigned(u64::try_from(value).map_err(|_| ValueFault::TooLarge)?);
        }
        Reading::Float { single } => column.push_float(read_float(value, single)?),
        Reading::Boolean => column.push_boolean(read_boolean(value)?),
        Reading::Date => match value {
            Scalar::Text(text) => column.push_whole(parse_date(text)?.into()),
            Scalar::Boolean(_) => return Err(ValueFault::Found("a boolean")),
            Scalar::Number(_) => return Err(ValueFault::Found("a number")),
        },
    }
    Ok(())
}

fn push_text(column: &mut Column, value: Scalar<'_>) -> Result<(), ValueFault> {
    let text = match value {
        Scalar::Text(text) => text,
        Scalar::Number(text) => std::str::from_utf8(text).map_err(|_| ValueFault::Unreadable)?,
        Scalar::Boolean(_) => return Err(ValueFault::Found("a boolean")),
    };
    match column.push_text(text) {
        true => Ok(()),
        false => Err(ValueFault::TooLarge),
    }
}

/// A number's own text, or text that should read as one.
fn number_text(value: Scalar<'_>) -> Result<&[u8], ValueFault> {
    match value {
        Scalar::Number(text) => Ok(text),
        Scalar::Text(text) => Ok(text.as_bytes()),
        Scalar::Boolean(_) => Err(ValueFault::Found("a boolean")),
    }
}

fn read_decimal(
    value: Scalar<'_>,
    limits: DecimalLimits,
    minor_units: Option<u8>,
) -> Result<i128, ValueFault> {
    let text = number_text(value)?;
    let Some(minor_units) = minor_units else {
        return parse_decimal(text, limits, 0);
    };
    if text.iter().any(|byte| matches!(byte, b'.' | b'e' | b'E')) {
        return Err(ValueFault::NotWhole);
    }
    parse_decimal(text, limits, -i64::from(minor_units))
}

fn read_float(value: Scalar<'_>, single: bool) -> Result<f64, ValueFault> {
    let text = std::str::from_utf8(number_text(value)?).map_err(|_| ValueFault::Unreadable)?;
    // Rust also reads "inf", "nan" and the like, which are no numbers of a record.
    if !text.ends_with(|last: char| last.is_ascii_digit() || last == '.') {
        return Err(ValueFault::Unreadable);
    }
    // A REAL is read as one, not rounded twice.
    let number = match single {
        true => text.parse::<f32>().map(f64::from),
        false => text.parse::<f64>(),
    };
    let number = number.map_err(|_| ValueFault::Unreadable)?;
    match number.is_finite() {
        true => Ok(number),
        false => Err(ValueFault::TooLarge),
    }
}

fn read_boolean(value: Scalar<'_>) -> Result<bool, ValueFault> {
    match value {
        Scalar::Boolean(value) => Ok(value),
        Scalar::Text(text) if text.eq_ignore_ascii_case("true") => Ok(true),
        Scalar::Text(text) if text.eq_ignore_ascii_case("false") => Ok(false),
        Scalar::Text(_) => Err(ValueFault::Unreadable),
        Scalar::Number(_) => Err(ValueFault::Found("a number")),
    }
}

fn read_timestamp(value: Scalar<'_>, epoch_places: Option<i64>) -> Result<i64, ValueFault> {
    match (value, epoch_places) {
        (Scalar::Text(text), None) => parse_timestamp(text),
        (Scalar::Text(text), Some(places)) => check_year(parse_epoch(text.as_bytes(), places)?),
        (Scalar::Number(text), Some(places)) => check_year(parse_epoch(text, places)?),
        (Scalar::Number(_), None) => Err(ValueFault::NumberWithoutUnit),
        (Scalar::Boolean(_), _) => Err(ValueFault::Found("a boolean")),
    }
}
