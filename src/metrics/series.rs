//! The metrics as they stand in the registry: what the updates move, and what a scrape reads.
//!
//! Takes the names of the list; keeps one value a series. A metric whose labels would take more than
//! [`LABEL_SETS_MAX`] values counts the rest under `other`: a defect elsewhere must not become one of the
//! monitoring too.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Metric, Registry, Unit};

use super::names::{self, MetricName};

/// Series of one metric at most. A thousand rules or partitions are far below it.
pub(super) const LABEL_SETS_MAX: usize = 10_000;

/// Longest label value, in characters; what comes after is cut.
const LABEL_CHARACTERS_MAX: usize = 120;

pub(super) type Count = Counter<u64, AtomicU64>;
pub(super) type Seconds = Counter<f64, AtomicU64>;
pub(super) type Level = Gauge<f64, AtomicU64>;
type LabelSet = Vec<(&'static str, String)>;

/// A metric with labels.
#[derive(Debug)]
pub(super) struct Labelled<M> {
    keys: &'static [&'static str],
    family: Family<LabelSet, M>,
    /// Series that there are; the family does not count them.
    known: AtomicUsize,
}

impl<M: Clone> Labelled<M> {
    /// The series of these values, made where it is new.
    pub(super) fn of(&self, values: &[&str]) -> M {
        let set = self.set(values);
        if let Some(known) = self.family.get(&set) {
            return known.clone();
        }
        let full = self.known.load(Ordering::Relaxed) >= LABEL_SETS_MAX;
        let other = || self.keys.iter().map(|key| (*key, "other".to_owned())).collect();
        if !full {
            self.known.fetch_add(1, Ordering::Relaxed);
        }
        self.family.get_or_create_owned(&if full { other() } else { set })
    }

    /// The series of these values, if there is one.
    pub(super) fn known(&self, values: &[&str]) -> Option<M> {
        self.family.get(&self.set(values)).map(|known| known.clone())
    }

    /// Ends the series of these values.
    pub(super) fn remove(&self, values: &[&str]) {
        if self.family.remove(&self.set(values)) {
            self.known.fetch_sub(1, Ordering::Relaxed);
        }
    }

    fn set(&self, values: &[&str]) -> LabelSet {
        let cut = |value: &str| value.chars().take(LABEL_CHARACTERS_MAX).collect();
        self.keys.iter().zip(values).map(|(key, value)| (*key, cut(value))).collect()
    }
}

/// Everything that is served, one field a metric of the list.
#[derive(Debug)]
pub(super) struct Series {
    pub(super) events_in: Labelled<Count>,
    pub(super) events_answered: Count,
    pub(super) events_repeated: Count,
    pub(super) events_late: Count,
    pub(super) events_waiting: Level,
    pub(super) dead_letters: Labelled<Count>,
    pub(super) decisions: Labelled<Count>,
    pub(super) rule_hits: Labelled<Count>,
    pub(super) alerts: Labelled<Count>,
    pub(super) alerts_suppressed: Labelled<Count>,
    pub(super) alerts_over_budget: Labelled<Count>,
    pub(super) rule_errors: Labelled<Count>,
    pub(super) rule_outcomes: Labelled<Count>,
    pub(super) rule_seconds: Labelled<Seconds>,
    pub(super) rule_latency: Labelled<Histogram>,
    pub(super) rule_bytes: Labelled<Level>,
    pub(super) labels: Labelled<Level>,
    pub(super) rule_labelled: Labelled<Level>,
    pub(super) rule_precision: Labelled<Level>,
    pub(super) rule_recall: Labelled<Level>,
    pub(super) shadow_agreement: Labelled<Count>,
    pub(super) model_stability: Labelled<Level>,
    pub(super) model_rows: Labelled<Count>,
    pub(super) model_missing_values: Labelled<Count>,
    pub(super) model_missing: Labelled<Level>,
    pub(super) stopped_rules: Level,
    pub(super) reloads: Labelled<Count>,
    pub(super) rule_set: Labelled<Level>,
    pub(super) lag_records: Labelled<Level>,
    pub(super) lag_seconds: Labelled<Level>,
    pub(super) watermark_delay: Level,
    pub(super) end_to_end: Histogram,
    pub(super) step: Histogram,
    pub(super) transactions: Labelled<Count>,
    pub(super) offset_commits: Labelled<Count>,
    pub(super) commit: Histogram,
    pub(super) window_bytes: Labelled<Level>,
    pub(super) window_keys: Labelled<Level>,
    pub(super) window_events: Labelled<Level>,
    pub(super) window_limit: Level,
    pub(super) history_rows: Count,
    pub(super) history_bytes: Count,
    pub(super) history_failures: Count,
    pub(super) history_dropped: Count,
    pub(super) history_segments: Count,
    pub(super) history_waiting: Level,
    pub(super) history_age: Labelled<Level>,
    pub(super) history_reach: Labelled<Level>,
    pub(super) recovering: Level,
    pub(super) recovery_progress: Level,
    pub(super) recovery_absorbed: Count,
    pub(super) recovery_replayed: Count,
    pub(super) recovery_last: Level,
    pub(super) restarts: Labelled<Count>,
    pub(super) rebalances: Count,
    pub(super) assigned: Level,
    pub(super) last_turn: Level,
    pub(super) process_start: Level,
    pub(super) process_cpu: Seconds,
    pub(super) process_rss: Level,
    pub(super) process_files: Level,
}

