//! Columns of a file to the contract's columns.
//!
//! Columns match by name; paths and minor units of a binding describe JSON and play no part here, a
//! time unit does. A column that already has its type is handed on without a copy. A row that
//! violates `NOT NULL` or whose value can't be cast becomes a dead letter, the rest goes on.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray};
use arrow::compute::{concat, filter};
use arrow::datatypes::{DataType, Schema, SchemaRef, TimestampMicrosecondType};
use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;

use super::batch::Decoders;
use super::binding::did_you_mean;
use super::cast::{Conversion, conversion, convert};
use super::decoder::Decoder;
use super::error::DecodeError;
use super::fault::{Fault, of_value, type_name};
use super::{DeadLetter, DecodedBatch, Rows, Stage, StreamRows};
use crate::event::{Coordinates, Offset};
use crate::source::{ColumnBatch, FAULT_COLUMN};

/// How each column that is read comes out of a file with this schema.
#[derive(Debug)]
pub(super) struct CastPlan {
    schema: SchemaRef,
    /// For each column read: where it stands in the file, and what is done to it.
    columns: Vec<(Option<usize>, Conversion)>,
}

/// The columns read, in the decoder's order, and the rows among them that are bad.
struct CastRows {
    arrays: Vec<ArrayRef>,
    faults: BTreeMap<usize, Fault>,
}

impl Decoders {
    pub(super) fn decode_columns(&mut self, batch: &ColumnBatch) -> DecodedBatch {
        let stream = batch.partitions.get(batch.partition as usize).map(|partition| partition.stream);
        let mut decoded = DecodedBatch::default();
        decoded.rows.partitions = batch.partitions.clone();
        for (index, decoder) in self.decoders.iter_mut().enumerate() {
            let rows = match Some(index) == stream {
                true => decoder.decode_columns(batch, &mut decoded.rows, &mut decoded.dead_letters),
                false => decoder.finish(),
            };
            decoded.streams.push(rows);
        }
        decoded
    }
}

impl Decoder {
    /// Checks that a file's columns fit the contract; lists every one that doesn't.
    pub fn check_columns(&self, schema: &Schema) -> Result<(), DecodeError> {
        self.plan_casts(schema).map(|_| ())
    }

    fn plan_casts(&self, schema: &Schema) -> Result<Vec<(Option<usize>, Conversion)>, DecodeError> {
        let names: Vec<&str> = schema
            .fields()
            .iter()
            .map(|field| field.name().as_str())
            .filter(|name| *name != FAULT_COLUMN)
            .collect();
        let mut faults = Vec::new();
        let mut columns = Vec::new();
        for column in &self.columns {
            let wanted = self.stream.schema.field(column.index);
            let found = schema.index_of(wanted.name()).ok();
            let Some(position) = found else {
                if !column.nullable {
                    let hint = did_you_mean(wanted.name(), &names);
                    faults.push(format!("NOT NULL column `{}` is missing{hint}", wanted.name()));
                }
                columns.push((None, Conversion::Absent));
                continue;
            };
            let file_type = schema.field(position).data_type();
            match conversion(file_type, wanted.data_type(), column.reading) {
                Some(conversion) => columns.push((Some(position), conversion)),
                None => faults.push(refusal(wanted.name(), file_type, wanted.data_type())),
            }
        }
        match faults.is_empty() {
            true => Ok(columns),
            false => Err(DecodeError::Columns {
                stream: self.stream.name.clone(),
                faults: faults.join("; "),
                columns: names.join(", "),
            }),
        }
    }

    fn decode_columns(
        &mut self,
        batch: &ColumnBatch,
        rows: &mut Rows,
        dead_letters: &mut Vec<DeadLetter>,
    ) -> StreamRows {
        let count = batch.columns.num_rows();
        let cast_rows = match catch_unwind(AssertUnwindSafe(|| self.cast_rows(&batch.columns))) {
            Ok(cast_rows) => cast_rows,
            Err(_) => self.cast_one_by_one(&batch.columns),
        };
        for (&row, fault) in &cast_rows.faults {
            dead_letters.push(self.dead_letter(batch, row, fault));
        }
        let offsets = (0..count).filter(|row| !cast_rows.faults.contains_key(row));
        rows.offset = offsets.map(|row| batch.first_offset + row as i64).collect();
        let kept = rows.offset.len();
        if kept == 0 {
            return self.finish();
        }
        let arrays = keep_good(cast_rows, count);
        let times = arrays[self.event_time].as_primitive::<TimestampMicrosecondType>();
        rows.event_time = times.values().to_vec();
        rows.partition = vec![batch.partition; kept];
        rows.timestamp = vec![i64::MIN; kept];
        let mut columns = vec![None; self.stream.schema.fields().len()];
        for (column, array) in self.columns.iter().zip(arrays) {
            columns[column.index] = Some(array);
        }
        StreamRows { rows: (0..kept as u32).collect(), columns }
    }

    fn dead_letter(&self, batch: &ColumnBatch, row: usize, fault: &Fault) -> DeadLetter {
        DeadLetter {
            coordinates: Coordinates {
                partition: batch.partitions[batch.partition as usize].partition.clone(),
                offset: Offset(batch.first_offset + row as i64),
            },
            timestamp: None,
            stage: Stage::Decode,
            reason: fault.reason(&self.stream),
            kind: fault.kind(),
            rule: None,
            payload: None,
            key: None,
        }
    }

