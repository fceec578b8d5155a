//! Whether the job lives and whether it answers: written by its loop, read by whoever asks over HTTP.
//!
//! Takes a mark for each turn of the loop and each change of phase; hands on a judgement for a moment. Keeps four
//! numbers and no lock, so that a loop that hangs can't hang its observer too. What would surprise: waiting for a
//! broker is no reason to be restarted, so a job that starts or drains may take longer for a turn.

use std::sync::atomic::{AtomicI64, AtomicU8, AtomicU64, Ordering};
use std::time::Duration;

/// What the job is doing.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Phase {
    /// It connects and waits for its partitions.
    Starting,
    /// It rebuilds windows.
    Recovering {
        /// The share that is done, from 0 to 1.
        progress: f64,
    },
    /// Its windows are filled, and it waits for other instances to have the same rules.
    Agreeing,
    /// It answers events.
    Running,
    /// It finishes what is under way.
    Draining,
    /// It has ended.
    Stopped,
}

impl Phase {
    /// The phase in one word.
    pub fn name(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Recovering { .. } => "recovering",
            Self::Agreeing => "agreeing",
            Self::Running => "running",
            Self::Draining => "draining",
            Self::Stopped => "stopped",
        }
    }
}

/// How long the loop may take for one turn before it counts as hung.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HealthLimits {
    /// While it recovers or runs.
    pub turn: Duration,
    /// While it starts: connecting and joining a group take their time.
    pub start: Duration,
    /// While it drains: the shutdown's grace and some more.
    pub drain: Duration,
}

impl HealthLimits {
    /// Thirty seconds a turn, five minutes to start, and the shutdown's grace and a turn to drain.
    pub fn with_grace(grace: Duration) -> Self {
        let turn = Duration::from_secs(30);
        Self { turn, start: Duration::from_secs(300), drain: grace.saturating_add(turn) }
    }
}

/// The job's state, shared between its loop and its observers.
#[derive(Debug)]
pub struct Health {
    limits: HealthLimits,
    phase: AtomicU8,
    /// The bits of a float.
    progress: AtomicU64,
    /// Microseconds on the clock's monotonic reading.
    turned: AtomicU64,
    /// Partitions assigned; none yet below zero.
    partitions: AtomicI64,
}

/// Whether the loop turns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Liveness {
    /// It does.
    Alive {
        /// Since its last turn.
        age: Duration,
    },
    /// It doesn't, and should be restarted.
    Hung {
        /// Why.
        reason: String,
    },
}

/// Whether events are answered here.
#[derive(Debug, Clone, PartialEq)]
pub struct Readiness {
    /// What the job is doing.
    pub phase: Phase,
    /// Partitions that it reads; none before the group has assigned any.
    pub partitions: Option<usize>,
    /// What has to happen before events are answered; none when they are.
    pub waits_for: Option<&'static str>,
}

impl Health {
    /// A job that starts now; `now` is the clock's monotonic reading.
    pub fn new(limits: HealthLimits, now: Duration) -> Self {
        let health = Self {
            limits,
            phase: AtomicU8::new(0),
            progress: AtomicU64::new(0),
            turned: AtomicU64::new(0),
            partitions: AtomicI64::new(-1),
        };
        health.turned(now);
        health
    }

