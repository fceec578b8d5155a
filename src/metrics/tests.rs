//! Sentences about the list of metrics and what a scraper reads.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::series::LABEL_SETS_MAX;
use super::*;
use crate::event::{ManualClock, Partition};

const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn metrics() -> Metrics {
    let clock = ManualClock::default();
    clock.advance(seconds(1_700_000_000));
    Metrics::new(&Build { version: "1.2.3", revision: "abc", profile: "debug" }, &clock)
}

fn partition(topic: &str, partition: i32) -> Partition {
    Partition { topic: Arc::from(topic), partition }
}

fn rows<'a>(answered: u64, dead_letters: &'a BTreeMap<&'static str, u64>) -> RowTotals<'a> {
    RowTotals { answered, repeats: 1, late: 2, waiting: 3, dead_letters }
}

/// One sample line: name, labels, value.
type Sample = (String, Vec<(String, String)>, f64);

/// Reads OpenMetrics text line by line, as strictly as its specification: what is described, and the samples.
fn parse(text: &str) -> (BTreeMap<String, (String, String)>, Vec<Sample>) {
    let mut families: BTreeMap<String, (String, String)> = BTreeMap::new();
    let mut samples = Vec::new();
    let body = text.strip_suffix("# EOF\n").expect("the last line is # EOF");
    for line in body.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').expect(line);
            assert!(families.insert(name.to_owned(), (help.to_owned(), String::new())).is_none(), "{line}");
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').expect(line);
            families.get_mut(name).expect(line).1 = kind.to_owned();
        } else if let Some(rest) = line.strip_prefix("# UNIT ") {
            let (name, unit) = rest.split_once(' ').expect(line);
            assert!(families.contains_key(name) && name.ends_with(&format!("_{unit}")), "{line}");
        } else {
            samples.push(parse_sample(line));
        }
    }
    (families, samples)
}

fn parse_sample(line: &str) -> Sample {
    let end = line.find(['{', ' ']).expect(line);
    let (name, mut rest) = line.split_at(end);
    assert!(name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_'), "{line}");
    let mut labels = Vec::new();
    if let Some(inside) = rest.strip_prefix('{') {
        rest = inside;
        while let Some((label, after)) = rest.split_once("=\"") {
            let mut value = String::new();
            let mut escaped = false;
            let mut end = None;
            for (at, c) in after.char_indices() {
                match c {
                    _ if escaped => {
                        value.push(if c == 'n' { '\n' } else { c });
                        escaped = false;
                    }
                    '\\' => escaped = true,
                    '"' => {
                        end = Some(at);
                        break;
                    }
                    _ => value.push(c),
                }
            }
            labels.push((label.trim_start_matches(',').to_owned(), value));
            rest = &after[end.expect(line) + 1..];
            if rest.starts_with('}') {
                break;
            }
        }
        rest = rest.strip_prefix('}').expect(line);
    }
    (name.to_owned(), labels, rest.strip_prefix(' ').expect(line).parse().expect(line))
}

fn scrape(metrics: &Metrics) -> Vec<Sample> {
    parse(&metrics.render(seconds(1))).1
}

/// The value of the only series of that name with these label values.
fn value(metrics: &Metrics, name: &str, labels: &[&str]) -> Option<f64> {
    let fits = |sample: &&Sample| sample.0 == name && sample.1.iter().map(|(_, value)| value).eq(labels);
    let samples = scrape(metrics);
    let mut found = samples.iter().filter(fits);
    let first = found.next()?.2;
    assert!(found.next().is_none(), "{name}{labels:?} is there twice");
    Some(first)
}

fn model(name: &str, rows: u64, missing: u64) -> ModelUse<'_> {
    ModelUse {
        model: name,
        rows,
        missing: vec![("amount", missing)],
        moved: vec![("amount", 0.2), ("score", 0.3)],
    }
}

