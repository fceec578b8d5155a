//! Counts what is under way, step by step, and so knows what is durable.
//!
//! Takes the client library's report of each delivery, hands on the last step of which nothing is under
//! way any more. Keeps one counter a step. The callback only counts and sets aside; what becomes of a
//! refused message is decided by the sink that polls.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Message};
use rdkafka::producer::ProducerContext;

use super::{OutMessage, SinkError};
use crate::source::kafka::{log_line, words};

/// A message with its step, kept until it is delivered.
#[derive(Debug)]
pub(super) struct Sent {
    pub(super) step: u64,
    pub(super) message: OutMessage,
    pub(super) company: Company,
}

/// Whether a message may share a request with others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Company {
    Any,
    /// Sent alone, so that a refusal is surely about itself.
    None,
}

/// A message that the broker would not take.
#[derive(Debug)]
pub(super) struct Refused {
    pub(super) sent: Arc<Sent>,
    pub(super) reason: String,
}

/// Counts per step.
#[derive(Debug, Default)]
pub(super) struct Steps {
    open: VecDeque<OpenStep>,
    last: u64,
    durable: u64,
}

#[derive(Debug)]
struct OpenStep {
    step: u64,
    messages: u64,
}

impl Steps {
    /// Notes a step and how many messages it has.
    pub(super) fn open(&mut self, step: u64, messages: usize) {
        assert!(step > self.last, "step {step} was published after step {}", self.last);
        self.last = step;
        self.open.push_back(OpenStep { step, messages: messages as u64 });
    }

    /// Notes that one message of a step is durable.
    fn settle(&mut self, step: u64) {
        if let Ok(index) = self.open.binary_search_by_key(&step, |open| open.step) {
            let open = &mut self.open[index];
            open.messages = open.messages.saturating_sub(1);
        }
    }

    /// The last step up to which everything is durable.
    pub(super) fn durable(&mut self) -> u64 {
        while let Some(step) = self.open.pop_front_if(|open| open.messages == 0) {
            self.durable = step.step;
        }
        self.durable
    }

    /// Messages and steps under way.
    pub(super) fn under_way(&self) -> (u64, usize) {
        (self.open.iter().map(|open| open.messages).sum(), self.open.len())
    }
}

/// Receives the library's reports.
#[derive(Debug, Default)]
pub(super) struct Deliveries {
    state: Mutex<State>,
    events: AtomicU64,
    /// Messages among them.
    reported: AtomicU64,
}

#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) steps: Steps,
    pub(super) refused: Vec<Refused>,
    /// The first failure that is for good.
    pub(super) failed: Option<SinkError>,
}

impl Deliveries {
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many messages were reported on so far, delivered or not.
    pub(super) fn reported(&self) -> u64 {
        self.reported.load(Ordering::Relaxed)
    }

    /// How many events were served so far: unchanged after a poll, there was nothing left to serve.
    pub(super) fn events(&self) -> u64 {
        self.events.load(Ordering::Relaxed)
    }

    fn fail(&self, error: SinkError) {
        self.state().failed.get_or_insert(error);
    }
}

impl ClientContext for Deliveries {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        self.events.fetch_add(1, Ordering::Relaxed);
        log_line(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.events.fetch_add(1, Ordering::Relaxed);
        if error == KafkaError::Global(RDKafkaErrorCode::Fatal) {
            self.fail(SinkError::Producer(format!("{reason}; the producer can't go on: restart the job")));
        } else {
            tracing::warn!(target: "librdkafka", %error, "{reason}");
        }
    }
}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = Arc<Sent>;

    fn delivery(&self, result: &DeliveryResult<'_>, sent: Arc<Sent>) {
        self.events.fetch_add(1, Ordering::Relaxed);
        self.reported.fetch_add(1, Ordering::Relaxed);
        match result {
            Ok(_) => self.state().steps.settle(sent.step),
            Err((error, message)) if about_itself(error) => {
                let reason = format!("topic `{}` refused it: {}", message.topic(), words(error));
                self.state().refused.push(Refused { sent, reason });
            }
            Err((error, message)) => self.fail(SinkError::Delivery {
                topic: message.topic().to_owned(),
                destination: sent.message.destination,
                reason: words(error),
                advice: advice(error),
            }),
        }
    }
}

/// Whether the broker refused the message for what it is; any other failure would meet the next one too.
pub(super) fn about_itself(error: &KafkaError) -> bool {
    use RDKafkaErrorCode as Code;
    matches!(
        error,
        KafkaError::MessageProduction(Code::MessageSizeTooLarge | Code::InvalidRecord | Code::InvalidMessage)
    )
}

/// What to do where brokers refuse the time that this host's clock tells.
pub(super) const WRONG_CLOCK: &str = "this host's clock and the brokers' are further apart than the topic's \
    `message.timestamp.after.max.ms` and `message.timestamp.before.max.ms` allow: set the clock right, until when nothing \
    is taken";

/// What to do about a failure that is for good.
pub(super) fn advice(error: &KafkaError) -> &'static str {
    use RDKafkaErrorCode as Code;
    match error {
        KafkaError::MessageProduction(Code::UnknownTopic | Code::UnknownTopicOrPartition) => {
            "create the topic, or correct its name under `[output]`, and restart the job"
        }
        KafkaError::MessageProduction(Code::TopicAuthorizationFailed | Code::ClusterAuthorizationFailed) => {
            "allow the job's user to write to the topic, and restart the job"
        }
        KafkaError::MessageProduction(Code::MessageTimedOut) => {
            "no broker took it within `message.timeout.ms`: check the brokers, and restart the job"
        }
        KafkaError::MessageProduction(Code::InvalidTimestamp) => WRONG_CLOCK,
        _ => "see the broker's log, and restart the job: what was not delivered is answered again",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_is_durable_when_it_and_all_before_it_are_settled() {
        let mut steps = Steps::default();
        steps.open(1, 2);
        steps.open(2, 0);
        steps.open(5, 1);
        assert_eq!(steps.durable(), 0);
        steps.settle(5);
        steps.settle(1);
        assert_eq!((steps.durable(), steps.under_way()), (0, (1, 3)));
        steps.settle(1);
        assert_eq!((steps.durable(), steps.under_way()), (5, (0, 0)));
        steps.open(6, 0);
        assert_eq!(steps.durable(), 6);
    }

    #[test]
    fn a_clock_that_is_wrong_is_no_fault_of_the_message() {
        let error = KafkaError::MessageProduction(RDKafkaErrorCode::InvalidTimestamp);
        assert!(!about_itself(&error) && advice(&error).contains("set the clock right"));
        assert!(about_itself(&KafkaError::MessageProduction(RDKafkaErrorCode::MessageSizeTooLarge)));
    }

    #[test]
    #[should_panic(expected = "step 3 was published after step 3")]
    fn steps_only_go_forward() {
        let mut steps = Steps::default();
        steps.open(3, 0);
        steps.open(3, 0);
    }
}
