//! Files that were changed with knowledge of their form: values swapped for extremes, parts left out, said twice or out
//! of order, links that lead back, lengths and nesting without end. Each is read or refused; what is read answers as
//! its trees say.

use std::fmt::Write as _;
use std::path::Path;

use arrow::array::Float64Array;
use rand::seq::IndexedRandom;
use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};

use super::{columns, fixture, table};
use crate::score::{Coded, Model};

/// What a file says, or why it is refused; a model that is read answers, and its quicker walk as its links do.
fn read(name: &str, bytes: &[u8]) -> Result<Model, String> {
    let model = Model::parse(Path::new(name), bytes).map_err(|failure| failure.to_string())?;
    // With features that changed in number, it is another table.
    let rows: Vec<Vec<Option<f64>>> = table("rows.csv")[..20].to_vec();
    let four = columns(&rows);
    let all: Vec<&Float64Array> = (0..model.features.min(64)).map(|feature| &four[feature % 4]).collect();
    if all.len() == model.features {
        let along_links = Model { coded: Coded::none(model.trees.len()), ..model.clone() };
        let bits = |model: &Model| -> Vec<u64> {
            model.predict(&all).expect("trees never fail").iter().map(|value| value.to_bits()).collect()
        };
        assert_eq!(bits(&model), bits(&along_links), "{name}");
        drop(model.contributions(&vec![0.5; model.features], 0));
    }
    Ok(model)
}

fn extreme(random: &mut impl Rng) -> Value {
    let extremes = [
        json!(0),
        json!(-1),
        json!(1),
        json!(i64::MAX),
        json!(i64::MIN),
        json!(u64::MAX),
        json!(u32::MAX),
        json!(1_u64 << 31),
        json!(1e308),
        json!(-1e308),
        json!(5e-324),
        json!(0.5),
        json!("NaN"),
        json!("inf"),
        json!("1e999"),
        json!("-1"),
        json!(""),
        json!(null),
        json!(true),
        json!([]),
        json!({}),
    ];
    extremes.choose(random).cloned().unwrap_or_default()
}

/// Goes down to some part of a document, most often to one that holds no others, and changes it.
fn change(value: &mut Value, random: &mut ChaCha8Rng) {
    match value {
        Value::Object(fields) if !fields.is_empty() && random.random_range(0..20) > 0 => {
            let at = random.random_range(0..fields.len());
            let name = fields.keys().nth(at).cloned().unwrap_or_default();
            match random.random_range(0..8) {
                0 => drop(fields.remove(&name)),
                1 => {
                    let value = fields.remove(&name).unwrap_or_default();
                    fields.insert(format!("{name}x"), value);
                }
                _ => fields.values_mut().nth(at).into_iter().for_each(|value| change(value, random)),
            }
        }
        Value::Array(values) if !values.is_empty() && random.random_range(0..20) > 0 => {
            let (at, other) = (random.random_range(0..values.len()), random.random_range(0..values.len()));
            match random.random_range(0..8) {
                0 => values.truncate(at),
                1 => values.swap(at, other),
                2 => values.insert(at, values[other].clone()),
                // A link or a class of another place.
                3 => values[at] = values[other].clone(),
                4 => values[at] = json!(other),
                _ => change(&mut values[at], random),
            }
        }
        value => *value = extreme(random),
    }
}

/// A document as UBJSON; arrays of numbers as XGBoost writes them, with type and count, or without.
fn ubjson(value: &Value, random: &mut ChaCha8Rng, out: &mut Vec<u8>) {
    let length = |length: usize, out: &mut Vec<u8>| {
        out.push(b'L');
        out.extend_from_slice(&(length as u64).to_be_bytes());
    };
    match value {
        Value::Null => out.push(b'Z'),
        Value::Bool(truth) => out.push(if *truth { b'T' } else { b'F' }),
        Value::Number(number) => match number.as_i64() {
            Some(whole) => {
                out.push(b'L');
                out.extend_from_slice(&whole.to_be_bytes());
            }
            None => {
                out.push(b'D');
                out.extend_from_slice(&number.as_f64().unwrap_or(f64::NAN).to_be_bytes());
            }
        },
        Value::String(text) => {
            out.push(b'S');
            length(text.len(), out);
            out.extend_from_slice(text.as_bytes());
        }
        Value::Array(values) => {
            out.push(b'[');
            if !values.is_empty() && values.iter().all(Value::is_i64) && random.random_range(0..2) == 0 {
                out.extend_from_slice(b"$L#");
                length(values.len(), out);
                values.iter().for_each(|value| {
                    out.extend_from_slice(&value.as_i64().unwrap_or_default().to_be_bytes());
                });
                return;
            }
            values.iter().for_each(|value| ubjson(value, random, out));
            out.push(b']');
        }
        Value::Object(fields) => {
            out.push(b'{');
            for (name, value) in fields {
                length(name.len(), out);
                out.extend_from_slice(name.as_bytes());
                ubjson(value, random, out);
            }
            out.push(b'}');
        }
    }
}

