//! What the loop tells: one call for a batch, a commit, an assignment or a change.
//!
//! Takes plain numbers, so that no stage has to be known here. Totals may start over at zero (a stage was
//! rebuilt): what is below the last total counts as growth from zero.

use std::collections::BTreeMap;
use std::time::Duration;

use super::results::{CommitResult, TransactionResult};
use super::series::Count;
use super::{Metrics, Remembered};
use crate::event::Partition;

/// Where rows went, as totals since the loop was last rebuilt.
#[derive(Debug, Clone, Copy)]
pub struct RowTotals<'a> {
    /// Rows that every rule has judged.
    pub answered: u64,
    /// Rows whose event id had come before.
    pub repeats: u64,
    /// Rows answered that came too late for in-order answers.
    pub late: u64,
    /// Rows that wait for the watermark: not a total, how many there are.
    pub waiting: u64,
    /// Records set aside, by kind of fault.
    pub dead_letters: &'a BTreeMap<&'static str, u64>,
}

/// What one rule did since it was last told.
#[derive(Debug, Clone, Copy)]
pub struct RuleWork<'a> {
    /// The rule's id.
    pub rule: &'a str,
    /// Its status: `live` or `shadow`.
    pub status: &'a str,
    /// Rows it hit.
    pub hits: u64,
    /// Alerts made of them.
    pub alerts: u64,
    /// Hits held back by `@dedup`.
    pub suppressed: u64,
    /// Hits past its `@budget`.
    pub over_budget: u64,
    /// Rows it could not be evaluated on.
    pub errors: u64,
    /// What became of its hits and of the other rows that it judged.
    pub outcomes: [(&'static str, u64); 6],
    /// Time that its evaluation took.
    pub seconds: f64,
    /// Bytes of window state that it holds now, by its share.
    pub window_bytes: usize,
}

/// What a model was given, beside its training period.
#[derive(Debug, Clone)]
pub struct ModelUse<'a> {
    /// The model's name.
    pub model: &'a str,
    /// Rows that it was asked about.
    pub rows: u64,
    /// Its inputs, and in how many of these rows each was missing.
    pub missing: Vec<(&'a str, u64)>,
    /// Inputs and scores with their population stability index.
    pub moved: Vec<(&'a str, f64)>,
}

/// How a rule has done, by the labels that have come.
#[derive(Debug, Clone, Copy)]
pub struct RuleQuality<'a> {
    /// The rule's id.
    pub rule: &'a str,
    /// How it stands: `live` or `shadow`.
    pub status: &'a str,
    /// Labelled events by what it made of them.
    pub results: [(&'static str, u64); 3],
    /// Share of its labelled hits that were fraud.
    pub precision: Option<f64>,
    /// Share of the labelled frauds that it hit.
    pub recall: Option<f64>,
}

/// What a rule made of a labelled event.
pub(super) const RESULTS: [&str; 3] = ["true_positive", "false_positive", "missed"];

/// Every outcome of a rule and a row.
pub(super) const OUTCOMES: [&str; 6] = ["hit", "no_hit", "not_enough_history", "suppressed", "late", "error"];

/// How far reading is behind, in one partition.
#[derive(Debug, Clone, Copy)]
pub struct Lag<'a> {
    /// The partition.
    pub partition: &'a Partition,
    /// Records that it holds and the job has not read.
    pub records: u64,
    /// Age of the first of them; zero when there is none.
    pub age: Duration,
}

/// What one window state holds.
#[derive(Debug, Clone, Copy)]
pub struct WindowUse<'a> {
    /// When its rules are answered: `on_arrival` or `in_order`.
    pub emit: &'a str,
    /// Its index among the windows of that order.
    pub index: usize,
    /// The columns it is keyed by, as the rules write them; never their values.
    pub keyed_by: &'a str,
    /// Keys.
    pub keys: usize,
    /// Buffered rows.
    pub events: usize,
    /// Memory in bytes.
    pub bytes: usize,
}

/// The latencies of one rule's alerts.
#[derive(Debug, Clone)]
pub struct RuleLatencies<'a> {
    /// The rule's id.
    pub rule: &'a str,
    /// How its alerts were made: `live` or `shadow`.
    pub status: &'a str,
    /// How long after its record's Kafka timestamp each alert was acknowledged.
    pub latencies: Vec<Duration>,
}

/// How old the events are that the history holds of a partition.
#[derive(Debug, Clone, Copy)]
pub struct HistoryAges<'a> {
    /// The partition.
    pub partition: &'a Partition,
    /// Age of the newest event.
    pub newest: Duration,
    /// Age of the oldest event.
    pub oldest: Duration,
}

