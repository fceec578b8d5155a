//! What would make figures worth less than they look, refused or said: before the events are read where that can be.

use std::fs::{self, OpenOptions};
use std::path::Path;

use super::Arguments;
use super::prepare::{Prepared, no_rule};
use crate::backtest::{Case, EventColumns, Ruled, look_ahead};
use crate::cli::failure::{Exit, Failure};
use crate::cli::terminal::grouped;
use crate::decision::Combination;
use crate::event::{EventTime, Span};

/// Names that columns with labels go by.
const LABEL_NAMES: [&str; 4] = ["fraud", "is_fraud", "label", "tx_fraud"];

/// Endings of files that alerts are written to.
const ALERT_ENDINGS: [&str; 4] = ["ndjson", "jsonl", "json", "parquet"];

/// Refuses rules that see what they could not have seen; `folder` is named where it is not that of the report.
pub(super) fn check_rules(
    prepared: &Prepared,
    columns: &EventColumns,
    arguments: &Arguments,
    folder: Option<&Path>,
) -> Result<(), Failure> {
    let of = folder.map(|folder| format!("--against {}: ", folder.display())).unwrap_or_default();
    refuse_look_ahead(prepared, columns, &of)?;
    if arguments.labels.is_some() && columns.label.is_none() {
        warn_of_labels(prepared, columns.stream, &of);
    }
    Ok(())
}

/// Refuses what can be seen to fail before the first event.
pub(super) fn check(prepared: &Prepared, arguments: &Arguments) -> Result<(), Failure> {
    for (set, wanted) in arguments.set.iter().flat_map(|set| set.rules.iter().map(move |id| (set, id))) {
        let ids: Vec<&str> = prepared.running().collect();
        if !ids.contains(&wanted.as_str()) {
            let fault = no_rule(wanted, &ids);
            return Err(Failure::usage(format!("--set {}: of the rules that run, {fault}", set.name)));
        }
    }
    let ending = arguments.output.as_ref().and_then(|file| file.extension());
    if let Some(ending) = ending.filter(|ending| !ALERT_ENDINGS.iter().any(|known| ending == known)) {
        let ending = ending.to_string_lossy();
        return Err(Failure::usage(format!(
            "--output writes alerts to a .ndjson or .parquet file, and not to one that ends in .{ending}"
        )));
    }
    [&arguments.output, &arguments.report, &arguments.fit]
        .into_iter()
        .flatten()
        .try_for_each(|file| writable(file))
}

/// Whether a file can be written, which is left as it is.
fn writable(file: &Path) -> Result<(), Failure> {
    // A pipe or a terminal would take notice.
    if fs::metadata(file).is_ok_and(|known| !known.is_file() && !known.is_dir()) {
        return Ok(());
    }
    let new = fs::symlink_metadata(file).is_err();
    let tried = OpenOptions::new().append(true).create(true).open(file);
    let tried = if new { tried.and_then(|_| fs::remove_file(file)) } else { tried.map(drop) };
    tried.map_err(|cause| Failure::outside(format!("{} can't be written: {cause}", file.display())))
}

/// Stops where a rule reads labels before they were known: its figures would be worth nothing.
fn refuse_look_ahead(prepared: &Prepared, columns: &EventColumns, of: &str) -> Result<(), Failure> {
    let Some(label) = columns.label else { return Ok(()) };
    let delay = Span(columns.label_delay);
    let graphs = [&prepared.set.on_arrival.graph, &prepared.set.in_order.graph];
    let found = graphs.into_iter().flat_map(|graph| look_ahead(graph, (columns.stream, label), delay));
    let lines: Vec<String> =
        found.map(|early| format!("{} reads labels that are {} old", early.rule, early.youngest)).collect();
    if lines.is_empty() {
        return Ok(());
    }
    let message = format!(
        "{of}{}; a label is known {delay} after its event (--label-delay), and never to the event itself: end the \
         window that long before the row, such as AND INTERVAL '7 days' PRECEDING",
        lines.join("; ")
    );
    Err(Failure { exit: Exit::Refused, message })
}

/// Warns of rules that read a column which by its name holds labels, where nobody said whether it does.
fn warn_of_labels(prepared: &Prepared, stream: usize, of: &str) {
    let own = &prepared.set.catalog.contract.streams[stream];
    let named = own.schema.fields().iter().enumerate();
    for (column, field) in
        named.filter(|(_, field)| LABEL_NAMES.contains(&field.name().to_lowercase().as_str()))
    {
        for graph in [&prepared.set.on_arrival.graph, &prepared.set.in_order.graph] {
            // Of any age.
            for early in look_ahead(graph, (stream, column), Span(i64::MAX)) {
                eprintln!(
                    "warning: {of}{} reads {} of {}: if it holds labels, --label-column {} refuses what reads them too early \
                     (--label-delay)",
                    early.rule,
                    field.name(),
                    own.name,
                    field.name()
                );
            }
        }
    }
}

/// What is certain of rules and labels, for a reader of the report; `by_id`: labels came by the id of their event.
pub(super) fn no_look_ahead(arguments: &Arguments, by_id: bool) -> String {
    let delay = arguments.label_delay;
    let filled = match &arguments.config {
        Some(config) => format!("Windows are filled from what the history of {} holds.", config.display()),
        None => "Windows are filled from the first event of the input.".to_owned(),
    };
    let known = match (by_id, &arguments.labels, &arguments.label_column) {
        (true, Some(_), _) => "A label counts as known when its file says.".to_owned(),
        (true, None, _) => "A label counts as known when its row in the history says.".to_owned(),
        (false, _, Some(_)) => format!("A label counts as known {delay} after its event."),
        (false, _, None) => "There are no labels.".to_owned(),
    };
    let guarded = match (by_id, &arguments.label_column) {
        (_, Some(column)) => {
            format!(" A rule that reads {column} sooner than {delay} after its event is refused.")
        }
        (true, None) => {
            " Whether rules read labels among the events was not checked: --label-column was not given."
                .to_owned()
        }
        (false, None) => String::new(),
    };
    format!("{filled} {known}{guarded}")
}

/// Warns where the period has no event.
pub(super) fn warn_of_empty_period(case: &Case<'_>) {
    let times = &case.events.time;
    let (Some(first), Some(last), 0) = (times.iter().min(), times.iter().max(), case.scope.scored) else {
        return;
    };
    eprintln!(
        "warning: of {} events none is scored (--from, --until, --skip-known): they are of {} to {}",
        grouped(times.len() as u64),
        EventTime(*first),
        EventTime(*last)
    );
}

/// Warns of rules whose points the cap makes equal.
pub(super) fn warn_of_cap(ruled: &[Ruled], combination: &Combination) {
    let (Combination::SumCap { cap } | Combination::NoisyOr { cap }) = combination else { return };
    for ruled in ruled {
        let most = ruled.flags.points.iter().map(|(_, points)| i64::from(*points)).max();
        if let Some(most) = most.filter(|most| most > cap) {
            let id = &ruled.rule.header.id;
            eprintln!(
                "warning: {id} gives up to {most} points and no score is above {cap}, so thresholds can't tell its \
                 highest events apart: give it fewer points, or raise --cap and the job's `[decisions] cap`"
            );
        }
    }
}
