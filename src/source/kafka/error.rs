//! What can go wrong at the source, and whether the client library gets over it by itself.
//!
//! Takes the library's error codes, hands on a [`SourceError`]; the choice between going on and
//! stopping is made here and nowhere else.

use rdkafka::error::{KafkaError, RDKafkaErrorCode};

/// What helps against a fault of the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Remedy {
    /// The library goes on by itself.
    Patience,
    /// Brokers could not be reached, or were not ready: the same may work later.
    AnotherStart,
    /// Somebody must change something.
    Change,
}

/// A fault of the Kafka source.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SourceError {
    /// No broker is named.
    #[error("`kafka.brokers` names no broker: write at least one `host:port`")]
    NoBroker,
    /// A property that a promise rests on.
    #[error("`kafka.properties.{property}` is refused: {reason}; remove the line")]
    Refused {
        /// Name of the property.
        property: String,
        /// Which promise it would break.
        reason: &'static str,
    },
    /// A property that the client library does not know, or a value it can't read.
    #[error(
        "`kafka.properties.{property}` is not accepted by librdkafka: {reason}; \
         its CONFIGURATION.md lists the valid names and values"
    )]
    Property {
        /// Name of the property.
        property: String,
        /// The library's words.
        reason: String,
    },
    /// The client could not be made, or could not go on.
    #[error("{attempt} failed: {reason}")]
    Client {
        /// What was tried.
        attempt: String,
        /// The library's words, and what to do.
        reason: String,
        /// What helps.
        remedy: Remedy,
    },
    /// The position to read from is no longer in the topic.
    #[error(
        "the committed position is no longer in the topic, so records were lost before they were judged: {reason}; \
         check the topic's retention, then reset the offsets of the consumer group by hand to accept the loss"
    )]
    PositionGone {
        /// The library's words, with topic, partition and offset.
        reason: String,
    },
    /// Another process has joined the group under this one's name.
    #[error(
        "another process has joined the group as this instance: {reason}; only one may run under a job's name and \
         `--instance`; this one ends, and the other goes on"
    )]
    Fenced {
        /// The library's words.
        reason: String,
    },
    /// The reading thread is gone.
    #[error("the thread that reads from Kafka has ended: restart the job")]
    Ended,
}

impl SourceError {
    /// Whether reading goes on by itself; where not, nothing more will be read.
    pub fn retry(&self) -> bool {
        matches!(self, Self::Client { remedy: Remedy::Patience, .. })
    }

    /// Whether a job that worked before may work again when it starts anew.
    pub fn may_pass(&self) -> bool {
        matches!(self, Self::Client { remedy: Remedy::Patience | Remedy::AnotherStart, .. })
    }

    /// Whether another process has taken this one's place.
    pub fn fenced(&self) -> bool {
        matches!(self, Self::Fenced { .. })
    }

    /// A step that failed, with the library's reason for it.
    pub(crate) fn stop(attempt: &str, error: &KafkaError) -> Self {
        let remedy = if passes(error) { Remedy::AnotherStart } else { Remedy::Change };
        Self::Client { attempt: attempt.to_owned(), reason: words(error), remedy }
    }

    /// A step that failed and will be tried again.
    pub(crate) fn again(attempt: &str, error: &KafkaError) -> Self {
        Self::Client { attempt: attempt.to_owned(), reason: words(error), remedy: Remedy::Patience }
    }
}

/// Lost connections and the like, which the library gets over by itself.
pub(super) fn passes(error: &KafkaError) -> bool {
    use RDKafkaErrorCode as Code;
    matches!(
        error.rdkafka_error_code(),
        Some(
            // What the library meets before a broker answers.
            Code::BrokerTransportFailure
                | Code::AllBrokersDown
                | Code::Resolve
                | Code::OperationTimedOut
                | Code::TimedOutQueue
                | Code::MessageTimedOut
                | Code::WaitingForCoordinator
                | Code::WaitCache
                | Code::InProgress
                | Code::PreviousInProgress
                | Code::Retry
                | Code::Outdated
                // What a broker says while it starts, or while another takes its place.
                | Code::RequestTimedOut
                | Code::NetworkException
                | Code::LeaderNotAvailable
                | Code::NotLeaderForPartition
                | Code::BrokerNotAvailable
                | Code::ReplicaNotAvailable
                | Code::CoordinatorLoadInProgress
                | Code::CoordinatorNotAvailable
                | Code::NotCoordinator
                | Code::NotEnoughReplicas
                | Code::NotEnoughReplicasAfterAppend
                | Code::RebalanceInProgress
                | Code::NotController
                | Code::KafkaStorageError
                | Code::FencedLeaderEpoch
                | Code::UnknownLeaderEpoch
                | Code::OffsetNotAvailable
                | Code::PreferredLeaderNotAvailable
                | Code::EligibleLeadersNotAvailable
                | Code::UnstableOffsetCommit
                | Code::ThrottlingQuotaExceeded
        )
    )
}

