//! Events as a broker would hand them over.

use std::ops::Range;

use crate::stream::Stream;

/// One message of a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SimEvent {
    /// Stream that it belongs to.
    pub stream: Stream,
    /// Partition of the topic, from 0.
    pub partition: i32,
    /// Offset within the partition, from 0 without holes.
    pub offset: i64,
    /// When it arrives, in milliseconds since 1970 UTC: the broker's timestamp. Never goes back within the stream.
    pub arrived_at_ms: i64,
    /// The key that chose the partition.
    pub key: Vec<u8>,
    /// The message; for a good one, a JSON object without line breaks.
    pub payload: Vec<u8>,
}

/// Place of one event in an [`EventBatch`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Partition of the topic, from 0.
    pub partition: i32,
    /// Offset within the partition, from 0 without holes.
    pub offset: i64,
    /// When it arrives, in milliseconds since 1970 UTC.
    pub arrived_at_ms: i64,
    /// The key, within [`EventBatch::bytes`].
    pub key: Range<u32>,
    /// The message, within [`EventBatch::bytes`].
    pub payload: Range<u32>,
}

/// Events in one buffer, in order of arrival: the fast way to take them. Reuse it with [`EventBatch::clear`].
#[derive(Debug, Default, Clone)]
pub struct EventBatch {
    /// Keys and messages of all entries.
    pub bytes: Vec<u8>,
    /// The events.
    pub entries: Vec<Entry>,
}

impl EventBatch {
    /// Forgets the events and keeps the memory.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.entries.clear();
    }

    /// The key of an entry of this batch.
    pub fn key(&self, entry: &Entry) -> &[u8] {
        &self.bytes[entry.key.start as usize..entry.key.end as usize]
    }

    /// The message of an entry of this batch.
    pub fn payload(&self, entry: &Entry) -> &[u8] {
        &self.bytes[entry.payload.start as usize..entry.payload.end as usize]
    }
}

/// How many events a generator has made so far, by fate.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Messages handed out: stored and quarantined ones.
    pub events: u64,
    /// Distinct facts among the good ones.
    pub facts: u64,
    /// Messages that must be quarantined.
    pub quarantined: u64,
    /// Good messages that repeat a fact with the same content.
    pub duplicates: u64,
    /// Good messages that correct a fact.
    pub corrections: u64,
    /// Facts whose first message is late.
    pub late: u64,
}

impl Counts {
    /// The sums of two counts.
    pub fn plus(self, other: Counts) -> Counts {
        Counts {
            events: self.events + other.events,
            facts: self.facts + other.facts,
            quarantined: self.quarantined + other.quarantined,
            duplicates: self.duplicates + other.duplicates,
            corrections: self.corrections + other.corrections,
            late: self.late + other.late,
        }
    }
}
