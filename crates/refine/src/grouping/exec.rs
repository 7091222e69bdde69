//! The operator.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::{ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::SchemaRef;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{DataFusionError, Result, internal_err};
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryReservation};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::{EmitTo, GroupsAccumulator};
use datafusion::physical_expr::{OrderingRequirements, PhysicalExpr};
use datafusion::physical_plan::aggregates::{AggregateExec, AggregateMode, aggregate_expressions, evaluate_many};
use datafusion::physical_plan::execution_plan::{ChildrenPropertiesMode, ReplaceChildrenOptions, reset_plan_states};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, ExecutionPlanProperties, InputDistributionRequirements,
    InputOrderMode, PlanProperties,
};
use futures::stream::{self, BoxStream, Stream, StreamExt, TryStreamExt};

use super::table::{GroupTable, Layout};

/// Does what an [`AggregateExec`] does, in one step or in either of two. Where memory does not suffice, that one does it,
/// which can spill; of two steps the first one gives out what it has and goes on.
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
        let is_ours = match aggregate.mode() {
            AggregateMode::Partial | AggregateMode::Final | AggregateMode::FinalPartitioned => true,
            // Where memory does not suffice, their input is read again: all of it.
            AggregateMode::Single | AggregateMode::SinglePartitioned => {
                aggregate.input().output_partitioning().partition_count() == 1
            }
            AggregateMode::PartialReduce => false,
        };
        // Of rows in the order of all keys DataFusion gives each group out at once.
        let is_plain = is_ours
            && *aggregate.input_order_mode() != InputOrderMode::Sorted
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

    fn input_distribution_requirements(&self) -> InputDistributionRequirements {
        self.aggregate.input_distribution_requirements()
    }

    fn required_input_ordering(&self) -> Vec<Option<OrderingRequirements>> {
        self.aggregate.required_input_ordering()
    }

    fn maintains_input_order(&self) -> Vec<bool> {
        self.aggregate.maintains_input_order()
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
        let rows = context.session_config().batch_size();
        let instead = Arc::clone(&self.aggregate);
        let output = match aggregate.mode() {
            AggregateMode::Partial => {
                let skipping = Skipping::new(aggregate, &context);
                states(grouping, input, skipping, rows).boxed()
            }
            AggregateMode::Final | AggregateMode::FinalPartitioned => {
                let merged = merged(grouping, input, aggregate.input().schema(), instead, partition, context);
                stream::once(merged).try_flatten().boxed()
            }
            _ => stream::once(whole(grouping, input, instead, partition, context)).try_flatten().boxed(),
        };
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), output)))
    }
}

type Batches = BoxStream<'static, Result<RecordBatch>>;

/// Groups all rows, in one step.
async fn whole(
    mut grouping: Grouping,
    mut input: SendableRecordBatchStream,
    instead: Arc<dyn ExecutionPlan>,
    partition: usize,
    context: Arc<TaskContext>,
) -> Result<Batches> {
    if grouping.all(&mut input).await? {
        // The input's own memory is free again before the groups are written out.
        drop(input);
        return grouping.groups(context.session_config().batch_size());
    }
    drop((input, grouping));
    Ok(reset_plan_states(instead)?.execute(partition, context)?.boxed())
}

/// Groups rows of states, those of other groupings.
async fn merged(
    mut grouping: Grouping,
    mut input: SendableRecordBatchStream,
    states: SchemaRef,
    instead: Arc<dyn ExecutionPlan>,
    partition: usize,
    context: Arc<TaskContext>,
) -> Result<Batches> {
    let rows = context.session_config().batch_size();
    if grouping.all(&mut input).await? {
        drop(input);
        return grouping.groups(rows);
    }
    // What is grouped by now is as good a part of the input as the rest.
    let grouped = grouping.states(Arc::clone(&states))?.given_away(rows);
    let all = RecordBatchStreamAdapter::new(states, grouped.chain(input));
    let children = instead.children();
    let [read] = children.as_slice() else { return internal_err!("{} inputs of an aggregate", children.len()) };
    let properties = Arc::clone(read.properties());
    let given = Given { properties, rows: Mutex::new(Some(Box::pin(all))) };
    // The properties stay as they were: groups come in the order of their first rows.
    let options = ReplaceChildrenOptions::new(ChildrenPropertiesMode::Keep);
    Ok(instead.replace_children(vec![Arc::new(given)], options)?.execute(partition, context)?.boxed())
}

/// Rows in the place of the input that they come from, once.
struct Given {
    /// Those of the input.
    properties: Arc<PlanProperties>,
    rows: Mutex<Option<SendableRecordBatchStream>>,
}

impl fmt::Debug for Given {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Given").finish_non_exhaustive()
    }
}

