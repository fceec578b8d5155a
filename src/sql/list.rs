//! Reference tables: small files beside the rules that queries join or look into.
//!
//! Takes a CSV, JSON, NDJSON or Parquet file; hands on a [`List`] of one batch. A CSV column is text unless
//! every value reads back from a number exactly as it is written, so that `0742` stays a code.

use std::fs::File;
use std::io::{BufReader, Read, Seek};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::compute::{cast, concat_batches};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::error::ArrowError;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use sha2::{Digest, Sha256};

/// A list larger than this belongs in a stream: it is held in memory whole, with an index for each use.
const LIST_ROWS_MAX: usize = 5_000_000;

/// A reference table.
#[derive(Debug, Clone)]
pub struct List {
    /// Name in `FROM`: the file's name without its ending.
    pub name: String,
    /// All rows.
    pub rows: RecordBatch,
    /// First 16 hex digits of the SHA-256 of the file: equal lookups are known by it.
    pub version: String,
}

/// A list that can't be read.
#[derive(Debug, thiserror::Error)]
pub enum ListError {
    /// The file can't be opened or read.
    #[error("list {} can't be read: {cause}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        cause: std::io::Error,
    },
    /// The file's content doesn't fit its ending.
    #[error("list {} is not valid {format}: {cause}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What its ending says it is.
        format: &'static str,
        /// Why.
        cause: String,
    },
    /// The ending says nothing known.
    #[error("list {} has an unknown ending: lists are .csv, .json, .ndjson or .parquet", path.display())]
    UnknownFormat {
        /// The file.
        path: PathBuf,
    },
    /// Too many rows.
    #[error("list {} has {rows} rows, more than the {LIST_ROWS_MAX} that are held in memory: feed it as a stream", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Its rows.
        rows: usize,
    },
}

impl List {
    /// Reads a list from a file.
    pub fn open(path: &Path) -> Result<Self, ListError> {
        let unreadable = |cause| ListError::Unreadable { path: path.to_owned(), cause };
        let mut bytes = Vec::new();
        File::open(path).and_then(|mut file| file.read_to_end(&mut bytes)).map_err(unreadable)?;
        let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default().to_lowercase();
        let (format, read) = match ending.as_str() {
            "csv" => ("CSV", read_csv(&bytes)),
            "json" | "ndjson" | "jsonl" => ("JSON", read_json(&bytes)),
            "parquet" => ("Parquet", read_parquet(path)),
            _ => return Err(ListError::UnknownFormat { path: path.to_owned() }),
        };
        let malformed = |cause: ArrowError| ListError::Malformed {
            path: path.to_owned(),
            format,
            cause: plain_cause(&cause),
        };
        let rows = read.and_then(|rows| plain_columns(&rows)).map_err(malformed)?;
        if rows.num_rows() > LIST_ROWS_MAX {
            return Err(ListError::TooLarge { path: path.to_owned(), rows: rows.num_rows() });
        }
        let name = path.file_stem().map(|stem| stem.to_string_lossy().to_lowercase()).unwrap_or_default();
        let digest = Sha256::digest(&bytes);
        let version = digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        Ok(Self { name, rows, version })
    }
}

impl List {
    /// The same list with other rows, given as JSON objects; a column that a row lacks is null there.
    pub fn with_rows(&self, rows: &[serde_json::Map<String, serde_json::Value>]) -> Result<Self, ArrowError> {
        let lines: String =
            rows.iter().map(|row| serde_json::Value::Object(row.clone()).to_string() + "\n").collect();
        let schema = self.rows.schema();
        let read = arrow::json::ReaderBuilder::new(Arc::clone(&schema)).build(lines.as_bytes())?;
        let version = Sha256::digest(&lines).iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        Ok(Self { name: self.name.clone(), rows: concat(&schema, read)?, version })
    }
}

/// The cause without the library's name for its kind.
fn plain_cause(cause: &ArrowError) -> String {
    let text = cause.to_string();
    let plain =
        text.strip_prefix("Csv error: ").or_else(|| text.strip_prefix("Json error: ")).unwrap_or(&text);
    plain.strip_prefix("Not valid JSON: ").unwrap_or(plain).to_owned()
}

fn read_csv(bytes: &[u8]) -> Result<RecordBatch, ArrowError> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    if bytes.trim_ascii().is_empty() {
        return Err(ArrowError::CsvError("the file is empty: its first line names the columns".to_owned()));
    }
    let format = arrow::csv::reader::Format::default().with_header(true);
    let (inferred, _) = format.infer_schema(bytes, Some(1))?;
    let text = |field: &Arc<Field>| Field::new(field.name().trim().to_lowercase(), DataType::Utf8, true);
    let schema = Arc::new(Schema::new(inferred.fields().iter().map(text).collect::<Vec<_>>()));
    let reader = arrow::csv::ReaderBuilder::new(Arc::clone(&schema)).with_header(true).build(bytes)?;
    let batch = concat(&schema, reader)?;
    let columns: Vec<ArrayRef> = batch.columns().iter().map(narrowed).collect();
    rebuilt(schema.fields().iter().map(|field| field.name().as_str()), columns)
}

