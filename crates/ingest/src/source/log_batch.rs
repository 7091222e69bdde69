//! Gathers the messages of one partition into a batch: every payload is copied once, into one buffer.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;

use xxhash_rust::xxh3::xxh3_128;

use super::{Begins, Event, Reached};
use crate::buffers::Buffers;
use crate::decode::{Framing, schema_id};
use crate::records::{ArrivedAt, BATCH_BYTES, BATCH_RECORDS, MessageHeaders, OVERSIZE_KEPT, Oversize, RawBatch};

/// A message as a source sees it.
pub(super) struct Message<'a> {
    pub offset: i64,
    pub arrived_at_us: i64,
    pub key: Option<&'a [u8]>,
    /// A message without a payload is an empty record.
    pub payload: Option<&'a [u8]>,
}

/// What is kept of messages, and where.
#[derive(Debug, Clone, Default)]
pub(super) struct Keep {
    /// Of a payload that is longer than this, its start.
    pub max_record: usize,
    /// Whether headers are kept.
    pub headers: bool,
    /// Whether the ids of schemas are noted that stand before the records.
    pub schema_ids: bool,
    /// Buffers of all batches of a source.
    pub buffers: Arc<Buffers>,
}

/// The messages of one partition that are not handed on yet.
pub(super) struct LogBatch {
    input: Arc<str>,
    source: Arc<str>,
    partition: i32,
    keep: Keep,
    /// The table's position where what was gathered begins.
    from: Option<i64>,
    /// The offset that comes next, if nothing is missing.
    next: i64,
    skipped: u64,
    bytes: Vec<u8>,
    ranges: Vec<Range<u32>>,
    offsets: Vec<i64>,
    arrived: Vec<i64>,
    keys: Vec<Option<Range<u32>>>,
    headers: MessageHeaders,
    schema_ids: BTreeSet<u32>,
    oversize: Vec<Oversize>,
}

impl LogBatch {
    /// A batch of `topic`'s `partition` on `cluster`, which is read from offset `next` on; `from` is the table's position
    /// then, if it has one.
    pub fn new(cluster: &str, topic: &str, partition: i32, (from, next): (Option<i64>, i64), keep: Keep) -> Self {
        Self {
            input: input(cluster, topic, partition).into(),
            source: format!("kafka:{cluster}/{topic}").into(),
            partition,
            keep,
            from,
            next,
            skipped: 0,
            bytes: Vec::new(),
            ranges: Vec::new(),
            offsets: Vec::new(),
            arrived: Vec::new(),
            keys: Vec::new(),
            headers: MessageHeaders::default(),
            schema_ids: BTreeSet::new(),
            oversize: Vec::new(),
        }
    }

    /// The input's id.
    pub fn input(&self) -> &Arc<str> {
        &self.input
    }

    /// The offset that comes next.
    pub fn next(&self) -> i64 {
        self.next
    }

    /// Whether there is nothing to hand on, neither messages nor places that were skipped.
    pub fn is_empty(&self) -> bool {
        self.offsets.is_empty() && self.skipped == 0
    }

    /// Goes on at `offset`, if that is further: what lies before it is counted as skipped.
    pub fn skip_to(&mut self, offset: i64) {
        self.skipped += u64::try_from(offset - self.next).unwrap_or(0);
        self.next = self.next.max(offset);
    }

    /// Adds a message; false if it is ignored, because it lies below the next offset and was handed on before. Offsets
    /// that are left out are counted as skipped.
    pub fn push(&mut self, message: &Message<'_>) -> bool {
        if message.offset < self.next {
            return false;
        }
        self.skip_to(message.offset);
        self.next = message.offset + 1;
        let payload = message.payload.unwrap_or_default();
        if self.keep.schema_ids {
            self.schema_ids.extend(schema_id(payload));
        }
        let kept = if payload.len() > self.keep.max_record {
            let record = u32::try_from(self.offsets.len()).unwrap_or(u32::MAX);
            self.oversize.push(Oversize { record, length: payload.len() as u64, hash: xxh3_128(payload) });
            &payload[..payload.len().min(OVERSIZE_KEPT)]
        } else {
            payload
        };
        let range = self.append(kept);
        let key = message.key.map(|key| self.append(key));
        self.ranges.push(range);
        self.keys.push(key);
        self.offsets.push(message.offset);
        self.arrived.push(message.arrived_at_us);
        if self.keep.headers {
            let none = self.headers.parts.len() as u32;
            self.headers.records.push(Some(none..none));
        }
        true
    }

    /// The ids of schemas that stand before the records.
    pub fn schema_ids(&self) -> &BTreeSet<u32> {
        &self.schema_ids
    }

    /// Whether headers are kept.
    pub fn keeps_headers(&self) -> bool {
        self.keep.headers
    }

    /// Adds a header to the message that was added last.
    pub fn push_header(&mut self, name: Option<&str>, value: Option<&[u8]>) {
        let part = (name.map(|name| self.append(name.as_bytes())), value.map(|value| self.append(value)));
        if let Some(Some(range)) = self.headers.records.last_mut() {
            self.headers.parts.push(part);
            range.end += 1;
        }
    }

    fn append(&mut self, bytes: &[u8]) -> Range<u32> {
        // A batch is handed on long before 4 GiB: see `BATCH_BYTES` and the broker's limit on a message.
        let start = self.bytes.len() as u32;
        self.bytes.extend_from_slice(bytes);
        start..self.bytes.len() as u32
    }

    /// Whether it is large enough to be handed on.
    pub fn is_full(&self) -> bool {
        self.bytes.len() >= BATCH_BYTES || self.offsets.len() >= BATCH_RECORDS
    }

