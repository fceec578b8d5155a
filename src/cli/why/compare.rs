//! Where an alert that is made again differs from the one that was sent.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

/// The keys in which two alerts differ, each of their rule's by itself; none where they are equal byte for byte.
pub(super) fn differing(sent: &[u8], again: &[u8]) -> Vec<String> {
    if sent == again {
        return Vec::new();
    }
    let read = |value: &[u8]| serde_json::from_slice::<Map<String, Value>>(value).unwrap_or_default();
    let (mut sent, mut again) = (read(sent), read(again));
    for alert in [&mut sent, &mut again] {
        if let Some(Value::Object(rule)) = alert.remove("rule") {
            alert.extend(rule.into_iter().map(|(key, value)| (format!("rule.{key}"), value)));
        }
    }
    let keys: BTreeSet<&String> = sent.keys().chain(again.keys()).collect();
    let differ: Vec<String> =
        keys.into_iter().filter(|key| sent.get(*key) != again.get(*key)).cloned().collect();
    if differ.is_empty() { vec!["the way it is written".to_owned()] } else { differ }
}

/// Whether a key holds only what a rule's file says of the rule, which no answer depends on.
pub(super) fn descriptive(key: &str) -> bool {
    key.starts_with("rule.") && !matches!(key, "rule.id" | "rule.version")
}
