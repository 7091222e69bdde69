//! A file again without some of its rows, page by page.
//!
//! A correction takes a row from a file of thousands. Decoding and encoding all others is nearly all that it costs, so only
//! pages that lose rows are encoded again; the others are copied as they are, with the dictionary of their column chunk.
//! Pages that are encoded again have no dictionary, because a chunk has but one, and come behind all others of their row
//! group: pages with a dictionary and then pages without are what any writer makes whose dictionary grew too large. Spark's
//! reader takes values for places in the dictionary where pages with one follow pages without.
//!
//! Where pages begin and end, and what is in them, say the offset index and the column index of the file (Parquet format,
//! page index). Files without them, with other columns than the table has now, or with lists, are not written so.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray, RecordBatch, RecordBatchOptions};
use arrow::datatypes::{DataType, Field, Schema};
use arrow::error::ArrowError;
use bytes::Bytes;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder, RowSelection,
};
use parquet::basic::{Compression, Encoding, LogicalType};
use parquet::column::writer::ColumnCloseResult;
use parquet::data_type::ByteArray;
use parquet::errors::{ParquetError, Result};
use parquet::file::metadata::{
    ColumnChunkMetaData, ColumnIndexBuilder, OffsetIndexBuilder, PageIndexPolicy, RowGroupMetaDataPtr,
};
use parquet::file::page_index::column_index::ColumnIndexMetaData;
use parquet::file::page_index::offset_index::PageLocation;
use parquet::file::statistics::{Statistics, ValueStatistics};
use parquet::file::writer::SerializedFileWriter;

use super::encode::{Chunk, Layout, PAGE_ROWS, RowGroup};
use super::file::big_endian;
use crate::error::StoreError;
use crate::file::DataFile;
use crate::meta::TableMeta;
use crate::provider::partition_scalar;

/// Rows of keys that are looked at at a time.
const BATCH_ROWS: usize = 8192;

/// Row groups of fewer rows than this on average are put together again, where there are more than some of them.
const SMALL_GROUP: usize = 512;

/// Small row groups, or pages, that any file may have.
const SOME: usize = 8;

/// The row groups of a file without some rows, to be appended to another file.
#[derive(Debug)]
pub struct Spliced {
    pub(super) layout: Arc<Layout>,
    pub(super) groups: Vec<RowGroup>,
}

impl Spliced {
    /// Rows that are left.
    pub fn rows(&self) -> u64 {
        self.groups.iter().map(|group| group.rows).sum()
    }
}

/// A file in memory.
struct Source {
    bytes: Bytes,
    metadata: ArrowReaderMetadata,
}

/// Takes the rows out of a file that `goes` says of its rows' `columns`, which is asked of the rows at the places `among` alone
/// where there are any; `None` where the file cannot be written so, or where encoding it whole is as good.
pub(super) fn without(
    meta: &TableMeta,
    file: &DataFile,
    bytes: Bytes,
    columns: &[String],
    among: Option<&[u64]>,
    goes: &dyn Fn(&RecordBatch) -> std::result::Result<BooleanArray, ArrowError>,
) -> Result<Option<Spliced>> {
    let failed = |error: StoreError| ParquetError::External(Box::new(error));
    let plain = Layout::without_dictionaries(meta).map_err(failed)?;
    let options = ArrowReaderOptions::new().with_page_index_policy(PageIndexPolicy::Optional);
    let Ok(metadata) = ArrowReaderMetadata::load(&bytes, options.with_schema(Arc::clone(&meta.file_schema))) else {
        return Ok(None);
    };
    let source = Source { bytes, metadata };
    if !source.is_fit(&plain) {
        return Ok(None);
    }
    let layout = Arc::new(Layout::new(meta, false, &[]).map_err(failed)?);
    let count = source.metadata.metadata().num_row_groups();
    let mut gone = Vec::with_capacity(count);
    let mut first = 0;
    for group in 0..count {
        let rows = first..first + source.group_rows(group);
        let among: Option<Vec<usize>> = among.map(|among| within(among, &rows));
        gone.push(source.gone(meta, file, group, columns, among, goes)?);
        first = rows.end;
    }
    let windows: Vec<_> = gone.iter().enumerate().map(|(group, gone)| source.windows(group, gone)).collect();
    let encoded: usize = windows.iter().flatten().map(ExactSizeIterator::len).sum();
    if is_most(encoded, (0..count).map(|group| source.group_rows(group)).sum()) {
        return Ok(None);
    }
    let mut groups = Vec::new();
    for (group, (gone, windows)) in gone.iter().zip(&windows).enumerate() {
        if gone.len() < source.group_rows(group) {
            groups.push(source.spliced(group, gone, windows, &plain, &layout)?);
        }
    }
    Ok(Some(Spliced { layout, groups }))
}

