//! `plan`: what a change of rules would do, before it is made.
//!
//! Both folders are compiled and run over the same events, and what they send is compared record by record. What would
//! surprise: alerts are compared, not hits; so a longer `@dedup` shows as alerts lost. And the new rules are measured as
//! in a job that goes over to them: a window that shares its state with one that they read is still held.

mod changes;
mod costs;
mod print;
mod trial;
mod windows;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::ArgGroup;
use serde::Serialize;

use super::check::{is_of, lint_kind};
use super::events::Events;
use super::failure::{Exit, Failure};
use super::job::{open_sound_rules, parts_failure};
use super::kept::{HOUR, Kept};
use super::service::{answer_order, stream_policies};
use crate::alert::AlertSettings;
use crate::decode::{DecodeLimits, StreamBinding};
use crate::diagnostic::{Diagnostic, choices, suggest};
use crate::event::{Clock, Span, SystemClock};
use crate::pipeline::{CoreSettings, Parts, StreamPolicy};
use crate::rules::{AnswerOrder, Emit, LINTS, RuleSet};

use changes::{Changes, changes};
use trial::{Compared, Trial, compared};
use windows::{WindowChange, window_change};

/// Show what a change of rules would do: rules, alerts, cost, windows, warnings.
#[derive(Debug, clap::Args)]
#[command(group = ArgGroup::new("events").args(["input", "config"]), after_help = "Examples:
  tollgate plan main/rules rules --config tollgate.toml --hours 24
  tollgate plan main/rules rules --input yesterday.ndjson
  tollgate plan main/rules rules --input yesterday.parquet --hours 24 --labels labels.ndjson
  tollgate plan main/rules rules --input day.ndjson --fail-on lost,lints,cost=20% --format markdown

