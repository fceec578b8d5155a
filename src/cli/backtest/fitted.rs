//! Weights of rules, fitted to the period that is scored, and their file.

use std::path::Path;
use std::sync::Arc;

use super::Arguments;
use super::collect::Collected;
use super::prepare::Prepared;
use crate::backtest::{self, Case, Member, Report};
use crate::cli::failure::Failure;
use crate::cli::terminal::grouped;
use crate::decision::{Combination, Outcome, Weights};

/// Fits the weights of the rules that decide together.
pub(super) fn fit(
    case: &Case<'_>,
    here: &Collected,
    prepared: &Prepared,
    arguments: &Arguments,
) -> Result<Combination, Failure> {
    let counted: Vec<_> = here.ruled.iter().filter(|ruled| ruled.counts).collect();
    let scoped: Vec<_> = counted.iter().map(|ruled| ruled.flags.within(&case.scored)).collect();
    let members: Vec<Member<'_>> =
        counted.iter().zip(&scoped).map(|(ruled, flags)| ruled.member(flags)).collect();
    let found = backtest::fit(case, &members).map_err(Failure::findings)?;
    let mut weights = Weights::new(i64::from(arguments.cap), found.bias, found.weights);
    let scope = &case.scope;
    let period = |time: &Option<String>| time.clone().unwrap_or_default();
    let notes = [
        ("rules", prepared.set.version.clone()),
        ("from", period(&scope.from)),
        ("to", period(&scope.to)),
        ("events", grouped(found.events)),
        ("frauds", grouped(found.frauds)),
    ];
    weights.fit = notes.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
    Ok(Combination::Logistic { weights: Arc::new(weights) })
}

/// Writes weights with the thresholds that were asked for.
pub(super) fn write(file: &Path, weights: &Weights, report: &Report) -> Result<(), Failure> {
    let mut weights = weights.clone();
    for wanted in &report.thresholds {
        let score = wanted.point.as_ref().map(|point| i64::from(point.threshold));
        match wanted.outcome {
            Outcome::Block => weights.block = score,
            _ => weights.review = score,
        }
    }
    if let (Some(review), Some(block)) = (weights.review, weights.block)
        && review > block
    {
        let message = "the threshold of --review-at is above that of --block-at: ask less of the first, or more of the second";
        return Err(Failure::usage(message));
    }
    std::fs::write(file, weights.text())
        .map_err(|cause| Failure::outside(format!("{} can't be written: {cause}", file.display())))?;
    eprintln!(
        "weights are in {}; what follows is of the period that they were fitted to: judge them on another one, with --weights",
        file.display()
    );
    Ok(())
}
