//! XGBoost models (1.6 to 3.x) from their JSON document, which UBJSON holds as well.
//!
//! Takes the document; hands on a [`Model`]. Follows `doc/model.schema` of XGBoost. All trees are used, as
//! `Booster.predict` does, whatever early stopping chose. Linear boosters and trees with vector leaves are refused.

use serde_json::Value;

use super::tree::{Described, Test, Tree};
use super::{CLASSES_MAX, EarlyStop, FEATURES_MAX, Library, Model, Transform};

/// Reads JSON text.
pub(super) fn parse_json(bytes: &[u8]) -> Result<Model, String> {
    parse(&serde_json::from_slice(bytes).map_err(|cause| cause.to_string())?)
}

/// Reads a document.
pub(super) fn parse(document: &Value) -> Result<Model, String> {
    let learner = at(document, "learner")?;
    let parameters = at(learner, "learner_model_param")?;
    let features = count(parameters, "num_feature")?;
    if features == 0 || features > FEATURES_MAX {
        return Err(format!("num_feature is {features}; 1 to {FEATURES_MAX} can be used"));
    }
    let classes = count(parameters, "num_class")?.max(1);
    if classes > CLASSES_MAX || count(parameters, "num_target").unwrap_or(1) > 1 {
        return Err(format!("models of more than {CLASSES_MAX} classes or several targets can't be used"));
    }
    let booster = at(learner, "gradient_booster")?;
    let (gbtree, weights) = match text(booster, "name")? {
        "gbtree" => (at(booster, "model")?, None),
        "dart" => (at(at(booster, "gbtree")?, "model")?, Some(numbers(booster, "weight_drop")?)),
        other => return Err(format!("booster {other} can't be used: gbtree and dart can")),
    };
    let objective = text(at(learner, "objective")?, "name")?.to_owned();
    let (transform, to_margin) = objective_of(&objective)?;
    refuse_old_margins(document, &objective)?;
    let base = base_scores(parameters, classes)?.into_iter().map(to_margin).collect::<Vec<_>>();
    if let Some(bad) = base.iter().find(|base| !base.is_finite()) {
        return Err(format!("base_score gives {bad}, which is no start for {objective}"));
    }
    let described = array(gbtree, "trees")?;
    let of_class = integers(gbtree, "tree_info")?;
    if of_class.len() != described.len() || weights.as_ref().is_some_and(|all| all.len() != described.len()) {
        return Err(format!(
            "there are {} trees, and another number of entries in tree_info or weight_drop",
            described.len()
        ));
    }
    let mut trees = Vec::with_capacity(described.len());
    for (number, tree) in described.iter().enumerate() {
        let weight = weights.as_ref().map_or(1.0, |all| all[number]);
        let class = usize::try_from(of_class[number]).unwrap_or(usize::MAX);
        if class >= classes {
            return Err(format!("tree {number} is of class {}, and there are {classes}", of_class[number]));
        }
        let nodes = nodes_of(tree, weight).map_err(|cause| format!("tree {number}: {cause}"))?;
        // A file without them costs only contributions.
        let covers = numbers(tree, "sum_hessian").ok().filter(|covers| covers.len() == nodes.len());
        let tree = Tree::build(&nodes, &covers.unwrap_or_default(), features);
        trees.push((class, tree.map_err(|cause| format!("tree {number}: {cause}"))?));
    }
    let feature_names = learner.get("feature_names").and_then(Value::as_array).into_iter().flatten();
    let feature_names: Vec<String> =
        feature_names.filter_map(|name| name.as_str().map(str::to_owned)).collect();
    if !feature_names.is_empty() && feature_names.len() != features {
        return Err(format!("{} feature names are given for {features} features", feature_names.len()));
    }
    Ok(Model {
        format: "XGBoost",
        objective,
        feature_names,
        features,
        classes,
        early_stop: early_stop(learner, gbtree, trees.len() / classes),
        library: Library::XGBoost,
        base,
        trees,
        divisor: 1.0,
        transform,
        ..Model::default()
    })
}

/// What early stopping chose of the rounds, where it chose fewer than there are. A round is one tree a class, or
/// several (`num_parallel_tree`).
fn early_stop(learner: &Value, gbtree: &Value, trees_a_class: usize) -> Option<EarlyStop> {
    let best = learner.get("attributes")?.get("best_iteration").and_then(whole)?;
    let parallel = gbtree.get("gbtree_model_param").and_then(|all| count(all, "num_parallel_tree").ok());
    let rounds = trees_a_class / parallel.unwrap_or(1).max(1);
    let chosen = usize::try_from(best).ok()?.saturating_add(1);
    (chosen < rounds).then_some(EarlyStop { rounds, chosen })
}

