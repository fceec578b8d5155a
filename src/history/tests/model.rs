//! What the tests compare with: rows as plain values, in the order in which they arrived.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{Array, AsArray, Decimal128Array, Int32Array, StringArray, TimestampMicrosecondArray};
use arrow::datatypes::{
    DataType, Decimal128Type, Field, Int32Type, Schema, TimeUnit, TimestampMicrosecondType,
};
use object_store::ObjectStore;
use object_store::path::Path;

use crate::decode::{DecodedBatch, Rows, StreamRows};
use crate::event::{Clock, Contract, ManualClock, Offset, Partition, Stream};
use crate::graph::Lasting;
use crate::history::{History, Identity, Plan, Wanted, Writer, WriterSettings};
use crate::source::{Partitions, SourcePartition};

pub(super) fn identity() -> Identity {
    Identity { cluster: "main".into(), job: "fraud".into() }
}

/// Two streams: `payments` on the topics `pay` (partitions 0 and 1), `logins` on `log` (partition 0).
pub(super) fn contract() -> Contract {
    let time = DataType::Timestamp(TimeUnit::Microsecond, None);
    let payments = Schema::new(vec![
        Field::new("tx_id", DataType::Utf8, false),
        Field::new("event_time", time.clone(), false),
        Field::new("amount", DataType::Decimal128(18, 2), true),
        Field::new("mcc", DataType::Int32, true),
    ]);
    let logins =
        Schema::new(vec![Field::new("event_time", time, false), Field::new("user", DataType::Utf8, true)]);
    let stream = |name: &str, schema, event_time, event_id: &[usize]| {
        Arc::new(Stream {
            name: name.into(),
            schema: Arc::new(schema),
            event_time,
            event_id: event_id.to_vec(),
        })
    };
    Contract { streams: vec![stream("payments", payments, 1, &[0]), stream("logins", logins, 0, &[])] }
}

pub(super) fn partitions() -> Partitions {
    let entry = |topic: &str, partition, stream| SourcePartition {
        partition: Partition { topic: topic.into(), partition },
        stream,
    };
    Arc::new(vec![entry("pay", 0, 0), entry("pay", 1, 0), entry("log", 0, 1)])
}

pub(super) fn all_used() -> Vec<Vec<bool>> {
    vec![vec![true; 4], vec![true; 2]]
}

/// One row, whatever its stream.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Row {
    pub(super) partition: u32,
    pub(super) offset: i64,
    pub(super) time: i64,
    pub(super) timestamp: Option<i64>,
    /// `tx_id` or `user`.
    pub(super) text: Option<String>,
    pub(super) amount: Option<i128>,
    pub(super) mcc: Option<i32>,
}

/// A row that follows from its place; every third value is null where it may be.
pub(super) fn row(partition: u32, offset: i64) -> Row {
    let payment = partition < 2;
    let null = |by: i64| offset % 3 == by;
    Row {
        partition,
        offset,
        time: offset * 1_000 - i64::from(partition) * 5,
        timestamp: (!null(1)).then_some(offset * 1_000 + 7),
        text: (payment || !null(0)).then(|| format!("row-{partition}-{offset}")),
        amount: (payment && !null(0)).then_some(i128::from(offset) * 101 - 50),
        mcc: (payment && !null(2)).then_some((offset % 7) as i32),
    }
}

/// Rows as the decoder hands them on.
pub(super) fn batch(rows: &[Row]) -> DecodedBatch {
    let of = |stream: bool| (0_u32..).zip(rows).filter(move |(_, row)| (row.partition < 2) == stream);
    let payments = StreamRows {
        rows: of(true).map(|(number, _)| number).collect(),
        columns: vec![
            Some(Arc::new(of(true).map(|(_, row)| row.text.clone()).collect::<StringArray>())),
            Some(Arc::new(TimestampMicrosecondArray::from_iter_values(of(true).map(|(_, row)| row.time)))),
            Some(Arc::new(
                of(true)
                    .map(|(_, row)| row.amount)
                    .collect::<Decimal128Array>()
                    .with_precision_and_scale(18, 2)
                    .unwrap(),
            )),
            Some(Arc::new(of(true).map(|(_, row)| row.mcc).collect::<Int32Array>())),
        ],
    };
    let logins = StreamRows {
        rows: of(false).map(|(number, _)| number).collect(),
        columns: vec![
            Some(Arc::new(TimestampMicrosecondArray::from_iter_values(of(false).map(|(_, row)| row.time)))),
            Some(Arc::new(of(false).map(|(_, row)| row.text.clone()).collect::<StringArray>())),
        ],
    };
    let rows = Rows {
        partitions: partitions(),
        event_time: rows.iter().map(|row| row.time).collect(),
        partition: rows.iter().map(|row| row.partition).collect(),
        offset: rows.iter().map(|row| row.offset).collect(),
        timestamp: rows.iter().map(|row| row.timestamp.unwrap_or(i64::MIN)).collect(),
        traceparents: Vec::new(),
        keys: Vec::new(),
    };
    DecodedBatch { rows, streams: vec![payments, logins], dead_letters: Vec::new() }
}

