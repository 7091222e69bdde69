//! The rows that a feed makes of new messages, pass by pass.

use std::path::PathBuf;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BooleanArray, Decimal128Array, Int32Array, RecordBatch};
use arrow::compute::{filter_record_batch, partition};
use arrow::datatypes::{DataType, Decimal128Type, Field, Schema, SchemaRef};
use datafusion::catalog::TableProvider;
use datafusion::datasource::{MemTable, provider_as_source};
use datafusion::execution::context::SessionContext;
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, ident};
use datafusion::prelude::DataFrame;
use futures::{StreamExt, TryStreamExt};
use schema::TableName;
use session::LINEAGE_COLUMN;
use store::DataFile;

use super::contents::{Contents, halves};
use super::held::Held;
use super::index::{Partition, Partitions, Places};
use super::recent::{Recent, Row, Rows};
use super::resolve::{Decision, FILE_COLUMN, KEY_COLUMN, Shape, decide};
use super::{index, is_placed, late, seen_as};
use crate::job::{Input, Job};
use crate::keys::{hash_rows, low, pick, places};
use crate::keyset::{Collector, KeySet};
use crate::plan::LoadedFeed;
use crate::recompute::date_column;
use crate::scope::ScopeSet;
use crate::slices::in_file_order;
use crate::stage::compact;
use crate::{Result, stream};

/// The share of the session's memory that rows may take up while they wait to be decided.
const HELD_SHARE: usize = 4;

/// Up to this many messages, and bytes of the rows that they give, are read once for all passes.
const SMALL_ROWS: u64 = 128 * 1024;
const SMALL_BYTES: usize = 64 << 20;

/// Up to this many rows of a file are read, and taken out of it, by their places.
const PLACED: usize = 500;

/// A share of all entities, by their hash: `(index, of)`.
pub(super) type Round = (u64, u64);

/// The candidates of one feed.
pub(super) struct Candidates<'a> {
    job: &'a Job<'a>,
    feed: &'a LoadedFeed,
    name: &'a TableName,
    context: SessionContext,
    /// For scans of one stored file: many are read side by side.
    of_file: SessionContext,
    plan: LogicalPlan,
    columns: SchemaRef,
    shape: Shape,
    entity: Vec<usize>,
    /// Files that hold what is new, and their rows.
    news: Vec<Arc<DataFile>>,
    news_rows: u64,
    rows: u64,
}

/// What the first pass found.
pub(super) struct Found {
    round: Round,
    /// Entities that more than one message or a stored row claims.
    contested: Arc<KeySet>,
    /// Stored files that hold rows of these entities.
    pub(super) probed: Vec<Probed>,
    /// The entities of candidates that are stored.
    hits: Arc<KeySet>,
    /// Entities that one message claims, with what the run itself has stored of them last: files are looked into only where
    /// the message differs.
    known: Arc<Rows>,
    partitions: Partitions,
    /// What is stored of entities that one message claims, where there are many.
    contents: Arc<Contents>,
}

/// A stored file that holds rows of candidates' entities.
pub(super) struct Probed {
    pub(super) file: Arc<DataFile>,
    /// The hashes of the entities, for each row.
    hits: Vec<u64>,
    /// The places of these rows in the file, ascending, where they are few.
    pub(super) rows: Option<Vec<u64>>,
}

/// Contested rows, those that are new and those that are stored.
pub(super) struct Contested {
    fresh: Held,
    stored: Held,
}

impl Contested {
    pub(super) fn parts(&self) -> usize {
        self.fresh.parts().max(self.stored.parts())
    }

    /// Both sides in memory, or both in files, so that equal keys are in parts of the same number.
    fn settle(&mut self) -> Result<()> {
        if self.fresh.is_spilled() || self.stored.is_spilled() {
            self.fresh.spill()?;
            self.stored.spill()?;
        }
        Ok(())
    }
}

