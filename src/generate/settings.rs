//! What a generated stream is like: how fast, how many cards, how much fraud.
//!
//! Takes plain values and checks them, naming every one that is out of range. The numbers of cards,
//! accounts and merchants follow from the rate where they are not set, so that a card pays a few
//! times a day at any rate; above 2,000,000 cards the habit of growing stops and cards get busier.

use crate::event::EventTime;

/// What is settable of a [`Generator`](super::Generator).
#[derive(Debug, Clone, PartialEq)]
pub struct GeneratorSettings {
    /// Any number; another one gives other events.
    pub seed: u64,
    /// Event time at which genuine traffic starts.
    pub start: EventTime,
    /// Mean number of events in a second of event time.
    pub events_per_second: f64,
    /// How the rate moves through the day and the week.
    pub rhythm: Rhythm,
    /// Number of cards; by default as many as make each pay two or three times a day.
    pub cards: Option<u64>,
    /// Number of accounts that the cards draw on; by default three for four cards.
    pub accounts: Option<u64>,
    /// Number of merchants; by default one for 25 cards.
    pub merchants: Option<u64>,
    /// Share of all events that belong to fraud, from 0 to 0.5.
    pub fraud_share: f64,
    /// Whether the past of some cards comes first.
    pub past: Past,
    /// Whether events carry their label.
    pub labels: Labels,
}

impl GeneratorSettings {
    /// Settings with the defaults: 1,000 events a second, 0.3% of them fraud.
    pub fn starting_at(start: EventTime) -> Self {
        Self {
            seed: 1,
            start,
            events_per_second: 1_000.0,
            rhythm: Rhythm::Daily,
            cards: None,
            accounts: None,
            merchants: None,
            fraud_share: 0.003,
            past: Past::Told,
            labels: Labels::Apart,
        }
    }
}

/// How the rate moves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Rhythm {
    /// By each card's local hour and weekday; the mean over a week is the set rate.
    #[default]
    Daily,
    /// The set rate at any hour; which cards pay still follows their local hour.
    Steady,
}

/// Whether events older than the start come first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Past {
    /// About 1,700 genuine events of up to 140 days before the start, so that rules on long history answer at once.
    #[default]
    Told,
    /// Nothing is older than the start.
    Untold,
}

/// Where labels are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Labels {
    /// Only beside the event, in [`GeneratedEvent::label`](super::GeneratedEvent::label).
    #[default]
    Apart,
    /// Also in the event's JSON, as `is_fraud` and `typology`.
    Inline,
}

/// Settings out of their range, all of them.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the generator can't run with these settings: {}", .0.join("; "))]
pub struct GeneratorSettingsError(pub Vec<String>);

const CARDS_MAX: u64 = 1_000_000_000;
const CARDS_DEFAULT_MAX: f64 = 2_000_000.0;
const PAYMENTS_PER_CARD_AND_DAY: f64 = 2.5;
/// 1971-01-01 and 2200-01-01: every event time has a four-digit year, the told past included.
const START_RANGE: std::ops::Range<i64> = 31_536_000_000_000..7_258_118_400_000_000;

impl GeneratorSettings {
    /// Number of cards, set or derived from the rate.
    pub fn card_count(&self) -> u64 {
        let daily_payments = self.events_per_second * super::routine::PAYMENT_SHARE * 86_400.0;
        self.cards
            .unwrap_or((daily_payments / PAYMENTS_PER_CARD_AND_DAY).clamp(2_000.0, CARDS_DEFAULT_MAX) as u64)
    }

    /// Number of accounts, set or derived from the number of cards.
    pub fn account_count(&self) -> u64 {
        self.accounts.unwrap_or((self.card_count() * 3 / 4).max(1))
    }

    /// Number of merchants, set or derived from the number of cards.
    pub fn merchant_count(&self) -> u64 {
        self.merchants.unwrap_or((self.card_count() / 25).clamp(1_000, 100_000))
    }

    pub(super) fn validate(&self) -> Result<(), GeneratorSettingsError> {
        let mut faults = Vec::new();
        if !(self.events_per_second > 1e-6 && self.events_per_second <= 1e8) {
            faults.push(format!(
                "events_per_second is {}, must be from 0.000001 to 100000000",
                self.events_per_second
            ));
        }
        if !(0.0..=0.5).contains(&self.fraud_share) {
            faults.push(format!("fraud_share is {}, must be from 0 to 0.5", self.fraud_share));
        }
        for (name, count) in [
            ("cards", self.card_count()),
            ("accounts", self.account_count()),
            ("merchants", self.merchant_count()),
        ] {
            if !(200..=CARDS_MAX).contains(&count) {
                faults.push(format!("{name} is {count}, must be from 200 to {CARDS_MAX}"));
            }
        }
        if !START_RANGE.contains(&self.start.0) {
            faults.push(format!("start is {}, must be from 1971 to 2199", self.start));
        }
        if faults.is_empty() { Ok(()) } else { Err(GeneratorSettingsError(faults)) }
    }
}
