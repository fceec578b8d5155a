//! `backtest`: what rules would have caught, missed and cost on labelled events of the past.

mod collect;
mod fitted;
mod guard;
mod html;
mod labels;
mod model_spread;
mod prepare;
mod rows;
mod svg;
mod table;
mod words;

use std::path::PathBuf;
use std::sync::Arc;

use clap::builder::ArgPredicate;
use serde_json::{Value, json};

use super::events::Events;
use super::failure::{Exit, Failure};
use super::kept::{HOUR, Kept};
use super::label_columns::label_columns;
use super::terminal::{Format, grouped};
use crate::backtest::{
    BUCKETS, Case, Comparison, EventColumns, Goal, Labels, NamedSet, OrderChange, Report, Settings, Sweep,
    Wanted, compare,
};
use crate::decision::{Combination, Outcome};
use crate::event::{Clock, EventTime, Span, SystemClock};
use crate::pipeline::Counts;
use crate::rules::Emit;
use crate::settings::SCORE_CAP;

use collect::{Collected, collect};
use prepare::{Prepared, event_columns, other_order};

/// Measure rules on events of the past: precision, recall, workload, value, speed, overlap.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "Examples:
  tollgate backtest --rules rules --input payments.parquet --label-column is_fraud \\
      --entity-column card_id --value-column amount --report report.html
  tollgate backtest --rules rules --input payments.ndjson --labels labels.ndjson --from 2026-10-01
  tollgate backtest --rules new-rules --against rules --input payments.parquet --label-column is_fraud
  tollgate backtest --rules rules --input payments.parquet --label-column is_fraud \\
      --sweep card-velocity:payments_10m=3..12/1
  tollgate backtest --rules rules --input payments.parquet --label-column is_fraud \\
      --until 2026-10-01 --fit weights.toml --review-at events=100/d --block-at precision=0.95
  tollgate backtest --rules rules --config tollgate.toml --hours 24

