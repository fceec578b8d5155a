//! `dead-letters`: what the job could not answer, read from its topic, and sent again once the cause is mended.
//!
//! Keeps no file: what was sent again is noted in the dead-letter topic itself, in the same transaction as the
//! record that was sent, so neither a crash nor two people at once send one twice.

mod letter;
mod list;
mod redrive;
mod show;

use std::path::PathBuf;

use super::failure::{Exit, Failure};
use super::service::{kafka_settings, source_failure};
use super::terminal;
use crate::diagnostic::render_all;
use crate::event::{Clock, EventTime, Span, SystemClock};
use crate::settings::{Destination, Purpose, Settings};
use crate::source::kafka::{KafkaSettings, ReadFrom, SourceError, TopicReader};

/// Look at the records that the job could not answer, and send them again.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    Ls(list::Arguments),
    Show(show::Arguments),
    Redrive(redrive::Arguments),
}

pub(super) fn run(arguments: &Arguments) -> Result<Exit, Failure> {
    match &arguments.verb {
        Verb::Ls(arguments) => list::run(arguments),
        Verb::Show(arguments) => show::run(arguments),
        Verb::Redrive(arguments) => redrive::run(arguments),
    }
}

/// The settings file of the job.
#[derive(Debug, clap::Args)]
struct Config {
    /// The settings file of the job.
    #[arg(long, value_name = "FILE", default_value = "tollgate.toml")]
    config: PathBuf,
}

/// Which dead letters are meant.
#[derive(Debug, clap::Args)]
struct Selection {
    /// Only those whose reason contains this text.
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// Only those of this rule.
    #[arg(long, value_name = "ID")]
    rule: Option<String>,
    /// Only those written since a time, such as 2026-11-22T10:00:00Z, or within a length of time, such as 2h.
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
}

/// Shape of what is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Shape {
    /// For people.
    Table,
    /// One JSON document.
    Json,
    /// One JSON object a line.
    Ndjson,
}

/// A job's dead letters: where they are, and what its settings say of them.
struct Place {
    settings: Settings,
    kafka: KafkaSettings,
    topic: String,
    client_id: String,
}

impl Place {
    fn of(config: &Config) -> Result<Self, Failure> {
        let loaded = Settings::load(&config.config, Purpose::Run).map_err(|findings| {
            eprint!("{}", render_all(&findings, terminal::colour_of_errors()));
            Failure::usage(format!("{} can't be used", config.config.display()))
        })?;
        let settings = loaded.settings;
        let topic = match &settings.output.dead_letters {
            Destination::Topic(topic) => topic.clone(),
            Destination::Ndjson(path) | Destination::Parquet(path) => {
                return Err(Failure::usage(format!(
                    "the dead letters of this job go to the file {}, not to a topic: read it with any tool for JSON; \
                     only those in a topic can be shown and sent again here",
                    path.display()
                )));
            }
        };
        let client_id = format!("{}-dead-letters", settings.job.name);
        Ok(Self { kafka: kafka_settings(&settings), topic, client_id, settings })
    }

    fn open(&self, topic: &str) -> Result<TopicReader, Failure> {
        TopicReader::open(&self.kafka, &self.client_id, topic).map_err(|error| source_failure(&error))
    }
}

impl Selection {
    /// Where in time reading begins.
    fn from(&self, clock: &dyn Clock) -> Result<ReadFrom, Failure> {
        self.since.as_ref().map_or(Ok(ReadFrom::Beginning), |since| reading_from(since, clock))
    }

    fn takes(&self, letter: &letter::Letter) -> bool {
        self.reason.as_ref().is_none_or(|reason| letter.reason.contains(reason))
            && self.rule.as_ref().is_none_or(|rule| letter.rule.as_ref() == Some(rule))
    }
}

/// Where reading begins that a person says with a time or a length of time.
pub(super) fn reading_from(since: &str, clock: &dyn Clock) -> Result<ReadFrom, Failure> {
    if let Ok(span) = since.parse::<Span>() {
        return Ok(ReadFrom::Time(EventTime(clock.now_micros().saturating_sub(span.0))));
    }
    let time = chrono::DateTime::parse_from_rfc3339(since).map_err(|_| {
        Failure::usage(format!(
            "--since {since} is neither a time with its zone, such as 2026-11-22T10:00:00Z, nor a length of time, \
             such as 30m, 2h or 7d"
        ))
    })?;
    Ok(ReadFrom::Time(EventTime(time.timestamp_micros())))
}

impl From<SourceError> for Failure {
    fn from(error: SourceError) -> Self {
        source_failure(&error)
    }
}

fn clock() -> SystemClock {
    SystemClock::start()
}
