//! Columns under construction: values are appended field by field, and a record that turns out bad is cut off again.

use std::mem::take;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryArray, BooleanArray, Date32Array, Decimal128Array, Int32Array, Int64Array, ListArray, StringArray,
    StructArray, TimestampMicrosecondArray,
};
use arrow::buffer::{BooleanBuffer, Buffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow::datatypes::{DataType, Field as ArrowField, Fields};
use arrow::error::ArrowError;
use schema::{Field, FieldType};

/// Rows that are null, ascending. Most columns have none, which then costs nothing.
#[derive(Debug, Default)]
pub(crate) struct Nulls {
    rows: Vec<u32>,
}

impl Nulls {
    #[inline]
    pub(crate) fn push(&mut self, row: usize) {
        self.rows.push(row as u32);
    }

    #[inline]
    fn truncate(&mut self, rows: usize) {
        while self.rows.last().is_some_and(|row| *row as usize >= rows) {
            self.rows.pop();
        }
    }

    /// The null buffer of `len` rows, or none when no row is null.
    fn finish(&mut self, len: usize) -> Option<NullBuffer> {
        if self.rows.is_empty() {
            return None;
        }
        let mut bits = vec![0xffu8; len.div_ceil(8)];
        for row in self.rows.drain(..) {
            bits[row as usize / 8] &= !(1 << (row % 8));
        }
        Some(NullBuffer::new(BooleanBuffer::new(Buffer::from_vec(bits), 0, len)))
    }
}

/// Values of one width.
#[derive(Debug, Default)]
pub(crate) struct Fixed<T> {
    pub(crate) values: Vec<T>,
    pub(crate) nulls: Nulls,
}

impl<T: Default> Fixed<T> {
    fn push_null(&mut self) {
        self.nulls.push(self.values.len());
        self.values.push(T::default());
    }

    #[inline]
    fn truncate(&mut self, rows: usize) {
        self.values.truncate(rows);
        self.nulls.truncate(rows);
    }

    /// The values and their nulls; what was built is gone, its capacity expected again.
    fn finish(&mut self) -> (Vec<T>, Option<NullBuffer>) {
        let nulls = self.nulls.finish(self.values.len());
        let next = Vec::with_capacity(self.values.len());
        (std::mem::replace(&mut self.values, next), nulls)
    }
}

/// Texts, or bytes: one buffer and the end of each row in it.
#[derive(Debug)]
pub(crate) struct Texts {
    /// The bytes of all rows; the row under construction is what lies beyond the last offset.
    pub(crate) bytes: Vec<u8>,
    offsets: Vec<i32>,
    nulls: Nulls,
}

impl Default for Texts {
    fn default() -> Self {
        Texts { bytes: Vec::new(), offsets: vec![0], nulls: Nulls::default() }
    }
}

impl Texts {
    /// Rows that are complete.
    pub(crate) fn len(&self) -> usize {
        self.offsets.len() - 1
    }

    /// Whether bytes were appended for a row that is not ended.
    pub(crate) fn is_row_open(&self) -> bool {
        self.offsets.last().is_some_and(|end| (*end as usize) < self.bytes.len())
    }

    /// Ends the row whose bytes were appended to `bytes`. A batch is bounded so that offsets never exceed 31 bits.
    #[inline]
    pub(crate) fn end_row(&mut self) {
        self.offsets.push(self.bytes.len() as i32);
    }

    #[inline]
    pub(crate) fn push(&mut self, text: &[u8]) {
        self.bytes.extend_from_slice(text);
        self.end_row();
    }

    #[inline]
    pub(crate) fn push_null(&mut self) {
        self.nulls.push(self.len());
        self.end_row();
    }

    /// Drops all rows from `rows` on, and bytes of a row that was not ended.
    #[inline]
    pub(crate) fn truncate(&mut self, rows: usize) {
        self.offsets.truncate(rows + 1);
        self.nulls.truncate(rows);
        let end = self.offsets.last().copied().unwrap_or(0);
        self.bytes.truncate(end as usize);
    }

    fn finish(&mut self) -> (OffsetBuffer<i32>, Buffer, Option<NullBuffer>) {
        let nulls = self.nulls.finish(self.len());
        let (bytes, rows) = (self.bytes.len(), self.offsets.len());
        let finished = take(self);
        self.bytes.reserve(bytes);
        self.offsets.reserve(rows);
        let offsets = OffsetBuffer::new(ScalarBuffer::from(finished.offsets));
        (offsets, Buffer::from_vec(finished.bytes), nulls)
    }

    /// The rows as an Arrow column of text.
    ///
    /// # Errors
    /// If a row is not UTF-8, which the decoders exclude before they append.
    pub(crate) fn finish_utf8(&mut self) -> Result<ArrayRef, ArrowError> {
        let (offsets, bytes, nulls) = self.finish();
        Ok(Arc::new(StringArray::try_new(offsets, bytes, nulls)?))
    }

    /// The rows as an Arrow column of bytes.
    pub(crate) fn finish_binary(&mut self) -> Result<ArrayRef, ArrowError> {
        let (offsets, bytes, nulls) = self.finish();
        Ok(Arc::new(BinaryArray::try_new(offsets, bytes, nulls)?))
    }
}

/// A column of records in lists.
#[derive(Debug)]
pub(crate) struct Lists {
    offsets: Vec<i32>,
    nulls: Nulls,
    /// Items in all.
    pub(crate) items: usize,
    pub(crate) columns: Vec<Column>,
    fields: Fields,
}

impl Lists {
    #[inline]
    pub(crate) fn end_row(&mut self) {
        self.offsets.push(self.items as i32);
    }

    fn push_null(&mut self) {
        self.nulls.push(self.offsets.len() - 1);
        self.end_row();
    }

    fn truncate(&mut self, rows: usize) {
        self.offsets.truncate(rows + 1);
        self.nulls.truncate(rows);
        self.items = self.offsets.last().copied().unwrap_or(0) as usize;
        for column in &mut self.columns {
            column.truncate(self.items);
        }
    }

    fn finish(&mut self) -> Result<ArrayRef, ArrowError> {
        let nulls = self.nulls.finish(self.offsets.len() - 1);
        let next = Vec::with_capacity(self.offsets.len());
        let mut offsets = std::mem::replace(&mut self.offsets, next);
        self.offsets.push(0);
        offsets.shrink_to_fit();
        let arrays = self.columns.iter_mut().map(Column::finish).collect::<Result<Vec<_>, _>>()?;
        let items = StructArray::try_new_with_length(self.fields.clone(), arrays, None, take(&mut self.items))?;
        let element = ArrowField::new("element", DataType::Struct(self.fields.clone()), true);
        let offsets = OffsetBuffer::new(ScalarBuffer::from(offsets));
        Ok(Arc::new(ListArray::try_new(Arc::new(element), offsets, Arc::new(items), nulls)?))
    }
}

/// A column of a contract's field.
#[derive(Debug)]
pub(crate) enum Column {
    Text(Texts),
    Int(Fixed<i32>),
    BigInt(Fixed<i64>),
    Decimal { column: Fixed<i128>, precision: u8, scale: u8 },
    Timestamp(Fixed<i64>),
    Date(Fixed<i32>),
    Bool(Fixed<bool>),
    List(Box<Lists>),
}

impl Column {
    pub(crate) fn new(kind: &FieldType) -> Self {
        match kind {
            FieldType::String => Column::Text(Texts::default()),
            FieldType::Int => Column::Int(Fixed::default()),
            FieldType::BigInt => Column::BigInt(Fixed::default()),
            FieldType::Decimal { precision, scale } => {
                Column::Decimal { column: Fixed::default(), precision: *precision, scale: scale.unsigned_abs() }
            }
            FieldType::Timestamp => Column::Timestamp(Fixed::default()),
            FieldType::Date => Column::Date(Fixed::default()),
            FieldType::Bool => Column::Bool(Fixed::default()),
            FieldType::List(fields) => Column::List(Box::new(Lists {
                offsets: vec![0],
                nulls: Nulls::default(),
                items: 0,
                columns: fields.iter().map(|f| Column::new(&f.kind)).collect(),
                fields: fields.iter().map(Field::to_arrow).collect(),
            })),
        }
    }

    #[inline]
    pub(crate) fn push_null(&mut self) {
        match self {
            Column::Text(c) => c.push_null(),
            Column::Int(c) | Column::Date(c) => c.push_null(),
            Column::BigInt(c) | Column::Timestamp(c) => c.push_null(),
            Column::Decimal { column, .. } => column.push_null(),
            Column::Bool(c) => c.push_null(),
            Column::List(c) => c.push_null(),
        }
    }

    /// Drops all rows from `rows` on.
    #[inline]
    pub(crate) fn truncate(&mut self, rows: usize) {
        match self {
            Column::Text(c) => c.truncate(rows),
            Column::Int(c) | Column::Date(c) => c.truncate(rows),
            Column::BigInt(c) | Column::Timestamp(c) => c.truncate(rows),
            Column::Decimal { column, .. } => column.truncate(rows),
            Column::Bool(c) => c.truncate(rows),
            Column::List(c) => c.truncate(rows),
        }
    }

    /// The Arrow column; the builder is empty afterwards.
    pub(crate) fn finish(&mut self) -> Result<ArrayRef, ArrowError> {
        Ok(match self {
            Column::Text(c) => c.finish_utf8()?,
            Column::Int(c) => {
                let (values, nulls) = c.finish();
                Arc::new(Int32Array::try_new(values.into(), nulls)?)
            }
            Column::BigInt(c) => {
                let (values, nulls) = c.finish();
                Arc::new(Int64Array::try_new(values.into(), nulls)?)
            }
            Column::Decimal { column, precision, scale } => {
                let (values, nulls) = column.finish();
                let array = Decimal128Array::try_new(values.into(), nulls)?;
                Arc::new(array.with_precision_and_scale(*precision, *scale as i8)?)
            }
            Column::Timestamp(c) => {
                let (values, nulls) = c.finish();
                Arc::new(TimestampMicrosecondArray::try_new(values.into(), nulls)?.with_timezone("UTC"))
            }
            Column::Date(c) => {
                let (values, nulls) = c.finish();
                Arc::new(Date32Array::try_new(values.into(), nulls)?)
            }
            Column::Bool(c) => {
                let (values, nulls) = c.finish();
                Arc::new(BooleanArray::new(BooleanBuffer::from(values), nulls))
            }
            Column::List(c) => c.finish()?,
        })
    }
}
