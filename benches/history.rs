//! What the history costs: CPU and bytes for an event written, and rows a second when it is loaded.
//!
//! Payments of 8 columns in the folder of the operating system for temporary files: one partition, and four
//! of which a few rows follow each other. Prints the least of five runs; the CPU time is the whole process's.

use std::sync::Arc;
use std::time::Duration;

use arrow::array::{ArrayRef, Decimal128Array, Int32Array, StringArray, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use tollgate::decode::{DecodedBatch, Rows, StreamRows};
use tollgate::event::{Clock, Contract, Offset, Partition, Stream, SystemClock};
use tollgate::graph::Lasting;
use tollgate::history::{History, Identity, Wanted, WriterSettings};
use tollgate::source::{Partitions, SourcePartition};

const ROWS: usize = 2_000_000;
const BATCH: usize = 8192;
const RUNS: usize = 5;
const FIRST_TIME: i64 = 1_767_225_600_000_000;

fn contract() -> Contract {
    let mut fields = vec![
        Field::new("tx_id", DataType::Utf8, false),
        Field::new("event_time", DataType::Timestamp(TimeUnit::Microsecond, None), false),
        Field::new("amount", DataType::Decimal128(18, 2), false),
        Field::new("mcc", DataType::Int32, true),
    ];
    for name in ["card_id", "merchant_id", "country", "device_id"] {
        fields.push(Field::new(name, DataType::Utf8, true));
    }
    let schema = Arc::new(Schema::new(fields));
    Contract {
        streams: vec![Arc::new(Stream { name: "payments".into(), schema, event_time: 1, event_id: vec![0] })],
    }
}

fn batch(first: usize, partitions: &Partitions) -> DecodedBatch {
    let rows = || first..(first + BATCH).min(ROWS);
    let spread = |row: usize, by: usize, among: usize| row.wrapping_mul(by) % among;
    let text = |write: &dyn Fn(usize) -> String| -> ArrayRef {
        Arc::new(StringArray::from_iter_values(rows().map(write)))
    };
    let times = rows().map(|row| FIRST_TIME + row as i64 * 100);
    let amounts = Decimal128Array::from_iter_values(rows().map(|row| spread(row, 7919, 50_000) as i128));
    let columns: Vec<ArrayRef> = vec![
        text(&|row| format!("tx-{row:010}")),
        Arc::new(TimestampMicrosecondArray::from_iter_values(times.clone())),
        Arc::new(amounts.with_precision_and_scale(18, 2).expect("amounts fit")),
        Arc::new(Int32Array::from_iter_values(rows().map(|row| spread(row, 31, 400) as i32 + 5000))),
        text(&|row| format!("card-{:06}", spread(row, 7919, 50_000))),
        text(&|row| format!("m-{:05}", spread(row, 104_729, 4_000))),
        text(&|row| ["DE", "FR", "NL", "PL", "ES"][spread(row, 13, 5)].to_owned()),
        text(&|row| format!("d-{:06}", spread(row, 15_485_863, 90_000))),
    ];
    let count = partitions.len();
    // Twenty rows of a partition follow each other.
    let place = |row: usize| (row / 20 % count, row / (20 * count) * 20 + row % 20);
    DecodedBatch {
        rows: Rows {
            partitions: partitions.clone(),
            event_time: times.clone().collect(),
            partition: rows().map(|row| place(row).0 as u32).collect(),
            offset: rows().map(|row| place(row).1 as i64).collect(),
            timestamp: times.map(|time| time + 1_500).collect(),
            traceparents: Vec::new(),
            keys: Vec::new(),
        },
        streams: vec![StreamRows {
            rows: (0..rows().len() as u32).collect(),
            columns: columns.into_iter().map(Some).collect(),
        }],
        dead_letters: Vec::new(),
    }
}

/// CPU time of this process so far, where the system tells it: in steps of 10 ms.
fn cpu() -> Duration {
    let text = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<&str> = text.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |index: usize| fields.get(index).and_then(|field| field.parse::<u64>().ok()).unwrap_or(0);
    Duration::from_millis((ticks(11) + ticks(12)) * 10)
}

fn measure(count: i32, clock: &Arc<SystemClock>) {
    let folder = tempfile::tempdir().expect("a folder for temporary files");
    let partition = |partition| Partition { topic: "payments".into(), partition };
    let partitions: Partitions = Arc::new(
        (0..count).map(|number| SourcePartition { partition: partition(number), stream: 0 }).collect(),
    );
    let contract = contract();
    let batches: Vec<DecodedBatch> =
        (0..ROWS).step_by(BATCH).map(|first| batch(first, &partitions)).collect();
    let identity = Identity { cluster: "bench".into(), job: "bench".into() };
    let store = Arc::new(LocalFileSystem::new_with_prefix(folder.path()).expect("the folder is there"));
    let (mut write_cpu, mut write_wall, mut bytes) = (Duration::MAX, Duration::MAX, 0);
    let mut history = None;
    for run in 0..RUNS {
        let opened = History::on(store.clone(), Path::from(format!("run-{run}")), &identity).expect("opens");
        let settings = WriterSettings {
            segment_rows: 131_072,
            flush_interval: Duration::from_secs(3_600),
            merge_segments: 16,
            rows_max: 4_000_000,
            bytes_max: 256 << 20,
        };
        let writer = opened.writer(&contract, &[1], settings, 0, clock.clone()).expect("starts");
        let (wall, used) = (clock.elapsed(), cpu());
        let mut next = vec![0; partitions.len()];
        for batch in &batches {
            let mut ends = next.clone();
            for (partition, offset) in batch.rows.partition.iter().zip(&batch.rows.offset) {
                ends[*partition as usize] = offset + 1;
            }
            let read = partitions.iter().zip(next.iter().zip(&ends));
            let read = read.map(|(known, (from, to))| (known.partition.clone(), Offset(*from)..Offset(*to)));
            writer.append(batch, &read.collect::<Vec<_>>());
            next = ends;
        }
        writer.flush(Duration::from_secs(600)).expect("written");
        write_wall = write_wall.min(clock.elapsed() - wall);
        write_cpu = write_cpu.min(cpu() - used);
        let status = writer.status();
        assert_eq!(status.rows, ROWS as u64, "{status:?}");
        bytes = status.bytes;
        writer.close(Duration::from_secs(60)).expect("closes");
        history = Some(opened);
    }
    drop(batches);
    let history = history.expect("there was a run");
    let (mut plan_wall, mut load_wall, mut load_cpu) = (Duration::MAX, Duration::MAX, Duration::MAX);
    for _ in 0..RUNS {
        let start = clock.elapsed();
        let wanted = |number| Wanted {
            partition: partition(number),
            stream: 0,
            generation: 1,
            until: Offset(i64::MAX),
            since: i64::MIN,
            lasting: Lasting::Nothing,
        };
        let plans = (0..count).map(|number| history.plan(&contract, &wanted(number)).expect("plans"));
        let plans: Vec<_> = plans.collect();
        plan_wall = plan_wall.min(clock.elapsed() - start);
        let (wall, used) = (clock.elapsed(), cpu());
        let loader = history.load(plans, &contract, &[vec![true; 8]], partitions.clone()).expect("starts");
        let rows: usize = loader.map(|batch| batch.expect("loads").rows.offset.len()).sum();
        assert_eq!(rows, ROWS);
        load_wall = load_wall.min(clock.elapsed() - wall);
        load_cpu = load_cpu.min(cpu() - used);
    }
    let of_event = |time: Duration| time.as_nanos() as f64 / ROWS as f64;
    println!(
        "{count} partitions: {:.1} bytes an event, {:.0} ns of CPU to write one ({:.0} ns wall); \
         plan {:.0} ns an event; load {:.2} million rows/s ({:.0} ns of CPU an event)",
        bytes as f64 / ROWS as f64,
        of_event(write_cpu),
        of_event(write_wall),
        of_event(plan_wall),
        1_000.0 / of_event(load_wall),
        of_event(load_cpu),
    );
}

fn main() {
    let clock = Arc::new(SystemClock::start());
    for partitions in [1, 4] {
        measure(partitions, &clock);
    }
}