impl<'a> Candidates<'a> {
    /// The candidates that `feed` makes of `fresh`, a part of the Bronze table `name` in the files `news`.
    pub(super) async fn new(
        job: &'a Job<'a>,
        feed: &'a LoadedFeed,
        name: &'a TableName,
        fresh: Arc<dyn TableProvider>,
        news: &[Arc<DataFile>],
    ) -> Result<Self> {
        let context = job.context(seen_as(job, name, fresh)?).await?;
        let mut plan = job.feed(&context, feed).await?;
        // Where the entity has no day of its own, an older version of it may be of another day: the winners are told
        // apart by their days, see `rebuild`.
        let day = date_column(job.model).filter(|column| feed.feed.entity.contains(column));
        if let Some(days) = day.and_then(|column| job.days(&column)) {
            plan = LogicalPlanBuilder::from(plan).filter(days)?.build()?;
        }
        let columns = job.columns();
        let shape = Shape::of(&feed.feed, &columns)?;
        let entity = places(&columns, &feed.feed.entity)?;
        let meta = job.inputs[name].at.meta();
        let news_rows = news.iter().map(|file| file.rows(meta).unwrap_or(0)).sum();
        let news = news.to_vec();
        if news_rows <= SMALL_ROWS {
            plan = at_hand(&context, plan).await?;
        }
        let of_file = in_file_order(&context);
        Ok(Self { job, feed, name, context, of_file, plan, columns, shape, entity, news, news_rows, rows: 0 })
    }

    /// The shares in which the candidates are worked on.
    pub(super) fn rounds(&self) -> impl Iterator<Item = Round> + use<> {
        let of = self.news_rows.div_ceil(self.job.limits.key_rows).max(1);
        (0..of).map(move |index| (index, of))
    }

    /// Rows of Bronze that are new.
    pub(super) fn news_rows(&self) -> u64 {
        self.news_rows
    }

    /// Candidates seen so far.
    pub(super) fn rows(&self) -> u64 {
        self.rows
    }

    /// The places of the entity's columns.
    pub(super) fn entity_places(&self) -> &[usize] {
        &self.entity
    }

    /// The first pass: which entities are contested, among the candidates and by the rows of the `stored` files, of which
    /// `recent` knows the newest.
    pub(super) async fn scan(
        &mut self,
        round: Round,
        stored: &[Arc<DataFile>],
        recent: Option<&mut Recent>,
    ) -> Result<Found> {
        let job = self.job;
        let width = self.entity.len();
        let mut names: Vec<&str> = self.feed.feed.entity.iter().map(String::as_str).collect();
        let single = self.feed.at_most_one;
        if !single {
            names.push(LINEAGE_COLUMN);
        }
        let probing = !stored.is_empty();
        let partition_by = &job.model.model.partition_by;
        let partitions = partition_places(&self.feed.feed.entity, partition_by);
        let mut touched = ScopeSet::new(partition_by, &self.columns)?;
        let mut collector = Collector::new(if single { self.news_rows / round.1 } else { 0 });
        let pick_partitions = probing && is_placed(job, &self.feed.feed);
        let work = move |batch: RecordBatch| {
            let batch = in_round(&batch, &(0..width).collect::<Vec<_>>(), round)?;
            let keys = lows(&batch, &(0..width).collect::<Vec<_>>())?;
            let messages = if single {
                None
            } else {
                let fields = batch.column(width).as_struct().columns();
                Some(hash_rows(fields, batch.num_rows())?.into_iter().map(low).collect::<Vec<u64>>())
            };
            let parts = if pick_partitions { Some(distinct(&batch.project(&partitions)?)?) } else { None };
            Ok((keys, messages, parts))
        };
        stream::each(self.frame(&names)?, work, async |(keys, messages, parts)| {
            match messages {
                None => collector.extend(&keys),
                Some(messages) => collector.extend_paired(&keys, &messages),
            }
            match parts {
                Some(parts) => touched.extend(&parts),
                None => Ok(()),
            }
        })
        .await?;
        self.rows += collector.rows();
        let (all, repeated) = collector.finish(probing);
        let mut known = Rows::default();
        let mut partitions = Partitions::default();
        let (probed, hits) = match recent {
            _ if !probing => Default::default(),
            Some(recent) => {
                let looked_up = recent.look_up(&all.between(0, u64::MAX));
                known = looked_up.0;
                // Those of several messages are decided in any case.
                let decided: Rows = known.extract_if(|key, _| repeated.contains(*key)).collect();
                partitions = recent.partitions().clone();
                let places = recent.places(job, &looked_up.1).await;
                self.probe_at(stored, places, Arc::new(all), placed(&decided, &partitions)).await?
            }
            None => self.probe(stored, &touched, Arc::new(all)).await?,
        };
        let contested = if hits.is_empty() { repeated.clone() } else { repeated.union(hits.iter().copied()) };
        let (contested, hits) = (Arc::new(contested), Arc::new(KeySet::from_keys(hits)));
        let mut found =
            Found { round, contested, probed, hits, known: Arc::new(known), partitions, contents: Arc::default() };
        // Mostly all of an extract comes again as it is.
        if single && found.hits.len() >= self.job.limits.hashed_rows {
            found.contents = Arc::new(self.contents(&found, repeated).await?);
        }
        Ok(found)
    }

