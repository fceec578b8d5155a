//! Who reads the alerts and decisions of the demo: a consumer of its own, as any other client would be.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use hdrhistogram::Histogram;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::Message;
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use serde_json::Value;

use super::DECISIONS;
use crate::cli::failure::Failure;
use crate::decision::Outcome;
use crate::event::{Clock, SystemClock};

/// An alert as it is shown.
pub(super) struct Shown {
    pub time: String,
    pub rule: String,
    pub severity: String,
    pub entity: String,
    pub reason: String,
    pub shadow: bool,
}

/// What has been read so far.
pub(super) struct Audience {
    consumer: BaseConsumer,
    /// Microseconds from an event's creation to its alert's arrival here.
    pub latency: Histogram<u64>,
    /// Alerts by rule; shadow rules are marked.
    pub by_rule: BTreeMap<String, u64>,
    /// The latest alerts, newest first.
    pub latest: VecDeque<Shown>,
    /// All alerts, those of shadow rules among them.
    pub alerts: u64,
    /// Decisions, by what is to be done.
    pub decisions: [u64; Outcome::ALL.len()],
    /// Events before this were made up as a past: their age is no latency.
    began_micros: i64,
}

/// Alerts that are kept for the view.
const LATEST_MAX: usize = 12;

/// Messages read before the view is drawn again.
const READ_MAX: usize = 10_000;

impl Audience {
    pub(super) fn join(address: &str, clock: &SystemClock) -> Result<Self, Failure> {
        let consumer: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", address)
            .set("group.id", "tollgate-demo-audience")
            .set("isolation.level", "read_committed")
            .set("fetch.wait.max.ms", "2")
            .create()
            .map_err(Failure::outside)?;
        let mut topics = TopicPartitionList::new();
        for topic in ["tollgate.alerts", "tollgate.shadow", DECISIONS] {
            topics.add_partition_offset(topic, 0, Offset::Beginning).map_err(Failure::outside)?;
        }
        consumer.assign(&topics).map_err(Failure::outside)?;
        Ok(Self {
            consumer,
            latency: Histogram::new_with_bounds(1, 600_000_000, 3).map_err(Failure::outside)?,
            by_rule: BTreeMap::new(),
            latest: VecDeque::new(),
            alerts: 0,
            decisions: [0; Outcome::ALL.len()],
            began_micros: clock.now_micros(),
        })
    }

    /// Reads what has come; waits a moment for the first.
    pub(super) fn listen(&mut self, clock: &SystemClock) {
        let mut wait = Duration::from_millis(50);
        for _ in 0..READ_MAX {
            let Some(polled) = self.consumer.poll(wait) else { return };
            wait = Duration::ZERO;
            let now = clock.now_micros();
            let Ok(message) = polled else { continue };
            if message.topic() == DECISIONS {
                if let Some(outcome) = message.payload().and_then(outcome) {
                    self.decisions[outcome] += 1;
                }
                continue;
            }
            let shadow = message.topic() == "tollgate.shadow";
            let alert = message.payload().and_then(|payload| serde_json::from_slice::<Value>(payload).ok());
            drop(message);
            if let Some(alert) = alert {
                self.note(&alert, now, shadow);
            }
        }
    }

    fn note(&mut self, alert: &Value, now: i64, shadow: bool) {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let time = text(&alert["event_time"]);
        let made = chrono::DateTime::parse_from_rfc3339(&time).map_or(0, |time| time.timestamp_micros());
        if made >= self.began_micros {
            let latency = u64::try_from(now - made).unwrap_or(0).max(1);
            self.latency.saturating_record(latency);
        }
        self.alerts += 1;
        let rule = text(&alert["rule"]["id"]);
        *self.by_rule.entry(if shadow { format!("{rule} (shadow)") } else { rule.clone() }).or_default() += 1;
        let entity = format!("{} {}", text(&alert["entity"]["type"]), text(&alert["entity"]["id"]));
        let severity = text(&alert["rule"]["severity"]);
        self.latest.push_front(Shown {
            time,
            rule,
            severity,
            entity,
            reason: text(&alert["reason"]),
            shadow,
        });
        self.latest.truncate(LATEST_MAX);
    }

    /// A percentile of the latency in milliseconds; none before the first alert.
    pub(super) fn percentile_ms(&self, percentile: f64) -> Option<f64> {
        (!self.latency.is_empty()).then(|| {
            #[expect(clippy::cast_precision_loss, reason = "milliseconds for people")]
            let micros = self.latency.value_at_percentile(percentile) as f64;
            micros / 1_000.0
        })
    }
}

/// Which of all outcomes a decision has.
fn outcome(decision: &[u8]) -> Option<usize> {
    #[derive(serde::Deserialize)]
    struct Decided<'a> {
        outcome: &'a str,
    }
    let decided: Decided<'_> = serde_json::from_slice(decision).ok()?;
    Outcome::ALL.iter().position(|known| known.name() == decided.outcome)
}
