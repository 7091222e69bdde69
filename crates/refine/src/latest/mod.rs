//! `latest` models: of each entity the greatest version, whichever way and however often it came.
//!
//! A feed's SQL makes candidates of the messages that are new in Bronze. One pass over their entities alone tells which
//! of them are contested: those with more than one new message, and those that are stored already. A second pass sends
//! all others straight into new files, in the order in which they came; the contested ones wait until all rows of their
//! entity are together and are decided then ([`resolve`]). What a pass keeps of a row is its hash, 8 or 16 bytes.
//!
//! A copy of a message, sent again later, changes no row, so it does not move the stored order either. A message that
//! arrives late and belongs between the two must still lose against the copy: see [`late`].
//!
//! Where the entity says in which partition it is stored, only the candidates' own partitions are looked into. Otherwise
//! an entity may have moved, and an index says where its older version may be: see [`index`].

mod candidates;
mod contents;
mod held;
mod index;
mod known;
mod late;
mod recent;
mod resolve;

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::sync::Arc;

use arrow::array::{AsArray, BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;
use arrow::datatypes::Schema;
use arrow::error::ArrowError;
use datafusion::catalog::TableProvider;
use datafusion::common::DFSchema;
use datafusion::execution::context::SessionContext;
use datafusion::logical_expr::Expr;
use datafusion::physical_expr::PhysicalExpr;
use schema::{Kept, TableName};
use store::{DataFile, Snapshot, Spliced};
use tokio::task::JoinHandle;

use crate::diff::{self, Diff, Part, no_content, rounds};
use crate::job::{Input, Job, Mode};
use crate::keys::{hash_rows, pick, places};
use crate::plan::LoadedFeed;
use crate::recompute::{date_column, stored_files};
use crate::stage::{Stage, split};
use crate::{RefineError, Result, stream};

use candidates::{Candidates, Probed, either};
pub(crate) use known::Known;
use recent::{Noter, Recents};

/// Stages what the new messages change. Gives the number of candidate rows.
///
/// # Errors
/// [`RefineError::NotAppendOnly`] when Bronze lost rows; when the SQL or a table fails.
pub(crate) async fn latest(job: &Job<'_>, stage: &mut Stage) -> Result<u64> {
    if job.mode != Mode::Refresh {
        return rebuild(job, stage).await;
    }
    let mut rows = 0;
    let mut rewrites = Rewrites::default();
    let mut recents = Recents::begin(job);
    for feed in &job.model.feeds {
        let Some((name, input)) = upstream(job, feed).filter(|(_, input)| input.has_news()) else { continue };
        let fresh = match &input.changes {
            None => input.at.provider(),
            Some(changes) if changes.inserts_only() => changes.inserts(),
            Some(_) => {
                let (model, upstream) = (job.model.name().clone(), name.clone());
                return Err(RefineError::NotAppendOnly { model, upstream, kept: "latest" });
            }
        };
        let news = news(input);
        let mut candidates = Candidates::new(job, feed, name, fresh, &news).await?;
        let stored: Vec<Arc<DataFile>> = job.base.files().cloned().collect();
        let noter = Noter::new(job, &feed.feed)?;
        let mut recent = recents.of(job, &feed.feed, candidates.news_rows()).await;
        for round in candidates.rounds() {
            let mut found = candidates.scan(round, &stored, recent.as_deref_mut()).await?;
            let uncontested = async |batch: RecordBatch| {
                if let Some(recent) = &mut recent {
                    recent.note(&noter, &batch)?;
                }
                stage.add(batch).await
            };
            let mut held = candidates.pass(&mut found, &stored, uncontested).await?;
            for part in 0..held.parts() {
                let Some(decision) = candidates.decide(&mut held, part, &found, input).await? else { continue };
                if let Some(recent) = &mut recent {
                    recent.note(&noter, &decision.add)?;
                }
                stage.add(decision.add).await?;
                stage.remove(decision.gone).await?;
                let files = decision.gone_files.iter().map(|&file| &found.probed[file as usize]);
                rewrites.add(candidates.entity_places(), decision.gone_keys, files);
            }
        }
        rows += candidates.rows();
    }
    rewrites.run(job, stage).await?;
    recents.give_back(job);
    Ok(rows)
}

/// Brings what is known of where a table's entities are up to what a refresh has just committed; `added`: the files of its
/// commit, `None` where that of another run consumed the same.
pub(crate) async fn follow(job: &Job<'_>, snapshot: &Arc<Snapshot>, added: Option<&[Arc<DataFile>]>) {
    if job.model.model.kept != Kept::Latest {
        return;
    }
    let kept = match added {
        Some(added) => recent::committed(job, snapshot, added).await,
        None => HashSet::new(),
    };
    index::follow(job, snapshot, &kept).await;
}

/// Computes the table from all of Bronze and stages what differs from the stored rows.
async fn rebuild(job: &Job<'_>, stage: &mut Stage) -> Result<u64> {
    let filter = date_column(job.model).and_then(|column| job.days(&column));
    let days = filter.clone().map(|filter| physical(job, filter)).transpose()?;
    let ignore = no_content(&job.columns());
    let part = Part { filter, scopes: None, scope_places: Vec::new(), ignore };
    let files = stored_files(job, part.filter.as_ref())?;
    let rounds = rounds(job, &files);
    let context = job.context([]).await?;
    let mut gone = diff::Gone::default();
    let mut rows = 0;
    for index in 0..rounds {
        let mut diff = Diff::load(job, &context, part.clone(), files.clone(), (index, rounds)).await?;
        rows = 0;
        for feed in &job.model.feeds {
            let Some((name, input)) = upstream(job, feed) else { continue };
            let Some(at) = as_of(job, feed, input).await? else { continue };
            let all: Vec<Arc<DataFile>> = at.files().cloned().collect();
            let mut candidates = Candidates::new(job, feed, name, at.provider(), &all).await?;
            for round in candidates.rounds() {
                let mut found = candidates.scan(round, &[], None).await?;
                let winners = async |batch: RecordBatch| stage.add(diff.fresh(&within(&batch, days.as_ref())?)?).await;
                let mut held = candidates.pass(&mut found, &[], winners).await?;
                for part in 0..held.parts() {
                    if let Some(decision) = candidates.decide(&mut held, part, &found, input).await? {
                        stage.add(diff.fresh(&within(&decision.add, days.as_ref())?)?).await?;
                    }
                }
            }
            rows += candidates.rows();
        }
        gone.merge(diff.into_gone());
    }
    gone.remove(job, &context, &part, files, stage).await?;
    Ok(rows)
}

/// Whether the entity of a feed says in which partition it is stored.
fn is_placed(job: &Job<'_>, feed: &schema::Feed) -> bool {
    let partition_by = &job.model.model.partition_by;
    !partition_by.is_empty() && partition_by.iter().all(|column| feed.entity.contains(column))
}

/// The one table that a feed reads, if it was ever loaded.
fn upstream<'a>(job: &'a Job<'_>, feed: &'a LoadedFeed) -> Option<(&'a TableName, &'a Input)> {
    let name = feed.reads.first()?;
    Some((name, job.inputs.get(name)?))
}

