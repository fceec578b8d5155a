//! Argument columns as words: one `u64` a value (two for wide decimals) and one flag bit for "not null".
//!
//! Takes Arrow columns and a list of rows, hands on records: `[time][flags…][words…]` end to end. Keeps
//! nothing. Types without an encoding of their own (intervals, structs, lists, …) go through Arrow's row
//! format and are held as strings, so every function but the arithmetic ones works on them too.

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray};
use arrow::datatypes::*;
use arrow::row::{RowConverter, SortField};

use super::intern::Interner;
use super::spec::{WindowInputError, WindowSpecError};

/// How the values of a column stand in words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Encoding {
    /// `i64`: integers, booleans, dates, times, decimals of up to 18 digits.
    Signed,
    /// `u64`.
    Unsigned,
    /// Bits of an `f64`.
    Float,
    /// `i128` in two words, high word first: decimals of more than 18 digits.
    Wide,
    /// A word of the [`Interner`].
    Bytes,
}

/// One flag of a record: index of the flag word, and the bit in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(super) struct Flag {
    pub(super) word: usize,
    pub(super) bit: u64,
}

/// Where one argument stands in a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Column {
    /// Index of the argument.
    pub(super) source: usize,
    /// Index of its (first) word among the value words.
    pub(super) word: usize,
    /// Set where the value is not null.
    pub(super) valid: Flag,
    pub(super) encoding: Encoding,
    /// Digits after the point, for decimals.
    pub(super) scale: i8,
}

/// What rows look like in the buffers of one state.
#[derive(Clone, Debug, Default)]
pub(super) struct Layout {
    /// Flag words of a record.
    pub(super) flags: usize,
    /// Value words of a record.
    pub(super) words: usize,
    pub(super) columns: Vec<Column>,
    pub(super) filters: Vec<Flag>,
    /// Value words that hold interner words.
    pub(super) interned: Vec<usize>,
}

impl Layout {
    /// Words of a record.
    #[inline]
    pub(super) fn stride(&self) -> usize {
        1 + self.flags + self.words
    }

    /// Position of the first value word in a record.
    #[inline]
    pub(super) fn values_at(&self) -> usize {
        1 + self.flags
    }
}

/// The natural encoding of a type.
pub(super) fn encoding(data_type: &DataType) -> Result<Encoding, WindowSpecError> {
    use DataType as T;
    Ok(match data_type {
        T::Boolean | T::Int8 | T::Int16 | T::Int32 | T::Int64 | T::Date32 | T::Date64 => Encoding::Signed,
        T::Time32(_) | T::Time64(_) | T::Timestamp(_, _) | T::Duration(_) => Encoding::Signed,
        T::UInt8 | T::UInt16 | T::UInt32 | T::UInt64 => Encoding::Unsigned,
        T::Float32 | T::Float64 => Encoding::Float,
        T::Decimal128(precision, _) if *precision <= 18 => Encoding::Signed,
        T::Decimal128(_, _) => Encoding::Wide,
        T::Utf8 | T::LargeUtf8 | T::Utf8View => Encoding::Bytes,
        T::Binary | T::LargeBinary | T::BinaryView => Encoding::Bytes,
        other if through_rows(other) => Encoding::Bytes,
        other => {
            return Err(WindowSpecError::Column {
                column: other.to_string(),
                reason: "it can't be kept in a window: cast it to text or binary".to_owned(),
            });
        }
    })
}

/// Digits after the point of a decimal type, 0 for others.
pub(super) fn scale(data_type: &DataType) -> i8 {
    match data_type {
        DataType::Decimal128(_, scale) => *scale,
        _ => 0,
    }
}

fn is_plain(data_type: &DataType) -> bool {
    use DataType as T;
    match data_type {
        T::Boolean | T::Decimal128(_, _) | T::Utf8 | T::LargeUtf8 | T::Utf8View => true,
        T::Binary | T::LargeBinary | T::BinaryView => true,
        T::Float16 | T::Interval(_) => false,
        other => {
            other.is_primitive() && !matches!(other, T::Decimal32(..) | T::Decimal64(..) | T::Decimal256(..))
        }
    }
}

