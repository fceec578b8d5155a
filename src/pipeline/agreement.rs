//! Instances of a job agree on changed rules before one of them answers with them.
//!
//! Takes what the audit topic says of every instance, from whoever follows it. An instance that has made changed rules
//! ready says so there (`rules_ready`), and goes on answering with those in force until all that run have said the same.
//! What would surprise: one that died without a word is waited for, but not for ever.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};

use super::incarnation::Incarnation;
use super::job::JobError;

/// How long an instance waits for the others; a folder that is copied to each of them has come by then.
const AGREE_WAIT: Duration = Duration::from_secs(60);

/// What is known of the instances that run: the version of the rules that each is ready to answer with, or does.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KnownInstances(BTreeMap<String, String>);

impl KnownInstances {
    /// Takes note of an event of the audit topic.
    pub fn note(&mut self, event: &Value) {
        let (Some(what), Some(instance)) = (event["what"].as_str(), event["instance"].as_str()) else {
            return;
        };
        match what {
            "started" | "rules_ready" | "reloaded" => {
                let version = event["to"].as_str().unwrap_or_default();
                self.0.insert(instance.to_owned(), version.to_owned());
            }
            "stopped" => {
                self.0.remove(instance);
            }
            _ => {}
        }
    }
}

/// The other instances of a job.
#[derive(Debug)]
pub struct Peers {
    own: String,
    known: Mutex<KnownInstances>,
}

impl Peers {
    /// None known yet; `own` is what this instance is called in the audit.
    pub fn new(own: String) -> Self {
        Self { own, known: Mutex::default() }
    }

    /// What is known now.
    pub fn set(&self, known: KnownInstances) {
        *self.known.lock().unwrap_or_else(PoisonError::into_inner) = known;
    }

    /// Other instances that run and are not ready for these rules.
    fn lacking(&self, version: &str) -> Vec<String> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let lacking = known.0.iter().filter(|(instance, ready)| **instance != self.own && *ready != version);
        lacking.map(|(instance, _)| instance.clone()).collect()
    }
}

impl Incarnation<'_> {
    /// Whether the rules that were made ready may take over. Says that they are ready, once.
    pub(super) fn agreed(&mut self) -> Result<bool, JobError> {
        let Some(peers) = self.job.changes.as_ref().and_then(|changes| changes.peers.as_ref()) else {
            return Ok(true);
        };
        let now = self.job.clock.elapsed();
        let Some(making) = &mut self.making else { return Ok(true) };
        let lacking = peers.lacking(&making.version);
        let Some(since) = making.ready_since else {
            making.ready_since = Some(now);
            let version = making.version.clone();
            self.audit("rules_ready", json!({"to": version}))?;
            if !lacking.is_empty() {
                let instances = lacking.join(", ");
                tracing::info!(instances, "changed rules are ready, and wait until these instances are");
            }
            return Ok(lacking.is_empty());
        };
        if !lacking.is_empty() && now.saturating_sub(since) < AGREE_WAIT {
            return Ok(false);
        }
        if !lacking.is_empty() {
            let instances = lacking.join(", ");
            tracing::warn!(
                instances,
                "changed rules take over though these instances have not said that they are ready"
            );
        }
        making.without = lacking;
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_that_run_must_be_ready_and_those_that_stopped_need_not() {
        let peers = Peers::new("job-a".to_owned());
        let mut known = KnownInstances::default();
        let mut lacking = |what: &str, instance: &str, to: &str| {
            known.note(&json!({"what": what, "instance": instance, "to": to}));
            peers.set(known.clone());
            peers.lacking("v2")
        };
        assert_eq!(lacking("started", "job-a", "v1"), Vec::<String>::new(), "it does not wait for itself");
        assert_eq!(lacking("started", "job-b", "v1"), ["job-b"]);
        assert_eq!(lacking("started", "job-c", "v2"), ["job-b"]);
        assert_eq!(lacking("reload_refused", "job-b", "v2"), ["job-b"]);
        assert_eq!(lacking("rules_ready", "job-b", "v2"), Vec::<String>::new());
        assert_eq!(lacking("reloaded", "job-b", "v3"), ["job-b"], "it has gone on to others");
        assert_eq!(lacking("stopped", "job-b", ""), Vec::<String>::new());
    }
}
