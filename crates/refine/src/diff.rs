//! Comparing computed rows with stored ones, row by row: only what differs is written (ENGINE.md 13, 16).

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;
use arrow::datatypes::SchemaRef;
use datafusion::execution::context::SessionContext;
use datafusion::logical_expr::Expr;
use futures::{StreamExt, TryStreamExt};
use store::DataFile;

use crate::job::Job;
use crate::keys::hash_rows;
use crate::scope::ScopeSet;
use crate::stage::{Stage, split};
use crate::{Result, stream};

/// Which rows take part in a comparison.
#[derive(Clone)]
pub(crate) struct Part {
    /// A necessary condition, for pruning; columns are the model's.
    pub(crate) filter: Option<Expr>,
    /// The exact scopes; `None`: all for which `filter` holds.
    pub(crate) scopes: Option<Arc<ScopeSet>>,
    /// The places of the scope columns.
    pub(crate) scope_places: Vec<usize>,
    /// Columns that are no content (`_lineage`): rows that differ in them alone are the same row.
    pub(crate) ignore: Vec<usize>,
}

impl Part {
    /// The rows of a batch that are in the scopes.
    fn of(&self, batch: &RecordBatch) -> Result<RecordBatch> {
        match &self.scopes {
            Some(scopes) => Ok(filter_record_batch(batch, &scopes.mask(batch, &self.scope_places)?)?),
            None => Ok(batch.clone()),
        }
    }
}

/// A share of all rows, by their content: `(index, of)`.
pub(crate) type Round = (u64, u64);

/// How many rounds a comparison with the rows of these stored files takes.
pub(crate) fn rounds(job: &Job<'_>, files: &[Arc<DataFile>]) -> u64 {
    let rows: u64 = files.iter().map(|file| file.rows(job.base.meta()).unwrap_or(0)).sum();
    rows.div_ceil(job.limits.compare_rows).max(1)
}

/// Which rows of `batch` take part in a round, with the hashes of their contents.
fn hashes(part: &Part, round: Round, batch: &RecordBatch) -> Result<(RecordBatch, Vec<u128>)> {
    let batch = part.of(batch)?;
    let content: Vec<ArrayRef> = (0..batch.num_columns())
        .filter(|place| !part.ignore.contains(place))
        .map(|place| Arc::clone(batch.column(place)))
        .collect();
    let all = hash_rows(&content, batch.num_rows())?;
    if round.1 == 1 {
        return Ok((batch, all));
    }
    let inside: BooleanArray = all.iter().map(|hash| Some((hash >> 64) as u64 % round.1 == round.0)).collect();
    let chosen = all.into_iter().zip(inside.values().iter()).filter(|(_, inside)| *inside).map(|(hash, _)| hash);
    let chosen = chosen.collect();
    Ok((filter_record_batch(&batch, &inside)?, chosen))
}

/// The stored rows of a part of a table, less the computed rows that were taken off so far.
pub(crate) struct Diff {
    part: Part,
    round: Round,
    /// How often each row is stored and was not computed yet.
    stored: HashMap<u128, u32>,
    left: u64,
}

impl Diff {
    /// Reads the stored rows that take part.
    ///
    /// # Errors
    /// When the scan fails.
    pub(crate) async fn load(
        job: &Job<'_>,
        context: &SessionContext,
        part: Part,
        files: Vec<Arc<DataFile>>,
        round: Round,
    ) -> Result<Self> {
        let mut stored: HashMap<u128, u32> = HashMap::new();
        let mut left = 0;
        if !files.is_empty() {
            let frame = job.stored(context, files, part.filter.clone())?;
            let chosen = part.clone();
            let work = move |batch: RecordBatch| Ok(hashes(&chosen, round, &batch)?.1);
            stream::each(frame, work, async |found: Vec<u128>| {
                left += found.len() as u64;
                for hash in found {
                    *stored.entry(hash).or_default() += 1;
                }
                Ok(())
            })
            .await?;
        }
        Ok(Self { part, round, stored, left })
    }

    /// Takes computed rows off the stored ones, and gives those that are not stored.
    pub(crate) fn fresh(&mut self, batch: &RecordBatch) -> Result<RecordBatch> {
        if self.left == 0 && self.round.1 == 1 {
            return self.part.of(batch);
        }
        let (batch, hashes) = hashes(&self.part, self.round, batch)?;
        let fresh: BooleanArray =
            hashes.into_iter().map(|hash| Some(!take(&mut self.stored, &mut self.left, hash))).collect();
        Ok(split(&batch, &fresh)?.0)
    }

