//! Hits become one decision an event: points, thresholds, and what decided.
//!
//! Takes an answered batch with its [`AlertBatch`]; hands on a [`Decision`] for each event, or for those that
//! something hit. Keeps nothing: a decision's bytes depend on the event, its coordinates and the rules alone. Only live
//! rules count, hits that `@dedup` holds back among them, for they are no less true. What would surprise: where rules
//! of both orders run, those answered on arrival decide, and the others only alert; nobody waits for an answer twice. A
//! label is told of an event and is none itself: it gets no decision.

mod combine;
mod weights;

pub use combine::{Combination, Outcome, Thresholds};
pub use weights::Weights;

use std::sync::Arc;

use arrow::array::{Array, AsArray};
use arrow::datatypes::Float64Type;
use serde::Serialize;

use crate::alert::{AlertBatch, AlertMaker, ModelScore, Source, effective, score_name, source_of};
use crate::decode::DecodedBatch;
use crate::event::{Coordinates, EventTime};
use crate::graph::{Asked, RowError};
use crate::rules::{Action, Rule, Status};

/// Which events get a decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Decide {
    /// Every event, so that a caller can tell "allow" from "lost".
    #[default]
    All,
    /// Events that a live rule hit or could not judge.
    Touched,
}

/// How events are decided.
#[derive(Debug, Clone, Default)]
pub struct DecisionSettings {
    /// Which events get a decision.
    pub decide: Decide,
    /// How points become a score.
    pub combination: Combination,
    /// From which score on what is done.
    pub thresholds: Thresholds,
}

impl DecisionSettings {
    /// Version of the weights that scores rest on; none where they rest on none.
    pub fn weights_version(&self) -> Option<String> {
        match &self.combination {
            Combination::Logistic { weights } => Some(weights.version()),
            _ => None,
        }
    }
}

/// One decision, ready to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// What is to be done.
    pub outcome: Outcome,
    /// Row in the batch.
    pub row: u32,
    /// Key of the input record.
    pub key: Option<Arc<[u8]>>,
    /// Where the event stands.
    pub coordinates: Coordinates,
    /// The message, `tollgate.decision/1`.
    pub value: Vec<u8>,
}

/// `tollgate.decision/1`.
#[derive(Debug, Serialize)]
struct Message<'a> {
    schema: &'static str,
    decision_id: String,
    event_id: String,
    event_time: String,
    outcome: Outcome,
    decided_by: String,
    score: i64,
    method: &'static str,
    thresholds: &'a Thresholds,
    models: serde_json::Map<String, serde_json::Value>,
    hits: Vec<HitMessage<'a>>,
    degraded: Vec<Degraded<'a>>,
    source: Source<'a>,
}

#[derive(Debug, Serialize)]
struct HitMessage<'a> {
    alert_id: &'a str,
    rule_id: &'a str,
    version: &'a str,
    action: Action,
    points: i64,
    reason: &'a str,
    suppressed: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    past_max_age: bool,
    /// What the models that the rule asks said.
    #[serde(skip)]
    models: &'a [ModelScore],
}

#[derive(Debug, Serialize)]
struct Degraded<'a> {
    rule_id: &'a str,
    outcome: &'static str,
}

/// What an event is decided by, beside its batch.
#[derive(Debug, Clone, Copy)]
pub struct Evidence<'a> {
    /// The rows.
    pub batch: &'a DecodedBatch,
    /// Their alerts, with hits that were held back in full.
    pub made: &'a AlertBatch,
    /// Rows that a rule could not be evaluated on.
    pub errors: &'a [RowError],
    /// What models said of rows, hit or not.
    pub asked: &'a [Asked],
    /// Stream whose rows are labels.
    pub labels: Option<usize>,
}

