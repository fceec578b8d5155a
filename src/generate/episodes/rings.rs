//! Fraud that shows only across cards or accounts: one device, one address, one merchant, one list.
//!
//! Each function plans one episode on the stage.

use std::net::Ipv4Addr;

use rand::RngExt;

use super::Stage;
use crate::generate::draft::{AccountEvent, Body, Origin};
use crate::generate::routine;
use crate::generate::world::{Device, Trade};

/// First of the devices in `rules/lists/blocked_devices.csv`; the last digits count up to 8.
const BLOCKED_DEVICE: u64 = 0xb10c_ced0_0000;

/// One device types in one stolen card after the other, through changing addresses.
pub(super) fn device_sharing(stage: &mut Stage<'_>) {
    let device = stage.attacker_device();
    for _ in 0..stage.rng.random_range(6..10) {
        let (card, ip) = (stage.any_card(), stage.attacker_address());
        let cents = stage.sum(40..300);
        let mut payment = stage.online(card, Trade::Online, cents, Origin { device, ip });
        if stage.rng.random_range(0..4) == 0 {
            payment.decline_code = Some(routine::decline_code(true, stage.rng));
        }
        stage.fraud(Body::Payment(payment));
        stage.wait(1.0..8.0);
    }
}

/// One address pays with many cards, from devices that are reset each time.
pub(super) fn ip_sharing(stage: &mut Stage<'_>) {
    let ip = stage.attacker_address();
    for _ in 0..stage.rng.random_range(10..14) {
        let (card, device) = (stage.any_card(), stage.attacker_device());
        let cents = stage.sum(20..250);
        let mut payment = stage.online(card, Trade::Online, cents, Origin { device, ip });
        if stage.rng.random_range(0..3) == 0 {
            payment.decline_code = Some(routine::decline_code(true, stage.rng));
        }
        stage.fraud(Body::Payment(payment));
        stage.wait(0.5..4.0);
    }
}

/// Guessed card numbers against one merchant: few pass.
pub(super) fn merchant_burst(stage: &mut Stage<'_>) {
    let city = stage.world.any_city(stage.rng);
    let merchant = stage.world.merchant(city, Trade::Online, stage.rng);
    for attempt in 0..stage.rng.random_range(30..38) {
        let (card, origin) = (stage.any_card(), stage.attacker());
        let cents = stage.rng.random_range(100..2_000);
        let mut payment = stage.online(card, Trade::Online, cents, origin);
        payment.merchant = merchant;
        if attempt % 4 != 3 {
            payment.decline_code = Some("wrong_cvv");
        }
        stage.fraud(Body::Payment(payment));
        stage.wait(0.1..1.0);
    }
}

/// A device known from an earlier case.
pub(super) fn blocked_device(stage: &mut Stage<'_>) {
    let device = Device(BLOCKED_DEVICE + stage.rng.random_range(1..9));
    for _ in 0..stage.rng.random_range(1..3) {
        let (card, ip) = (stage.any_card(), stage.attacker_address());
        let cents = stage.sum(60..500);
        let payment = stage.online(card, Trade::Online, cents, Origin { device, ip });
        stage.fraud(Body::Payment(payment));
        stage.wait(2.0..30.0);
    }
}

/// An address from one of the networks of the rule `blocked-network` (RFC 5737's examples).
pub(super) fn blocked_network(stage: &mut Stage<'_>) {
    let networks = [0xc000_0200, 0xc633_6400, 0xcb00_7100];
    let network = networks[stage.rng.random_range(0..networks.len())];
    for _ in 0..stage.rng.random_range(1..3) {
        let ip = Ipv4Addr::from(network | stage.rng.random_range(1..255u32));
        let (card, device) = (stage.any_card(), stage.attacker_device());
        let cents = stage.sum(60..500);
        let payment = stage.online(card, Trade::Online, cents, Origin { device, ip });
        stage.fraud(Body::Payment(payment));
        stage.wait(2.0..30.0);
    }
}

/// Leaked passwords tried on account after account; the last one fits.
pub(super) fn credential_stuffing(stage: &mut Stage<'_>) {
    let (origin, city) = (stage.attacker(), stage.world.any_city(stage.rng));
    let tries = stage.rng.random_range(12..17);
    for number in 1..=tries {
        let card = stage.any_card();
        let kind = if number == tries { "login" } else { "login_failed" };
        let account = stage.world.account_of(card);
        stage.fraud(Body::AccountEvent(AccountEvent { account, kind, origin, city, payee: None }));
        stage.wait(0.2..1.5);
    }
}
