//! Folding: stored groups plus the signed change of their sums and counts (ENGINE.md 15).
//!
//! Where one input changed, the model's SQL is run over the rows that came and over those that went alone. What comes out
//! are groups to be added to the stored ones and groups to be taken off them; all other groups stay as they are and are
//! not looked at. A group whose new value does not follow from that (is a sum of zero the sum of no rows, or of rows that
//! cancel out?) is computed again from its rows, so no hidden counter has to be stored.

mod groups;
mod linear;

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::{BooleanArray, RecordBatch};
use arrow::compute::{concat_batches, filter_record_batch};
use datafusion::catalog::TableProvider;
use datafusion::execution::context::SessionContext;
use datafusion::logical_expr::{LogicalPlan, LogicalPlanBuilder};
use datafusion::prelude::DataFrame;
use futures::{StreamExt, TryStreamExt};
use store::{Changes, DataFile};

use crate::days;
use crate::images::Images;
use crate::job::{Input, Job};
use crate::keys::{hash_rows, pick, places};
use crate::plan::Folding;
use crate::scope::ScopeSet;
use crate::stage::Stage;
use crate::{Result, rewrite, stream};

use groups::{Groups, Side};

/// Folds what changed into the stored groups. Gives the number of groups that it looked at; `None`, with nothing staged,
/// where the change has to be computed again.
///
/// # Errors
/// When the model's SQL or a table fails.
pub(crate) async fn fold(job: &Job<'_>, stage: &mut Stage) -> Result<Option<u64>> {
    let [feed] = job.model.feeds.as_slice() else { return Ok(None) };
    if days::are_ahead(&job.base) {
        return Ok(None);
    }
    let (Some(folding), Some((name, input, changes))) = (&feed.folding, only_change(job)) else { return Ok(None) };
    let raw = input.at.provider();
    let context = job.context([(name.clone(), job.seen(name, Some(Arc::clone(&raw)))?)]).await?;
    let plan = context.state().create_logical_plan(&feed.feed.sql).await?;
    let fold = Fold { job, context, folding, group_places: places(&job.columns(), &folding.groups)? };
    let Some(came) = fold.over(&plan, &raw, changes, 1).await? else { return Ok(None) };
    let Some(went) = fold.over(&plan, &raw, changes, -1).await? else { return Ok(None) };
    let (Some(came), Some(went)) = (fold.side(came)?, fold.side(went)?) else { return Ok(None) };
    let touched: Arc<HashSet<u128>> = Arc::new(came.keys().chain(went.keys()).collect());
    let (stored, files) = fold.stored(&came, &went, &touched).await?;
    let Some(stored) = fold.side(stored)? else { return Ok(None) };
    let stays = changes.to() - changes.from() == 1;
    let groups = Groups { folding, columns: job.columns(), came, went, stored, stays };
    let mut folded = groups.fold()?;
    if !folded.doubtful.is_empty() {
        let computed = fold.computed(job.shaped(plan)?, &groups, &folded.doubtful).await?;
        let Some(computed) = fold.side(computed)? else { return Ok(None) };
        folded.settle(&groups, &computed)?;
    }
    fold.stage(folded, &groups, files, stage).await?;
    Ok(Some(touched.len() as u64))
}

/// The one input that changed, with what changed of it; `None` where more did, or all of it is new.
fn only_change<'a>(job: &'a Job<'_>) -> Option<(&'a schema::TableName, &'a Input, &'a Changes)> {
    let mut news = job.inputs.iter().filter(|(_, input)| input.has_news());
    let (name, input) = news.next().filter(|_| job.limits.folded_groups > 0)?;
    let changes = input.changes.as_ref().filter(|changes| !changes.reshaped())?;
    news.next().is_none().then_some((name, input, changes))
}

struct Fold<'a> {
    job: &'a Job<'a>,
    context: SessionContext,
    folding: &'a Folding,
    group_places: Vec<usize>,
}

