//! Tree ensembles trained elsewhere, evaluated over columns with the training library's own numbers.
//!
//! Takes the bytes of a model file (XGBoost JSON or UBJSON, LightGBM text, and ONNX where the program is built with
//! that feature); hands on a [`Model`]. A file that is wrong, truncated or hostile is a [`ModelError`] that says what
//! is wrong. What would surprise: sums are made in `f32` for XGBoost and `f64` for LightGBM, tree by tree, since that
//! is what the libraries do.

mod coded;
mod contributions;
mod lightgbm;
#[cfg_attr(not(feature = "onnx"), path = "without_onnx.rs")]
mod onnx;
mod tree;
mod ubjson;
mod watch;
mod xgboost;

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{Array, Float64Array};
use sha2::{Digest, Sha256};

pub use contributions::Contributions;
pub use watch::{Baseline, Spread, Stability};

use coded::{BLOCK_ROWS, Block, Code, Coded, Forest};
use tree::Tree;
use watch::Watch;

/// Largest model file that is read.
pub const MODEL_BYTES_MAX: u64 = 512 << 20;
/// Most features a model may have.
const FEATURES_MAX: usize = 65_536;
/// Most classes a model may tell apart.
const CLASSES_MAX: usize = 4_096;

/// A model that can't be used.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// The file can't be opened or read.
    #[error("model {} can't be read: {cause}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        cause: std::io::Error,
    },
    /// The content is not a model of the format that the ending says.
    #[error("model {} is not a usable {format} model: {cause}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What its ending says it is.
        format: &'static str,
        /// Why.
        cause: String,
    },
    /// The ending says nothing known.
    #[error("model {} has an unknown ending: models are .json or .ubj (XGBoost), .txt (LightGBM), or .onnx", path.display())]
    UnknownFormat {
        /// The file.
        path: PathBuf,
    },
}

/// What early stopping chose of a model that was saved with all of its trees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EarlyStop {
    /// Rounds of trees in the file.
    pub rounds: usize,
    /// The first so many were the best.
    pub chosen: usize,
}

/// From sums over trees to the library's prediction.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
enum Transform {
    /// The sum as it is.
    #[default]
    Identity,
    /// `1 / (1 + exp(-slope * x))`.
    Logistic(f64),
    /// `exp(x)`.
    Exp,
    /// Probabilities over the classes.
    Softmax,
    /// 1 where the sum is above 0.
    Hinge,
    /// `sign(x) * x * x`.
    SignedSquare,
    /// `ln(1 + exp(x))`.
    Softplus,
}

/// The library whose arithmetic is followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Library {
    #[default]
    XGBoost,
    LightGbm,
}

/// Rows as the trees of a model read them; each shape only where a tree asks for it.
struct Blocks<T> {
    codes: Option<Block<T>>,
    /// One row after the other.
    rows: Option<Vec<f64>>,
}

impl<T: Code> Blocks<T> {
    fn of(forest: &Forest<T>, features: usize) -> Self {
        Self {
            codes: forest.trees.iter().any(Option::is_some).then(|| forest.block()),
            rows: forest.trees.iter().any(Option::is_none).then(|| vec![f64::NAN; BLOCK_ROWS * features]),
        }
    }
}

/// A tree ensemble, or a graph of another kind.
#[derive(Debug, Clone, Default)]
pub struct Model {
    /// Name in `predict`: the file's name without its ending.
    pub name: String,
    /// First 16 hex digits of the SHA-256 of the file.
    pub version: String,
    /// `XGBoost`, `LightGBM` or `ONNX`.
    pub format: &'static str,
    /// The objective as the file names it; of ONNX, the program that wrote it.
    pub objective: String,
    /// Names of the features in order; empty where the file has none.
    pub feature_names: Vec<String>,
    /// How many features a row has.
    pub features: usize,
    /// How many values a prediction has: 1, or the number of classes.
    pub classes: usize,
    /// The file it was read from.
    pub file: PathBuf,
    /// Where it holds more trees than early stopping chose: all are used, as `Booster.predict` does.
    pub early_stop: Option<EarlyStop>,
    library: Library,
    base: Vec<f64>,
    /// Each tree with the class that it adds to.
    trees: Vec<(usize, Tree)>,
    /// The same trees, those that can be, for a quicker walk.
    coded: Coded,
    /// What the sum is divided by: rounds of a random forest, else 1.
    divisor: f64,
    transform: Transform,
    /// What is asked instead of the trees.
    graph: Option<onnx::Graph>,
    watch: Arc<Watch>,
    baseline: Option<Baseline>,
}