    /// The contents of the stored rows of candidates' entities but the `repeated` ones, of as many as there is memory for.
    async fn contents(&self, found: &Found, repeated: KeySet) -> Result<Contents> {
        let (most, wanted) = (self.held_bytes() / Contents::ROW_BYTES, found.hits.len());
        // Those of the lowest hashes: of an entity all rows or none.
        let last = if wanted <= most { u64::MAX } else { u64::MAX / wanted as u64 * most as u64 };
        let files: Vec<Arc<DataFile>> = found.probed.iter().map(|probed| Arc::clone(&probed.file)).collect();
        let names = self.columns.fields().iter().map(|field| field.name().as_str());
        let names: Vec<&str> = names.filter(|name| *name != LINEAGE_COLUMN).collect();
        let place = |name: &String| names.iter().position(|known| known == name);
        let entity: Vec<usize> = self.feed.feed.entity.iter().filter_map(place).collect();
        let frame = self.job.stored(&self.context, files, None)?.select(names.into_iter().map(ident))?;
        let (hits, round) = (Arc::clone(&found.hits), found.round);
        let work = move |batch: RecordBatch| {
            let batch = in_round(&batch, &entity, round)?;
            let contents = hash_rows(batch.columns(), batch.num_rows())?;
            let rows = lows(&batch, &entity)?.into_iter().zip(contents);
            let is_wanted = |key: u64| key <= last && hits.contains(key) && !repeated.contains(key);
            let rows = rows.filter(|(key, _)| is_wanted(*key)).map(|(key, content)| (key, halves(content)));
            Ok(rows.collect::<Vec<_>>())
        };
        let mut rows = Vec::with_capacity(wanted.min(most));
        stream::each(frame, work, async |some: Vec<_>| {
            rows.extend(some);
            Ok(())
        })
        .await?;
        Ok(Contents::of(rows))
    }

    /// Looks for entities in the files of the partitions that may hold them: those of `places` (`None`: any of `all` may be
    /// anywhere) and `others`.
    async fn probe_at(
        &self,
        stored: &[Arc<DataFile>],
        places: Option<Places>,
        all: Arc<KeySet>,
        others: Vec<(u64, Partition)>,
    ) -> Result<(Vec<Probed>, Vec<u64>)> {
        let Some(mut places) = places else { return self.look_through(stored.to_vec(), all).await };
        places.add(others);
        let files = stored.iter().filter(|file| places.holds(file)).cloned().collect();
        self.look_through(files, Arc::new(places.keys)).await
    }

    /// Looks for the candidates' entities in the stored files that can hold them. Gives the files that do, and the hashes
    /// of the entities.
    async fn probe(
        &self,
        stored: &[Arc<DataFile>],
        touched: &ScopeSet,
        wanted: Arc<KeySet>,
    ) -> Result<(Vec<Probed>, Vec<u64>)> {
        if wanted.is_empty() {
            return Ok(Default::default());
        }
        let (files, wanted) = self.where_stored(stored, touched, wanted).await?;
        self.look_through(files, wanted).await
    }

