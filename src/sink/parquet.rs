//! Alerts as Parquet: files of up to [`ROWS_MAX`] rows, each in the folder only once it is complete.
//!
//! Takes alert messages, hands on files `alerts-000001.parquet` and up, numbered on from what the folder
//! holds. Keeps the rows of one file's worth. A Parquet file can't be read before its footer is written,
//! so a part is written beside its name and renamed when it is whole and synced.

use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, Int32Array, Int64Array, StringArray, TimestampMicrosecondArray};
use arrow::datatypes::{Field, Schema};
use arrow::record_batch::RecordBatch;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;
use serde_json::Value;

use super::file::failed;
use super::{OutMessage, SinkError};

/// Rows of one file: enough for Parquet to pay, few enough to hold in memory and to answer again.
pub(super) const ROWS_MAX: usize = 100_000;

/// The part being collected.
#[derive(Debug)]
pub(super) struct AlertParts {
    folder: PathBuf,
    next: u32,
    rows: Vec<AlertRow>,
    first_step: Option<u64>,
}

#[derive(Debug)]
struct AlertRow {
    alert: Value,
    topic: String,
    partition: i32,
    offset: i64,
}

impl AlertParts {
    /// Finds the next free number.
    pub(super) fn new(folder: PathBuf) -> Result<Self, SinkError> {
        let number = |name: &str| name.strip_prefix("alerts-")?.strip_suffix(".parquet")?.parse::<u32>().ok();
        let entries = std::fs::read_dir(&folder).map_err(|error| failed(&folder, &error))?;
        let last =
            entries.filter_map(|entry| number(entry.ok()?.file_name().to_str()?)).max().unwrap_or_default();
        Ok(Self { folder, next: last + 1, rows: Vec::new(), first_step: None })
    }

    /// The first step with a row that is not yet in a complete file.
    pub(super) fn first_step_held(&self) -> Option<u64> {
        self.first_step
    }

    /// Adds an alert; completes the file when it is full.
    pub(super) fn push(&mut self, message: &OutMessage, step: u64) -> Result<(), SinkError> {
        if self.rows.len() >= ROWS_MAX {
            self.complete()?;
        }
        let alert = message.value.as_deref().and_then(|value| serde_json::from_slice(value).ok());
        self.rows.push(AlertRow {
            alert: alert.unwrap_or(Value::Null),
            topic: message.coordinates.partition.topic.to_string(),
            partition: message.coordinates.partition.partition,
            offset: message.coordinates.offset.0,
        });
        self.first_step.get_or_insert(step);
        Ok(())
    }

    /// Writes the rows held to a file of their own.
    pub(super) fn complete(&mut self) -> Result<(), SinkError> {
        if self.rows.is_empty() {
            return Ok(());
        }
        let path = self.folder.join(format!("alerts-{:06}.parquet", self.next));
        let unfinished = path.with_extension("parquet.unfinished");
        let write = || -> Result<(), Box<dyn std::error::Error>> {
            let batch = columns(&self.rows)?;
            let properties =
                WriterProperties::builder().set_compression(Compression::ZSTD(ZstdLevel::default())).build();
            let mut writer =
                ArrowWriter::try_new(File::create(&unfinished)?, batch.schema(), Some(properties))?;
            writer.write(&batch)?;
            writer.into_inner()?.sync_all()?;
            std::fs::rename(&unfinished, &path)?;
            Ok(File::open(&self.folder)?.sync_all()?)
        };
        write().map_err(|error| failed(&path, &error))?;
        self.next += 1;
        self.rows.clear();
        self.first_step = None;
        Ok(())
    }
}

/// Text columns and where each stands in an alert.
const TEXTS: [(&str, &str); 9] = [
    ("alert_id", "/alert_id"),
    ("event_id", "/event_id"),
    ("entity_type", "/entity/type"),
    ("entity_id", "/entity/id"),
    ("rule_id", "/rule/id"),
    ("rule_version", "/rule/version"),
    ("severity", "/rule/severity"),
    ("action", "/action"),
    ("reason", "/reason"),
];

fn columns(rows: &[AlertRow]) -> Result<RecordBatch, arrow::error::ArrowError> {
    let mut columns: Vec<(&str, ArrayRef)> = Vec::new();
    for (name, pointer) in TEXTS {
        let texts = rows.iter().map(|row| row.alert.pointer(pointer).and_then(Value::as_str));
        columns.push((name, Arc::new(texts.collect::<StringArray>())));
    }
    let times = rows.iter().map(|row| row.alert.get("event_time").and_then(Value::as_str).and_then(micros));
    columns.insert(
        4,
        ("event_time", Arc::new(times.collect::<TimestampMicrosecondArray>().with_timezone("UTC"))),
    );
    let scores = rows.iter().map(|row| row.alert.get("score").and_then(Value::as_f64));
    columns.push(("score", Arc::new(scores.collect::<Float64Array>())));
    let values = rows.iter().map(|row| row.alert.get("values").map(Value::to_string));
    columns.push(("values", Arc::new(values.collect::<StringArray>())));
    columns.push(("topic", Arc::new(StringArray::from_iter_values(rows.iter().map(|row| &row.topic)))));
    columns.push(("partition", Arc::new(Int32Array::from_iter_values(rows.iter().map(|row| row.partition)))));
    columns.push(("offset", Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.offset)))));
    let fields: Vec<Field> =
        columns.iter().map(|(name, column)| Field::new(*name, column.data_type().clone(), true)).collect();
    RecordBatch::try_new(
        Arc::new(Schema::new(fields)),
        columns.into_iter().map(|(_, column)| column).collect(),
    )
}

fn micros(text: &str) -> Option<i64> {
    chrono::DateTime::parse_from_rfc3339(text).ok().map(|time| time.timestamp_micros())
}
