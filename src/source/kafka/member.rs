//! Whether another process has taken this one's place in its group.
//!
//! A request to join that is sent again, because its answer was lost, shuts out the member that sent it: then nobody lives by
//! the id that took its place, and the brokers forget it after a session. Another process goes on being a member.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer};

use super::{ConsumerSettings, Side};
use crate::event::Clock;

/// Time between two looks at the group.
const LOOK_WAIT: Duration = Duration::from_millis(250);

/// How long one look may take.
const ANSWER_WAIT: Duration = Duration::from_secs(5);

/// What a broker may be late in forgetting a member.
const FORGOTTEN_LATE: Duration = Duration::from_secs(2);

/// Brokers that say nothing for so long are not waited for: another process may live.
const SILENCE_MOST: Duration = Duration::from_secs(120);

/// Whether somebody is still a member under this instance's name once a session has passed since the brokers were first
/// asked. Waits that long where somebody is; where brokers say nothing for two minutes, somebody may be.
pub fn another_lives(settings: &ConsumerSettings, clock: &dyn Clock, stop: &AtomicBool) -> bool {
    // Only a member with a name can be shut out by another of the same.
    let Some(instance) = &settings.instance else { return false };
    let group = settings.group.as_str();
    let ours = [("group.id", group)];
    let Ok(config) = settings.kafka.client_config(Side::Consumer, group, &ours) else { return true };
    let session = config.get("session.timeout.ms").and_then(|millis| millis.parse().ok()).unwrap_or(10_000);
    let Ok(consumer) = config.create::<BaseConsumer>() else { return true };
    // Brokers make a member's id of its name.
    let of_instance = format!("{instance}-");
    let mut until = clock.elapsed() + SILENCE_MOST;
    let mut answered = false;
    while clock.elapsed() < until && !stop.load(Ordering::Relaxed) {
        if let Ok(list) = consumer.fetch_group_list(Some(group), ANSWER_WAIT) {
            let mut members = list.groups().iter().flat_map(|group| group.members());
            if !members.any(|member| member.id().starts_with(&of_instance)) {
                return false;
            }
            if !answered {
                answered = true;
                until = clock.elapsed() + Duration::from_millis(session) + FORGOTTEN_LATE;
            }
        }
        std::thread::sleep(LOOK_WAIT);
    }
    true
}
