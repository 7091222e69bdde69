//! Large computations of `scoped` models, some scopes at a time.
//!
//! Each slice runs on one thread, as many slices at the same time as there are threads: groups of a few scopes fit the
//! processor's caches, no rows go from thread to thread, and memory is bounded whatever there is to compute.

use std::sync::Arc;

use datafusion::catalog::{MemTable, TableProvider};
use datafusion::datasource::{provider_as_source, source_as_provider};
use datafusion::execution::SessionStateBuilder;
use datafusion::execution::context::SessionContext;
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, TableScan, ident};
use datafusion::prelude::DataFrame;
use schema::Kept;
use store::LakeFiles;

use crate::diff::Part;
use crate::grouping::by_keys;
use crate::job::Job;
use crate::one_pass::OnePass;
use crate::plan::{LoadedFeed, Slicing, Source, slicing};
use crate::recompute::stored_files;
use crate::scope::ScopeSet;
use crate::{Result, keys, stream};

/// Rows that all slices read again may be this share of those that they divide.
const READ_AGAIN: u64 = 4;

/// A whole in parts.
pub(crate) struct Slices<'a> {
    /// The one SELECT that feeds the model.
    pub(crate) feed: &'a LoadedFeed,
    /// The parts, at least two.
    pub(crate) parts: Vec<Part>,
}

/// The parts into which computing all of `part` is best cut; `None` where it is small, or where parts would read the same
/// files.
///
/// # Errors
/// When the scopes cannot be read.
pub(crate) async fn slices<'a>(job: &'a Job<'_>, context: &SessionContext, part: &Part) -> Result<Option<Slices<'a>>> {
    let (Kept::Scoped { scope }, [feed]) = (&job.model.model.kept, job.model.feeds.as_slice()) else {
        return Ok(None);
    };
    if part.filter.is_some() || job.limits.slice_rows == 0 {
        return Ok(None);
    }
    let plan = job.feed(context, feed).await?;
    let Some((by, slicing)) = sliced_by(&plan, scope, job.limits.listed_rows) else { return Ok(None) };
    let most = slicing.divided.checked_div(READ_AGAIN * slicing.whole).unwrap_or(u64::MAX).saturating_add(1);
    let threads = job.env.factory.options().threads.max(1) as u64;
    // Each slice is compared with what is stored of it, as many at a time as there are threads.
    let stored = if job.replacement.is_some() { 0 } else { job.base.rows().unwrap_or(0) };
    let compared = stored.div_ceil((job.limits.compare_rows / threads).max(1));
    let count = slicing.divided.div_ceil(job.limits.slice_rows).max(compared);
    if count.min(most) < 2 {
        return Ok(None);
    }
    // So many that no thread is left without one at the end.
    let count = count.next_multiple_of(threads).min(most);
    let all = all_scopes(job, context, &by, slicing.sources).await?;
    if by.len() < scope.len() && (all.len() as u64) < count {
        // A few large partitions: not small, and no work for all threads.
        return Ok(None);
    }
    let columns = job.columns();
    let scope_places = keys::places(&columns, &by)?;
    let part = |set: ScopeSet| {
        let (filter, scope_places) = (Some(set.filter()?), scope_places.clone());
        Ok(Part { filter, scopes: Some(Arc::new(set)), scope_places, ignore: part.ignore.clone() })
    };
    let parts = all.split(count as usize, &columns)?.into_iter().map(part).collect::<Result<Vec<Part>>>()?;
    Ok((parts.len() > 1).then_some(Slices { feed, parts }))
}

/// The columns of the scope by which a plan can be cut, and what that reads: all of them where it can be told which scopes there
/// are, else those that follow from partitions, because rows of a scope agree in these too.
fn sliced_by(plan: &LogicalPlan, scope: &[String], listed_rows: u64) -> Option<(Vec<String>, Slicing)> {
    let is_small = |source: &Source| rows(&source.scan) <= listed_rows;
    let is_told = |slicing: &Slicing| slicing.sources.iter().all(|source| source.is_divided() || is_small(source));
    let whole = slicing(plan, scope)?;
    if is_told(&whole) {
        return Some((scope.to_vec(), whole));
    }
    let divides = |place: &usize| whole.sources.iter().all(|source| source.in_partition[*place] || is_small(source));
    let fewer: Vec<String> = (0..scope.len()).filter(divides).map(|place| scope[place].clone()).collect();
    let slicing = slicing(plan, &fewer).filter(|slicing| !fewer.is_empty() && is_told(slicing))?;
    Some((fewer, slicing))
}

/// A context for grouping plans that run on one thread each.
pub(crate) fn one_thread(context: &SessionContext) -> SessionContext {
    let state = on_one_thread(context);
    by_keys(&SessionContext::new_with_state(state.with_physical_optimizer_rule(Arc::new(OnePass)).build()))
}

/// A context for plans of which each has its rows in the order of the file that it reads.
pub(crate) fn in_file_order(context: &SessionContext) -> SessionContext {
    SessionContext::new_with_state(on_one_thread(context).build())
}

fn on_one_thread(context: &SessionContext) -> SessionStateBuilder {
    let state = context.state();
    let config = state.config().clone().with_target_partitions(1);
    SessionStateBuilder::new_from_existing(state).with_config(config)
}

fn rows(scan: &TableScan) -> u64 {
    let table = source_as_provider(&scan.source).ok();
    table.as_ref().and_then(|table| table.downcast_ref::<LakeFiles>()).map_or(0, LakeFiles::rows)
}

async fn all_scopes(
    job: &Job<'_>,
    context: &SessionContext,
    scope: &[String],
    sources: Vec<Source>,
) -> Result<ScopeSet> {
    let columns = job.columns();
    let picked = Arc::new(columns.project(&keys::places(&columns, scope)?)?);
    let mut plans = Vec::new();
    for source in sources {
        let is_divided = source.is_divided();
        let named = source.scope.into_iter().zip(scope).map(|(expr, name)| expr.alias(name));
        plans.push(scan(source.scan, is_divided)?.project(named.collect::<Vec<Expr>>())?);
    }
    // Scopes that no row upstream has any more: their stored rows go.
    let stored = job.stored(context, stored_files(job, None)?, None)?.into_unoptimized_plan();
    plans.push(LogicalPlanBuilder::from(stored).project(scope.iter().map(ident).collect::<Vec<Expr>>())?);
    let mut set = ScopeSet::new(scope, &columns)?;
    for plan in plans {
        let frame = DataFrame::new(context.state(), job.shaped_as(plan.distinct()?.build()?, &picked)?);
        stream::each(frame, Ok, async |batch| set.extend(&batch)).await?;
    }
    Ok(set)
}

/// A scan for its scopes; partitions alone are known without one.
fn scan(scan: TableScan, in_partition: bool) -> Result<LogicalPlanBuilder> {
    let table = source_as_provider(&scan.source)?;
    let Some(files) = table.downcast_ref::<LakeFiles>().filter(|_| in_partition) else {
        return Ok(LogicalPlanBuilder::from(LogicalPlan::TableScan(scan)));
    };
    let partitions = files.partitions()?;
    let known: Arc<dyn TableProvider> = Arc::new(MemTable::try_new(partitions.schema(), vec![vec![partitions]])?);
    Ok(LogicalPlanBuilder::scan(scan.table_name, provider_as_source(known), None)?)
}
