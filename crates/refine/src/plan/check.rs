//! Checks on a model's plan: whether the SQL is what the model's kind says that it is (ENGINE.md 14).
//!
//! A scoped model promises that the rows of one value of its scope depend only on upstream rows of that value. The
//! promise is kept when every node that brings rows together (GROUP BY, PARTITION BY, DISTINCT) keeps those of different
//! scopes apart. So the scope columns are followed from the output down, and at each such node the scope must be a
//! function of what it groups by. A feed of a `latest` model is held to the same with `_lineage` as its scope: what it
//! makes of one message depends on no other message.

use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{DataFusionError, JoinType};
use datafusion::logical_expr::expr::WindowFunction;
use datafusion::logical_expr::utils::split_conjunction;
use datafusion::logical_expr::{
    Aggregate, BinaryExpr, Distinct, Expr, Join, LogicalPlan, Operator, Volatility, Window,
};

use super::trace::{belongs_to, columns, descend, is_function_of, output_column, replace};

/// What is wrong with a plan, in words.
pub(super) type Checked<T = ()> = Result<T, String>;

/// Aggregates whose result depends on the order in which rows come.
const ORDERED: [&str; 5] = ["array_agg", "first_value", "last_value", "nth_value", "string_agg"];

/// Checks that the rows of each value of `scope` depend only on upstream rows of that value.
pub(super) fn scoped(plan: &LogicalPlan, scope: &[String]) -> Checked {
    repeatable(plan)?;
    let exprs = columns(plan.schema(), scope)?;
    let names = scope.join(", ");
    walk(plan, Some(&exprs), &Scope { names: &names })
}

/// Checks that each upstream row gives its rows by itself: no node brings rows together.
pub(super) fn row_by_row(plan: &LogicalPlan) -> Checked {
    repeatable(plan)?;
    let mut found = Ok(());
    visit(plan, |node| {
        let what = match node {
            LogicalPlan::Aggregate(_) => "GROUP BY",
            LogicalPlan::Window(_) => "a window function",
            LogicalPlan::Distinct(_) => "DISTINCT",
            LogicalPlan::Join(_) => "a join",
            LogicalPlan::Limit(_) => "LIMIT",
            LogicalPlan::Union(_) => "UNION",
            _ => return,
        };
        found = Err(format!(
            "{what} looks at more than one row, but a model kept as `append` makes its rows of each \
                             new upstream row by itself; keep it as `scoped` or `full`"
        ));
    });
    found
}

/// Checks that the same tables always give the same rows: no clock, no chance, no aggregate that depends on an order
/// that nobody states.
pub(super) fn repeatable(plan: &LogicalPlan) -> Checked {
    let mut found = Ok(());
    visit(plan, |node| {
        let visited = node.apply_expressions(|expr| {
            expr.apply(|expr| {
                if let Some(problem) = unrepeatable(expr) {
                    found = Err(problem);
                }
                Ok(TreeNodeRecursion::Continue)
            })
        });
        debug_assert!(visited.is_ok(), "the visitor gives no errors");
    });
    found
}

/// Whether the SQL makes at most one row of each upstream row, so that rows of one entity are different messages.
pub(super) fn at_most_one(plan: &LogicalPlan) -> bool {
    let mut simple = true;
    visit(plan, |node| {
        simple &= matches!(
            node,
            LogicalPlan::Projection(_)
                | LogicalPlan::Filter(_)
                | LogicalPlan::SubqueryAlias(_)
                | LogicalPlan::TableScan(_)
                | LogicalPlan::Sort(_)
        );
    });
    simple
}

/// Whether the SQL makes at least one row of each upstream row: it only renames and computes.
pub(super) fn keeps_all(plan: &LogicalPlan) -> bool {
    let mut all = true;
    visit(plan, |node| {
        all &= match node {
            LogicalPlan::Projection(_) | LogicalPlan::SubqueryAlias(_) => true,
            LogicalPlan::TableScan(scan) => scan.filters.is_empty() && scan.fetch.is_none(),
            LogicalPlan::Sort(sort) => sort.fetch.is_none(),
            // The view of Bronze shows the good rows.
            LogicalPlan::Filter(filter) => quality::gate::is_status_filter(&filter.predicate),
            _ => false,
        };
    });
    all
}

/// The names of the output columns that a plan's last GROUP BY makes unique together, if that can be seen.
pub(super) fn grouped_by(plan: &LogicalPlan) -> Option<Vec<String>> {
    match plan {
        LogicalPlan::Projection(projection) => {
            let below = grouped_by(&projection.input)?;
            let shown = |name: &String| {
                let place = projection.expr.iter().position(|expr| match expr.clone().unalias_nested().data {
                    Expr::Column(column) => &column.name == name,
                    _ => false,
                })?;
                Some(projection.schema.field(place).name().clone())
            };
            below.iter().map(shown).collect()
        }
        LogicalPlan::Filter(filter) => grouped_by(&filter.input),
        LogicalPlan::Sort(sort) => grouped_by(&sort.input),
        LogicalPlan::SubqueryAlias(alias) => grouped_by(&alias.input),
        LogicalPlan::Aggregate(aggregate) if !is_grouping_sets(aggregate) => {
            Some((0..aggregate.group_expr.len()).map(|i| aggregate.schema.field(i).name().clone()).collect())
        }
        _ => None,
    }
}

