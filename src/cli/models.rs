//! `models`: what `predict` can call, who calls it, and whether it is watched.

use std::path::{Path, PathBuf};

use arrow::array::Float64Array;
use comfy_table::{Table, presets};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};

use super::failure::{Exit, Failure};
use super::terminal::{self, Format, grouped};
use crate::diagnostic::render_all;
use crate::event::{Clock, SystemClock};
use crate::rules::{AnswerOrder, Emit, RuleFiles, RuleSet};
use crate::score::Model;
use crate::sql::{RuleGraph, model_calls, query_expressions};

/// List the models of a rules folder: formats, versions, features, and the rules that call them.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  tollgate models --rules rules
  tollgate models --rules rules --measure            how long a prediction takes here

A model is a file in models/ of the rules folder; a baseline beside it (NAME.baseline, from `tollgate backtest
--baseline`) is the training period that its inputs and scores are compared with while the job runs.")]
pub(super) struct Arguments {
    /// The rules folder.
    #[arg(long, value_name = "DIR", default_value = "rules")]
    rules: PathBuf,
    /// The event contract, if it is not schema.sql in the rules folder.
    #[arg(long, value_name = "FILE")]
    schema: Option<PathBuf>,
    /// Time each model's predictions on this machine: one thread, batches of 1,024 rows.
    #[arg(long)]
    measure: bool,
    /// Rows to time it with: float32 values row by row, as NumPy's `tofile` writes them; random ones otherwise.
    #[arg(long, value_name = "FILE", requires = "measure")]
    rows: Option<PathBuf>,
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
    eprint!("{}", render_all(&set.model_lints(), terminal::colour_of_errors()));
    let told = |model: &std::sync::Arc<Model>| -> Result<Value, Failure> {
        let mut told = told(model, &set);
        if arguments.measure {
            let (nanos, mean) = measured(model, arguments.rows.as_deref())?;
            told["ns_a_row"] = json!(nanos);
            told["mean_prediction"] = json!(mean);
        }
        Ok(told)
    };
    let found: Vec<Value> = set.catalog.known_models().map(told).collect::<Result<_, _>>()?;
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
        "early_stopping": model.early_stop.map(|stop| json!({"rounds": stop.rounds, "chosen": stop.chosen})),
        "baseline_rows": model.baseline().map(|baseline| baseline.rows),
    })
}

/// Nanoseconds a row, the quickest of five passes, and the mean of the first value of the predictions.
fn measured(model: &Model, rows: Option<&Path>) -> Result<(f64, f64), Failure> {
    const PASSES: usize = 5;
    let batches = batches(model, rows)?;
    let rows: usize = batches.iter().map(|batch| batch[0].len()).sum();
    if rows == 0 {
        let message = format!("there is no row of {} features to time model {}", model.features, model.name);
        return Err(Failure::usage(message));
    }
    let clock = SystemClock::start();
    let (mut quickest, mut sum) = (f64::INFINITY, 0.0);
    for _ in 0..PASSES {
        let began = clock.elapsed();
        let predicted = |batch: &Vec<Float64Array>| -> Result<f64, Failure> {
            let values = model.predict(&batch.iter().collect::<Vec<_>>());
            let failed = |cause| Failure::usage(format!("model {} failed: {cause}", model.name));
            Ok(values.map_err(failed)?.iter().step_by(model.classes).sum())
        };
        sum = batches.iter().map(predicted).sum::<Result<f64, Failure>>()?;
        quickest = quickest.min(clock.elapsed().saturating_sub(began).as_secs_f64());
    }
    #[expect(clippy::cast_precision_loss, reason = "a measurement")]
    let rows = rows as f64;
    Ok((quickest * 1e9 / rows, sum / rows))
}

/// Rows of a file, or random ones, as batches of columns.
fn batches(model: &Model, rows: Option<&Path>) -> Result<Vec<Vec<Float64Array>>, Failure> {
    const ROWS: usize = 102_400;
    const BATCH: usize = 1024;
    let values: Vec<f32> = match rows {
        Some(file) => {
            let bytes = std::fs::read(file)
                .map_err(|cause| Failure::usage(format!("{} can't be read: {cause}", file.display())))?;
            let value = |bytes: &[u8]| f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
            bytes.chunks_exact(4).map(value).collect()
        }
        None => {
            let mut random = ChaCha8Rng::seed_from_u64(1);
            (0..ROWS * model.features).map(|_| random.random()).collect()
        }
    };
    let column = |batch: &[f32], feature: usize| -> Float64Array {
        let values = batch.iter().skip(feature).step_by(model.features);
        values.map(|value| (!value.is_nan()).then_some(f64::from(*value))).collect()
    };
    let whole = values.chunks(BATCH * model.features).filter(|batch| batch.len() % model.features == 0);
    Ok(whole.map(|batch| (0..model.features).map(|feature| column(batch, feature)).collect()).collect())
}

fn calls(graph: &RuleGraph, query: usize, model: &Model) -> bool {
    query_expressions(graph, query)
        .iter()
        .any(|(_, expression)| model_calls(expression).iter().any(|call| call.model.name == model.name))
}

fn table(found: &[Value]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::UTF8_FULL_CONDENSED);
    let mut header =
        vec!["model", "version", "format", "objective", "trees", "features", "classes", "rules", "baseline"];
    let timed = found.iter().any(|model| model["ns_a_row"].is_number());
    header.extend(timed.then_some("ns a row"));
    table.set_header(header);
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
        let time = model["ns_a_row"].as_f64().map(|nanos| format!("{nanos:.0}"));
        table.add_row(columns.into_iter().chain([baseline]).chain(time));
    }
    table
}
