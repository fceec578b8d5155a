//! Files as sources: NDJSON, CSV and Parquet, one after another, in bounded batches.
//!
//! Takes paths and the stream they belong to, hands on [`Fetched`] batches: the lines of NDJSON as
//! records, CSV as columns of text, Parquet as its own columns. The partition of a row is its file's
//! index and the offset its ordinal in the file: the line for NDJSON (blank lines counted), the row
//! for the others. Fails by file (missing, cut, unreadable), never by row: a line that is too long is
//! handed on cut, so that decoding sets it aside, and a CSV row that can't be taken apart carries its
//! reason in [`FAULT_COLUMN`].

mod csv;
mod error;
mod lines;
mod parquet;

pub use self::error::FileError;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::datatypes::SchemaRef;

use self::csv::CsvReader;
use self::lines::LineReader;
use self::parquet::ParquetReader;
use super::{ColumnBatch, Fetched, Partitions, RawBatch, SourcePartition};
use crate::event::Partition;

/// Column that a source adds beside a file's own: text where it could not take the row apart.
pub const FAULT_COLUMN: &str = "tollgate:fault";

/// How files are cut into batches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileSettings {
    /// Most rows in a batch.
    pub batch_rows: usize,
    /// A batch of lines or CSV rows ends early once it holds that many bytes.
    pub batch_bytes_max: usize,
    /// A longer line (or CSV row) is cut: memory stays bounded whatever the file holds.
    pub record_bytes_max: usize,
    /// Columns that CSV and Parquet files are read for; all where there is no list.
    pub projection: Option<Vec<String>>,
}

impl Default for FileSettings {
    fn default() -> Self {
        Self { batch_rows: 8192, batch_bytes_max: 32 << 20, record_bytes_max: 1 << 20, projection: None }
    }
}

/// Reads files one after another.
#[derive(Debug)]
pub struct FileSource {
    files: Vec<InputFile>,
    partitions: Partitions,
    settings: FileSettings,
    /// Index of the file being read, and its reader.
    current: usize,
    reader: Option<Reader>,
    bytes_before: u64,
}

/// One file, as known before it is read.
#[derive(Debug)]
struct InputFile {
    path: PathBuf,
    format: FileFormat,
    bytes: u64,
    rows: Option<u64>,
    schema: Option<SchemaRef>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum FileFormat {
    Lines,
    Csv,
    Parquet,
}

#[derive(Debug)]
enum Reader {
    Lines(LineReader),
    Csv(CsvReader),
    Parquet(Box<ParquetReader>),
}

impl FileSource {
    /// Looks at every file (its size, its columns), so that what is missing is known before the first
    /// row. `stream` is the index in the contract of the stream that all of them belong to.
    pub fn open(paths: &[PathBuf], stream: usize, settings: FileSettings) -> Result<Self, FileError> {
        if paths.is_empty() {
            return Err(FileError::NoFiles);
        }
        let files = paths.iter().map(|path| InputFile::look_at(path)).collect::<Result<Vec<_>, _>>()?;
        let partitions = files.iter().map(|file| SourcePartition {
            partition: Partition { topic: Arc::from(file.path.to_string_lossy()), partition: 0 },
            stream,
        });
        let partitions = Arc::new(partitions.collect());
        let settings = FileSettings { batch_rows: settings.batch_rows.max(1), ..settings };
        Ok(Self { files, partitions, settings, current: 0, reader: None, bytes_before: 0 })
    }

