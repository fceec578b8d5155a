//! Follows the audit topic for switches of rules, and tells the job of each turn.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crossbeam_channel::Sender;

use crate::cli::failure::Failure;
use crate::cli::in_force::InForce;
use crate::cli::rules::{audited, turn_of};
use crate::cli::service::source_failure;
use crate::pipeline::{Change, KnownInstances, KnownSets, Peers};
use crate::rules::{Standings, Switch};
use crate::source::kafka::{Followed, KafkaSettings, TopicReader};

/// Times in a row that nothing may come while the topic is read for the first time: about half a minute.
const SILENCES_MAX: usize = 150;

/// Waits between two tries to follow the topic again.
const RETRY_WAIT: Duration = Duration::from_secs(5);

/// Who is to be told.
pub(super) struct Follower<'a> {
    pub kafka: &'a KafkaSettings,
    pub client_id: &'a str,
    /// The job's name; events of other jobs in the same topic are theirs.
    pub job: &'a str,
    pub topic: &'a str,
    pub in_force: &'a InForce,
    pub changes: Sender<Change>,
    /// Other instances of the job, where there are some.
    pub peers: Option<Arc<Peers>>,
    /// Set when the job has ended.
    pub ended: &'a AtomicBool,
}

impl Follower<'_> {
    /// Reads all turns so far and what instances said, so that the first answer knows them; hands on what rule sets held.
    pub(super) fn catch_up(&self) -> Result<KnownSets, Failure> {
        let reader = TopicReader::open(self.kafka, self.client_id, self.topic)
            .map_err(|error| source_failure(&error))?;
        let (mut standings, mut sets) = (Standings::default(), KnownSets::default());
        let mut known = KnownInstances::default();
        let mut silence = 0;
        let followed = reader.follow(|event| match event {
            Followed::Record(record) => {
                silence = 0;
                let event = audited(&record, self.job);
                if let Some(turn) = turn_of(&event) {
                    standings.turn(turn);
                }
                known.note(&event);
                sets.note(&event);
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
        if let Some(peers) = &self.peers {
            peers.set(known);
        }
        Ok(sets)
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
            let mut known = KnownInstances::default();
            // The latest turn of each rule that the job was not told of.
            let mut turns = BTreeMap::new();
            let mut current = false;
            let followed = reader.follow(|event| {
                match event {
                    Followed::Record(record) => {
                        let event = audited(&record, self.job);
                        turns.extend(turn_of(&event).map(|turn| (turn.rule.clone(), turn)));
                        known.note(&event);
                    }
                    Followed::CaughtUp => current = true,
                    Followed::Nothing => {}
                }
                if current {
                    if let Some(peers) = &self.peers {
                        peers.set(known.clone());
                    }
                    self.tell(std::mem::take(&mut turns));
                }
                !self.ended.load(Ordering::Relaxed)
            });
            if let Err(error) = followed {
                tracing::warn!(%error, "the audit topic can't be followed: switches of rules come later");
            }
        }
    }

    /// Tells of the turns that change anything; those of before this reading are among them.
    fn tell(&self, turns: BTreeMap<String, Switch>) {
        let mut standings = self.in_force.standings();
        for turn in turns.into_values() {
            if standings.turn(turn.clone()) {
                self.in_force.set_standings(standings.clone());
                // The receiver is gone only where the job has ended.
                let _ = self.changes.send(Change::Standings { standings: standings.clone(), turn });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
    use serde_json::json;

    use super::*;
    use crate::rules::{AnswerOrder, Emit, RuleFiles, RuleSet, Stand};
    use crate::source::embedded::EmbeddedBroker;
    use crate::source::kafka::Side;

    #[test]
    fn a_turn_between_the_first_reading_and_the_following_is_told_and_those_of_another_job_never_are() {
        let broker = EmbeddedBroker::start(&[("audit", 1)]).expect("a broker");
        let kafka = KafkaSettings { brokers: vec![broker.bootstrap_servers()], ..KafkaSettings::default() };
        let producer: BaseProducer =
            kafka.client_config(Side::Producer, "test", &[]).expect("settings").create().expect("a producer");
        let send = |what: &str, rule: &str, job: serde_json::Value| {
            let event = json!({"what": what, "rule": rule, "job": job, "by": "ann"}).to_string();
            producer.send(BaseRecord::<str, str>::to("audit").key(rule).payload(&event)).expect("room");
            producer.flush(Duration::from_secs(30)).expect("delivered");
        };
        let files = RuleFiles::open(&Path::new(env!("CARGO_MANIFEST_DIR")).join("rules"), None);
        let set = RuleSet::compile(files.expect("a folder"), AnswerOrder::Default(Emit::OnArrival));
        let in_force = InForce::new(set.expect("a contract"), None);
        let (changes, told) = crossbeam_channel::bounded(16);
        let ended = AtomicBool::new(false);
        let follower = Follower {
            kafka: &kafka,
            client_id: "test",
            job: "cards",
            topic: "audit",
            in_force: &in_force,
            changes,
            peers: None,
            ended: &ended,
        };
        send("rule_off", "old", json!(null));
        send("rule_off", "a", json!("cards"));
        send("rule_off", "c", json!("loans"));
        follower.catch_up().map_err(|failure| failure.message).expect("all turns so far");
        let off = || in_force.standings().all_turned().map(|turn| turn.rule.clone()).collect::<Vec<_>>();
        assert_eq!(off(), ["a", "old"], "an event that names no job is for each");
        for (what, rule) in [("rule_on", "a"), ("rule_off", "b"), ("rule_on", "b"), ("rule_off", "b")] {
            send(what, rule, json!("cards"));
        }
        send("rule_off", "d", json!("loans"));
        let next = || match told.recv_timeout(Duration::from_secs(60)) {
            Ok(Change::Standings { standings, turn }) => Some((turn.rule, turn.to, standings.of("b"))),
            _ => None,
        };
        // Nothing may panic before the other thread has been told that it is over.
        let heard = std::thread::scope(|scope| {
            scope.spawn(|| follower.run());
            let before = [next(), next()];
            send("rule_off", "e", json!("cards"));
            let after = next();
            ended.store(true, Ordering::Relaxed);
            before.into_iter().chain([after]).collect::<Vec<_>>()
        });
        let turn = |rule: &str, to, b| Some((rule.to_owned(), to, b));
        assert_eq!(
            heard,
            [
                turn("a", Stand::On, Stand::On),
                turn("b", Stand::Off, Stand::Off),
                turn("e", Stand::Off, Stand::Off)
            ]
        );
        assert_eq!(off(), ["b", "e", "old"]);
    }
}