impl Source {
    /// Whether pages of the file can be taken over into files of this layout.
    fn is_fit(&self, layout: &Layout) -> bool {
        let metadata = self.metadata.metadata();
        let schema = metadata.file_metadata().schema_descr();
        let rows = usize::try_from(metadata.file_metadata().num_rows()).unwrap_or(usize::MAX);
        *schema.root_schema() == *layout.root
            && schema.columns().iter().all(|column| column.max_rep_level() == 0)
            && metadata.offset_index().is_some()
            && metadata.column_index().is_some()
            && metadata.num_row_groups() <= rows / SMALL_GROUP + SOME
            && (0..metadata.num_row_groups()).all(|group| (0..self.leaves()).all(|leaf| self.is_fit_chunk(group, leaf)))
    }

    /// Whether a chunk is compressed as ours are, and has pages that are not all too many for its rows.
    fn is_fit_chunk(&self, group: usize, leaf: usize) -> bool {
        let chunk = self.metadata.metadata().row_group(group).column(leaf);
        let (pages, most) = (self.pages(group, leaf).len(), 2 * self.group_rows(group).div_ceil(PAGE_ROWS) + SOME);
        matches!(chunk.compression(), Compression::ZSTD(_)) && (1..=most).contains(&pages)
    }

    fn group_rows(&self, group: usize) -> usize {
        usize::try_from(self.metadata.metadata().row_group(group).num_rows()).unwrap_or(0)
    }

    fn leaves(&self) -> usize {
        self.metadata.metadata().file_metadata().schema_descr().num_columns()
    }

    fn pages(&self, group: usize, leaf: usize) -> &[PageLocation] {
        let index = self.metadata.metadata().offset_index();
        index.map_or(&[], |index| index[group][leaf].page_locations().as_slice())
    }

    /// The rows of a page, within its row group.
    fn page_rows(&self, group: usize, pages: &[PageLocation], page: usize) -> Range<usize> {
        let first = |page: &PageLocation| usize::try_from(page.first_row_index).unwrap_or(0);
        first(&pages[page])..pages.get(page + 1).map_or(self.group_rows(group), first)
    }

    /// The places of the rows that go, within their row group; of those at the places `among`, where there are any.
    fn gone(
        &self,
        meta: &TableMeta,
        file: &DataFile,
        group: usize,
        columns: &[String],
        among: Option<Vec<usize>>,
        goes: &dyn Fn(&RecordBatch) -> std::result::Result<BooleanArray, ArrowError>,
    ) -> Result<Vec<usize>> {
        if among.as_ref().is_some_and(Vec::is_empty) {
            return Ok(Vec::new());
        }
        let roots = columns.iter().filter_map(|name| meta.file_schema.index_of(name).ok());
        let schema = self.metadata.metadata().file_metadata().schema_descr();
        let mut reader = self.reader(group, BATCH_ROWS)?.with_projection(ProjectionMask::roots(schema, roots));
        if let Some(among) = &among {
            let rows = among.iter().map(|&row| row..row + 1);
            reader = reader.with_row_selection(RowSelection::from_consecutive_ranges(rows, self.group_rows(group)));
        }
        let place = |read: usize| among.as_ref().map_or(Some(read), |among| among.get(read).copied());
        let (mut gone, mut first) = (Vec::new(), 0);
        for batch in reader.build()? {
            let batch = in_order(meta, file, columns, &batch?)?;
            let goes = goes(&batch)?;
            let goes = goes.iter().enumerate().filter(|(_, goes)| *goes == Some(true));
            gone.extend(goes.filter_map(|(row, _)| place(first + row)));
            first += batch.num_rows();
        }
        Ok(gone)
    }

