//! What alerts and summaries say alike: their ids, and which rule they are of.

use serde::Serialize;
use sha2::{Digest, Sha256};

use super::AlertSettings;
use crate::event::Coordinates;
use crate::rules::{Rule, RuleSeverity, Status};

/// First 32 hex digits of the SHA-256 of the parts, each ended by a zero byte.
pub(super) fn hashed<'a>(parts: impl IntoIterator<Item = &'a str>) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut digest = Sha256::new();
    for part in parts {
        digest.update(part.as_bytes());
        digest.update([0]);
    }
    let bytes = digest.finalize();
    let digits = bytes.iter().take(16).flat_map(|byte| [byte >> 4, byte & 15]);
    digits.map(|digit| char::from(DIGITS[usize::from(digit)])).collect()
}

/// The `rule` of a message.
#[derive(Debug, Clone, Copy, Serialize)]
pub(super) struct RuleIdentity<'a> {
    id: &'a str,
    version: &'a str,
    title: &'a str,
    status: Status,
    #[serde(skip_serializing_if = "Option::is_none")]
    shadow_of: Option<&'a str>,
    severity: RuleSeverity,
    typology: Option<&'a str>,
    owner: &'a str,
    runbook: Option<&'a str>,
    tags: &'a [String],
}

/// What messages say of a rule; `status` is how it stands now.
pub(super) fn of_rule(rule: &Rule, status: Status) -> RuleIdentity<'_> {
    let header = &rule.header;
    RuleIdentity {
        id: &header.id,
        version: &rule.version,
        title: &header.title,
        status,
        shadow_of: header.shadow_of.as_deref(),
        severity: header.severity,
        typology: header.typology.as_deref(),
        owner: &header.owner,
        runbook: header.runbook.as_deref(),
        tags: &header.tags,
    }
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
