//! Fraud with one card: testing, spending fast, far away, or too much.
//!
//! Each function plans one episode on the stage. Numbers are set so that a plain episode is caught by
//! the rule pack, and a slow one may slip through, as in life.

use std::net::Ipv4Addr;
use std::ops::Range;

use rand::RngExt;

use super::Stage;
use crate::generate::draft::{Body, Origin, Payment};
use crate::generate::places::City;
use crate::generate::world::{Account, Card, Device, Trade, Whereabouts};

impl Stage<'_> {
    /// A device and an address that no owner has (198.18.0.0/15: rented machines).
    pub(super) fn attacker(&mut self) -> Origin {
        Origin { device: self.attacker_device(), ip: self.attacker_address() }
    }

    pub(super) fn attacker_device(&mut self) -> Device {
        Device(self.rng.random::<u64>() >> 16)
    }

    pub(super) fn attacker_address(&mut self) -> Ipv4Addr {
        Ipv4Addr::from(0xc612_0000 | self.rng.random_range(0..0x2_0000u32))
    }

    /// An online payment somewhere, typed in by the attacker.
    pub(super) fn online(&mut self, card: Card, trade: Trade, cents: u64, origin: Origin) -> Payment {
        let city = self.world.any_city(self.rng);
        Payment {
            card,
            account: self.world.account_of(card),
            cents,
            merchant: self.world.merchant(city, trade, self.rng),
            channel: "ecom",
            entry_mode: "keyed",
            origin: Some(origin),
            decline_code: None,
        }
    }

    /// A payment at a terminal in the city.
    fn at_terminal(&mut self, card: Card, city: City, sums: Range<u64>) -> Payment {
        let cents = self.sum(sums);
        let merchant = self.world.merchant(city, Trade::Shop, self.rng);
        let account = self.world.account_of(card);
        let (channel, entry_mode) = ("pos", "magstripe");
        Payment { card, account, cents, merchant, channel, entry_mode, origin: None, decline_code: None }
    }

    fn owner_city(&self, account: Account) -> City {
        match self.world.whereabouts(account, self.time) {
            Whereabouts::In(city) => city,
            Whereabouts::Travelling => self.world.home(account),
        }
    }

    /// A city in another country, so far away at least; the farthest of many draws where none is.
    fn distant_city(&mut self, from: City, km_min: f64) -> City {
        let mut farthest = from;
        for _ in 0..64 {
            let city = self.world.any_city(self.rng);
            if from.distance_km(city) > from.distance_km(farthest) {
                farthest = city;
            }
            if city.place().country != from.place().country && from.distance_km(city) > km_min {
                return city;
            }
        }
        farthest
    }
}

/// Small authorisations at many merchants, most declined; then the purchase they were for.
pub(super) fn card_testing(stage: &mut Stage<'_>) {
    let (card, origin) = (stage.any_card(), stage.attacker());
    let tests = stage.rng.random_range(9..13);
    for test in 0..tests {
        let cents = stage.rng.random_range(50..500);
        let mut payment = stage.online(card, Trade::Online, cents, origin);
        if test < 6 || stage.rng.random_range(0..2) == 0 {
            payment.decline_code = Some("wrong_cvv");
        }
        stage.fraud(Body::Payment(payment));
        stage.wait(0.4..3.0);
    }
    stage.wait(2.0..15.0);
    let cents = stage.sum(150..900);
    let purchase = stage.online(card, Trade::Online, cents, origin);
    stage.fraud(Body::Payment(purchase));
}

/// Contactless payments below the limit that asks for a PIN, one shop after the other.
pub(super) fn card_velocity(stage: &mut Stage<'_>) {
    let card = stage.any_card();
    let city = stage.owner_city(stage.world.account_of(card));
    for _ in 0..stage.rng.random_range(11..15) {
        let mut payment = stage.at_terminal(card, city, 12..50);
        payment.entry_mode = "contactless";
        stage.fraud(Body::Payment(payment));
        stage.wait(1.0..5.0);
    }
}

/// Goods that sell again easily, until the limit is reached.
pub(super) fn spend_velocity(stage: &mut Stage<'_>) {
    let (card, origin) = (stage.any_card(), stage.attacker());
    for _ in 0..stage.rng.random_range(4..7) {
        let cents = stage.sum(800..1_600);
        let payment = stage.online(card, Trade::Online, cents, origin);
        stage.fraud(Body::Payment(payment));
        stage.wait(2.0..12.0);
    }
}

/// The owner pays; a copy of the card's stripe pays a continent away.
pub(super) fn impossible_travel(stage: &mut Stage<'_>) {
    let card = stage.any_card();
    let here = stage.owner_city(stage.world.account_of(card));
    let there = stage.distant_city(here, 2_000.0);
    let mut genuine = stage.at_terminal(card, here, 8..80);
    genuine.entry_mode = "chip";
    stage.genuine(Body::Payment(genuine));
    for _ in 0..stage.rng.random_range(1..4) {
        stage.wait(3.0..40.0);
        let payment = stage.at_terminal(card, there, 80..600);
        stage.fraud(Body::Payment(payment));
    }
}

/// One or two purchases far above what the owner ever spent.
pub(super) fn amount_outlier(stage: &mut Stage<'_>) {
    let (card, origin) = (stage.regular_card(), stage.attacker());
    for _ in 0..stage.rng.random_range(1..3) {
        let cents = stage.sum(1_800..6_000);
        let payment = stage.online(card, Trade::Online, cents, origin);
        stage.fraud(Body::Payment(payment));
        stage.wait(20.0..90.0);
    }
}

/// A copied stripe is used where the owner never was.
pub(super) fn new_country(stage: &mut Stage<'_>) {
    let card = stage.regular_card();
    let home = stage.world.home(stage.world.account_of(card));
    let city = stage.distant_city(home, 0.0);
    for _ in 0..stage.rng.random_range(1..3) {
        let payment = stage.at_terminal(card, city, 200..900);
        stage.fraud(Body::Payment(payment));
        stage.wait(5.0..60.0);
    }
}

/// Cash and goods in a country on the list.
pub(super) fn high_risk_country(stage: &mut Stage<'_>) {
    let card = stage.any_card();
    let city = stage.world.unusual_city(stage.rng);
    for _ in 0..stage.rng.random_range(1..3) {
        let payment = stage.at_terminal(card, city, 100..700);
        stage.fraud(Body::Payment(payment));
        stage.wait(5.0..60.0);
    }
}

/// The card's money becomes balance that can be moved on.
pub(super) fn high_risk_merchants(stage: &mut Stage<'_>) {
    let (card, origin) = (stage.any_card(), stage.attacker());
    for _ in 0..stage.rng.random_range(4..6) {
        let cents = stage.rng.random_range(6..13) * 5_000;
        let payment = stage.online(card, Trade::Risky, cents, origin);
        stage.fraud(Body::Payment(payment));
        stage.wait(3.0..20.0);
    }
}