    /// The rows that have to be encoded again: whole pages of each column.
    fn windows(&self, group: usize, gone: &[usize]) -> Vec<Range<usize>> {
        let mut windows: Vec<Range<usize>> = Vec::new();
        if gone.len() == self.group_rows(group) {
            return windows;
        }
        for &row in gone {
            if windows.last().is_some_and(|window| window.contains(&row)) {
                continue;
            }
            let mut window = row..row + 1;
            loop {
                let wider =
                    (0..self.leaves()).fold(window.clone(), |window, leaf| self.whole_pages(group, leaf, window));
                if wider == window {
                    break;
                }
                window = wider;
            }
            match windows.last_mut().filter(|last| last.end > window.start) {
                Some(last) => *last = last.start.min(window.start)..last.end.max(window.end),
                None => windows.push(window),
            }
        }
        windows
    }

    /// The window as wide as the pages of a column that it has rows of.
    fn whole_pages(&self, group: usize, leaf: usize, window: Range<usize>) -> Range<usize> {
        let pages = self.pages(group, leaf);
        let page_of = |row: usize| pages.partition_point(|page| page.first_row_index <= row as i64).saturating_sub(1);
        let (first, last) = (page_of(window.start), page_of(window.end - 1));
        self.page_rows(group, pages, first).start..self.page_rows(group, pages, last).end
    }

    fn reader(&self, group: usize, rows: usize) -> Result<ParquetRecordBatchReaderBuilder<Bytes>> {
        let reader = ParquetRecordBatchReaderBuilder::new_with_metadata(self.bytes.clone(), self.metadata.clone());
        Ok(reader.with_row_groups(vec![group]).with_batch_size(rows.max(1)))
    }

    /// Rows of a row group, without those that are gone.
    fn rows(&self, group: usize, window: Range<usize>, gone: &[usize]) -> Result<Vec<RecordBatch>> {
        let mut kept = Vec::new();
        let mut first = window.start;
        for &row in gone.iter().filter(|row| window.contains(row)).chain([&window.end]) {
            if first < row {
                kept.push(first..row);
            }
            first = row + 1;
        }
        let selection = RowSelection::from_consecutive_ranges(kept.into_iter(), self.group_rows(group));
        let reader: ParquetRecordBatchReader =
            self.reader(group, window.len())?.with_row_selection(selection).build()?;
        Ok(reader.collect::<std::result::Result<Vec<RecordBatch>, ArrowError>>()?)
    }

    /// A row group without the rows that are gone, of which there are others.
    fn spliced(
        &self,
        group: usize,
        gone: &[usize],
        windows: &[Range<usize>],
        plain: &Layout,
        usual: &Layout,
    ) -> Result<RowGroup> {
        let all = self.group_rows(group);
        if is_most(windows.iter().map(ExactSizeIterator::len).sum(), all) {
            let batches = self.rows(group, 0..all, gone)?;
            return usual.encode(&batches).map_err(|e| ParquetError::External(Box::new(e)));
        }
        let rows = all - gone.len();
        let part = |window: &Range<usize>| Part::of(window.clone(), &self.rows(group, window.clone(), gone)?, plain);
        let parts = windows.iter().map(part).collect::<Result<Vec<Part>>>()?;
        let chunks = (0..self.leaves()).map(|leaf| self.chunk(group, leaf, &parts, rows));
        let chunks = chunks.collect::<Result<Vec<Chunk>>>()?;
        let bytes = chunks.iter().map(|chunk| chunk.close().bytes_written).sum();
        Ok(RowGroup { rows: rows as u64, chunks, bytes })
    }