fn through_rows(data_type: &DataType) -> bool {
    !is_plain(data_type) && RowConverter::supports_fields(&[SortField::new(data_type.clone())])
}

/// Converter for a type that is held as a row of Arrow's row format; none for the others.
pub(super) fn row_converter(data_type: &DataType) -> Option<RowConverter> {
    if !through_rows(data_type) {
        return None;
    }
    RowConverter::new(vec![SortField::new(data_type.clone())]).ok()
}

/// Records of some rows of a batch, end to end.
#[derive(Debug, Default)]
pub(super) struct Records {
    pub(super) words: Vec<u64>,
}

impl Records {
    /// Starts records for `rows`: times, no flags, words zero.
    pub(super) fn begin(&mut self, layout: &Layout, times: &[i64], rows: &[u32]) {
        let stride = layout.stride();
        self.words.clear();
        self.words.resize(rows.len() * stride, 0);
        for (record, &row) in self.words.chunks_exact_mut(stride).zip(rows) {
            record[0] = times[row as usize].cast_unsigned();
        }
    }

    /// Sets the flag of a filter column.
    pub(super) fn put_filter(&mut self, layout: &Layout, flag: Flag, filter: &BooleanArray, rows: &[u32]) {
        for (record, &row) in self.words.chunks_exact_mut(layout.stride()).zip(rows) {
            let row = row as usize;
            if filter.value(row) && filter.is_valid(row) {
                record[1 + flag.word] |= flag.bit;
            }
        }
    }

    /// Puts the words and the "not null" flags of one argument.
    pub(super) fn put_column(
        &mut self,
        layout: &Layout,
        column: &Column,
        array: &ArrayRef,
        rows: &[u32],
        interner: &mut Interner,
    ) -> Result<(), WindowInputError> {
        let mut sink = Sink { layout, column, rows, words: &mut self.words };
        match column.encoding {
            Encoding::Bytes => put_bytes(&mut sink, array, interner),
            Encoding::Wide => {
                let at = layout.values_at() + column.word;
                let array = array.as_primitive::<Decimal128Type>();
                sink.put(array, |record, row| {
                    let value = array.value(row);
                    record[at] = (value >> 64) as u64;
                    record[at + 1] = value as u64;
                });
                Ok(())
            }
            _ => put_words(&mut sink, array),
        }
    }
}

struct Sink<'a> {
    layout: &'a Layout,
    column: &'a Column,
    rows: &'a [u32],
    words: &'a mut [u64],
}

impl Sink<'_> {
    #[inline]
    fn put(&mut self, array: &dyn Array, mut put: impl FnMut(&mut [u64], usize)) {
        let flag = self.column.valid;
        let nulls = array.nulls();
        for (record, &row) in self.words.chunks_exact_mut(self.layout.stride()).zip(self.rows) {
            let row = row as usize;
            if nulls.is_none_or(|nulls| nulls.is_valid(row)) {
                record[1 + flag.word] |= flag.bit;
                put(record, row);
            }
        }
    }
}

macro_rules! put_primitives {
    ($sink:expr, $array:expr, $($pattern:pat => $arrow:ty, $convert:expr;)*) => {
        match $array.data_type() {
            $($pattern => {
                let at = $sink.layout.values_at() + $sink.column.word;
                let typed = $array.as_primitive::<$arrow>();
                let values = typed.values();
                $sink.put(typed, |record, row| record[at] = $convert(values[row]));
            })*
            other => return Err(WindowInputError::Shape(format!("a column of type {other} can't be kept"))),
        }
    };
}

