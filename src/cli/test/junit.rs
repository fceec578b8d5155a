//! The cases as a JUnit report: what CI servers read.
//!
//! The elements are those of the Jenkins schema: `testsuites`, `testsuite`, `testcase`, `failure`, `error`.

use std::fmt::Write;
use std::path::Path;

use super::table::place;
use super::{CaseReport, Report};
use crate::cli::failure::Failure;
use crate::diagnostic::{Colour, line_column, render_all};

/// Writes the report.
pub(super) fn write(path: &Path, reports: &[Report]) -> Result<(), Failure> {
    std::fs::write(path, document(reports))
        .map_err(|cause| Failure::outside(format!("{} can't be written: {cause}", path.display())))
}

fn document(reports: &[Report]) -> String {
    let mut text =
        String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites name=\"tollgate\">\n");
    for report in reports {
        let failures = report.cases.iter().filter(|case| case.result.is_ok() && !case.passed()).count();
        let broken = report.cases.iter().filter(|case| case.result.is_err()).count();
        let errors = broken + usize::from(!report.findings.is_empty());
        let seconds: f64 = report.cases.iter().map(|case| case.took.as_secs_f64()).sum();
        let count = report.cases.len() + usize::from(!report.findings.is_empty());
        let name = if report.rule.is_empty() { &report.file } else { &report.rule };
        let _ = writeln!(
            text,
            "  <testsuite name=\"{}\" tests=\"{count}\" failures=\"{failures}\" errors=\"{errors}\" time=\"{seconds:.6}\">",
            escaped(name)
        );
        if !report.findings.is_empty() {
            let drawn = render_all(&report.findings, Colour::Off);
            let _ = writeln!(
                text,
                "    <testcase classname=\"{0}\" name=\"the file can be read\"><error message=\"{1}\">{2}</error></testcase>",
                escaped(name),
                escaped(&report.findings[0].message),
                escaped(&drawn)
            );
        }
        for case in &report.cases {
            text += &testcase(name, case);
        }
        text += "  </testsuite>\n";
    }
    text + "</testsuites>\n"
}

fn testcase(rule: &str, report: &CaseReport) -> String {
    let line = line_column(&report.source.text, report.case.span.start).line;
    let mut text = format!(
        "    <testcase classname=\"{}\" name=\"{}\" file=\"{}\" line=\"{line}\" time=\"{:.6}\"",
        escaped(rule),
        escaped(&report.case.name),
        escaped(&report.source.file),
        report.took.as_secs_f64()
    );
    match &report.result {
        Ok(verdict) if verdict.passed() => text += "/>\n",
        Ok(verdict) => {
            let mut said: Vec<String> = verdict
                .mismatches
                .iter()
                .map(|found| format!("{}: {}", place(report, found.moment), found.message))
                .collect();
            let astray = verdict
                .astray
                .iter()
                .map(|(way, event, _)| format!("{way}, {} differs", place(report, *event)));
            said.extend(astray);
            let _ = writeln!(
                text,
                "><failure message=\"{}\">{}</failure></testcase>",
                escaped(&said[0]),
                escaped(&said.join("\n"))
            );
        }
        Err(fault) => {
            let _ = writeln!(
                text,
                "><error message=\"the case can't be run\">{}</error></testcase>",
                escaped(fault)
            );
        }
    }
    text
}

/// Text that may stand in XML; characters that XML 1.0 has no way to write are left out.
fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\n' => safe.push_str("&#10;"),
            other if other.is_control() && other != '\t' => {}
            other => safe.push(other),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::escaped;

    #[test]
    fn whatever_a_name_holds_is_well_formed() {
        assert_eq!(escaped("a < b & \"c\"\n\u{1b}[1m"), "a &lt; b &amp; &quot;c&quot;&#10;[1m");
    }
}
