//! `dead-letters redrive`: sends records to their topics again once the cause is mended.
//!
//! Takes letters that were not yet sent again, hands on their records' own bytes: from the letter, or from the
//! record's topic where the letter has none. Each batch is one Kafka transaction of the records and, for each, a
//! note in the dead-letter topic; the notes of all earlier runs are read first. The transactional id is the job's
//! own: a second run at the same time shuts the first one out. So a letter is sent again at most once, whatever
//! crashes, and no state is kept anywhere else.
//!
//! What would surprise: only letters of the stage `decode` are taken unless others are asked for. The rows of the
//! others were answered, and would be answered again by every rule that was not at fault.

mod send;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use self::send::Sender;
use super::letter::{Entry, Letter, path, read};
use super::show::checked;
use super::{Config, Place, Selection, clock};
use crate::cli::failure::{Exit, Failure};
use crate::cli::terminal::grouped;
use crate::event::Offset;
use crate::source::kafka::{ReadFrom, StoredRecord, TopicReader};

/// Send records to their topics again, each at most once.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  tollgate dead-letters redrive --since 2h --dry-run
  tollgate dead-letters redrive --reason amount

Each record goes to its own partition with its own bytes and time, and the header tollgate-redriven-from. It is
noted in the dead-letter topic in the same transaction (header tollgate-redriven), so a second run leaves it out.
Ends with 1 if the bytes of any record could not be had again.")]
pub(super) struct Arguments {
    #[command(flatten)]
    config: Config,
    #[command(flatten)]
    selection: Selection,
    /// Stages to take: decode, evaluate, sink. Rows of the last two were answered once already.
    #[arg(long, value_name = "STAGE", value_delimiter = ',', default_value = "decode")]
    stage: Vec<StageName>,
    /// The most that are sent; the rest is left for another run.
    #[arg(long, value_name = "COUNT", default_value_t = 10_000)]
    limit: usize,
    /// Say what would be sent, and send nothing.
    #[arg(long)]
    dry_run: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum StageName {
    Decode,
    Evaluate,
    Sink,
}

impl StageName {
    fn text(self) -> &'static str {
        match self {
            Self::Decode => "decode",
            Self::Evaluate => "evaluate",
            Self::Sink => "sink",
        }
    }
}

/// The most letters that one run keeps in mind.
const LETTERS_MAX: usize = 5_000_000;

/// What a run did.
#[derive(Debug, Default)]
struct Tally {
    sent: u64,
    by_topic: BTreeMap<String, u64>,
    lost: Vec<String>,
    lost_count: u64,
}

pub(super) fn run(arguments: &Arguments) -> Result<Exit, Failure> {
    let place = Place::of(&arguments.config)?;
    let from = arguments.selection.from(&clock())?;
    let letters = place.open(&place.topic)?;
    // First of all the sender: from here on no other run can commit, so its notes are complete.
    let mut sender = match arguments.dry_run {
        true => None,
        false => Some(Sender::start(&place)?),
    };
    letters.wait_for_open_transactions(&place.kafka, &place.client_id)?;
    let (open, done) = not_yet_sent(&letters, from, arguments)?;
    let left = open.len().saturating_sub(arguments.limit);
    let chosen: BTreeSet<_> = open.into_iter().take(arguments.limit).collect();
    let mut topics = Topics { place: &place, readers: HashMap::new() };
    let mut tally = Tally::default();
    letters.read(from, |record| {
        let Entry::Letter(letter) = read(&record) else { return Ok(()) };
        if !chosen.contains(&letter.place()) {
            return Ok(());
        }
        match topics.bytes(&letter, record)? {
            Ok(record) => {
                if let Some(sender) = &mut sender {
                    sender.send(&letter, &record)?;
                }
                tally.sent(&letter);
            }
            Err(lost) => tally.lost(lost),
        }
        Ok::<_, Failure>(())
    })?;
    if let Some(sender) = sender {
        sender.finish()?;
    }
    tally.say(arguments.dry_run, done, left);
    Ok(if tally.lost_count > 0 { Exit::Findings } else { Exit::Fine })
}

