//! One segment: rows of one partition as Parquet bytes, and the proof that bytes are what their name says.
//!
//! The footer repeats what the name says, so that a renamed or misplaced file is found out. The checksum is
//! compared before a single byte is parsed: what fails it never reaches the Parquet reader.

use std::ops::Range;

use arrow::array::{AsArray, PrimitiveArray};
use arrow::compute::{max, min};
use arrow::datatypes::{Int64Type, SchemaRef, TimestampMicrosecondType};
use arrow::record_batch::RecordBatch;
use bytes::Bytes;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions};
use parquet::basic::{Compression, Encoding};
use parquet::file::metadata::KeyValue;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::schema::types::ColumnPath;
use serde::{Deserialize, Serialize};

use super::Identity;
use super::contract::{ARRIVAL_COLUMN, OFFSET_COLUMN, TIMESTAMP_COLUMN, contract_id, hexadecimal};
use super::name::{Place, SegmentName};
use crate::event::{Offset, Stream};
use crate::graph::LastRows;

/// Raised when older programs could misread newer segments.
pub(super) const FORMAT: u32 = 1;
/// Hash bytes in a name: enough that two contents never share one by accident.
const CHECKSUM_BYTES: usize = 16;
/// Keys of the footer begin with this.
const PREFIX: &str = "tollgate.";
/// What the rows of a carry-over are held for, as JSON.
const CARRIED: &str = "carried";

/// A segment before it is written.
#[derive(Debug, Clone)]
pub(super) struct Encoded {
    pub(super) name: SegmentName,
    pub(super) bytes: Bytes,
}

/// What goes into a segment besides its rows.
#[derive(Debug, Clone)]
pub(super) struct Covered {
    pub(super) offsets: Range<Offset>,
    pub(super) floor: i64,
    /// Of a carry-over, what its rows are held for.
    pub(super) carried: Option<Vec<CarriedFor>>,
}

/// A window without a bound in time whose rows a carry-over holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct CarriedFor {
    /// Which rows.
    #[serde(flatten)]
    pub(super) last: LastRows,
    /// Event time, microseconds, before which some may be missing, for nothing had asked for them then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) since: Option<i64>,
}

impl CarriedFor {
    /// Whether all rows are held that a window needs, but for those before `since`.
    pub(super) fn serves(&self, need: &LastRows) -> bool {
        self.last.of == need.of && self.last.rows >= need.rows
    }
}

/// Writes rows of one partition, ascending by offset, as a segment.
pub(super) fn encode(
    identity: &Identity,
    place: &Place,
    stream: &Stream,
    covered: &Covered,
    (schema, batches): (&SchemaRef, &[RecordBatch]),
) -> Result<Encoded, String> {
    let times = batches.iter().filter_map(|batch| event_times(batch, stream.event_time));
    let times = times.reduce(|all, one| (all.0.min(one.0), all.1.max(one.1)));
    let mut name = SegmentName {
        from: covered.offsets.start,
        to: covered.offsets.end,
        rows: batches.iter().map(|batch| batch.num_rows() as u64).sum(),
        times,
        floor: covered.floor,
        checksum: String::new(),
        carried: covered.carried.is_some(),
    };
    let arrival = batches.iter().filter_map(|batch| max(int64(batch, ARRIVAL_COLUMN)?)).max().unwrap_or(-1);
    let mut footer = footer(identity, place, &name);
    footer.push((format!("{PREFIX}contract"), contract_id(stream)));
    footer.push((format!("{PREFIX}event_time"), stream.schema.field(stream.event_time).name().clone()));
    footer.push((format!("{PREFIX}arrival_latest"), arrival.to_string()));
    if let Some(carried) = &covered.carried {
        let text = serde_json::to_string(carried).map_err(|error| error.to_string())?;
        footer.push((format!("{PREFIX}{CARRIED}"), text));
    }
    let bytes = parquet(schema, batches, footer, stream).map_err(|error| error.to_string())?;
    name.checksum = checksum(&bytes);
    Ok(Encoded { name, bytes })
}

fn parquet(
    schema: &SchemaRef,
    batches: &[RecordBatch],
    footer: Vec<(String, String)>,
    stream: &Stream,
) -> parquet::errors::Result<Bytes> {
    let mut properties = WriterProperties::builder()
        .set_compression(Compression::LZ4_RAW)
        .set_statistics_enabled(EnabledStatistics::None)
        .set_max_row_group_row_count(None)
        .set_created_by(concat!("tollgate ", env!("CARGO_PKG_VERSION")).to_owned())
        .set_key_value_metadata(Some(
            footer.into_iter().map(|(key, value)| KeyValue::new(key, value)).collect(),
        ));
    let event_time = stream.schema.field(stream.event_time).name().as_str();
    // Numbers that go up: their differences are small, and a dictionary of them is as long as they are.
    for column in [event_time, OFFSET_COLUMN, TIMESTAMP_COLUMN, ARRIVAL_COLUMN] {
        let path = ColumnPath::from(column);
        properties = properties
            .set_column_dictionary_enabled(path.clone(), false)
            .set_column_statistics_enabled(path.clone(), EnabledStatistics::Chunk)
            .set_column_encoding(path, Encoding::DELTA_BINARY_PACKED);
    }
    // An id stands once, so a dictionary of ids is only work.
    for column in stream.event_id.iter().filter(|column| **column != stream.event_time) {
        let path = ColumnPath::from(stream.schema.field(*column).name().as_str());
        properties = properties.set_column_dictionary_enabled(path, false);
    }
    let mut writer = ArrowWriter::try_new(Vec::new(), schema.clone(), Some(properties.build()))?;
    for batch in batches {
        writer.write(batch)?;
    }
    Ok(Bytes::from(writer.into_inner()?))
}

