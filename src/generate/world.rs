//! Who there is: cards, accounts, merchants, devices and addresses, all computed from hashes.
//!
//! Takes a number, hands on what belongs to it; keeps only the counts and a table of cities. That a
//! card's home is computed and not stored is what lets the number of cards be any.

use std::net::Ipv4Addr;

use rand::{Rng, RngExt};

use super::GeneratorSettings;
use super::categories::{self, Category};
use super::places::{CITIES, City, Point, UNUSUAL};

/// Number of a card; those from [`World::cards`] on belong to sleeping accounts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Card(pub(super) u64);

/// Number of an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Account(pub(super) u64);

/// A device's 48-bit fingerprint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Device(pub(super) u64);

/// A payee's 40-bit number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Payee(pub(super) u64);

/// A merchant's number, seat and trade.
#[derive(Debug, Clone, Copy)]
pub(super) struct Merchant {
    pub(super) number: u64,
    pub(super) city: City,
    pub(super) category: &'static Category,
    /// Where its terminal stands; none online.
    pub(super) terminal: Option<Point>,
}

/// What sort of merchant is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trade {
    Shop,
    Online,
    Risky,
    CashMachine,
}

/// Where a customer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Whereabouts {
    In(City),
    /// On the way: pays nowhere in person.
    Travelling,
}

/// Accounts that no genuine event touches once the past is told.
pub(super) const SLEEPING_ACCOUNTS: u64 = 64;

const DAY: i64 = 86_400_000_000;
/// Every 21 days one account in eight is away for a week. Its first and last day are spent on the way:
/// with less, a trip around the globe would be faster than an airliner.
const TRIP_PERIOD: i64 = 21 * DAY;
const TRIP: i64 = 7 * DAY;

/// The counts of everything, and the tables that draws need.
#[derive(Debug, Clone)]
pub(super) struct World {
    seed: u64,
    pub(super) cards: u64,
    accounts: u64,
    merchants_per_city: u64,
    carrier_addresses: u64,
    homes: Vec<City>,
}

/// A hash of two numbers with every bit of both in every bit of the result (splitmix64's finaliser).
pub(super) fn mix(seed: u64, value: u64) -> u64 {
    let mut hash = seed ^ value.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(0x632b_e59b_d9b4_e019);
    hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^ (hash >> 31)
}

/// What makes ids of one run differ from those of another: 32 bits of seed and start.
pub(super) fn run_id(settings: &GeneratorSettings) -> u64 {
    mix(mix(settings.seed, 0x1d), settings.start.0.unsigned_abs()) & 0xffff_ffff
}

/// A rank below `count` by Zipf's law with a flattened head, by inversion of its continuous form.
///
/// The density is proportional to (rank + head)^(1/power − 1): the larger `head`, the less the first rank stands out.
fn zipf_rank<R: Rng>(rng: &mut R, count: u64, head: f64, power: i32) -> u64 {
    let root = 1.0 / f64::from(power);
    let low = head.powf(root);
    let high = (count as f64 + head).powf(root);
    let draw: f64 = rng.random();
    ((low + draw * (high - low)).powi(power) - head).clamp(0.0, count.saturating_sub(1) as f64) as u64
}

impl World {
    pub(super) fn new(settings: &GeneratorSettings) -> Self {
        let cards = settings.card_count();
        let homes = CITIES.iter().enumerate().flat_map(|(index, place)| {
            std::iter::repeat_n(City(u8::try_from(index).unwrap_or(0)), usize::from(place.weight))
        });
        Self {
            seed: mix(settings.seed, 0x90),
            cards,
            accounts: settings.account_count(),
            merchants_per_city: (settings.merchant_count() / CITIES.len() as u64).max(4),
            carrier_addresses: (cards / 40).clamp(16, 4_000_000),
            homes: homes.collect(),
        }
    }

    fn hash(&self, purpose: u64, value: u64) -> u64 {
        mix(self.seed ^ (purpose << 56), value)
    }

    /// Draws a card; a few hundred are some five times as busy as the mean.
    pub(super) fn any_card<R: Rng>(&self, rng: &mut R) -> Card {
        Card(zipf_rank(rng, self.cards, self.cards as f64 / 20.0, 5))
    }

    /// A card of the sleeping account of that number.
    pub(super) fn sleeping_card(&self, number: u64) -> Card {
        Card(self.cards + number)
    }

    pub(super) fn account_of(&self, card: Card) -> Account {
        match card.0.checked_sub(self.cards) {
            Some(sleeping) => Account(self.accounts + sleeping),
            None => Account(card.0 % self.accounts),
        }
    }

    pub(super) fn home(&self, account: Account) -> City {
        let draw = self.hash(1, account.0) % self.homes.len().max(1) as u64;
        self.homes.get(draw as usize).copied().unwrap_or(City(0))
    }

    /// A city by its weight.
    pub(super) fn any_city<R: Rng>(&self, rng: &mut R) -> City {
        self.homes.get(rng.random_range(0..self.homes.len())).copied().unwrap_or(City(0))
    }

    /// A city where nobody lives.
    pub(super) fn unusual_city<R: Rng>(&self, rng: &mut R) -> City {
        City(rng.random_range(UNUSUAL))
    }

