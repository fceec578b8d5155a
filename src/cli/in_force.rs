//! The rule set in force, its switches, and how events are decided, shared by the job and by those who prepare changes aside.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use crate::alert::AlertSettings;
use crate::decision::DecisionSettings;
use crate::rules::{RuleSet, Standings, Switch};

/// What rows are judged by: rules, and what makes decisions of their hits.
#[derive(Clone)]
pub(super) struct Judging {
    pub set: Arc<RuleSet>,
    /// None where no decisions are made.
    pub decisions: Option<DecisionSettings>,
}

/// What is in force.
pub(super) struct InForce {
    /// With the rules that were stopped.
    judging: Mutex<Judging>,
    standings: Mutex<Standings>,
    alerts: OnceLock<AlertSettings>,
}

impl InForce {
    /// Begins with a rule set, every rule as it is written.
    pub(super) fn new(set: RuleSet, decisions: Option<DecisionSettings>) -> Self {
        let judging = Mutex::new(Judging { set: Arc::new(set), decisions });
        Self { judging, standings: Mutex::default(), alerts: OnceLock::new() }
    }

    /// What rows are judged by: rules that were stopped are left out.
    pub(super) fn judging(&self) -> Judging {
        let Judging { set, decisions } = self.whole();
        let stopped = self.stopped();
        Judging { set: if stopped.is_empty() { set } else { Arc::new(set.without(&stopped)) }, decisions }
    }

    /// Rules that would run and were stopped.
    pub(super) fn stopped(&self) -> BTreeSet<String> {
        let stopped = locked(&self.standings).stopped();
        let running = self.whole().set;
        running.running().map(|rule| rule.header.id.clone()).filter(|id| stopped.contains(id)).collect()
    }

    /// The same with the rules that were stopped.
    pub(super) fn whole(&self) -> Judging {
        locked(&self.judging).clone()
    }

    /// The rule set.
    pub(super) fn set(&self) -> Arc<RuleSet> {
        self.judging().set
    }

    /// From here on rows are judged by this.
    pub(super) fn replace(&self, judging: Judging) {
        *locked(&self.judging) = judging;
    }

    /// Rules that are switched off.
    pub(super) fn standings(&self) -> Standings {
        locked(&self.standings).clone()
    }

    /// From here on these are switched off.
    pub(super) fn set_standings(&self, standings: Standings) {
        *locked(&self.standings) = standings;
    }

    /// Takes note of a turn.
    pub(super) fn turn(&self, switch: Switch) {
        locked(&self.standings).turn(switch);
    }

    /// What tells the job's alerts from those of others; the first that is said holds.
    pub(super) fn alerts(&self, first: impl FnOnce() -> AlertSettings) -> &AlertSettings {
        self.alerts.get_or_init(first)
    }

    /// The same, where the job has been set up.
    pub(super) fn known_alerts(&self) -> AlertSettings {
        self.alerts.get().cloned().unwrap_or_default()
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
