//! Answers on their way into Arrow columns.
//!
//! Takes values row by row, in any order, hands on one array. Values are copied: an answer outlives the
//! buffered row it came from. Rows never set are null.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Decimal128Array, GenericByteArray, PrimitiveArray, new_null_array,
};
use arrow::buffer::{BooleanBuffer, Buffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow::compute::{cast, concat};
use arrow::datatypes::*;
use arrow::error::ArrowError;

use super::column::{Column, Encoding, Flag, Layout, Records, encoding, row_converter};
use super::intern::Interner;
use super::measure::whole;

/// One column being answered.
#[derive(Debug)]
pub(super) struct Answers {
    data_type: DataType,
    store: Store,
    valid: Vec<bool>,
}

#[derive(Debug)]
enum Store {
    Words(Vec<u64>),
    Wide(Vec<i128>),
    Bytes {
        ranges: Vec<(usize, u32)>,
        arena: Vec<u8>,
    },
    /// Arrays of length 1, for values made elsewhere.
    Arrays(Vec<Option<ArrayRef>>),
}

impl Answers {
    /// `rows` answers, all null as yet.
    pub(super) fn new(data_type: &DataType, rows: usize) -> Self {
        let store = match (data_type, encoding(data_type)) {
            (DataType::Decimal128(_, _), _) => Store::Wide(vec![0; rows]),
            (_, Ok(Encoding::Bytes)) => Store::Bytes { ranges: vec![(0, 0); rows], arena: Vec::new() },
            (_, Ok(_)) => Store::Words(vec![0; rows]),
            (_, Err(_)) => Store::Arrays(vec![None; rows]),
        };
        Self { data_type: data_type.clone(), store, valid: vec![false; rows] }
    }

    /// `rows` answers that come as arrays of length 1.
    pub(super) fn of_arrays(data_type: &DataType, rows: usize) -> Self {
        let store = Store::Arrays(vec![None; rows]);
        Self { data_type: data_type.clone(), store, valid: vec![false; rows] }
    }

    #[inline]
    pub(super) fn set_word(&mut self, row: usize, word: u64) {
        if let Store::Words(words) = &mut self.store {
            words[row] = word;
            self.valid[row] = true;
        }
    }

    #[inline]
    pub(super) fn set_wide(&mut self, row: usize, value: i128) {
        if let Store::Wide(values) = &mut self.store {
            values[row] = value;
            self.valid[row] = true;
        }
    }

    #[inline]
    pub(super) fn set_array(&mut self, row: usize, array: ArrayRef) {
        if let Store::Arrays(arrays) = &mut self.store {
            arrays[row] = Some(array);
            self.valid[row] = true;
        }
    }

    /// Sets a value of a buffered column.
    pub(super) fn set_value(&mut self, row: usize, column: &Column, value: u128, interner: &Interner) {
        match &mut self.store {
            Store::Words(words) => words[row] = value as u64,
            Store::Wide(values) => values[row] = whole(column.encoding, value),
            Store::Bytes { ranges, arena } => {
                let start = arena.len();
                interner.with(value as u64, |bytes| arena.extend_from_slice(bytes));
                ranges[row] = (start, (arena.len() - start) as u32);
            }
            Store::Arrays(_) => return,
        }
        self.valid[row] = true;
    }

    /// Sets a value known beforehand.
    pub(super) fn set_constant(&mut self, row: usize, constant: &Constant) {
        match (&mut self.store, constant) {
            (_, Constant::Null) => return,
            (Store::Words(words), Constant::Word(word)) => words[row] = *word,
            (Store::Wide(values), Constant::Wide(value)) => values[row] = *value,
            (Store::Bytes { ranges, arena }, Constant::Bytes(bytes)) => {
                ranges[row] = (arena.len(), bytes.len() as u32);
                arena.extend_from_slice(bytes);
            }
            _ => return,
        }
        self.valid[row] = true;
    }

    /// Copies the answers of a shard to the rows they belong to.
    pub(super) fn scatter(&mut self, shard: &Self, rows: &[u32]) {
        let at = |&row: &u32| row as usize;
        for (row, &valid) in rows.iter().map(at).zip(&shard.valid) {
            self.valid[row] = valid;
        }
        match (&mut self.store, &shard.store) {
            (Store::Words(all), Store::Words(part)) => {
                rows.iter().map(at).zip(part).for_each(|(row, value)| all[row] = *value);
            }
            (Store::Wide(all), Store::Wide(part)) => {
                rows.iter().map(at).zip(part).for_each(|(row, value)| all[row] = *value);
            }
            (Store::Arrays(all), Store::Arrays(part)) => {
                rows.iter().map(at).zip(part).for_each(|(row, value)| all[row].clone_from(value));
            }
            (Store::Bytes { ranges: all, arena }, Store::Bytes { ranges: part, arena: bytes }) => {
                let base = arena.len();
                arena.extend_from_slice(bytes);
                rows.iter()
                    .map(at)
                    .zip(part)
                    .for_each(|(row, &(start, length))| all[row] = (base + start, length));
            }
            _ => {}
        }
    }

    /// The finished column.
    pub(super) fn finish(self) -> Result<ArrayRef, ArrowError> {
        let Self { data_type, store, valid } = self;
        let nulls = if valid.iter().all(|&valid| valid) {
            None
        } else {
            Some(NullBuffer::new(BooleanBuffer::collect_bool(valid.len(), |row| valid[row])))
        };
        match store {
            Store::Words(words) => finish_words(words, nulls, &data_type),
            Store::Wide(values) => {
                let array = Decimal128Array::try_new(ScalarBuffer::from(values), nulls)?;
                Ok(Arc::new(array.with_data_type(data_type)))
            }
            Store::Bytes { ranges, arena } => finish_bytes(&ranges, &arena, nulls, &data_type),
            Store::Arrays(arrays) => finish_arrays(&arrays, &data_type),
        }
    }
}

/// A value known beforehand, as it is written.
#[derive(Debug)]
pub(super) enum Constant {
    Null,
    Word(u64),
    Wide(i128),
    Bytes(Box<[u8]>),
}

impl Constant {
    /// The value of an array of length 1; none where its type can't be kept.
    pub(super) fn new(array: &ArrayRef) -> Option<Self> {
        if array.is_null(0) {
            return Some(Self::Null);
        }
        if let DataType::Decimal128(_, _) = array.data_type() {
            return Some(Self::Wide(array.as_primitive::<Decimal128Type>().value(0)));
        }
        let encoding = encoding(array.data_type()).ok()?;
        let valid = Flag { word: 0, bit: 1 };
        let column = Column { source: 0, word: 0, valid, encoding, scale: 0 };
        let layout = Layout { flags: 1, words: 1, ..Layout::default() };
        let (mut records, mut interner) = (Records::default(), Interner::default());
        records.begin(&layout, &[0], &[0]);
        records.put_column(&layout, &column, array, &[0], &mut interner).ok()?;
        let word = records.words[layout.values_at()];
        Some(match encoding {
            Encoding::Bytes => Self::Bytes(interner.with(word, |bytes| bytes.into())),
            _ => Self::Word(word),
        })
    }
}

macro_rules! primitives {
    ($words:expr, $nulls:expr, $data_type:expr, $($pattern:pat => $arrow:ty, $convert:expr;)*) => {
        match $data_type {
            $($pattern => {
                let values: Vec<_> = $words.into_iter().map($convert).collect();
                let array = PrimitiveArray::<$arrow>::try_new(ScalarBuffer::from(values), $nulls)?;
                Ok(Arc::new(array.with_data_type($data_type.clone())))
            })*
            other => Err(ArrowError::NotYetImplemented(format!("window answers of type {other}"))),
        }
    };
}

fn finish_words(
    words: Vec<u64>,
    nulls: Option<NullBuffer>,
    data_type: &DataType,
) -> Result<ArrayRef, ArrowError> {
    use DataType as T;
    if let T::Boolean = data_type {
        let values = BooleanBuffer::from_iter(words.into_iter().map(|word| word != 0));
        return Ok(Arc::new(BooleanArray::new(values, nulls)));
    }
    let long = |word: u64| word.cast_signed();
    primitives!(words, nulls, data_type,
        T::Int64 => Int64Type, long;
        T::Float64 => Float64Type, f64::from_bits;
        T::UInt64 => UInt64Type, |word| word;
        T::Int8 => Int8Type, |word| word as i8;
        T::Int16 => Int16Type, |word| word as i16;
        T::Int32 => Int32Type, |word| word as i32;
        T::UInt8 => UInt8Type, |word| word as u8;
        T::UInt16 => UInt16Type, |word| word as u16;
        T::UInt32 => UInt32Type, |word| word as u32;
        T::Float32 => Float32Type, |word| f64::from_bits(word) as f32;
        T::Date32 => Date32Type, |word| word as i32;
        T::Date64 => Date64Type, long;
        T::Time32(TimeUnit::Second) => Time32SecondType, |word| word as i32;
        T::Time32(_) => Time32MillisecondType, |word| word as i32;
        T::Time64(TimeUnit::Microsecond) => Time64MicrosecondType, long;
        T::Time64(_) => Time64NanosecondType, long;
        T::Timestamp(TimeUnit::Second, _) => TimestampSecondType, long;
        T::Timestamp(TimeUnit::Millisecond, _) => TimestampMillisecondType, long;
        T::Timestamp(TimeUnit::Microsecond, _) => TimestampMicrosecondType, long;
        T::Timestamp(TimeUnit::Nanosecond, _) => TimestampNanosecondType, long;
        T::Duration(TimeUnit::Second) => DurationSecondType, long;
        T::Duration(TimeUnit::Millisecond) => DurationMillisecondType, long;
        T::Duration(TimeUnit::Microsecond) => DurationMicrosecondType, long;
        T::Duration(TimeUnit::Nanosecond) => DurationNanosecondType, long;
    )
}

fn finish_bytes(
    ranges: &[(usize, u32)],
    arena: &[u8],
    nulls: Option<NullBuffer>,
    data_type: &DataType,
) -> Result<ArrayRef, ArrowError> {
    let slice = |&(start, length): &(usize, u32)| &arena[start..start + length as usize];
    if let Some(converter) = row_converter(data_type) {
        let null = converter.convert_columns(&[new_null_array(data_type, 1)])?;
        let parser = converter.parser();
        let rows = ranges.iter().enumerate().map(|(row, range)| {
            let valid = nulls.as_ref().is_none_or(|nulls| nulls.is_valid(row));
            if valid { parser.parse(slice(range)) } else { null.row(0) }
        });
        let array = converter.convert_rows(rows)?.swap_remove(0);
        return if array.data_type() == data_type { Ok(array) } else { cast(&array, data_type) };
    }
    let mut values = Vec::with_capacity(arena.len());
    ranges.iter().for_each(|range| values.extend_from_slice(slice(range)));
    let offsets = OffsetBuffer::<i64>::from_lengths(ranges.iter().map(|range| range.1 as usize));
    let values = Buffer::from_vec(values);
    let text = matches!(data_type, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View);
    let array: ArrayRef = if text {
        Arc::new(GenericByteArray::<LargeUtf8Type>::try_new(offsets, values, nulls)?)
    } else {
        Arc::new(GenericByteArray::<LargeBinaryType>::try_new(offsets, values, nulls)?)
    };
    cast(&array, data_type)
}

fn finish_arrays(arrays: &[Option<ArrayRef>], data_type: &DataType) -> Result<ArrayRef, ArrowError> {
    if arrays.is_empty() {
        return Ok(new_null_array(data_type, 0));
    }
    let null = new_null_array(data_type, 1);
    let parts: Vec<&dyn Array> = arrays.iter().map(|array| array.as_deref().unwrap_or(&null)).collect();
    concat(&parts)
}