A hit is an event that a rule flags; an alert is a hit that @dedup lets through. Precision, recall, F1 and
value are of hits, alerts a day are of alerts. For figures of all together and for thresholds live rules count,
as in a job, or those that were named; where there is none, all that run. Windows are filled from the first
event of the input, whatever --from says. A file of labels has the columns id, known_at and fraud (true where
it is left out).
With --config the events are those of the job's history, beside the job and without its brokers: the job's lateness
and repeats hold, and its [labels] count, each from the time that its row says, unless --labels names a file.")]
pub(super) struct Arguments {
    /// A rules folder, or one rule file, which then runs whatever its status.
    #[arg(long, value_name = "PATH", default_value = "rules")]
    rules: PathBuf,
    /// The event contract, if it is not schema.sql in the rules folder.
    #[arg(long, value_name = "FILE")]
    schema: Option<PathBuf>,
    /// Events: .ndjson, .csv or .parquet, as FILE or STREAM=FILE; may be repeated.
    #[arg(long, required_unless_present = "config", value_name = "FILE", num_args = 1..)]
    input: Vec<String>,
    /// The settings file of a job: the events are those that its history keeps.
    #[arg(long, value_name = "FILE", conflicts_with = "input")]
    config: Option<PathBuf>,
    /// Score the last so many hours of the history only; earlier events fill windows.
    #[arg(long, value_name = "N", conflicts_with = "from")]
    hours: Option<u32>,
    /// The stream that is scored, where the contract has several.
    #[arg(long, value_name = "NAME")]
    stream: Option<String>,
    /// Column that says whether an event is a fraud: BOOLEAN, or 0 and 1. Rules must not read it sooner than
    /// --label-delay after its event; beside --labels that is all that it is for.
    #[arg(long, value_name = "COLUMN")]
    label_column: Option<String>,
    /// File of labels: id, known_at, fraud; .ndjson, .csv or .parquet.
    #[arg(long, value_name = "FILE")]
    labels: Option<PathBuf>,
    /// How long after its event a label became known, where its time is not given.
    #[arg(long, value_name = "SPAN", default_value = "0s")]
    label_delay: Span,
    /// Column that names whom an event is about.
    #[arg(long, value_name = "COLUMN")]
    entity_column: Option<String>,
    /// Column of what is at stake.
    #[arg(long, value_name = "COLUMN")]
    value_column: Option<String>,
    /// Entities looked at each day, for card precision@k.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    k: u32,
    /// First event time that is scored: 2026-10-01 or 2026-10-01T12:00:00Z.
    #[arg(long, value_name = "TIME", value_parser = time)]
    from: Option<EventTime>,
    /// First event time that is no longer scored.
    #[arg(long, value_name = "TIME", value_parser = time)]
    until: Option<EventTime>,
    /// Do not score an entity from the first day on that begins after a fraud of it became known.
    #[arg(long, requires = "entity_column")]
    skip_known: bool,
    /// Frauds before this time do not make an entity known.
    #[arg(long, value_name = "TIME", value_parser = time, requires = "skip_known")]
    known_from: Option<EventTime>,
    /// Longest time between two frauds of one episode.
    #[arg(long, value_name = "SPAN", default_value = "7d")]
    episode_gap: Span,
    /// How the points of several rules on one event combine.
    #[arg(long, value_enum, default_value = "sum")]
    combine: CombineArgument,
    /// Most points an event can have, but for max and a file of weights; of weights that are fitted 1000.
    #[arg(long, default_value = SCORE_CAP, default_value_if("fit", ArgPredicate::IsPresent, "1000"))]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    cap: u32,
    /// File of weights that --fit wrote; they combine the points.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["combine", "fit"])]
    weights: Option<PathBuf>,
    /// Fit weights of the rules that count together to the labels of the scored period, and write them to a file that
    /// `run` reads.
    #[arg(long, value_name = "FILE", conflicts_with = "combine")]
    fit: Option<PathBuf>,
    /// Write how the inputs and scores of each model are spread over the scored period: models/NAME.baseline.
    #[arg(long)]
    baseline: bool,
    /// Find the threshold from which a person looks at an event: precision=0.5, or events=100/d.
    #[arg(long, value_name = "GOAL")]
    review_at: Option<Goal>,
    /// Find the threshold from which an event is stopped: precision=0.95, or events=10/d.
    #[arg(long, value_name = "GOAL")]
    block_at: Option<Goal>,
    /// Run these rules only, whatever their status: ids, separated by commas.
    #[arg(long, value_name = "IDS", value_delimiter = ',')]
    only: Vec<String>,
    /// Run drafts as well.
    #[arg(long)]
    drafts: bool,
    /// Figures of some of the rules together, as NAME=ID,ID; may be repeated.
    #[arg(long, value_name = "NAME=IDS", value_parser = named_set)]
    set: Vec<NamedSet>,
    /// A constant at several values, as RULE:COLUMN=FROM..TO/STEP; may be repeated.
    #[arg(long, value_name = "SWEEP")]
    sweep: Vec<Sweep>,
    /// Another rules folder to compare with.
    #[arg(long, value_name = "PATH")]
    against: Option<PathBuf>,
    /// When rows are answered; in_order is the answer of batch SQL.
    #[arg(long, value_enum, default_value = "in_order")]
    emit: EmitArgument,
    /// Leave out what the other order of answers would have changed: half of the work.
    #[arg(long)]
    one_order: bool,
    /// How far out of order a row may come.
    #[arg(long, default_value = "5s", conflicts_with = "config")]
    lateness: Span,
    /// For how long of event time the repeat of an event id is dropped; 0s keeps repeats.
    #[arg(long, default_value = "1h", conflicts_with = "config")]
    repeats: Span,
    /// Rows a batch.
    #[arg(long, default_value_t = 16384, value_parser = clap::value_parser!(u32).range(1..=1_048_576))]
    #[arg(conflicts_with = "config")]
    batch_rows: u32,
    /// Threads; as many as there are processors where it is not given.
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=256))]
    threads: Option<u16>,
    /// One row an alert: a .ndjson or .parquet file.
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// One HTML page with tables and plots.
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// Shape of the report on standard output.
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
#[value(rename_all = "snake_case")]
enum EmitArgument {
    /// Each row as it arrives.
    OnArrival,
    /// In order of event time, rows of equal time together.
    InOrder,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
#[value(rename_all = "snake_case")]
enum CombineArgument {
    /// All of them, up to the cap.
    Sum,
    /// The highest.
    Max,
    /// As chances of the cap that know nothing of each other.
    NoisyOr,
}

impl Arguments {
    fn emit(&self) -> Emit {
        match self.emit {
            EmitArgument::OnArrival => Emit::OnArrival,
            EmitArgument::InOrder => Emit::InOrder,
        }
    }

