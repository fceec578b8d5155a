//! The one table of all keys: where each stands, what it takes, its default, what it does.
//!
//! Error messages list valid keys from here, defaults are read from here, and `tollgate.toml` at the top of
//! the project is checked against it.

/// A key of the settings file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Key {
    /// The section it stands in; `*` is a name of the user's choice.
    pub section: &'static str,
    /// The key itself.
    pub name: &'static str,
    /// What it takes.
    pub kind: Kind,
    /// What holds when it is left out.
    pub default: KeyDefault,
    /// What it does, in a sentence.
    pub meaning: &'static str,
}

/// What a key takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Text.
    Text,
    /// A list of texts.
    TextList,
    /// Text, or a list of texts.
    TextOrList,
    /// A path; relative ones start at the settings file's folder.
    Path,
    /// A topic, or `file:PATH` with the ending `.ndjson`, `.jsonl` or `.parquet`.
    Destination,
    /// A length of time such as `"250ms"`.
    Duration,
    /// A number of bytes such as `"4GiB"`.
    Size,
    /// A whole number.
    Integer,
    /// `true` or `false`.
    Boolean,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// A section of its own.
    Table,
}

/// What holds for a key that is left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyDefault {
    /// It must not be left out.
    Required,
    /// Nothing; the meaning says what that means.
    Unset,
    /// This value, as it would be written in the file.
    Is(&'static str),
}

/// Most that a sum of points, or points as chances, can be where nothing else is said: in a job and in a backtest.
pub const SCORE_CAP: &str = "100";

use KeyDefault::{Is, Required, Unset};
use Kind::{Boolean, Choice, Destination, Duration, Integer, Path, Size, Table, Text, TextList, TextOrList};

const fn key(
    section: &'static str,
    name: &'static str,
    kind: Kind,
    default: KeyDefault,
    meaning: &'static str,
) -> Key {
    Key { section, name, kind, default, meaning }
}

/// Sections at the top of the file.
pub const SECTIONS: [&str; 9] =
    ["job", "kafka", "streams", "output", "decisions", "labels", "limits", "history", "http"];

const DELIVERY: Kind = Choice(&["at_least_once", "exactly_once"]);
const EMIT: Kind = Choice(&["on_arrival", "in_order"]);
const UNITS: Kind = Choice(&["iso", "s", "ms", "us"]);

