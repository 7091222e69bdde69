//! How many rows there are of each day, by the log alone.
//!
//! A table's log says how many rows each of its files has. Where rows are counted by columns of which each file has one value,
//! under filters over such columns, no file need be opened.

use std::sync::Arc;

use datafusion::catalog::{MemTable, TableProvider};
use datafusion::common::tree_node::Transformed;
use datafusion::common::{Column, Result};
use datafusion::datasource::{provider_as_source, source_as_provider};
use datafusion::logical_expr::expr::AggregateFunction;
use datafusion::logical_expr::{
    Aggregate, Expr, LogicalPlan, LogicalPlanBuilder, SubqueryAlias, TableScan, ident, lit, when,
};
use datafusion::optimizer::optimizer::{ApplyOrder, OptimizerConfig, OptimizerRule};
use store::LakeFiles;

use crate::functions::checked_sum;

/// The column with the rows of each file.
const ROWS: &str = "__rows";

/// Counts rows by what the log says of files.
#[derive(Debug)]
pub(crate) struct LogCounts;

impl OptimizerRule for LogCounts {
    fn name(&self) -> &'static str {
        "log_counts"
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        Some(ApplyOrder::BottomUp)
    }

    fn rewrite(&self, plan: LogicalPlan, _: &dyn OptimizerConfig) -> Result<Transformed<LogicalPlan>> {
        let LogicalPlan::Aggregate(aggregate) = &plan else { return Ok(Transformed::no(plan)) };
        Ok(match counted(aggregate)? {
            Some(counted) => Transformed::yes(counted),
            None => Transformed::no(plan),
        })
    }
}

fn counted(aggregate: &Aggregate) -> Result<Option<LogicalPlan>> {
    let (input, alias) = match aggregate.input.as_ref() {
        LogicalPlan::SubqueryAlias(SubqueryAlias { input, alias, .. }) => (input.as_ref(), Some(alias)),
        input => (input, None),
    };
    let LogicalPlan::TableScan(scan) = input else { return Ok(None) };
    let by: Option<Vec<&Column>> = aggregate.group_expr.iter().map(Expr::try_as_col).collect();
    // Without groups a count is exact statistics, which DataFusion looks for itself.
    let Some(by) = by.filter(|by| !by.is_empty() && scan.fetch.is_none()) else { return Ok(None) };
    if aggregate.aggr_expr.is_empty() || !aggregate.aggr_expr.iter().all(counts_rows) {
        return Ok(None);
    }
    let Some(files) = rows_of_files(scan, &by)? else { return Ok(None) };
    let known = LogicalPlanBuilder::scan(scan.table_name.clone(), provider_as_source(files), None)?;
    let known = if let Some(alias) = alias { known.alias(alias.clone())? } else { known };
    let rows = checked_sum::udaf().call(vec![ident(ROWS)]).alias(ROWS);
    let names = aggregate.schema.fields().iter().skip(by.len()).map(|field| field.name().clone());
    // A count is never null, and neither is the sum of a group; that has to be said.
    let rows_of_group = when(ident(ROWS).is_not_null(), ident(ROWS)).otherwise(lit(0_i64))?;
    let counts = names.map(|name| rows_of_group.clone().alias(name));
    let columns: Vec<Expr> = aggregate.group_expr.iter().cloned().chain(counts).collect();
    Ok(Some(known.aggregate(aggregate.group_expr.clone(), vec![rows])?.project(columns)?.build()?))
}

/// Whether an aggregate is the number of rows.
fn counts_rows(expr: &Expr) -> bool {
    let Expr::AggregateFunction(AggregateFunction { func, params }) = expr.clone().unalias() else { return false };
    let is_plain = !params.distinct && params.filter.is_none() && params.order_by.is_empty();
    let of_rows = |arg: &Expr| matches!(arg, Expr::Literal(value, _) if !value.is_null());
    func.name() == "count" && is_plain && params.args.iter().all(of_rows)
}

/// The columns `by` and the number of rows of each file that the scan reads; `None` where the log does not say them.
fn rows_of_files(scan: &TableScan, by: &[&Column]) -> Result<Option<Arc<dyn TableProvider>>> {
    let Ok(table) = source_as_provider(&scan.source) else { return Ok(None) };
    let Some(files) = table.downcast_ref::<LakeFiles>() else { return Ok(None) };
    let names: Vec<&str> = by.iter().map(|column| column.name()).collect();
    let Some(rows) = files.counts(&scan.filters, &names, ROWS)? else { return Ok(None) };
    Ok(Some(Arc::new(MemTable::try_new(rows.schema(), vec![vec![rows]])?)))
}
