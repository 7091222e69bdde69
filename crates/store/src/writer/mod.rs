//! Writing data files: rows in, Parquet files out that nobody sees before a commit names them.
//!
//! Rows wait per partition until they fill a row group; row groups are encoded on worker threads while the caller goes
//! on, and appended to their file in order. What waits, in memory as rows or encoded, is bounded.

mod adapt;
mod encode;
mod file;
mod path;
mod splice;
mod split;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fmt;
use std::sync::{Arc, OnceLock};

use arrow::array::{BooleanArray, RecordBatch};
use arrow::error::ArrowError;
use object_store::ObjectStoreExt;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::error::{Result, StoreError};
use crate::file::DataFile;
use crate::lake::Lake;
use crate::meta::TableMeta;

pub(crate) use self::encode::PAGE_ROWS;
use self::encode::{Layout, RowGroup};
use self::file::OpenFile;
pub(crate) use self::path::{in_lake, named_at};
pub use self::splice::Spliced;
pub use self::split::by_partition;

/// The column of change data that says what happened to a row: `insert`, `delete`, `update_preimage`,
/// `update_postimage`. Utf8.
pub const CHANGE_TYPE_COLUMN: &str = "_change_type";

/// Files up to this size are taken into memory to be written again without some of their rows.
const SPLICED_BYTES: u64 = 64 << 20;

/// Files that are ended at the same time: on S3 that waits for the network.
const ENDED_AT_A_TIME: usize = 16;

/// How files are written.
#[derive(Clone, Debug)]
pub struct WriterOptions {
    /// Size at which a file is closed and the next one begun.
    pub target_file_bytes: u64,
    /// Rows of a row group.
    pub row_group_rows: usize,
    /// Bytes of rows (as Arrow) and of encoded data that may wait in memory; a writer over many partitions then writes
    /// smaller row groups.
    pub memory_bytes: usize,
    /// Row groups that are encoded at the same time; 0 is the number of cores.
    pub threads: usize,
    /// The time that the files' names start with, milliseconds since 1970 UTC; files of a partition are read in the order
    /// of their names. `None` is now. Compaction names its files as the first of those that they replace.
    pub named_at_ms: Option<i64>,
}

impl Default for WriterOptions {
    fn default() -> Self {
        Self {
            target_file_bytes: 128 << 20,
            row_group_rows: 128 * 1024,
            memory_bytes: 96 << 20,
            threads: 0,
            named_at_ms: None,
        }
    }
}

/// Files that are written and durable, and that nobody sees yet.
#[derive(Clone, Debug, Default)]
pub struct Staged {
    /// Data files.
    pub adds: Vec<Arc<DataFile>>,
    /// Change data files.
    pub change_files: Vec<Arc<DataFile>>,
    /// Rows of the data files.
    pub rows: u64,
    /// Bytes of the data files.
    pub bytes: u64,
}

/// What a file is for; files of one destination have the same columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Kind {
    Data,
    /// Change data, all of one sign.
    Change(i32),
}

type Partition = (Kind, Vec<Option<String>>);

/// The rows and files of one partition.
#[derive(Default)]
struct Sink {
    pending: Vec<RecordBatch>,
    pending_rows: usize,
    pending_bytes: usize,
    /// The last one takes new row groups; those before it only wait for theirs.
    files: VecDeque<OpenFile>,
}

impl Sink {
    /// Encodes what waits, into a new file at `path` if there is one, and ends the files.
    async fn end(
        mut self,
        lake: &Lake,
        meta: &Arc<TableMeta>,
        partition: &Partition,
        path: Option<String>,
    ) -> Result<Vec<(Kind, DataFile)>> {
        let pending = std::mem::take(&mut self.pending);
        if let Some(path) = path {
            self.begin(lake, meta, partition.0, path, &pending)?;
        }
        self.promise(pending);
        let mut ended = Vec::with_capacity(self.files.len());
        for file in self.files {
            ended.push((partition.0, file.finish(&partition.1).await?));
        }
        Ok(ended)
    }

