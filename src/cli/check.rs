//! `check`: compiles rules and prints every finding; with `--online` also what the brokers lack.

mod online;
mod reach;

use std::io::Write;
use std::path::PathBuf;

use serde_json::json;

use super::failure::{Exit, Failure};
use super::job::open_sound_rules;
use super::service::{answer_order, unbound};
use super::terminal::{self, Format};
use crate::diagnostic::{Diagnostic, Severity, render_all};
use crate::rules::{AnswerOrder, Emit, RuleFiles, RuleSet};
use crate::settings::{Purpose, Settings};

/// Compile rules and print every finding, each with its file, line and column.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  tollgate check                        the folder rules/
  tollgate check rules/velocity.sql     one rule, with the contract of its folder
  tollgate check rules --format json    for an editor or a pipeline
  tollgate check --online --config tollgate.toml   the job's topics and brokers too, before it is deployed

Ends with 1 if there is any error.")]
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
    /// Shape of what is printed.
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
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
    say(arguments.format, &findings, set.running().count() + set.resting.len())
}

fn check_rules(arguments: &Arguments) -> Result<Exit, Failure> {
    let files = RuleFiles::open(&arguments.path, arguments.schema.as_deref()).map_err(Failure::usage)?;
    let compiled = RuleSet::compile(files, AnswerOrder::Default(Emit::OnArrival));
    let (findings, rules) = match &compiled {
        Ok(set) => (&set.diagnostics, set.running().count() + set.resting.len()),
        Err(findings) => (findings, 0),
    };
    say(arguments.format, findings, rules)
}

fn say(format: Format, findings: &[Diagnostic], rules: usize) -> Result<Exit, Failure> {
    let errors = findings.iter().filter(|finding| finding.severity == Severity::Error).count();
    match format {
        Format::Json => print_json(findings, rules)?,
        Format::Table => {
            eprint!("{}", render_all(findings, terminal::colour_of_errors()));
            eprintln!("{rules} sound rules, {errors} errors, {} warnings", findings.len() - errors);
        }
    }
    Ok(if errors > 0 { Exit::Findings } else { Exit::Fine })
}

fn print_json(findings: &[Diagnostic], rules: usize) -> Result<(), Failure> {
    let document = json!({"sound_rules": rules, "findings": findings});
    writeln!(std::io::stdout(), "{document:#}").map_err(Failure::outside)
}
