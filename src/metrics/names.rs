//! The one list of metrics: name, kind, labels, and the help that is served with it.
//!
//! Names follow the conventions of Prometheus: a prefix, base units (`_seconds`, `_bytes`, `_ratio`) and `_total`
//! on what only grows. Labels take their values from rule files, settings, topics and this source, never from an
//! event, so that the number of series is known before the first one arrives. What would surprise: the process's
//! own use of the machine keeps the names that every client library gives it, without this program's prefix.

/// One metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MetricName {
    /// The name as a query writes it; of a histogram, without `_bucket`, `_sum` and `_count`.
    pub name: &'static str,
    /// How it moves.
    pub kind: MetricKind,
    /// Labels, in the order in which they are served.
    pub labels: &'static [&'static str],
    /// What it counts or measures.
    pub help: &'static str,
}

/// How a metric moves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MetricKind {
    /// Only grows, and starts at zero with the process.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Observations in buckets.
    Histogram,
    /// Always 1: its labels say something about the process.
    Info,
}

use MetricKind::{Counter, Gauge, Histogram, Info};

const fn metric(
    kind: MetricKind,
    name: &'static str,
    labels: &'static [&'static str],
    help: &'static str,
) -> MetricName {
    MetricName { name, kind, labels, help }
}

const RULE: &[&str] = &["rule", "status"];
const AGREEMENT: &[&str] = &["rule", "shadow_of", "agreement"];
const MODEL: &[&str] = &["model", "input"];
const PARTITION: &[&str] = &["topic", "partition"];
const WINDOW: &[&str] = &["emit", "window", "keyed_by"];

macro_rules! metrics {
    ($($constant:ident = $kind:ident $name:literal $labels:expr, $help:literal;)*) => {
        $(pub(super) const $constant: MetricName = metric($kind, $name, $labels, $help);)*

        /// Every metric that is served, in the order in which it is.
        pub const METRICS: &[MetricName] = &[$($constant),*];
    };
}

