//! `why`: why a rule hit an event or did not, with each condition's margin and the events behind each window.

mod compare;
mod print;
mod reading;
mod search;

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use super::failure::{Exit, Failure};
use super::job::{EmitArgument, order_of, parts_failure};
use super::replay::input::Inputs;
use super::service::{self, answer_order, job_failure};
use super::terminal::{self, Format};
use crate::diagnostic::render_all;
use crate::event::{Coordinates, Offset, Partition, Span};
use crate::graph::EngineError;
use crate::pipeline::{CoreSettings, Parts, Retraced, StepOutcome, StreamPolicy};
use crate::rules::{AnswerOrder, RuleFiles, RuleSet};
use crate::settings::{Purpose, Settings};
use crate::why::{EVENTS_MAX, Explanation, Inquiry, Target};

/// Explain why a rule alerted about an event, or why it did not.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  tollgate why 4f1c09aa                                  an alert of the job of tollgate.toml, by its id
  tollgate why 4f1c09aa --rules ../as-it-was/rules       the same, by the rules as they were (`git worktree add`)
  tollgate why --at payments/3/88121 --rule card-testing one of the job's records, whether it alerted or not
  tollgate why --event tx-881 --rule card-testing --rules rules --input payments.ndjson

Shows each condition with the values that it compared and the margin between them, and the events in each window.
The rows are read again, from the job's history and topics or from the files, through the engine that the job runs;
nothing is committed or sent. Ends with 1 if the event is not found, or if the alert is not what was sent.")]
pub(super) struct Arguments {
    /// The alert's id, or at least 8 digits from its beginning.
    #[arg(value_name = "ALERT_ID", conflicts_with_all = ["event", "at", "input"])]
    alert: Option<String>,
    /// The settings file of the job whose alerts and records are meant.
    #[arg(long, value_name = "FILE", default_value = "tollgate.toml")]
    config: PathBuf,
    /// Look for the alert among those sent since a time or within a length of time, such as 2h.
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// A record of the job: topic, partition and offset.
    #[arg(long, value_name = "TOPIC/PARTITION/OFFSET", requires = "rule", conflicts_with = "input")]
    at: Option<String>,
    /// The id of an event in the files of --input.
    #[arg(long, value_name = "ID", requires = "rule", requires = "input")]
    event: Option<String>,
    /// The rule's id.
    #[arg(long, value_name = "ID")]
    rule: Option<String>,
    /// The rules folder; left out, `rules` for --input, and for a job the folder of its settings.
    #[arg(long, value_name = "PATH")]
    rules: Option<PathBuf>,
    /// The event contract of --input, if it is not schema.sql in the rules folder.
    #[arg(long, value_name = "FILE")]
    schema: Option<PathBuf>,
    /// Events: .ndjson, .csv or .parquet, as FILE or STREAM=FILE; may be repeated.
    #[arg(long, value_name = "FILE", num_args = 1.., requires = "event")]
    input: Vec<String>,
    /// When rows of --input are answered; overrides the rule's own @emit.
    #[arg(long, value_enum)]
    emit: Option<EmitArgument>,
    /// How far out of order a row of --input may come.
    #[arg(long, default_value = "5s")]
    lateness: Span,
    /// For how long of event time the repeat of an event id in --input is dropped; 0s keeps repeats.
    #[arg(long, default_value = "1h")]
    repeats: Span,
    /// Events of each window that are shown.
    #[arg(long, value_name = "COUNT", default_value_t = 10, value_parser = events_shown)]
    events: usize,
    /// Shape of what is printed.
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
}

fn events_shown(text: &str) -> Result<usize, String> {
    let count = text.parse::<usize>().ok().filter(|count| *count <= EVENTS_MAX);
    count.ok_or_else(|| format!("a number from 0 to {EVENTS_MAX} is expected"))
}

/// A rule, what it made of an event, and what is known of the way there.
struct Told {
    rule: String,
    title: String,
    version: String,
    status: &'static str,
    explanation: Explanation,
    /// What a reader must know before he trusts it.
    notes: Vec<String>,
    /// Whether the alert is the one that was sent, where one was sent; what its rule's file says of itself aside.
    reproduced: Option<bool>,
    /// Keys in which it differs all the same.
    differs: Vec<String>,
}

pub(super) fn run(arguments: &Arguments) -> Result<Exit, Failure> {
    let told = match (&arguments.alert, &arguments.at, arguments.input.is_empty()) {
        (Some(alert), ..) => of_alert(arguments, alert)?,
        (None, Some(at), _) => of_record(arguments, at)?,
        (None, None, false) => of_files(arguments)?,
        (None, None, true) => {
            return Err(Failure::usage(
                "say what is to be explained: an alert by its id, a record by --at and --rule, or an event of \
                 files by --event, --rule and --input",
            ));
        }
    };
    match arguments.format {
        Format::Table => print!("{}", print::text(&told, arguments.events)),
        Format::Json => println!("{:#}", print::json(&told, arguments.events)),
    }
    Ok(if told.reproduced == Some(false) { Exit::Findings } else { Exit::Fine })
}

