//! One column while its batch is read: plain vectors that can be cut back to any row.
//!
//! Values go straight in; when a record turns out bad, its row is cut off again, so a good record is
//! copied once and a bad one leaves no trace. Whole numbers of every width wait as `i64` and are
//! narrowed at the end in one pass (each was checked against its type when it was read).

use std::sync::Arc;

use arrow::array::{
    ArrayRef, ArrowPrimitiveType, BooleanArray, Decimal128Array, NullBufferBuilder, PrimitiveArray,
    StringArray,
};
use arrow::buffer::{BooleanBuffer, Buffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow::datatypes::{
    DataType, Date32Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type,
    TimestampMicrosecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};

/// The values of one column so far, nulls among them.
#[derive(Debug)]
pub(super) struct Column {
    values: Values,
    nulls: NullBufferBuilder,
    data_type: DataType,
    text_bytes_a_row: usize,
}

#[derive(Debug)]
enum Values {
    Boolean(Vec<bool>),
    Whole(Vec<i64>),
    Unsigned(Vec<u64>),
    Float(Vec<f64>),
    Decimal(Vec<i128>),
    Text { ends: Vec<i32>, text: Vec<u8> },
}

/// Room for text in a first batch; later ones go by the batch before.
const TEXT_BYTES_A_ROW: usize = 16;

impl Column {
    /// An empty column; none for a type that records are not decoded into.
    pub(super) fn new(data_type: &DataType) -> Option<Self> {
        let values = match data_type {
            DataType::Boolean => Values::Boolean(Vec::new()),
            DataType::Int8 | DataType::Int16 | DataType::Int32 | DataType::Int64 => Values::Whole(Vec::new()),
            DataType::UInt8 | DataType::UInt16 | DataType::UInt32 => Values::Whole(Vec::new()),
            DataType::Date32 | DataType::Timestamp(arrow::datatypes::TimeUnit::Microsecond, _) => {
                Values::Whole(Vec::new())
            }
            DataType::UInt64 => Values::Unsigned(Vec::new()),
            DataType::Float32 | DataType::Float64 => Values::Float(Vec::new()),
            DataType::Decimal128(_, scale) if *scale >= 0 => Values::Decimal(Vec::new()),
            DataType::Utf8 => Values::Text { ends: vec![0], text: Vec::new() },
            _ => return None,
        };
        Some(Self {
            values,
            nulls: NullBufferBuilder::new(0),
            data_type: data_type.clone(),
            text_bytes_a_row: TEXT_BYTES_A_ROW,
        })
    }

    /// Rows so far.
    pub(super) fn len(&self) -> usize {
        self.nulls.len()
    }

    /// Makes room for that many more rows, so that none of them allocates (text may, now and then).
    pub(super) fn reserve(&mut self, rows: usize) {
        match &mut self.values {
            Values::Boolean(values) => values.reserve(rows),
            Values::Whole(values) => values.reserve(rows),
            Values::Unsigned(values) => values.reserve(rows),
            Values::Float(values) => values.reserve(rows),
            Values::Decimal(values) => values.reserve(rows),
            Values::Text { ends, text } => {
                ends.reserve(rows);
                text.reserve(rows * self.text_bytes_a_row);
            }
        }
    }

    /// Cuts the column back to its first `rows` rows.
    pub(super) fn truncate(&mut self, rows: usize) {
        match &mut self.values {
            Values::Boolean(values) => values.truncate(rows),
            Values::Whole(values) => values.truncate(rows),
            Values::Unsigned(values) => values.truncate(rows),
            Values::Float(values) => values.truncate(rows),
            Values::Decimal(values) => values.truncate(rows),
            Values::Text { ends, text } => {
                ends.truncate(rows + 1);
                let end = ends.last().copied().unwrap_or_default();
                text.truncate(usize::try_from(end).unwrap_or(0));
            }
        }
        if self.nulls.len() > rows {
            self.nulls.truncate(rows);
        }
    }

    /// The whole number (or time, or date) at a row; none for other types.
    pub(super) fn whole_at(&self, row: usize) -> Option<i64> {
        match &self.values {
            Values::Whole(values) => values.get(row).copied(),
            _ => None,
        }
    }

    pub(super) fn push_null(&mut self) {
        match &mut self.values {
            Values::Boolean(values) => values.push(false),
            Values::Whole(values) => values.push(0),
            Values::Unsigned(values) => values.push(0),
            Values::Float(values) => values.push(0.0),
            Values::Decimal(values) => values.push(0),
            Values::Text { ends, .. } => ends.push(ends.last().copied().unwrap_or_default()),
        }
        self.nulls.append_null();
    }

    pub(super) fn push_boolean(&mut self, value: bool) {
        if let Values::Boolean(values) = &mut self.values {
            values.push(value);
            self.nulls.append_non_null();
        }
    }

    /// Any type that waits as an `i64`.
    pub(super) fn push_whole(&mut self, value: i64) {
        if let Values::Whole(values) = &mut self.values {
            values.push(value);
            self.nulls.append_non_null();
        }
    }

    pub(super) fn push_unsigned(&mut self, value: u64) {
        if let Values::Unsigned(values) = &mut self.values {
            values.push(value);
            self.nulls.append_non_null();
        }
    }

    pub(super) fn push_float(&mut self, value: f64) {
        if let Values::Float(values) = &mut self.values {
            values.push(value);
            self.nulls.append_non_null();
        }
    }

    pub(super) fn push_decimal(&mut self, value: i128) {
        if let Values::Decimal(values) = &mut self.values {
            values.push(value);
            self.nulls.append_non_null();
        }
    }

    /// False where the batch's text would pass the 2 GiB that Arrow's offsets can count.
    #[must_use]
    pub(super) fn push_text(&mut self, value: &str) -> bool {
        if let Values::Text { ends, text } = &mut self.values {
            let Ok(end) = i32::try_from(text.len() + value.len()) else {
                return false;
            };
            text.extend_from_slice(value.as_bytes());
            ends.push(end);
            self.nulls.append_non_null();
        }
        true
    }

    /// Hands the rows over as an array and starts anew.
    ///
    /// The constructors below panic where lengths or UTF-8 don't hold: each push adds one value and one
    /// bit, and text comes from a `str`.
    pub(super) fn finish(&mut self) -> ArrayRef {
        let rows = self.nulls.len();
        let nulls = self.nulls.finish();
        match &mut self.values {
            Values::Boolean(values) => {
                let bits = BooleanBuffer::from(values.as_slice());
                values.clear();
                Arc::new(BooleanArray::new(bits, nulls))
            }
            Values::Whole(values) => finish_whole(std::mem::take(values), nulls, &self.data_type),
            Values::Unsigned(values) => primitive::<UInt64Type>(std::mem::take(values), nulls),
            Values::Float(values) => match self.data_type {
                DataType::Float32 => {
                    primitive::<Float32Type>(values.drain(..).map(|value| value as f32).collect(), nulls)
                }
                _ => primitive::<Float64Type>(std::mem::take(values), nulls),
            },
            Values::Decimal(values) => {
                let array = Decimal128Array::new(std::mem::take(values).into(), nulls);
                Arc::new(array.with_data_type(self.data_type.clone()))
            }
            Values::Text { ends, text } => {
                self.text_bytes_a_row = text.len() / rows.max(1) + 2;
                let offsets = OffsetBuffer::new(ScalarBuffer::from(std::mem::replace(ends, vec![0])));
                let text = Buffer::from_vec(std::mem::take(text));
                Arc::new(StringArray::new(offsets, text, nulls))
            }
        }
    }
}

fn primitive<T: ArrowPrimitiveType>(values: Vec<T::Native>, nulls: Option<NullBuffer>) -> ArrayRef {
    Arc::new(PrimitiveArray::<T>::new(ScalarBuffer::from(values), nulls))
}

/// The values were checked against the type when they were read: narrowing cuts nothing off.
fn finish_whole(values: Vec<i64>, nulls: Option<NullBuffer>, to: &DataType) -> ArrayRef {
    match to {
        DataType::Int8 => primitive::<Int8Type>(values.iter().map(|&value| value as i8).collect(), nulls),
        DataType::Int16 => primitive::<Int16Type>(values.iter().map(|&value| value as i16).collect(), nulls),
        DataType::Int32 => primitive::<Int32Type>(values.iter().map(|&value| value as i32).collect(), nulls),
        DataType::UInt8 => primitive::<UInt8Type>(values.iter().map(|&value| value as u8).collect(), nulls),
        DataType::UInt16 => {
            primitive::<UInt16Type>(values.iter().map(|&value| value as u16).collect(), nulls)
        }
        DataType::UInt32 => {
            primitive::<UInt32Type>(values.iter().map(|&value| value as u32).collect(), nulls)
        }
        DataType::Date32 => {
            primitive::<Date32Type>(values.iter().map(|&value| value as i32).collect(), nulls)
        }
        DataType::Timestamp(_, zone) => {
            let array = PrimitiveArray::<TimestampMicrosecondType>::new(values.into(), nulls);
            Arc::new(array.with_timezone_opt(zone.clone()))
        }
        _ => primitive::<Int64Type>(values, nulls),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{Array, AsArray};

    #[test]
    fn a_row_cut_off_leaves_no_trace() {
        let mut text = Column::new(&DataType::Utf8).unwrap();
        assert!(text.push_text("kept"));
        assert!(text.push_text("cut"));
        text.push_null();
        text.truncate(1);
        text.truncate(5);
        assert!(text.push_text("é"));
        let array = text.finish();
        assert_eq!(array.as_string::<i32>(), &StringArray::from(vec!["kept", "é"]));
        assert_eq!(array.null_count(), 0);
    }

    #[test]
    fn a_finished_column_starts_anew() {
        let mut column = Column::new(&DataType::Int16).unwrap();
        column.push_whole(-3);
        column.push_null();
        let first = column.finish();
        assert_eq!(first.null_count(), 1);
        column.push_whole(4);
        let second = column.finish();
        assert_eq!((second.len(), second.null_count(), second.data_type()), (1, 0, &DataType::Int16));
    }

    #[test]
    fn types_that_records_do_not_hold_have_no_column() {
        for data_type in
            [DataType::Float16, DataType::Binary, DataType::Decimal256(76, 2), DataType::LargeUtf8]
        {
            assert!(Column::new(&data_type).is_none(), "{data_type}");
        }
    }
}
