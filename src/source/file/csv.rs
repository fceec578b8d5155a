//! A CSV file as columns of text: comma-separated, a header row, quotes as in RFC 4180.
//!
//! Every field is handed on as text and typed by the decoder, by the rules for JSON strings. A row
//! that can't be taken apart keeps its place, null in every column and its reason in
//! [`FAULT_COLUMN`]. A quote that is never closed costs its own line only: the lines behind it
//! are read again.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, StringBuilder};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;

use super::error::{FileError, ReadFault};
use super::lines::LineReader;
use super::{FAULT_COLUMN, FileSettings};

/// Reads a file's rows.
#[derive(Debug)]
pub(super) struct CsvReader {
    rows: RowReader,
    /// Fields that each row must have.
    width: usize,
    /// Positions, in the row, of the fields that are handed on.
    fields: Vec<usize>,
    schema: SchemaRef,
    rows_read: i64,
}

/// The columns that the header names, all text.
pub(super) fn read_schema(path: &Path) -> Result<SchemaRef, FileError> {
    let mut rows = RowReader::open(path, HEADER_BYTES_MAX)?;
    read_header(&mut rows, path).map(|names| schema_of(&names))
}

const HEADER_BYTES_MAX: usize = 1 << 20;

impl CsvReader {
    pub(super) fn open(path: &Path, settings: &FileSettings) -> Result<Self, FileError> {
        let mut rows = RowReader::open(path, settings.record_bytes_max)?;
        let names = read_header(&mut rows, path)?;
        let wanted = |name: &String| settings.projection.as_ref().is_none_or(|list| list.contains(name));
        let fields: Vec<usize> = (0..names.len()).filter(|&index| wanted(&names[index])).collect();
        let mut columns: Vec<String> = fields.iter().map(|&index| names[index].clone()).collect();
        columns.push(FAULT_COLUMN.to_owned());
        Ok(Self { rows, width: names.len(), fields, schema: schema_of(&columns), rows_read: 0 })
    }

    pub(super) fn bytes_read(&self) -> u64 {
        self.rows.lines.bytes_read()
    }

    /// The next batch and the ordinal of its first row.
    pub(super) fn read_batch(
        &mut self,
        settings: &FileSettings,
    ) -> Result<Option<(i64, RecordBatch)>, ReadFault> {
        let first = self.rows_read;
        let mut bytes = 0;
        let mut columns: Vec<StringBuilder> =
            self.schema.fields().iter().map(|_| StringBuilder::new()).collect();
        let Some((faults, columns_of_file)) = columns.split_last_mut() else {
            return Ok(None);
        };
        for _ in 0..settings.batch_rows {
            if bytes >= settings.batch_bytes_max {
                break;
            }
            let Some(outcome) = self.rows.next_row()? else {
                break;
            };
            let row = &self.rows.row;
            bytes += row.text.len();
            self.rows_read += 1;
            match outcome.and_then(|()| row.checked(self.width)) {
                Ok(text) => {
                    faults.append_null();
                    for (column, &field) in columns_of_file.iter_mut().zip(&self.fields) {
                        column.append_option(row.field(text, field));
                    }
                }
                Err(reason) => {
                    faults.append_value(reason);
                    columns_of_file.iter_mut().for_each(StringBuilder::append_null);
                }
            }
        }
        if self.rows_read == first {
            return Ok(None);
        }
        let arrays = columns.iter_mut().map(|column| Arc::new(column.finish()) as ArrayRef).collect();
        let batch = RecordBatch::try_new(self.schema.clone(), arrays);
        let batch = batch.map_err(|error| ReadFault {
            line: self.rows.lines.lines(),
            source: std::io::Error::other(error),
        })?;
        Ok(Some((first, batch)))
    }
}

fn schema_of(names: &[String]) -> SchemaRef {
    let fields: Vec<Field> = names.iter().map(|name| Field::new(name, DataType::Utf8, true)).collect();
    Arc::new(Schema::new(fields))
}

fn read_header(rows: &mut RowReader, path: &Path) -> Result<Vec<String>, FileError> {
    let fault = |fault: String| FileError::Header { path: path.to_owned(), fault };
    let outcome = rows.next_row().map_err(|error| error.at(path))?;
    let row = &rows.row;
    let outcome = outcome.ok_or_else(|| fault("the file is empty".into()))?;
    let text = outcome.and_then(|()| row.checked(row.ends.len())).map_err(fault)?;
    let names: Vec<String> =
        (0..row.ends.len()).filter_map(|field| row.field(text, field)).map(str::to_owned).collect();
    for (index, name) in names.iter().enumerate() {
        if name.is_empty() {
            return Err(fault(format!("column {} has no name", index + 1)));
        }
        if names[..index].contains(name) {
            return Err(fault(format!("column `{name}` stands twice")));
        }
    }
    Ok(names)
}

