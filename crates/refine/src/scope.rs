//! Sets of scope values: the days, minutes or customers whose rows are computed again.

use std::collections::HashSet;

use arrow::array::{ArrayRef, BooleanArray, RecordBatch, UInt64Array};
use arrow::compute::{concat_batches, filter_record_batch, take_record_batch};
use arrow::datatypes::SchemaRef;
use arrow_row::{Row, RowConverter, SortField};
use datafusion::common::ScalarValue;
use datafusion::logical_expr::{Expr, ident, lit};

use crate::Result;

/// Up to this many values a filter names each one; beyond, it gives only the bounds.
const LISTED: usize = 10_000;

/// Distinct values of the scope columns.
pub(crate) struct ScopeSet {
    converter: RowConverter,
    known: HashSet<Box<[u8]>>,
    /// The distinct values, in batches of the scope columns.
    batches: Vec<RecordBatch>,
    names: Vec<String>,
}

impl ScopeSet {
    /// An empty set over these columns.
    ///
    /// # Errors
    /// When a column's type cannot be compared.
    pub(crate) fn new(names: &[String], columns: &SchemaRef) -> Result<Self> {
        let fields = names.iter().map(|name| Ok(SortField::new(columns.field_with_name(name)?.data_type().clone())));
        Ok(Self {
            converter: RowConverter::new(fields.collect::<Result<_>>()?)?,
            known: HashSet::new(),
            batches: Vec::new(),
            names: names.to_vec(),
        })
    }

    /// Adds the values in a batch that has exactly the scope columns, in the types of the model's columns.
    pub(crate) fn extend(&mut self, batch: &RecordBatch) -> Result<()> {
        let rows = self.converter.convert_columns(batch.columns())?;
        let fresh = |row: Row<'_>| !self.known.contains(row.as_ref()) && self.known.insert(row.as_ref().into());
        let fresh: BooleanArray = rows.iter().map(fresh).map(Some).collect();
        if fresh.true_count() > 0 {
            self.batches.push(filter_record_batch(batch, &fresh)?);
        }
        Ok(())
    }

    /// Number of values.
    pub(crate) fn len(&self) -> usize {
        self.known.len()
    }

    /// The values in order, in `count` sets of about the same size; fewer where there are fewer values.
    ///
    /// # Errors
    /// When rows cannot be taken.
    pub(crate) fn split(&self, count: usize, columns: &SchemaRef) -> Result<Vec<ScopeSet>> {
        let Some(first) = self.batches.first() else { return Ok(Vec::new()) };
        let all = concat_batches(&first.schema(), &self.batches)?;
        let rows = self.converter.convert_columns(all.columns())?;
        let mut order: Vec<u64> = (0..all.num_rows() as u64).collect();
        order.sort_by(|a, b| rows.row(*a as usize).cmp(&rows.row(*b as usize)));
        let count = count.clamp(1, order.len().max(1));
        let cut = |place: usize| order.len() * place / count;
        (0..count)
            .map(|place| {
                let mut set = ScopeSet::new(&self.names, columns)?;
                let values = UInt64Array::from(order[cut(place)..cut(place + 1)].to_vec());
                set.extend(&take_record_batch(&all, &values)?)?;
                Ok(set)
            })
            .collect()
    }

    /// Which rows of `batch` are in the set; `places` are the scope columns in it.
    pub(crate) fn mask(&self, batch: &RecordBatch, places: &[usize]) -> Result<BooleanArray> {
        let columns: Vec<ArrayRef> = crate::keys::pick(batch, places);
        let rows = self.converter.convert_columns(&columns)?;
        Ok(rows.iter().map(|row| Some(self.known.contains(row.as_ref()))).collect())
    }

    /// A filter that lets through all rows of the set and as few others as bounds and lists of single columns can tell
    /// apart, such that it prunes partitions and files.
    pub(crate) fn filter(&self) -> Result<Expr> {
        let mut all: Option<Expr> = None;
        for (place, name) in self.names.iter().enumerate() {
            let one = self.column_filter(place, name)?;
            all = Some(match all {
                Some(all) => all.and(one),
                None => one,
            });
        }
        Ok(all.unwrap_or_else(|| lit(true)))
    }

    fn column_filter(&self, place: usize, name: &str) -> Result<Expr> {
        let mut values = HashSet::new();
        for batch in &self.batches {
            for row in 0..batch.num_rows() {
                values.insert(ScalarValue::try_from_array(batch.column(place), row)?);
            }
        }
        let nulls = values.iter().any(ScalarValue::is_null);
        values.retain(|value| !value.is_null());
        let column = || ident(name);
        let mut least: Option<&ScalarValue> = None;
        let mut greatest: Option<&ScalarValue> = None;
        for value in &values {
            least = Some(least.filter(|least| *least <= value).unwrap_or(value));
            greatest = Some(greatest.filter(|greatest| *greatest >= value).unwrap_or(value));
        }
        let bounds = least
            .zip(greatest)
            .map(|(least, greatest)| column().gt_eq(lit(least.clone())).and(column().lt_eq(lit(greatest.clone()))));
        let listed = (values.len() > 1 && values.len() <= LISTED).then(|| {
            let mut list: Vec<ScalarValue> = values.iter().cloned().collect();
            list.sort_by(|a, b| a.partial_cmp(b).unwrap_or(std::cmp::Ordering::Equal));
            column().in_list(list.into_iter().map(lit).collect(), false)
        });
        let some = match (bounds, listed) {
            (Some(bounds), Some(listed)) => Some(bounds.and(listed)),
            (bounds, _) => bounds,
        };
        Ok(match (some, nulls) {
            (Some(some), false) => some,
            (Some(some), true) => some.or(column().is_null()),
            (None, true) => column().is_null(),
            (None, false) => lit(false),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::Int64Array;
    use arrow::datatypes::{DataType, Field, Schema};
    use std::sync::Arc;

    #[test]
    fn pairs_are_kept_together_and_nulls_count() {
        let fields = vec![Field::new("a", DataType::Int64, true), Field::new("b", DataType::Int64, true)];
        let columns = Arc::new(Schema::new(fields));
        let batch = |a: Vec<Option<i64>>, b: Vec<Option<i64>>| {
            let arrays: Vec<ArrayRef> = vec![Arc::new(Int64Array::from(a)), Arc::new(Int64Array::from(b))];
            RecordBatch::try_new(columns.clone(), arrays).expect("two columns")
        };
        let mut set = ScopeSet::new(&["a".into(), "b".into()], &columns).expect("comparable");
        set.extend(&batch(vec![Some(1), Some(2), Some(1), None], vec![Some(1), Some(2), Some(1), None])).expect("fits");
        assert_eq!(set.len(), 3);
        let probe = batch(vec![Some(1), Some(1), None, None], vec![Some(1), Some(2), None, Some(1)]);
        let mask = set.mask(&probe, &[0, 1]).expect("fits");
        assert_eq!(mask.iter().map(|m| m == Some(true)).collect::<Vec<_>>(), [true, false, true, false]);
        assert!(set.filter().expect("a filter").to_string().contains("IS NULL"));
    }
}
