//! The operator.

use std::fmt;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::SchemaRef;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{DataFusionError, Result, internal_err};
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryReservation};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::{EmitTo, GroupsAccumulator};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::aggregates::{AggregateExec, AggregateMode, aggregate_expressions, evaluate_many};
use datafusion::physical_plan::execution_plan::{ChildrenPropertiesMode, ReplaceChildrenOptions, reset_plan_states};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, ExecutionPlanProperties, PlanProperties};
use futures::stream::{self, StreamExt, TryStreamExt};

use super::table::{GroupTable, Layout};

/// Does what an [`AggregateExec`] does. Where memory does not suffice, that one does it, which can spill.
#[derive(Debug)]
pub(super) struct GroupExec {
    /// What it stands for; holds the input too.
    aggregate: Arc<dyn ExecutionPlan>,
    layout: Layout,
}

impl GroupExec {
    /// The operator that does what `plan` does, where it can.
    ///
    /// # Errors
    /// When a type of the keys cannot be told.
    pub(super) fn instead_of(plan: &Arc<dyn ExecutionPlan>) -> Result<Option<Self>> {
        let Some(aggregate) = plan.downcast_ref::<AggregateExec>() else { return Ok(None) };
        let by = aggregate.group_expr();
        let is_plain = matches!(aggregate.mode(), AggregateMode::Single | AggregateMode::SinglePartitioned)
            && aggregate.input().output_partitioning().partition_count() == 1
            && aggregate.limit_options().is_none()
            && aggregate.dynamic_expressions_produced().is_empty()
            && by.is_single()
            && by.expr().len() > 1
            && aggregate.aggr_expr().iter().all(|expr| expr.groups_accumulator_supported());
        if !is_plain {
            return Ok(None);
        }
        let keys = by.group_schema(&aggregate.input().schema())?;
        let layout = Layout::of(keys.fields().iter().map(|field| field.data_type()));
        Ok(layout.map(|layout| Self { aggregate: Arc::clone(plan), layout }))
    }

    fn aggregate(&self) -> Result<&AggregateExec> {
        match self.aggregate.downcast_ref::<AggregateExec>() {
            Some(aggregate) => Ok(aggregate),
            None => internal_err!("{} in the place of an aggregate", self.aggregate.name()),
        }
    }
}

impl DisplayAs for GroupExec {
    fn fmt_as(&self, format: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "GroupExec: ")?;
        match self.aggregate.downcast_ref::<AggregateExec>() {
            Some(aggregate) => aggregate.fmt_as(format, f),
            None => Ok(()),
        }
    }
}

impl ExecutionPlan for GroupExec {
    fn name(&self) -> &'static str {
        "GroupExec"
    }

    /// An order of the groups is kept too, where one is known: they come in the order of their first rows.
    fn properties(&self) -> &Arc<PlanProperties> {
        self.aggregate.properties()
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        self.aggregate.children()
    }

    fn apply_expressions(
        &self,
        f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        self.aggregate.apply_expressions(f)
    }

    fn replace_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
        options: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let aggregate = Arc::clone(&self.aggregate).replace_children(children, options)?;
        Ok(match Self::instead_of(&aggregate)? {
            Some(group) => Arc::new(group),
            None => aggregate,
        })
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        self.replace_children(children, ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute))
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let aggregate = self.aggregate()?;
        let grouping = Grouping::new(aggregate, self.layout.clone(), &context)?;
        let input = aggregate.input().execute(partition, Arc::clone(&context))?;
        let (schema, instead) = (self.schema(), Arc::clone(&self.aggregate));
        let rows = async move {
            match grouping.all(input).await {
                Ok(groups) => Ok(groups.batches(context.session_config().batch_size()).boxed()),
                Err(error) if matches!(error.find_root(), DataFusionError::ResourcesExhausted(_)) => {
                    tracing::debug!(%error, "groups do not fit into memory: with those that spill");
                    Ok(reset_plan_states(instead)?.execute(partition, context)?.boxed())
                }
                Err(error) => Err(error),
            }
        };
        Ok(Box::pin(RecordBatchStreamAdapter::new(schema, stream::once(rows).try_flatten())))
    }
}

/// A grouping under way.
struct Grouping {
    by: Vec<Arc<dyn PhysicalExpr>>,
    arguments: Vec<Vec<Arc<dyn PhysicalExpr>>>,
    filters: Vec<Option<Arc<dyn PhysicalExpr>>>,
    accumulators: Vec<Box<dyn GroupsAccumulator>>,
    table: GroupTable,
    schema: SchemaRef,
    memory: MemoryReservation,
}

impl Grouping {
    fn new(aggregate: &AggregateExec, layout: Layout, context: &TaskContext) -> Result<Self> {
        let by = aggregate.group_expr().expr().iter().map(|(expr, _)| Arc::clone(expr)).collect();
        let accumulators = aggregate.aggr_expr().iter().map(|expr| expr.create_groups_accumulator());
        Ok(Self {
            by,
            arguments: aggregate_expressions(aggregate.aggr_expr(), aggregate.mode(), 0)?,
            filters: aggregate.filter_expr().to_vec(),
            accumulators: accumulators.collect::<Result<_>>()?,
            table: GroupTable::new(layout),
            schema: aggregate.schema(),
            memory: MemoryConsumer::new("GroupExec").register(context.memory_pool()),
        })
    }

    /// Groups all rows.
    async fn all(mut self, mut input: SendableRecordBatchStream) -> Result<Groups> {
        let mut groups = Vec::new();
        while let Some(batch) = input.next().await {
            self.add(&batch?, &mut groups)?;
        }
        // The input's own memory is free again before the groups are written out.
        drop(input);
        let accumulated = self.accumulators.iter_mut().map(|accumulator| accumulator.evaluate(EmitTo::All));
        let accumulated = accumulated.collect::<Result<Vec<ArrayRef>>>()?;
        let columns = [self.table.into_columns(), accumulated].concat();
        Ok(Groups { rows: RecordBatch::try_new(self.schema, columns)?, _memory: self.memory })
    }

    fn add(&mut self, batch: &RecordBatch, groups: &mut Vec<usize>) -> Result<()> {
        let rows = batch.num_rows();
        let column = |expr: &Arc<dyn PhysicalExpr>| expr.evaluate(batch)?.into_array(rows);
        let keys = self.by.iter().map(column).collect::<Result<Vec<ArrayRef>>>()?;
        let values = evaluate_many(&self.arguments, batch)?;
        self.table.groups(&keys, rows, groups)?;
        for ((accumulator, values), filter) in self.accumulators.iter_mut().zip(values).zip(&self.filters) {
            let filter = filter.as_ref().map(column).transpose()?;
            let filter = filter.as_ref().map(|filter| filter.as_boolean());
            accumulator.update_batch(&values, groups, filter, self.table.len())?;
        }
        let accumulated: usize = self.accumulators.iter().map(|accumulator| accumulator.size()).sum();
        self.memory.try_resize(self.table.size() + accumulated)
    }
}

/// All groups.
struct Groups {
    rows: RecordBatch,
    /// Until they are given out.
    _memory: MemoryReservation,
}

impl Groups {
    /// The groups in batches of at most so many rows.
    fn batches(self, rows: usize) -> impl stream::Stream<Item = Result<RecordBatch>> {
        let all = self.rows.num_rows();
        let batch = move |first: usize| {
            // All of it, so that the memory counts until the last batch is given out.
            let groups = &self;
            Ok(groups.rows.slice(first, rows.min(all - first)))
        };
        stream::iter((0..all).step_by(rows.max(1)).map(batch))
    }
}
