//! Whether the stored groups of a model follow from the signed change of what it reads (ENGINE.md 15).
//!
//! A model can be folded when its SELECT ends in a GROUP BY of sums and counts whose results it stores as they are: then
//! the groups of two sets of rows together are the sums of their groups, and a removed row is one that counts negative.

use arrow::datatypes::DataType;
use datafusion::logical_expr::expr::AggregateFunctionParams;
use datafusion::logical_expr::{Aggregate, Expr, ExprSchemable, LogicalPlan};

/// The columns of a model that can be folded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Folding {
    /// Columns that tell one group from another.
    pub(crate) groups: Vec<String>,
    /// Columns that are added up. Every other column follows from those of the group.
    pub(crate) measures: Vec<Measure>,
}

/// A column that is added up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Measure {
    /// The column.
    pub(crate) name: String,
    /// What is added up.
    pub(crate) kind: MeasureKind,
}

/// What an aggregate adds up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MeasureKind {
    /// The rows of the group.
    Rows,
    /// Some of them. Never null.
    Count,
    /// A value that is never null: the sum is not null where there is a row.
    Sum,
    /// A value that may be null: the sum is null where no row has one.
    SumOfSome,
}

/// What each output column of a plan is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Output {
    /// The group expression of this number.
    Group(usize),
    /// The aggregate of this number.
    Measure(usize),
    /// A function of the groups, or a constant.
    Derived,
}

/// How a plan is folded; `None` for a plan that has to be computed again.
pub(super) fn folding(plan: &LogicalPlan) -> Option<Folding> {
    let (aggregate, outputs) = outputs(plan)?;
    let name = |place: usize| plan.schema().field(place).name().clone();
    let mut groups = Vec::new();
    for number in 0..aggregate.group_expr.len() {
        groups.push(name(outputs.iter().position(|output| *output == Output::Group(number))?));
    }
    let mut measures = Vec::new();
    for (place, output) in outputs.iter().enumerate() {
        if let Output::Measure(number) = output {
            let kind = kind(aggregate, *number)?;
            measures.push(Measure { name: name(place), kind });
        }
    }
    Some(Folding { groups, measures })
}

/// The last GROUP BY of a plan, and what the plan's columns are in it.
fn outputs(plan: &LogicalPlan) -> Option<(&Aggregate, Vec<Output>)> {
    match plan {
        LogicalPlan::Projection(projection) => {
            let (aggregate, below) = outputs(&projection.input)?;
            let schema = projection.input.schema();
            let of = |expr: &Expr| match expr.clone().unalias_nested().data {
                Expr::Column(column) => Some(below[schema.maybe_index_of_column(&column)?]),
                other => {
                    let derived = other.column_refs().into_iter().all(|column| {
                        let output = schema.maybe_index_of_column(column).map(|place| below[place]);
                        output.is_some_and(|output| !matches!(output, Output::Measure(_)))
                    });
                    derived.then_some(Output::Derived)
                }
            };
            let outputs = projection.expr.iter().map(of).collect::<Option<_>>()?;
            Some((aggregate, outputs))
        }
        LogicalPlan::SubqueryAlias(alias) => outputs(&alias.input),
        LogicalPlan::Sort(sort) if sort.fetch.is_none() => outputs(&sort.input),
        LogicalPlan::Aggregate(aggregate) => {
            let grouping_sets = aggregate.group_expr.iter().any(|expr| matches!(expr, Expr::GroupingSet(_)));
            let groups = (0..aggregate.group_expr.len()).map(Output::Group);
            let measures = (0..aggregate.aggr_expr.len()).map(Output::Measure);
            (!grouping_sets).then(|| (aggregate, groups.chain(measures).collect()))
        }
        _ => None,
    }
}

/// What the aggregate of this number adds up; `None` where adding is not enough, or not exact.
fn kind(aggregate: &Aggregate, number: usize) -> Option<MeasureKind> {
    let Expr::AggregateFunction(call) = aggregate.aggr_expr[number].clone().unalias_nested().data else { return None };
    let AggregateFunctionParams { args, distinct, filter, order_by, .. } = call.params;
    if distinct || !order_by.is_empty() {
        return None;
    }
    let input = aggregate.input.schema();
    let never_null = filter.is_none() && args.iter().all(|arg| arg.nullable(input).is_ok_and(|nullable| !nullable));
    let exact = matches!(
        aggregate.schema.field(aggregate.group_expr.len() + number).data_type(),
        DataType::Int64 | DataType::Decimal128(..)
    );
    match call.func.name() {
        "count" if exact && never_null => Some(MeasureKind::Rows),
        "count" if exact => Some(MeasureKind::Count),
        "sum" if exact && never_null => Some(MeasureKind::Sum),
        "sum" if exact => Some(MeasureKind::SumOfSome),
        _ => None,
    }
}
