//! What may change while the job runs: what rows are judged by, and who switched which rule off.
//!
//! Whoever makes a change prepares it aside and sends it; the loop takes it up between two batches. Changed rules
//! take over once their new windows are filled beside those in force. Where that can't be done, everything under way
//! is delivered and committed, and windows are filled as after a restart, with nothing answered meanwhile.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crossbeam_channel::Receiver;
use serde_json::{Value, json};

use super::agreement::{KnownSets, Peers};
use super::incarnation::Incarnation;
use super::job::{JobError, JobEvent};
use super::recover;
use super::reload::Wanted;
use crate::checkpoint::PartitionCommit;
use crate::event::{Coordinates, EventTime, Offset, Partition};
use crate::rules::{Standings, Switch};
use crate::sink::{Destination, OutMessage, Outgoing};
use crate::source::kafka::Assigned;

/// A change, prepared.
pub enum Change {
    /// Another rule set or other weights are to be in force.
    Rules(Wanted),
    /// The rules folder or the weights changed and can't be used; those in force stay.
    Refused {
        /// Why.
        reason: String,
    },
    /// Rules were switched on or off.
    Standings {
        /// All of them as they are now.
        standings: Standings,
        /// The turn that was taken.
        turn: Switch,
    },
}

/// Where changes come from.
#[derive(Debug)]
pub struct Changes {
    /// Changes, prepared.
    pub receiver: Receiver<Change>,
    /// Other instances, with which changed rules are agreed on; none: there are no others, or no audit to speak through.
    pub peers: Option<Arc<Peers>>,
    /// What the sets held that answered before this process started.
    pub sets: KnownSets,
}

/// How a change went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Changed {
    /// Rules and weights of this version are in force.
    Reloaded {
        /// Its version.
        version: String,
        /// Whether windows had to be filled.
        filled: bool,
        /// How long no event was answered.
        pause: Duration,
    },
    /// The rules and weights in force stay.
    Refused {
        /// Why.
        reason: String,
    },
    /// A rule was switched.
    Switched(Switch),
}

impl Incarnation<'_> {
    /// Takes up the changes that were sent since.
    pub(super) fn take_changes(
        &mut self,
        stop: &AtomicBool,
        watch: &mut impl FnMut(JobEvent<'_>),
    ) -> Result<(), JobError> {
        self.watch_making(stop, watch)?;
        while let Some(change) =
            self.job.changes.as_ref().and_then(|changes| changes.receiver.try_recv().ok())
        {
            match change {
                Change::Rules(wanted) => self.make(wanted, stop, watch)?,
                Change::Refused { reason } => {
                    self.audit("reload_refused", json!({"reason": reason}))?;
                    self.observe_reload("refused");
                    watch(JobEvent::Changed(&Changed::Refused { reason }));
                }
                Change::Standings { standings, turn } => {
                    // What this job turned itself comes back from the audit topic.
                    let known = self.parts.standings().of(&turn.rule) == turn.to;
                    self.flush_rules();
                    self.parts.set_standings(standings);
                    self.observe_rule_set();
                    if !known {
                        watch(JobEvent::Changed(&Changed::Switched(turn)));
                    }
                }
            }
        }
        Ok(())
    }

    /// Delivers and commits everything, then fills the windows of the new rules up to there.
    pub(super) fn refill(
        &mut self,
        stop: &AtomicBool,
        watch: &mut impl FnMut(JobEvent<'_>),
    ) -> Result<(), JobError> {
        self.drain()?;
        let commits = self.commits();
        let Some(assigned) = self.assigned.take() else {
            self.parts = (self.job.parts)()?;
            return Ok(());
        };
        let assigned = as_committed(assigned, &commits);
        recover::recover(self, &assigned, stop, watch)?;
        self.interrupted |= stop.load(Ordering::Relaxed);
        self.assigned = Some(assigned);
        self.expect_all();
        Ok(())
    }

    /// Publishes what happened, as a step of its own, where the job keeps an audit.
    pub(super) fn audit(&mut self, what: &str, more: Value) -> Result<(), JobError> {
        self.audit_about(what, None, more)
    }

    /// The same under a key: what happened to one rule stands under its id.
    pub(super) fn audit_about(&mut self, what: &str, key: Option<&str>, more: Value) -> Result<(), JobError> {
        if !self.job.policy.audit || self.interrupted {
            return Ok(());
        }
        let offsets: serde_json::Map<String, Value> =
            self.offsets.iter().map(|(partition, next)| (partition.to_string(), json!(next.0))).collect();
        let mut event = json!({
            "schema": "tollgate.audit/1",
            "what": what,
            "at": EventTime(self.job.clock.now_micros()).to_string(),
            "job": self.job.consumer.group,
            "instance": self.job.policy.instance,
            "offsets": offsets,
        });
        if let (Value::Object(event), Value::Object(more)) = (&mut event, more) {
            event.extend(more);
        }
        let nowhere = Partition { topic: "(the job itself)".into(), partition: 0 };
        let message = OutMessage {
            destination: Destination::Audit,
            key: key.map(|key| key.as_bytes().to_vec()),
            value: Some(event.to_string().into_bytes()),
            headers: Vec::new(),
            coordinates: Coordinates { partition: nowhere, offset: Offset(0) },
        };
        let step = self.next_step();
        self.sink.publish(Outgoing { step, messages: vec![message] })?;
        self.offsets.touch();
        Ok(())
    }
}

/// The assignment as the group would report it now.
fn as_committed(mut assigned: Assigned, commits: &[PartitionCommit]) -> Assigned {
    for assignment in &mut assigned.partitions {
        if let Some(commit) = commits.iter().find(|commit| commit.partition == assignment.partition) {
            assignment.start = commit.offset;
            assignment.high = assignment.high.max(commit.offset);
            assignment.note = Some(commit.note.clone());
        }
    }
    assigned
}
