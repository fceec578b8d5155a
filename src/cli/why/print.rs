//! An explanation for people, and for programs.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::Told;
use crate::cli::terminal::grouped;
use crate::why::{ConditionWords, Explanation, WindowWords};

/// Everything as JSON, with so many events of each window.
pub(super) fn json(told: &Told, events: usize) -> Value {
    let mut explanation = serde_json::to_value(&told.explanation).unwrap_or_default();
    for window in explanation["windows"].as_array_mut().into_iter().flatten() {
        if let Some(list) = window["events"].as_array_mut() {
            list.truncate(events);
        }
    }
    let alerts: Vec<Value> = told
        .explanation
        .alerts
        .iter()
        .map(|alert| serde_json::from_slice(&alert.value).unwrap_or_default())
        .collect();
    json!({
        "rule": {"id": told.rule, "title": told.title, "version": told.version, "status": told.status},
        "explanation": explanation,
        "alerts": alerts,
        "reproduced": told.reproduced,
        "differs": told.differs,
        "notes": told.notes,
    })
}

/// The same to be read.
pub(super) fn text(told: &Told, events: usize) -> String {
    let own = &told.explanation;
    let verdict = if own.hit { "hit" } else { "did not hit" };
    let mut text = format!(
        "{} {verdict} {} of {}\n  {}, version {}, {}\n  {}",
        told.rule, own.event_id, own.event_time, told.title, told.version, told.status, own.source
    );
    if own.late_ms > 0 {
        let _ = write!(text, ", {} ms behind the latest event", grouped(own.late_ms.unsigned_abs()));
    }
    text.push('\n');
    if let Some(error) = &own.error {
        let _ = writeln!(text, "\nthe rule could not be evaluated on it: {error}");
    }
    conditions(own, &mut text);
    if !own.columns.is_empty() {
        text.push_str("\nvalues\n");
        let width = own.columns.iter().map(|column| column.name.chars().count()).max().unwrap_or(0);
        for column in &own.columns {
            let computed = column.computed_as.as_ref().map(|how| format!("  = {how}")).unwrap_or_default();
            let _ = writeln!(text, "  {:width$}  {}{computed}", column.name, plain(&column.value));
        }
    }
    for window in &own.windows {
        window_text(window, events, &mut text);
    }
    ending(told, &mut text);
    text
}

fn conditions(own: &Explanation, text: &mut String) {
    if own.conditions.is_empty() {
        text.push_str("\nno condition: the rule hits every row\n");
        return;
    }
    text.push_str("\nconditions\n");
    let mut lines = Vec::new();
    own.conditions.iter().for_each(|part| condition(part, 0, &mut lines));
    let width = lines.iter().map(|line| line.1.chars().count()).max().unwrap_or(0).min(70);
    for (mark, words, values) in lines {
        let _ = writeln!(text, "{}", format!("  {mark:7} {words:width$}  {values}").trim_end());
    }
    if !own.hit && own.error.is_none() {
        text.push_str("  what the rule asks after the first condition that does not hold may not be shown\n");
    }
}

/// One line a condition: what it came to, its words, and what it compared.
fn condition(part: &ConditionWords, depth: usize, lines: &mut Vec<(&'static str, String, String)>) {
    let mark = match part.truth {
        Some(true) => "yes",
        Some(false) => "NO",
        None => "unknown",
    };
    let values = match (&part.left, part.operator, &part.right) {
        (Some(left), Some(operator), Some(right)) => {
            let margin = part.margin.as_ref().map(|margin| format!("   margin {margin}")).unwrap_or_default();
            format!("{} {operator} {}{margin}", plain(left), plain(right))
        }
        _ => String::new(),
    };
    lines.push((mark, format!("{:depth$}{}", "", part.text, depth = 2 * depth), values));
    part.parts.iter().for_each(|inner| condition(inner, depth + 1, lines));
}

fn window_text(window: &WindowWords, events: usize, text: &mut String) {
    let key: Vec<String> =
        window.key.iter().map(|(name, value)| format!("{name} {}", plain(value))).collect();
    let over = if key.is_empty() { "all rows".to_owned() } else { key.join(", ") };
    let _ = write!(text, "\n{} = {}", window.name, plain(&window.value));
    if window.function != window.name {
        let _ = write!(text, ": {}", window.function);
    }
    let _ = writeln!(
        text,
        "\n  of {over}, {}: {} event{}",
        window.frame,
        grouped(window.events_seen),
        if window.events_seen == 1 { "" } else { "s" }
    );
    for event in window.events.iter().take(events) {
        let values: Vec<String> = window
            .reads
            .iter()
            .zip(&event.values)
            .map(|(name, value)| format!("{name} {}", plain(value)))
            .collect();
        let line =
            format!("    {}  {}  {}  {}", event.event_time, event.event_id, event.source, values.join(", "));
        let _ = writeln!(text, "{}", line.trim_end());
    }
    let shown = window.events.len().min(events) as u64;
    if shown > 0 && window.events_seen > shown {
        let _ = writeln!(text, "    and {} earlier", grouped(window.events_seen - shown));
    }
}

fn ending(told: &Told, text: &mut String) {
    let own = &told.explanation;
    for alert in &own.alerts {
        let _ = writeln!(text, "\nalert {}\n  {}", alert.alert_id, alert.reason);
    }
    match own.held_back {
        Some("suppressed") => text.push_str("\nno alert: @dedup held the hit back\n"),
        Some("over_budget") => text.push_str("\nno alert: past @budget, the hit left in a summary\n"),
        Some("out_of_validity") => text.push_str("\nno alert: outside of @valid_from and @valid_until\n"),
        Some(_) => text.push_str("\nno alert: the rule is switched off\n"),
        None => {}
    }
    match told.reproduced {
        Some(true) if told.differs.is_empty() => {
            text.push_str("  reproduced byte for byte from the records\n");
        }
        Some(true) => {
            let _ = writeln!(
                text,
                "  reproduced from the records, but for what the rule says of itself, which has changed since: {}",
                told.differs.join(", ")
            );
        }
        Some(false) if told.differs.is_empty() => {
            text.push_str("  NOT what was sent: the alert that was sent is not made again\n");
        }
        Some(false) => {
            let _ = writeln!(
                text,
                "  NOT what was sent: the alert that was sent differs from this one in {}",
                told.differs.join(", ")
            );
        }
        None => {}
    }
    for note in &told.notes {
        let _ = writeln!(text, "\nnote: {note}");
    }
}

fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => "null".to_owned(),
        other => other.to_string(),
    }
}
