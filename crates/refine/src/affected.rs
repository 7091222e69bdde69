//! Which scopes a change of the upstream tables can touch (ENGINE.md 16).
//!
//! For each input in turn the model's plan is run with only the changed rows of that input in its place: the before
//! images against the other tables as they were consumed, the after images against the other tables as they are pinned.
//! The distinct scope values that come out are the scopes whose rows can differ. A row that leaves a table, and one that
//! enters it, are each part of every old or new result row that depends on them, so no scope is missed; a join is kept
//! or weakened such that it lets through exactly the rows that meet a changed row.

use std::sync::Arc;

use arrow::array::RecordBatch;
use datafusion::catalog::TableProvider;
use datafusion::common::JoinType;
use datafusion::datasource::{provider_as_source, source_as_provider};
use datafusion::execution::context::SessionContext;
use datafusion::logical_expr::{Expr, Join, LogicalPlan, LogicalPlanBuilder, TableScan, ident};
use datafusion::prelude::DataFrame;
use futures::{StreamExt, TryStreamExt};
use schema::TableName;

use crate::images::Images;
use crate::job::{Input, Job};
use crate::scope::ScopeSet;
use crate::{Result, stream};

/// The scopes to compute again.
pub(crate) enum Affected {
    /// All of them.
    All,
    /// These.
    Some(ScopeSet),
}

/// The scopes that the changes of all inputs touch.
///
/// # Errors
/// When a plan fails, or a consumed version of another input is no longer kept.
pub(crate) async fn affected(job: &Job<'_>, scope: &[String]) -> Result<Affected> {
    let mut looks = Vec::new();
    for (name, input) in &job.inputs {
        if !input.has_news() {
            continue;
        }
        // An input that was never consumed: all of it is new, and so is, nearly always, all that depends on it.
        let Some(changes) = &input.changes else { return Ok(Affected::All) };
        if changes.reshaped() {
            return Ok(Affected::All);
        }
        let signs: &[i32] = if changes.inserts_only() { &[1] } else { &[-1, 1] };
        for &sign in signs {
            let images: Arc<dyn TableProvider> = Arc::new(Images::new(changes, sign));
            looks.push(touched(job, scope, name, input, sign, images));
        }
    }
    // Changes are mostly small, and each look waits for storage and plans.
    let threads = job.env.factory.options().threads.max(1);
    let mut looks = futures::stream::iter(looks).buffer_unordered(threads);
    let mut set = ScopeSet::new(scope, &job.columns())?;
    while let Some(touched) = looks.try_next().await? {
        let Some(batches) = touched else { return Ok(Affected::All) };
        batches.iter().try_for_each(|batch| set.extend(batch))?;
    }
    drop(looks);
    Ok(Affected::Some(set))
}

/// The scopes that the images of one sign touch; `None` when that cannot be told.
async fn touched(
    job: &Job<'_>,
    scope: &[String],
    name: &TableName,
    input: &Input,
    sign: i32,
    images: Arc<dyn TableProvider>,
) -> Result<Option<Vec<RecordBatch>>> {
    let mut raw = input.at.provider();
    let mut context = if sign > 0 {
        job.context([(name.clone(), job.seen(name, Some(Arc::clone(&raw)))?)]).await?
    } else {
        consumed_context(job, name, &raw).await?
    };
    if sign < 0
        && let Some(from) = input.from
        && read_again(job, &context, &raw).await?
    {
        // Before images meet the table as it was.
        raw = input.table.snapshot_at(from).await?.provider();
        context = consumed_context(job, name, &raw).await?;
    }
    let columns = job.columns();
    let picked: Vec<_> = scope.iter().map(|name| columns.field_with_name(name).cloned()).collect::<Result<_, _>>()?;
    let picked = Arc::new(arrow::datatypes::Schema::new(picked));
    let mut scopes = Vec::new();
    for feed in &job.model.feeds {
        let plan = context.state().create_logical_plan(&feed.feed.sql).await?;
        let mut occurrence = 0;
        loop {
            let mut swap = Swap { raw: &raw, images: &images, wanted: occurrence, seen: 0 };
            let Some(rewritten) = swap.rewrite(&plan)? else { return Ok(None) };
            if !rewritten.changed {
                break;
            }
            let distinct = LogicalPlanBuilder::from(rewritten.plan)
                .project(scope.iter().map(ident).collect::<Vec<Expr>>())?
                .distinct()?
                .build()?;
            let frame = DataFrame::new(context.state(), job.shaped_as(distinct, &picked)?);
            stream::each(frame, Ok, async |batch| {
                scopes.push(batch);
                Ok(())
            })
            .await?;
            occurrence += 1;
        }
    }
    Ok(Some(scopes))
}

