//! The producer: each message once and in order, and what became of it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::client::ClientContext;
use rdkafka::config::{FromClientConfigAndContext, RDKafkaLogLevel};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::DeliveryResult;
use rdkafka::producer::{BaseProducer, Producer as _, ProducerContext, PurgeConfig};

use crate::ProduceError;

/// How properties begin that only a consumer has.
const OF_CONSUMERS: [&str; 11] = [
    "auto.offset.",
    "check.crcs",
    "enable.auto.",
    "fetch.",
    "group.",
    "heartbeat.",
    "isolation.level",
    "max.poll.",
    "partition.assignment.",
    "queued.",
    "session.timeout.",
];

/// Properties that differ from librdkafka's own defaults unless the user sets them.
const DEFAULTS: [(&str, &str); 5] = [
    ("client.id", "smelt-sim"),
    ("log.connection.close", "false"),
    // Larger batches cost the broker less.
    ("linger.ms", "20"),
    ("compression.type", "zstd"),
    // Bounds the memory of what is under way; the default is 1 GiB.
    ("queue.buffering.max.kbytes", "65536"),
];

/// The broker does not want us, which waiting does not change.
const REFUSED: [RDKafkaErrorCode; 6] = [
    RDKafkaErrorCode::Authentication,
    RDKafkaErrorCode::SaslAuthenticationFailed,
    RDKafkaErrorCode::UnsupportedSASLMechanism,
    RDKafkaErrorCode::SSL,
    RDKafkaErrorCode::TopicAuthorizationFailed,
    RDKafkaErrorCode::ClusterAuthorizationFailed,
];

/// A producer and what it heard.
pub(crate) struct Client {
    pub producer: BaseProducer<Context>,
}

/// Collects what the callbacks say.
pub(crate) struct Context {
    /// Per topic, by its place in the caller's list: messages that are stored.
    stored: Vec<AtomicU64>,
    /// The first message that was not stored: its topic's place, and why.
    lost: Mutex<Option<(usize, String)>>,
    /// What the client said last, and whether it is a refusal.
    said: Mutex<Option<(String, bool)>>,
}

impl ClientContext for Context {
    fn log(&self, _level: RDKafkaLogLevel, facility: &str, message: &str) {
        // What matters comes as an error too.
        tracing::debug!(facility, "kafka: {message}");
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(%error, "kafka: {reason}");
        // The handshake was cut off, which is the network's doing.
        let is_cut = reason.contains("SSL transport error");
        let is_refused = !is_cut && error.rdkafka_error_code().is_some_and(|code| REFUSED.contains(&code));
        let is_noise = error.rdkafka_error_code() == Some(RDKafkaErrorCode::AllBrokersDown);
        let mut said = lock(&self.said);
        let was_refused = said.as_ref().is_some_and(|(_, is_refused)| *is_refused);
        if !is_noise && (is_refused || !was_refused) {
            // How often and how long differ from time to time.
            let reason = reason.split(" (after ").next().unwrap_or(reason);
            *said = Some((reason.to_owned(), is_refused));
        }
    }
}

impl ProducerContext for Context {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, topic: usize) {
        match result {
            Ok(_) => {
                if let Some(stored) = self.stored.get(topic) {
                    stored.fetch_add(1, Ordering::Relaxed);
                }
            }
            Err((error, _)) => {
                let reason = error.rdkafka_error_code().map_or_else(|| error.to_string(), |code| code.to_string());
                lock(&self.lost).get_or_insert((topic, reason));
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Client {
    /// A producer for so many topics.
    ///
    /// # Errors
    /// [`ProduceError::Property`].
    pub fn new(properties: &BTreeMap<String, String>, topics: usize) -> Result<Self, ProduceError> {
        let mut client = ClientConfig::new();
        for (key, value) in DEFAULTS {
            client.set(key, value);
        }
        let is_ours = |key: &str| !OF_CONSUMERS.iter().any(|start| key.starts_with(start));
        for (key, value) in properties.iter().filter(|(key, _)| is_ours(key)) {
            client.set(key, value);
        }
        client.set("enable.idempotence", "true");
        let stored = (0..topics).map(|_| AtomicU64::new(0)).collect();
        let context = Context { stored, lost: Mutex::default(), said: Mutex::default() };
        let producer = BaseProducer::from_config_and_context(&client, context).map_err(|error| match error {
            KafkaError::ClientConfig(_, reason, key, _) => ProduceError::Property { key, reason },
            other => ProduceError::Refused { reason: other.to_string() },
        })?;
        Ok(Self { producer })
    }

    /// Hears what became of messages, for `pause`.
    pub fn poll(&self, pause: Duration) {
        self.producer.poll(pause);
    }

    /// How many messages are stored, by topic; streams that share a topic count together.
    pub fn stored(&self, topics: &[&str]) -> BTreeMap<String, u64> {
        let mut all = BTreeMap::new();
        for (topic, stored) in topics.iter().zip(&self.producer.context().stored) {
            *all.entry((*topic).to_owned()).or_default() += stored.load(Ordering::Relaxed);
        }
        all
    }

    /// What the client said last: its words, and whether they are a refusal.
    pub fn said(&self) -> Option<(String, bool)> {
        lock(&self.producer.context().said).clone()
    }

    /// Fails if a message was not stored.
    ///
    /// # Errors
    /// [`ProduceError::NotStored`]
    pub fn check(&self, topics: &[&str]) -> Result<(), ProduceError> {
        match lock(&self.producer.context().lost).take() {
            None => Ok(()),
            Some((topic, reason)) => {
                let topic = topics.get(topic).copied().unwrap_or_default().to_owned();
                Err(ProduceError::NotStored { topic, reason })
            }
        }
    }
}

impl Drop for Client {
    /// What is not stored by now is not wanted any more: a client that closes would wait for it.
    fn drop(&mut self) {
        self.producer.purge(PurgeConfig::default().queue().inflight());
    }
}
