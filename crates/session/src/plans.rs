//! Plans of a session's queries: a dashboard asks the same again and again.
//!
//! A session reads each table as it was when it was opened, so a plan over its tables stays right. Only what is asked of the
//! clock while planning (`now()`) makes a plan of its own each time.
//!
//! The physical plan of one that is asked again is kept too, as it is before dynamic filters come into it: these hold what a run found out, such as the
//! bounds of a join, and are one between the operator that finds it and the scan that goes by it. Each run takes the plan with
//! fresh operators ([`ExecutionPlan::reset_state`]) and lets the last rules put in filters of its own. Planning was a third of
//! a small question. Operators that are not known to begin anew are planned anew.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use datafusion::arrow::datatypes::DataType;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion};
use datafusion::common::{DataFusionError, Result, ScalarValue};
use datafusion::dataframe::DataFrame;
use datafusion::datasource::physical_plan::{FileGroup, ParquetSource};
use datafusion::datasource::source::DataSourceExec;
use datafusion::execution::context::{SessionState, TaskContext};
use datafusion::execution::{SendableRecordBatchStream, SessionStateBuilder};
use datafusion::logical_expr::{Expr, LogicalPlan, Volatility};
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::aggregates::AggregateExec;
use datafusion::physical_plan::sorts::sort::SortExec;
use datafusion::physical_plan::{ExecutionPlan, execute_stream};

use crate::statement::Parameters;

/// Plans that are kept; more begin anew.
const MOST: usize = 256;

/// Files that runs of kept physical plans may open until all are made anew: what a scan counts of each of them, some kilobytes,
/// stays with the plan.
const MOST_OPENED: usize = 4096;

/// The first of the rules that put dynamic filters into plans.
const FIRST_OF_A_RUN: &str = "FilterPushdown(Post)";

/// Operators that begin anew: what they hold of a run is in what `reset_state` replaces.
const BEGIN_ANEW: [&str; 16] = [
    "AggregateExec",
    "BoundedWindowAggExec",
    "CoalescePartitionsExec",
    "CooperativeExec",
    "DataSourceExec",
    "EmptyExec",
    "FilterExec",
    "GlobalLimitExec",
    "HashJoinExec",
    "LocalLimitExec",
    "ProjectionExec",
    "RepartitionExec",
    "SortExec",
    "SortExec(TopK)",
    "SortPreservingMergeExec",
    "UnionExec",
];

/// A statement and the values of its parameters, with their types: instants are equal in any zone.
type Asked = (String, Vec<(String, DataType, ScalarValue)>);

/// The plans of a session.
#[derive(Debug, Default)]
pub(crate) struct Plans {
    known: Mutex<HashMap<Asked, Arc<Known>>>,
    again: Arc<Again>,
}

/// The plan of a query.
#[derive(Debug)]
pub(crate) struct Known {
    logical: LogicalPlan,
    number: u64,
    again: Arc<Again>,
}

/// The physical plans of queries that were asked more than once.
#[derive(Debug, Default)]
struct Again(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    /// By the numbers of the queries. Each run begins with the plan, which itself is never run; `None`: it is made anew for
    /// each run.
    plans: HashMap<u64, Option<Begun>>,
    /// Files that runs have opened.
    opened: usize,
    /// Queries so far.
    numbers: u64,
}

#[derive(Debug, Clone)]
struct Begun {
    plan: Arc<dyn ExecutionPlan>,
    files: usize,
}

impl Again {
    fn lock(&self) -> MutexGuard<'_, Kept> {
        // What a panic may leave undone is a number that is too small.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    /// What a run of a query begins with; `None` where that is not known yet.
    fn of(&mut self, number: u64) -> Option<Option<Begun>> {
        let begun = self.plans.get(&number)?.clone();
        self.opened += begun.as_ref().map_or(0, |begun| begun.files);
        if self.opened > MOST_OPENED {
            self.clear();
            return None;
        }
        Some(begun)
    }

    fn clear(&mut self) {
        self.plans.clear();
        self.opened = 0;
    }
}

impl Known {
    /// A physical plan to be run once.
    async fn physical(&self, state: &SessionState) -> Result<Arc<dyn ExecutionPlan>> {
        let rules = state.physical_optimizers();
        let first = rules.iter().position(|rule| rule.name() == FIRST_OF_A_RUN).unwrap_or(rules.len());
        let kept = self.again.lock().of(self.number);
        let begun = match kept {
            Some(Some(begun)) => begun,
            Some(None) => return state.query_planner().create_physical_plan(&self.logical, state).await,
            None => {
                let before = SessionStateBuilder::new_from_existing(state.clone())
                    .with_physical_optimizer_rules(rules[..first].to_vec())
                    .build();
                let plan = state.query_planner().create_physical_plan(&self.logical, &before).await?;
                let begun = Begun { files: files(&plan)?, plan };
                let is_kept = first < rules.len() && begun.files <= MOST_OPENED / 2 && begins_anew(&begun.plan)?;
                self.again.lock().plans.insert(self.number, is_kept.then(|| begun.clone()));
                if !is_kept {
                    return with_rules(begun.plan, &rules[first..], state);
                }
                begun
            }
        };
        with_rules(anew(begun.plan)?, &rules[first..], state)
    }
}

