//! Fits a batch to the columns of a table's files, by name.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch, RecordBatchOptions, new_null_array};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Schema};

use super::CHANGE_TYPE_COLUMN;
use crate::error::{Result, StoreError};
use crate::meta::TableMeta;

/// The columns of a table's files, in their order, from a batch; and `extra` last, where it is given.
///
/// String and binary columns keep the Arrow type that they come in, because the encoder takes all of them.
///
/// # Errors
/// [`StoreError::BadColumn`] for columns that the table does not have, that have another type, or that are null where the
/// table holds none.
pub(crate) fn to_file(meta: &TableMeta, batch: &RecordBatch, extra: Option<&str>) -> Result<RecordBatch> {
    let bad = |column: &str, message: String| StoreError::BadColumn {
        table: meta.table.clone(),
        column: column.to_string(),
        message,
    };
    let schema = batch.schema_ref();
    for field in schema.fields() {
        let name = field.name().as_str();
        if Some(name) != extra && meta.schema.field_with_name(name).is_err() {
            return Err(bad(name, "the table has no such column".to_string()));
        }
    }
    let mut fields = Vec::with_capacity(meta.file_schema.fields().len() + 1);
    let mut columns: Vec<ArrayRef> = Vec::with_capacity(fields.capacity());
    let change_type = extra.map(|name| Arc::new(Field::new(name, DataType::Utf8, false)));
    for field in meta.file_schema.fields().iter().chain(change_type.as_ref()) {
        let column = match batch.column_by_name(field.name()) {
            Some(column) => fit(column, field.data_type()).map_err(|message| bad(field.name(), message))?,
            None => new_null_array(field.data_type(), batch.num_rows()),
        };
        if !field.is_nullable() && column.logical_null_count() > 0 {
            return Err(bad(field.name(), "it is null, and the table holds no nulls there".to_string()));
        }
        fields.push(Field::new(field.name(), column.data_type().clone(), field.is_nullable()));
        columns.push(column);
    }
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), columns, &options)
        .map_err(|e| StoreError::arrow(format!("fit rows to {}", meta.table), e))
}

/// A column in a type that the encoder takes for `wanted`.
fn fit(column: &ArrayRef, wanted: &DataType) -> Result<ArrayRef, String> {
    let found = column.data_type();
    let same_family = match (found, wanted) {
        (DataType::Dictionary(_, value), _) => is_text(value) && is_text(wanted),
        _ => (is_text(found) && is_text(wanted)) || (is_binary(found) && is_binary(wanted)),
    };
    if found == wanted || same_family {
        return Ok(column.clone());
    }
    // Nested types may differ in names of items and in string types only; timestamps in the name of the zone.
    if is_nested(wanted) && same_shape(found, wanted) || is_utc(found) && is_utc(wanted) || *found == DataType::Null {
        return cast(column, wanted).map_err(|e| e.to_string());
    }
    Err(format!("it is {found} and the table has {wanted}"))
}

fn is_text(kind: &DataType) -> bool {
    matches!(kind, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View)
}

fn is_binary(kind: &DataType) -> bool {
    matches!(kind, DataType::Binary | DataType::LargeBinary | DataType::BinaryView)
}

fn is_utc(kind: &DataType) -> bool {
    use arrow::datatypes::TimeUnit::Microsecond;
    matches!(kind, DataType::Timestamp(Microsecond, Some(zone)) if zone.eq_ignore_ascii_case("utc") || zone.as_ref() == "+00:00")
}

fn is_nested(kind: &DataType) -> bool {
    matches!(kind, DataType::List(_) | DataType::Struct(_))
}

fn same_shape(found: &DataType, wanted: &DataType) -> bool {
    match (found, wanted) {
        (DataType::List(a) | DataType::LargeList(a), DataType::List(b)) => same_shape(a.data_type(), b.data_type()),
        (DataType::Struct(a), DataType::Struct(b)) => {
            a.len() == b.len()
                && a.iter().zip(b).all(|(a, b)| a.name() == b.name() && same_shape(a.data_type(), b.data_type()))
        }
        _ => {
            found == wanted
                || (is_text(found) && is_text(wanted))
                || (is_binary(found) && is_binary(wanted))
                || (is_utc(found) && is_utc(wanted))
        }
    }
}

/// About how much memory the rows of a batch take; shared buffers count by their part.
pub(crate) fn memory(batch: &RecordBatch) -> usize {
    let of = |column: &ArrayRef| {
        let whole = column.get_array_memory_size();
        column.to_data().get_slice_memory_size().map_or(whole, |part| part.min(whole))
    };
    batch.columns().iter().map(of).sum()
}

/// The sign of a kind of change, `None` for an unknown word.
pub(crate) fn sign_of(change_type: &str) -> Option<i32> {
    match change_type {
        "insert" | "update_postimage" => Some(1),
        "delete" | "update_preimage" => Some(-1),
        _ => None,
    }
}

/// The message for a word that is no kind of change.
pub(crate) fn unknown_change(meta: &TableMeta, word: &str) -> StoreError {
    StoreError::BadColumn {
        table: meta.table.clone(),
        column: CHANGE_TYPE_COLUMN.to_string(),
        message: format!("{word:?} is none of insert, delete, update_preimage, update_postimage"),
    }
}
