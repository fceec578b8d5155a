//! Cost of a row in a window state: by number of rows, by length of the window, by number of keys.
//!
//! The workload: 100,000 keys by Zipf's law, windows of 10 minutes, 1 hour and 24 hours, each with count,
//! sum, avg and a distinct count over text. `TOLLGATE_BENCH_ROWS` sets the number of rows.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{ArrayRef, Float64Array, StringArray};
use arrow::datatypes::DataType;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, Zipf};
use tollgate::window::*;

const BATCH_ROWS: usize = 8192;
const MINUTE: i64 = 60_000_000;

struct Batch {
    times: Vec<i64>,
    keys: Vec<ArrayRef>,
    arguments: Vec<ArrayRef>,
}

/// Rows spread evenly over 48 hours, so that the longest window is full half of the time.
fn batches(rows: usize, keys: usize) -> Vec<Batch> {
    let mut rng = ChaCha8Rng::seed_from_u64(7);
    let cards = Zipf::new(keys as f64, 1.1).expect("a valid law");
    let merchants = Zipf::new(5000.0, 1.0).expect("a valid law");
    let step = 48 * 60 * MINUTE / rows as i64;
    let batch = |start: usize| {
        let range = start..rows.min(start + BATCH_ROWS);
        let text = |name: &str, law: &Zipf<f64>, rng: &mut ChaCha8Rng| -> ArrayRef {
            let values = range.clone().map(|_| Some(format!("{name}-{:07}", law.sample(rng) as u64)));
            Arc::new(values.collect::<StringArray>())
        };
        let card = text("card", &cards, &mut rng);
        let merchant = text("merchant", &merchants, &mut rng);
        let amounts: Float64Array =
            range.clone().map(|_| Some(f64::from(rng.random_range(1..100_000)) * 0.01)).collect();
        Batch {
            times: range.map(|row| row as i64 * step).collect(),
            keys: vec![card],
            arguments: vec![Arc::new(amounts), merchant],
        }
    };
    (0..rows).step_by(BATCH_ROWS).map(batch).collect()
}

fn spec(minutes: &[i64]) -> WindowSpec {
    let mut aggregates = Vec::new();
    for minutes in minutes {
        let frame = Frame::Range { start: Some(minutes * MINUTE), end: 0 };
        let functions = [
            (Function::Count, vec![], DataType::Int64),
            (Function::Sum, vec![0], DataType::Float64),
            (Function::CountDistinct, vec![1], DataType::Int64),
            (Function::Avg, vec![0], DataType::Float64),
        ];
        for (function, arguments, output) in functions {
            aggregates.push(Aggregate { function, arguments, filter: None, frame, output });
        }
    }
    WindowSpec {
        keys: vec![DataType::Utf8],
        arguments: vec![DataType::Float64, DataType::Utf8],
        filters: 0,
        aggregates,
    }
}

fn run(spec: &WindowSpec, batches: &[Batch]) -> Usage {
    let mut state = WindowState::new(spec.clone(), WindowSettings::default()).expect("a good spec");
    for batch in batches {
        let input = WindowInput {
            times: &batch.times,
            watermarks: &batch.times,
            keys: &batch.keys,
            arguments: &batch.arguments,
            filters: &[],
            ties: Ties::ByArrival,
        };
        black_box(state.process(&input).expect("a good batch"));
    }
    state.usage()
}

fn rows() -> usize {
    std::env::var("TOLLGATE_BENCH_ROWS").ok().and_then(|rows| rows.parse().ok()).unwrap_or(2_000_000)
}

fn windows(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("window");
    group.sample_size(10).warm_up_time(Duration::from_millis(1)).measurement_time(Duration::from_secs(10));
    let rows = rows();
    group.throughput(Throughput::Elements(rows as u64));
    for keys in [10_000, 100_000, 1_000_000] {
        let batches = batches(rows, keys);
        let three = spec(&[10, 60, 24 * 60]);
        let usage = run(&three, &batches);
        println!("{keys} keys: {usage:?}, {:.1} bytes an event", usage.bytes as f64 / usage.events as f64);
        group.bench_function(BenchmarkId::new("10m_1h_24h_by_keys", keys), |bench| {
            bench.iter(|| run(&three, &batches));
        });
    }
    let batches = batches(rows, 100_000);
    for (name, minutes) in
        [("1m", 1), ("1h", 60), ("24h", 24 * 60), ("7d", 7 * 24 * 60), ("30d", 30 * 24 * 60)]
    {
        let one = spec(&[minutes]);
        group.bench_function(BenchmarkId::new("one_window_by_length", name), |bench| {
            bench.iter(|| run(&one, &batches));
        });
    }
    group.finish();
}

criterion_group!(benches, windows);
criterion_main!(benches);
