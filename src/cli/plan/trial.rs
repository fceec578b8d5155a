//! One rule set over the events: what it sends and what it costs; and two of them compared.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use super::Arguments;
use crate::alert::Alert;
use crate::backtest::Labels;
use crate::cli::failure::Failure;
use crate::cli::job::parts_failure;
use crate::cli::replay::input::Inputs;
use crate::event::{Clock, Coordinates, EventTime};
use crate::pipeline::{CoreSettings, Parts, StepOutcome, StreamPolicy};
use crate::rules::RuleSet;

/// Rows a batch.
const BATCH_ROWS: u32 = 8192;

/// Where an alert came from: its record, and how many alerts of the rule it had before.
type Key = (Coordinates, usize);

/// What is kept of an alert.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Sent {
    pub event_time: String,
    pub entity: String,
    pub reason: String,
    #[serde(skip)]
    at: EventTime,
    #[serde(skip)]
    fraud: bool,
}

/// What a run over the events costs.
#[derive(Debug, Clone, Copy, Serialize)]
pub(super) struct Cost {
    /// Time of decoding, windows and rules on one thread.
    pub nanos_an_event: f64,
    /// Most that windows held.
    pub state_bytes: usize,
}

impl Cost {
    /// The cost of two runs over the same events.
    pub(super) fn quicker(one: Self, other: Self) -> Self {
        Self { nanos_an_event: one.nanos_an_event.min(other.nanos_an_event), ..one }
    }
}

/// A run of one rule set.
pub(super) struct Trial {
    rows: u64,
    alerts: BTreeMap<String, BTreeMap<Key, Sent>>,
    pub cost: Cost,
}

/// Runs a set over all events.
pub(super) fn run(
    set: &RuleSet,
    arguments: &Arguments,
    labels: Option<&Labels>,
    clock: &dyn Clock,
) -> Result<Trial, Failure> {
    let contract = set.catalog.contract.clone();
    let policy = StreamPolicy { lateness: arguments.lateness, repeats: arguments.repeats };
    let settings = CoreSettings::uniform(&contract, policy);
    let made = Parts::of_files(set, settings);
    let mut parts = made.map_err(parts_failure)?;
    let mut inputs = Inputs::open(&contract, &arguments.input, BATCH_ROWS, &parts.used)?;
    let mut trial = Trial {
        rows: 0,
        alerts: set.running().map(|rule| (rule.header.id.clone(), BTreeMap::new())).collect(),
        cost: Cost { nanos_an_event: 0.0, state_bytes: 0 },
    };
    for partition in inputs.partitions() {
        parts.core.watermarks().expect(partition);
    }
    let bar = inputs.progress();
    let mut spent = Duration::ZERO;
    let mut latest = i64::MIN;
    while let Some(event) = inputs.next()? {
        let began = clock.elapsed();
        let outcome = inputs.step(&mut parts.core, event)?;
        spent += clock.elapsed().saturating_sub(began);
        latest = latest.max(take(&mut parts, &outcome, labels, &mut trial));
        bar.set_position(inputs.position());
    }
    let rest = parts.core.finish().map_err(Failure::outside)?;
    latest = latest.max(take(&mut parts, &rest, labels, &mut trial));
    bar.finish_and_clear();
    trial.rows = parts.core.counts().rows_in;
    #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
    let nanos = spent.as_nanos() as f64 / trial.rows.max(1) as f64;
    trial.cost.nanos_an_event = nanos;
    if let Some(hours) = arguments.hours {
        let from = EventTime(latest.saturating_sub(i64::from(hours) * 3_600_000_000));
        trial.alerts.values_mut().for_each(|alerts| alerts.retain(|_, sent| sent.at > from));
    }
    Ok(trial)
}

