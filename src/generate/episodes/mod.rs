//! Fraud: which kinds there are, whose turn it is, and the stage on which an episode is planned.
//!
//! Takes the time at which an episode may start, plans all its events at once into the queue, and
//! hands back how many of them are fraud. Keeps a deck of the kinds, dealt without replacement so that
//! each comes as often as the others, and which sleeping accounts were woken when.

mod accounts;
mod cards;
mod rings;

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::fmt;
use std::ops::Range;

use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use super::draft::{Body, Label, Planned};
use super::past::REGULAR_CARDS;
use super::world::{Card, SLEEPING_ACCOUNTS, World};
use crate::event::EventTime;

/// A kind of fraud; rules name the same in their `@typology`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Typology {
    /// A payment from a device on the list of blocked ones.
    BlockedDevice,
    /// Many small payments with one card to see whether it works, then a large one.
    CardTesting,
    /// A copy of the card is used far from where its owner just paid.
    ImpossibleTravel,
    /// Password reset, new payee, transfer, by someone else than the owner.
    AccountTakeover,
    /// Many wrong passwords for one account, then the right one.
    LoginBurst,
    /// One address pays with many cards.
    IpSharing,
    /// Contactless payments with a stolen card, one shop after the other.
    CardVelocity,
    /// One device pays with many cards.
    DeviceSharing,
    /// Large online purchases in a row until the card's limit is reached.
    SpendVelocity,
    /// One address tries passwords on many accounts.
    CredentialStuffing,
    /// One online merchant is flooded with stolen cards, most of them declined.
    MerchantBurst,
    /// An account that was silent for months sends its money away.
    DormantAccount,
    /// A payment many times larger than the card's own history.
    AmountOutlier,
    /// The card is used in person in a country where it never was.
    NewCountry,
    /// Transfers just below the amount that must be reported.
    Structuring,
    /// Round sums to a payee added minutes before.
    NewPayeeRoundAmounts,
    /// Payments in a country on the list of high-risk ones.
    HighRiskCountry,
    /// A payment from a network on the list of blocked ones.
    BlockedNetwork,
    /// A stolen card is turned into betting balance and vouchers.
    HighRiskMerchants,
}

impl Typology {
    /// Every kind, in the order of the first round: those that need few events first.
    pub const ALL: [Self; 19] = [
        Self::BlockedDevice,
        Self::CardTesting,
        Self::ImpossibleTravel,
        Self::AccountTakeover,
        Self::LoginBurst,
        Self::IpSharing,
        Self::CardVelocity,
        Self::DeviceSharing,
        Self::SpendVelocity,
        Self::NewCountry,
        Self::DormantAccount,
        Self::CredentialStuffing,
        Self::Structuring,
        Self::AmountOutlier,
        Self::HighRiskCountry,
        Self::NewPayeeRoundAmounts,
        Self::BlockedNetwork,
        Self::HighRiskMerchants,
        Self::MerchantBurst,
    ];

    /// The name in labels and in rule headers.
    pub fn name(self) -> &'static str {
        match self {
            Self::BlockedDevice => "blocked-device",
            Self::CardTesting => "card-testing",
            Self::ImpossibleTravel => "impossible-travel",
            Self::AccountTakeover => "account-takeover",
            Self::LoginBurst => "login-burst",
            Self::IpSharing => "ip-sharing",
            Self::CardVelocity => "card-velocity",
            Self::DeviceSharing => "device-sharing",
            Self::SpendVelocity => "spend-velocity",
            Self::CredentialStuffing => "credential-stuffing",
            Self::MerchantBurst => "merchant-burst",
            Self::DormantAccount => "dormant-account",
            Self::AmountOutlier => "amount-outlier",
            Self::NewCountry => "new-country",
            Self::Structuring => "structuring",
            Self::NewPayeeRoundAmounts => "new-payee-round-amounts",
            Self::HighRiskCountry => "high-risk-country",
            Self::BlockedNetwork => "blocked-network",
            Self::HighRiskMerchants => "high-risk-merchants",
        }
    }

    fn play(self, stage: &mut Stage<'_>) {
        match self {
            Self::CardTesting => cards::card_testing(stage),
            Self::CardVelocity => cards::card_velocity(stage),
            Self::SpendVelocity => cards::spend_velocity(stage),
            Self::ImpossibleTravel => cards::impossible_travel(stage),
            Self::AmountOutlier => cards::amount_outlier(stage),
            Self::NewCountry => cards::new_country(stage),
            Self::HighRiskCountry => cards::high_risk_country(stage),
            Self::HighRiskMerchants => cards::high_risk_merchants(stage),
            Self::DeviceSharing => rings::device_sharing(stage),
            Self::IpSharing => rings::ip_sharing(stage),
            Self::MerchantBurst => rings::merchant_burst(stage),
            Self::BlockedDevice => rings::blocked_device(stage),
            Self::BlockedNetwork => rings::blocked_network(stage),
            Self::CredentialStuffing => rings::credential_stuffing(stage),
            Self::AccountTakeover => accounts::account_takeover(stage),
            Self::LoginBurst => accounts::login_burst(stage),
            Self::DormantAccount => accounts::dormant_account(stage),
            Self::Structuring => accounts::structuring(stage),
            Self::NewPayeeRoundAmounts => accounts::new_payee_round_amounts(stage),
        }
    }
}