    /// Casts every column; a batch that doesn't fit at all is bad in every row.
    fn cast_rows(&mut self, batch: &RecordBatch) -> CastRows {
        #[cfg(test)]
        assert!(!self.is_asked_to_panic(batch), "asked to panic");
        self.try_cast_rows(batch).unwrap_or_else(|reason| CastRows {
            arrays: Vec::new(),
            faults: (0..batch.num_rows()).map(|row| (row, Fault::Row(reason.clone()))).collect(),
        })
    }

    #[cfg(test)]
    fn is_asked_to_panic(&self, batch: &RecordBatch) -> bool {
        let ids = batch.column_by_name("tx_id").and_then(|column| column.as_string_opt::<i32>());
        ids.is_some_and(|ids| ids.iter().any(|id| id.map(str::as_bytes) == self.panic_on && id.is_some()))
    }

    fn try_cast_rows(&mut self, batch: &RecordBatch) -> Result<CastRows, String> {
        if self.plan.as_ref().is_none_or(|plan| plan.schema != batch.schema()) {
            let columns = self.plan_casts(&batch.schema()).map_err(|error| error.to_string())?;
            self.plan = Some(CastPlan { schema: batch.schema(), columns });
        }
        let mut cast_rows = CastRows { arrays: Vec::new(), faults: rows_refused_by_source(batch) };
        let plan = self.plan.as_ref().map_or(&[][..], |plan| plan.columns.as_slice());
        for (column, (position, conversion)) in self.columns.iter_mut().zip(plan) {
            let wanted = self.stream.schema.field(column.index);
            let from = position.map(|position| batch.column(position));
            let target = (&mut *column, batch.num_rows());
            let converted = convert(*conversion, from, wanted.data_type(), target)
                .map_err(|error: ArrowError| format!("column `{}`: {error}", wanted.name()))?;
            for (row, fault) in converted.faults {
                cast_rows.faults.entry(row).or_insert_with(|| of_value(column.index, fault));
            }
            if !column.nullable && converted.array.null_count() > 0 {
                for row in (0..batch.num_rows()).filter(|&row| converted.array.is_null(row)) {
                    cast_rows.faults.entry(row).or_insert(Fault::Missing(column.index));
                }
            }
            cast_rows.arrays.push(converted.array);
        }
        Ok(cast_rows)
    }

    /// After a panic: each row on its own, so that only the guilty ones are lost.
    #[cold]
    fn cast_one_by_one(&mut self, batch: &RecordBatch) -> CastRows {
        let mut faults = BTreeMap::new();
        let mut pieces: Vec<Vec<ArrayRef>> = vec![Vec::new(); self.columns.len()];
        for row in 0..batch.num_rows() {
            self.roll_back();
            match catch_unwind(AssertUnwindSafe(|| self.cast_rows(&batch.slice(row, 1)))) {
                Err(_) => drop(faults.insert(row, Fault::Panic)),
                Ok(mut one) => match one.faults.remove(&0) {
                    Some(fault) => drop(faults.insert(row, fault)),
                    None => pieces.iter_mut().zip(one.arrays).for_each(|(all, array)| all.push(array)),
                },
            }
        }
        self.roll_back();
        let joined = pieces.iter().map(|pieces| {
            let pieces: Vec<&dyn Array> = pieces.iter().map(AsRef::as_ref).collect();
            concat(&pieces)
        });
        match joined.collect::<Result<Vec<_>, _>>() {
            Ok(arrays) => CastRows { arrays, faults },
            Err(_) => CastRows {
                arrays: Vec::new(),
                faults: (0..batch.num_rows()).map(|row| (row, Fault::Panic)).collect(),
            },
        }
    }
}

fn refusal(name: &str, from: &DataType, to: &DataType) -> String {
    let expected = type_name(to);
    let hint = match to {
        DataType::Timestamp(..) if from.is_integer() => {
            ": bind the column with unit = \"s\", \"ms\" or \"us\" to read epoch times"
        }
        _ => "",
    };
    format!("column `{name}` has type {from}, which can't be cast to {expected}{hint}")
}

/// Rows that the source itself could not take apart, with its reason.
fn rows_refused_by_source(batch: &RecordBatch) -> BTreeMap<usize, Fault> {
    let reasons = batch.column_by_name(FAULT_COLUMN).and_then(|column| column.as_string_opt::<i32>());
    let Some(reasons) = reasons.filter(|reasons| reasons.null_count() < reasons.len()) else {
        return BTreeMap::new();
    };
    let rows = reasons.iter().enumerate();
    rows.filter_map(|(row, reason)| Some((row, Fault::Row(reason?.to_owned())))).collect()
}

/// Cuts the bad rows out; nothing is copied where there are none.
fn keep_good(cast_rows: CastRows, count: usize) -> Vec<ArrayRef> {
    let CastRows { arrays, faults } = cast_rows;
    if faults.is_empty() || arrays.iter().all(|array| array.len() == count - faults.len()) {
        return arrays;
    }
    let good: BooleanArray = (0..count).map(|row| Some(!faults.contains_key(&row))).collect();
    let kept = arrays.iter().map(|array| filter(array, &good).expect("each array has a row for each flag"));
    kept.collect()
}
