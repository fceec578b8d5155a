//! The event contract: what streams there are, and what each event of a stream must hold.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;

/// All streams of a job, in the order in which `schema.sql` declares them.
#[derive(Debug, Clone, Default)]
pub struct Contract {
    /// The declared streams; an index into this list names a stream in every later stage.
    pub streams: Vec<Arc<Stream>>,
}

impl Contract {
    /// The stream of that name and its index.
    pub fn stream(&self, name: &str) -> Option<(usize, &Arc<Stream>)> {
        self.streams.iter().enumerate().find(|(_, stream)| stream.name == name)
    }
}

/// One declared stream.
///
/// Column types are the contract's: `TIMESTAMP` is `Timestamp(Microsecond, None)` in UTC, text is
/// `Utf8`, `DECIMAL(p, s)` is `Decimal128(p, s)`. A column declared `NOT NULL` is not nullable here.
#[derive(Debug, Clone, PartialEq)]
pub struct Stream {
    /// Name in `schema.sql`, which rules use in `FROM`.
    pub name: String,
    /// Columns in declared order.
    pub schema: SchemaRef,
    /// Index of the event-time column; its type is a timestamp and it is not nullable.
    pub event_time: usize,
    /// Indexes of the `PRIMARY KEY` columns, which name the event; none where the contract has no key.
    pub event_id: Vec<usize>,
}
