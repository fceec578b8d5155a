//! The first question to the brokers, and a clear word where it is not answered.
//!
//! Takes a consumer and a question, hands on the answer or one [`SourceError`] with the client library's own
//! sentence and what to check. What would surprise: the library tries to connect for ever and only mentions in
//! passing why it can't. Where it said that credentials, certificates or the protocol are refused, waiting
//! longer changes nothing, so the question is given up soon after; where nobody answers, only at the end.

use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};

use super::consumer::Reporter;
use super::{Remedy, SourceError, tells_lost_connection, words};

/// How long each round of a question waits, in seconds: short ones first, between which complaints are heard;
/// long ones last, for a large cluster's answer.
const ROUNDS_SECONDS: [u64; 9] = [1, 1, 1, 1, 2, 2, 3, 4, 15];

/// Rounds that other brokers are given after one of them refused us for good.
const ROUNDS_AFTER_REFUSAL: usize = 2;

/// What the client library said about a connection, in its own words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Complaint {
    code: RDKafkaErrorCode,
    reason: String,
}

impl Complaint {
    /// A complaint of the library's error callback.
    pub(super) fn new(error: &KafkaError, reason: &str) -> Self {
        let code = error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Unknown);
        Self { code, reason: reason.to_owned() }
    }

    /// A line of the library's log about a connection that failed: where a broker hangs up, there is no more.
    pub(super) fn of_log(facility: &str, line: &str) -> Option<Self> {
        tells_lost_connection(facility).then(|| Self {
            code: RDKafkaErrorCode::BrokerTransportFailure,
            // Before it stands the name of the library's thread.
            reason: line.split_once("]: ").map_or(line, |(_, reason)| reason).to_owned(),
        })
    }

    /// What to check, where trying again can't help.
    pub(super) fn refusal(&self) -> Option<&'static str> {
        let says = |part: &str| self.reason.contains(part);
        match self.code {
            RDKafkaErrorCode::BrokerTransportFailure if says("SSL routines") || says("SSL handshake") => {
                Some(tls_advice(&self.reason))
            }
            RDKafkaErrorCode::Authentication if says("OAUTHBEARER token") => Some(
                "check `sasl.oauthbearer.token.endpoint.url`, `sasl.oauthbearer.client.id`, \
                 `sasl.oauthbearer.client.secret` and `https.ca.location` under `[kafka.properties]`, and that the \
                 broker trusts this identity provider",
            ),
            RDKafkaErrorCode::Authentication => Some(
                "check `sasl.mechanism`, `sasl.username` and `sasl.password` under `[kafka.properties]`, and that \
                 the broker knows this user under this mechanism",
            ),
            RDKafkaErrorCode::SSL => Some(tls_advice(&self.reason)),
            // The broker hung up on the very first request: it expects TLS.
            _ if says("security.protocol") || (says("Disconnected") && says("APIVERSION_QUERY")) => Some(
                "check `security.protocol` under `[kafka.properties]` against the listener at this port: \
                 the choices are plaintext, ssl, sasl_plaintext and sasl_ssl",
            ),
            _ => None,
        }
    }

    /// Whether a broker, or this client, has said no. One that hangs up, as a broker does that goes down, has not, nor has
    /// an identity provider that is away.
    fn is_verdict(&self) -> bool {
        const PASSING: [&str; 4] =
            ["Disconnected", "Local: Broker transport failure", "Local: Timed out", "OAUTHBEARER token"];
        self.refusal().is_some() && !PASSING.iter().any(|passing| self.reason.contains(passing))
    }

    /// Whether this says more than another: a refusal says more than a lost connection, and that more than a count
    /// of brokers that are down.
    pub(super) fn outweighs(&self, other: &Self) -> bool {
        let weight = |complaint: &Self| match complaint.code {
            _ if complaint.refusal().is_some() => 2,
            RDKafkaErrorCode::AllBrokersDown => 0,
            _ => 1,
        };
        weight(self) >= weight(other)
    }
}

