//! What came of the cases, for people: a line each, and what went wrong event by event.

use std::io::Write;
use std::path::{Path, PathBuf};

use super::{CaseReport, Report, draw};
use crate::cli::failure::Failure;
use crate::diagnostic::line_column;
use crate::rule_test::{Mismatch, Observed, Verdict, What};

/// Prints all of it to standard output, findings to standard error.
pub(super) fn print(reports: &[Report], untested: &[PathBuf], path: &Path) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    let mut passed = 0;
    let mut failed = 0;
    for report in reports {
        draw(&report.findings);
        failed += usize::from(!report.findings.is_empty());
        if !report.cases.is_empty() {
            writeln!(out, "{}", report.rule).map_err(Failure::outside)?;
        }
        for case in &report.cases {
            let fine = case.passed();
            *(if fine { &mut passed } else { &mut failed }) += 1;
            writeln!(out, "  {}  {}", if fine { "pass" } else { "FAIL" }, case.case.name)
                .map_err(Failure::outside)?;
            if !fine {
                write!(out, "{}", explained(case)).map_err(Failure::outside)?;
            }
        }
        if let Some(lack) = lack(report) {
            writeln!(out, "        note: {lack}").map_err(Failure::outside)?;
        }
    }
    if reports.is_empty() {
        writeln!(
            out,
            "no test files below {}: write one with `tollgate test --new RULE.sql`",
            path.display()
        )
        .map_err(Failure::outside)?;
    }
    if !untested.is_empty() {
        let names: Vec<String> = untested.iter().map(|path| path.display().to_string()).collect();
        writeln!(out, "without a test file: {}", names.join(", ")).map_err(Failure::outside)?;
    }
    writeln!(out, "{passed} passed, {failed} failed").map_err(Failure::outside)
}

/// A rule is tested where some event fires it and, in a case, none does or one does not.
fn lack(report: &Report) -> Option<&'static str> {
    let expected = || {
        let moments = report.cases.iter().flat_map(|case| &case.case.moments);
        moments.filter(|moment| moment.what != What::Clock).map(|moment| moment.expected.hit)
    };
    match (expected().any(|hit| hit), expected().any(|hit| !hit)) {
        _ if report.cases.is_empty() => None,
        (false, _) => Some("no event of these cases fires the rule"),
        (true, false) => Some("every event of these cases fires the rule: show one that must not"),
        (true, true) => None,
    }
}

fn explained(report: &CaseReport) -> String {
    let verdict = match &report.result {
        Ok(verdict) => verdict,
        Err(fault) => return format!("        the case can't be run: {fault}\n"),
    };
    let mut text = String::new();
    for Mismatch { moment, message } in &verdict.mismatches {
        text += &format!("        {}: {message}\n", place(report, *moment));
    }
    for (way, moment, other) in &verdict.astray {
        text += &format!(
            "        {way}, {} gives {} instead of {}: this is a defect of the engine, please report it\n",
            place(report, *moment),
            told(other),
            told(&verdict.observed[*moment])
        );
    }
    text + &timeline(report, verdict)
}

/// `event 3 at 0s+9m (rules/x.test.toml:12)`.
pub(super) fn place(report: &CaseReport, moment: usize) -> String {
    let entry = &report.case.moments[moment];
    let line = line_column(&report.source.text, entry.span.start).line;
    format!("event {} at {} ({}:{line})", moment + 1, entry.at, report.source.file)
}

fn told(seen: &Observed) -> String {
    match (&seen.dead_letter, seen.hits.len(), seen.reasons.len()) {
        (Some(_), ..) => "a dead letter".to_owned(),
        (None, 0, _) => "no hit".to_owned(),
        (None, _, 0) => "a hit that @dedup holds back".to_owned(),
        (None, ..) => "a hit".to_owned(),
    }
}

/// Events shown of a case that failed.
const SHOWN_MAX: usize = 30;

/// All events of a case, with what came of them.
fn timeline(report: &CaseReport, verdict: &Verdict) -> String {
    let mut text = String::new();
    let moments = &report.case.moments;
    for (index, (moment, seen)) in moments.iter().zip(&verdict.observed).enumerate().take(SHOWN_MAX) {
        let what = match &moment.what {
            What::Clock => "the clock".to_owned(),
            What::Event { .. } => told(seen),
        };
        let values: Vec<String> =
            seen.hits.iter().flatten().map(|(name, value)| format!("{name} = {value}")).collect();
        let values = if values.is_empty() { String::new() } else { format!("  {}", values.join(", ")) };
        text += &format!("          {:>3}  {}  {what}{values}\n", index + 1, moment.at);
    }
    if moments.len() > SHOWN_MAX {
        text += &format!("          … and {} more\n", moments.len() - SHOWN_MAX);
    }
    text
}
