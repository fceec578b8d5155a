//! What each feature adds to a model's sum for one row: path-dependent TreeSHAP.
//!
//! Takes a row of features; hands on [`Contributions`], which add up to the sum that the objective's transform is
//! then applied to. Follows Lundberg, Erion and Lee, "Consistent Individualized Feature Attribution for Tree
//! Ensembles", algorithm 2, as both libraries do. What would surprise: it costs the leaves times the square of the
//! depth for each tree, some thousand times a prediction, so it is for single rows that someone will look at.

use super::Model;
use super::tree::Tree;

/// Why a model gave what it gave for one row.
#[derive(Debug, Clone, PartialEq)]
pub struct Contributions {
    /// What the model expects before it knows the row.
    pub bias: f64,
    /// What each feature moved it by, in the model's order.
    pub features: Vec<f64>,
}

impl Model {
    /// The contributions of a row's features to the sum of one class, before the objective's transform; NaN is a
    /// missing value. Those of a LightGBM random forest are averaged like its predictions, which `pred_contrib`
    /// does not do: the library's are as many times as large as there are rounds. `None` where the file does not say how many training rows went which way, where `row` has
    /// another length than the model's features, where there is no such class, and of ONNX.
    pub fn contributions(&self, row: &[f64], class: usize) -> Option<Contributions> {
        if row.len() != self.features || self.graph.is_some() {
            return None;
        }
        let row: Vec<f64> = row.iter().map(|value| self.narrowed(*value)).collect();
        let mut found = Contributions { bias: *self.base.get(class)?, features: vec![0.0; self.features] };
        let mut paths = Vec::new();
        for (_, tree) in self.trees.iter().filter(|(of_class, _)| *of_class == class) {
            found.bias += tree.expected()?;
            let mut walk = Walk { tree, row: &row, features: &mut found.features, paths: &mut paths };
            walk.descend(0, (0, 0), ROOT);
        }
        found.bias /= self.divisor;
        found.features.iter_mut().for_each(|value| *value /= self.divisor);
        Some(found)
    }
}

/// A split on the way from the root: the shares of the rows that follow it without and with the feature known, and the
/// weight of the subsets of its size.
#[derive(Debug, Clone, Copy)]
struct Fork {
    feature: Option<usize>,
    without: f64,
    with: f64,
    weight: f64,
}

/// What stands before the first split.
const ROOT: Fork = Fork { feature: None, without: 1.0, with: 1.0, weight: 0.0 };

/// A walk through every leaf of a tree. The forks of each level stand behind those of the level above, in one buffer
/// that serves all trees: what is above must be left as it is for the other child.
struct Walk<'a> {
    tree: &'a Tree,
    row: &'a [f64],
    features: &'a mut [f64],
    paths: &'a mut Vec<Fork>,
}

impl Walk<'_> {
    /// Goes on to a node by way of `fork`; the forks before it stand in `paths` from `start`, `count` of them.
    fn descend(&mut self, node: usize, (start, count): (usize, usize), fork: Fork) {
        let own = start + count;
        self.paths.resize(own, ROOT);
        self.paths.extend_from_within(start..own);
        self.paths.push(fork);
        let path = &mut self.paths[own..];
        extend(path);
        let Some(split) = self.tree.split(node, self.row) else {
            let leaf = self.tree.value(node);
            for index in 0..path.len() {
                let fork = path[index];
                if let Some(value) = fork.feature.and_then(|feature| self.features.get_mut(feature)) {
                    *value += weight_without(path, index) * (fork.with - fork.without) * leaf;
                }
            }
            return;
        };
        let mut before = ROOT;
        if let Some(index) = path.iter().position(|fork| fork.feature == Some(split.feature)) {
            before = path[index];
            remove(path, index);
            self.paths.pop();
        }
        let count = self.paths.len() - own;
        let share = |child| self.tree.share(child, node) * before.without;
        let feature = Some(split.feature);
        let taken = Fork { feature, without: share(split.taken), with: before.with, weight: 0.0 };
        let other = Fork { feature, without: share(split.other), with: 0.0, weight: 0.0 };
        self.descend(split.taken, (own, count), taken);
        self.descend(split.other, (own, count), other);
    }
}

/// Takes the last fork of a path into the weights of all.
#[expect(clippy::cast_precision_loss, reason = "a path has at most 512 forks")]
fn extend(path: &mut [Fork]) {
    let depth = path.len() - 1;
    let fork = path[depth];
    path[depth].weight = if depth == 0 { 1.0 } else { 0.0 };
    let all = (depth + 1) as f64;
    for index in (0..depth).rev() {
        let weight = path[index].weight;
        path[index + 1].weight += fork.with * weight * (index + 1) as f64 / all;
        path[index].weight = fork.without * weight * (depth - index) as f64 / all;
    }
}

/// The weights as they were without the fork at `index`, the last first; 0 where nothing can be said of them.
#[expect(clippy::cast_precision_loss, reason = "a path has at most 512 forks")]
fn weights_without(path: &[Fork], index: usize) -> impl Iterator<Item = f64> {
    let depth = path.len() - 1;
    let Fork { without, with, .. } = path[index];
    let all = (depth + 1) as f64;
    let mut rest = path[depth].weight;
    (0..depth).rev().map(move |at| {
        let weight = path[at].weight;
        if with != 0.0 {
            let found = rest * all / ((at + 1) as f64 * with);
            rest = weight - found * without * (depth - at) as f64 / all;
            found
        } else if without != 0.0 {
            weight * all / (without * (depth - at) as f64)
        } else {
            0.0
        }
    })
}

fn weight_without(path: &[Fork], index: usize) -> f64 {
    weights_without(path, index).sum()
}

/// Takes the fork at `index` out again; the last place is left over.
fn remove(path: &mut [Fork], index: usize) {
    let weights: Vec<f64> = weights_without(path, index).collect();
    let last = path.len() - 1;
    path.copy_within(index + 1.., index);
    path[..last].iter_mut().rev().zip(weights).for_each(|(fork, found)| fork.weight = found);
}
