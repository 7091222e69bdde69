//! What a refresh is about to commit: new files, files that they replace, and the change data that says so.

use std::sync::Arc;

use arrow::array::BooleanArray;
use arrow::array::{ArrayRef, AsArray, RecordBatch, StringArray};
use arrow::compute::filter_record_batch;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::error::ArrowError;
use store::{
    CHANGE_TYPE_COLUMN, DataFile, MetadataChange, Snapshot, Spliced, Staged, Table, TableMeta, TableWriter,
    WriterOptions,
};

use crate::Result;

/// Added rows up to this size wait in memory until it is known whether change data is needed.
const WAITING_BYTES: usize = 32 << 20;

/// Rows on their way into a table.
///
/// While nothing is removed, plain files say all that changed. As soon as a row is removed, readers of changes go by the
/// change data files alone, so every row that was added must be in those too.
pub(crate) struct Stage {
    writer: TableWriter,
    /// The table's columns, for batches that are written as change data.
    columns: SchemaRef,
    /// Added rows that are not in change data yet; `None` where nothing can be removed.
    waiting: Option<Waiting>,
    removes: Vec<Arc<DataFile>>,
    pub(crate) rows_added: u64,
    pub(crate) rows_removed: u64,
}

#[derive(Default)]
struct Waiting {
    batches: Vec<RecordBatch>,
    bytes: usize,
}

/// What was staged.
pub(crate) struct Finished {
    pub(crate) staged: Staged,
    pub(crate) removes: Vec<Arc<DataFile>>,
    pub(crate) rows_added: u64,
    pub(crate) rows_removed: u64,
    /// What the table will be.
    pub(crate) meta: Arc<TableMeta>,
}

impl Finished {
    /// Whether the table's rows change.
    pub(crate) fn is_change(&self) -> bool {
        self.rows_added > 0 || self.rows_removed > 0
    }
}

impl Stage {
    /// A stage over a table as it stands. An empty table takes plain files only.
    pub(crate) fn new(table: &Table, base: &Snapshot) -> Self {
        let change_data = base.file_count() > 0 && base.meta().change_data();
        Self {
            writer: table.writer(WriterOptions::default()),
            columns: Arc::clone(base.schema()),
            waiting: change_data.then(Waiting::default),
            removes: Vec::new(),
            rows_added: 0,
            rows_removed: 0,
        }
    }

    /// A stage for a table all of whose rows and, as `change` says, columns are replaced.
    pub(crate) fn replacing(table: &Table, base: &Snapshot, change: &MetadataChange) -> Result<Self> {
        let writer = table.writer_after(change, true, WriterOptions::default())?;
        let columns = Arc::clone(&writer.meta().schema);
        let removes: Vec<Arc<DataFile>> = base.files().cloned().collect();
        let rows_removed = base.rows().unwrap_or(0);
        Ok(Self { writer, columns, waiting: None, removes, rows_added: 0, rows_removed })
    }

    /// What the table will be.
    pub(crate) fn meta(&self) -> Arc<TableMeta> {
        Arc::clone(self.writer.meta())
    }

    /// Adds new rows.
    pub(crate) async fn add(&mut self, batch: RecordBatch) -> Result<()> {
        if batch.num_rows() == 0 {
            return Ok(());
        }
        self.rows_added += batch.num_rows() as u64;
        if let Some(waiting) = &mut self.waiting {
            waiting.bytes += batch.get_array_memory_size();
            waiting.batches.push(batch.clone());
            if self.rows_removed > 0 || waiting.bytes > WAITING_BYTES {
                self.flush().await?;
            }
        }
        Ok(self.writer.write(batch).await?)
    }

    /// Writes rows that stay, out of a file that is replaced.
    pub(crate) async fn keep(&mut self, batch: RecordBatch) -> Result<()> {
        if batch.num_rows() == 0 {
            return Ok(());
        }
        Ok(self.writer.write(batch).await?)
    }

    /// What stays of a file, for [`Self::keep_spliced`]: the rows of which `goes` does not say that they go, by `columns` of
    /// them. Only those at the places `among` can go, if these are known. Without it, the rows are to be read and kept.
    pub(crate) fn without<F>(
        &self,
        file: &Arc<DataFile>,
        columns: &[String],
        among: Option<Vec<u64>>,
        goes: F,
    ) -> impl Future<Output = store::Result<Option<Spliced>>> + Send + use<F>
    where
        F: Fn(&RecordBatch) -> std::result::Result<BooleanArray, ArrowError> + Send + 'static,
    {
        self.writer.without(file, columns, among, goes)
    }

