//! What keeps messages from being sent.

use rdkafka::error::KafkaError;

/// Why not all messages were sent.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProduceError {
    /// A property of the client that is none, or has a wrong value; the value may be a secret and is not shown.
    #[error("kafka: property {key}: {reason}")]
    Property {
        /// The property.
        key: String,
        /// What is wrong with it.
        reason: String,
    },
    /// No broker was there.
    #[error("kafka: no broker answers within {patience_s} s: {reason}")]
    Away {
        /// How long one was waited for.
        patience_s: u64,
        /// What the client said last.
        reason: String,
    },
    /// The broker refuses the client: credentials, certificates, rights.
    #[error("kafka refuses: {reason}")]
    Refused {
        /// What the broker or the client said.
        reason: String,
    },
    /// A topic is not there, and the broker does not make it.
    #[error(
        "there is no topic {topic}, and the broker makes none by itself (auto.create.topics.enable): make it, for example \
         with kafka-topics.sh --create --topic {topic}"
    )]
    NoTopic {
        /// The topic.
        topic: String,
    },
    /// A message was not stored.
    #[error("kafka: a message for topic {topic} was not stored: {reason}")]
    NotStored {
        /// The topic.
        topic: String,
        /// What the broker or the client said.
        reason: String,
    },
    /// The run was stopped, and the broker did not take what was under way.
    #[error("kafka: {left} messages were under way when the run was stopped, and may be stored or not")]
    Left {
        /// How many.
        left: u64,
    },
}

impl ProduceError {
    /// Whether the cause is in what the user wrote (exit code 2).
    pub fn is_usage(&self) -> bool {
        matches!(self, Self::Property { .. })
    }

    /// A message that was refused.
    pub(crate) fn refused(topic: &str, error: &KafkaError) -> Self {
        let reason = error.rdkafka_error_code().map_or_else(|| error.to_string(), |code| code.to_string());
        Self::NotStored { topic: topic.to_owned(), reason }
    }
}
