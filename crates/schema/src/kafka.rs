//! Where a stream's messages come from in Kafka.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

/// The Kafka topics of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KafkaSpec {
    /// Names of topics, and patterns of names, which start with `^`; at least one.
    pub topics: Vec<String>,
    /// Where a partition that was never read starts; default [`KafkaStart::Earliest`].
    pub start: KafkaStart,
    /// What a message without a payload is; default [`Tombstones::Quarantine`].
    pub tombstones: Tombstones,
    /// How a message is written; default [`KafkaFormat::Json`].
    pub format: KafkaFormat,
    /// Whether the messages' headers are kept, in the column [`HEADERS_COLUMN`](crate::HEADERS_COLUMN); default no.
    pub headers: bool,
}

impl KafkaSpec {
    /// The topic, where there is one and it has a name of its own.
    pub fn topic(&self) -> Option<&str> {
        match self.topics.as_slice() {
            [topic] if !is_pattern(topic) => Some(topic),
            _ => None,
        }
    }

    /// The topics as a person would list them.
    pub fn shown(&self) -> String {
        self.topics.join(", ")
    }
}

/// Whether this stands for all topics that it matches.
pub fn is_pattern(topic: &str) -> bool {
    topic.starts_with('^')
}

/// Where the first read of a partition starts. It is asked once: afterwards the table says where to go on.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum KafkaStart {
    /// At the oldest message that the broker still has.
    #[default]
    Earliest,
    /// With the next message that arrives in the topic: also a partition that is added to it later is read from its start.
    Latest,
    /// With the first message whose timestamp is this or later.
    Timestamp(DateTime<Utc>),
    /// At these offsets, by partition; a partition that is not named starts at its oldest message.
    Offsets(BTreeMap<i32, i64>),
}

/// How a message is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum KafkaFormat {
    /// `json`: one JSON object.
    #[default]
    Json,
    /// `json_sr`: one JSON object behind the header of Confluent's serializers, which names a JSON schema of a registry.
    JsonRegistered,
    /// `avro`: Avro's binary form of a record behind that header, which names the schema that it was written by.
    Avro,
}

impl KafkaFormat {
    /// Whether a message starts with the id of a schema that only a registry knows.
    pub fn is_registered(self) -> bool {
        self != KafkaFormat::Json
    }

    /// The format as contracts spell it.
    pub fn word(self) -> &'static str {
        match self {
            KafkaFormat::Json => "json",
            KafkaFormat::JsonRegistered => "json_sr",
            KafkaFormat::Avro => "avro",
        }
    }
}

/// What a message without a payload (on a compacted topic: the deletion of its key) is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Tombstones {
    /// A message that is no record: it is quarantined, with its key.
    #[default]
    Quarantine,
    /// A place of the log without a record: it is counted as skipped.
    Skip,
}
