//! Grouping by whole numbers and dates, as most tables of figures do.
//!
//! DataFusion keeps each column of the keys by itself, so that a row that finds its group waits for as many places in memory
//! as there are columns, and for one of them after the other. Here a key is one thing of 32 bytes, and the places of a whole
//! batch are waited for together ([`table`]).

mod exec;
mod table;

use std::sync::Arc;

use datafusion::common::Result;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::config::ConfigOptions;
use datafusion::execution::SessionStateBuilder;
use datafusion::execution::context::SessionContext;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::ExecutionPlan;

use exec::GroupExec;

/// The same context, for plans that group so.
pub(crate) fn by_keys(context: &SessionContext) -> SessionContext {
    let state = SessionStateBuilder::new_from_existing(context.state());
    SessionContext::new_with_state(state.with_physical_optimizer_rule(Arc::new(GroupByKeys)).build())
}

/// Groups by the table of keys where keys are of types that it has.
#[derive(Debug)]
pub(crate) struct GroupByKeys;

impl PhysicalOptimizerRule for GroupByKeys {
    fn optimize(&self, plan: Arc<dyn ExecutionPlan>, _: &ConfigOptions) -> Result<Arc<dyn ExecutionPlan>> {
        plan.transform_up(|plan| {
            Ok(match GroupExec::instead_of(&plan)? {
                Some(group) => Transformed::yes(Arc::new(group)),
                None => Transformed::no(plan),
            })
        })
        .data()
    }

    fn name(&self) -> &'static str {
        "GroupByKeys"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{ArrayRef, Date32Array, Decimal128Array, Int32Array, Int64Array, RecordBatch};
    use arrow::util::pretty::pretty_format_batches;
    use datafusion::datasource::MemTable;
    use datafusion::execution::memory_pool::FairSpillPool;
    use datafusion::execution::runtime_env::RuntimeEnvBuilder;
    use datafusion::physical_plan::displayable;
    use datafusion::prelude::SessionConfig;

    use super::*;

    const GROUPED: &str = "SELECT a, d, b, count(*) AS n, count(m) AS given, sum(m) AS money, min(t) AS least, \
            sum(t) FILTER (WHERE b IS NOT NULL) AS some, last_value(m ORDER BY t) AS last, avg(t) AS mean \
        FROM facts GROUP BY a, d, b ORDER BY a, d, b";

    /// Rows of about as many groups, with nulls in all columns.
    fn facts(rows: i64, groups: i64) -> Vec<RecordBatch> {
        let value = |row: i64, of: i64| (row * 7_919 + row / 3) % of;
        let batch = |first: i64| {
            let rows = first..(first + 1_000).min(rows);
            let some = |row: i64, nth: i64| (row % nth != 0).then_some(row);
            let a: Int32Array = rows.clone().map(|row| some(row, 11).map(|_| value(row, groups) as i32 - 3)).collect();
            let d: Date32Array = rows.clone().map(|row| some(row, 13).map(|_| value(row, 3) as i32)).collect();
            let b: Int64Array = rows.clone().map(|row| some(row, 17).map(|_| value(row, 2) - 1)).collect();
            let m: Decimal128Array = rows.clone().map(|row| some(row, 5).map(|_| i128::from(row % 1_000))).collect();
            let t: Int64Array = rows.map(Some).collect();
            let m = m.with_precision_and_scale(12, 2).expect("a decimal");
            let columns: [(&str, ArrayRef); 5] =
                [("a", Arc::new(a)), ("d", Arc::new(d)), ("b", Arc::new(b)), ("m", Arc::new(m)), ("t", Arc::new(t))];
            RecordBatch::try_from_iter_with_nullable(columns.map(|(name, column)| (name, column, true)))
                .expect("a batch")
        };
        (0..rows).step_by(1_000).map(batch).collect()
    }

    fn context(facts: &[RecordBatch], by_keys: bool, memory: usize) -> SessionContext {
        let config = SessionConfig::new().with_target_partitions(1).with_batch_size(1_000);
        context_of(facts, by_keys, memory, config)
    }

    /// Two threads, so that groups are made in two steps; in the first one up to this share of groups among rows.
    fn in_two_steps(facts: &[RecordBatch], by_keys: bool, memory: usize, ratio: f64) -> SessionContext {
        let mut config = SessionConfig::new().with_target_partitions(2).with_batch_size(1_000);
        let execution = &mut config.options_mut().execution;
        execution.skip_partial_aggregation_probe_rows_threshold = 2_000;
        execution.skip_partial_aggregation_probe_ratio_threshold = ratio;
        context_of(facts, by_keys, memory, config)
    }

