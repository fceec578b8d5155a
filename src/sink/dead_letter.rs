//! The shape of a dead letter: the record's own bytes, and headers that say where it stood and what was wrong.
//!
//! Takes a [`DeadLetter`], hands on an [`OutMessage`]. Masked, it carries neither payload nor key, and
//! both can be fetched again by the coordinates in its headers.

use serde_json::{Map, Value};

use super::{Destination, OutMessage};
use crate::decode::{DeadLetter, Stage};
use crate::event::EventTime;

/// Whether dead letters carry the record's own bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Masking {
    /// Payload and key as they came.
    #[default]
    Keep,
    /// Neither: the record stays where access to it is governed.
    Mask,
}

pub(crate) const TOPIC: &str = "tollgate-topic";
pub(crate) const PARTITION: &str = "tollgate-partition";
pub(crate) const OFFSET: &str = "tollgate-offset";
pub(crate) const TIMESTAMP: &str = "tollgate-timestamp";
pub(crate) const STAGE: &str = "tollgate-stage";
pub(crate) const REASON: &str = "tollgate-reason";
pub(crate) const RULE: &str = "tollgate-rule";

/// The message that carries a dead letter.
pub fn dead_letter_message(letter: &DeadLetter, mask: Masking) -> OutMessage {
    let mut headers = vec![
        (TOPIC, letter.coordinates.partition.topic.as_bytes().to_vec()),
        (PARTITION, letter.coordinates.partition.partition.to_string().into_bytes()),
        (OFFSET, letter.coordinates.offset.0.to_string().into_bytes()),
    ];
    if let Some(timestamp) = letter.timestamp {
        headers.push((TIMESTAMP, EventTime(timestamp).to_string().into_bytes()));
    }
    headers.push((STAGE, stage(letter.stage).as_bytes().to_vec()));
    headers.push((REASON, letter.reason.clone().into_bytes()));
    if let Some(rule) = &letter.rule {
        headers.push((RULE, rule.clone().into_bytes()));
    }
    let (key, value) = match mask {
        Masking::Keep => (letter.key.clone(), letter.payload.clone()),
        Masking::Mask => (None, None),
    };
    OutMessage {
        destination: Destination::DeadLetters,
        key,
        value,
        headers,
        coordinates: letter.coordinates.clone(),
    }
}

/// The dead letter in place of a message that its destination would not take, none where that was a
/// dead letter without payload already.
pub(super) fn in_place_of(refused: &OutMessage, reason: &str) -> Option<OutMessage> {
    if refused.destination != Destination::DeadLetters {
        return Some(dead_letter_message(
            &DeadLetter {
                coordinates: refused.coordinates.clone(),
                timestamp: None,
                stage: Stage::Sink,
                reason: reason.to_owned(),
                kind: "refused",
                rule: rule_of(refused),
                payload: None,
                key: None,
            },
            Masking::Mask,
        ));
    }
    if refused.value.is_none() && refused.key.is_none() {
        return None;
    }
    let mut headers = refused.headers.clone();
    for (name, value) in &mut headers {
        if *name == REASON {
            value.extend_from_slice(format!("; payload and key left out: {reason}").as_bytes());
        }
    }
    Some(OutMessage { key: None, value: None, headers, ..refused.clone() })
}

/// The rule that an alert names.
fn rule_of(refused: &OutMessage) -> Option<String> {
    let alert: Value = serde_json::from_slice(refused.value.as_deref()?).ok()?;
    alert.pointer("/rule/id")?.as_str().map(str::to_owned)
}

/// A dead letter as one JSON object, for files.
///
/// Bytes that are UTF-8 stand in `key` and `payload`, others in Base64 in `key_base64` and `payload_base64`.
pub(super) fn to_json(message: &OutMessage) -> Value {
    let mut object = Map::new();
    for (name, value) in &message.headers {
        let text = String::from_utf8_lossy(value);
        let value = match *name {
            PARTITION | OFFSET => text.parse::<i64>().map_or(Value::Null, Value::from),
            _ => Value::from(text),
        };
        object.insert(name.trim_start_matches("tollgate-").to_owned(), value);
    }
    for (name, bytes) in [("key", &message.key), ("payload", &message.value)] {
        let Some(bytes) = bytes else { continue };
        match std::str::from_utf8(bytes) {
            Ok(text) => object.insert(name.to_owned(), Value::from(text)),
            Err(_) => object.insert(format!("{name}_base64"), Value::from(base64(bytes))),
        };
    }
    Value::Object(object)
}

