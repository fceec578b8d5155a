//! How long alerts take: from their record's Kafka timestamp until the sink has said that they are durable.
//!
//! Takes the alerts that each step publishes, and what is durable; tells the metrics, rule by rule. Only alerts are
//! timed, so a row that hits nothing costs nothing. Keeps no more than [`STEPS_WAITING_MAX`] steps: alerts of others go
//! untold.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use crate::alert::{AlertBatch, AlertMaker};
use crate::decode::Rows;
use crate::metrics::{Metrics, RuleLatencies};

/// Steps whose alerts wait for their acknowledgement at most.
const STEPS_WAITING_MAX: usize = 65_536;

/// Alerts on their way, step by step.
#[derive(Default)]
pub(super) struct Latencies {
    waiting: VecDeque<(u64, Vec<OfRule>)>,
}

/// The alerts of one rule in one step.
pub(super) struct OfRule {
    rule: String,
    status: &'static str,
    /// Kafka timestamps of their records, microseconds.
    timestamps: Vec<i64>,
}

/// When the records of alerts were written, rule by rule; those without a timestamp are left out.
pub(super) fn timed<'a>(
    made: &AlertBatch,
    maker: &'a AlertMaker,
    rows: &'a Rows,
) -> impl Iterator<Item = OfRule> + use<'a> {
    let mut rules: BTreeMap<(usize, &'static str), Vec<i64>> = BTreeMap::new();
    for alert in &made.alerts {
        let timestamp = rows.timestamp.get(alert.row as usize).filter(|at| **at != i64::MIN);
        rules.entry((alert.rule, alert.status.name())).or_default().extend(timestamp);
    }
    rules.into_iter().filter_map(|((rule, status), timestamps)| {
        Some(OfRule { rule: maker.rules().get(rule)?.header.id.clone(), status, timestamps })
    })
}

impl Latencies {
    /// Takes note of the alerts of a step.
    pub(super) fn published(&mut self, step: u64, alerts: Vec<OfRule>) {
        if !alerts.is_empty() && self.waiting.len() < STEPS_WAITING_MAX {
            self.waiting.push_back((step, alerts));
        }
    }

    /// Tells how long the alerts took that are durable now.
    pub(super) fn durable(&mut self, metrics: &Metrics, step: u64, now: i64) {
        let since = |at: i64| Duration::from_micros(now.saturating_sub(at).max(0).unsigned_abs());
        while let Some((_, alerts)) = self.waiting.pop_front_if(|(published, _)| *published <= step) {
            for OfRule { rule, status, timestamps } in alerts {
                let latencies = timestamps.into_iter().map(since).collect();
                metrics.alerts_acknowledged(&RuleLatencies { rule: &rule, status, latencies });
            }
        }
    }
}