    /// Begins a file for rows that wait. Encodings are chosen for each file: the rows of another partition may look quite
    /// different.
    fn begin(
        &mut self,
        lake: &Lake,
        meta: &Arc<TableMeta>,
        kind: Kind,
        path: String,
        rows: &[RecordBatch],
    ) -> Result<()> {
        let layout = Layout::new(meta, kind != Kind::Data, rows)?;
        self.files.push_back(OpenFile::new(lake, meta, path, Arc::new(layout))?);
        Ok(())
    }

    /// Has rows encoded as a row group of the last file.
    fn promise(&mut self, rows: Vec<RecordBatch>) {
        if let Some(file) = self.files.back_mut().filter(|_| !rows.is_empty()) {
            file.expect(tokio::spawn(encode_on_worker(file.layout().clone(), rows)));
        }
    }
}

/// Writes rows of one table into Parquet files, encoding on several cores while the caller goes on.
///
/// Rows of one partition keep their order. Columns are matched by name: nullable columns of the table that a batch does
/// not have are null; any string type does for a string column.
pub struct TableWriter {
    lake: Lake,
    meta: Arc<TableMeta>,
    options: WriterOptions,
    sinks: HashMap<Arc<Partition>, Sink>,
    /// Partitions of the row groups that are being encoded, in the order in which they were sealed.
    in_flight: VecDeque<(Arc<Partition>, usize)>,
    in_flight_bytes: usize,
    pending_bytes: usize,
    threads: usize,
    finished: Vec<(Kind, DataFile)>,
    rows: u64,
    bytes: u64,
    names: path::Names,
}

impl fmt::Debug for TableWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TableWriter({}, {} rows)", self.meta.table, self.rows)
    }
}

/// Encoding is CPU work: more of it at a time than there are cores only costs memory, whatever the number of writers.
fn encoders() -> &'static Arc<Semaphore> {
    static ENCODERS: OnceLock<Arc<Semaphore>> = OnceLock::new();
    ENCODERS.get_or_init(|| Arc::new(Semaphore::new(cores())))
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

impl TableWriter {
    pub(crate) fn new(lake: Lake, meta: Arc<TableMeta>, options: WriterOptions) -> Self {
        let threads = if options.threads == 0 { cores() } else { options.threads };
        let names = path::Names::new(options.named_at_ms.unwrap_or_else(|| lake.next_name_ms()));
        Self {
            lake,
            meta,
            options,
            sinks: HashMap::new(),
            in_flight: VecDeque::new(),
            in_flight_bytes: 0,
            pending_bytes: 0,
            threads,
            finished: Vec::new(),
            rows: 0,
            bytes: 0,
            names,
        }
    }

    /// What the table is that is written to.
    pub fn meta(&self) -> &Arc<TableMeta> {
        &self.meta
    }

    /// Writes rows, which may belong to several partitions. Waits while too much is in flight.
    ///
    /// # Errors
    /// [`StoreError::BadColumn`] for columns that the table does not have or that have another type, and for nulls in
    /// columns that hold none; errors of earlier batches may show here.
    pub async fn write(&mut self, batch: RecordBatch) -> Result<()> {
        let columns = adapt::to_file(&self.meta, &batch, None)?;
        for (values, rows) in by_partition(&self.meta, &batch, columns)? {
            self.push((Kind::Data, values), rows).await?;
        }
        Ok(())
    }

    /// Writes rows of one partition. The batch need not have the partition columns; where it has them they are ignored.
    ///
    /// # Errors
    /// As [`Self::write`].
    pub async fn write_partition(&mut self, values: &[Option<String>], batch: RecordBatch) -> Result<()> {
        if values.len() != self.meta.partition_columns.len() {
            return Err(StoreError::BadCommit {
                table: self.meta.table.clone(),
                message: format!("{} partition values for {:?}", values.len(), self.meta.partition_columns),
            });
        }
        let rows = adapt::to_file(&self.meta, &batch, None)?;
        let values = values.iter().map(|value| value.clone().filter(|text| !text.is_empty())).collect();
        self.push((Kind::Data, values), rows).await
    }

