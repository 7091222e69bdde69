//! Whether the topics are there, before anything is sent: a client alone would find out minutes later, a message at a time.

use std::time::{Duration, Instant};

use rdkafka::error::RDKafkaErrorCode;
use rdkafka::producer::Producer as _;
use rdkafka::types::RDKafkaRespErr;
use tokio_util::sync::CancellationToken;

use crate::ProduceError;
use crate::client::Client;

/// How long a topic may be unknown before it counts as not there: one that the broker makes takes a moment.
const UNKNOWN_FOR: Duration = Duration::from_secs(5);
/// The longest wait for one answer.
const ANSWER: Duration = Duration::from_secs(2);

/// What is known of a topic.
enum Topic {
    There,
    /// Not, or not yet.
    Unknown,
    /// It is there, and nobody leads it, or nobody answered.
    Away(String),
}

/// Waits until all topics have leaders; `None` if the run was stopped. Asking for a topic has the broker make it, where it
/// makes topics by itself.
///
/// # Errors
/// A topic that is not there; a broker that refuses, or is away for longer than `patience`.
pub(crate) fn wait_for(
    client: &Client,
    topics: &[&str],
    patience: Duration,
    cancel: &CancellationToken,
) -> Result<Option<()>, ProduceError> {
    let begun = Instant::now();
    for topic in topics {
        let mut unknown_since = None;
        loop {
            if cancel.is_cancelled() {
                return Ok(None);
            }
            let reason = match look(client, topic) {
                Topic::There => break,
                Topic::Unknown => {
                    if unknown_since.get_or_insert_with(Instant::now).elapsed() >= UNKNOWN_FOR {
                        return Err(ProduceError::NoTopic { topic: (*topic).to_owned() });
                    }
                    continue;
                }
                Topic::Away(reason) => reason,
            };
            match client.said() {
                Some((reason, true)) => return Err(ProduceError::Refused { reason }),
                said if begun.elapsed() >= patience => {
                    let reason = said.map_or(reason, |(said, _)| said);
                    return Err(ProduceError::Away { patience_s: patience.as_secs(), reason });
                }
                _ => {}
            }
        }
    }
    Ok(Some(()))
}

fn look(client: &Client, topic: &str) -> Topic {
    let found = client.producer.client().fetch_metadata(Some(topic), ANSWER);
    // Serves the client's errors, and is the pause between two looks.
    client.poll(Duration::from_millis(100));
    let metadata = match found {
        Ok(metadata) => metadata,
        Err(error) => return Topic::Away(error.to_string()),
    };
    let Some(found) = metadata.topics().iter().find(|found| found.name() == topic) else { return Topic::Unknown };
    match found.error() {
        Some(RDKafkaRespErr::RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART) => Topic::Unknown,
        Some(error) => Topic::Away(RDKafkaErrorCode::from(error).to_string()),
        None if found.partitions().is_empty() => Topic::Unknown,
        None if found.partitions().iter().any(|partition| partition.leader() < 0) => {
            Topic::Away(format!("topic {topic} has partitions without a leader"))
        }
        None => Topic::There,
    }
}
