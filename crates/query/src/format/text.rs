//! Cells as text, and CSV.

use std::io::Write;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch, StringBuilder};
use arrow::csv;
use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use arrow::json::writer::{EncoderOptions, make_encoder};
use arrow::util::display::FormatOptions;

use super::Encoder;
use crate::QueryError;

/// Instants as text; the fraction only where there is one.
const TIMESTAMP: &str = "%Y-%m-%d %H:%M:%S%.f";
const DATE: &str = "%Y-%m-%d";

/// How cells are written in tables and CSV.
pub(super) fn cell_options() -> FormatOptions<'static> {
    FormatOptions::new()
        .with_null("")
        .with_date_format(Some(DATE))
        .with_datetime_format(Some(TIMESTAMP))
        .with_timestamp_format(Some(TIMESTAMP))
        .with_timestamp_tz_format(Some(TIMESTAMP))
}

/// The schema in which nested columns are text.
pub(super) fn flat_schema(schema: &Schema) -> SchemaRef {
    let flat = |field: &FieldRef| match field.data_type().is_nested() {
        true => Arc::new(Field::new(field.name(), DataType::Utf8, true)),
        false => Arc::clone(field),
    };
    Arc::new(Schema::new(schema.fields().iter().map(flat).collect::<Vec<_>>()))
}

/// The batch with its nested columns as JSON text.
pub(super) fn flatten(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch, QueryError> {
    let columns = batch.schema_ref().fields().iter().zip(batch.columns()).map(|(field, column)| {
        if field.data_type().is_nested() { json_texts(field, column) } else { Ok(Arc::clone(column)) }
    });
    let columns = columns.collect::<Result<Vec<_>, QueryError>>()?;
    let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    Ok(RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options)?)
}

fn json_texts(field: &FieldRef, column: &ArrayRef) -> Result<ArrayRef, QueryError> {
    let options = EncoderOptions::default().with_explicit_nulls(true);
    let mut encoder = make_encoder(field, column, &options)?;
    let mut texts = StringBuilder::with_capacity(column.len(), column.len() * 32);
    let mut text = Vec::new();
    for row in 0..column.len() {
        if column.is_null(row) {
            texts.append_null();
            continue;
        }
        text.clear();
        encoder.encode(row, &mut text);
        texts.append_value(String::from_utf8_lossy(&text));
    }
    Ok(Arc::new(texts.finish()))
}

/// Comma-separated values with a header line, quoted where RFC 4180 asks for it.
pub(super) struct Csv<'w> {
    schema: SchemaRef,
    writer: csv::Writer<&'w mut (dyn Write + Send)>,
}

impl<'w> Csv<'w> {
    pub(super) fn new(schema: SchemaRef, writer: &'w mut (dyn Write + Send)) -> Result<Self, QueryError> {
        let schema = flat_schema(&schema);
        let mut writer = csv::WriterBuilder::new()
            .with_header(true)
            .with_date_format(DATE.to_owned())
            .with_datetime_format(TIMESTAMP.to_owned())
            .with_timestamp_format(TIMESTAMP.to_owned())
            .with_timestamp_tz_format(TIMESTAMP.to_owned())
            .build(writer);
        // The header comes with the first batch, so an answer without rows needs an empty one.
        writer.write(&RecordBatch::new_empty(Arc::clone(&schema)))?;
        Ok(Self { schema, writer })
    }
}

impl Encoder for Csv<'_> {
    fn batch(&mut self, batch: &RecordBatch) -> Result<(), QueryError> {
        Ok(self.writer.write(&flatten(batch, &self.schema)?)?)
    }

    fn finish(self: Box<Self>) -> Result<(), QueryError> {
        Ok(())
    }
}
