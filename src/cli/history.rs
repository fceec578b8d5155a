//! `history`: what the history holds, and whether all of it is sound.

use std::io::Write;
use std::path::{Path, PathBuf};

use comfy_table::{CellAlignment, Table, presets};
use serde_json::json;

use super::failure::{Exit, Failure};
use super::terminal::{self, Format, grouped};
use crate::diagnostic::{Diagnostic, render_all};
use crate::event::EventTime;
use crate::history::{History, HistoryError, Place, Segment};
use crate::settings::{HistoryPlace, Loaded, Purpose, Settings};

/// Look at the events that are kept for restarts.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  tollgate history ls                               of the history that tollgate.toml names
  tollgate history ls --url s3://bucket/fraud       options come from AWS_*, GOOGLE_*, AZURE_* variables
  tollgate history verify --format json             read every file and report what does not hold

`carried` are rows of files that are gone, which windows without a bound in time still need.

verify ends with 1 if there is a finding. Whatever it finds costs only the time to read the topic again.")]
pub(super) struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// List each partition with its segments, offsets, event times, size and gaps.
    Ls(From),
    /// Read every segment: checksums, footers, rows, offsets, overlaps.
    Verify(From),
}

#[derive(Debug, clap::Args)]
struct From {
    /// The settings file whose `history.url` is meant.
    #[arg(long, value_name = "FILE", default_value = "tollgate.toml")]
    config: PathBuf,
    /// A folder or URL instead.
    #[arg(long, value_name = "URL", conflicts_with = "config")]
    url: Option<String>,
    /// Shape of what is printed.
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
}

pub(super) fn run(arguments: &Arguments) -> Result<Exit, Failure> {
    match &arguments.verb {
        Verb::Ls(from) => list(&open(from)?, from.format),
        Verb::Verify(from) => verify(&open(from)?, from.format),
    }
}

fn open(from: &From) -> Result<History, Failure> {
    let place = match &from.url {
        Some(url) => HistoryPlace::parse(url, Path::new(""))
            .map_err(|expected| Failure::usage(format!("--url must be {expected}, not `{url}`")))?,
        None => place_in(&from.config)?,
    };
    History::inspect(&place).map_err(|error| failure(&error))
}

/// Settings that are only looked at.
pub(super) fn settings_in(config: &Path) -> Result<Settings, Failure> {
    Ok(loaded_in(config)?.settings)
}

/// The same, with where each of them stands.
pub(super) fn loaded_in(config: &Path) -> Result<Loaded, Failure> {
    Settings::load(config, Purpose::Inspect).map_err(|findings| unusable(config, &findings))
}

/// Says what is wrong with settings.
pub(super) fn unusable(config: &Path, findings: &[Diagnostic]) -> Failure {
    eprint!("{}", render_all(findings, terminal::colour_of_errors()));
    Failure::usage(format!("the settings in {} can't be used", config.display()))
}

fn place_in(config: &Path) -> Result<HistoryPlace, Failure> {
    let none = || {
        Failure::usage(format!(
            "{} names no history: set `url` under `[history]`, or give --url",
            config.display()
        ))
    };
    settings_in(config)?.history.map(|history| history.place).ok_or_else(none)
}

/// How a history that can't be used is told to the shell.
pub(super) fn failure(error: &HistoryError) -> Failure {
    let exit = match error {
        HistoryError::Place { .. } | HistoryError::Absent { .. } | HistoryError::Reserved { .. } => {
            Exit::Usage
        }
        HistoryError::Foreign { .. } => Exit::Refused,
        HistoryError::Store { .. }
        | HistoryError::Changed { .. }
        | HistoryError::Unwritten { .. }
        | HistoryError::Thread { .. } => Exit::Outside,
    };
    Failure { exit, message: error.to_string() }
}

/// What is said of one partition.
struct Summary {
    rows: u64,
    /// Rows among them that were carried over.
    carried: u64,
    bytes: u64,
    offsets: (i64, i64),
    times: Option<(i64, i64)>,
    /// Offsets that no segment covers, between the first and the last.
    gaps: Vec<(i64, i64)>,
}

/// Segments are ascending by their first offset; there is at least one.
fn summary(segments: &[Segment]) -> Summary {
    let offsets = (i64::MAX, i64::MIN);
    let mut summary = Summary { rows: 0, carried: 0, bytes: 0, offsets, times: None, gaps: Vec::new() };
    for Segment { name, bytes } in segments {
        summary.rows += name.rows;
        summary.carried += if name.carried { name.rows } else { 0 };
        summary.bytes += bytes;
        let (from, to) = (name.from.0, name.to.0);
        if summary.offsets.1 != i64::MIN && from > summary.offsets.1 {
            summary.gaps.push((summary.offsets.1, from));
        }
        summary.offsets = (summary.offsets.0.min(from), summary.offsets.1.max(to));
        summary.times = match (summary.times, name.times) {
            (Some(all), Some(own)) => Some((all.0.min(own.0), all.1.max(own.1))),
            (all, own) => all.or(own),
        };
    }
    summary
}