    /// A column chunk without the pages that parts stand for, and with those of the parts at its end.
    fn chunk(&self, group: usize, leaf: usize, parts: &[Part], rows: usize) -> Result<Chunk> {
        let metadata = self.metadata.metadata();
        let chunk = metadata.row_group(group).column(leaf);
        let index = metadata.column_index().map_or(&ColumnIndexMetaData::NONE, |index| &index[group][leaf]);
        let pages = self.pages(group, leaf);
        let mut made = Made::new(chunk);
        if let (Some(_), Some(first)) = (chunk.dictionary_page_offset(), pages.first()) {
            let dictionary = self.bytes.get(place(chunk.byte_range().0)?..place(first.offset)?);
            made.dictionary(dictionary.ok_or_else(|| ParquetError::EOF("a dictionary".to_owned()))?)?;
        }
        let mut encodings: Vec<Encoding> = chunk.encodings().collect();
        for (number, page) in pages.iter().enumerate() {
            let of_page = self.page_rows(group, pages, number);
            if !parts.iter().any(|part| part.window.contains(&of_page.start)) {
                made.page(located(&self.bytes, page.offset, page)?, of_page.len(), entry(index, number))?;
            }
        }
        for part in parts {
            if let Some(again) = part.leaves.get(leaf) {
                again.pages(&part.bytes, part.rows, &mut made)?;
                encodings.extend(&again.encodings);
            }
        }
        made.close(chunk, encodings, rows, parts.is_empty())
    }
}

/// Rows that were encoded again.
struct Part {
    /// The rows that it stands for.
    window: Range<usize>,
    /// Those that are left of them.
    rows: usize,
    bytes: Bytes,
    /// None where no row is left.
    leaves: Vec<Again>,
}

/// A column of such rows.
struct Again {
    /// Where its pages are, in the bytes of the part.
    locations: Vec<(usize, PageLocation)>,
    index: ColumnIndexMetaData,
    encodings: Vec<Encoding>,
}

impl Part {
    fn of(window: Range<usize>, batches: &[RecordBatch], layout: &Layout) -> Result<Self> {
        let rows = batches.iter().map(RecordBatch::num_rows).sum();
        if rows == 0 {
            return Ok(Self { window, rows, bytes: Bytes::new(), leaves: Vec::new() });
        }
        let group = layout.encode(batches).map_err(|e| ParquetError::External(Box::new(e)))?;
        let mut file = SerializedFileWriter::new(Vec::new(), layout.root.clone(), layout.properties.clone())?;
        let mut open = file.next_row_group()?;
        let mut closed = Vec::new();
        for chunk in group.chunks {
            let close = chunk.close();
            let locations = close.offset_index.as_ref().map(|index| index.page_locations().clone());
            let index = close.column_index.clone().unwrap_or(ColumnIndexMetaData::NONE);
            closed.push((close.metadata.data_page_offset(), locations.unwrap_or_default(), index));
            chunk.append_to(&mut open)?;
        }
        let written: RowGroupMetaDataPtr = open.close()?;
        let leaves = closed.into_iter().zip(written.columns()).map(|((first, locations, index), chunk)| {
            // Offsets are those before the chunk had its place in the file.
            let begin = chunk.byte_range().0;
            let located = |page: PageLocation| Ok((place(begin)? + place(page.offset - first)?, page));
            let locations = locations.into_iter().map(located).collect::<Result<Vec<_>>>()?;
            Ok(Again { locations, index, encodings: chunk.encodings().collect() })
        });
        let leaves = leaves.collect::<Result<Vec<Again>>>()?;
        Ok(Self { window, rows, bytes: file.into_inner()?.into(), leaves })
    }
}

