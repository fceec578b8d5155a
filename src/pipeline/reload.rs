//! Changed rules take over while the job runs.
//!
//! Takes what makes their parts; has them made ready by a [`Filling`] thread, and swaps them in between two batches.
//! Keeps at most one rule set in the making: of those that come meanwhile the last counts. Where it can't be made
//! ready beside the rules in force, windows are filled with nothing answered meanwhile, as after a restart.
//! What would surprise: where partitions come or go meanwhile, it is made ready again afterwards.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded};
use serde_json::{Value, json};

use super::change::Changed;
use super::filling::{Filling, Handed, Place, Signs, Successor, Told};
use super::incarnation::Incarnation;
use super::job::{JobError, JobEvent};
use super::parts::Parts;
use super::succession::{Before, Filled};
use crate::decode::DecodedBatch;
use crate::event::{Offset, Partition};

/// Makes parts without state that follow others.
pub type NextParts = Arc<dyn Fn(&Before) -> Result<Parts, JobError> + Send + Sync>;

/// Rows handed over and not yet taken by the rules in the making; past it, they are given up.
const ROWS_WAITING_MAX: u64 = 2_000_000;

/// The same, in batches.
const BATCHES_WAITING_MAX: usize = 8_192;

/// How long the swap waits for the last batches to be taken in: what is left then is a batch or two.
const SWAP_WAIT: Duration = Duration::from_secs(10);

/// Rules that are to be in force.
#[derive(Clone)]
pub struct Wanted {
    /// Makes parts that follow others.
    pub next: NextParts,
    /// Called as they take over: from then on [`Job::parts`](super::Job::parts) makes their parts.
    pub take: Arc<dyn Fn() + Send + Sync>,
    /// Their version.
    pub version: String,
    /// What is different, for the audit.
    pub about: Value,
}

/// Rules in the making.
pub(super) struct Making {
    pub(super) wanted: Wanted,
    /// Since when this instance is ready, where it waits for others.
    pub(super) ready_since: Option<Duration>,
    /// What was made where no window had to be filled.
    done: Option<Result<Successor, JobError>>,
    /// Instances that were waited for in vain.
    pub(super) without: Vec<String>,
    hand: Sender<Handed>,
    told: Receiver<Told>,
    signs: Arc<Signs>,
    forked: bool,
}

impl Drop for Making {
    fn drop(&mut self) {
        self.signs.cancelled.store(true, Ordering::Relaxed);
    }
}