#[test]
fn documents_of_xgboost_with_parts_changed_are_read_or_refused_as_text_and_as_ubjson() {
    let mut random = ChaCha8Rng::seed_from_u64(20_261_129);
    let (mut refused, mut all) = (0, 0);
    for file in ["xgb_logistic.json", "xgb_dart.json", "xgb_poisson.json"] {
        let sound: Value = serde_json::from_slice(&std::fs::read(fixture(file)).unwrap()).unwrap();
        let mut bytes = Vec::new();
        ubjson(&sound, &mut random, &mut bytes);
        assert_eq!(read("m.ubj", &bytes).unwrap().trees(), Model::open(&fixture(file)).unwrap().trees());
        for _ in 0..400 {
            let mut document = sound.clone();
            (0..random.random_range(1..4)).for_each(|_| change(&mut document, &mut random));
            let mut bytes = Vec::new();
            ubjson(&document, &mut random, &mut bytes);
            let outcomes = [read("m.json", document.to_string().as_bytes()), read("m.ubj", &bytes)];
            refused += outcomes.iter().filter(|outcome| outcome.is_err()).count();
            all += outcomes.len();
        }
    }
    assert!(refused > all / 4 && refused < all, "{refused} of {all} were refused");
}

#[test]
fn lines_of_lightgbm_with_words_changed_are_read_or_refused() {
    let mut random = ChaCha8Rng::seed_from_u64(20_261_130);
    let words = [
        "nan",
        "inf",
        "-inf",
        "1e999",
        "-1",
        "0",
        "1",
        "9223372036854775807",
        "-9223372036854775808",
        "18446744073709551616",
        "4294967295",
        "99999999",
        "0.5",
        "x",
        "",
    ];
    let (mut refused, mut all) = (0, 0);
    for file in ["lgb_binary.txt", "lgb_multi.txt", "lgb_zero.txt", "lgb_rf.txt"] {
        let sound = std::fs::read_to_string(fixture(file)).unwrap();
        let read_until = sound.find("end of trees").unwrap();
        for _ in 0..300 {
            let mut lines: Vec<String> = sound[..read_until].lines().map(str::to_owned).collect();
            for _ in 0..random.random_range(1..4) {
                let at = random.random_range(0..lines.len());
                match random.random_range(0..8) {
                    0 => drop(lines.remove(at)),
                    1 => lines.insert(at, lines[random.random_range(0..lines.len())].clone()),
                    2 => lines.swap(at, 0),
                    _ => {
                        let (name, value) = lines[at].split_once('=').unwrap_or((&lines[at], ""));
                        let mut all: Vec<&str> = value.split(' ').collect();
                        let (place, other) =
                            (random.random_range(0..all.len()), random.random_range(0..all.len()));
                        match random.random_range(0..4) {
                            0 => all.truncate(place),
                            1 => all[place] = all[other],
                            _ => all[place] = words.choose(&mut random).copied().unwrap_or_default(),
                        }
                        lines[at] = format!("{name}={}", all.join(" "));
                    }
                }
            }
            all += 1;
            let text = lines.join("\n") + "\nend of trees\n";
            refused += usize::from(read("m.txt", text.as_bytes()).is_err());
        }
    }
    assert!(refused > all / 4 && refused < all, "{refused} of {all} were refused");
}

#[test]
fn nesting_and_lengths_without_end_are_refused_before_they_cost_anything() {
    const DEEP: usize = 1_000_000;
    let huge = [b"L".as_slice(), &i64::MAX.to_be_bytes()].concat();
    let typed = [b"[$d#".as_slice(), &huge].concat();
    for (name, bytes, reason) in [
        ("m.json", "[".repeat(DEEP).into_bytes(), "recursion limit"),
        ("m.json", "{\"a\":".repeat(DEEP).into_bytes(), "recursion limit"),
        ("m.ubj", vec![b'['; DEEP], "64 levels"),
        ("m.ubj", b"{U\x01a".repeat(DEEP), "64 levels"),
        ("m.ubj", b"[$[#U\x01".repeat(DEEP), "64 levels"),
        ("m.ubj", [b"[#".as_slice(), &huge].concat(), "can't hold"),
        ("m.ubj", typed, "can't hold"),
        ("m.ubj", [b"{#".as_slice(), &huge].concat(), "can't hold"),
        ("m.ubj", [b"S".as_slice(), &huge].concat(), "can't hold"),
        ("m.ubj", b"[#l\xff\xff\xff\xff".to_vec(), "can't hold"),
        ("m.ubj", b"[$Z#U\x02ab".to_vec(), "elements of type"),
    ] {
        let failure = read(name, &bytes).unwrap_err();
        assert!(failure.contains(reason), "{name}: {failure}");
    }
    let text = std::fs::read_to_string(fixture("lgb_binary.txt")).unwrap();
    let huge = |line: &str| {
        let stated = text.lines().find(|own| own.starts_with(line)).unwrap();
        read("m.txt", text.replacen(stated, &format!("{line}18446744073709551615"), 1).as_bytes())
            .unwrap_err()
    };
    for (line, reason) in [
        ("num_leaves=", "num_leaves is 18446744073709551615"),
        ("max_feature_idx=", "18446744073709551615 features"),
        ("num_tree_per_iteration=", "18446744073709551615 classes"),
    ] {
        assert!(huge(line).contains(reason), "{}", huge(line));
    }
}