impl Again {
    /// Adds its pages to a chunk.
    fn pages(&self, bytes: &Bytes, rows: usize, made: &mut Made) -> Result<()> {
        for (number, (at, page)) in self.locations.iter().enumerate() {
            let next = self.locations.get(number + 1).map_or(rows as i64, |(_, next)| next.first_row_index);
            let of_page = place(next - page.first_row_index)?;
            made.page(located(bytes, *at as i64, page)?, of_page, entry(&self.index, number))?;
        }
        Ok(())
    }
}

/// A column chunk that is put together.
struct Made {
    bytes: Vec<u8>,
    has_dictionary: bool,
    data_offset: i64,
    uncompressed: i64,
    offsets: OffsetIndexBuilder,
    index: ColumnIndexBuilder,
    nulls: Option<u64>,
}

/// What the column index says of a page: whether all of it is null, the bounds, and the number of nulls.
type Entry = (bool, Vec<u8>, Vec<u8>, i64);

impl Made {
    fn new(chunk: &ColumnChunkMetaData) -> Self {
        Self {
            bytes: Vec::with_capacity(place(chunk.compressed_size()).unwrap_or(0)),
            has_dictionary: false,
            data_offset: 0,
            uncompressed: 0,
            offsets: OffsetIndexBuilder::new(),
            index: ColumnIndexBuilder::new(chunk.column_type()),
            nulls: Some(0),
        }
    }

    fn dictionary(&mut self, page: &[u8]) -> Result<()> {
        self.uncompressed += uncompressed(page)?;
        self.bytes.extend_from_slice(page);
        self.has_dictionary = true;
        self.data_offset = self.bytes.len() as i64;
        Ok(())
    }

    fn page(&mut self, page: &[u8], rows: usize, entry: Option<Entry>) -> Result<()> {
        self.uncompressed += uncompressed(page)?;
        let size = i32::try_from(page.len()).map_err(|e| ParquetError::General(format!("a page of {e}")))?;
        self.offsets.append_offset_and_size(self.bytes.len() as i64, size);
        self.offsets.append_row_count(rows as i64);
        self.bytes.extend_from_slice(page);
        match entry {
            Some((is_null, min, max, nulls)) => {
                self.index.append(is_null, min, max, nulls);
                self.nulls = self.nulls.map(|before| before + nulls.unsigned_abs());
            }
            None => {
                self.index.to_invalid();
                self.nulls = None;
            }
        }
        Ok(())
    }

    /// Ends it, of a `chunk` of which it may be a copy.
    fn close(self, chunk: &ColumnChunkMetaData, encodings: Vec<Encoding>, rows: usize, is_copy: bool) -> Result<Chunk> {
        let column_index = if self.index.valid() { Some(self.index.build()?) } else { None };
        let statistics = chunk.statistics().map(|known| match is_copy {
            true => known.clone(),
            false => bounds(known, column_index.as_ref(), chunk.column_descr().logical_type_ref(), self.nulls),
        });
        let metadata = ColumnChunkMetaData::builder(chunk.column_descr_ptr())
            .set_compression_codec(chunk.compression_codec())
            .set_encodings(encodings)
            .set_num_values(rows as i64)
            .set_total_compressed_size(self.bytes.len() as i64)
            .set_total_uncompressed_size(self.uncompressed)
            .set_dictionary_page_offset(self.has_dictionary.then_some(0))
            .set_data_page_offset(self.data_offset);
        let metadata = match statistics {
            Some(statistics) => metadata.set_statistics(statistics).build()?,
            None => metadata.build()?,
        };
        let close = ColumnCloseResult {
            bytes_written: self.bytes.len() as u64,
            rows_written: rows as u64,
            metadata,
            bloom_filter: None,
            column_index,
            offset_index: Some(self.offsets.build()),
        };
        Ok(Chunk::Spliced { bytes: self.bytes.into(), close: Box::new(close) })
    }
}

/// Whether so many rows of these are to be encoded again that all are, with a dictionary. Of two pages one is worth copying.
fn is_most(encoded: usize, all: usize) -> bool {
    4 * encoded > 3 * all
}