/// Metrics with at least one series each.
fn used() -> Metrics {
    let metrics = metrics();
    metrics.events_in("payments", 5);
    metrics.rows(&rows(4, &BTreeMap::from([("malformed", 1)])));
    metrics.rule_set("v1", [("big", "live"), ("odd", "shadow")]);
    metrics.shadow_versions([("odd", "big")]);
    metrics.assigned(&[partition("payments", 0)]);
    metrics.lag(&[Lag { partition: &partition("payments", 0), records: 7, age: seconds(2) }]);
    metrics.windows(
        &[WindowUse { emit: "on_arrival", index: 0, keyed_by: "card_id", keys: 1, events: 2, bytes: 300 }],
        1 << 30,
    );
    let (payments, newest, oldest) = (partition("payments", 0), seconds(3), seconds(90));
    metrics.history_ages(&[HistoryAges { partition: &payments, newest, oldest }]);
    metrics.restarted("transaction_aborted");
    metrics.decisions("allow", 2);
    metrics.reload("done");
    metrics.labels(3, 4);
    metrics.models(&[model("risk", 8, 2)]);
    metrics.rule_quality(&RuleQuality {
        rule: "big",
        status: "live",
        results: [("true_positive", 1), ("false_positive", 3), ("missed", 2)],
        precision: Some(0.25),
        recall: Some(1.0 / 3.0),
    });
    metrics
}

#[test]
fn every_name_follows_the_conventions_of_its_kind() {
    let units = ["seconds", "bytes", "ratio"];
    for metric in METRICS {
        let name = metric.name;
        assert!(name.starts_with("tollgate_") || name.starts_with("process_"), "{name}");
        assert!(name.chars().all(|c| c.is_ascii_lowercase() || c == '_'), "{name}");
        assert!(!name.contains("__") && !name.ends_with('_'), "{name}");
        assert_eq!(name.ends_with("_total"), metric.kind == MetricKind::Counter, "{name}");
        assert_eq!(metric.kind == MetricKind::Info, name == "tollgate_build_info", "{name}");
        // Base units, and only at the end.
        for part in ["milli", "micro", "_ms", "_us", "_minutes", "kilo", "mib", "percent"] {
            assert!(!name.contains(part), "{name} is not in base units");
        }
        let stem = name.trim_end_matches("_total");
        let measures_time = ["duration", "latency", "delay", "age", "time", "cost"]
            .iter()
            .any(|word| stem.split('_').any(|part| part == *word));
        assert!(!measures_time || stem.ends_with("_seconds"), "{name} measures time");
        if metric.kind == MetricKind::Histogram {
            assert!(units.iter().any(|unit| stem.ends_with(unit)), "{name} has no unit");
        }
        assert!(metric.help.len() > 15 && !metric.help.ends_with('.'), "{name}: {}", metric.help);
        assert!(
            metric.help.starts_with(|c: char| c.is_ascii_uppercase() || c == '1'),
            "{name}: {}",
            metric.help
        );
    }
    let names: BTreeSet<_> = METRICS.iter().map(|metric| metric.name).collect();
    assert_eq!(names.len(), METRICS.len(), "a name is listed twice");
}

#[test]
fn what_is_served_is_what_is_listed_with_its_help_kind_and_labels() {
    let text = used().render(seconds(1));
    let (families, samples) = parse(&text);
    for metric in METRICS {
        let (family, kind) = match metric.kind {
            MetricKind::Counter => (metric.name.trim_end_matches("_total"), "counter"),
            MetricKind::Gauge => (metric.name, "gauge"),
            MetricKind::Histogram => (metric.name, "histogram"),
            MetricKind::Info => (metric.name.trim_end_matches("_info"), "info"),
        };
        let (help, served) = families.get(family).unwrap_or_else(|| panic!("{family} is not served"));
        assert_eq!((help.trim_end_matches('.'), served.as_str()), (metric.help, kind), "{family}");
        let sample_name = match metric.kind {
            MetricKind::Histogram => format!("{}_bucket", metric.name),
            _ => metric.name.to_owned(),
        };
        let found: Vec<_> = samples.iter().filter(|sample| sample.0 == sample_name).collect();
        assert!(!found.is_empty(), "{sample_name} has no sample");
        for (_, labels, _) in found {
            let keys: Vec<_> =
                labels.iter().map(|(key, _)| key.as_str()).filter(|key| *key != "le").collect();
            assert_eq!(keys, metric.labels, "{sample_name}");
        }
    }
    assert_eq!(families.len(), METRICS.len(), "{:?}", families.keys());
}