    /// The stored rows that were not computed.
    pub(crate) fn into_gone(mut self) -> Gone {
        self.stored.retain(|_, count| *count > 0);
        Gone { rows: self.stored, left: self.left }
    }
}

/// Takes one of the rows of this hash, if any is left.
fn take(rows: &mut HashMap<u128, u32>, left: &mut u64, hash: u128) -> bool {
    match rows.get_mut(&hash) {
        Some(count) if *count > 0 => {
            *count -= 1;
            *left -= 1;
            true
        }
        _ => false,
    }
}

/// Stored rows that must go, of all rounds.
#[derive(Default)]
pub(crate) struct Gone {
    rows: HashMap<u128, u32>,
    left: u64,
}

impl Gone {
    /// Adds those of another round, which are other rows.
    pub(crate) fn merge(&mut self, other: Gone) {
        self.left += other.left;
        self.rows.extend(other.rows);
    }

    /// Removes the rows: the files that hold any are written again without them.
    ///
    /// # Errors
    /// When a scan or a write fails.
    pub(crate) async fn remove(
        mut self,
        job: &Job<'_>,
        context: &SessionContext,
        part: &Part,
        files: Vec<Arc<DataFile>>,
        stage: &mut Stage,
    ) -> Result<()> {
        if self.left == 0 {
            return Ok(());
        }
        let hit = self.holding(job, context, part, files).await?;
        let groups: Vec<Vec<Arc<DataFile>>> = match job.model.model.partition_by.is_empty() {
            // One after the other, so that rows stay in the order in which statistics tell them apart.
            true => hit.into_iter().map(|file| vec![file]).collect(),
            false => vec![hit],
        };
        for files in groups {
            if self.left > 0 {
                self.rewrite(job, context, part, &files, stage).await?;
                files.into_iter().for_each(|file| stage.replace(file));
            }
        }
        Ok(())
    }

    /// The files that have rows that must go.
    async fn holding(
        &self,
        job: &Job<'_>,
        context: &SessionContext,
        part: &Part,
        files: Vec<Arc<DataFile>>,
    ) -> Result<Vec<Arc<DataFile>>> {
        // There are such rows: they are in the only file that there is.
        if files.len() == 1 {
            return Ok(files);
        }
        let threads = job.env.factory.options().threads.max(1);
        let looked = futures::stream::iter(files).map(|file| async {
            let holds = self.any_in(job, context, part, &file).await?;
            Ok::<_, crate::RefineError>(holds.then_some(file))
        });
        looked.buffered(threads).try_filter_map(async |file| Ok(file)).try_collect().await
    }

    /// Whether a file has rows that must go.
    async fn any_in(&self, job: &Job<'_>, context: &SessionContext, part: &Part, file: &Arc<DataFile>) -> Result<bool> {
        let frame = job.stored(context, vec![Arc::clone(file)], part.filter.clone())?;
        let mut found = false;
        let part = part.clone();
        let work = move |batch: RecordBatch| Ok(hashes(&part, (0, 1), &batch)?.1);
        stream::each(frame, work, async |hashes: Vec<u128>| {
            found |= hashes.iter().any(|hash| self.rows.get(hash).is_some_and(|count| *count > 0));
            Ok(())
        })
        .await?;
        Ok(found)
    }

    async fn rewrite(
        &mut self,
        job: &Job<'_>,
        context: &SessionContext,
        part: &Part,
        files: &[Arc<DataFile>],
        stage: &mut Stage,
    ) -> Result<()> {
        let frame = job.stored(context, files.to_vec(), None)?;
        // All rows of the files: those outside the part have no hash in `rows`, because rows that are equal are in the
        // same scope.
        let whole = Part { filter: None, scopes: None, scope_places: Vec::new(), ignore: part.ignore.clone() };
        let work = move |batch: RecordBatch| hashes(&whole, (0, 1), &batch);
        stream::each(frame, work, async |(batch, hashes): (RecordBatch, Vec<u128>)| {
            let keep: BooleanArray =
                hashes.into_iter().map(|hash| Some(!take(&mut self.rows, &mut self.left, hash))).collect();
            let (kept, gone) = split(&batch, &keep)?;
            stage.remove(gone).await?;
            stage.keep(kept).await
        })
        .await
    }
}

/// The places of columns in a schema that are no content.
pub(crate) fn no_content(columns: &SchemaRef) -> Vec<usize> {
    columns.index_of(session::LINEAGE_COLUMN).into_iter().collect()
}
