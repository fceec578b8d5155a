//! Alerts and decisions as messages: key, value, and the headers that differ from run to run.

use super::job::JobPolicy;
use crate::alert::Alert;
use crate::decision::Decision;
use crate::decode::DecodedBatch;
use crate::event::{Clock, EventTime};
use crate::rules::Status;
use crate::sink::{Destination, OutMessage};

/// What the headers of one step's messages say.
pub(super) struct MessageContext<'a> {
    pub policy: &'a JobPolicy,
    /// Version of the rule set that answered.
    pub ruleset: &'a str,
    /// When the step's records were handed over, microseconds.
    pub ingested_at: i64,
    pub clock: &'a dyn Clock,
}

impl MessageContext<'_> {
    /// Headers of the messages about rows of one batch, but for the trace of each row.
    fn headers(&self) -> Vec<(&'static str, Vec<u8>)> {
        let ingested_at = EventTime(self.ingested_at).to_string().into_bytes();
        let decided_at = EventTime(self.clock.now_micros()).to_string().into_bytes();
        vec![
            ("tollgate-ingested-at", ingested_at),
            ("tollgate-decided-at", decided_at.clone()),
            ("tollgate-emitted-at", decided_at),
            ("tollgate-ruleset", self.ruleset.as_bytes().to_vec()),
            ("tollgate-instance", self.policy.instance.clone().into_bytes()),
        ]
    }
}

/// The trace that a row's record carried.
fn traced(
    mut headers: Vec<(&'static str, Vec<u8>)>,
    batch: &DecodedBatch,
    row: u32,
) -> Vec<(&'static str, Vec<u8>)> {
    let traceparents = &batch.rows.traceparents;
    if let Ok(index) = traceparents.binary_search_by_key(&row, |(row, _)| *row) {
        headers.push(("traceparent", traceparents[index].1.clone().into_bytes()));
    }
    headers
}

/// One message an alert.
pub(super) fn messages(
    alerts: &[Alert],
    batch: &DecodedBatch,
    context: &MessageContext<'_>,
) -> Vec<OutMessage> {
    if alerts.is_empty() {
        return Vec::new();
    }
    let headers = context.headers();
    let message = |alert: &Alert| OutMessage {
        destination: if alert.status == Status::Shadow { Destination::Shadow } else { Destination::Alerts },
        key: Some(alert.entity.clone().into_bytes()),
        value: Some(alert.value.clone()),
        headers: traced(headers.clone(), batch, alert.row),
        coordinates: alert.coordinates.clone(),
    };
    alerts.iter().map(message).collect()
}

/// One message a decision, under the key of its input record.
pub(super) fn decision_messages(
    decisions: Vec<Decision>,
    batch: &DecodedBatch,
    context: &MessageContext<'_>,
) -> Vec<OutMessage> {
    if decisions.is_empty() {
        return Vec::new();
    }
    let headers = context.headers();
    let message = |decision: Decision| OutMessage {
        destination: Destination::Decisions,
        key: decision.key.map(|key| key.to_vec()),
        value: Some(decision.value),
        headers: traced(headers.clone(), batch, decision.row),
        coordinates: decision.coordinates,
    };
    decisions.into_iter().map(message).collect()
}