impl DisplayAs for Given {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Given")
    }
}

impl ExecutionPlan for Given {
    fn name(&self) -> &'static str {
        "Given"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        Vec::new()
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn replace_children(
        self: Arc<Self>,
        _: Vec<Arc<dyn ExecutionPlan>>,
        _: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }

    fn with_new_children(self: Arc<Self>, _: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }

    fn execute(&self, _: usize, _: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let rows = self.rows.lock().unwrap_or_else(PoisonError::into_inner).take();
        rows.map_or_else(|| internal_err!("the rows were given before"), Ok)
    }
}

/// When grouping is given up, because rows mostly are groups of their own.
struct Skipping {
    /// After so many rows.
    rows: usize,
    /// More groups than this share of them.
    ratio: f64,
}

impl Skipping {
    /// By the settings of the session; rows in an order are always grouped.
    fn new(aggregate: &AggregateExec, context: &TaskContext) -> Option<Self> {
        let options = &context.session_config().options().execution;
        (*aggregate.input_order_mode() == InputOrderMode::Linear).then_some(Self {
            rows: options.skip_partial_aggregation_probe_rows_threshold,
            ratio: options.skip_partial_aggregation_probe_ratio_threshold,
        })
    }
}

/// Groups rows and gives their states, several of a group where memory does not suffice for all.
fn states(
    grouping: Grouping,
    input: SendableRecordBatchStream,
    skipping: Option<Skipping>,
    rows: usize,
) -> impl Stream<Item = Result<RecordBatch>> {
    let begin = First { schema: Arc::clone(&grouping.schema), grouping, input, skipping, seen: 0, skips: false };
    let parts = stream::try_unfold(Some(begin), move |first| async move {
        let Some(mut first) = first else { return Ok(None) };
        let (part, more) = first.next(rows).await?;
        Ok::<_, DataFusionError>(Some((part, more.then_some(first))))
    });
    parts.try_flatten()
}

/// The first of two steps of a grouping.
struct First {
    schema: SchemaRef,
    grouping: Grouping,
    input: SendableRecordBatchStream,
    skipping: Option<Skipping>,
    /// Rows of the groups so far.
    seen: usize,
    /// Whether rows go through as they are.
    skips: bool,
}

impl First {
    /// The next states, and whether there may be more.
    async fn next(&mut self, rows: usize) -> Result<(Batches, bool)> {
        let mut groups = Vec::new();
        while let Some(batch) = self.input.next().await {
            let batch = batch?;
            if self.skips {
                let state = self.grouping.states_of(&batch)?;
                return Ok((stream::once(async { Ok(state) }).boxed(), true));
            }
            let fits = self.grouping.add(&batch, &mut groups)?;
            self.seen += batch.num_rows();
            if let Some(skipping) = self.skipping.as_ref().filter(|skipping| self.seen >= skipping.rows) {
                self.skips = self.grouping.table.len() as f64 > skipping.ratio * self.seen as f64;
            }
            if self.skips || !fits {
                return Ok((self.give(rows)?, true));
            }
        }
        Ok((self.give(rows)?, false))
    }

    /// Gives out the states so far.
    fn give(&mut self, rows: usize) -> Result<Batches> {
        self.seen = 0;
        if self.grouping.table.len() == 0 {
            return Ok(stream::empty().boxed());
        }
        Ok(self.grouping.states(Arc::clone(&self.schema))?.given_away(rows).boxed())
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
    /// Whether rows are states.
    merges: bool,
    memory: MemoryReservation,
}

impl Grouping {
    fn new(aggregate: &AggregateExec, layout: Layout, context: &TaskContext) -> Result<Self> {
        let by: Vec<_> = aggregate.group_expr().expr().iter().map(|(expr, _)| Arc::clone(expr)).collect();
        let accumulators = aggregate.aggr_expr().iter().map(|expr| expr.create_groups_accumulator());
        let merges = matches!(aggregate.mode(), AggregateMode::Final | AggregateMode::FinalPartitioned);
        let filters = aggregate.filter_expr().iter();
        Ok(Self {
            arguments: aggregate_expressions(aggregate.aggr_expr(), aggregate.mode(), by.len())?,
            by,
            // States are of rows that were filtered.
            filters: filters.map(|filter| filter.clone().filter(|_| !merges)).collect(),
            accumulators: accumulators.collect::<Result<_>>()?,
            table: GroupTable::new(layout),
            schema: aggregate.schema(),
            merges,
            memory: MemoryConsumer::new("GroupExec").with_can_spill(true).register(context.memory_pool()),
        })
    }