    /// Where the account's owner is at a time in microseconds.
    pub(super) fn whereabouts(&self, account: Account, time: i64) -> Whereabouts {
        let phase = (self.hash(2, account.0) % TRIP_PERIOD.unsigned_abs()) as i64;
        let since_trip = (time + phase).rem_euclid(TRIP_PERIOD);
        let trip = (time + phase).div_euclid(TRIP_PERIOD);
        let draw = self.hash(3, account.0 ^ (trip.unsigned_abs() << 40));
        if since_trip >= TRIP || !draw.is_multiple_of(8) {
            return Whereabouts::In(self.home(account));
        }
        if !(DAY..TRIP - DAY).contains(&since_trip) {
            return Whereabouts::Travelling;
        }
        let destination = (draw >> 8) % self.homes.len().max(1) as u64;
        Whereabouts::In(self.homes.get(destination as usize).copied().unwrap_or(City(0)))
    }

    /// Share of the account's payments that are made online, from 0.15 to 0.65.
    pub(super) fn online_share(&self, account: Account) -> f64 {
        0.15 + 0.5 * (self.hash(4, account.0) % 1_000) as f64 / 1_000.0
    }

    /// How much more or less than the median the account spends, from 0.5 to 2.
    pub(super) fn spending(&self, account: Account) -> f64 {
        let draw = (self.hash(5, account.0) % 1_000) as f64 / 1_000.0;
        0.5 * 4f64.powf(draw)
    }

    /// One of the account's devices; the first three quarters of the time. One household in twelve shares its first.
    pub(super) fn device<R: Rng>(&self, account: Account, rng: &mut R) -> Device {
        let household = account.0 / 2;
        let owner = if self.hash(6, household).is_multiple_of(12) { household | 1 << 62 } else { account.0 };
        match rng.random_range(0..8) {
            0..6 => Device(self.hash(7, owner) >> 16),
            6 => Device(self.hash(8, account.0) >> 16),
            _ => Device(self.hash(9, account.0) >> 16),
        }
    }

    /// The account's address: its own at home (10.0.0.0/8), or its carrier's, shared by some 40 others (100.64.0.0/10).
    pub(super) fn address<R: Rng>(&self, account: Account, rng: &mut R) -> Ipv4Addr {
        if rng.random_range(0..4) > 0 {
            return Ipv4Addr::from(0x0a00_0000 | (self.hash(10, account.0) & 0x00ff_ffff) as u32);
        }
        let address = rng.random_range(0..self.carrier_addresses);
        Ipv4Addr::from(0x6440_0000 | (address & 0x003f_ffff) as u32)
    }

    /// One of the five payees whom the account has long known.
    pub(super) fn known_payee<R: Rng>(&self, account: Account, rng: &mut R) -> Payee {
        Payee(self.hash(11, account.0 * 8 + rng.random_range(0..5)) >> 24)
    }

    /// A merchant of a city; the first ranks take most of the trade.
    pub(super) fn merchant<R: Rng>(&self, city: City, trade: Trade, rng: &mut R) -> Merchant {
        let (slot, share, table): (u64, f64, &'static [Category]) = match trade {
            Trade::Shop => (0, 0.70, &categories::SHOPS),
            Trade::Online => (1, 0.22, &categories::ONLINE),
            Trade::Risky => (2, 0.03, &categories::RISKY),
            Trade::CashMachine => (3, 0.05, &categories::CASH),
        };
        let count = ((self.merchants_per_city as f64 * share) as u64).max(2);
        let number = (zipf_rank(rng, count, 3.0, 8) * 4 + slot) * CITIES.len() as u64 + u64::from(city.0);
        let draw = self.hash(12, number);
        let terminal = matches!(trade, Trade::Shop | Trade::CashMachine).then(|| {
            let centre = city.place().centre;
            let shift = |bits: u64| (bits % 1_600) as i32 - 800;
            Point { lat: centre.lat + shift(draw >> 20), lon: centre.lon + shift(draw >> 40) }
        });
        Merchant { number, city, category: categories::pick(table, draw & 0xf_ffff), terminal }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::EventTime;
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    fn world() -> World {
        let mut settings = GeneratorSettings::starting_at(EventTime(1_763_806_502_000_000));
        settings.cards = Some(100_000);
        World::new(&settings)
    }

    #[test]
    fn the_busiest_card_pays_about_five_times_the_mean() {
        let (world, mut rng) = (world(), ChaCha8Rng::seed_from_u64(7));
        let busiest = (0..1_000_000).filter(|_| world.any_card(&mut rng).0 < 100).count();
        assert!(
            (3_500..6_500).contains(&busiest),
            "{busiest} of a million draws for the first 100 of 100,000 cards"
        );
    }

    #[test]
    fn no_trip_is_faster_than_an_airliner() {
        let world = world();
        for account in (0..400).map(Account) {
            let mut last: Option<(i64, City)> = None;
            for hour in 0..24 * 60 {
                let time = 1_763_806_502_000_000 + hour * 3_600_000_000;
                if let Whereabouts::In(city) = world.whereabouts(account, time) {
                    if let Some((then, from)) = last {
                        let hours = (time - then) as f64 / 3.6e9;
                        assert!(from.distance_km(city) / hours < 900.0, "account {account:?} at hour {hour}");
                    }
                    last = Some((time, city));
                }
            }
        }
    }
}
