//! LightGBM models (version v3 and v4) from their text.
//!
//! Takes the text that `save_model` writes; hands on a [`Model`]. Follows `Tree::Tree(const char*)` and
//! `Tree::NumericalDecision` of LightGBM. Linear trees are refused.

use std::collections::HashMap;
use std::str::FromStr;

use super::tree::{Described, Test, Tree};
use super::{CLASSES_MAX, FEATURES_MAX, Library, Model, Transform};

type Fields<'a> = HashMap<&'a str, &'a str>;

/// Reads the text.
pub(super) fn parse(bytes: &[u8]) -> Result<Model, String> {
    let text = std::str::from_utf8(bytes).map_err(|cause| format!("it is no text: {cause}"))?;
    let mut sections = vec![Fields::new()];
    let mut forest = false;
    let mut ended = false;
    for line in text.lines() {
        let line = line.trim();
        if line == "end of trees" {
            ended = true;
            break;
        }
        if line.starts_with("Tree=") {
            sections.push(Fields::new());
        } else if line == "average_output" {
            forest = true;
        } else if let (Some((name, value)), Some(section)) = (line.split_once('='), sections.last_mut()) {
            section.insert(name, value);
        }
    }
    if !text.trim_start().starts_with("tree") {
        return Err("its first line is not 'tree': the file is no model that LightGBM saved".to_owned());
    }
    if !ended {
        return Err("'end of trees' is missing: the file was cut off".to_owned());
    }
    let header = sections.remove(0);
    let features = one::<usize>(&header, "max_feature_idx")?.saturating_add(1);
    let classes = one::<usize>(&header, "num_tree_per_iteration")?;
    if features > FEATURES_MAX || classes == 0 || classes > CLASSES_MAX {
        return Err(format!(
            "{features} features and {classes} classes: up to {FEATURES_MAX} and {CLASSES_MAX} can be used"
        ));
    }
    if sections.len() % classes != 0 {
        return Err(format!("{} trees can't be shared out among {classes} classes", sections.len()));
    }
    let feature_names: Vec<String> =
        header.get("feature_names").unwrap_or(&"").split_whitespace().map(str::to_owned).collect();
    if !feature_names.is_empty() && feature_names.len() != features {
        return Err(format!("{} feature names are given for {features} features", feature_names.len()));
    }
    let objective = (*header.get("objective").unwrap_or(&"none")).to_owned();
    let transform = objective_of(&objective)?;
    let mut trees = Vec::with_capacity(sections.len());
    for (number, fields) in sections.iter().enumerate() {
        let tree =
            nodes_of(fields).and_then(|nodes| Tree::build(&nodes, &covers_of(fields, nodes.len()), features));
        trees.push((number % classes, tree.map_err(|cause| format!("tree {number}: {cause}"))?));
    }
    #[expect(clippy::cast_precision_loss, reason = "rounds are few")]
    let divisor = if forest { (trees.len() / classes).max(1) as f64 } else { 1.0 };
    Ok(Model {
        format: "LightGBM",
        objective,
        feature_names,
        features,
        classes,
        library: Library::LightGbm,
        base: vec![0.0; classes],
        trees,
        divisor,
        transform,
        ..Model::default()
    })
}

fn objective_of(written: &str) -> Result<Transform, String> {
    let mut words = written.split_whitespace();
    let name = words.next().unwrap_or("none");
    let options: Vec<&str> = words.collect();
    let sigmoid = || {
        let given = options.iter().find_map(|option| option.strip_prefix("sigmoid:"));
        let slope = given.map_or(Ok(1.0), str::parse::<f64>).ok().filter(|slope| slope.is_finite());
        slope
            .map(Transform::Logistic)
            .ok_or_else(|| format!("objective {written:?} has a sigmoid that is no number"))
    };
    Ok(match name {
        "binary" | "multiclassova" => sigmoid()?,
        "multiclass" => Transform::Softmax,
        "poisson" | "gamma" | "tweedie" => Transform::Exp,
        "cross_entropy" => Transform::Logistic(1.0),
        "cross_entropy_lambda" => Transform::Softplus,
        "regression" | "regression_l1" | "huber" | "fair" | "quantile" | "mape"
            if options.contains(&"sqrt") =>
        {
            Transform::SignedSquare
        }
        "regression" | "regression_l1" | "huber" | "fair" | "quantile" | "mape" | "lambdarank"
        | "rank_xendcg" | "none" | "custom" => Transform::Identity,
        other => return Err(format!("objective {other} can't be used")),
    })
}