/// The places that are in a range, counted from its begin.
fn within(places: &[u64], range: &Range<usize>) -> Vec<usize> {
    let places = places.iter().filter_map(|place| usize::try_from(*place).ok());
    places.filter(|place| range.contains(place)).map(|place| place - range.start).collect()
}

/// The bytes of a page, header and all.
fn located<'a>(bytes: &'a Bytes, at: i64, page: &PageLocation) -> Result<&'a [u8]> {
    let (at, size) = (place(at)?, place(page.compressed_page_size)?);
    bytes.get(at..at + size).ok_or_else(|| ParquetError::EOF(format!("a page at {at} of {size} bytes")))
}

fn place(offset: impl TryInto<usize>) -> Result<usize> {
    offset.try_into().map_err(|_| ParquetError::General("an offset that is none".to_owned()))
}

/// What the column index says of a page, if it says anything.
fn entry(index: &ColumnIndexMetaData, page: usize) -> Option<Entry> {
    let is_null = !matches!(index, ColumnIndexMetaData::NONE) && index.is_null_page(page);
    let bounds = |bounds: Option<(Vec<u8>, Vec<u8>)>| if is_null { Some(Default::default()) } else { bounds };
    macro_rules! fixed {
        ($index:expr) => {
            $index
                .min_value(page)
                .zip($index.max_value(page))
                .map(|(a, b)| (a.to_le_bytes().into(), b.to_le_bytes().into()))
        };
    }
    let bytes = |bytes: &[u8]| bytes.to_vec();
    let (min, max) = bounds(match index {
        ColumnIndexMetaData::NONE | ColumnIndexMetaData::INT96(_) => return None,
        ColumnIndexMetaData::BOOLEAN(index) => {
            index.min_value(page).zip(index.max_value(page)).map(|(a, b)| (vec![(*a).into()], vec![(*b).into()]))
        }
        ColumnIndexMetaData::INT32(index) => fixed!(index),
        ColumnIndexMetaData::INT64(index) => fixed!(index),
        ColumnIndexMetaData::FLOAT(index) => fixed!(index),
        ColumnIndexMetaData::DOUBLE(index) => fixed!(index),
        ColumnIndexMetaData::BYTE_ARRAY(index) | ColumnIndexMetaData::FIXED_LEN_BYTE_ARRAY(index) => {
            index.min_value(page).zip(index.max_value(page)).map(|(a, b)| (bytes(a), bytes(b)))
        }
    })?;
    Some((is_null, min, max, index.null_count(page)?))
}

