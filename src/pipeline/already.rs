//! Messages that receivers have, though the offsets of their transaction were lost: they are not sent again.
//!
//! Takes the notes of an assignment; where one says that a transaction ended in part (see [`crate::sink::end_hanging`]),
//! reads the outputs back and hands on [`AlreadySent`], which leaves out what is answered again and is there already,
//! until everything is answered that the topics held at the start. Alerts and decisions are known by their ids, for
//! records of several partitions may be read in another order now; other messages by a fingerprint of 128 bits.

use std::collections::HashSet;
use std::hash::Hasher;

use super::delivered::sent_from;
use super::job::{Job, JobError};
use super::repeats::fingerprint;
use crate::checkpoint::{Note, Offsets};
use crate::event::{EventTime, Offset, Partition};
use crate::sink::dead_letter::{OFFSET, PARTITION, TOPIC};
use crate::sink::{Destination, OutMessage, Topics};
use crate::source::kafka::{Assigned, ReadFrom, TopicReader};

/// What was sent since the last commit that was not lost, and until when it matters.
pub(super) struct AlreadySent {
    messages: HashSet<u128>,
    /// The end of each partition at the start.
    ends: Vec<(Partition, Offset)>,
    left_out: u64,
}

impl AlreadySent {
    /// Reads the outputs back; none where no note says that it is needed and `hung` does not either.
    pub(super) fn read(
        job: &Job<'_>,
        topics: &Topics,
        assigned: &Assigned,
        hung: bool,
    ) -> Result<Option<Self>, JobError> {
        let notes = assigned.partitions.iter().filter_map(|one| Note::read(one.note.as_deref()?).ok()?);
        let notes: Vec<Note> = notes.collect();
        if !hung && !notes.iter().any(|note| note.again) {
            return Ok(None);
        }
        let answered = notes.iter().filter_map(|note| note.watermark).min().unwrap_or(i64::MIN);
        let from = ReadFrom::Time(EventTime(sent_from(job, answered)));
        let mut messages = HashSet::new();
        for destination in Destination::ALL.into_iter().filter(|one| *one != Destination::Audit) {
            let topic = topics.of(destination);
            let reader = match TopicReader::open(&job.consumer.kafka, &job.consumer.group, topic) {
                Ok(reader) => reader,
                // A job without decisions or shadow rules needs no topic for them.
                Err(fault) if !matches!(destination, Destination::Alerts | Destination::DeadLetters) => {
                    tracing::debug!(topic, %fault, "the topic is not read back");
                    continue;
                }
                Err(fault) => return Err(fault.into()),
            };
            // What another instance committed a moment ago may not be visible yet, and must not be missed.
            reader.wait_for_open_transactions(&job.consumer.kafka, &job.consumer.group)?;
            reader.read(from, |record| -> Result<(), JobError> {
                let place =
                    |name: &str| record.headers.iter().find(|(header, _)| header == name)?.1.as_deref();
                messages.insert(message_of(
                    destination,
                    record.key.as_deref(),
                    record.payload.as_deref(),
                    place,
                ));
                Ok(())
            })?;
        }
        let ends = assigned.partitions.iter().map(|one| (one.partition.clone(), one.high)).collect();
        Ok(Some(Self { messages, ends, left_out: 0 }))
    }

    /// Leaves out what is there already.
    pub(super) fn leave_out(&mut self, outgoing: &mut Vec<OutMessage>) {
        let before = outgoing.len();
        outgoing.retain(|message| {
            let place = |name: &str| {
                message.headers.iter().find(|(header, _)| *header == name).map(|(_, value)| value.as_slice())
            };
            let (key, value) = (message.key.as_deref(), message.value.as_deref());
            !self.messages.contains(&message_of(message.destination, key, value, place))
        });
        self.left_out += (before - outgoing.len()) as u64;
    }

    /// Whether everything was answered that could have been answered before; `waits` says which row of a partition is the
    /// first that waits.
    pub(super) fn done(&self, offsets: &Offsets, waits: impl Fn(&Partition) -> Option<Offset>) -> bool {
        let answered = |(partition, end): &(Partition, Offset)| {
            let read = offsets.iter().find(|(known, _)| *known == partition);
            read.is_none_or(|(_, next)| next >= *end) && waits(partition).is_none_or(|first| first >= *end)
        };
        self.ends.iter().all(answered)
    }
}

