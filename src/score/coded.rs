//! Shallow trees over codes: a value is known by how many of its feature's thresholds are below it.
//!
//! Takes [`Tree`]s whose questions are plain comparisons; hands on the leaves of a block of rows. A code is found once a
//! block for all trees, and fits a byte where no feature has more than 255 thresholds (by default the libraries put values
//! into 255 or 256 bins). Then a question about a block of rows is four comparisons of the smallest vectors there are, and
//! a level is answered for all rows by asking all of its questions, without following anything. What would surprise: that
//! costs less than asking each row its own question, down to the sixth level; what is deeper, and few rows, walk by
//! themselves. A block holds each feature twice, once with the lowest code where a value is missing and once with the
//! highest, and a question reads the one that leads where it sends what is missing.

use std::ops::{Add, BitAnd, BitOr, Neg, Sub};

use super::tree::{Plain, Tree};

/// Rows of a block.
pub(super) const BLOCK_ROWS: usize = 64;

/// With fewer rows, each goes its own way: a level answered for all costs the same however few they are.
const ROWS_TOGETHER: usize = 8;

/// Rows of the part of a block that is answered where no more rows are in it.
const PART_ROWS: usize = 16;

/// Rows that are looked after side by side: their steps do not wait for each other.
const LANES: usize = 4;

/// Deeper trees are walked along their links: a level more doubles the places.
const DEPTH_MAX: usize = 8;

/// An integer that holds codes.
pub(super) trait Code:
    Copy
    + PartialOrd
    + From<bool>
    + Add<Output = Self>
    + Sub<Output = Self>
    + Neg<Output = Self>
    + BitAnd<Output = Self>
    + BitOr<Output = Self>
{
    /// Below every threshold.
    const LOWEST: Self;
    /// Above every threshold.
    const HIGHEST: Self;
    /// The most thresholds that a feature may have.
    const THRESHOLDS_MAX: usize;
    /// Levels that are answered for all rows at once: a vector of larger codes holds fewer.
    const LEVELS_TOGETHER: usize;

    /// The code of a value above so many thresholds, up to the most.
    fn of(count: usize) -> Self;

    /// A small number, and back.
    fn small(number: usize) -> Self;
    fn number(self) -> usize;
}

macro_rules! code {
    ($integer:ty, $levels:literal) => {
        impl Code for $integer {
            const LOWEST: Self = Self::MIN;
            const HIGHEST: Self = Self::MAX;
            const THRESHOLDS_MAX: usize = (1 << Self::BITS) - 1;
            const LEVELS_TOGETHER: usize = $levels;

            fn of(count: usize) -> Self {
                (count as Self).wrapping_add(Self::MIN)
            }

            fn small(number: usize) -> Self {
                number as Self
            }

            fn number(self) -> usize {
                self as usize
            }
        }
    };
}
code!(i8, 6);
code!(i16, 4);

/// A column of a block.
type Column<T> = [T; BLOCK_ROWS];

/// Codes of up to [`BLOCK_ROWS`] rows, feature by feature, each twice.
pub(super) struct Block<T> {
    columns: Vec<Column<T>>,
}

/// The thresholds of a feature, as a search meets them: the middle one at 1, those of the halves at 2 and 3, and so on.
#[derive(Debug, Clone)]
struct Thresholds {
    /// Infinite, and so never below a value, where a place is left over.
    places: Vec<f64>,
}

#[derive(Debug, Clone, Copy)]
struct Question<T> {
    /// The row goes right where its code is more.
    code: T,
    /// Number of the column in a block.
    column: u32,
}

/// A tree whose leaves are all equally deep.
#[derive(Debug, Clone)]
pub(super) struct Shallow<T> {
    /// The root is at 1; as many as leaves.
    questions: Vec<Question<T>>,
    leaves: Vec<f64>,
}

