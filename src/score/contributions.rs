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
    /// another length than the model's features, or where there is no such class.
    pub fn contributions(&self, row: &[f64], class: usize) -> Option<Contributions> {
        if row.len() != self.features {
            return None;
        }
        let row: Vec<f64> = row.iter().map(|value| self.narrowed(*value)).collect();
        let mut found = Contributions { bias: *self.base.get(class)?, features: vec![0.0; self.features] };
        for (_, tree) in self.trees.iter().filter(|(of_class, _)| *of_class == class) {
            found.bias += tree.expected()?;
            descend(&Step { tree, row: &row, node: 0 }, Path::default(), ROOT, &mut found.features);
        }
        found.bias /= self.divisor;
        found.features.iter_mut().for_each(|value| *value /= self.divisor);
        Some(found)
    }
}

/// Where the walk stands.
struct Step<'a> {
    tree: &'a Tree,
    row: &'a [f64],
    node: usize,
}

/// A split on the way from the root: the shares of the rows that follow it without and with the feature known.
#[derive(Debug, Clone, Copy)]
struct Fork {
    feature: Option<usize>,
    without: f64,
    with: f64,
}

/// What stands before the first split.
const ROOT: Fork = Fork { feature: None, without: 1.0, with: 1.0 };

/// Forks so far, one a feature, each with the weight of the subsets of its size.
#[derive(Debug, Clone, Default)]
struct Path(Vec<(Fork, f64)>);

fn descend(step: &Step, mut path: Path, fork: Fork, features: &mut [f64]) {
    path.extend(fork);
    let Some(split) = step.tree.split(step.node, step.row) else {
        let leaf = step.tree.value(step.node);
        for (index, (fork, _)) in path.0.iter().enumerate() {
            if let Some(value) = fork.feature.and_then(|feature| features.get_mut(feature)) {
                *value += path.weight_without(index) * (fork.with - fork.without) * leaf;
            }
        }
        return;
    };
    let mut before = ROOT;
    if let Some(index) = path.0.iter().position(|(fork, _)| fork.feature == Some(split.feature)) {
        before = path.0[index].0;
        path.remove(index);
    }
    let share = |child| step.tree.share(child, step.node) * before.without;
    let feature = Some(split.feature);
    let taken = Fork { feature, without: share(split.taken), with: before.with };
    let other = Fork { feature, without: share(split.other), with: 0.0 };
    descend(&Step { node: split.taken, ..*step }, path.clone(), taken, features);
    descend(&Step { node: split.other, ..*step }, path, other, features);
}

#[expect(clippy::cast_precision_loss, reason = "a path has at most 512 forks")]
impl Path {
    fn extend(&mut self, fork: Fork) {
        let depth = self.0.len();
        self.0.push((fork, if depth == 0 { 1.0 } else { 0.0 }));
        let all = (depth + 1) as f64;
        for index in (0..depth).rev() {
            let weight = self.0[index].1;
            self.0[index + 1].1 += fork.with * weight * (index + 1) as f64 / all;
            self.0[index].1 = fork.without * weight * (depth - index) as f64 / all;
        }
    }

    /// The weights as they were without the fork at `index`; 0 where nothing can be said of them.
    fn weights_without(&self, index: usize) -> impl Iterator<Item = f64> {
        let depth = self.0.len() - 1;
        let Fork { without, with, .. } = self.0[index].0;
        let all = (depth + 1) as f64;
        let mut rest = self.0[depth].1;
        (0..depth).rev().map(move |at| {
            let weight = self.0[at].1;
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

    fn weight_without(&self, index: usize) -> f64 {
        self.weights_without(index).sum()
    }

    fn remove(&mut self, index: usize) {
        let weights: Vec<f64> = self.weights_without(index).collect();
        self.0.remove(index);
        self.0.iter_mut().rev().zip(weights).for_each(|((_, weight), found)| *weight = found);
    }
}
