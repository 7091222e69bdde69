//! The columns that every Bronze row has besides its fields.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, Int32Array, Int64Array, StringArray, TimestampMicrosecondArray, new_null_array};
use arrow::datatypes::DataType;
use arrow::error::ArrowError;

use super::columns::Texts;
use super::reject::Reject;
use crate::records::{ArrivedAt, HEADER_KEPT, OVERSIZE_KEPT, RawBatch};

/// Which records of a batch become rows, in order.
#[derive(Clone, Copy)]
pub(crate) enum Rows<'a> {
    /// All of them.
    All(usize),
    /// These.
    Only(&'a [u32]),
}

impl Rows<'_> {
    pub(crate) fn len(&self) -> usize {
        match self {
            Rows::All(len) => *len,
            Rows::Only(rows) => rows.len(),
        }
    }

    fn iter(&self) -> impl Iterator<Item = usize> {
        let (all, only) = match self {
            Rows::All(len) => (0..*len, [].as_slice()),
            Rows::Only(rows) => (0..0, *rows),
        };
        all.chain(only.iter().map(|row| *row as usize))
    }

    fn pick(&self, values: &[i64]) -> Vec<i64> {
        match self {
            Rows::All(len) => values[..*len].to_vec(),
            Rows::Only(rows) => rows.iter().map(|row| values[*row as usize]).collect(),
        }
    }
}

/// What differs between good and bad rows.
pub(crate) struct Details {
    /// `_rescued`
    pub(crate) rescued: ArrayRef,
    /// `_error`
    pub(crate) errors: Option<Vec<Reject>>,
    /// Whether `_raw` is filled.
    pub(crate) with_raw: bool,
    /// Whether `_header` is filled.
    pub(crate) with_header: bool,
    /// Of a record longer than this only the first [`OVERSIZE_KEPT`] bytes go to `_raw`.
    pub(crate) max_record: usize,
}

/// Makes system columns; remembers the last source, which rarely changes.
#[derive(Default)]
pub(crate) struct Assembler {
    source: Option<(Arc<str>, StringArray)>,
}

impl Assembler {
    /// The system columns of `rows`, in the order of [`schema::SYSTEM_COLUMNS`].
    pub(crate) fn columns(
        &mut self,
        raw: &RawBatch,
        rows: Rows<'_>,
        ingested_at_us: i64,
        details: Details,
    ) -> Result<Vec<ArrayRef>, ArrowError> {
        let len = rows.len();
        let instants = |values: Vec<i64>| TimestampMicrosecondArray::from(values).with_timezone("UTC");
        let arrived = match &raw.arrived_at {
            ArrivedAt::All(at) => vec![*at; len],
            ArrivedAt::Each(all) => rows.pick(all),
        };
        Ok(vec![
            self.source(&raw.source, len),
            Arc::new(Int32Array::from(vec![raw.partition; len])),
            Arc::new(Int64Array::from(rows.pick(&raw.offsets))),
            keys(raw, rows)?,
            Arc::new(instants(arrived)),
            Arc::new(instants(vec![ingested_at_us; len])),
            details.rescued,
            details.errors.map_or(Ok(new_null_array(&DataType::Utf8, len)), |errors| texts(&errors))?,
            if details.with_raw {
                raws(raw, rows, details.max_record)?
            } else {
                new_null_array(&DataType::Binary, len)
            },
            if details.with_header { headers(raw, len) } else { new_null_array(&DataType::Utf8, len) },
            new_null_array(&DataType::Int32, len),
        ])
    }

    fn source(&mut self, source: &Arc<str>, len: usize) -> ArrayRef {
        match &self.source {
            Some((known, array)) if known == source && array.len() >= len => Arc::new(array.slice(0, len)),
            _ => {
                let array = StringArray::from_iter_values(std::iter::repeat_n(source.as_ref(), len));
                self.source = Some((source.clone(), array.clone()));
                Arc::new(array)
            }
        }
    }
}

/// The header that the records were read by, in each row: it makes a quarantined row whole, to be read again without
/// its file.
fn headers(raw: &RawBatch, len: usize) -> ArrayRef {
    match raw.header.as_ref().map(|header| header.text()).filter(|text| text.len() <= HEADER_KEPT) {
        Some(text) => Arc::new(StringArray::from_iter_values(std::iter::repeat_n(text, len))),
        None => new_null_array(&DataType::Utf8, len),
    }
}

fn keys(raw: &RawBatch, rows: Rows<'_>) -> Result<ArrayRef, ArrowError> {
    let Some(keys) = &raw.keys else { return Ok(new_null_array(&DataType::Binary, rows.len())) };
    let mut column = Texts::default();
    for row in rows.iter() {
        match &keys[row] {
            Some(range) => column.push(&raw.bytes[range.start as usize..range.end as usize]),
            None => column.push_null(),
        }
    }
    column.finish_binary()
}

/// The records' bytes.
fn raws(raw: &RawBatch, rows: Rows<'_>, max_record: usize) -> Result<ArrayRef, ArrowError> {
    let mut column = Texts::default();
    for row in rows.iter() {
        let record = raw.record(row);
        column.push(if record.len() > max_record { &record[..OVERSIZE_KEPT.min(max_record)] } else { record });
    }
    column.finish_binary()
}

fn texts(errors: &[Reject]) -> Result<ArrayRef, ArrowError> {
    Ok(Arc::new(StringArray::from_iter_values(errors.iter().map(ToString::to_string))))
}
