//! `models`: what `predict` can call, who calls it, and whether it is watched.

use std::path::PathBuf;

use comfy_table::{Table, presets};
use serde_json::{Value, json};

use super::failure::{Exit, Failure};
use super::terminal::{self, Format, grouped};
use crate::diagnostic::render_all;
use crate::rules::{AnswerOrder, Emit, RuleFiles, RuleSet};
use crate::score::Model;
use crate::sql::{RuleGraph, model_calls, query_expressions};

/// List the models of a rules folder: formats, versions, features, and the rules that call them.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  tollgate models --rules rules

A model is a file in models/ of the rules folder; a baseline beside it (NAME.baseline, from `tollgate backtest
--baseline`) is the training period that its inputs and scores are compared with while the job runs.")]
pub(super) struct Arguments {
    /// The rules folder.
    #[arg(long, value_name = "DIR", default_value = "rules")]
    rules: PathBuf,
    /// The event contract, if it is not schema.sql in the rules folder.
    #[arg(long, value_name = "FILE")]
    schema: Option<PathBuf>,
    /// Shape of what is printed.
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
}

pub(super) fn run(arguments: &Arguments) -> Result<Exit, Failure> {
    let files = RuleFiles::open(&arguments.rules, arguments.schema.as_deref()).map_err(Failure::usage)?;
    // A rule that is off or a draft calls a model as well.
    let set = RuleSet::compile_chosen(files, AnswerOrder::Forced(Emit::OnArrival), |_| true).map_err(
        |findings| {
            eprint!("{}", render_all(&findings, terminal::colour_of_errors()));
            Failure::findings("the event contract can't be used")
        },
    )?;
    eprint!("{}", render_all(&set.diagnostics, terminal::colour_of_errors()));
    let found: Vec<Value> = set.catalog.known_models().map(|model| told(model, &set)).collect();
    match arguments.format {
        Format::Json => println!("{:#}", json!({ "models": found })),
        Format::Table if found.is_empty() => {
            println!("there are no models in {}", arguments.rules.join("models").display());
        }
        Format::Table => println!("{}", table(&found)),
    }
    Ok(if set.has_errors() { Exit::Findings } else { Exit::Fine })
}

fn told(model: &Model, set: &RuleSet) -> Value {
    let graph = &set.on_arrival.graph;
    let callers = set.on_arrival.rules.iter().enumerate().filter(|(query, _)| calls(graph, *query, model));
    json!({
        "model": model.name, "version": model.version, "format": model.format, "objective": model.objective,
        "trees": model.trees(), "features": model.features, "feature_names": model.feature_names, "classes": model.classes,
        "rules": callers.map(|(_, rule)| rule.header.id.as_str()).collect::<Vec<_>>(),
        "baseline_rows": model.baseline().map(|baseline| baseline.rows),
    })
}

fn calls(graph: &RuleGraph, query: usize, model: &Model) -> bool {
    query_expressions(graph, query)
        .iter()
        .any(|(_, expression)| model_calls(expression).iter().any(|call| call.model.name == model.name))
}

fn table(found: &[Value]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::UTF8_FULL_CONDENSED);
    table.set_header([
        "model",
        "version",
        "format",
        "objective",
        "trees",
        "features",
        "classes",
        "rules",
        "baseline",
    ]);
    for model in found {
        let text = |key: &str| match &model[key] {
            Value::String(text) => text.clone(),
            Value::Array(all) => all.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(", "),
            other => other.to_string(),
        };
        let rows = model["baseline_rows"].as_u64();
        let baseline = rows.map_or("none".to_owned(), |rows| format!("{} rows", grouped(rows)));
        let columns =
            ["model", "version", "format", "objective", "trees", "features", "classes", "rules"].map(text);
        table.add_row(columns.into_iter().chain([baseline]));
    }
    table
}
