//! `[decisions]` of the settings, and the file of weights that it names.

use std::path::Path;
use std::sync::Arc;

use super::failure::Failure;
use crate::decision::{Combination, Decide, DecisionSettings, Thresholds, Weights};
use crate::diagnostic::{Diagnostic, Severity};
use crate::rules::{RuleSet, Status};
use crate::settings::{self, Loaded, Method, Settings};

/// How events are decided. The cap and the thresholds that belong to weights count before those of the settings.
pub(super) fn decision_settings(settings: &Settings) -> Result<DecisionSettings, Failure> {
    let own = &settings.decisions;
    let mut thresholds = Thresholds { review: own.review, challenge: own.challenge, block: own.block };
    let cap = own.cap;
    let combination = match (own.method, &own.weights) {
        (Method::Logistic, Some(file)) => {
            let weights = weights(file).map_err(Failure::usage)?;
            thresholds.review = weights.review.unwrap_or(thresholds.review);
            thresholds.block = weights.block.unwrap_or(thresholds.block);
            Combination::Logistic { weights: Arc::new(weights) }
        }
        (Method::NoisyOr, _) => Combination::NoisyOr { cap },
        (Method::Max, _) => Combination::Max,
        (Method::SumCap | Method::Logistic, _) => Combination::SumCap { cap },
    };
    let decide = match settings.output.decide {
        settings::Decide::All => Decide::All,
        settings::Decide::Touched => Decide::Touched,
    };
    Ok(DecisionSettings { decide, combination, thresholds })
}

/// Reads a file of weights; the error says which file.
pub(super) fn weights(file: &Path) -> Result<Weights, String> {
    let text = std::fs::read_to_string(file)
        .map_err(|cause| format!("{} can't be read: {cause}", file.display()))?;
    Weights::parse(&text).map_err(|cause| format!("{} can't be used: {cause}", file.display()))
}

/// What is wrong with the file of weights, and which rules it does not fit.
pub(super) fn weight_faults(loaded: &Loaded, set: &RuleSet) -> Vec<Diagnostic> {
    let Some(file) = &loaded.settings.decisions.weights else { return Vec::new() };
    const KEY: &str = "decisions.weights";
    let fit = "fit them with `tollgate backtest --fit FILE` on labelled events";
    let weights = match weights(file) {
        Err(cause) => return vec![loaded.error_at(KEY, cause).with_help(fit)],
        Ok(weights) => weights,
    };
    let live = || set.running().filter(|rule| rule.header.status == Status::Live).map(|rule| &rule.header.id);
    let without = live().filter(|id| !weights.weights.contains_key(*id));
    let without = without.map(|id| format!("live rule {id} has no weight: its points move no score"));
    let gone = weights.weights.keys().filter(|id| live().all(|own| own != *id));
    let gone = gone.map(|id| format!("the weights were fitted with rule {id}, which is not live now"));
    let warning =
        |message| Diagnostic { severity: Severity::Warning, ..loaded.error_at(KEY, message) }.with_help(fit);
    without.chain(gone).map(warning).collect()
}
