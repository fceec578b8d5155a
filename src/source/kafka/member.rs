//! Whether another process has taken this one's place in its group.
//!
//! A request to join that is sent again, because its answer was lost, shuts out the member that sent it: then nobody lives by
//! the id that took its place, and the brokers forget it after a session. Another process goes on being a member.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};

use super::{ConsumerSettings, Side, log_line, tells_lost_connection};
use crate::event::Clock;

/// Time between two looks at the group.
const LOOK_WAIT: Duration = Duration::from_millis(250);

/// How long one look may take.
const ANSWER_WAIT: Duration = Duration::from_secs(5);

/// What a broker may be late in forgetting a member.
const FORGOTTEN_LATE: Duration = Duration::from_secs(2);

/// Nobody is a member when answers have said so for so long: a broker that starts does not know its groups at once.
const SURE: Duration = Duration::from_secs(1);

/// Brokers that are neither here for a session nor come back within this time are not waited for: another process may live.
const WAIT_MOST: Duration = Duration::from_secs(120);

/// Counts the connections that were lost or refused: the library repeats a question until a broker is there again.
#[derive(Default)]
struct Connections(AtomicU64);

impl ClientContext for Connections {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        if tells_lost_connection(facility) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
        log_line(level, facility, message);
    }
}

impl ConsumerContext for Connections {}

/// Whether somebody is still a member under this instance's name once the brokers have answered for a session. Waits that
/// long where somebody is, and again after brokers were away, for one that starts gives every member a new session; where
/// they don't come back within two minutes, somebody may be.
pub fn another_lives(settings: &ConsumerSettings, clock: &dyn Clock, stop: &AtomicBool) -> bool {
    // Only a member with a name can be shut out by another of the same.
    let Some(instance) = &settings.instance else { return false };
    let group = settings.group.as_str();
    let ours = [("group.id", group)];
    let Ok(config) = settings.kafka.client_config(Side::Consumer, group, &ours) else { return true };
    let session = config.get("session.timeout.ms").and_then(|millis| millis.parse().ok()).unwrap_or(10_000);
    let Ok(consumer) = config.create_with_context::<_, BaseConsumer<_>>(Connections::default()) else {
        return true;
    };
    // Brokers make a member's id of its name.
    let of_instance = format!("{instance}-");
    let wait = Duration::from_millis(session) + FORGOTTEN_LATE;
    let mut last = clock.elapsed() + WAIT_MOST;
    let (mut until, mut nobody_since, mut lost) = (None, None, 0);
    while clock.elapsed() < until.unwrap_or(last) && !stop.load(Ordering::Relaxed) {
        let answer = consumer.fetch_group_list(Some(group), ANSWER_WAIT);
        let now = clock.elapsed();
        let lives = answer.ok().map(|list| {
            let mut members = list.groups().iter().flat_map(|group| group.members());
            members.any(|member| member.id().starts_with(&of_instance))
        });
        // The log of the library is served by polls only.
        drop(consumer.poll(LOOK_WAIT));
        let lost_until_now = consumer.context().0.load(Ordering::Relaxed);
        if lives.is_none() || lost_until_now != lost {
            (until, nobody_since, lost) = (None, None, lost_until_now);
        }
        if lives.is_some() {
            last = now + WAIT_MOST;
        }
        match lives {
            Some(true) => {
                nobody_since = None;
                until.get_or_insert(now + wait);
            }
            Some(false) if now.saturating_sub(*nobody_since.get_or_insert(now)) >= SURE => return false,
            _ => {}
        }
    }
    true
}
