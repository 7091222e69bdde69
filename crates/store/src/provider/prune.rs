//! Which files a filter leaves.
//!
//! Filters over columns that have one value in each file are decided exactly, for each file: those of the partition, and
//! those whose bounds are equal. All filters together are then tried against bounds and null counts, which can only rule
//! files out.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch, RecordBatchOptions, UInt64Array};
use arrow::datatypes::{DataType, FieldRef, Schema, SchemaRef, UInt64Type};
use datafusion::common::pruning::PruningStatistics;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, DFSchema, DataFusionError, ScalarValue};
use datafusion::logical_expr::execution_props::ExecutionProps;
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::logical_expr::simplify::SimplifyContext;
use datafusion::logical_expr::utils::conjunction;
use datafusion::optimizer::simplify_expressions::ExprSimplifier;
use datafusion::physical_expr::{PhysicalExpr, create_physical_expr};
use datafusion::physical_optimizer::pruning::PruningPredicateBuilder;
use datafusion::prelude::Expr;

use super::LakeFiles;
use crate::file::{ColumnStats, DataFile};

type Kept = Vec<(Arc<DataFile>, i32)>;

/// Whether a filter speaks only of columns that have one value in each file, so that it can be decided for each file.
pub(super) fn is_decided(files: &LakeFiles, filter: &Expr) -> bool {
    let columns = filter.column_refs();
    let is_simple = !columns.is_empty() && !filter.is_volatile() && !has_subquery(filter);
    is_simple && columns.iter().all(|column| has_one_value(files, column.name()))
}

/// Whether a column has one value in each file.
pub(super) fn has_one_value(files: &LakeFiles, column: &str) -> bool {
    is_of_partition(files, column) || files.files().all(|file| only_value(files, file, column).is_some())
}

fn is_of_partition(files: &LakeFiles, column: &str) -> bool {
    files.scanned.table_partition_cols().iter().any(|field| field.name() == column)
}

/// The value that all rows of a file have in a column that is in the file, where that is known: between equal bounds there
/// is no other. Not of decimals: other writers take their bounds through doubles.
fn only_value<'a>(files: &LakeFiles, file: &'a DataFile, column: &str) -> Option<&'a ScalarValue> {
    let stats = file.stats(&files.meta).columns.get(column).filter(|stats| stats.nulls == Some(0))?;
    let value = stats.min.as_ref().filter(|min| stats.max.as_ref() == Some(min))?;
    let kind = files.scanned.file_schema().field_with_name(column).ok()?.data_type();
    (value.data_type() == *kind && !kind.is_decimal()).then_some(value)
}

fn has_subquery(filter: &Expr) -> bool {
    filter
        .exists(|e| {
            Ok(matches!(
                e,
                Expr::ScalarSubquery(_) | Expr::InSubquery(_) | Expr::Exists(_) | Expr::OuterReferenceColumn(..)
            ))
        })
        .unwrap_or(true)
}

/// The files that may hold rows for which all filters are true.
pub(super) fn keep(files: &LakeFiles, filters: &[Expr]) -> Result<Kept, DataFusionError> {
    let (decided, others): (Vec<&Expr>, Vec<&Expr>) = filters.iter().partition(|filter| is_decided(files, filter));
    let mut kept = files.files.clone();
    // One after the other: of files that one rules out, the next may not have an answer.
    for filter in decided {
        kept = by_value(files, kept, filter.clone())?;
    }
    let filter = conjunction(others.into_iter().filter(|f| !f.is_volatile() && !has_subquery(f)).cloned());
    if let Some(filter) = filter.filter(|_| !kept.is_empty()) {
        let schema = files.scanned.table_schema().clone();
        let filter = physical(filter, &schema)?;
        kept = by_statistics(files, kept, filter, schema)?;
    }
    Ok(kept)
}

fn physical(filter: Expr, schema: &SchemaRef) -> Result<Arc<dyn PhysicalExpr>, DataFusionError> {
    // Callers name columns with or without the table.
    let filter = unqualified(filter)?;
    let schema = Arc::new(DFSchema::try_from(schema.clone())?);
    let context = SimplifyContext::builder().with_schema(schema.clone()).build();
    let simplifier = ExprSimplifier::new(context);
    let filter = simplifier.simplify(simplifier.coerce(filter, &schema)?)?;
    create_physical_expr(&filter, &schema, &ExecutionProps::new(), &PhysicalPlanningContext::default())
}

fn unqualified(filter: Expr) -> Result<Expr, DataFusionError> {
    let strip = |expr| match expr {
        Expr::Column(column) => Ok(Transformed::yes(Expr::Column(Column::new_unqualified(column.name)))),
        other => Ok(Transformed::no(other)),
    };
    Ok(filter.transform(strip)?.data)
}