/// The one rule of a folder, whatever its status.
fn rule_alone(
    path: &Path,
    schema: Option<&Path>,
    order: AnswerOrder,
    rule: &str,
) -> Result<RuleSet, Failure> {
    let files = RuleFiles::open(path, schema).map_err(Failure::usage)?;
    let unusable = |findings: &[crate::diagnostic::Diagnostic]| {
        eprint!("{}", render_all(findings, terminal::colour_of_errors()));
    };
    let set = RuleSet::compile_chosen(files, order, |header| header.id == rule).map_err(|findings| {
        unusable(&findings);
        Failure::findings("the event contract can't be used")
    })?;
    if set.running().next().is_some() {
        return Ok(set);
    }
    let ids: Vec<&str> = set.resting.iter().map(|rule| rule.header.id.as_str()).collect();
    if set.has_errors() {
        unusable(&set.diagnostics);
    }
    let near = crate::diagnostic::suggest(rule, ids.iter().copied())
        .map(|near| format!("; did you mean {near}?"))
        .unwrap_or_default();
    Err(Failure::usage(format!("{} has no sound rule with the id {rule}{near}", path.display())))
}

fn of_files(arguments: &Arguments) -> Result<Told, Failure> {
    let (Some(event), Some(rule)) = (&arguments.event, &arguments.rule) else {
        return Err(Failure::usage("--input needs --event and --rule"));
    };
    let order = order_of(arguments.emit);
    let folder = arguments.rules.as_deref().unwrap_or(Path::new("rules"));
    let set = rule_alone(folder, arguments.schema.as_deref(), order, rule)?;
    let policy = StreamPolicy { lateness: arguments.lateness, repeats: arguments.repeats };
    let settings = CoreSettings::uniform(&set.catalog.contract, policy);
    let parts = || Parts::of_files(&set, settings.clone()).map_err(parts_failure);
    let mut first = parts()?;
    let mut inquiry = Inquiry::new(&first, Target::Event(event.clone()), None);
    inquiry.begin(&mut first);
    replay(arguments, &mut first, |parts, outcome| inquiry.look(parts, outcome))?;
    if !inquiry.found() {
        return Err(Failure::findings(format!(
            "no event with the id {event} was answered: it is in none of the files, or it could not be decoded \
             (`tollgate replay --dead-letters FILE` says why), or --repeats dropped it"
        )));
    }
    let mut second = parts()?;
    inquiry.begin(&mut second);
    replay(arguments, &mut second, |parts, outcome| inquiry.gather(parts, outcome))?;
    told(&set, inquiry, Vec::new())
}

/// The files through a core, until `take` has seen enough.
fn replay(
    arguments: &Arguments,
    parts: &mut Parts,
    mut take: impl FnMut(&mut Parts, &StepOutcome) -> Result<bool, EngineError>,
) -> Result<(), Failure> {
    const BATCH_ROWS: u32 = 8192;
    let contract = parts.contract.clone();
    let mut inputs = Inputs::open(&contract, &arguments.input, BATCH_ROWS, &parts.used)?;
    for partition in inputs.partitions() {
        parts.core.watermarks().expect(partition);
    }
    while let Some(event) = inputs.next()? {
        let outcome = inputs.step(&mut parts.core, event)?;
        if take(parts, &outcome).map_err(Failure::outside)? {
            return Ok(());
        }
    }
    let rest = parts.core.finish().map_err(Failure::outside)?;
    take(parts, &rest).map_err(Failure::outside)?;
    Ok(())
}

fn told(set: &RuleSet, inquiry: Inquiry, notes: Vec<String>) -> Result<Told, Failure> {
    let (Some(rule), Some(explanation)) = (set.running().next(), inquiry.answer()) else {
        return Err(Failure::findings("the event was not found"));
    };
    Ok(Told {
        rule: rule.header.id.clone(),
        title: rule.header.title.clone(),
        version: rule.version.clone(),
        status: rule.header.status.name(),
        explanation,
        notes,
        reproduced: None,
        differs: Vec::new(),
    })
}

fn load(arguments: &Arguments) -> Result<Settings, Failure> {
    let loaded = Settings::load(&arguments.config, Purpose::Run).map_err(|findings| {
        eprint!("{}", render_all(&findings, terminal::colour_of_errors()));
        Failure::usage(format!("{} can't be used", arguments.config.display()))
    })?;
    Ok(loaded.settings)
}

