//! `test`: the cases beside each rule, through the real engine, every way that must not matter.

mod junit;
mod skeleton;
mod table;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::failure::{Exit, Failure};
use super::job::order_of;
use super::terminal::{self, Format};
use crate::diagnostic::{Diagnostic, SourceText, render_all};
use crate::event::{Clock, SystemClock};
use crate::pipeline::StreamPolicy;
use crate::rule_test::{self, Case, Verdict};
use crate::rules::{AnswerOrder, RuleFiles, RuleSet};

/// Run the cases of rules: what stands in <rule>.test.toml beside each rule file.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  tollgate test                                   every case below rules/
  tollgate test rules/velocity                    those of a part of it, with the contract of the whole
  tollgate test rules/velocity/burst.sql          the cases of one rule
  tollgate test --filter edge --junit tests.xml   cases whose name holds a word, and a report for a CI server
  tollgate test --new rules/velocity.sql          write a file to start from
  tollgate test --new rules/velocity.sql --from day.ndjson   the same, with a case cut out of real events

Each case runs in one batch, event by event, with a restart after each event, and with two shards: the answers must be
the same. Ends with 1 if a case fails.")]
pub(super) struct Arguments {
    /// A rules folder or a part of one, a rule file, or a .test.toml.
    #[arg(default_value = "rules")]
    path: PathBuf,
    /// The event contract, if it is not schema.sql in the rules folder.
    #[arg(long, value_name = "FILE")]
    schema: Option<PathBuf>,
    /// Only cases whose name or rule holds this text.
    #[arg(long, value_name = "TEXT")]
    filter: Option<String>,
    /// When rows are answered; overrides the rules' own @emit.
    #[arg(long, value_enum)]
    emit: Option<super::job::EmitArgument>,
    /// Also write a JUnit report to this file.
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
    /// Write a test file for a rule file that has none, and stop.
    #[arg(long, value_name = "RULE", conflicts_with_all = ["filter", "junit"])]
    new: Option<PathBuf>,
    /// Events, .ndjson, .csv or .parquet, as FILE or STREAM=FILE, out of which --new cuts a case.
    #[arg(long, value_name = "FILE", requires = "new")]
    from: Vec<String>,
    /// The event that must hit in the case that is cut out; the first that hits where it is left out.
    #[arg(long, value_name = "ID", requires = "from")]
    event: Option<String>,
    /// Shape of what is printed.
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
}

/// What came of one rule's file.
struct Report {
    file: String,
    rule: String,
    /// Findings that keep its cases from being run.
    findings: Vec<Diagnostic>,
    cases: Vec<CaseReport>,
}

struct CaseReport {
    source: Arc<SourceText>,
    case: Case,
    /// What came of it, or why it can't be run.
    result: Result<Verdict, String>,
    took: Duration,
}

impl CaseReport {
    fn passed(&self) -> bool {
        self.result.as_ref().is_ok_and(Verdict::passed)
    }
}

pub(super) fn run(arguments: &Arguments) -> Result<Exit, Failure> {
    if let Some(rule) = &arguments.new {
        return skeleton::write(rule, arguments);
    }
    let found = test_files(&arguments.path, arguments.schema.as_deref())?;
    let clock = SystemClock::start();
    let mut reports = Vec::new();
    for file in &found.tests {
        reports.push(test_file(file, arguments, &clock)?);
    }
    if let Some(path) = &arguments.junit {
        junit::write(path, &reports)?;
    }
    match arguments.format {
        Format::Table => table::print(&reports, &found.untested, &arguments.path)?,
        Format::Json => print_json(&reports, &found.untested)?,
    }
    if arguments.filter.is_some()
        && reports.iter().all(|report| report.cases.is_empty() && report.findings.is_empty())
    {
        return Err(Failure::usage(format!(
            "no case holds `{}`",
            arguments.filter.as_deref().unwrap_or_default()
        )));
    }
    let failed =
        |report: &Report| !report.findings.is_empty() || report.cases.iter().any(|case| !case.passed());
    Ok(if reports.iter().any(failed) { Exit::Findings } else { Exit::Fine })
}

/// Test files below a path, and rule files without one.
struct Found {
    tests: Vec<PathBuf>,
    untested: Vec<PathBuf>,
}

fn test_files(path: &Path, schema: Option<&Path>) -> Result<Found, Failure> {
    let is_test = |path: &Path| path.to_string_lossy().ends_with(".test.toml");
    if path.is_file() {
        let test = if is_test(path) { path.to_owned() } else { test_of(path) };
        if !test.is_file() {
            return Err(Failure::usage(format!(
                "{} has no test file: write one with `tollgate test --new {}`",
                path.display(),
                path.display()
            )));
        }
        return Ok(Found { tests: vec![test], untested: Vec::new() });
    }
    let files = RuleFiles::open_part(path, schema).map_err(Failure::usage)?;
    let rules: Vec<PathBuf> = files.rules.iter().map(|source| PathBuf::from(&source.file)).collect();
    let untested = rules.into_iter().filter(|rule| !test_of(rule).is_file()).collect();
    let tests = files.tests.into_iter().filter(|file| is_test(file)).collect();
    Ok(Found { tests, untested })
}

