//! Watches the rules folder and the file of weights, compiles what changed aside, and sends what is sound to the job.
//!
//! They are looked at twice a second by name, size, time and file number of every file. That survives what a watch
//! by the kernel does not: a ConfigMap is changed by turning one symbolic link, and network disks tell nothing. A
//! change is taken up once two looks in a row are the same, so that a copy under way is not read half. SIGHUP asks for
//! a look at once. Whatever is wrong with new rules or weights, those in force stay, both: weights belong to the rules
//! that they were fitted with.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crossbeam_channel::Sender;
use serde_json::{Value, json};

use crate::alert::AlertSettings;
use crate::cli::decision_settings::{decision_settings, misfits, weights_file};
use crate::cli::failure::Failure;
use crate::cli::in_force::{InForce, Judging};
use crate::cli::service::{answer_order, check_shared_out, next_parts, parts};
use crate::decision::{Combination, DecisionSettings};
use crate::diagnostic::{Colour, Severity, render_all};
use crate::pipeline::{Change, Wanted, version_with};
use crate::rules::{RuleFiles, RuleSet, differences, fingerprint};
use crate::settings::Settings;

const LOOK_INTERVAL: Duration = Duration::from_millis(500);

/// What is watched, and for whom.
pub(super) struct Watch<'a> {
    pub settings: &'a Settings,
    pub in_force: &'a InForce,
    /// What was there before the rules and weights were read that the job began with, so that no change is missed.
    pub seen: Look,
    /// Rules that were stopped then.
    pub stopped: BTreeSet<String>,
    pub changes: Sender<Change>,
    /// Set by SIGHUP.
    pub asked: &'a AtomicBool,
    /// Set when the job has ended.
    pub ended: &'a AtomicBool,
}

/// Fingerprints of what is watched; none where it is not there.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Look {
    rules: Option<u64>,
    weights: Option<u64>,
}

impl Look {
    pub(super) fn at(settings: &Settings) -> Self {
        let weights = weights_file(settings).and_then(|file| fingerprint(file).ok());
        Self { rules: fingerprint(&settings.job.rules).ok(), weights }
    }
}

impl Watch<'_> {
    /// Looks until the job has ended.
    pub(super) fn run(&self) {
        let (mut taken, mut stopped) = (self.seen, self.stopped.clone());
        let mut last = taken;
        // The folder that the rules in force were read from.
        let mut rules_in_force = taken.rules;
        // What was sent last; it may still be in the making.
        let mut sent = self.in_force.whole();
        while !self.ended.load(Ordering::Relaxed) {
            std::thread::sleep(LOOK_INTERVAL);
            let now = Look::at(self.settings);
            let settled = now == last;
            last = now;
            let asked = self.asked.swap(false, Ordering::Relaxed);
            let changed = asked || (now != taken && settled);
            let now_stopped = self.in_force.stopped();
            if !changed && now_stopped == stopped {
                continue;
            }
            // A rule that was stopped leaves the rules in force, whatever is in the folder.
            let read = if changed {
                taken = now;
                self.read(&sent, asked || now.rules != rules_in_force)
            } else {
                Ok(sent.clone())
            };
            let change = match read {
                Ok(next) => {
                    stopped = now_stopped;
                    rules_in_force = if changed { now.rules } else { rules_in_force };
                    sent = next.clone();
                    self.change(next)
                }
                Err(reason) => {
                    tracing::error!(%reason, "the rules in force stay");
                    Change::Refused { reason }
                }
            };
            if self.changes.send(change).is_err() {
                return;
            }
        }
    }

    /// What is there now, or why it can't be in force.
    fn read(&self, sent: &Judging, rules_too: bool) -> Result<Judging, String> {
        let alerts = self.in_force.known_alerts();
        let set = if rules_too { self.rules(&sent.set, &alerts)? } else { Arc::clone(&sent.set) };
        if let Some(file) = weights_file(self.settings) {
            tracing::info!(file = %file.display(), "the weights are read again");
        }
        let decisions = decision_settings(self.settings)?;
        if let Some(Combination::Logistic { weights }) = decisions.as_ref().map(|own| &own.combination) {
            misfits(weights, &set).iter().for_each(|misfit| tracing::warn!("{misfit}"));
        }
        Ok(Judging { set, decisions })
    }

    /// The change to what is there now.
    fn change(&self, whole: Judging) -> Change {
        let next = self.in_force.without_stopped(&whole);
        Change::Rules(Wanted {
            version: version_with(&next.set.version, next.decisions.as_ref()),
            about: difference(&self.in_force.taken(), &next),
            next: next_parts(self.settings, next.clone(), self.in_force.known_alerts()),
            take: Arc::new(self.in_force.replacing(whole, next)),
        })
    }

    /// The folder, compiled.
    fn rules(&self, before: &RuleSet, alerts: &AlertSettings) -> Result<Arc<RuleSet>, String> {
        tracing::info!(folder = %self.settings.job.rules.display(), "the rules folder is read again");
        let files = RuleFiles::open(&self.settings.job.rules, None).map_err(|error| error.to_string())?;
        let drawn = |findings: &[crate::diagnostic::Diagnostic]| render_all(findings, Colour::Off);
        let set =
            RuleSet::compile(files, answer_order(self.settings)).map_err(|findings| drawn(&findings))?;
        if set.has_errors() {
            let errors: Vec<_> = set
                .diagnostics
                .iter()
                .filter(|finding| finding.severity == Severity::Error)
                .cloned()
                .collect();
            return Err(drawn(&errors));
        }
        if set.catalog.contract.streams != before.catalog.contract.streams {
            return Err(
                "schema.sql says otherwise than before: a new contract needs a restart of the job".to_owned()
            );
        }
        let fault = |failure: Failure| failure.message;
        check_shared_out(self.settings, &set).map_err(fault)?;
        // Whatever is wrong with them shows here, before anything is changed.
        parts(self.settings, &set, alerts).map_err(|error| error.to_string())?;
        Ok(Arc::new(set))
    }
}