/// The library's words for its own code, without those of its wrappers.
pub(crate) fn words(error: &KafkaError) -> String {
    error.rdkafka_error_code().map_or_else(|| error.to_string(), |code| code.to_string())
}

/// Sorts what a poll reported; `detail` is the library's sentence about it, which names the broker or partition.
pub(super) fn polled(error: &KafkaError, detail: Option<String>) -> Option<SourceError> {
    use RDKafkaErrorCode as Code;
    let reason = detail.unwrap_or_else(|| words(error));
    let advice = match error {
        KafkaError::PartitionEOF(_) => return None,
        KafkaError::MessageConsumption(Code::AutoOffsetReset | Code::OffsetOutOfRange) => {
            return Some(SourceError::PositionGone { reason });
        }
        KafkaError::MessageConsumption(Code::TopicAuthorizationFailed) => {
            "allow the job's user to read and describe the topic"
        }
        KafkaError::MessageConsumption(Code::GroupAuthorizationFailed) => {
            "allow the job's user to read the consumer group"
        }
        KafkaError::MessageConsumptionFatal(Code::FencedInstanceId) => {
            return Some(SourceError::Fenced { reason });
        }
        KafkaError::MessageConsumptionFatal(_) => "the client can't go on: restart the job",
        KafkaError::MessageConsumption(_) => return Some(passing(reason)),
        _ => "see the log of the client library",
    };
    let reason = format!("{reason}; {advice}");
    Some(SourceError::Client { attempt: "reading from Kafka".to_owned(), reason, remedy: Remedy::Change })
}

/// Lost connections, absent leaders, unknown topics and the like: the library tries again without end.
fn passing(reason: String) -> SourceError {
    SourceError::Client { attempt: "reading from Kafka".to_owned(), reason, remedy: Remedy::Patience }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sorted(error: &KafkaError) -> Option<bool> {
        polled(error, None).map(|error| error.retry())
    }

    #[test]
    fn lost_connections_are_retried_and_fatal_faults_stop() {
        use RDKafkaErrorCode as Code;
        for code in [Code::BrokerTransportFailure, Code::AllBrokersDown, Code::UnknownTopicOrPartition] {
            assert_eq!(sorted(&KafkaError::MessageConsumption(code)), Some(true), "{code:?}");
        }
        for code in [Code::AutoOffsetReset, Code::TopicAuthorizationFailed, Code::GroupAuthorizationFailed] {
            assert_eq!(sorted(&KafkaError::MessageConsumption(code)), Some(false), "{code:?}");
        }
        assert_eq!(sorted(&KafkaError::MessageConsumptionFatal(Code::FencedInstanceId)), Some(false));
        assert_eq!(sorted(&KafkaError::PartitionEOF(0)), None);
    }

    #[test]
    fn a_question_that_nobody_answers_may_be_answered_after_another_start_and_a_refusal_may_not() {
        use RDKafkaErrorCode as Code;
        let stopped = |code| SourceError::stop("asking", &KafkaError::MetadataFetch(code));
        for code in [Code::BrokerTransportFailure, Code::OperationTimedOut, Code::LeaderNotAvailable] {
            let fault = stopped(code);
            assert!(fault.may_pass() && !fault.retry(), "{code:?}");
        }
        for code in [Code::TopicAuthorizationFailed, Code::ClusterAuthorizationFailed, Code::Authentication] {
            assert!(!stopped(code).may_pass(), "{code:?}");
        }
    }
}