/// All nodes of a plan, also those of subqueries.
fn visit(plan: &LogicalPlan, mut f: impl FnMut(&LogicalPlan)) {
    let visited = plan.apply_with_subqueries(|node| {
        f(node);
        Ok(TreeNodeRecursion::Continue)
    });
    debug_assert!(visited.is_ok(), "the visitor gives no errors");
}

fn unrepeatable(expr: &Expr) -> Option<String> {
    match expr {
        Expr::ScalarFunction(call) if call.func.signature().volatility != Volatility::Immutable => Some(format!(
            "{}() gives another value each time, and the rows of a model must follow from its tables alone",
            call.func.name()
        )),
        Expr::AggregateFunction(call)
            if ORDERED.contains(&call.func.name()) && call.params.order_by.is_empty() && !call.params.distinct =>
        {
            Some(format!("{0}() depends on the order of the rows: write {0}(... ORDER BY ...)", call.func.name()))
        }
        _ => None,
    }
}

struct Scope<'a> {
    names: &'a str,
}

impl Scope<'_> {
    fn refuse(&self, what: &str, has: &[Expr]) -> String {
        let has: Vec<String> = has.iter().map(|expr| expr.human_display().to_string()).collect();
        format!(
            "{what} ({}) does not contain the scope ({}), so rows of different scopes would depend on each other: add it \
             there, choose another scope, or keep the model as `full`",
            has.join(", "),
            self.names
        )
    }
}

/// Walks down with the scope as expressions over each node's output; `None` on sides of joins that do not carry it.
fn walk(plan: &LogicalPlan, scope: Option<&[Expr]>, about: &Scope<'_>) -> Checked {
    no_subqueries(plan)?;
    let next = |input: &LogicalPlan, below: &dyn Fn(usize) -> Option<Expr>| -> Checked {
        let exprs = scope.map(|exprs| descend(exprs, plan.schema(), below)).transpose().map_err(text)?;
        walk(input, exprs.as_deref(), about)
    };
    match plan {
        LogicalPlan::Projection(projection) => next(&projection.input, &|place| projection.expr.get(place).cloned()),
        LogicalPlan::SubqueryAlias(alias) => next(&alias.input, &|place| Some(output_column(&alias.input, place))),
        LogicalPlan::Filter(filter) => walk(&filter.input, scope, about),
        LogicalPlan::Sort(sort) if sort.fetch.is_none() => walk(&sort.input, scope, about),
        LogicalPlan::Repartition(repartition) => walk(&repartition.input, scope, about),
        LogicalPlan::Distinct(Distinct::All(input)) => match scope {
            Some(_) => walk(input, scope, about),
            None => walk(input, None, about),
        },
        LogicalPlan::Aggregate(aggregate) => {
            group(aggregate, scope, about)?;
            next(&aggregate.input, &|place| aggregate.group_expr.get(place).cloned())
        }
        LogicalPlan::Window(window) => {
            partition(window, scope, about)?;
            let width = window.input.schema().fields().len();
            next(&window.input, &|place| (place < width).then(|| output_column(&window.input, place)))
        }
        LogicalPlan::Unnest(unnest) => next(&unnest.input, &|place| {
            let from = *unnest.dependency_indices.get(place)?;
            let unnested =
                unnest.list_type_columns.iter().any(|(i, _)| *i == from) || unnest.struct_type_columns.contains(&from);
            (!unnested).then(|| output_column(&unnest.input, from))
        }),
        LogicalPlan::Union(union) => {
            union.inputs.iter().try_for_each(|input| next(input, &|place| Some(output_column(input, place))))
        }
        LogicalPlan::Join(join) => walk_join(join, scope, about),
        LogicalPlan::TableScan(_) | LogicalPlan::EmptyRelation(_) | LogicalPlan::Values(_) => Ok(()),
        LogicalPlan::Limit(_) | LogicalPlan::Sort(_) => Err(format!(
            "LIMIT takes its rows from all scopes together, so the rows of one scope ({}) would depend on the others",
            about.names
        )),
        LogicalPlan::Distinct(Distinct::On(_)) => {
            Err("DISTINCT ON is not supported in a scoped model: use row_number() with PARTITION BY".to_owned())
        }
        other => Err(format!("{} is not supported in a scoped model", other.display())),
    }
}

