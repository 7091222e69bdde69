//! Reading: a list of files as a DataFusion table.
//!
//! A scan is a plain Parquet scan over the files that pruning leaves, with partition values attached.

mod prune;
mod readers;
mod statistics;

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

use arrow::array::{Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::stats::Precision;
use datafusion::common::{DataFusionError, ScalarValue, Statistics};
use datafusion::config::TableParquetOptions;
use datafusion::datasource::TableType;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::parquet::ParquetRowSelection;
use datafusion::datasource::physical_plan::{FileGroup, FileScanConfigBuilder, ParquetSource};
use datafusion::datasource::source::DataSourceExec;
use datafusion::datasource::table_schema::TableSchema;
use datafusion::logical_expr::TableProviderFilterPushDown;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::empty::EmptyExec;
use datafusion::prelude::Expr;
use parquet::arrow::arrow_reader::RowSelection;

use crate::changes::SIGN_COLUMN;
use crate::error::{Result, StoreError};
use crate::file::DataFile;
use crate::lake::Lake;
use crate::meta::TableMeta;
use crate::writer::PAGE_ROWS;

use self::readers::Readers;

/// What a scan gives for a table's schema: top-level strings and binaries as views, because scans and grouping of views
/// copy less.
pub fn read_schema(schema: &Schema) -> SchemaRef {
    Arc::new(Schema::new(schema.fields().iter().map(read_field).collect::<Vec<_>>()))
}

fn read_field(field: &FieldRef) -> FieldRef {
    match field.data_type() {
        DataType::Utf8 => Arc::new(Field::new(field.name(), DataType::Utf8View, field.is_nullable())),
        DataType::Binary => Arc::new(Field::new(field.name(), DataType::BinaryView, field.is_nullable())),
        _ => field.clone(),
    }
}

/// A list of files of one table, as a DataFusion table.
#[derive(Clone)]
pub struct LakeFiles {
    lake: Lake,
    meta: Arc<TableMeta>,
    files: Vec<(Arc<DataFile>, i32)>,
    signed: bool,
    /// Whether rows may come in any order.
    unordered: bool,
    /// The rows of the one file that are read, where it is not all of them.
    selection: Option<RowSelection>,
    /// The columns in the table's order, and the sign last.
    schema: SchemaRef,
    /// The same columns as a scan has them: those of the files, then those of the partition, then the sign.
    scanned: TableSchema,
    /// The place in `scanned` of each column of `schema`.
    places: Vec<usize>,
}

impl fmt::Debug for LakeFiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LakeFiles({}, {} files)", self.meta.table, self.files.len())
    }
}

impl LakeFiles {
    /// The table's columns over these files.
    pub fn new(lake: Lake, meta: Arc<TableMeta>, files: Vec<Arc<DataFile>>) -> Self {
        Self::build(lake, meta, files.into_iter().map(|file| (file, 1)).collect(), false)
    }

    /// The table's columns and [`SIGN_COLUMN`] over these files.
    pub fn signed(lake: Lake, meta: Arc<TableMeta>, files: Vec<(Arc<DataFile>, i32)>) -> Self {
        Self::build(lake, meta, files, true)
    }

    fn build(lake: Lake, meta: Arc<TableMeta>, files: Vec<(Arc<DataFile>, i32)>, signed: bool) -> Self {
        let sign = signed.then(|| Arc::new(Field::new(SIGN_COLUMN, DataType::Int32, false)));
        let mut partitions: Vec<FieldRef> = meta.partition_fields().iter().map(read_field).collect();
        partitions.extend(sign.clone());
        let scanned =
            TableSchema::builder(read_schema(&meta.file_schema)).with_table_partition_cols(partitions).build();
        let fields: Vec<FieldRef> = meta.schema.fields().iter().map(read_field).chain(sign).collect();
        let place = |field: &FieldRef| scanned.table_schema().index_of(field.name()).unwrap_or(0);
        let places = fields.iter().map(place).collect();
        let schema = Arc::new(Schema::new(fields));
        Self { lake, meta, files, signed, unordered: false, selection: None, schema, scanned, places }
    }

