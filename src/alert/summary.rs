//! The message about hits that a `@budget` held back: `tollgate.alert_summary/1`.

use serde_json::json;

use super::budget::Passed;
use super::identity;
use crate::event::{Coordinates, EventTime};
use crate::rules::{Budget, Rule, Status};

/// Entities that a summary names.
const ENTITIES_TOLD: usize = 10;

/// What one rule held back in one period, ready to be sent.
#[derive(Debug, Clone, PartialEq)]
pub struct AlertSummary {
    /// Hash of the rule, its version, the period and the first hit that was held back.
    pub alert_id: String,
    /// Index of the rule among those it was evaluated with.
    pub rule: usize,
    /// Whether the rule is live or in shadow.
    pub status: Status,
    /// The rule's id: the message's key.
    pub key: String,
    /// Hits that it stands for.
    pub hits: u64,
    /// It leaves before the alerts of this row of the batch and of later ones.
    pub before_row: u32,
    /// Where the first hit that was held back stands.
    pub coordinates: Coordinates,
    /// The message, `tollgate.alert_summary/1`.
    pub value: Vec<u8>,
}

/// The message of a period that has passed; none where nothing was held back in it.
pub(super) fn summary(
    (rule, status): (&Rule, Status),
    budget: &Budget,
    cluster: &str,
    passed: &Passed,
    before_row: u32,
) -> Option<AlertSummary> {
    let folded = &passed.folded;
    let first = folded.first()?;
    let header = &rule.header;
    let from = EventTime(passed.until.0.saturating_sub(budget.period.0));
    let id = alert_id(rule, passed.until, &first.alert_id);
    let (hits, alerts) = (folded.count, passed.alerts);
    let entity_type = header.entity_column().unwrap_or("event");
    let top = folded.top(ENTITIES_TOLD);
    let examples = folded.examples.values().map(|hit| {
        json!({
            "alert_id": hit.alert_id, "event_id": hit.event_id, "entity": hit.entity,
            "event_time": hit.event_time.to_string(),
            "source": {
                "topic": &*hit.coordinates.partition.topic, "partition": hit.coordinates.partition.partition,
                "offset": hit.coordinates.offset.0,
            },
        })
    });
    let value = json!({
        "schema": "tollgate.alert_summary/1",
        "alert_id": id,
        "rule": identity::of_rule(rule, status),
        "action": header.action,
        "score": header.score.fixed(),
        "reason": format!("{hits} more hits past the budget of {}", budget.text),
        "budget": budget.text,
        "period": {"from": from.to_string(), "until": passed.until.to_string()},
        "alerts_sent": alerts,
        "hits": hits,
        "first_event_time": first.event_time.to_string(),
        "last_event_time": folded.last.map(|last| last.to_string()),
        "entities": {
            "type": entity_type,
            "counted": folded.entities.len(),
            "top": top.iter().map(|(id, hits)| json!({"id": id, "hits": hits})).collect::<Vec<_>>(),
            "hits_of_uncounted": folded.of_other_entities,
        },
        "examples": examples.collect::<Vec<_>>(),
        "source": {"cluster": cluster},
    });
    Some(AlertSummary {
        alert_id: id,
        rule: passed.rule,
        status,
        key: header.id.clone(),
        hits,
        before_row,
        coordinates: first.coordinates.clone(),
        value: value.to_string().into_bytes(),
    })
}

/// First 32 hex digits of a SHA-256, so that it looks like the id of an alert and is never one. The first hit is in
/// it, for instances that share a rule each tell of their own hits.
fn alert_id(rule: &Rule, until: EventTime, first: &str) -> String {
    identity::hashed(["summary", &rule.header.id, &rule.version, &until.0.to_string(), first])
}
