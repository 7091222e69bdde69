//! JSON: one array, or one object a line.

use std::io::Write;

use arrow::array::RecordBatch;
use arrow::json::writer::{JsonArray, JsonFormat, LineDelimited, Writer, WriterBuilder};

use super::Encoder;
use crate::QueryError;

/// One array of objects, ended by a newline.
pub(super) fn array<'w>(writer: &'w mut (dyn Write + Send)) -> Json<'w, JsonArray> {
    Json { writer: builder().build(writer), end: b"\n" }
}

/// One object a line.
pub(super) fn lines<'w>(writer: &'w mut (dyn Write + Send)) -> Json<'w, LineDelimited> {
    Json { writer: builder().build(writer), end: b"" }
}

fn builder() -> WriterBuilder {
    // Every object has every key, so that a reader need not guess what a missing one means.
    WriterBuilder::new().with_explicit_nulls(true)
}

pub(super) struct Json<'w, F: JsonFormat> {
    writer: Writer<&'w mut (dyn Write + Send), F>,
    end: &'static [u8],
}

impl<F: JsonFormat + Send> Encoder for Json<'_, F> {
    fn batch(&mut self, batch: &RecordBatch) -> Result<(), QueryError> {
        Ok(self.writer.write(batch)?)
    }

    fn finish(mut self: Box<Self>) -> Result<(), QueryError> {
        self.writer.finish()?;
        Ok(self.writer.into_inner().write_all(self.end)?)
    }
}
