//! `dead-letters show`: one letter, and the bytes of its record where the settings allow it.
//!
//! Where dead letters are masked the record is shown only when asked for with `--fetch`, which reads it from its
//! own topic with the rights of whoever asks.

use std::io::Write;

use serde_json::Value;

use super::letter::{Entry, Letter, insert_bytes, path, printable, read};
use super::{Config, Place, Shape};
use crate::cli::failure::{Exit, Failure};
use crate::event::Offset;
use crate::sink::dead_letter::base64;
use crate::source::kafka::{ReadFrom, StoredRecord};

/// Show one dead letter: its headers, and the record's own bytes.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  tollgate dead-letters show 0 12                 by its position in the dead-letter topic
  tollgate dead-letters show payments 3 88121     by the record that it is about
  tollgate dead-letters show payments 3 88121 --fetch")]
pub(super) struct Arguments {
    /// PARTITION OFFSET in the dead-letter topic, or TOPIC PARTITION OFFSET of the record.
    #[arg(required = true, num_args = 2..=3, value_name = "[TOPIC] PARTITION OFFSET")]
    place: Vec<String>,
    #[command(flatten)]
    config: Config,
    /// Read the record from its own topic, whatever the letter holds of it.
    #[arg(long)]
    fetch: bool,
    /// Shape of what is printed.
    #[arg(long, value_enum, default_value = "table")]
    format: Shape,
}

/// What is known of the record's bytes.
enum Bytes {
    Held(StoredRecord),
    /// Not shown, and why.
    Withheld(String),
}

pub(super) fn run(arguments: &Arguments) -> Result<Exit, Failure> {
    let place = Place::of(&arguments.config)?;
    let (letter, stored) = find(&place, &arguments.place)?;
    let bytes = if arguments.fetch {
        Bytes::Held(fetch(&place, &letter)?)
    } else if place.settings.output.mask_dead_letters {
        Bytes::Withheld("masked by `output.mask_dead_letters`; --fetch reads it from its topic".to_owned())
    } else if stored.payload.is_none() && stored.key.is_none() {
        Bytes::Withheld("not in the letter; --fetch reads it from its topic".to_owned())
    } else {
        Bytes::Held(stored)
    };
    let mut out = std::io::stdout().lock();
    let done = match arguments.format {
        Shape::Table => show(&mut out, &letter, &bytes),
        Shape::Json => writeln!(out, "{:#}", to_json(&letter, &bytes)),
        Shape::Ndjson => writeln!(out, "{}", to_json(&letter, &bytes)),
    };
    done.map_err(Failure::outside).map(|()| Exit::Fine)
}

/// The letter at a position, or the newest one about a record.
fn find(place: &Place, words: &[String]) -> Result<(Letter, StoredRecord), Failure> {
    let number = |text: &String| {
        text.parse::<i64>()
            .map_err(|_| Failure::usage(format!("`{text}` is no number: write [TOPIC] PARTITION OFFSET")))
    };
    let reader = place.open(&place.topic)?;
    let (found, asked) = match words {
        [partition, offset] => {
            let (partition, offset) = (number(partition)?, number(offset)?);
            let known = i32::try_from(partition)
                .ok()
                .filter(|_| (0..reader.partitions() as i64).contains(&partition));
            let Some(known) = known else {
                return Err(Failure::usage(format!(
                    "{} has partitions 0 to {}, not {partition}",
                    place.topic,
                    reader.partitions() - 1
                )));
            };
            let asked = format!("at {}/{partition}/{offset}", place.topic);
            (reader.fetch(known, Offset(offset)).map_err(Failure::from)?, asked)
        }
        [topic, partition, offset] => {
            let wanted = format!("{topic}/{}/{}", number(partition)?, number(offset)?);
            let mut found = None;
            reader.read(ReadFrom::Beginning, |record| {
                if matches!(read(&record), Entry::Letter(letter) if path(&letter.record) == wanted) {
                    found = Some(record);
                }
                Ok::<_, Failure>(())
            })?;
            (found, format!("about {wanted} in {}", place.topic))
        }
        _ => return Err(Failure::usage("name a letter by [TOPIC] PARTITION OFFSET")),
    };
    match found.map(|record| (read(&record), record)) {
        Some((Entry::Letter(letter), record)) => Ok((letter, record)),
        _ => Err(Failure::findings(format!(
            "there is no dead letter {asked}: `tollgate dead-letters ls` lists those that there are"
        ))),
    }
}

/// The record that a letter is about, from its own topic.
pub(super) fn fetch(place: &Place, letter: &Letter) -> Result<StoredRecord, Failure> {
    let topic = &letter.record.partition.topic;
    let reader = place.open(topic)?;
    checked(reader.fetch(letter.record.partition.partition, letter.record.offset)?, letter)
        .map_err(Failure::findings)
}