/// Until 2.0 the base score of `binary:logitraw` was a probability; since then it is the margin itself.
fn refuse_old_margins(document: &Value, objective: &str) -> Result<(), String> {
    let major = document.get("version").and_then(|version| version.get(0)).and_then(whole);
    if objective == "binary:logitraw" && major.is_none_or(|major| major < 2) {
        return Err(
            "objective binary:logitraw can be used from XGBoost 2.0 on: train it again there".to_owned()
        );
    }
    Ok(())
}

/// From a base score as users write it to the margin that trees add to.
type ToMargin = fn(f64) -> f64;

/// The transform of an objective, and what makes a margin of its base score.
fn objective_of(name: &str) -> Result<(Transform, ToMargin), String> {
    let same: fn(f64) -> f64 = |base| base;
    #[expect(clippy::cast_possible_truncation, reason = "XGBoost computes the margin in float32")]
    let logit: fn(f64) -> f64 = |base| f64::from(-((1.0 / base as f32 - 1.0).ln()));
    #[expect(clippy::cast_possible_truncation, reason = "XGBoost computes the margin in float32")]
    let log: fn(f64) -> f64 = |base| f64::from((base as f32).ln());
    Ok(match name {
        "binary:logistic" | "reg:logistic" => (Transform::Logistic(1.0), logit),
        "binary:logitraw" => (Transform::Identity, same),
        "binary:hinge" => (Transform::Hinge, same),
        "multi:softprob" => (Transform::Softmax, same),
        "count:poisson" | "reg:gamma" | "reg:tweedie" | "survival:cox" | "survival:aft" => {
            (Transform::Exp, log)
        }
        "reg:squarederror"
        | "reg:linear"
        | "reg:squaredlogerror"
        | "reg:pseudohubererror"
        | "reg:absoluteerror"
        | "reg:quantileerror"
        | "rank:pairwise"
        | "rank:ndcg"
        | "rank:map" => (Transform::Identity, same),
        "multi:softmax" => {
            return Err(
                "objective multi:softmax gives a class and no probability: train with multi:softprob"
                    .to_owned(),
            );
        }
        other => return Err(format!("objective {other} can't be used")),
    })
}

/// `"5E-1"`, or since 3.1 `"[5E-1]"` with one value a class.
fn base_scores(parameters: &Value, classes: usize) -> Result<Vec<f64>, String> {
    let written = text(parameters, "base_score")?;
    let inner = written.trim().trim_start_matches('[').trim_end_matches(']');
    let parsed = inner.split(',').map(|part| part.trim().parse::<f32>().map(f64::from));
    let scores =
        parsed.collect::<Result<Vec<_>, _>>().map_err(|_| format!("base_score is {written:?}, no number"))?;
    match scores.len() {
        1 => Ok(vec![scores[0]; classes]),
        length if length == classes => Ok(scores),
        length => Err(format!("base_score has {length} values for {classes} classes")),
    }
}

#[expect(clippy::cast_possible_truncation, reason = "thresholds, leaves and weights are float32")]
fn nodes_of(tree: &Value, weight: f64) -> Result<Vec<Described>, String> {
    if tree
        .get("tree_param")
        .and_then(|all| all.get("size_leaf_vector"))
        .is_some_and(|size| whole(size).is_none_or(|size| size > 1))
    {
        return Err("leaves with several values can't be used (multi_strategy=multi_output_tree)".to_owned());
    }
    let left = integers(tree, "left_children")?;
    let right = integers(tree, "right_children")?;
    let features = integers(tree, "split_indices")?;
    let conditions = numbers(tree, "split_conditions")?;
    let default_left = integers(tree, "default_left")?;
    let kinds =
        if tree.get("split_type").is_some() { integers(tree, "split_type")? } else { vec![0; left.len()] };
    let lengths = [right.len(), features.len(), conditions.len(), default_left.len(), kinds.len()];
    if lengths.iter().any(|length| *length != left.len()) {
        return Err(format!("the arrays of its {} nodes have other lengths: {lengths:?}", left.len()));
    }
    let sets = sets_of(tree)?;
    let mut nodes = Vec::with_capacity(left.len());
    for node in 0..left.len() {
        let condition = conditions[node] as f32;
        if left[node] == -1 {
            let leaf = if weight == 1.0 { condition } else { condition * weight as f32 };
            nodes.push(Described::Leaf(f64::from(leaf)));
            continue;
        }
        let missing_left = default_left[node] != 0;
        let test = if kinds[node] == 1 {
            let (_, categories) = sets
                .binary_search_by_key(&node, |(node, _)| *node)
                .map(|found| &sets[found])
                .map_err(|_| format!("node {node} splits on categories and has none"))?;
            Test::OneOf { categories: categories.clone(), member_left: false, missing_left }
        } else {
            // `x < t` of float32 values is `x <= t.next_down()`; nothing is below minus infinity.
            let threshold = if condition == f32::NEG_INFINITY { f32::NAN } else { condition.next_down() };
            if threshold.is_nan() {
                return Err(format!("node {node} has the threshold {condition}"));
            }
            Test::AtMost { threshold: f64::from(threshold), missing_left, zero_missing: false }
        };
        let link = |to: i64| usize::try_from(to).map_err(|_| format!("node {node} leads to node {to}"));
        let feature =
            usize::try_from(features[node]).map_err(|_| format!("node {node} has a negative feature"))?;
        nodes.push(Described::Split { feature, test, left: link(left[node])?, right: link(right[node])? });
    }
    Ok(nodes)
}

