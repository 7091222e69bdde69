//! Plans over changed rows in the place of a table, where the rows of the result are the sum over the rows of the table.

use std::sync::Arc;

use datafusion::catalog::TableProvider;
use datafusion::common::JoinType;
use datafusion::datasource::{provider_as_source, source_as_provider};
use datafusion::logical_expr::{LogicalPlan, LogicalPlanBuilder, TableScan};

use crate::Result;

/// `plan` with `images` in the place of the table `raw`, down to the last GROUP BY at the top of the plan. `None` where
/// the groups are no sum over the rows of that table: it is read twice, aggregated before, or looked up by a join.
pub(super) fn over(
    plan: &LogicalPlan,
    raw: &Arc<dyn TableProvider>,
    images: &Arc<dyn TableProvider>,
) -> Result<Option<LogicalPlan>> {
    match plan {
        LogicalPlan::Aggregate(aggregate) => {
            let Some(input) = linear(&aggregate.input, raw, images)? else { return Ok(None) };
            Ok(Some(plan.with_new_exprs(plan.expressions(), vec![input])?))
        }
        LogicalPlan::Projection(_) | LogicalPlan::SubqueryAlias(_) | LogicalPlan::Sort(_) => {
            let Some(input) = over(plan.inputs()[0], raw, images)? else { return Ok(None) };
            Ok(Some(plan.with_new_exprs(plan.expressions(), vec![input])?))
        }
        _ => Ok(None),
    }
}

fn linear(
    plan: &LogicalPlan,
    raw: &Arc<dyn TableProvider>,
    images: &Arc<dyn TableProvider>,
) -> Result<Option<LogicalPlan>> {
    if let LogicalPlan::TableScan(scan) = plan {
        let source = provider_as_source(Arc::clone(images));
        return Ok(is(scan, raw).then(|| LogicalPlan::TableScan(TableScan { source, ..scan.clone() })));
    }
    let holds: Vec<usize> =
        plan.inputs().iter().enumerate().filter(|(_, input)| reads(input, raw)).map(|(place, _)| place).collect();
    let [place] = holds[..] else { return Ok(None) };
    let Some(changed) = linear(plan.inputs()[place], raw, images)? else { return Ok(None) };
    match plan {
        LogicalPlan::Projection(_)
        | LogicalPlan::Filter(_)
        | LogicalPlan::SubqueryAlias(_)
        | LogicalPlan::Repartition(_)
        | LogicalPlan::Unnest(_) => Ok(Some(plan.with_new_exprs(plan.expressions(), vec![changed])?)),
        LogicalPlan::Join(join) if keeps(join.join_type, place) => {
            let mut inputs: Vec<LogicalPlan> = plan.inputs().into_iter().cloned().collect();
            inputs[place] = changed;
            Ok(Some(plan.with_new_exprs(plan.expressions(), inputs)?))
        }
        // The other branches are what they were, so they add nothing to the change.
        LogicalPlan::Union(_) => {
            let columns = changed.schema().columns().into_iter().zip(plan.schema().fields());
            let renamed: Vec<_> = columns
                .map(|(column, field)| datafusion::logical_expr::Expr::Column(column).alias(field.name()))
                .collect();
            Ok(Some(LogicalPlanBuilder::from(changed).project(renamed)?.build()?))
        }
        _ => Ok(None),
    }
}

fn is(scan: &TableScan, raw: &Arc<dyn TableProvider>) -> bool {
    source_as_provider(&scan.source).is_ok_and(|provider| Arc::ptr_eq(&provider, raw))
}

fn reads(plan: &LogicalPlan, raw: &Arc<dyn TableProvider>) -> bool {
    match plan {
        LogicalPlan::TableScan(scan) => is(scan, raw),
        other => other.inputs().into_iter().any(|input| reads(input, raw)),
    }
}

/// Whether each row of the join's side `place` (0: left) gives its rows by itself.
fn keeps(kind: JoinType, place: usize) -> bool {
    match kind {
        JoinType::Inner => true,
        JoinType::Left | JoinType::LeftSemi | JoinType::LeftAnti => place == 0,
        JoinType::Right | JoinType::RightSemi | JoinType::RightAnti => place == 1,
        _ => false,
    }
}
