//! One Parquet file on its way to storage.

use std::collections::VecDeque;
use std::sync::Arc;
use std::{fmt, io};

use arrow::datatypes::DataType;
use bytes::Bytes;
use object_store::path::Path;
use object_store::{MultipartUpload, ObjectStoreExt, PutPayload};
use parquet::errors::ParquetError;
use parquet::file::metadata::ParquetMetaData;
use parquet::file::statistics::Statistics;
use parquet::file::writer::SerializedFileWriter;
use tokio::task::JoinHandle;

use super::encode::{Layout, RowGroup};
use super::path::in_lake;
use crate::error::{Result, StoreError};
use crate::file::DataFile;
use crate::lake::Lake;
use crate::log::stats::{self, Bound, Footer};
use crate::meta::TableMeta;
use crate::storage::DurableStore;

/// Bytes of the first piece and of the largest. They are small enough for the allocator to use again, where a buffer that grows
/// with a row group is new memory each time.
const PIECE_BYTES: (usize, usize) = (4 << 10, 256 << 10);

/// Encoded bytes that storage has not taken yet.
#[derive(Default)]
struct Pieces {
    full: Vec<Bytes>,
    last: Vec<u8>,
    bytes: usize,
}

impl Pieces {
    fn take(&mut self) -> PutPayload {
        let Self { mut full, last, .. } = std::mem::take(self);
        if !last.is_empty() {
            full.push(last.into());
        }
        full.into_iter().collect()
    }
}

impl io::Write for Pieces {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.last.len() == self.last.capacity() {
            let full =
                std::mem::replace(&mut self.last, Vec::with_capacity(self.bytes.clamp(PIECE_BYTES.0, PIECE_BYTES.1)));
            if !full.is_empty() {
                self.full.push(full.into());
            }
        }
        let taken = bytes.len().min(self.last.capacity() - self.last.len());
        self.last.extend_from_slice(&bytes[..taken]);
        self.bytes += taken;
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A file that row groups are appended to in the order in which they were promised.
pub(crate) struct OpenFile {
    store: Arc<dyn DurableStore>,
    now_ms: i64,
    /// Relative to the table.
    path: String,
    location: Path,
    writer: SerializedFileWriter<Pieces>,
    layout: Arc<Layout>,
    promised: VecDeque<JoinHandle<Result<RowGroup>>>,
    upload: Option<Box<dyn MultipartUpload>>,
    rows: u64,
    bytes: u64,
}

impl fmt::Debug for OpenFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "OpenFile({}, {} rows)", self.path, self.rows)
    }
}

impl OpenFile {
    pub fn new(lake: &Lake, meta: &TableMeta, path: String, layout: Arc<Layout>) -> Result<Self> {
        let failed = |e: ParquetError| StoreError::parquet(format!("begin {path}"), e);
        let writer = SerializedFileWriter::new(Pieces::default(), layout.root.clone(), layout.properties.clone())
            .map_err(failed)?;
        let location = in_lake(&crate::log::table_root(&meta.table), &path);
        Ok(Self {
            store: lake.store().clone(),
            now_ms: lake.now_ms(),
            path,
            location,
            writer,
            layout,
            promised: VecDeque::new(),
            upload: None,
            rows: 0,
            bytes: 0,
        })
    }

    /// How its row groups are encoded.
    pub fn layout(&self) -> &Arc<Layout> {
        &self.layout
    }

    /// Promises a row group.
    pub fn expect(&mut self, row_group: JoinHandle<Result<RowGroup>>) {
        self.promised.push_back(row_group);
    }

    /// Whether row groups are promised that are not appended yet.
    pub fn is_waiting(&self) -> bool {
        !self.promised.is_empty()
    }

    /// Bytes appended so far.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Encoded bytes that are still in memory.
    pub fn buffered(&self) -> usize {
        self.writer.inner().bytes
    }

    /// Waits for the next row group, appends it, and sends on what storage takes.
    pub async fn append_next(&mut self) -> Result<()> {
        let Some(row_group) = self.promised.pop_front() else { return Ok(()) };
        let row_group = row_group.await.map_err(|e| StoreError::Worker(e.to_string()))??;
        self.rows += row_group.rows;
        self.bytes += row_group.bytes;
        let append = |writer: &mut SerializedFileWriter<Pieces>| {
            let mut open = writer.next_row_group()?;
            row_group.chunks.into_iter().try_for_each(|chunk| chunk.append_to(&mut open))?;
            open.close()?;
            writer.flush()?;
            Ok(())
        };
        append(&mut self.writer)
            .map_err(|e: ParquetError| StoreError::parquet(format!("append to {}", self.path), e))?;
        if self.buffered() >= self.store.min_part_bytes().max(1) {
            let part = self.writer.inner_mut().take();
            self.send(part).await?;
        }
        Ok(())
    }

