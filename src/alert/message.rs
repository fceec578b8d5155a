//! The bytes of an alert, `tollgate.alert/1`: written once, in one pass, since a job may write thousands a second.

use arrow::array::ArrayRef;
use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::Value;

use super::identity::RuleIdentity;
use super::json;
use crate::event::{Coordinates, Partition};
use crate::rules::Action;

/// An alert as it leaves. Keys are in the order in which they are written.
#[derive(serde::Serialize)]
pub(super) struct Message<'a> {
    pub schema: &'static str,
    pub alert_id: &'a str,
    pub event_id: &'a str,
    pub entity: Entity<'a>,
    pub event_time: String,
    pub rule: RuleIdentity<'a>,
    pub action: Action,
    pub score: u32,
    pub reason: &'a str,
    pub values: Values<'a>,
    pub late_ms: i64,
    pub exact_since: Option<String>,
    pub suppressed_before: u64,
    pub source: Source<'a>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub past_max_age: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub models: Option<Value>,
}

/// Whom an alert is about.
#[derive(serde::Serialize)]
pub(super) struct Entity<'a> {
    #[serde(rename = "type")]
    pub kind: &'a str,
    pub id: &'a str,
}

/// Where an event stands, as alerts and decisions say it.
#[derive(Debug, serde::Serialize)]
pub(crate) struct Source<'a> {
    cluster: &'a str,
    topic: &'a str,
    partition: i32,
    offset: i64,
}

impl<'a> Source<'a> {
    pub(crate) fn of(cluster: &'a str, coordinates: &'a Coordinates) -> Self {
        let Partition { topic, partition } = &coordinates.partition;
        Self { cluster, topic, partition: *partition, offset: coordinates.offset.0 }
    }
}

/// Selected columns of one hit, by their names.
pub(super) struct Values<'a> {
    pub names: &'a [String],
    pub columns: &'a [ArrayRef],
    pub hit: usize,
}

impl Serialize for Values<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.names.len()))?;
        for (name, column) in self.names.iter().zip(self.columns) {
            map.serialize_entry(name, &json::value(column, self.hit))?;
        }
        map.end()
    }
}

impl Message<'_> {
    pub(super) fn bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(1024);
        // Only a value that refuses to be written fails here, and none of these does.
        let _ = serde_json::to_writer(&mut bytes, self);
        bytes
    }
}
