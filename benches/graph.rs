//! Cost of a row in the graph: by rows of a batch, by threads, by number of rules, with and without sharing.
//!
//! Rows are decoded beforehand, and no alert is made of what hits. Without sharing every rule runs in an engine of its own.

mod workload;

use std::hint::black_box;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use tollgate::decode::DecodedBatch;
use tollgate::graph::{Engine, EngineInput};
use tollgate::rules::RuleSet;
use tollgate::sql::RuleGraph;
use tollgate::window::Ties;
use workload::{decoded, many, payments, velocity, windows};

const ROWS: usize = 100_000;

/// All rules in one engine, or each in its own.
fn engines(set: &RuleSet, threads: usize, shared: bool) -> Vec<Engine> {
    let graph = &set.on_arrival.graph;
    let alone = |query: &tollgate::sql::QueryPlan| RuleGraph {
        row_sets: graph.row_sets.clone(),
        queries: vec![query.clone()],
    };
    let graphs = if shared { vec![graph.clone()] } else { graph.queries.iter().map(alone).collect() };
    graphs.into_iter().map(|graph| Engine::new(graph, &windows(threads)).expect("rules that run")).collect()
}

fn run(mut engines: Vec<Engine>, batches: &[DecodedBatch]) {
    for batch in batches {
        let input = EngineInput { batch, watermarks: &batch.rows.event_time, ties: Ties::ByArrival };
        for engine in &mut engines {
            black_box(engine.process(&input).expect("rows that fit"));
        }
    }
}

fn graph(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("graph");
    group.sample_size(10).warm_up_time(Duration::from_millis(1)).measurement_time(Duration::from_secs(5));
    let set = velocity();
    for batch_rows in [1, 64, 1024, 8192] {
        let rows = if batch_rows == 1 { ROWS / 10 } else { ROWS };
        let batches = decoded(&set, payments(rows, batch_rows));
        group.throughput(Throughput::Elements(rows as u64));
        group.bench_function(BenchmarkId::new("six_rules_by_batch", batch_rows), |bench| {
            bench.iter_with_setup(|| engines(&set, 1, true), |engines| run(engines, &batches));
        });
    }
    group.throughput(Throughput::Elements(ROWS as u64));
    let batches = decoded(&set, payments(ROWS, 8192));
    for threads in [1, 2] {
        group.bench_function(BenchmarkId::new("six_rules_by_threads", threads), |bench| {
            bench.iter_with_setup(|| engines(&set, threads, true), |engines| run(engines, &batches));
        });
    }
    for (name, shared) in [("on", true), ("off", false)] {
        group.bench_function(BenchmarkId::new("six_rules_sharing", name), |bench| {
            bench.iter_with_setup(|| engines(&set, 1, shared), |engines| run(engines, &batches));
        });
    }
    for count in [10, 100, 1000] {
        let set = many(count);
        let batches = decoded(&set, payments(ROWS / 5, 8192));
        group.throughput(Throughput::Elements((ROWS / 5) as u64));
        group.bench_function(BenchmarkId::new("rules_over_60_windows", count), |bench| {
            bench.iter_with_setup(|| engines(&set, 1, true), |engines| run(engines, &batches));
        });
    }
    group.finish();
}

criterion_group!(benches, graph);
criterion_main!(benches);