/// The trees of a model that can be asked by codes.
#[derive(Debug, Clone)]
pub(super) struct Forest<T> {
    thresholds: Vec<Thresholds>,
    /// One for each tree of the model; none where it is deep, or asks something else.
    pub(super) trees: Vec<Option<Shallow<T>>>,
}

/// The same with the smallest codes that do.
#[derive(Debug, Clone)]
pub(super) enum Coded {
    Bytes(Forest<i8>),
    Words(Forest<i16>),
}

impl Coded {
    pub(super) fn of(trees: &[(usize, Tree)], features: usize) -> Self {
        let quick = |tree: &&Tree| tree.is_plain() && tree.depth() <= DEPTH_MAX;
        let quick: Vec<Option<&Tree>> = trees.iter().map(|(_, tree)| Some(tree).filter(quick)).collect();
        let mut thresholds = vec![Vec::new(); features];
        quick.iter().flatten().for_each(|tree| gather(tree, 0, &mut thresholds));
        for known in &mut thresholds {
            known.sort_unstable_by(f64::total_cmp);
            // -0 and 0 part the same numbers.
            known.dedup_by(|a, b| *a == *b);
        }
        match thresholds.iter().map(Vec::len).max().unwrap_or(0) {
            most if most <= i8::THRESHOLDS_MAX => Self::Bytes(Forest::of(&quick, &thresholds)),
            most if most <= i16::THRESHOLDS_MAX => Self::Words(Forest::of(&quick, &thresholds)),
            _ => Self::none(trees.len()),
        }
    }

    /// Every tree is walked along its links.
    pub(super) fn none(trees: usize) -> Self {
        Self::Bytes(Forest { thresholds: Vec::new(), trees: vec![None; trees] })
    }
}

impl Default for Coded {
    fn default() -> Self {
        Self::none(0)
    }
}

/// Adds the thresholds below a node to those of their features.
fn gather(tree: &Tree, node: usize, thresholds: &mut [Vec<f64>]) {
    if let Some(Plain { feature, threshold, left, .. }) = tree.plain(node) {
        thresholds[feature].push(threshold);
        gather(tree, left, thresholds);
        gather(tree, left + 1, thresholds);
    }
}

impl Thresholds {
    /// `known` are in order.
    fn of(known: &[f64]) -> Self {
        let mut places = vec![f64::INFINITY; (known.len() + 1).next_power_of_two()];
        let mut next = known.iter();
        place(&mut places, &mut next, 1);
        Self { places }
    }

    /// How many are below each of some values.
    fn below(&self, values: &[f64; LANES]) -> [usize; LANES] {
        let mut at = [1_usize; LANES];
        for _ in 0..self.places.len().trailing_zeros() {
            for (at, value) in at.iter_mut().zip(values) {
                *at = 2 * *at + usize::from(self.places[*at] < *value);
            }
        }
        at.map(|at| at - self.places.len())
    }
}

/// Puts thresholds at a place and below it, in order from left to right.
fn place<'a>(places: &mut [f64], next: &mut impl Iterator<Item = &'a f64>, at: usize) {
    if at < places.len() {
        place(places, next, 2 * at);
        if let Some(threshold) = next.next() {
            places[at] = *threshold;
        }
        place(places, next, 2 * at + 1);
    }
}

impl<T: Code> Forest<T> {
    /// The trees that are plain, over the thresholds of each feature in order.
    fn of(trees: &[Option<&Tree>], thresholds: &[Vec<f64>]) -> Self {
        let shallow = |tree: &Tree| {
            let nothing = Question { code: T::HIGHEST, column: 0 };
            let places = 1 << tree.depth();
            let mut shallow = Shallow { questions: vec![nothing; places], leaves: vec![0.0; places] };
            shallow.place(tree, thresholds, 0, 1);
            shallow
        };
        Self {
            trees: trees.iter().map(|tree| tree.map(shallow)).collect(),
            thresholds: thresholds.iter().map(|known| Thresholds::of(known)).collect(),
        }
    }