fn put_words(sink: &mut Sink<'_>, array: &ArrayRef) -> Result<(), WindowInputError> {
    use DataType as T;
    if let T::Boolean = array.data_type() {
        let at = sink.layout.values_at() + sink.column.word;
        let typed = array.as_boolean();
        sink.put(typed, |record, row| record[at] = u64::from(typed.value(row)));
        return Ok(());
    }
    let mut too_wide = false;
    let mut narrow = |value: i128| {
        let word = i64::try_from(value);
        too_wide |= word.is_err();
        word.unwrap_or(0).cast_unsigned()
    };
    put_primitives!(sink, array,
        T::Int8 => Int8Type, |value| i64::from(value) as u64;
        T::Int16 => Int16Type, |value| i64::from(value) as u64;
        T::Int32 => Int32Type, |value| i64::from(value) as u64;
        T::Int64 => Int64Type, |value: i64| value as u64;
        T::UInt8 => UInt8Type, u64::from;
        T::UInt16 => UInt16Type, u64::from;
        T::UInt32 => UInt32Type, u64::from;
        T::UInt64 => UInt64Type, |value| value;
        T::Float32 => Float32Type, |value| f64::from(value).to_bits();
        T::Float64 => Float64Type, f64::to_bits;
        T::Date32 => Date32Type, |value| i64::from(value) as u64;
        T::Date64 => Date64Type, |value: i64| value as u64;
        T::Time32(TimeUnit::Second) => Time32SecondType, |value| i64::from(value) as u64;
        T::Time32(_) => Time32MillisecondType, |value| i64::from(value) as u64;
        T::Time64(TimeUnit::Microsecond) => Time64MicrosecondType, |value: i64| value as u64;
        T::Time64(_) => Time64NanosecondType, |value: i64| value as u64;
        T::Timestamp(TimeUnit::Second, _) => TimestampSecondType, |value: i64| value as u64;
        T::Timestamp(TimeUnit::Millisecond, _) => TimestampMillisecondType, |value: i64| value as u64;
        T::Timestamp(TimeUnit::Microsecond, _) => TimestampMicrosecondType, |value: i64| value as u64;
        T::Timestamp(TimeUnit::Nanosecond, _) => TimestampNanosecondType, |value: i64| value as u64;
        T::Duration(TimeUnit::Second) => DurationSecondType, |value: i64| value as u64;
        T::Duration(TimeUnit::Millisecond) => DurationMillisecondType, |value: i64| value as u64;
        T::Duration(TimeUnit::Microsecond) => DurationMicrosecondType, |value: i64| value as u64;
        T::Duration(TimeUnit::Nanosecond) => DurationNanosecondType, |value: i64| value as u64;
        T::Decimal128(_, _) => Decimal128Type, &mut narrow;
    );
    if too_wide {
        let message = format!("a value of a {} column has more digits than its type", array.data_type());
        return Err(WindowInputError::Shape(message));
    }
    Ok(())
}

fn put_bytes(sink: &mut Sink<'_>, array: &ArrayRef, interner: &mut Interner) -> Result<(), WindowInputError> {
    let at = sink.layout.values_at() + sink.column.word;
    macro_rules! put {
        ($typed:expr) => {{
            let typed = $typed;
            sink.put(typed, |record, row| {
                record[at] = interner.take(AsRef::<[u8]>::as_ref(typed.value(row)))
            });
        }};
    }
    use DataType as T;
    match array.data_type() {
        T::Utf8 => put!(array.as_string::<i32>()),
        T::LargeUtf8 => put!(array.as_string::<i64>()),
        T::Utf8View => put!(array.as_string_view()),
        T::Binary => put!(array.as_binary::<i32>()),
        T::LargeBinary => put!(array.as_binary::<i64>()),
        T::BinaryView => put!(array.as_binary_view()),
        T::Decimal128(_, _) => {
            let typed = array.as_primitive::<Decimal128Type>();
            sink.put(typed, |record, row| record[at] = interner.take(&typed.value(row).to_le_bytes()));
        }
        other => {
            let converter = row_converter(other)
                .ok_or_else(|| WindowInputError::Shape(format!("a column of type {other} can't be kept")))?;
            let encoded = converter
                .convert_columns(std::slice::from_ref(array))
                .map_err(|error| WindowInputError::Arrow(error.to_string()))?;
            sink.put(array, |record, row| record[at] = interner.take(encoded.row(row).data()));
        }
    }
    Ok(())
}
