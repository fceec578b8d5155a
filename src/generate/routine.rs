//! What people do when nothing is wrong: pay, log in, send money, at their local hours.
//!
//! Takes the rate and the rhythm, hands on one event after the other. Times come from a Poisson
//! process: candidates at the rate of the busiest hour, kept with the level of the card's local hour.

use rand::{Rng, RngExt};
use rand_distr::{Exp1, StandardNormal};

use super::draft::{AccountEvent, Body, Origin, Payment, Planned, Transfer};
use super::places::City;
use super::rhythm::Week;
use super::world::{Account, Card, Merchant, Payee, Trade, Whereabouts, World};
use super::{GeneratorSettings, Rhythm};

/// Share of genuine events that are payments; of the rest, two in three are account events.
pub(super) const PAYMENT_SHARE: f64 = 0.82;
const ACCOUNT_EVENT_SHARE: f64 = 0.12;
const DECLINED_SHARE: f64 = 0.045;

/// The clock of genuine events.
#[derive(Debug)]
pub(super) struct Routine {
    week: Week,
    rhythm: Rhythm,
    /// Event time in microseconds with the fraction that would be lost between close events.
    time: f64,
    origin: i64,
    /// Mean microseconds between candidates.
    gap: f64,
}

impl Routine {
    pub(super) fn new(settings: &GeneratorSettings) -> Self {
        let week = Week::new();
        let kept = if settings.rhythm == Rhythm::Daily { week.mean() } else { 1.0 };
        let rate = settings.events_per_second * (1.0 - settings.fraud_share);
        Self { gap: 1e6 * kept / rate, rhythm: settings.rhythm, time: 0.0, origin: settings.start.0, week }
    }

    /// The next genuine event.
    pub(super) fn next<R: Rng>(&mut self, world: &World, rng: &mut R) -> Planned {
        let (card, account) = self.advance(world, rng);
        let time = (self.origin + self.time as i64) / 1_000 * 1_000;
        let draw: f64 = rng.random();
        let body = if draw < PAYMENT_SHARE {
            Body::Payment(payment(world, card, time, rng))
        } else if draw < PAYMENT_SHARE + ACCOUNT_EVENT_SHARE {
            Body::AccountEvent(account_event(world, account, time, rng))
        } else {
            Body::Transfer(transfer(world, account, rng))
        };
        Planned { time, order: 0, body, label: None }
    }

    /// Moves to the next time at which someone awake does something, and tells who.
    fn advance<R: Rng>(&mut self, world: &World, rng: &mut R) -> (Card, Account) {
        self.step(rng);
        loop {
            let card = world.any_card(rng);
            let account = world.account_of(card);
            let offset = i64::from(world.home(account).place().utc_offset_minutes) * 60_000_000;
            if rng.random::<f64>() < self.week.level(self.origin + self.time as i64 + offset) {
                return (card, account);
            }
            if self.rhythm == Rhythm::Daily {
                self.step(rng);
            }
        }
    }

    fn step<R: Rng>(&mut self, rng: &mut R) {
        let wait: f64 = rng.sample(Exp1);
        self.time += wait * self.gap;
    }
}

/// A genuine payment of the card, where its owner is.
pub(super) fn payment<R: Rng>(world: &World, card: Card, time: i64, rng: &mut R) -> Payment {
    let account = world.account_of(card);
    let online = rng.random::<f64>() < world.online_share(account);
    let mut payment = match world.whereabouts(account, time) {
        Whereabouts::In(city) if !online => in_person(world, card, city, rng),
        _ => online_payment(world, card, rng),
    };
    if rng.random::<f64>() < DECLINED_SHARE {
        payment.decline_code = Some(decline_code(payment.origin.is_some(), rng));
    }
    payment
}

/// A payment at a shop's terminal or a cash machine of the city.
pub(super) fn in_person<R: Rng>(world: &World, card: Card, city: City, rng: &mut R) -> Payment {
    let account = world.account_of(card);
    let cash = rng.random_range(0..25) == 0;
    let trade = if cash { Trade::CashMachine } else { Trade::Shop };
    let merchant = world.merchant(city, trade, rng);
    let cents = amount(&merchant, world.spending(account), rng);
    let (channel, entry_mode) = match rng.random_range(0..100) {
        _ if cash => ("atm", "chip"),
        0..54 => ("pos", "contactless"),
        54..88 => ("pos", "chip"),
        88..98 => ("pos", "wallet"),
        _ => ("pos", "magstripe"),
    };
    let cents = if cash { (cents / 1_000 * 1_000).clamp(2_000, 60_000) } else { cents };
    Payment { card, account, cents, merchant, channel, entry_mode, origin: None, decline_code: None }
}