/// Files of which all rows are such that the filters are true, and that have one value of each of these columns and a known
/// number of rows; and the others that may have such rows.
pub(super) fn decided(files: &LakeFiles, filters: &[Expr], columns: &[&str]) -> Result<(Kept, Kept), DataFusionError> {
    let kept = files.kept(filters)?;
    if filters.iter().any(|filter| filter.is_volatile() || has_subquery(filter)) {
        return Ok((Vec::new(), kept));
    }
    let named: HashSet<&str> = filters.iter().flat_map(Expr::column_refs).map(|column| column.name()).collect();
    let in_file: Vec<&str> = named.into_iter().chain(columns.iter().copied()).collect();
    let in_file: Vec<&str> = in_file.into_iter().filter(|column| !is_of_partition(files, column)).collect();
    let is_known = |(file, _): &(Arc<DataFile>, i32)| {
        let has_one = |column: &&str| only_value(files, file, column).is_some();
        file.rows(&files.meta).is_some() && in_file.iter().all(has_one)
    };
    let (mut known, rest): (Kept, Kept) = kept.into_iter().partition(is_known);
    for filter in filters {
        known = by_value(files, known, filter.clone())?;
    }
    Ok((known, rest))
}

/// The values of columns that have one in each file, for these files.
pub(super) fn values(
    files: &LakeFiles,
    kept: &[(Arc<DataFile>, i32)],
    fields: &[FieldRef],
) -> Result<Vec<ArrayRef>, DataFusionError> {
    let partitions: Vec<_> = kept.iter().map(|(file, sign)| files.partition_values(file, *sign)).collect();
    let of_partition =
        |field: &FieldRef| files.scanned.table_partition_cols().iter().position(|known| known.name() == field.name());
    let column = |field: &FieldRef| {
        let place = of_partition(field);
        let value = |((file, _), partition): (&(Arc<DataFile>, i32), &Vec<ScalarValue>)| match place {
            Some(place) => Ok(partition[place].clone()),
            None => only_value(files, file, field.name()).cloned().ok_or_else(|| {
                DataFusionError::Internal(format!("{} has no one value in {}", field.name(), file.path))
            }),
        };
        if kept.is_empty() {
            return Ok(arrow::array::new_empty_array(field.data_type()));
        }
        let values = kept.iter().zip(&partitions).map(value).collect::<Result<Vec<ScalarValue>, DataFusionError>>()?;
        ScalarValue::iter_to_array(values)
    };
    fields.iter().map(column).collect()
}

/// The end of a column's values beyond which none of the first `rows` rows in its order lie, of those for which all filters
/// are true: the files whose rows are known to fulfil them have so many up to it. `None` where nothing is known.
pub(super) fn bound(
    files: &LakeFiles,
    filters: &[Expr],
    column: &str,
    descending: bool,
    rows: u64,
) -> Result<Option<ScalarValue>, DataFusionError> {
    let column = Column::new_unqualified(column);
    let kind = files.scanned.table_schema().field_with_name(column.name())?.data_type();
    // Bounds of decimals go through doubles at other writers, and doubles may be no numbers.
    if kind.is_decimal() || kind.is_floating() {
        return Ok(None);
    }
    let (kept, _) = decided(files, filters, &[])?;
    let known = Known::new(files, &kept);
    let ends = if descending { known.min_values(&column) } else { known.max_values(&column) };
    let (Some(ends), Some(nulls)) = (ends, known.null_counts(&column)) else { return Ok(None) };
    let nulls = nulls.as_primitive::<UInt64Type>();
    let mut first = Vec::new();
    for (at, (file, _)) in kept.iter().enumerate().filter(|(at, _)| ends.is_valid(*at) && nulls.is_valid(*at)) {
        let rows = file.rows(&files.meta).unwrap_or(0).saturating_sub(nulls.value(at));
        first.push((ScalarValue::try_from_array(&ends, at)?, rows));
    }
    first.sort_by(|(a, _), (b, _)| {
        let order = a.partial_cmp(b).unwrap_or(std::cmp::Ordering::Equal);
        if descending { order.reverse() } else { order }
    });
    let mut seen = 0;
    let enough = first.into_iter().find(|(_, more)| {
        seen += more;
        seen >= rows
    });
    Ok(enough.map(|(end, _)| end))
}

