//! Shadow versions beside their live rules: what promoting one would gain and lose.

use serde::Serialize;

use super::{Case, Flags, RuleReport, Ruled};
use crate::alert::Agreement;

/// A shadow version and its live rule on the same events.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct VersionReport {
    /// The version's id.
    pub rule: String,
    /// The live rule's.
    pub shadow_of: String,
    /// Events that hit, by which of the two hit them.
    pub events: Agreement,
    /// Frauds among them; none without labels.
    pub frauds: Option<Agreement>,
    /// Share of hits that are frauds, of the live rule and of the version.
    pub precision: [Option<f64>; 2],
    /// Share of frauds that hit, of the live rule and of the version.
    pub recall: [Option<f64>; 2],
}

/// One entry a version whose live rule ran as well; `rules` and `scoped` are of `ruled`, in its order.
pub(super) fn versions(
    case: &Case<'_>,
    ruled: &[Ruled],
    (rules, scoped): (&[RuleReport], &[Flags]),
) -> Vec<VersionReport> {
    let report = |(index, own): (usize, &Ruled)| {
        let shadow_of = own.rule.header.shadow_of.clone()?;
        let live = ruled.iter().position(|other| other.rule.header.id == shadow_of)?;
        let both = [live, index];
        let [old, new] = both.map(|index| &scoped[index].hits);
        let fraud = |event: &&u32| case.events.is_fraud(**event);
        Some(VersionReport {
            rule: own.rule.header.id.clone(),
            shadow_of,
            events: Agreement::of(old, new),
            frauds: case
                .labelled()
                .then(|| Agreement::of(old.iter().filter(fraud), new.iter().filter(fraud))),
            precision: both.map(|index| rules[index].quality.precision),
            recall: both.map(|index| rules[index].quality.recall),
        })
    };
    ruled.iter().enumerate().filter_map(report).collect()
}
