//! The deployed job: Kafka in, alerts out, offsets committed with them or after them.
//!
//! Takes what is needed to make a source, a [`Core`] and a sink; runs until it is told to stop, then finishes
//! what is under way. A run is a row of [`Incarnation`]s: whatever leaves the end of a transaction unknown, or
//! takes the job's partitions away, ends one, and the next starts as a new process would: producers with the
//! same ids, committed offsets read back, windows rebuilt. So there is one way to recover, and it is walked
//! often.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::change::{Changed, Changes};
use super::incarnation::Incarnation;
use super::parts::Parts;
use super::quarantine::RuleBudget;
use super::refusal::{RecoveryPolicy, Refusal};
use super::{Core, Observers, Progress};
use crate::alert::Alert;
use crate::event::{Clock, Partition, Span};
use crate::graph::EngineError;
use crate::history::{History, HistoryError, WriterSettings};
use crate::sink::{Masking, Sink, SinkError};
use crate::source::kafka::{ConsumerSettings, SourceError, another_lives};

/// How a job runs.
#[derive(Debug, Clone)]
pub struct JobPolicy {
    /// The longest time that work stays uncommitted; zero commits after each batch.
    pub commit_interval: Span,
    /// For each stream of the contract, the silence after which a partition no longer holds the watermark.
    pub idle_after: Vec<Span>,
    /// Whether dead letters keep their record's bytes.
    pub masking: Masking,
    /// How long a shutdown waits for deliveries.
    pub grace: Duration,
    /// Name of this process, for the headers of alerts.
    pub instance: String,
    /// The most bytes that window state may hold.
    pub memory_max: usize,
    /// What a rule may cost.
    pub rule_budget: RuleBudget,
    /// Whether what happens to the job and its rules is recorded.
    pub audit: bool,
    /// What a start may go on without.
    pub recovery: RecoveryPolicy,
}

/// What happens while a job runs, for views and logs.
#[derive(Debug)]
pub enum JobEvent<'a> {
    /// Partitions are now ours; their windows are rebuilt next.
    Assigned(&'a [Partition]),
    /// Windows are being rebuilt.
    Recovering(Progress),
    /// Windows hold what they must, and answers go on.
    Recovered(Progress),
    /// A step was published.
    Step {
        /// Records it took in.
        rows: usize,
        /// Its alerts.
        alerts: &'a [Alert],
        /// Records it set aside.
        dead_letters: usize,
    },
    /// Rules were changed, or the change was refused.
    Changed(&'a Changed),
    /// A fault that the job gets over.
    Fault(&'a SourceError),
    /// An incarnation ended, and the next begins.
    Restarting(&'a JobError),
}

/// Why a job ended other than by being asked to.
#[derive(Debug, thiserror::Error)]
pub enum JobError {
    /// Reading failed for good.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// Delivering failed.
    #[error(transparent)]
    Sink(#[from] SinkError),
    /// The history can't be used.
    #[error(transparent)]
    History(#[from] HistoryError),
    /// The graph failed: a defect of the program.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The rules can't be run.
    #[error("{0}")]
    Rules(String),
    /// Going on would give wrong answers.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The group gave the partitions away before what they gave rise to was delivered.
    #[error(
        "the group took the partitions away before their answers were committed: they are answered again"
    )]
    Lost,
    /// Window state reached its limit.
    #[error(
        "window state holds {held} bytes, and `limits.memory` allows {allowed}: raise it, shorten windows, or add \
         instances; nothing is lost, and the next start goes on from the last commit"
    )]
    Memory {
        /// Bytes held.
        held: usize,
        /// Bytes allowed.
        allowed: usize,
    },
}

impl JobError {
    /// Whether starting again from the committed offsets may help.
    pub fn restarts(&self) -> bool {
        match self {
            Self::Lost | Self::Sink(SinkError::Transaction { .. } | SinkError::Fenced { .. }) => true,
            // Another process merged the segments that were planned with: plan again.
            Self::History(HistoryError::Changed { .. }) => true,
            Self::Source(fault) => fault.may_pass(),
            _ => false,
        }
    }
}

/// A history and how the job writes it.
pub struct Kept {
    /// The history.
    pub history: History,
    /// How segments are cut.
    pub writer: WriterSettings,
    /// How long events are kept beyond what windows need.
    pub keep: Span,
    /// Paces the writing.
    pub clock: Arc<dyn Clock>,
}

/// Everything that runs.
pub struct Job<'a> {
    /// Makes a core without state.
    pub parts: Box<dyn Fn() -> Result<Parts, JobError> + 'a>,
    /// What to read.
    pub consumer: ConsumerSettings,
    /// Makes the sink.
    pub sink: Box<dyn Fn() -> Result<Sink, SinkError> + 'a>,
    /// Where decoded events are kept.
    pub history: Option<Kept>,
    /// Where it tells about itself.
    pub observers: Option<Observers>,
    /// Changes of rules and switches, prepared by others; none: nothing changes while it runs.
    pub changes: Option<Changes>,
    /// How to run.
    pub policy: JobPolicy,
    /// Time of day, for headers and idle partitions.
    pub clock: &'a dyn Clock,
}

