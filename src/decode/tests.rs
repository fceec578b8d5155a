//! Sentences about decoding, and the few records and streams that they share.

mod columns;
mod random;
mod records;
mod values;

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
};
use arrow::array::{Decimal128Array, DictionaryArray, Float64Array, Int32Array, TimestampNanosecondArray};
use arrow::compute::cast;
use arrow::datatypes::{
    DataType, Decimal128Type, Field, Int64Type, Schema, TimeUnit, TimestampMicrosecondType,
};
use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::*;
use crate::event::{Contract, Partition, Span, Stream};
use crate::source::{ColumnBatch, FAULT_COLUMN, Fetched, RawBatch, RawRecord, SourcePartition};

const TIME: &str = "2025-11-22T10:15:02.123Z";
const TIME_MICROS: i64 = 1_763_806_502_123_000;

fn timestamp() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, None)
}

/// A stream of `tx_id` (key), `event_time` and the given columns.
fn stream_of(name: &str, columns: &[(&str, DataType, bool)]) -> Arc<Stream> {
    let mut fields =
        vec![Field::new("tx_id", DataType::Utf8, false), Field::new("event_time", timestamp(), false)];
    fields.extend(
        columns.iter().map(|(name, data_type, nullable)| Field::new(*name, data_type.clone(), *nullable)),
    );
    Arc::new(Stream {
        name: name.into(),
        schema: Arc::new(Schema::new(fields)),
        event_time: 1,
        event_id: vec![0],
    })
}

fn decoder(stream: &Arc<Stream>, fields: &str) -> Decoder {
    let binding: StreamBinding = toml::from_str(fields).unwrap();
    let used = vec![true; stream.schema.fields().len()];
    Decoder::new(stream.clone(), &binding, &used, DecodeLimits::default()).unwrap()
}

fn partitions(streams: &[usize]) -> Arc<Vec<SourcePartition>> {
    let partition = |&stream: &usize| SourcePartition {
        partition: Partition { topic: Arc::from(format!("topic-{stream}")), partition: 0 },
        stream,
    };
    Arc::new(streams.iter().map(partition).collect())
}

/// Records of partition 0, offsets from 0.
fn batch_of(payloads: &[&[u8]]) -> RawBatch {
    let mut batch = RawBatch { partitions: partitions(&[0]), ..RawBatch::default() };
    for payload in payloads {
        push(&mut batch, 0, payload);
    }
    batch
}

fn push(batch: &mut RawBatch, partition: u32, payload: &[u8]) {
    let start = batch.bytes.len();
    batch.bytes.extend_from_slice(payload);
    let offset = batch.records.len() as i64;
    let payload = Some(start..batch.bytes.len());
    batch.records.push(RawRecord { partition, offset, payload, ..RawRecord::default() });
}

fn decode(decoder: Decoder, payloads: &[&[u8]]) -> DecodedBatch {
    Decoders::new(vec![decoder]).decode(Fetched::Records(batch_of(payloads)))
}

/// A record with the usual key and time and the given further fields.
fn record(fields: &str) -> Vec<u8> {
    format!("{{\"tx_id\":\"a\",\"event_time\":\"{TIME}\",{fields}}}").into_bytes()
}

/// Decodes one column `x` of that type from that JSON value: the array of one row, or kind and reason.
fn decode_value(data_type: DataType, fields: &str, json: &str) -> Result<ArrayRef, (&'static str, String)> {
    let stream = stream_of("s", &[("x", data_type, true)]);
    let decoded = decode(decoder(&stream, fields), &[&record(&format!("\"x\":{json}"))]);
    assert_eq!(decoded.rows.event_time.len() + decoded.dead_letters.len(), 1);
    match decoded.dead_letters.first() {
        Some(letter) => Err((letter.kind, letter.reason.clone())),
        None => Ok(decoded.streams[0].columns[2].clone().unwrap()),
    }
}

fn kind_of(data_type: DataType, json: &str) -> &'static str {
    match decode_value(data_type, "", json) {
        Ok(array) if array.is_null(0) => "null",
        Ok(_) => "row",
        Err((kind, _)) => kind,
    }
}

/// The only dead letter of the batch.
fn letter_of(decoded: &DecodedBatch) -> &DeadLetter {
    assert_eq!(decoded.dead_letters.len(), 1, "{:?}", decoded.dead_letters);
    &decoded.dead_letters[0]
}
