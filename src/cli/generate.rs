//! `generate`: synthetic payments and account events with labelled fraud, to files or topics.

mod to_files;
mod to_topics;

use std::path::PathBuf;

use super::failure::{Exit, Failure};
use crate::event::{Clock, EventTime, Span, SystemClock};
use crate::generate::{GeneratorSettings, Labels, Past, Rhythm};

/// Make payments and account events with labelled fraud, the same for the same seed.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  tollgate generate --output events --events 1000000          events/payments.ndjson and so on
  tollgate generate --output payments.ndjson --stream payments --events 10000
  tollgate generate --brokers localhost:9092 --rate 500       to topics named as the streams, for ever
  tollgate generate --output events --span 30d --rate 2 --labels labels.ndjson

Files are written as fast as they can be; topics at the rate, unless --as-fast-as-possible.")]
pub(super) struct Arguments {
    /// A folder for one file a stream, or with --stream a .ndjson file, or - for standard output.
    #[arg(long, value_name = "PATH", required_unless_present = "brokers", conflicts_with = "brokers")]
    output: Option<PathBuf>,
    /// Kafka brokers, host:port, several separated by commas; each stream goes to the topic of its name.
    #[arg(long, value_name = "HOST:PORT", value_delimiter = ',')]
    brokers: Vec<String>,
    /// Only this stream: payments, account_events or transfers.
    #[arg(long)]
    stream: Option<String>,
    /// How many events; without it, --span decides, or a topic is fed until Ctrl-C.
    #[arg(long)]
    events: Option<u64>,
    /// How much event time to cover.
    #[arg(long, conflicts_with = "events")]
    span: Option<Span>,
    /// Events a second of event time, all streams together.
    #[arg(long, default_value_t = 1000.0)]
    rate: f64,
    /// Seconds of event time in one real second, when feeding topics.
    #[arg(long, default_value_t = 1.0)]
    speed_up: f64,
    /// Feed topics without pacing.
    #[arg(long)]
    as_fast_as_possible: bool,
    /// The same seed and start give the same events.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// First event time, RFC 3339; now for topics, 2026-01-01T00:00:00Z for files.
    #[arg(long)]
    start: Option<String>,
    /// Share of events that belong to fraud.
    #[arg(long, default_value_t = 0.003)]
    fraud_share: f64,
    /// Also write the labels of fraud events to this NDJSON file.
    #[arg(long, value_name = "FILE")]
    labels: Option<PathBuf>,
    /// Put `is_fraud` and `typology` into the events themselves.
    #[arg(long)]
    inline_labels: bool,
    /// Begin at the start, without older events that give cards a past.
    #[arg(long)]
    no_past: bool,
    /// The same rate at every hour of the day.
    #[arg(long)]
    steady: bool,
}

/// 2026-01-01T00:00:00Z.
const FILE_START: EventTime = EventTime(1_767_225_600_000_000);

pub(super) fn run(arguments: &Arguments) -> Result<Exit, Failure> {
    let clock = SystemClock::start();
    let settings = arguments.settings(&clock)?;
    match &arguments.output {
        Some(output) => to_files::run(arguments, &settings, output),
        None => to_topics::run(arguments, &settings, &clock),
    }
}

impl Arguments {
    fn settings(&self, clock: &SystemClock) -> Result<GeneratorSettings, Failure> {
        let start = match &self.start {
            Some(text) => chrono::DateTime::parse_from_rfc3339(text)
                .map(|time| EventTime(time.timestamp_micros()))
                .map_err(|_| {
                    Failure::usage(format!("--start {text} is no time: write it as 2026-01-01T00:00:00Z"))
                })?,
            None if self.output.is_some() => FILE_START,
            None => EventTime(clock.now_micros() / 1_000 * 1_000),
        };
        Ok(GeneratorSettings {
            seed: self.seed,
            events_per_second: self.rate,
            rhythm: if self.steady { Rhythm::Steady } else { Rhythm::Daily },
            fraud_share: self.fraud_share,
            past: if self.no_past { Past::Untold } else { Past::Told },
            labels: if self.inline_labels { Labels::Inline } else { Labels::Apart },
            ..GeneratorSettings::starting_at(start)
        })
    }

    /// Whether an event is still to be made.
    fn goes_on(&self, made: u64, event_time: EventTime, start: EventTime) -> bool {
        let within = self.span.is_none_or(|span| event_time.0 < start.0.saturating_add(span.0));
        self.events.is_none_or(|events| made < events) && within
    }
}