/// Takes the alerts of a step; hands on the latest event time of its rows.
fn take(parts: &mut Parts, outcome: &StepOutcome, labels: Option<&Labels>, trial: &mut Trial) -> i64 {
    let mut latest = i64::MIN;
    for answered in &outcome.answered {
        let maker = parts.maker(answered.emit);
        let made = maker.make(&answered.batch, &answered.hits, answered.times());
        let ids: Vec<String> = maker.rules().iter().map(|rule| rule.header.id.clone()).collect();
        latest = latest.max(answered.batch.rows.event_time.iter().copied().max().unwrap_or(i64::MIN));
        for alert in made.alerts {
            let Some(alerts) = ids.get(alert.rule).and_then(|id| trial.alerts.get_mut(id)) else { continue };
            let mut key = (alert.coordinates.clone(), 0);
            while alerts.contains_key(&key) {
                key.1 += 1;
            }
            alerts.insert(key, sent(alert, labels));
        }
    }
    let held: usize = parts.core.engines().map(|(_, engine)| engine.usage().bytes).sum();
    trial.cost.state_bytes = trial.cost.state_bytes.max(held);
    latest
}

fn sent(alert: Alert, labels: Option<&Labels>) -> Sent {
    let fraud = labels.is_some_and(|labels| {
        let message: serde_json::Value = serde_json::from_slice(&alert.value).unwrap_or_default();
        message["event_id"].as_str().is_some_and(|id| labels.is_fraud(id))
    });
    let event_time = alert.event_time.to_string();
    Sent { event_time, entity: alert.entity, reason: alert.reason, at: alert.event_time, fraud }
}

/// What changes on the events.
#[derive(Debug, Serialize)]
pub(super) struct Compared {
    pub events: u64,
    pub gained: u64,
    pub lost: u64,
    /// Before and after.
    pub cost: (Cost, Cost),
    /// Rules whose alerts differ, or all where labels are known.
    pub rules: Vec<RuleAlerts>,
}

/// The alerts of one rule before and after.
#[derive(Debug, Serialize)]
pub(super) struct RuleAlerts {
    pub rule: String,
    pub before: u64,
    pub after: u64,
    pub gained: u64,
    pub lost: u64,
    /// Share of alerts on frauds; none without labels or alerts.
    pub precision_before: Option<f64>,
    pub precision_after: Option<f64>,
    pub gained_examples: Vec<Sent>,
    pub lost_examples: Vec<Sent>,
}

/// Alerts by rule and record.
pub(super) fn compared(before: &Trial, after: &Trial, examples: usize, labelled: bool) -> Compared {
    let none = BTreeMap::new();
    let ids: std::collections::BTreeSet<&String> = before.alerts.keys().chain(after.alerts.keys()).collect();
    let rules = ids.into_iter().map(|id| {
        let (old, new) = (before.alerts.get(id).unwrap_or(&none), after.alerts.get(id).unwrap_or(&none));
        let only = |one: &BTreeMap<Key, Sent>, other: &BTreeMap<Key, Sent>| -> Vec<Sent> {
            one.iter().filter(|(key, _)| !other.contains_key(*key)).map(|(_, sent)| sent.clone()).collect()
        };
        let (mut gained, mut lost) = (only(new, old), only(old, new));
        let counts = (gained.len() as u64, lost.len() as u64);
        for list in [&mut gained, &mut lost] {
            list.sort_by_key(|sent| sent.at);
            list.truncate(examples);
        }
        RuleAlerts {
            rule: id.clone(),
            before: old.len() as u64,
            after: new.len() as u64,
            gained: counts.0,
            lost: counts.1,
            precision_before: precision(old).filter(|_| labelled),
            precision_after: precision(new).filter(|_| labelled),
            gained_examples: gained,
            lost_examples: lost,
        }
    });
    let rules: Vec<RuleAlerts> = rules.collect();
    Compared {
        events: after.rows,
        gained: rules.iter().map(|rule| rule.gained).sum(),
        lost: rules.iter().map(|rule| rule.lost).sum(),
        cost: (before.cost, after.cost),
        rules: rules.into_iter().filter(|rule| labelled || rule.gained + rule.lost > 0).collect(),
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts stay far below 2^53")]
fn precision(alerts: &BTreeMap<Key, Sent>) -> Option<f64> {
    let frauds = alerts.values().filter(|sent| sent.fraud).count();
    (!alerts.is_empty()).then(|| frauds as f64 / alerts.len() as f64)
}