    /// Looks for entities in these files of the table.
    async fn look_through(
        &self,
        mut files: Vec<Arc<DataFile>>,
        wanted: Arc<KeySet>,
    ) -> Result<(Vec<Probed>, Vec<u64>)> {
        if wanted.is_empty() {
            return Ok(Default::default());
        }
        let table = index::definition(&self.feed.feed.entity, &self.columns, &self.job.base);
        if let Some(known) = &self.job.known {
            known.tidy(&table, &self.job.base);
            known.narrow(&table, &mut files, &wanted);
        }
        let looked = futures::stream::iter(files).map(|file| self.look(file, Arc::clone(&wanted), &table));
        let mut probed: Vec<Probed> = looked.buffer_unordered(self.files_at_a_time()).try_collect().await?;
        probed.retain(|probed| !probed.hits.is_empty());
        probed.sort_by(|a, b| a.file.path.cmp(&b.file.path));
        let hits = probed.iter_mut().flat_map(|probed| std::mem::take(&mut probed.hits)).collect();
        Ok((probed, hits))
    }

    /// Files that are read side by side: twice as many as there are threads, because scans are planned and begun in turns.
    fn files_at_a_time(&self) -> usize {
        2 * self.job.env.factory.options().threads.max(1)
    }

    /// Looks for entities in a file; `table` is what it is known under.
    async fn look(&self, file: Arc<DataFile>, wanted: Arc<KeySet>, table: &str) -> Result<Probed> {
        let entity: Vec<Expr> = self.feed.feed.entity.iter().map(ident).collect();
        let places: Vec<usize> = (0..entity.len()).collect();
        let frame = self.job.stored(&self.of_file, vec![Arc::clone(&file)], None)?.select(entity)?;
        let streams = frame.execute_stream_partitioned().await?;
        // Several streams would bring them in any order.
        let mut rows = (streams.len() == 1).then(Vec::new);
        let work = move |batch: RecordBatch| {
            let keys = lows(&batch, &places)?;
            let found: Vec<usize> = (0..keys.len()).filter(|row| wanted.contains(keys[*row])).collect();
            Ok((keys, found))
        };
        let mut hits = Vec::new();
        let mut all = self.job.known.as_ref().map(|_| Vec::new());
        let mut first = 0;
        stream::each_of(streams, work, async |(keys, found): (Vec<u64>, Vec<usize>)| {
            hits.extend(found.iter().map(|row| keys[*row]));
            if hits.len() > PLACED {
                rows = None;
            }
            if let Some(rows) = &mut rows {
                rows.extend(found.iter().map(|row| first + *row as u64));
            }
            first += keys.len() as u64;
            if let Some(all) = &mut all {
                all.extend(keys);
            }
            Ok(())
        })
        .await?;
        if let Some((known, keys)) = self.job.known.as_ref().zip(all) {
            known.add(table, &file, keys);
        }
        // Where the log counts otherwise, places are none.
        let rows = rows.filter(|_| file.rows(self.job.base.meta()) == Some(first));
        Ok(Probed { file, hits, rows })
    }

    /// The files that can hold the candidates' entities, and which entities those are.
    async fn where_stored(
        &self,
        stored: &[Arc<DataFile>],
        touched: &ScopeSet,
        wanted: Arc<KeySet>,
    ) -> Result<(Vec<Arc<DataFile>>, Arc<KeySet>)> {
        let job = self.job;
        if is_placed(job, &self.feed.feed) {
            return Ok((job.base.prune_files(&[touched.filter()?])?, wanted));
        }
        let places = match index::is_worth(job, &job.base) {
            true => index::places(job, &self.feed.feed.entity, &wanted).await,
            false => None,
        };
        Ok(match places {
            Some(places) => {
                let files = stored.iter().filter(|file| places.holds(file)).cloned().collect();
                (files, Arc::new(places.keys))
            }
            None => (stored.to_vec(), wanted),
        })
    }