/// The files of whose rows a filter is true, by the values that the columns have in each.
fn by_value(files: &LakeFiles, kept: Kept, filter: Expr) -> Result<Kept, DataFusionError> {
    let named: HashSet<String> = filter.column_refs().iter().map(|column| column.name().to_owned()).collect();
    let fields = files.scanned.table_schema().fields().iter().filter(|field| named.contains(field.name())).cloned();
    let fields: Vec<FieldRef> = fields.collect();
    let columns = values(files, &kept, &fields)?;
    let schema = Arc::new(Schema::new(fields));
    let options = RecordBatchOptions::new().with_row_count(Some(kept.len()));
    let batch = RecordBatch::try_new_with_options(Arc::clone(&schema), columns, &options)?;
    let filter = physical(filter, &schema)?;
    let verdict = filter.evaluate(&batch)?.into_array(kept.len())?;
    let verdict =
        verdict.as_boolean_opt().ok_or_else(|| DataFusionError::Plan("a filter is not boolean".to_string()))?;
    let is_true = |at: usize| verdict.is_valid(at) && verdict.value(at);
    Ok(kept.into_iter().enumerate().filter(|(at, _)| is_true(*at)).map(|(_, file)| file).collect())
}

fn by_statistics(
    files: &LakeFiles,
    kept: Kept,
    filter: Arc<dyn PhysicalExpr>,
    schema: SchemaRef,
) -> Result<Kept, DataFusionError> {
    // A filter that statistics say nothing about keeps all files.
    let Ok(predicate) = PruningPredicateBuilder::new().with_file_schema(schema).try_build(filter) else {
        return Ok(kept);
    };
    if predicate.always_true() {
        return Ok(kept);
    }
    let may = predicate.prune(&Known::new(files, &kept))?;
    Ok(kept.into_iter().zip(may).filter(|(_, may)| *may).map(|(file, _)| file).collect())
}

/// What is known of a list of files, in the form that DataFusion prunes by.
struct Known<'a> {
    files: &'a LakeFiles,
    kept: &'a [(Arc<DataFile>, i32)],
    /// The partition values of each file.
    partitions: Vec<Vec<ScalarValue>>,
}

impl<'a> Known<'a> {
    fn new(files: &'a LakeFiles, kept: &'a [(Arc<DataFile>, i32)]) -> Self {
        let partitions = kept.iter().map(|(file, sign)| files.partition_values(file, *sign)).collect();
        Self { files, kept, partitions }
    }

    fn kind(&self, column: &Column) -> Option<DataType> {
        let schema = self.files.scanned.table_schema();
        schema.field_with_name(column.name()).ok().map(|field| field.data_type().clone())
    }

    fn partition(&self, column: &Column) -> Option<usize> {
        self.files.scanned.table_partition_cols().iter().position(|field| field.name() == column.name())
    }

    fn bounds(&self, column: &Column, bound: impl Fn(&ColumnStats) -> Option<ScalarValue>) -> Option<ArrayRef> {
        let kind = self.kind(column)?;
        let null = ScalarValue::try_from(&kind).ok()?;
        let at = self.partition(column);
        let values = self.kept.iter().zip(&self.partitions).map(|((file, _), partition)| match at {
            Some(at) => partition[at].clone(),
            None => {
                let stats = file.stats(&self.files.meta).columns.get(column.name());
                stats.and_then(&bound).filter(|value| value.data_type() == kind).unwrap_or_else(|| null.clone())
            }
        });
        ScalarValue::iter_to_array(values).ok()
    }
}

impl PruningStatistics for Known<'_> {
    fn min_values(&self, column: &Column) -> Option<ArrayRef> {
        self.bounds(column, |stats| stats.min.clone())
    }

    fn max_values(&self, column: &Column) -> Option<ArrayRef> {
        self.bounds(column, |stats| stats.max.clone())
    }

    fn num_containers(&self) -> usize {
        self.kept.len()
    }

    fn null_counts(&self, column: &Column) -> Option<ArrayRef> {
        let at = self.partition(column);
        let counts = self.kept.iter().zip(&self.partitions).map(|((file, _), partition)| {
            let stats = file.stats(&self.files.meta);
            match at {
                Some(at) if partition[at].is_null() => stats.rows,
                Some(_) => Some(0),
                None => stats.columns.get(column.name()).and_then(|column| column.nulls),
            }
        });
        Some(Arc::new(counts.collect::<UInt64Array>()))
    }

    fn row_counts(&self) -> Option<ArrayRef> {
        let counts = self.kept.iter().map(|(file, _)| file.rows(&self.files.meta));
        Some(Arc::new(counts.collect::<UInt64Array>()))
    }

    fn contained(&self, column: &Column, values: &HashSet<ScalarValue>) -> Option<BooleanArray> {
        let at = self.partition(column)?;
        let kind = self.kind(column)?;
        // Equal texts of two string types are not equal here: then nothing is known.
        if values.iter().any(|value| value.data_type() != kind) {
            return None;
        }
        let found = self.partitions.iter().map(|partition| {
            let value = &partition[at];
            (!value.is_null()).then(|| values.contains(value))
        });
        Some(found.collect())
    }
}
