//! A backtest as one HTML page: style and plots inline, nothing fetched from elsewhere.
//!
//! Written for somebody who decides and has not read the manual: what was caught first, then what it cost,
//! then the rules one by one, and at the end what each word means.

use std::fmt::Write as _;

use super::svg::{Bar, Point, bars, escaped, heat_map, precision_recall};
use super::table::{
    MOVED_HEADER, THRESHOLD_HEADER, VERSION_HEADER, asked, moved_cells, share_of_value, threshold_cells,
    version_cells,
};
use super::words::{amount, change, count, duration, percent, ratio, standing, tenth};
use crate::backtest::{BUCKETS, Changed, ModelReport, Quality, Report, SetReport, SweepReport};
use crate::cli::terminal::grouped;

const STYLE: &str = include_str!("style.css");

/// The whole page.
pub(super) fn page(report: &Report, ruleset: &str, no_look_ahead: &str) -> String {
    let mut out = String::from("<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n");
    let _ = write!(
        out,
        "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>Backtest of {} rules</title>\n\
         <style>\n{STYLE}</style>\n</head>\n<body>\n",
        report.rules.len()
    );
    let Some(all) = report.sets.first() else { return out + "</body>\n</html>\n" };
    out.push_str(&head(report, all, ruleset));
    out.push_str(&tiles(report, all));
    out.push_str(&rules(report));
    out.push_str(&curve(report, all));
    out.push_str(&versions(report));
    out.push_str(&thresholds(report));
    report.models.iter().for_each(|model| out.push_str(&spread(model)));
    out.push_str(&daily(all, report.scope.frauds.is_some()));
    out.push_str(&detection(all));
    out.push_str(&overlap(report));
    for sweep in &report.sweeps {
        out.push_str(&swept(sweep));
    }
    out.push_str(&changes(report));
    out.push_str(&words(report, no_look_ahead));
    out + "</body>\n</html>\n"
}

/// What was judged, and the outcome in two sentences.
fn head(report: &Report, all: &SetReport, ruleset: &str) -> String {
    let scope = &report.scope;
    let day = |time: &Option<String>| time.as_deref().unwrap_or("–").chars().take(10).collect::<String>();
    let mut out = format!(
        "<h1>Backtest of {} rules</h1>\n<p class=\"soft\">{} events over {} days, {} to {}; rule set {}.",
        report.rules.len(),
        grouped(scope.scored),
        scope.days,
        day(&scope.from),
        day(&scope.to),
        escaped(ruleset)
    );
    if scope.left_out_as_known > 0 {
        let left_out = grouped(scope.left_out_as_known);
        let _ = write!(out, " {left_out} events of customers already known as compromised are left out.");
    }
    out.push_str("</p>\n");
    let quality = &all.quality;
    let alerts = format!("{} alerts, {} a day", grouped(quality.alerts), tenth(quality.alerts_a_day));
    let (Some(frauds), Some(caught)) = (scope.frauds, quality.frauds_caught) else {
        let _ = writeln!(
            out,
            "<p class=\"lead\">The rules raise {alerts}. Without labels no more can be said.</p>"
        );
        return out;
    };
    let worth = match (quality.value_caught, share_of_value(report)) {
        (Some(value), Some(share)) => format!(", worth {} ({share} of what was stolen)", amount(Some(value))),
        _ => String::new(),
    };
    let _ = writeln!(
        out,
        "<p class=\"lead\">Of {} frauds the rules catch <b>{}</b> ({}){worth}. They raise {alerts}; {} of the flagged \
         events are frauds.</p>",
        grouped(frauds),
        grouped(caught),
        percent(quality.recall),
        percent(quality.precision)
    );
    out
}

fn tiles(report: &Report, all: &SetReport) -> String {
    let quality = &all.quality;
    let found = quality.detection.as_ref();
    let entries = [
        ("alerts a day", tenth(quality.alerts_a_day)),
        ("of flagged events are frauds", percent(quality.precision)),
        ("of frauds are caught", percent(quality.recall)),
        ("false positives for each fraud caught", tenth(quality.false_positives_per_fraud)),
        ("value of frauds caught", amount(quality.value_caught)),
        ("value of genuine events bothered", amount(quality.value_bothered)),
        ("median time to detection", duration(found.and_then(|found| found.median_seconds))),
        ("average precision", ratio(quality.average_precision)),
        ("AUC ROC", ratio(quality.auc_roc)),
    ];
    let mut out = String::from("<div class=\"tiles\">\n");
    for (name, value) in entries.iter().filter(|(_, value)| value != "–") {
        let _ = writeln!(out, "<div class=\"tile\"><b>{value}</b><span>{name}</span></div>");
    }
    if let Some(card) = quality.card_precision_at_k {
        let best = report.card_precision_at_k_of_a_perfect_score;
        let _ = writeln!(
            out,
            "<div class=\"tile\"><b>{card:.3}</b><span>card precision@{}; a perfect score has {}</span></div>",
            report.k,
            ratio(best)
        );
    }
    out + "</div>\n"
}

