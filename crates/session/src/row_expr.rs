//! Row rules: a SQL boolean expression over the columns of one row, as contracts write them (`quantity > 0`).

use std::sync::{Arc, LazyLock};

use arrow::array::{Array, AsArray, BooleanArray, BooleanBuilder, RecordBatch};
use arrow::datatypes::{DataType, Schema};
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{DFSchema, DataFusionError};
use datafusion::execution::SessionStateBuilder;
use datafusion::execution::context::SessionState;
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::simplify::{ExprSimplifyResult, SimplifyContext};
use datafusion::logical_expr::{Expr, Volatility};
use datafusion::optimizer::simplify_expressions::ExprSimplifier;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::BinaryExpr;
use datafusion::prelude::SessionConfig;

use crate::{SessionError, functions};

/// A compiled row rule.
///
/// A rule fails a row as a SQL `CHECK` does: only where it is **false**. Null (an operand is missing) passes, so a rule
/// speaks of the values that are there and `required` of those that must be.
#[derive(Debug, Clone)]
pub struct RowExpr {
    sql: String,
    expr: Arc<dyn PhysicalExpr>,
    columns: Vec<usize>,
}

impl RowExpr {
    /// Compiles `sql`, a boolean expression over the columns of `schema`.
    ///
    /// Evaluation looks columns up by their place: batches must have this schema's columns first and in this order.
    ///
    /// # Errors
    /// [`SessionError::RowExpr`] when it does not parse, names an unknown column, is not boolean, or is not a function of
    /// one row (aggregates, windows, subqueries, `now()`, `random()`).
    pub fn compile(sql: &str, schema: &Schema) -> Result<Self, SessionError> {
        let (expr, kind) = plan(sql, schema, "a rule")?;
        if !matches!(kind, DataType::Boolean | DataType::Null) {
            let message = format!("a rule must be true or false, this is {kind}");
            return Err(SessionError::RowExpr { expression: sql.to_owned(), message });
        }
        let mut columns: Vec<usize> =
            datafusion::physical_expr::utils::collect_columns(&expr).iter().map(|column| column.index()).collect();
        columns.sort_unstable();
        Ok(Self { sql: sql.to_owned(), expr, columns })
    }

    /// The expression as written.
    pub fn sql(&self) -> &str {
        &self.sql
    }

    /// Places of the columns that the expression reads, ascending.
    pub fn columns(&self) -> &[usize] {
        &self.columns
    }

    /// The expression's value in each row: true, false or null.
    ///
    /// A row on which it cannot be computed (a division by zero, an overflow, a failed cast) is false, and only that
    /// row.
    ///
    /// # Errors
    /// When the batch lacks a column or has another type there.
    pub fn evaluate(&self, batch: &RecordBatch) -> Result<BooleanArray, SessionError> {
        match self.evaluate_all(batch) {
            Ok(values) => Ok(values),
            Err(error) if batch.num_rows() == 0 || is_data_error(&error) => Ok(self.evaluate_each(batch)),
            Err(error) => Err(error.into()),
        }
    }

    /// Where the rule fails: true exactly where [`evaluate`](Self::evaluate) is false; no nulls.
    ///
    /// # Errors
    /// As [`evaluate`](Self::evaluate).
    pub fn failures(&self, batch: &RecordBatch) -> Result<BooleanArray, SessionError> {
        let values = self.evaluate(batch)?;
        let failed = !values.values();
        let failed = match values.nulls() {
            None => failed,
            Some(nulls) => &failed & nulls.inner(),
        };
        Ok(BooleanArray::new(failed, None))
    }

    fn evaluate_all(&self, batch: &RecordBatch) -> Result<BooleanArray, DataFusionError> {
        let values = self.expr.evaluate(batch)?.into_array(batch.num_rows())?;
        Ok(match values.data_type() {
            DataType::Null => BooleanArray::new_null(values.len()),
            _ => values.as_boolean().clone(),
        })
    }

    /// The slow way, for a batch with a row on which the expression fails: halves until the row is alone.
    fn evaluate_each(&self, batch: &RecordBatch) -> BooleanArray {
        let mut values = BooleanBuilder::with_capacity(batch.num_rows());
        self.push_halves(batch, &mut values);
        values.finish()
    }

    fn push_halves(&self, batch: &RecordBatch, values: &mut BooleanBuilder) {
        match self.evaluate_all(batch) {
            Ok(found) => values.extend(found.iter()),
            Err(_) if batch.num_rows() <= 1 => values.append_n(batch.num_rows(), false),
            Err(_) => {
                let half = batch.num_rows() / 2;
                self.push_halves(&batch.slice(0, half), values);
                self.push_halves(&batch.slice(half, batch.num_rows() - half), values);
            }
        }
    }
}

