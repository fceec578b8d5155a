//! One rule set over the events: what it sends and what it costs; and two of them compared.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use super::costs::{Cost, RuleCost, RuleCosts, rule_costs, settle};
use crate::alert::{Agreement, Alert, AlertMaker};
use crate::backtest::Labels;
use crate::cli::events::{Events, Rows};
use crate::cli::failure::Failure;
use crate::cli::kept::HOUR;
use crate::event::{Clock, Coordinates, EventTime};
use crate::pipeline::{Parts, StepOutcome};
use crate::rules::{Emit, Rule, Status};

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

/// A run of one rule set.
pub(super) struct Trial {
    events: u64,
    latest: i64,
    /// By rule, and whether in shadow.
    alerts: BTreeMap<(String, bool), BTreeMap<Key, Sent>>,
    pub cost: Cost,
    pub rules: BTreeMap<String, RuleCost>,
    /// Shadow versions and their live rules.
    versions: Vec<(String, String)>,
    /// What a reader must know before he trusts it.
    pub notes: Vec<String>,
}

/// Runs a set over all events.
pub(super) fn run(
    mut parts: Parts,
    events: &Events,
    labels: Option<&Labels>,
    clock: &Arc<dyn Clock>,
) -> Result<Trial, Failure> {
    let mut rows = Rows::open(events, &mut parts.core, &parts.contract, &parts.used, BATCH_ROWS)?;
    let bar = rows.progress();
    for emit in [Emit::OnArrival, Emit::InOrder] {
        parts.core.engine_mut(emit).into_iter().for_each(|engine| engine.measure_all(clock));
    }
    let makers = [&parts.on_arrival, &parts.in_order];
    let id = |rule: &Rule| rule.header.id.clone();
    let ids: Vec<String> = makers.into_iter().flat_map(|maker| maker.rules().iter().map(id)).collect();
    let versions = makers.into_iter().flat_map(AlertMaker::versions);
    let versions = versions.map(|(version, live)| (id(version), id(live))).collect();
    let mut trial = Trial {
        events: 0,
        latest: i64::MIN,
        alerts: ids.iter().map(|id| ((id.clone(), false), BTreeMap::new())).collect(),
        cost: Cost { nanos_an_event: 0.0, state_bytes: 0 },
        rules: ids.into_iter().map(|id| (id, RuleCost::default())).collect(),
        versions,
        notes: rows.notes(),
    };
    let mut spent = Duration::ZERO;
    while let Some(step) = rows.next()? {
        let began = clock.elapsed();
        let outcome = rows.answer(&mut parts.core, step)?;
        spent += clock.elapsed().saturating_sub(began);
        bar.set_position(rows.position());
        trial.take(&mut parts, &outcome, labels);
    }
    let rest = parts.core.finish().map_err(Failure::outside)?;
    bar.finish_and_clear();
    trial.take(&mut parts, &rest, labels);
    trial.events = parts.core.counts().rows_in + rows.uncounted();
    #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
    let nanos = spent.as_nanos() as f64 / trial.events.max(1) as f64;
    trial.cost.nanos_an_event = nanos;
    settle(&mut parts, clock, &mut trial.rules);
    Ok(trial)
}

impl Trial {
    /// Another run over the same events: the quicker one counts.
    pub(super) fn quicker(&mut self, other: &Self) {
        self.cost = self.cost.quicker(other.cost);
        for (cost, other) in self.rules.values_mut().zip(other.rules.values()) {
            *cost = cost.quicker(*other);
        }
    }

