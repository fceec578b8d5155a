//! How busy people are by hour and weekday: a table of the 168 hours of a week.
//!
//! Takes a local time, hands on a level from 0 to 1, 1 being the busiest hour of the week.

/// Level of each hour of an ordinary day: asleep until six, a bump at lunch, a peak after work.
const HOURS: [f64; 24] = [
    0.16, 0.09, 0.06, 0.05, 0.06, 0.11, 0.26, 0.48, 0.66, 0.72, 0.76, 0.84, 0.96, 0.88, 0.78, 0.78, 0.84,
    0.96, 1.0, 0.92, 0.76, 0.58, 0.42, 0.27,
];

/// Level of each day, Monday first.
const DAYS: [f64; 7] = [0.82, 0.84, 0.86, 0.9, 1.0, 0.98, 0.74];

const HOUR: i64 = 3_600_000_000;

/// The level of each hour of the week.
#[derive(Debug, Clone)]
pub(super) struct Week {
    levels: [f64; 168],
}

impl Week {
    pub(super) fn new() -> Self {
        let mut levels = [0.0; 168];
        for (index, level) in levels.iter_mut().enumerate() {
            *level = DAYS[index / 24] * HOURS[index % 24];
        }
        Self { levels }
    }

    /// Level at a local time in microseconds.
    pub(super) fn level(&self, local_micros: i64) -> f64 {
        // 1970-01-01 was a Thursday: 72 hours after a Monday's midnight.
        let hour = (local_micros.div_euclid(HOUR) + 72).rem_euclid(168);
        self.levels[hour as usize]
    }

    /// Mean level of the week.
    pub(super) fn mean(&self) -> f64 {
        self.levels.iter().sum::<f64>() / self.levels.len() as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn friday_evening_is_the_busiest_hour() {
        let week = Week::new();
        let friday_18h = 1_763_748_000_000_000; // 2025-11-21T18:00:00Z
        assert!((week.level(friday_18h) - 1.0).abs() < 1e-9);
        assert!(week.level(friday_18h - 15 * HOUR) < 0.1);
        assert!(week.mean() > 0.3 && week.mean() < 0.7, "{}", week.mean());
    }
}