OLD and NEW are rules folders, such as that of a git worktree and that of the checkout. Alerts are those that leave
after @dedup and @budget; they are compared by rule and record. With --config the events are those of the job's
history; lateness, repeats and the order of answers are then the job's, and no broker is asked. Without --config and
--input only the rules are compared.
--fail-on takes removed, gained, lost, lints (any warning that OLD has not), a kind of warning, and cost=N% and
state=N% for growth past N percent (cost from 1,000 events on); it ends with 1 where one of them is so.")]
pub(super) struct Arguments {
    /// The rules folder in force.
    #[arg(value_name = "OLD")]
    old: PathBuf,
    /// The rules folder that is to be.
    #[arg(value_name = "NEW")]
    new: PathBuf,
    /// Events: .ndjson, .csv or .parquet, as FILE or STREAM=FILE; may be repeated.
    #[arg(long, value_name = "FILE", num_args = 1..)]
    input: Vec<String>,
    /// The settings file of a job: the events are those that its history keeps.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Compare alerts of the last so many hours of the events only; earlier ones fill windows.
    #[arg(long, value_name = "N", requires = "events")]
    hours: Option<u32>,
    /// File of labels: id, known_at, fraud; .ndjson, .csv or .parquet.
    #[arg(long, value_name = "FILE", requires = "events")]
    labels: Option<PathBuf>,
    /// How far out of order a row of --input may come.
    #[arg(long, default_value = "5s", conflicts_with = "config")]
    lateness: Span,
    /// For how long of event time the repeat of an event id in --input is dropped; 0s keeps repeats.
    #[arg(long, default_value = "1h", conflicts_with = "config")]
    repeats: Span,
    /// Examples of alerts gained and lost, for each rule.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(0..=1000))]
    examples: u16,
    /// What ends with 1: see below.
    #[arg(long, value_name = "WHAT", value_delimiter = ',', value_parser = fail_on)]
    fail_on: Vec<FailOn>,
    /// Shape of what is printed.
    #[arg(long, value_enum, default_value = "table")]
    format: PlanFormat,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum PlanFormat {
    /// For people.
    Table,
    /// One JSON document, for programs.
    Json,
    /// For the comment on a pull request.
    Markdown,
}

/// What a plan may not do.
#[derive(Debug, Clone, PartialEq, Eq)]
enum FailOn {
    Removed,
    Gained,
    Lost,
    /// Warnings of this kind, or all.
    Lint(String),
    /// Time an event grows by more than so many percent.
    Cost(u32),
    /// Window state grows by more than so many percent.
    State(u32),
}

fn fail_on(text: &str) -> Result<FailOn, String> {
    let percent = |text: &str| {
        let number = text.strip_suffix('%').unwrap_or(text).parse();
        number.map_err(|_| format!("`{text}` is no percentage: write a whole number, such as cost=20%"))
    };
    match text.split_once('=') {
        Some(("cost", most)) => return percent(most).map(FailOn::Cost),
        Some(("state", most)) => return percent(most).map(FailOn::State),
        _ => {}
    }
    match text {
        "removed" => Ok(FailOn::Removed),
        "gained" => Ok(FailOn::Gained),
        "lost" => Ok(FailOn::Lost),
        "lints" => Ok(FailOn::Lint("warnings".to_owned())),
        other => lint_kind(other).map(FailOn::Lint).map_err(|_| {
            let words = ["removed", "gained", "lost", "lints", "cost=20%", "state=20%"];
            let all = || words.into_iter().chain(LINTS.iter().map(|(kind, _)| *kind));
            let near =
                suggest(other, all()).map(|near| format!("; did you mean {near}?")).unwrap_or_default();
            format!("`{other}` is nothing to fail on: there are {}{near}", choices(all()))
        }),
    }
}

/// All that a change does.
#[derive(Debug, Serialize)]
struct Plan {
    schema: &'static str,
    old: String,
    new: String,
    changes: Changes,
    windows: WindowChange,
    /// Warnings that the new rules have and the old ones have not.
    lints: Vec<Diagnostic>,
    /// Lines of the old warnings that are gone.
    lints_gone: usize,
    /// None where no events were given.
    events: Option<Compared>,
    /// Why it ends with 1.
    fails: Vec<String>,
}

pub(super) fn run(arguments: &Arguments) -> Result<Exit, Failure> {
    let events = match &arguments.config {
        Some(config) => Some(Events::Kept(Box::new(Kept::open(config)?))),
        None => (!arguments.input.is_empty()).then(|| Events::Files(arguments.input.clone())),
    };
    let order = match &events {
        Some(Events::Kept(kept)) => answer_order(kept.settings()),
        _ => AnswerOrder::Default(Emit::OnArrival),
    };
    let open = |path: &Path| {
        if !path.is_dir() {
            return Err(Failure::usage(format!("{} is no rules folder", path.display())));
        }
        open_sound_rules(path, None, order)
    };
    let (old, new) = (open(&arguments.old)?, open(&arguments.new)?);
    rayon::ThreadPoolBuilder::new().num_threads(1).build_global().map_err(Failure::outside)?;
    let events = events.map(|events| trials(arguments, events, &old, &new)).transpose()?;
    let (lints, lints_gone) = new_lints(arguments, &old, &new);
    let mut plan = Plan {
        schema: "tollgate.plan/1",
        old: arguments.old.display().to_string(),
        new: arguments.new.display().to_string(),
        changes: changes((&arguments.old, &old), (&arguments.new, &new))?,
        windows: window_change(&old, &new),
        lints,
        lints_gone,
        events,
        fails: Vec::new(),
    };
    plan.fails = arguments.fail_on.iter().filter_map(|what| fails(&plan, what)).collect();
    match arguments.format {
        PlanFormat::Json => println!("{:#}", serde_json::to_value(&plan).map_err(Failure::outside)?),
        PlanFormat::Table => print!("{}", print::text(&plan)),
        PlanFormat::Markdown => print!("{}", print::markdown(&plan)),
    }
    for why in &plan.fails {
        eprintln!("fails: {why}");
    }
    Ok(if plan.fails.is_empty() { Exit::Fine } else { Exit::Findings })
}

/// Both sets over the events; twice in turn, the quicker run of each counting as its cost.
fn trials(
    arguments: &Arguments,
    mut events: Events,
    old: &RuleSet,
    new: &RuleSet,
) -> Result<Compared, Failure> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::start());
    let labels = match &arguments.labels {
        Some(file) => Some(super::backtest::read_labels(file)?),
        None => None,
    };
    let parts = |events: &Events| -> Result<[Parts; 2], Failure> {
        let before = parts(arguments, events, old, None)?;
        let after = parts(arguments, events, new, Some(&before))?;
        Ok([before, after])
    };
    let first = parts(&events)?;
    if let (Events::Kept(kept), Some(hours)) = (&mut events, arguments.hours) {
        let from = kept.latest().saturating_sub(i64::from(hours) * HOUR);
        let [before, after] = first.each_ref().map(Parts::looks_back);
        kept.since = from.saturating_sub(before.max(after).0);
    }
    let run = |parts: Parts| trial::run(parts, &events, labels.as_ref(), &clock);
    let [before, after] = first;
    let mut pair: [Trial; 2] = [run(before)?, run(after)?];
    for (trial, parts) in pair.iter_mut().zip(parts(&events)?) {
        trial.quicker(&run(parts)?);
    }
    Ok(compared(&mut pair, arguments.hours, usize::from(arguments.examples), labels.is_some()))
}

