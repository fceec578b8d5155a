//! The load: card payments by a schedule, and what the target used while they were measured.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, LogNormal, Zipf};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};

use super::broker::Bench;
use super::target::Kind;
use super::{Arguments, Failure};
use crate::event::{Clock, EventTime, SystemClock};

const CARDS: f64 = 100_000.0;
const MERCHANTS: f64 = 5_000.0;
const COUNTRIES: [&str; 8] = ["US", "GB", "DE", "FR", "ES", "IT", "NL", "PL"];

/// Longest sleep between two looks at the schedule.
const TICK: Duration = Duration::from_micros(200);

/// Events of one turn.
pub(super) struct Load {
    /// When event 0 is due, by the clock's reading.
    pub(super) origin: Duration,
    started_micros: i64,
    interval_nanos: f64,
    record_bytes: usize,
    topic: String,
    producer: BaseProducer,
    noted: Mutex<(f64, u64, Duration)>,
}

impl Load {
    /// Gets ready; the first event is due in a tenth of a second.
    pub(super) fn start(
        arguments: &Arguments,
        bench: &Bench,
        kind: Kind,
        clock: &SystemClock,
    ) -> Result<Self, Failure> {
        let ahead = Duration::from_millis(100);
        Ok(Self {
            origin: clock.elapsed() + ahead,
            started_micros: clock.now_micros() + 100_000,
            interval_nanos: 1e9 / f64::from(arguments.rate),
            record_bytes: arguments.record_bytes as usize,
            topic: bench.input(kind),
            producer: bench.producer()?,
            noted: Mutex::new((0.0, 0, Duration::ZERO)),
        })
    }

    /// When an event is due.
    pub(super) fn due(&self, event: u64) -> Duration {
        self.origin + self.after(event)
    }

    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "nanoseconds of a run of days fit"
    )]
    fn after(&self, event: u64) -> Duration {
        Duration::from_nanos((event as f64 * self.interval_nanos) as u64)
    }

    /// Sends every event as soon as it is due, until it is told that the turn has ended.
    pub(super) fn run(
        &self,
        clock: &SystemClock,
        ended: &AtomicBool,
        sent: &AtomicU64,
    ) -> Result<(), Failure> {
        let mut payments = Payments::new(self.record_bytes)?;
        let mut event = 0;
        while !ended.load(Ordering::Relaxed) {
            let due = self.due(event);
            let now = clock.elapsed();
            if now < due {
                self.producer.poll(Duration::ZERO);
                std::thread::sleep((due - now).min(TICK));
                continue;
            }
            let at = self.started_micros + i64::try_from(self.after(event).as_micros()).unwrap_or(i64::MAX);
            let (card, json) = payments.next(event, at);
            self.send(&card, &json)?;
            event += 1;
            sent.store(event, Ordering::Relaxed);
        }
        self.producer.flush(Duration::from_secs(30)).map_err(Failure::outside)
    }

    fn send(&self, key: &str, json: &str) -> Result<(), Failure> {
        loop {
            match self.producer.send(BaseRecord::to(&self.topic).key(key).payload(json)) {
                Ok(()) => return Ok(()),
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), _)) => {
                    self.producer.poll(Duration::from_millis(1));
                }
                Err((cause, _)) => {
                    return Err(Failure::outside(format!("{} did not take an event: {cause}", self.topic)));
                }
            }
        }
    }

    /// Takes note of what the target has used by now, and what it had used when measuring began.
    pub(super) fn note(&self, now: (f64, f64, u64), before: (f64, f64, u64), span: Duration) {
        if let Ok(mut noted) = self.noted.lock() {
            *noted = (now.0 - before.0, now.2 - before.2, span);
        }
    }

    /// Seconds of processor time, events sent, and the time in which both were.
    pub(super) fn noted(&self) -> (f64, u64, Duration) {
        self.noted.lock().map(|noted| *noted).unwrap_or_default()
    }
}

/// Payments, the same for each run.
struct Payments {
    random: ChaCha8Rng,
    cards: Zipf<f64>,
    merchants: Zipf<f64>,
    amounts: LogNormal<f64>,
    record_bytes: usize,
}

impl Payments {
    fn new(record_bytes: usize) -> Result<Self, Failure> {
        Ok(Self {
            random: ChaCha8Rng::seed_from_u64(20_260_101),
            cards: Zipf::new(CARDS, 1.1).map_err(Failure::outside)?,
            merchants: Zipf::new(MERCHANTS, 1.0).map_err(Failure::outside)?,
            amounts: LogNormal::new(30_f64.ln(), 1.0).map_err(Failure::outside)?,
            record_bytes,
        })
    }

    /// Key and record of a payment.
    fn next(&mut self, event: u64, at: i64) -> (String, String) {
        let card = format!("c{:06.0}", self.cards.sample(&mut self.random));
        let merchant = self.merchants.sample(&mut self.random);
        let amount = self.amounts.sample(&mut self.random).max(0.01);
        let country = COUNTRIES[self.random.random_range(0..COUNTRIES.len())];
        let device = self.random.random_range(0..150_000);
        let at = EventTime(at);
        let mut json = format!(
            r#"{{"tx_id":{event},"ts":"{at}","card_id":"{card}","merchant_id":"m{merchant:04.0}","amount":{amount:.2},"country":"{country}","device_id":"d{device:06}""#
        );
        let room = self.record_bytes.saturating_sub(json.len() + r#","note":""}"#.len());
        if self.record_bytes > 0 && room > 0 {
            json.push_str(r#","note":""#);
            json.extend(std::iter::repeat_n('x', room));
            json.push('"');
        }
        json.push('}');
        (card, json)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_has_the_size_that_was_asked_for_and_is_the_same_each_time() {
        let record = || Payments::new(1200).expect("payments").next(7, 1_763_806_502_123_000);
        let (key, json) = record();
        assert_eq!(json.len(), 1200);
        assert_eq!((key, json), record());
    }
}
