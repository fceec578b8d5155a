//! Keys to dense slot numbers.
//!
//! Takes the key columns of a batch, hands on a hash and a slot for each row. Keeps each key once:
//! up to 22 bytes in its entry, more on the heap. A single text or integer column is read as it is;
//! several columns, or other types, go through Arrow's row format. A null key is a key of its own.

use std::hash::BuildHasher;

use arrow::array::{Array, ArrayRef, AsArray, StringArray};
use arrow::datatypes::{DataType, Int32Type, Int64Type, UInt64Type};
use arrow::row::{RowConverter, Rows, SortField};
use hashbrown::HashTable;
use hashbrown::hash_table::Entry;

use super::intern::HASHER;
use super::spec::{WindowInputError, WindowSpecError};

const INLINE_BYTES: usize = 22;
const NULL_HASH: u64 = 0x9e37_79b9_7f4a_7c15;

/// Reads the key columns of batches.
#[derive(Debug)]
pub(super) struct KeyReader {
    converter: Option<RowConverter>,
}

/// The keys of a batch.
pub(super) enum Keys<'a> {
    /// No key columns: all rows share one.
    One,
    Text(&'a StringArray),
    Signed(&'a ArrayRef, &'a [i64]),
    Short(&'a ArrayRef, &'a [i32]),
    Unsigned(&'a ArrayRef, &'a [u64]),
    Rows(Rows),
}

impl KeyReader {
    pub(super) fn new(types: &[DataType]) -> Result<Self, WindowSpecError> {
        use DataType as T;
        let converter = match types {
            [] | [T::Utf8 | T::Int64 | T::Int32 | T::UInt64] => None,
            _ => {
                let fields = types.iter().map(|key| SortField::new(key.clone())).collect();
                Some(RowConverter::new(fields).map_err(|error| WindowSpecError::Column {
                    column: types.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
                    reason: format!("it can't be a key: {error}"),
                })?)
            }
        };
        Ok(Self { converter })
    }

    pub(super) fn read<'a>(&self, columns: &'a [ArrayRef]) -> Result<Keys<'a>, WindowInputError> {
        if let Some(converter) = &self.converter {
            let rows = converter.convert_columns(columns);
            return rows.map(Keys::Rows).map_err(|error| WindowInputError::Arrow(error.to_string()));
        }
        let Some(column) = columns.first() else { return Ok(Keys::One) };
        Ok(match column.data_type() {
            DataType::Utf8 => Keys::Text(column.as_string::<i32>()),
            DataType::Int64 => Keys::Signed(column, column.as_primitive::<Int64Type>().values()),
            DataType::Int32 => Keys::Short(column, column.as_primitive::<Int32Type>().values()),
            _ => Keys::Unsigned(column, column.as_primitive::<UInt64Type>().values()),
        })
    }
}

impl Keys<'_> {
    /// Calls `use_key` with the bytes of a row's key; none for a null key.
    #[inline]
    pub(super) fn with<T>(&self, row: usize, use_key: impl FnOnce(Option<&[u8]>) -> T) -> T {
        match self {
            Keys::One => use_key(Some(&[])),
            Keys::Text(column) if column.is_valid(row) => use_key(Some(column.value(row).as_bytes())),
            Keys::Signed(column, values) if column.is_valid(row) => use_key(Some(&values[row].to_le_bytes())),
            Keys::Short(column, values) if column.is_valid(row) => use_key(Some(&values[row].to_le_bytes())),
            Keys::Unsigned(column, values) if column.is_valid(row) => {
                use_key(Some(&values[row].to_le_bytes()))
            }
            Keys::Rows(rows) => use_key(Some(rows.row(row).data())),
            _ => use_key(None),
        }
    }

    /// Hash of a row's key.
    #[inline]
    pub(super) fn hash(&self, row: usize) -> u64 {
        self.with(row, hash)
    }
}

#[inline]
fn hash(key: Option<&[u8]>) -> u64 {
    key.map_or(NULL_HASH, |bytes| HASHER.hash_one(bytes))
}

