//! `check`: compiles rules and prints every finding.

use std::io::Write;
use std::path::PathBuf;

use serde_json::json;

use super::failure::{Exit, Failure};
use super::terminal::{self, Format};
use crate::diagnostic::{Diagnostic, render_all};
use crate::rules::{AnswerOrder, Emit, RuleFiles, RuleSet};

/// Compile rules and print every finding, each with its file, line and column.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  tollgate check                        the folder rules/
  tollgate check rules/velocity.sql     one rule, with the contract of its folder
  tollgate check rules --format json    for an editor or a pipeline

Ends with 1 if there is any error.")]
pub(super) struct Arguments {
    /// A rules folder, or one rule file.
    #[arg(default_value = "rules")]
    path: PathBuf,
    /// The event contract, if it is not schema.sql in the rules folder.
    #[arg(long, value_name = "FILE")]
    schema: Option<PathBuf>,
    /// Shape of what is printed.
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
}

pub(super) fn run(arguments: &Arguments) -> Result<Exit, Failure> {
    let files = RuleFiles::open(&arguments.path, arguments.schema.as_deref()).map_err(Failure::usage)?;
    let compiled = RuleSet::compile(files, AnswerOrder::Default(Emit::OnArrival));
    let (findings, rules) = match &compiled {
        Ok(set) => (&set.diagnostics, set.running().count() + set.resting.len()),
        Err(findings) => (findings, 0),
    };
    let errors =
        findings.iter().filter(|finding| finding.severity == crate::diagnostic::Severity::Error).count();
    match arguments.format {
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