/// The history's work, as totals since its writer started.
#[derive(Debug, Clone, Copy, Default)]
pub struct HistoryTotals {
    /// Rows written.
    pub rows: u64,
    /// Bytes written.
    pub bytes: u64,
    /// Writes that failed, before any retry.
    pub failures: u64,
    /// Rows given up.
    pub dropped_rows: u64,
    /// Segments written.
    pub segments: u64,
    /// Rows not written yet: not a total, how many there are.
    pub waiting_rows: u64,
}

/// How far a recovery has come, as totals since it began.
#[derive(Debug, Clone, Copy, Default)]
pub struct RecoveryTotals {
    /// The share that is done, from 0 to 1.
    pub progress: f64,
    /// Rows loaded from the history.
    pub absorbed_rows: u64,
    /// Rows read again from topics.
    pub replayed_rows: u64,
}

impl Metrics {
    /// A batch of one stream came in.
    pub fn events_in(&self, stream: &str, records: usize) {
        self.series().events_in.of(&[stream]).inc_by(records as u64);
    }

    /// Where rows have gone; once a batch.
    pub fn rows(&self, totals: &RowTotals<'_>) {
        let series = self.series();
        let mut remembered = self.remembered();
        let last = &mut remembered.rows;
        add_growth(&series.events_answered, last.entry("").or_default(), totals.answered);
        // A space keeps these apart from kinds of dead letters, which have none.
        add_growth(&series.events_repeated, last.entry(" repeats").or_default(), totals.repeats);
        add_growth(&series.events_late, last.entry(" late").or_default(), totals.late);
        series.events_waiting.set(totals.waiting as f64);
        for (kind, total) in totals.dead_letters {
            add_growth(&series.dead_letters.of(&[kind]), last.entry(kind).or_default(), *total);
        }
    }

    /// A batch was decoded and answered.
    pub fn step(&self, took: Duration) {
        self.series().step.observe(took.as_secs_f64());
    }

    /// A change of the rules folder or of weights was taken up (`done`) or `refused`.
    pub fn reload(&self, result: &str) {
        self.series().reloads.of(&[result]).inc();
    }

    /// So many decisions came to an outcome.
    pub fn decisions(&self, outcome: &str, count: u64) {
        if count > 0 {
            self.series().decisions.of(&[outcome]).inc_by(count);
        }
    }

    /// What a rule did since it was last told.
    pub fn rule(&self, done: &RuleWork<'_>) {
        let series = self.series();
        let labels = [done.rule, done.status];
        for (family, count) in [
            (&series.rule_hits, done.hits),
            (&series.alerts, done.alerts),
            (&series.alerts_suppressed, done.suppressed),
            (&series.alerts_over_budget, done.over_budget),
            (&series.rule_errors, done.errors),
        ] {
            if count > 0 {
                family.of(&labels).inc_by(count);
            }
        }
        for (outcome, count) in done.outcomes.iter().filter(|(_, count)| *count > 0) {
            series.rule_outcomes.of(&[done.rule, done.status, outcome]).inc_by(*count);
        }
        if done.seconds > 0.0 {
            series.rule_seconds.of(&labels).inc_by(done.seconds);
        }
        series.rule_bytes.of(&labels).set(done.window_bytes as f64);
    }

    /// How a rule has done so far.
    pub fn rule_quality(&self, quality: &RuleQuality<'_>) {
        let series = self.series();
        let labels = [quality.rule, quality.status];
        for (result, count) in quality.results {
            series.rule_labelled.of(&[quality.rule, quality.status, result]).set(count as f64);
        }
        for (family, share) in
            [(&series.rule_precision, quality.precision), (&series.rule_recall, quality.recall)]
        {
            if let Some(share) = share {
                family.of(&labels).set(share);
            }
        }
    }