fn of_alert(arguments: &Arguments, id: &str) -> Result<Told, Failure> {
    let settings = load(arguments)?;
    let alert = search::alert(&settings, id, arguments.since.as_deref())?;
    let mut told = of_job(
        &settings,
        (arguments.rules.as_deref(), alert.rule.as_str()),
        (alert.source.clone(), Some(alert.event_time)),
        search::sent(&settings, &alert.rule)?,
    )?;
    if told.version != alert.version {
        told.notes.push(format!(
            "the alert is of version {} of the rule, and the folder holds {}: this is what the rule of today makes \
             of it; --rules FOLDER takes the rules as they were",
            alert.version, told.version
        ));
    }
    if told.version == alert.version {
        let again = told.explanation.alerts.iter().find(|own| own.alert_id == alert.id);
        told.differs = again.map(|own| compare::differing(&alert.value, &own.value)).unwrap_or_default();
        told.reproduced = Some(again.is_some() && told.differs.iter().all(|key| compare::descriptive(key)));
    }
    Ok(told)
}

fn of_record(arguments: &Arguments, at: &str) -> Result<Told, Failure> {
    let settings = load(arguments)?;
    let mut parts = at.rsplitn(3, '/');
    let (offset, partition, topic) = (parts.next(), parts.next(), parts.next());
    let numbers = (partition.and_then(|text| text.parse().ok()), offset.and_then(|text| text.parse().ok()));
    let (Some(topic), (Some(partition), Some(offset))) = (topic, numbers) else {
        return Err(Failure::usage(format!("--at {at} is not of the form TOPIC/PARTITION/OFFSET")));
    };
    let record =
        Coordinates { partition: Partition { topic: topic.into(), partition }, offset: Offset(offset) };
    let rule = arguments.rule.as_deref().unwrap_or_default();
    of_job(&settings, (arguments.rules.as_deref(), rule), (record, None), search::sent(&settings, rule)?)
}

/// A record of a job, read again with all that the rule's answer rests on.
fn of_job(
    settings: &Settings,
    (folder, rule): (Option<&Path>, &str),
    (record, event_time): (Coordinates, Option<i64>),
    sent: HashSet<String>,
) -> Result<Told, Failure> {
    let set = rule_alone(folder.unwrap_or(&settings.job.rules), None, answer_order(settings), rule)?;
    let reading = reading::reading(settings, &set)?;
    if !reading.consumer.topics.contains_key(&*record.partition.topic) {
        return Err(Failure::usage(format!("{} is no topic of this job", record.partition.topic)));
    }
    let parts = || service::parts(settings, &set, &reading.alerts).map_err(|error| job_failure(&error));
    let retrace = reading.retrace();
    let known = retrace.times_of(&mut parts()?, &record).map_err(|error| job_failure(&error))?;
    let timestamp = known.map(|(timestamp, _)| timestamp);
    let Some(event_time) = event_time.or(known.and_then(|(_, event_time)| event_time)) else {
        return Err(Failure::findings(format!(
            "{record} is not in its topic, or it can't be decoded (`tollgate dead-letters ls`)"
        )));
    };
    let record = (&record, timestamp, event_time);
    let mut first = parts()?;
    let mut inquiry = Inquiry::new(&first, Target::Record(record.0.clone()), Some(sent));
    inquiry.begin(&mut first);
    let seen = retrace
        .run(&mut first, record, |parts, outcome| inquiry.look(parts, outcome))
        .map_err(|error| job_failure(&error))?;
    if !inquiry.found() {
        return Err(Failure::findings(format!(
            "{} was read again and not answered: it is a repeat of an earlier event id, or neither the history \
             nor the topic holds it",
            record.0
        )));
    }
    let mut second = parts()?;
    inquiry.begin(&mut second);
    retrace
        .run(&mut second, record, |parts, outcome| inquiry.gather(parts, outcome))
        .map_err(|error| job_failure(&error))?;
    told(&set, inquiry, notes(&set, &seen))
}

fn notes(set: &RuleSet, seen: &Retraced) -> Vec<String> {
    let mut notes = Vec::new();
    if !seen.incomplete.is_empty() {
        let names: Vec<String> = seen.incomplete.iter().map(ToString::to_string).collect();
        notes.push(format!(
            "neither the history nor the topic reaches back as far as the rule's windows in {}: their answers may \
             lack events",
            names.join(", ")
        ));
    }
    let on_arrival = set.in_order.rules.is_empty();
    if seen.interleaved && on_arrival {
        notes.push(
            "some rows came from several partitions of topics: in which order the job met them is known only \
             within each partition"
                .to_owned(),
        );
    }
    notes
}
