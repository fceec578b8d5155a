//! Alerts, summaries and decisions as messages: key, value, and the headers that differ from run to run.

use super::job::JobPolicy;
use crate::alert::{Alert, AlertBatch, AlertSummary};
use crate::decision::Decision;
use crate::decode::DecodedBatch;
use crate::event::{Clock, EventTime};
use crate::rules::Status;
use crate::sink::{Destination, OutMessage};

/// What the headers of one step's messages say.
pub(super) struct MessageContext<'a> {
    pub policy: &'a JobPolicy,
    /// Version of the rule set that answered, and of the weights that decided.
    pub ruleset: &'a str,
    /// When the step's records were handed over, microseconds.
    pub ingested_at: i64,
    pub clock: &'a dyn Clock,
}

/// One message an alert; a summary stands before the alerts of the row at which its period ended.
pub(super) fn messages(
    made: &AlertBatch,
    batch: &DecodedBatch,
    context: &MessageContext<'_>,
) -> Vec<OutMessage> {
    if made.alerts.is_empty() && made.summaries.is_empty() {
        return Vec::new();
    }
    let mut messages = Vec::with_capacity(made.alerts.len() + made.summaries.len());
    let headers = headers(context);
    let mut summaries = made.summaries.iter().peekable();
    for alert in &made.alerts {
        while let Some(summary) = summaries.next_if(|summary| summary.before_row <= alert.row) {
            messages.push(summary_message(summary, headers.clone()));
        }
        messages.push(alert_message(alert, batch, headers.clone()));
    }
    messages.extend(summaries.map(|summary| summary_message(summary, headers.clone())));
    messages
}

/// One message a summary.
pub(super) fn summary_messages(summaries: &[AlertSummary], context: &MessageContext<'_>) -> Vec<OutMessage> {
    if summaries.is_empty() {
        return Vec::new();
    }
    let headers = headers(context);
    summaries.iter().map(|summary| summary_message(summary, headers.clone())).collect()
}

type Headers = Vec<(&'static str, Vec<u8>)>;

fn headers(context: &MessageContext<'_>) -> Headers {
    let ingested_at = EventTime(context.ingested_at).to_string();
    let decided_at = EventTime(context.clock.now_micros()).to_string();
    vec![
        ("tollgate-ingested-at", ingested_at.into_bytes()),
        ("tollgate-decided-at", decided_at.clone().into_bytes()),
        ("tollgate-emitted-at", decided_at.into_bytes()),
        ("tollgate-ruleset", context.ruleset.as_bytes().to_vec()),
        ("tollgate-instance", context.policy.instance.clone().into_bytes()),
    ]
}

/// The trace that a row's record carried.
fn traced(mut headers: Headers, batch: &DecodedBatch, row: u32) -> Headers {
    let traceparents = &batch.rows.traceparents;
    if let Ok(index) = traceparents.binary_search_by_key(&row, |(row, _)| *row) {
        headers.push(("traceparent", traceparents[index].1.clone().into_bytes()));
    }
    headers
}

fn alert_message(alert: &Alert, batch: &DecodedBatch, headers: Headers) -> OutMessage {
    OutMessage {
        destination: destination(alert.status),
        key: Some(alert.entity.clone().into_bytes()),
        value: Some(alert.value.clone()),
        headers: traced(headers, batch, alert.row),
        coordinates: alert.coordinates.clone(),
    }
}

fn summary_message(summary: &AlertSummary, headers: Headers) -> OutMessage {
    OutMessage {
        destination: destination(summary.status),
        key: Some(summary.key.clone().into_bytes()),
        value: Some(summary.value.clone()),
        headers,
        coordinates: summary.coordinates.clone(),
    }
}

fn destination(status: Status) -> Destination {
    if status == Status::Shadow { Destination::Shadow } else { Destination::Alerts }
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
    let headers = headers(context);
    let message = |decision: Decision| OutMessage {
        destination: Destination::Decisions,
        key: decision.key.map(|key| key.to_vec()),
        value: Some(decision.value),
        headers: traced(headers.clone(), batch, decision.row),
        coordinates: decision.coordinates,
    };
    decisions.into_iter().map(message).collect()
}
