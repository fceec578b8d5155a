//! What a segment's columns mean under today's contract.
//!
//! Columns match by name. A nullable column that the segment lacks is null for its rows, a narrower type is
//! widened, a column that the contract no longer has is ignored. Anything else (another type, a column that
//! must now be filled, another event-time column) makes the segment unusable: its rows are read from the topic.

use std::fmt::Write;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use sha2::{Digest, Sha256};

use super::error::HistoryError;
use crate::event::Stream;

/// Column of the Kafka offset.
pub const OFFSET_COLUMN: &str = "_offset";
/// Column of the record's Kafka timestamp.
pub const TIMESTAMP_COLUMN: &str = "_timestamp";
/// Column of the order of arrival over all partitions.
pub const ARRIVAL_COLUMN: &str = "_arrival";

/// Where a column of the contract comes from in a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ColumnOrigin {
    /// The segment is older than the column.
    Absent,
    /// The segment's column of that index, as it is.
    Same(usize),
    /// The segment's column of that index, widened.
    Widened(usize),
}

/// The columns of a stream's segments: the contract's and the history's own.
pub(super) fn segment_schema(stream: &Stream) -> Result<SchemaRef, HistoryError> {
    let own = [
        Field::new(OFFSET_COLUMN, DataType::Int64, false),
        Field::new(TIMESTAMP_COLUMN, DataType::Timestamp(TimeUnit::Microsecond, None), true),
        Field::new(ARRIVAL_COLUMN, DataType::Int64, false),
    ];
    if let Some(taken) = own.iter().find(|field| stream.schema.index_of(field.name()).is_ok()) {
        return Err(HistoryError::Reserved { stream: stream.name.clone(), column: taken.name().clone() });
    }
    let mut fields: Vec<Arc<Field>> = stream.schema.fields().iter().cloned().collect();
    fields.extend(own.into_iter().map(Arc::new));
    Ok(Arc::new(Schema::new(fields)))
}

/// Equal for streams whose segments have the same columns: names, types and nullability in order, and which
/// of them is the event time.
pub(super) fn contract_id(stream: &Stream) -> String {
    let mut text = format!("event time {}", stream.event_time);
    for field in stream.schema.fields() {
        let _ = write!(text, "\n{:?} {} {}", field.name(), field.data_type(), field.is_nullable());
    }
    hexadecimal(&Sha256::digest(text.as_bytes()), 8)
}

/// The first bytes of a hash.
pub(super) fn hexadecimal(hash: &[u8], bytes: usize) -> String {
    hash.iter().take(bytes).fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Where each column of the contract comes from, or why the segment can't serve it.
pub(super) fn origins(segment: &Schema, stream: &Stream) -> Result<Vec<ColumnOrigin>, String> {
    stream.schema.fields().iter().map(|wanted| origin(segment, wanted)).collect()
}

fn origin(segment: &Schema, wanted: &Field) -> Result<ColumnOrigin, String> {
    let name = wanted.name();
    let Ok(index) = segment.index_of(name) else {
        return match wanted.is_nullable() {
            true => Ok(ColumnOrigin::Absent),
            false => Err(format!("it lacks the column `{name}`, which is NOT NULL")),
        };
    };
    let found = segment.field(index);
    if found.is_nullable() && !wanted.is_nullable() {
        return Err(format!("its column `{name}` may hold nulls, and is NOT NULL in the contract"));
    }
    if found.data_type() == wanted.data_type() {
        return Ok(ColumnOrigin::Same(index));
    }
    if widens(found.data_type(), wanted.data_type()) {
        return Ok(ColumnOrigin::Widened(index));
    }
    Err(format!("its column `{name}` is {}, and {} in the contract", found.data_type(), wanted.data_type()))
}

/// Whether every value of the first type is one of the second, exactly.
fn widens(from: &DataType, to: &DataType) -> bool {
    let rank = |data_type: &DataType| match data_type {
        DataType::Int8 => Some(1),
        DataType::Int16 => Some(2),
        DataType::Int32 => Some(3),
        DataType::Int64 => Some(4),
        _ => None,
    };
    match (from, to) {
        (DataType::Float32, DataType::Float64) => true,
        (DataType::Decimal128(precision, scale), DataType::Decimal128(wider, finer)) => {
            let whole = |precision: &u8, scale: &i8| i16::from(*precision) - i16::from(*scale);
            finer >= scale && whole(wider, finer) >= whole(precision, scale)
        }
        _ => rank(from).zip(rank(to)).is_some_and(|(from, to)| from < to),
    }
}
