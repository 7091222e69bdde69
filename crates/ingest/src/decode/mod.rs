//! Bytes to Bronze rows: splits files into records and decodes records into Arrow columns, strictly.
//!
//! [`Splitter`] cuts byte chunks into [`RawBatch`](crate::records::RawBatch)es, [`Decoder`] turns a batch into two
//! record batches: what is stored and what is quarantined, each with the columns of
//! [`Contract::decoded_schema`](schema::Contract::decoded_schema). Nothing is ever dropped: the two have as many rows
//! as the batch has records.

mod assemble;
mod avro;
mod columns;
mod csv;
mod decoder;
mod json;
mod number;
mod registered;
mod reject;
mod split;
mod time;

use std::sync::Arc;

use arrow::array::{BooleanArray, RecordBatch};

pub use avro::{AvroSchema, AvroSchemaError};
pub use csv::CsvHeader;
pub use decoder::Decoder;
pub(crate) use registered::schema_id;
pub use registered::{Framing, Known};
pub(crate) use reject::CUT;
pub use split::Splitter;

use crate::records::{BATCH_BYTES, BATCH_RECORDS};

/// Why decoding stopped. A bad *record* is never an error: it is a quarantined row.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// A batch larger than [`crate::records::MAX_BATCH_BYTES`].
    #[error("a batch of {0} bytes is over the limit of {max} bytes", max = crate::records::MAX_BATCH_BYTES)]
    BatchTooLarge(usize),
    /// A rule could not be evaluated on a batch.
    #[error("rule {name} of {stream} cannot be evaluated")]
    Rule {
        /// The stream.
        stream: String,
        /// The rule's name.
        name: String,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Arrow refused columns that the decoder built: a defect of the decoder.
    #[error("decoded columns of {stream} do not fit together")]
    Arrow {
        /// The stream.
        stream: String,
        /// Why.
        source: arrow::error::ArrowError,
    },
}

/// Why a CSV file cannot be read at all.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HeaderError {
    /// Columns of required fields are missing.
    #[error("the header lacks {}", .0.join(", "))]
    Missing(Vec<String>),
    /// Two columns for one field, or two of one name.
    #[error("the header has column {0} twice")]
    Repeated(String),
    /// No header at all, or one that is not text.
    #[error("{0}")]
    Unreadable(String),
}

/// A row rule, compiled by whoever knows SQL.
pub trait RowCheck: Send + Sync {
    /// The rule as a quarantined row's `_error` shows it: best its condition, `quantity > 0`.
    fn name(&self) -> &str;

    /// Evaluates the rule on decoded rows. `batch` has the columns of
    /// [`Contract::payload_schema`](schema::Contract::payload_schema); the answer has one value a row; only `false`
    /// breaks the rule (null passes, as in a SQL `CHECK`).
    ///
    /// # Errors
    /// Whatever keeps the rule from being evaluated; it stops the run.
    fn check(&self, batch: &RecordBatch) -> Result<BooleanArray, Box<dyn std::error::Error + Send + Sync>>;
}

/// What became of the records of one [`RawBatch`](crate::records::RawBatch).
#[derive(Debug, Clone)]
pub struct Decoded {
    /// Good rows, in order, with the columns of [`Contract::decoded_schema`](schema::Contract::decoded_schema).
    pub stored: RecordBatch,
    /// Bad rows, in order, same columns, with `_error` and `_raw` set.
    pub quarantined: RecordBatch,
    /// Per warning rule, in the order given: how many stored rows break it.
    pub warnings: Vec<u64>,
    /// Stored rows whose clock time does not exist or exists twice in the contract's zone.
    pub clock_warnings: u64,
}

/// Where a file's records come from.
#[derive(Debug, Clone)]
pub struct Origin {
    /// `_source`
    pub source: Arc<str>,
    /// `_partition`
    pub partition: i32,
    /// `_arrived_at`, microseconds UTC.
    pub arrived_at: i64,
}

/// How large a batch of a [`Splitter`] grows before it is handed out.
#[derive(Debug, Clone, Copy)]
pub struct SplitLimits {
    /// Records; default 8,192.
    pub records: usize,
    /// Bytes; default 1 MiB. A single record may exceed it, up to the contract's `max_record`.
    pub bytes: usize,
}

impl Default for SplitLimits {
    fn default() -> Self {
        SplitLimits { records: BATCH_RECORDS, bytes: BATCH_BYTES }
    }
}

/// How a file ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileEnd {
    /// Whether the last line ends with a newline. An empty file has no unended line: `true`.
    pub ended: bool,
    /// Records in all, blank lines included, the header not.
    pub records: u64,
}

#[cfg(test)]
mod tests;
