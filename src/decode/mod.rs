//! Decoding: records to Arrow columns of the contract's types, bad records set aside.
//!
//! Takes a [`Fetched`](crate::source::Fetched), hands on a [`DecodedBatch`]. A record that can't be
//! decoded becomes a [`DeadLetter`] and the rest of its batch goes on. Keeps nothing between batches
//! but capacity and guesses. Fails only before the first record ([`DecodeError`]): a binding or a file
//! that doesn't fit the contract.
//!
//! What surprises: a column that is nullable and that no rule reads is not looked at, so a wrong value
//! in it goes unnoticed. The event time, the primary key, every `NOT NULL` column and the columns that
//! rules read are checked. Fields that the contract doesn't name are ignored.
//!
//! | in the record | `NOT NULL` column | nullable column |
//! |---|---|---|
//! | field missing, or `null` | dead letter `missing` | null |
//! | another type | dead letter `mistyped` | dead letter `mistyped` |
//! | past the type's range or digits | dead letter `out_of_range` | dead letter `out_of_range` |
//!
//! | type | taken | refused |
//! |---|---|---|
//! | BOOLEAN | `true`, `false`, and their text in any case | numbers |
//! | integers | whole numbers and their text | `1.0`, `1e3`, past the range |
//! | REAL, DOUBLE | numbers and their text | NaN, infinities, `1e400` |
//! | DECIMAL | numbers and their text, exact; with `minor_units`, whole numbers | digits (but zeros) past the scale, past the precision |
//! | VARCHAR | text; a number becomes its own text, as ids are often numbers | booleans |
//! | DATE | `YYYY-MM-DD` | the rest |
//! | TIMESTAMP | ISO 8601 text, UTC where it has no offset; with `unit`, epoch numbers and their text | numbers without a unit; years outside 1 to 9999 |
//!
//! Of a key that stands twice in a JSON object the last value counts. Columns of files match by name
//! and are cast where no value changes (but a float becomes the nearest decimal, and a time below a
//! microsecond is cut off); text columns, CSV's among them, are read as JSON text is, and their empty
//! fields are null unless the column is VARCHAR.

mod batch;
mod binding;
mod cast;
mod column;
mod columnar;
mod decoder;
mod error;
mod fault;
mod json;
mod number;
mod paths;
#[cfg(test)]
mod tests;
mod time;
mod value;

use arrow::array::ArrayRef;

pub use self::batch::Decoders;
pub use self::binding::{FieldBinding, Format, StreamBinding, TimeUnitText, Unused};
pub use self::decoder::{DecodeLimits, Decoder};
pub use self::error::DecodeError;
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
    /// Keys of the records, one a row; empty where no stream keeps them.
    pub keys: Vec<Option<std::sync::Arc<[u8]>>>,
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
    /// Short fixed word for metrics. Of decoding: `tombstone`, `oversize`, `invalid_utf8`, `malformed`,
    /// `too_deep`, `not_object`, `missing`, `mistyped`, `out_of_range`, `future`, `unbound`, `panic`.
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