#[test]
fn no_label_is_named_after_something_that_events_bring() {
    let known = [
        "stream",
        "outcome",
        "reason",
        "rule",
        "status",
        "version",
        "topic",
        "partition",
        "result",
        "emit",
        "window",
        "keyed_by",
        "revision",
        "profile",
        "label",
        "shadow_of",
        "agreement",
        "model",
        "input",
    ];
    for metric in METRICS {
        for label in metric.labels {
            assert!(known.contains(label), "{}: where do the values of `{label}` come from?", metric.name);
        }
    }
}

#[test]
fn totals_that_start_over_never_take_a_counter_back() {
    let metrics = metrics();
    let answered = || value(&metrics, "tollgate_events_answered_total", &[]);
    let malformed = || value(&metrics, "tollgate_dead_letters_total", &["malformed"]);
    metrics.rows(&rows(10, &BTreeMap::from([("malformed", 2)])));
    metrics.rows(&rows(15, &BTreeMap::from([("malformed", 2)])));
    assert_eq!((answered(), malformed()), (Some(15.0), Some(2.0)));
    metrics.restarted("partitions_gained");
    metrics.rows(&rows(20, &BTreeMap::from([("malformed", 3)])));
    assert_eq!((answered(), malformed()), (Some(35.0), Some(5.0)));
    // Without being told of a restart, a lower total is one.
    metrics.rows(&rows(1, &BTreeMap::new()));
    assert_eq!(answered(), Some(36.0));
    assert_eq!(value(&metrics, "tollgate_events_repeated_total", &[]), Some(2.0));
    assert_eq!(value(&metrics, "tollgate_events_waiting", &[]), Some(3.0));
    assert_eq!(value(&metrics, "tollgate_restarts_total", &["partitions_gained"]), Some(1.0));
}

#[test]
fn rules_start_at_zero_count_their_work_and_end_with_their_file() {
    let metrics = metrics();
    metrics.rule_set("v1", [("big", "live"), ("odd", "shadow")]);
    assert_eq!(value(&metrics, "tollgate_alerts_total", &["odd", "shadow"]), Some(0.0));
    let work = RuleWork {
        rule: "big",
        status: "live",
        hits: 3,
        alerts: 2,
        suppressed: 1,
        over_budget: 5,
        errors: 4,
        outcomes: [
            ("hit", 2),
            ("no_hit", 90),
            ("not_enough_history", 0),
            ("suppressed", 1),
            ("late", 3),
            ("error", 4),
        ],
        seconds: 0.25,
        window_bytes: 700,
    };
    metrics.rule(&work);
    metrics.rule(&work);
    for (name, expected) in [
        ("tollgate_rule_hits_total", 6.0),
        ("tollgate_alerts_total", 4.0),
        ("tollgate_alerts_suppressed_total", 2.0),
        ("tollgate_alerts_over_budget_total", 10.0),
        ("tollgate_rule_errors_total", 8.0),
        ("tollgate_rule_evaluation_seconds_total", 0.5),
        ("tollgate_rule_window_bytes", 700.0),
    ] {
        assert_eq!(value(&metrics, name, &["big", "live"]), Some(expected), "{name}");
    }
    let outcome = |name: &str| value(&metrics, "tollgate_rule_outcomes_total", &["big", "live", name]);
    assert_eq!((outcome("no_hit"), outcome("not_enough_history")), (Some(180.0), Some(0.0)));
    metrics.rule_set("v2", [("big", "live"), ("new", "live")]);
    assert_eq!(value(&metrics, "tollgate_alerts_total", &["big", "live"]), Some(4.0));
    assert_eq!(value(&metrics, "tollgate_alerts_total", &["odd", "shadow"]), None);
    assert_eq!(value(&metrics, "tollgate_rule_outcomes_total", &["odd", "shadow", "hit"]), None);
    assert_eq!(value(&metrics, "tollgate_rule_window_bytes", &["odd", "shadow"]), None);
    assert_eq!(value(&metrics, "tollgate_rule_set_info", &["v2"]), Some(1.0));
    assert_eq!(value(&metrics, "tollgate_rule_set_info", &["v1"]), None);
}

