//! What an error of the client means: whether waiting helps, and what is told about it.

use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use crate::IngestError;
use crate::source::SourceError;

/// The broker was reached and does not want us, which waiting does not change.
const REFUSED: [RDKafkaErrorCode; 9] = [
    RDKafkaErrorCode::Authentication,
    RDKafkaErrorCode::SaslAuthenticationFailed,
    RDKafkaErrorCode::UnsupportedSASLMechanism,
    RDKafkaErrorCode::SSL,
    RDKafkaErrorCode::TopicAuthorizationFailed,
    RDKafkaErrorCode::GroupAuthorizationFailed,
    RDKafkaErrorCode::ClusterAuthorizationFailed,
    RDKafkaErrorCode::InconsistentGroupProtocol,
    RDKafkaErrorCode::InvalidSessionTimeout,
];
/// The broker does not know a topic or partition (yet: news spread from broker to broker).
const UNKNOWN: [RDKafkaErrorCode; 4] = [
    RDKafkaErrorCode::UnknownTopicOrPartition,
    RDKafkaErrorCode::UnknownTopic,
    RDKafkaErrorCode::UnknownPartition,
    RDKafkaErrorCode::UnknownTopicId,
];
/// Why something could not be done at a moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum NotYet {
    /// The broker is away, slow, or not ready.
    Away(String),
    /// The broker knows no such topic or partition.
    Unknown(String),
    /// The broker does not want us.
    Refused(String),
}

impl NotYet {
    /// What an error of the client means; `reason` says it in words.
    pub fn of(error: &KafkaError, reason: String) -> Self {
        match error.rdkafka_error_code() {
            // The handshake was cut off, which is the network's doing.
            Some(RDKafkaErrorCode::SSL) if reason.contains("SSL transport error") => Self::Away(reason),
            Some(code) if REFUSED.contains(&code) => Self::Refused(reason),
            Some(code) if UNKNOWN.contains(&code) => Self::Unknown(reason),
            _ => Self::Away(reason),
        }
    }

    /// The reason, in words.
    pub fn reason(&self) -> &str {
        let (Self::Away(reason) | Self::Unknown(reason) | Self::Refused(reason)) = self;
        reason
    }
}

impl From<KafkaError> for NotYet {
    fn from(error: KafkaError) -> Self {
        let reason = error.to_string();
        Self::of(&error, reason)
    }
}

/// Why something is not waited for any longer.
pub(super) enum GaveUp {
    /// The broker knows no such topic or partition.
    Unknown(IngestError),
    /// The run ends.
    Ended(SourceError),
}

impl From<SourceError> for GaveUp {
    fn from(error: SourceError) -> Self {
        Self::Ended(error)
    }
}

impl From<GaveUp> for SourceError {
    fn from(gave_up: GaveUp) -> Self {
        match gave_up {
            GaveUp::Unknown(error) => error.into(),
            GaveUp::Ended(error) => error,
        }
    }
}

/// An error event, with what the client says about it.
pub(super) struct Trouble {
    pub error: KafkaError,
    pub reason: String,
}

impl Trouble {
    /// An error, and what the client said about it, less how often and how long, which differ from time to time.
    pub fn new(error: KafkaError, said: Option<String>) -> Self {
        let reason = said.unwrap_or_else(|| error.to_string());
        let reason = reason.split(" (after ").next().unwrap_or(&reason).to_owned();
        Self { error, reason }
    }
}

/// An error of the client as one of ours. A property's value is not repeated: it may be a secret.
pub(super) fn failed(context: &str, error: &KafkaError) -> IngestError {
    match error {
        KafkaError::ClientConfig(_, reason, key, _) => {
            IngestError::Kafka { context: format!("property {key}"), reason: reason.clone() }
        }
        _ => IngestError::Kafka { context: context.to_owned(), reason: error.to_string() },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waiting_changes_and_what_it_does_not() {
        let of = |code, reason: &str| NotYet::of(&KafkaError::MessageConsumption(code), reason.to_owned());
        let said = |reason: &str| reason.to_owned();
        assert_eq!(of(RDKafkaErrorCode::BrokerTransportFailure, "down"), NotYet::Away(said("down")));
        assert_eq!(of(RDKafkaErrorCode::Authentication, "no"), NotYet::Refused(said("no")));
        assert_eq!(of(RDKafkaErrorCode::SSL, "verify failed"), NotYet::Refused(said("verify failed")));
        let cut = "SSL transport error: Connection reset by peer";
        assert_eq!(of(RDKafkaErrorCode::SSL, cut), NotYet::Away(said(cut)));
        assert_eq!(of(RDKafkaErrorCode::UnknownPartition, "t"), NotYet::Unknown(said("t")));
    }

    #[test]
    fn a_property_that_is_refused_keeps_its_value_to_itself() {
        let mut client = rdkafka::ClientConfig::new();
        client.set("sasl.pasword", "hunter2");
        let error = client.create::<rdkafka::consumer::BaseConsumer>().err().expect("no such property");
        let text = failed("making a client", &error).to_string();
        assert!(text.contains("sasl.pasword") && !text.contains("hunter2"), "{text}");
    }
}