/// What to check after a failed TLS handshake, by OpenSSL's words for it.
fn tls_advice(reason: &str) -> &'static str {
    let says = |part: &str| reason.to_ascii_lowercase().contains(part);
    // An alert is what the broker thinks of our certificate; the rest is what we think of the broker's.
    if says("alert") && says("expired") {
        "the broker says that this client's certificate has expired: renew `ssl.certificate.location`"
    } else if says("certificate required") || says("handshake failure") {
        "the broker asks for a client certificate and got none that it can use: set `ssl.certificate.location` and \
         `ssl.key.location` under `[kafka.properties]`"
    } else if says("alert bad certificate") {
        // Kafka says this for none at all, too.
        "the broker got no client certificate that it accepts: set `ssl.certificate.location` and `ssl.key.location` \
         under `[kafka.properties]` to one that a CA which the broker trusts has signed, and that is valid today"
    } else if says("alert") && (says("unknown ca") || says("certificate unknown")) {
        "the broker does not accept this client's certificate (`ssl.certificate.location`): check that it has not \
         expired, and that a CA which the broker trusts has signed it"
    } else if says("hostname mismatch") || says("ip address mismatch") {
        "the broker's certificate is for another name than `kafka.brokers` has: use the name in the certificate"
    } else if says("expired") {
        "the broker's own certificate has expired: its operators must renew it"
    } else if says("verify failed") || says("self-signed") || says("unable to get") {
        "the broker's certificate is signed by no CA that this client trusts: set `ssl.ca.location` under \
         `[kafka.properties]` to the CA of the cluster"
    } else if says("wrong version number") || says("plaintext") {
        "the listener at this port speaks no TLS: check `security.protocol` under `[kafka.properties]` and the port"
    } else {
        "check `security.protocol`, `ssl.ca.location`, `ssl.certificate.location` and `ssl.key.location` under \
         `[kafka.properties]`"
    }
}

/// Asks the brokers, for up to 30 seconds, or 3 after a refusal that waiting can't change.
///
/// The consumer must not be subscribed yet: whatever it polls meanwhile is taken for a complaint.
pub(super) fn ask<T>(
    consumer: &BaseConsumer<Reporter>,
    brokers: &[String],
    attempt: &str,
    question: impl Fn(Duration) -> KafkaResult<T>,
) -> Result<T, SourceError> {
    let mut complaint: Option<Complaint> = None;
    let mut last = None;
    let mut rounds_after_refusal = 0;
    for seconds in ROUNDS_SECONDS {
        match question(Duration::from_secs(seconds)) {
            Ok(answer) => return Ok(answer),
            Err(error) if !is_silence(&error) => return Err(SourceError::stop(attempt, &error)),
            Err(error) => last = Some(error),
        }
        hear(consumer, 1, &mut complaint);
        if complaint.as_ref().is_some_and(|complaint| complaint.refusal().is_some()) {
            rounds_after_refusal += 1;
        }
        if rounds_after_refusal > ROUNDS_AFTER_REFUSAL {
            break;
        }
    }
    // A verbose log holds up what says why.
    hear(consumer, COMPLAINTS_MAX, &mut complaint);
    let waited = last.as_ref().map(words).unwrap_or_default();
    Err(unanswered(brokers, attempt, complaint.as_ref(), waited))
}

/// Most polls in which complaints are heard at a time.
const COMPLAINTS_MAX: usize = 20;

/// Lets the library hand over its log and its complaints, until so many polls brought none, and keeps the one that says
/// most. A poll returns after each complaint; lines of the log are handed over meanwhile.
fn hear(consumer: &BaseConsumer<Reporter>, mut quiet: usize, complaint: &mut Option<Complaint>) {
    for _ in 0..COMPLAINTS_MAX {
        quiet -= usize::from(consumer.poll(Duration::from_millis(50)).is_none());
        if quiet == 0 {
            break;
        }
    }
    if let Some(newer) = consumer.context().complaint()
        && complaint.as_ref().is_none_or(|older| newer.outweighs(older))
    {
        *complaint = Some(newer);
    }
}

/// Whether the error only says that nobody answered in time.
fn is_silence(error: &KafkaError) -> bool {
    use RDKafkaErrorCode as Code;
    matches!(
        error.rdkafka_error_code(),
        Some(
            Code::BrokerTransportFailure
                | Code::OperationTimedOut
                | Code::RequestTimedOut
                | Code::MessageTimedOut
                | Code::AllBrokersDown
                | Code::Resolve
        )
    )
}