/// Decides the events of one batch; `maker` made its alerts.
pub fn decide(settings: &DecisionSettings, maker: &AlertMaker, evidence: Evidence<'_>) -> Vec<Decision> {
    let rules = maker.rules();
    let mut hits = hits_of(evidence.made, maker);
    hits.sort_by_key(|(row, _)| *row);
    let mut hits = hits.into_iter().peekable();
    let mut failed: Vec<(u32, usize)> =
        evidence.errors.iter().map(|error| (error.row, error.query)).collect();
    failed.sort_unstable();
    let whole = failed.is_empty() && (0..rules.len()).all(|rule| maker.exact_since(rule).is_none());
    let rows = 0..u32::try_from(evidence.batch.rows.event_time.len()).unwrap_or(u32::MAX);
    let mut decisions = Vec::new();
    for row in rows {
        let mut own = Vec::new();
        while let Some((_, hit)) = hits.next_if(|(of, _)| *of == row) {
            own.push(hit);
        }
        if evidence.labels == Some(source_of(evidence.batch, row).1) {
            continue;
        }
        let event_time = EventTime(evidence.batch.rows.event_time[row as usize]);
        let degraded = if whole { Vec::new() } else { degraded(row, event_time, &failed, maker, rules) };
        if settings.decide == Decide::Touched && own.is_empty() && degraded.is_empty() {
            continue;
        }
        let models = models_of(&own, asked_of(row, event_time, evidence.asked, maker));
        decisions.push(decision(settings, maker, evidence.batch, (row, own, degraded), models));
    }
    decisions
}

/// Hits of live rules by row.
fn hits_of<'a>(made: &'a AlertBatch, maker: &'a AlertMaker) -> Vec<(u32, HitMessage<'a>)> {
    let rules = maker.rules();
    let hit = |(rule, row): (usize, u32),
               alert_id: &'a str,
               reason: &'a str,
               (stale, suppressed): (bool, bool),
               points: u32,
               models: &'a [ModelScore]| {
        let rule = &rules[rule];
        let message = HitMessage {
            alert_id,
            rule_id: &rule.header.id,
            version: &rule.version,
            action: effective(rule.header.action, stale),
            points: if stale { 0 } else { i64::from(points) },
            reason,
            suppressed,
            past_max_age: stale,
            models,
        };
        (row, message)
    };
    let live = |rule: usize| maker.status(rule) == Status::Live;
    let alerts = made.alerts.iter().filter(|alert| alert.status == Status::Live);
    let alerts = alerts.map(|one| {
        hit((one.rule, one.row), &one.alert_id, &one.reason, (one.stale, false), one.points, &one.models)
    });
    let held_back = made.held_back.iter().filter(|one| live(one.rule));
    let held_back = held_back.map(|one| {
        hit((one.rule, one.row), &one.alert_id, &one.reason, (one.stale, true), one.points, &one.models)
    });
    let mut hits: Vec<_> = alerts.chain(held_back).collect();
    hits.sort_by(|(_, a), (_, b)| a.rule_id.cmp(b.rule_id));
    hits
}

/// What models said of an event, hits first, each once: rules that ask one model about different things are told apart by
/// their alerts alone.
fn models_of(
    hits: &[HitMessage<'_>],
    asked: impl Iterator<Item = ModelScore>,
) -> serde_json::Map<String, serde_json::Value> {
    let mut models = serde_json::Map::new();
    for said in hits.iter().flat_map(|hit| hit.models).cloned().chain(asked) {
        let said_of_it = serde_json::json!({"version": said.version, "score": said.score});
        models.entry(said.name).or_insert(said_of_it);
    }
    models
}

/// What models said of an event that live rules asked them about, whether the rules hit it or not.
fn asked_of<'a>(
    row: u32,
    event_time: EventTime,
    asked: &'a [Asked],
    maker: &'a AlertMaker,
) -> impl Iterator<Item = ModelScore> {
    asked.iter().filter_map(move |asked| {
        let scores = asked.scores.as_primitive_opt::<Float64Type>()?;
        let place = asked.rows.binary_search(&row).ok().filter(|place| scores.is_valid(*place))?;
        let counts = maker.status(asked.query) == Status::Live && maker.judges(asked.query, event_time);
        counts.then(|| ModelScore {
            name: score_name(&asked.model, asked.class),
            version: asked.model.version.clone(),
            score: scores.value(place),
        })
    })
}

