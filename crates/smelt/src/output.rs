//! Where results go: standard output, or the file of `--output`.

use std::fs::File;
use std::io::{self, BufWriter, Write};

use anyhow::{Context, Result};
use arrow::array::RecordBatch;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;

use crate::cli::{OutputArgs, OutputFormat};

impl OutputArgs {
    /// Opens the result's destination.
    ///
    /// # Errors
    /// When the file of `--output` cannot be made.
    pub fn open(&self) -> Result<Box<dyn Write + Send>> {
        match &self.output {
            Some(path) => {
                let file = File::create(path).with_context(|| format!("writing {}", path.display()))?;
                Ok(Box::new(BufWriter::new(file)))
            }
            None => Ok(Box::new(BufWriter::new(io::stdout()))),
        }
    }
}

impl From<OutputFormat> for query::Format {
    fn from(format: OutputFormat) -> query::Format {
        match format {
            OutputFormat::Table => query::Format::Table,
            OutputFormat::Csv => query::Format::Csv,
            OutputFormat::Json => query::Format::Json,
            OutputFormat::Ndjson => query::Format::Ndjson,
            OutputFormat::Parquet => query::Format::Parquet,
            OutputFormat::Arrow => query::Format::Arrow,
        }
    }
}

/// Writes one batch as an answer of its own.
///
/// # Errors
/// When `writer` fails, or the format cannot hold a type.
pub async fn write_batch(batch: RecordBatch, format: query::Format, writer: &mut (dyn Write + Send)) -> Result<()> {
    let stream = RecordBatchStreamAdapter::new(batch.schema(), futures::stream::iter([Ok(batch)]));
    format.write(Box::pin(stream), writer).await?;
    Ok(())
}

/// Whether the reader of our output went away (`smelt query … | head`), which is no failure.
pub fn is_closed_pipe(error: &anyhow::Error) -> bool {
    error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<io::Error>())
        .any(|error| error.kind() == io::ErrorKind::BrokenPipe)
}