/// The categories of each categorical node, in the order of nodes.
fn sets_of(tree: &Value) -> Result<Vec<(usize, Vec<u32>)>, String> {
    if tree.get("categories_nodes").is_none() {
        return Ok(Vec::new());
    }
    let nodes = integers(tree, "categories_nodes")?;
    let starts = integers(tree, "categories_segments")?;
    let sizes = integers(tree, "categories_sizes")?;
    let categories = integers(tree, "categories")?;
    if starts.len() != nodes.len() || sizes.len() != nodes.len() {
        return Err("categories_nodes, _segments and _sizes have different lengths".to_owned());
    }
    // A category is one node's: else a small file could ask for any number of them.
    let taken = sizes.iter().fold(0_u64, |sum, size| sum.saturating_add(size.unsigned_abs()));
    if taken > categories.len() as u64 {
        return Err(format!("its nodes take {taken} categories, and there are {}", categories.len()));
    }
    let mut sets = Vec::with_capacity(nodes.len());
    for ((node, start), size) in nodes.into_iter().zip(starts).zip(sizes) {
        let range = usize::try_from(start).ok().zip(usize::try_from(size).ok());
        let part = range.and_then(|(start, size)| categories.get(start..start.checked_add(size)?));
        let set = part.and_then(|part| {
            part.iter().map(|category| u32::try_from(*category).ok()).collect::<Option<Vec<_>>>()
        });
        match (usize::try_from(node), set) {
            (Ok(node), Some(set)) => sets.push((node, set)),
            _ => return Err(format!("the categories of node {node} are outside of the list of categories")),
        }
    }
    sets.sort_by_key(|(node, _)| *node);
    Ok(sets)
}

fn at<'a>(value: &'a Value, name: &str) -> Result<&'a Value, String> {
    value.get(name).ok_or_else(|| format!("{name} is missing: the file is no model that XGBoost saved"))
}

fn text<'a>(value: &'a Value, name: &str) -> Result<&'a str, String> {
    at(value, name)?.as_str().ok_or_else(|| format!("{name} is no text"))
}

fn array<'a>(value: &'a Value, name: &str) -> Result<&'a Vec<Value>, String> {
    at(value, name)?.as_array().ok_or_else(|| format!("{name} is no array"))
}

fn count(value: &Value, name: &str) -> Result<usize, String> {
    let number = whole(at(value, name)?).and_then(|number| usize::try_from(number).ok());
    number.ok_or_else(|| format!("{name} is no count"))
}

/// An integer, also where it is written as text, or as true or false.
fn whole(value: &Value) -> Option<i64> {
    match value {
        Value::String(text) => text.parse().ok(),
        Value::Bool(truth) => Some(i64::from(*truth)),
        other => other.as_i64(),
    }
}

fn integers(value: &Value, name: &str) -> Result<Vec<i64>, String> {
    let all = array(value, name)?.iter().map(whole).collect::<Option<Vec<_>>>();
    all.ok_or_else(|| format!("{name} holds something that is no integer"))
}

fn numbers(value: &Value, name: &str) -> Result<Vec<f64>, String> {
    let all = array(value, name)?.iter().map(Value::as_f64).collect::<Option<Vec<_>>>();
    all.ok_or_else(|| format!("{name} holds something that is no number"))
}