fn stage(stage: Stage) -> &'static str {
    match stage {
        Stage::Decode => "decode",
        Stage::Evaluate => "evaluate",
        Stage::Sink => "sink",
    }
}

/// Base64 of RFC 4648 section 4, padded.
pub(crate) fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let byte = |index: usize| u32::from(group.get(index).copied().unwrap_or_default());
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for place in 0..4 {
            let index = (bits >> (18 - 6 * place) & 63) as usize;
            text.push(if place > group.len() { '=' } else { char::from(ALPHABET[index]) });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::event::{Coordinates, Offset, Partition};

    fn letter(payload: Option<&[u8]>) -> DeadLetter {
        DeadLetter {
            coordinates: Coordinates {
                partition: Partition { topic: Arc::from("payments"), partition: 3 },
                offset: Offset(88),
            },
            timestamp: Some(1_763_806_502_123_000),
            stage: Stage::Decode,
            reason: "`amount` is missing".to_owned(),
            kind: "missing",
            rule: None,
            payload: payload.map(<[u8]>::to_vec),
            key: Some(b"card".to_vec()),
        }
    }

    #[test]
    fn a_dead_letter_keeps_its_bytes_and_says_where_it_stood() {
        let message = dead_letter_message(&letter(Some(b"{}")), Masking::Keep);
        assert_eq!(
            (message.key.as_deref(), message.value.as_deref()),
            (Some(&b"card"[..]), Some(&b"{}"[..]))
        );
        assert_eq!(
            to_json(&message).to_string(),
            r#"{"topic":"payments","partition":3,"offset":88,"timestamp":"2025-11-22T10:15:02.123Z","stage":"decode","reason":"`amount` is missing","key":"card","payload":"{}"}"#
        );
    }

    #[test]
    fn a_masked_dead_letter_carries_neither_payload_nor_key() {
        let message = dead_letter_message(&letter(Some(b"{}")), Masking::Mask);
        assert_eq!((message.key, message.value), (None, None));
    }

    #[test]
    fn bytes_that_are_no_text_are_written_as_base64() {
        let json = to_json(&dead_letter_message(&letter(Some(&[0xff, 0xfe])), Masking::Keep));
        assert_eq!(json["payload_base64"], "//4=");
        assert_eq!(json.get("payload"), None);
        for (bytes, text) in
            [(&b""[..], ""), (b"f", "Zg=="), (b"fo", "Zm8="), (b"foo", "Zm9v"), (b"foob", "Zm9vYg==")]
        {
            assert_eq!(base64(bytes), text);
        }
    }

    #[test]
    fn a_message_that_is_refused_gives_way_to_a_dead_letter_and_then_to_one_without_payload() {
        let mut alert = dead_letter_message(&letter(None), Masking::Mask);
        alert.destination = Destination::Alerts;
        alert.value = Some(br#"{"rule":{"id":"card-testing"}}"#.to_vec());
        let first = in_place_of(&alert, "too large").expect("a dead letter");
        assert_eq!(first.destination, Destination::DeadLetters);
        assert_eq!(to_json(&first)["rule"], "card-testing");
        assert_eq!(to_json(&first)["stage"], "sink");
        assert_eq!(in_place_of(&first, "too large"), None);

        let large = dead_letter_message(&letter(Some(b"{}")), Masking::Keep);
        let stripped = in_place_of(&large, "too large").expect("without payload");
        assert_eq!((stripped.key.as_ref(), stripped.value.as_ref()), (None, None));
        assert_eq!(to_json(&stripped)["reason"], "`amount` is missing; payload and key left out: too large");
    }
}
