//! The note that rides in the metadata of a committed offset.
//!
//! One JSON object of short keys, far below the 4096 bytes that brokers take. Keys that a later version adds
//! are ignored by this one; a note of another format is refused, for going on from it could be wrong.

use serde::{Deserialize, Serialize};

use crate::event::Offset;
use crate::source::RawRecord;

/// What the next start must know of a partition beside its committed offset.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    /// Format of the note.
    #[serde(rename = "v")]
    pub format: u32,
    /// The next record to read; records between the committed offset and this one were read, and answered
    /// where they stand below the watermark.
    #[serde(rename = "next")]
    pub next: i64,
    /// The watermark in force, microseconds; none before the first row.
    #[serde(rename = "wm", default, skip_serializing_if = "Option::is_none")]
    pub watermark: Option<i64>,
    /// Latest event time of the partition, microseconds; none before the first row.
    #[serde(rename = "latest", default, skip_serializing_if = "Option::is_none")]
    pub latest: Option<i64>,
    /// Version of the rule set that answered, and of the weights that decided.
    #[serde(rename = "rules", default)]
    pub ruleset: String,
    /// How many partitions the topic had.
    #[serde(rename = "parts", default)]
    pub partitions: usize,
    /// The settings' number that tells a topic from one of the same name that was deleted before.
    #[serde(rename = "gen", default)]
    pub generation: u32,
    /// Event time from which on windows hold everything, microseconds; none where they always did.
    #[serde(rename = "exact", default, skip_serializing_if = "Option::is_none")]
    pub complete_from: Option<i64>,
    /// The record before the next one, by which a topic is known again; none where none was read.
    #[serde(rename = "last", default, skip_serializing_if = "Option::is_none")]
    pub last: Option<RecordMark>,
    /// Whether the transaction after this commit ended in part: what is answered from here on may have been sent.
    #[serde(rename = "again", default, skip_serializing_if = "std::ops::Not::not")]
    pub again: bool,
}

/// What tells a record from another one at the same offset of a topic that was made anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordMark(
    /// Kafka timestamp, microseconds; none where the record has none.
    pub Option<i64>,
    /// Bytes of key and payload.
    pub usize,
);

impl RecordMark {
    /// The mark of a record.
    pub fn of(record: &RawRecord) -> Self {
        let bytes = [&record.key, &record.payload].into_iter().flatten().map(std::ops::Range::len).sum();
        Self(record.timestamp, bytes)
    }
}

/// A note that can't be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the metadata of the committed offset is not a note of this program: {0}")]
pub struct NoteError(String);

const FORMAT: u32 = 1;

impl Note {
    /// A note without times.
    pub fn new(next: Offset) -> Self {
        Self {
            format: FORMAT,
            next: next.0,
            watermark: None,
            latest: None,
            ruleset: String::new(),
            partitions: 0,
            generation: 0,
            complete_from: None,
            last: None,
            again: false,
        }
    }

    /// The same note for another position.
    pub fn with_next(self, next: Offset) -> Self {
        Self { next: next.0, ..self }
    }

    /// The next record to read.
    pub fn next(&self) -> Offset {
        Offset(self.next)
    }

    /// Reads a note; none where the commit carries none, as one made by hand does.
    pub fn read(text: &str) -> Result<Option<Self>, NoteError> {
        if text.is_empty() {
            return Ok(None);
        }
        let note: Self = serde_json::from_str(text).map_err(|error| NoteError(error.to_string()))?;
        if note.format != FORMAT {
            return Err(NoteError(format!("format {} where this version reads {FORMAT}", note.format)));
        }
        Ok(Some(note))
    }

    /// The same commit's note, for whoever goes on from it after the transaction behind it ended in part; a note that
    /// can't be read stays as it is.
    pub fn marked_again(text: &str) -> String {
        match Self::read(text) {
            Ok(Some(note)) => Self { again: true, ..note }.write(),
            _ => text.to_owned(),
        }
    }

    /// The note as text.
    pub fn write(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_reads_back_as_it_was_written() {
        let note = Note {
            watermark: Some(1_763_806_502_123_000),
            latest: Some(-5),
            ruleset: "9f3c".to_owned(),
            partitions: 4,
            generation: 2,
            last: Some(RecordMark(Some(1_763_806_502_123_000), 346)),
            ..Note::new(Offset(42))
        };
        assert_eq!(Note::read(&note.write()), Ok(Some(note.clone())));
        assert!(note.write().len() < 200, "{}", note.write());
        assert_eq!(Note::read(""), Ok(None));
    }

    #[test]
    fn another_programs_metadata_is_refused_and_keys_of_a_later_version_are_not() {
        assert!(Note::read("owner=me").is_err());
        assert!(Note::read(r#"{"v":2,"next":1}"#).is_err());
        assert_eq!(Note::read(r#"{"v":1,"next":7,"later":true}"#), Ok(Some(Note::new(Offset(7)))));
    }
}
