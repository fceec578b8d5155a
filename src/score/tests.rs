//! The libraries' own answers (made by `tests/models/fixtures.py`), and files that were damaged at random.

use std::path::{Path, PathBuf};

use arrow::array::Float64Array;
use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::{Coded, EarlyStop, Model};

mod hostile;
mod quick;

const MODELS: [&str; 16] = [
    "xgb_logistic.json",
    "xgb_squared.ubj",
    "xgb_softprob.ubj",
    "xgb_dart.json",
    "xgb_poisson.json",
    "lgb_binary.txt",
    "lgb_zero.txt",
    "lgb_none.txt",
    "lgb_multi.txt",
    "lgb_ova.txt",
    "lgb_sqrt.txt",
    "lgb_rf.txt",
    "lgb_tweedie.txt",
    "xgb_stopped.json",
    "xgb_stopped_chosen.json",
    "lgb_stopped.txt",
];

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/models/fixtures").join(name)
}

fn table(name: &str) -> Vec<Vec<Option<f64>>> {
    let text = std::fs::read_to_string(fixture(name)).unwrap();
    text.lines().map(|line| line.split(',').map(|value| value.parse().ok()).collect()).collect()
}

fn columns(rows: &[Vec<Option<f64>>]) -> Vec<Float64Array> {
    (0..4).map(|column| rows.iter().map(|row| row[column]).collect()).collect()
}

#[test]
fn every_model_answers_as_its_library_does() {
    let columns = columns(&table("rows.csv"));
    let columns: Vec<&Float64Array> = columns.iter().collect();
    for file in MODELS {
        let model = Model::open(&fixture(file)).unwrap();
        let answers = model.predict(&columns).unwrap();
        let expected = table(&format!("{}.csv", model.name)).concat();
        assert_eq!(answers.len(), expected.len(), "{file}");
        let mut distinct: Vec<u64> = answers.iter().map(|answer| answer.to_bits()).collect();
        distinct.sort_unstable();
        distinct.dedup();
        assert!(distinct.len() > 20, "{file} tells rows apart");
        for (row, (answer, expected)) in answers.iter().zip(expected).enumerate() {
            let expected = expected.unwrap();
            let apart = (answer - expected).abs() / expected.abs().max(1e-3);
            assert!(apart <= 1e-6, "{file} row {row}: {answer} is not {expected}");
        }
    }
}

#[test]
fn a_model_that_was_stopped_early_says_how_many_of_its_rounds_were_chosen() {
    let open = |file: &str| Model::open(&fixture(file)).unwrap();
    let (all, chosen) = (open("xgb_stopped.json"), open("xgb_stopped_chosen.json"));
    assert_eq!(all.early_stop, Some(EarlyStop { rounds: 11, chosen: 7 }));
    assert_eq!((all.trees(), chosen.trees(), chosen.early_stop), (11, 7, None));
    // LightGBM saves the chosen ones only.
    assert_eq!((open("lgb_stopped.txt").trees(), open("lgb_stopped.txt").early_stop), (12, None));
    let text = std::fs::read_to_string(fixture("xgb_stopped.json")).unwrap();
    let told = |from: &str, to: &str| {
        assert!(text.contains(from), "{from}");
        Model::parse(Path::new("m.json"), text.replace(from, to).as_bytes()).unwrap().early_stop
    };
    // The best round was the last one; several trees a round; a number that is none.
    assert_eq!(told("\"best_iteration\":\"6\"", "\"best_iteration\":\"10\""), None);
    assert_eq!(told("\"num_parallel_tree\":\"1\"", "\"num_parallel_tree\":\"2\""), None);
    assert_eq!(told("\"best_iteration\":\"6\"", "\"best_iteration\":\"-9\""), None);
}

