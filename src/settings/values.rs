//! Values that settings are made of: sizes, secrets, places to write to, where answers begin.
//!
//! Each type reads itself from text and says in [`Wrong`] what it wanted; who asked adds the key. A
//! secret's text leaves only through [`Secret::reveal`]: printing one for debugging prints `***`.

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use chrono::DateTime;

use crate::event::{EventTime, Span};

/// What a value should have been.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wrong {
    /// Completes "must be …".
    pub(super) expected: String,
    /// What to write instead.
    pub(super) help: Option<String>,
}

impl Wrong {
    pub(super) fn expected(expected: impl Into<String>) -> Self {
        Self { expected: expected.into(), help: None }
    }

    pub(super) fn help(self, help: impl Into<String>) -> Self {
        Self { help: Some(help.into()), ..self }
    }
}

/// A number of bytes, written `512KiB`, `16MiB`, `4GiB`, or in thousands `100KB`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ByteSize(pub u64);

const SIZE_UNITS: [(&str, u64); 9] = [
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("TB", 1_000_000_000_000),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("KB", 1_000),
    ("B", 1),
];

impl ByteSize {
    /// The size as a length in memory; one that the machine cannot address is its largest.
    pub fn bytes(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

impl FromStr for ByteSize {
    type Err = ByteSizeError;

    fn from_str(text: &str) -> Result<Self, ByteSizeError> {
        let error = || ByteSizeError(text.to_owned());
        let digits = text.find(|c: char| !c.is_ascii_digit()).ok_or_else(error)?;
        let (number, unit) = text.split_at(digits);
        let number: u64 = number.parse().map_err(|_| error())?;
        let (_, bytes) = SIZE_UNITS.iter().find(|(name, _)| *name == unit.trim()).ok_or_else(error)?;
        number.checked_mul(*bytes).map(Self).ok_or_else(error)
    }
}

impl fmt::Display for ByteSize {
    /// In the largest unit that leaves a whole number.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whole = SIZE_UNITS.iter().filter(|(_, bytes)| self.0 >= *bytes && self.0.is_multiple_of(*bytes));
        let (unit, bytes) = whole.max_by_key(|(_, bytes)| *bytes).unwrap_or(&("B", 1));
        write!(f, "{}{unit}", self.0 / bytes)
    }
}

/// A number of bytes that can't be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a size: write a whole number and a unit, such as \"512KiB\", \"16MiB\" or \"4GiB\"")]
pub struct ByteSizeError(pub String);

/// A value that must not be printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Guards a text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself, for the one place that must have it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// The value of one property of the Kafka client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PropertyValue {
    /// May be printed.
    Plain(String),
    /// Came from a variable or a file, or its name says that it is secret.
    Secret(Secret),
}

impl PropertyValue {
    /// The text to hand to the client.
    pub fn reveal(&self) -> &str {
        match self {
            Self::Plain(text) => text,
            Self::Secret(secret) => secret.reveal(),
        }
    }
}

/// Where events leave to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Destination {
    /// A Kafka topic.
    Topic(String),
    /// A file with one JSON object a line.
    Ndjson(PathBuf),
    /// A Parquet file.
    Parquet(PathBuf),
}

impl Destination {
    /// Reads a topic's name or `file:PATH`; a relative path starts at `folder`.
    pub(super) fn parse(text: &str, folder: &Path) -> Result<Self, Wrong> {
        let Some(path) = text.strip_prefix("file:") else {
            return topic(text).map(Self::Topic);
        };
        let path = folder.join(path);
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("ndjson" | "jsonl") => Ok(Self::Ndjson(path)),
            Some("parquet") => Ok(Self::Parquet(path)),
            _ => Err(Wrong::expected("a file whose ending names its format")
                .help("write \"file:alerts.ndjson\" or \"file:alerts.parquet\"")),
        }
    }
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Topic(topic) => f.write_str(topic),
            Self::Ndjson(path) | Self::Parquet(path) => write!(f, "file:{}", path.display()),
        }
    }
}

/// Where answers begin when the consumer group has no committed offset yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// The oldest record that the topic still has.
    Earliest,
    /// What arrives from now on.
    Latest,
    /// The first record whose Kafka timestamp is not before this time.
    At(EventTime),
}

impl FromStr for Start {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "earliest" => Ok(Self::Earliest),
            "latest" => Ok(Self::Latest),
            time => DateTime::parse_from_rfc3339(time)
                .map(|time| Self::At(EventTime(time.timestamp_micros())))
                .map_err(|_| ()),
        }
    }
}

/// How far before the start windows are filled without answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WarmUp {
    /// As far as the longest window of any rule reaches.
    LongestWindow,
    /// Windows start empty.
    None,
    /// A set length.
    Span(Span),
}

impl FromStr for WarmUp {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "longest_window" => Ok(Self::LongestWindow),
            "none" => Ok(Self::None),
            span => span.parse().map(Self::Span).map_err(|_| ()),
        }
    }
}

/// Checks a topic's name against what a broker accepts.
pub(super) fn topic(text: &str) -> Result<String, Wrong> {
    if text.starts_with('^') {
        return Err(
            Wrong::expected("the name of a topic").help("patterns are not read: list each topic by name")
        );
    }
    name(text, "topic")
}