/// The messages that a table is computed from: all of them. Only when days of a table are computed again whose entities
/// may move, it is those that the table has consumed, where it stands: a message that it has not may move an entity into
/// these days or out of them, and the day that it leaves, or comes to, may not be among them. The next refresh, which
/// knows where the entity is stored, takes it from the one and puts it into the other. `None`: no message at all.
async fn as_of(job: &Job<'_>, feed: &LoadedFeed, input: &Input) -> Result<Option<Arc<Snapshot>>> {
    let has_day = date_column(job.model).is_some_and(|column| feed.feed.entity.contains(&column));
    if has_day || !matches!(job.mode, Mode::Range { .. }) {
        return Ok(Some(Arc::clone(&input.at)));
    }
    match input.from {
        None => Ok(None),
        Some(from) if from == input.at.version() => Ok(Some(Arc::clone(&input.at))),
        Some(from) => Ok(Some(input.table.snapshot_at(from).await?)),
    }
}

/// A condition on the model's columns that batches can be asked.
fn physical(job: &Job<'_>, filter: Expr) -> Result<Arc<dyn PhysicalExpr>> {
    let columns = DFSchema::try_from(job.columns())?;
    Ok(job.env.factory.context(HashMap::new()).create_physical_expr(filter, &columns)?)
}

/// The rows of a batch for which the condition is true.
fn within(batch: &RecordBatch, condition: Option<&Arc<dyn PhysicalExpr>>) -> Result<RecordBatch> {
    let Some(condition) = condition else { return Ok(batch.clone()) };
    let verdict = condition.evaluate(batch)?.into_array(batch.num_rows())?;
    Ok(filter_record_batch(batch, verdict.as_boolean())?)
}

/// The files that hold what is new.
fn news(input: &Input) -> Vec<Arc<DataFile>> {
    match &input.changes {
        Some(changes) => changes.inserted_files(),
        None => input.at.files().cloned().collect(),
    }
}

/// Files that are read side by side to be written again.
const REWRITTEN: usize = 64;

/// A file that is being written without some of its rows.
type Splicing = JoinHandle<store::Result<Option<Spliced>>>;

/// The share of the session's memory that files may take while they are written without some rows, as they are stored.
const SPLICED_SHARE: usize = 16;

/// Files of which some entities go, to be written again at the end: a file is removed once, whatever goes from it.
#[derive(Default)]
struct Rewrites {
    /// By the places of the entity's columns, because feeds may have different ones.
    gone: BTreeMap<Vec<usize>, HashSet<u128>>,
    files: BTreeMap<Arc<str>, Rewrite>,
}

/// A file of which entities go, with the places of the rows that can be theirs, ascending, where these are known.
type Rewrite = (Arc<DataFile>, Option<Vec<u64>>);

