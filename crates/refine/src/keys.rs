//! Hashes of rows: what an entity or a whole row is known by while tables are compared.
//!
//! 128 bits (xxh3) stand for a key: with 10^9 keys the chance that any two collide is about 10^-21. Where a smaller hash
//! is used (its low 64 bits) a collision only costs time, never a row.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BinaryArray, BinaryViewArray, RecordBatch, StringArray, StringViewArray};
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Int32Type, Int64Type, Schema, TimeUnit, TimestampMicrosecondType,
};
use arrow_row::{RowConverter, Rows, SortField};
use xxhash_rust::xxh3::xxh3_128;

use crate::Result;

/// The 128-bit hash of each row over `columns`. Rows that are equal have equal hashes, also where one batch holds text
/// as `Utf8` and the other as `Utf8View`; null equals null and nothing else.
pub(crate) fn hash_rows(columns: &[ArrayRef], rows: usize) -> Result<Vec<u128>> {
    let readers = columns.iter().map(Reader::new).collect::<Result<Vec<_>>>()?;
    let mut hashes = Vec::with_capacity(rows);
    let mut buffer = Vec::with_capacity(128);
    for row in 0..rows {
        buffer.clear();
        for reader in &readers {
            reader.append(row, &mut buffer);
        }
        hashes.push(xxh3_128(&buffer));
    }
    Ok(hashes)
}

/// The columns of `batch` at these places.
pub(crate) fn pick(batch: &RecordBatch, places: &[usize]) -> Vec<ArrayRef> {
    places.iter().map(|&place| Arc::clone(batch.column(place))).collect()
}

/// The places of these columns in a schema. The plan checks have made sure that they are there.
pub(crate) fn places(schema: &Schema, names: &[String]) -> Result<Vec<usize>> {
    names.iter().map(|name| Ok(schema.index_of(name)?)).collect()
}

/// The low half of a hash, which spreads as well as the whole.
pub(crate) fn low(hash: u128) -> u64 {
    hash as u64
}

/// Appends one column's value of a row to a buffer, such that different rows give different bytes.
enum Reader<'a> {
    Text(&'a StringArray),
    TextView(&'a StringViewArray),
    Bytes(&'a BinaryArray),
    BytesView(&'a BinaryViewArray),
    Four(&'a dyn Array, &'a [i32]),
    Eight(&'a dyn Array, &'a [i64]),
    Sixteen(&'a dyn Array, &'a [i128]),
    /// Every other type, through the row format, in which equal values have equal bytes.
    Rows(Rows),
}

impl<'a> Reader<'a> {
    fn new(column: &'a ArrayRef) -> Result<Self> {
        Ok(match column.data_type() {
            DataType::Utf8 => Self::Text(column.as_string()),
            DataType::Utf8View => Self::TextView(column.as_string_view()),
            DataType::Binary => Self::Bytes(column.as_binary()),
            DataType::BinaryView => Self::BytesView(column.as_binary_view()),
            DataType::Int32 => Self::Four(column, column.as_primitive::<Int32Type>().values()),
            DataType::Date32 => Self::Four(column, column.as_primitive::<Date32Type>().values()),
            DataType::Int64 => Self::Eight(column, column.as_primitive::<Int64Type>().values()),
            DataType::Timestamp(TimeUnit::Microsecond, _) => {
                Self::Eight(column, column.as_primitive::<TimestampMicrosecondType>().values())
            }
            DataType::Decimal128(..) => Self::Sixteen(column, column.as_primitive::<Decimal128Type>().values()),
            other => {
                let converter = RowConverter::new(vec![SortField::new(other.clone())])?;
                Self::Rows(converter.convert_columns(&[Arc::clone(column)])?)
            }
        })
    }

    fn append(&self, row: usize, buffer: &mut Vec<u8>) {
        match self {
            Self::Text(array) => text(array.is_valid(row).then(|| array.value(row).as_bytes()), buffer),
            Self::TextView(array) => text(array.is_valid(row).then(|| array.value(row).as_bytes()), buffer),
            Self::Bytes(array) => text(array.is_valid(row).then(|| array.value(row)), buffer),
            Self::BytesView(array) => text(array.is_valid(row).then(|| array.value(row)), buffer),
            Self::Four(array, values) => fixed(array.is_valid(row).then(|| values[row].to_le_bytes()), buffer),
            Self::Eight(array, values) => fixed(array.is_valid(row).then(|| values[row].to_le_bytes()), buffer),
            Self::Sixteen(array, values) => fixed(array.is_valid(row).then(|| values[row].to_le_bytes()), buffer),
            Self::Rows(rows) => text(Some(rows.row(row).as_ref()), buffer),
        }
    }
}

/// The length plus one, so that null is apart from the empty text, then the bytes.
fn text(value: Option<&[u8]>, buffer: &mut Vec<u8>) {
    match value {
        None => buffer.extend_from_slice(&0u32.to_le_bytes()),
        Some(bytes) => {
            buffer.extend_from_slice(&(bytes.len() as u32 + 1).to_le_bytes());
            buffer.extend_from_slice(bytes);
        }
    }
}

fn fixed<const N: usize>(value: Option<[u8; N]>, buffer: &mut Vec<u8>) {
    match value {
        None => buffer.push(0),
        Some(bytes) => {
            buffer.push(1);
            buffer.extend_from_slice(&bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{Date32Array, Float64Array};

    fn hashes(columns: &[ArrayRef]) -> Vec<u128> {
        hash_rows(columns, columns[0].len()).expect("hashable")
    }

    #[test]
    fn text_hashes_alike_in_both_forms() {
        let long = "a text that is longer than the twelve bytes of a view";
        let plain: ArrayRef = Arc::new(StringArray::from(vec![Some("a"), None, Some(""), Some(long)]));
        let view: ArrayRef = Arc::new(StringViewArray::from(vec![Some("a"), None, Some(""), Some(long)]));
        assert_eq!(hashes(std::slice::from_ref(&plain)), hashes(&[view]));
        let distinct: std::collections::HashSet<u128> = hashes(&[plain]).into_iter().collect();
        assert_eq!(distinct.len(), 4);
    }

    #[test]
    fn borders_between_columns_count() {
        let columns = |a: &str, b: &str| -> Vec<ArrayRef> {
            vec![Arc::new(StringArray::from(vec![a])), Arc::new(StringArray::from(vec![b]))]
        };
        assert_ne!(hashes(&columns("ab", "c")), hashes(&columns("a", "bc")));
    }

    #[test]
    fn null_is_no_value_in_any_type() {
        let dates: ArrayRef = Arc::new(Date32Array::from(vec![Some(0), None]));
        let floats: ArrayRef = Arc::new(Float64Array::from(vec![Some(0.0), None]));
        for column in [dates, floats] {
            let found = hashes(&[column]);
            assert_ne!(found[0], found[1]);
        }
    }
}
