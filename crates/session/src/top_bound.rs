//! The first rows by a column, of the files that can have them.
//!
//! A table's log says between which bounds each file's values lie, and how many there are. So it is known, before a file is
//! opened, that so many rows lie above a bound; of the first rows by the column none lies below it. A sort that keeps the
//! first rows finds such a bound by itself, but only by the files that it happens to read first.

use std::sync::Arc;

use datafusion::common::Result;
use datafusion::common::tree_node::Transformed;
use datafusion::datasource::source_as_provider;
use datafusion::logical_expr::logical_plan::{Projection, SubqueryAlias};
use datafusion::logical_expr::utils::split_conjunction;
use datafusion::logical_expr::{Expr, LogicalPlan, Sort, SortExpr, TableScan, lit};
use datafusion::optimizer::optimizer::{ApplyOrder, OptimizerConfig, OptimizerRule};
use store::LakeFiles;

use crate::top_rows::in_terms_of;

/// Bounds the scan that the first rows come from.
#[derive(Debug)]
pub(crate) struct TopBound;

impl OptimizerRule for TopBound {
    fn name(&self) -> &'static str {
        "top_bound"
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        Some(ApplyOrder::TopDown)
    }

    fn rewrite(&self, plan: LogicalPlan, _: &dyn OptimizerConfig) -> Result<Transformed<LogicalPlan>> {
        let LogicalPlan::Sort(Sort { expr, input, fetch: Some(rows) }) = &plan else {
            return Ok(Transformed::no(plan));
        };
        Ok(match bounded(&expr[..1], *rows, input, &[])? {
            Some(input) => {
                let sort = Sort { expr: expr.clone(), input: Arc::new(input), fetch: Some(*rows) };
                Transformed::yes(LogicalPlan::Sort(sort))
            }
            None => Transformed::no(plan),
        })
    }
}

/// The plan with a bound at its scan; `None` where there is none to be had, or it is there already. `filters` are those between
/// the rows and the plan.
fn bounded(by: &[SortExpr], rows: usize, plan: &LogicalPlan, filters: &[Expr]) -> Result<Option<LogicalPlan>> {
    let deeper = match plan {
        LogicalPlan::TableScan(scan) => return Ok(bounded_scan(by, rows, scan, filters)?.map(LogicalPlan::TableScan)),
        LogicalPlan::Filter(filter) => {
            let more = split_conjunction(&filter.predicate).into_iter().cloned();
            bounded(by, rows, &filter.input, &filters.iter().cloned().chain(more).collect::<Vec<Expr>>())?
        }
        // Filters above these speak of other columns.
        LogicalPlan::Projection(Projection { expr, input, .. }) if filters.is_empty() => {
            let made = |place: usize| expr[place].clone().unalias();
            bounded(&in_terms_of(by, plan, made)?, rows, input, filters)?
        }
        LogicalPlan::SubqueryAlias(SubqueryAlias { input, .. }) if filters.is_empty() => {
            let made = |place: usize| Expr::Column(input.schema().qualified_field(place).into());
            bounded(&in_terms_of(by, plan, made)?, rows, input, filters)?
        }
        _ => return Ok(None),
    };
    deeper.map(|input| plan.with_new_exprs(plan.expressions(), vec![input])).transpose()
}

fn bounded_scan(by: &[SortExpr], rows: usize, scan: &TableScan, filters: &[Expr]) -> Result<Option<TableScan>> {
    let [SortExpr { expr: Expr::Column(column), asc, nulls_first }] = by else { return Ok(None) };
    let Ok(table) = source_as_provider(&scan.source) else { return Ok(None) };
    let Some(files) = table.downcast_ref::<LakeFiles>().filter(|_| scan.fetch.is_none()) else { return Ok(None) };
    let filters: Vec<Expr> = scan.filters.iter().chain(filters).cloned().collect();
    let Some(end) = files.bound(&filters, column.name(), !asc, rows as u64)? else { return Ok(None) };
    let value = Expr::Column(column.clone());
    let within = if *asc { value.clone().lt_eq(lit(end)) } else { value.clone().gt_eq(lit(end)) };
    // Nulls come before all, or behind the rows that are known.
    let within = if *nulls_first { value.is_null().or(within) } else { within };
    let is_there = filters.contains(&within);
    let with_it = || TableScan { filters: [scan.filters.clone(), vec![within]].concat(), ..scan.clone() };
    Ok((!is_there).then(with_it))
}