#[test]
fn the_quicker_walk_ends_in_the_same_leaves() {
    let mut random = ChaCha8Rng::seed_from_u64(3);
    let odd = [None, Some(f64::INFINITY), Some(f64::NEG_INFINITY), Some(-0.0), Some(1e300), Some(f64::NAN)];
    let mut value = |column: usize| match random.random_range(0..8_usize) {
        picked if picked < odd.len() => odd[picked],
        _ if column > 1 => Some(f64::from(random.random_range(-2..40_i32))),
        _ => Some(random.random_range(-2.0..2.0)),
    };
    let rows: Vec<Vec<Option<f64>>> = (0..1_000).map(|_| (0..4).map(&mut value).collect()).collect();
    let columns = columns(&rows);
    let columns: Vec<&Float64Array> = columns.iter().collect();
    let (mut quick, mut all) = (0, 0);
    for file in MODELS {
        let model = Model::open(&fixture(file)).unwrap();
        quick += match &model.coded {
            Coded::Bytes(forest) => forest.trees.iter().flatten().count(),
            Coded::Words(forest) => forest.trees.iter().flatten().count(),
        };
        all += model.trees.len();
        let along_links = Model { coded: Coded::none(model.trees.len()), ..model.clone() };
        let bits = |model: &Model| {
            model.predict(&columns).unwrap().iter().map(|value| value.to_bits()).collect::<Vec<_>>()
        };
        assert_eq!(bits(&model), bits(&along_links), "{file}");
    }
    assert!(quick > 20 && quick < all, "{quick} of {all} trees walk the quicker way");
}

#[test]
fn contributions_are_those_of_the_library() {
    let rows = table("rows.csv");
    for file in MODELS {
        let model = Model::open(&fixture(file)).unwrap();
        let expected = table(&format!("{}.contributions.csv", model.name));
        assert!(expected.len() >= 40 * model.classes, "{file}");
        for (number, expected) in expected.iter().enumerate() {
            let (row, class) = (number / model.classes, number % model.classes);
            let values: Vec<f64> = rows[row].iter().map(|value| value.unwrap_or(f64::NAN)).collect();
            let found = model.contributions(&values, class).unwrap();
            assert_eq!(found.features.len() + 1, expected.len(), "{file}");
            for (at, expected) in expected.iter().enumerate() {
                let found = *found.features.get(at).unwrap_or(&found.bias);
                // LightGBM averages the trees of a forest in its predictions, and only adds their contributions up.
                let expected = expected.unwrap() / model.divisor;
                let apart = (found - expected).abs();
                assert!(
                    apart <= 1e-5_f64.max(1e-6 * expected.abs()),
                    "{file} row {row} class {class} feature {at}: {found} is not {expected}"
                );
            }
        }
    }
}

#[test]
fn contributions_add_up_to_the_sum_of_the_trees() {
    let rows = table("rows.csv");
    let model = Model::open(&fixture("xgb_squared.ubj")).unwrap();
    let columns = columns(&rows);
    let answers = model.predict(&columns.iter().collect::<Vec<_>>()).unwrap();
    for (row, answer) in rows.iter().zip(answers) {
        let values: Vec<f64> = row.iter().map(|value| value.unwrap_or(f64::NAN)).collect();
        let found = model.contributions(&values, 0).unwrap();
        let sum = found.bias + found.features.iter().sum::<f64>();
        assert!((sum - answer).abs() < 1e-5, "{sum} is not {answer}");
    }
}

#[test]
fn a_file_without_the_training_counts_predicts_and_has_no_contributions() {
    let text = std::fs::read_to_string(fixture("lgb_binary.txt")).unwrap();
    let model = Model::parse(Path::new("m.txt"), text.replace("leaf_count=", "gone=").as_bytes()).unwrap();
    assert_eq!(model.contributions(&[1.0; 4], 0), None);
    let sound = Model::open(&fixture("lgb_binary.txt")).unwrap();
    assert!(sound.contributions(&[1.0; 4], 0).is_some());
    assert_eq!(sound.contributions(&[1.0; 4], 1), None, "there is no class 1");
    assert_eq!(sound.contributions(&[1.0; 3], 0), None, "a feature is missing");
}

