//! How many rows there are of each day, by the log alone.
//!
//! A table's log says how many rows each of its files has. Where rows are counted by columns of which each file has one value,
//! under filters over such columns, no file need be opened; nor where it is asked which values there are. Files that have several
//! values are counted as they were.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use datafusion::catalog::{MemTable, TableProvider};
use datafusion::common::Result;
use datafusion::common::tree_node::Transformed;
use datafusion::datasource::{provider_as_source, source_as_provider};
use datafusion::logical_expr::expr::AggregateFunction;
use datafusion::logical_expr::utils::split_conjunction;
use datafusion::logical_expr::{
    Aggregate, Expr, LogicalPlan, LogicalPlanBuilder, Projection, SubqueryAlias, TableScan, ident, lit, when,
};
use datafusion::optimizer::optimizer::{ApplyOrder, OptimizerConfig, OptimizerRule};
use store::LakeFiles;

use crate::functions::checked_sum;

/// Names what the log says, each time otherwise: scans of one name are equal to DataFusion, whatever they scan, and equal
/// subqueries are answered once.
fn known_name() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    format!("__known_{}", NEXT.fetch_add(1, Ordering::Relaxed))
}

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
    let by: Option<Vec<&str>> = aggregate.group_expr.iter().map(|expr| Some(expr.try_as_col()?.name())).collect();
    let Some(by) = by.filter(|_| aggregate.aggr_expr.iter().all(counts_rows)) else { return Ok(None) };
    let mut filters = Vec::new();
    let Some(scan) = scanned(&aggregate.input, &mut filters) else { return Ok(None) };
    let Ok(table) = source_as_provider(&scan.source) else { return Ok(None) };
    let Some(files) = table.downcast_ref::<LakeFiles>() else { return Ok(None) };
    filters.extend(scan.filters.iter().cloned());
    let (known, rest) = files.counts(&filters, &by, ROWS)?;
    if known.num_rows() == 0 && rest.is_some() {
        return Ok(None);
    }
    let known: Arc<dyn TableProvider> = Arc::new(MemTable::try_new(known.schema(), vec![vec![known]])?);
    let known = LogicalPlanBuilder::scan(known_name(), provider_as_source(known), None)?;
    let counts = 0..aggregate.aggr_expr.len();
    let named = |exprs: Vec<Expr>, groups: usize| {
        let name = |place: usize| if place < groups { group(place) } else { count(place - groups) };
        exprs.into_iter().enumerate().map(|(place, expr)| expr.alias(name(place))).collect::<Vec<Expr>>()
    };
    let columns: Vec<Expr> = by.iter().map(|name| ident(*name)).chain(counts.clone().map(|_| ident(ROWS))).collect();
    let mut rows = known.project(named(columns, by.len()))?;
    if let Some(rest) = rest {
        let source = provider_as_source(Arc::new(rest));
        let input = over(&aggregate.input, &LogicalPlan::TableScan(TableScan { source, ..scan.clone() }))?;
        let counted = LogicalPlanBuilder::from(input)
            .aggregate(aggregate.group_expr.clone(), aggregate.aggr_expr.clone())?
            .build()?;
        let columns = counted.schema().columns().into_iter().map(Expr::Column).collect();
        let counted = LogicalPlanBuilder::from(counted).project(named(columns, by.len()))?;
        rows = rows.union(counted.build()?)?;
    }
    let sums = counts.clone().map(|place| checked_sum::udaf().call(vec![ident(count(place))]).alias(count(place)));
    let whole = rows.aggregate((0..by.len()).map(|place| ident(group(place))), sums.collect::<Vec<Expr>>())?;
    let as_before = aggregate.schema.iter().enumerate().map(|(place, (qualifier, field))| {
        let expr = match place.checked_sub(by.len()) {
            None => ident(group(place)),
            // A count is never null.
            Some(place) => when(ident(count(place)).is_not_null(), ident(count(place))).otherwise(lit(0_i64))?,
        };
        Ok(expr.alias_qualified(qualifier.cloned(), field.name()))
    });
    Ok(Some(whole.project(as_before.collect::<Result<Vec<Expr>>>()?)?.build()?))
}

fn group(place: usize) -> String {
    format!("__group_{place}")
}

fn count(place: usize) -> String {
    format!("__count_{place}")
}

/// The scan that rows come from, through nothing but filters and choices of columns; the filters are added.
fn scanned<'a>(plan: &'a LogicalPlan, filters: &mut Vec<Expr>) -> Option<&'a TableScan> {
    match plan {
        LogicalPlan::TableScan(scan) => Some(scan).filter(|scan| scan.fetch.is_none()),
        LogicalPlan::SubqueryAlias(SubqueryAlias { input, .. }) => scanned(input, filters),
        LogicalPlan::Projection(Projection { expr, input, .. }) => {
            let is_choice = expr.iter().all(|expr| matches!(expr, Expr::Column(_)));
            if is_choice { scanned(input, filters) } else { None }
        }
        LogicalPlan::Filter(filter) => {
            filters.extend(split_conjunction(&filter.predicate).into_iter().cloned());
            scanned(&filter.input, filters)
        }
        _ => None,
    }
}

/// The same plan over another scan.
fn over(plan: &LogicalPlan, scan: &LogicalPlan) -> Result<LogicalPlan> {
    match plan {
        LogicalPlan::TableScan(_) => Ok(scan.clone()),
        _ => {
            let inputs = plan.inputs().into_iter().map(|input| over(input, scan)).collect::<Result<_>>()?;
            plan.with_new_exprs(plan.expressions(), inputs)
        }
    }
}

/// Whether an aggregate is the number of rows.
fn counts_rows(expr: &Expr) -> bool {
    let Expr::AggregateFunction(AggregateFunction { func, params }) = expr.clone().unalias() else { return false };
    let is_plain = !params.distinct && params.filter.is_none() && params.order_by.is_empty();
    let of_rows = |arg: &Expr| matches!(arg, Expr::Literal(value, _) if !value.is_null());
    func.name() == "count" && is_plain && params.args.iter().all(of_rows)
}
