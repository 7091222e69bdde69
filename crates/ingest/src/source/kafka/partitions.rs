//! The partitions that a reader has, and what it gathered of each.

use std::collections::BTreeMap;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Instant;

use rdkafka::message::{BorrowedHeaders, BorrowedMessage, Headers as _, Message as _};
use schema::{KafkaSpec, Tombstones};

use crate::source::log_batch::{LogBatch, Message};

/// A partition of a topic.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct TopicPartition {
    pub topic: Arc<str>,
    pub id: i32,
}

impl fmt::Display for TopicPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.topic, self.id)
    }
}

/// A partition that is being read.
pub(super) struct Partition {
    pub batch: LogBatch,
    /// In once mode, the offset at which it ends.
    pub end: Option<i64>,
    /// Since when what was gathered waits.
    pub since: Option<Instant>,
    /// Whether a message came since the partition was placed: before, the client's position may be of an earlier placing.
    pub is_moving: bool,
}

impl Partition {
    /// A partition that is read from where its batch stands, in once mode up to `end`.
    pub fn new(batch: LogBatch, end: Option<i64>) -> Self {
        Self { batch, end, since: None, is_moving: false }
    }

    /// Whether it is read to its end.
    pub fn is_done(&self) -> bool {
        self.end.is_none_or(|end| self.batch.next() >= end)
    }
}

/// What became of a message.
pub(super) enum Taken {
    More,
    Full(TopicPartition),
}

/// All partitions of a reader, by topic and number.
pub(super) struct Partitions {
    /// The only topic that the client can have messages of, so that their names need not be looked at.
    only: Option<Arc<str>>,
    tombstones: Tombstones,
    topics: BTreeMap<Arc<str>, BTreeMap<i32, Partition>>,
}

impl Partitions {
    /// None yet, of topics that `spec` names.
    pub fn new(spec: &KafkaSpec) -> Self {
        Self { only: spec.topic().map(Arc::from), tombstones: spec.tombstones, topics: BTreeMap::new() }
    }

    pub fn get_mut(&mut self, partition: &TopicPartition) -> Option<&mut Partition> {
        self.topics.get_mut(&partition.topic)?.get_mut(&partition.id)
    }

    pub fn get(&self, partition: &TopicPartition) -> Option<&Partition> {
        self.topics.get(&partition.topic)?.get(&partition.id)
    }

    pub fn insert(&mut self, at: TopicPartition, partition: Partition) {
        self.topics.entry(at.topic).or_default().insert(at.id, partition);
    }

    pub fn remove(&mut self, partition: &TopicPartition) {
        if let Some(ids) = self.topics.get_mut(&partition.topic) {
            ids.remove(&partition.id);
        }
    }

    pub fn clear(&mut self) {
        self.topics.clear();
    }

    pub fn iter(&self) -> impl Iterator<Item = (TopicPartition, &Partition)> {
        self.topics.iter().flat_map(|(topic, ids)| {
            ids.iter().map(|(id, partition)| (TopicPartition { topic: Arc::clone(topic), id: *id }, partition))
        })
    }

    /// Their names.
    pub fn keys(&self) -> Vec<TopicPartition> {
        self.iter().map(|(key, _)| key).collect()
    }

    /// Those of a topic that are not read to their ends.
    pub fn open(&self, topic: &str) -> Vec<TopicPartition> {
        self.iter()
            .filter(|(key, partition)| key.topic.as_ref() == topic && !partition.is_done())
            .map(|(k, _)| k)
            .collect()
    }

    /// A number that grows with every message that is read.
    pub fn place(&self) -> i64 {
        self.topics.values().flat_map(BTreeMap::values).map(|partition| partition.batch.next()).sum()
    }

    /// Copies a message into its partition's batch. One of a partition that is not ours (any more) is dropped.
    pub fn take(&mut self, message: &BorrowedMessage<'_>) -> Taken {
        let topic = self.only.as_deref().unwrap_or_else(|| message.topic());
        let id = message.partition();
        let Some(partition) = self.topics.get_mut(topic).and_then(|ids| ids.get_mut(&id)) else { return Taken::More };
        let offset = message.offset();
        partition.is_moving = true;
        match partition.end {
            // In once mode what came after the start is for the next run; below the end there is nothing more.
            Some(end) if offset >= end => partition.batch.skip_to(end),
            _ if message.payload().is_none() && self.tombstones == Tombstones::Skip => {
                partition.batch.skip_to(offset + 1)
            }
            _ => {
                let millis = message.timestamp().to_millis();
                let arrived_at_us = millis.map_or_else(|| chrono::Utc::now().timestamp_micros(), |ms| ms * 1000);
                let (key, payload) = (message.key(), message.payload());
                let is_new = partition.batch.push(&Message { offset, arrived_at_us, key, payload });
                if is_new
                    && partition.batch.keeps_headers()
                    && let Some(headers) = message.headers()
                {
                    take_headers(headers, &mut partition.batch);
                }
            }
        }
        if !partition.batch.is_full() {
            return Taken::More;
        }
        let found = self.topics.get_key_value(topic).map(|(topic, _)| Arc::clone(topic));
        found.map_or(Taken::More, |topic| Taken::Full(TopicPartition { topic, id }))
    }
}

/// Adds the headers of the message that was taken last. rdkafka 0.39 panics at a name that is not UTF-8, which the protocol
/// does not rule out: such a header has neither name nor value.
fn take_headers(headers: &BorrowedHeaders, batch: &mut LogBatch) {
    for index in 0..headers.count() {
        match catch_unwind(AssertUnwindSafe(|| headers.get(index))) {
            Ok(header) => batch.push_header(Some(header.key), header.value),
            Err(_) => batch.push_header(None, None),
        }
    }
}