/// The bounds of fewer rows: those of the pages, which are as exact as those of a chunk are. Where pages have none, or have an
/// order of their own, the bounds that were `known` hold, but need not be reached any more.
fn bounds(
    known: &Statistics,
    index: Option<&ColumnIndexMetaData>,
    logical: Option<&LogicalType>,
    nulls: Option<u64>,
) -> Statistics {
    macro_rules! least_and_greatest {
        ($kind:ident, $index:expr) => {{
            let (least, greatest) =
                ($index.min_values_iter().flatten().min(), $index.max_values_iter().flatten().max());
            Statistics::$kind(ValueStatistics::new(least.copied(), greatest.copied(), None, nulls, false))
        }};
    }
    macro_rules! as_known {
        ($kind:ident, $known:expr) => {
            Statistics::$kind(
                ValueStatistics::new($known.min_opt().cloned(), $known.max_opt().cloned(), None, nulls, false)
                    .with_min_is_exact(false)
                    .with_max_is_exact(false),
            )
        };
    }
    match (known, index) {
        (Statistics::Boolean(_), Some(ColumnIndexMetaData::BOOLEAN(index))) => least_and_greatest!(Boolean, index),
        (Statistics::Int32(_), Some(ColumnIndexMetaData::INT32(index))) => least_and_greatest!(Int32, index),
        (Statistics::Int64(_), Some(ColumnIndexMetaData::INT64(index))) => least_and_greatest!(Int64, index),
        // Long texts are cut, upwards at the upper end.
        (Statistics::ByteArray(_), Some(ColumnIndexMetaData::BYTE_ARRAY(index))) => {
            let (least, greatest) = (index.min_values_iter().flatten().min(), index.max_values_iter().flatten().max());
            let bytes = |bound: Option<&[u8]>| bound.map(|bytes| ByteArray::from(bytes.to_vec()));
            let known = ValueStatistics::new(bytes(least), bytes(greatest), None, nulls, false);
            Statistics::ByteArray(known.with_min_is_exact(false).with_max_is_exact(false))
        }
        (Statistics::FixedLenByteArray(_), Some(ColumnIndexMetaData::FIXED_LEN_BYTE_ARRAY(index)))
            if matches!(logical, Some(LogicalType::Decimal { .. })) =>
        {
            let least = index.min_values_iter().flatten().min_by_key(|bytes| big_endian(bytes));
            let greatest = index.max_values_iter().flatten().max_by_key(|bytes| big_endian(bytes));
            let bytes = |bound: Option<&[u8]>| bound.map(|bytes| ByteArray::from(bytes.to_vec()).into());
            Statistics::FixedLenByteArray(ValueStatistics::new(bytes(least), bytes(greatest), None, nulls, false))
        }
        (Statistics::Boolean(known), _) => as_known!(Boolean, known),
        (Statistics::Int32(known), _) => as_known!(Int32, known),
        (Statistics::Int64(known), _) => as_known!(Int64, known),
        (Statistics::Int96(known), _) => as_known!(Int96, known),
        (Statistics::Float(known), _) => as_known!(Float, known),
        (Statistics::Double(known), _) => as_known!(Double, known),
        (Statistics::ByteArray(known), _) => as_known!(ByteArray, known),
        (Statistics::FixedLenByteArray(known), _) => as_known!(FixedLenByteArray, known),
    }
}

/// The bytes that a page takes uncompressed, its header among them. The header begins with three numbers in Thrift's compact
/// form: what kind of page it is, and its size without the header, uncompressed and compressed.
fn uncompressed(page: &[u8]) -> Result<i64> {
    let mut rest = page.iter();
    let mut number = || {
        // A field behind the one before, of a 32-bit number.
        let is_number = rest.next() == Some(&0x15);
        let (mut bits, mut shift) = (0_u64, 0);
        for byte in rest.by_ref().take(5) {
            bits |= u64::from(byte & 0x7f) << shift;
            shift += 7;
            if byte & 0x80 == 0 {
                break;
            }
        }
        let value = (bits >> 1) as i64 ^ -((bits & 1) as i64);
        if is_number { Ok(value) } else { Err(ParquetError::General("a page begins with no header".to_owned())) }
    };
    let [_, uncompressed, compressed] = [number()?, number()?, number()?];
    Ok(page.len() as i64 - compressed + uncompressed)
}

/// The columns of these names, of which those of the partition are not in the file.
fn in_order(meta: &TableMeta, file: &DataFile, columns: &[String], batch: &RecordBatch) -> Result<RecordBatch> {
    let rows = batch.num_rows();
    let column = |name: &String| -> Result<(Field, ArrayRef)> {
        let field = meta.schema.field_with_name(name)?;
        let values = match meta.partition_columns.iter().position(|known| known == name) {
            None => Arc::clone(batch.column(batch.schema().index_of(name)?)),
            Some(place) => {
                let kind = if *field.data_type() == DataType::Utf8 { &DataType::Utf8View } else { field.data_type() };
                let value = partition_scalar(kind, file.partition_values.get(place).and_then(Option::as_deref));
                value.to_array_of_size(rows).map_err(|e| ParquetError::External(Box::new(e)))?
            }
        };
        Ok((Field::new(name, values.data_type().clone(), true), values))
    };
    let (fields, values): (Vec<Field>, Vec<ArrayRef>) =
        columns.iter().map(column).collect::<Result<Vec<_>>>()?.into_iter().unzip();
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    Ok(RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), values, &options)?)
}
