//! `check`: compiles rules and prints every finding and lint; with `--online` also what the brokers lack.

mod online;
mod reach;

use std::io::Write;
use std::path::PathBuf;

use serde_json::json;

use super::failure::{Exit, Failure};
use super::job::open_sound_rules;
use super::service::{answer_order, unbound};
use super::terminal::{self, Format};
use crate::diagnostic::{Diagnostic, Severity, choices, render_all, suggest};
use crate::rules::{AnswerOrder, Emit, LINTS, Lock, RuleFiles, RuleSet};
use crate::settings::{Purpose, Settings};

/// Compile rules and print every finding, each with its file, line and column.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  tollgate check                        the folder rules/
  tollgate check rules/velocity.sql     one rule, with the contract of its folder
  tollgate check rules --format json    for an editor or a pipeline
  tollgate check --write-lock           accept the rules as they are: write rules/rules.lock
  tollgate check --locked               in CI: an error where a rule is not what the lock says
  tollgate check rules --fail-on warnings           for a pipeline that takes no warning
  tollgate check rules --fail-on never-true,no-test nor these
  tollgate check --online --config tollgate.toml   the job's topics and brokers too, before it is deployed

Ends with 1 if there is any error, or a warning of a kind that --fail-on names. Kinds: no-test, implicit-frame,
never-true, always-true, redundant-rule, unguarded-division, text-with-number, early-stopping.")]
pub(super) struct Arguments {
    /// A rules folder, or one rule file.
    #[arg(default_value = "rules", conflicts_with = "online")]
    path: PathBuf,
    /// The event contract, if it is not schema.sql in the rules folder.
    #[arg(long, value_name = "FILE")]
    schema: Option<PathBuf>,
    /// Also ask the brokers of the settings: topics, partitions, retention, limits. Changes nothing.
    #[arg(long)]
    online: bool,
    /// The settings file, for --online; it names the rules.
    #[arg(long, value_name = "FILE", default_value = "tollgate.toml", requires = "online")]
    config: PathBuf,
    /// Write rules.lock: the version of each rule as it is now.
    #[arg(long, conflicts_with_all = ["online", "locked"])]
    write_lock: bool,
    /// Let rules that are not as rules.lock says, or a lock that is not there, be an error.
    #[arg(long, conflicts_with = "online")]
    locked: bool,
    /// Warnings that count as errors: kinds, separated by commas, or `warnings` for all.
    #[arg(long, value_name = "KINDS", value_delimiter = ',', value_parser = lint_kind)]
    fail_on: Vec<String>,
    /// Shape of what is printed.
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
}

/// A kind of lint, or all warnings.
pub(super) fn lint_kind(text: &str) -> Result<String, String> {
    let kinds = || LINTS.iter().map(|(kind, _)| *kind).chain(["warnings"]);
    if kinds().any(|kind| kind == text) {
        return Ok(text.to_owned());
    }
    let near = suggest(text, kinds()).map(|near| format!("; did you mean {near}?")).unwrap_or_default();
    Err(format!("no warning is of the kind {text}: there are {}{near}", choices(kinds())))
}

/// Whether a finding is one that these kinds name.
pub(super) fn is_of(finding: &Diagnostic, kinds: &[String]) -> bool {
    let named = |kind: &String| kind == "warnings" || finding.code == Some(kind.as_str());
    finding.severity == Severity::Warning && kinds.iter().any(named)
}

pub(super) fn run(arguments: &Arguments) -> Result<Exit, Failure> {
    if arguments.online { check_online(arguments) } else { check_rules(arguments) }
}

/// The rules and settings of a job, and its brokers.
fn check_online(arguments: &Arguments) -> Result<Exit, Failure> {
    let loaded = Settings::load(&arguments.config, Purpose::Run).map_err(|findings| {
        eprint!("{}", render_all(&findings, terminal::colour_of_errors()));
        Failure::usage(format!("{} can't be used", arguments.config.display()))
    })?;
    let settings = &loaded.settings;
    let set = open_sound_rules(&settings.job.rules, arguments.schema.as_deref(), answer_order(settings))?;
    let mut findings = loaded.warnings.clone();
    findings.extend(unbound(&loaded, &set));
    findings.extend(online::findings(settings, &set)?);
    findings.extend(set.lints());
    say(arguments, &findings, set.running().count() + set.resting.len())
}

fn check_rules(arguments: &Arguments) -> Result<Exit, Failure> {
    let files = RuleFiles::open(&arguments.path, arguments.schema.as_deref()).map_err(Failure::usage)?;
    let compiled = RuleSet::compile(files, AnswerOrder::Default(Emit::OnArrival));
    let (findings, rules) = match &compiled {
        Ok(set) => {
            let mut findings = set.diagnostics.clone();
            findings.extend(lock_findings(arguments, set)?);
            findings.extend(set.lints());
            (findings, set.running().count() + set.resting.len())
        }
        Err(findings) => (findings.clone(), 0),
    };
    say(arguments, &findings, rules)
}

/// What the lock of a folder says of its rules; a single rule file has none.
fn lock_findings(arguments: &Arguments, set: &RuleSet) -> Result<Vec<Diagnostic>, Failure> {
    let folder = &arguments.path;
    if !folder.is_dir() {
        let asked = arguments.write_lock || arguments.locked;
        return if asked {
            Err(Failure::usage("the lock belongs to a rules folder: name the folder"))
        } else {
            Ok(Vec::new())
        };
    }
    let path = Lock::path(folder);
    if arguments.write_lock {
        if set.has_errors() {
            return Ok(Vec::new());
        }
        std::fs::write(&path, Lock::text_of(set))
            .map_err(|cause| Failure::outside(format!("{} can't be written: {cause}", path.display())))?;
        eprintln!("wrote {}", path.display());
        return Ok(Vec::new());
    }
    let severity = if arguments.locked { Severity::Error } else { Severity::Warning };
    Ok(match Lock::open(folder) {
        Ok(Some(lock)) => lock.compare(set, severity),
        Ok(None) if arguments.locked => {
            let finding = Diagnostic::file_error(path.display(), "there is no lock");
            vec![finding.with_help("write it with `tollgate check --write-lock`").with_code("lock")]
        }
        Ok(None) => Vec::new(),
        Err(finding) => vec![finding],
    })
}

fn say(arguments: &Arguments, findings: &[Diagnostic], rules: usize) -> Result<Exit, Failure> {
    let errors = findings.iter().filter(|finding| finding.severity == Severity::Error).count();
    match arguments.format {
        Format::Json => print_json(findings, rules)?,
        Format::Table => {
            eprint!("{}", render_all(findings, terminal::colour_of_errors()));
            eprintln!("{rules} sound rules, {errors} errors, {} warnings", findings.len() - errors);
        }
    }
    let refused = findings.iter().any(|finding| is_of(finding, &arguments.fail_on));
    Ok(if errors > 0 || refused { Exit::Findings } else { Exit::Fine })
}

fn print_json(findings: &[Diagnostic], rules: usize) -> Result<(), Failure> {
    let document = json!({"sound_rules": rules, "findings": findings});
    writeln!(std::io::stdout(), "{document:#}").map_err(Failure::outside)
}