/// All keys, section by section.
#[rustfmt::skip]
pub const KEYS: &[Key] = &[
    key("job", "name", Text, Required, "names the job: its consumer group and the prefix of its transactional ids"),
    key("job", "rules", Path, Is("\"rules\""), "the folder with `schema.sql` and the rules"),
    key("job", "delivery", DELIVERY, Is("\"exactly_once\""), "how often an alert may arrive: once, in one transaction with the input offsets, or at least once, sooner and with ids that make a repetition recognisable"),
    key("job", "commit_interval", Duration, Is("\"50ms\""), "the longest time that delivered work stays uncommitted, up to \"60s\"; \"0s\" commits after each batch"),
    key("job", "emit", EMIT, Is("\"on_arrival\""), "answer each event as it arrives, or wait for `lateness` and answer in order of event time; a rule may override it"),
    key("job", "instances", Integer, Is("1"), "how many processes share the topics; with more than 1, rules must be keyed by their topic's `topic_key`"),
    key("job", "grace", Duration, Is("\"20s\""), "how long a shutdown waits for what is under way, from \"1s\" to \"10m\"; what is not done by then is answered again after the next start"),

    key("kafka", "brokers", TextList, Unset, "addresses to connect to first; `run` needs them"),
    key("kafka", "cluster", Text, Unset, "the cluster's name in alerts and in their ids; left out, the id that the brokers report"),
    key("kafka", "properties", Table, Unset, "properties of the Kafka client (librdkafka), passed through; those that would break a promise are refused"),

    key("streams.*", "topics", TextList, Required, "the topics that carry the stream"),
    key("streams.*", "topic_key", Text, Unset, "the column that the topic is partitioned by; left out, nothing is assumed"),
    key("streams.*", "format", Choice(&["json"]), Is("\"json\""), "how a record is written"),
    key("streams.*", "generation", Integer, Is("1"), "raise it when a topic was deleted and made again: offsets start over, and alert ids must not"),
    key("streams.*", "start", Text, Is("\"latest\""), "where answers begin on a first start: \"earliest\", \"latest\" or a time such as \"2026-11-22T00:00:00Z\""),
    key("streams.*", "warm_up", Text, Is("\"longest_window\""), "how far before the start windows are filled silently: \"longest_window\", \"none\" or a length of time"),
    key("streams.*", "lateness", Duration, Is("\"5s\""), "how long `in_order` waits for stragglers, and from when on an event counts as late"),
    key("streams.*", "repeats", Duration, Is("\"1h\""), "an event id seen again within this period is counted and dropped; \"0s\" lets repeats pass"),
    key("streams.*", "idle_after", Duration, Is("\"10s\""), "a partition silent for this long no longer holds the watermark back"),
    key("streams.*", "fields", Table, Unset, "where columns stand in a record, for those not found under their own name"),

    key("streams.*.fields.*", "path", Text, Unset, "dotted path in the record; left out, the column's own name"),
    key("streams.*.fields.*", "unit", UNITS, Unset, "how a time is written: RFC 3339 text, or seconds, milli- or microseconds since 1970; left out, text or what the contract's type says"),
    key("streams.*.fields.*", "minor_units", Integer, Unset, "digits after the point of an amount that is sent in minor units: 2 for cents; from 0 to 18"),

    key("output", "alerts", Destination, Is("\"tollgate.alerts\""), "where alerts of live rules go"),
    key("output", "shadow", Destination, Is("\"tollgate.shadow\""), "where alerts of rules in shadow go"),
    key("output", "dead_letters", Destination, Is("\"tollgate.dead-letters\""), "where records go that can't be answered"),
    key("output", "mask_dead_letters", Boolean, Is("false"), "leave the record's own bytes out of dead letters"),
    key("output", "decisions", Destination, Unset, "where decisions go; left out, none are made"),
    key("output", "decide", Choice(&["all", "touched"]), Is("\"all\""), "a decision for each event, or only for those that something hit"),
    key("output", "audit", Destination, Unset, "where starts, stops, reloads and switches of rules are recorded; `tollgate rules off` needs a topic here"),

    key("decisions", "method", Choice(&["sum_cap", "max", "noisy_or", "logistic"]), Is("\"sum_cap\""), "how points become a score: their sum up to `cap`, the largest of them, as chances of `cap`, or by fitted weights"),
    key("decisions", "weights", Path, Unset, "the file that `backtest --fit` wrote, for `logistic`; its cap and thresholds count"),
    key("decisions", "cap", Integer, Is(SCORE_CAP), "the most that a `sum_cap` or `noisy_or` can be, from 1 to 1000000"),
    key("decisions", "review", Integer, Is("50"), "from this score on a person looks at the event"),
    key("decisions", "challenge", Integer, Unset, "from this score on the customer is asked; left out, no score does that"),
    key("decisions", "block", Integer, Is("80"), "from this score on the event is stopped"),

    key("labels", "stream", Text, Unset, "the stream of the contract whose rows say what became known of earlier events; left out, there is none"),
    key("labels", "event_id", TextOrList, Is("\"event_id\""), "its column with the id of the event that a label is about; or a list of columns, in the order of the event's `PRIMARY KEY`"),
    key("labels", "fraud", Text, Is("\"fraud\""), "its column that says whether it was fraud: BOOLEAN, or a whole number that is 0 where it was not"),
    key("labels", "remember", Duration, Is("\"30d\""), "for how long hits and labels are remembered, so how late a label may come"),

    key("limits", "memory", Size, Is("\"4GiB\""), "the most that window state may hold"),
    key("limits", "rule_time", Duration, Is("\"1ms\""), "the most that a rule may take an event, as the mean of at least 10 seconds and 1,000 events; past it the rule goes into shadow, and is stopped if it is past it there too; \"0s\" for no limit"),
    key("limits", "rule_memory", Size, Unset, "the most window state that a rule may hold, by its share of states that others read too; past it the rule goes into shadow, and is stopped if it is past it there too; left out, no limit of its own"),
    key("limits", "future", Duration, Is("\"5m\""), "an event time further than this past the record's Kafka timestamp is a dead letter"),
    key("limits", "batch_rows_max", Integer, Is("8192"), "the most records that are answered together, from 1 to 1000000"),
    key("limits", "batch_bytes_max", Size, Is("\"16MiB\""), "the most bytes that are answered together"),
    key("limits", "record_bytes_max", Size, Is("\"1MiB\""), "a record larger than this is a dead letter"),
    key("limits", "threads", Integer, Unset, "worker threads, from 1 to 1024; left out, one for each core"),

    key("history", "url", Text, Unset, "where decoded events are kept, so that a restart need not read the topics back: a folder, or a URL that begins with \"file:\", \"s3://\", \"gs://\" or \"az://\"; left out, nothing is kept"),
    key("history", "keep", Duration, Is("\"0s\""), "how long events are kept beyond what windows need"),
    key("history", "flush_interval", Duration, Is("\"10s\""), "the longest that events stay in memory only, from \"100ms\" to \"1h\""),
    key("history", "segment_rows", Integer, Is("131072"), "the most events of a partition in one file, from 1024 to 16777216"),

    key("http", "listen", Text, Is("\"127.0.0.1:9090\""), "the address that serves metrics and health, or \"off\"; it asks nobody for a password, so leave it to this machine or a closed network"),
];

/// The keys of one section.
pub(super) fn of_section(section: &str) -> impl Iterator<Item = &'static Key> {
    KEYS.iter().filter(move |key| key.section == section)
}

impl Kind {
    /// What the key takes, in words that complete "must be …".
    pub fn describe(self) -> String {
        match self {
            Text => "text".to_owned(),
            TextList => "a list of texts".to_owned(),
            TextOrList => "text, or a list of texts".to_owned(),
            Path => "a path".to_owned(),
            Destination => "a topic, or a file as \"file:PATH\"".to_owned(),
            Duration => "a length of time".to_owned(),
            Size => "a size".to_owned(),
            Integer => "a whole number".to_owned(),
            Boolean => "`true` or `false`".to_owned(),
            Choice([one]) => format!("\"{one}\""),
            Choice(words) => {
                let quoted: Vec<_> = words.iter().map(|word| format!("\"{word}\"")).collect();
                match quoted.split_last() {
                    Some((last, before)) => format!("{} or {last}", before.join(", ")),
                    None => "nothing".to_owned(),
                }
            }
            Table => "a section".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_key_is_listed_twice() {
        let mut names: Vec<_> = KEYS.iter().map(|key| (key.section, key.name)).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), KEYS.len());
    }

    #[test]
    fn kinds_are_described_in_words() {
        assert_eq!(EMIT.describe(), "\"on_arrival\" or \"in_order\"");
        assert_eq!(UNITS.describe(), "\"iso\", \"s\", \"ms\" or \"us\"");
        assert_eq!(Choice(&["json"]).describe(), "\"json\"");
    }
}