    /// What all models were given so far; the series of models and inputs that are gone end.
    pub fn models(&self, all: &[ModelUse<'_>]) {
        let series = self.series();
        let mut remembered = self.remembered();
        let before = std::mem::take(&mut remembered.models);
        for done in all {
            let labels = |input: &str| [done.model.to_owned(), input.to_owned()];
            let last = |input: &str| before.get(&labels(input)).copied().unwrap_or_default();
            let mut rows = last("");
            add_growth(&series.model_rows.of(&[done.model]), &mut rows, done.rows);
            remembered.models.insert(labels(""), rows);
            for (input, missing) in &done.missing {
                let mut total = last(input);
                add_growth(&series.model_missing_values.of(&[done.model, input]), &mut total, *missing);
                remembered.models.insert(labels(input), total);
                let share = *missing as f64 / done.rows.max(1) as f64;
                series.model_missing.of(&[done.model, input]).set(share);
            }
            for (input, index) in &done.moved {
                series.model_stability.of(&[done.model, input]).set(*index);
                remembered.models.entry(labels(input)).or_default();
            }
        }
        for gone in before.keys().filter(|labels| !remembered.models.contains_key(*labels)) {
            let [model, input] = texts(gone);
            if input.is_empty() {
                series.model_rows.remove(&[model]);
                continue;
            }
            series.model_missing_values.remove(&[model, input]);
            series.model_missing.remove(&[model, input]);
            series.model_stability.remove(&[model, input]);
        }
    }

    /// So many events are labelled now: frauds, and others.
    pub fn labels(&self, frauds: u64, genuine: u64) {
        self.series().labels.of(&["fraud"]).set(frauds as f64);
        self.series().labels.of(&["genuine"]).set(genuine as f64);
    }

    /// A rule set is in force: its version, and each rule's id and status. Its rules start at zero, and the
    /// series of rules that are gone end.
    pub fn rule_set<'a>(&self, version: &str, rules: impl IntoIterator<Item = (&'a str, &'a str)>) {
        let series = self.series();
        let rules: Vec<_> =
            rules.into_iter().map(|(rule, status)| [rule.to_owned(), status.to_owned()]).collect();
        let counts = [
            &series.rule_hits,
            &series.alerts,
            &series.alerts_suppressed,
            &series.alerts_over_budget,
            &series.rule_errors,
        ];
        let mut remembered = self.remembered();
        for gone in remembered.rules.iter().filter(|rule| !rules.contains(rule)) {
            let labels = texts(gone);
            counts.iter().for_each(|family| family.remove(&labels));
            series.rule_seconds.remove(&labels);
            series.rule_latency.remove(&labels);
            series.rule_bytes.remove(&labels);
            series.rule_precision.remove(&labels);
            series.rule_recall.remove(&labels);
            RESULTS.iter().for_each(|result| series.rule_labelled.remove(&[labels[0], labels[1], result]));
            OUTCOMES.iter().for_each(|outcome| series.rule_outcomes.remove(&[labels[0], labels[1], outcome]));
        }
        for rule in &rules {
            let labels = texts(rule);
            for family in counts {
                family.of(&labels);
            }
            series.rule_seconds.of(&labels);
            series.rule_latency.of(&labels);
            series.rule_bytes.of(&labels);
            for outcome in OUTCOMES {
                series.rule_outcomes.of(&[labels[0], labels[1], outcome]);
            }
        }
        remembered.rules = rules;
        if let Some(before) = remembered.rule_set.replace(version.to_owned()) {
            series.rule_set.remove(&[&before]);
        }
        series.rule_set.of(&[version]).set(1.0);
    }

    /// So many rules are stopped.
    pub fn stopped_rules(&self, count: usize) {
        self.series().stopped_rules.set(count as f64);
    }

