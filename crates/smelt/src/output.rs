//! Where results go: standard output, or the file of `--output`.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use arrow::array::RecordBatch;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;

use crate::cli::{OutputArgs, OutputFormat};

impl OutputArgs {
    /// Opens the result's destination.
    ///
    /// # Errors
    /// When the file of `--output` cannot be made.
    pub fn open(&self) -> Result<Destination> {
        let Some(path) = &self.output else {
            return Ok(Destination { writer: BufWriter::new(Box::new(io::stdout())), file: None });
        };
        // What is there and no file (a pipe, /dev/null) is written to as it is.
        let is_special = std::fs::metadata(path).is_ok_and(|meta| !meta.is_file());
        let part = if is_special { path.clone() } else { beside(path) };
        let opened = if is_special { File::options().write(true).open(path) } else { File::create(&part) };
        let file = opened.with_context(|| format!("writing {}", path.display()))?;
        let whole = (!is_special).then(|| Whole { part, path: path.clone() });
        Ok(Destination { writer: BufWriter::new(Box::new(file)), file: whole })
    }
}

/// The name under which a file is written until it is whole.
fn beside(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".part");
    name.into()
}

/// Where a result goes. A file takes its name only when the result is whole: a command that fails leaves the old one.
pub struct Destination {
    writer: BufWriter<Box<dyn Write + Send>>,
    file: Option<Whole>,
}

struct Whole {
    part: PathBuf,
    path: PathBuf,
}

impl Destination {
    /// Ends the result.
    ///
    /// # Errors
    /// When the last of it cannot be written.
    pub fn finish(mut self) -> Result<()> {
        self.writer.flush().map_err(query::QueryError::Write)?;
        if let Some(whole) = self.file.take() {
            std::fs::rename(&whole.part, &whole.path).with_context(|| format!("writing {}", whole.path.display()))?;
        }
        Ok(())
    }
}

impl Write for Destination {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.writer.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer.flush()
    }
}

impl Drop for Destination {
    fn drop(&mut self) {
        if let Some(whole) = &self.file {
            // What failed has been said already.
            let _ = std::fs::remove_file(&whole.part);
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

/// Whether the reader of our output went away (`smelt query … | head`), which is no failure. A broken connection to
/// storage is one: only what comes from writing counts.
pub fn is_closed_pipe(error: &anyhow::Error) -> bool {
    let broken = |error: &io::Error| error.kind() == io::ErrorKind::BrokenPipe;
    let written = |cause: &(dyn std::error::Error + 'static)| match cause.downcast_ref() {
        Some(query::QueryError::Write(error)) => broken(error),
        _ => false,
    };
    error.downcast_ref::<io::Error>().is_some_and(broken) || error.chain().any(written)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_own_output_may_break() {
        let pipe = || io::Error::from(io::ErrorKind::BrokenPipe);
        assert!(is_closed_pipe(&anyhow::Error::from(pipe())));
        assert!(is_closed_pipe(&anyhow::Error::from(query::QueryError::Write(pipe()))));
        assert!(!is_closed_pipe(&anyhow::Error::from(io::Error::other(pipe()))));
        let storage = store::StoreError::BadUrl { url: "s3://b".to_owned(), message: pipe().to_string() };
        assert!(!is_closed_pipe(&anyhow::Error::from(storage)));
    }
}
