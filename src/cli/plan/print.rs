//! A plan for people: lines for a terminal, Markdown for a pull request.

use std::fmt::Write as _;

use super::Plan;
use super::costs::RuleCosts;
use super::trial::{Compared, RuleAlerts, Sent, VersionAlerts};
use crate::cli::terminal::grouped;

/// Events below which times say nothing.
pub(super) const MEASURED_MIN: u64 = 1_000;

/// Growth in percent; none where there was nothing.
pub(super) fn growth(before: f64, after: f64) -> Option<f64> {
    (before > 0.0).then(|| (after / before - 1.0) * 100.0)
}

/// For a terminal.
pub(super) fn text(plan: &Plan) -> String {
    let mut out = format!("{} → {}\n\n", plan.old, plan.new);
    rules(plan, &mut out, ["", ""]);
    if let Some(events) = &plan.events {
        let _ = writeln!(out, "\n{}", headline(events));
        for rule in &events.rules {
            let _ = writeln!(out, "  {}", summary(rule));
            examples(rule, &mut out, "    ");
        }
        out.extend(events.versions.iter().map(|version| format!("  {}\n", beside(version))));
        let _ = writeln!(out, "\n{}", cost(events));
        for rule in &events.rule_costs {
            let _ = writeln!(out, "  {}: {}", rule.rule, rule_cost(events, rule).join("; "));
        }
        out.extend(events.notes.iter().map(|note| format!("note: {note}\n")));
    }
    windows(plan, &mut out);
    lints(plan, &mut out);
    out
}

/// For the comment on a pull request.
pub(super) fn markdown(plan: &Plan) -> String {
    let mut out = format!("### Rules: `{}` → `{}`\n\n", plan.old, plan.new);
    rules(plan, &mut out, ["```diff\n", "```\n"]);
    if let Some(events) = &plan.events {
        let _ = writeln!(out, "\n**{}.** {}\n", headline(events), cost(events));
        for rule in &events.rules {
            let _ = writeln!(out, "- {}", summary(rule));
            examples(rule, &mut out, "  - ");
        }
        out.extend(events.versions.iter().map(|version| format!("- {}\n", beside(version))));
        let _ = writeln!(out, "\n| rule | time | windows |\n|---|---|---|");
        for rule in &events.rule_costs {
            let _ = writeln!(out, "| {} | {} |", rule.rule, rule_cost(events, rule).join(" | "));
        }
        out.extend(events.notes.iter().map(|note| format!("\nNote: {note}\n")));
    }
    out.push('\n');
    windows(plan, &mut out);
    lints(plan, &mut out);
    out
}

fn headline(events: &Compared) -> String {
    let after = events.after.as_ref().map(|after| format!(", alerts after {after}")).unwrap_or_default();
    format!(
        "{} events{after}: {} alerts gained, {} lost",
        grouped(events.events),
        grouped(events.gained),
        grouped(events.lost)
    )
}

fn rules(plan: &Plan, out: &mut String, [open, close]: [&str; 2]) {
    let changes = &plan.changes;
    for (word, ids) in [("added", &changes.added), ("removed", &changes.removed)] {
        if !ids.is_empty() {
            let _ = writeln!(out, "{word}: {}", ids.join(", "));
        }
    }
    for change in &changes.changed {
        let (before, after) = &change.versions;
        let version =
            if before == after { "same version".to_owned() } else { format!("{before} → {after}") };
        let _ = writeln!(out, "changed: {} ({}; {version})", change.rule, change.parts.join(", "));
        if !change.diff.is_empty() {
            let indent = if open.is_empty() { "  " } else { "" };
            let lines: String = change.diff.iter().map(|line| format!("{indent}{line}\n")).collect();
            let _ = write!(out, "{open}{lines}{close}");
        }
    }
    for file in &changes.files {
        let rules = if file.rules.is_empty() { "no rule".to_owned() } else { file.rules.join(", ") };
        let _ = writeln!(out, "{}: {} {}, which touches {rules}", file.change, file.kind, file.name);
    }
    let _ = writeln!(out, "unchanged: {} rules", changes.unchanged);
}

