//! The partitions that a reader has, and what it gathered of each.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use schema::{KafkaSpec, Tombstones};

use super::messages::Received;
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

    pub fn is_empty(&self) -> bool {
        self.topics.values().all(BTreeMap::is_empty)
    }

    /// Those of which no message came since they were placed, or assigned anew.
    pub fn resting(&self) -> impl Iterator<Item = TopicPartition> {
        self.iter().filter(|(_, partition)| !partition.is_moving).map(|(key, _)| key)
    }

    /// Notes that the client begins all of them anew.
    pub fn begin_anew(&mut self) {
        self.topics.values_mut().flat_map(BTreeMap::values_mut).for_each(|partition| partition.is_moving = false);
    }

    /// Copies a message into its partition's batch; the partition, if that is full now. A message of a partition that is not ours
    /// (any more) is dropped.
    pub fn take(&mut self, message: &Received<'_>) -> Option<TopicPartition> {
        let topic = self.only.as_deref().unwrap_or_else(|| message.topic());
        let id = message.partition();
        let partition = self.topics.get_mut(topic).and_then(|ids| ids.get_mut(&id))?;
        let offset = message.offset();
        partition.is_moving = true;
        match partition.end {
            // In once mode what came after the start is for the next run; below the end there is nothing more.
            Some(end) if offset >= end => partition.batch.skip_to(end),
            _ if message.payload().is_none() && self.tombstones == Tombstones::Skip => {
                partition.batch.skip_to(offset + 1)
            }
            _ => {
                let arrived_at_us =
                    message.millis().map_or_else(|| chrono::Utc::now().timestamp_micros(), |ms| ms * 1000);
                let (key, payload) = (message.key(), message.payload());
                let is_new = partition.batch.push(&Message { offset, arrived_at_us, key, payload });
                if is_new && partition.batch.keeps_headers() {
                    take_headers(message, &mut partition.batch);
                }
            }
        }
        if !partition.batch.is_full() {
            return None;
        }
        let (topic, _) = self.topics.get_key_value(topic)?;
        Some(TopicPartition { topic: Arc::clone(topic), id })
    }
}

/// Adds the headers of the message that was taken last. The protocol does not rule out a name that is not UTF-8: such a
/// header has neither name nor value.
fn take_headers(message: &Received<'_>, batch: &mut LogBatch) {
    for (name, value) in message.headers() {
        match std::str::from_utf8(name) {
            Ok(name) => batch.push_header(Some(name), value),
            Err(_) => batch.push_header(None, None),
        }
    }
}
