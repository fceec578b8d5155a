//! What alerts and summaries say alike: their ids, and which rule they are of.

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

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
