//! What models were given in the scored period: a baseline of it, or how far it has moved from one.

use std::path::Path;

use crate::backtest::ModelReport;
use crate::cli::failure::Failure;
use crate::cli::terminal::grouped;
use crate::rules::RuleSet;

/// Writes a baseline beside each model that was asked.
pub(super) fn write(set: &RuleSet, rules: &Path) -> Result<(), Failure> {
    let mut written = 0;
    for model in set.catalog.known_models() {
        let Some(baseline) = model.spread() else { continue };
        let root = rules.ancestors().find(|folder| folder.join("models").is_dir()).unwrap_or(rules);
        let file = root.join("models").join(format!("{}.baseline", model.name));
        std::fs::write(&file, baseline.text())
            .map_err(|cause| Failure::outside(format!("{} can't be written: {cause}", file.display())))?;
        eprintln!("the spread of {} rows is in {}", grouped(baseline.rows), file.display());
        written += 1;
    }
    if written == 0 {
        return Err(Failure::usage(
            "no rule that runs asked a model about an event of the period: there is no baseline",
        ));
    }
    Ok(())
}

/// How far each model that was asked has moved.
pub(super) fn moved(set: &RuleSet) -> Vec<ModelReport> {
    let report = |model: &std::sync::Arc<crate::score::Model>| {
        let (rows, missing) = model.missing();
        let (moved, not_compared) = match model.stability() {
            Ok(moved) => (Some(moved), None),
            Err(why) => (None, Some(why)),
        };
        (rows > 0).then(|| ModelReport {
            model: model.name.clone(),
            version: model.version.clone(),
            rows,
            missing: model.names().into_iter().zip(missing).filter(|(_, missing)| *missing > 0).collect(),
            moved,
            not_compared,
        })
    };
    set.catalog.known_models().filter_map(report).collect()
}