/// The rows of a loaded batch, all columns of which were asked for.
pub(super) fn rows_of(batch: &DecodedBatch) -> Vec<Row> {
    let mut rows: Vec<Row> = (0..batch.rows.event_time.len())
        .map(|row| Row {
            partition: batch.rows.partition[row],
            offset: batch.rows.offset[row],
            time: batch.rows.event_time[row],
            timestamp: Some(batch.rows.timestamp[row]).filter(|time| *time != i64::MIN),
            text: None,
            amount: None,
            mcc: None,
        })
        .collect();
    let payments = &batch.streams[0];
    let column = |stream: &StreamRows, index: usize| stream.columns[index].clone().unwrap();
    for (at, row) in payments.rows.iter().enumerate() {
        let row = &mut rows[*row as usize];
        let (texts, times) = (column(payments, 0), column(payments, 1));
        assert_eq!(times.as_primitive::<TimestampMicrosecondType>().value(at), row.time);
        row.text = Some(texts.as_string::<i32>().value(at).to_owned());
        let amounts = column(payments, 2);
        assert_eq!(amounts.data_type(), &DataType::Decimal128(18, 2));
        let amounts = amounts.as_primitive::<Decimal128Type>();
        row.amount = amounts.is_valid(at).then(|| amounts.value(at));
        let codes = column(payments, 3);
        let codes = codes.as_primitive::<Int32Type>();
        row.mcc = codes.is_valid(at).then(|| codes.value(at));
    }
    let logins = &batch.streams[1];
    for (at, row) in logins.rows.iter().enumerate() {
        let texts = column(logins, 1);
        let texts = texts.as_string::<i32>();
        rows[*row as usize].text = texts.is_valid(at).then(|| texts.value(at).to_owned());
    }
    rows
}

/// The offsets of each partition in rows, from the first to behind the last.
pub(super) fn spans(rows: &[Row]) -> Vec<(Partition, Range<Offset>)> {
    let table = partitions();
    let of = |index: u32| {
        let offsets = rows.iter().filter(|row| row.partition == index).map(|row| row.offset);
        let (first, last) = (offsets.clone().min()?, offsets.max()?);
        Some((table[index as usize].partition.clone(), Offset(first)..Offset(last + 1)))
    };
    (0..table.len() as u32).filter_map(of).collect()
}

pub(super) fn writer_settings(segment_rows: usize) -> WriterSettings {
    WriterSettings {
        segment_rows,
        flush_interval: Duration::from_secs(10),
        merge_segments: 1_000_000,
        rows_max: 100_000,
        bytes_max: 64 << 20,
    }
}

pub(super) fn clock() -> Arc<dyn Clock> {
    Arc::new(ManualClock::default())
}

pub(super) fn open(store: Arc<dyn ObjectStore>) -> History {
    History::on(store, Path::from("root"), &identity()).unwrap()
}

pub(super) fn writer(history: &History, settings: WriterSettings, next_arrival: i64) -> Writer {
    history.writer(&contract(), &[1, 1], settings, next_arrival, clock()).unwrap()
}

pub(super) const PATIENCE: Duration = Duration::from_secs(60);

/// Writes rows in batches of so many, each batch flushed as a segment a partition.
pub(super) fn write_in_segments(history: &History, rows: &[Row], of: usize) {
    let writer = writer(history, writer_settings(1 << 20), 0);
    for rows in rows.chunks(of) {
        writer.append(&batch(rows), &spans(rows));
        writer.flush(PATIENCE).unwrap();
    }
    writer.close(PATIENCE).unwrap();
}

pub(super) fn wanted(index: usize, until: i64, since: i64) -> Wanted {
    let entry = &partitions()[index];
    Wanted {
        partition: entry.partition.clone(),
        stream: entry.stream,
        generation: 1,
        until: Offset(until),
        since,
        lasting: Lasting::Nothing,
    }
}

pub(super) fn plan(history: &History, index: usize, until: i64, since: i64) -> Plan {
    history.plan(&contract(), &wanted(index, until, since)).unwrap()
}

pub(super) fn load(history: &History, plans: Vec<Plan>) -> Vec<Row> {
    let loader = history.load(plans, &contract(), &all_used(), partitions()).unwrap();
    loader.flat_map(|batch| rows_of(&batch.unwrap())).collect()
}

/// Rows of all three partitions as one process reads them: a few of one, then a few of another.
pub(super) fn interleaved(count: i64) -> Vec<Row> {
    let mut next = [0_i64; 3];
    (0..count)
        .map(|number| {
            let partition = ((number / 3) % 3) as usize;
            let offset = next[partition];
            // Every fifth offset has no row: a dead letter, a repeat, a control record.
            next[partition] += 1 + i64::from(offset % 5 == 3);
            row(partition as u32, offset)
        })
        .collect()
}
