//! The figures of one rule, of one variant of a rule, or of a set of rules.

use serde::Serialize;

use super::episodes::{Detection, detection};
use super::events::Amount;
use super::overlap::value_of;
use super::{Case, Flags, Scores, share};

/// How good a set of flags is. What needs labels is none without them.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Quality {
    /// Hits that `@dedup` let through.
    pub alerts: u64,
    /// Alerts a UTC day of the scope.
    pub alerts_a_day: Option<f64>,
    /// Share of frauds among alerts.
    pub alert_precision: Option<f64>,
    /// Events that hit.
    pub hits: u64,
    /// Frauds among them.
    pub frauds_caught: Option<u64>,
    /// Genuine events among them.
    pub false_positives: Option<u64>,
    /// Share of frauds among hits.
    pub precision: Option<f64>,
    /// Share of all scored frauds that hit.
    pub recall: Option<f64>,
    /// Harmonic mean of precision and recall.
    pub f1: Option<f64>,
    /// Genuine events that hit, for each fraud that does.
    pub false_positives_per_fraud: Option<f64>,
    /// Value of the frauds that hit.
    pub value_caught: Option<Amount>,
    /// Value of the genuine events that hit.
    pub value_bothered: Option<Amount>,
    /// Average precision of the scores.
    pub average_precision: Option<f64>,
    /// Area under the ROC curve of the scores.
    pub auc_roc: Option<f64>,
    /// Card precision@k of the scores.
    pub card_precision_at_k: Option<f64>,
    /// How soon episodes are found.
    pub detection: Option<Detection>,
}

impl Quality {
    /// Figures of flags that are within the scope.
    pub fn of(case: &Case<'_>, flags: &Flags, scores: &Scores) -> Self {
        let fraud = |event: &&u32| case.events.is_fraud(**event);
        let (frauds, genuine): (Vec<u32>, Vec<u32>) =
            flags.hits.iter().partition(|event| case.events.is_fraud(**event));
        let hits = flags.hits.len() as u64;
        let alerts = flags.alerts.len() as u64;
        let caught = frauds.len() as u64;
        let labelled = case.labelled();
        let precision = share(caught, hits).filter(|_| labelled);
        let recall = case.scope.frauds.and_then(|all| share(caught, all));
        Self {
            alerts,
            alerts_a_day: share(alerts, case.scope.days),
            alert_precision: share(flags.alerts.iter().filter(fraud).count() as u64, alerts)
                .filter(|_| labelled),
            hits,
            frauds_caught: labelled.then_some(caught),
            false_positives: labelled.then_some(hits - caught),
            precision,
            recall,
            f1: case.scope.frauds.and_then(|all| share(2 * caught, hits + all)),
            false_positives_per_fraud: share(hits - caught, caught).filter(|_| labelled),
            value_caught: value_of(case, &frauds).filter(|_| labelled),
            value_bothered: value_of(case, &genuine).filter(|_| labelled),
            average_precision: scores.average_precision(case),
            auc_roc: scores.auc_roc(case),
            card_precision_at_k: scores.precision_at_k(case),
            detection: detection(case.events, &case.episodes, flags).filter(|_| labelled),
        }
    }
}
