//! The client's configuration: what the user says, our defaults, and what must not be changed.

use std::collections::BTreeMap;

use rdkafka::ClientConfig;

use crate::{IngestError, Mode};

/// Properties that this source sets itself, and why.
const OURS: [(&str, &str); 5] = [
    ("enable.auto.commit", "false: offsets are committed with the rows, in the table"),
    ("enable.auto.offset.store", "false: offsets are committed with the rows, in the table"),
    ("auto.offset.reset", "error: a gap must never pass in silence"),
    ("enable.partition.eof", "true: `--once` ends there"),
    ("isolation.level", "read_committed: rows of aborted transactions never happened"),
];

/// Properties that differ from librdkafka's own defaults unless the user sets them.
const DEFAULTS: [(&str, &str); 7] = [
    ("client.id", "smelt"),
    ("partition.assignment.strategy", "cooperative-sticky"),
    // The default of a second stalls the fetcher whenever the queue was full (librdkafka issue 3662).
    ("fetch.queue.backoff.ms", "10"),
    // Bounds the memory of what was fetched and not yet polled.
    ("queued.max.messages.kbytes", "32768"),
    ("queued.min.messages", "100000"),
    ("fetch.wait.max.ms", "100"),
    ("log.connection.close", "false"),
];

/// The consumer's configuration for a stream. The consumer group is `smelt-<stream>` unless the user names one.
///
/// # Errors
/// [`IngestError::Option`] for a property that this source sets itself to another value.
pub(super) fn client(
    stream: &str,
    properties: &BTreeMap<String, String>,
    mode: Mode,
) -> Result<ClientConfig, IngestError> {
    let mut client = ClientConfig::new();
    client.set("group.id", format!("smelt-{stream}"));
    for (key, value) in DEFAULTS {
        client.set(key, value);
    }
    for (key, value) in properties {
        client.set(key, value);
    }
    for (key, expected) in OURS {
        let ours = expected.split(':').next().unwrap_or(expected);
        if let Some(value) = properties.get(key).filter(|value| *value != ours) {
            return Err(IngestError::Option {
                key: format!("kafka.{key}"),
                value: value.clone(),
                expected: expected.to_owned(),
            });
        }
        client.set(key, ours);
    }
    if mode == Mode::Once {
        // Reads by itself and never joins the group.
        client.set("enable.partition.eof", "true");
    }
    Ok(client)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_lose_or_repeat_messages_is_refused() {
        let properties = BTreeMap::from([("auto.offset.reset".to_owned(), "latest".to_owned())]);
        let error = client("s", &properties, Mode::Follow).expect_err("resets lose messages");
        assert_eq!(
            error.to_string(),
            "kafka.auto.offset.reset = \"latest\": expected error: a gap must never pass in silence"
        );
    }

    #[test]
    fn users_set_what_is_theirs() {
        let properties = BTreeMap::from([("group.id".to_owned(), "mine".to_owned())]);
        let client = client("s", &properties, Mode::Follow).expect("a group is the user's");
        assert_eq!((client.get("group.id"), client.get("enable.auto.commit")), (Some("mine"), Some("false")));
    }
}