/// Files that a run of a plan opens.
fn files(plan: &Arc<dyn ExecutionPlan>) -> Result<usize> {
    let mut files = 0;
    plan.apply(|plan| {
        let source = plan.downcast_ref::<DataSourceExec>();
        let scan = source.and_then(|source| source.downcast_to_file_source::<ParquetSource>());
        files += scan.map_or(0, |(scan, _)| scan.file_groups.iter().map(FileGroup::len).sum());
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(files)
}

/// Whether all operators of a plan without dynamic filters begin anew.
fn begins_anew(plan: &Arc<dyn ExecutionPlan>) -> Result<bool> {
    let mut all = true;
    plan.apply(|plan| {
        // The filter of `min` and `max` is one for all runs.
        let has_filter = plan.is::<AggregateExec>() && !plan.dynamic_expressions_produced().is_empty();
        all &= BEGIN_ANEW.contains(&plan.name()) && !has_filter;
        Ok(if all { TreeNodeRecursion::Continue } else { TreeNodeRecursion::Stop })
    })?;
    Ok(all)
}

/// The plan with operators of its own.
fn anew(plan: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
    let reset = |plan: Arc<dyn ExecutionPlan>| {
        // A sort of all rows holds nothing, and would be given a filter that nobody moves.
        let is_whole_sort = plan.downcast_ref::<SortExec>().is_some_and(|sort| sort.fetch().is_none());
        Ok(Transformed::yes(if is_whole_sort { plan } else { plan.reset_state()? }))
    };
    plan.transform_up(reset).data()
}

fn with_rules(
    plan: Arc<dyn ExecutionPlan>,
    rules: &[Arc<dyn PhysicalOptimizerRule + Send + Sync>],
    state: &SessionState,
) -> Result<Arc<dyn ExecutionPlan>> {
    rules.iter().try_fold(plan, |plan, rule| rule.optimize(plan, state.config_options()))
}

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
    pub(crate) fn known(&self) -> Option<Arc<Known>> {
        self.plans.lock().get(&self.asked).cloned()
    }

    fn keep(self, logical: LogicalPlan) {
        let Self { plans, asked } = self;
        let mut known = plans.lock();
        let mut kept = plans.again.lock();
        if known.len() >= MOST {
            known.clear();
            kept.clear();
        }
        kept.numbers += 1;
        let query = Arc::new(Known { logical, number: kept.numbers, again: Arc::clone(&plans.again) });
        known.insert(asked, query);
    }
}

impl Plans {
    fn lock(&self) -> MutexGuard<'_, HashMap<Asked, Arc<Known>>> {
        // The map is whole after any panic: it is only read and inserted into.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A query that is ready to run.
pub(crate) struct Prepared {
    state: SessionState,
    query: Query,
}

enum Query {
    /// One that is optimized when it runs, with the place where its plan is to be kept then.
    New {
        plan: Box<LogicalPlan>,
        place: Option<Place>,
    },
    Known(Arc<Known>),
}

impl Prepared {
    /// A query that is optimized when it runs, and whose plan is kept then if there is a `place` for it.
    pub(crate) fn new(query: DataFrame, place: Option<Place>) -> Self {
        let (state, plan) = query.into_parts();
        Self { state, query: Query::New { plan: Box::new(plan), place } }
    }

    /// A query whose plan was kept.
    pub(crate) fn known(state: SessionState, known: Arc<Known>) -> Self {
        Self { state, query: Query::Known(known) }
    }

    /// Plans what is not planned, and begins.
    ///
    /// # Errors
    /// When the query cannot be planned.
    pub(crate) async fn start(self) -> Result<SendableRecordBatchStream, DataFusionError> {
        let Self { state, query } = self;
        let physical = match query {
            Query::Known(known) => known.physical(&state).await?,
            Query::New { plan, place } => {
                let place = if is_the_same_later(&plan)? { place } else { None };
                let plan = state.optimize(&plan)?;
                let physical = state.query_planner().create_physical_plan(&plan, &state).await?;
                if let Some(place) = place {
                    place.keep(plan);
                }
                physical
            }
        };
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
    use datafusion::arrow::datatypes::Schema;
    use datafusion::arrow::util::pretty::pretty_format_batches;
    use datafusion::physical_plan::empty::EmptyExec;
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
            "SELECT x.a, y.b FROM (SELECT a FROM t ORDER BY a DESC LIMIT 5) x JOIN t y ON x.a = y.a ORDER BY x.a LIMIT 3",
            "SELECT min(a), max(a), count(*) FROM t WHERE a > 17",
            "SELECT min(a) FROM t",
            "SELECT b, last_value(a ORDER BY a) FROM t WHERE a % 7 = 3 GROUP BY b ORDER BY 2 DESC",
            "SELECT a, sum(a) OVER (PARTITION BY b ORDER BY a) AS s FROM t ORDER BY s DESC, a LIMIT 4",
            "SELECT a FROM t WHERE a < 3 UNION ALL SELECT b FROM t WHERE a < 3 ORDER BY 1",
            "SELECT x.a, y.a FROM (SELECT * FROM t WHERE a < 3) x, (SELECT * FROM t WHERE a < 3) y ORDER BY 1, 2",
            "SELECT b, count(*) FROM t WHERE b IN (SELECT b FROM t WHERE a = 8) GROUP BY b LIMIT 1",
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

    #[test]
    fn kept_plans_are_given_up_after_so_many_files() {
        let plan: Arc<dyn ExecutionPlan> = Arc::new(EmptyExec::new(Arc::new(Schema::empty())));
        let mut kept = Kept::default();
        assert!(kept.of(1).is_none(), "not made yet");
        kept.plans.insert(1, Some(Begun { plan: Arc::clone(&plan), files: MOST_OPENED / 2 }));
        kept.plans.insert(2, None);
        assert!(matches!(kept.of(2), Some(None)), "made anew each time");
        assert!(matches!(kept.of(1), Some(Some(_))));
        assert!(matches!(kept.of(1), Some(Some(_))));
        assert!(kept.of(1).is_none(), "a third run would open more");
        assert!(kept.plans.is_empty() && kept.opened == 0);
    }
}
