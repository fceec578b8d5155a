//! `replay`: files through the real engine, as fast as it goes.

pub(super) mod input;
mod output;

use std::path::PathBuf;
use std::time::Duration;

use serde_json::json;

use super::failure::{Exit, Failure};
use super::job::{EmitArgument, open_sound_rules, order_of, parts_failure};
use super::terminal::{Format, grouped};
use crate::event::{Clock, Span, SystemClock};
use crate::pipeline::{CoreSettings, Parts, StreamPolicy};
use crate::rules::RuleSet;

use input::Inputs;
use output::Output;

/// Run a file of events through the rules and write one row a hit.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  tollgate replay --rules rules --input payments.ndjson --output hits.ndjson
  tollgate replay --rules rules/velocity.sql --input day1.parquet --input day2.parquet --output -
  tollgate replay --rules features.sql --input tx.parquet --output features.parquet --emit in_order

A rule without QUALIFY or WHERE gives every row: that is how features are extracted.
Hits are NDJSON {\"rule\": id, \"row\": {…}}, or the columns of one rule as Parquet or CSV.
With several streams write --input STREAM=FILE; files are read side by side in order of event time.")]
pub(super) struct Arguments {
    /// A rules folder, or one rule file.
    #[arg(long, value_name = "PATH")]
    rules: PathBuf,
    /// The event contract, if it is not schema.sql in the rules folder.
    #[arg(long, value_name = "FILE")]
    schema: Option<PathBuf>,
    /// Events: .ndjson, .csv or .parquet, as FILE or STREAM=FILE; may be repeated.
    #[arg(long, required = true, value_name = "FILE", num_args = 1..)]
    input: Vec<String>,
    /// Where hits go: a .ndjson, .csv or .parquet file, or - for standard output.
    #[arg(long, value_name = "FILE", default_value = "-")]
    output: String,
    /// Where records that can't be decoded go, as NDJSON; they are counted in any case.
    #[arg(long, value_name = "FILE")]
    dead_letters: Option<PathBuf>,
    /// When rows are answered; overrides the rules' own @emit.
    #[arg(long, value_enum)]
    emit: Option<EmitArgument>,
    /// How far out of order a row may come.
    #[arg(long, default_value = "5s")]
    lateness: Span,
    /// For how long of event time the repeat of an event id is dropped; 0s keeps repeats.
    #[arg(long, default_value = "1h")]
    repeats: Span,
    /// Rows a batch.
    #[arg(long, default_value_t = 8192, value_parser = clap::value_parser!(u32).range(1..=1_048_576))]
    batch_rows: u32,
    /// Threads; 1 does everything on the main thread.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=256))]
    threads: u16,
    /// Shape of the summary on standard error.
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
}

pub(super) fn run(arguments: &Arguments) -> Result<Exit, Failure> {
    let clock = SystemClock::start();
    let set = open_sound_rules(&arguments.rules, arguments.schema.as_deref(), order_of(arguments.emit))?;
    if set.running().next().is_none() {
        return Err(Failure::usage(
            "no rule runs: each is a draft or off; name the file of one to run it all the same",
        ));
    }
    let threads = usize::from(arguments.threads);
    rayon::ThreadPoolBuilder::new().num_threads(threads).build_global().map_err(Failure::outside)?;
    let contract = set.catalog.contract.clone();
    let policy = StreamPolicy { lateness: arguments.lateness, repeats: arguments.repeats };
    let mut settings = CoreSettings::uniform(&contract, policy);
    settings.windows.shards = threads;
    let made = Parts::of_files(&set, settings);
    let mut parts = made.map_err(parts_failure)?;
    let mut inputs = Inputs::open(&contract, &arguments.input, arguments.batch_rows, &parts.used)?;
    let mut output = Output::create(&set, &arguments.output, arguments.dead_letters.as_deref())?;
    let started = clock.elapsed();
    replay(&mut inputs, &mut parts, &mut output)?;
    let hits = output.finish()?;
    summarise(arguments.format, &parts, &set, &hits, clock.elapsed() - started);
    Ok(Exit::Fine)
}

/// Every batch of the inputs through the core to the output.
fn replay(inputs: &mut Inputs, parts: &mut Parts, output: &mut Output) -> Result<(), Failure> {
    let bar = inputs.progress();
    for partition in inputs.partitions() {
        parts.core.watermarks().expect(partition);
    }
    while let Some(event) = inputs.next()? {
        output.write(&inputs.step(&mut parts.core, event)?)?;
        bar.set_position(inputs.position());
    }
    let rest = parts.core.finish().map_err(Failure::outside)?;
    output.write(&rest)?;
    bar.finish_and_clear();
    Ok(())
}

fn summarise(format: Format, parts: &Parts, set: &RuleSet, hits: &[(String, u64)], took: Duration) {
    let counts = parts.core.counts();
    let seconds = took.as_secs_f64();
    #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
    let rate = counts.rows_in as f64 / seconds.max(1e-9);
    if format == Format::Json {
        let hits: serde_json::Map<String, serde_json::Value> =
            hits.iter().map(|(rule, count)| (rule.clone(), json!(count))).collect();
        eprintln!(
            "{}",
            json!({
                "counts": *counts, "balanced": counts.balanced(), "hits_by_rule": hits, "seconds": seconds,
                "rows_per_second": rate, "ruleset": set.version,
            })
        );
        return;
    }
    let answered = [
        ("rows", counts.rows_in),
        ("answered", counts.answered),
        ("dead letters", counts.dead_letters),
        ("repeats", counts.repeats),
        ("late", counts.late),
        ("rule errors", counts.rule_errors),
    ];
    for (what, count) in answered {
        eprintln!("{what:>14}  {}", grouped(count));
    }
    for (kind, count) in &counts.dead_letters_by_kind {
        eprintln!("{:>14}  {} {kind}", "", grouped(*count));
    }
    eprintln!("{:>14}", "hits");
    for (rule, count) in hits {
        eprintln!("{:>14}  {rule}", grouped(*count));
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a rate for people")]
    let rate = rate as u64;
    eprintln!("{:>14}  in {seconds:.2} s, {} rows a second", "", grouped(rate));
}