/// Rules that were added, changed and removed, of those that run, with what changed of each; and lists, models and weights
/// where they are others.
fn difference(before: &Judging, after: &Judging) -> Value {
    let (old, new) = (before.set.answered(), after.set.answered());
    let added: Vec<&&str> = new.keys().filter(|id| !old.contains_key(*id)).collect();
    let removed: Vec<&&str> = old.keys().filter(|id| !new.contains_key(*id)).collect();
    let both = new.iter().filter_map(|(id, to)| Some((id, *old.get(id)?, *to)));
    let changed: Vec<Value> = both
        .map(|(id, from, to)| (id, from.0, to.0, differences(from, to)))
        .filter(|(_, _, _, what)| !what.is_empty())
        .map(|(id, from, to, what)| json!({"id": id, "from": from.version, "to": to.version, "what": what}))
        .collect();
    let mut about = json!({"added": added, "changed": changed, "removed": removed});
    let lists = |judging: &Judging| versions(judging.set.catalog.list_versions());
    let models = |judging: &Judging| versions(judging.set.catalog.model_versions());
    for (what, from, to) in
        [("lists", lists(before), lists(after)), ("models", models(before), models(after))]
    {
        let others: serde_json::Map<String, Value> = (from.keys().chain(to.keys()))
            .filter(|name| from.get(*name) != to.get(*name))
            .map(|name| (name.clone(), json!({"from": from.get(name), "to": to.get(name)})))
            .collect();
        if !others.is_empty() {
            about[what] = Value::Object(others);
        }
    }
    let weights = |judging: &Judging| judging.decisions.as_ref().and_then(DecisionSettings::weights_version);
    let (from, to) = (weights(before), weights(after));
    if from != to {
        about["weights"] = json!({"from": from, "to": to});
    }
    about
}

fn versions(
    named: impl IntoIterator<Item = (impl Into<String>, impl Into<String>)>,
) -> BTreeMap<String, String> {
    named.into_iter().map(|(name, version)| (name.into(), version.into())).collect()
}

/// Sets a flag on each SIGHUP.
pub(super) fn asked_by_signal(asked: Arc<AtomicBool>) -> Result<(), Failure> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Failure::outside)?;
    let hangup = {
        let _inside = runtime.enter();
        tokio::signal::unix::signal(tokio::signal::unix::SignalKind::hangup()).map_err(Failure::outside)?
    };
    let waiting = move || {
        let mut hangup = hangup;
        runtime.block_on(async {
            while hangup.recv().await.is_some() {
                asked.store(true, Ordering::Relaxed);
            }
        });
    };
    std::thread::Builder::new().name("hangup".to_owned()).spawn(waiting).map(|_| ()).map_err(Failure::outside)
}