impl fmt::Display for Typology {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// How long a woken account must sleep before it can be woken again: longer than the 90 days of its rule.
const SLEEP: i64 = 95 * 86_400_000_000;

/// The deck and what earlier episodes left behind.
#[derive(Debug)]
pub(super) struct Episodes {
    deck: Vec<Typology>,
    dealt: u64,
    planned: u64,
    /// Cards of sleeping accounts, each with the time from which it counts as asleep, the earliest first.
    sleeping: VecDeque<(Card, i64)>,
}

impl Episodes {
    pub(super) fn new(world: &World) -> Self {
        Self {
            deck: Typology::ALL.into_iter().rev().collect(),
            dealt: 0,
            planned: 0,
            sleeping: (0..SLEEPING_ACCOUNTS).map(|number| (world.sleeping_card(number), i64::MIN)).collect(),
        }
    }

    /// Plans the next episode and tells how many of its events are fraud; none where nobody is asleep to be woken.
    pub(super) fn plan(
        &mut self,
        world: &World,
        rng: &mut ChaCha8Rng,
        start: EventTime,
        queue: &mut BinaryHeap<Reverse<Planned>>,
    ) -> u32 {
        let typology = self.deal(rng);
        let sleeper = match typology {
            Typology::DormantAccount => match self.wake(start) {
                None => return 0,
                woken => woken,
            },
            _ => None,
        };
        self.dealt += 1;
        let first_round = self.dealt <= Typology::ALL.len() as u64;
        // Scripts act within seconds, people take their time; the first round is all scripts, so that it is over soon.
        let slowness =
            if first_round || rng.random_range(0..10) < 6 { 1.0 } else { rng.random_range(3.0..30.0) };
        let mut stage = Stage {
            label: Label { typology, episode: self.dealt },
            time: start.0,
            fraud_events: 0,
            planned: &mut self.planned,
            sleeper,
            world,
            rng,
            queue,
            slowness,
        };
        typology.play(&mut stage);
        stage.fraud_events
    }

    fn deal(&mut self, rng: &mut ChaCha8Rng) -> Typology {
        if self.deck.is_empty() {
            self.deck.extend(Typology::ALL);
            for last in (1..self.deck.len()).rev() {
                self.deck.swap(last, rng.random_range(0..=last));
            }
        }
        self.deck.pop().unwrap_or(Typology::CardTesting)
    }

    fn wake(&mut self, now: EventTime) -> Option<Card> {
        let (card, asleep_from) = self.sleeping.pop_front()?;
        if asleep_from > now.0 {
            self.sleeping.push_front((card, asleep_from));
            return None;
        }
        self.sleeping.push_back((card, now.0 + SLEEP));
        Some(card)
    }
}

/// Where one episode is planned: time moves by hand, events are put down as they happen.
pub(super) struct Stage<'a> {
    world: &'a World,
    rng: &'a mut ChaCha8Rng,
    queue: &'a mut BinaryHeap<Reverse<Planned>>,
    planned: &'a mut u64,
    label: Label,
    time: i64,
    slowness: f64,
    fraud_events: u32,
    sleeper: Option<Card>,
}

impl Stage<'_> {
    /// Lets time pass: so many seconds for a script, longer for a slow hand.
    fn wait(&mut self, seconds: Range<f64>) {
        let wait = self.rng.random_range(seconds) * self.slowness;
        self.time += (wait * 1e3) as i64 * 1_000;
    }

    /// Something the fraudster did.
    fn fraud(&mut self, body: Body) {
        self.fraud_events += 1;
        self.put(body, Some(self.label));
    }

    /// Something genuine that the fraud is measured against.
    fn genuine(&mut self, body: Body) {
        self.put(body, None);
    }

    fn put(&mut self, body: Body, label: Option<Label>) {
        *self.planned += 1;
        let time = self.time / 1_000 * 1_000;
        self.queue.push(Reverse(Planned { time, order: *self.planned, body, label }));
    }

    /// Whoever it hits.
    fn any_card(&mut self) -> Card {
        self.world.any_card(self.rng)
    }

    /// A card that pays often, and has a history.
    fn regular_card(&mut self) -> Card {
        Card(self.rng.random_range(0..REGULAR_CARDS))
    }

    /// A sum in cents, from a range in whole units of the currency.
    fn sum(&mut self, range: Range<u64>) -> u64 {
        self.rng.random_range(range.start * 100..range.end * 100)
    }
}
