//! One column of a file to the contract's type: which types may be cast, and which rows fail.
//!
//! A cast never changes a value silently, but for two: a float becomes the nearest decimal of the
//! scale, and a time below a microsecond is cut off. Timestamps without a zone are UTC, and a zone
//! only says how a file's reader should print them: the instant is kept.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Int64Array, StringArray, new_null_array};
use arrow::compute::kernels::cmp::neq;
use arrow::compute::{cast, max, min};
use arrow::datatypes::{DataType, TimeUnit, TimestampMicrosecondType};
use arrow::error::ArrowError;

use super::fault::ValueFault;
use super::json::ReadColumn;
use super::time::check_year;
use super::value::{Reading, Scalar, push_value};

/// How a file's column becomes the contract's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Conversion {
    /// The file has no such column.
    Absent,
    /// Handed on as it is.
    Same,
    /// Arrow's cast; a value that becomes null is past the range.
    Cast,
    /// The same, and cast back it must be what it was; otherwise that is its fault.
    CastExact(ValueFault),
    /// Text read as a JSON string of the column would be.
    Text,
    /// A time in another unit or zone.
    Timestamp,
    /// Whole numbers, times 10^n microseconds since 1970.
    Epoch(i64),
}

/// None where values of the one type are not taken for values of the other.
pub(super) fn conversion(from: &DataType, to: &DataType, reading: Reading) -> Option<Conversion> {
    use DataType as T;
    let from = match from {
        T::Dictionary(_, values) => values.as_ref(),
        plain => plain,
    };
    if from == to {
        return Some(Conversion::Same);
    }
    let is_text = matches!(from, T::Utf8 | T::LargeUtf8 | T::Utf8View);
    match (from, to) {
        (T::Null, _) => Some(Conversion::Cast),
        (T::Binary | T::LargeBinary | T::BinaryView, T::Utf8) => Some(Conversion::Cast),
        (_, T::Utf8) if is_text || from.is_integer() => Some(Conversion::Cast),
        _ if is_text => Some(Conversion::Text),
        (T::Timestamp(..), T::Timestamp(..)) => Some(Conversion::Timestamp),
        (T::Date32 | T::Date64, T::Timestamp(..)) => Some(Conversion::Timestamp),
        (T::Date64, T::Date32) => Some(Conversion::Cast),
        (_, T::Timestamp(..)) if from.is_integer() => match reading {
            Reading::Timestamp { epoch_places: Some(places) } => Some(Conversion::Epoch(places)),
            _ => None,
        },
        (_, T::Date32 | T::Timestamp(..) | T::Boolean | T::Utf8) => None,
        _ if from.is_integer() => Some(Conversion::Cast),
        _ if from.is_floating() && to.is_integer() => Some(Conversion::CastExact(ValueFault::NotWhole)),
        _ if from.is_floating() => Some(Conversion::Cast),
        _ if from.is_decimal() && to.is_floating() => Some(Conversion::Cast),
        _ if from.is_decimal() && to.is_integer() => Some(Conversion::CastExact(ValueFault::NotWhole)),
        _ if from.is_decimal() => Some(Conversion::CastExact(ValueFault::TooManyFractionDigits)),
        _ => None,
    }
}

/// A converted column; a row at fault is null in it.
pub(super) struct Converted {
    pub(super) array: ArrayRef,
    pub(super) faults: Vec<(usize, ValueFault)>,
}

/// Converts the column of a file; `rows` counts where there is none.
pub(super) fn convert(
    conversion: Conversion,
    from: Option<&ArrayRef>,
    to: &DataType,
    (column, rows): (&mut ReadColumn, usize),
) -> Result<Converted, ArrowError> {
    let Some(from) = from else {
        return Ok(Converted { array: new_null_array(to, rows), faults: Vec::new() });
    };
    let from = match from.data_type() {
        DataType::Dictionary(_, values) => cast(from, values)?,
        _ => from.clone(),
    };
    let mut faults = Vec::new();
    let array = match conversion {
        Conversion::Absent => new_null_array(to, rows),
        Conversion::Same => from,
        Conversion::Cast => {
            let array = cast(&from, to)?;
            lost(&from, &array, ValueFault::TooLarge, &mut faults);
            array
        }
        Conversion::CastExact(fault) => {
            let array = cast(&from, to)?;
            lost(&from, &array, ValueFault::TooLarge, &mut faults);
            changed(&neq(&cast(&array, from.data_type())?, &from)?, fault, &mut faults);
            array
        }
        Conversion::Text => read_text(&from, column, &mut faults)?,
        Conversion::Timestamp => convert_timestamp(&from, to, &mut faults)?,
        Conversion::Epoch(places) => convert_epoch(&from, to, places, &mut faults)?,
    };
    check_years(&array, &mut faults);
    Ok(Converted { array, faults })
}