    /// How far reading is behind in each assigned partition.
    pub fn lag(&self, lags: &[Lag<'_>]) {
        let series = self.series();
        let mut remembered = self.remembered();
        for lag in lags {
            let labels = partition_labels(lag.partition);
            series.lag_records.of(&texts(&labels)).set(lag.records as f64);
            series.lag_seconds.of(&texts(&labels)).set(lag.age.as_secs_f64());
            if !remembered.partitions.contains(&labels) {
                remembered.partitions.push(labels);
            }
        }
    }

    /// How far the watermark is behind the time of day.
    pub fn watermark_delay(&self, delay: Duration) {
        self.series().watermark_delay.set(delay.as_secs_f64());
    }

    /// Alerts of a rule were acknowledged. Of a rule that is gone since they count for all rules only.
    pub fn alerts_acknowledged(&self, of_rule: &RuleLatencies<'_>) {
        let own = self.series().rule_latency.known(&[of_rule.rule, of_rule.status]);
        for latency in &of_rule.latencies {
            let seconds = latency.as_secs_f64();
            self.series().end_to_end.observe(seconds);
            if let Some(own) = &own {
                own.observe(seconds);
            }
        }
    }

    /// So many messages were refused by the brokers and set aside, after their rows had been answered.
    pub fn messages_refused(&self, count: usize) {
        if count > 0 {
            self.series().dead_letters.of(&["refused"]).inc_by(count as u64);
        }
    }

    /// A transaction ended, so long after the request to commit or abort it.
    pub fn transaction(&self, result: TransactionResult, took: Duration) {
        self.series().transactions.of(&[result.name()]).inc();
        self.series().commit.observe(took.as_secs_f64());
    }

    /// Commits of offsets outside transactions ended, so long after the last request where there was one.
    pub fn offsets_committed(&self, result: CommitResult, count: u64, took: Option<Duration>) {
        self.series().offset_commits.of(&[result.name()]).inc_by(count);
        if let Some(took) = took.filter(|_| count > 0) {
            self.series().commit.observe(took.as_secs_f64());
        }
    }

    /// What all windows hold, and the most they may; the series of windows that are gone end.
    pub fn windows(&self, windows: &[WindowUse<'_>], limit_bytes: u64) {
        let series = self.series();
        let mut remembered = self.remembered();
        let mut now = Vec::with_capacity(windows.len());
        for window in windows {
            let labels = [window.emit.to_owned(), window.index.to_string(), window.keyed_by.to_owned()];
            series.window_bytes.of(&texts(&labels)).set(window.bytes as f64);
            series.window_keys.of(&texts(&labels)).set(window.keys as f64);
            series.window_events.of(&texts(&labels)).set(window.events as f64);
            now.push(labels);
        }
        for gone in remembered.windows.iter().filter(|labels| !now.contains(labels)) {
            for family in [&series.window_bytes, &series.window_keys, &series.window_events] {
                family.remove(&texts(gone));
            }
        }
        remembered.windows = now;
        series.window_limit.set(limit_bytes as f64);
    }

    /// How the history is doing.
    pub fn history(&self, totals: &HistoryTotals) {
        let series = self.series();
        let [rows, bytes, failures, dropped, segments] = &mut self.remembered().history;
        add_growth(&series.history_rows, rows, totals.rows);
        add_growth(&series.history_bytes, bytes, totals.bytes);
        add_growth(&series.history_failures, failures, totals.failures);
        add_growth(&series.history_dropped, dropped, totals.dropped_rows);
        add_growth(&series.history_segments, segments, totals.segments);
        series.history_waiting.set(totals.waiting_rows as f64);
    }

    /// How old the events in the history are; partitions that are not assigned any more are left out.
    pub fn history_ages(&self, ages: &[HistoryAges<'_>]) {
        let series = self.series();
        let remembered = self.remembered();
        for age in ages {
            let labels = partition_labels(age.partition);
            if remembered.partitions.contains(&labels) {
                series.history_age.of(&texts(&labels)).set(age.newest.as_secs_f64());
                series.history_reach.of(&texts(&labels)).set(age.oldest.as_secs_f64());
            }
        }
    }

    /// A recovery begins.
    pub fn recovery_began(&self) {
        self.remembered().recovery = [0, 0];
        self.series().recovering.set(1.0);
        self.series().recovery_progress.set(0.0);
    }

    /// A recovery has come so far.
    pub fn recovery(&self, totals: &RecoveryTotals) {
        let series = self.series();
        let [absorbed, replayed] = &mut self.remembered().recovery;
        add_growth(&series.recovery_absorbed, absorbed, totals.absorbed_rows);
        add_growth(&series.recovery_replayed, replayed, totals.replayed_rows);
        series.recovery_progress.set(totals.progress.clamp(0.0, 1.0));
    }

    /// The recovery is done.
    pub fn recovery_ended(&self, took: Duration) {
        self.series().recovering.set(0.0);
        self.series().recovery_progress.set(1.0);
        self.series().recovery_last.set(took.as_secs_f64());
    }

    /// Producer, consumer and windows are rebuilt; totals of rows start over.
    pub fn restarted(&self, reason: &'static str) {
        self.remembered().rows.clear();
        self.series().restarts.of(&[reason]).inc();
    }

    /// The group has assigned these partitions, all that this process reads now; the series of others end.
    pub fn assigned(&self, partitions: &[Partition]) {
        let series = self.series();
        let now: Vec<_> = partitions.iter().map(partition_labels).collect();
        let Remembered { partitions: before, .. } = &mut *self.remembered();
        for gone in before.iter().filter(|labels| !now.contains(labels)) {
            for family in
                [&series.lag_records, &series.lag_seconds, &series.history_age, &series.history_reach]
            {
                family.remove(&texts(gone));
            }
        }
        *before = now;
        series.rebalances.inc();
        series.assigned.set(partitions.len() as f64);
    }
}

/// Adds what a total has grown by; one that is lower than before has started over.
fn add_growth(counter: &Count, last: &mut u64, total: u64) {
    let growth = if total >= *last { total - *last } else { total };
    *last = total;
    counter.inc_by(growth);
}

fn partition_labels(partition: &Partition) -> [String; 2] {
    [partition.topic.to_string(), partition.partition.to_string()]
}

fn texts<const N: usize>(labels: &[String; N]) -> [&str; N] {
    labels.each_ref().map(String::as_str)
}