#[test]
fn any_number_of_rows_gives_the_same_answers() {
    let rows = table("rows.csv");
    let model = Model::open(&fixture("xgb_softprob.ubj")).unwrap();
    let all = columns(&rows);
    let all = model.predict(&all.iter().collect::<Vec<_>>()).unwrap();
    for count in [0, 1, 7, 64, 65] {
        let some = columns(&rows[..count]);
        assert_eq!(
            model.predict(&some.iter().collect::<Vec<_>>()).unwrap(),
            all[..count * 3],
            "{count} rows"
        );
    }
}

/// As measured with XGBoost 2.1.4 and 3.2.0; earlier ones took the logit of it.
#[test]
fn the_base_score_of_logitraw_is_the_margin_itself() {
    let text = std::fs::read_to_string(fixture("xgb_logistic.json")).unwrap();
    let raw = text.replace("binary:logistic", "binary:logitraw");
    let open = |text: &str| Model::parse(Path::new("m.json"), text.as_bytes());
    let (logistic, raw_model) = (open(&text).unwrap(), open(&raw).unwrap());
    let row = [f64::NAN; 4];
    let bias = |model: &Model| model.contributions(&row, 0).unwrap().bias;
    let written = text.split("\"base_score\":\"[").nth(1).unwrap().split(']').next().unwrap();
    let base: f64 = written.parse().unwrap();
    let margin = (base / (1.0 - base)).ln();
    assert!((bias(&raw_model) - bias(&logistic) - (base - margin)).abs() < 1e-6);
    let old = raw.replace("\"version\":[3,", "\"version\":[1,");
    assert!(open(&old).unwrap_err().to_string().contains("from XGBoost 2.0 on"));
}

#[test]
fn links_that_form_no_tree_are_refused() {
    let text = std::fs::read_to_string(fixture("lgb_binary.txt")).unwrap();
    let line = text.lines().find(|line| line.starts_with("left_child=")).unwrap();
    for (link, cause) in [
        ("0", "two links lead to node 0"),
        ("900", "a link leads to node 900"),
        ("-900", "a link leads to node"),
    ] {
        let rest = line.split_once(' ').unwrap().1;
        let broken = text.replacen(line, &format!("left_child={link} {rest}"), 1);
        let failure = Model::parse(Path::new("m.txt"), broken.as_bytes()).unwrap_err().to_string();
        assert!(failure.contains(cause), "{failure}");
    }
}

#[test]
fn a_file_cut_off_anywhere_is_refused() {
    for file in ["xgb_logistic.json", "xgb_squared.ubj", "lgb_binary.txt"] {
        let bytes = std::fs::read(fixture(file)).unwrap();
        let text = String::from_utf8_lossy(&bytes);
        let end = if file.starts_with("lgb") { text.find("end of trees").unwrap() } else { bytes.len() };
        for cut in (0..end - 1).step_by(97) {
            assert!(Model::parse(Path::new(file), &bytes[..cut]).is_err(), "{file} cut at {cut}");
        }
    }
}

#[test]
fn five_thousand_damaged_files_are_read_or_refused_and_never_panic() {
    let rows = table("rows.csv");
    let columns = columns(&rows[..70]);
    let columns: Vec<&Float64Array> = columns.iter().collect();
    let mut random = ChaCha8Rng::seed_from_u64(20_260_727);
    let mut refused = 0;
    for file in ["xgb_logistic.json", "xgb_softprob.ubj", "xgb_dart.json", "lgb_binary.txt", "lgb_multi.txt"]
    {
        let sound = std::fs::read(fixture(file)).unwrap();
        for _ in 0..1_000 {
            let mut bytes = sound.clone();
            for _ in 0..random.random_range(1..4) {
                let at = random.random_range(0..bytes.len());
                match random.random_range(0..4) {
                    0 => bytes[at] = (random.next_u32() & 0xff) as u8,
                    1 => bytes[at] = b"0123456789-,[]{}e."[random.random_range(0..18)],
                    2 => drop(bytes.drain(at..(at + random.random_range(1..40)).min(bytes.len()))),
                    _ => bytes.insert(at, b"09-[{#$L"[random.random_range(0..8)]),
                }
            }
            match Model::parse(Path::new(file), &bytes) {
                Ok(model) if model.features == 4 => {
                    drop(model.predict(&columns));
                    drop(model.contributions(&[0.5, f64::NAN, 2.0, 3.0], 0));
                }
                Ok(_) => {}
                Err(failure) => {
                    assert!(!failure.to_string().is_empty());
                    refused += 1;
                }
            }
        }
    }
    assert!(refused > 1_000 && refused < 5_000, "{refused} of 5,000 were refused");
}