fn summary(rule: &RuleAlerts) -> String {
    let mut text = format!(
        "{}{}: {} → {} alerts, {} gained, {} lost",
        rule.rule,
        if rule.shadow { " in shadow" } else { "" },
        grouped(rule.before),
        grouped(rule.after),
        grouped(rule.gained),
        grouped(rule.lost)
    );
    if rule.precision_before.is_some() || rule.precision_after.is_some() {
        let _ =
            write!(text, "; precision {} → {}", share(rule.precision_before), share(rule.precision_after));
    }
    text
}

fn share(precision: Option<f64>) -> String {
    precision.map_or_else(|| "–".to_owned(), |precision| format!("{:.1} %", precision * 100.0))
}

/// What promoting a shadow version would do.
fn beside(version: &VersionAlerts) -> String {
    let (live, alerts) = (&version.shadow_of, version.alerts);
    let mut text = format!(
        "{} in shadow of {live}: {} alerts of both, {} of it alone, {} of {live} alone",
        version.rule,
        grouped(alerts.both),
        grouped(alerts.shadow_only),
        grouped(alerts.live_only)
    );
    if let shares @ ([Some(_), _] | [_, Some(_)]) = version.precision {
        let _ = write!(text, "; precision {}", shares.map(share).join(" → "));
    }
    text
}

fn examples(rule: &RuleAlerts, out: &mut String, before: &str) {
    let line = |sign: char, sent: &Sent| {
        format!("{before}{sign} {} {}: {}\n", sent.event_time, sent.entity, sent.reason)
    };
    out.extend(rule.gained_examples.iter().map(|sent| line('+', sent)));
    out.extend(rule.lost_examples.iter().map(|sent| line('-', sent)));
}

fn cost(events: &Compared) -> String {
    let (before, after) = events.cost;
    #[expect(clippy::cast_precision_loss, reason = "bytes for people")]
    let held = growth(before.state_bytes as f64, after.state_bytes as f64);
    let percent = |growth: Option<f64>| growth.map(|growth| format!(" ({growth:+.0} %)")).unwrap_or_default();
    let time = if events.events < MEASURED_MIN {
        format!("{} events are too few to measure time", events.events)
    } else {
        let (before, after) = (before.nanos_an_event, after.nanos_an_event);
        format!("an event costs {before:.0} → {after:.0} ns of one thread{}", percent(growth(before, after)))
    };
    format!(
        "{time}; windows hold {} → {} bytes{}",
        grouped(before.state_bytes as u64),
        grouped(after.state_bytes as u64),
        percent(held)
    )
}

/// Time and window state of one rule.
fn rule_cost(events: &Compared, rule: &RuleCosts) -> [String; 2] {
    let change =
        |values: [Option<String>; 2]| values.map(|value| value.unwrap_or_else(|| "–".to_owned())).join(" → ");
    let both = [rule.before, rule.after];
    let measured = events.events >= MEASURED_MIN;
    let time = both.map(|cost| Some(format!("{:.0}", cost?.nanos_an_event.filter(|_| measured)?)));
    let bytes = both.map(|cost| Some(grouped(cost?.state_bytes as u64)));
    let (kept, built) = (grouped(rule.kept_bytes as u64), grouped(rule.built_bytes as u64));
    [format!("{} ns", change(time)), format!("{} bytes, {kept} kept and {built} built", change(bytes))]
}

fn windows(plan: &Plan, out: &mut String) {
    let windows = &plan.windows;
    let named = |names: &[String]| {
        if names.is_empty() { "none".to_owned() } else { format!("{} ({})", names.len(), names.join("; ")) }
    };
    let (built, dropped) = (named(&windows.built), named(&windows.dropped));
    let _ = writeln!(out, "window answers: {} kept, built: {built}, dropped: {dropped}", windows.reused);
}

fn lints(plan: &Plan, out: &mut String) {
    let _ = writeln!(out, "warnings: {} new, {} gone", plan.lints.len(), plan.lints_gone);
    for lint in &plan.lints {
        let line = lint.line_column().map(|place| format!(":{}", place.line)).unwrap_or_default();
        let code = lint.code.unwrap_or("warning");
        let _ = writeln!(out, "  {}{line}: {code}: {}", lint.source.file, lint.message);
    }
}