    /// Writes change data: the table's columns and [`CHANGE_TYPE_COLUMN`].
    ///
    /// # Errors
    /// As [`Self::write`], and when the table keeps no change data.
    pub async fn write_changes(&mut self, batch: RecordBatch) -> Result<()> {
        if !self.meta.change_data() {
            return Err(StoreError::BadCommit {
                table: self.meta.table.clone(),
                message: "the table keeps no change data".to_string(),
            });
        }
        for (sign, batch) in split::by_sign(&self.meta, &batch)? {
            let columns = adapt::to_file(&self.meta, &batch, Some(CHANGE_TYPE_COLUMN))?;
            for (values, rows) in by_partition(&self.meta, &batch, columns)? {
                self.push((Kind::Change(sign), values), rows).await?;
            }
        }
        Ok(())
    }

    /// A file of the table without the rows that `goes` says, which sees `columns` of the rows at the places `among` (from 0,
    /// ascending), or of all of them. Where only some pages of it lose rows, the others are copied and not encoded again.
    /// `None`: it is not to be had so, and its rows are to be written as any others. To be given to [`Self::append`].
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn without<F>(
        &self,
        file: &Arc<DataFile>,
        columns: &[String],
        among: Option<Vec<u64>>,
        goes: F,
    ) -> impl Future<Output = Result<Option<Spliced>>> + Send + use<F>
    where
        F: Fn(&RecordBatch) -> std::result::Result<BooleanArray, ArrowError> + Send + 'static,
    {
        let (lake, meta, file) = (self.lake.clone(), Arc::clone(&self.meta), Arc::clone(file));
        let columns = columns.to_vec();
        async move {
            // Of fewer than two pages nearly all are encoded again.
            let has_pages = file.rows(&meta).is_some_and(|rows| rows >= 2 * PAGE_ROWS as u64);
            if file.size > SPLICED_BYTES || !has_pages {
                return Ok(None);
            }
            let location = in_lake(&crate::log::table_root(&meta.table), &file.path);
            let failed = |e| StoreError::storage("read", &location, e);
            let bytes = lake.store().get(&location).await.map_err(failed)?.bytes().await.map_err(failed)?;
            let spliced = move || splice::without(&meta, &file, bytes, &columns, among.as_deref(), &goes);
            let spliced = on_worker(spliced).await?;
            // Whoever reads all rows says what is wrong with them.
            Ok(spliced.unwrap_or_else(|error| {
                tracing::debug!(%location, %error, "pages are not copied");
                None
            }))
        }
    }

    /// Writes what is left of a file of the table, in its partition.
    ///
    /// # Errors
    /// As [`Self::write`].
    pub async fn append(&mut self, file: &DataFile, spliced: Spliced) -> Result<()> {
        if spliced.rows() == 0 {
            return Ok(());
        }
        let partition = Arc::new((Kind::Data, file.partition_values.clone()));
        self.seal(&partition).await?;
        self.rows += spliced.rows();
        let sink = self.sinks.entry(Arc::clone(&partition)).or_default();
        if sink.files.back().is_none_or(|file| file.bytes() >= self.options.target_file_bytes) {
            let path = self.names.next(&self.meta, &partition);
            sink.files.push_back(OpenFile::new(&self.lake, &self.meta, path, Arc::clone(&spliced.layout))?);
        }
        let open = sink.files.back_mut().expect("one was pushed where there was none");
        for group in spliced.groups {
            let bytes = usize::try_from(group.bytes).unwrap_or(usize::MAX);
            open.expect(tokio::spawn(async { Ok(group) }));
            self.in_flight.push_back((Arc::clone(&partition), bytes));
            self.in_flight_bytes += bytes;
        }
        self.make_room().await
    }