    /// With the pool that sessions have.
    fn context_of(facts: &[RecordBatch], by_keys: bool, memory: usize, config: SessionConfig) -> SessionContext {
        let pool = Arc::new(FairSpillPool::new(memory));
        let runtime = RuntimeEnvBuilder::new().with_memory_pool(pool).build_arc().expect("a runtime");
        let partitions = config.target_partitions();
        let state = SessionStateBuilder::new().with_default_features().with_config(config).with_runtime_env(runtime);
        let context = SessionContext::new_with_state(state.build());
        let context = if by_keys { super::by_keys(&context) } else { context };
        let parts = facts.chunks(facts.len().div_ceil(partitions)).map(<[RecordBatch]>::to_vec).collect();
        let table = MemTable::try_new(facts[0].schema(), parts).expect("a table");
        context.register_table("facts", Arc::new(table)).expect("registered");
        context
    }

    async fn answer(context: &SessionContext, sql: &str) -> String {
        let rows = context.sql(sql).await.expect("a plan").collect().await.expect("rows");
        pretty_format_batches(&rows).expect("text").to_string()
    }

    async fn plan(context: &SessionContext, sql: &str) -> String {
        let plan = context.sql(sql).await.expect("a plan").create_physical_plan().await.expect("a plan");
        displayable(plan.as_ref()).indent(false).to_string()
    }

    #[tokio::test]
    async fn groups_are_those_of_datafusion() {
        for (rows, groups) in [(0, 1), (1, 1), (5_000, 20), (20_000, 9_000)] {
            let facts = if rows == 0 { vec![facts(1, 1)[0].slice(0, 0)] } else { facts(rows, groups) };
            let (ours, theirs) = (context(&facts, true, 1 << 30), context(&facts, false, 1 << 30));
            assert!(plan(&ours, GROUPED).await.contains("GroupExec"), "or this tests nothing");
            assert_eq!(answer(&ours, GROUPED).await, answer(&theirs, GROUPED).await, "{rows} rows, {groups} groups");
        }
    }

    #[tokio::test]
    async fn groups_in_two_steps_are_those_of_datafusion() {
        for (rows, groups) in [(5_000, 20), (20_000, 9_000)] {
            let facts = facts(rows, groups);
            let theirs = context(&facts, false, 1 << 30);
            // The first step goes on to the end, and is given up as soon as it may be.
            for ratio in [1.0, 0.0] {
                let ours = in_two_steps(&facts, true, 1 << 30, ratio);
                let plan = plan(&ours, GROUPED).await;
                assert!(
                    plan.contains("GroupExec: AggregateExec: mode=Partial")
                        && plan.contains("GroupExec: AggregateExec: mode=Final"),
                    "{plan}"
                );
                let (found, expected) = (answer(&ours, GROUPED).await, answer(&theirs, GROUPED).await);
                assert_eq!(found, expected, "{rows} rows, {groups} groups, {ratio}");
            }
        }
    }

    /// As in a slice, whose filter leaves one value of a key: DataFusion takes its rows for sorted by it.
    #[tokio::test]
    async fn groups_of_rows_in_order_too() {
        let facts = facts(20_000, 9_000);
        let (ours, theirs) = (context(&facts, true, 1 << 30), context(&facts, false, 1 << 30));
        let sql = "SELECT d, a, n, sum(n) OVER (ORDER BY d, a) AS so_far FROM \
            (SELECT d, a, count(*) AS n FROM facts WHERE d = DATE '1970-01-02' GROUP BY d, a) ORDER BY d, a";
        assert!(plan(&theirs, sql).await.contains("ordering_mode="), "or this tests nothing");
        assert!(plan(&ours, sql).await.contains("GroupExec"), "or this tests nothing");
        assert_eq!(answer(&ours, sql).await, answer(&theirs, sql).await);
    }

    #[tokio::test]
    async fn groups_that_do_not_fit_into_memory_spill() {
        let sql = "SELECT count(*) AS groups, sum(n) AS rows, sum(money) AS money FROM \
            (SELECT t, a, count(*) AS n, sum(m) AS money FROM facts GROUP BY t, a)";
        let facts = facts(300_000, 300_000);
        // The keys alone take 9.6 MB.
        let (small, large) = (context(&facts, true, 8 << 20), context(&facts, false, 1 << 30));
        assert!(plan(&small, sql).await.contains("GroupExec"), "or this tests nothing");
        let expected = answer(&large, sql).await;
        assert_eq!(answer(&small, sql).await, expected);
        for memory in [8 << 20, 32 << 20] {
            let small = in_two_steps(&facts, true, memory, 1.0);
            assert!(plan(&small, sql).await.contains("GroupExec: AggregateExec: mode=Final"), "or this tests nothing");
            assert_eq!(answer(&small, sql).await, expected, "{memory} bytes");
        }
    }

    #[tokio::test]
    async fn others_stay_as_they_are() {
        let context = context(&facts(10, 2), true, 1 << 30);
        for sql in [
            "SELECT a, count(*) FROM facts GROUP BY a",
            "SELECT a, CAST(b AS VARCHAR), count(*) FROM facts GROUP BY 1, 2",
            "SELECT a, b, count(*) FROM facts GROUP BY ROLLUP (a, b)",
            "SELECT count(*) FROM facts",
        ] {
            assert!(!plan(&context, sql).await.contains("GroupExec"), "{sql}");
        }
    }
}