/// Checks a name that ends up in Kafka: 1 to 249 letters, digits, dots, underscores and hyphens.
pub(super) fn name(text: &str, of: &str) -> Result<String, Wrong> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    let length = 1..=249;
    if length.contains(&text.len()) && text.chars().all(allowed) && text != "." && text != ".." {
        return Ok(text.to_owned());
    }
    Err(Wrong::expected(format!("the name of a {of}"))
        .help("use 1 to 249 letters, digits, dots, underscores and hyphens"))
}

/// Checks one broker's address: `host`, `host:port`, or either after `PROTOCOL://`.
pub(super) fn broker(text: &str) -> Result<String, Wrong> {
    let wrong = || {
        Wrong::expected("a broker's address")
            .help("write host and port, such as \"kafka-1:9092\" or \"[2001:db8::1]:9092\"")
    };
    let address = text.split_once("://").map_or(text, |(_, address)| address);
    let (host, port) = match address.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (address, None),
    };
    let port_fits = port.is_none_or(|port| port.parse::<u16>().is_ok_and(|port| port > 0));
    let bracketed = host.starts_with('[') && host.ends_with(']');
    let host_fits = !host.is_empty()
        && (bracketed || !host.contains(':'))
        && !host.contains(|c: char| c.is_whitespace() || c == ',' || c == '/');
    if port_fits && host_fits { Ok(text.to_owned()) } else { Err(wrong()) }
}

/// An address of this machine to listen at, or none where that is off.
pub(super) fn listen(text: &str) -> Result<Option<SocketAddr>, Wrong> {
    if text == "off" {
        return Ok(None);
    }
    let wrong = || {
        Wrong::expected("an IP address and a port, or \"off\"").help(
            "write \"127.0.0.1:9090\" for this machine only, \"0.0.0.0:9090\" or \"[::]:9090\" for all that reach it",
        )
    };
    match text.parse::<SocketAddr>() {
        Ok(address) if address.port() > 0 => Ok(Some(address)),
        _ => Err(wrong()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_to_listen_at_is_numbers_or_off() {
        for text in ["127.0.0.1:9090", "0.0.0.0:1", "[::]:9090", "[::1]:65535"] {
            let parsed = listen(text).unwrap_or_else(|_| panic!("{text}"));
            assert_eq!(parsed.map(|address| address.to_string()).as_deref(), Some(text));
        }
        assert_eq!(listen("off"), Ok(None));
        for text in ["", "9090", ":9090", "localhost:9090", "127.0.0.1", "127.0.0.1:0", "::1:9090", "Off"] {
            assert!(listen(text).is_err(), "{text}");
        }
    }

    #[test]
    fn sizes_read_back_as_they_are_written() {
        for text in ["0B", "1B", "4GiB", "512KiB", "16MiB", "100KB", "3TB"] {
            assert_eq!(text.parse::<ByteSize>().expect(text).to_string(), text);
        }
        assert_eq!("1 MiB".parse::<ByteSize>(), Ok(ByteSize(1_048_576)));
        for text in ["", "4", "GiB", "4 gigabytes", "-1B", "1.5GiB", "99999999999TiB"] {
            assert!(text.parse::<ByteSize>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_secret_prints_as_stars() {
        let property = PropertyValue::Secret(Secret::new("hunter2"));
        assert_eq!(format!("{property:?}"), "Secret(***)");
        assert_eq!(property.reveal(), "hunter2");
    }

    #[test]
    fn destinations_are_topics_or_files_by_their_ending() {
        let folder = Path::new("/etc/tollgate");
        assert_eq!(Destination::parse("a.b-c_1", folder), Ok(Destination::Topic("a.b-c_1".into())));
        assert_eq!(
            Destination::parse("file:a.ndjson", folder),
            Ok(Destination::Ndjson("/etc/tollgate/a.ndjson".into()))
        );
        assert_eq!(
            Destination::parse("file:/x/a.parquet", folder),
            Ok(Destination::Parquet("/x/a.parquet".into()))
        );
        for text in ["file:alerts.txt", "file:", "", "a b", "..", "^payments.*"] {
            assert!(Destination::parse(text, folder).is_err(), "{text}");
        }
    }

    #[test]
    fn broker_addresses_have_a_host_and_a_port_in_range() {
        for text in ["kafka:9092", "kafka", "10.0.0.1:1", "[::1]:9092", "[::1]", "SSL://kafka:9093"] {
            assert!(broker(text).is_ok(), "{text}");
        }
        for text in ["", ":9092", "kafka:0", "kafka:70000", "kafka:port", "::1", "a,b", "http://a/b", "a b"] {
            assert!(broker(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_start_is_a_word_or_a_time() {
        assert_eq!("2026-11-22T10:15:02Z".parse(), Ok(Start::At(EventTime(1_795_342_502_000_000))));
        assert_eq!("earliest".parse(), Ok(Start::Earliest));
        assert_eq!("yesterday".parse::<Start>(), Err(()));
    }
}
