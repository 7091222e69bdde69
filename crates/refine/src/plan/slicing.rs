//! Whether a scoped model can be computed some scopes at a time without reading much twice.
//!
//! Rows of one scope depend on upstream rows of that scope alone (see [`super::check`]), so any set of scopes can be
//! computed by itself. It pays where each scan reads only what belongs to the scopes: where they are among the partition
//! columns of the table, or a join compares such a column with a table that holds them. Then tables of groups stay small,
//! nothing has to be exchanged between threads, and memory is bounded whatever the size of the table.

use datafusion::datasource::source_as_provider;
use datafusion::logical_expr::{Distinct, Expr, Join, JoinType, LogicalPlan, TableScan};
use store::LakeFiles;

use super::check::equalities;
use super::trace::{belongs_to, columns, descend, output_column, replace};

/// What computing a plan some scopes at a time reads.
#[derive(Debug, Default)]
pub(crate) struct Slicing {
    /// Scans that together hold all scopes.
    pub(crate) sources: Vec<Source>,
    /// Rows of the tables of which each slice reads its own part.
    pub(crate) divided: u64,
    /// Rows of the tables that each slice reads whole.
    pub(crate) whole: u64,
}

/// A scan of a table that holds scopes.
#[derive(Debug)]
pub(crate) struct Source {
    /// The scan.
    pub(crate) scan: TableScan,
    /// What of its columns is the scope, in the scope's order.
    pub(crate) scope: Vec<Expr>,
    /// Which of them follow from the partition of a row.
    pub(crate) in_partition: Vec<bool>,
}

impl Source {
    /// Whether its partitions say which scopes it holds.
    pub(crate) fn is_divided(&self) -> bool {
        self.in_partition.iter().all(|is| *is)
    }
}

