//! Follows the audit topic for switches of rules, and tells the job of each turn.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crossbeam_channel::Sender;

use crate::cli::failure::Failure;
use crate::cli::in_force::InForce;
use crate::cli::rules::{audited, turn_of};
use crate::cli::service::source_failure;
use crate::pipeline::{Change, KnownInstances, Peers};
use crate::rules::Standings;
use crate::source::kafka::{Followed, KafkaSettings, TopicReader};

/// Times in a row that nothing may come while the topic is read for the first time: about half a minute.
const SILENCES_MAX: usize = 150;

/// Waits between two tries to follow the topic again.
const RETRY_WAIT: Duration = Duration::from_secs(5);

/// Who is to be told.
pub(super) struct Follower<'a> {
    pub kafka: &'a KafkaSettings,
    pub client_id: &'a str,
    pub topic: &'a str,
    pub in_force: &'a InForce,
    pub changes: Sender<Change>,
    /// Other instances of the job, where there are some.
    pub peers: Option<Arc<Peers>>,
    /// Set when the job has ended.
    pub ended: &'a AtomicBool,
}

impl Follower<'_> {
    /// Reads all turns so far, so that the first answer knows them.
    pub(super) fn catch_up(&self) -> Result<TopicReader, Failure> {
        let reader = TopicReader::open(self.kafka, self.client_id, self.topic)
            .map_err(|error| source_failure(&error))?;
        let mut standings = Standings::default();
        let mut silence = 0;
        let followed = reader.follow(|event| match event {
            Followed::Record(record) => {
                silence = 0;
                if let Some(turn) = turn_of(&record) {
                    standings.turn(turn);
                }
                true
            }
            Followed::CaughtUp => false,
            Followed::Nothing => {
                silence += 1;
                silence < SILENCES_MAX
            }
        });
        followed.map_err(|error| source_failure(&error))?;
        if silence == SILENCES_MAX {
            return Err(Failure::outside(format!(
                "the audit topic {} can't be read: nothing came for a while",
                self.topic
            )));
        }
        for switch in standings.all_turned() {
            tracing::warn!(
                rule = switch.rule,
                stands = ?switch.to,
                by = switch.by,
                since = switch.at,
                reason = switch.reason,
                "this rule does not stand as its file says"
            );
        }
        self.in_force.set_standings(standings);
        Ok(reader)
    }

    /// Tells of every turn from here on, until the job has ended. A topic that can't be read for a while is tried again.
    pub(super) fn run(&self) {
        let mut first = true;
        while !self.ended.load(Ordering::Relaxed) {
            if !first {
                std::thread::sleep(RETRY_WAIT);
            }
            first = false;
            let reader = match TopicReader::open(self.kafka, self.client_id, self.topic) {
                Ok(reader) => reader,
                Err(error) => {
                    tracing::warn!(%error, "the audit topic can't be followed: switches of rules come later");
                    continue;
                }
            };
            let mut standings = Standings::default();
            let mut known = KnownInstances::default();
            let mut turns = Vec::new();
            let mut current = false;
            let followed = reader.follow(|event| {
                match event {
                    Followed::Record(record) => {
                        turns.extend(turn_of(&record));
                        known.note(&audited(&record));
                    }
                    Followed::CaughtUp => current = true,
                    Followed::Nothing => {}
                }
                if current {
                    if let Some(peers) = &self.peers {
                        peers.set(known.clone());
                    }
                    for turn in turns.drain(..) {
                        standings.turn(turn.clone());
                        self.tell(&standings, turn);
                    }
                } else if let Some(turn) = turns.pop() {
                    standings.turn(turn);
                }
                !self.ended.load(Ordering::Relaxed)
            });
            if let Err(error) = followed {
                tracing::warn!(%error, "the audit topic can't be followed: switches of rules come later");
            }
        }
    }

    fn tell(&self, standings: &Standings, turn: crate::rules::Switch) {
        if *standings == self.in_force.standings() {
            return;
        }
        self.in_force.set_standings(standings.clone());
        // The receiver is gone only where the job has ended.
        let _ = self.changes.send(Change::Standings { standings: standings.clone(), turn });
    }
}
