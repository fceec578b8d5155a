//! What the job tells about itself: metrics for Prometheus, and whether it lives and answers.
//!
//! Takes plain numbers from the loop, once a batch and never once a row; hands on OpenMetrics text. Keeps one
//! value a series. Nothing here fails or waits. What would surprise: totals of the loop start over when it
//! rebuilds itself, while counters must not, so totals are told as they stand and only their growth is added.
//! The names, labels and help stand in [`METRICS`], and nowhere else.

mod health;
mod names;
pub(crate) mod process;
mod results;
mod series;
mod updates;
mod versions;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;

pub use health::{Health, HealthLimits, Liveness, Phase, Readiness};
pub use names::{METRICS, MetricKind, MetricName};
pub use results::{CommitResult, TransactionResult};
pub use updates::{
    HistoryAges, HistoryTotals, Lag, ModelUse, RecoveryTotals, RowTotals, RuleLatencies, RuleQuality,
    RuleWork, WindowUse,
};

use crate::event::Clock;
use series::Series;

/// The content type of what [`Metrics::render`] returns.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The metrics of one process; clones share them.
#[derive(Debug, Clone)]
pub struct Metrics {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    registry: Registry,
    series: Series,
    remembered: Mutex<Remembered>,
}

/// What the last updates said: totals to take the growth from, and label values whose series must end when
/// what they name is gone.
#[derive(Debug, Default)]
struct Remembered {
    rows: BTreeMap<&'static str, u64>,
    history: [u64; 5],
    recovery: [u64; 2],
    rules: Vec<[String; 2]>,
    partitions: Vec<[String; 2]>,
    windows: Vec<[String; 3]>,
    /// Missing values by model and input; under an empty name the rows of a model.
    models: BTreeMap<[String; 2], u64>,
    /// Shadow versions and their live rules.
    versions: Vec<[String; 2]>,
    rule_set: Option<String>,
}

/// What the program was built from, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Build {
    /// Version of the package.
    pub version: &'static str,
    /// Commit of the source, from `TOLLGATE_REVISION` when it was built; else `unknown`.
    pub revision: &'static str,
    /// `release`, or `debug` with assertions.
    pub profile: &'static str,
}

impl Build {
    /// This program.
    pub fn this() -> Self {
        Self {
            version: env!("CARGO_PKG_VERSION"),
            revision: option_env!("TOLLGATE_REVISION").unwrap_or("unknown"),
            profile: if cfg!(debug_assertions) { "debug" } else { "release" },
        }
    }
}

impl Metrics {
    /// All metrics at zero; the process counts as started at the clock's time of day.
    pub fn new(build: &Build, clock: &dyn Clock) -> Self {
        let mut registry = Registry::default();
        let labels = [build.version, build.revision, build.profile].map(str::to_owned);
        let series = Series::register(&mut registry, labels);
        series.process_start.set(clock.now_micros() as f64 / 1e6);
        series.recovery_progress.set(1.0);
        series.watermark_delay.set(f64::NAN);
        series.recovery_last.set(f64::NAN);
        for result in [TransactionResult::Committed, TransactionResult::Aborted, TransactionResult::Ambiguous]
        {
            series.transactions.of(&[result.name()]);
        }
        for result in [CommitResult::Done, CommitResult::Failed] {
            series.offset_commits.of(&[result.name()]);
        }
        let inner = Inner { registry, series, remembered: Mutex::new(Remembered::default()) };
        Self { inner: Arc::new(inner) }
    }

    /// Everything as OpenMetrics text; `turn_age` is the time since the job's loop last turned.
    pub fn render(&self, turn_age: Duration) -> String {
        self.inner.series.last_turn.set(turn_age.as_secs_f64());
        process::update(&self.inner.series);
        let mut text = String::new();
        // Writing to a string does not fail; a metric that can't encode itself would leave the text short, and
        // a scraper refuses text without its last line.
        let _ = encode(&mut text, &self.inner.registry);
        text
    }

    fn series(&self) -> &Series {
        &self.inner.series
    }

    fn remembered(&self) -> MutexGuard<'_, Remembered> {
        self.inner.remembered.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