    /// The next batch, never empty; none after the last row of the last file.
    #[expect(
        clippy::should_implement_trait,
        reason = "an error ends the source, which an iterator can't say"
    )]
    pub fn next(&mut self) -> Result<Option<Fetched>, FileError> {
        while let Some(file) = self.files.get(self.current) {
            let reader = match &mut self.reader {
                Some(reader) => reader,
                none => none.insert(Reader::open(file, &self.settings)?),
            };
            if let Some(fetched) = reader.next(file, &self.settings, (&self.partitions, self.current))? {
                return Ok(Some(fetched));
            }
            self.bytes_before += file.bytes;
            self.current += 1;
            self.reader = None;
        }
        Ok(None)
    }

    /// Rows of all files, where that is known before reading (all of them are Parquet).
    pub fn rows_total(&self) -> Option<u64> {
        self.files.iter().map(|file| file.rows).sum()
    }

    /// Bytes of all files.
    pub fn bytes_total(&self) -> u64 {
        self.files.iter().map(|file| file.bytes).sum()
    }

    /// Bytes read so far (of a Parquet file, the share of its rows).
    pub fn bytes_read(&self) -> u64 {
        let bytes = self.files.get(self.current).map_or(0, |file| file.bytes);
        let within = match &self.reader {
            None => 0,
            Some(Reader::Lines(reader)) => reader.bytes_read(),
            Some(Reader::Csv(reader)) => reader.bytes_read(),
            Some(Reader::Parquet(reader)) => reader.share_read_of(bytes),
        };
        self.bytes_before + within.min(bytes)
    }

    /// The columns of each CSV or Parquet file, to be checked against the contract before reading.
    pub fn schemas(&self) -> impl Iterator<Item = (&Path, &SchemaRef)> {
        self.files.iter().filter_map(|file| Some((file.path.as_path(), file.schema.as_ref()?)))
    }
}

impl InputFile {
    fn look_at(path: &Path) -> Result<Self, FileError> {
        let format = FileFormat::of(path)?;
        let metadata = std::fs::metadata(path).map_err(|source| FileError::open(path, source))?;
        if metadata.is_dir() {
            return Err(FileError::Folder { path: path.to_owned() });
        }
        let (rows, schema) = match format {
            FileFormat::Lines => (None, None),
            FileFormat::Csv => (None, Some(csv::read_schema(path)?)),
            FileFormat::Parquet => {
                let (rows, schema) = parquet::read_footer(path)?;
                (Some(rows), Some(schema))
            }
        };
        Ok(Self { path: path.to_owned(), format, bytes: metadata.len(), rows, schema })
    }
}

impl FileFormat {
    fn of(path: &Path) -> Result<Self, FileError> {
        let extension = path.extension().map(|extension| extension.to_string_lossy().to_lowercase());
        match extension.as_deref() {
            Some("ndjson" | "jsonl" | "json") => Ok(Self::Lines),
            Some("csv") => Ok(Self::Csv),
            Some("parquet") => Ok(Self::Parquet),
            _ => Err(FileError::Extension { path: path.to_owned() }),
        }
    }
}

impl Reader {
    fn open(file: &InputFile, settings: &FileSettings) -> Result<Self, FileError> {
        Ok(match file.format {
            FileFormat::Lines => Self::Lines(LineReader::open(&file.path, settings.record_bytes_max)?),
            FileFormat::Csv => Self::Csv(CsvReader::open(&file.path, settings)?),
            FileFormat::Parquet => Self::Parquet(Box::new(ParquetReader::open(&file.path, settings)?)),
        })
    }

    fn next(
        &mut self,
        file: &InputFile,
        settings: &FileSettings,
        (partitions, partition): (&Partitions, usize),
    ) -> Result<Option<Fetched>, FileError> {
        let (partitions, partition) = (partitions.clone(), partition as u32);
        let columns = match self {
            Self::Lines(reader) => {
                let mut batch = RawBatch { partitions, ..RawBatch::default() };
                reader.read_batch(&mut batch, settings, partition).map_err(|fault| fault.at(&file.path))?;
                return Ok((!batch.records.is_empty()).then_some(Fetched::Records(batch)));
            }
            Self::Csv(reader) => reader.read_batch(settings).map_err(|fault| fault.at(&file.path))?,
            Self::Parquet(reader) => reader.read_batch(&file.path)?,
        };
        Ok(columns.map(|(first_offset, columns)| {
            Fetched::Columns(ColumnBatch { partitions, partition, first_offset, columns })
        }))
    }
}

#[cfg(test)]
mod tests;
