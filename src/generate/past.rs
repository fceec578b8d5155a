//! What some cards and accounts did before the start, so that rules on long history have one to go by.
//!
//! Takes the start, plans genuine events before it: payments of the busiest cards over four weeks, and
//! the last payments of accounts that have slept since. Keeps nothing.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use rand::{Rng, RngExt};

use super::draft::{Body, Planned};
use super::routine;
use super::world::{Card, SLEEPING_ACCOUNTS, World};
use crate::event::EventTime;

/// The first cards by number, who are also the busiest: fraud that needs a history befalls them.
pub(super) const REGULAR_CARDS: u64 = 128;

const HOUR: i64 = 3_600_000_000;

/// Plans the past.
pub(super) fn plan<R: Rng>(
    world: &World,
    rng: &mut R,
    start: EventTime,
    planned: &mut BinaryHeap<Reverse<Planned>>,
) {
    for number in 0..REGULAR_CARDS {
        for _ in 0..rng.random_range(9..15) {
            let hours_ago = rng.random_range(30..28 * 24);
            planned.push(Reverse(genuine(world, rng, Card(number), start.0 - hours_ago * HOUR)));
        }
    }
    for number in 0..SLEEPING_ACCOUNTS {
        let last_hours_ago = rng.random_range(95 * 24..130 * 24);
        for _ in 0..3 {
            let hours_ago = last_hours_ago + rng.random_range(0..10 * 24);
            planned.push(Reverse(genuine(
                world,
                rng,
                world.sleeping_card(number),
                start.0 - hours_ago * HOUR,
            )));
        }
    }
}

fn genuine<R: Rng>(world: &World, rng: &mut R, card: Card, hour: i64) -> Planned {
    let time = (hour + rng.random_range(0..HOUR)) / 1_000 * 1_000;
    let mut payment = routine::payment(world, card, time, rng);
    payment.decline_code = None;
    Planned { time, order: rng.random(), body: Body::Payment(payment), label: None }
}