#[test]
fn a_program_without_onnx_says_how_to_build_one_that_has_it() {
    let refused = Model::parse(Path::new("rules/models/risk.onnx"), b"").map(|model| model.format);
    if cfg!(feature = "onnx") {
        assert!(refused.unwrap_err().to_string().contains("is not a usable ONNX model"));
    } else {
        assert!(refused.unwrap_err().to_string().contains("--features onnx"));
    }
}

#[cfg(feature = "onnx")]
mod onnx {
    use super::*;

    #[test]
    fn every_graph_answers_as_onnx_runtime_does() {
        for name in ["onnx_logistic", "onnx_network", "onnx_number", "onnx_forest", "onnx_shapes"] {
            let model = Model::open(&fixture(&format!("{name}.onnx"))).unwrap();
            let rows = table("rows.csv");
            // Scikit-learn's models know no missing value.
            let filled = |value: &Option<f64>| value.or(Some(0.0));
            let rows: Vec<Vec<Option<f64>>> =
                rows.iter().map(|row| row.iter().map(filled).collect()).collect();
            let columns = columns(&rows);
            let answers = model.predict(&columns.iter().collect::<Vec<_>>()).unwrap();
            let expected = table(&format!("{name}.csv")).concat();
            assert_eq!(answers.len(), expected.len(), "{name}");
            for (row, (answer, expected)) in answers.iter().zip(&expected).enumerate() {
                let expected = expected.unwrap();
                assert!((answer - expected).abs() <= 2e-6, "{name} row {row}: {answer} and not {expected}");
            }
            assert!(model.contributions(&[0.0; 4], 0).is_none(), "it has no trees to share a score out");
        }
    }

    #[test]
    fn what_can_not_be_run_is_refused_with_its_reason() {
        for (name, reason) in [
            ("refused_zipmap", "'zipmap': False"),
            ("refused_regressor", "TreeEnsembleRegressor"),
            ("refused_scaler", "scale in the rule's SQL"),
            ("refused_inputs", "it has 2 inputs"),
            ("refused_chance", "RandomNormalLike draws by chance"),
        ] {
            let failure = Model::open(&fixture(&format!("{name}.onnx"))).unwrap_err().to_string();
            assert!(failure.contains(reason), "{name}: {failure}");
        }
    }

    #[test]
    fn damaged_graphs_are_read_or_refused_and_never_panic() {
        let mut random = ChaCha8Rng::seed_from_u64(20_261_128);
        let columns = columns(&table("rows.csv")[..3]);
        let columns: Vec<&Float64Array> = columns.iter().collect();
        let mut refused = 0;
        for name in ["onnx_logistic", "onnx_network", "onnx_forest"] {
            let sound = std::fs::read(fixture(&format!("{name}.onnx"))).unwrap();
            for _ in 0..200 {
                let mut bytes = sound.clone();
                for _ in 0..random.random_range(1..4) {
                    let at = random.random_range(0..bytes.len().max(1));
                    match random.random_range(0..3) {
                        _ if bytes.is_empty() => {}
                        0 => bytes[at] = (random.next_u32() & 0xff) as u8,
                        1 => drop(bytes.drain(at..(at + random.random_range(1..40)).min(bytes.len()))),
                        _ => bytes.truncate(at),
                    }
                }
                match Model::parse(Path::new("m.onnx"), &bytes) {
                    Ok(model) if model.features == 4 => drop(model.predict(&columns)),
                    Ok(_) => {}
                    Err(failure) => {
                        assert!(!failure.to_string().is_empty());
                        refused += 1;
                    }
                }
            }
        }
        assert!((200..600).contains(&refused), "{refused} of 600 were refused");
    }
}
