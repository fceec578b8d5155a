//! How far event time has come when a real delay has passed: what paces a live stream.
//!
//! Takes a delay from [`Clock::elapsed`](crate::event::Clock::elapsed), hands on the event time up to
//! which events are due. Reads no clock itself.

use std::time::Duration;

use super::GeneratorSettings;
use crate::event::EventTime;

/// The relation of event time to real time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pace {
    start: EventTime,
    time_scale: f64,
}

impl Pace {
    /// Event time starts with the settings and passes `time_scale` seconds in a real one.
    ///
    /// With a scale of 1 an event carries the time at which it is sent. A scale of 3600 tells an hour
    /// in each second, at 3600 times the settings' events a second.
    pub fn new(settings: &GeneratorSettings, time_scale: f64) -> Self {
        Self { start: settings.start, time_scale }
    }

    /// Events up to this time are due once `elapsed` has passed. The told past is due at once.
    pub fn due(&self, elapsed: Duration) -> EventTime {
        EventTime(self.start.0.saturating_add((elapsed.as_micros() as f64 * self.time_scale) as i64))
    }

    /// How long to wait from `elapsed` on until an event of that time is due.
    pub fn wait(&self, event_time: EventTime, elapsed: Duration) -> Duration {
        let ahead = event_time.0.saturating_sub(self.start.0).max(0) as f64 / self.time_scale;
        Duration::from_micros(ahead as u64).saturating_sub(elapsed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_hour_of_event_time_passes_in_a_second_at_scale_3600() {
        let settings = GeneratorSettings::starting_at(EventTime(1_000_000_000_000_000));
        let pace = Pace::new(&settings, 3_600.0);
        assert_eq!(pace.due(Duration::from_secs(1)), EventTime(1_000_003_600_000_000));
        let wait = pace.wait(EventTime(1_000_003_600_000_000), Duration::from_millis(250));
        assert_eq!(wait, Duration::from_millis(750));
    }

    #[test]
    fn the_told_past_is_due_at_once() {
        let settings = GeneratorSettings::starting_at(EventTime(1_000_000_000_000_000));
        assert_eq!(Pace::new(&settings, 1.0).wait(EventTime(0), Duration::ZERO), Duration::ZERO);
    }
}
