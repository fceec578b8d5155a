//! A backtest as tables for a terminal.

use std::fmt::Write as _;

use comfy_table::{CellAlignment, Table, presets};

use super::words::{amount, change, count, duration, percent, ratio, standing, tenth};
use crate::backtest::{
    Changed, Comparison, ModelReport, OrderChange, Overlap, Quality, Report, Scope, SweepReport,
    ThresholdReport, VersionReport,
};
use crate::cli::terminal::grouped;
use crate::rules::Emit;

/// Rules above which pairs are left to JSON and HTML.
const OVERLAP_RULES_MAX: usize = 10;

/// Everything, ready to be printed.
pub(super) fn tables(report: &Report) -> String {
    let mut out = scope(&report.scope);
    let _ = writeln!(out, "{}\n{}", detection(report), cost(report));
    for told in standing(report) {
        let _ = writeln!(out, "{told}");
    }
    if let Some(perfect) = report.card_precision_at_k_of_a_perfect_score {
        let _ = writeln!(out, "card precision@{} of a perfect score: {perfect:.3}", report.k);
    }
    if (2..=OVERLAP_RULES_MAX).contains(&report.rules.len()) {
        let _ = writeln!(out, "\nevents that both rules hit\n{}", overlap(&report.overlap));
    }
    if !report.versions.is_empty() {
        let mut versions = table(&VERSION_HEADER);
        report.versions.iter().for_each(|version| _ = versions.add_row(version_cells(version)));
        let _ = writeln!(out, "\nshadow versions beside their live rules\n{versions}");
    }
    if !report.thresholds.is_empty() {
        let _ = writeln!(out, "\nthresholds of the combined points\n{}", thresholds(report));
    }
    for model in &report.models {
        out.push_str(&spread(model));
    }
    for sweep in &report.sweeps {
        let _ = writeln!(out, "\n{} with {} at\n{}", sweep.rule, sweep.constant, swept(sweep));
    }
    if let Some(against) = &report.against {
        let _ = writeln!(out, "\nagainst {}\n{}", against.folder, compared(against));
    }
    if let Some(order) = &report.other_order {
        out.push_str(&other_order(order));
    }
    out
}

fn scope(scope: &Scope) -> String {
    let mut out = format!("{} events scored", grouped(scope.scored));
    if let Some(frauds) = scope.frauds {
        let _ = write!(out, ", {} frauds", grouped(frauds));
    }
    if let (Some(from), Some(to)) = (&scope.from, &scope.to) {
        let _ = write!(out, ", {} days, {from} to {to}", scope.days);
    }
    if scope.left_out_as_known > 0 {
        let left_out = grouped(scope.left_out_as_known);
        let _ = write!(out, "; {left_out} events of entities known as compromised left out");
    }
    if scope.labels_without_event > 0 {
        let _ = write!(out, "; {} labels name no event of the input", grouped(scope.labels_without_event));
    }
    out + "\n"
}

/// A table whose columns but the first are numbers.
fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::UTF8_FULL_CONDENSED).set_header(header.to_vec());
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

/// Rules, then sets, each with its figures and the frauds that it alone catches.
fn everything(report: &Report) -> impl Iterator<Item = (String, &Quality, Option<u64>)> {
    let labelled = report.scope.frauds.is_some();
    let rules = report
        .rules
        .iter()
        .map(move |rule| (rule.id.clone(), &rule.quality, Some(rule.marginal.frauds).filter(|_| labelled)));
    rules.chain(report.sets_to_show().map(|set| (format!("= {}", set.name), &set.quality, None)))
}

fn detection(report: &Report) -> Table {
    let mut table = table(&[
        "rule",
        "alerts",
        "a day",
        "hits",
        "precision",
        "recall",
        "F1",
        "false per fraud",
        "it alone catches",
    ]);
    for (name, quality, alone) in everything(report) {
        table.add_row(vec![
            name,
            grouped(quality.alerts),
            tenth(quality.alerts_a_day),
            grouped(quality.hits),
            ratio(quality.precision),
            ratio(quality.recall),
            ratio(quality.f1),
            tenth(quality.false_positives_per_fraud),
            count(alone),
        ]);
    }
    table
}

