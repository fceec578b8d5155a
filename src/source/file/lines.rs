//! Lines of a file, each at most so long; the NDJSON source, and what the CSV source reads rows from.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use super::FileSettings;
use super::error::{FileError, ReadFault};
use crate::source::{RawBatch, RawRecord};

const READ_BUFFER_BYTES: usize = 256 << 10;
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Reads a file line by line.
#[derive(Debug)]
pub(super) struct LineReader {
    input: BufReader<File>,
    line_bytes_max: usize,
    lines: u64,
    bytes_read: u64,
}

impl LineReader {
    pub(super) fn open(path: &Path, line_bytes_max: usize) -> Result<Self, FileError> {
        let file = File::open(path).map_err(|source| FileError::open(path, source))?;
        let input = BufReader::with_capacity(READ_BUFFER_BYTES, file);
        Ok(Self { input, line_bytes_max, lines: 0, bytes_read: 0 })
    }

    pub(super) fn bytes_read(&self) -> u64 {
        self.bytes_read
    }

    pub(super) fn lines(&self) -> u64 {
        self.lines
    }

    /// Appends the next line without its end; its length, or none at the end of the file. A line past
    /// the limit is appended up to one byte more than the limit, which tells the decoder, and the rest skipped.
    pub(super) fn read_line(&mut self, bytes: &mut Vec<u8>) -> Result<Option<usize>, ReadFault> {
        let start = bytes.len();
        // Two more than a line may have, for its end.
        let room = self.line_bytes_max as u64 + 2;
        let taken = (&mut self.input).take(room).read_until(b'\n', bytes).map_err(|e| self.fault(e))?;
        self.bytes_read += taken as u64;
        if taken == 0 {
            return Ok(None);
        }
        if bytes.last() != Some(&b'\n') && taken as u64 == room {
            let skipped = self.input.skip_until(b'\n').map_err(|e| self.fault(e))?;
            self.bytes_read += skipped as u64;
            bytes.truncate(start + self.line_bytes_max + 1);
        } else {
            for end in [b'\n', b'\r'] {
                if bytes.len() > start && bytes.last() == Some(&end) {
                    bytes.pop();
                }
            }
        }
        if self.lines == 0 && bytes[start..].starts_with(BYTE_ORDER_MARK) {
            bytes.drain(start..start + BYTE_ORDER_MARK.len());
        }
        self.lines += 1;
        Ok(Some(bytes.len() - start))
    }

    fn fault(&self, source: std::io::Error) -> ReadFault {
        ReadFault { line: self.lines, source }
    }

    /// Appends records until the batch is full or the file ends; blank lines are no records.
    pub(super) fn read_batch(
        &mut self,
        batch: &mut RawBatch,
        settings: &FileSettings,
        partition: u32,
    ) -> Result<(), ReadFault> {
        while batch.records.len() < settings.batch_rows && batch.bytes.len() < settings.batch_bytes_max {
            let (start, offset) = (batch.bytes.len(), self.lines);
            if self.read_line(&mut batch.bytes)?.is_none() {
                break;
            }
            let payload = start..batch.bytes.len();
            if batch.bytes[payload.clone()].trim_ascii().is_empty() {
                batch.bytes.truncate(start);
                continue;
            }
            batch.records.push(RawRecord {
                partition,
                offset: i64::try_from(offset).unwrap_or(i64::MAX),
                payload: Some(payload),
                ..RawRecord::default()
            });
        }
        Ok(())
    }
}