impl Incarnation<'_> {
    /// Has rules made ready to take over.
    pub(super) fn make(
        &mut self,
        wanted: Wanted,
        stop: &AtomicBool,
        watch: &mut impl FnMut(JobEvent<'_>),
    ) -> Result<(), JobError> {
        self.making = None;
        if self.assigned.is_none() {
            // There are no windows yet: those of what is assigned are filled for the rules in force then.
            let (began, from) = (self.job.clock.elapsed(), self.parts.ruleset.clone());
            (wanted.take)();
            self.parts = (self.job.parts)()?;
            return self.reloaded((&from, wanted.about, Vec::new()), (false, began), watch);
        }
        let (hand, handed) = bounded(BATCHES_WAITING_MAX);
        let (tell, told) = bounded(2);
        let signs = Arc::new(Signs::default());
        let filling = Filling {
            next: Arc::clone(&wanted.next),
            before: self.parts.before(),
            place: self.place(),
            consumer: self.job.consumer.clone(),
            history: self.job.history.as_ref().map(|kept| kept.history.clone()),
            policy: self.job.policy.recovery.clone(),
            table: Arc::clone(&self.table),
            now: self.job.clock.now_micros(),
            handed,
            told: tell,
            signs: Arc::clone(&signs),
        };
        let thread = std::thread::Builder::new().name("reload".to_owned()).spawn(move || filling.run());
        if let Err(error) = thread {
            return self.stand_still(&error.to_string(), wanted, stop, watch);
        }
        self.making = Some(Making {
            wanted,
            ready_since: None,
            done: None,
            without: Vec::new(),
            hand,
            told,
            signs,
            forked: false,
        });
        Ok(())
    }

    /// Between two batches: has the rules in the making go on, or take over.
    pub(super) fn watch_making(
        &mut self,
        stop: &AtomicBool,
        watch: &mut impl FnMut(JobEvent<'_>),
    ) -> Result<(), JobError> {
        let Some(making) = &mut self.making else { return Ok(()) };
        match making.told.try_recv() {
            Ok(Told::Fork(widened)) => {
                if let Some(widened) = widened {
                    self.parts.core.decode_with(widened);
                }
                self.fork();
            }
            Ok(Told::Done(done)) if done.is_err() => {
                return self.made(*done, self.job.clock.elapsed(), (stop, watch));
            }
            Ok(Told::Done(done)) => making.done = Some(*done),
            Err(_) => {}
        }
        if self.making.as_ref().is_some_and(|making| making.done.is_some()) {
            return self.take_over(stop, watch);
        }
        let Some(making) = &self.making else { return Ok(()) };
        if making.signs.rows_waiting.load(Ordering::Relaxed) > ROWS_WAITING_MAX {
            let wanted = making.wanted.clone();
            return self.stand_still("events come faster than windows are filled", wanted, stop, watch);
        }
        if !making.signs.caught_up.load(Ordering::Acquire) || !self.agreed()? {
            return Ok(());
        }
        let Some(making) = &self.making else { return Ok(()) };
        let began = self.job.clock.elapsed();
        // Sending fails where the thread has ended, and then what it said last is there to be read.
        let _ = making.hand.send(Handed::End);
        match making.told.recv_timeout(SWAP_WAIT) {
            Ok(Told::Done(done)) => self.made(*done, began, (stop, watch)),
            _ => {
                let wanted = making.wanted.clone();
                self.stand_still("they did not catch up in time", wanted, stop, watch)
            }
        }
    }

    /// Has rules take over whose windows are all there already, once the other instances have them ready too.
    fn take_over(&mut self, stop: &AtomicBool, watch: &mut impl FnMut(JobEvent<'_>)) -> Result<(), JobError> {
        if !self.agreed()? {
            return Ok(());
        }
        let began = self.job.clock.elapsed();
        match self.making.as_mut().and_then(|making| making.done.take()) {
            Some(done) => self.made(done, began, (stop, watch)),
            None => Ok(()),
        }
    }

    fn place(&self) -> Place {
        let next: Vec<(Partition, usize, Offset)> = self
            .offsets
            .iter()
            .filter_map(|(partition, next)| {
                let stream = self.table[self.index(partition)? as usize].stream;
                Some((partition.clone(), stream, next))
            })
            .collect();
        let known = next.iter().filter_map(|(partition, stream, _)| Some((self.index(partition)?, *stream)));
        Place { standing: self.parts.core.standing(known), next }
    }

    fn fork(&mut self) {
        let place = self.place();
        if let Some(making) = &mut self.making {
            making.forked = true;
            let _ = making.hand.send(Handed::Fork(place));
        }
    }

    /// Hands rows to the rules in the making; they are about to be answered here.
    pub(super) fn hand(&self, batch: &DecodedBatch) {
        let Some(making) = self.making.as_ref().filter(|making| making.forked) else { return };
        making.signs.rows_waiting.fetch_add(batch.rows.event_time.len() as u64, Ordering::Relaxed);
        let batch = DecodedBatch { dead_letters: Vec::new(), ..batch.clone() };
        if making.hand.try_send(Handed::Batch(batch)).is_err() {
            // Full, or the thread has ended and has said why.
            making.signs.rows_waiting.fetch_add(ROWS_WAITING_MAX, Ordering::Relaxed);
        }
    }

    /// Tells the rules in the making that these partitions are waited for no longer.
    pub(super) fn hand_idle(&self, partitions: &[u32]) {
        if let Some(making) = self.making.as_ref().filter(|making| making.forked) {
            let _ = making.hand.send(Handed::Idle(partitions.to_vec()));
        }
    }

    /// Rules have been made ready, or could not be.
    fn made(
        &mut self,
        done: Result<Successor, JobError>,
        began: Duration,
        (stop, watch): (&AtomicBool, &mut impl FnMut(JobEvent<'_>)),
    ) -> Result<(), JobError> {
        let Some(making) = self.making.take() else { return Ok(()) };
        let (wanted, without) = (making.wanted.clone(), making.without.clone());
        let Successor { parts, filled, complete_from } = match done {
            Ok(successor) => successor,
            Err(error) => return self.stand_still(&error.to_string(), wanted, stop, watch),
        };
        self.flush_rules();
        let from = self.parts.ruleset.clone();
        if let Err(error) = self.parts.succeed(parts, filled, complete_from) {
            return self.stand_still(&error.to_string(), wanted, stop, watch);
        }
        (wanted.take)();
        self.complete_from = self.complete_from.max(complete_from);
        self.keeps_for_other_rules();
        self.reloaded((&from, wanted.about, without), (filled != Filled::Not, began), watch)
    }

    /// Windows can't be filled beside the rules in force: they are filled with nothing answered meanwhile.
    fn stand_still(
        &mut self,
        cause: &str,
        wanted: Wanted,
        stop: &AtomicBool,
        watch: &mut impl FnMut(JobEvent<'_>),
    ) -> Result<(), JobError> {
        tracing::warn!(
            cause,
            "the changed rules can't be made ready while others answer: answers wait for them"
        );
        self.making = None;
        let (began, from) = (self.job.clock.elapsed(), self.parts.ruleset.clone());
        self.flush_rules();
        (wanted.take)();
        self.refill(stop, watch)?;
        self.reloaded((&from, wanted.about, Vec::new()), (true, began), watch)
    }

    /// Tells that other rules are in force.
    fn reloaded(
        &mut self,
        (from, about, without): (&str, Value, Vec<String>),
        (filled, began): (bool, Duration),
        watch: &mut impl FnMut(JobEvent<'_>),
    ) -> Result<(), JobError> {
        let pause = self.job.clock.elapsed().saturating_sub(began);
        let version = self.parts.ruleset.clone();
        self.observe_reload("done");
        self.observe_rule_set();
        let mut what = json!({
            "from": from, "to": version, "rules": about, "versions": self.versions(), "windows_filled": filled,
            "pause_ms": pause.as_millis() as u64,
        });
        if !without.is_empty() {
            what["without"] = json!(without);
        }
        self.audit("reloaded", what)?;
        watch(JobEvent::Changed(&Changed::Reloaded { version, filled, pause }));
        Ok(())
    }
}
