//! The client's configuration: what the user says, our defaults, and what must not be changed.

use std::collections::BTreeMap;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::config::RDKafkaLogLevel;

use crate::{IngestError, Mode};

/// Properties that this source sets itself, and why.
const OURS: [(&str, &str); 4] = [
    ("enable.auto.commit", "false: offsets are committed with the rows, in the table"),
    ("enable.auto.offset.store", "false: offsets are committed with the rows, in the table"),
    ("auto.offset.reset", "error: a gap must never pass in silence"),
    ("isolation.level", "read_committed: rows of aborted transactions never happened"),
];

/// Whether the client tells of ends of partitions: see `messages.rs`.
fn ends(mode: Mode) -> (&'static str, &'static str) {
    let (once, follow) = ("true: `--once` ends there", "false: reading goes on behind an end");
    ("enable.partition.eof", if mode == Mode::Once { once } else { follow })
}

/// Properties that differ from librdkafka's own defaults unless the user sets them.
const DEFAULTS: [(&str, &str); 9] = [
    ("client.id", "smelt"),
    ("partition.assignment.strategy", "cooperative-sticky"),
    // The default of a second stalls the fetcher whenever the queue was full (librdkafka issue 3662).
    ("fetch.queue.backoff.ms", "10"),
    // Bound the memory of what was fetched and not yet polled: the client takes about three times as much for messages of
    // 160 bytes. More made nothing faster beside a broker on the same machine, 500,000 messages a second.
    ("queued.max.messages.kbytes", "4096"),
    ("fetch.message.max.bytes", "262144"),
    ("queued.min.messages", "100000"),
    ("fetch.wait.max.ms", "100"),
    ("log.connection.close", "false"),
    // How soon partitions and topics that come are found; the default is 5 minutes.
    (REFRESH, "30000"),
];

/// Besides, for a run that follows: the broker answers with what comes in some milliseconds, and not once for each message, which
/// costs both sides more than the messages do.
const FOLLOWING: [(&str, &str); 2] = [("fetch.min.bytes", "65536"), ("fetch.wait.max.ms", "50")];

/// How often the client asks for the topics and partitions that there are, in milliseconds.
const REFRESH: &str = "topic.metadata.refresh.interval.ms";
/// The debug log of this says when a topic was made anew: see `context.rs`.
const DEBUG: &str = "metadata";

/// The consumer's configuration for a stream. The consumer group is `smelt-<stream>` unless the user names one; in once
/// mode nobody joins it.
///
/// # Errors
/// [`IngestError::Option`] for a property that this source sets itself to another value.
pub(super) fn client(
    stream: &str,
    mode: Mode,
    properties: &BTreeMap<String, String>,
) -> Result<ClientConfig, IngestError> {
    let mut client = ClientConfig::new();
    client.set("group.id", format!("smelt-{stream}"));
    let following = FOLLOWING.iter().filter(|_| mode == Mode::Follow);
    for (key, value) in DEFAULTS.iter().chain(following) {
        client.set(*key, *value);
    }
    for (key, value) in properties {
        client.set(key, value);
    }
    for (key, expected) in OURS.into_iter().chain([ends(mode)]) {
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
    if let Some(id) = properties.get("group.instance.id") {
        // A member of its own for each stream: they may share a group, and one id there would be fenced.
        client.set("group.instance.id", format!("{id}-{stream}"));
    }
    client.set("debug", properties.get("debug").map_or(DEBUG.to_owned(), |user| format!("{user},{DEBUG}")));
    client.set_log_level(RDKafkaLogLevel::Debug);
    Ok(client)
}

/// The client's settings for looking at a broker without reading: no group, no debug log.
pub(super) fn onlooker(properties: &BTreeMap<String, String>) -> ClientConfig {
    let mut client = ClientConfig::new();
    client.set("client.id", "smelt").set("log.connection.close", "false");
    for (key, value) in properties.iter().filter(|(key, _)| !key.starts_with("group.")) {
        client.set(key, value);
    }
    client.set("isolation.level", "read_committed");
    client
}

/// How often topics are looked for.
pub(super) fn refresh_interval(client: &ClientConfig) -> Duration {
    let configured = client.get(REFRESH).and_then(|millis| millis.parse().ok()).filter(|millis| *millis > 0);
    Duration::from_millis(configured.unwrap_or(30_000))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_lose_or_repeat_messages_is_refused() {
        let properties = BTreeMap::from([("auto.offset.reset".to_owned(), "latest".to_owned())]);
        let error = client("s", Mode::Once, &properties).expect_err("resets lose messages");
        assert_eq!(
            error.to_string(),
            "kafka.auto.offset.reset = \"latest\": expected error: a gap must never pass in silence"
        );
    }

    #[test]
    fn users_set_what_is_theirs() {
        let properties = [("group.id", "mine"), ("group.instance.id", "pod-1"), (REFRESH, "1000")];
        let properties = properties.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
        let client = client("s", Mode::Follow, &properties).expect("a group is the user's");
        assert_eq!((client.get("group.id"), client.get("enable.auto.commit")), (Some("mine"), Some("false")));
        assert_eq!(client.get("group.instance.id"), Some("pod-1-s"));
        assert_eq!(refresh_interval(&client), Duration::from_secs(1));
    }
}