impl Rewrites {
    fn add<'a>(&mut self, entity: &[usize], keys: HashSet<u128>, files: impl Iterator<Item = &'a Probed>) {
        if keys.is_empty() {
            return;
        }
        self.gone.entry(entity.to_vec()).or_default().extend(keys);
        for Probed { file, rows, .. } in files {
            match self.files.entry(Arc::clone(&file.path)) {
                Entry::Vacant(free) => _ = free.insert((Arc::clone(file), rows.clone())),
                Entry::Occupied(mut known) => {
                    let known = &mut known.get_mut().1;
                    *known = either(known.take(), rows.clone());
                }
            }
        }
    }

    async fn run(self, job: &Job<'_>, stage: &mut Stage) -> Result<()> {
        let gone = Gone::new(self.gone, &job.columns());
        let context = job.context([]).await?;
        // Without partitions one after the other, so that rows stay in the order in which statistics tell them apart.
        let at_a_time = if job.model.model.partition_by.is_empty() { 1 } else { REWRITTEN };
        let options = job.env.factory.options();
        let mut files = self.files.into_values().peekable();
        let mut ahead: VecDeque<(Arc<DataFile>, Splicing)> = VecDeque::new();
        let mut whole = Vec::new();
        loop {
            let bytes: u64 = ahead.iter().map(|(file, _)| file.size).sum();
            let room = (options.memory_bytes / SPLICED_SHARE) as u64;
            let fits = |(file, _): &Rewrite| ahead.is_empty() || bytes + file.size <= room;
            // Twice as many as there are threads: while one is written the next must be at hand.
            if ahead.len() < 2 * options.threads.max(1)
                && let Some((file, rows)) = files.next_if(fits)
            {
                // On a task of its own: one that waits for a core must go on while others are written.
                let spliced = tokio::spawn(stage.without(&file, &gone.columns, rows, gone.goes()));
                ahead.push_back((file, spliced));
                continue;
            }
            let Some((file, spliced)) = ahead.pop_front() else { break };
            match spliced.await.map_err(|error| RefineError::Worker(error.to_string()))?? {
                Some(spliced) => {
                    stage.keep_spliced(&file, spliced).await?;
                    stage.replace(file);
                }
                None => whole.push(file),
            }
            if whole.len() >= at_a_time {
                gone.rewrite(job, &context, std::mem::take(&mut whole), stage).await?;
            }
        }
        gone.rewrite(job, &context, whole, stage).await
    }
}

/// Entities that go.
struct Gone {
    /// The columns that say which entity a row is of.
    columns: Vec<String>,
    /// Hashes of entities, with the places in `columns` of those that they are of.
    keys: Arc<Vec<(Vec<usize>, HashSet<u128>)>>,
}

impl Gone {
    /// Entities by the places of their columns among the table's.
    fn new(keys: BTreeMap<Vec<usize>, HashSet<u128>>, table: &Schema) -> Self {
        let all: BTreeSet<usize> = keys.keys().flatten().copied().collect();
        let columns = all.iter().map(|place| table.field(*place).name().clone()).collect();
        let among = |place: usize| all.range(..place).count();
        let keys = keys.into_iter().map(|(entity, keys)| (entity.into_iter().map(among).collect(), keys));
        Self { columns, keys: Arc::new(keys.collect()) }
    }

    /// Says of rows, by the columns, whether they go.
    fn goes(&self) -> impl Fn(&RecordBatch) -> std::result::Result<BooleanArray, ArrowError> + Send + Sync + use<> {
        let keys = Arc::clone(&self.keys);
        move |batch| {
            let mut goes = vec![false; batch.num_rows()];
            for (entity, keys) in keys.iter() {
                let hashes = hash_rows(&pick(batch, entity), batch.num_rows());
                let hashes = hashes.map_err(|error| ArrowError::ExternalError(Box::new(error)))?;
                goes.iter_mut().zip(hashes).for_each(|(goes, hash)| *goes |= keys.contains(&hash));
            }
            Ok(goes.into())
        }
    }

    /// Reads files and writes the rows that stay.
    async fn rewrite(
        &self,
        job: &Job<'_>,
        context: &SessionContext,
        files: Vec<Arc<DataFile>>,
        stage: &mut Stage,
    ) -> Result<()> {
        if files.is_empty() {
            return Ok(());
        }
        let (columns, goes) = (places(&job.columns(), &self.columns)?, self.goes());
        let work = move |batch: RecordBatch| {
            let goes = goes(&batch.project(&columns)?)?;
            Ok(split(&batch, &goes)?.1)
        };
        let frame = job.stored(context, files.clone(), None)?;
        stream::each(frame, work, async |kept| stage.keep(kept).await).await?;
        files.into_iter().for_each(|file| stage.replace(file));
        Ok(())
    }
}

/// A table of Bronze, or a part of it, as the feed's SQL sees it.
fn seen_as(
    job: &Job<'_>,
    name: &TableName,
    stored: Arc<dyn TableProvider>,
) -> Result<[(TableName, Arc<dyn TableProvider>); 1]> {
    Ok([(name.clone(), job.seen(name, Some(stored))?)])
}
