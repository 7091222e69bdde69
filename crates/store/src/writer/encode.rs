//! Encodes row groups.

use std::collections::HashSet;
use std::io::Write;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use bytes::Bytes;
use parquet::arrow::ArrowSchemaConverter;
use parquet::arrow::arrow_writer::{ArrowColumnChunk, ArrowColumnWriter, ArrowRowGroupWriterFactory, compute_leaves};
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::column::writer::ColumnCloseResult;
use parquet::errors::ParquetError;
use parquet::file::properties::{WriterProperties, WriterPropertiesBuilder, WriterPropertiesPtr};
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::types::{ColumnPath, Type, TypePtr};

use super::CHANGE_TYPE_COLUMN;
use crate::error::{Result, StoreError};
use crate::meta::TableMeta;

/// Rows that are looked at to choose encodings.
const SAMPLE: usize = 2048;

/// How texts are encoded, and the share of distinct values above which they have no dictionary.
const TEXT: (Encoding, f64) = (Encoding::DELTA_BYTE_ARRAY, 0.6);
/// How numbers of more than 18 digits are.
const WIDE: (Encoding, f64) = (Encoding::PLAIN, 0.6);
/// How whole numbers and times are: packed differences are cheap, so that a dictionary is only worth it for few values.
const PACKED: (Encoding, f64) = (Encoding::DELTA_BINARY_PACKED, 0.1);
/// Rows of a page. A page is built, copied and compressed in buffers of its size: those of 20,000 rows, as is usual, are new
/// memory each time, which the allocator gives back between two pages.
pub(crate) const PAGE_ROWS: usize = 4096;
/// Who wrote a file, as parquet-java parses it: of a writer that it cannot tell apart from itself its row reader (Spark's, where
/// it does not read in vectors) takes no front-coded text, because of PARQUET-246.
const CREATED_BY: &str = concat!("smelt version ", env!("CARGO_PKG_VERSION"), " (build n/a)");
/// Bounds in footers are cut to this many bytes (the upper one rounded up, by the Parquet writer).
const BOUND_BYTES: usize = 32;

/// How the files of one kind are laid out: columns, encodings, compression.
#[derive(Debug)]
pub(crate) struct Layout {
    pub schema: SchemaRef,
    pub root: TypePtr,
    pub properties: WriterPropertiesPtr,
    columns: ArrowRowGroupWriterFactory,
}

/// An encoded row group.
#[derive(Debug)]
pub(crate) struct RowGroup {
    pub rows: u64,
    pub chunks: Vec<Chunk>,
    /// Encoded bytes.
    pub bytes: u64,
}

/// An encoded column of a row group.
#[derive(Debug)]
pub(crate) enum Chunk {
    /// Of rows that were encoded here.
    Encoded(Box<ArrowColumnChunk>),
    /// Of pages that were taken over, from the place 0 on.
    Spliced { bytes: Bytes, close: Box<ColumnCloseResult> },
}

/// A column of a row group that is about to be encoded.
pub(crate) struct Column {
    /// Its place among the file's.
    pub at: usize,
    writers: Vec<ArrowColumnWriter>,
}

impl Chunk {
    /// What is said of the chunk.
    pub fn close(&self) -> &ColumnCloseResult {
        match self {
            Self::Encoded(chunk) => chunk.close(),
            Self::Spliced { close, .. } => close,
        }
    }

    /// Appends it to a row group.
    pub fn append_to<W: Write + Send>(self, writer: &mut SerializedRowGroupWriter<'_, W>) -> Result<(), ParquetError> {
        match self {
            Self::Encoded(chunk) => chunk.append_to_row_group(writer),
            Self::Spliced { bytes, close } => writer.append_column(&bytes, *close),
        }
    }
}

impl Layout {
    /// The layout for a table's files, with encodings that suit the first rows.
    pub fn new(meta: &TableMeta, change_data: bool, sample: &[RecordBatch]) -> Result<Self> {
        Self::build(meta, change_data, sample, true)
    }

