//! Shallow trees as perfect ones: every leaf equally deep, a question at every place above.
//!
//! Takes a [`Tree`] whose questions are plain comparisons; hands on the leaves of a block of rows. A step is a load, a
//! comparison and an addition: children are found by their number (2n and 2n + 1), so nothing is followed, and a missing
//! value is no case of its own. What would surprise: a block holds each feature twice, once with the lowest number
//! where a value is missing and once with the highest, and a question reads the one that leads where it sends
//! what is missing.

use super::tree::{Plain, Tree};

/// Rows of a block.
pub(super) const BLOCK_ROWS: usize = 64;

/// Rows that walk side by side: their steps do not wait for each other.
const LANES: usize = 8;

/// Deeper trees are walked along their links: a level more doubles the places.
const DEPTH_MAX: usize = 8;

/// A number as the library compares it.
pub(super) trait Number: Copy + PartialOrd + Default {
    const LOWEST: Self;
    const HIGHEST: Self;

    /// The same number; another one where there is none.
    fn narrowed(value: f64) -> Self;

    fn widened(self) -> f64;
}

impl Number for f32 {
    const LOWEST: Self = Self::NEG_INFINITY;
    const HIGHEST: Self = Self::INFINITY;

    #[expect(clippy::cast_possible_truncation, reason = "XGBoost's features are float32")]
    fn narrowed(value: f64) -> Self {
        value as Self
    }

    fn widened(self) -> f64 {
        f64::from(self)
    }
}

impl Number for f64 {
    const LOWEST: Self = Self::NEG_INFINITY;
    const HIGHEST: Self = Self::INFINITY;

    fn narrowed(value: f64) -> Self {
        value
    }

    fn widened(self) -> f64 {
        self
    }
}

/// Features of up to [`BLOCK_ROWS`] rows, feature by feature, each twice.
pub(super) struct Block<T> {
    values: Vec<T>,
}

impl<T: Number> Block<T> {
    pub(super) fn new(features: usize) -> Self {
        Self { values: vec![T::default(); 2 * features * BLOCK_ROWS] }
    }

    /// Puts the values of a feature in; NaN is missing.
    pub(super) fn fill(&mut self, feature: usize, values: impl Iterator<Item = f64>) {
        let both = &mut self.values[2 * feature * BLOCK_ROWS..][..2 * BLOCK_ROWS];
        let (left, right) = both.split_at_mut(BLOCK_ROWS);
        for ((left, right), value) in left.iter_mut().zip(right).zip(values) {
            let missing = value.is_nan();
            let value = T::narrowed(value);
            *left = if missing { T::LOWEST } else { value };
            *right = if missing { T::HIGHEST } else { value };
        }
    }
}

#[derive(Debug, Clone, Copy)]
struct Question<T> {
    /// The row goes right where its value is more.
    threshold: T,
    /// Where the feature's values start in a block.
    column: u32,
}

/// A perfect tree.
#[derive(Debug, Clone)]
pub(super) struct Perfect<T> {
    /// The root is at 1; as many as leaves.
    questions: Vec<Question<T>>,
    leaves: Vec<f64>,
}

impl<T: Number> Perfect<T> {
    /// The same tree; none where it is deep, asks about categories, or its thresholds are not exact in `T`.
    pub(super) fn of(tree: &Tree) -> Option<Self> {
        let depth = tree.depth();
        if depth > DEPTH_MAX {
            return None;
        }
        let nothing = Question { threshold: T::HIGHEST, column: 0 };
        let mut perfect = Self { questions: vec![nothing; 1 << depth], leaves: vec![0.0; 1 << depth] };
        perfect.place(tree, 0, 1).then_some(perfect)
    }

    /// Puts what stands below a node of a tree below a place; whether it can be.
    fn place(&mut self, tree: &Tree, node: usize, at: usize) -> bool {
        let places = self.leaves.len();
        match tree.plain(node) {
            Plain::Leaf(value) if at >= places => self.leaves[at - places] = value,
            // A leaf that stands higher: whatever is asked below, it is the answer.
            Plain::Leaf(_) => return self.place(tree, node, 2 * at) && self.place(tree, node, 2 * at + 1),
            Plain::Split { feature, threshold, missing_right, left } if at < places => {
                let exact = T::narrowed(threshold);
                let column = u32::try_from((2 * feature + usize::from(missing_right)) * BLOCK_ROWS);
                let (true, Ok(column)) = (threshold.is_finite() && exact.widened() == threshold, column)
                else {
                    return false;
                };
                self.questions[at] = Question { threshold: exact, column };
                return self.place(tree, left, 2 * at) && self.place(tree, left + 1, 2 * at + 1);
            }
            Plain::Split { .. } | Plain::Other => return false,
        }
        true
    }

    /// The leaf that each row of a block ends in; of rows that were not filled in, any.
    pub(super) fn leaves(&self, block: &Block<T>, leaves: &mut [f64; BLOCK_ROWS], rows: usize) {
        match self.leaves.len() {
            1 => leaves.fill(self.leaves[0]),
            2 => self.walk::<2>(block, leaves, rows),
            4 => self.walk::<4>(block, leaves, rows),
            8 => self.walk::<8>(block, leaves, rows),
            16 => self.walk::<16>(block, leaves, rows),
            32 => self.walk::<32>(block, leaves, rows),
            64 => self.walk::<64>(block, leaves, rows),
            128 => self.walk::<128>(block, leaves, rows),
            _ => self.walk::<256>(block, leaves, rows),
        }
    }

    /// With the number of places known to the compiler, it sees that none is left.
    fn walk<const PLACES: usize>(&self, block: &Block<T>, leaves: &mut [f64; BLOCK_ROWS], rows: usize) {
        let (Some(questions), Some(values)) =
            (self.questions.first_chunk::<PLACES>(), self.leaves.first_chunk::<PLACES>())
        else {
            return;
        };
        for (group, leaves) in leaves.chunks_exact_mut(LANES).enumerate().take(rows.div_ceil(LANES)) {
            let block = &block.values[group * LANES..];
            let mut at = [1_usize; LANES];
            for _ in 0..PLACES.trailing_zeros() {
                for (lane, at) in at.iter_mut().enumerate() {
                    let question = questions[*at & (PLACES - 1)];
                    let right = block[question.column as usize + lane] > question.threshold;
                    *at = 2 * *at + usize::from(right);
                }
            }
            leaves.iter_mut().zip(at).for_each(|(leaf, at)| *leaf = values[at & (PLACES - 1)]);
        }
    }
}