fn list(history: &History, format: Format) -> Result<Exit, Failure> {
    let places = history.list().map_err(|error| failure(&error))?;
    let summaries: Vec<(Place, usize, Summary)> =
        places.into_iter().map(|(place, segments)| (place, segments.len(), summary(&segments))).collect();
    let identity = history.identity();
    let text = match format {
        Format::Json => {
            let partitions: Vec<_> = summaries.iter().map(as_json).collect();
            format!(
                "{:#}",
                json!({"cluster": identity.cluster, "job": identity.job, "partitions": partitions})
            )
        }
        Format::Table => {
            eprintln!("job {} on cluster {}", identity.job, identity.cluster);
            table(&summaries).to_string()
        }
    };
    writeln!(std::io::stdout(), "{text}").map_err(Failure::outside)?;
    Ok(Exit::Fine)
}

fn as_json((place, segments, summary): &(Place, usize, Summary)) -> serde_json::Value {
    json!({
        "topic": &*place.partition.topic,
        "generation": place.generation,
        "partition": place.partition.partition,
        "segments": segments,
        "offsets": {"from": summary.offsets.0, "to": summary.offsets.1},
        "event_times": summary.times.map(|(first, last)| {
            json!({"earliest": EventTime(first).to_string(), "latest": EventTime(last).to_string()})
        }),
        "rows": summary.rows,
        "carried_rows": summary.carried,
        "bytes": summary.bytes,
        "gaps": summary.gaps.iter().map(|(from, to)| json!({"from": from, "to": to})).collect::<Vec<_>>(),
    })
}

fn table(summaries: &[(Place, usize, Summary)]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header([
        "partition",
        "generation",
        "segments",
        "offsets",
        "rows",
        "carried",
        "bytes",
        "earliest",
        "latest",
        "gaps",
    ]);
    for (place, segments, summary) in summaries {
        let time =
            |time: Option<i64>| time.map_or_else(|| "-".to_owned(), |time| EventTime(time).to_string());
        let gaps: Vec<String> = summary.gaps.iter().map(|(from, to)| format!("{from}..{to}")).collect();
        table.add_row([
            place.partition.to_string(),
            place.generation.to_string(),
            segments.to_string(),
            format!("{}..{}", summary.offsets.0, summary.offsets.1),
            grouped(summary.rows),
            grouped(summary.carried),
            grouped(summary.bytes),
            time(summary.times.map(|(first, _)| first)),
            time(summary.times.map(|(_, last)| last)),
            if gaps.is_empty() { "-".to_owned() } else { gaps.join(", ") },
        ]);
    }
    for column in [1, 2, 4, 5, 6] {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}

fn verify(history: &History, format: Format) -> Result<Exit, Failure> {
    let verified = history.verify().map_err(|error| failure(&error))?;
    match format {
        Format::Json => {
            let document = serde_json::to_string_pretty(&verified).map_err(Failure::outside)?;
            writeln!(std::io::stdout(), "{document}").map_err(Failure::outside)?;
        }
        Format::Table => {
            for finding in &verified.findings {
                writeln!(std::io::stdout(), "{}: {}", finding.object, finding.fault)
                    .map_err(Failure::outside)?;
            }
            eprintln!(
                "{} sound segments, {} rows, {} bytes, {} findings",
                verified.segments,
                grouped(verified.rows),
                grouped(verified.bytes),
                verified.findings.len()
            );
        }
    }
    Ok(if verified.findings.is_empty() { Exit::Fine } else { Exit::Findings })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Offset, Partition};
    use crate::history::SegmentName;

    fn segment(from: i64, to: i64, times: Option<(i64, i64)>) -> Segment {
        let rows = if times.is_some() { 5 } else { 0 };
        let (from, to, checksum) = (Offset(from), Offset(to), "00".into());
        let name = SegmentName { from, to, rows, times, floor: 0, checksum, carried: false };
        Segment { name, bytes: 100 }
    }

    #[test]
    fn a_summary_joins_what_overlaps_and_names_what_is_missing() {
        let mut carried = segment(0, 10, Some((3_000_000, 4_000_000)));
        carried.name.carried = true;
        let segments = [
            carried,
            segment(10, 30, Some((5_000_000, 9_000_000))),
            segment(20, 25, Some((1_000_000, 2_000_000))),
            segment(30, 40, None),
            segment(50, 60, Some((8_000_000, 12_000_000))),
        ];
        let summary = summary(&segments);
        assert_eq!((summary.rows, summary.carried, summary.bytes, summary.offsets), (20, 5, 500, (0, 60)));
        assert_eq!((summary.times, &summary.gaps), (Some((1_000_000, 12_000_000)), &vec![(40, 50)]));
        let place = Place { partition: Partition { topic: "pay".into(), partition: 3 }, generation: 1 };
        let printed = table(&[(place, 5, summary)]).to_string();
        for part in ["pay[3]", "0..60", "carried", "40..50", "1970-01-01T00:00:01Z", "1970-01-01T00:00:12Z"] {
            assert!(printed.contains(part), "{part} in\n{printed}");
        }
    }

    #[test]
    fn a_foreign_history_ends_with_four_and_a_missing_one_with_two() {
        let text = String::new;
        let foreign = HistoryError::Foreign { place: text(), found: text(), cluster: text(), job: text() };
        assert_eq!(failure(&foreign).exit, Exit::Refused);
        assert_eq!(failure(&HistoryError::Absent { place: text() }).exit, Exit::Usage);
        assert_eq!(failure(&HistoryError::Store { attempt: text(), reason: text() }).exit, Exit::Outside);
    }
}