/// Whether a SELECT of the model reads a table more than once.
async fn read_again(job: &Job<'_>, context: &SessionContext, raw: &Arc<dyn TableProvider>) -> Result<bool> {
    fn reads(plan: &LogicalPlan, raw: &Arc<dyn TableProvider>) -> usize {
        match plan {
            LogicalPlan::TableScan(scan) => {
                usize::from(source_as_provider(&scan.source).is_ok_and(|provider| Arc::ptr_eq(&provider, raw)))
            }
            other => other.inputs().into_iter().map(|input| reads(input, raw)).sum(),
        }
    }
    for feed in &job.model.feeds {
        if reads(&context.state().create_logical_plan(&feed.feed.sql).await?, raw) > 1 {
            return Ok(true);
        }
    }
    Ok(false)
}

/// A context in which the other inputs stand at the versions that were consumed.
async fn consumed_context(job: &Job<'_>, name: &TableName, raw: &Arc<dyn TableProvider>) -> Result<SessionContext> {
    let mut tables = vec![(name.clone(), job.seen(name, Some(Arc::clone(raw)))?)];
    for (other, input) in &job.inputs {
        if other == name || !input.has_news() {
            continue;
        }
        let before = match input.from {
            Some(version) => Some(input.table.snapshot_at(version).await?.provider()),
            None => None,
        };
        tables.push((other.clone(), job.seen(other, before)?));
    }
    job.context(tables).await
}

/// Puts the images in the place of one occurrence of a table, and loosens what stands above it.
struct Swap<'a> {
    raw: &'a Arc<dyn TableProvider>,
    images: &'a Arc<dyn TableProvider>,
    wanted: usize,
    seen: usize,
}

struct Rewritten {
    plan: LogicalPlan,
    /// Whether the images are in this part of the plan.
    changed: bool,
    /// Whether values here need not be those of whole groups and joins, so that no condition on them may be trusted.
    grouped: bool,
}

impl Swap<'_> {
    /// `None` for a plan in which it cannot be told which rows depend on a changed one.
    fn rewrite(&mut self, plan: &LogicalPlan) -> Result<Option<Rewritten>> {
        if let LogicalPlan::TableScan(scan) = plan {
            return Ok(Some(self.scan(scan)?));
        }
        let mut inputs = Vec::new();
        let (mut place, mut grouped) = (None, false);
        for (index, input) in plan.inputs().into_iter().enumerate() {
            let Some(rewritten) = self.rewrite(input)? else { return Ok(None) };
            if rewritten.changed {
                place = Some(index);
                grouped = rewritten.grouped;
            }
            inputs.push(rewritten.plan);
        }
        let Some(place) = place else {
            return Ok(Some(Rewritten { plan: plan.clone(), changed: false, grouped: false }));
        };
        let plan = match plan {
            // A condition on a group or a window looks at rows that are not there: it must not hide the scope.
            LogicalPlan::Filter(_) if grouped => inputs.remove(0),
            LogicalPlan::Join(join) => {
                let Some((kind, hidden)) = loosened(join.join_type, place, grouped) else { return Ok(None) };
                grouped |= hidden;
                rejoined(join, kind, inputs)?
            }
            LogicalPlan::Union(_) => {
                // The other branches are what they were.
                let branch = inputs.swap_remove(place);
                let renamed: Vec<Expr> = branch
                    .schema()
                    .columns()
                    .into_iter()
                    .zip(plan.schema().fields())
                    .map(|(column, field)| Expr::Column(column).alias(field.name()))
                    .collect();
                LogicalPlanBuilder::from(branch).project(renamed)?.build()?
            }
            LogicalPlan::Aggregate(_) | LogicalPlan::Window(_) | LogicalPlan::Distinct(_) => {
                grouped = true;
                plan.with_new_exprs(plan.expressions(), inputs)?
            }
            LogicalPlan::Projection(_)
            | LogicalPlan::Filter(_)
            | LogicalPlan::SubqueryAlias(_)
            | LogicalPlan::Sort(_)
            | LogicalPlan::Repartition(_)
            | LogicalPlan::Unnest(_) => plan.with_new_exprs(plan.expressions(), inputs)?,
            _ => return Ok(None),
        };
        Ok(Some(Rewritten { plan, changed: true, grouped }))
    }

    fn scan(&mut self, scan: &TableScan) -> Result<Rewritten> {
        let unchanged = || Rewritten { plan: LogicalPlan::TableScan(scan.clone()), changed: false, grouped: false };
        let Ok(provider) = source_as_provider(&scan.source) else { return Ok(unchanged()) };
        if !Arc::ptr_eq(&provider, self.raw) {
            return Ok(unchanged());
        }
        self.seen += 1;
        if self.seen - 1 != self.wanted {
            return Ok(unchanged());
        }
        let source = provider_as_source(Arc::clone(self.images));
        let plan = LogicalPlan::TableScan(TableScan { source, ..scan.clone() });
        Ok(Rewritten { plan, changed: true, grouped: false })
    }
}

