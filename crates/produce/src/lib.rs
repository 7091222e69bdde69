//! The simulator's streams to topics of a real broker: each message once, in order of arrival.
//!
//! [`send`] waits until the topics are there, hands the messages to an idempotent producer at a rate or as fast as the
//! broker takes them, and returns when all that was handed over is stored. Memory is bounded by what may be under way. It
//! knows topics by name and no contracts.
//!
//! ```no_run
//! use produce::{ProduceOptions, send};
//! use sim::{Rows, SimConfig, Simulation, Stream};
//!
//! let rows = Rows { invoices: 1_000, ..Rows::default() };
//! let simulation = Simulation::new(SimConfig { rows, ..SimConfig::default() })?;
//! let options = ProduceOptions {
//!     properties: [("bootstrap.servers".to_owned(), "localhost:9092".to_owned())].into(),
//!     topics: [(Stream::Invoices, "invoices".to_owned())].into(),
//!     rate: Some(200),
//!     ..ProduceOptions::default()
//! };
//! let sent = send(&simulation, &options, &Default::default())?;
//! assert!(sent.is_whole);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod client;
mod error;
mod pace;
mod topics;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseRecord, Producer as _};
use sim::{Arrival, Simulation, Stream};
use tokio_util::sync::CancellationToken;

use self::client::Client;
pub use self::error::ProduceError;
use self::pace::Pace;

/// Messages that are handed over between two looks at what became of others.
const LOOK_EVERY: u64 = 256;
/// How long a run that was stopped waits for what is under way.
const STOP_WITHIN: Duration = Duration::from_secs(10);

/// What is sent where, and how.
#[derive(Debug, Clone)]
pub struct ProduceOptions {
    /// Client properties by librdkafka's names; those that only a consumer has are left out.
    pub properties: BTreeMap<String, String>,
    /// The topic of each stream that the simulation has.
    pub topics: BTreeMap<Stream, String>,
    /// At most so many messages a second over all streams; `None`: as many as the broker takes.
    pub rate: Option<u32>,
    /// How long a broker may be away before the first message.
    pub patience: Duration,
}

impl Default for ProduceOptions {
    fn default() -> Self {
        Self { properties: BTreeMap::new(), topics: BTreeMap::new(), rate: None, patience: Duration::from_secs(300) }
    }
}

/// What was sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sent {
    /// Per topic, how many messages the broker has stored.
    pub topics: BTreeMap<String, u64>,
    /// Whether that is all of the simulation: it was not stopped before.
    pub is_whole: bool,
}

/// Sends the messages of a simulation, keyed by what they are about, and waits until they are stored. Blocks; `cancel` stops
/// it after what is under way.
///
/// A message carries the time of its sending, not that of its arrival in the simulation: by that one the broker would
/// delete it as too old.
///
/// # Errors
/// [`ProduceError`]: no broker, a topic that is not there and is not made, a message that was refused.
pub fn send(
    simulation: &Simulation,
    options: &ProduceOptions,
    cancel: &CancellationToken,
) -> Result<Sent, ProduceError> {
    let topics: Vec<&str> = options.topics.values().map(String::as_str).collect();
    let client = Client::new(&options.properties, topics.len())?;
    if topics::wait_for(&client, &topics, options.patience, cancel)?.is_none() {
        return Ok(Sent { topics: client.stored(&topics), is_whole: false });
    }
    let (mut arrivals, mut pace, mut handed) = (simulation.arrivals(), Pace::new(options.rate), 0u64);
    let is_whole = loop {
        if cancel.is_cancelled() {
            break false;
        }
        let Some(arrival) = arrivals.next() else { break true };
        let Some(topic) = options.topics.keys().position(|stream| *stream == arrival.stream) else { continue };
        pace.wait(cancel, |pause| client.poll(pause));
        hand_over(&client, &topics, topic, &arrival)?;
        handed += 1;
        if handed.is_multiple_of(LOOK_EVERY) {
            client.poll(Duration::ZERO);
            client.check(&topics)?;
        }
    };
    finish(&client, &topics, cancel)?;
    Ok(Sent { topics: client.stored(&topics), is_whole })
}

/// Puts a message into the client's queue, once there is room.
fn hand_over(client: &Client, topics: &[&str], topic: usize, arrival: &Arrival<'_>) -> Result<(), ProduceError> {
    let record = BaseRecord::<[u8], [u8], usize>::with_opaque_to(topics[topic], topic);
    let mut record = record.payload(arrival.payload);
    if !arrival.key.is_empty() {
        record = record.key(arrival.key);
    }
    loop {
        match client.producer.send(record) {
            Ok(()) => return Ok(()),
            Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back)) => {
                client.poll(Duration::from_millis(5));
                client.check(topics)?;
                record = back;
            }
            Err((error, _)) => return Err(ProduceError::refused(topics[topic], &error)),
        }
    }
}

/// Waits until all that was handed over is stored or given up; once stopped, only for a while.
fn finish(client: &Client, topics: &[&str], cancel: &CancellationToken) -> Result<(), ProduceError> {
    let mut stopped = None;
    while client.producer.in_flight_count() > 0 {
        client.poll(Duration::from_millis(20));
        if cancel.is_cancelled() && stopped.get_or_insert_with(Instant::now).elapsed() > STOP_WITHIN {
            let left = client.producer.in_flight_count();
            return Err(ProduceError::Left { left: u64::try_from(left).unwrap_or_default() });
        }
    }
    client.check(topics)
}