fn table(header: &[&str], rows: &[(&str, Vec<String>)]) -> String {
    let mut out = String::from("<div class=\"wide\"><table>\n<tr>");
    for name in header {
        let _ = write!(out, "<th>{name}</th>");
    }
    out.push_str("</tr>\n");
    for (class, cells) in rows {
        let _ = write!(out, "<tr class=\"{class}\">");
        for cell in cells {
            let _ = write!(out, "<td>{cell}</td>");
        }
        out.push_str("</tr>\n");
    }
    out + "</table></div>\n"
}

fn rules(report: &Report) -> String {
    let mut rows = Vec::new();
    for (number, rule) in report.rules.iter().enumerate() {
        let name = format!("{}. {}<small>{}</small>", number + 1, escaped(&rule.title), escaped(&rule.id));
        let alone = rule.quality.frauds_caught.map(|_| rule.marginal.frauds);
        rows.push(("", figures(name, &rule.quality, count(alone))));
    }
    for set in report.sets_to_show() {
        let name = if set.name == "all" { "all together".to_owned() } else { escaped(&set.name) };
        rows.push(("set", figures(name, &set.quality, String::new())));
    }
    let card = format!("card precision@{}", report.k);
    let header = [
        "rule",
        "alerts",
        "a day",
        "hits",
        "precision",
        "recall",
        "F1",
        "false per fraud",
        "value caught",
        "value bothered",
        "average precision",
        "AUC",
        &card,
        "episodes found",
        "at first fraud",
        "median time",
        "90 %",
        "it alone catches",
    ];
    let told: String =
        standing(report).iter().map(|told| format!("<p class=\"soft\">{}</p>\n", escaped(told))).collect();
    format!("<h2>Rule by rule</h2>\n{told}{}", table(&header, &rows))
}

fn figures(name: String, quality: &Quality, alone: String) -> Vec<String> {
    let found = quality.detection.as_ref();
    vec![
        name,
        grouped(quality.alerts),
        tenth(quality.alerts_a_day),
        grouped(quality.hits),
        ratio(quality.precision),
        ratio(quality.recall),
        ratio(quality.f1),
        tenth(quality.false_positives_per_fraud),
        amount(quality.value_caught),
        amount(quality.value_bothered),
        ratio(quality.average_precision),
        ratio(quality.auc_roc),
        ratio(quality.card_precision_at_k),
        found.map_or("–".to_owned(), |d| format!("{} of {}", grouped(d.detected), grouped(d.episodes))),
        count(found.map(|found| found.at_first)),
        duration(found.and_then(|found| found.median_seconds)),
        duration(found.and_then(|found| found.p90_seconds)),
        alone,
    ]
}

fn curve(report: &Report, all: &SetReport) -> String {
    if report.scope.frauds.is_none() {
        return String::new();
    }
    let line: Vec<(f64, f64)> =
        all.curve.iter().filter_map(|point| Some((point.recall?, point.precision))).collect();
    let point = |(number, rule): (usize, &crate::backtest::RuleReport)| {
        let (recall, precision) = (rule.quality.recall?, rule.quality.precision?);
        let tip = format!("{}: precision {precision:.3}, recall {recall:.3}", rule.id);
        Some(Point { recall, precision, mark: (number + 1).to_string(), tip })
    };
    let points: Vec<Point> = report.rules.iter().enumerate().filter_map(point).collect();
    let title = "Precision and recall of the rules together and of each";
    format!(
        "<h2>Precision and recall</h2>\n<p class=\"soft\">Each number is a rule. The line is of all rules together, \
         at every threshold of their combined points ({}). Up and to the right is better.</p>\n<figure>{}</figure>\n",
        all.scored_by,
        precision_recall(title, &line, &points)
    )
}

