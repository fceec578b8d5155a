//! `[decisions]` of the settings, and the file of weights that it names.

use std::path::Path;
use std::sync::Arc;

use crate::decision::{Combination, Decide, DecisionSettings, Thresholds, Weights};
use crate::diagnostic::{Diagnostic, Severity};
use crate::rules::{RuleSet, Status};
use crate::settings::{self, Loaded, Method, Settings};

/// How events are decided; none where no decisions are made. The cap and the thresholds that belong to weights count
/// before those of the settings. The error says which file.
pub(super) fn decision_settings(settings: &Settings) -> Result<Option<DecisionSettings>, String> {
    if settings.output.decisions.is_none() {
        return Ok(None);
    }
    let own = &settings.decisions;
    let mut thresholds = Thresholds { review: own.review, challenge: own.challenge, block: own.block };
    let cap = own.cap;
    let combination = match (own.method, weights_file(settings)) {
        (Method::Logistic, Some(file)) => {
            let weights = weights(file)?;
            thresholds.review = weights.review.unwrap_or(thresholds.review);
            thresholds.block = weights.block.unwrap_or(thresholds.block);
            reachable(&thresholds, weights.cap)
                .map_err(|cause| format!("{} can't be used: {cause}", file.display()))?;
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
    Ok(Some(DecisionSettings { decide, combination, thresholds }))
}

/// The file of weights that decisions rest on, where they do.
pub(super) fn weights_file(settings: &Settings) -> Option<&Path> {
    let own = &settings.decisions;
    let asked = settings.output.decisions.is_some() && own.method == Method::Logistic;
    own.weights.as_deref().filter(|_| asked)
}

/// Thresholds of weights and those of the settings were written apart, and must fit each other.
fn reachable(thresholds: &Thresholds, cap: i64) -> Result<(), String> {
    let Thresholds { review, challenge, block } = *thresholds;
    let middle = challenge.unwrap_or(block);
    if review <= middle && middle <= block && block <= cap {
        return Ok(());
    }
    let challenge = challenge.map(|challenge| format!(", challenge {challenge}")).unwrap_or_default();
    Err(format!(
        "with the settings it comes to review {review}{challenge}, block {block} and a cap of {cap}, and each must be at \
         least the one before: fit it with --review-at and --block-at, or change [decisions]"
    ))
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
    let read = decision_settings(&loaded.settings).and_then(|_| weights(file));
    match read {
        Err(cause) => vec![loaded.error_at(KEY, cause).with_help(fit)],
        Ok(weights) => {
            let warning = |message| {
                Diagnostic { severity: Severity::Warning, ..loaded.error_at(KEY, message) }.with_help(fit)
            };
            misfits(&weights, set).into_iter().map(warning).collect()
        }
    }
}

/// Live rules without a weight, and weights of rules that are not live.
pub(super) fn misfits(weights: &Weights, set: &RuleSet) -> Vec<String> {
    let live = || set.running().filter(|rule| rule.header.status == Status::Live).map(|rule| &rule.header.id);
    let without = live().filter(|id| !weights.weights.contains_key(*id));
    let without = without.map(|id| format!("live rule {id} has no weight: its points move no score"));
    let gone = weights.weights.keys().filter(|id| live().all(|own| own != *id));
    let gone = gone.map(|id| format!("the weights were fitted with rule {id}, which is not live now"));
    without.chain(gone).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thresholds_of_weights_and_settings_that_do_not_fit_each_other_are_refused() {
        let fits = |review, challenge, block| reachable(&Thresholds { review, challenge, block }, 1000);
        assert_eq!(fits(420, None, 900), Ok(()));
        assert_eq!(fits(420, Some(420), 1000), Ok(()));
        let failure = fits(420, None, 80).unwrap_err();
        assert!(failure.contains("review 420, block 80 and a cap of 1000"), "{failure}");
        for (review, challenge, block) in [(420, Some(65), 900), (420, Some(950), 900), (420, None, 1001)] {
            assert!(fits(review, challenge, block).is_err(), "{review} {challenge:?} {block}");
        }
    }
}