    /// The second pass: hands on the rows that nothing contests, in the order in which they come, and holds the others
    /// together with the `stored` rows of their entities.
    pub(super) async fn pass(
        &self,
        found: &mut Found,
        stored: &[Arc<DataFile>],
        mut uncontested: impl AsyncFnMut(RecordBatch) -> Result<()>,
    ) -> Result<Contested> {
        let mut fresh = self.held(false);
        let frame = DataFrame::new(self.context.state(), self.plan.clone());
        let (entity, keys, round) = (self.entity.clone(), Arc::clone(&found.contested), found.round);
        let (known, contents) = (Arc::clone(&found.known), Arc::clone(&found.contents));
        let (shape, schema) = (self.shape.clone(), with_fields(&self.columns, false));
        let work = move |batch: RecordBatch| {
            let batch = in_round(&batch, &entity, round)?;
            if keys.is_empty() && known.is_empty() {
                return Ok((batch, None));
            }
            let hashes = hash_rows(&pick(&batch, &entity), batch.num_rows())?;
            let waits = |hash: &u128| keys.contains(low(*hash)) || known.contains_key(&low(*hash));
            let waits: BooleanArray = hashes.iter().map(|hash| Some(waits(hash))).collect();
            match waits.true_count() {
                0 => Ok((batch, None)),
                _ => {
                    let waiting = filter_record_batch(&with_key(&batch, &hashes, None, &schema)?, &waits)?;
                    let waiting = without_copies(&shape, &waiting, &known, &contents)?;
                    Ok((filter_record_batch(&batch, &arrow::compute::not(&waits)?)?, Some(compact(&waiting)?)))
                }
            }
        };
        let mut changed = Rows::default();
        let mut is_mistaken = false;
        let mut left = Vec::new();
        stream::each(frame, work, async |(free, waiting): (RecordBatch, Option<RecordBatch>)| {
            if let Some(waiting) = waiting {
                for entity in keys_of(&self.shape, &waiting) {
                    if let Some((key, row)) = found.known.get_key_value(&low(entity)) {
                        changed.insert(*key, *row);
                        is_mistaken |= !row.is_of(entity);
                    }
                    if !found.contents.is_empty() {
                        left.push(low(entity));
                    }
                }
                fresh.push(waiting)?;
            }
            uncontested(free).await
        })
        .await?;
        if !found.contents.is_empty() {
            found.only(KeySet::from_keys(left));
        }
        if !changed.is_empty() {
            let all = Arc::new(KeySet::from_keys(changed.keys().copied()));
            // Of an entity that only shares half its hash with what is known, it is not known where it is.
            let places = (!is_mistaken).then(Places::default);
            let (probed, hits) = self.probe_at(stored, places, all, placed(&changed, &found.partitions)).await?;
            found.merge(probed, hits);
        }
        let mut contested = Contested { fresh, stored: self.hold(found).await? };
        contested.settle()?;
        Ok(contested)
    }

    /// Nothing held yet of rows that are new, or `stored`.
    fn held(&self, stored: bool) -> Held {
        let dir: Option<PathBuf> = self.job.env.factory.options().temp_dir.clone();
        Held::new(with_fields(&self.columns, stored), self.shape.width, self.held_bytes(), dir)
    }

    fn held_bytes(&self) -> usize {
        let memory = self.job.env.factory.options().memory_bytes;
        self.job.limits.held_bytes.unwrap_or(memory / HELD_SHARE)
    }

    /// Holds the stored rows of contested entities.
    async fn hold(&self, found: &Found) -> Result<Held> {
        let mut stored = self.held(true);
        let schema = with_fields(&self.columns, true);
        let taken = found.probed.iter().enumerate();
        let taken = taken.map(|(index, probed)| self.take(index as i32, probed, found, &schema));
        // Rows of a file wait until all of it is read.
        let are_few = found.probed.iter().all(|probed| probed.rows.is_some());
        let at_a_time = if are_few { self.files_at_a_time() } else { self.files_at_a_time() / 2 };
        let mut taken = futures::stream::iter(taken).buffer_unordered(at_a_time);
        while let Some(rows) = taken.try_next().await? {
            rows.into_iter().try_for_each(|rows| stored.push(rows))?;
        }
        drop(taken);
        Ok(stored)
    }