    /// Of the one file these rows alone, by their places from 0, ascending; all of them where their number is not known.
    pub(crate) fn only(self, rows: &[u64]) -> Self {
        let all = match self.files.as_slice() {
            [(file, _)] => file.rows(&self.meta).and_then(|rows| usize::try_from(rows).ok()),
            _ => None,
        };
        let ranges = rows.iter().filter_map(|row| usize::try_from(*row).ok()).map(|row| row..row + 1);
        Self { selection: all.map(|all| RowSelection::from_consecutive_ranges(ranges, all)), ..self }
    }

    /// The same rows in any order, so that fewer files than there are threads are read by all of these.
    pub fn in_any_order(self) -> Self {
        Self { unordered: true, ..self }
    }

    /// What the table is.
    pub fn meta(&self) -> &Arc<TableMeta> {
        &self.meta
    }

    /// All files, before pruning.
    pub fn files(&self) -> impl Iterator<Item = &Arc<DataFile>> {
        self.files.iter().map(|(file, _)| file)
    }

    /// Rows of all files, as far as their writers said.
    pub fn rows(&self) -> u64 {
        self.files().filter_map(|file| file.rows(&self.meta)).sum()
    }

    /// The partitions of all files: the partition columns as a scan gives them, a row for each different one, in any order.
    ///
    /// # Errors
    /// When the table has no partition columns.
    pub fn partitions(&self) -> Result<RecordBatch, DataFusionError> {
        let fields: Vec<FieldRef> = self.scanned.table_partition_cols()[..self.meta.partition_columns.len()].to_vec();
        let distinct: HashSet<&[Option<String>]> = self.files().map(|file| file.partition_values.as_slice()).collect();
        let column = |(place, field): (usize, &FieldRef)| {
            let values = distinct
                .iter()
                .map(|values| partition_scalar(field.data_type(), values.get(place).and_then(Option::as_deref)));
            let none = || Ok(arrow::array::new_empty_array(field.data_type()));
            if distinct.is_empty() { none() } else { ScalarValue::iter_to_array(values) }
        };
        let columns = fields.iter().enumerate().map(column).collect::<Result<_, DataFusionError>>()?;
        Ok(RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)?)
    }

    /// The number of rows of each file for which all filters are true, as `rows` (bigint), behind `columns`; a row for each
    /// file. Beside it the files that may have such rows, but also several values of a column, or of what a filter says, or of
    /// which the number is not known; `None` where there are none.
    ///
    /// # Errors
    /// When a filter compares what cannot be compared.
    pub fn counts(
        &self,
        filters: &[Expr],
        columns: &[&str],
        rows: &str,
    ) -> Result<(RecordBatch, Option<LakeFiles>), DataFusionError> {
        let (mut known, mut rest) = prune::decided(self, filters, columns)?;
        if self.selection.is_some() {
            // The log counts all rows of a file.
            rest.append(&mut known);
        }
        // No row is of no group.
        known.retain(|(file, _)| file.rows(&self.meta) != Some(0));
        let counts = known.iter().map(|(file, _)| file.rows(&self.meta).and_then(|rows| i64::try_from(rows).ok()));
        let counts: Int64Array = counts.collect();
        let mut fields = Vec::new();
        for column in columns {
            fields.push(Arc::new(self.schema.field_with_name(column)?.clone()));
        }
        let mut values = prune::values(self, &known, &fields)?;
        fields.push(Arc::new(Field::new(rows, DataType::Int64, false)));
        values.push(Arc::new(counts));
        let counts = RecordBatch::try_new(Arc::new(Schema::new(fields)), values)?;
        let rest =
            (!rest.is_empty()).then(|| Self::build(self.lake.clone(), Arc::clone(&self.meta), rest, self.signed));
        let (unordered, selection) = (self.unordered, self.selection.clone());
        let rest = rest.map(|rest| Self { unordered, selection, ..rest });
        Ok((counts, rest))
    }

    /// The value of a column that none of the first `rows` rows by it comes behind, of those for which all filters are true
    /// and the column is not null; there are so many up to it. `None` where the log does not say.
    ///
    /// # Errors
    /// When there is no such column, or a filter compares what cannot be compared.
    pub fn bound(
        &self,
        filters: &[Expr],
        column: &str,
        descending: bool,
        rows: u64,
    ) -> Result<Option<ScalarValue>, DataFusionError> {
        if self.selection.is_some() {
            return Ok(None);
        }
        prune::bound(self, filters, column, descending, rows)
    }

    /// The files that may hold rows for which all filters are true, by partition values and statistics.
    ///
    /// # Errors
    /// When a filter names a column that the table does not have, or compares what cannot be compared.
    pub fn prune(&self, filters: &[Expr]) -> Result<Vec<Arc<DataFile>>> {
        let kept = self.kept(filters).map_err(|e| StoreError::BadColumn {
            table: self.meta.table.clone(),
            column: "*".to_string(),
            message: e.to_string(),
        })?;
        Ok(kept.into_iter().map(|(file, _)| file).collect())
    }

    fn kept(&self, filters: &[Expr]) -> Result<Vec<(Arc<DataFile>, i32)>, DataFusionError> {
        if filters.is_empty() || self.files.is_empty() {
            return Ok(self.files.clone());
        }
        prune::keep(self, filters)
    }

    /// The partition values of a file, typed, in the order of the scan; the sign last.
    fn partition_values(&self, file: &DataFile, sign: i32) -> Vec<ScalarValue> {
        let fields = self.scanned.table_partition_cols().iter().take(self.meta.partition_columns.len());
        let values = fields.zip(file.partition_values.iter().map(Some).chain(std::iter::repeat(None)));
        let mut values: Vec<ScalarValue> = values
            .map(|(field, value)| partition_scalar(field.data_type(), value.and_then(Option::as_deref)))
            .collect();
        if self.signed {
            values.push(ScalarValue::Int32(Some(sign)));
        }
        values
    }

    fn partitioned_file(&self, file: &Arc<DataFile>, sign: i32) -> PartitionedFile {
        let root = crate::log::table_root(&self.meta.table);
        let mut scanned = PartitionedFile::new("", file.size);
        scanned.object_meta.location = crate::writer::in_lake(&root, &file.path);
        scanned.object_meta.last_modified =
            chrono::DateTime::from_timestamp_millis(file.modified_ms).unwrap_or_default();
        scanned.partition_values = self.partition_values(file, sign);
        scanned.statistics = Some(statistics::of_file(self, file, &scanned.partition_values));
        scanned
    }
}