impl Fold<'_> {
    /// The groups of the rows of one sign; `None` where there are too many, or the groups are no sum over those rows.
    async fn over(
        &self,
        plan: &LogicalPlan,
        raw: &Arc<dyn TableProvider>,
        changes: &Changes,
        sign: i32,
    ) -> Result<Option<Vec<RecordBatch>>> {
        let images: Arc<dyn TableProvider> = Arc::new(Images::new(changes, sign));
        let Some(plan) = linear::over(plan, raw, &images)? else { return Ok(None) };
        if sign < 0 && changes.inserts_only() {
            return Ok(Some(Vec::new()));
        }
        let frame = DataFrame::new(self.context.state(), self.job.shaped(plan)?);
        let mut batches = Vec::new();
        let mut rows = 0;
        stream::each(frame, Ok, async |batch: RecordBatch| {
            rows += batch.num_rows() as u64;
            // Too many to be held: what is there is let go, and the rest runs through.
            match rows > self.job.limits.folded_groups {
                true => batches.clear(),
                false => batches.push(batch),
            }
            Ok(())
        })
        .await?;
        Ok((rows <= self.job.limits.folded_groups).then_some(batches))
    }

    /// Groups in one batch, by their keys; `None` where two rows have one key, which only happens to keys that storage
    /// does not tell apart.
    fn side(&self, batches: Vec<RecordBatch>) -> Result<Option<Side>> {
        Side::new(concat_batches(&self.job.columns(), &batches)?, &self.group_places)
    }

    /// The stored groups of these keys, and the files that hold any, each with the keys that it holds.
    async fn stored(
        &self,
        came: &Side,
        went: &Side,
        touched: &Arc<HashSet<u128>>,
    ) -> Result<(Vec<RecordBatch>, Vec<Hit>)> {
        let job = self.job;
        let mut scopes = ScopeSet::new(&self.folding.groups, &job.columns())?;
        for side in [came, went] {
            scopes.extend(&side.rows.project(&self.group_places)?)?;
        }
        let files = match touched.is_empty() {
            true => Vec::new(),
            false => job.base.prune_files(&[scopes.filter()?])?,
        };
        let threads = job.env.factory.options().threads.max(1);
        let looked = futures::stream::iter(files).map(|file| self.look(file, touched));
        let looked: Vec<_> = looked.buffered(threads).try_collect().await?;
        let mut rows = Vec::new();
        let mut hits = Vec::new();
        for (hit, found) in looked {
            if !found.is_empty() {
                rows.extend(found);
                hits.push(hit);
            }
        }
        Ok((rows, hits))
    }

    async fn look(&self, file: Arc<DataFile>, touched: &Arc<HashSet<u128>>) -> Result<(Hit, Vec<RecordBatch>)> {
        let frame = self.job.stored(&self.context, vec![Arc::clone(&file)], None)?;
        let (places, touched) = (self.group_places.clone(), Arc::clone(touched));
        let work = move |batch: RecordBatch| {
            let keys = hash_rows(&pick(&batch, &places), batch.num_rows())?;
            let wanted: BooleanArray = keys.iter().map(|key| Some(touched.contains(key))).collect();
            let rows = crate::stage::compact(&filter_record_batch(&batch, &wanted)?)?;
            Ok((keys.into_iter().filter(|key| touched.contains(key)).collect::<Vec<u128>>(), rows))
        };
        let mut hit = Hit { file, keys: HashSet::new() };
        let mut rows = Vec::new();
        stream::each(frame, work, async |(keys, found): (Vec<u128>, RecordBatch)| {
            hit.keys.extend(keys);
            if found.num_rows() > 0 {
                rows.push(found);
            }
            Ok(())
        })
        .await?;
        Ok((hit, rows))
    }

    /// The groups of these keys, computed from all their rows.
    async fn computed(
        &self,
        plan: LogicalPlan,
        groups: &Groups<'_>,
        doubtful: &HashSet<u128>,
    ) -> Result<Vec<RecordBatch>> {
        let mut scopes = ScopeSet::new(&self.folding.groups, &self.job.columns())?;
        for side in [&groups.came, &groups.went] {
            scopes.extend(&side.only(doubtful)?.project(&self.group_places)?)?;
        }
        let plan = LogicalPlanBuilder::from(plan).filter(scopes.filter()?)?.build()?;
        let frame = DataFrame::new(self.context.state(), plan);
        let (places, doubtful) = (self.group_places.clone(), doubtful.clone());
        let work = move |batch: RecordBatch| {
            let keys = hash_rows(&pick(&batch, &places), batch.num_rows())?;
            let wanted: BooleanArray = keys.iter().map(|key| Some(doubtful.contains(key))).collect();
            Ok(filter_record_batch(&batch, &wanted)?)
        };
        let mut rows = Vec::new();
        stream::each(frame, work, async |batch| {
            rows.push(batch);
            Ok(())
        })
        .await?;
        Ok(rows)
    }

    async fn stage(
        &self,
        folded: groups::Folded,
        groups: &Groups<'_>,
        hits: Vec<Hit>,
        stage: &mut Stage,
    ) -> Result<()> {
        stage.remove(groups.stored.only(&folded.gone)?).await?;
        for batch in folded.fresh {
            stage.add(batch).await?;
        }
        let files = hits.into_iter().filter(|hit| !hit.keys.is_disjoint(&folded.gone)).map(|hit| hit.file).collect();
        let gone = Arc::new(folded.gone);
        let places = self.group_places.clone();
        let keep = move |batch: &RecordBatch| {
            let keys = hash_rows(&pick(batch, &places), batch.num_rows())?;
            Ok(keys.iter().map(|key| Some(!gone.contains(key))).collect())
        };
        rewrite::rewrite(self.job, &self.context, files, keep, stage).await
    }
}

/// A stored file with the touched groups that it holds.
struct Hit {
    file: Arc<DataFile>,
    keys: HashSet<u128>,
}