    /// The rows of a stored file whose entities are among the candidates'.
    async fn take(&self, index: i32, probed: &Probed, found: &Found, schema: &SchemaRef) -> Result<Vec<RecordBatch>> {
        let file = Arc::clone(&probed.file);
        let frame = match &probed.rows {
            Some(rows) => self.job.stored_rows(&self.of_file, file, rows)?,
            None => self.job.stored(&self.of_file, vec![file], None)?,
        };
        let (entity, hits, round) = (self.entity.clone(), Arc::clone(&found.hits), found.round);
        let schema = Arc::clone(schema);
        let work = move |batch: RecordBatch| {
            let batch = in_round(&batch, &entity, round)?;
            let hashes = hash_rows(&pick(&batch, &entity), batch.num_rows())?;
            let hit: BooleanArray = hashes.iter().map(|hash| Some(hits.contains(low(*hash)))).collect();
            compact(&filter_record_batch(&with_key(&batch, &hashes, Some(index), &schema)?, &hit)?)
        };
        let mut taken = Vec::new();
        stream::each(frame, work, async |rows: RecordBatch| {
            if rows.num_rows() > 0 {
                taken.push(rows);
            }
            Ok(())
        })
        .await?;
        Ok(taken)
    }

    /// Decides one part of the contested rows; `None` where it holds no candidate.
    pub(super) async fn decide(
        &self,
        held: &mut Contested,
        part: usize,
        found: &Found,
        input: &Input,
    ) -> Result<Option<Decision>> {
        let fresh = held.fresh.take(part)?;
        if fresh.num_rows() == 0 {
            return Ok(None);
        }
        let stored = if found.probed.is_empty() { None } else { Some(held.stored.take(part)?) };
        let decision = decide(&self.shape, &fresh, stored.as_ref(), &Default::default())?;
        if decision.doubtful.is_empty() {
            return Ok(Some(decision));
        }
        let late = late::Late {
            job: self.job,
            feed: self.feed,
            name: self.name,
            shape: &self.shape,
            entity: &self.entity,
            news: &self.news,
        };
        let vetoed = late.vetoed(input, &fresh, &decision.doubtful).await?;
        if vetoed.is_empty() {
            return Ok(Some(decision));
        }
        Ok(Some(decide(&self.shape, &fresh, stored.as_ref(), &vetoed)?))
    }

    fn frame(&self, names: &[&str]) -> Result<DataFrame> {
        let exprs: Vec<Expr> = names.iter().map(|name| ident(*name)).collect();
        Ok(DataFrame::new(self.context.state(), self.plan.clone()).select(exprs)?)
    }
}

/// The plan over its own rows in memory, if they are few.
async fn at_hand(context: &SessionContext, plan: LogicalPlan) -> Result<LogicalPlan> {
    let mut rows = Some(Vec::new());
    let mut bytes = 0;
    stream::each(DataFrame::new(context.state(), plan.clone()), Ok, async |batch: RecordBatch| {
        bytes += batch.get_array_memory_size();
        match bytes > SMALL_BYTES {
            true => rows = None,
            false => rows.iter_mut().for_each(|rows| rows.push(batch.clone())),
        }
        Ok(())
    })
    .await?;
    let rows: Vec<RecordBatch> = rows.unwrap_or_default();
    let Some(first) = rows.first() else { return Ok(plan) };
    // By the columns that came: what they say of nulls is not what the table's say, and may differ from one to another.
    let fields: Vec<Field> = first.schema().fields().iter().map(|f| f.as_ref().clone().with_nullable(true)).collect();
    let schema = Arc::new(Schema::new(fields));
    if !rows.iter().all(|batch| schema.contains(&batch.schema())) {
        return Ok(plan);
    }
    // One partition: the rows keep the order in which they came.
    let table = MemTable::try_new(schema, vec![rows])?;
    Ok(LogicalPlanBuilder::scan("candidates", provider_as_source(Arc::new(table)), None)?.build()?)
}

impl Found {
    /// Leaves of the stored entities those that candidates still wait for.
    fn only(&mut self, left: KeySet) {
        if left.is_empty() {
            self.probed.clear();
        }
        self.hits = Arc::new(left);
    }

    /// Takes in what was found later.
    fn merge(&mut self, probed: Vec<Probed>, hits: Vec<u64>) {
        for more in probed {
            match self.probed.iter_mut().find(|probed| probed.file.path == more.file.path) {
                Some(probed) => probed.rows = either(probed.rows.take(), more.rows),
                None => self.probed.push(more),
            }
        }
        self.hits = Arc::new(self.hits.union(hits));
    }
}