/// Steps and commits: from a tenth of a millisecond to a minute.
const DURATIONS: [f64; 17] =
    [0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 15.0, 60.0];

/// An alert's way: from a millisecond to the ten minutes after which nobody waits for it.
const LATENCIES: [f64; 18] = [
    0.001, 0.002, 0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 120.0,
    600.0,
];

/// The same of one rule: fewer, for there may be a thousand rules.
const RULE_LATENCIES: [f64; 9] = [0.005, 0.02, 0.05, 0.1, 0.5, 2.0, 10.0, 60.0, 600.0];

impl Series {
    /// Registers all metrics of the list, in its order.
    pub(super) fn register(registry: &mut Registry, build: [String; 3]) -> Self {
        let r = registry;
        let series = Self {
            events_in: labelled(r, &names::EVENTS_IN),
            events_answered: plain(r, &names::EVENTS_ANSWERED),
            events_repeated: plain(r, &names::EVENTS_REPEATED),
            events_late: plain(r, &names::EVENTS_LATE),
            events_waiting: plain(r, &names::EVENTS_WAITING),
            dead_letters: labelled(r, &names::DEAD_LETTERS),
            decisions: labelled(r, &names::DECISIONS),
            rule_hits: labelled(r, &names::RULE_HITS),
            alerts: labelled(r, &names::ALERTS),
            alerts_suppressed: labelled(r, &names::ALERTS_SUPPRESSED),
            alerts_over_budget: labelled(r, &names::ALERTS_OVER_BUDGET),
            rule_errors: labelled(r, &names::RULE_ERRORS),
            rule_outcomes: labelled(r, &names::RULE_OUTCOMES),
            rule_seconds: labelled(r, &names::RULE_SECONDS),
            rule_latency: labelled_with(r, &names::RULE_LATENCY, || Histogram::new(RULE_LATENCIES)),
            rule_bytes: labelled(r, &names::RULE_BYTES),
            labels: labelled(r, &names::LABELS),
            rule_labelled: labelled(r, &names::RULE_LABELLED),
            rule_precision: labelled(r, &names::RULE_PRECISION),
            rule_recall: labelled(r, &names::RULE_RECALL),
            shadow_agreement: labelled(r, &names::SHADOW_AGREEMENT),
            model_stability: labelled(r, &names::MODEL_STABILITY),
            model_rows: labelled(r, &names::MODEL_ROWS),
            model_missing_values: labelled(r, &names::MODEL_MISSING_VALUES),
            model_missing: labelled(r, &names::MODEL_MISSING),
            stopped_rules: plain(r, &names::STOPPED_RULES),
            reloads: labelled(r, &names::RELOADS),
            rule_set: labelled(r, &names::RULE_SET),
            lag_records: labelled(r, &names::LAG_RECORDS),
            lag_seconds: labelled(r, &names::LAG_SECONDS),
            watermark_delay: plain(r, &names::WATERMARK_DELAY),
            end_to_end: put(r, &names::END_TO_END, Histogram::new(LATENCIES)),
            step: put(r, &names::STEP, Histogram::new(DURATIONS)),
            transactions: labelled(r, &names::TRANSACTIONS),
            offset_commits: labelled(r, &names::OFFSET_COMMITS),
            commit: put(r, &names::COMMIT, Histogram::new(DURATIONS)),
            window_bytes: labelled(r, &names::WINDOW_BYTES),
            window_keys: labelled(r, &names::WINDOW_KEYS),
            window_events: labelled(r, &names::WINDOW_EVENTS),
            window_limit: plain(r, &names::WINDOW_LIMIT),
            history_rows: plain(r, &names::HISTORY_ROWS),
            history_bytes: plain(r, &names::HISTORY_BYTES),
            history_failures: plain(r, &names::HISTORY_FAILURES),
            history_dropped: plain(r, &names::HISTORY_DROPPED),
            history_segments: plain(r, &names::HISTORY_SEGMENTS),
            history_waiting: plain(r, &names::HISTORY_WAITING),
            history_age: labelled(r, &names::HISTORY_AGE),
            history_reach: labelled(r, &names::HISTORY_REACH),
            recovering: plain(r, &names::RECOVERING),
            recovery_progress: plain(r, &names::RECOVERY_PROGRESS),
            recovery_absorbed: plain(r, &names::RECOVERY_ABSORBED),
            recovery_replayed: plain(r, &names::RECOVERY_REPLAYED),
            recovery_last: plain(r, &names::RECOVERY_LAST),
            restarts: labelled(r, &names::RESTARTS),
            rebalances: plain(r, &names::REBALANCES),
            assigned: plain(r, &names::ASSIGNED),
            last_turn: plain(r, &names::LAST_TURN),
            process_start: plain(r, &names::PROCESS_START),
            process_cpu: plain(r, &names::PROCESS_CPU),
            process_rss: plain(r, &names::PROCESS_RSS),
            process_files: plain(r, &names::PROCESS_FILES),
        };
        let labels: LabelSet = names::BUILD.labels.iter().copied().zip(build).collect();
        let (name, help) = (names::BUILD.name.trim_end_matches("_info"), names::BUILD.help);
        r.register(name, help, Info::new(labels));
        series
    }
}

