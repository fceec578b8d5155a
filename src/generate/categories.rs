//! Merchant categories: what is bought where, how often, and for how much.
//!
//! A table and a draw from it. Amounts are log-normal: the median and the spread of the logarithm
//! are each category's own.

/// A merchant category.
#[derive(Debug)]
pub(super) struct Category {
    /// Merchant category code (ISO 18245).
    pub(super) mcc: &'static str,
    /// Median amount in the booking currency.
    pub(super) median: f64,
    /// Standard deviation of the amount's logarithm.
    pub(super) spread: f64,
    weight: u16,
}

const fn category(mcc: &'static str, median: f64, spread: f64, weight: u16) -> Category {
    Category { mcc, median, spread, weight }
}

/// What shops with a terminal sell.
pub(super) const SHOPS: [Category; 12] = [
    category("5411", 28.0, 0.75, 300), // groceries
    category("5812", 34.0, 0.60, 130), // restaurants
    category("5814", 9.5, 0.50, 150),  // fast food
    category("5541", 52.0, 0.45, 90),  // fuel
    category("5912", 16.0, 0.65, 70),  // pharmacies
    category("5651", 48.0, 0.70, 60),  // clothing
    category("5462", 6.5, 0.50, 80),   // bakeries
    category("4111", 4.2, 0.55, 90),   // local transport
    category("5311", 41.0, 0.75, 50),  // department stores
    category("5732", 120.0, 0.85, 20), // electronics
    category("5200", 45.0, 0.80, 30),  // home improvement
    category("7011", 140.0, 0.60, 15), // hotels
];

/// What is sold online.
pub(super) const ONLINE: [Category; 10] = [
    category("5311", 36.0, 0.80, 220), // marketplaces
    category("5651", 52.0, 0.70, 140), // clothing
    category("5815", 9.9, 0.45, 150),  // digital media
    category("5816", 12.0, 0.80, 90),  // games
    category("4121", 14.0, 0.50, 90),  // rides
    category("5814", 24.0, 0.45, 110), // food delivery
    category("5732", 95.0, 0.90, 50),  // electronics
    category("4899", 14.0, 0.30, 70),  // streaming
    category("4511", 190.0, 0.70, 20), // airlines
    category("5942", 19.0, 0.55, 40),  // books
];

/// Categories of `rules/lists/high_risk_mcc.csv`.
pub(super) const RISKY: [Category; 4] = [
    category("7995", 35.0, 0.80, 60), // betting
    category("6051", 60.0, 0.80, 20), // quasi-cash
    category("4829", 90.0, 0.70, 15), // money transfer
    category("6540", 25.0, 0.60, 20), // stored value
];

/// Cash machines.
pub(super) const CASH: [Category; 1] = [category("6011", 80.0, 0.60, 1)];

/// The category at a point of the table's weights that `draw` names.
pub(super) fn pick(table: &'static [Category], draw: u64) -> &'static Category {
    let total: u64 = table.iter().map(|category| u64::from(category.weight)).sum();
    let mut rest = draw % total.max(1);
    for category in table {
        let weight = u64::from(category.weight);
        if rest < weight {
            return category;
        }
        rest -= weight;
    }
    &CASH[0]
}