/// Values that a cast turned into nulls.
fn lost(before: &ArrayRef, after: &ArrayRef, fault: ValueFault, faults: &mut Vec<(usize, ValueFault)>) {
    let before_nulls = before.logical_null_count();
    if after.null_count() > before_nulls {
        let rows = (0..after.len()).filter(|&row| after.is_null(row) && before.is_valid(row));
        faults.extend(rows.map(|row| (row, fault)));
    }
}

fn changed(differs: &BooleanArray, fault: ValueFault, faults: &mut Vec<(usize, ValueFault)>) {
    if differs.true_count() > 0 {
        let rows = (0..differs.len()).filter(|&row| differs.is_valid(row) && differs.value(row));
        faults.extend(rows.map(|row| (row, fault)));
    }
}

/// Text files have no null: an empty field of a column that is not text is one.
fn read_text(
    from: &ArrayRef,
    column: &mut ReadColumn,
    faults: &mut Vec<(usize, ValueFault)>,
) -> Result<ArrayRef, ArrowError> {
    let text = cast(from, &DataType::Utf8)?;
    let text: &StringArray = text.as_string();
    // Minor units describe a JSON field of whole cents, not a file's column.
    let reading = column.reading.without_minor_units();
    column.values.reserve(text.len());
    for (row, value) in text.iter().enumerate() {
        let outcome = match value.filter(|value| !value.is_empty()) {
            Some(value) => push_value(&mut column.values, reading, Scalar::Text(value)),
            None => {
                column.values.push_null();
                Ok(())
            }
        };
        if let Err(fault) = outcome {
            column.values.push_null();
            faults.push((row, fault));
        }
    }
    Ok(column.values.finish())
}

fn convert_timestamp(
    from: &ArrayRef,
    to: &DataType,
    faults: &mut Vec<(usize, ValueFault)>,
) -> Result<ArrayRef, ArrowError> {
    let zoneless = match from.data_type() {
        DataType::Timestamp(TimeUnit::Microsecond, _) => return Ok(with_zone_of(from, to)),
        // Arrow would shift the clock time between zones; the instant must stay.
        DataType::Timestamp(unit, Some(_)) => strip_zone(from, *unit)?,
        _ => from.clone(),
    };
    let array = cast(&zoneless, &DataType::Timestamp(TimeUnit::Microsecond, None))?;
    lost(from, &array, ValueFault::YearOutOfRange, faults);
    Ok(with_zone_of(&array, to))
}

/// The same instants without a zone, by way of their whole numbers.
fn strip_zone(from: &ArrayRef, unit: TimeUnit) -> Result<ArrayRef, ArrowError> {
    cast(&cast(from, &DataType::Int64)?, &DataType::Timestamp(unit, None))
}

fn convert_epoch(
    from: &ArrayRef,
    to: &DataType,
    places: i64,
    faults: &mut Vec<(usize, ValueFault)>,
) -> Result<ArrayRef, ArrowError> {
    let numbers = cast(from, &DataType::Int64)?;
    let micros_a_unit = 10_i64.pow(u32::try_from(places).unwrap_or(0));
    let numbers = numbers.as_primitive::<arrow::datatypes::Int64Type>();
    let micros: Int64Array = numbers.unary_opt(|number| number.checked_mul(micros_a_unit));
    let array = cast(&micros, &DataType::Timestamp(TimeUnit::Microsecond, None))?;
    lost(from, &array, ValueFault::YearOutOfRange, faults);
    Ok(with_zone_of(&array, to))
}

fn with_zone_of(array: &ArrayRef, to: &DataType) -> ArrayRef {
    let DataType::Timestamp(_, zone) = to else {
        return array.clone();
    };
    Arc::new(array.as_primitive::<TimestampMicrosecondType>().clone().with_timezone_opt(zone.clone()))
}

fn check_years(array: &ArrayRef, faults: &mut Vec<(usize, ValueFault)>) {
    let Some(times) = array.as_primitive_opt::<TimestampMicrosecondType>() else {
        return;
    };
    let ends = [min(times), max(times)];
    if ends.into_iter().flatten().all(|end| check_year(end).is_ok()) {
        return;
    }
    for (row, time) in times.iter().enumerate() {
        if let Some(fault) = time.and_then(|time| check_year(time).err()) {
            faults.push((row, fault));
        }
    }
}