metrics! {
    EVENTS_IN = Counter "tollgate_events_in_total" &["stream"], "Records taken in; a record read again after a restart counts again";
    EVENTS_ANSWERED = Counter "tollgate_events_answered_total" &[], "Events that every rule has judged";
    EVENTS_REPEATED = Counter "tollgate_events_repeated_total" &[], "Events dropped because their id had come before";
    EVENTS_LATE = Counter "tollgate_events_late_total" &[], "Events answered that came too late for the promise of in-order answers";
    EVENTS_WAITING = Gauge "tollgate_events_waiting" &[], "Events that wait for the watermark";
    DEAD_LETTERS = Counter "tollgate_dead_letters_total" &["reason"], "Records set aside, by kind of fault";
    DECISIONS = Counter "tollgate_decisions_total" &["outcome"], "Decisions made, and published";

    RULE_HITS = Counter "tollgate_rule_hits_total" RULE, "Rows that a rule hit";
    ALERTS = Counter "tollgate_alerts_total" RULE, "Alerts made of hits, and published";
    ALERTS_SUPPRESSED = Counter "tollgate_alerts_suppressed_total" RULE, "Hits held back by @dedup";
    ALERTS_OVER_BUDGET = Counter "tollgate_alerts_over_budget_total" RULE, "Hits past the rule's @budget, which leave in summaries";
    RULE_ERRORS = Counter "tollgate_rule_errors_total" RULE, "Rows that a rule could not be evaluated on";
    RULE_OUTCOMES = Counter "tollgate_rule_outcomes_total" &["rule", "status", "outcome"], "What became of the rows that a rule judged: hit, no_hit, not_enough_history, suppressed (by @dedup or @budget), late (and no hit), error";
    RULE_SECONDS = Counter "tollgate_rule_evaluation_seconds_total" RULE, "Time that evaluating a rule took, its share of what it shares with others; estimated from one batch in sixteen";
    RULE_LATENCY = Histogram "tollgate_rule_latency_seconds" RULE, "From a record's Kafka timestamp until the rule's alert was acknowledged";
    RULE_BYTES = Gauge "tollgate_rule_window_bytes" RULE, "Window state that a rule holds, its share of what it shares with others";
    LABELS = Gauge "tollgate_labelled_events" &["label"], "Events that labels have come for: fraud, or genuine";
    RULE_LABELLED = Gauge "tollgate_rule_labelled_events" &["rule", "status", "result"], "Labelled events by what this version of the rule made of them: true_positive, false_positive, missed";
    RULE_PRECISION = Gauge "tollgate_rule_precision_ratio" RULE, "Share of a rule's labelled hits that were fraud";
    RULE_RECALL = Gauge "tollgate_rule_recall_ratio" RULE, "Share of the labelled frauds that a rule hit";
    SHADOW_AGREEMENT = Counter "tollgate_shadow_agreement_total" AGREEMENT, "Events that a shadow version or its live rule hit, by which of them did: both, live_only, shadow_only";
    MODEL_STABILITY = Gauge "tollgate_model_stability_index" MODEL, "Population stability index of an input or a score against the training period of its model: below 0.1 little has moved, above 0.25 much has";
    MODEL_ROWS = Counter "tollgate_model_rows_total" &["model"], "Rows that a model was asked about";
    MODEL_MISSING_VALUES = Counter "tollgate_model_missing_values_total" MODEL, "Rows that a model was asked about in which an input was missing";
    MODEL_MISSING = Gauge "tollgate_model_missing_ratio" MODEL, "Share of the rows that a model was asked about in which an input was missing";
    STOPPED_RULES = Gauge "tollgate_stopped_rules" &[], "Rules that are not evaluated, for they cost more than they may in shadow too";
    RELOADS = Counter "tollgate_reloads_total" &["result"], "Changes of the rules folder or of weights: done, or refused";
    RULE_SET = Gauge "tollgate_rule_set_info" &["version"], "Always 1: the rule set in force";

    LAG_RECORDS = Gauge "tollgate_lag_records" PARTITION, "Records in the partition that the job has not read yet";
    LAG_SECONDS = Gauge "tollgate_lag_seconds" PARTITION, "Age of the last record read while more wait; 0 when none do";
    WATERMARK_DELAY = Gauge "tollgate_watermark_delay_seconds" &[], "How far the watermark is behind the time of day; NaN before the first event";
    END_TO_END = Histogram "tollgate_alert_latency_seconds" &[], "From a record's Kafka timestamp until its alert was acknowledged";
    STEP = Histogram "tollgate_step_duration_seconds" &[], "Time to decode and answer one batch";

    TRANSACTIONS = Counter "tollgate_transactions_total" &["result"], "Kafka transactions by how they ended";
    OFFSET_COMMITS = Counter "tollgate_offset_commits_total" &["result"], "Commits of offsets outside transactions by how they ended";
    COMMIT = Histogram "tollgate_commit_duration_seconds" &[], "From the request to commit until its answer";

    WINDOW_BYTES = Gauge "tollgate_window_state_bytes" WINDOW, "Memory of a window's state";
    WINDOW_KEYS = Gauge "tollgate_window_keys" WINDOW, "Keys that a window holds";
    WINDOW_EVENTS = Gauge "tollgate_window_events" WINDOW, "Rows that a window holds";
    WINDOW_LIMIT = Gauge "tollgate_window_state_limit_bytes" &[], "The most that the state of all windows may hold";

    HISTORY_ROWS = Counter "tollgate_history_rows_total" &[], "Rows written to the history";
    HISTORY_BYTES = Counter "tollgate_history_written_bytes_total" &[], "Bytes written to the history";
    HISTORY_FAILURES = Counter "tollgate_history_failures_total" &[], "Writes to the history that failed, before any retry";
    HISTORY_DROPPED = Counter "tollgate_history_dropped_rows_total" &[], "Rows that never reached the history; a recovery reads them from the topic";
    HISTORY_SEGMENTS = Counter "tollgate_history_segments_total" &[], "Segments written to the history";
    HISTORY_WAITING = Gauge "tollgate_history_waiting_rows" &[], "Rows that are not in the history yet";
    HISTORY_AGE = Gauge "tollgate_history_age_seconds" PARTITION, "Age of the newest event in the history; grows while none comes, too";
    HISTORY_REACH = Gauge "tollgate_history_reach_seconds" PARTITION, "Age of the oldest event in the history: how far back it reaches";

    RECOVERING = Gauge "tollgate_recovering" &[], "1 while windows are rebuilt, else 0";
    RECOVERY_PROGRESS = Gauge "tollgate_recovery_progress_ratio" &[], "Share of the running recovery that is done; 1 when there is none";
    RECOVERY_ABSORBED = Counter "tollgate_recovery_absorbed_rows_total" &[], "Rows loaded from the history into windows";
    RECOVERY_REPLAYED = Counter "tollgate_recovery_replayed_rows_total" &[], "Rows read again from topics into windows";
    RECOVERY_LAST = Gauge "tollgate_recovery_last_duration_seconds" &[], "What the last recovery took; NaN before the first one";

    RESTARTS = Counter "tollgate_restarts_total" &["reason"], "Times that producer, consumer and windows were rebuilt within the process";
    REBALANCES = Counter "tollgate_rebalances_total" &[], "Times that the group's partitions were assigned anew";
    ASSIGNED = Gauge "tollgate_assigned_partitions" &[], "Partitions that this process reads";
    LAST_TURN = Gauge "tollgate_last_turn_age_seconds" &[], "Time since the job's loop last turned";

    BUILD = Info "tollgate_build_info" &["version", "revision", "profile"], "The program that runs";
    PROCESS_START = Gauge "process_start_time_seconds" &[], "When the process started, in seconds since 1970";
    PROCESS_CPU = Counter "process_cpu_seconds_total" &[], "Processor time of the process, user and system";
    PROCESS_RSS = Gauge "process_resident_memory_bytes" &[], "Memory of the process that is resident";
    PROCESS_FILES = Gauge "process_open_fds" &[], "File descriptors that the process has open";
}