    /// Groups all rows; whether memory sufficed for them. Where it did not, those up to there are grouped.
    async fn all(&mut self, input: &mut SendableRecordBatchStream) -> Result<bool> {
        let mut groups = Vec::new();
        while let Some(batch) = input.next().await {
            if !self.add(&batch?, &mut groups)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Groups a batch; whether there was memory for it.
    fn add(&mut self, batch: &RecordBatch, groups: &mut Vec<usize>) -> Result<bool> {
        let rows = batch.num_rows();
        let keys = self.keys(batch)?;
        let values = evaluate_many(&self.arguments, batch)?;
        self.table.groups(&keys, rows, groups)?;
        for ((accumulator, values), filter) in self.accumulators.iter_mut().zip(values).zip(&self.filters) {
            if self.merges {
                accumulator.merge_batch(&values, groups, self.table.len())?;
                continue;
            }
            let filter = filter.as_ref().map(|filter| column(filter, batch)).transpose()?;
            let filter = filter.as_ref().map(|filter| filter.as_boolean());
            accumulator.update_batch(&values, groups, filter, self.table.len())?;
        }
        let accumulated: usize = self.accumulators.iter().map(|accumulator| accumulator.size()).sum();
        match self.memory.try_resize(self.table.size() + accumulated) {
            Ok(()) => Ok(true),
            Err(error) if matches!(error.find_root(), DataFusionError::ResourcesExhausted(_)) => {
                tracing::debug!(%error, "groups do not fit into memory");
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    fn keys(&self, batch: &RecordBatch) -> Result<Vec<ArrayRef>> {
        self.by.iter().map(|expr| column(expr, batch)).collect()
    }

    /// What the groups come to, in batches of at most so many rows.
    fn groups(mut self, rows: usize) -> Result<Batches> {
        if self.table.len() == 0 {
            // Some accumulators have no column for no group.
            return Ok(stream::empty().boxed());
        }
        let accumulated = self.accumulators.iter_mut().map(|accumulator| accumulator.evaluate(EmitTo::All));
        let accumulated = accumulated.collect::<Result<Vec<ArrayRef>>>()?;
        let columns = [self.table.take_columns(), accumulated].concat();
        let groups = Groups { rows: RecordBatch::try_new(self.schema, columns)?, memory: self.memory };
        Ok(groups.batches(rows).boxed())
    }

    /// The states of the groups, in columns of this schema; none is grouped afterwards.
    fn states(&mut self, schema: SchemaRef) -> Result<Groups> {
        let mut columns = self.table.take_columns();
        for accumulator in &mut self.accumulators {
            columns.extend(accumulator.state(EmitTo::All)?);
        }
        Ok(Groups { rows: RecordBatch::try_new(schema, columns)?, memory: self.memory.take() })
    }

    /// The states of rows that are groups of their own.
    fn states_of(&self, batch: &RecordBatch) -> Result<RecordBatch> {
        let mut columns = self.keys(batch)?;
        let values = evaluate_many(&self.arguments, batch)?;
        for ((accumulator, values), filter) in self.accumulators.iter().zip(values).zip(&self.filters) {
            let filter = filter.as_ref().map(|filter| column(filter, batch)).transpose()?;
            let filter = filter.as_ref().map(|filter| filter.as_boolean());
            columns.extend(accumulator.convert_to_state(&values, filter)?);
        }
        Ok(RecordBatch::try_new(Arc::clone(&self.schema), columns)?)
    }
}

fn column(expr: &Arc<dyn PhysicalExpr>, batch: &RecordBatch) -> Result<ArrayRef> {
    expr.evaluate(batch)?.into_array(batch.num_rows())
}

/// Groups to be given out.
struct Groups {
    rows: RecordBatch,
    memory: MemoryReservation,
}

impl Groups {
    /// The groups in batches of at most so many rows. Their memory counts until the last one is given out.
    fn batches(self, rows: usize) -> impl Stream<Item = Result<RecordBatch>> {
        let all = self.rows.num_rows();
        let batch = move |first: usize| {
            let groups = &self;
            Ok(groups.rows.slice(first, rows.min(all - first)))
        };
        stream::iter((0..all).step_by(rows.max(1)).map(batch))
    }

    /// The same for one who counts the memory of what it is given: it is counted here for the others only.
    fn given_away(self, rows: usize) -> impl Stream<Item = Result<RecordBatch>> {
        let (all, bytes) = (self.rows.num_rows(), self.memory.size());
        let batch = move |first: usize| {
            let (groups, given) = (&self, rows.min(all - first));
            groups.memory.resize(bytes / all * (all - first - given));
            Ok(groups.rows.slice(first, given))
        };
        stream::iter((0..all).step_by(rows.max(1)).map(batch))
    }
}
