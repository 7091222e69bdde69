//! Output formats: an answer is written as it comes, in bounded memory.
//!
//! | format | rows as | null | timestamp | date | nested |
//! |---|---|---|---|---|---|
//! | table | aligned text, numbers to the right | empty | `YYYY-MM-DD HH:MM:SS` | `YYYY-MM-DD` | JSON |
//! | csv | RFC 4180 with header | empty | `YYYY-MM-DD HH:MM:SS` | `YYYY-MM-DD` | JSON |
//! | json | one array of objects | `null` | RFC 3339 | `YYYY-MM-DD` | JSON |
//! | ndjson | an object a line | `null` | RFC 3339 | `YYYY-MM-DD` | JSON |
//! | parquet | one file, zstd | null | as typed | as typed | as typed |
//! | arrow | an IPC stream | null | as typed | as typed | as typed |
//!
//! Timestamps are UTC, with a fraction only where there is one; decimals are plain digits; binary is hexadecimal.

mod columnar;
mod json;
mod table;
mod text;

use std::io::{self, Write};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion::execution::SendableRecordBatchStream;
use futures::TryStreamExt;

use crate::QueryError;

/// How an answer is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Aligned columns for people.
    Table,
    /// Comma-separated values with a header.
    Csv,
    /// One JSON array.
    Json,
    /// One JSON object a line.
    Ndjson,
    /// A Parquet file.
    Parquet,
    /// An Arrow IPC stream.
    Arrow,
}

/// What was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Written {
    /// Rows of the answer.
    pub rows: u64,
}

/// A writer that keeps its first error.
struct Watched<'w> {
    writer: &'w mut (dyn Write + Send),
    failed: Option<io::Error>,
}

impl Watched<'_> {
    fn keep<T>(&mut self, result: io::Result<T>) -> io::Result<T> {
        result.map_err(|error| {
            let copy = io::Error::from(error.kind());
            // `write_all` goes on after this one, so it is no failure.
            if error.kind() != io::ErrorKind::Interrupted {
                self.failed.get_or_insert(error);
            }
            copy
        })
    }
}

impl Write for Watched<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.writer.write(bytes);
        self.keep(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        let flushed = self.writer.flush();
        self.keep(flushed)
    }
}

/// What a format does with an answer, in order: begin, each batch, finish.
trait Encoder: Send {
    fn batch(&mut self, batch: &RecordBatch) -> Result<(), QueryError>;
    fn finish(self: Box<Self>) -> Result<(), QueryError>;
}

impl Format {
    /// The file name extension of the format.
    pub fn extension(self) -> &'static str {
        match self {
            Format::Table => "txt",
            Format::Csv => "csv",
            Format::Json => "json",
            Format::Ndjson => "ndjson",
            Format::Parquet => "parquet",
            Format::Arrow => "arrows",
        }
    }

    /// Writes the rows of `stream` as they come, and flushes. An answer without rows still has its header.
    ///
    /// # Errors
    /// What the query raises while it runs; [`QueryError::Write`] when `writer` fails (an I/O error stays in the chain,
    /// so that a closed pipe can be told); [`QueryError::Encode`] for a type that the format cannot hold.
    pub async fn write(
        self,
        mut stream: SendableRecordBatchStream,
        writer: &mut (dyn Write + Send),
    ) -> Result<Written, QueryError> {
        let mut watched = Watched { writer, failed: None };
        let written = self.encode(&mut stream, &mut watched).await;
        // An encoder may have made text of the writer's error; the error itself says more.
        match watched.failed {
            Some(failed) => Err(QueryError::Write(failed)),
            None => written,
        }
    }

    /// A batch as a whole file. JSON has one object a row, without an array around them.
    ///
    /// # Errors
    /// [`QueryError::Encode`] for a type that the format cannot hold.
    pub(crate) fn encode_whole(self, batch: &RecordBatch) -> Result<Vec<u8>, QueryError> {
        let mut bytes = Vec::new();
        let mut writer = Watched { writer: &mut bytes, failed: None };
        let format = if self == Format::Json { Format::Ndjson } else { self };
        let mut encoder = format.encoder(batch.schema(), &mut writer)?;
        if batch.num_rows() > 0 {
            encoder.batch(batch)?;
        }
        encoder.finish()?;
        Ok(bytes)
    }

    async fn encode(
        self,
        stream: &mut SendableRecordBatchStream,
        writer: &mut Watched<'_>,
    ) -> Result<Written, QueryError> {
        let mut encoder = self.encoder(stream.schema(), writer)?;
        let mut rows = 0;
        while let Some(batch) = stream.try_next().await? {
            rows += batch.num_rows() as u64;
            encoder.batch(&batch)?;
        }
        encoder.finish()?;
        writer.flush()?;
        Ok(Written { rows })
    }

    fn encoder<'w>(
        self,
        schema: SchemaRef,
        writer: &'w mut (dyn Write + Send),
    ) -> Result<Box<dyn Encoder + 'w>, QueryError> {
        Ok(match self {
            Format::Table => Box::new(table::Table::new(schema, writer)),
            Format::Csv => Box::new(text::Csv::new(schema, writer)?),
            Format::Json => Box::new(json::array(writer)),
            Format::Ndjson => Box::new(json::lines(writer)),
            Format::Parquet => Box::new(columnar::Parquet::new(schema, writer)?),
            Format::Arrow => Box::new(columnar::Ipc::new(schema, writer)?),
        })
    }
}
