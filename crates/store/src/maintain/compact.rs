//! Compaction: small files of a partition become fewer large ones, with the same rows in the same order.
//!
//! Each partition is read file by file and written as it is read, so that memory does not grow with its size, and is
//! committed on its own: a conflict with a writer costs that partition's work only.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use bytes::Bytes;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::errors::ParquetError;
use tokio::sync::mpsc;

use super::{CompactPolicy, CompactReport};
use crate::commit::{Commit, Operation};
use crate::error::{Result, StoreError};
use crate::file::DataFile;
use crate::snapshot::Snapshot;
use crate::table::Table;
use crate::writer::{WriterOptions, in_lake, named_at};

/// A run of neighbouring files that become one or a few.
type Run = Vec<Arc<DataFile>>;

pub(crate) async fn compact(table: &Table, policy: &CompactPolicy) -> Result<CompactReport> {
    let mut report = CompactReport::default();
    let head = table.refresh().await?;
    let mut partitions: BTreeMap<&[Option<String>], Vec<Arc<DataFile>>> = BTreeMap::new();
    for file in head.files() {
        partitions.entry(&file.partition_values).or_default().push(file.clone());
    }
    for (values, files) in partitions {
        let newest = files.iter().map(|file| file.modified_ms).max().unwrap_or(0);
        let is_open = table.lake().now_ms() - newest < i64::try_from(policy.open_for.as_millis()).unwrap_or(i64::MAX);
        let target = if is_open { policy.open_bytes } else { policy.closed_bytes };
        let mut worked = false;
        for run in runs(&files, target, policy.min_files) {
            match rewrite(table, &head, values, &run, target, &mut report).await {
                Ok(()) => worked = true,
                Err(StoreError::Conflict { .. }) => report.conflicts += 1,
                Err(e) => return Err(e),
            }
        }
        report.partitions += usize::from(worked);
    }
    Ok(report)
}

/// Neighbouring files that are small enough to be worth it; their order among the others stays.
fn runs(files: &[Arc<DataFile>], target: u64, min_files: usize) -> Vec<Run> {
    let mut runs = Vec::new();
    let mut run: Run = Vec::new();
    let mut bytes = 0;
    for file in files {
        let is_small = file.size < target / 2;
        if !is_small || bytes >= target {
            runs.push(std::mem::take(&mut run));
            bytes = 0;
        }
        if is_small {
            bytes += file.size;
            run.push(file.clone());
        }
    }
    runs.push(run);
    runs.retain(|run| run.len() >= min_files.max(2));
    runs
}

async fn rewrite(
    table: &Table,
    head: &Arc<Snapshot>,
    values: &[Option<String>],
    run: &[Arc<DataFile>],
    target: u64,
    report: &mut CompactReport,
) -> Result<()> {
    let named_at_ms = run.first().and_then(|file| named_at(&file.path));
    let mut writer = table.writer(WriterOptions { target_file_bytes: target, named_at_ms, ..WriterOptions::default() });
    if writer.meta() != head.meta() {
        // The table changed since the plan was made: the next run sees it.
        report.conflicts += 1;
        return Ok(());
    }
    for file in run {
        if let Err(e) = copy(table, head, file, values, &mut writer).await {
            writer.abort().await;
            return Err(e);
        }
    }
    let staged = writer.finish().await?;
    let (added, written) = (staged.adds.len(), staged.bytes);
    let mut commit = Commit::new(head.clone(), Operation::Compact);
    commit.removes = run.to_vec();
    commit.stage(staged);
    table.commit(commit).await?;
    report.files_removed += run.len();
    report.files_added += added;
    report.bytes_read += run.iter().map(|file| file.size).sum::<u64>();
    report.bytes_written += written;
    Ok(())
}

async fn copy(
    table: &Table,
    head: &Snapshot,
    file: &DataFile,
    values: &[Option<String>],
    writer: &mut crate::writer::TableWriter,
) -> Result<()> {
    let location = in_lake(&crate::log::table_root(table.name()), &file.path);
    let failed = |e| StoreError::parquet(format!("read {location}"), e);
    // Files that are worth compacting are small: one of them fits in memory, encoded.
    let bytes = crate::log::read(table.lake().store().as_ref(), &location).await?;
    let gone = || StoreError::Corrupt {
        table: table.name().clone(),
        path: location.to_string(),
        message: "the log names a file that is not there".to_string(),
    };
    let mut rows = decode(bytes.ok_or_else(gone)?);
    while let Some(batch) = rows.recv().await {
        let batch = batch.map_err(failed)?;
        writer.write_partition(values, known_columns(&batch, &head.meta().file_schema)?).await?;
    }
    Ok(())
}

/// Decodes a file on a worker thread, a few batches ahead of whoever takes them.
fn decode(bytes: Bytes) -> mpsc::Receiver<Result<RecordBatch, ParquetError>> {
    let (sender, receiver) = mpsc::channel(2);
    tokio::task::spawn_blocking(move || {
        let reader = ParquetRecordBatchReaderBuilder::try_new(bytes).and_then(|b| b.with_batch_size(8192).build());
        let batches: Box<dyn Iterator<Item = _>> = match reader {
            Ok(reader) => Box::new(reader.map(|batch| batch.map_err(ParquetError::from))),
            Err(e) => Box::new(std::iter::once(Err(e))),
        };
        for batch in batches {
            if sender.blocking_send(batch).is_err() {
                return;
            }
        }
    });
    receiver
}

/// Leaves out columns that the table no longer has; those that the file does not have yet are null in the writer.
fn known_columns(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch> {
    let known = batch.schema_ref().fields().iter().enumerate();
    let places: Vec<usize> =
        known.filter(|(_, field)| schema.field_with_name(field.name()).is_ok()).map(|(at, _)| at).collect();
    batch.project(&places).map_err(|e| StoreError::arrow("read columns", e))
}