/// Places that are among the one or the other, where both are known.
pub(super) fn either(some: Option<Vec<u64>>, others: Option<Vec<u64>>) -> Option<Vec<u64>> {
    let (mut all, others) = some.zip(others)?;
    all.extend(others);
    all.sort_unstable();
    all.dedup();
    Some(all)
}

/// Rows with their partitions.
fn placed(rows: &Rows, partitions: &Partitions) -> Vec<(u64, Partition)> {
    let place = |(key, row): (&u64, &Row)| Some((*key, partitions.get(row.partition())?.clone()));
    rows.iter().filter_map(place).collect()
}

/// The hashes of the entities of rows that wait.
fn keys_of<'a>(shape: &Shape, waiting: &'a RecordBatch) -> impl Iterator<Item = u128> + use<'a> {
    waiting.column(shape.width).as_primitive::<Decimal128Type>().values().iter().map(|key| *key as u128)
}

/// The rows that wait, but for those that are stored as they are, as far as that is `known` or `contents` say it.
fn without_copies(shape: &Shape, waiting: &RecordBatch, known: &Rows, contents: &Contents) -> Result<RecordBatch> {
    if known.is_empty() && contents.is_empty() {
        return Ok(waiting.clone());
    }
    let hashes = shape.contents(waiting)?;
    let is_copy = |key: u64, hash: u128| known.get(&key).is_some_and(|row| row.has(hash)) || contents.has(key, hash);
    let kept = keys_of(shape, waiting).zip(hashes).map(|(key, hash)| Some(!is_copy(low(key), hash)));
    Ok(filter_record_batch(waiting, &kept.collect::<BooleanArray>())?)
}

/// Where the partition columns are among the entity's.
fn partition_places(entity: &[String], partition_by: &[String]) -> Vec<usize> {
    partition_by.iter().filter_map(|column| entity.iter().position(|name| name == column)).collect()
}

fn lows(batch: &RecordBatch, places: &[usize]) -> Result<Vec<u64>> {
    Ok(hash_rows(&pick(batch, places), batch.num_rows())?.into_iter().map(low).collect())
}

/// The rows of a batch whose entity is in a round. The round goes by bits that sets of hashes do not go by.
fn in_round(batch: &RecordBatch, entity: &[usize], round: Round) -> Result<RecordBatch> {
    if round.1 == 1 {
        return Ok(batch.clone());
    }
    let hashes = hash_rows(&pick(batch, entity), batch.num_rows())?;
    let inside: BooleanArray = hashes.iter().map(|hash| Some((hash >> 64) as u64 % round.1 == round.0)).collect();
    Ok(filter_record_batch(batch, &inside)?)
}

/// One row of each run of equal rows: rows of a partition mostly follow each other.
fn distinct(batch: &RecordBatch) -> Result<RecordBatch> {
    let starts: Vec<u32> = partition(batch.columns())?.ranges().iter().map(|range| range.start as u32).collect();
    let starts = arrow::array::UInt32Array::from(starts);
    Ok(arrow::compute::take_record_batch(batch, &starts)?)
}

fn with_fields(columns: &SchemaRef, file: bool) -> SchemaRef {
    let mut fields: Vec<_> = columns.fields().iter().cloned().collect();
    fields.push(Arc::new(Field::new(KEY_COLUMN, DataType::Decimal128(38, 0), false)));
    if file {
        fields.push(Arc::new(Field::new(FILE_COLUMN, DataType::Int32, false)));
    }
    Arc::new(Schema::new(fields))
}

fn with_key(batch: &RecordBatch, hashes: &[u128], file: Option<i32>, schema: &SchemaRef) -> Result<RecordBatch> {
    let mut columns: Vec<ArrayRef> = batch.columns().to_vec();
    // Only the bits matter: the column is compared and hashed, never read as a number.
    let keys = Decimal128Array::from_iter_values(hashes.iter().map(|hash| *hash as i128));
    columns.push(Arc::new(keys.with_data_type(DataType::Decimal128(38, 0))));
    if let Some(file) = file {
        columns.push(Arc::new(Int32Array::from_value(file, batch.num_rows())));
    }
    Ok(RecordBatch::try_new(Arc::clone(schema), columns)?)
}