    /// A block for rows of these trees.
    pub(super) fn block(&self) -> Block<T> {
        Block { columns: vec![[T::LOWEST; BLOCK_ROWS]; 2 * self.thresholds.len()] }
    }

    /// Puts the values of a feature for some rows, at least, into a block; NaN is missing.
    pub(super) fn fill(&self, block: &mut Block<T>, feature: usize, values: &Column<f64>, rows: usize) {
        let Some(thresholds) = self.thresholds.get(feature).filter(|known| known.places.len() > 1) else {
            return;
        };
        let Some([left, right]) =
            block.columns.get_mut(2 * feature..).and_then(|rest| rest.first_chunk_mut::<2>())
        else {
            return;
        };
        let places = left.chunks_exact_mut(LANES).zip(right.chunks_exact_mut(LANES));
        let groups = values.as_chunks::<LANES>().0.iter().zip(places);
        for (values, (left, right)) in groups.take(rows.div_ceil(LANES)) {
            for (lane, count) in thresholds.below(values).into_iter().enumerate() {
                let missing = values[lane].is_nan();
                left[lane] = if missing { T::LOWEST } else { T::of(count) };
                right[lane] = if missing { T::HIGHEST } else { T::of(count) };
            }
        }
    }
}

impl<T: Code> Shallow<T> {
    /// Puts what stands below a node of a tree at a place and below it.
    fn place(&mut self, tree: &Tree, thresholds: &[Vec<f64>], node: usize, at: usize) {
        if let Some(leaf) = at.checked_sub(self.leaves.len()) {
            self.leaves[leaf] = tree.value(node);
            return;
        }
        let (left, right) = match tree.plain(node) {
            Some(Plain { feature, threshold, missing_right, left }) => {
                let code = T::of(thresholds[feature].partition_point(|known| *known < threshold));
                let column = 2 * feature + usize::from(missing_right);
                self.questions[at] = Question { code, column: column as u32 };
                (left, left + 1)
            }
            // A leaf that stands higher: whatever is asked below, it is the answer.
            None => (node, node),
        };
        self.place(tree, thresholds, left, 2 * at);
        self.place(tree, thresholds, right, 2 * at + 1);
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
        let levels = PLACES.trailing_zeros() as usize;
        let together = if rows < ROWS_TOGETHER { 0 } else { levels.min(T::LEVELS_TOGETHER) };
        let mut at = [T::small(0); BLOCK_ROWS];
        for level in 0..together {
            let questions = &questions[1 << level..2 << level];
            match at.first_chunk_mut::<PART_ROWS>().filter(|_| rows <= PART_ROWS) {
                Some(at) => answer(questions, &block.columns, at),
                None => answer(questions, &block.columns, &mut at),
            }
        }
        for (row, (leaf, at)) in leaves.iter_mut().zip(at).enumerate().take(rows) {
            let mut at = (1 << together) + at.number();
            for _ in together..levels {
                let question = questions[at & (PLACES - 1)];
                let code = block.columns[question.column as usize][row];
                at = 2 * at + usize::from(code > question.code);
            }
            *leaf = values[at & (PLACES - 1)];
        }
    }
}

/// From the places of some rows within a level to those in the next one: all questions of the level are asked of all of
/// them, and each keeps the answer of its own. The compiler makes vectors of it.
#[inline]
fn answer<T: Code, const ROWS: usize>(questions: &[Question<T>], columns: &[Column<T>], at: &mut [T; ROWS]) {
    let mut right = [T::small(0); ROWS];
    for (place, question) in questions.iter().enumerate() {
        let codes = columns.get(question.column as usize).and_then(|codes| codes.first_chunk::<ROWS>());
        let Some(codes) = codes else { return };
        let (place, code) = (T::small(place), question.code);
        for row in 0..ROWS {
            // -1, all bits, is true.
            let (here, more) = (-T::from(at[row] == place), -T::from(codes[row] > code));
            right[row] = right[row] | (here & more);
        }
    }
    for (at, right) in at.iter_mut().zip(right) {
        *at = *at + *at - right;
    }
}
