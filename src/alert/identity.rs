//! What alerts and summaries say alike: their ids, and which rule they are of.

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::AlertSettings;
use crate::event::Coordinates;
use crate::rules::{Rule, Status};

/// First 32 hex digits of the SHA-256 of the parts, each ended by a zero byte.
pub(super) fn hashed<'a>(parts: impl IntoIterator<Item = &'a str>) -> String {
    use std::fmt::Write;
    let mut digest = Sha256::new();
    for part in parts {
        digest.update(part.as_bytes());
        digest.update([0]);
    }
    digest.finalize().iter().take(16).fold(String::with_capacity(32), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// The `rule` of a message; `status` is how it stands now.
pub(super) fn of_rule(rule: &Rule, status: Status) -> Value {
    let header = &rule.header;
    json!({
        "id": header.id, "version": rule.version, "title": header.title, "status": status,
        "severity": header.severity, "typology": header.typology, "owner": header.owner,
        "runbook": header.runbook, "tags": header.tags,
    })
}

impl AlertSettings {
    /// First 32 hex digits of the SHA-256 of cluster, topic, generation, partition, offset and what tells messages
    /// about one event apart, each ended by a zero byte. Of an alert that is rule, version and the hit's ordinal.
    pub(crate) fn id_of(&self, coordinates: &Coordinates, stream: usize, about: &[&str]) -> String {
        let generation = self.generations.get(stream).copied().unwrap_or(0);
        let place = [
            generation.to_string(),
            coordinates.partition.partition.to_string(),
            coordinates.offset.0.to_string(),
        ];
        let named = [self.cluster.as_str(), &coordinates.partition.topic];
        hashed(named.into_iter().chain(place.iter().map(String::as_str)).chain(about.iter().copied()))
    }
}
