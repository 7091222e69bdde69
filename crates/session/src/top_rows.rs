//! The first rows of a fact with its dimensions, without joining all of it.
//!
//! An outer join keeps each row of one side, so the first n rows by columns of that side come of the first n rows of the
//! side itself. A scan of those skips the files and pages that have none of them; a join in between would read all.

use std::collections::HashSet;
use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::common::{Column, Result};
use datafusion::logical_expr::logical_plan::{Projection, SubqueryAlias};
use datafusion::logical_expr::{Expr, Join, JoinType, LogicalPlan, Sort, SortExpr};
use datafusion::optimizer::optimizer::{ApplyOrder, OptimizerConfig, OptimizerRule};

/// Takes the first rows of the side that an outer join keeps, where the first rows of the join are wanted.
#[derive(Debug)]
pub(crate) struct TopRows;

impl OptimizerRule for TopRows {
    fn name(&self) -> &'static str {
        "top_rows"
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        Some(ApplyOrder::TopDown)
    }

    fn rewrite(&self, plan: LogicalPlan, _: &dyn OptimizerConfig) -> Result<Transformed<LogicalPlan>> {
        let LogicalPlan::Sort(Sort { expr, input, fetch: Some(rows) }) = &plan else {
            return Ok(Transformed::no(plan));
        };
        Ok(match below_join(expr, *rows, input)? {
            Some(input) => {
                let sort = Sort { expr: expr.clone(), input: Arc::new(input), fetch: Some(*rows) };
                Transformed::yes(LogicalPlan::Sort(sort))
            }
            None => Transformed::no(plan),
        })
    }
}

/// The plan with fewer rows below its outer joins; `None` where there is nothing to be had.
fn below_join(by: &[SortExpr], rows: usize, plan: &LogicalPlan) -> Result<Option<LogicalPlan>> {
    match plan {
        LogicalPlan::Projection(projection) => {
            let expr = |place: usize| projection.expr[place].clone().unalias();
            let Some(input) = below_join(&in_terms_of(by, plan, expr)?, rows, &projection.input)? else {
                return Ok(None);
            };
            Ok(Some(LogicalPlan::Projection(Projection::try_new(projection.expr.clone(), Arc::new(input))?)))
        }
        LogicalPlan::SubqueryAlias(alias) => {
            let expr = |place: usize| Expr::Column(Column::from(alias.input.schema().qualified_field(place)));
            let Some(input) = below_join(&in_terms_of(by, plan, expr)?, rows, &alias.input)? else { return Ok(None) };
            Ok(Some(LogicalPlan::SubqueryAlias(SubqueryAlias::try_new(Arc::new(input), alias.alias.clone())?)))
        }
        LogicalPlan::Join(join) => below(by, rows, join),
        _ => Ok(None),
    }
}

fn below(by: &[SortExpr], rows: usize, join: &Join) -> Result<Option<LogicalPlan>> {
    let kept = match join.join_type {
        JoinType::Left => &join.left,
        JoinType::Right => &join.right,
        _ => return Ok(None),
    };
    let columns: HashSet<&Column> = by.iter().flat_map(|by| by.expr.column_refs()).collect();
    let is_of_kept = !columns.is_empty() && columns.into_iter().all(|column| kept.schema().has_column(column));
    if !is_of_kept || by.iter().any(|by| by.expr.is_volatile()) || is_cut(kept, rows) {
        return Ok(None);
    }
    let cut = match below_join(by, rows, kept)? {
        Some(deeper) => deeper,
        None => LogicalPlan::Sort(Sort { expr: by.to_vec(), input: Arc::clone(kept), fetch: Some(rows) }),
    };
    let mut join = join.clone();
    match join.join_type {
        JoinType::Right => join.right = Arc::new(cut),
        _ => join.left = Arc::new(cut),
    }
    Ok(Some(LogicalPlan::Join(join)))
}

/// Whether no more than so many rows come of a plan, times those that outer joins find for each.
fn is_cut(plan: &LogicalPlan, rows: usize) -> bool {
    match plan {
        LogicalPlan::Sort(Sort { fetch, .. }) => fetch.is_some_and(|fetch| fetch <= rows),
        LogicalPlan::Projection(Projection { input, .. }) | LogicalPlan::SubqueryAlias(SubqueryAlias { input, .. }) => {
            is_cut(input, rows)
        }
        LogicalPlan::Join(join) => match join.join_type {
            JoinType::Left => is_cut(&join.left, rows),
            JoinType::Right => is_cut(&join.right, rows),
            _ => false,
        },
        _ => false,
    }
}

