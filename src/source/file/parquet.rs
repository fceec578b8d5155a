//! A Parquet file in batches, read for the columns that are asked for.

use std::fs::File;
use std::path::Path;

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};

use super::FileSettings;
use super::error::FileError;

/// Reads a file's rows in order; batches run across its row groups.
#[derive(Debug)]
pub(super) struct ParquetReader {
    reader: ParquetRecordBatchReader,
    rows_total: u64,
    rows_read: u64,
}

/// Rows and columns of a file, from its footer.
pub(super) fn read_footer(path: &Path) -> Result<(u64, SchemaRef), FileError> {
    let builder = builder(path)?;
    Ok((rows_of(&builder), builder.schema().clone()))
}

impl ParquetReader {
    pub(super) fn open(path: &Path, settings: &FileSettings) -> Result<Self, FileError> {
        let builder = builder(path)?;
        let rows_total = rows_of(&builder);
        let mask = match &settings.projection {
            None => ProjectionMask::all(),
            Some(names) => {
                let fields = builder.schema().fields().iter().enumerate();
                let roots = fields.filter(|(_, field)| names.contains(field.name())).map(|(index, _)| index);
                ProjectionMask::roots(builder.parquet_schema(), roots.collect::<Vec<_>>())
            }
        };
        let reader = builder.with_projection(mask).with_batch_size(settings.batch_rows).build();
        let reader = reader.map_err(|error| fault(path, error))?;
        Ok(Self { reader, rows_total, rows_read: 0 })
    }

    /// The next batch and the ordinal of its first row.
    pub(super) fn read_batch(&mut self, path: &Path) -> Result<Option<(i64, RecordBatch)>, FileError> {
        let Some(batch) = self.reader.next().transpose().map_err(|error| fault(path, error))? else {
            return Ok(None);
        };
        let first = i64::try_from(self.rows_read).unwrap_or(i64::MAX);
        self.rows_read += batch.num_rows() as u64;
        Ok(Some((first, batch)))
    }

    /// That share of the file's bytes which its rows read so far make.
    pub(super) fn share_read_of(&self, bytes: u64) -> u64 {
        let share = u128::from(bytes) * u128::from(self.rows_read) / u128::from(self.rows_total.max(1));
        u64::try_from(share).unwrap_or(bytes)
    }
}

fn builder(path: &Path) -> Result<ParquetRecordBatchReaderBuilder<File>, FileError> {
    let file = File::open(path).map_err(|source| FileError::open(path, source))?;
    ParquetRecordBatchReaderBuilder::try_new(file).map_err(|error| fault(path, error))
}

fn rows_of(builder: &ParquetRecordBatchReaderBuilder<File>) -> u64 {
    u64::try_from(builder.metadata().file_metadata().num_rows()).unwrap_or(0)
}

fn fault(path: &Path, error: impl std::fmt::Display) -> FileError {
    FileError::Parquet { path: path.to_owned(), fault: error.to_string() }
}
