//! Figures as people read them.

use crate::backtest::{Amount, Report};
use crate::cli::terminal::grouped;
use crate::rules::Status;

/// How fast a backtest went.
pub(super) struct Speed {
    pub seconds: f64,
    pub rows_a_second: f64,
}

impl Speed {
    /// So many rows in so many seconds.
    #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
    pub(super) fn of(rows: u64, seconds: f64) -> Self {
        Self { seconds, rows_a_second: rows as f64 / seconds.max(1e-9) }
    }
}

impl std::fmt::Display for Speed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a rate for people")]
        let rate = self.rows_a_second as u64;
        write!(f, "{:.2} s, {} rows a second", self.seconds, grouped(rate))
    }
}

/// A share with three digits; a dash where it has no meaning.
pub(super) fn ratio(value: Option<f64>) -> String {
    value.map_or_else(|| "–".to_owned(), |value| format!("{value:.3}"))
}

/// A number with one digit; a dash where it has no meaning.
pub(super) fn tenth(value: Option<f64>) -> String {
    value.map_or_else(|| "–".to_owned(), |value| format!("{value:.1}"))
}

/// A share of a hundred.
pub(super) fn percent(value: Option<f64>) -> String {
    value.map_or_else(|| "–".to_owned(), |value| format!("{:.1} %", value * 100.0))
}

/// A count; a dash where it has no meaning.
pub(super) fn count(value: Option<u64>) -> String {
    value.map_or_else(|| "–".to_owned(), grouped)
}

/// An amount with its thousands apart; a dash where it has no meaning.
pub(super) fn amount(value: Option<Amount>) -> String {
    let Some(value) = value else { return "–".to_owned() };
    let text = value.to_string();
    let (whole, part) = text.split_once('.').unwrap_or((&text, ""));
    let (sign, digits) = whole.strip_prefix('-').map_or(("", whole), |digits| ("-", digits));
    let whole = digits.parse().map_or_else(|_| digits.to_owned(), grouped);
    if part.is_empty() { format!("{sign}{whole}") } else { format!("{sign}{whole}.{part}") }
}

/// A length of time in its largest fitting unit.
pub(super) fn duration(seconds: Option<f64>) -> String {
    let Some(seconds) = seconds else { return "–".to_owned() };
    match seconds {
        _ if seconds >= 2.0 * 86_400.0 => format!("{:.1} d", seconds / 86_400.0),
        _ if seconds >= 2.0 * 3_600.0 => format!("{:.1} h", seconds / 3_600.0),
        _ if seconds >= 120.0 => format!("{:.1} min", seconds / 60.0),
        _ => format!("{seconds:.0} s"),
    }
}

/// `+3 (2 frauds)`.
pub(super) fn change(sign: &str, events: u64, frauds: Option<u64>) -> String {
    match frauds {
        _ if events == 0 => "0".to_owned(),
        Some(frauds) => format!("{sign}{} ({} frauds)", grouped(events), grouped(frauds)),
        None => format!("{sign}{}", grouped(events)),
    }
}

/// How the rules that decide together here differ from those that would in a job; nothing where they are the same.
pub(super) fn standing(report: &Report) -> Vec<String> {
    let counting = |id: &String| report.sets.first().is_some_and(|set| set.rules.contains(id));
    let named = |counts: bool| -> Vec<String> {
        let rules = report.rules.iter();
        let rules = rules.filter(|rule| rule.status != Status::Live && counting(&rule.id) == counts);
        rules.map(|rule| format!("{} ({})", rule.id, rule.status.name())).collect()
    };
    let mut told = Vec::new();
    if let counted @ [_, ..] = named(true).as_slice() {
        told.push(format!(
            "a job would not decide by these as they are, which count together here: {}",
            counted.join(", ")
        ));
    }
    if let ([_, watched, ..], ids @ [_, ..]) = (report.sets.as_slice(), named(false).as_slice()) {
        let (name, ids) = (&watched.name, ids.join(", "));
        told.push(format!("\"all\" and thresholds are of the live rules, by which a job decides; \"{name}\" counts {ids} as well"));
    }
    told
}
