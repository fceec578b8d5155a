//! What a process says of its rules before it answers, and whether other instances answer with the same.
//!
//! A process that starts has the rules folder as it is; of the set that answered before, the commit names the version
//! only. So where the others answer with another set, it fills its windows, says that it is ready (`rules_ready`), and
//! reads nothing until they are ready too, its own folder has become theirs, or they were waited for long enough.
//! What would surprise: nothing is answered meanwhile for its partitions; they are late, and never mixed.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::{Value, json};

use super::agreement::AGREE_WAIT;
use super::incarnation::{Birth, Incarnation};
use super::job::JobError;
use crate::checkpoint::Note;
use crate::event::Partition;
use crate::metrics::Phase;
use crate::source::kafka::Assigned;

/// How far a life has come on the way to its first record.
pub(super) struct FirstRead {
    /// Whether others must agree: what a process has answered with before, it goes on with.
    agree: bool,
    /// Since when others are waited for.
    waits_since: Option<Duration>,
    /// Whether partitions are assigned that are not read yet.
    pub(super) held: bool,
    /// Whether the audit knows that this life answers.
    pub(super) started: bool,
    /// Versions of the sets that answered before it, by the commits of what was assigned.
    committed: BTreeMap<Partition, String>,
}

impl FirstRead {
    pub(super) fn of(birth: Birth) -> Self {
        let agree = birth == Birth::First;
        Self { agree, waits_since: None, held: false, started: false, committed: BTreeMap::new() }
    }

    /// Version of the set that answered for a partition last, as long as this life does not answer: what it commits while
    /// it waits must not say otherwise.
    pub(super) fn answered_before(&self, partition: &Partition) -> Option<String> {
        (!self.started).then(|| self.committed.get(partition).cloned().unwrap_or_default())
    }
}

impl Incarnation<'_> {
    /// Begins to read the partitions that were assigned, once no other instance is waited for.
    pub(super) fn begin(&mut self) -> Result<(), JobError> {
        let Some(assigned) = self.assigned.take() else { return Ok(()) };
        let begun = self.begin_with(&assigned);
        self.assigned = Some(assigned);
        begun
    }

    fn begin_with(&mut self, assigned: &Assigned) -> Result<(), JobError> {
        if !self.first_read.started && !self.first_read.held {
            let noted = |text: &str| Note::read(text).ok().flatten().map(|note| note.ruleset);
            let known = assigned
                .partitions
                .iter()
                .filter_map(|one| Some((one.partition.clone(), noted(one.note.as_deref()?)?)));
            self.first_read.committed = known.collect();
        }
        let Some(without) = self.agreed_at_start()? else {
            self.first_read.held = true;
            self.observe_phase(Phase::Agreeing);
            return Ok(());
        };
        if std::mem::take(&mut self.first_read.held) {
            self.observe_phase(Phase::Running);
            self.expect_all();
        }
        self.first_read.agree = false;
        if !std::mem::replace(&mut self.first_read.started, true) {
            let mut event = self.started();
            if !without.is_empty() {
                event["without"] = json!(without);
            }
            self.audit("started", event)?;
        }
        let from = self.offsets.iter().map(|(partition, next)| (partition.clone(), next)).collect();
        Ok(self.source.begin(assigned, from)?)
    }

    /// Whom it was waited for in vain; none while others must be waited for.
    fn agreed_at_start(&mut self) -> Result<Option<Vec<String>>, JobError> {
        let peers = self.job.changes.as_ref().and_then(|changes| changes.peers.as_ref());
        let Some(peers) = peers.filter(|_| self.first_read.agree) else { return Ok(Some(Vec::new())) };
        let version = self.parts.ruleset.clone();
        let lacking = peers.lacking_at_start(&version);
        if lacking.is_empty() {
            return Ok(Some(lacking));
        }
        let now = self.job.clock.elapsed();
        let instances = lacking.join(", ");
        match self.first_read.waits_since {
            None => {
                self.first_read.waits_since = Some(now);
                tracing::warn!(
                    instances,
                    ruleset = version,
                    "these instances answer with other rules than those of this folder: nothing is read until they have the same"
                );
                self.audit("rules_ready", json!({"to": version}))?;
                Ok(None)
            }
            Some(since) if now.saturating_sub(since) < AGREE_WAIT => Ok(None),
            Some(_) => {
                tracing::warn!(
                    instances,
                    "this instance answers though these have not said that they have the same rules"
                );
                Ok(Some(lacking))
            }
        }
    }

    /// The rules in force as the audit tells of them, beside those of the last commit.
    fn started(&self) -> Value {
        let (now, rules) = (&self.parts.ruleset, self.versions());
        let committed: BTreeSet<&str> =
            self.first_read.committed.values().map(String::as_str).filter(|set| !set.is_empty()).collect();
        let mut event = json!({"to": now, "rules": rules});
        if committed.iter().all(|set| set == now) {
            return event;
        }
        let from = committed.into_iter().collect::<Vec<_>>().join(", ");
        let sets = self.job.changes.as_ref().map(|changes| &changes.sets);
        let changes = sets.and_then(|sets| sets.difference(&from, &rules));
        let told = changes.as_ref().map_or_else(|| "not known".to_owned(), Value::to_string);
        tracing::warn!(
            from,
            to = now,
            changes = told,
            "the rules are others than those of the last commit: the folder changed while this instance was down"
        );
        event["from"] = json!(from);
        if let Some(changes) = changes {
            event["changes"] = changes;
        }
        event
    }
}