/// Expressions over a plan's columns by what the columns are made of; `expr` says it for the place of each.
pub(crate) fn in_terms_of(by: &[SortExpr], plan: &LogicalPlan, expr: impl Fn(usize) -> Expr) -> Result<Vec<SortExpr>> {
    let replaced = |by: &SortExpr| {
        let made = by.expr.clone().transform(|part| match &part {
            Expr::Column(column) => Ok(Transformed::yes(expr(plan.schema().index_of_column(column)?))),
            _ => Ok(Transformed::no(part)),
        });
        made.data().map(|made| SortExpr::new(made, by.asc, by.nulls_first))
    };
    by.iter().map(replaced).collect()
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::util::pretty::pretty_format_batches;
    use datafusion::execution::SessionStateBuilder;
    use datafusion::prelude::SessionContext;

    use super::*;

    async fn context(with_rule: bool) -> SessionContext {
        let state = SessionStateBuilder::new().with_default_features();
        let state = if with_rule { state.with_optimizer_rule(Arc::new(TopRows)) } else { state };
        let context = SessionContext::new_with_state(state.build());
        for sql in [
            "CREATE TABLE fact AS SELECT value AS id, value % 7 AS k, nullif(value * 31 % 100, 3) AS at \
                FROM generate_series(1, 1000)",
            // Keys that no row has, that one row has, and that two rows have.
            "CREATE TABLE dim AS SELECT * FROM (VALUES (1, 'a'), (2, 'b'), (2, 'c'), (5, 'd')) d (k, name)",
            "CREATE VIEW seen AS SELECT fact.id, fact.at + 1 AS later, dim.name, other.name AS other \
                FROM fact LEFT JOIN dim ON dim.k = fact.k LEFT JOIN dim AS other ON other.k = fact.k AND other.k < fact.at",
        ] {
            context.sql(sql).await.expect(sql).collect().await.expect(sql);
        }
        context
    }

    /// How many sorts with a limit there are below a join.
    fn cuts(plan: &LogicalPlan, below: bool) -> usize {
        let is_cut = matches!(plan, LogicalPlan::Sort(Sort { fetch: Some(_), .. }));
        let below_this = below || matches!(plan, LogicalPlan::Join(_));
        let inputs: usize = plan.inputs().into_iter().map(|input| cuts(input, below_this)).sum();
        inputs + usize::from(is_cut && below)
    }

    #[tokio::test]
    async fn the_first_rows_are_the_same() {
        let (with, without) = (context(true).await, context(false).await);
        for (sql, expected) in [
            ("SELECT * FROM seen ORDER BY later DESC, id, name, other LIMIT 10", 0),
            ("SELECT id, later FROM seen ORDER BY later DESC, id LIMIT 10", 1),
            ("SELECT id, later FROM seen AS s ORDER BY s.later NULLS FIRST, s.id LIMIT 10", 1),
            ("SELECT id FROM seen ORDER BY later + id % 3, id LIMIT 5 OFFSET 20", 1),
            (
                "SELECT id, k2 FROM (SELECT fact.id, dim.k AS k2 FROM dim RIGHT JOIN fact ON dim.k = fact.k) ORDER BY id LIMIT 9",
                1,
            ),
            ("SELECT fact.id FROM fact JOIN dim ON dim.k = fact.k ORDER BY fact.id LIMIT 10", 0),
            ("SELECT fact.id FROM fact FULL JOIN dim ON dim.k = fact.id ORDER BY fact.id LIMIT 10", 0),
            (
                "SELECT fact.id FROM fact LEFT JOIN dim ON dim.k = fact.k WHERE dim.k IS NULL ORDER BY fact.id LIMIT 10",
                0,
            ),
            ("SELECT id, name FROM seen ORDER BY id", 0),
            ("SELECT dim.name FROM dim LEFT JOIN fact ON dim.k = fact.k ORDER BY fact.id, dim.name LIMIT 3", 0),
        ] {
            let plan = with.sql(sql).await.expect(sql).into_optimized_plan().expect(sql);
            assert_eq!(cuts(&plan, false), expected, "{sql}\n{}", plan.display_indent());
            let mut answers = Vec::new();
            for context in [&with, &without] {
                // Rows of one fact may come in any order; which of them come last is not asked.
                let rows = context.sql(sql).await.expect(sql).collect().await.expect(sql);
                let text = pretty_format_batches(&rows).expect(sql).to_string();
                let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
                lines.sort();
                answers.push(lines);
            }
            assert_eq!(answers[0], answers[1], "{sql}");
        }
    }
}