    /// Writes what stays of a file that is replaced.
    pub(crate) async fn keep_spliced(&mut self, file: &DataFile, spliced: Spliced) -> Result<()> {
        Ok(self.writer.append(file, spliced).await?)
    }

    /// Notes rows that go. The files that held them must be given to [`Self::replace`].
    pub(crate) async fn remove(&mut self, batch: RecordBatch) -> Result<()> {
        if batch.num_rows() == 0 {
            return Ok(());
        }
        self.rows_removed += batch.num_rows() as u64;
        if self.waiting.is_none() {
            // Without change data the files that come and go say what changed.
            return Ok(());
        }
        self.flush().await?;
        let changes = self.changes(&batch, "delete")?;
        Ok(self.writer.write_changes(changes).await?)
    }

    /// Notes a file whose remaining rows were written again.
    pub(crate) fn replace(&mut self, file: Arc<DataFile>) {
        self.removes.push(file);
    }

    /// Ends the files: they are durable and nobody sees them yet.
    pub(crate) async fn finish(mut self) -> Result<Finished> {
        if self.rows_removed > 0 {
            self.flush().await?;
        }
        let meta = self.meta();
        let mut staged = self.writer.finish().await?;
        if self.rows_removed == 0 {
            // The plain files say it all. Nobody names these, so vacuum takes them.
            staged.change_files.clear();
        }
        let (removes, rows_added, rows_removed) = (self.removes, self.rows_added, self.rows_removed);
        Ok(Finished { staged, removes, rows_added, rows_removed, meta })
    }

    /// Gives up and removes what was written.
    pub(crate) async fn abort(self) {
        self.writer.abort().await;
    }

    async fn flush(&mut self) -> Result<()> {
        let Some(waiting) = &mut self.waiting else { return Ok(()) };
        let batches = std::mem::take(&mut waiting.batches);
        waiting.bytes = 0;
        for batch in batches {
            let changes = self.changes(&batch, "insert")?;
            self.writer.write_changes(changes).await?;
        }
        Ok(())
    }

    /// The rows with what happened to them, in the table's columns.
    fn changes(&self, batch: &RecordBatch, kind: &str) -> Result<RecordBatch> {
        let mut fields = Vec::new();
        let mut columns: Vec<ArrayRef> = Vec::new();
        for (field, column) in batch.schema().fields().iter().zip(batch.columns()) {
            if self.columns.index_of(field.name()).is_ok() {
                fields.push(Arc::clone(field));
                columns.push(Arc::clone(column));
            }
        }
        fields.push(Arc::new(Field::new(CHANGE_TYPE_COLUMN, DataType::Utf8, true)));
        columns.push(Arc::new(StringArray::from_iter_values(std::iter::repeat_n(kind, batch.num_rows()))));
        Ok(RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)?)
    }
}

/// The same rows with text of their own: views of a few rows would keep alive the pages of all the others.
pub(crate) fn compact(batch: &RecordBatch) -> Result<RecordBatch> {
    let own = |column: &ArrayRef| -> ArrayRef {
        match column.data_type() {
            DataType::Utf8View => Arc::new(column.as_string_view().gc()),
            DataType::BinaryView => Arc::new(column.as_binary_view().gc()),
            _ => Arc::clone(column),
        }
    };
    Ok(RecordBatch::try_new(batch.schema(), batch.columns().iter().map(own).collect())?)
}

/// The rows of a batch for which `keep` is true, and the others.
pub(crate) fn split(batch: &RecordBatch, keep: &BooleanArray) -> Result<(RecordBatch, RecordBatch)> {
    let kept = keep.true_count();
    if kept == batch.num_rows() {
        return Ok((batch.clone(), batch.slice(0, 0)));
    }
    if kept == 0 {
        return Ok((batch.slice(0, 0), batch.clone()));
    }
    Ok((filter_record_batch(batch, keep)?, filter_record_batch(batch, &arrow::compute::not(keep)?)?))
}
