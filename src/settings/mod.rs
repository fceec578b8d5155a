//! `tollgate.toml`: what a job is called, where it reads, where it writes, what it may use.
//!
//! Takes the file and the process's environment; hands on [`Settings`] that hold together, or every fault
//! in the file at once as a [`Diagnostic`](crate::diagnostic::Diagnostic). Keeps nothing. The keys, their
//! defaults and what they do stand in [`KEYS`]. What would surprise: a key of a later version is a warning
//! and not a fault, so that one file serves several versions; and each relative path starts at the settings
//! file's folder, not at the process's.
//!
//! ```
//! use tollgate::settings::{Purpose, Settings, Surroundings};
//!
//! let text = "[job]\nname = 'fraud'\n[streams.transactions]\ntopics = ['payments']";
//! let loaded = Settings::parse("tollgate.toml", text, &Surroundings::bare("."), Purpose::Inspect)?;
//! assert_eq!(loaded.settings.job.commit_interval.to_string(), "50ms");
//! # Ok::<(), Vec<tollgate::diagnostic::Diagnostic>>(())
//! ```

mod contradictions;
mod history;
mod kafka;
mod keys;
mod load;
mod mask;
mod reader;
mod sections;
mod substitute;
mod values;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;

pub use history::{HISTORY_SCHEMES, HistoryPlace, HistorySettings};
pub use kafka::KafkaSettings;
pub use keys::{KEYS, Key, KeyDefault, Kind, SCORE_CAP, SECTIONS};
pub use load::{Loaded, Purpose};
pub use substitute::Surroundings;
pub use values::{ByteSize, ByteSizeError, Destination, PropertyValue, Secret, Start, WarmUp};

use crate::event::Span;

/// Everything that the settings file decides.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// `[job]`.
    pub job: JobSettings,
    /// `[kafka]`.
    pub kafka: KafkaSettings,
    /// `[streams.NAME]` by the stream's name in the event contract.
    pub streams: BTreeMap<String, StreamSettings>,
    /// `[output]`.
    pub output: OutputSettings,
    /// `[decisions]`.
    pub decisions: DecisionSettings,
    /// `[labels]`; none where no stream is named.
    pub labels: Option<LabelSettings>,
    /// `[limits]`.
    pub limits: LimitSettings,
    /// `[history]`; none: no history is kept.
    pub history: Option<HistorySettings>,
    /// `[http]`.
    pub http: HttpSettings,
}

/// What the job is and how it answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobSettings {
    /// Consumer group, and prefix of transactional ids.
    pub name: String,
    /// Folder with `schema.sql` and the rules.
    pub rules: PathBuf,
    /// How often an alert may arrive.
    pub delivery: Delivery,
    /// The longest time that delivered work stays uncommitted.
    pub commit_interval: Span,
    /// When an event is answered, where its rule does not say.
    pub emit: Emit,
    /// Processes that share the topics.
    pub instances: NonZeroUsize,
    /// How long a shutdown waits for what is under way.
    pub grace: Span,
}

/// How often an alert may arrive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Delivery {
    /// Once or, after a crash, again under the same id.
    AtLeastOnce,
    /// Once, in one transaction with the input offsets.
    #[default]
    ExactlyOnce,
}

/// When an event is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub enum Emit {
    /// As it arrives, against what is held.
    #[default]
    OnArrival,
    /// In order of event time, once the watermark has passed it.
    InOrder,
}

/// One stream of the event contract and the topics that carry it.
#[derive(Debug, Clone, PartialEq)]
pub struct StreamSettings {
    /// Topics, at least one.
    pub topics: Vec<String>,
    /// Column that the topics are partitioned by; none: nothing is assumed.
    pub topic_key: Option<String>,
    /// How a record is written.
    pub format: WireFormat,
    /// Tells a topic from one of the same name that was deleted before; part of alert ids.
    pub generation: u32,
    /// Where answers begin on a first start.
    pub start: Start,
    /// How far before the start windows are filled silently.
    pub warm_up: WarmUp,
    /// How long in-order answers wait for stragglers.
    pub lateness: Span,
    /// Period in which a repeated event id is dropped; zero lets repeats pass.
    pub repeats: Span,
    /// Silence after which a partition no longer holds the watermark back.
    pub idle_after: Span,
    /// Columns that are not found under their own name, by column.
    pub fields: BTreeMap<String, FieldSettings>,
}

