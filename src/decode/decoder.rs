//! The decoder of one stream: its columns, their paths, and the rows of the batch at hand.
//!
//! Reads the event time, the primary key, every `NOT NULL` column (presence and type are the
//! contract) and the columns that rules use. A nullable column that no rule uses is not looked at, so
//! a wrong value in it goes unnoticed; unknown fields are ignored.

use std::sync::Arc;

use arrow::array::ArrayRef;
use jiter::Jiter;

use super::StreamRows;
use super::binding::{FieldBinding, StreamBinding, TimeUnitText, Unused, check_columns_known, parse_path};
use super::column::Column;
use super::columnar::CastPlan;
use super::error::DecodeError;
use super::fault::{Fault, type_name};
use super::json::{ReadColumn, RowTarget, read_record};
use super::paths::Paths;
use super::value::Reading;
use crate::event::{Span, Stream};

/// Bounds past which a record is set aside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DecodeLimits {
    /// How far past the record's own Kafka timestamp its event time may lie.
    pub future: Span,
    /// Largest payload in bytes.
    pub record_bytes_max: usize,
    /// Deepest nesting of objects and arrays; at most 128 count, for the stack's sake.
    pub depth_max: usize,
}

impl Default for DecodeLimits {
    /// 5 minutes, 1 MiB (a broker's own default for a message), 64 levels.
    fn default() -> Self {
        Self { future: Span::seconds(300), record_bytes_max: 1 << 20, depth_max: 64 }
    }
}

/// Decodes the records of one stream.
#[derive(Debug)]
pub struct Decoder {
    pub(super) stream: Arc<Stream>,
    pub(super) columns: Vec<ReadColumn>,
    pub(super) plan: Option<CastPlan>,
    /// Position of the event time among `columns`.
    pub(super) event_time: usize,
    paths: Paths,
    limits: DecodeLimits,
    pub(super) keep_keys: bool,
    /// Row numbers, in the whole batch, of the rows that `columns` hold.
    rows: Vec<u32>,
    /// jiter's buffer for strings with escapes, kept from record to record.
    tape: Vec<u8>,
    empty: Vec<Option<ArrayRef>>,
    /// Makes the record with that payload (of columns, the row of that `tx_id`) panic.
    #[cfg(test)]
    pub(super) panic_on: Option<&'static [u8]>,
}

impl Decoder {
    /// Binds the columns of a stream to the fields of its records.
    ///
    /// `used` has an entry a column of the contract: whether a rule reads it.
    pub fn new(
        stream: Arc<Stream>,
        binding: &StreamBinding,
        used: &[bool],
        limits: DecodeLimits,
    ) -> Result<Self, DecodeError> {
        check_columns_known(&stream, binding)?;
        if used.len() != stream.schema.fields().len() {
            let fault = "the list of used columns has another length than the contract";
            return Err(DecodeError::Stream { stream: stream.name.clone(), fault });
        }
        let mut columns = Vec::new();
        let mut column_paths = Vec::new();
        for index in 0..used.len() {
            let read = is_read(&stream, index, used);
            if !read && binding.unused == Unused::Skip {
                continue;
            }
            let field = binding.fields.get(stream.schema.field(index).name()).cloned().unwrap_or_default();
            columns.push(ReadColumn { lenient: !read, ..read_column(&stream, index, &field)? });
            column_paths.push((index, column_path(&stream, index, &field)?));
        }
        let event_time = event_time_position(&stream, &columns)?;
        let paths = Paths::new(&stream, &column_paths)?;
        let mut decoder = Self {
            keep_keys: binding.keep_keys,
            plan: None,
            event_time,
            paths,
            limits: DecodeLimits { depth_max: limits.depth_max.min(128), ..limits },
            rows: Vec::new(),
            tape: Vec::new(),
            empty: Vec::new(),
            #[cfg(test)]
            panic_on: None,
            columns,
            stream,
        };
        decoder.empty = decoder.finish_columns();
        Ok(decoder)
    }

    /// The stream whose records it decodes.
    pub fn stream(&self) -> &Arc<Stream> {
        &self.stream
    }

    /// Names of the columns it reads, in the contract's order: what a columnar source needs to fetch.
    pub fn column_names(&self) -> Vec<String> {
        self.columns.iter().map(|column| self.stream.schema.field(column.index).name().clone()).collect()
    }

    /// Makes room for that many records.
    pub(super) fn reserve(&mut self, records: usize) {
        self.rows.reserve(records);
        for column in &mut self.columns {
            column.values.reserve(records);
        }
    }

    /// Reads one record into the row after the last; its event time. The row stays open until
    /// [`Self::commit`], and after a fault [`Self::roll_back`] must follow.
    pub(super) fn read(&mut self, payload: &[u8], timestamp: Option<i64>) -> Result<i64, Fault> {
        #[cfg(test)]
        assert_ne!(Some(payload), self.panic_on, "asked to panic");
        if payload.len() > self.limits.record_bytes_max {
            return Err(Fault::Oversize { bytes: payload.len(), limit: self.limits.record_bytes_max });
        }
        // jiter doesn't check the text it steps over; whether a record is good must not depend on
        // which of its fields are read.
        if let Err(error) = std::str::from_utf8(payload) {
            return Err(Fault::InvalidUtf8 { position: error.valid_up_to() });
        }
        let row = self.rows.len();
        let mut jiter = Jiter::with_tape(payload, std::mem::take(&mut self.tape));
        let mut target = RowTarget {
            paths: &mut self.paths,
            columns: &mut self.columns,
            row,
            depth_max: self.limits.depth_max,
        };
        let outcome = read_record(&mut jiter, &mut target);
        self.tape = jiter.into_tape();
        outcome?;
        self.fill_absent(row)?;
        self.check_future(row, timestamp)
    }