/// A key as it is kept; 24 bytes.
#[derive(Debug, Default)]
enum StoredKey {
    #[default]
    Vacant,
    Null,
    Inline(u8, [u8; INLINE_BYTES]),
    Heap(Box<[u8]>),
}

impl StoredKey {
    fn new(key: Option<&[u8]>) -> Self {
        let Some(bytes) = key else { return Self::Null };
        if bytes.len() > INLINE_BYTES {
            return Self::Heap(bytes.into());
        }
        let mut inline = [0; INLINE_BYTES];
        inline[..bytes.len()].copy_from_slice(bytes);
        Self::Inline(bytes.len() as u8, inline)
    }

    #[inline]
    fn bytes(&self) -> Option<&[u8]> {
        match self {
            Self::Inline(length, bytes) => Some(&bytes[..usize::from(*length).min(INLINE_BYTES)]),
            Self::Heap(bytes) => Some(bytes),
            Self::Vacant | Self::Null => None,
        }
    }

    fn heap_bytes(&self) -> usize {
        match self {
            Self::Heap(bytes) => bytes.len(),
            _ => 0,
        }
    }
}

/// The keys of one shard and their slots; slots of removed keys are used again.
#[derive(Debug, Default)]
pub(super) struct KeyTable {
    table: HashTable<u32>,
    keys: Vec<StoredKey>,
    free: Vec<u32>,
    heap_bytes: usize,
}

impl KeyTable {
    /// Slot of a key, made if it is new.
    #[inline]
    pub(super) fn slot(&mut self, hash_of_key: u64, key: Option<&[u8]>) -> u32 {
        let keys = &mut self.keys;
        let entry = self.table.entry(
            hash_of_key,
            |&slot| keys[slot as usize].bytes() == key,
            |&slot| hash(keys[slot as usize].bytes()),
        );
        let vacant = match entry {
            Entry::Occupied(found) => return *found.get(),
            Entry::Vacant(vacant) => vacant,
        };
        let stored = StoredKey::new(key);
        self.heap_bytes += stored.heap_bytes();
        let slot = match self.free.pop() {
            Some(slot) => {
                keys[slot as usize] = stored;
                slot
            }
            None => {
                keys.push(stored);
                (keys.len() - 1) as u32
            }
        };
        vacant.insert(slot);
        slot
    }

    /// Forgets the key of a slot.
    pub(super) fn remove(&mut self, slot: u32) {
        let key = std::mem::take(&mut self.keys[slot as usize]);
        self.heap_bytes -= key.heap_bytes();
        if let Ok(found) = self.table.find_entry(hash(key.bytes()), |&other| other == slot) {
            found.remove();
        }
        self.free.push(slot);
    }

    /// Keys held.
    pub(super) fn len(&self) -> usize {
        self.table.len()
    }

    /// Slots ever made, in use or free.
    pub(super) fn slots(&self) -> usize {
        self.keys.len()
    }

    /// Whether a slot has a key.
    pub(super) fn occupied(&self, slot: usize) -> bool {
        !matches!(self.keys.get(slot), None | Some(StoredKey::Vacant))
    }

    /// Memory in bytes.
    pub(super) fn bytes(&self) -> usize {
        self.heap_bytes
            + self.table.allocation_size()
            + self.keys.capacity() * size_of::<StoredKey>()
            + self.free.capacity() * size_of::<u32>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_used_again_and_null_is_not_the_empty_key() {
        let mut table = KeyTable::default();
        let long = [7u8; 40];
        let keys: [Option<&[u8]>; 4] = [None, Some(&[]), Some(b"card"), Some(&long)];
        for (slot, key) in keys.into_iter().enumerate() {
            assert_eq!(table.slot(hash(key), key), slot as u32);
        }
        for (slot, key) in keys.into_iter().enumerate() {
            assert_eq!(table.slot(hash(key), key), slot as u32);
        }
        table.remove(3);
        assert_eq!((table.len(), table.heap_bytes), (3, 0));
        assert_eq!(table.slot(hash(Some(b"x")), Some(b"x")), 3);
        assert_eq!(size_of::<StoredKey>(), 24);
    }
}