impl Model {
    /// Reads a model from a file.
    pub fn open(path: &Path) -> Result<Self, ModelError> {
        let unreadable = |cause| ModelError::Unreadable { path: path.to_owned(), cause };
        let size = std::fs::metadata(path).map_err(unreadable)?.len();
        if size > MODEL_BYTES_MAX {
            let cause = format!("{size} bytes are more than the {MODEL_BYTES_MAX} that are read");
            return Err(unreadable(std::io::Error::other(cause)));
        }
        let bytes = std::fs::read(path).map_err(unreadable)?;
        Self::parse(path, &bytes)
    }

    /// Reads a model from bytes; the path gives its name and, by the ending, its format.
    pub fn parse(path: &Path, bytes: &[u8]) -> Result<Self, ModelError> {
        let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default().to_lowercase();
        let (format, parsed) = match ending.as_str() {
            "json" => ("XGBoost JSON", xgboost::parse_json(bytes)),
            "ubj" => ("XGBoost UBJSON", ubjson::parse(bytes).and_then(|document| xgboost::parse(&document))),
            "txt" => ("LightGBM text", lightgbm::parse(bytes)),
            "onnx" => ("ONNX", onnx::parse(bytes)),
            _ => return Err(ModelError::UnknownFormat { path: path.to_owned() }),
        };
        let mut model =
            parsed.map_err(|cause| ModelError::Malformed { path: path.to_owned(), format, cause })?;
        model.name = path.file_stem().map(|stem| stem.to_string_lossy().to_lowercase()).unwrap_or_default();
        path.clone_into(&mut model.file);
        model.coded = Coded::of(&model.trees, model.features);
        model.watch = Arc::new(Watch::new(model.features));
        model.version = Sha256::digest(bytes).iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        Ok(model)
    }

    /// The spread of its inputs and scores in its training period, from the file beside it.
    pub fn set_baseline(&mut self, baseline: Baseline) {
        self.baseline = Some(baseline);
    }

    /// The spread that it is compared with.
    pub fn baseline(&self) -> Option<&Baseline> {
        self.baseline.as_ref()
    }

    /// Names of its inputs in order, then of its scores.
    pub fn names(&self) -> Vec<String> {
        let input = |at: usize| self.feature_names.get(at).cloned().unwrap_or_else(|| format!("f{at}"));
        let score =
            |class: usize| if self.classes == 1 { "score".to_owned() } else { format!("score#{class}") };
        (0..self.features).map(input).chain((0..self.classes).map(score)).collect()
    }

    /// Takes note of what it was given, and of what it said of a class; see [`Self::stability`].
    pub fn note(&self, columns: &[&Float64Array], class: usize, scores: &[f64]) {
        self.watch.note(columns, (class, scores), self.baseline.as_ref());
    }

    /// Takes note of nothing, until it is told otherwise.
    pub fn pause(&self, paused: bool) {
        self.watch.pause(paused);
    }

    /// Keeps what it is given and says from here on, for [`Self::spread`].
    pub fn collect(&self) {
        self.watch.collect();
    }

    /// The spread of what was collected; none where it was asked about nothing.
    pub fn spread(&self) -> Option<Baseline> {
        self.watch.spread(&self.version, &self.names())
    }

    /// How far its inputs and scores have moved from its training period.
    ///
    /// # Errors
    /// Why that can't be said: there is no baseline, or too few rows.
    pub fn stability(&self) -> Result<Vec<Stability>, String> {
        let none = || "it has no baseline, which `tollgate backtest --baseline` writes".to_owned();
        self.watch.stability(self.baseline.as_ref().ok_or_else(none)?)
    }

    /// Rows that it was asked about, and how many values of each input were missing among them.
    pub fn missing(&self) -> (u64, Vec<u64>) {
        self.watch.missing()
    }

    /// How many trees there are; none of ONNX.
    pub fn trees(&self) -> usize {
        self.trees.len()
    }

    /// The library's prediction for each row, the values of a row's classes side by side; a null or NaN is
    /// a missing value. `columns` are the features in order, all of one length. Trees never fail; what is run for
    /// an ONNX file may, and says why.
    pub fn predict(&self, columns: &[&Float64Array]) -> Result<Vec<f64>, String> {
        match &self.graph {
            Some(graph) => graph.predict(columns),
            None => Ok(self.sum(columns)),
        }
    }

    fn sum(&self, columns: &[&Float64Array]) -> Vec<f64> {
        match &self.coded {
            Coded::Bytes(forest) => self.sum_over(forest, columns),
            Coded::Words(forest) => self.sum_over(forest, columns),
        }
    }

