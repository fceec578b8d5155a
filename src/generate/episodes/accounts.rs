//! Fraud on accounts: taking one over, waking one that sleeps, and moving its money.
//!
//! Each function plans one episode on the stage.

use rand::RngExt;

use super::Stage;
use crate::generate::draft::{AccountEvent, Body, Origin, Transfer};
use crate::generate::places::City;
use crate::generate::routine;
use crate::generate::world::{Account, Payee};

/// Someone at a keyboard who is, or says he is, the owner of an account.
#[derive(Clone, Copy)]
struct Session {
    account: Account,
    origin: Origin,
    city: City,
}

impl Session {
    fn event(self, kind: &'static str) -> Body {
        self.with_payee(kind, None)
    }

    fn with_payee(self, kind: &'static str, payee: Option<Payee>) -> Body {
        Body::AccountEvent(AccountEvent {
            account: self.account,
            kind,
            origin: self.origin,
            city: self.city,
            payee,
        })
    }

    fn transfer(self, stage: &mut Stage<'_>, payee: Payee, cents: u64) -> Body {
        Body::Transfer(Transfer {
            account: self.account,
            payee,
            cents,
            channel: "web",
            origin: Some(self.origin),
            currency: stage.world.home(self.account).place().currency,
            payee_country: self.city.place().country,
        })
    }
}

impl Stage<'_> {
    /// The attacker's session on an account.
    fn intrusion(&mut self, account: Account) -> Session {
        let origin = self.attacker();
        Session { account, origin, city: self.world.any_city(self.rng) }
    }

    /// A session of the owner's own, for fraud that the owner commits.
    fn own_session(&mut self, account: Account) -> Session {
        let origin = routine::own_origin(self.world, account, self.rng);
        Session { account, origin, city: self.world.home(account) }
    }

    fn any_account(&mut self) -> Account {
        let card = self.any_card();
        self.world.account_of(card)
    }
}

/// Reset, login, new payee, and the money goes.
pub(super) fn account_takeover(stage: &mut Stage<'_>) {
    let account = stage.any_account();
    let session = stage.intrusion(account);
    let payee = routine::new_payee(stage.rng);
    for body in [
        session.event("password_reset"),
        session.event("login"),
        session.with_payee("payee_added", Some(payee)),
    ] {
        stage.fraud(body);
        stage.wait(1.0..8.0);
    }
    for _ in 0..stage.rng.random_range(1..3) {
        let cents = stage.sum(800..6_000);
        let transfer = session.transfer(stage, payee, cents);
        stage.fraud(transfer);
        stage.wait(1.0..8.0);
    }
}

/// Passwords are guessed until one fits.
pub(super) fn login_burst(stage: &mut Stage<'_>) {
    let account = stage.any_account();
    let session = stage.intrusion(account);
    for _ in 0..stage.rng.random_range(6..13) {
        stage.fraud(session.event("login_failed"));
        stage.wait(0.3..2.0);
    }
    stage.fraud(session.event("login"));
}

/// An account without a payment for months is emptied.
pub(super) fn dormant_account(stage: &mut Stage<'_>) {
    let Some(card) = stage.sleeper else { return };
    let account = stage.world.account_of(card);
    let session = stage.intrusion(account);
    stage.fraud(session.event("login"));
    stage.wait(1.0..8.0);
    let payee = routine::new_payee(stage.rng);
    let cents = stage.sum(600..4_000);
    let transfer = session.transfer(stage, payee, cents);
    stage.fraud(transfer);
}

/// One large sum in parts, each just below 10,000.
pub(super) fn structuring(stage: &mut Stage<'_>) {
    let account = stage.any_account();
    let session = stage.own_session(account);
    for _ in 0..stage.rng.random_range(4..6) {
        let payee = routine::new_payee(stage.rng);
        let cents = stage.sum(9_050..9_990);
        let transfer = session.transfer(stage, payee, cents);
        stage.fraud(transfer);
        stage.wait(2.0..15.0);
    }
}

/// A victim is talked into sending round sums to a stranger.
pub(super) fn new_payee_round_amounts(stage: &mut Stage<'_>) {
    let account = stage.any_account();
    let session = stage.own_session(account);
    let payee = routine::new_payee(stage.rng);
    stage.fraud(session.with_payee("payee_added", Some(payee)));
    for _ in 0..stage.rng.random_range(2..4) {
        stage.wait(2.0..15.0);
        let cents = stage.rng.random_range(1..7) * 50_000;
        let transfer = session.transfer(stage, payee, cents);
        stage.fraud(transfer);
    }
}
