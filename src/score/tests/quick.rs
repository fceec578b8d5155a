//! Trees over codes end in the leaves that the links lead to, for any depth, number of thresholds and number of rows.

use std::path::Path;

use arrow::array::Float64Array;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::json;

use super::{Coded, Model};

/// Trees of XGBoost with questions down to a depth; some end earlier.
fn grown(features: usize, depth: u32, trees: usize, random: &mut ChaCha8Rng) -> Model {
    let mut tree = || {
        let nodes = (2_i64 << depth) - 1;
        let leaf: Vec<bool> =
            (0..nodes).map(|node| node >= nodes / 2 || node > 0 && random.random_bool(0.05)).collect();
        let child =
            |node: i64, side: i64| if leaf[usize::try_from(node).unwrap()] { -1 } else { 2 * node + side };
        let reached =
            |node: i64| (1..=node.ilog2()).all(|up| !leaf[usize::try_from((node >> up) - 1).unwrap()]);
        // What stands below a leaf is left out, and the others move up.
        let kept: Vec<i64> = (1..=nodes).filter(|node| reached(*node)).map(|node| node - 1).collect();
        let place = |node: i64| {
            if node < 0 { -1 } else { kept.binary_search(&node).map_or(-1, |at| i64::try_from(at).unwrap()) }
        };
        json!({
            "tree_param": {"num_nodes": kept.len().to_string()},
            "left_children": kept.iter().map(|node| place(child(*node, 1))).collect::<Vec<_>>(),
            "right_children": kept.iter().map(|node| place(child(*node, 2))).collect::<Vec<_>>(),
            "split_indices": kept.iter().map(|_| random.random_range(0..features)).collect::<Vec<_>>(),
            "split_conditions": kept.iter().map(|_| random.random_range(-1.0..1.0_f32)).collect::<Vec<_>>(),
            "default_left": kept.iter().map(|node| node % 2).collect::<Vec<_>>(),
        })
    };
    let trees: Vec<_> = (0..trees).map(|_| tree()).collect();
    let document = json!({"version": [3, 2, 0], "learner": {
        "learner_model_param": {"num_feature": features.to_string(), "num_class": "0", "base_score": "5E-1"},
        "objective": {"name": "binary:logistic"},
        "gradient_booster": {"name": "gbtree", "model": {"trees": trees, "tree_info": vec![0; trees.len()]}},
    }});
    Model::parse(Path::new("m.json"), document.to_string().as_bytes()).unwrap()
}

#[test]
fn codes_of_bytes_and_of_words_lead_to_the_leaves_that_links_lead_to() {
    let mut random = ChaCha8Rng::seed_from_u64(11);
    let (mut bytes, mut words) = (0, 0);
    for (features, depth, trees) in
        [(30, 6, 40), (4, 6, 40), (30, 7, 20), (2, 8, 30), (30, 8, 20), (3, 5, 60), (20, 1, 50), (1, 9, 2)]
    {
        let model = grown(features, depth, trees, &mut random);
        match &model.coded {
            Coded::Bytes(forest) => bytes += forest.trees.iter().flatten().count(),
            Coded::Words(forest) => words += forest.trees.iter().flatten().count(),
        }
        let along_links = Model { coded: Coded::none(trees), ..model.clone() };
        let mut value = |row: usize| match row % 9 {
            0 => None,
            1 => Some(f64::INFINITY),
            2 => Some(f64::NEG_INFINITY),
            3 => Some(1e300),
            _ => Some(random.random_range(-1.1..1.1)),
        };
        for rows in [1, 7, 8, 16, 17, 63, 64, 65, 300] {
            let columns: Vec<Float64Array> = (0..features)
                .map(|feature| (0..rows).map(|row| value(row * 7 + feature)).collect())
                .collect();
            let columns: Vec<&Float64Array> = columns.iter().collect();
            let bits = |model: &Model| -> Vec<u64> {
                model.predict(&columns).unwrap().iter().map(|value| value.to_bits()).collect()
            };
            assert_eq!(bits(&model), bits(&along_links), "{features} features, depth {depth}, {rows} rows");
        }
    }
    assert!(bytes > 100 && words > 100, "{bytes} and {words} trees");
}

#[test]
fn a_value_that_is_a_threshold_is_not_above_it() {
    let mut random = ChaCha8Rng::seed_from_u64(12);
    let model = grown(2, 6, 20, &mut random);
    let along_links = Model { coded: Coded::none(20), ..model.clone() };
    let thresholds = (0..model.trees.len()).flat_map(|tree| {
        let tree = &model.trees[tree].1;
        (0..100).filter_map(|node| tree.plain(node).map(|split| split.threshold))
    });
    let column: Float64Array = thresholds.flat_map(|at| [at - 1e-6, at, at + 1e-6]).map(Some).collect();
    let columns = [&column, &column];
    assert!(column.len() > 500);
    assert_eq!(model.predict(&columns).unwrap(), along_links.predict(&columns).unwrap());
}