    async fn send(&mut self, part: PutPayload) -> Result<()> {
        let failed = |e| StoreError::storage("write", &self.location, e);
        if self.upload.is_none() {
            self.upload = Some(self.store.put_multipart(&self.location).await.map_err(failed)?);
        }
        if let Some(upload) = &mut self.upload {
            upload.put_part(part).await.map_err(failed)?;
        }
        Ok(())
    }

    /// Ends the file. It is whole in storage then, and durable after the store's next sync.
    pub async fn finish(mut self, partition_values: &[Option<String>]) -> Result<DataFile> {
        while self.is_waiting() {
            self.append_next().await?;
        }
        let failed = |e: ParquetError| StoreError::parquet(format!("end {}", self.path), e);
        let footer = self.writer.finish().map_err(failed)?;
        let size = self.writer.bytes_written() as u64;
        let rest = self.writer.inner_mut().take();
        if self.upload.is_none() && self.store.min_part_bytes() > 0 {
            self.store.put(&self.location, rest).await.map_err(|e| StoreError::storage("write", &self.location, e))?;
        } else {
            self.send(rest).await?;
            if let Some(upload) = &mut self.upload {
                upload.complete().await.map_err(|e| StoreError::storage("write", &self.location, e))?;
            }
        }
        let stats = statistics(&self.layout, &footer, self.rows);
        Ok(DataFile::new(self.path, size, partition_values.to_vec(), self.now_ms, Some(stats.into())))
    }

    /// Gives the file up and removes what is there of it.
    pub async fn abort(mut self) {
        for row_group in &self.promised {
            row_group.abort();
        }
        if let Some(upload) = &mut self.upload
            && let Err(error) = upload.abort().await
        {
            tracing::debug!(path = %self.location, %error, "an unneeded file stays until vacuum");
        }
    }
}

/// Delta's statistics of a file, from what its footer says: no second look at the rows.
fn statistics(layout: &Layout, footer: &ParquetMetaData, rows: u64) -> String {
    let schema = footer.file_metadata().schema_descr();
    let mut columns: Vec<Footer> = vec![Footer::default(); layout.schema.fields().len()];
    for (leaf, column) in schema.columns().iter().enumerate() {
        let root = schema.get_column_root_idx(leaf);
        let field = &layout.schema.fields()[root];
        if root >= stats::STATS_COLUMNS || field.data_type().is_nested() || column.path().parts().len() > 1 {
            continue;
        }
        let mut whole = Footer { nulls: Some(0), ..Footer::default() };
        let mut bounded = true;
        for group in footer.row_groups() {
            let chunk = group.column(leaf).statistics();
            let nulls = chunk.and_then(Statistics::null_count_opt);
            whole.nulls = whole.nulls.zip(nulls).map(|(a, b)| a + b);
            if nulls == Some(group.num_rows().cast_unsigned()) {
                continue;
            }
            let bounds = chunk.and_then(|chunk| bounds(chunk, field.data_type()));
            let Some((min, max)) = bounds.filter(|_| bounded) else {
                bounded = false;
                continue;
            };
            whole.min = whole.min.into_iter().chain([min]).min();
            whole.max = whole.max.into_iter().chain([max]).max();
        }
        if !bounded {
            (whole.min, whole.max) = (None, None);
        }
        columns[root] = whole;
    }
    let named = layout.schema.fields().iter().zip(&columns);
    stats::to_json(rows, named.map(|(field, footer)| (field.name().as_str(), field.data_type(), footer)))
}

/// The bounds of a column chunk, for types that Delta keeps bounds of.
fn bounds(chunk: &Statistics, kind: &DataType) -> Option<(Bound, Bound)> {
    let number = |min: i128, max: i128| Some((Bound::Number(min), Bound::Number(max)));
    match (chunk, kind) {
        (Statistics::Int32(s), _) => number((*s.min_opt()?).into(), (*s.max_opt()?).into()),
        (Statistics::Int64(s), _) => number((*s.min_opt()?).into(), (*s.max_opt()?).into()),
        (Statistics::ByteArray(s), DataType::Utf8) => {
            let text = |bytes: &[u8]| std::str::from_utf8(bytes).ok().map(|text| Bound::Text(text.to_string()));
            Some((text(s.min_opt()?.data())?, text(s.max_opt()?.data())?))
        }
        (Statistics::FixedLenByteArray(s), DataType::Decimal128(..)) => {
            number(big_endian(s.min_opt()?.data())?, big_endian(s.max_opt()?.data())?)
        }
        _ => None,
    }
}

/// A big-endian two's complement number of up to 16 bytes.
pub(super) fn big_endian(bytes: &[u8]) -> Option<i128> {
    let negative = *bytes.first()? & 0x80 != 0;
    let mut wide = [if negative { 0xff } else { 0 }; 16];
    wide[16usize.checked_sub(bytes.len())?..].copy_from_slice(bytes);
    Some(i128::from_be_bytes(wide))
}