#[test]
fn missing_values_of_models_are_counted_over_reloads_and_a_model_that_is_gone_leaves_nothing() {
    let metrics = metrics();
    metrics.models(&[model("old", 10, 4), model("risk", 8, 2)]);
    metrics.models(&[model("old", 10, 4), model("risk", 16, 3)]);
    // Read again, it counts from zero.
    metrics.models(&[model("risk", 5, 1)]);
    let of = |name: &str, labels: &[&str]| value(&metrics, name, labels);
    assert_eq!(of("tollgate_model_rows_total", &["risk"]), Some(21.0));
    assert_eq!(of("tollgate_model_missing_values_total", &["risk", "amount"]), Some(4.0));
    assert_eq!(of("tollgate_model_missing_ratio", &["risk", "amount"]), Some(0.2));
    assert_eq!(of("tollgate_model_stability_index", &["risk", "score"]), Some(0.3));
    assert!(!metrics.render(seconds(1)).contains("model=\"old\""));
}

#[test]
fn the_number_of_series_does_not_grow_with_reloads_and_rebalances() {
    let metrics = metrics();
    let mut sizes = BTreeSet::new();
    for round in 0..50 {
        let rules: Vec<_> = (0..10).map(|rule| format!("rule_{round}_{rule}")).collect();
        metrics.rule_set(&format!("v{round}"), rules.iter().map(|rule| (rule.as_str(), "live")));
        let partitions: Vec<_> = (0..8).map(|index| partition("payments", round * 8 + index)).collect();
        metrics.assigned(&partitions);
        let lags: Vec<_> =
            partitions.iter().map(|partition| Lag { partition, records: 1, age: seconds(1) }).collect();
        metrics.lag(&lags);
        let keyed_by = format!("column_{round}");
        let window =
            WindowUse { emit: "in_order", index: 0, keyed_by: &keyed_by, keys: 1, events: 1, bytes: 1 };
        metrics.windows(&[window], 100);
        sizes.insert(scrape(&metrics).len());
    }
    assert_eq!(sizes.len(), 1, "{sizes:?}");
}

#[test]
fn values_without_end_are_counted_together_once_the_limit_is_reached() {
    let metrics = metrics();
    for stream in 0..LABEL_SETS_MAX + 500 {
        metrics.events_in(&stream.to_string(), 1);
    }
    let count = scrape(&metrics).iter().filter(|sample| sample.0 == "tollgate_events_in_total").count();
    assert_eq!(count, LABEL_SETS_MAX + 1);
    assert_eq!(value(&metrics, "tollgate_events_in_total", &["other"]), Some(500.0));
}

#[test]
fn a_label_keeps_quotes_line_ends_and_backslashes_and_loses_what_is_too_long() {
    let metrics = metrics();
    let odd = "a\"b\\c\nd";
    let long = "x".repeat(1000);
    metrics.events_in(odd, 1);
    metrics.events_in(&long, 1);
    assert_eq!(value(&metrics, "tollgate_events_in_total", &[odd]), Some(1.0));
    assert_eq!(value(&metrics, "tollgate_events_in_total", &[&"x".repeat(120)]), Some(1.0));
}

