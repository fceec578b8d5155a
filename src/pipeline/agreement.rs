//! Instances of a job agree on changed rules before one of them answers with them.
//!
//! Takes what the audit topic says of every instance, from whoever follows it. An instance that has made changed rules
//! ready says so there (`rules_ready`), and goes on answering with those in force until all that run have said the same.
//! One that starts has no rules but those of its folder, so it waits with its first answer. What would surprise: one that
//! died without a word is waited for, but not for ever.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};

use super::incarnation::Incarnation;
use super::job::JobError;

/// How long an instance waits for the others; a folder that is copied to each of them has come by then.
pub(super) const AGREE_WAIT: Duration = Duration::from_secs(60);

/// Rule sets of which it is remembered what they held.
const SETS_MAX: usize = 8;

/// What is known of the instances that run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KnownInstances {
    /// The version of the rules that each is ready to answer with, or does.
    ready: BTreeMap<String, String>,
    /// The one that an instance began to answer with last.
    newest: Option<String>,
}

impl KnownInstances {
    /// Takes note of an event of the audit topic.
    pub fn note(&mut self, event: &Value) {
        let (Some(what), Some(instance)) = (event["what"].as_str(), event["instance"].as_str()) else {
            return;
        };
        match what {
            "started" | "rules_ready" | "reloaded" => {
                let version = event["to"].as_str().unwrap_or_default();
                self.ready.insert(instance.to_owned(), version.to_owned());
                if what != "rules_ready" {
                    self.newest = Some(version.to_owned());
                }
            }
            "stopped" => {
                self.ready.remove(instance);
            }
            _ => {}
        }
    }
}

/// Rules of the sets that answered last, by the sets' versions: a commit names only the version.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KnownSets(VecDeque<(String, BTreeMap<String, String>)>);

impl KnownSets {
    /// Takes note of an event of the audit.
    pub fn note(&mut self, event: &Value) {
        let rules = match event["what"].as_str() {
            Some("started") => &event["rules"],
            Some("reloaded") => &event["versions"],
            _ => return,
        };
        let (Some(set), Some(rules)) = (event["to"].as_str(), rules.as_object()) else { return };
        self.0.retain(|(known, _)| known != set);
        self.0.truncate(SETS_MAX - 1);
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        self.0
            .push_front((set.to_owned(), rules.iter().map(|(id, rule)| (id.clone(), text(rule))).collect()));
    }

    /// Rules that were added, changed and removed since a set, as far as it is known what that held.
    pub(super) fn difference(&self, from: &str, now: &BTreeMap<String, String>) -> Option<Value> {
        let (_, before) = self.0.iter().find(|(set, _)| set == from)?;
        let added: Vec<_> = now.keys().filter(|id| !before.contains_key(*id)).collect();
        let removed: Vec<_> = before.keys().filter(|id| !now.contains_key(*id)).collect();
        let both = before.iter().filter_map(|(id, from)| Some((id, from, now.get(id)?)));
        let changed: Vec<_> = both
            .filter(|(_, from, to)| from != to)
            .map(|(id, from, to)| json!({"id": id, "from": from, "to": to}))
            .collect();
        Some(json!({"added": added, "changed": changed, "removed": removed}))
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
        let lacking =
            known.ready.iter().filter(|(instance, ready)| **instance != self.own && *ready != version);
        lacking.map(|(instance, _)| instance.clone()).collect()
    }

    /// The same for one that starts: none where the group has come to these rules already.
    pub(super) fn lacking_at_start(&self, version: &str) -> Vec<String> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let others = known.newest.is_some_and(|newest| newest != version);
        if others { self.lacking(version) } else { Vec::new() }
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
        let lacking = peers.lacking(&making.wanted.version);
        let Some(since) = making.ready_since else {
            making.ready_since = Some(now);
            let version = making.wanted.version.clone();
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

    #[test]
    fn one_that_starts_waits_only_where_the_group_answers_with_another_set() {
        let peers = Peers::new("job-a".to_owned());
        let mut known = KnownInstances::default();
        let mut lacking = |what: &str, instance: &str, to: &str| {
            known.note(&json!({"what": what, "instance": instance, "to": to}));
            peers.set(known.clone());
            peers.lacking_at_start("v2")
        };
        assert_eq!(lacking("rules_ready", "job-b", "v2"), Vec::<String>::new(), "nobody answers yet");
        assert_eq!(lacking("started", "job-b", "v1"), ["job-b"]);
        assert_eq!(lacking("started", "job-c", "v1"), ["job-b", "job-c"]);
        assert_eq!(lacking("rules_ready", "job-b", "v2"), ["job-c"]);
        assert_eq!(lacking("reloaded", "job-b", "v2"), Vec::<String>::new(), "job-c was waited for before");
        assert_eq!(lacking("started", "job-c", "v1"), ["job-c"]);
        assert_eq!(lacking("stopped", "job-c", ""), Vec::<String>::new());
    }

    #[test]
    fn what_a_set_held_is_known_from_the_audit_and_only_of_the_last_few_sets() {
        let mut sets = KnownSets::default();
        sets.note(&json!({"what": "started", "to": "v1", "rules": {"a": "1", "b": "1"}}));
        sets.note(
            &json!({"what": "reloaded", "to": "v2", "rules": {"added": ["c"]}, "versions": {"c": "1"}}),
        );
        let now = BTreeMap::from([("b".to_owned(), "2".to_owned()), ("c".to_owned(), "1".to_owned())]);
        assert_eq!(
            sets.difference("v1", &now),
            Some(json!({"added": ["c"], "changed": [{"id": "b", "from": "1", "to": "2"}], "removed": ["a"]}))
        );
        assert_eq!(sets.difference("v2", &now), Some(json!({"added": ["b"], "changed": [], "removed": []})));
        for set in 0..SETS_MAX {
            sets.note(&json!({"what": "started", "to": format!("w{set}"), "rules": {}}));
        }
        assert_eq!(sets.difference("v2", &now), None);
    }
}