/// What the footer says of a segment that is where and what it claims to be.
fn footer(identity: &Identity, place: &Place, name: &SegmentName) -> Vec<(String, String)> {
    let times = name.times.map_or_else(|| "none".to_owned(), |(first, last)| format!("{first} {last}"));
    [
        ("format", FORMAT.to_string()),
        ("cluster", identity.cluster.clone()),
        ("topic", place.partition.topic.to_string()),
        ("generation", place.generation.to_string()),
        ("partition", place.partition.partition.to_string()),
        ("from", name.from.0.to_string()),
        ("to", name.to.0.to_string()),
        ("rows", name.rows.to_string()),
        ("times", times),
        ("floor", name.floor.to_string()),
    ]
    .map(|(key, value)| (format!("{PREFIX}{key}"), value))
    .to_vec()
}

/// A segment whose bytes are what its name says.
#[derive(Debug, Clone)]
pub(super) struct Checked {
    pub(super) metadata: ArrowReaderMetadata,
    /// Of the contract it was written under.
    pub(super) contract: String,
    /// Name of its event-time column.
    pub(super) event_time: String,
    /// The latest `_arrival` in it; -1 without rows.
    pub(super) arrival_latest: i64,
    /// What its rows are held for; nothing where it holds all.
    pub(super) carried: Vec<CarriedFor>,
}

/// Proves that bytes are the segment of that name and place, or says why they are not.
pub(super) fn check(
    bytes: &Bytes,
    identity: &Identity,
    place: &Place,
    name: &SegmentName,
) -> Result<Checked, String> {
    let found = checksum(bytes);
    if found != name.checksum {
        return Err(format!("its bytes have the checksum {found}"));
    }
    let metadata = ArrowReaderMetadata::load(bytes, ArrowReaderOptions::new())
        .map_err(|error| format!("it is no Parquet file: {error}"))?;
    let file = metadata.metadata().file_metadata();
    let pairs = file.key_value_metadata().map(Vec::as_slice).unwrap_or_default();
    let value = |key: &str| {
        let found = pairs.iter().find(|pair| pair.key == key).and_then(|pair| pair.value.clone());
        found.ok_or_else(|| format!("its footer has no `{key}`"))
    };
    for (key, wanted) in footer(identity, place, name) {
        let found = value(&key)?;
        if found != wanted {
            return Err(format!("its footer says `{key}` is `{found}`, and `{wanted}` was expected"));
        }
    }
    if u64::try_from(file.num_rows()).ok() != Some(name.rows) {
        return Err(format!("it has {} rows, and its name says {}", file.num_rows(), name.rows));
    }
    let arrival = value(&format!("{PREFIX}arrival_latest"))?;
    let contract = value(&format!("{PREFIX}contract"))?;
    let event_time = value(&format!("{PREFIX}event_time"))?;
    let arrival_latest =
        arrival.parse().map_err(|_| "its footer has no whole `arrival_latest`".to_owned())?;
    let carried = match name.carried {
        true => serde_json::from_str(&value(&format!("{PREFIX}{CARRIED}"))?)
            .map_err(|error| format!("its footer does not say what it was carried over for: {error}"))?,
        false => Vec::new(),
    };
    Ok(Checked { metadata, contract, event_time, arrival_latest, carried })
}

/// BLAKE3, for every byte is hashed twice at a start: where the processor has no instructions for SHA-256, that took a
/// seventh of it.
fn checksum(bytes: &[u8]) -> String {
    hexadecimal(blake3::hash(bytes).as_bytes(), CHECKSUM_BYTES)
}

/// Earliest and latest event time of a batch with rows.
pub(super) fn event_times(batch: &RecordBatch, column: usize) -> Option<(i64, i64)> {
    let times: &PrimitiveArray<TimestampMicrosecondType> = batch.columns().get(column)?.as_primitive_opt()?;
    min(times).zip(max(times))
}

/// A column of whole numbers by name.
pub(super) fn int64<'a>(batch: &'a RecordBatch, name: &str) -> Option<&'a PrimitiveArray<Int64Type>> {
    batch.column_by_name(name)?.as_primitive_opt()
}
