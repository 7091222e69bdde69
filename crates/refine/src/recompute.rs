//! `scoped` and `full` models: the affected rows are computed again and compared with the stored ones, where the change
//! cannot be folded into them.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::DataType;
use datafusion::execution::context::SessionContext;
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder};
use datafusion::prelude::DataFrame;
use schema::Kept;
use store::DataFile;

use crate::affected::{Affected, affected};
use crate::diff::{Diff, Gone, Part, rounds};
use crate::grouping::by_keys;
use crate::job::{Job, Mode};
use crate::plan::LoadedFeed;
use crate::slices::{Slices, one_thread, slices};
use crate::stage::Stage;
use crate::stream::Running;
use crate::{Result, keys};

/// What was computed.
pub(crate) struct Computed {
    /// Rows of the SQL's result.
    pub(crate) rows: u64,
    /// In how many slices; 1: as a whole.
    pub(crate) slices: u64,
}

/// Computes what changed upstream again and stages what differs.
///
/// # Errors
/// When the model's SQL or a table fails.
pub(crate) async fn recompute(job: &Job<'_>, stage: &mut Stage) -> Result<Computed> {
    let Some(part) = part(job).await? else { return Ok(Computed { rows: 0, slices: 1 }) };
    let context = job.context([]).await?;
    if let Some(slices) = slices(job, &context, &part).await? {
        return sliced(job, &context, slices, &part, stage).await;
    }
    let files = stored_files(job, part.filter.as_ref())?;
    let rounds = rounds(job, &files);
    let mut computed = 0;
    let mut gone = Gone::default();
    let grouping = by_keys(&context);
    for index in 0..rounds {
        let mut rows = Rows::new(job, &grouping, &part);
        // Upstream is read while the stored rows are, which wait for nothing else.
        rows.begin().await?;
        let mut diff = Diff::load(job, &context, part.clone(), files.clone(), (index, rounds)).await?;
        computed = 0;
        while let Some(batch) = rows.next().await? {
            computed += batch.num_rows() as u64;
            stage.add(diff.fresh(&batch)?).await?;
        }
        gone.merge(diff.into_gone());
    }
    gone.remove(job, &context, &part, files, stage).await?;
    Ok(Computed { rows: computed, slices: 1 })
}

/// The rows that a model's SELECTs give for a part, one SELECT after the other.
struct Rows<'a> {
    job: &'a Job<'a>,
    context: &'a SessionContext,
    part: &'a Part,
    feeds: std::slice::Iter<'a, LoadedFeed>,
    running: Running,
    is_running: bool,
}

impl<'a> Rows<'a> {
    fn new(job: &'a Job<'a>, context: &'a SessionContext, part: &'a Part) -> Self {
        let threads = job.env.factory.options().threads.max(1);
        let (feeds, running) = (job.model.feeds.iter(), Running::new(threads));
        Self { job, context, part, feeds, running, is_running: false }
    }

    /// Begins with the next SELECT, if there is one.
    async fn begin(&mut self) -> Result<()> {
        if let Some(feed) = self.feeds.next() {
            let plan = filtered(self.job.feed(self.context, feed).await?, self.part)?;
            self.running.start(0, DataFrame::new(self.context.state(), plan)).await?;
            self.is_running = true;
        }
        Ok(())
    }

    /// The next rows; `None` after the last.
    async fn next(&mut self) -> Result<Option<RecordBatch>> {
        while self.is_running {
            if let (_, Some(batch)) = self.running.next().await? {
                return Ok(Some(batch));
            }
            self.is_running = false;
            self.begin().await?;
        }
        Ok(None)
    }
}

/// Computes the parts of a whole, as many at the same time as there are threads.
async fn sliced(
    job: &Job<'_>,
    context: &SessionContext,
    slices: Slices<'_>,
    whole: &Part,
    stage: &mut Stage,
) -> Result<Computed> {
    let count = slices.parts.len() as u64;
    let single = one_thread(context);
    let width = job.env.factory.options().threads.max(1);
    let mut running = Running::new(width);
    let mut diffs: HashMap<usize, Diff> = HashMap::new();
    let mut parts = slices.parts.into_iter().enumerate();
    let mut computed = 0;
    let mut gone = Gone::default();
    loop {
        while diffs.len() < width
            && let Some((number, part)) = parts.next()
        {
            let plan = filtered(job.feed(&single, slices.feed).await?, &part)?;
            running.start(number, DataFrame::new(single.state(), plan)).await?;
            let files = stored_files(job, part.filter.as_ref())?;
            diffs.insert(number, Diff::load(job, context, part, files, (0, 1)).await?);
        }
        if diffs.is_empty() {
            break;
        }
        match running.next().await? {
            (number, Some(batch)) => {
                computed += batch.num_rows() as u64;
                if let Some(diff) = diffs.get_mut(&number) {
                    stage.add(diff.fresh(&batch)?).await?;
                }
            }
            (number, None) => gone.merge(diffs.remove(&number).map(Diff::into_gone).unwrap_or_default()),
        }
    }
    gone.remove(job, context, whole, stored_files(job, whole.filter.as_ref())?, stage).await?;
    Ok(Computed { rows: computed, slices: count })
}

/// Which rows are computed and compared; `None`: none at all.
async fn part(job: &Job<'_>) -> Result<Option<Part>> {
    let columns = job.columns();
    let all = Part { filter: None, scopes: None, scope_places: Vec::new(), ignore: Vec::new() };
    let Kept::Scoped { scope } = &job.model.model.kept else { return Ok(Some(all)) };
    match job.mode {
        Mode::Rebuild => Ok(Some(all)),
        Mode::Range { .. } => {
            let filter = date_column(job.model).and_then(|column| job.days(&column));
            Ok(Some(Part { filter, ..all }))
        }
        Mode::Refresh => match affected(job, scope).await? {
            Affected::All => Ok(Some(all)),
            Affected::Some(set) if set.len() == 0 => Ok(None),
            Affected::Some(set) => Ok(Some(Part {
                filter: Some(set.filter()?),
                scope_places: keys::places(&columns, scope)?,
                scopes: Some(Arc::new(set)),
                ignore: Vec::new(),
            })),
        },
    }
}

/// The column by which days of a model are computed again: the first date or timestamp of its scope, or of the columns
/// that it is partitioned by.
pub(crate) fn date_column(model: &crate::plan::LoadedModel) -> Option<String> {
    let candidates = match &model.model.kept {
        Kept::Scoped { scope } => scope,
        Kept::Latest => &model.model.partition_by,
        Kept::Append | Kept::Full | Kept::View => return None,
    };
    let dated = |name: &&String| {
        let kind = model.schema.field_with_name(name).map(|field| field.data_type().clone());
        matches!(kind, Ok(DataType::Date32 | DataType::Timestamp(..)))
    };
    candidates.iter().find(dated).cloned()
}

/// The live files that can hold rows for which a filter is true. None of a table that is replaced: its rows have other
/// columns.
pub(crate) fn stored_files(job: &Job<'_>, filter: Option<&Expr>) -> Result<Vec<Arc<DataFile>>> {
    if job.replacement.is_some() {
        return Ok(Vec::new());
    }
    Ok(job.base.prune_files(filter.map(std::slice::from_ref).unwrap_or_default())?)
}

fn filtered(plan: LogicalPlan, part: &Part) -> Result<LogicalPlan> {
    match &part.filter {
        None => Ok(plan),
        Some(filter) => Ok(LogicalPlanBuilder::from(plan).filter(filter.clone())?.build()?),
    }
}