/// The record, if it is there and is the one that the letter is about.
pub(super) fn checked(found: Option<StoredRecord>, letter: &Letter) -> Result<StoredRecord, String> {
    let record = path(&letter.record);
    let Some(found) = found else {
        return Err(format!(
            "{record} is no longer in its topic (retention, compaction, or the topic was made anew): its bytes can't \
             be had again"
        ));
    };
    let time = found.timestamp.map(|time| time.to_string());
    if time.is_some() && letter.timestamp.is_some() && time != letter.timestamp {
        return Err(format!(
            "{record} is another record than the one that was set aside: its time is {}, not {}; the topic was \
             probably made anew",
            time.unwrap_or_default(),
            letter.timestamp.as_deref().unwrap_or_default()
        ));
    }
    Ok(found)
}

fn show(out: &mut impl Write, letter: &Letter, bytes: &Bytes) -> std::io::Result<()> {
    let none = String::new();
    let lines = [
        ("letter", &path(&letter.position)),
        ("written", &letter.written_text().unwrap_or_default()),
        ("record", &path(&letter.record)),
        ("timestamp", letter.timestamp.as_ref().unwrap_or(&none)),
        ("stage", &letter.stage),
        ("rule", letter.rule.as_ref().unwrap_or(&none)),
        ("reason", &letter.reason),
    ];
    for (name, value) in lines.iter().filter(|(_, value)| !value.is_empty()) {
        writeln!(out, "{name:<10} {}", printable(value))?;
    }
    match bytes {
        Bytes::Withheld(why) => writeln!(out, "{:<10} {why}", "payload"),
        Bytes::Held(record) => {
            writeln!(out, "{:<10} {}", "key", text(record.key.as_deref()))?;
            writeln!(out, "{:<10} {}", "payload", text(record.payload.as_deref()))
        }
    }
}

fn text(bytes: Option<&[u8]>) -> String {
    match bytes.map(|bytes| (bytes, std::str::from_utf8(bytes))) {
        None => "(null)".to_owned(),
        Some((_, Ok(text))) => printable(text),
        Some((bytes, Err(_))) => format!("(Base64) {}", base64(bytes)),
    }
}

fn to_json(letter: &Letter, bytes: &Bytes) -> Value {
    let mut object = letter.to_json(false);
    // Whether it was sent again stands elsewhere in the topic, and is not looked for here.
    object.remove("redriven");
    match bytes {
        Bytes::Withheld(why) => {
            object.insert("withheld".to_owned(), Value::from(why.as_str()));
        }
        Bytes::Held(record) => {
            insert_bytes(&mut object, "key", record.key.as_deref());
            insert_bytes(&mut object, "payload", record.payload.as_deref());
        }
    }
    Value::Object(object)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::dead_letters::letter::tests::stored;
    use crate::event::EventTime;
    use crate::sink::Masking;

    fn letter() -> Letter {
        let Entry::Letter(letter) = read(&stored(7, Masking::Keep)) else { panic!("a letter") };
        letter
    }

    fn shown(bytes: &Bytes) -> String {
        let mut out = Vec::new();
        show(&mut out, &letter(), bytes).expect("memory takes it");
        String::from_utf8(out).expect("text")
    }

    #[test]
    fn a_letter_shows_where_the_record_stands_and_its_bytes() {
        assert_eq!(
            shown(&Bytes::Held(stored(7, Masking::Keep))),
            "letter     dead/1/7\nwritten    2025-11-22T10:15:03Z\nrecord     payments/3/88\n\
             timestamp  2025-11-22T10:15:02.123Z\nstage      decode\nreason     `amount` is missing\n\
             key        card\npayload    {}\n"
        );
        let json = to_json(
            &letter(),
            &Bytes::Held(StoredRecord { payload: Some(vec![0xff]), ..stored(7, Masking::Keep) }),
        );
        assert_eq!((&json["key"], &json["payload_base64"]), (&Value::from("card"), &Value::from("/w==")));
    }

    #[test]
    fn withheld_bytes_are_not_shown_in_any_shape() {
        let bytes = Bytes::Withheld("masked".to_owned());
        assert!(shown(&bytes).ends_with("payload    masked\n"));
        assert_eq!(to_json(&letter(), &bytes)["withheld"], "masked");
    }

    #[test]
    fn a_record_that_is_gone_or_another_is_not_taken_for_the_one_set_aside() {
        let gone = checked(None, &letter()).expect_err("gone");
        assert!(gone.contains("payments/3/88 is no longer in its topic"), "{gone}");
        let mut other = stored(88, Masking::Keep);
        let error = checked(Some(other.clone()), &letter()).expect_err("another time");
        assert!(error.contains("made anew"), "{error}");
        other.timestamp = Some(EventTime(1_763_806_502_123_000));
        assert_eq!(checked(Some(other.clone()), &letter()), Ok(other));
    }
}