    /// The layout for pages that come into chunks with dictionaries of other rows.
    pub fn without_dictionaries(meta: &TableMeta) -> Result<Self> {
        Self::build(meta, false, &[], false)
    }

    fn build(meta: &TableMeta, change_data: bool, sample: &[RecordBatch], dictionaries: bool) -> Result<Self> {
        let failed = |e: ParquetError| StoreError::parquet(format!("lay out files of {}", meta.table), e);
        let mut fields: Vec<_> = meta.file_schema.fields().iter().cloned().collect();
        if change_data {
            fields.push(Arc::new(Field::new(CHANGE_TYPE_COLUMN, DataType::Utf8, false)));
        }
        let schema = Arc::new(Schema::new(fields));
        let root = ArrowSchemaConverter::new().convert(&schema).map_err(failed)?.root_schema_ptr();
        let level = ZstdLevel::try_new(1).map_err(failed)?;
        let mut properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(level))
            .set_created_by(CREATED_BY.to_owned())
            .set_dictionary_enabled(dictionaries)
            .set_statistics_truncate_length(Some(BOUND_BYTES))
            .set_column_index_truncate_length(Some(BOUND_BYTES))
            .set_write_batch_size(PAGE_ROWS)
            .set_data_page_row_count_limit(PAGE_ROWS);
        let sample = sample.iter().max_by_key(|batch| batch.num_rows().min(SAMPLE));
        for (at, field) in schema.fields().iter().enumerate() {
            let values = sample.map(|batch| batch.column(at));
            properties = choose_encoding(properties, vec![field.name().clone()], field.data_type(), values);
        }
        let properties = Arc::new(properties.build());
        // The factory is made from a file writer but only keeps its schema and properties.
        let writer = SerializedFileWriter::new(std::io::sink(), root.clone(), properties.clone()).map_err(failed)?;
        let columns = ArrowRowGroupWriterFactory::new(&writer, schema.clone());
        Ok(Self { schema, root, properties, columns })
    }

    /// Encodes rows as one row group.
    pub fn encode(&self, batches: &[RecordBatch]) -> Result<RowGroup> {
        let columns = self.begin()?.map(|column| self.encode_column(column, batches));
        let chunks: Vec<Vec<Chunk>> = columns.collect::<Result<_>>()?;
        Ok(RowGroup::new(batches, chunks.into_iter().flatten().collect()))
    }

    /// The columns of a row group, to be encoded one by one: the dictionary and the buffers of one stay in the cache.
    pub fn begin(&self) -> Result<impl Iterator<Item = Column> + use<>> {
        let failed = |e: ParquetError| StoreError::parquet("encode rows", e);
        let mut writers = self.columns.create_column_writers(0).map_err(failed)?.into_iter();
        let of_field = |root: &TypePtr| writers.by_ref().take(leaves(root)).collect();
        let writers: Vec<Vec<ArrowColumnWriter>> = self.root.get_fields().iter().map(of_field).collect();
        Ok(writers.into_iter().enumerate().map(|(at, writers)| Column { at, writers }))
    }

    /// Encodes a column of the rows: the chunks of its leaves.
    pub fn encode_column(&self, column: Column, batches: &[RecordBatch]) -> Result<Vec<Chunk>> {
        let failed = |e: ParquetError| StoreError::parquet("encode rows", e);
        let Column { at, mut writers } = column;
        let field = &self.schema.fields()[at];
        for batch in batches {
            let values = batch.column(at);
            // The array may be of any string type.
            let field = Field::new(field.name(), values.data_type().clone(), field.is_nullable());
            for (leaf, writer) in compute_leaves(&field, values).map_err(failed)?.iter().zip(&mut writers) {
                writer.write(leaf).map_err(failed)?;
            }
        }
        let chunks = writers.into_iter().map(|writer| writer.close().map(|chunk| Chunk::Encoded(Box::new(chunk))));
        chunks.collect::<Result<Vec<Chunk>, _>>().map_err(failed)
    }
}