/// Positions of the selected letters that have no note yet, and how many have one.
fn not_yet_sent(
    letters: &TopicReader,
    from: ReadFrom,
    arguments: &Arguments,
) -> Result<(BTreeSet<(i32, Offset)>, u64), Failure> {
    let mut open = BTreeSet::new();
    let mut done = 0;
    letters.read(from, |record| {
        match read(&record) {
            Entry::Letter(letter) if selected(arguments, &letter) => {
                open.insert(letter.place());
            }
            // A note stands behind its letter, in the same partition.
            Entry::Redriven(partition, offset) => done += u64::from(open.remove(&(partition, offset))),
            Entry::Letter(_) | Entry::Other => {}
        }
        match open.len() > LETTERS_MAX {
            true => Err(Failure::usage(format!(
                "more than {} letters are selected: narrow it with --since or --reason",
                grouped(LETTERS_MAX as u64)
            ))),
            false => Ok(()),
        }
    })?;
    Ok((open, done))
}

fn selected(arguments: &Arguments, letter: &Letter) -> bool {
    arguments.stage.iter().any(|stage| stage.text() == letter.stage) && arguments.selection.takes(letter)
}

/// The topics that records come from and go to.
struct Topics<'a> {
    place: &'a Place,
    readers: HashMap<String, TopicReader>,
}

impl Topics<'_> {
    /// The record to be sent: as the letter has it, or from its own topic; or why it can't be had.
    fn bytes(
        &mut self,
        letter: &Letter,
        stored: StoredRecord,
    ) -> Result<Result<StoredRecord, String>, Failure> {
        let topic = &*letter.record.partition.topic;
        if !self.place.settings.streams.values().any(|stream| stream.topics.iter().any(|own| own == topic)) {
            // Whoever may write letters must not be able to write to any topic through this.
            return Ok(Err(format!(
                "{} is in no topic of this job's streams: nothing is sent there",
                path(&letter.record)
            )));
        }
        let reader = match self.readers.entry(topic.to_owned()) {
            std::collections::hash_map::Entry::Occupied(entry) => entry.into_mut(),
            std::collections::hash_map::Entry::Vacant(entry) => entry.insert(self.place.open(topic)?),
        };
        let partition = letter.record.partition.partition;
        if !usize::try_from(partition).is_ok_and(|partition| partition < reader.partitions()) {
            return Ok(Err(format!("{topic} has no partition {partition} any more")));
        }
        if stored.payload.is_some() {
            return Ok(Ok(as_it_was(letter, stored)));
        }
        Ok(checked(reader.fetch(partition, letter.record.offset)?, letter))
    }
}

/// The record as a letter keeps it: its own bytes and time, without the letter's headers.
fn as_it_was(letter: &Letter, stored: StoredRecord) -> StoredRecord {
    let time = letter.timestamp.as_deref().and_then(|time| chrono::DateTime::parse_from_rfc3339(time).ok());
    StoredRecord {
        coordinates: letter.record.clone(),
        timestamp: time.map(|time| crate::event::EventTime(time.timestamp_micros())),
        headers: Vec::new(),
        ..stored
    }
}

impl Tally {
    fn sent(&mut self, letter: &Letter) {
        self.sent += 1;
        *self.by_topic.entry(letter.record.partition.topic.to_string()).or_default() += 1;
    }

    fn lost(&mut self, why: String) {
        const NAMED_MAX: usize = 10;
        self.lost_count += 1;
        if self.lost.len() < NAMED_MAX {
            self.lost.push(why);
        }
    }

    fn say(&self, dry_run: bool, done: u64, left: usize) {
        for why in &self.lost {
            eprintln!("left out: {why}");
        }
        let verb = if dry_run { "would be sent" } else { "sent" };
        for (topic, count) in &self.by_topic {
            eprintln!("{verb} to {topic}: {}", grouped(*count));
        }
        eprintln!(
            "{} {verb}, {} sent before, {} can't be sent, {} left for another run",
            grouped(self.sent),
            grouped(done),
            grouped(self.lost_count),
            grouped(left as u64)
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::dead_letters::letter::tests::stored;
    use crate::sink::Masking;

    #[test]
    fn a_record_that_a_letter_keeps_gets_its_own_place_and_time_back() {
        let record = stored(7, Masking::Keep);
        let Entry::Letter(letter) = read(&record) else { panic!("a letter") };
        let again = as_it_was(&letter, record);
        assert_eq!(path(&again.coordinates), "payments/3/88");
        assert_eq!(again.timestamp.map(|time| time.to_string()).as_deref(), Some("2025-11-22T10:15:02.123Z"));
        assert_eq!((again.key.as_deref(), again.payload.as_deref()), (Some(&b"card"[..]), Some(&b"{}"[..])));
        assert_eq!(again.headers, []);
    }
}