    fn fill_absent(&mut self, row: usize) -> Result<(), Fault> {
        for column in &mut self.columns {
            if column.values.len() > row {
                continue;
            }
            if !column.nullable {
                return Err(Fault::Missing(column.index));
            }
            column.values.push_null();
        }
        Ok(())
    }

    fn check_future(&self, row: usize, timestamp: Option<i64>) -> Result<i64, Fault> {
        let event_time = self.columns[self.event_time].values.whole_at(row).unwrap_or_default();
        match timestamp {
            Some(timestamp) if event_time > timestamp.saturating_add(self.limits.future.0) => {
                Err(Fault::Future { limit: self.limits.future })
            }
            _ => Ok(event_time),
        }
    }

    /// Keeps the open row under that number.
    pub(super) fn commit(&mut self, row_number: u32) {
        self.rows.push(row_number);
    }

    /// Cuts off what a bad record left behind.
    pub(super) fn roll_back(&mut self) {
        for column in &mut self.columns {
            column.values.truncate(self.rows.len());
        }
    }

    /// Hands over the rows read so far.
    pub(super) fn finish(&mut self) -> StreamRows {
        if self.rows.is_empty() {
            return StreamRows { rows: Vec::new(), columns: self.empty.clone() };
        }
        StreamRows { rows: std::mem::take(&mut self.rows), columns: self.finish_columns() }
    }

    fn finish_columns(&mut self) -> Vec<Option<ArrayRef>> {
        let mut arrays = vec![None; self.stream.schema.fields().len()];
        for column in &mut self.columns {
            arrays[column.index] = Some(column.values.finish());
        }
        arrays
    }
}

fn is_read(stream: &Stream, index: usize, used: &[bool]) -> bool {
    let required = !stream.schema.field(index).is_nullable();
    used[index] || required || index == stream.event_time || stream.event_id.contains(&index)
}

fn read_column(stream: &Stream, index: usize, binding: &FieldBinding) -> Result<ReadColumn, DecodeError> {
    let field = stream.schema.field(index);
    let data_type = field.data_type();
    check_units(stream, index, binding)?;
    let (Some(reading), Some(values)) = (Reading::new(data_type, binding), Column::new(data_type)) else {
        return Err(DecodeError::Type {
            stream: stream.name.clone(),
            column: field.name().clone(),
            column_type: type_name(data_type),
        });
    };
    // Without its time or its id an event can't be answered, whatever the contract says of nulls.
    let required = index == stream.event_time || stream.event_id.contains(&index);
    let nullable = field.is_nullable() && !required;
    Ok(ReadColumn { index, nullable, lenient: false, reading, values })
}

fn check_units(stream: &Stream, index: usize, binding: &FieldBinding) -> Result<(), DecodeError> {
    let field = stream.schema.field(index);
    let fault = |key: &'static str, fault: String| {
        Err(DecodeError::Unit { stream: stream.name.clone(), column: field.name().clone(), key, fault })
    };
    let column_type = type_name(field.data_type());
    match Reading::new(field.data_type(), binding) {
        Some(Reading::Timestamp { .. }) | None => {}
        Some(_) if binding.unit.is_some_and(|unit| unit != TimeUnitText::Iso) => {
            return fault(
                "unit",
                format!("is for TIMESTAMP columns, and this one is {column_type}: remove it"),
            );
        }
        Some(_) => {}
    }
    match (Reading::new(field.data_type(), binding), binding.minor_units) {
        (_, None) | (None, _) => Ok(()),
        (Some(Reading::Decimal { .. }), Some(places)) if places <= 38 => Ok(()),
        (Some(Reading::Decimal { .. }), Some(places)) => {
            fault("minor_units", format!("is {places}: write a number of decimal places from 0 to 38"))
        }
        (Some(_), Some(_)) => {
            fault("minor_units", format!("is for DECIMAL columns, and this one is {column_type}: remove it"))
        }
    }
}

fn column_path(stream: &Stream, index: usize, binding: &FieldBinding) -> Result<Vec<String>, DecodeError> {
    let name = stream.schema.field(index).name();
    let Some(path) = &binding.path else {
        return Ok(vec![name.clone()]);
    };
    parse_path(path).map_err(|fault| DecodeError::Path {
        stream: stream.name.clone(),
        column: name.clone(),
        path: path.clone(),
        fault,
    })
}

fn event_time_position(stream: &Stream, columns: &[ReadColumn]) -> Result<usize, DecodeError> {
    let position = columns.iter().position(|column| {
        column.index == stream.event_time && matches!(column.reading, Reading::Timestamp { .. })
    });
    position.ok_or_else(|| DecodeError::Stream {
        stream: stream.name.clone(),
        fault: "its event-time column is no TIMESTAMP",
    })
}
