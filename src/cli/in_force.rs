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

/// The rules in force.
struct Rules {
    /// With the rules that were stopped.
    whole: Judging,
    /// What the job took over last, without them.
    taken: Judging,
}

/// What is in force.
pub(super) struct InForce {
    rules: Arc<Mutex<Rules>>,
    standings: Mutex<Standings>,
    alerts: OnceLock<AlertSettings>,
}

impl InForce {
    /// Begins with a rule set, every rule as it is written.
    pub(super) fn new(set: RuleSet, decisions: Option<DecisionSettings>) -> Self {
        let whole = Judging { set: Arc::new(set), decisions };
        let rules = Arc::new(Mutex::new(Rules { taken: whole.clone(), whole }));
        Self { rules, standings: Mutex::default(), alerts: OnceLock::new() }
    }

    /// What rows are judged by: rules that were stopped are left out.
    pub(super) fn judging(&self) -> Judging {
        self.without_stopped(&self.whole())
    }

    /// What these come to: those of them that were stopped are left out.
    pub(super) fn without_stopped(&self, whole: &Judging) -> Judging {
        let Judging { set, decisions } = whole.clone();
        let stopped = self.stopped();
        let ids = set.running().map(|rule| rule.header.id.clone());
        let stopped: BTreeSet<String> = ids.filter(|id| stopped.contains(id)).collect();
        Judging { set: if stopped.is_empty() { set } else { Arc::new(set.without(&stopped)) }, decisions }
    }

    /// Rules that were stopped, whether or not they would run.
    pub(super) fn stopped(&self) -> BTreeSet<String> {
        locked(&self.standings).stopped()
    }

    /// What rows are judged by, with the rules that were stopped.
    pub(super) fn whole(&self) -> Judging {
        locked(&self.rules).whole.clone()
    }

    /// What the job took over last.
    pub(super) fn taken(&self) -> Judging {
        locked(&self.rules).taken.clone()
    }

    /// The rule set.
    pub(super) fn set(&self) -> Arc<RuleSet> {
        self.judging().set
    }

    /// Puts these in force, whenever it is called: all of them, and those that the job takes over.
    pub(super) fn replacing(&self, whole: Judging, taken: Judging) -> impl Fn() + Send + Sync + use<> {
        let place = Arc::clone(&self.rules);
        move || *locked(&place) = Rules { whole: whole.clone(), taken: taken.clone() }
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