    /// Takes the alerts of a step, and what is held after it.
    fn take(&mut self, parts: &mut Parts, outcome: &StepOutcome, labels: Option<&Labels>) {
        for answered in &outcome.answered {
            let maker = parts.maker(answered.emit);
            let made = maker.make(&answered.batch, &answered.hits, answered.times());
            let latest = answered.batch.rows.event_time.iter().max();
            self.latest = latest.map_or(self.latest, |latest| self.latest.max(*latest));
            for alert in made.alerts {
                let id = maker.rules()[alert.rule].header.id.clone();
                let shadow = maker.status(alert.rule) == Status::Shadow;
                let alerts = self.alerts.entry((id, shadow)).or_default();
                let mut key = (alert.coordinates.clone(), 0);
                while alerts.contains_key(&key) {
                    key.1 += 1;
                }
                alerts.insert(key, sent(alert, labels));
            }
            if let Some(watermark) = answered.watermarks.last().copied().map(EventTime) {
                maker.passed(watermark);
                drop(maker.close(watermark));
            }
        }
        let held: usize = parts.core.engines().map(|(_, engine)| engine.usage().bytes).sum();
        if held > self.cost.state_bytes {
            self.cost.state_bytes = held;
            super::costs::note_held(parts, &mut self.rules);
        }
    }
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
    /// Alerts after this event time are compared; none: all.
    pub after: Option<String>,
    pub gained: u64,
    pub lost: u64,
    /// Before and after.
    pub cost: (Cost, Cost),
    /// Rules whose alerts differ, or all where labels are known.
    pub rules: Vec<RuleAlerts>,
    /// Shadow versions of the new folder beside their live rules.
    pub versions: Vec<VersionAlerts>,
    /// Every rule of the new folder, and those that are gone.
    pub rule_costs: Vec<RuleCosts>,
    /// What a reader must know before he trusts it.
    pub notes: Vec<String>,
}

/// The alerts of one rule before and after.
#[derive(Debug, Serialize)]
pub(super) struct RuleAlerts {
    pub rule: String,
    /// Whether these are alerts in shadow, which count for nothing else here.
    pub shadow: bool,
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

/// The alerts of a shadow version and of its live rule.
#[derive(Debug, Serialize)]
pub(super) struct VersionAlerts {
    pub rule: String,
    pub shadow_of: String,
    /// Alerts by record, of which of the two they are.
    pub alerts: Agreement,
    /// Share of alerts on frauds, of the live rule and of the version; none without labels or alerts.
    pub precision: [Option<f64>; 2],
}

fn version_alerts(trial: &Trial, labelled: bool) -> Vec<VersionAlerts> {
    let none = BTreeMap::new();
    let alerts = |id: &String, shadow| trial.alerts.get(&(id.clone(), shadow)).unwrap_or(&none);
    let version = |(version, live): &(String, String)| {
        let (old, new) = (alerts(live, false), alerts(version, true));
        VersionAlerts {
            rule: version.clone(),
            shadow_of: live.clone(),
            alerts: Agreement::of(old.keys(), new.keys()),
            precision: [old, new].map(|alerts| precision(alerts).filter(|_| labelled)),
        }
    };
    trial.versions.iter().map(version).collect()
}

/// Alerts by rule and record, of the last so many hours where that is asked for.
pub(super) fn compared(
    [before, after]: &mut [Trial; 2],
    hours: Option<u32>,
    examples: usize,
    labelled: bool,
) -> Compared {
    let latest = before.latest.max(after.latest);
    let from = hours.map(|hours| EventTime(latest.saturating_sub(i64::from(hours) * HOUR)));
    if let Some(from) = from {
        let all = before.alerts.values_mut().chain(after.alerts.values_mut());
        all.for_each(|alerts| alerts.retain(|_, sent| sent.at > from));
    }
    let none = BTreeMap::new();
    let ids: BTreeSet<&(String, bool)> = before.alerts.keys().chain(after.alerts.keys()).collect();
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
            rule: id.0.clone(),
            shadow: id.1,
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
        events: after.events,
        after: from.map(|from| from.to_string()),
        gained: rules.iter().filter(|rule| !rule.shadow).map(|rule| rule.gained).sum(),
        lost: rules.iter().filter(|rule| !rule.shadow).map(|rule| rule.lost).sum(),
        cost: (before.cost, after.cost),
        rules: rules.into_iter().filter(|rule| labelled || rule.gained + rule.lost > 0).collect(),
        versions: version_alerts(after, labelled),
        rule_costs: rule_costs(&before.rules, &after.rules),
        notes: before
            .notes
            .iter()
            .chain(&after.notes)
            .collect::<BTreeSet<_>>()
            .into_iter()
            .cloned()
            .collect(),
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts stay far below 2^53")]
fn precision(alerts: &BTreeMap<Key, Sent>) -> Option<f64> {
    let frauds = alerts.values().filter(|sent| sent.fraud).count();
    (!alerts.is_empty()).then(|| frauds as f64 / alerts.len() as f64)
}
