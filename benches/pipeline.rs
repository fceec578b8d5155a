//! Cost of an event from its bytes to its alerts: by events of a batch, by threads, with and without a history.
//!
//! What a job does between its source and its sink: decode, answer, make alerts; with a history also what is handed to
//! its writer, which works on a thread of its own.

mod workload;

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use tollgate::event::{Offset, SystemClock};
use tollgate::history::{History, Identity, Writer, WriterSettings};
use tollgate::pipeline::Parts;
use tollgate::rules::RuleSet;
use tollgate::source::{Fetched, RawBatch};
use workload::{parts, payments, velocity};

const EVENTS: usize = 100_000;

fn run(mut parts: Parts, batches: Vec<RawBatch>, writer: Option<&Writer>) {
    let mut next = 0;
    for batch in batches {
        let first = next;
        next += batch.records.len() as i64;
        let partition = batch.partitions[0].partition.clone();
        let decoded = parts.core.decode(Fetched::Records(batch)).expect("rows that fit");
        if let Some(writer) = writer {
            writer.append(&decoded, &[(partition, Offset(first)..Offset(next))]);
        }
        let outcome = parts.core.answer(decoded).expect("rows that fit");
        for answered in &outcome.answered {
            let maker = parts.maker(answered.emit);
            black_box(maker.make(&answered.batch, &answered.hits, answered.times()));
        }
    }
}

/// A writer of a new history; what a run before left is of no use to it.
fn writer(set: &RuleSet, folder: &std::path::Path) -> Writer {
    let store = Arc::new(LocalFileSystem::new_with_prefix(folder).expect("the folder is there"));
    let identity = Identity { cluster: "bench".into(), job: "bench".into() };
    let history = History::on(store, Path::from("history"), &identity).expect("opens");
    let settings = WriterSettings {
        segment_rows: 131_072,
        flush_interval: Duration::from_secs(3_600),
        merge_segments: 16,
        rows_max: 4_000_000,
        bytes_max: 256 << 20,
    };
    history.writer(&set.catalog.contract, &[1], settings, 0, Arc::new(SystemClock::start())).expect("starts")
}

fn pipeline(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("pipeline");
    group.sample_size(10).warm_up_time(Duration::from_millis(1)).measurement_time(Duration::from_secs(5));
    let set = velocity();
    for batch_events in [1, 64, 1024, 8192] {
        let events = if batch_events == 1 { EVENTS / 10 } else { EVENTS };
        let batches = payments(events, batch_events);
        group.throughput(Throughput::Elements(events as u64));
        group.bench_function(BenchmarkId::new("six_rules_by_batch", batch_events), |bench| {
            let setup = || (parts(&set, 1), batches.clone());
            bench.iter_batched(setup, |(parts, batches)| run(parts, batches, None), BatchSize::PerIteration);
        });
    }
    group.throughput(Throughput::Elements(EVENTS as u64));
    let batches = payments(EVENTS, 8192);
    for threads in [1, 2] {
        group.bench_function(BenchmarkId::new("six_rules_by_threads", threads), |bench| {
            let setup = || (parts(&set, threads), batches.clone());
            bench.iter_batched(setup, |(parts, batches)| run(parts, batches, None), BatchSize::PerIteration);
        });
    }
    for (name, kept) in [("off", false), ("on", true)] {
        let folder = tempfile::tempdir().expect("a folder for temporary files");
        let setup = || (parts(&set, 1), batches.clone(), kept.then(|| writer(&set, folder.path())));
        group.bench_function(BenchmarkId::new("six_rules_history", name), |bench| {
            bench.iter_batched(
                setup,
                |(parts, batches, writer)| run(parts, batches, writer.as_ref()),
                BatchSize::PerIteration,
            );
        });
    }
    group.finish();
}

criterion_group!(benches, pipeline);
criterion_main!(benches);
