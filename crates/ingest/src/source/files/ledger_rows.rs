//! Rows of the landing ledger as record batches.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, Date32Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
};
use arrow::datatypes::{DataType, Date32Type, Field, Int64Type, Schema, SchemaRef, TimeUnit, TimestampMicrosecondType};

use super::ledger::{Entry, Owner};
use crate::{FileOutcome, IngestError};

/// The columns of an owner's ledger; those of a set say also whose file it is, of which day, and what was accepted with it.
pub(super) fn columns(owner: &Owner) -> SchemaRef {
    let column = |name: &str, kind: DataType, comment: &str| {
        Field::new(name, kind, true).with_metadata([("comment".to_owned(), comment.to_owned())].into())
    };
    let mut columns = vec![
        column("number", DataType::Int64, "dense, from 1; _partition of the version's rows in Bronze"),
        column("path", DataType::Utf8, "relative to the landing root"),
        column("size", DataType::Int64, "bytes"),
        column("stamp", DataType::Utf8, "etag or modification time; empty: looked at again by the next run"),
        column("modified_at", instant(), "modification time"),
        column("hash", DataType::Utf8, "XXH3, 128 bits, of the bytes as they lie there"),
        column("status", DataType::Utf8, "accepted, same, empty, refused or gone"),
        column("reason", DataType::Utf8, "why it was not accepted"),
        column("same_as", DataType::Int64, "the number that has the same content"),
        column("supersedes", DataType::Int64, "the number that this row replaces, or withdraws if it is gone"),
        column("seen_at", instant(), "when it was looked at"),
    ];
    if let Owner::Set(_) = owner {
        columns.extend([
            column("stream", DataType::Utf8, "the member of the set whose file it is; null: no member's"),
            column("day", DataType::Date32, "the day that its name states"),
            column("delivery", DataType::Int64, "the first number of those that were accepted together with it"),
        ]);
    }
    Arc::new(Schema::new(columns))
}

fn instant() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
}

/// The entries as rows that were seen at `seen_at_us`.
pub(super) fn rows(owner: &Owner, entries: &[Entry], seen_at_us: i64) -> Result<RecordBatch, IngestError> {
    let long =
        |value: fn(&Entry) -> Option<i64>| Arc::new(entries.iter().map(value).collect::<Int64Array>()) as ArrayRef;
    let text =
        |value: fn(&Entry) -> Option<&str>| Arc::new(entries.iter().map(value).collect::<StringArray>()) as ArrayRef;
    let modified: TimestampMicrosecondArray = entries.iter().map(|entry| Some(entry.modified_us)).collect();
    let mut arrays = vec![
        long(|entry| Some(entry.number)),
        text(|entry| Some(&entry.path)),
        long(|entry| Some(i64::try_from(entry.size).unwrap_or(i64::MAX))),
        text(|entry| Some(&entry.stamp)),
        Arc::new(modified.with_timezone("UTC")),
        text(|entry| (!entry.hash.is_empty()).then_some(&entry.hash)),
        text(|entry| Some(entry.outcome.as_str())),
        text(|entry| (!entry.reason.is_empty()).then_some(&entry.reason)),
        long(|entry| entry.same_as),
        long(|entry| entry.supersedes),
        Arc::new(TimestampMicrosecondArray::from(vec![seen_at_us; entries.len()]).with_timezone("UTC")),
    ];
    if let Owner::Set(_) = owner {
        let days: Date32Array = entries.iter().map(|entry| entry.day.map(Date32Type::from_naive_date)).collect();
        arrays.extend([
            text(|entry| (!entry.stream.is_empty()).then_some(&entry.stream)),
            Arc::new(days) as ArrayRef,
            long(|entry| entry.delivery),
        ]);
    }
    RecordBatch::try_new(columns(owner), arrays).map_err(|e| IngestError::Internal(format!("ledger rows: {e}")))
}

/// Adds the entries of a batch of an owner's ledger.
///
/// # Errors
/// What cannot be read, for people.
pub(super) fn read_entries(owner: &Owner, batch: &RecordBatch, entries: &mut Vec<Entry>) -> Result<(), String> {
    let columns = Columns { batch };
    let (number, size) = (columns.of("number", &DataType::Int64)?, columns.of("size", &DataType::Int64)?);
    let (same, over) = (columns.of("same_as", &DataType::Int64)?, columns.of("supersedes", &DataType::Int64)?);
    let (path, stamp) = (columns.of("path", &DataType::Utf8)?, columns.of("stamp", &DataType::Utf8)?);
    let (hash, status) = (columns.of("hash", &DataType::Utf8)?, columns.of("status", &DataType::Utf8)?);
    let (reason, modified) = (columns.of("reason", &DataType::Utf8)?, columns.of("modified_at", &instant())?);
    let of_set = match owner {
        Owner::Stream(_) => None,
        Owner::Set(_) => Some((
            columns.of("stream", &DataType::Utf8)?,
            columns.of("day", &DataType::Date32)?,
            columns.of("delivery", &DataType::Int64)?,
        )),
    };
    for row in 0..batch.num_rows() {
        let status = text(&status, row);
        let outcome =
            FileOutcome::from_word(&status).ok_or_else(|| format!("the landing ledger has status {status:?}"))?;
        let path = text(&path, row);
        let (stream, day, delivery) = match (&of_set, owner) {
            (Some((stream, day, delivery)), _) => {
                let date = day.as_primitive::<Date32Type>();
                let day = date.is_valid(row).then(|| date.value_as_date(row)).flatten();
                (text(stream, row), day, optional(delivery, row))
            }
            (None, Owner::Stream(contract)) => {
                let day = contract.files.as_ref().and_then(|files| files.date_in(&path));
                (contract.name.clone(), day, None)
            }
            (None, Owner::Set(_)) => (String::new(), None, None),
        };
        entries.push(Entry {
            number: whole(&number, row),
            stream,
            day,
            path,
            size: u64::try_from(whole(&size, row)).unwrap_or_default(),
            stamp: text(&stamp, row),
            modified_us: modified.as_primitive::<TimestampMicrosecondType>().value(row),
            hash: text(&hash, row),
            outcome,
            reason: text(&reason, row),
            same_as: optional(&same, row),
            supersedes: optional(&over, row),
            delivery,
        });
    }
    Ok(())
}

struct Columns<'a> {
    batch: &'a RecordBatch,
}

impl Columns<'_> {
    fn of(&self, name: &str, kind: &DataType) -> Result<ArrayRef, String> {
        let column =
            self.batch.column_by_name(name).ok_or_else(|| format!("the landing ledger has no column {name}"))?;
        arrow::compute::cast(column, kind).map_err(|e| format!("the landing ledger's column {name}: {e}"))
    }
}

fn whole(column: &ArrayRef, row: usize) -> i64 {
    column.as_primitive::<Int64Type>().value(row)
}

fn optional(column: &ArrayRef, row: usize) -> Option<i64> {
    column.is_valid(row).then(|| whole(column, row))
}

fn text(column: &ArrayRef, row: usize) -> String {
    if column.is_valid(row) { column.as_string::<i32>().value(row).to_owned() } else { String::new() }
}