/// How a record is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum WireFormat {
    /// One JSON object a record.
    #[default]
    Json,
}

/// Where one column stands in a record and how it is written there.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FieldSettings {
    /// Dotted path; none: the column's own name.
    pub path: Option<String>,
    /// How a time is written.
    pub unit: Option<TimeUnit>,
    /// Digits after the point of an amount that is sent in minor units.
    pub minor_units: Option<u8>,
}

/// How a time is written on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimeUnit {
    /// RFC 3339 text.
    Iso,
    /// Seconds since 1970.
    Seconds,
    /// Milliseconds since 1970.
    Milliseconds,
    /// Microseconds since 1970.
    Microseconds,
}

/// Where events leave to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutputSettings {
    /// Alerts of live rules.
    pub alerts: Destination,
    /// Alerts of rules in shadow.
    pub shadow: Destination,
    /// Records that can't be answered.
    pub dead_letters: Destination,
    /// Whether dead letters leave the record's own bytes out.
    pub mask_dead_letters: bool,
    /// Decisions; none: none are made.
    pub decisions: Option<Destination>,
    /// Which events get a decision.
    pub decide: Decide,
    /// What happened to the job and its rules; none: it is not recorded.
    pub audit: Option<Destination>,
}

/// Which events get a decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Decide {
    /// Every event.
    #[default]
    All,
    /// Events that something hit.
    Touched,
}

/// How points become a decision.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DecisionSettings {
    /// How points become a score.
    pub method: Method,
    /// The file of weights, for [`Method::Logistic`].
    pub weights: Option<PathBuf>,
    /// The most that a score can be, but for [`Method::Max`].
    pub cap: i64,
    /// From this score on a person looks at the event.
    pub review: i64,
    /// From this score on the customer is asked; none: no score does that.
    pub challenge: Option<i64>,
    /// From this score on the event is stopped.
    pub block: i64,
}

/// How points become a score.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Method {
    /// Their sum, up to a cap.
    #[default]
    SumCap,
    /// The largest of them.
    Max,
    /// As chances that know nothing of each other.
    NoisyOr,
    /// By weights that were fitted.
    Logistic,
}

/// What says which events were fraud, once it is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LabelSettings {
    /// The stream whose rows are labels.
    pub stream: String,
    /// Its columns with the id of the event that a label is about, at least one.
    pub event_id: Vec<String>,
    /// Its column that says whether it was fraud.
    pub fraud: String,
    /// For how long hits and labels are remembered.
    pub remember: Span,
}

/// What the job may use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LimitSettings {
    /// The most that window state may hold.
    pub memory: ByteSize,
    /// The most that a rule may take an event on the mean; zero for no limit.
    pub rule_time: Span,
    /// The most window state that a rule may hold; none: no limit of its own.
    pub rule_memory: Option<ByteSize>,
    /// How far an event time may lie past its record's Kafka timestamp.
    pub future: Span,
    /// The most records that are answered together.
    pub batch_rows_max: NonZeroUsize,
    /// The most bytes that are answered together; never less than one record.
    pub batch_bytes_max: ByteSize,
    /// A record larger than this is a dead letter.
    pub record_bytes_max: ByteSize,
    /// Worker threads; none: one for each core.
    pub threads: Option<NonZeroUsize>,
}

/// How the job is watched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HttpSettings {
    /// Where metrics and health are served; none: nowhere.
    pub listen: Option<SocketAddr>,
}
