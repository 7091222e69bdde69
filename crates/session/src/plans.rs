//! Optimized plans of a session's queries: a dashboard asks the same again and again.
//!
//! A session reads each table as it was when it was opened, so a plan over its tables stays right. Only what is asked of the
//! clock while planning (`now()`) makes a plan of its own each time. Physical plans are made anew for each run: they hold what
//! a run found out, such as the bounds of a join.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use datafusion::arrow::datatypes::DataType;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{DataFusionError, Result, ScalarValue};
use datafusion::dataframe::DataFrame;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::execution::context::{SessionState, TaskContext};
use datafusion::logical_expr::{Expr, LogicalPlan, Volatility};
use datafusion::physical_plan::execute_stream;

use crate::statement::Parameters;

/// Plans that are kept; more begin anew.
const MOST: usize = 256;

/// A statement and the values of its parameters, with their types: instants are equal in any zone.
type Asked = (String, Vec<(String, DataType, ScalarValue)>);

/// The plans of a session.
#[derive(Debug, Default)]
pub(crate) struct Plans(Mutex<HashMap<Asked, Arc<LogicalPlan>>>);

/// Where the plan of a query is kept.
#[derive(Debug)]
pub(crate) struct Place {
    plans: Arc<Plans>,
    asked: Asked,
}

impl Place {
    /// The place of a statement with these parameters.
    pub(crate) fn new(plans: &Arc<Plans>, sql: &str, parameters: &Parameters) -> Self {
        let values = parameters.iter().map(|(name, value)| (name.clone(), value.data_type(), value.clone())).collect();
        Self { plans: Arc::clone(plans), asked: (sql.to_owned(), values) }
    }

    /// The plan, if it was kept.
    pub(crate) fn known(&self) -> Option<Arc<LogicalPlan>> {
        self.lock().get(&self.asked).cloned()
    }

    fn keep(self, plan: &Arc<LogicalPlan>) {
        let asked = self.asked.clone();
        let mut plans = self.lock();
        if plans.len() >= MOST {
            plans.clear();
        }
        plans.insert(asked, Arc::clone(plan));
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Asked, Arc<LogicalPlan>>> {
        // The map is whole after any panic: it is only read and inserted into.
        self.plans.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A query that is ready to run.
pub(crate) struct Prepared {
    state: SessionState,
    plan: Arc<LogicalPlan>,
    is_optimized: bool,
    /// Where its plan is to be kept.
    place: Option<Place>,
}

impl Prepared {
    /// A query that is optimized when it runs, and whose plan is kept then if there is a `place` for it.
    pub(crate) fn new(query: DataFrame, place: Option<Place>) -> Self {
        let (state, plan) = query.into_parts();
        Self { state, plan: Arc::new(plan), is_optimized: false, place }
    }

    /// A query whose plan was kept.
    pub(crate) fn known(state: SessionState, plan: Arc<LogicalPlan>) -> Self {
        Self { state, plan, is_optimized: true, place: None }
    }

    /// Plans what is not planned, and begins.
    ///
    /// # Errors
    /// When the query cannot be planned.
    pub(crate) async fn start(self) -> Result<SendableRecordBatchStream, DataFusionError> {
        let Self { state, mut plan, is_optimized, place } = self;
        if !is_optimized {
            let is_kept = is_the_same_later(&plan)?;
            plan = Arc::new(state.optimize(&plan)?);
            if let Some(place) = place.filter(|_| is_kept) {
                place.keep(&plan);
            }
        }
        let physical = state.query_planner().create_physical_plan(&plan, &state).await?;
        execute_stream(physical, Arc::new(TaskContext::from(&state)))
    }
}

/// Whether a plan over the same tables is the same at another time: nothing in it is asked once for a query, as the time is.
fn is_the_same_later(plan: &LogicalPlan) -> Result<bool> {
    let mut is_same = true;
    plan.apply_with_subqueries(|node| {
        is_same &= !matches!(
            node,
            LogicalPlan::Explain(_)
                | LogicalPlan::Analyze(_)
                | LogicalPlan::DescribeTable(_)
                | LogicalPlan::Statement(_)
        );
        // What a table function was given is computed by now, of the clock too.
        is_same &= !matches!(node, LogicalPlan::TableScan(scan) if scan.table_name.table().ends_with("()"));
        node.apply_expressions(|expr| {
            expr.apply(|part| {
                if let Expr::ScalarFunction(function) = part {
                    is_same &= function.func.signature().volatility != Volatility::Stable;
                }
                Ok(TreeNodeRecursion::Continue)
            })
        })
    })?;
    Ok(is_same)
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::util::pretty::pretty_format_batches;
    use datafusion::prelude::SessionContext;
    use futures::TryStreamExt;

    use super::*;

    async fn answers(context: &SessionContext, plans: &Arc<Plans>, sql: &str) -> (bool, Vec<String>) {
        let place = Place::new(plans, sql, &Parameters::new());
        let known = place.known();
        let was_known = known.is_some();
        let prepared = match known {
            Some(plan) => Prepared::known(context.state(), plan),
            None => Prepared::new(context.sql(sql).await.expect(sql), Some(place)),
        };
        let rows: Vec<_> = prepared.start().await.expect(sql).try_collect().await.expect(sql);
        let text = pretty_format_batches(&rows).expect(sql).to_string();
        (was_known, text.lines().map(str::to_owned).collect())
    }

    #[tokio::test]
    async fn a_query_that_is_asked_again_is_planned_once() {
        let context = SessionContext::new();
        let table = "CREATE TABLE t AS SELECT value AS a, value % 5 AS b FROM generate_series(1, 20000)";
        context.sql(table).await.expect("sql").collect().await.expect("a table");
        let plans = Arc::new(Plans::default());
        for sql in [
            "SELECT b, count(*), sum(a) FROM t GROUP BY b ORDER BY b",
            "SELECT a FROM t ORDER BY a DESC LIMIT 3",
            "SELECT x.a FROM t x JOIN t y ON x.a = y.a + 1 WHERE y.b = (SELECT min(b) FROM t) ORDER BY x.a LIMIT 2",
        ] {
            let first = answers(&context, &plans, sql).await;
            assert!(!first.0, "{sql}");
            for _ in 0..3 {
                assert_eq!(answers(&context, &plans, sql).await, (true, first.1.clone()), "{sql}");
            }
        }
        for sql in
            ["SELECT now() AS t", "SELECT a FROM t WHERE a < extract(YEAR FROM now()) LIMIT 1", "EXPLAIN SELECT 1"]
        {
            for _ in 0..2 {
                assert!(!answers(&context, &plans, sql).await.0, "{sql}");
            }
        }
    }
}