/// A core without state, and its makers of alerts; they follow others where these are given.
fn parts(
    arguments: &Arguments,
    events: &Events,
    set: &RuleSet,
    before: Option<&Parts>,
) -> Result<Parts, Failure> {
    let contract = &set.catalog.contract;
    let policy = StreamPolicy { lateness: arguments.lateness, repeats: arguments.repeats };
    let mut settings = CoreSettings::uniform(contract, policy);
    if let Events::Kept(kept) = events {
        settings.streams = stream_policies(kept.settings(), set);
    }
    let bindings = vec![StreamBinding::default(); contract.streams.len()];
    let settings = (settings, &AlertSettings::default());
    let before = before.map(|parts| parts.core.before(&parts.used));
    Parts::after(set, &bindings, DecodeLimits::default(), settings, before.as_ref()).map_err(parts_failure)
}

/// Warnings that are new, by file within the folder, kind and words; and how many are gone.
fn new_lints(arguments: &Arguments, old: &RuleSet, new: &RuleSet) -> (Vec<Diagnostic>, usize) {
    let name = |folder: &Path, lint: &Diagnostic| {
        let file = Path::new(&lint.source.file);
        let within = file.strip_prefix(folder).unwrap_or(file).to_owned();
        (within, lint.code, lint.message.clone())
    };
    let (before, after) = (old.lints(), new.lints());
    let known: Vec<_> = before.iter().map(|lint| name(&arguments.old, lint)).collect();
    let there: Vec<_> = after.iter().map(|lint| name(&arguments.new, lint)).collect();
    let gone = known.iter().filter(|lint| !there.contains(lint)).count();
    let fresh = after.into_iter().zip(&there).filter(|(_, name)| !known.contains(name));
    (fresh.map(|(lint, _)| lint).collect(), gone)
}

fn fails(plan: &Plan, what: &FailOn) -> Option<String> {
    let events = plan.events.as_ref();
    let some = |count: u64, what: &str| (count > 0).then(|| format!("{count} {what}"));
    match what {
        FailOn::Removed => some(plan.changes.removed.len() as u64, "rules removed"),
        FailOn::Gained => some(events.map_or(0, |events| events.gained), "alerts gained"),
        FailOn::Lost => some(events.map_or(0, |events| events.lost), "alerts lost"),
        FailOn::Lint(kind) => {
            let kinds = std::slice::from_ref(kind);
            let count = plan.lints.iter().filter(|lint| is_of(lint, kinds)).count() as u64;
            some(count, "new warnings")
        }
        FailOn::Cost(most) => {
            let events = events.filter(|events| events.events >= print::MEASURED_MIN)?;
            let growth = print::growth(events.cost.0.nanos_an_event, events.cost.1.nanos_an_event)?;
            (growth > f64::from(*most))
                .then(|| format!("an event costs {growth:.0} % more time, past {most} %"))
        }
        FailOn::State(most) => {
            let events = events?;
            #[expect(clippy::cast_precision_loss, reason = "bytes for people")]
            let growth = print::growth(events.cost.0.state_bytes as f64, events.cost.1.state_bytes as f64)?;
            (growth > f64::from(*most))
                .then(|| format!("window state is {growth:.0} % larger, past {most} %"))
        }
    }
}