/// Plans `sql` over the columns of `schema` as an expression of one row, with its type. `what` names it in errors.
///
/// # Errors
/// [`SessionError::RowExpr`], see [`RowExpr::compile`].
pub(crate) fn plan(sql: &str, schema: &Schema, what: &str) -> Result<(Arc<dyn PhysicalExpr>, DataType), SessionError> {
    let refuse = |message: String| SessionError::RowExpr { expression: sql.to_owned(), message };
    let state = state();
    let df_schema = DFSchema::try_from(schema.clone())?;
    let logical = state.create_logical_expr(sql, &df_schema).map_err(|error| refuse(reason(error)))?;
    refuse_more_than_a_row(&logical, what).map_err(refuse)?;
    let logical = with_plain_functions(logical, &df_schema).map_err(|error| refuse(reason(error)))?;
    let expr = state.create_physical_expr(logical, &df_schema).map_err(|error| refuse(reason(error)))?;
    let kind = expr.data_type(schema).map_err(|error| refuse(reason(error)))?;
    Ok((checked_arithmetic(expr)?, kind))
}

/// Whether an error comes from a value in a row, as against from the batch's columns.
pub(crate) fn is_data_error(error: &DataFusionError) -> bool {
    matches!(error.find_root(), DataFusionError::ArrowError(..) | DataFusionError::Execution(_))
}

pub(crate) fn reason(error: DataFusionError) -> String {
    SessionError::from(error).to_string()
}

/// What rules are planned with: the functions of every session, no tables.
fn state() -> &'static SessionState {
    static STATE: LazyLock<SessionState> = LazyLock::new(|| {
        let mut config = SessionConfig::new();
        config.options_mut().execution.time_zone = Some("UTC".to_owned());
        config.options_mut().sql_parser.parse_float_as_decimal = true;
        config.options_mut().sql_parser.map_string_types_to_utf8view = false;
        let mut builder = SessionStateBuilder::new().with_config(config).with_default_features();
        builder.scalar_functions().get_or_insert_default().extend(functions::scalar_functions());
        builder.build()
    });
    &STATE
}

fn refuse_more_than_a_row(expr: &Expr, what: &str) -> Result<(), String> {
    let mut problem = None;
    let visited = expr.apply(|part| {
        problem = match part {
            Expr::AggregateFunction(_) => Some(format!("aggregates many rows; {what} sees one")),
            Expr::WindowFunction(_) => Some(format!("looks at other rows; {what} sees one")),
            Expr::ScalarSubquery(_) | Expr::InSubquery(_) | Expr::Exists(_) => {
                Some(format!("reads a table; {what} sees one row"))
            }
            Expr::Placeholder(_) => Some(format!("has a parameter; {what} has none")),
            Expr::ScalarFunction(call) if call.func.signature().volatility != Volatility::Immutable => {
                Some(format!("depends on the clock or on chance; {what} must give the same answer always"))
            }
            _ => None,
        };
        Ok(if problem.is_some() { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    });
    match (visited, problem) {
        (_, Some(problem)) => Err(problem),
        (Err(error), None) => Err(error.to_string()),
        (Ok(_), None) => Ok(()),
    }
}

/// The same expression without functions that only a planner can run, such as `coalesce`, which it makes a CASE of.
/// Nothing is computed here: folded constants would not be checked for overflow.
fn with_plain_functions(expr: Expr, schema: &DFSchema) -> Result<Expr, DataFusionError> {
    let schema = Arc::new(schema.clone());
    let context = SimplifyContext::builder().with_schema(Arc::clone(&schema)).build();
    let expr = ExprSimplifier::new(context.clone()).coerce(expr, &schema)?;
    let plain = expr.transform_up(|part| match part {
        Expr::ScalarFunction(call) => Ok(match call.func.simplify(call.args, &context)? {
            ExprSimplifyResult::Simplified(expr) => Transformed::yes(expr),
            ExprSimplifyResult::Original(args) => {
                Transformed::no(Expr::ScalarFunction(ScalarFunction { func: call.func, args }))
            }
        }),
        other => Ok(Transformed::no(other)),
    })?;
    Ok(plain.data)
}

/// The same expression with integer arithmetic that fails where DataFusion's wraps around.
fn checked_arithmetic(expr: Arc<dyn PhysicalExpr>) -> Result<Arc<dyn PhysicalExpr>, SessionError> {
    let checked = expr.transform_up(|part| {
        Ok(match part.downcast_ref::<BinaryExpr>() {
            None => Transformed::no(part),
            Some(binary) => Transformed::yes(Arc::new(binary.clone().with_fail_on_overflow(true)) as _),
        })
    })?;
    Ok(checked.data)
}