fn cost(report: &Report) -> Table {
    let card = format!("card P@{}", report.k);
    let mut table = table(&[
        "rule",
        "value caught",
        "value bothered",
        "avg precision",
        "AUC",
        &card,
        "episodes found",
        "at first fraud",
        "median time",
        "90 %",
    ]);
    for (name, quality, _) in everything(report) {
        let found = quality.detection.as_ref();
        table.add_row(vec![
            name,
            amount(quality.value_caught),
            amount(quality.value_bothered),
            ratio(quality.average_precision),
            ratio(quality.auc_roc),
            ratio(quality.card_precision_at_k),
            found.map_or("–".to_owned(), |d| format!("{} of {}", grouped(d.detected), grouped(d.episodes))),
            count(found.map(|detection| detection.at_first)),
            duration(found.and_then(|detection| detection.median_seconds)),
            duration(found.and_then(|detection| detection.p90_seconds)),
        ]);
    }
    table
}

fn overlap(overlap: &Overlap) -> Table {
    let numbers: Vec<String> = (1..=overlap.rules.len()).map(|number| number.to_string()).collect();
    let header: Vec<&str> = std::iter::once("rule").chain(numbers.iter().map(String::as_str)).collect();
    let mut table = table(&header);
    for (number, (rule, events)) in overlap.rules.iter().zip(&overlap.events).enumerate() {
        let name = format!("{} {rule}", number + 1);
        table.add_row(
            std::iter::once(name).chain(events.iter().map(|both| grouped(*both))).collect::<Vec<_>>(),
        );
    }
    table
}

fn swept(sweep: &SweepReport) -> Table {
    let mut table = table(&["value", "alerts", "a day", "precision", "recall", "F1", "false per fraud"]);
    for point in &sweep.points {
        let quality = &point.quality;
        let mark = if point.current { " (now)" } else { "" };
        table.add_row(vec![
            format!("{}{mark}", point.value),
            grouped(quality.alerts),
            tenth(quality.alerts_a_day),
            ratio(quality.precision),
            ratio(quality.recall),
            ratio(quality.f1),
            tenth(quality.false_positives_per_fraud),
        ]);
    }
    table
}

fn thresholds(report: &Report) -> Table {
    let mut table = table(&THRESHOLD_HEADER);
    for wanted in &report.thresholds {
        table.add_row(threshold_cells(wanted));
    }
    table
}

/// What the cells of a threshold are.
pub(super) const THRESHOLD_HEADER: [&str; 6] =
    ["from", "goal", "points", "events a day", "precision", "recall"];

/// A threshold that was asked for.
pub(super) fn threshold_cells(wanted: &ThresholdReport) -> Vec<String> {
    let point = wanted.point.as_ref();
    vec![
        wanted.outcome.name().to_owned(),
        wanted.goal.clone(),
        point.map_or("none reaches it".to_owned(), |point| grouped(u64::from(point.threshold))),
        tenth(wanted.flagged_a_day),
        ratio(point.map(|point| point.precision)),
        ratio(point.and_then(|point| point.recall)),
    ]
}

/// What the cells of a shadow version are.
pub(super) const VERSION_HEADER: [&str; 7] =
    ["version", "of", "hits of both", "it alone", "live alone", "precision, live → it", "recall, live → it"];

/// A shadow version beside its live rule.
pub(super) fn version_cells(version: &VersionReport) -> Vec<String> {
    let (events, frauds) = (version.events, version.frauds);
    let both = [version.precision, version.recall].map(|shares| shares.map(ratio).join(" → "));
    let [precision, recall] = both;
    vec![
        version.rule.clone(),
        version.shadow_of.clone(),
        change("", events.both, frauds.map(|frauds| frauds.both)),
        change("+", events.shadow_only, frauds.map(|frauds| frauds.shadow_only)),
        change("-", events.live_only, frauds.map(|frauds| frauds.live_only)),
        precision,
        recall,
    ]
}

