//! Tree ensembles trained elsewhere, evaluated over columns with the training library's own numbers.
//!
//! Takes the bytes of a model file (XGBoost JSON or UBJSON, LightGBM text); hands on a [`Model`]. A file that is
//! wrong, truncated or hostile is a [`ModelError`] that says what is wrong. What would surprise: sums are made
//! in `f32` for XGBoost and `f64` for LightGBM, tree by tree, since that is what the libraries do.

mod contributions;
mod lightgbm;
mod tree;
mod ubjson;
mod xgboost;

use std::path::{Path, PathBuf};

use arrow::array::{Array, Float64Array};
use sha2::{Digest, Sha256};

pub use contributions::Contributions;
use tree::Tree;

/// Largest model file that is read.
pub const MODEL_BYTES_MAX: u64 = 512 << 20;
/// Most features a model may have.
const FEATURES_MAX: usize = 65_536;
/// Most classes a model may tell apart.
const CLASSES_MAX: usize = 4_096;
/// Rows that go through one tree before the next tree is touched: their positions stay in the first cache.
const BLOCK_ROWS: usize = 64;

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
    #[error("model {} has an unknown ending: models are .json or .ubj (XGBoost), or .txt (LightGBM)", path.display())]
    UnknownFormat {
        /// The file.
        path: PathBuf,
    },
}

/// From sums over trees to the library's prediction.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Transform {
    /// The sum as it is.
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
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Library {
    XGBoost,
    LightGbm,
}

/// A tree ensemble.
#[derive(Debug, Clone)]
pub struct Model {
    /// Name in `predict`: the file's name without its ending.
    pub name: String,
    /// First 16 hex digits of the SHA-256 of the file.
    pub version: String,
    /// `XGBoost` or `LightGBM`.
    pub format: &'static str,
    /// The objective as the file names it.
    pub objective: String,
    /// Names of the features in order; empty where the file has none.
    pub feature_names: Vec<String>,
    /// How many features a row has.
    pub features: usize,
    /// How many values a prediction has: 1, or the number of classes.
    pub classes: usize,
    library: Library,
    base: Vec<f64>,
    /// Each tree with the class that it adds to.
    trees: Vec<(usize, Tree)>,
    /// What the sum is divided by: rounds of a random forest, else 1.
    divisor: f64,
    transform: Transform,
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
            _ => return Err(ModelError::UnknownFormat { path: path.to_owned() }),
        };
        let mut model =
            parsed.map_err(|cause| ModelError::Malformed { path: path.to_owned(), format, cause })?;
        model.name = path.file_stem().map(|stem| stem.to_string_lossy().to_lowercase()).unwrap_or_default();
        model.version = Sha256::digest(bytes).iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        Ok(model)
    }

    /// How many trees there are.
    pub fn trees(&self) -> usize {
        self.trees.len()
    }

    /// The library's prediction for each row, the values of a row's classes side by side; a null or NaN is
    /// a missing value. `columns` are the features in order, all of one length.
    pub fn predict(&self, columns: &[&Float64Array]) -> Vec<f64> {
        let rows = columns.first().map_or(0, |column| column.len());
        let mut sums: Vec<f64> = Vec::with_capacity(rows * self.classes);
        (0..rows).for_each(|_| sums.extend_from_slice(&self.base));
        let mut block = vec![f64::NAN; BLOCK_ROWS * self.features];
        for (number, sums) in sums.chunks_mut(BLOCK_ROWS * self.classes).enumerate() {
            let start = number * BLOCK_ROWS;
            let count = (rows - start).min(BLOCK_ROWS);
            self.fill(columns, start, count, &mut block);
            self.add_trees(&block, count, sums);
        }
        sums.chunks_mut(self.classes).for_each(|values| self.finish(values));
        sums
    }

    /// The block's rows one after the other, missing values as NaN.
    fn fill(&self, columns: &[&Float64Array], start: usize, count: usize, block: &mut [f64]) {
        for (feature, column) in columns.iter().enumerate().take(self.features) {
            let values = &column.values()[start..start + count];
            for (row, value) in values.iter().enumerate() {
                let value = if column.is_null(start + row) { f64::NAN } else { *value };
                block[row * self.features + feature] = self.narrowed(value);
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

    #[expect(clippy::cast_possible_truncation, reason = "XGBoost sums in float32")]
    fn add_trees(&self, block: &[f64], count: usize, sums: &mut [f64]) {
        let mut leaves = [0.0; BLOCK_ROWS];
        for (class, tree) in &self.trees {
            tree.leaves(block, self.features, &mut leaves[..count]);
            let sums = sums.iter_mut().skip(*class).step_by(self.classes);
            match self.library {
                Library::XGBoost => {
                    sums.zip(&leaves).for_each(|(sum, leaf)| *sum = f64::from(*sum as f32 + *leaf as f32));
                }
                Library::LightGbm => sums.zip(&leaves).for_each(|(sum, leaf)| *sum += leaf),
            }
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
