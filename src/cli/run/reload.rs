//! Watches the rules folder, compiles a changed one aside, and sends what is sound to the job.
//!
//! The folder is looked at twice a second by name, size, time and file number of every file. That survives what a watch
//! by the kernel does not: a ConfigMap is changed by turning one symbolic link, and network disks tell nothing. A
//! change is taken up once two looks in a row are the same, so that a copy under way is not read half. SIGHUP asks for
//! a look at once. Whatever is wrong with the new rules, those in force stay.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crossbeam_channel::Sender;
use serde_json::{Value, json};

use crate::cli::failure::Failure;
use crate::cli::in_force::InForce;
use crate::cli::service::{answer_order, check_shared_out, next_parts, parts};
use crate::diagnostic::{Colour, Severity, render_all};
use crate::pipeline::Change;
use crate::rules::{RuleFiles, RuleSet, fingerprint};
use crate::settings::Settings;

const LOOK_INTERVAL: Duration = Duration::from_millis(500);

/// What is watched, and for whom.
pub(super) struct Watch<'a> {
    pub settings: &'a Settings,
    pub in_force: &'a InForce,
    pub changes: Sender<Change>,
    /// Set by SIGHUP.
    pub asked: &'a AtomicBool,
    /// Set when the job has ended.
    pub ended: &'a AtomicBool,
}

impl Watch<'_> {
    /// Looks until the job has ended.
    pub(super) fn run(&self) {
        let look = || fingerprint(&self.settings.job.rules).ok();
        let mut taken = look();
        let mut last = taken;
        while !self.ended.load(Ordering::Relaxed) {
            std::thread::sleep(LOOK_INTERVAL);
            let now = look();
            let settled = now == last;
            last = now;
            let asked = self.asked.swap(false, Ordering::Relaxed);
            if !asked && (now == taken || !settled) {
                continue;
            }
            taken = now;
            tracing::info!(folder = %self.settings.job.rules.display(), "the rules folder is read again");
            let change = self.prepared().unwrap_or_else(|reason| {
                tracing::error!(%reason, "the rules in force stay");
                Change::Refused { reason }
            });
            if self.changes.send(change).is_err() {
                return;
            }
        }
    }

    /// The folder as a change, or why it can't be one.
    fn prepared(&self) -> Result<Change, String> {
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
        let before = self.in_force.set();
        if set.catalog.contract.streams != before.catalog.contract.streams {
            return Err(
                "schema.sql says otherwise than before: a new contract needs a restart of the job".to_owned()
            );
        }
        let fault = |failure: Failure| failure.message;
        check_shared_out(self.settings, &set).map_err(fault)?;
        let alerts = self.in_force.known_alerts();
        // Whatever is wrong with them shows here, before anything is changed.
        parts(self.settings, &set, &alerts).map_err(|error| error.to_string())?;
        let (about, version) = (difference(&before, &set), set.version.clone());
        let set = Arc::new(set);
        self.in_force.replace(Arc::clone(&set));
        Ok(Change::Rules { next: next_parts(self.settings, set, alerts), version, about })
    }
}

/// Rules that were added, changed and removed, of those that run.
fn difference(before: &RuleSet, after: &RuleSet) -> Value {
    let versions = |set: &RuleSet| -> BTreeMap<String, String> {
        set.running().map(|rule| (rule.header.id.clone(), rule.version.clone())).collect()
    };
    let (old, new) = (versions(before), versions(after));
    let added: Vec<&String> = new.keys().filter(|id| !old.contains_key(*id)).collect();
    let removed: Vec<&String> = old.keys().filter(|id| !new.contains_key(*id)).collect();
    let changed: Vec<Value> = new
        .iter()
        .filter_map(|(id, version)| Some((id, old.get(id)?, version)))
        .filter(|(_, from, to)| from != to)
        .map(|(id, from, to)| json!({"id": id, "from": from, "to": to}))
        .collect();
    json!({"added": added, "changed": changed, "removed": removed})
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
