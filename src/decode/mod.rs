//! Decoding: records to Arrow columns of the contract's types, bad records set aside.
//!
//! Takes a [`Fetched`](crate::source::Fetched), hands on a [`DecodedBatch`]. A record that can't be
//! decoded becomes a [`DeadLetter`] and the rest of its batch goes on.

use arrow::array::ArrayRef;

use crate::event::Coordinates;
use crate::source::Partitions;

/// The good rows of a batch, in order of arrival, and the bad ones.
#[derive(Debug, Clone, Default)]
pub struct DecodedBatch {
    /// What is known of every good row, whatever its stream.
    pub rows: Rows,
    /// Columns of each stream, indexed as in the contract.
    pub streams: Vec<StreamRows>,
    /// Records that could not be decoded.
    pub dead_letters: Vec<DeadLetter>,
}

/// One entry a good row, in order of arrival.
#[derive(Debug, Clone, Default)]
pub struct Rows {
    /// Table that `partition` indexes.
    pub partitions: Partitions,
    /// Event time in microseconds.
    pub event_time: Vec<i64>,
    /// Index into `partitions`.
    pub partition: Vec<u32>,
    /// Offset in the partition.
    pub offset: Vec<i64>,
    /// Kafka timestamp in microseconds, `i64::MIN` where there is none.
    pub timestamp: Vec<i64>,
    /// `traceparent` of the few rows that have one: row number and value.
    pub traceparents: Vec<(u32, String)>,
}

/// The rows of one stream.
#[derive(Debug, Clone, Default)]
pub struct StreamRows {
    /// Row numbers in [`Rows`], ascending: entry `i` of each column belongs to row `rows[i]`.
    pub rows: Vec<u32>,
    /// Columns of the contract in its order; none where no rule reads the column.
    pub columns: Vec<Option<ArrayRef>>,
}

/// A record that could not be answered, with all that is needed to send it again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    /// Where the record stands.
    pub coordinates: Coordinates,
    /// Kafka timestamp in microseconds.
    pub timestamp: Option<i64>,
    /// Which stage gave up.
    pub stage: Stage,
    /// What was wrong, without any of the record's values.
    pub reason: String,
    /// Short fixed word for metrics: `malformed`, `missing`, `mistyped`, `out_of_range`, `future`, `panic`, …
    pub kind: &'static str,
    /// Rule at fault, where one was.
    pub rule: Option<String>,
    /// The record's own bytes; none for a null payload or a columnar source.
    pub payload: Option<Vec<u8>>,
    /// The record's key.
    pub key: Option<Vec<u8>>,
}

/// The stage that set a record aside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Stage {
    /// The record's bytes or columns don't fit the contract.
    Decode,
    /// A rule could not be evaluated on the row.
    Evaluate,
    /// The sink could not take what the row produced.
    Sink,
}
