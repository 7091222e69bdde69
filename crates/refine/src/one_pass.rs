//! Grouping once where one thread does it all.
//!
//! DataFusion groups each side of a union by itself and then groups the groups. That is worth it where sides are grouped at
//! the same time, or where it leaves few groups; a slice has one thread, and about as many groups as rows.

use std::sync::Arc;

use datafusion::common::Result;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::config::ConfigOptions;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_optimizer::combine_partial_final_agg::CombinePartialFinalAggregate;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::aggregates::{AggregateExec, AggregateMode};
use datafusion::physical_plan::coalesce_partitions::CoalescePartitionsExec;
use datafusion::physical_plan::execution_plan::{ChildrenPropertiesMode, ReplaceChildrenOptions};

const RECOMPUTED: ReplaceChildrenOptions = ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute);

/// Brings partitions together before they are grouped, and has both steps of a grouping done in one.
#[derive(Debug)]
pub(crate) struct OnePass;

impl PhysicalOptimizerRule for OnePass {
    fn optimize(&self, plan: Arc<dyn ExecutionPlan>, config: &ConfigOptions) -> Result<Arc<dyn ExecutionPlan>> {
        let together = plan.transform_up(together).data()?;
        CombinePartialFinalAggregate::new().optimize(together, config)
    }

    fn name(&self) -> &'static str {
        "OnePass"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

fn together(plan: Arc<dyn ExecutionPlan>) -> Result<Transformed<Arc<dyn ExecutionPlan>>> {
    let coalesce = plan.downcast_ref::<CoalescePartitionsExec>().filter(|coalesce| coalesce.fetch().is_none());
    let Some(grouped) = coalesce.map(|coalesce| Arc::clone(coalesce.input())) else {
        return Ok(Transformed::no(plan));
    };
    match grouped.downcast_ref::<AggregateExec>() {
        Some(aggregate) if *aggregate.mode() == AggregateMode::Partial => {
            let rows = Arc::new(CoalescePartitionsExec::new(Arc::clone(aggregate.input())));
            Ok(Transformed::yes(Arc::clone(&grouped).replace_children(vec![rows], RECOMPUTED)?))
        }
        _ => Ok(Transformed::no(plan)),
    }
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::util::pretty::pretty_format_batches;
    use datafusion::execution::SessionStateBuilder;
    use datafusion::prelude::{SessionConfig, SessionContext};

    use super::*;

    const UNION: &str = "SELECT a % 2 AS k, count(*) AS n, sum(a) AS s \
        FROM (SELECT a FROM (VALUES (1), (2), (3)) t(a) UNION ALL SELECT a FROM (VALUES (4), (5)) u(a)) \
        GROUP BY a % 2 ORDER BY k";

    fn context(one_pass: bool) -> SessionContext {
        let state = SessionStateBuilder::new().with_default_features();
        let state = state.with_config(SessionConfig::new().with_target_partitions(1));
        let state = if one_pass { state.with_physical_optimizer_rule(Arc::new(OnePass)) } else { state };
        SessionContext::new_with_state(state.build())
    }

    async fn answer(context: &SessionContext) -> String {
        let rows = context.sql(UNION).await.expect("a plan").collect().await.expect("rows");
        pretty_format_batches(&rows).expect("text").to_string()
    }

    fn groupings(plan: &Arc<dyn ExecutionPlan>) -> Vec<AggregateMode> {
        let below = plan.children().into_iter().flat_map(groupings);
        plan.downcast_ref::<AggregateExec>().map(|aggregate| *aggregate.mode()).into_iter().chain(below).collect()
    }

    #[tokio::test]
    async fn a_union_is_grouped_once_with_the_same_answer() {
        let (with, without) = (context(true), context(false));
        let plan = with.sql(UNION).await.expect("a plan").create_physical_plan().await.expect("a plan");
        assert_eq!(groupings(&plan), [AggregateMode::Single]);
        let plan = without.sql(UNION).await.expect("a plan").create_physical_plan().await.expect("a plan");
        assert_eq!(groupings(&plan), [AggregateMode::Final, AggregateMode::Partial], "or the rule is for nothing");
        assert_eq!(answer(&with).await, answer(&without).await);
    }
}
