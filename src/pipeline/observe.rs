//! What the job tells about itself while it runs: per batch what a batch did, once a second how things stand.
//!
//! Takes looks at an [`Incarnation`]; writes to [`Metrics`] and [`Health`]. Keeps what each rule did since it was last
//! told.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::incarnation::Incarnation;
use super::{Answered, Progress};
use crate::alert::{AlertBatch, AlertMaker};
use crate::decision::{Decision, Outcome};
use crate::event::{Clock, Partition, SystemClock};
use crate::metrics::{
    Build, CommitResult, Health, HealthLimits, HistoryAges, HistoryTotals, Lag, Metrics, Phase,
    RecoveryTotals, RowTotals, RuleQuality, RuleWork, TransactionResult, WindowUse,
};
use crate::rules::Emit;
use crate::sink::Receipt;
use crate::source::RawBatch;
use crate::source::kafka::EndedCommits;

/// Where the job tells about itself.
#[derive(Clone)]
pub struct Observers {
    /// Numbers.
    pub metrics: Metrics,
    /// Whether it lives and answers.
    pub health: Arc<Health>,
    /// Whose readings health is judged by.
    pub clock: Arc<dyn Clock>,
}

impl Observers {
    /// Observers that count from now.
    pub fn start(grace: Duration) -> Self {
        let clock = SystemClock::start();
        let metrics = Metrics::new(&Build::this(), &clock);
        let health = Health::new(HealthLimits::with_grace(grace), clock.elapsed());
        Self { metrics, health: Arc::new(health), clock: Arc::new(clock) }
    }

    pub(super) fn enter(&self, phase: Phase) {
        self.health.enter(phase, self.clock.elapsed());
    }

    pub(super) fn recovering(&self, progress: Progress) {
        let rows = progress.absorbed + progress.replayed;
        let all = progress.to_absorb + progress.to_replay;
        #[expect(clippy::cast_precision_loss, reason = "a share for people")]
        let share = if all == 0 { 1.0 } else { (rows as f64 / all as f64).min(1.0) };
        self.enter(Phase::Recovering { progress: share });
        let (absorbed_rows, replayed_rows) = (progress.absorbed, progress.replayed);
        self.metrics.recovery(&RecoveryTotals { progress: share, absorbed_rows, replayed_rows });
    }
}

/// How often how things stand is told.
const INTERVAL: Duration = Duration::from_secs(1);

/// What rules did, by the order of their answers and their index.
type Worked = BTreeMap<(bool, usize), Work>;

/// Rows that were judged, and late ones among them, by the order of answers and stream.
type Judged = BTreeMap<(bool, usize), (u64, u64)>;

/// What was seen since it was last told.
#[derive(Default)]
pub(super) struct Seen {
    last: Option<Duration>,
    rules: Worked,
    judged: Judged,
    /// Decisions by outcome.
    decisions: [u64; 4],
    /// Kafka timestamp of the last record of each partition, by its index.
    timestamps: BTreeMap<u32, i64>,
}

#[derive(Default)]
struct Work {
    hits: u64,
    /// Rows among them, each once.
    hit_rows: u64,
    /// Those of them that came late.
    late_hit_rows: u64,
    /// Rows that it did not hit, of a time from which its windows may lack events.
    early: u64,
    alerts: u64,
    suppressed: u64,
    over_budget: u64,
    errors: u64,
}

impl Seen {
    /// Takes note of a batch that came in.
    pub(super) fn records(&mut self, metrics: &Metrics, batch: &RawBatch, streams: &[&str]) {
        let mut counts = vec![0_usize; streams.len()];
        for record in &batch.records {
            let stream = batch.partitions[record.partition as usize].stream;
            if let Some(count) = counts.get_mut(stream) {
                *count += 1;
            }
            if let Some(timestamp) = record.timestamp {
                self.timestamps.insert(record.partition, timestamp);
            }
        }
        for (stream, count) in streams.iter().zip(counts).filter(|(_, count)| *count > 0) {
            metrics.events_in(stream, count);
        }
    }

    /// Takes note of what rules did.
    pub(super) fn answered(&mut self, answered: &Answered, made: &AlertBatch) {
        let ordered = answered.emit == Emit::InOrder;
        let rows = &answered.batch.rows;
        let late = |row: &u32| rows.event_time[*row as usize] < answered.watermarks[*row as usize];
        for (stream, own) in answered.batch.streams.iter().enumerate().filter(|(_, own)| !own.rows.is_empty())
        {
            let (all, behind) = self.judged.entry((ordered, stream)).or_default();
            *all += own.rows.len() as u64;
            *behind += own.rows.iter().filter(|row| late(row)).count() as u64;
        }
        for found in &answered.hits.hits {
            let work = self.rules.entry((ordered, found.query)).or_default();
            work.hits += found.rows.len() as u64;
            let mut once = found.rows.clone();
            once.dedup();
            work.hit_rows += once.len() as u64;
            work.late_hit_rows += once.iter().filter(|row| late(row)).count() as u64;
        }
        for error in &answered.hits.errors {
            self.rules.entry((ordered, error.query)).or_default().errors += 1;
        }
        for alert in &made.alerts {
            self.rules.entry((ordered, alert.rule)).or_default().alerts += 1;
        }
        for rule in &made.suppressed_rules {
            self.rules.entry((ordered, *rule)).or_default().suppressed += 1;
        }
        for rule in &made.over_budget_rules {
            self.rules.entry((ordered, *rule)).or_default().over_budget += 1;
        }
    }

