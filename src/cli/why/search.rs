//! An alert among those that a job has sent, in its topics or files.

use std::collections::HashSet;
use std::io::{BufRead, BufReader};

use serde::Deserialize;

use crate::cli::dead_letters::reading_from;
use crate::cli::failure::Failure;
use crate::cli::service::{kafka_settings, source_failure};
use crate::event::{Coordinates, Offset, Partition, SystemClock};
use crate::settings::{Destination, Settings};
use crate::source::kafka::{ReadFrom, SourceError, TopicReader};

/// Fewest digits of an id that say which alert is meant.
const DIGITS_MIN: usize = 8;

/// An alert that was sent.
pub(super) struct SentAlert {
    pub id: String,
    pub rule: String,
    pub version: String,
    pub source: Coordinates,
    /// Time of its event, microseconds.
    pub event_time: i64,
    /// Its bytes.
    pub value: Vec<u8>,
}

/// What is read of an alert's JSON.
#[derive(Deserialize)]
struct Message {
    alert_id: String,
    event_time: String,
    rule: RuleOf,
    source: Source,
}

#[derive(Deserialize)]
struct RuleOf {
    id: String,
    version: String,
}

#[derive(Deserialize)]
struct Source {
    topic: String,
    partition: i32,
    offset: i64,
}

/// The alert whose id begins so.
pub(super) fn alert(settings: &Settings, id: &str, since: Option<&str>) -> Result<SentAlert, Failure> {
    if id.len() < DIGITS_MIN || !id.chars().all(|digit| digit.is_ascii_hexdigit()) {
        return Err(Failure::usage(format!(
            "{id} is no alert id: it has 32 hex digits, of which at least the first {DIGITS_MIN} are needed"
        )));
    }
    let from = since.map_or(Ok(ReadFrom::Beginning), |since| reading_from(since, &SystemClock::start()))?;
    let id = id.to_lowercase();
    let mut found: Vec<SentAlert> = Vec::new();
    each_alert(settings, from, |value| {
        // Most are others: their JSON need not be read.
        if !value.windows(id.len()).any(|part| part == id.as_bytes()) {
            return;
        }
        let Ok(message) = serde_json::from_slice::<Message>(value) else { return };
        if message.alert_id.starts_with(&id) && found.iter().all(|known| known.id != message.alert_id) {
            found.extend(sent_alert(message, value));
        }
    })?;
    match found.len() {
        1 => Ok(found.remove(0)),
        0 => Err(Failure::findings(format!(
            "no alert whose id begins with {id} is in {}",
            places(settings).join(" or ")
        ))),
        count => {
            let ids: Vec<&str> = found.iter().take(5).map(|alert| alert.id.as_str()).collect();
            Err(Failure::usage(format!("{count} alerts begin with {id}: {}", ids.join(", "))))
        }
    }
}

/// Ids of all alerts of a rule that were sent.
pub(super) fn sent(settings: &Settings, rule: &str) -> Result<HashSet<String>, Failure> {
    let mut ids = HashSet::new();
    each_alert(settings, ReadFrom::Beginning, |value| {
        if let Ok(message) = serde_json::from_slice::<Message>(value)
            && message.rule.id == rule
        {
            ids.insert(message.alert_id);
        }
    })?;
    Ok(ids)
}

fn sent_alert(message: Message, value: &[u8]) -> Option<SentAlert> {
    let event_time = chrono::DateTime::parse_from_rfc3339(&message.event_time).ok()?.timestamp_micros();
    let Source { topic, partition, offset } = message.source;
    Some(SentAlert {
        id: message.alert_id,
        rule: message.rule.id,
        version: message.rule.version,
        source: Coordinates {
            partition: Partition { topic: topic.into(), partition },
            offset: Offset(offset),
        },
        event_time,
        value: value.to_vec(),
    })
}

fn destinations(settings: &Settings) -> [&Destination; 2] {
    [&settings.output.alerts, &settings.output.shadow]
}

fn places(settings: &Settings) -> Vec<String> {
    let place = |destination: &&Destination| match destination {
        Destination::Topic(topic) => format!("topic {topic}"),
        Destination::Ndjson(path) | Destination::Parquet(path) => path.display().to_string(),
    };
    destinations(settings).iter().map(place).collect()
}

/// Every alert, live and in shadow, that the job has sent; those of aborted transactions are none.
fn each_alert(settings: &Settings, from: ReadFrom, mut each: impl FnMut(&[u8])) -> Result<(), Failure> {
    for destination in destinations(settings) {
        match destination {
            Destination::Topic(topic) => {
                let client_id = format!("{}-why", settings.job.name);
                let failed = |error: SourceError| source_failure(&error);
                let reader =
                    TopicReader::open(&kafka_settings(settings), &client_id, topic).map_err(failed)?;
                let read = reader.read(from, |record| {
                    if let Some(payload) = &record.payload {
                        each(payload);
                    }
                    Ok::<_, SourceError>(())
                });
                read.map_err(failed)?;
            }
            Destination::Ndjson(path) => {
                let Ok(file) = std::fs::File::open(path) else { continue };
                BufReader::new(file).split(b'\n').map_while(Result::ok).for_each(|line| each(&line));
            }
            Destination::Parquet(path) => {
                return Err(Failure::usage(format!(
                    "alerts of this job go to the Parquet files {}, which are not searched: say which record is \
                     meant with --at TOPIC/PARTITION/OFFSET and --rule ID, as the alert's `source` says it",
                    path.display()
                )));
            }
        }
    }
    Ok(())
}
