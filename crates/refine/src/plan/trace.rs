//! Following columns of a plan's output down to where they come from.

use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, DFSchema};
use datafusion::error::Result;
use datafusion::logical_expr::{Expr, LogicalPlan};

/// Stands for a value that is not a function of columns below: the result of an aggregate, a window or an unnest.
const OPAQUE: &str = "\u{0}opaque";

/// The columns of `schema` with these names, as expressions.
pub(super) fn columns(schema: &DFSchema, names: &[String]) -> std::result::Result<Vec<Expr>, String> {
    let find = |name: &String| {
        let found = schema.columns().into_iter().find(|column| &column.name == name);
        found.map(Expr::Column).ok_or_else(|| {
            let known: Vec<String> = schema.columns().into_iter().map(|column| column.name).collect();
            format!("the SQL gives no column {name}: it gives {}", known.join(", "))
        })
    };
    names.iter().map(find).collect()
}

/// Rewrites expressions over the output of a node as expressions over something below it: `below` gives, for a place in
/// the node's output schema, the expression there, or `None` for a value that has no such expression.
pub(super) fn descend(exprs: &[Expr], output: &DFSchema, below: impl Fn(usize) -> Option<Expr>) -> Result<Vec<Expr>> {
    let rewrite = |expr: &Expr| {
        let rewritten = expr.clone().transform(|node| {
            let Expr::Column(column) = &node else { return Ok(Transformed::no(node)) };
            let place = output.maybe_index_of_column(column);
            let replaced = place.and_then(&below).unwrap_or_else(opaque);
            // The replacement speaks of the input, so it must not be visited again.
            Ok(Transformed::new(replaced.unalias_nested().data, true, TreeNodeRecursion::Jump))
        })?;
        Ok(rewritten.data)
    };
    exprs.iter().map(rewrite).collect()
}

/// The column at a place of a plan's output.
pub(super) fn output_column(plan: &LogicalPlan, place: usize) -> Expr {
    let (relation, field) = plan.schema().qualified_field(place);
    Expr::Column(Column::new(relation.cloned(), field.name()))
}

fn opaque() -> Expr {
    Expr::Column(Column::new_unqualified(OPAQUE))
}

/// Whether `expr` can be computed from the expressions in `known` alone.
pub(super) fn is_function_of(expr: &Expr, known: &[Expr]) -> bool {
    if known.contains(expr) {
        return true;
    }
    match expr {
        Expr::Column(_) => false,
        Expr::Literal(..) => true,
        _ => {
            let mut all = true;
            let visited = expr.apply_children(|child| {
                all &= is_function_of(child, known);
                Ok(if all { TreeNodeRecursion::Continue } else { TreeNodeRecursion::Stop })
            });
            visited.is_ok() && all
        }
    }
}

/// Whether all columns of `expr` are in `schema`.
pub(super) fn belongs_to(expr: &Expr, schema: &DFSchema) -> bool {
    expr.column_refs().into_iter().all(|column| schema.maybe_index_of_column(column).is_some())
}

/// `expr` with each first of a pair replaced by the second.
pub(super) fn replace(expr: &Expr, pairs: &[(&Expr, &Expr)]) -> Expr {
    let replaced = expr.clone().transform(|node| match pairs.iter().find(|(from, _)| **from == node) {
        Some((_, to)) => Ok(Transformed::new((*to).clone(), true, TreeNodeRecursion::Jump)),
        None => Ok(Transformed::no(node)),
    });
    replaced.map_or_else(|_| expr.clone(), |transformed| transformed.data)
}
