//! Synthetic payments, account events and transfers, with labelled fraud among them.
//!
//! Takes [`GeneratorSettings`], hands on [`GeneratedEvent`]s without end, in event-time order: JSON
//! that fits `rules/schema.sql`, the key to partition by, and apart from the JSON the label. The same
//! settings give the same bytes. It keeps next to nothing: a card's home, devices and habits are
//! computed from a hash of its number, so ten million cards cost as little as ten; only planned events
//! (open fraud episodes, and the past that is told first) wait in a queue.
//!
//! What would surprise: the first thousand or so events are up to 140 days older than
//! [`GeneratorSettings::start`]. They are the past of some cards and accounts, without which rules on
//! long history would be silent for weeks. [`Past::Untold`] leaves them out.
//!
//! It fails only on settings out of range. Addresses are from ranges that belong to nobody (RFC 1918,
//! 6598, 2544 and 5737), and names are hashes.

mod categories;
mod draft;
mod episodes;
mod json;
mod pace;
mod past;
mod places;
mod rhythm;
mod routine;
mod settings;
mod world;

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::ops::Range;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::event::EventTime;

use draft::{Body, Planned};
use episodes::Episodes;
use routine::Routine;
use world::World;

pub use draft::Label;
pub use episodes::Typology;
pub use pace::Pace;
pub use settings::{GeneratorSettings, GeneratorSettingsError, Labels, Past, Rhythm};

/// The streams of `rules/schema.sql`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum StreamKind {
    /// Card and account payments.
    Payments,
    /// Logins and changes to an account.
    AccountEvents,
    /// Money sent from an account to a payee.
    Transfers,
}

impl StreamKind {
    /// Every stream, in the contract's order.
    pub const ALL: [Self; 3] = [Self::Payments, Self::AccountEvents, Self::Transfers];

    /// Name of the stream in the contract.
    pub fn name(self) -> &'static str {
        match self {
            Self::Payments => "payments",
            Self::AccountEvents => "account_events",
            Self::Transfers => "transfers",
        }
    }
}

/// One event as it would stand in a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GeneratedEvent {
    /// Which stream it belongs to.
    pub stream: StreamKind,
    /// When it happened, in whole milliseconds.
    pub event_time: EventTime,
    /// What to partition by: the card of a payment, else the account.
    pub key: String,
    /// The event as one line of JSON, without a line end.
    pub json: String,
    /// The fraud it belongs to; none for genuine events.
    pub label: Option<Label>,
    id: Range<usize>,
}

impl GeneratedEvent {
    /// The event's id: the stream's primary key.
    pub fn event_id(&self) -> &str {
        self.json.get(self.id.clone()).unwrap_or_default()
    }

    /// The label as one line of JSON for a file of labels, without a line end; none for genuine events.
    pub fn label_json(&self) -> Option<String> {
        let label = self.label?;
        Some(format!(
            r#"{{"stream":"{}","event_id":"{}","event_time":"{}","typology":"{}","episode":{}}}"#,
            self.stream.name(),
            self.event_id(),
            self.event_time,
            label.typology,
            label.episode
        ))
    }
}

/// Makes events without end; take as many as are wanted.
#[derive(Debug)]
pub struct Generator {
    world: World,
    rng: ChaCha8Rng,
    routine: Routine,
    episodes: Episodes,
    planned: BinaryHeap<Reverse<Planned>>,
    upcoming: Planned,
    labels: Labels,
    fraud_per_genuine: f64,
    /// Fraud events that may be planned before the share is exceeded; below zero they are in debt.
    allowance: f64,
    emitted: u64,
    run: u64,
}

/// Fraud events planned at once at the start, so that a demo has something to show in its first seconds.
const HEAD_START: f64 = 16.0;

impl Generator {
    /// A generator at its first event.
    ///
    /// # Errors
    /// Where a setting is out of its range; the error names all such settings.
    pub fn new(settings: &GeneratorSettings) -> Result<Self, GeneratorSettingsError> {
        settings.validate()?;
        let world = World::new(settings);
        let mut rng = ChaCha8Rng::seed_from_u64(settings.seed);
        let mut planned = BinaryHeap::new();
        if settings.past == Past::Told {
            past::plan(&world, &mut rng, settings.start, &mut planned);
        }
        let mut routine = Routine::new(settings);
        let upcoming = routine.next(&world, &mut rng);
        let share = settings.fraud_share;
        Ok(Self {
            episodes: Episodes::new(&world),
            run: world::run_id(settings),
            allowance: if share > 0.0 { HEAD_START } else { -1.0 },
            fraud_per_genuine: share / (1.0 - share),
            labels: settings.labels,
            emitted: 0,
            world,
            rng,
            routine,
            planned,
            upcoming,
        })
    }

    /// Writes the next event over `event`, whose buffers are used again.
    pub fn next_into(&mut self, event: &mut GeneratedEvent) {
        let planned_first =
            self.planned.peek().is_some_and(|Reverse(first)| first.time <= self.upcoming.time);
        let next = match if planned_first { self.planned.pop() } else { None } {
            Some(Reverse(planned)) => planned,
            None => self.advance_routine(),
        };
        self.write(&next, event);
    }

    fn advance_routine(&mut self) -> Planned {
        let next = std::mem::replace(&mut self.upcoming, self.routine.next(&self.world, &mut self.rng));
        self.allowance += self.fraud_per_genuine;
        while self.allowance >= 0.0 {
            let start = next.time + self.rng.random_range(0..300) * 1_000;
            let count = self.episodes.plan(&self.world, &mut self.rng, EventTime(start), &mut self.planned);
            self.allowance -= f64::from(count.max(1));
        }
        next
    }

    fn write(&mut self, planned: &Planned, event: &mut GeneratedEvent) {
        event.stream = match planned.body {
            Body::Payment(_) => StreamKind::Payments,
            Body::AccountEvent(_) => StreamKind::AccountEvents,
            Body::Transfer(_) => StreamKind::Transfers,
        };
        event.event_time = EventTime(planned.time);
        event.label = planned.label;
        event.key.clear();
        json::push_key(&mut event.key, &planned.body);
        event.json.clear();
        let id = json::EventId { run: self.run, number: self.emitted };
        event.id = json::push_event(&mut event.json, planned, id);
        if self.labels == Labels::Inline {
            json::push_label(&mut event.json, planned.label);
        }
        self.emitted += 1;
    }
}

impl Iterator for Generator {
    type Item = GeneratedEvent;

    fn next(&mut self) -> Option<GeneratedEvent> {
        let mut event = GeneratedEvent {
            stream: StreamKind::Payments,
            event_time: EventTime(0),
            key: String::with_capacity(16),
            json: String::with_capacity(448),
            label: None,
            id: 0..0,
        };
        self.next_into(&mut event);
        Some(event)
    }
}

#[cfg(test)]
mod tests;
