//! Records a second through the JSON decoder: 300-byte payments of 15 fields, 7 of them used.
//!
//! One thread; a batch is 8192 records, as under load, or 1, as when idle.

use std::hint::black_box;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use tollgate::decode::{DecodeLimits, Decoder, Decoders, StreamBinding};
use tollgate::event::{EventTime, Partition, Stream};
use tollgate::source::{Fetched, RawBatch, RawRecord, SourcePartition};

const FIRST_TIME_MICROS: i64 = 1_767_225_600_000_000;

fn payments() -> Arc<Stream> {
    let time = DataType::Timestamp(TimeUnit::Microsecond, None);
    let money = DataType::Decimal128(18, 2);
    let used =
        [("tx_id", DataType::Utf8), ("event_time", time), ("card_id", DataType::Utf8), ("amount", money)];
    let mut fields: Vec<Field> =
        used.into_iter().map(|(name, data_type)| Field::new(name, data_type, false)).collect();
    for name in ["merchant_id", "country", "device_id"] {
        fields.push(Field::new(name, DataType::Utf8, true));
    }
    Arc::new(Stream {
        name: "transactions".into(),
        schema: Arc::new(Schema::new(fields)),
        event_time: 1,
        event_id: vec![0],
    })
}

fn batch(records: usize) -> RawBatch {
    let partition = Partition { topic: "payments".into(), partition: 0 };
    let partitions = Arc::new(vec![SourcePartition { partition, stream: 0 }]);
    let mut batch = RawBatch { partitions, ..RawBatch::default() };
    for index in 0..records {
        let start = batch.bytes.len();
        let time = EventTime(FIRST_TIME_MICROS + index as i64 * 1_000);
        let json = format!(
            r#"{{"tx_id":"tx-{index:08}","event_time":"{time}","card_id":"card-{:06}","amount":{}.{:02},"currency":"EUR","merchant_id":"m-{:05}","mcc":5411,"country":"DE","channel":"ecom","device_id":"d-{:06}","ip":"10.0.{}.{}","approved":true,"retries":0,"session":"s-{index:06}","tags":["web","new"]}}"#,
            index * 7919 % 50_000,
            index % 500,
            index % 100,
            index % 4_000,
            index % 90_000,
            index % 250,
            index % 199,
        );
        batch.bytes.extend_from_slice(json.as_bytes());
        let payload = Some(start..batch.bytes.len());
        let timestamp = Some(FIRST_TIME_MICROS + index as i64 * 1_000);
        batch.records.push(RawRecord { offset: index as i64, payload, timestamp, ..RawRecord::default() });
    }
    batch
}

fn decode(criterion: &mut Criterion) {
    let stream = payments();
    let used = vec![true; stream.schema.fields().len()];
    let decoder = Decoder::new(stream, &StreamBinding::default(), &used, DecodeLimits::default());
    let mut decoders = Decoders::new(vec![decoder.expect("the binding is the default one")]);
    let mut group = criterion.benchmark_group("decode");
    for records in [1, 8192] {
        let raw = batch(records);
        println!("{} bytes a record", raw.bytes.len() / records);
        let dead_letters = decoders.decode(Fetched::Records(raw.clone())).dead_letters;
        assert!(dead_letters.is_empty(), "{dead_letters:?}");
        group.throughput(Throughput::Elements(records as u64));
        group.bench_function(format!("json_batch_of_{records}"), |bencher| {
            bencher.iter_batched(
                || Fetched::Records(raw.clone()),
                |fetched| black_box(decoders.decode(fetched)),
                BatchSize::LargeInput,
            );
        });
    }
    group.finish();
}

criterion_group!(benches, decode);
criterion_main!(benches);