    /// Marks a turn of the loop. Call it once a turn, also while recovering.
    pub fn turned(&self, now: Duration) {
        self.turned.store(u64::try_from(now.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// Marks a change of phase, or progress within one; it counts as a turn.
    pub fn enter(&self, phase: Phase, now: Duration) {
        if let Phase::Recovering { progress } = phase {
            self.progress.store(progress.clamp(0.0, 1.0).to_bits(), Ordering::Relaxed);
        }
        let code = match phase {
            Phase::Starting => 0,
            Phase::Recovering { .. } => 1,
            Phase::Running => 2,
            Phase::Draining => 3,
            Phase::Stopped => 4,
            Phase::Agreeing => 5,
        };
        self.turned(now);
        self.phase.store(code, Ordering::Release);
    }

    /// The group has assigned so many partitions to this process, maybe none.
    pub fn assigned(&self, partitions: usize) {
        self.partitions.store(i64::try_from(partitions).unwrap_or(i64::MAX), Ordering::Relaxed);
    }

    /// Partitions were taken away, and the next assignment has not come yet.
    pub fn unassigned(&self) {
        self.partitions.store(-1, Ordering::Relaxed);
    }

    /// What the job is doing.
    pub fn phase(&self) -> Phase {
        match self.phase.load(Ordering::Acquire) {
            0 => Phase::Starting,
            1 => Phase::Recovering { progress: f64::from_bits(self.progress.load(Ordering::Relaxed)) },
            2 => Phase::Running,
            3 => Phase::Draining,
            5 => Phase::Agreeing,
            _ => Phase::Stopped,
        }
    }

    /// Time since the last turn.
    pub fn turn_age(&self, now: Duration) -> Duration {
        now.saturating_sub(Duration::from_micros(self.turned.load(Ordering::Relaxed)))
    }

    /// Whether the loop turns.
    pub fn liveness(&self, now: Duration) -> Liveness {
        let phase = self.phase();
        let age = self.turn_age(now);
        let limit = match phase {
            Phase::Starting => self.limits.start,
            Phase::Recovering { .. } | Phase::Agreeing | Phase::Running => self.limits.turn,
            Phase::Draining => self.limits.drain,
            Phase::Stopped => return Liveness::Hung { reason: "the job has ended".to_owned() },
        };
        if age <= limit {
            return Liveness::Alive { age };
        }
        let reason = format!(
            "the loop has not turned for {:.1} s while {}; {} s are allowed",
            age.as_secs_f64(),
            phase.name(),
            limit.as_secs()
        );
        Liveness::Hung { reason }
    }

    /// Whether events are answered here.
    pub fn readiness(&self) -> Readiness {
        let phase = self.phase();
        let partitions = usize::try_from(self.partitions.load(Ordering::Relaxed)).ok();
        let waits_for = match phase {
            Phase::Starting => Some("brokers to be reached and partitions to be assigned"),
            Phase::Recovering { .. } => Some("windows to be rebuilt from the history and the topics"),
            Phase::Agreeing => Some("other instances to have the same rules, for a minute at most"),
            Phase::Running if partitions.is_none() => Some("partitions to be assigned"),
            Phase::Running => None,
            Phase::Draining => Some("nothing: the job is shutting down"),
            Phase::Stopped => Some("nothing: the job has ended"),
        };
        Readiness { phase, partitions, waits_for }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn health() -> Health {
        Health::new(HealthLimits::with_grace(seconds(20)), seconds(100))
    }

    fn alive(health: &Health, at: u64) -> bool {
        matches!(health.liveness(seconds(at)), Liveness::Alive { .. })
    }

    #[test]
    fn a_loop_that_stops_turning_is_hung_after_the_limit_of_its_phase() {
        for (phase, last_second) in [
            (Phase::Starting, 400),
            (Phase::Recovering { progress: 0.5 }, 130),
            (Phase::Running, 130),
            (Phase::Draining, 150),
        ] {
            let health = health();
            health.enter(phase, seconds(100));
            assert!(alive(&health, last_second), "{phase:?}");
            assert!(!alive(&health, last_second + 1), "{phase:?}");
            health.turned(seconds(last_second + 1));
            assert!(alive(&health, last_second + 1), "{phase:?}");
        }
    }

    #[test]
    fn a_hung_loop_says_for_how_long_and_what_it_was_doing() {
        let health = health();
        health.enter(Phase::Running, seconds(100));
        let reason = "the loop has not turned for 31.0 s while running; 30 s are allowed".to_owned();
        assert_eq!(health.liveness(seconds(131)), Liveness::Hung { reason });
    }

    #[test]
    fn a_job_that_has_ended_is_not_alive_however_recent_its_last_turn() {
        let health = health();
        health.enter(Phase::Stopped, seconds(100));
        assert!(!alive(&health, 100));
    }

    #[test]
    fn ready_means_running_with_an_assignment_even_an_empty_one() {
        let health = health();
        assert!(health.readiness().waits_for.is_some());
        health.enter(Phase::Running, seconds(100));
        assert_eq!(health.readiness().waits_for, Some("partitions to be assigned"));
        health.assigned(0);
        assert_eq!(health.readiness().waits_for, None);
        health.assigned(4);
        health.enter(Phase::Recovering { progress: 0.25 }, seconds(101));
        let readiness = health.readiness();
        assert_eq!(readiness.phase, Phase::Recovering { progress: 0.25 });
        assert_eq!(readiness.partitions, Some(4));
        assert!(readiness.waits_for.is_some());
        health.enter(Phase::Running, seconds(102));
        health.unassigned();
        assert_eq!(health.readiness().waits_for, Some("partitions to be assigned"));
    }

    #[test]
    fn progress_stays_between_nothing_and_all_of_it() {
        let health = health();
        for (said, kept) in [(-1.0, 0.0), (0.5, 0.5), (7.0, 1.0)] {
            health.enter(Phase::Recovering { progress: said }, seconds(100));
            assert_eq!(health.phase(), Phase::Recovering { progress: kept });
        }
    }

    #[test]
    fn a_clock_reading_before_the_last_turn_is_no_age() {
        assert_eq!(health().turn_age(seconds(1)), Duration::ZERO);
    }
}