impl Drop for AlreadySent {
    fn drop(&mut self) {
        if self.left_out > 0 {
            tracing::info!(
                messages = self.left_out,
                "what receivers had of a broken transaction was not sent again"
            );
        }
    }
}

/// A message by what does not change when it is made again; `place` finds a header. An event has one decision, and one
/// alert of a rule, whatever else they say this time.
fn message_of<'a>(
    destination: Destination,
    key: Option<&[u8]>,
    value: Option<&[u8]>,
    place: impl Fn(&str) -> Option<&'a [u8]>,
) -> u128 {
    let has_id = matches!(destination, Destination::Alerts | Destination::Shadow | Destination::Decisions);
    let id = value.filter(|_| has_id).and_then(id);
    let (key, value) = if id.is_some() { (None, id) } else { (key, value) };
    fingerprint(|hasher| {
        hasher.write_u8(destination as u8);
        for part in [key, value, place(TOPIC), place(PARTITION), place(OFFSET)] {
            hasher.write_usize(part.map_or(usize::MAX, <[u8]>::len));
            hasher.write(part.unwrap_or_default());
        }
    })
}

fn id(value: &[u8]) -> Option<&[u8]> {
    #[derive(serde::Deserialize)]
    struct Identified<'a> {
        alert_id: Option<&'a str>,
        decision_id: Option<&'a str>,
    }
    let Identified { alert_id, decision_id } = serde_json::from_slice(value).ok()?;
    decision_id.or(alert_id).map(str::as_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::Position;
    use crate::event::Coordinates;

    #[test]
    fn decisions_and_alerts_are_known_by_their_ids_and_other_messages_by_all_that_they_say() {
        let of = |destination, id: &str, score: u32| {
            let value = format!(r#"{{"schema":"s",{id}"score":{score}}}"#);
            message_of(destination, Some(b"card"), Some(value.as_bytes()), |_| None)
        };
        for (destination, one, other) in [
            (Destination::Decisions, r#""decision_id":"d1","#, r#""decision_id":"d2","#),
            (Destination::Alerts, r#""alert_id":"a1","#, r#""alert_id":"a2","#),
        ] {
            assert_eq!(of(destination, one, 50), of(destination, one, 60));
            assert_ne!(of(destination, one, 50), of(destination, other, 50));
        }
        assert_ne!(of(Destination::DeadLetters, "", 50), of(Destination::DeadLetters, "", 60));
    }

    #[test]
    fn what_is_there_already_is_left_out_until_the_ends_of_the_start_are_read() {
        let partition = Partition { topic: "payments".into(), partition: 0 };
        let coordinates = Coordinates { partition: partition.clone(), offset: Offset(7) };
        let message = |value: &str, headers| OutMessage {
            destination: Destination::Alerts,
            key: Some(b"card".to_vec()),
            value: Some(value.as_bytes().to_vec()),
            headers,
            coordinates: coordinates.clone(),
        };
        let known = message_of(Destination::Alerts, Some(b"card"), Some(b"one"), |_| None);
        let ends = vec![(partition.clone(), Offset(9))];
        let mut already = AlreadySent { messages: HashSet::from([known]), ends, left_out: 0 };
        let sent_now = vec![("tollgate-emitted-at", b"2026".to_vec())];
        let elsewhere = vec![(OFFSET, b"8".to_vec())];
        let mut outgoing =
            vec![message("one", sent_now), message("two", Vec::new()), message("one", elsewhere)];
        already.leave_out(&mut outgoing);
        assert_eq!((outgoing.len(), already.left_out), (2, 1));
        let mut offsets = Offsets::default();
        offsets.begin(Position { partition: partition.clone(), next: Offset(8), last: None });
        assert!(!already.done(&offsets, |_| None));
        offsets.begin(Position { partition, next: Offset(9), last: None });
        assert!(already.done(&offsets, |_| None) && already.done(&offsets, |_| Some(Offset(9))));
        assert!(!already.done(&offsets, |_| Some(Offset(8))), "read and not answered");
    }
}
