//! Takes batches apart by partition, and change data by sign, keeping the order of rows.

use std::collections::HashMap;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch, UInt32Array};
use arrow::compute::{cast, filter_record_batch, partition, take, take_record_batch};
use arrow::datatypes::{DataType, Date32Type, Int64Type};
use arrow::row::{RowConverter, SortField};

use super::CHANGE_TYPE_COLUMN;
use super::adapt::{sign_of, unknown_change};
use crate::error::{Result, StoreError};
use crate::meta::TableMeta;

/// Takes `rows` apart by the partitions that the rows of `batch` belong to, in their order: by each partition's values,
/// in Delta's text form, what it holds. `batch` has the partition columns at least, and as many rows as `rows`.
///
/// # Errors
/// [`StoreError::BadColumn`] when a partition column is missing or has another type than the table's.
pub fn by_partition(
    meta: &TableMeta,
    batch: &RecordBatch,
    rows: RecordBatch,
) -> Result<Vec<(Vec<Option<String>>, RecordBatch)>> {
    if meta.partition_columns.is_empty() || batch.num_rows() == 0 {
        return Ok(vec![(vec![None; meta.partition_columns.len()], rows)]);
    }
    let columns = meta.partition_columns.iter().map(|name| partition_column(meta, batch, name));
    let columns = columns.collect::<Result<Vec<_>>>()?;
    let (group_of, firsts) = groups(&columns).map_err(|e| StoreError::arrow("split by partition", e))?;
    let values = |row: usize| columns.iter().map(|column| text(column, row)).collect::<Vec<_>>();
    if firsts.len() == 1 {
        return Ok(vec![(values(0), rows)]);
    }
    // One copy puts the rows of each partition together, in their order; the partitions are slices of it.
    let mut counts = vec![0usize; firsts.len()];
    for group in &group_of {
        counts[*group] += 1;
    }
    let mut next: Vec<usize> = counts.iter().scan(0, |at, n| Some(std::mem::replace(at, *at + n))).collect();
    let starts = next.clone();
    let mut order = vec![0u32; group_of.len()];
    for (row, group) in (0u32..).zip(&group_of) {
        order[next[*group]] = row;
        next[*group] += 1;
    }
    let is_sorted = order.windows(2).all(|pair| pair[0] < pair[1]);
    let sorted = match is_sorted {
        true => rows,
        false => take_record_batch(&rows, &UInt32Array::from(order))
            .map_err(|e| StoreError::arrow("split by partition", e))?,
    };
    let slices = firsts.iter().zip(starts.iter().zip(&counts));
    Ok(slices.map(|(first, (start, count))| (values(*first), sorted.slice(*start, *count))).collect())
}

/// The group of each row, and the first row of each group.
fn groups(columns: &[ArrayRef]) -> Result<(Vec<usize>, Vec<usize>), arrow::error::ArrowError> {
    // Rows mostly come in runs of one partition: only the first of each run is looked up.
    let runs = partition(columns)?.ranges();
    let starts = UInt32Array::from_iter_values(runs.iter().map(|run| run.start as u32));
    let heads = columns.iter().map(|column| take(column, &starts, None)).collect::<Result<Vec<_>, _>>()?;
    let fields = columns.iter().map(|column| SortField::new(column.data_type().clone())).collect();
    let keys = RowConverter::new(fields)?.convert_columns(&heads)?;
    let mut known = HashMap::new();
    let mut group_of = Vec::new();
    let mut firsts: Vec<usize> = Vec::new();
    for (run, key) in runs.iter().zip(&keys) {
        let group = *known.entry(key).or_insert_with(|| {
            firsts.push(run.start);
            firsts.len() - 1
        });
        group_of.resize(run.end, group);
    }
    Ok((group_of, firsts))
}

/// A partition column in the type that the table has, integers as `Int64`.
fn partition_column(meta: &TableMeta, batch: &RecordBatch, name: &str) -> Result<ArrayRef> {
    let bad = |message: String| StoreError::BadColumn { table: meta.table.clone(), column: name.to_string(), message };
    let column =
        batch.column_by_name(name).ok_or_else(|| bad("the table is partitioned by it; it is missing".into()))?;
    let wanted = meta.schema.field_with_name(name).map_err(|e| bad(e.to_string()))?.data_type();
    let (found, wanted) = match (column.data_type(), wanted) {
        (DataType::Utf8View | DataType::LargeUtf8 | DataType::Dictionary(..), DataType::Utf8) => {
            (DataType::Utf8, wanted)
        }
        (found, wanted) if found == wanted && wanted.is_signed_integer() => (DataType::Int64, wanted),
        (found, _) => (found.clone(), wanted),
    };
    let as_wanted = found == *wanted || (found == DataType::Int64 && wanted.is_signed_integer());
    match as_wanted {
        true => cast(column, &found).map_err(|e| bad(e.to_string())),
        false => Err(bad(format!("it is {found} and the table has {wanted}"))),
    }
}

/// A partition value in Delta's form; null and the empty string are both null there.
fn text(column: &ArrayRef, row: usize) -> Option<String> {
    if column.is_null(row) {
        return None;
    }
    match column.data_type() {
        DataType::Utf8 => Some(column.as_string::<i32>().value(row).to_string()).filter(|text| !text.is_empty()),
        DataType::Date32 => column.as_primitive::<Date32Type>().value_as_date(row).map(|date| date.to_string()),
        DataType::Boolean => Some(column.as_boolean().value(row).to_string()),
        _ => column.as_primitive_opt::<Int64Type>().map(|numbers| numbers.value(row).to_string()),
    }
}

/// The rows of each sign, −1 first: before images, then after images.
pub(crate) fn by_sign(meta: &TableMeta, batch: &RecordBatch) -> Result<Vec<(i32, RecordBatch)>> {
    let column = batch.column_by_name(CHANGE_TYPE_COLUMN).ok_or_else(|| unknown_change(meta, ""))?;
    let failed = |e| StoreError::arrow("split change data", e);
    let words = cast(column, &DataType::Utf8).map_err(failed)?;
    let mut positive = Vec::with_capacity(batch.num_rows());
    for word in words.as_string::<i32>() {
        let word = word.unwrap_or("");
        positive.push(sign_of(word).ok_or_else(|| unknown_change(meta, word))? > 0);
    }
    let mut parts = Vec::new();
    for (sign, wanted) in [(-1, false), (1, true)] {
        let mask: BooleanArray = positive.iter().map(|is| Some(*is == wanted)).collect();
        let rows = filter_record_batch(batch, &mask).map_err(failed)?;
        if rows.num_rows() > 0 {
            parts.push((sign, rows));
        }
    }
    Ok(parts)
}
