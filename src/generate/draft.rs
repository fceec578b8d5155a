//! An event before it is written: small values that copy, no text.
//!
//! Planned events are ordered by time, then by the order in which they were planned.

use std::cmp::Ordering;
use std::net::Ipv4Addr;

use super::world::{Account, Card, Device, Merchant, Payee};
use super::{Typology, places::City};

/// What fraud an event belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Label {
    /// Kind of fraud.
    pub typology: Typology,
    /// Number of the episode, from 1; its events share it.
    pub episode: u64,
}

/// An event with its time.
#[derive(Debug, Clone, Copy)]
pub(super) struct Planned {
    /// Microseconds, a multiple of 1,000.
    pub(super) time: i64,
    /// Decides between events of equal time.
    pub(super) order: u64,
    pub(super) body: Body,
    pub(super) label: Option<Label>,
}

/// What happened, by stream.
#[derive(Debug, Clone, Copy)]
pub(super) enum Body {
    Payment(Payment),
    AccountEvent(AccountEvent),
    Transfer(Transfer),
}

/// A row of `payments`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Payment {
    pub(super) card: Card,
    pub(super) account: Account,
    pub(super) cents: u64,
    pub(super) merchant: Merchant,
    pub(super) channel: &'static str,
    pub(super) entry_mode: &'static str,
    /// Where the customer used a device of his own; none at a terminal.
    pub(super) origin: Option<Origin>,
    /// Why it was declined; none where it was approved.
    pub(super) decline_code: Option<&'static str>,
}

/// A customer's device and address.
#[derive(Debug, Clone, Copy)]
pub(super) struct Origin {
    pub(super) device: Device,
    pub(super) ip: Ipv4Addr,
}

/// A row of `account_events`.
#[derive(Debug, Clone, Copy)]
pub(super) struct AccountEvent {
    pub(super) account: Account,
    pub(super) kind: &'static str,
    pub(super) origin: Origin,
    pub(super) city: City,
    pub(super) payee: Option<Payee>,
}

/// A row of `transfers`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Transfer {
    pub(super) account: Account,
    pub(super) payee: Payee,
    pub(super) cents: u64,
    pub(super) channel: &'static str,
    pub(super) origin: Option<Origin>,
    pub(super) currency: &'static str,
    pub(super) payee_country: &'static str,
}

impl Ord for Planned {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.time, self.order).cmp(&(other.time, other.order))
    }
}

impl PartialOrd for Planned {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Planned {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Planned {}