fn group(aggregate: &Aggregate, scope: Option<&[Expr]>, about: &Scope<'_>) -> Checked {
    let refuse = || about.refuse("GROUP BY", &aggregate.group_expr);
    if is_grouping_sets(aggregate) {
        return Err("GROUPING SETS, ROLLUP and CUBE are not supported in a scoped model".to_owned());
    }
    let exprs = scope.ok_or_else(refuse)?;
    let groups: Vec<Expr> = (0..aggregate.group_expr.len())
        .map(|place| {
            let (relation, field) = aggregate.schema.qualified_field(place);
            Expr::Column(datafusion::common::Column::new(relation.cloned(), field.name()))
        })
        .collect();
    let within = exprs.iter().all(|expr| is_function_of(expr, &groups));
    if within { Ok(()) } else { Err(refuse()) }
}

fn is_grouping_sets(aggregate: &Aggregate) -> bool {
    aggregate.group_expr.iter().any(|expr| matches!(expr, Expr::GroupingSet(_)))
}

fn partition(window: &Window, scope: Option<&[Expr]>, about: &Scope<'_>) -> Checked {
    for expr in &window.window_expr {
        let Expr::WindowFunction(function) = expr.clone().unalias_nested().data else { continue };
        let WindowFunction { params, .. } = *function;
        let within = scope.is_some_and(|exprs| exprs.iter().all(|e| is_function_of(e, &params.partition_by)));
        if !within {
            return Err(about.refuse("PARTITION BY", &params.partition_by));
        }
    }
    Ok(())
}

/// A side of a join carries the scope when it has the scope's columns, or columns that the join makes equal to them.
fn walk_join(join: &Join, scope: Option<&[Expr]>, about: &Scope<'_>) -> Checked {
    let Some(exprs) = scope else {
        walk(&join.left, None, about)?;
        return walk(&join.right, None, about);
    };
    let equal = equalities(join);
    let to_left: Vec<(&Expr, &Expr)> = equal.iter().map(|(left, right)| (right, left)).collect();
    let to_right: Vec<(&Expr, &Expr)> = equal.iter().map(|(left, right)| (left, right)).collect();
    let left: Vec<Expr> = exprs.iter().map(|expr| replace(expr, &to_left)).collect();
    let right: Vec<Expr> = exprs.iter().map(|expr| replace(expr, &to_right)).collect();
    let in_left = left.iter().all(|expr| belongs_to(expr, join.left.schema()));
    let in_right = right.iter().all(|expr| belongs_to(expr, join.right.schema()));
    let optional_only = |side: &LogicalPlan| exprs.iter().all(|expr| belongs_to(expr, side.schema()));
    let from_optional = match join.join_type {
        JoinType::Left => optional_only(&join.right),
        JoinType::Right => optional_only(&join.left),
        JoinType::Full => optional_only(&join.left) || optional_only(&join.right),
        _ => false,
    };
    if from_optional || !(in_left || in_right) {
        return Err(format!(
            "the scope ({}) must come from the side of each join whose rows are always kept (of a FULL JOIN: coalesce \
             of the joined columns of both sides)",
            about.names
        ));
    }
    walk(&join.left, in_left.then_some(left.as_slice()), about)?;
    walk(&join.right, in_right.then_some(right.as_slice()), about)
}

/// Expressions of the left and the right side that a join makes equal. Before optimisation they may stand in its filter.
pub(super) fn equalities(join: &Join) -> Vec<(Expr, Expr)> {
    let mut pairs = join.on.clone();
    let conditions = join.filter.as_ref().map(split_conjunction).unwrap_or_default();
    for condition in conditions {
        let Expr::BinaryExpr(BinaryExpr { left, op: Operator::Eq, right }) = condition else { continue };
        let is_pair = |l: &Expr, r: &Expr| belongs_to(l, join.left.schema()) && belongs_to(r, join.right.schema());
        if is_pair(left, right) {
            pairs.push((left.as_ref().clone(), right.as_ref().clone()));
        } else if is_pair(right, left) {
            pairs.push((right.as_ref().clone(), left.as_ref().clone()));
        }
    }
    pairs
}

fn no_subqueries(plan: &LogicalPlan) -> Checked {
    let mut found = false;
    let visited = plan.apply_expressions(|expr| {
        found |= expr.exists(|e| {
            let subquery =
                matches!(e, Expr::Exists(_) | Expr::InSubquery(_) | Expr::ScalarSubquery(_) | Expr::SetComparison(_));
            Ok(subquery)
        })?;
        Ok(TreeNodeRecursion::Continue)
    });
    visited.map_err(text)?;
    if found { Err("subqueries in expressions are not supported here: write a join".to_owned()) } else { Ok(()) }
}

fn text(error: DataFusionError) -> String {
    error.strip_backtrace()
}