    /// Takes note of rows that a rule did not hit while its windows may have lacked events.
    pub(super) fn early(&mut self, emit: Emit, rule: usize, rows: u64) {
        self.rules.entry((emit == Emit::InOrder, rule)).or_default().early += rows;
    }

    /// Forgets what rules did.
    fn forget_rules(&mut self) {
        self.rules.clear();
        self.judged.clear();
    }

    /// Takes note of decisions.
    pub(super) fn decided(&mut self, decisions: &[Decision]) {
        for decision in decisions {
            self.decisions[decision.outcome as usize] += 1;
        }
    }
}

impl Incarnation<'_> {
    pub(super) fn observe_phase(&self, phase: Phase) {
        if let Some(observers) = &self.job.observers {
            observers.enter(phase);
        }
    }

    /// These partitions are ours, and their windows are rebuilt next.
    pub(super) fn observe_assigned(&self, partitions: &[Partition]) {
        let Some(observers) = &self.job.observers else { return };
        observers.metrics.assigned(partitions);
        observers.health.assigned(partitions.len());
        observers.metrics.recovery_began();
        self.observe_rule_set();
    }

    /// These rules are in force.
    pub(super) fn observe_rule_set(&self) {
        let Some(observers) = &self.job.observers else { return };
        let named = |maker: &'_ AlertMaker| -> Vec<(String, &'static str)> {
            let rules = maker.rules().iter().enumerate();
            rules.map(|(index, rule)| (rule.header.id.clone(), maker.status(index).name())).collect()
        };
        let rules: Vec<_> =
            [&self.parts.on_arrival, &self.parts.in_order].into_iter().flat_map(named).collect();
        let named = rules.iter().map(|(rule, status)| (rule.as_str(), *status));
        observers.metrics.rule_set(&self.parts.ruleset, named);
        observers.metrics.stopped_rules(self.parts.standings().stopped().len());
        self.observe_versions();
    }

    /// Counts rows that rules did not hit while their windows may have lacked events; there are none but for a while
    /// after a start or a change that could not fill them.
    pub(super) fn observe_early(&mut self, answered: &Answered) {
        let maker = match answered.emit {
            Emit::OnArrival => &self.parts.on_arrival,
            Emit::InOrder => &self.parts.in_order,
        };
        if self.job.observers.is_none()
            || (0..maker.rules().len()).all(|rule| maker.exact_since(rule).is_none())
        {
            return;
        }
        let Some(engine) = self.parts.core.engine_of(answered.emit) else { return };
        for rule in 0..maker.rules().len() {
            let Some(since) = maker.exact_since(rule) else { continue };
            let hits = answered.hits.hits.iter().find(|found| found.query == rule);
            let missed = |row: &&u32| {
                let at = answered.batch.rows.event_time[**row as usize];
                at < since.0
                    && at >= answered.watermarks[**row as usize]
                    && hits.is_none_or(|found| found.rows.binary_search(row).is_err())
            };
            let streams = engine.streams_of(rule);
            let rows = streams.iter().filter_map(|stream| answered.batch.streams.get(*stream));
            let early = rows.map(|own| own.rows.iter().filter(missed).count() as u64).sum();
            self.seen.early(answered.emit, rule, early);
        }
    }

    /// Id and version of each rule in force.
    pub(super) fn versions(&self) -> BTreeMap<String, String> {
        let makers = [&self.parts.on_arrival, &self.parts.in_order];
        let rules = makers.iter().flat_map(|maker| maker.rules().iter());
        rules.map(|rule| (rule.header.id.clone(), rule.version.clone())).collect()
    }

    /// Tells what rules did so far, before their places go to others.
    pub(super) fn flush_rules(&mut self) {
        self.measured.forget();
        match &self.job.observers {
            Some(observers) => self.observe_rules(&observers.metrics.clone()),
            None => self.seen.forget_rules(),
        }
    }

    /// A changed rules folder was taken up or refused.
    pub(super) fn observe_reload(&self, result: &str) {
        if let Some(observers) = &self.job.observers {
            observers.metrics.reload(result);
        }
    }

    pub(super) fn observe_recovery(&self, progress: Progress) {
        let Some(observers) = &self.job.observers else { return };
        observers.health.turned(observers.clock.elapsed());
        observers.recovering(progress);
    }

    pub(super) fn observe_recovered(&self, progress: Progress) {
        let Some(observers) = &self.job.observers else { return };
        observers.metrics.recovery_ended(progress.took);
        observers.enter(Phase::Running);
    }

    pub(super) fn observe_records(&mut self, batch: &RawBatch) {
        let Some(observers) = &self.job.observers else { return };
        let streams: Vec<&str> =
            self.parts.contract.streams.iter().map(|stream| stream.name.as_str()).collect();
        self.seen.records(&observers.metrics, batch, &streams);
    }

    /// A batch was decoded and answered since `began`.
    pub(super) fn observe_answered(&self, began: Duration) {
        if let Some(observers) = &self.job.observers {
            observers.metrics.step(self.job.clock.elapsed().saturating_sub(began));
        }
    }

    pub(super) fn observe_receipt(&mut self, receipt: Option<Receipt>) {
        if let (Some(observers), Some(receipt)) = (&self.job.observers, receipt) {
            self.latencies.durable(&observers.metrics, receipt.step(), self.job.clock.now_micros());
        }
    }

    /// So many messages were set aside because brokers refuse them.
    pub(super) fn observe_refused(&self, count: usize) {
        if let Some(observers) = &self.job.observers {
            observers.metrics.messages_refused(count);
        }
    }

    /// Commits of offsets ended outside of transactions.
    pub(super) fn observe_commits(&self, ended: EndedCommits) {
        let Some(observers) = &self.job.observers else { return };
        let took = self.commit_asked.map(|asked| self.job.clock.elapsed().saturating_sub(asked));
        observers.metrics.offsets_committed(CommitResult::Done, ended.done, took);
        observers.metrics.offsets_committed(CommitResult::Failed, ended.failed, took);
    }

    /// Once a turn: the loop lives; once a second: how things stand.
    pub(super) fn observe(&mut self) {
        let Some(observers) = &self.job.observers else { return };
        let now = observers.clock.elapsed();
        observers.health.turned(now);
        for took in self.sink.transactions().map(|sink| sink.commits()).unwrap_or_default() {
            observers.metrics.transaction(TransactionResult::Committed, took);
        }
        if self.seen.last.is_some_and(|last| now.saturating_sub(last) < INTERVAL) {
            return;
        }
        self.seen.last = Some(now);
        let metrics = &observers.metrics.clone();
        self.observe_rules(metrics);
        self.observe_lag(metrics);
        self.observe_windows(metrics);
        self.observe_history(metrics);
    }

    fn observe_rules(&mut self, metrics: &Metrics) {
        let mut rules = std::mem::take(&mut self.seen.rules);
        let judged = std::mem::take(&mut self.seen.judged);
        if let Some(clock) = self.job.observers.as_ref().map(|observers| Arc::clone(&observers.clock)) {
            for emit in [Emit::OnArrival, Emit::InOrder] {
                self.observe_rules_of(metrics, &clock, emit, (&mut rules, &judged));
            }
        }
        for (outcome, count) in Outcome::ALL.iter().zip(std::mem::take(&mut self.seen.decisions)) {
            metrics.decisions(outcome.name(), count);
        }
        let (frauds, genuine) = self.labels.counted();
        metrics.labels(frauds, genuine);
        self.observe_models(metrics);
        let counts = self.parts.core.counts().into_owned();
        metrics.rows(&RowTotals {
            answered: counts.answered,
            repeats: counts.repeats,
            late: counts.late,
            waiting: counts.waiting,
            dead_letters: &counts.dead_letters_by_kind,
        });
    }

    fn observe_rules_of(
        &mut self,
        metrics: &Metrics,
        clock: &Arc<dyn Clock>,
        emit: Emit,
        (rules, judged): (&mut Worked, &Judged),
    ) {
        let ordered = emit == Emit::InOrder;
        let Some(engine) = self.parts.core.engine_mut(emit) else { return };
        let costs = engine.costs(clock);
        self.measured.add(emit, &costs);
        let bytes = engine.bytes_by_query();
        let maker = if ordered { &self.parts.in_order } else { &self.parts.on_arrival };
        for (index, rule) in maker.rules().iter().enumerate() {
            let work = rules.remove(&(ordered, index)).unwrap_or_default();
            let of_streams = engine.streams_of(index).into_iter();
            let (rows, late) = of_streams
                .filter_map(|stream| judged.get(&(ordered, stream)))
                .fold((0, 0), |(rows, late), (all, behind)| (rows + all, late + behind));
            let late = late.saturating_sub(work.late_hit_rows);
            let held_back = work.suppressed + work.over_budget;
            let spared = work.hit_rows + work.errors + late + work.early;
            let nanos = costs.nanos_a_row(index).unwrap_or(0.0);
            #[expect(clippy::cast_precision_loss, reason = "an estimate")]
            let seconds = nanos * costs.rows as f64 / 1e9;
            metrics.rule(&RuleWork {
                rule: &rule.header.id,
                status: maker.status(index).name(),
                hits: work.hits,
                alerts: work.alerts,
                suppressed: work.suppressed,
                over_budget: work.over_budget,
                errors: work.errors,
                outcomes: [
                    ("hit", work.hits.saturating_sub(held_back)),
                    ("no_hit", rows.saturating_sub(spared)),
                    ("not_enough_history", work.early),
                    ("suppressed", held_back),
                    ("late", late),
                    ("error", work.errors),
                ],
                seconds,
                window_bytes: bytes.get(index).copied().unwrap_or_default(),
            });
            if let Some(quality) = self.labels.quality(rule) {
                metrics.rule_quality(&RuleQuality {
                    rule: &rule.header.id,
                    status: maker.status(index).name(),
                    results: [
                        ("true_positive", quality.true_positives),
                        ("false_positive", quality.false_positives),
                        ("missed", quality.missed),
                    ],
                    precision: quality.precision(),
                    recall: quality.recall(),
                });
            }
        }
    }

    fn observe_lag(&mut self, metrics: &Metrics) {
        let now = self.job.clock.now_micros();
        let ends = self.source.ends();
        let lags = self.offsets.iter().filter_map(|(partition, next)| {
            let end = *ends.get(partition)?;
            let records = end.saturating_sub(next.0).max(0).unsigned_abs();
            let read = self.index(partition).and_then(|index| self.seen.timestamps.get(&index));
            let age = read.filter(|_| records > 0).map_or(0, |read| now.saturating_sub(*read).max(0));
            Some(Lag { partition, records, age: Duration::from_micros(age.unsigned_abs()) })
        });
        metrics.lag(&lags.collect::<Vec<_>>());
        let watermark = self.parts.core.watermarks().current();
        if watermark != i64::MIN {
            metrics
                .watermark_delay(Duration::from_micros(now.saturating_sub(watermark).max(0).unsigned_abs()));
        }
    }

    fn observe_windows(&self, metrics: &Metrics) {
        let reports: Vec<(&str, usize, String, crate::window::Usage)> = self
            .parts
            .core
            .engines()
            .flat_map(|(emit, engine)| {
                let emit = if emit == Emit::InOrder { "in_order" } else { "on_arrival" };
                let windows = engine.windows().into_iter().enumerate();
                windows
                    .map(move |(index, report)| (emit, index, report.partition_by.join(", "), report.usage))
            })
            .collect();
        let uses: Vec<WindowUse<'_>> = reports
            .iter()
            .map(|(emit, index, keyed_by, usage)| WindowUse {
                emit,
                index: *index,
                keyed_by,
                keys: usage.keys,
                events: usage.events,
                bytes: usage.bytes,
            })
            .collect();
        metrics.windows(&uses, self.job.policy.memory_max as u64);
    }

    fn observe_history(&self, metrics: &Metrics) {
        let Some(status) = self.history.as_ref().map(crate::history::Writer::status) else { return };
        metrics.history(&HistoryTotals {
            rows: status.rows,
            bytes: status.bytes,
            failures: status.failures,
            dropped_rows: status.rows_dropped,
            waiting_rows: status.rows_waiting,
            segments: status.segments,
        });
        let now = self.job.clock.now_micros();
        let age = |at: i64| Duration::from_micros(now.saturating_sub(at).max(0).unsigned_abs());
        let ages = status.times.iter().map(|(partition, (oldest, newest))| HistoryAges {
            partition,
            newest: age(*newest),
            oldest: age(*oldest),
        });
        metrics.history_ages(&ages.collect::<Vec<_>>());
    }
}

impl super::Job<'_> {
    /// Tells the metrics why an incarnation ended; a transaction that was open is aborted by the next one.
    pub(super) fn observe_end(&self, error: &super::JobError, transaction_open: bool) {
        let Some(observers) = &self.observers else { return };
        let reason = match error {
            super::JobError::Lost => "partitions_lost",
            super::JobError::Sink(crate::sink::SinkError::Fenced { .. }) => "fenced",
            super::JobError::Sink(_) => "transaction",
            _ => "source",
        };
        observers.metrics.restarted(reason);
        let result = match error {
            super::JobError::Sink(crate::sink::SinkError::Transaction { .. }) => {
                Some(TransactionResult::Ambiguous)
            }
            _ => transaction_open.then_some(TransactionResult::Aborted),
        };
        if let Some(result) = result {
            observers.metrics.transaction(result, Duration::ZERO);
        }
        observers.enter(Phase::Starting);
    }
}