/// How a join lets through rows when its side `place` (0: left) holds only changed rows: rows of that side that met
/// nothing are kept as before, rows of the other side pass where they meet a changed row. Also gives whether conditions
/// above could have passed the row that was there without the match. `None` when it cannot be told.
fn loosened(kind: JoinType, place: usize, grouped: bool) -> Option<(JoinType, bool)> {
    let in_left = place == 0;
    let loose = match (kind, in_left) {
        (JoinType::Left | JoinType::Full, true) => return Some((JoinType::Left, kind == JoinType::Full)),
        (JoinType::Right | JoinType::Full, false) => return Some((JoinType::Right, kind == JoinType::Full)),
        // The join's condition would be put to values of groups that are not whole.
        _ if grouped => return None,
        (JoinType::Inner, _) => JoinType::Inner,
        (JoinType::Left, false) | (JoinType::Right, true) => JoinType::Inner,
        // Whether a changed left row passes is for the right side to say.
        (JoinType::LeftSemi | JoinType::LeftAnti, true) | (JoinType::RightSemi | JoinType::RightAnti, false) => kind,
        // A row of the kept side comes or goes where it meets a changed row.
        (JoinType::LeftSemi | JoinType::LeftAnti, false) => JoinType::LeftSemi,
        (JoinType::RightSemi | JoinType::RightAnti, true) => JoinType::RightSemi,
        _ => return None,
    };
    Some((loose, loose != kind))
}

fn rejoined(join: &Join, kind: JoinType, mut inputs: Vec<LogicalPlan>) -> Result<LogicalPlan> {
    let right = Arc::new(inputs.remove(1));
    let left = Arc::new(inputs.remove(0));
    let null_aware = join.null_aware && kind == join.join_type;
    let (on, filter) = (join.on.clone(), join.filter.clone());
    let joined = Join::try_new(left, right, on, filter, kind, join.join_constraint, join.null_equality, null_aware)?;
    Ok(LogicalPlan::Join(joined))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_changed_side_is_kept_and_the_other_must_meet_it() {
        let table = [
            (JoinType::Inner, 0, false, Some((JoinType::Inner, false))),
            (JoinType::Left, 0, false, Some((JoinType::Left, false))),
            (JoinType::Left, 1, false, Some((JoinType::Inner, true))),
            (JoinType::Full, 1, false, Some((JoinType::Right, true))),
            (JoinType::LeftAnti, 0, false, Some((JoinType::LeftAnti, false))),
            (JoinType::LeftAnti, 1, false, Some((JoinType::LeftSemi, true))),
            (JoinType::Left, 0, true, Some((JoinType::Left, false))),
            (JoinType::Inner, 0, true, None),
        ];
        for (kind, place, grouped, expected) in table {
            assert_eq!(loosened(kind, place, grouped), expected, "{kind} {place} {grouped}");
        }
    }
}