    fn sum_over<T: Code>(&self, forest: &Forest<T>, columns: &[&Float64Array]) -> Vec<f64> {
        let rows = columns.first().map_or(0, |column| column.len());
        let mut sums: Vec<f64> = Vec::with_capacity(rows * self.classes);
        (0..rows).for_each(|_| sums.extend_from_slice(&self.base));
        let mut blocks = Blocks::of(forest, self.features);
        // Rows of a block go through one tree before the next is touched: their values stay in the first cache.
        for (number, sums) in sums.chunks_mut(BLOCK_ROWS * self.classes).enumerate() {
            let start = number * BLOCK_ROWS;
            let count = (rows - start).min(BLOCK_ROWS);
            self.fill(forest, columns, start..start + count, &mut blocks);
            self.add_trees(forest, &blocks, count, sums);
        }
        sums.chunks_mut(self.classes).for_each(|values| self.finish(values));
        sums
    }

    /// Puts rows into the blocks that the trees read, missing values as NaN.
    fn fill<T: Code>(
        &self,
        forest: &Forest<T>,
        columns: &[&Float64Array],
        rows: Range<usize>,
        blocks: &mut Blocks<T>,
    ) {
        let mut values = [f64::NAN; BLOCK_ROWS];
        for (feature, column) in columns.iter().enumerate().take(self.features) {
            let some = column.null_count() > 0;
            for ((place, value), row) in
                values.iter_mut().zip(&column.values()[rows.clone()]).zip(rows.clone())
            {
                *place = if some && column.is_null(row) { f64::NAN } else { self.narrowed(*value) };
            }
            if let Some(block) = &mut blocks.codes {
                forest.fill(block, feature, &values, rows.len());
            }
            if let Some(block) = &mut blocks.rows {
                let places = block.iter_mut().skip(feature).step_by(self.features);
                places.zip(&values[..rows.len()]).for_each(|(place, value)| *place = *value);
            }
        }
    }

    /// A value as the library holds it.
    #[expect(clippy::cast_possible_truncation, reason = "XGBoost's features are float32")]
    fn narrowed(&self, value: f64) -> f64 {
        match self.library {
            Library::XGBoost => f64::from(value as f32),
            Library::LightGbm => value,
        }
    }

    fn add_trees<T: Code>(&self, forest: &Forest<T>, blocks: &Blocks<T>, count: usize, sums: &mut [f64]) {
        let mut leaves = [0.0; BLOCK_ROWS];
        for ((class, tree), shallow) in self.trees.iter().zip(&forest.trees) {
            match (shallow, &blocks.codes, &blocks.rows) {
                (Some(shallow), Some(block), _) => shallow.leaves(block, &mut leaves, count),
                (.., Some(block)) => tree.leaves(block, self.features, &mut leaves[..count]),
                _ => leaves.fill(0.0),
            }
            match self.classes {
                1 => self.add(sums.iter_mut(), &leaves),
                classes => self.add(sums.iter_mut().skip(*class).step_by(classes), &leaves),
            }
        }
    }

    #[expect(clippy::cast_possible_truncation, reason = "XGBoost sums in float32")]
    #[inline]
    fn add<'a>(&self, sums: impl Iterator<Item = &'a mut f64>, leaves: &[f64]) {
        let each = sums.zip(leaves);
        match self.library {
            Library::XGBoost => each.for_each(|(sum, leaf)| *sum = f64::from(*sum as f32 + *leaf as f32)),
            Library::LightGbm => each.for_each(|(sum, leaf)| *sum += leaf),
        }
    }

    fn finish(&self, values: &mut [f64]) {
        values.iter_mut().for_each(|value| *value /= self.divisor);
        match self.transform {
            Transform::Softmax => softmax(values),
            transform => values.iter_mut().for_each(|value| *value = transform.apply(*value)),
        }
    }
}

impl Transform {
    fn apply(self, x: f64) -> f64 {
        match self {
            Self::Identity | Self::Softmax => x,
            Self::Logistic(slope) => 1.0 / (1.0 + (-slope * x).exp()),
            Self::Exp => x.exp(),
            Self::Hinge => f64::from(u8::from(x > 0.0)),
            Self::SignedSquare => x.signum() * x * x,
            Self::Softplus => x.exp().ln_1p(),
        }
    }
}

fn softmax(values: &mut [f64]) {
    let highest = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    values.iter_mut().for_each(|value| *value = (*value - highest).exp());
    let sum: f64 = values.iter().sum();
    values.iter_mut().for_each(|value| *value /= sum);
}

#[cfg(test)]
mod tests;