/// A partition value in the type of its column; what cannot be read is null.
pub(crate) fn partition_scalar(kind: &DataType, value: Option<&str>) -> ScalarValue {
    let null = || ScalarValue::try_from(kind).unwrap_or(ScalarValue::Null);
    let Some(text) = value else { return null() };
    match kind {
        DataType::Utf8View => ScalarValue::Utf8View(Some(text.to_string())),
        _ => ScalarValue::try_from_string(text.to_string(), kind).unwrap_or_else(|_| null()),
    }
}

#[async_trait]
impl TableProvider for LakeFiles {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(
        &self,
        filters: &[&Expr],
    ) -> Result<Vec<TableProviderFilterPushDown>, DataFusionError> {
        let exact = |filter: &&Expr| match prune::is_decided(self, filter) {
            true => TableProviderFilterPushDown::Exact,
            false => TableProviderFilterPushDown::Inexact,
        };
        Ok(filters.iter().map(exact).collect())
    }

    fn statistics(&self) -> Option<Statistics> {
        None
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>, DataFusionError> {
        let mut kept = self.kept(filters)?;
        let all_exact = filters.iter().all(|filter| prune::is_decided(self, filter));
        let limit = limit.filter(|_| all_exact && self.selection.is_none());
        if let Some(limit) = limit {
            statistics::cut_to(&mut kept, &self.meta, limit as u64);
        }
        let wanted: Vec<usize> = match projection {
            Some(columns) => columns.iter().map(|column| self.places[*column]).collect(),
            None => self.places.clone(),
        };
        if kept.is_empty() {
            return Ok(Arc::new(EmptyExec::new(Arc::new(self.scanned.table_schema().project(&wanted)?))));
        }
        let url = self.lake.object_store_url();
        state.runtime_env().register_object_store(url.as_ref(), self.lake.object_store());

        let mut statistics = statistics::of_files(self, &kept);
        if let Some(selection) = &self.selection {
            statistics = statistics.to_inexact();
            statistics.num_rows = Precision::Exact(selection.row_count());
        }
        let target = state.config().target_partitions();
        // Of each file so many shares that there is one for each thread.
        let shares = if self.unordered { target.div_ceil(kept.len()) } else { 1 };
        let shared = |(file, sign): &(Arc<DataFile>, i32)| {
            let rows = file.rows(&self.meta).and_then(|rows| usize::try_from(rows).ok());
            match &self.selection {
                Some(selection) => vec![part(&self.partitioned_file(file, *sign), selection.clone())],
                None => in_shares(self.partitioned_file(file, *sign), rows, shares),
            }
        };
        let files: Vec<PartitionedFile> = kept.iter().flat_map(shared).collect();
        let is_in_parts = self.selection.is_some() || files.len() > kept.len();
        let mut options =
            TableParquetOptions { global: state.config_options().execution.parquet.clone(), ..Default::default() };
        // Filters are evaluated while decoding: columns that only they need, and rows that they drop, are not carried on.
        options.global.pushdown_filters = true;
        // Filters that are decided here skip no pages; parts of files do.
        let readers = Readers::new(self.lake.object_store(), state.runtime_env(), !all_exact || is_in_parts);
        let source = ParquetSource::new(self.scanned.clone())
            .with_table_parquet_options(options)
            .with_parquet_file_reader_factory(Arc::new(readers));
        let config = FileScanConfigBuilder::new(url, Arc::new(source))
            .with_file_groups(in_groups(files, target))
            .with_statistics(statistics)
            .with_projection_indices(Some(wanted))?
            .with_limit(limit)
            .build();
        Ok(DataSourceExec::from_data_source(config))
    }
}

/// Rows of a share of a file, at least; shares end where pages of our files do, so that none is read twice.
const SHARE_ROWS: usize = 2 * PAGE_ROWS;

/// A file of so many rows in up to so many shares of about the same number of rows, each to be read by itself.
fn in_shares(file: PartitionedFile, rows: Option<usize>, shares: usize) -> Vec<PartitionedFile> {
    let rows = rows.unwrap_or(0);
    let shares = shares.min(rows / SHARE_ROWS);
    if shares < 2 {
        return vec![file];
    }
    let share = rows.div_ceil(shares).next_multiple_of(PAGE_ROWS);
    let of = |first: usize| {
        let rows = RowSelection::from_consecutive_ranges(std::iter::once(first..rows.min(first + share)), rows);
        part(&file, rows)
    };
    (0..rows).step_by(share).map(of).collect()
}

/// The selected rows of a file.
fn part(file: &PartitionedFile, rows: RowSelection) -> PartitionedFile {
    let mut part = file.clone();
    part.extensions.insert(ParquetRowSelection::new(rows));
    // What is known of the file holds for a part of it, but is not reached.
    part.statistics = part.statistics.map(|known| Arc::new(Arc::unwrap_or_clone(known).to_inexact()));
    part
}

/// Files in order, in groups of about the same number of bytes.
fn in_groups(files: Vec<PartitionedFile>, groups: usize) -> Vec<FileGroup> {
    let total: u64 = files.iter().map(|file| file.object_meta.size).sum();
    let share = total.div_ceil(groups.max(1) as u64).max(1);
    let mut out: Vec<Vec<PartitionedFile>> = vec![Vec::new()];
    let mut filled = 0;
    for file in files {
        let last = out.len();
        if filled >= share * last as u64 && last < groups {
            out.push(Vec::new());
        }
        filled += file.object_meta.size;
        if let Some(group) = out.last_mut() {
            group.push(file);
        }
    }
    out.into_iter().map(FileGroup::new).collect()
}
