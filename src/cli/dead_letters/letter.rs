//! What stands in the dead-letter topic: letters, and notes that a letter was sent again.
//!
//! Takes a [`StoredRecord`], hands on an [`Entry`]. A record that is neither is passed over: others may write
//! to the topic too.

use serde_json::{Map, Value, json};

use crate::event::{Coordinates, EventTime, Offset, Partition};
use crate::sink::dead_letter::{self as header, base64};
use crate::source::kafka::StoredRecord;

/// Header of a note in the dead-letter topic: the `partition/offset` there of the letter that was sent again.
pub(super) const REDRIVEN: &str = "tollgate-redriven";

/// Header of a record that was sent again: the `topic/partition/offset` of its letter.
pub(super) const REDRIVEN_FROM: &str = "tollgate-redriven-from";

/// One record of the dead-letter topic.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Entry {
    Letter(Letter),
    /// The letter at this partition and offset was sent again.
    Redriven(i32, Offset),
    Other,
}

/// A dead letter, without the bytes of the record it is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Letter {
    /// Where the letter stands.
    pub position: Coordinates,
    /// When it was written.
    pub written: Option<EventTime>,
    /// The record that it is about.
    pub record: Coordinates,
    /// That record's Kafka timestamp.
    pub timestamp: Option<String>,
    pub stage: String,
    pub reason: String,
    pub rule: Option<String>,
}

/// Reads one record of the dead-letter topic.
pub(super) fn read(record: &StoredRecord) -> Entry {
    if let Some(note) = record.header(REDRIVEN) {
        let place = note.split_once('/').and_then(|(partition, offset)| {
            Some(Entry::Redriven(partition.parse().ok()?, Offset(offset.parse().ok()?)))
        });
        return place.unwrap_or(Entry::Other);
    }
    letter(record).map_or(Entry::Other, Entry::Letter)
}

fn letter(record: &StoredRecord) -> Option<Letter> {
    let partition = Partition {
        topic: record.header(header::TOPIC)?.into(),
        partition: record.header(header::PARTITION)?.parse().ok()?,
    };
    Some(Letter {
        position: record.coordinates.clone(),
        written: record.timestamp,
        record: Coordinates { partition, offset: Offset(record.header(header::OFFSET)?.parse().ok()?) },
        timestamp: record.header(header::TIMESTAMP),
        stage: record.header(header::STAGE)?,
        reason: record.header(header::REASON)?,
        rule: record.header(header::RULE),
    })
}

/// `topic/partition/offset`.
pub(super) fn path(coordinates: &Coordinates) -> String {
    format!("{}/{}/{}", coordinates.partition.topic, coordinates.partition.partition, coordinates.offset.0)
}

impl Letter {
    /// The partition and offset of the letter in its own topic.
    pub(super) fn place(&self) -> (i32, Offset) {
        (self.position.partition.partition, self.position.offset)
    }

    /// When it was written, as text.
    pub(super) fn written_text(&self) -> Option<String> {
        self.written.map(|time| time.to_string())
    }

    /// The letter as a JSON object, without the record's bytes.
    pub(super) fn to_json(&self, redriven: bool) -> Map<String, Value> {
        let object = json!({
            "position": {"partition": self.position.partition.partition, "offset": self.position.offset.0},
            "written": self.written_text(),
            "topic": &*self.record.partition.topic,
            "partition": self.record.partition.partition,
            "offset": self.record.offset.0,
            "timestamp": self.timestamp,
            "stage": self.stage,
            "reason": self.reason,
            "rule": self.rule,
            "redriven": redriven,
        });
        match object {
            Value::Object(object) => object,
            _ => Map::new(),
        }
    }
}

/// Adds bytes under a name, or in Base64 under `NAME_base64` where they are no text.
pub(super) fn insert_bytes(object: &mut Map<String, Value>, name: &str, bytes: Option<&[u8]>) {
    let Some(bytes) = bytes else { return };
    match std::str::from_utf8(bytes) {
        Ok(text) => object.insert(name.to_owned(), Value::from(text)),
        Err(_) => object.insert(format!("{name}_base64"), Value::from(base64(bytes))),
    };
}

/// The text without anything that a terminal would act on.
pub(super) fn printable(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() && c != '\n' && c != '\t' {
            shown.extend(c.escape_default());
        } else {
            shown.push(c);
        }
    }
    shown
}

#[cfg(test)]
pub(super) mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::decode::{DeadLetter, Stage};
    use crate::sink::{Masking, dead_letter_message};

    /// A letter about `payments/3/88`, as the sink writes it, at an offset of partition 1.
    pub(crate) fn stored(offset: i64, mask: Masking) -> StoredRecord {
        let letter = DeadLetter {
            coordinates: Coordinates {
                partition: Partition { topic: Arc::from("payments"), partition: 3 },
                offset: Offset(88),
            },
            timestamp: Some(1_763_806_502_123_000),
            stage: Stage::Decode,
            reason: "`amount` is missing".to_owned(),
            kind: "missing",
            rule: None,
            payload: Some(b"{}".to_vec()),
            key: Some(b"card".to_vec()),
        };
        let message = dead_letter_message(&letter, mask);
        let header = |(name, value): (&str, Vec<u8>)| (name.to_owned(), Some(value));
        StoredRecord {
            coordinates: Coordinates {
                partition: Partition { topic: Arc::from("dead"), partition: 1 },
                offset: Offset(offset),
            },
            timestamp: Some(EventTime(1_763_806_503_000_000)),
            key: message.key,
            payload: message.value,
            headers: message.headers.into_iter().map(header).collect(),
        }
    }

    #[test]
    fn what_the_sink_writes_is_read_back_as_a_letter() {
        let Entry::Letter(letter) = read(&stored(7, Masking::Keep)) else { panic!("a letter") };
        assert_eq!(
            (path(&letter.record).as_str(), path(&letter.position).as_str()),
            ("payments/3/88", "dead/1/7")
        );
        assert_eq!(letter.timestamp.as_deref(), Some("2025-11-22T10:15:02.123Z"));
        assert_eq!(letter.to_json(true)["redriven"], true);
    }

    #[test]
    fn notes_and_strange_records_are_told_from_letters() {
        let with = |name: &str, value: &str| StoredRecord {
            headers: vec![(name.to_owned(), Some(value.as_bytes().to_vec()))],
            ..stored(7, Masking::Mask)
        };
        assert_eq!(read(&with(REDRIVEN, "1/12")), Entry::Redriven(1, Offset(12)));
        for strange in [with(REDRIVEN, "1"), with("tollgate-topic", "payments"), with("x", "y")] {
            assert_eq!(read(&strange), Entry::Other, "{strange:?}");
        }
    }

    #[test]
    fn a_terminal_is_shown_no_escape_sequences() {
        assert_eq!(printable("a\u{1b}[2Jb\tc\n"), "a\\u{1b}[2Jb\tc\n");
    }
}
