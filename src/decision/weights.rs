//! The file of weights that `backtest --fit` writes and a job reads.
//!
//! ```toml
//! schema = "tollgate.weights/1"
//! cap = 1000
//! bias = -6.1
//! review = 420
//! [weights]
//! card-velocity = 0.034
//! ```

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::Deserialize;
use sha2::{Digest, Sha256};

const SCHEMA: &str = "tollgate.weights/1";

const CAP_MAX: i64 = 1_000_000;

/// What the points of each rule add to the log-odds of a fraud.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Weights {
    schema: String,
    /// The most that a score can be.
    pub cap: i64,
    /// Log-odds of an event that nothing hits.
    pub bias: f64,
    /// From this score on a person looks at an event, where the file says so.
    pub review: Option<i64>,
    /// From this score on an event is stopped, where the file says so.
    pub block: Option<i64>,
    /// What one point of a rule adds, by the rule's id.
    pub weights: BTreeMap<String, f64>,
    /// What they were fitted on, for people.
    #[serde(default)]
    pub fit: BTreeMap<String, String>,
}

impl Weights {
    /// Weights without thresholds.
    pub fn new(cap: i64, bias: f64, weights: BTreeMap<String, f64>) -> Self {
        Self {
            schema: SCHEMA.to_owned(),
            cap,
            bias,
            review: None,
            block: None,
            weights,
            fit: BTreeMap::new(),
        }
    }

    /// Reads a file.
    ///
    /// # Errors
    /// What is wrong with it, and where.
    pub fn parse(text: &str) -> Result<Self, String> {
        let read: Self = toml::from_str(text).map_err(|error| error.to_string())?;
        if read.schema != SCHEMA {
            return Err(format!("its schema is `{}`, and this version reads {SCHEMA}", read.schema));
        }
        let numbers = || read.weights.values().chain([&read.bias]);
        if numbers().any(|number| !number.is_finite()) {
            return Err("a weight is no finite number".to_owned());
        }
        if !(1..=CAP_MAX).contains(&read.cap) {
            return Err(format!("`cap` must be from 1 to {CAP_MAX}, not {}", read.cap));
        }
        if let (Some(review), Some(block)) = (read.review, read.block)
            && review > block
        {
            return Err(format!(
                "`review` ({review}) is more than `block` ({block}), so it would never be reached"
            ));
        }
        Ok(read)
    }

    /// The file.
    pub fn text(&self) -> String {
        let mut text = format!(
            "# Written by `tollgate backtest --fit`; read by `[decisions] method = \"logistic\"`.\nschema = \"{SCHEMA}\"\n\
             # The most that a score can be.\ncap = {}\n# Log-odds of an event that nothing hits.\nbias = {:?}\n",
            self.cap, self.bias
        );
        for (name, score) in [("review", self.review), ("block", self.block)] {
            if let Some(score) = score {
                let _ = writeln!(text, "{name} = {score}");
            }
        }
        text.push_str("\n# What one point of a rule adds to them.\n[weights]\n");
        for (rule, weight) in &self.weights {
            let _ = writeln!(text, "{rule} = {weight:?}");
        }
        text.push_str("\n[fit]\n");
        for (key, value) in &self.fit {
            let _ = writeln!(text, "{key} = {value:?}");
        }
        text
    }

    /// Hash of what changes decisions, 12 hex digits: what the fit was made on is no part of it.
    pub fn version(&self) -> String {
        let bare = Self { fit: BTreeMap::new(), ..self.clone() };
        Sha256::digest(bare.text()).iter().take(6).map(|byte| format!("{byte:02x}")).collect()
    }

    /// The chance of a fraud by the points of hits; a rule without a weight moves nothing.
    #[expect(clippy::cast_precision_loss, reason = "points stay far below 2^53")]
    pub fn chance<'a>(&self, hits: impl Iterator<Item = (&'a str, i64)>) -> f64 {
        let weighed = hits.filter_map(|(rule, points)| Some(self.weights.get(rule)? * points as f64));
        1.0 / (1.0 + (-(self.bias + weighed.sum::<f64>())).exp())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again_and_what_is_wrong_is_said() {
        let mut weights = Weights::new(1000, -6.125, BTreeMap::from([("card-velocity".to_owned(), 0.034)]));
        weights.review = Some(420);
        weights.fit.insert("frauds".to_owned(), "17 of 1,000".to_owned());
        assert_eq!(Weights::parse(&weights.text()), Ok(weights.clone()));
        let wrong = |from: &str, to: &str| Weights::parse(&weights.text().replace(from, to)).unwrap_err();
        assert!(wrong("weights/1", "weights/2").contains("this version reads tollgate.weights/1"));
        assert!(wrong("cap = 1000", "cap = 0").contains("from 1 to 1000000"));
        assert!(wrong("0.034", "inf").contains("no finite number"));
        assert!(wrong("review = 420", "review = 420\nblock = 7").contains("never be reached"));
        assert!(wrong("review", "revue").contains("revue"));
    }

    #[test]
    fn a_version_is_of_what_changes_decisions() {
        let weights = Weights::new(1000, -6.125, BTreeMap::from([("card-velocity".to_owned(), 0.034)]));
        let read =
            |from: &str, to: &str| Weights::parse(&weights.text().replace(from, to)).unwrap().version();
        assert_eq!(weights.version().len(), 12);
        assert_eq!(read("[fit]\n", "[fit]\nfrauds = \"17\" # of 1,000\n"), weights.version());
        for (from, to) in
            [("0.034", "0.035"), ("-6.125", "-6.0"), ("1000", "999"), ("bias", "block = 7\nbias")]
        {
            assert_ne!(read(from, to), weights.version(), "{to}");
        }
    }
}
