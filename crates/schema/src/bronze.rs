//! The columns that every Bronze table has besides its contract's fields.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field as ArrowField, FieldRef, Schema, SchemaRef, TimeUnit};

use crate::Contract;
use crate::field::UTC;

/// Names of the system columns, in order, without the partition columns.
pub const SYSTEM_COLUMNS: [&str; 11] = [
    "_source",
    "_partition",
    "_offset",
    "_key",
    "_arrived_at",
    "_ingested_at",
    "_rescued",
    "_error",
    "_raw",
    "_header",
    "_mends",
];

/// The column of the messages' headers, behind the other system columns: only where the contract asks for it
/// ([`KafkaSpec::headers`](crate::KafkaSpec::headers)).
pub const HEADERS_COLUMN: &str = "_headers";

/// `_mends` of a mended row: its revision. It says that the row takes the place of the quarantined row with the same
/// `_source`, `_partition` and `_offset`, which is revision 0. A quarantined row is mended once.
pub const MENDED_REVISION: i32 = 1;

/// Partition columns of a Bronze table, its last columns: `_status` and `_ingested_on`.
pub const PARTITION_COLUMNS: [&str; 2] = ["_status", "_ingested_on"];

/// `_status` of a good row.
pub const STATUS_STORED: &str = "stored";

/// `_status` of a row that could not be read or broke a rule.
pub const STATUS_QUARANTINED: &str = "quarantined";

/// The system columns, in order, without the partition columns. All nullable; each has its meaning as `comment`.
pub fn system_fields() -> Vec<FieldRef> {
    let instant = || DataType::Timestamp(TimeUnit::Microsecond, Some(UTC.into()));
    vec![
        column("_source", DataType::Utf8, "where the record came from: kafka:<cluster>/<topic> or files:<path>"),
        column(
            "_partition",
            DataType::Int32,
            "the topic's partition, or the file version's number in the landing ledger",
        ),
        column("_offset", DataType::Int64, "the offset in the partition, or the 1-based line of the record's start"),
        column("_key", DataType::Binary, "the message's key"),
        column("_arrived_at", instant(), "the broker's timestamp, or the file's date"),
        column("_ingested_at", instant(), "when Smelt decoded the record"),
        column("_rescued", DataType::Utf8, "fields that the contract does not name, as a JSON object"),
        column("_error", DataType::Utf8, "why the record is in quarantine"),
        column("_raw", DataType::Binary, "the record's bytes as they came"),
        column("_header", DataType::Utf8, "in quarantine: the header line of the record's CSV file, null for JSON"),
        column(
            "_mends",
            DataType::Int32,
            "1 in a row that mends the quarantined row of the same _source, _partition and _offset, else null",
        ),
    ]
}

/// The column of the messages' headers: a list, because a name may come more than once, of `key` and `value` in their
/// order. Empty for a message without any; null for a row from a file, and for one from before the contract asked.
pub fn headers_field() -> FieldRef {
    let part = |name: &str, kind| ArrowField::new(name, kind, true);
    let header = DataType::Struct(vec![part("key", DataType::Utf8), part("value", DataType::Binary)].into());
    let kind = DataType::List(Arc::new(part("element", header)));
    column(HEADERS_COLUMN, kind, "the message's headers, in their order")
}

fn column(name: &str, kind: DataType, comment: &str) -> FieldRef {
    let metadata = [("comment".to_owned(), comment.to_owned())].into();
    Arc::new(ArrowField::new(name, kind, true).with_metadata(metadata))
}

impl Contract {
    /// The Bronze table's schema: the contract's fields, the system columns (with [`HEADERS_COLUMN`] if asked for), then the
    /// partition columns `_status` (`stored` or `quarantined`) and `_ingested_on` (UTC date). Every column is nullable.
    pub fn bronze_schema(&self) -> SchemaRef {
        let mut fields: Vec<FieldRef> = self.decoded_schema().fields().iter().cloned().collect();
        fields.push(column(PARTITION_COLUMNS[0], DataType::Utf8, "stored, or quarantined"));
        fields.push(column(PARTITION_COLUMNS[1], DataType::Date32, "the UTC day of _ingested_at"));
        Arc::new(Schema::new(fields))
    }

    /// [`Contract::bronze_schema`] without the partition columns: what the decoder makes.
    pub fn decoded_schema(&self) -> SchemaRef {
        let payload = self.fields.iter().map(crate::Field::to_arrow);
        let headers = self.keeps_headers().then(headers_field);
        Arc::new(Schema::new(payload.chain(system_fields()).chain(headers).collect::<Vec<_>>()))
    }

    /// Whether the messages' headers are kept, in [`HEADERS_COLUMN`].
    pub fn keeps_headers(&self) -> bool {
        self.kafka.as_ref().is_some_and(|kafka| kafka.headers)
    }

    /// The contract's own fields: the columns that its rules can speak of.
    pub fn payload_schema(&self) -> SchemaRef {
        Arc::new(Schema::new(self.fields.iter().map(crate::Field::to_arrow).collect::<Vec<_>>()))
    }
}