/// The thresholds that were asked for.
fn versions(report: &Report) -> String {
    if report.versions.is_empty() {
        return String::new();
    }
    let rows: Vec<_> = report.versions.iter().map(|version| ("", version_cells(version))).collect();
    let soft = "<p class=\"soft\">What it alone hits would be gained by promoting it, what the live rule alone hits \
                would be lost.</p>";
    format!("<h2>Shadow versions</h2>\n{soft}\n{}", table(&VERSION_HEADER, &rows))
}

fn thresholds(report: &Report) -> String {
    if report.thresholds.is_empty() {
        return String::new();
    }
    let rows: Vec<_> = report.thresholds.iter().map(|wanted| ("", threshold_cells(wanted))).collect();
    let soft = "<p class=\"soft\">From so many combined points on, with the goal that was set.</p>";
    format!("<h2>Thresholds</h2>\n{soft}\n{}", table(&THRESHOLD_HEADER, &rows))
}

/// How far what a model was given and said has moved, the furthest first.
fn spread(model: &ModelReport) -> String {
    let name = escaped(&model.model);
    let mut out =
        format!("<h2>Model {name}</h2>\n<p class=\"soft\">It was {}.</p>\n", escaped(&asked(model)));
    if let Some(why) = &model.not_compared {
        out += &format!("<p class=\"soft\">Not compared with its training period: {}.</p>\n", escaped(why));
    } else {
        let cells = |cells: Vec<String>| ("", cells.iter().map(|cell| escaped(cell)).collect());
        let rows: Vec<_> = moved_cells(model).map(cells).collect();
        out += &table(&MOVED_HEADER, &rows);
    }
    out
}

fn daily(all: &SetReport, labelled: bool) -> String {
    let bar = |day: &crate::backtest::Day| Bar {
        name: day.day.chars().skip(5).collect(),
        lower: if labelled { day.on_frauds } else { day.alerts },
        upper: if labelled { day.alerts - day.on_frauds } else { 0 },
        tip: format!("{}: {} alerts, {} on frauds", day.day, day.alerts, day.on_frauds),
    };
    let key = if labelled {
        "<p class=\"key\"><i class=\"hit\" style=\"background:var(--hit)\"></i>on frauds\
         <i style=\"background:var(--miss)\"></i>on genuine events</p>"
    } else {
        ""
    };
    let drawn = bars("Alerts by day", &all.daily.iter().map(bar).collect::<Vec<_>>());
    format!("<h2>Alerts by day</h2>\n<figure>{drawn}{key}</figure>\n")
}

fn detection(all: &SetReport) -> String {
    let Some(found) = &all.quality.detection else { return String::new() };
    let bar = |((name, _), count): (&(&str, i64), &u64)| Bar {
        name: (*name).to_owned(),
        lower: *count,
        upper: 0,
        tip: format!("{name}: {count} episodes"),
    };
    let mut drawn: Vec<Bar> = BUCKETS.iter().zip(&found.histogram).map(bar).collect();
    let missed = found.episodes - found.detected;
    let tip = format!("never: {missed} episodes");
    drawn.push(Bar { name: "never".to_owned(), lower: 0, upper: missed, tip });
    format!(
        "<h2>Time to detection</h2>\n<p class=\"soft\">Of {} episodes of fraud the rules find {}, {} of them at the \
         first fraud; in the mean {} frauds of an episode go through before. Each bar holds the episodes found within \
         that time and not within the one before.</p>\n<figure>{}</figure>\n",
        grouped(found.episodes),
        grouped(found.detected),
        grouped(found.at_first),
        tenth(found.mean_frauds_before),
        bars("Episodes by time to detection", &drawn)
    )
}

fn overlap(report: &Report) -> String {
    if report.rules.len() < 2 {
        return String::new();
    }
    let pairs = &report.overlap;
    format!(
        "<h2>What rules share</h2>\n<p class=\"soft\">Events that both rules flag. The darker, the larger the share \
         of the rule at the left that the other flags as well.</p>\n<figure>{}</figure>\n",
        heat_map("Events that two rules share", &pairs.rules, &pairs.events)
    )
}