#[test]
fn buckets_hold_what_was_observed_and_grow_to_the_count() {
    let metrics = metrics();
    metrics.rule_set("v1", [("big", "live")]);
    let latencies = vec![Duration::from_millis(3), Duration::from_millis(60), seconds(7000)];
    metrics.alerts_acknowledged(&RuleLatencies { rule: "big", status: "live", latencies });
    let samples = scrape(&metrics);
    let bucket = |limit: &str| {
        let fits = |sample: &&Sample| {
            sample.0 == "tollgate_alert_latency_seconds_bucket"
                && sample.1.iter().any(|(_, value)| value == limit)
        };
        samples.iter().find(fits).map(|sample| sample.2)
    };
    assert_eq!((bucket("0.002"), bucket("0.005")), (Some(0.0), Some(1.0)));
    assert_eq!((bucket("0.05"), bucket("0.075")), (Some(1.0), Some(2.0)));
    assert_eq!((bucket("600.0"), bucket("+Inf")), (Some(2.0), Some(3.0)));
    assert_eq!(value(&metrics, "tollgate_alert_latency_seconds_count", &[]), Some(3.0));
    let sum = value(&metrics, "tollgate_alert_latency_seconds_sum", &[]).expect("a sum");
    assert!((sum - 7000.063).abs() < 1e-9, "{sum}");
}

#[test]
fn each_rule_in_force_has_the_latency_of_its_own_alerts() {
    let metrics = metrics();
    metrics.rule_set("v1", [("big", "live"), ("odd", "shadow")]);
    let count =
        |rule: &str, status: &str| value(&metrics, "tollgate_rule_latency_seconds_count", &[rule, status]);
    assert_eq!((count("big", "live"), count("odd", "shadow")), (Some(0.0), Some(0.0)));
    let of = |rule: &'static str, status: &'static str, millis: &[u64]| {
        let latencies = millis.iter().copied().map(Duration::from_millis).collect();
        metrics.alerts_acknowledged(&RuleLatencies { rule, status, latencies });
    };
    of("big", "live", &[3, 40]);
    of("odd", "shadow", &[700]);
    assert_eq!((count("big", "live"), count("odd", "shadow")), (Some(2.0), Some(1.0)));
    let within =
        |limit: &str| value(&metrics, "tollgate_rule_latency_seconds_bucket", &[limit, "big", "live"]);
    assert_eq!((within("0.005"), within("0.05")), (Some(1.0), Some(2.0)));
    // What was under way when its rule went counts for all rules, and brings no series back.
    metrics.rule_set("v2", [("big", "live")]);
    of("odd", "shadow", &[900]);
    assert_eq!(count("odd", "shadow"), None);
    assert_eq!(value(&metrics, "tollgate_alert_latency_seconds_count", &[]), Some(4.0));
}

#[test]
fn the_history_tells_how_old_its_events_are_for_as_long_as_a_partition_is_assigned() {
    let metrics = metrics();
    let (ours, gone) = (partition("payments", 0), partition("payments", 1));
    let ages = |partition| HistoryAges { partition, newest: seconds(12), oldest: seconds(3_600) };
    let age = |number: &str| value(&metrics, "tollgate_history_age_seconds", &["payments", number]);
    let reach = |number: &str| value(&metrics, "tollgate_history_reach_seconds", &["payments", number]);
    metrics.assigned(&[ours.clone(), gone.clone()]);
    metrics.history_ages(&[ages(&ours), ages(&gone)]);
    assert_eq!((age("1"), reach("1")), (Some(12.0), Some(3_600.0)));
    metrics.assigned(std::slice::from_ref(&ours));
    assert_eq!((age("1"), reach("1")), (None, None));
    // The writer may not know yet that the partition is gone.
    metrics.history_ages(&[ages(&ours), ages(&gone)]);
    assert_eq!((age("0"), reach("0"), age("1")), (Some(12.0), Some(3_600.0), None));
}