/// A payment from the owner's own device, mostly to a merchant of the home city.
fn online_payment<R: Rng>(world: &World, card: Card, rng: &mut R) -> Payment {
    let account = world.account_of(card);
    let city = if rng.random_range(0..3) > 0 { world.home(account) } else { world.any_city(rng) };
    let trade = if rng.random_range(0..50) == 0 { Trade::Risky } else { Trade::Online };
    let merchant = world.merchant(city, trade, rng);
    let cents = amount(&merchant, world.spending(account), rng);
    if rng.random_range(0..40) == 0 {
        let (channel, entry_mode) = ("moto", "keyed");
        return Payment {
            card,
            account,
            cents,
            merchant,
            channel,
            entry_mode,
            origin: None,
            decline_code: None,
        };
    }
    let entry_mode = if rng.random_range(0..10) < 3 { "wallet" } else { "keyed" };
    let origin = Some(own_origin(world, account, rng));
    Payment { card, account, cents, merchant, channel: "ecom", entry_mode, origin, decline_code: None }
}

fn account_event<R: Rng>(world: &World, account: Account, time: i64, rng: &mut R) -> AccountEvent {
    let city = match world.whereabouts(account, time) {
        Whereabouts::In(city) => city,
        Whereabouts::Travelling => world.home(account),
    };
    let kind = match rng.random_range(0..1_000) {
        0..860 => "login",
        860..945 => "login_failed",
        945..955 => "password_reset",
        955..978 => "payee_added",
        978..984 => "email_changed",
        _ => "device_added",
    };
    let payee = (kind == "payee_added").then(|| new_payee(rng));
    AccountEvent { account, kind, origin: own_origin(world, account, rng), city, payee }
}

fn transfer<R: Rng>(world: &World, account: Account, rng: &mut R) -> Transfer {
    let deviation: f64 = rng.sample(StandardNormal);
    let euros = 85.0 * world.spending(account) * (1.1 * deviation).exp();
    // People send round sums: half of them whole tens.
    let cents = (euros * 100.0) as u64;
    let cents = if rng.random() { (cents / 1_000).max(1) * 1_000 } else { cents.max(100) };
    let (channel, origin) = match rng.random_range(0..20) {
        0 => ("branch", None),
        1..7 => ("web", Some(own_origin(world, account, rng))),
        _ => ("app", Some(own_origin(world, account, rng))),
    };
    let home = world.home(account).place();
    let payee_country =
        if rng.random_range(0..20) == 0 { world.any_city(rng).place().country } else { home.country };
    let payee = world.known_payee(account, rng);
    Transfer {
        account,
        payee,
        cents: cents.min(2_500_000),
        channel,
        origin,
        currency: home.currency,
        payee_country,
    }
}

/// One of the account's own devices at one of its own addresses.
pub(super) fn own_origin<R: Rng>(world: &World, account: Account, rng: &mut R) -> Origin {
    Origin { device: world.device(account, rng), ip: world.address(account, rng) }
}

/// A payee never seen before.
pub(super) fn new_payee<R: Rng>(rng: &mut R) -> Payee {
    Payee(rng.random::<u64>() >> 24)
}

pub(super) fn decline_code<R: Rng>(card_absent: bool, rng: &mut R) -> &'static str {
    match rng.random_range(0..10) {
        0..5 => "insufficient_funds",
        5..8 => "do_not_honor",
        8 => "limit_exceeded",
        _ if card_absent => "wrong_cvv",
        _ => "wrong_pin",
    }
}

/// A log-normal amount in cents by the merchant's category.
fn amount<R: Rng>(merchant: &Merchant, spending: f64, rng: &mut R) -> u64 {
    let deviation: f64 = rng.sample(StandardNormal);
    let euros = merchant.category.median * spending * (merchant.category.spread * deviation).exp();
    ((euros * 100.0) as u64).clamp(50, 1_500_000)
}