/// Live rules that could not judge an event as they should; `failed` are the rows and rules that failed, in order.
fn degraded<'a>(
    row: u32,
    event_time: EventTime,
    failed: &[(u32, usize)],
    maker: &AlertMaker,
    rules: &'a [Rule],
) -> Vec<Degraded<'a>> {
    let outcome = |(index, rule): (usize, &'a Rule)| {
        let early = maker.exact_since(index).is_some_and(|since| event_time < since);
        let outcome = match (failed.binary_search(&(row, index)).is_ok(), early) {
            (true, _) => "error",
            (false, true) => "not_enough_history",
            (false, false) => return None,
        };
        let asked = maker.status(index) == Status::Live && maker.judges(index, event_time);
        asked.then_some(Degraded { rule_id: &rule.header.id, outcome })
    };
    rules.iter().enumerate().filter_map(outcome).collect()
}

fn decision(
    settings: &DecisionSettings,
    maker: &AlertMaker,
    batch: &DecodedBatch,
    (row, hits, degraded): (u32, Vec<HitMessage<'_>>, Vec<Degraded<'_>>),
    models: serde_json::Map<String, serde_json::Value>,
) -> Decision {
    let (coordinates, stream) = source_of(batch, row);
    let ids = maker.settings();
    let score = settings.combination.score(hits.iter().map(|hit| (hit.rule_id, hit.points)));
    let (outcome, decided_by) = verdict(&settings.thresholds, score, &hits);
    let message = Message {
        schema: "tollgate.decision/1",
        decision_id: ids.id_of(&coordinates, stream, &["decision"]),
        event_id: maker.event_id(batch, row),
        event_time: EventTime(batch.rows.event_time[row as usize]).to_string(),
        outcome,
        decided_by,
        score,
        method: settings.combination.name(),
        thresholds: &settings.thresholds,
        models,
        hits,
        degraded,
        source: Source::of(&ids.cluster, &coordinates),
    };
    let value = serde_json::to_vec(&message).unwrap_or_default();
    let key = batch.rows.keys.get(row as usize).cloned().flatten();
    Decision { outcome, row, key, coordinates, value }
}

/// What is to be done, and what decided it: a rule that trusts ends the matter; otherwise the stricter of what the
/// strongest rule asks for and what the score has reached, and the rule where both say the same.
fn verdict(thresholds: &Thresholds, score: i64, hits: &[HitMessage<'_>]) -> (Outcome, String) {
    if let Some(trusted) = hits.iter().find(|hit| hit.action == Action::Trust) {
        return (Outcome::Allow, format!("rule:{}", trusted.rule_id));
    }
    let reached = thresholds.reached(score);
    let strongest = hits.iter().rev().max_by_key(|hit| hit.action);
    match strongest.map(|hit| (Outcome::of(hit.action), hit)) {
        Some((asked, hit)) if asked >= reached && asked > Outcome::Allow => {
            (asked, format!("rule:{}", hit.rule_id))
        }
        _ if reached > Outcome::Allow => (reached, format!("threshold:{}", reached.name())),
        _ => (Outcome::Allow, "default".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hit(rule_id: &'static str, action: Action, points: i64) -> HitMessage<'static> {
        HitMessage {
            alert_id: "a",
            rule_id,
            version: "v",
            action,
            points,
            reason: "r",
            suppressed: false,
            past_max_age: false,
            models: &[],
        }
    }

    #[test]
    fn trust_ends_the_matter_and_else_the_stricter_of_rule_and_threshold_decides() {
        let thresholds = Thresholds { review: 50, challenge: Some(65), block: 80 };
        let decided = |hits: &[HitMessage<'_>]| {
            let score = hits.iter().map(|hit| hit.points).sum();
            let (outcome, by) = verdict(&thresholds, score, hits);
            format!("{} by {by}", outcome.name())
        };
        let review = || hit("a", Action::Review, 30);
        assert_eq!(decided(&[]), "allow by default");
        assert_eq!(decided(&[hit("x", Action::Allow, 10)]), "allow by default");
        assert_eq!(decided(&[hit("x", Action::Allow, 55)]), "review by threshold:review");
        assert_eq!(decided(&[review()]), "review by rule:a");
        assert_eq!(decided(&[review(), hit("b", Action::Review, 40)]), "challenge by threshold:challenge");
        assert_eq!(decided(&[review(), hit("b", Action::Block, 1)]), "block by rule:b");
        assert_eq!(decided(&[review(), hit("b", Action::Challenge, 60)]), "block by threshold:block");
        assert_eq!(decided(&[hit("b", Action::Block, 90), hit("t", Action::Trust, 0)]), "allow by rule:t");
    }
}