    /// Rows of data files written so far.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Bytes of data files encoded so far.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    async fn push(&mut self, partition: Partition, rows: RecordBatch) -> Result<()> {
        if rows.num_rows() == 0 {
            return Ok(());
        }
        if partition.0 == Kind::Data {
            self.rows += rows.num_rows() as u64;
        }
        let partition = match self.sinks.get_key_value(&partition) {
            Some((key, _)) => key.clone(),
            None => Arc::new(partition),
        };
        let mut at = 0;
        while at < rows.num_rows() {
            let sink = self.sinks.entry(partition.clone()).or_default();
            let length = (rows.num_rows() - at).min(self.options.row_group_rows.max(1) - sink.pending_rows);
            let part = rows.slice(at, length);
            let bytes = adapt::memory(&part);
            sink.pending.push(part);
            sink.pending_rows += length;
            sink.pending_bytes += bytes;
            self.pending_bytes += bytes;
            at += length;
            if sink.pending_rows >= self.options.row_group_rows {
                self.seal(&partition).await?;
            }
        }
        while self.pending_bytes > self.options.memory_bytes / 2 {
            let largest = self.sinks.iter().max_by_key(|(_, sink)| sink.pending_bytes).map(|(key, _)| key.clone());
            let Some(largest) = largest else { break };
            self.seal(&largest).await?;
        }
        Ok(())
    }

    /// Hands the waiting rows of a partition to a worker as one row group.
    async fn seal(&mut self, partition: &Arc<Partition>) -> Result<()> {
        let Some(sink) = self.sinks.get_mut(partition) else { return Ok(()) };
        if sink.pending.is_empty() {
            return Ok(());
        }
        let batches = std::mem::take(&mut sink.pending);
        let bytes = std::mem::take(&mut sink.pending_bytes);
        sink.pending_rows = 0;
        self.pending_bytes -= bytes;
        if sink.files.back().is_none_or(|file| file.bytes() >= self.options.target_file_bytes) {
            let path = self.names.next(&self.meta, partition);
            sink.begin(&self.lake, &self.meta, partition.0, path, &batches)?;
        }
        sink.promise(batches);
        self.in_flight.push_back((partition.clone(), bytes));
        self.in_flight_bytes += bytes;
        self.make_room().await
    }

    /// Waits while too many row groups are in flight.
    async fn make_room(&mut self) -> Result<()> {
        // Two row groups a thread: one at work, one waiting, so that no thread idles while the next one is collected.
        while self.in_flight.len() > self.threads * 2 || self.in_flight_bytes > self.options.memory_bytes {
            self.append_oldest().await?;
        }
        Ok(())
    }

    /// Waits for the oldest row group and appends it to its file; a file that is complete is ended.
    async fn append_oldest(&mut self) -> Result<()> {
        let Some((partition, bytes)) = self.in_flight.pop_front() else { return Ok(()) };
        self.in_flight_bytes -= bytes;
        let Some(sink) = self.sinks.get_mut(&partition) else { return Ok(()) };
        let Some(file) = sink.files.iter_mut().find(|file| file.is_waiting()) else { return Ok(()) };
        let before = file.bytes();
        file.append_next().await?;
        if partition.0 == Kind::Data {
            self.bytes += file.bytes() - before;
        }
        let mut ended = Vec::new();
        while sink.files.front().is_some_and(|f| !f.is_waiting() && f.bytes() >= self.options.target_file_bytes) {
            ended.extend(sink.files.pop_front());
        }
        for file in ended {
            self.finished.push((partition.0, file.finish(&partition.1).await?));
        }
        self.bound_buffers().await
    }

    /// Ends the largest file while encoded bytes that storage does not take yet (S3 takes parts of 5 MB and more) are over
    /// the bound.
    async fn bound_buffers(&mut self) -> Result<()> {
        loop {
            let buffered: usize = self.sinks.values().flat_map(|sink| &sink.files).map(OpenFile::buffered).sum();
            if buffered <= self.options.memory_bytes / 2 {
                return Ok(());
            }
            let idle = |sink: &Sink| sink.files.front().filter(|file| !file.is_waiting()).map(OpenFile::buffered);
            let largest =
                self.sinks.iter().filter_map(|(key, sink)| Some((idle(sink)?, key.clone()))).max_by_key(|l| l.0);
            let Some((_, partition)) = largest else { return Ok(()) };
            let file = self.sinks.get_mut(&partition).and_then(|sink| sink.files.pop_front());
            if let Some(file) = file {
                self.finished.push((partition.0, file.finish(&partition.1).await?));
            }
        }
    }

    /// Ends the files, makes them durable and gives their descriptions, in the order of their paths.
    ///
    /// # Errors
    /// When encoding or storage failed; then nothing is staged, and the files are left to vacuum.
    pub async fn finish(mut self) -> Result<Staged> {
        let mut sinks: Vec<_> = std::mem::take(&mut self.sinks).into_iter().collect();
        sinks.sort_by(|(a, _), (b, _)| a.cmp(b));
        let mut endings = Vec::with_capacity(sinks.len());
        for (partition, sink) in sinks {
            // Files are named in the order of their partitions.
            let is_new = sink.files.back().is_none_or(|file| file.bytes() >= self.options.target_file_bytes);
            let path = (is_new && !sink.pending.is_empty()).then(|| self.names.next(&self.meta, &partition));
            let (lake, meta) = (self.lake.clone(), Arc::clone(&self.meta));
            endings.push(async move { sink.end(&lake, &meta, &partition, path).await });
        }
        // Each on a task of its own: of a thousand files the footers take a core too.
        let mut endings = endings.into_iter();
        let mut running = JoinSet::new();
        let mut failed = None;
        loop {
            while failed.is_none()
                && running.len() < ENDED_AT_A_TIME
                && let Some(ending) = endings.next()
            {
                running.spawn(ending);
            }
            let Some(ended) = running.join_next().await else { break };
            match ended.map_err(|e| StoreError::Worker(e.to_string())).flatten() {
                Ok(files) => self.finished.extend(files),
                // Those that have begun end, so that no upload stays open.
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        if let Some(error) = failed {
            return Err(error);
        }
        self.finished.sort_by(|a, b| a.1.path.cmp(&b.1.path));
        let root = crate::log::table_root(&self.meta.table);
        let paths: Vec<_> = self.finished.iter().map(|(_, file)| in_lake(&root, &file.path)).collect();
        self.lake.store().sync(&paths).await.map_err(|e| StoreError::storage("sync files of", &root, e))?;

        let mut staged = Staged { rows: self.rows, ..Staged::default() };
        for (kind, mut file) in self.finished {
            match kind {
                Kind::Data => {
                    staged.bytes += file.size;
                    staged.adds.push(Arc::new(file));
                }
                Kind::Change(sign) => {
                    file.sign = Some(sign);
                    staged.change_files.push(Arc::new(file));
                }
            }
        }
        Ok(staged)
    }

    /// Gives up, and removes what was written, which no commit can have named.
    pub async fn abort(self) {
        let root = crate::log::table_root(&self.meta.table);
        for (_, sink) in self.sinks {
            for file in sink.files {
                file.abort().await;
            }
        }
        for (_, file) in self.finished {
            let path = in_lake(&root, &file.path);
            if let Err(error) = self.lake.store().delete(&path).await {
                tracing::debug!(%path, %error, "an unneeded file stays until vacuum");
            }
        }
    }
}

/// Row groups from this many rows on are encoded by all cores, column by column: one of them may be all that a small refresh
/// waits for.
const SHARED_ROWS: usize = 16 * 1024;

async fn encode_on_worker(layout: Arc<Layout>, batches: Vec<RecordBatch>) -> Result<RowGroup> {
    if batches.iter().map(RecordBatch::num_rows).sum::<usize>() < SHARED_ROWS {
        return on_worker(move || layout.encode(&batches)).await?;
    }
    let batches: Arc<[RecordBatch]> = batches.into();
    // Cores are given to those who wait in the order in which they came: to the columns of the oldest row group first.
    let mut columns = JoinSet::new();
    for column in layout.begin()? {
        let (layout, batches, at) = (Arc::clone(&layout), Arc::clone(&batches), column.at);
        columns.spawn(async move { Ok((at, on_worker(move || layout.encode_column(column, &batches)).await??)) });
    }
    let mut encoded = BTreeMap::new();
    while let Some(column) = columns.join_next().await {
        encoded.extend([column.map_err(|e| StoreError::Worker(e.to_string()))??]);
    }
    Ok(RowGroup::new(&batches, encoded.into_values().flatten().collect()))
}

/// Does something that takes a core for a while.
async fn on_worker<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
    let permit = encoders().clone().acquire_owned().await.map_err(|e| StoreError::Worker(e.to_string()))?;
    let worker = tokio::task::spawn_blocking(move || {
        let done = work();
        drop(permit);
        done
    });
    worker.await.map_err(|e| StoreError::Worker(e.to_string()))
}