fn nodes_of(fields: &Fields) -> Result<Vec<Described>, String> {
    if one::<i64>(fields, "is_linear").unwrap_or(0) != 0 {
        return Err("linear trees can't be used: train with linear_tree=false".to_owned());
    }
    let leaves = many::<f64>(fields, "leaf_value")?;
    let stated = one::<usize>(fields, "num_leaves")?;
    if leaves.len() != stated || leaves.is_empty() {
        return Err(format!("num_leaves is {stated}, and leaf_value has {}", leaves.len()));
    }
    let splits = leaves.len() - 1;
    if splits == 0 {
        return Ok(vec![Described::Leaf(leaves[0])]);
    }
    let features = many::<usize>(fields, "split_feature")?;
    let thresholds = many::<f64>(fields, "threshold")?;
    let kinds = many::<u8>(fields, "decision_type")?;
    let left = many::<i64>(fields, "left_child")?;
    let right = many::<i64>(fields, "right_child")?;
    let lengths = [features.len(), thresholds.len(), kinds.len(), left.len(), right.len()];
    if lengths.iter().any(|length| *length != splits) {
        return Err(format!("the arrays of its {splits} splits have other lengths: {lengths:?}"));
    }
    let mut sets = if kinds.iter().any(|kind| kind & 1 == 1) { Sets::of(fields)? } else { Sets::default() };
    let mut nodes = Vec::with_capacity(splits + leaves.len());
    for node in 0..splits {
        // A negative link is the complement of a leaf's number; leaves stand behind the splits here.
        let link = |to: i64| {
            let place = if to < 0 {
                usize::try_from(!to).ok().and_then(|leaf| leaf.checked_add(splits))
            } else {
                usize::try_from(to).ok()
            };
            place.ok_or_else(|| format!("split {node} leads to {to}"))
        };
        let test = test_of(&mut sets, kinds[node], thresholds[node])
            .map_err(|cause| format!("split {node}: {cause}"))?;
        nodes.push(Described::Split {
            feature: features[node],
            test,
            left: link(left[node])?,
            right: link(right[node])?,
        });
    }
    nodes.extend(leaves.into_iter().map(Described::Leaf));
    Ok(nodes)
}

/// The training rows of each node, splits first; empty where the file has none, which costs only contributions.
fn covers_of(fields: &Fields, nodes: usize) -> Vec<f64> {
    if nodes == 1 {
        return vec![1.0];
    }
    let splits = many::<f64>(fields, "internal_count");
    let leaves = many::<f64>(fields, "leaf_count");
    let covers = splits.and_then(|splits| Ok([splits, leaves?].concat()));
    covers.ok().filter(|covers| covers.len() == nodes).unwrap_or_default()
}

fn test_of(sets: &mut Sets, kind: u8, threshold: f64) -> Result<Test, String> {
    if threshold.is_nan() {
        return Err("its threshold is no number".to_owned());
    }
    if kind & 1 == 1 {
        return Ok(Test::OneOf { categories: sets.set(threshold)?, member_left: true, missing_left: false });
    }
    let default_left = kind & 2 != 0;
    Ok(match kind >> 2 & 3 {
        // Without missing values in training, NaN is read as 0.
        0 => Test::AtMost { threshold, missing_left: 0.0 <= threshold, zero_missing: false },
        1 => Test::AtMost { threshold, missing_left: default_left, zero_missing: true },
        2 => Test::AtMost { threshold, missing_left: default_left, zero_missing: false },
        _ => return Err(format!("decision type {kind} is unknown")),
    })
}

/// The sets of a tree's categorical splits: bits in 32-bit words, from one boundary to the next.
#[derive(Default)]
struct Sets {
    bounds: Vec<usize>,
    words: Vec<u32>,
    /// Words that splits have not taken yet: a word is one split's.
    left: usize,
}

impl Sets {
    fn of(fields: &Fields) -> Result<Self, String> {
        let words = many::<u32>(fields, "cat_threshold")?;
        Ok(Self { bounds: many(fields, "cat_boundaries")?, left: words.len(), words })
    }

    fn set(&mut self, index: f64) -> Result<Vec<u32>, String> {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the cast saturates")]
        let index = index as usize;
        let bounds = self.bounds.get(index).zip(self.bounds.get(index.saturating_add(1)));
        let (start, end) = bounds.ok_or_else(|| format!("set {index} of categories has no boundaries"))?;
        let words = self
            .words
            .get(*start..*end)
            .ok_or_else(|| format!("set {index} of categories goes past the end of cat_threshold"))?;
        self.left = self
            .left
            .checked_sub(words.len())
            .ok_or_else(|| format!("set {index} of categories is another split's as well"))?;
        let bits = words.iter().zip((0_u32..).step_by(32)).flat_map(|(word, first)| {
            (0..32).filter(move |bit| word >> bit & 1 == 1).map(move |bit| first.saturating_add(bit))
        });
        Ok(bits.collect())
    }
}

fn one<T: FromStr>(fields: &Fields, name: &str) -> Result<T, String> {
    let written = fields.get(name).ok_or_else(|| format!("{name} is missing"))?;
    written.trim().parse().map_err(|_| format!("{name} is {written:?}, which can't be used"))
}

fn many<T: FromStr>(fields: &Fields, name: &str) -> Result<Vec<T>, String> {
    let written = fields.get(name).ok_or_else(|| format!("{name} is missing"))?;
    let parse = |word: &str| word.parse().map_err(|_| format!("{name} holds {word:?}, which can't be used"));
    written.split_whitespace().map(parse).collect()
}