/// A text column as numbers if each of its values is one in the form a number is printed in.
fn narrowed(column: &ArrayRef) -> ArrayRef {
    let texts = column.as_string::<i32>();
    let every = |test: fn(&str) -> bool| texts.len() > texts.null_count() && texts.iter().flatten().all(test);
    let canonical_int = |text: &str| text.parse::<i64>().is_ok_and(|number| number.to_string() == text);
    let plain_float = |text: &str| {
        let digits = text.strip_prefix('-').unwrap_or(text);
        let leading_zero = digits.len() > 1 && digits.starts_with('0') && !digits.starts_with("0.");
        !leading_zero
            && digits.starts_with(|c: char| c.is_ascii_digit())
            && text.parse::<f64>().is_ok_and(f64::is_finite)
    };
    let target = match () {
        () if every(canonical_int) => DataType::Int64,
        () if every(plain_float) => DataType::Float64,
        () if every(|text| text == "true" || text == "false") => DataType::Boolean,
        () => return Arc::clone(column),
    };
    cast(column, &target).unwrap_or_else(|_| Arc::clone(column))
}

fn read_json(bytes: &[u8]) -> Result<RecordBatch, ArrowError> {
    let lines = match serde_json::from_slice::<Vec<serde_json::Value>>(bytes) {
        Ok(rows) => rows.iter().map(|row| format!("{row}\n")).collect::<String>().into_bytes(),
        Err(_) => bytes.to_vec(),
    };
    let mut reader = BufReader::new(std::io::Cursor::new(lines));
    let (schema, _) = arrow::json::reader::infer_json_schema(&mut reader, None)?;
    reader.rewind()?;
    let schema = Arc::new(schema);
    concat(&schema, arrow::json::ReaderBuilder::new(Arc::clone(&schema)).build(reader)?)
}

fn read_parquet(path: &Path) -> Result<RecordBatch, ArrowError> {
    let builder = ParquetRecordBatchReaderBuilder::try_new(File::open(path)?)?;
    let schema = Arc::clone(builder.schema());
    concat(&schema, builder.build()?)
}

fn concat(
    schema: &SchemaRef,
    batches: impl Iterator<Item = Result<RecordBatch, ArrowError>>,
) -> Result<RecordBatch, ArrowError> {
    concat_batches(schema, &batches.collect::<Result<Vec<_>, _>>()?)
}

/// Lower-case names, and plain text instead of views and dictionaries, as the contract has them.
fn plain_columns(batch: &RecordBatch) -> Result<RecordBatch, ArrowError> {
    let plain = |column: &ArrayRef| match column.data_type() {
        DataType::Utf8View | DataType::LargeUtf8 => cast(column, &DataType::Utf8),
        DataType::Dictionary(_, value) => cast(column, value),
        _ => Ok(Arc::clone(column)),
    };
    let columns = batch.columns().iter().map(plain).collect::<Result<Vec<_>, _>>()?;
    let names: Vec<String> =
        batch.schema().fields().iter().map(|field| field.name().to_lowercase()).collect();
    rebuilt(names.iter().map(String::as_str), columns)
}

fn rebuilt<'a>(
    names: impl Iterator<Item = &'a str>,
    columns: Vec<ArrayRef>,
) -> Result<RecordBatch, ArrowError> {
    let fields: Vec<Field> = names
        .zip(&columns)
        .map(|(name, column)| Field::new(name, column.data_type().clone(), true))
        .collect();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn csv(text: &str) -> RecordBatch {
        read_csv(text.as_bytes()).unwrap()
    }

    #[test]
    fn csv_codes_with_leading_zeros_stay_text_and_plain_numbers_do_not() {
        let batch = csv("MCC,risk,points,open\n0742,0.5,3,true\n5411,1,4,false\n");
        let types: Vec<String> =
            batch.schema().fields().iter().map(|f| format!("{} {}", f.name(), f.data_type())).collect();
        assert_eq!(types, ["mcc Utf8", "risk Float64", "points Int64", "open Boolean"]);
    }

    #[test]
    fn json_lists_are_read_as_lines_and_as_one_array() {
        let lines = read_json(b"{\"a\":1,\"b\":\"x\"}\n{\"a\":2,\"b\":\"y\"}\n").unwrap();
        let array = read_json(b"[{\"a\":1,\"b\":\"x\"},{\"a\":2,\"b\":\"y\"}]").unwrap();
        assert_eq!(lines, array);
    }
}
