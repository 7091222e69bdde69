//! Sending: what a test puts into a topic, and where it came to lie.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rdkafka::ClientContext;
use rdkafka::config::FromClientConfigAndContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Header, Message as _, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer, ProducerContext};

use super::Kafka;

/// How long what was sent may take to arrive.
const FLUSH_WITHIN: Duration = Duration::from_secs(120);

/// A message to send.
#[derive(Clone, Debug, Default)]
pub struct Message {
    payload: Option<Vec<u8>>,
    key: Option<Vec<u8>>,
    partition: Option<i32>,
    timestamp_ms: Option<i64>,
    headers: Vec<(String, Option<Vec<u8>>)>,
}

/// Where a message lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Its partition.
    pub partition: i32,
    /// Its offset.
    pub offset: i64,
}

impl Message {
    /// A message with a payload.
    pub fn new(payload: impl Into<Vec<u8>>) -> Self {
        Self { payload: Some(payload.into()), ..Self::default() }
    }

    /// A message without a payload, which in a compacted topic deletes its key.
    pub fn tombstone() -> Self {
        Self::default()
    }

    /// With a key.
    pub fn key(mut self, key: impl Into<Vec<u8>>) -> Self {
        self.key = Some(key.into());
        self
    }

    /// To this partition, and not to the one that the key gives.
    pub fn partition(mut self, partition: i32) -> Self {
        self.partition = Some(partition);
        self
    }

    /// With a time of its own, in milliseconds since 1970.
    pub fn timestamp_ms(mut self, timestamp: i64) -> Self {
        self.timestamp_ms = Some(timestamp);
        self
    }

    /// With one more header.
    pub fn header(mut self, name: &str, value: Option<&[u8]>) -> Self {
        self.headers.push((name.to_owned(), value.map(<[u8]>::to_vec)));
        self
    }
}

/// Notes what became of each message.
#[derive(Debug, Default)]
struct Fates(Mutex<Vec<Option<Result<Place, KafkaError>>>>);

impl ClientContext for Fates {}

impl ProducerContext for Fates {
    type DeliveryOpaque = Box<usize>;

    fn delivery(&self, result: &DeliveryResult<'_>, index: Box<usize>) {
        let fate = match result {
            Ok(message) => Ok(Place { partition: message.partition(), offset: message.offset() }),
            Err((error, _)) => Err(error.clone()),
        };
        self.0.lock().unwrap_or_else(PoisonError::into_inner)[*index] = Some(fate);
    }
}

impl Kafka {
    /// Sends messages, waits until all are stored, and says where, in their order.
    ///
    /// # Panics
    /// When one is not stored.
    #[track_caller]
    pub fn send(&self, topic: &str, messages: impl IntoIterator<Item = Message>) -> Vec<Place> {
        deliver(&self.producer(&[]), topic, messages)
    }

    /// Sends messages in one transaction, which is committed or else aborted.
    ///
    /// # Panics
    /// When one is not stored, or the transaction is refused.
    #[track_caller]
    pub fn send_in_transaction(
        &self,
        topic: &str,
        messages: impl IntoIterator<Item = Message>,
        commit: bool,
    ) -> Vec<Place> {
        let id = uuid::Uuid::new_v4().to_string();
        let producer = self.producer(&[("transactional.id", &id)]);
        producer.init_transactions(FLUSH_WITHIN).expect("the cluster takes transactions");
        producer.begin_transaction().expect("it is initialised");
        let places = deliver(&producer, topic, messages);
        let ended =
            if commit { producer.commit_transaction(FLUSH_WITHIN) } else { producer.abort_transaction(FLUSH_WITHIN) };
        ended.unwrap_or_else(|e| panic!("{topic}: transaction: {e}"));
        places
    }

    fn producer(&self, settings: &[(&str, &str)]) -> BaseProducer<Fates> {
        let mut client = self.client();
        // As many copies as the topic has, once each and in their order, whatever happens to brokers meanwhile.
        client.set("enable.idempotence", "true").set("linger.ms", "5");
        settings.iter().for_each(|(key, value)| {
            client.set(*key, *value);
        });
        BaseProducer::from_config_and_context(&client, Fates::default()).expect("a client")
    }
}

#[track_caller]
fn deliver(producer: &BaseProducer<Fates>, topic: &str, messages: impl IntoIterator<Item = Message>) -> Vec<Place> {
    for (index, message) in messages.into_iter().enumerate() {
        producer.context().0.lock().unwrap_or_else(PoisonError::into_inner).push(None);
        send_one(producer, topic, index, &message);
    }
    producer.flush(FLUSH_WITHIN).unwrap_or_else(|e| panic!("{topic}: not all was stored within {FLUSH_WITHIN:?}: {e}"));
    let fates = std::mem::take(&mut *producer.context().0.lock().unwrap_or_else(PoisonError::into_inner));
    let placed = fates.into_iter().map(|fate| fate.expect("flush waits for all"));
    placed.map(|fate| fate.unwrap_or_else(|e| panic!("{topic}: a message was not stored: {e}"))).collect()
}

#[track_caller]
fn send_one(producer: &BaseProducer<Fates>, topic: &str, index: usize, message: &Message) {
    let headers = message.headers.iter().fold(OwnedHeaders::new(), |headers, (name, value)| {
        headers.insert(Header { key: name, value: value.as_deref() })
    });
    let mut record = BaseRecord::<[u8], [u8], Box<usize>>::with_opaque_to(topic, Box::new(index)).headers(headers);
    record.key = message.key.as_deref();
    record.payload = message.payload.as_deref();
    record.partition = message.partition;
    record.timestamp = message.timestamp_ms;
    loop {
        match producer.send(record) {
            Ok(()) => return,
            // The client's queue is full until some of it is stored.
            Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back)) => {
                producer.poll(Duration::from_millis(10));
                record = back;
            }
            Err((e, _)) => panic!("{topic}: not sent: {e}"),
        }
    }
}
