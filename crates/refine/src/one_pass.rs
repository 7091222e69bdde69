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
