//! Values computed of the columns of one row by a SQL expression, as mends write them (`abs(quantity)`).

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, new_null_array};
use arrow::compute::concat;
use arrow::datatypes::{DataType, Schema};
use datafusion::common::DataFusionError;
use datafusion::physical_expr::PhysicalExpr;

use crate::SessionError;
use crate::row_expr::{is_data_error, plan, reason};

/// A compiled expression of one row, of any type.
#[derive(Debug, Clone)]
pub struct RowValue {
    expr: Arc<dyn PhysicalExpr>,
    kind: DataType,
}

/// The values of a batch of rows.
#[derive(Debug, Clone)]
pub struct RowValues {
    /// One value a row; null where it could not be computed.
    pub values: ArrayRef,
    /// The rows for which it could not be computed, ascending, and why.
    pub failed: Vec<(usize, String)>,
}

impl RowValue {
    /// Compiles `sql` over the columns of `schema`; batches must have these columns, in this order.
    ///
    /// # Errors
    /// [`SessionError::RowExpr`] when it does not parse, names an unknown column, or is not a function of one row.
    pub fn compile(sql: &str, schema: &Schema) -> Result<Self, SessionError> {
        let (expr, kind) = plan(sql, schema, "a mend")?;
        Ok(Self { expr, kind })
    }

    /// The type of its values.
    pub fn kind(&self) -> &DataType {
        &self.kind
    }

    /// The value in each row. A row on which it cannot be computed (a failed cast, an overflow) fails alone.
    ///
    /// # Errors
    /// When the batch lacks a column or has another type there.
    pub fn evaluate(&self, batch: &RecordBatch) -> Result<RowValues, SessionError> {
        let mut failed = Vec::new();
        let values = self.part(batch, 0, &mut failed)?;
        Ok(RowValues { values, failed })
    }

    /// The values of a part of the batch that starts at row `first`: halves until a row that fails is alone.
    fn part(
        &self,
        part: &RecordBatch,
        first: usize,
        failed: &mut Vec<(usize, String)>,
    ) -> Result<ArrayRef, SessionError> {
        let rows = part.num_rows();
        let error = match self.expr.evaluate(part).and_then(|value| value.into_array(rows)) {
            Ok(values) => return Ok(values),
            Err(error) => error,
        };
        if rows == 0 {
            return Ok(new_null_array(&self.kind, 0));
        }
        if !is_data_error(&error) {
            return Err(error.into());
        }
        if rows == 1 {
            failed.push((first, reason(error)));
            return Ok(new_null_array(&self.kind, 1));
        }
        let half = rows / 2;
        let (low, high) = (part.slice(0, half), part.slice(half, rows - half));
        let (low, high) = (self.part(&low, first, failed)?, self.part(&high, first + half, failed)?);
        Ok(concat(&[&low, &high]).map_err(DataFusionError::from)?)
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{AsArray, Int32Array};
    use arrow::datatypes::Int32Type;

    use super::*;

    #[test]
    fn a_row_that_cannot_be_computed_is_null_and_says_why() {
        let quantities = Int32Array::from(vec![Some(-3), Some(0), None, Some(i32::MIN)]);
        let batch = RecordBatch::try_from_iter_with_nullable([("quantity", Arc::new(quantities) as ArrayRef, true)])
            .expect("one column");
        let value = RowValue::compile("12 / quantity", batch.schema_ref()).expect("compiled");
        let found = value.evaluate(&batch).expect("evaluated");
        let values = arrow::compute::cast(&found.values, &DataType::Int32).expect("integers");
        assert_eq!(values.as_primitive::<Int32Type>().iter().collect::<Vec<_>>(), [Some(-4), None, None, Some(0)]);
        assert_eq!(found.failed.len(), 1);
        assert!(found.failed[0].0 == 1 && found.failed[0].1.contains("zero"), "{:?}", found.failed);
        let error = RowValue::compile("sum(quantity)", batch.schema_ref()).expect_err("many rows").to_string();
        assert!(error.contains("a mend sees one"), "{error}");
    }
}
