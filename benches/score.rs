//! Cost of a row in a tree ensemble: by rows of a batch, by depth, and of what an alert says of its model.
//!
//! 100 trees over 30 features, every one of them full: each row asks `depth` questions a tree, whose answers no
//! processor can guess.
//! `benches/peers/score` sets real models beside their libraries.

use std::hint::black_box;
use std::path::Path;

use arrow::array::Float64Array;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::json;
use tollgate::score::Model;

const FEATURES: usize = 30;
const TREES: usize = 100;
const BATCH: usize = 1024;

/// A full tree of XGBoost's JSON.
fn tree(depth: u32, random: &mut ChaCha8Rng) -> serde_json::Value {
    let (splits, nodes) = ((1_i64 << depth) - 1, (2_i64 << depth) - 1);
    let child = |node: i64, side: i64| if node < splits { 2 * node + side } else { -1 };
    let all = || 0..nodes;
    json!({
        "tree_param": {"num_nodes": nodes.to_string()},
        "left_children": all().map(|node| child(node, 1)).collect::<Vec<_>>(),
        "right_children": all().map(|node| child(node, 2)).collect::<Vec<_>>(),
        "split_indices": all().map(|_| random.random_range(0..FEATURES)).collect::<Vec<_>>(),
        "split_conditions": all().map(|_| random.random_range(0.2..0.8_f32)).collect::<Vec<_>>(),
        "default_left": all().map(|node| node % 2).collect::<Vec<_>>(),
        "sum_hessian": all().map(|node| f64::from(1 << 20) / f64::from(1 << (node + 1).ilog2())).collect::<Vec<_>>(),
    })
}

fn model(depth: u32) -> Model {
    let mut random = ChaCha8Rng::seed_from_u64(1);
    let trees: Vec<_> = (0..TREES).map(|_| tree(depth, &mut random)).collect();
    let document = json!({"version": [3, 2, 0], "learner": {
        "learner_model_param": {"num_feature": FEATURES.to_string(), "num_class": "0", "base_score": "5E-1"},
        "objective": {"name": "binary:logistic"},
        "gradient_booster": {"name": "gbtree", "model": {"trees": trees, "tree_info": vec![0; TREES]}},
    }});
    Model::parse(Path::new("bench.json"), document.to_string().as_bytes()).expect("a model")
}

fn columns(values: &[f32], features: usize) -> Vec<Float64Array> {
    let column =
        |feature: usize| values.iter().skip(feature).step_by(features).map(|value| f64::from(*value));
    (0..features).map(|feature| Float64Array::from_iter_values(column(feature))).collect()
}

fn random_rows(rows: usize) -> Vec<Float64Array> {
    let mut random = ChaCha8Rng::seed_from_u64(2);
    let values: Vec<f32> = (0..rows * FEATURES).map(|_| random.random()).collect();
    columns(&values, FEATURES)
}

fn by_batch(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("score/100 trees");
    for (depth, rows) in [(6, 1), (6, 64), (6, BATCH), (3, BATCH), (8, BATCH), (10, BATCH)] {
        let (model, columns) = (model(depth), random_rows(rows));
        let columns: Vec<&Float64Array> = columns.iter().collect();
        group.throughput(Throughput::Elements(rows as u64));
        group.bench_function(BenchmarkId::from_parameter(format!("depth {depth}, {rows} rows")), |bencher| {
            bencher.iter(|| black_box(model.predict(black_box(&columns))));
        });
    }
    group.finish();
    let model = model(6);
    let row: Vec<f64> = random_rows(1).iter().map(|column| column.value(0)).collect();
    criterion.bench_function("contributions/100 trees of depth 6, one row", |bencher| {
        bencher.iter(|| black_box(model.contributions(black_box(&row), 0)));
    });
}

criterion_group!(benches, by_batch);
criterion_main!(benches);
