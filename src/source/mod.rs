//! Sources: bounded batches of records as they came, from Kafka or from files.
//!
//! Hands on a [`Fetched`]: raw bytes with their coordinates, or columns where a file is columnar
//! already. Keeps the table of partitions seen, whose indexes later stages use instead of names.

mod file;

pub use self::file::{FAULT_COLUMN, FileError, FileSettings, FileSource};
pub mod embedded;
pub mod kafka;

use std::ops::Range;
use std::sync::Arc;

use arrow::record_batch::RecordBatch;

use crate::event::{Coordinates, Offset, Partition};

/// A partition and the stream (index into the contract) that its topic is bound to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourcePartition {
    /// Topic and partition.
    pub partition: Partition,
    /// Index of the stream in [`crate::event::Contract::streams`].
    pub stream: usize,
}

/// The partitions a source has seen; an entry never moves, so its index names it for the whole run.
pub type Partitions = Arc<Vec<SourcePartition>>;

/// The index of a partition in such a table.
pub fn index_of(table: &[SourcePartition], partition: &Partition) -> Option<u32> {
    let index = table.iter().position(|known| known.partition == *partition)?;
    u32::try_from(index).ok()
}

/// Records as they came: one buffer of bytes, and where each record stands in it.
#[derive(Debug, Clone, Default)]
pub struct RawBatch {
    /// Table that [`RawRecord::partition`] indexes.
    pub partitions: Partitions,
    /// Records in order of arrival.
    pub records: Vec<RawRecord>,
    /// Payloads, keys and headers of all records, end to end.
    pub bytes: Vec<u8>,
}

/// One record of a [`RawBatch`].
#[derive(Debug, Clone, Default)]
pub struct RawRecord {
    /// Index into [`RawBatch::partitions`].
    pub partition: u32,
    /// Kafka offset, or ordinal in the file.
    pub offset: i64,
    /// Kafka timestamp of the record in microseconds; none for files.
    pub timestamp: Option<i64>,
    /// Where the payload stands; none for a null payload (tombstone).
    pub payload: Option<Range<usize>>,
    /// Where the key stands.
    pub key: Option<Range<usize>>,
    /// Where the `traceparent` header's value stands.
    pub traceparent: Option<Range<usize>>,
}

/// Rows of a columnar file, not yet checked against the contract.
#[derive(Debug, Clone)]
pub struct ColumnBatch {
    /// Table that `partition` indexes.
    pub partitions: Partitions,
    /// Index into `partitions`.
    pub partition: u32,
    /// Ordinal of the first row in its file.
    pub first_offset: i64,
    /// The file's own columns and types.
    pub columns: RecordBatch,
}

/// What one poll of a source brings.
#[derive(Debug, Clone)]
pub enum Fetched {
    /// Records to be parsed.
    Records(RawBatch),
    /// Columns to be checked and cast.
    Columns(ColumnBatch),
}

impl Fetched {
    /// Records in it.
    pub fn rows(&self) -> usize {
        match self {
            Self::Records(batch) => batch.records.len(),
            Self::Columns(batch) => batch.columns.num_rows(),
        }
    }
}

impl RawBatch {
    /// Coordinates of a record of this batch.
    pub fn coordinates(&self, record: &RawRecord) -> Coordinates {
        Coordinates {
            partition: self.partitions[record.partition as usize].partition.clone(),
            offset: Offset(record.offset),
        }
    }

    /// Bytes that a range of a record names.
    pub fn slice(&self, range: Option<&Range<usize>>) -> Option<&[u8]> {
        self.bytes.get(range?.clone())
    }
}
