//! Parquet and Arrow IPC: types as they are.

use std::io::Write;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow::ipc::writer::StreamWriter;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;

use super::Encoder;
use crate::QueryError;

/// Rows of a row group. What is buffered is one group, so this bounds memory too.
const GROUP_ROWS: usize = 256 << 10;

/// Encoded bytes after which a group is written, however few rows it has.
const GROUP_BYTES: usize = 32 << 20;

/// One Parquet file, zstd.
pub(super) struct Parquet<'w> {
    writer: ArrowWriter<&'w mut (dyn Write + Send)>,
}

impl<'w> Parquet<'w> {
    pub(super) fn new(schema: SchemaRef, writer: &'w mut (dyn Write + Send)) -> Result<Self, QueryError> {
        let properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(ZstdLevel::default()))
            .set_max_row_group_row_count(Some(GROUP_ROWS))
            .build();
        Ok(Self { writer: ArrowWriter::try_new(writer, schema, Some(properties))? })
    }
}

impl Encoder for Parquet<'_> {
    fn batch(&mut self, batch: &RecordBatch) -> Result<(), QueryError> {
        self.writer.write(batch)?;
        if self.writer.in_progress_size() > GROUP_BYTES {
            self.writer.flush()?;
        }
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<(), QueryError> {
        self.writer.close()?;
        Ok(())
    }
}

/// An Arrow IPC stream.
pub(super) struct Ipc<'w> {
    schema: SchemaRef,
    writer: StreamWriter<&'w mut (dyn Write + Send)>,
}

impl<'w> Ipc<'w> {
    pub(super) fn new(schema: SchemaRef, writer: &'w mut (dyn Write + Send)) -> Result<Self, QueryError> {
        Ok(Self { writer: StreamWriter::try_new(writer, &schema)?, schema })
    }
}

impl Encoder for Ipc<'_> {
    fn batch(&mut self, batch: &RecordBatch) -> Result<(), QueryError> {
        // A batch may differ from the stream's schema in nullability alone; readers want the one that was announced.
        let batch = batch.clone().with_schema(Arc::clone(&self.schema))?;
        Ok(self.writer.write(&batch)?)
    }

    fn finish(mut self: Box<Self>) -> Result<(), QueryError> {
        Ok(self.writer.finish()?)
    }
}
