//! What rules cost, all together and each: time, and window state that is kept from before or built.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::Serialize;

use crate::event::Clock;
use crate::pipeline::Parts;
use crate::rules::Emit;

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
    pub(super) fn quicker(self, other: Self) -> Self {
        Self { nanos_an_event: self.nanos_an_event.min(other.nanos_an_event), ..self }
    }
}

/// One rule's share: what several rules read is shared out evenly.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub(super) struct RuleCost {
    /// Time of windows and rule; none without events.
    pub nanos_an_event: Option<f64>,
    /// Of its windows when all windows held the most.
    pub state_bytes: usize,
    /// Those in states that are taken over from the rules before.
    #[serde(skip)]
    kept_bytes: usize,
}

impl RuleCost {
    /// The cost of two runs over the same events.
    pub(super) fn quicker(self, other: Self) -> Self {
        let nanos = self.nanos_an_event.into_iter().chain(other.nanos_an_event).reduce(f64::min);
        Self { nanos_an_event: nanos, ..self }
    }
}

/// A rule's cost before and after.
#[derive(Debug, Serialize)]
pub(super) struct RuleCosts {
    pub rule: String,
    /// None where it is new.
    pub before: Option<RuleCost>,
    /// None where it is gone.
    pub after: Option<RuleCost>,
    /// Bytes of its windows that it goes on with.
    pub kept_bytes: usize,
    /// Bytes of its windows that must be filled from the history first.
    pub built_bytes: usize,
}

/// Takes note of what windows hold now.
pub(super) fn note_held(parts: &Parts, rules: &mut BTreeMap<String, RuleCost>) {
    rules.values_mut().for_each(|cost| (cost.state_bytes, cost.kept_bytes) = (0, 0));
    for (emit, engine) in parts.core.engines() {
        for window in engine.windows() {
            let share = window.usage.bytes / window.queries.len().max(1);
            for query in window.queries {
                let Some(cost) = rules.get_mut(id(parts, emit, query)) else { continue };
                cost.state_bytes += share;
                cost.kept_bytes += if window.inherited { share } else { 0 };
            }
        }
    }
}

/// Takes note of what each rule took.
pub(super) fn settle(parts: &mut Parts, clock: &Arc<dyn Clock>, rules: &mut BTreeMap<String, RuleCost>) {
    for emit in [Emit::OnArrival, Emit::InOrder] {
        let Some(costs) = parts.core.engine_mut(emit).map(|engine| engine.costs(clock)) else { continue };
        for query in 0..costs.spent.len() {
            if let Some(cost) = rules.get_mut(id(parts, emit, query)) {
                cost.nanos_an_event = costs.nanos_a_row(query);
            }
        }
    }
}

fn id(parts: &Parts, emit: Emit, query: usize) -> &str {
    let maker = if emit == Emit::InOrder { &parts.in_order } else { &parts.on_arrival };
    maker.rules().get(query).map_or("", |rule| &rule.header.id)
}

/// The rules of both, by id.
pub(super) fn rule_costs(
    before: &BTreeMap<String, RuleCost>,
    after: &BTreeMap<String, RuleCost>,
) -> Vec<RuleCosts> {
    let ids: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let costs = |id: &String| {
        let (before, after) = (before.get(id).copied(), after.get(id).copied());
        let RuleCost { state_bytes, kept_bytes, .. } = after.unwrap_or_default();
        RuleCosts { rule: id.clone(), before, after, kept_bytes, built_bytes: state_bytes - kept_bytes }
    };
    ids.into_iter().map(costs).collect()
}
