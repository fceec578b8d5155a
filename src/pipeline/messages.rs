//! Alerts as messages: key, value, and the headers that differ from run to run.

use super::job::JobPolicy;
use crate::alert::Alert;
use crate::decode::DecodedBatch;
use crate::event::{Clock, EventTime};
use crate::rules::Status;
use crate::sink::{Destination, OutMessage};

/// What the headers of one step's messages say.
pub(super) struct MessageContext<'a> {
    pub policy: &'a JobPolicy,
    /// When the step's records were handed over, microseconds.
    pub ingested_at: i64,
    pub clock: &'a dyn Clock,
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
    let ingested_at = EventTime(context.ingested_at).to_string();
    let decided_at = EventTime(context.clock.now_micros()).to_string();
    let message = |alert: &Alert| {
        let mut headers = vec![
            ("tollgate-ingested-at", ingested_at.clone().into_bytes()),
            ("tollgate-decided-at", decided_at.clone().into_bytes()),
            ("tollgate-emitted-at", decided_at.clone().into_bytes()),
            ("tollgate-ruleset", context.policy.ruleset.clone().into_bytes()),
            ("tollgate-instance", context.policy.instance.clone().into_bytes()),
        ];
        let traceparents = &batch.rows.traceparents;
        if let Ok(index) = traceparents.binary_search_by_key(&alert.row, |(row, _)| *row) {
            headers.push(("traceparent", traceparents[index].1.clone().into_bytes()));
        }
        OutMessage {
            destination: if alert.status == Status::Shadow {
                Destination::Shadow
            } else {
                Destination::Alerts
            },
            key: Some(alert.entity.clone().into_bytes()),
            value: Some(alert.value.clone()),
            headers,
            coordinates: alert.coordinates.clone(),
        }
    };
    alerts.iter().map(message).collect()
}
