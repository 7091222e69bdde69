//! The records in quarantine, as they are read for a replay.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int32Type, Int64Type, TimeUnit, TimestampMicrosecondType};
use datafusion::execution::SendableRecordBatchStream;
use datafusion::logical_expr::{ident, lit};
use datafusion::prelude::{SessionConfig, SessionContext};
use futures::TryStreamExt;
use schema::{Contract, HEADERS_COLUMN, headers_field};
use session::{MENDED_COLUMN, PLACE_COLUMNS, QuarantineFilter};
use store::{Lake, Snapshot};

use crate::IngestError;

/// Records that are worked on at a time.
const CHUNK_RECORDS: usize = 4096;

const COLUMNS: [&str; 9] =
    ["_source", "_partition", "_offset", "_key", "_arrived_at", "_error", "_raw", "_header", MENDED_COLUMN];

/// Name and value of a message's header; what is `None` is null.
pub(super) type MessageHeader = (Option<String>, Option<Vec<u8>>);

/// What names a record within its stream.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Place {
    pub source: Arc<str>,
    pub partition: i32,
    pub offset: i64,
}

/// A record in quarantine, or what a mend made of it.
#[derive(Debug, Clone)]
pub(super) struct Record {
    pub place: Place,
    pub key: Option<Vec<u8>>,
    /// The message's headers; `None` where they were not kept.
    pub headers: Option<Vec<MessageHeader>>,
    pub arrived_at_us: i64,
    /// Why it was set aside.
    pub reason: String,
    pub raw: Vec<u8>,
    /// The header line of a CSV record; `None`: it is JSON.
    pub header: Option<Arc<str>>,
    /// Whether a row mends it already.
    pub is_mended: bool,
    /// Whether `raw` is what a person wrote.
    pub is_edited: bool,
}

/// Which records are read.
pub(super) struct Selection<'a> {
    pub filter: &'a QuarantineFilter,
    /// At most so many, those that arrived first.
    pub limit: Option<usize>,
    /// Also those that are mended.
    pub mended_too: bool,
}

/// Records of one stream, some at a time.
pub(super) struct Records {
    stream: String,
    batches: SendableRecordBatchStream,
}

impl Records {
    /// Reads the records of `contract`'s quarantine as of `base`.
    ///
    /// # Errors
    /// [`IngestError::Quarantine`] when the table cannot be read.
    pub async fn read(
        lake: &Lake,
        contract: &Contract,
        base: &Snapshot,
        selection: Selection<'_>,
    ) -> Result<Self, IngestError> {
        let stream = contract.name.clone();
        let view = session::quarantine_view(contract, Some(base)).map_err(|error| failed(&stream, &error))?;
        // One partition, so that records come in the order in which they were stored.
        let config = SessionConfig::new().with_target_partitions(1).with_batch_size(CHUNK_RECORDS);
        let context = SessionContext::new_with_config(config);
        context.runtime_env().register_object_store(lake.object_store_url().as_ref(), lake.object_store());
        let planned = async {
            let mut frame = context.read_table(view)?;
            if let Some(condition) = selection.filter.condition() {
                frame = frame.filter(condition)?;
            }
            if !selection.mended_too {
                frame = frame.filter(ident(MENDED_COLUMN).eq(lit(false)))?;
            }
            if let Some(limit) = selection.limit {
                let order = ["_arrived_at"].into_iter().chain(PLACE_COLUMNS);
                frame = frame.sort(order.map(|name| ident(name).sort(true, true)).collect())?.limit(0, Some(limit))?;
            }
            let headers = contract.keeps_headers().then_some(HEADERS_COLUMN);
            frame.select(COLUMNS.into_iter().chain(headers).map(ident).collect())?.execute_stream().await
        };
        let batches = planned.await.map_err(|error| failed(&stream, &error))?;
        Ok(Self { stream, batches })
    }

    /// The next records; `None` after the last.
    ///
    /// # Errors
    /// As [`Records::read`].
    pub async fn next(&mut self) -> Result<Option<Vec<Record>>, IngestError> {
        let Some(batch) = self.batches.try_next().await.map_err(|error| failed(&self.stream, &error))? else {
            return Ok(None);
        };
        records(&batch).map(Some).map_err(|error| failed(&self.stream, &error))
    }
}

fn failed(stream: &str, error: &dyn std::fmt::Display) -> IngestError {
    IngestError::Quarantine { stream: stream.to_owned(), reason: error.to_string() }
}

fn records(batch: &RecordBatch) -> Result<Vec<Record>, arrow::error::ArrowError> {
    let instant = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    let types = [
        DataType::Utf8,
        DataType::Int32,
        DataType::Int64,
        DataType::Binary,
        instant,
        DataType::Utf8,
        DataType::Binary,
        DataType::Utf8,
        DataType::Boolean,
        headers_field().data_type().clone(),
    ];
    let columns: Vec<ArrayRef> =
        batch.columns().iter().zip(&types).map(|(column, kind)| cast(column, kind)).collect::<Result<_, _>>()?;
    let text = |place: usize, row: usize| -> Option<&str> {
        let column = columns[place].as_string::<i32>();
        column.is_valid(row).then(|| column.value(row))
    };
    let bytes = |place: usize, row: usize| -> Option<Vec<u8>> {
        let column = columns[place].as_binary::<i32>();
        column.is_valid(row).then(|| column.value(row).to_vec())
    };
    // Records of one file follow each other: what they share is kept once.
    let mut last: (Arc<str>, Option<Arc<str>>) = ("".into(), None);
    let mut found = Vec::with_capacity(batch.num_rows());
    for row in 0..batch.num_rows() {
        let source = text(0, row).unwrap_or_default();
        if *last.0 != *source {
            last.0 = source.into();
        }
        if last.1.as_deref() != text(7, row) {
            last.1 = text(7, row).map(Into::into);
        }
        found.push(Record {
            place: Place {
                source: Arc::clone(&last.0),
                partition: columns[1].as_primitive::<Int32Type>().value(row),
                offset: columns[2].as_primitive::<Int64Type>().value(row),
            },
            key: bytes(3, row),
            headers: columns.get(9).filter(|column| column.is_valid(row)).map(|column| headers(column, row)),
            arrived_at_us: columns[4].as_primitive::<TimestampMicrosecondType>().value(row),
            reason: text(5, row).unwrap_or_default().to_owned(),
            raw: bytes(6, row).unwrap_or_default(),
            header: last.1.clone(),
            is_mended: columns[8].as_boolean().value(row),
            is_edited: false,
        });
    }
    Ok(found)
}

/// The headers of one row of [`HEADERS_COLUMN`].
fn headers(column: &ArrayRef, row: usize) -> Vec<MessageHeader> {
    let parts = column.as_list::<i32>().value(row);
    let parts = parts.as_struct();
    let (keys, values) = (parts.column(0).as_string::<i32>(), parts.column(1).as_binary::<i32>());
    let owned = |(key, value): (Option<&str>, Option<&[u8]>)| (key.map(str::to_owned), value.map(<[u8]>::to_vec));
    keys.iter().zip(values).map(owned).collect()
}
