//! Decoders of one stream, one for each thread that wants one, with the contract's rules compiled once.

use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::{BooleanArray, RecordBatch};
use chrono::{DateTime, Utc};
use schema::{Contract, Rule};
use session::{RowExpr, SessionError};

use crate::IngestError;
use crate::decode::{DecodeError, Decoded, Decoder, RowCheck};
use crate::records::RawBatch;
use crate::source::Reached;

/// A rule of a contract as the decoder calls it.
#[derive(Clone)]
struct Check {
    name: String,
    expr: RowExpr,
}

impl RowCheck for Check {
    fn name(&self) -> &str {
        &self.name
    }

    fn check(&self, batch: &RecordBatch) -> Result<BooleanArray, Box<dyn std::error::Error + Send + Sync>> {
        Ok(self.expr.evaluate(batch)?)
    }
}

/// Makes and lends decoders.
pub(crate) struct Decoders {
    contract: Contract,
    rules: Vec<Check>,
    warnings: Vec<Check>,
    idle: Mutex<Vec<Decoder>>,
}

/// A batch of records, and how far the source is once they are stored.
pub(crate) type Work = (RawBatch, Option<Reached>);

/// What became of one [`Work`]: nothing for a bare position.
pub(crate) struct Done {
    /// The rows.
    pub decoded: Decoded,
    /// Records that came in.
    pub records: u64,
    /// Bytes of these records.
    pub bytes: u64,
    /// How far the source is once the rows are stored.
    pub reached: Option<Reached>,
}

/// A group of batches that was decoded at one instant.
pub(crate) struct DoneGroup {
    /// The instant, which is the rows' `_ingested_at`.
    pub at: DateTime<Utc>,
    /// The batches, in order.
    pub done: Vec<Done>,
}

impl Decoders {
    /// Compiles the contract's rules.
    ///
    /// # Errors
    /// [`IngestError::Contract`] for a rule that is no boolean expression over the contract's fields, with its place.
    pub fn new(contract: &Contract) -> Result<Self, IngestError> {
        let schema = contract.payload_schema();
        let compile = |rule: &Rule| {
            let expr = RowExpr::compile(&rule.sql, &schema).map_err(|error| {
                let reason = match error {
                    SessionError::RowExpr { message, .. } => message,
                    other => other.to_string(),
                };
                rule.wrong(format!("a condition over the record's fields: {reason}"))
            })?;
            // What a quarantined row's `_error` shows: the condition itself says most.
            Ok::<_, IngestError>(Check { name: rule.sql.clone(), expr })
        };
        Ok(Self {
            rules: contract.rules().iter().map(compile).collect::<Result<_, _>>()?,
            warnings: contract.warnings.iter().map(compile).collect::<Result<_, _>>()?,
            contract: contract.clone(),
            idle: Mutex::new(Vec::new()),
        })
    }

    /// Decodes a group of batches on the calling thread.
    ///
    /// # Errors
    /// [`DecodeError`], never because of what a record holds.
    pub fn decode(&self, work: Vec<Work>, at: DateTime<Utc>) -> Result<DoneGroup, DecodeError> {
        let mut decoder = self.take();
        let mut done = Vec::with_capacity(work.len());
        for (raw, reached) in work {
            let decoded = decoder.decode(&raw, at.timestamp_micros())?;
            let bytes = raw.ranges.iter().map(|range| u64::from(range.end - range.start)).sum();
            done.push(Done { decoded, records: raw.len() as u64, bytes, reached });
        }
        // A decoder that failed is not lent again: it may be in the middle of a batch.
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(decoder);
        Ok(DoneGroup { at, done })
    }

    fn take(&self) -> Decoder {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        idle.unwrap_or_else(|| Decoder::new(&self.contract, boxed(&self.rules), boxed(&self.warnings)))
    }
}

fn boxed(checks: &[Check]) -> Vec<Box<dyn RowCheck>> {
    checks.iter().map(|check| Box::new(check.clone()) as Box<dyn RowCheck>).collect()
}

/// Shares decoders between the jobs of a stream.
pub(crate) type SharedDecoders = Arc<Decoders>;