/// Puts rows together from lines.
#[derive(Debug)]
struct RowReader {
    lines: LineReader,
    /// Lines read ahead for a quote that turned out not to be closed.
    again: VecDeque<Vec<u8>>,
    row_bytes_max: usize,
    row: Row,
}

/// The fields of one row, without quotes, end to end.
#[derive(Debug, Default)]
struct Row {
    text: Vec<u8>,
    ends: Vec<usize>,
}

/// Where in a row a line broke off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Within {
    /// Between fields or in one without quotes.
    Plain,
    /// Inside quotes.
    Quotes,
}

impl RowReader {
    fn open(path: &Path, row_bytes_max: usize) -> Result<Self, FileError> {
        let lines = LineReader::open(path, row_bytes_max)?;
        Ok(Self { lines, again: VecDeque::new(), row_bytes_max, row: Row::default() })
    }

    /// Reads the next row that is not blank into `row`: none at the end of the file, a reason where
    /// the row can't be taken apart.
    fn next_row(&mut self) -> Result<Option<Result<(), String>>, ReadFault> {
        loop {
            self.row.text.clear();
            self.row.ends.clear();
            let Some(line) = self.next_line()? else {
                return Ok(None);
            };
            if line.is_empty() {
                continue;
            }
            if line.len() > self.row_bytes_max {
                return Ok(Some(Err(format!("the row is larger than {} bytes", self.row_bytes_max))));
            }
            return self.read_row(&line).map(Some);
        }
    }

    fn next_line(&mut self) -> Result<Option<Vec<u8>>, ReadFault> {
        if let Some(line) = self.again.pop_front() {
            return Ok(Some(line));
        }
        let mut line = Vec::new();
        Ok(self.lines.read_line(&mut line)?.map(|_| line))
    }

    fn read_row(&mut self, first: &[u8]) -> Result<Result<(), String>, ReadFault> {
        let mut within = match self.row.append(first, Within::Plain) {
            Err(reason) => return Ok(Err(reason.into())),
            Ok(within) => within,
        };
        let mut ahead = Vec::new();
        let mut fault = None;
        while within == Within::Quotes && fault.is_none() {
            let Some(line) = self.next_line()? else {
                fault = Some("a quote is not closed before the end of the file");
                break;
            };
            self.row.text.push(b'\n');
            match self.row.append(&line, Within::Quotes) {
                Err(reason) => fault = Some(reason),
                Ok(_) if self.row.text.len() > self.row_bytes_max => {
                    fault = Some("a quote is not closed before the row is larger than record_bytes_max");
                }
                Ok(then) => within = then,
            }
            ahead.push(line);
        }
        let Some(fault) = fault else {
            return Ok(Ok(()));
        };
        // Only the line that opened the quote is known to be bad.
        for line in ahead.into_iter().rev() {
            self.again.push_front(line);
        }
        Ok(Err(fault.into()))
    }
}

impl Row {
    /// Takes one line apart, going on from where the line before broke off.
    fn append(&mut self, line: &[u8], mut within: Within) -> Result<Within, &'static str> {
        let mut at = 0;
        loop {
            let rest = &line[at..];
            if within == Within::Quotes {
                let Some(quote) = rest.iter().position(|&byte| byte == b'"') else {
                    self.text.extend_from_slice(rest);
                    return Ok(Within::Quotes);
                };
                self.text.extend_from_slice(&rest[..quote]);
                at += quote + 1;
                match line.get(at) {
                    Some(b'"') => {
                        self.text.push(b'"');
                        at += 1;
                        continue;
                    }
                    None | Some(b',') => within = Within::Plain,
                    Some(_) => return Err("a closing quote is followed by more than a comma"),
                }
            } else if rest.first() == Some(&b'"') {
                within = Within::Quotes;
                at += 1;
                continue;
            } else {
                let comma = rest.iter().position(|&byte| byte == b',').unwrap_or(rest.len());
                self.text.extend_from_slice(&rest[..comma]);
                at += comma;
            }
            self.ends.push(self.text.len());
            if at >= line.len() {
                return Ok(Within::Plain);
            }
            at += 1;
        }
    }

    /// The row's text, where it is UTF-8 and has as many fields as the header.
    fn checked(&self, width: usize) -> Result<&str, String> {
        if self.ends.len() != width {
            return Err(format!("the row has {} fields, the header names {width}", self.ends.len()));
        }
        let text = std::str::from_utf8(&self.text).ok();
        let text = text.filter(|text| self.ends.iter().all(|&end| text.is_char_boundary(end)));
        text.ok_or_else(|| "the row is not UTF-8 text".to_owned())
    }

    fn field<'t>(&self, text: &'t str, index: usize) -> Option<&'t str> {
        let start = if index == 0 { 0 } else { *self.ends.get(index - 1)? };
        text.get(start..*self.ends.get(index)?)
    }
}