    /// Takes what was gathered, with the position behind it; `None` if nothing was. `framing` tells of all
    /// [`Self::schema_ids`].
    pub fn seal(&mut self, framing: Option<Framing>) -> Option<Event> {
        if self.is_empty() {
            return None;
        }
        let reached = Reached {
            input: Arc::clone(&self.input),
            from: Begins::At(self.from.replace(self.next)),
            to: self.next,
            skipped: std::mem::take(&mut self.skipped),
        };
        if self.offsets.is_empty() {
            return Some(Event::Reached(reached));
        }
        self.schema_ids.clear();
        let keys = std::mem::take(&mut self.keys);
        let capacity = self.bytes.len();
        let buffers = &self.keep.buffers;
        let buffer = std::mem::replace(&mut self.bytes, buffers.take(capacity));
        let raw = RawBatch {
            bytes: buffers.lend(buffer),
            ranges: std::mem::take(&mut self.ranges),
            offsets: std::mem::take(&mut self.offsets),
            source: Arc::clone(&self.source),
            partition: self.partition,
            arrived_at: ArrivedAt::Each(std::mem::take(&mut self.arrived)),
            keys: keys.iter().any(Option::is_some).then_some(keys),
            oversize: std::mem::take(&mut self.oversize),
            header: None,
            framing,
            headers: self.keep.headers.then(|| std::mem::take(&mut self.headers)),
        };
        Some(Event::Records(raw, Some(reached)))
    }
}

/// The id of a partition as an input (ENGINE.md, rule 1).
pub(super) fn input(cluster: &str, topic: &str, partition: i32) -> String {
    format!("kafka:{cluster}/{topic}/{partition}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain() -> Keep {
        Keep { max_record: 100, ..Keep::default() }
    }

    fn message(offset: i64, payload: &'static [u8]) -> Message<'static> {
        Message { offset, arrived_at_us: offset * 10, key: Some(b"k"), payload: Some(payload) }
    }

    #[test]
    fn holes_are_counted_and_repeats_ignored() {
        let mut batch = LogBatch::new("c", "t", 3, (Some(4), 5), plain());
        for (offset, payload) in [(4, b"old" as &[u8]), (5, b"a"), (6, b"bc"), (5, b"again"), (9, b"")] {
            batch.push(&message(offset, payload));
        }
        let Some(Event::Records(raw, Some(reached))) = batch.seal(None) else { panic!("three messages") };
        assert_eq!(raw.offsets, [5, 6, 9]);
        assert_eq!((0..3).map(|i| raw.record(i)).collect::<Vec<_>>(), [b"a" as &[u8], b"bc", b""]);
        assert_eq!(raw.arrived_at, ArrivedAt::Each(vec![50, 60, 90]));
        assert_eq!((reached.input.as_ref(), reached.to, reached.skipped), ("kafka:c/t/3", 10, 2));
        assert_eq!(reached.from, Begins::At(Some(4)));
        assert!(batch.seal(None).is_none());
        batch.skip_to(10);
        assert!(batch.is_empty() && batch.seal(None).is_none());
        batch.skip_to(13);
        let Some(Event::Reached(reached)) = batch.seal(None) else { panic!("no message, and further") };
        assert_eq!((reached.from, reached.to, reached.skipped), (Begins::At(Some(10)), 13, 3));
    }

    #[test]
    fn a_message_over_the_limit_keeps_its_start_length_and_hash() {
        let long = vec![b'x'; 200_000];
        let mut batch = LogBatch::new("c", "t", 0, (None, 0), Keep { max_record: 100_000, ..plain() });
        batch.push(&Message { offset: 0, arrived_at_us: 0, key: None, payload: Some(&long) });
        let Some(Event::Records(raw, _)) = batch.seal(None) else { panic!("one message") };
        assert_eq!(raw.record(0).len(), OVERSIZE_KEPT);
        assert_eq!(raw.oversize, [Oversize { record: 0, length: 200_000, hash: xxh3_128(&long) }]);
        assert!(raw.keys.is_none() && raw.headers.is_none());
    }

    #[test]
    fn ids_of_schemas_are_noted_until_the_batch_is_taken() {
        let mut batch = LogBatch::new("c", "t", 0, (None, 0), Keep { schema_ids: true, ..plain() });
        for (offset, payload) in [(0, b"\0\0\0\0\x07x" as &[u8]), (1, b"{}"), (2, b"\0\0\0\x01\0"), (3, b"\0\0")] {
            batch.push(&message(offset, payload));
        }
        assert_eq!(batch.schema_ids().iter().collect::<Vec<_>>(), [&7, &256]);
        assert!(batch.seal(None).is_some() && batch.schema_ids().is_empty());
    }

    #[test]
    fn headers_stay_with_their_message() {
        let mut batch = LogBatch::new("c", "t", 0, (None, 0), Keep { headers: true, ..plain() });
        for offset in 0..3 {
            assert!(batch.push(&message(offset, b"x")));
            for count in 0..offset {
                batch.push_header(Some("h"), (count > 0).then_some(b"v"));
            }
        }
        assert!(!batch.push(&message(1, b"x")), "it was handed on before");
        let Some(Event::Records(raw, _)) = batch.seal(None) else { panic!("three messages") };
        let headers = raw.headers.expect("they are kept");
        assert_eq!(headers.records, [Some(0..0), Some(0..1), Some(1..3)]);
        let text = |range: &Range<u32>| &raw.bytes[range.start as usize..range.end as usize];
        let values: Vec<_> = headers.parts.iter().map(|(_, value)| value.as_ref().map(text)).collect();
        assert_eq!(values, [None, None, Some(&b"v"[..])]);
        assert!(headers.parts.iter().all(|(name, _)| name.as_ref().map(text) == Some(b"h")));
    }
}