fn plain<M: Metric + Default + Clone>(registry: &mut Registry, name: &MetricName) -> M {
    put(registry, name, M::default())
}

fn labelled<M: Default>(registry: &mut Registry, name: &MetricName) -> Labelled<M>
where
    Family<LabelSet, M>: Metric,
{
    labelled_with(registry, name, M::default)
}

fn labelled_with<M>(registry: &mut Registry, name: &MetricName, new: fn() -> M) -> Labelled<M>
where
    Family<LabelSet, M>: Metric,
{
    let family = put(registry, name, Family::new_with_constructor(new));
    Labelled { keys: name.labels, family, known: AtomicUsize::new(0) }
}

/// Registers under the listed name: the registry itself adds `_total` to what counts, and units.
fn put<M: Metric + Clone>(registry: &mut Registry, name: &MetricName, metric: M) -> M {
    let base = name.name.strip_suffix("_total").unwrap_or(name.name);
    let units =
        [("_seconds", Unit::Seconds), ("_bytes", Unit::Bytes), ("_ratio", Unit::Other("ratio".into()))];
    let unit = units.into_iter().find_map(|(suffix, unit)| Some((base.strip_suffix(suffix)?, unit)));
    match unit {
        Some((stem, unit)) => registry.register_with_unit(stem, name.help, unit, metric.clone()),
        None => registry.register(base, name.help, metric.clone()),
    }
    metric
}