/// Waits between incarnations that fail one after the other.
const RESTART_WAITS: [Duration; 4] =
    [Duration::from_millis(100), Duration::from_millis(500), Duration::from_secs(2), Duration::from_secs(5)];

/// How often in a row a process may be shut out of the group though nobody else lives by its name.
const FENCED_BY_ITSELF_MAX: usize = 3;

impl Job<'_> {
    /// Runs until `stop` is set; then finishes, commits and leaves the group.
    pub fn run(self, stop: &AtomicBool, mut watch: impl FnMut(JobEvent<'_>)) -> Result<Core, JobError> {
        let mut incarnation = Incarnation::start(&self, super::incarnation::Birth::First)?;
        let (mut failures, mut fenced) = (0, 0);
        loop {
            let ended = match incarnation.run(stop, &mut watch) {
                Ok(()) => return incarnation.end(),
                Err(error) => incarnation.died(error, stop),
            };
            // A request to join that is sent again after its answer was lost shuts out the one before it.
            let by_itself = matches!(&ended, JobError::Source(fault) if fault.fenced())
                && fenced < FENCED_BY_ITSELF_MAX
                && !self.another_lives(stop);
            if !ended.restarts() && !by_itself {
                return Err(ended);
            }
            (failures, fenced) = match incarnation.delivered() {
                true => (0, 0),
                false => (failures + 1, fenced + usize::from(by_itself)),
            };
            self.observe_end(&ended, incarnation.transaction_open());
            watch(JobEvent::Restarting(&ended));
            let wanted = incarnation.making.take().map(|making| making.wanted.clone());
            let wanted = wanted.or(incarnation.wanted.take());
            incarnation.discard();
            incarnation = loop {
                self.wait(stop, RESTART_WAITS[failures.min(RESTART_WAITS.len() - 1)]);
                match Incarnation::start(&self, super::incarnation::Birth::Again) {
                    Ok(next) => break next,
                    // Brokers that are away when the job must start again may come back.
                    Err(error) if !stop.load(Ordering::Relaxed) && error.restarts() => {
                        failures += 1;
                        watch(JobEvent::Restarting(&error));
                    }
                    Err(error) => return Err(error),
                }
            };
            incarnation.wanted = wanted;
        }
    }

    fn another_lives(&self, stop: &AtomicBool) -> bool {
        tracing::info!(
            "this instance was shut out of its group: looking whether another process has its name"
        );
        another_lives(&self.consumer, self.clock, stop)
    }

    fn wait(&self, stop: &AtomicBool, wait: Duration) {
        let until = self.clock.elapsed() + wait;
        while self.clock.elapsed() < until && !stop.load(Ordering::Relaxed) {
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}