#[test]
fn commits_are_counted_by_result_from_zero_and_timed_together() {
    let metrics = metrics();
    assert_eq!(value(&metrics, "tollgate_transactions_total", &["ambiguous"]), Some(0.0));
    metrics.transaction(TransactionResult::Committed, Duration::from_millis(4));
    metrics.transaction(TransactionResult::Ambiguous, seconds(2));
    metrics.offsets_committed(CommitResult::Done, 1, Some(Duration::from_millis(1)));
    metrics.offsets_committed(CommitResult::Failed, 0, Some(Duration::from_millis(9)));
    metrics.messages_refused(2);
    for (name, result, count) in [
        ("tollgate_transactions_total", "committed", 1.0),
        ("tollgate_transactions_total", "aborted", 0.0),
        ("tollgate_transactions_total", "ambiguous", 1.0),
        ("tollgate_offset_commits_total", "done", 1.0),
        ("tollgate_offset_commits_total", "failed", 0.0),
        ("tollgate_dead_letters_total", "refused", 2.0),
    ] {
        assert_eq!(value(&metrics, name, &[result]), Some(count), "{name} {result}");
    }
    assert_eq!(value(&metrics, "tollgate_commit_duration_seconds_count", &[]), Some(3.0));
}

#[test]
fn a_recovery_shows_its_progress_and_each_one_adds_its_rows() {
    let metrics = metrics();
    let recovering = || value(&metrics, "tollgate_recovering", &[]);
    let progress = || value(&metrics, "tollgate_recovery_progress_ratio", &[]);
    assert_eq!((recovering(), progress()), (Some(0.0), Some(1.0)));
    for _ in 0..2 {
        metrics.recovery_began();
        metrics.recovery(&RecoveryTotals { progress: 0.5, absorbed_rows: 100, replayed_rows: 0 });
        assert_eq!((recovering(), progress()), (Some(1.0), Some(0.5)));
        metrics.recovery(&RecoveryTotals { progress: 1.0, absorbed_rows: 100, replayed_rows: 10 });
        metrics.recovery_ended(seconds(3));
        assert_eq!((recovering(), progress()), (Some(0.0), Some(1.0)));
    }
    assert_eq!(value(&metrics, "tollgate_recovery_absorbed_rows_total", &[]), Some(200.0));
    assert_eq!(value(&metrics, "tollgate_recovery_replayed_rows_total", &[]), Some(20.0));
    assert_eq!(value(&metrics, "tollgate_recovery_last_duration_seconds", &[]), Some(3.0));
}

#[test]
fn the_history_tells_totals_and_what_waits() {
    let metrics = metrics();
    let totals =
        HistoryTotals { rows: 10, bytes: 1000, failures: 1, dropped_rows: 2, segments: 3, waiting_rows: 4 };
    metrics.history(&totals);
    metrics.history(&HistoryTotals { rows: 15, segments: 5, waiting_rows: 0, ..totals });
    for (name, expected) in [
        ("tollgate_history_rows_total", 15.0),
        ("tollgate_history_written_bytes_total", 1000.0),
        ("tollgate_history_failures_total", 1.0),
        ("tollgate_history_dropped_rows_total", 2.0),
        ("tollgate_history_segments_total", 5.0),
        ("tollgate_history_waiting_rows", 0.0),
    ] {
        assert_eq!(value(&metrics, name, &[]), Some(expected), "{name}");
    }
}

#[test]
fn what_is_not_known_yet_is_not_a_number() {
    let metrics = metrics();
    assert!(value(&metrics, "tollgate_watermark_delay_seconds", &[]).is_some_and(f64::is_nan));
    metrics.watermark_delay(Duration::from_millis(250));
    assert_eq!(value(&metrics, "tollgate_watermark_delay_seconds", &[]), Some(0.25));
}

#[test]
fn the_process_tells_when_it_started_what_it_is_and_what_it_uses() {
    let metrics = metrics();
    assert_eq!(value(&metrics, "process_start_time_seconds", &[]), Some(1_700_000_000.0));
    assert_eq!(value(&metrics, "tollgate_build_info", &["1.2.3", "abc", "debug"]), Some(1.0));
    if cfg!(target_os = "linux") {
        let resident = value(&metrics, "process_resident_memory_bytes", &[]).expect("is served");
        assert!(resident > 1e6, "{resident}");
        assert!(value(&metrics, "process_open_fds", &[]).is_some_and(|files| files >= 3.0));
    }
}