impl RowGroup {
    /// The row group of these rows, of which these are the chunks.
    pub fn new(batches: &[RecordBatch], chunks: Vec<Chunk>) -> Self {
        let bytes = chunks.iter().map(|chunk| chunk.close().bytes_written).sum();
        let rows = batches.iter().map(|batch| batch.num_rows() as u64).sum();
        Self { rows, chunks, bytes }
    }
}

/// The number of column chunks that a field has.
fn leaves(field: &Type) -> usize {
    match field.is_group() {
        true => field.get_fields().iter().map(|field| leaves(field)).sum(),
        false => 1,
    }
}

/// A dictionary where values repeat; where they do not, building one is the most expensive part of encoding, so packed
/// differences for whole numbers and times, and texts without their common starts, and with their lengths apart: plain ones
/// have a length before each, four bytes that make zstd look for matches where there is nothing but literals. For
/// identifiers of 34 characters that took it 160 to 215 nanoseconds each, without the lengths 50 to 60.
///
/// Not `DELTA_LENGTH_BYTE_ARRAY`, which is a little faster to read: Spark up to 3.5.6, and 4.0.0, reads other texts than were
/// written (SPARK-52240; 3.5.4 got 99 of 100 rows wrong, without an error).
fn choose_encoding(
    properties: WriterPropertiesBuilder,
    path: Vec<String>,
    kind: &DataType,
    sample: Option<&ArrayRef>,
) -> WriterPropertiesBuilder {
    // Also what a dictionary that grew too large falls back to.
    let (encoding, dictionary_up_to) = match kind {
        DataType::Int32 | DataType::Int64 | DataType::Date32 | DataType::Timestamp(..) => PACKED,
        DataType::Decimal128(precision, _) if *precision <= 18 => PACKED,
        DataType::Decimal128(..) => WIDE,
        DataType::Utf8 | DataType::Binary => TEXT,
        DataType::Struct(fields) => {
            let sample = sample.and_then(|values| values.as_struct_opt());
            return fields.iter().enumerate().fold(properties, |properties, (at, field)| {
                let path = path.iter().chain([field.name()]).cloned().collect();
                choose_encoding(properties, path, field.data_type(), sample.map(|values| values.column(at)))
            });
        }
        _ => return properties,
    };
    let column = ColumnPath::new(path);
    let properties = properties.set_column_encoding(column.clone(), encoding);
    match sample.and_then(distinct) {
        Some(share) if share > dictionary_up_to => properties.set_column_dictionary_enabled(column, false),
        _ => properties,
    }
}

/// The share of the first values that are distinct, if that can be told.
fn distinct(values: &ArrayRef) -> Option<f64> {
    let sample = values.slice(0, values.len().min(SAMPLE));
    let valid = sample.len() - sample.logical_null_count();
    if valid < 64 || matches!(sample.data_type(), DataType::Dictionary(..)) {
        return None;
    }
    let distinct = match sample.data_type() {
        DataType::Utf8 => sample.as_string::<i32>().iter().flatten().collect::<HashSet<_>>().len(),
        DataType::LargeUtf8 => sample.as_string::<i64>().iter().flatten().collect::<HashSet<_>>().len(),
        DataType::Utf8View => sample.as_string_view().iter().flatten().collect::<HashSet<_>>().len(),
        DataType::Binary => sample.as_binary::<i32>().iter().flatten().collect::<HashSet<_>>().len(),
        DataType::LargeBinary => sample.as_binary::<i64>().iter().flatten().collect::<HashSet<_>>().len(),
        DataType::BinaryView => sample.as_binary_view().iter().flatten().collect::<HashSet<_>>().len(),
        kind => {
            let width = kind.primitive_width()?;
            let data = sample.to_data();
            let bytes = &data.buffers()[0].as_slice()[data.offset() * width..(data.offset() + data.len()) * width];
            bytes.chunks_exact(width).collect::<HashSet<_>>().len()
        }
    };
    Some(distinct as f64 / valid as f64)
}