/// A tree of XGBoost whose every split is on categories; all take theirs from the same place.
fn categorical(nodes: usize, size: usize, categories: usize) -> String {
    let mut file: Value =
        serde_json::from_slice(&std::fs::read(fixture("xgb_logistic.json")).unwrap()).unwrap();
    let splits: Vec<usize> = (0..nodes).collect();
    let all = 2 * nodes + 1;
    let children = |first: usize| -> Vec<i64> {
        (0..all)
            .map(|node| if node < nodes { i64::try_from(2 * node + first).unwrap() } else { -1 })
            .collect()
    };
    let tree = json!({
        "tree_param": {"size_leaf_vector": "1"}, "left_children": children(1), "right_children": children(2),
        "split_indices": vec![3; all], "split_conditions": vec![0.5; all], "default_left": vec![0; all],
        "split_type": (0..all).map(|node| u8::from(node < nodes)).collect::<Vec<_>>(),
        "categories_nodes": splits, "categories_segments": vec![0; nodes], "categories_sizes": vec![size; nodes],
        "categories": (0..categories).map(|at| 16_777_215 - at).collect::<Vec<_>>(),
    });
    let model = &mut file["learner"]["gradient_booster"]["model"];
    (model["trees"], model["tree_info"]) = (json!([tree]), json!([0]));
    file.to_string()
}

#[test]
fn categories_cost_no_more_than_their_file() {
    // One high category a node: as bits, two megabytes each.
    let mut file: Value = serde_json::from_str(&categorical(4_000, 1, 4_000)).unwrap();
    // Right all the way down.
    file["learner"]["gradient_booster"]["model"]["trees"][0]["split_conditions"][4_094] = json!(9.5);
    let model = read("m.json", file.to_string().as_bytes()).unwrap();
    let score = |kind: f64| -> Vec<f64> {
        let row = [0.0, 0.0, 0.0, kind].map(|value| Float64Array::from(vec![value]));
        model.predict(&row.iter().collect::<Vec<_>>()).unwrap()
    };
    assert_eq!(score(7.0), score(16_777_214.0), "neither is the category");
    assert_ne!(score(7.0), score(16_777_215.0), "the category is known");
    let failure = read("m.json", categorical(4_000, 4_000, 4_000).as_bytes()).unwrap_err();
    assert!(failure.contains("its nodes take 16000000 categories, and there are 4000"), "{failure}");

    let mut text =
        "tree\nversion=v4\nnum_tree_per_iteration=1\nmax_feature_idx=3\nobjective=binary\n\nTree=0\n"
            .to_owned();
    let list = |name: &str, values: &mut dyn Iterator<Item = String>| {
        format!("{name}={}\n", values.collect::<Vec<_>>().join(" "))
    };
    const SPLITS: usize = 300;
    let _ = writeln!(text, "num_leaves={}", SPLITS + 1);
    text += &list("split_feature", &mut (0..SPLITS).map(|_| "3".to_owned()));
    text += &list("threshold", &mut (0..SPLITS).map(|_| "0".to_owned()));
    text += &list("decision_type", &mut (0..SPLITS).map(|_| "1".to_owned()));
    text += &list("left_child", &mut (0..SPLITS).map(|split| (!i64::try_from(split).unwrap()).to_string()));
    text += &list(
        "right_child",
        &mut (1..=SPLITS).map(|split| {
            if split < SPLITS { split.to_string() } else { (!i64::try_from(SPLITS).unwrap()).to_string() }
        }),
    );
    text += &list("leaf_value", &mut (0..=SPLITS).map(|leaf| leaf.to_string()));
    text += &list("cat_boundaries", &mut ["0".to_owned(), "50000".to_owned()].into_iter());
    text += &list("cat_threshold", &mut (0..50_000).map(|_| u32::MAX.to_string()));
    let failure = read("m.txt", (text + "end of trees\n").as_bytes()).unwrap_err();
    assert!(failure.contains("set 0 of categories is another split's as well"), "{failure}");
}
