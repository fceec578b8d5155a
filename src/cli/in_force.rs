//! The rule set in force and its switches, shared by the job and by those who prepare changes aside.

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use crate::alert::AlertSettings;
use crate::rules::{RuleSet, Standings};

/// What is in force.
pub(super) struct InForce {
    set: Mutex<Arc<RuleSet>>,
    standings: Mutex<Standings>,
    alerts: OnceLock<AlertSettings>,
}

impl InForce {
    /// Begins with a rule set, every rule as it is written.
    pub(super) fn new(set: RuleSet) -> Self {
        Self { set: Mutex::new(Arc::new(set)), standings: Mutex::default(), alerts: OnceLock::new() }
    }

    /// The rule set.
    pub(super) fn set(&self) -> Arc<RuleSet> {
        Arc::clone(&locked(&self.set))
    }

    /// From here on another rule set is in force.
    pub(super) fn replace(&self, set: Arc<RuleSet>) {
        *locked(&self.set) = set;
    }

    /// Rules that are switched off.
    pub(super) fn standings(&self) -> Standings {
        locked(&self.standings).clone()
    }

    /// From here on these are switched off.
    pub(super) fn set_standings(&self, standings: Standings) {
        *locked(&self.standings) = standings;
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