/// How a part of a plan depends on the scope.
#[derive(Clone, Copy)]
enum Reach<'a> {
    /// These expressions over its output are the scope.
    Scope(&'a [Expr]),
    /// A join compares these expressions over its output with rows that hold the scope.
    Keys(&'a [Expr]),
}

/// How a plan's output for some values of `scope` can be computed; `None` where it cannot be told which tables hold them.
pub(crate) fn slicing(plan: &LogicalPlan, scope: &[String]) -> Option<Slicing> {
    let exprs = columns(plan.schema(), scope).ok()?;
    let mut slicing = Slicing::default();
    slicing.walk(plan, Reach::Scope(&exprs))?;
    Some(slicing)
}

impl Slicing {
    fn walk(&mut self, plan: &LogicalPlan, reach: Reach<'_>) -> Option<()> {
        let mut down = |input: &LogicalPlan, below: &dyn Fn(usize) -> Option<Expr>| {
            let descended = |exprs: &[Expr]| descend(exprs, plan.schema(), below).ok();
            match reach {
                Reach::Scope(exprs) => self.walk(input, Reach::Scope(&descended(exprs)?)),
                Reach::Keys(exprs) => self.walk(input, Reach::Keys(&descended(exprs)?)),
            }
        };
        match plan {
            LogicalPlan::Projection(projection) => {
                down(&projection.input, &|place| projection.expr.get(place).cloned())
            }
            LogicalPlan::SubqueryAlias(alias) => down(&alias.input, &|place| Some(output_column(&alias.input, place))),
            LogicalPlan::Aggregate(aggregate) => {
                down(&aggregate.input, &|place| aggregate.group_expr.get(place).cloned())
            }
            LogicalPlan::Window(window) => {
                let width = window.input.schema().fields().len();
                down(&window.input, &|place| (place < width).then(|| output_column(&window.input, place)))
            }
            LogicalPlan::Unnest(unnest) => down(&unnest.input, &|place| {
                let from = *unnest.dependency_indices.get(place)?;
                Some(output_column(&unnest.input, from))
            }),
            LogicalPlan::Union(union) => {
                union.inputs.iter().try_for_each(|input| down(input, &|place| Some(output_column(input, place))))
            }
            LogicalPlan::Filter(filter) => self.walk(&filter.input, reach),
            LogicalPlan::Sort(sort) => self.walk(&sort.input, reach),
            LogicalPlan::Repartition(repartition) => self.walk(&repartition.input, reach),
            LogicalPlan::Distinct(Distinct::All(input)) => self.walk(input, reach),
            LogicalPlan::Join(join) => self.join(join, reach),
            LogicalPlan::TableScan(scan) => self.scan(scan, reach),
            LogicalPlan::EmptyRelation(_) => Some(()),
            _ => None,
        }
    }

    /// Scopes come from the side whose rows are kept; the other side is looked up by what the join compares.
    fn join(&mut self, join: &Join, reach: Reach<'_>) -> Option<()> {
        let equal = equalities(join);
        let to_left: Vec<_> = equal.iter().map(|(left, right)| (right, left)).collect();
        let to_right: Vec<_> = equal.iter().map(|(left, right)| (left, right)).collect();
        let Reach::Scope(exprs) = reach else {
            self.whole(&join.left);
            self.whole(&join.right);
            return Some(());
        };
        let left: Vec<Expr> = exprs.iter().map(|expr| replace(expr, &to_left)).collect();
        let right: Vec<Expr> = exprs.iter().map(|expr| replace(expr, &to_right)).collect();
        let in_left = left.iter().all(|expr| belongs_to(expr, join.left.schema()));
        let in_right = right.iter().all(|expr| belongs_to(expr, join.right.schema()));
        let from_left = match join.join_type {
            JoinType::Left | JoinType::LeftSemi | JoinType::LeftAnti => in_left,
            JoinType::Inner => in_left,
            _ => false,
        };
        let from_right = match join.join_type {
            JoinType::Right | JoinType::RightSemi | JoinType::RightAnti => in_right,
            JoinType::Inner => !in_left && in_right,
            _ => false,
        };
        if from_left {
            self.walk(&join.left, Reach::Scope(&left))?;
            let keys: Vec<Expr> = equal.into_iter().map(|(_, right)| right).collect();
            return self.looked_up(&join.right, &keys, in_right.then_some(&right));
        }
        if from_right {
            self.walk(&join.right, Reach::Scope(&right))?;
            let keys: Vec<Expr> = equal.into_iter().map(|(left, _)| left).collect();
            return self.looked_up(&join.left, &keys, in_left.then_some(&left));
        }
        None
    }

    /// A side that gives no scopes of its own: rows of other scopes are not met, whatever they are.
    fn looked_up(&mut self, side: &LogicalPlan, keys: &[Expr], scope: Option<&Vec<Expr>>) -> Option<()> {
        let before = self.sources.len();
        self.walk(side, scope.map_or(Reach::Keys(keys), |scope| Reach::Keys(scope)))?;
        self.sources.truncate(before);
        Some(())
    }

    fn scan(&mut self, scan: &TableScan, reach: Reach<'_>) -> Option<()> {
        let table = source_as_provider(&scan.source).ok()?;
        let Some(files) = table.downcast_ref::<LakeFiles>() else { return Some(()) };
        let partitions = &files.meta().partition_columns;
        let in_partition = |expr: &Expr| {
            let columns = expr.column_refs();
            !columns.is_empty() && columns.iter().all(|column| partitions.contains(&column.name))
        };
        let (Reach::Scope(exprs) | Reach::Keys(exprs)) = reach;
        match exprs.iter().any(in_partition) {
            true => self.divided += files.rows(),
            false => self.whole += files.rows(),
        }
        if let Reach::Scope(exprs) = reach {
            // What is not made of the table's columns has come from a group or a window.
            let known = exprs.iter().all(|expr| belongs_to(expr, &scan.projected_schema));
            let in_partition = exprs.iter().map(in_partition).collect();
            known.then(|| self.sources.push(Source { scan: scan.clone(), scope: exprs.to_vec(), in_partition }))?;
        }
        Some(())
    }

    fn whole(&mut self, plan: &LogicalPlan) {
        if let LogicalPlan::TableScan(scan) = plan {
            let table = source_as_provider(&scan.source).ok();
            let files = table.as_ref().and_then(|table| table.downcast_ref::<LakeFiles>());
            self.whole += files.map_or(0, LakeFiles::rows);
        }
        plan.inputs().into_iter().for_each(|input| self.whole(input));
    }
}