    fn settings(&self) -> Result<Settings, Failure> {
        let cap = i64::from(self.cap);
        let combination = match (&self.weights, self.combine) {
            (Some(file), _) => {
                let weights = super::decision_settings::weights(file).map_err(Failure::usage)?;
                Combination::Logistic { weights: Arc::new(weights) }
            }
            (None, CombineArgument::Sum) => Combination::SumCap { cap },
            (None, CombineArgument::Max) => Combination::Max,
            (None, CombineArgument::NoisyOr) => Combination::NoisyOr { cap },
        };
        Ok(Settings {
            from: self.from,
            until: self.until,
            skip_known: self.skip_known,
            known_from: self.known_from,
            k: self.k,
            episode_gap: self.episode_gap,
            combination,
        })
    }

    fn wanted(&self) -> Vec<Wanted> {
        let goals = [(Outcome::Review, self.review_at), (Outcome::Block, self.block_at)];
        goals.into_iter().filter_map(|(outcome, goal)| Some(Wanted { outcome, goal: goal? })).collect()
    }

    fn threads(&self) -> usize {
        let all = || std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        self.threads.map_or_else(all, usize::from)
    }
}

/// A time, or the first moment of a day.
fn time(text: &str) -> Result<EventTime, String> {
    let whole = if text.len() == 10 { format!("{text}T00:00:00Z") } else { text.to_owned() };
    chrono::DateTime::parse_from_rfc3339(&whole)
        .map(|time| EventTime(time.timestamp_micros()))
        .map_err(|_| format!("`{text}` is no time: write 2026-10-01, or 2026-10-01T12:00:00Z"))
}

fn named_set(text: &str) -> Result<NamedSet, String> {
    let (name, ids) = text
        .split_once('=')
        .filter(|(name, ids)| !name.is_empty() && !ids.is_empty())
        .ok_or_else(|| format!("`{text}` is no set of rules: write NAME=ID,ID"))?;
    let rules = ids.split(',').map(|id| id.trim().to_owned()).collect();
    Ok(NamedSet { name: name.to_owned(), rules })
}

/// Labels of a file, for verbs that ask only whether an event is a fraud.
pub(super) fn read_labels(file: &std::path::Path) -> Result<Labels, Failure> {
    labels::read(file, Span(0))
}

pub(super) fn run(arguments: &Arguments) -> Result<Exit, Failure> {
    let clock = SystemClock::start();
    rayon::ThreadPoolBuilder::new()
        .num_threads(arguments.threads())
        .build_global()
        .map_err(Failure::outside)?;
    let (arguments, mut events) = with_events(arguments)?;
    let arguments = &arguments;
    let prepared = Prepared::open(&arguments.rules, arguments, &arguments.sweep)?;
    let columns = event_columns(&prepared.set.catalog.contract, arguments, label_stream(&events, &prepared))?;
    guard::check_rules(&prepared, &columns, arguments, None)?;
    guard::check(&prepared, arguments)?;
    let against = other_folder(arguments, &events)?;
    let known = known_labels(arguments, &events, (&prepared, &columns))?;
    let learned = guard::no_look_ahead(arguments, known.is_some());
    let mut settings = arguments.settings()?;
    let started = clock.elapsed();
    if arguments.baseline {
        prepared.set.catalog.known_models().for_each(|model| model.collect());
    }
    let here = collect(&prepared, &columns, known.clone(), &mut events, arguments)?;
    let there = match &against {
        Some((folder, prepared, columns)) => {
            Some((folder, collect(prepared, columns, known, &mut events, arguments)?))
        }
        None => None,
    };
    if arguments.fit.is_some() {
        settings.combination = fitted::fit(&Case::new(&here.events, &settings), &here, &prepared, arguments)?;
    }
    guard::warn_of_cap(&here.ruled, &settings.combination);
    let case = Case::new(&here.events, &settings);
    guard::warn_of_empty_period(&case);
    let wanted = arguments.wanted();
    if arguments.baseline {
        model_spread::write(&prepared.set, &arguments.rules)?;
    }
    let mut report = Report::new(&case, &here.ruled, (&arguments.set, &wanted), &here.swept);
    if let (Some(file), Combination::Logistic { weights }) = (&arguments.fit, &settings.combination) {
        fitted::write(file, weights, &report)?;
    }
    report.models = model_spread::moved(&prepared.set);
    report.other_order = order_change(&case, &here, arguments);
    report.against = there.as_ref().map(|(folder, there)| {
        Comparison::new(&case, folder.display().to_string(), &here.ruled, &there.ruled)
    });
    let took = clock.elapsed().saturating_sub(started).as_secs_f64();
    let rows = here.counts.rows_in + there.as_ref().map_or(0, |(_, there)| there.counts.rows_in);
    let speed = words::Speed::of(rows, took);
    if let Some(file) = &arguments.output {
        rows::write(file, &here, &case)?;
    }
    if let Some(file) = &arguments.report {
        let notes = here.notes.iter().fold(learned, |all, note| format!("{all} {note}."));
        let page = html::page(&report, &prepared.set.version, &notes);
        std::fs::write(file, page)
            .map_err(|cause| Failure::outside(format!("{} can't be written: {cause}", file.display())))?;
    }
    match arguments.format {
        Format::Json => println!("{:#}", document(&report, &prepared, &here, &speed)?),
        Format::Table => {
            print!("{}", table::tables(&report));
            here.notes.iter().for_each(|note| eprintln!("note: {note}"));
            eprintln!("{}; {speed}", told(&here.counts));
        }
    }
    Ok(Exit::Fine)
}

/// Where the events come from; the last hours of a history become a bound.
fn with_events(arguments: &Arguments) -> Result<(Arguments, Events), Failure> {
    let mut arguments = arguments.clone();
    let Some(config) = &arguments.config else {
        if arguments.hours.is_some() {
            return Err(Failure::usage(
                "--hours counts back from the end of a history, of --config: of files, say --from",
            ));
        }
        let files = arguments.input.clone();
        return Ok((arguments, Events::Files(files)));
    };
    let kept = Kept::open(config)?;
    if let Some(hours) = arguments.hours {
        // Events of the very moment so many hours ago are no longer among the last.
        arguments.from = Some(EventTime(kept.latest().saturating_sub(i64::from(hours) * HOUR) + 1));
    }
    Ok((arguments, Events::Kept(Box::new(kept))))
}

/// The stream of a job whose rows are labels.
fn label_stream(events: &Events, prepared: &Prepared) -> Option<usize> {
    let Events::Kept(kept) = events else { return None };
    label_columns(kept.settings(), &prepared.set).map(|columns| columns.stream)
}

/// Labels of a file, else those that the job keeps.
fn known_labels(
    arguments: &Arguments,
    events: &Events,
    (prepared, columns): (&Prepared, &EventColumns),
) -> Result<Option<Labels>, Failure> {
    match (&arguments.labels, events) {
        (Some(file), _) => labels::read(file, arguments.label_delay).map(Some),
        (None, Events::Kept(kept)) if !columns.event_id.is_empty() => kept.labels(&prepared.set),
        (None, _) => Ok(None),
    }
}

/// The folder that is compared with, its rules and the columns that are scored.
fn other_folder<'a>(
    arguments: &'a Arguments,
    events: &Events,
) -> Result<Option<(&'a PathBuf, Prepared, EventColumns)>, Failure> {
    let Some(folder) = &arguments.against else { return Ok(None) };
    let prepared = Prepared::open(folder, arguments, &[])?;
    let columns = event_columns(&prepared.set.catalog.contract, arguments, label_stream(events, &prepared))?;
    guard::check_rules(&prepared, &columns, arguments, Some(folder))?;
    Ok(Some((folder, prepared, columns)))
}

