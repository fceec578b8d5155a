//! The vocabulary every stage shares: event time, where a record came from, the event contract.
//!
//! Takes nothing and keeps nothing. Times are microseconds since 1970-01-01T00:00:00Z in an `i64`
//! wherever they stand in a column, and [`EventTime`] where one crosses a module border.

mod clock;
mod contract;
mod crash;
mod time;

pub use clock::{Clock, ManualClock, SystemClock};
pub use contract::{Contract, Stream};
pub use crash::crash_point;
pub use time::{EventTime, Span, SpanError};

use std::fmt;
use std::sync::Arc;

/// A Kafka offset, or a record's ordinal in a file (from 0).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Offset(pub i64);

/// One partition of one topic; for a file source, the file's path and partition 0.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Partition {
    /// Topic name, or the file's path.
    pub topic: Arc<str>,
    /// Partition number.
    pub partition: i32,
}

/// Where one record stands: the address that never changes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Coordinates {
    /// Topic and partition.
    pub partition: Partition,
    /// Offset in that partition.
    pub offset: Offset,
}

impl fmt::Display for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}[{}]", self.topic, self.partition)
    }
}

impl fmt::Display for Coordinates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.partition, self.offset.0)
    }
}