fn unanswered(
    brokers: &[String],
    attempt: &str,
    complaint: Option<&Complaint>,
    waited: String,
) -> SourceError {
    let brokers = brokers.join(", ");
    let remedy =
        if complaint.is_some_and(Complaint::is_verdict) { Remedy::Change } else { Remedy::AnotherStart };
    let reason = match complaint.map(|complaint| (&complaint.reason, complaint.refusal())) {
        Some((reason, Some(check))) => format!("{reason}; {check}"),
        other => {
            let reason = other.map_or(waited, |(reason, _)| reason.clone());
            let seconds = ROUNDS_SECONDS.iter().sum::<u64>();
            format!(
                "{reason}; no answer from {brokers} within {seconds} seconds: check `kafka.brokers`, the network, \
                 and the security properties"
            )
        }
    };
    SourceError::Client { attempt: attempt.to_owned(), reason, remedy }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complaint(code: RDKafkaErrorCode, reason: &str) -> Complaint {
        Complaint::new(&KafkaError::Global(code), reason)
    }

    #[test]
    fn each_refusal_says_what_to_check_and_a_lost_connection_is_none() {
        let cases = [
            (RDKafkaErrorCode::Authentication, "SASL authentication error", "`sasl.password`"),
            (
                RDKafkaErrorCode::Authentication,
                "Failed to acquire SASL OAUTHBEARER token: Connection refused",
                "token.endpoint.url`",
            ),
            (
                RDKafkaErrorCode::SSL,
                "error:0A000415:SSL routines::sslv3 alert certificate expired: SSL alert number 45",
                "renew",
            ),
            (
                RDKafkaErrorCode::SSL,
                "error:0A00045C:SSL routines::tlsv13 alert certificate required: SSL alert number 116",
                "`ssl.key.location`",
            ),
            (
                RDKafkaErrorCode::SSL,
                "error:0A000416:SSL routines::sslv3 alert certificate unknown: SSL alert number 46",
                "which the broker trusts",
            ),
            (RDKafkaErrorCode::SSL, "certificate verify failed: broker certificate", "`ssl.ca.location`"),
            (RDKafkaErrorCode::SSL, "certificate verify failed: certificate has expired", "its operators"),
            (RDKafkaErrorCode::SSL, "error:0A00010B:SSL routines::wrong version number", "speaks no TLS"),
            (
                RDKafkaErrorCode::BrokerTransportFailure,
                "might be caused by incorrect security.protocol configuration",
                "the choices are plaintext",
            ),
            (
                RDKafkaErrorCode::BrokerTransportFailure,
                "Disconnected: connection closed by peer (after 0ms in state APIVERSION_QUERY)",
                "the choices are plaintext",
            ),
            (
                RDKafkaErrorCode::BrokerTransportFailure,
                "SSL handshake failed: Disconnected: connecting to a PLAINTEXT broker listener?",
                "speaks no TLS",
            ),
        ];
        for (code, reason, check) in cases {
            let advice = complaint(code, reason).refusal().unwrap_or_default();
            assert!(advice.contains(check), "{reason}: {advice}");
        }
        let lost = complaint(RDKafkaErrorCode::BrokerTransportFailure, "Connection refused");
        assert_eq!(lost.refusal(), None);
    }

    #[test]
    fn the_complaint_that_says_most_stays() {
        let down = complaint(RDKafkaErrorCode::AllBrokersDown, "1/1 brokers are down");
        let lost = complaint(RDKafkaErrorCode::BrokerTransportFailure, "Connection refused");
        let refused = complaint(RDKafkaErrorCode::Authentication, "SASL authentication error");
        assert!(lost.outweighs(&down) && refused.outweighs(&lost) && refused.outweighs(&refused.clone()));
        assert!(!down.outweighs(&lost) && !lost.outweighs(&refused));
    }

    #[test]
    fn where_nobody_answers_the_error_names_the_brokers_and_the_last_word_of_the_library() {
        let brokers = ["kafka-1:9092".to_owned(), "kafka-2:9092".to_owned()];
        let lost = complaint(RDKafkaErrorCode::BrokerTransportFailure, "Connection refused");
        let error = unanswered(&brokers, "asking for topic `x`", Some(&lost), String::new());
        assert_eq!(
            error.to_string(),
            "asking for topic `x` failed: Connection refused; no answer from kafka-1:9092, kafka-2:9092 within 30 \
             seconds: check `kafka.brokers`, the network, and the security properties"
        );
    }
}