/// Where the rows went.
fn told(counts: &Counts) -> String {
    format!(
        "{} rows: {} answered, {} dead letters, {} repeats, {} late, {} rule errors",
        grouped(counts.rows_in),
        grouped(counts.answered),
        grouped(counts.dead_letters),
        grouped(counts.repeats),
        grouped(counts.late),
        grouped(counts.rule_errors),
    )
}

/// What the other order would have changed; none where it was not run.
fn order_change(case: &Case<'_>, here: &Collected, arguments: &Arguments) -> Option<OrderChange> {
    let other = here.other.as_ref()?;
    let reported = arguments.emit();
    let changes = compare(case, other, &here.ruled);
    Some(OrderChange { reported, other: other_order(reported), late: here.counts.late, changes })
}

/// The report as JSON, with how the run went under `run`.
fn document(
    report: &Report,
    prepared: &Prepared,
    here: &Collected,
    speed: &words::Speed,
) -> Result<Value, Failure> {
    let mut document = serde_json::to_value(report).map_err(Failure::outside)?;
    let unknown: Vec<&str> = BUCKETS.iter().map(|(name, _)| *name).collect();
    document["time_to_detection_up_to"] = json!(unknown);
    document["run"] = json!({
        "ruleset": prepared.set.version, "counts": here.counts, "balanced": here.counts.balanced(),
        "seconds": speed.seconds, "rows_per_second": speed.rows_a_second, "notes": here.notes,
    });
    Ok(document)
}