/// What a model was given, and what has moved most of it.
fn spread(model: &ModelReport) -> String {
    const MOVED_TOLD: usize = 5;
    let mut out = format!("\nmodel {} was {}", model.model, asked(model));
    if let Some(why) = &model.not_compared {
        return out + &format!("; not compared with its training period: {why}\n");
    }
    let mut table = table(&MOVED_HEADER);
    for cells in moved_cells(model).take(MOVED_TOLD) {
        table.add_row(cells);
    }
    let _ = writeln!(out, "; against its training period:\n{table}");
    out
}

/// About how many rows a model was asked, and what they lacked.
pub(super) fn asked(model: &ModelReport) -> String {
    let mut out = format!("asked about {} rows", grouped(model.rows));
    if let Some((input, most)) = model.missing.iter().max_by_key(|(_, missing)| *missing) {
        let inputs = model.missing.len();
        let _ = write!(out, "; of {inputs} inputs values were missing, most of {input}: {}", grouped(*most));
    }
    out
}

/// What the cells of what has moved are.
pub(super) const MOVED_HEADER: [&str; 3] = ["input or score", "stability index", "has moved"];

/// Inputs and scores of a model and how far they moved, the furthest first.
pub(super) fn moved_cells(model: &ModelReport) -> impl Iterator<Item = Vec<String>> {
    let mut moved: Vec<_> = model.moved.iter().flatten().collect();
    moved.sort_by(|a, b| b.index.total_cmp(&a.index));
    let words = |index: f64| match index {
        index if index > 0.25 => "much",
        index if index > 0.1 => "some",
        _ => "little",
    };
    moved
        .into_iter()
        .map(move |one| vec![one.name.clone(), format!("{:.3}", one.index), words(one.index).to_owned()])
}

fn compared(against: &Comparison) -> Table {
    let mut table = table(&["rule", "state", "gained", "lost", "alerts there", "alerts here"]);
    for changed in &against.changes {
        table.add_row(change_row(changed));
    }
    table
}

fn change_row(changed: &Changed) -> Vec<String> {
    vec![
        changed.rule.clone(),
        changed.state.to_owned(),
        change("+", changed.gained, changed.gained_frauds),
        change("-", changed.lost, changed.lost_frauds),
        grouped(changed.alerts_there),
        grouped(changed.alerts_here),
    ]
}

fn other_order(order: &OrderChange) -> String {
    let name = |emit: Emit| if emit == Emit::InOrder { "in order" } else { "on arrival" };
    let changed: Vec<&Changed> =
        order.changes.iter().filter(|change| change.gained + change.lost > 0).collect();
    let mut out = format!("\nanswered {} instead of {}: ", name(order.other), name(order.reported));
    if changed.is_empty() {
        let _ = writeln!(out, "the same hits ({} late rows)", grouped(order.late));
        return out;
    }
    let mut table = table(&["rule", "gained", "lost"]);
    for changed in changed {
        table.add_row(vec![
            changed.rule.clone(),
            change("+", changed.gained, changed.gained_frauds),
            change("-", changed.lost, changed.lost_frauds),
        ]);
    }
    let _ = writeln!(out, "other hits for these rules ({} late rows)\n{table}", grouped(order.late));
    out
}

/// The share of fraud value that was caught.
pub(super) fn share_of_value(report: &Report) -> Option<String> {
    let caught = report.sets.first()?.quality.value_caught?.units;
    let all = report.scope.value_of_frauds?.units;
    #[expect(clippy::cast_precision_loss, reason = "a share for people")]
    (all > 0).then(|| percent(Some(caught as f64 / all as f64)))
}