fn swept(sweep: &SweepReport) -> String {
    let mut line = Vec::new();
    let mut points = Vec::new();
    let mut rows = Vec::new();
    for point in &sweep.points {
        let quality = &point.quality;
        if let (Some(recall), Some(precision)) = (quality.recall, quality.precision) {
            line.push((recall, precision));
            let tip = format!("{}: precision {precision:.3}, recall {recall:.3}", point.value);
            points.push(Point { recall, precision, mark: point.value.clone(), tip });
        }
        let value = if point.current { format!("{} (now)", point.value) } else { point.value.clone() };
        let cells = vec![
            value,
            grouped(quality.alerts),
            tenth(quality.alerts_a_day),
            ratio(quality.precision),
            ratio(quality.recall),
            ratio(quality.f1),
            tenth(quality.false_positives_per_fraud),
            amount(quality.value_caught),
            amount(quality.value_bothered),
        ];
        rows.push((if point.current { "now" } else { "" }, cells));
    }
    let name = format!("{} with {} moved", escaped(&sweep.rule), escaped(&sweep.constant));
    let header = [
        "value",
        "alerts",
        "a day",
        "precision",
        "recall",
        "F1",
        "false per fraud",
        "value caught",
        "value bothered",
    ];
    let plot = if line.is_empty() {
        String::new()
    } else {
        format!("<figure>{}</figure>\n", precision_recall(&name, &line, &points))
    };
    format!("<h2>{name}</h2>\n{plot}{}", table(&header, &rows))
}

fn changes(report: &Report) -> String {
    let mut out = String::new();
    let cells = |changed: &Changed| {
        vec![
            escaped(&changed.rule),
            changed.state.to_owned(),
            change("+", changed.gained, changed.gained_frauds),
            change("−", changed.lost, changed.lost_frauds),
            grouped(changed.alerts_there),
            grouped(changed.alerts_here),
        ]
    };
    if let Some(against) = &report.against {
        let rows: Vec<(&str, Vec<String>)> =
            against.changes.iter().map(|changed| ("", cells(changed))).collect();
        let header = ["rule", "state", "gained", "lost", "alerts there", "alerts here"];
        let folder = escaped(&against.folder);
        let _ = write!(out, "<h2>Compared with {folder}</h2>\n{}", table(&header, &rows));
    }
    if let Some(order) = &report.other_order {
        let name = |emit| if emit == crate::rules::Emit::InOrder { "in order" } else { "on arrival" };
        let changed: Vec<&Changed> =
            order.changes.iter().filter(|change| change.gained + change.lost > 0).collect();
        let _ = writeln!(
            out,
            "<h2>If rules were answered {}</h2>\n<p class=\"soft\">The figures above are of rows answered {}. \
             {} rows came too late for that.</p>",
            name(order.other),
            name(order.reported),
            grouped(order.late)
        );
        if changed.is_empty() {
            out.push_str("<p>The hits would be the same.</p>\n");
        } else {
            let rows: Vec<(&str, Vec<String>)> = changed
                .iter()
                .map(|changed| {
                    let mut cells = cells(changed);
                    cells.truncate(4);
                    cells.remove(1);
                    ("", cells)
                })
                .collect();
            out.push_str(&table(&["rule", "gained", "lost"], &rows));
        }
    }
    out
}

fn words(report: &Report, no_look_ahead: &str) -> String {
    let k = report.k;
    let entries = [
        ("Hit, alert", "A hit is an event that a rule flags. An alert is a hit that the rule's @dedup lets through. \
          Precision, recall, F1 and value are of hits, alerts a day are of alerts.".to_owned()),
        ("Precision, recall, F1", "The share of hits that are frauds; the share of frauds that hit; their harmonic \
          mean.".to_owned()),
        ("Value caught, value bothered", "The value of the frauds that hit, and of the genuine events that \
          hit.".to_owned()),
        ("Average precision", "Over the thresholds of the points from the highest down: the recall gained times the \
          precision there, added up.".to_owned()),
        ("AUC", "The chance that a fraud has more points than a genuine event; a tie counts half.".to_owned()),
        ("Card precision@k", format!("Each day an entity's score is the highest of its events, and the {k} highest \
          are looked at: the share of {k} that truly has a fraud that day. Entities found drop out of later days. The \
          mean over days.")),
        ("Episode, time to detection", "An episode is a run of frauds of one entity with no longer pause than the gap \
          (--episode-gap) between neighbours. It is found at its first fraud that alerts; the time is from its first \
          fraud to that one.".to_owned()),
        ("It alone catches", "Frauds that this rule hits and no other.".to_owned()),
        ("Stability index", "How far the spread of a model's inputs and scores is from that of its training period: below 0.1 \
          little, above 0.25 much.".to_owned()),
        ("No look-ahead", escaped(no_look_ahead)),
    ];
    let mut out = String::from("<h2>What the words mean</h2>\n<dl>\n");
    for (word, meaning) in entries {
        let _ = writeln!(out, "<dt>{word}</dt><dd>{meaning}</dd>");
    }
    out + "</dl>\n"
}
