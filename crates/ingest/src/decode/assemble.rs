//! The columns that every Bronze row has besides its fields.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, Int32Array, Int64Array, ListArray, StringArray, StructArray, TimestampMicrosecondArray,
    new_null_array,
};
use arrow::buffer::{NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow::datatypes::DataType;
use arrow::error::ArrowError;
use schema::Contract;

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
    /// The type of [`schema::HEADERS_COLUMN`], where there is one.
    headers: Option<DataType>,
}

impl Assembler {
    /// For the rows of a contract.
    pub(crate) fn new(contract: &Contract) -> Self {
        let headers = contract.keeps_headers().then(|| schema::headers_field().data_type().clone());
        Assembler { source: None, headers }
    }

    /// The system columns of `rows`, in the order of [`schema::SYSTEM_COLUMNS`], and the messages' headers if the contract
    /// has them.
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
        let of_messages = self.headers.as_ref().map(|kind| message_headers(raw, rows, kind)).transpose()?;
        let mut columns: Vec<ArrayRef> = vec![
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
        ];
        columns.extend(of_messages);
        Ok(columns)
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

/// The messages' headers, of type `kind`.
fn message_headers(raw: &RawBatch, rows: Rows<'_>, kind: &DataType) -> Result<ArrayRef, ArrowError> {
    let (Some(headers), DataType::List(element)) = (&raw.headers, kind) else {
        return Ok(new_null_array(kind, rows.len()));
    };
    let DataType::Struct(fields) = element.data_type() else { return Ok(new_null_array(kind, rows.len())) };
    let (mut keys, mut values) = (Texts::default(), Texts::default());
    let (mut ends, mut known) = (vec![0i32], Vec::with_capacity(rows.len()));
    let push = |column: &mut Texts, range: &Option<Range<u32>>| match range {
        Some(range) => column.push(&raw.bytes[range.start as usize..range.end as usize]),
        None => column.push_null(),
    };
    for row in rows.iter() {
        let parts = headers.records[row].clone();
        known.push(parts.is_some());
        for (key, value) in parts.map_or(&[][..], |parts| &headers.parts[parts.start as usize..parts.end as usize]) {
            push(&mut keys, key);
            push(&mut values, value);
        }
        ends.push(keys.len() as i32);
    }
    let parts = StructArray::try_new(fields.clone(), vec![keys.finish_utf8()?, values.finish_binary()?], None)?;
    let nulls = Some(NullBuffer::from(known)).filter(|nulls| nulls.null_count() > 0);
    let ends = OffsetBuffer::new(ScalarBuffer::from(ends));
    Ok(Arc::new(ListArray::try_new(Arc::clone(element), ends, Arc::new(parts), nulls)?))
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