/// `<rule>.test.toml` beside `<rule>.sql`.
fn test_of(rule: &Path) -> PathBuf {
    rule.with_extension("test.toml")
}

fn test_file(file: &Path, arguments: &Arguments, clock: &SystemClock) -> Result<Report, Failure> {
    let text = std::fs::read_to_string(file)
        .map_err(|cause| Failure::outside(format!("{} can't be read: {cause}", file.display())))?;
    let source = SourceText::new(file.display(), text);
    let rule = PathBuf::from(file.to_string_lossy().replace(".test.toml", ".sql"));
    let mut report = Report {
        file: file.display().to_string(),
        rule: String::new(),
        findings: Vec::new(),
        cases: Vec::new(),
    };
    if !rule.is_file() {
        let message = format!("there is no rule file {} beside this test file", rule.display());
        report.findings.push(Diagnostic::error(&source, 0..0, message).with_help("give both the same name"));
        return Ok(report);
    }
    let set = match compile(&rule, arguments, &[]) {
        Ok(set) => set,
        Err(findings) => return Ok(Report { findings, ..report }),
    };
    let Some(own) = set.running().next() else { return Ok(report) };
    report.rule.clone_from(&own.header.id);
    let cases = match rule_test::read(&source, &set.catalog, own) {
        Ok(cases) => cases,
        Err(findings) => return Ok(Report { findings, ..report }),
    };
    let wanted = |case: &Case| {
        arguments.filter.as_ref().is_none_or(|text| case.name.contains(text) || own.header.id.contains(text))
    };
    for case in cases.into_iter().filter(wanted) {
        let began = clock.elapsed();
        let result = match case.lists.is_empty() {
            true => rule_test::run(&set, &case, StreamPolicy::default()).map_err(|error| error.to_string()),
            false => compile(&rule, arguments, &case.lists)
                .map_err(|findings| render_all(&findings, crate::diagnostic::Colour::Off))
                .and_then(|set| {
                    rule_test::run(&set, &case, StreamPolicy::default()).map_err(|error| error.to_string())
                }),
        };
        let took = clock.elapsed() - began;
        report.cases.push(CaseReport { source: Arc::clone(&source), case, result, took });
    }
    Ok(report)
}

/// The rule of a file, whatever its status, over lists with other rows.
fn compile(
    rule: &Path,
    arguments: &Arguments,
    lists: &[crate::sql::List],
) -> Result<RuleSet, Vec<Diagnostic>> {
    let whole =
        |error: crate::rules::FolderError| vec![Diagnostic::file_error(rule.display(), error.to_string())];
    let mut files = RuleFiles::open(rule, arguments.schema.as_deref()).map_err(whole)?;
    for list in lists {
        files.catalog.lists.retain(|other| other.name != list.name);
        files.catalog.lists.push(list.clone());
    }
    let order: AnswerOrder = order_of(arguments.emit);
    let set = RuleSet::compile_chosen(files, order, |_| true)?;
    if set.has_errors() || set.running().next().is_none() {
        return Err(set.diagnostics);
    }
    Ok(set)
}

fn print_json(reports: &[Report], untested: &[PathBuf]) -> Result<(), Failure> {
    use std::io::Write;
    let case = |case: &CaseReport| {
        let (mismatches, astray, fault): (Vec<Value>, Vec<Value>, Option<&String>) = match &case.result {
            Ok(verdict) => (
                verdict
                    .mismatches
                    .iter()
                    .map(|found| json!({"event": found.moment + 1, "message": found.message}))
                    .collect(),
                verdict
                    .astray
                    .iter()
                    .map(|(way, event, _)| json!({"way": way.to_string(), "event": event + 1}))
                    .collect(),
                None,
            ),
            Err(fault) => (Vec::new(), Vec::new(), Some(fault)),
        };
        json!({"name": case.case.name, "passed": case.passed(), "events": case.case.moments.len(), "mismatches": mismatches,
            "ways_that_differ": astray, "fault": fault, "seconds": case.took.as_secs_f64()})
    };
    let rules: Vec<Value> = reports
        .iter()
        .map(|report| {
            json!({"rule": report.rule, "file": report.file, "findings": report.findings,
                "cases": report.cases.iter().map(case).collect::<Vec<_>>()})
        })
        .collect();
    let untested: Vec<String> = untested.iter().map(|path| path.display().to_string()).collect();
    let document = json!({"rules": rules, "without_test_file": untested});
    writeln!(std::io::stdout(), "{document:#}").map_err(Failure::outside)
}

/// Draws findings to standard error.
fn draw(findings: &[Diagnostic]) {
    eprint!("{}", render_all(findings, terminal::colour_of_errors()));
}
