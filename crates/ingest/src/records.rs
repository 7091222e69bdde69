//! Records as a source hands them to a decoder: many at a time, in one buffer.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

use crate::decode::{CsvHeader, Framing};

/// Of a record longer than the contract's `max_record`, this many bytes are kept.
pub const OVERSIZE_KEPT: usize = 64 * 1024;

/// A CSV header that is longer than this is not kept in `_header` of quarantined rows: it is repeated in each of them.
pub const HEADER_KEPT: usize = 4 * 1024;

/// The most bytes that a batch may hold; keeps every Arrow string column within its 32-bit offsets.
pub const MAX_BATCH_BYTES: usize = 256 * 1024 * 1024;

/// Bytes after which a source hands a batch on. Larger ones leave the cores' caches before they are decoded and written, and
/// their memory the process before it is used again.
pub(crate) const BATCH_BYTES: usize = 1 << 20;

/// Records after which a source hands a batch on.
pub(crate) const BATCH_RECORDS: usize = 8 * 1024;

/// Records of one source and partition, in order, undecoded.
///
/// `ranges`, `offsets` and (if present) `keys` have one entry a record. Memory is that of `bytes`, which is shared.
#[derive(Debug, Clone)]
pub struct RawBatch {
    /// The buffer that all ranges point into; at most [`MAX_BATCH_BYTES`].
    pub bytes: Bytes,
    /// Where each record is, without its line end. A Kafka message without a payload is an empty range.
    pub ranges: Vec<Range<u32>>,
    /// The offset in the partition, or the 1-based line of the record's first byte.
    pub offsets: Vec<i64>,
    /// `_source`: `kafka:<cluster id>/<topic>` or `files:<path>`.
    pub source: Arc<str>,
    /// `_partition`: the topic's partition, or the file version's number in the landing ledger.
    pub partition: i32,
    /// `_arrived_at`
    pub arrived_at: ArrivedAt,
    /// `_key`: ranges into `bytes`; `None` for a source without keys.
    pub keys: Option<Vec<Option<Range<u32>>>>,
    /// Records that were too long, in order: their range holds only the first [`OVERSIZE_KEPT`] bytes.
    pub oversize: Vec<Oversize>,
    /// The header of a CSV file; `None`: the records are no CSV.
    pub header: Option<Arc<CsvHeader>>,
    /// How the records stand behind ids of schemas; `None`: they do not.
    pub framing: Option<Framing>,
    /// `_headers`; `None` where none are kept.
    pub headers: Option<MessageHeaders>,
}

impl RawBatch {
    /// The number of records.
    pub fn len(&self) -> usize {
        self.ranges.len()
    }

    /// Whether it holds no record.
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// The bytes of record `index`.
    ///
    /// # Panics
    /// If there is no such record.
    pub fn record(&self, index: usize) -> &[u8] {
        let range = &self.ranges[index];
        &self.bytes[range.start as usize..range.end as usize]
    }
}

/// A part of a batch's bytes; `None` is null.
pub type Span = Option<Range<u32>>;

/// The headers of the messages of a batch: one entry a record.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MessageHeaders {
    /// Name and value of all headers, as ranges into the batch's bytes: names are UTF-8. What is `None` is null.
    pub parts: Vec<(Span, Span)>,
    /// Per record its part of `parts`; `None`: nobody knows its headers.
    pub records: Vec<Option<Range<u32>>>,
}

/// When records arrived, microseconds since the epoch, UTC.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ArrivedAt {
    /// All at the same instant (a file's date or modification time).
    All(i64),
    /// One instant a record (the broker's timestamps).
    Each(Vec<i64>),
}

impl ArrivedAt {
    /// The arrival of record `index`.
    ///
    /// # Panics
    /// If there is no such record.
    pub fn at(&self, index: usize) -> i64 {
        match self {
            ArrivedAt::All(at) => *at,
            ArrivedAt::Each(all) => all[index],
        }
    }
}

/// A record that was longer than `max_record`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Oversize {
    /// Its index in the batch.
    pub record: u32,
    /// Its true length in bytes.
    pub length: u64,
    /// XXH3 (128 bits) of all its bytes.
    pub hash: u128,
}
