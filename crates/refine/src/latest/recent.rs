//! What a run that follows has stored last, in memory: of each entity a hash of its row, and the partition.
//!
//! A refresh of a busy stream asks of every new message whether its entity is stored. The index answers that for the
//! whole table, but a cycle that brings it up to the version before, and asks it for keys that were written a moment ago,
//! does little else. So the run's own newest rows are kept here, the index is asked for the others, and it is written once
//! for a million rows, beside the cycles. And an event that is sent twice mostly comes again soon: its row is known to be
//! stored as it is, and no file is opened for it.
//!
//! It is right as long as nobody else writes rows into the table. A version that this run has not written, and that changed
//! a row, makes it begin again from the index; so does any refresh that did not end in a commit.

use std::collections::{HashMap, HashSet, VecDeque};
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::{AsArray, RecordBatch, UInt64Array};
use arrow::datatypes::{DataType, Field, Schema, UInt64Type};
use datafusion::prelude::DataFrame;
use schema::Feed;
use store::{DataFile, Snapshot};
use tokio::task::JoinHandle;

use super::index::{self, Haste, IndexError, KeyIndex, Partitions, Places, Tails, Unwritten};
use super::known::Known;
use super::resolve::Shape;
use crate::job::{Job, Mode, conform};
use crate::keys::{hash_rows, low, pick, places};
use crate::keyset::KeySet;
use crate::plan::LoadedFeed;
use crate::{Result, stream};

/// The index is written at the latest when its last writing is so long ago: whoever comes after this run reads what it lacks
/// from the table's changes.
const WRITTEN_AFTER: Duration = Duration::from_secs(600);

/// A row that is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Row {
    /// The high half of the hash of its entity; by the low one it is found.
    entity: u64,
    /// The halves of the hash of its content.
    content: (u64, u64),
    /// The number of its partition.
    partition: u32,
}

impl Row {
    /// The number of its partition.
    pub(super) fn partition(&self) -> u32 {
        self.partition
    }

    /// Whether the row is of the entity of this hash, and not of one that shares its low half.
    pub(super) fn is_of(&self, entity: u128) -> bool {
        self.entity == halves(entity).0
    }

    /// Whether the row has the content of this hash.
    pub(super) fn has(&self, content: u128) -> bool {
        self.content == halves(content)
    }
}

fn halves(hash: u128) -> (u64, u64) {
    ((hash >> 64) as u64, hash as u64)
}

/// Rows by the hashes of their entities, which need no further hashing.
pub(super) type Rows = HashMap<u64, Row, BuildHasherDefault<AsItIs>>;

/// Hashes of what is a hash.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct AsItIs(u64);

impl Hasher for AsItIs {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        // Only whole numbers are asked for.
        bytes.iter().for_each(|byte| self.0 = self.0.rotate_left(8) ^ u64::from(*byte));
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}

/// The newest rows of a table, by one list of entity columns.
#[derive(Debug)]
pub(crate) struct Recent {
    /// The version of the table that rows and index together cover.
    version: i64,
    /// What the index does not have.
    young: Rows,
    /// What is on its way into the index, or has come there last: newest first.
    old: VecDeque<Arc<Rows>>,
    /// Numbers of partitions, those of the index.
    partitions: Partitions,
    /// The rows before those; `None`: there are no others.
    index: Option<Arc<KeyIndex>>,
    /// The index that has `old` too, while it is written.
    writing: Option<JoinHandle<std::result::Result<KeyIndex, IndexError>>>,
    /// Whether that is waited for.
    haste: Haste,
    /// When the index was written, or read, last.
    since: Instant,
    /// Rows of a refresh that is not committed yet.
    pending: Vec<(u64, Row)>,
    /// Whether it has to begin again.
    is_broken: bool,
}

impl Recent {
    /// What is known of a table that stands at `job.base`. `None` where too much would have to be read for it.
    async fn open(job: &Job<'_>, feed: &Feed, tails: &Arc<Tails>) -> Option<Self> {
        let version = job.base.version();
        let mut recent = Self {
            version,
            young: Rows::default(),
            old: VecDeque::new(),
            partitions: Partitions::default(),
            index: None,
            writing: None,
            haste: Haste::default(),
            since: Instant::now(),
            pending: Vec::new(),
            is_broken: false,
        };
        let opened = if index::is_worth(job, &job.base) {
            index::open(job, &feed.entity, Arc::clone(tails)).await.map(|index| {
                recent.partitions = index.partitions();
                recent.index = Some(Arc::new(index));
            })
        } else {
            recent.load(job, feed).await.map_err(IndexError::from)
        };
        match opened {
            Ok(()) => Some(recent),
            Err(error) => {
                tracing::warn!(table = %job.model.name(), %error, "what was stored last is not kept in memory");
                None
            }
        }
    }

    /// Takes in all rows of a small table.
    async fn load(&mut self, job: &Job<'_>, feed: &Feed) -> Result<()> {
        let files: Vec<_> = job.base.files().cloned().collect();
        if files.is_empty() {
            return Ok(());
        }
        let context = job.env.factory.context(HashMap::new());
        let (state, plan) = context.read_table(job.base.provider_of(files))?.into_parts();
        let frame = DataFrame::new(state, conform(plan, &job.columns())?);
        let noter = Noter::new(job, feed)?;
        let work = move |batch: RecordBatch| noter.rows(&batch);
        stream::each(frame, work, async |parts: Vec<Noted>| {
            for (partition, rows) in parts {
                let partition = self.partitions.number(partition);
                rows.into_iter().for_each(|row| self.store(row.at(partition)));
            }
            Ok(())
        })
        .await
    }

    /// Adds a row that is stored.
    fn store(&mut self, (key, row): (u64, Row)) {
        let before = self.young.insert(key, row);
        // Two entities that share half a hash cannot both be known.
        self.is_broken |= before.is_some_and(|before| before.entity != row.entity);
    }

    /// Goes on at `job.base`; `None` where somebody else has changed rows since, or rows landed whose commit seemed to fail.
    async fn catch_up(mut self, job: &Job<'_>) -> Option<Self> {
        let version = job.base.version();
        if version > self.version {
            let changes = job.table.changes(self.version, version).await.ok()?;
            if changes.is_empty() && !changes.reshaped() {
                self.version = version;
            }
        }
        (version == self.version && !self.is_broken).then_some(self)
    }

    /// What is known of these keys, and the keys of which nothing is.
    pub(super) fn look_up(&self, keys: &[u64]) -> (Rows, KeySet) {
        let mut known = Rows::default();
        let mut others = Vec::new();
        for &key in keys {
            let generations = std::iter::once(&self.young).chain(self.old.iter().map(AsRef::as_ref));
            match generations.into_iter().find_map(|rows| rows.get(&key)) {
                Some(row) => {
                    known.insert(key, *row);
                }
                None => others.push(key),
            }
        }
        (known, KeySet::from_keys(others))
    }

    /// Where those that are not known may be stored; `None` where that cannot be told, so that it may be anywhere.
    pub(super) async fn places(&mut self, job: &Job<'_>, others: &KeySet) -> Option<Places> {
        let Some(index) = &self.index else { return Some(Places::default()) };
        match index.lookup(others).await {
            Ok(places) => Some(places),
            Err(error) => {
                tracing::warn!(table = %job.model.name(), %error, "the key index cannot be read");
                index.give_up(&error).await;
                self.is_broken = true;
                None
            }
        }
    }

    /// The numbers of partitions in its rows.
    pub(super) fn partitions(&self) -> &Partitions {
        &self.partitions
    }

    /// Notes rows that are about to be stored.
    ///
    /// # Errors
    /// When they cannot be hashed.
    pub(super) fn note(&mut self, noter: &Noter, batch: &RecordBatch) -> Result<()> {
        for (partition, rows) in noter.rows(batch)? {
            let partition = self.partitions.number(partition);
            self.pending.extend(rows.into_iter().map(|row| row.at(partition)));
        }
        Ok(())
    }

    /// Keeps which entities each of the files `added` holds, if all of their rows were noted: an event that comes again later
    /// has the files of its partition looked through, all at once those that nobody has looked through before.
    fn keep_filters(&self, job: &Job<'_>, known: &Known, name: &str, added: &[Arc<DataFile>]) {
        let rows: Option<u64> = added.iter().map(|file| file.rows(job.base.meta())).sum();
        if rows != Some(self.pending.len() as u64) {
            return;
        }
        let mut keys: HashMap<u32, Vec<u64>> = HashMap::new();
        for (key, row) in &self.pending {
            keys.entry(row.partition).or_default().push(*key);
        }
        for (partition, keys) in keys {
            let is_here = |file: &&Arc<DataFile>| self.partitions.get(partition) == Some(&file.partition_values);
            // Of several files it is not known which one holds a row.
            added.iter().filter(is_here).for_each(|file| known.add(name, file, keys.clone()));
        }
    }

    /// Takes over what was noted, because it has been committed as `snapshot`. Gives itself back unless the index could not
    /// be written.
    async fn committed(mut self, job: &Job<'_>, entity: &[String], snapshot: &Snapshot) -> Option<Self> {
        self.version = snapshot.version();
        for row in std::mem::take(&mut self.pending) {
            self.store(row);
        }
        let is_old = self.index.is_some() && self.since.elapsed() >= WRITTEN_AFTER;
        let young = self.young.len() as u64;
        let is_due = is_old || young >= job.limits.recent_rows;
        // Merging many runs at leisure may take longer than rows take to be as many again: then it hurries, and at last it is
        // waited for.
        let is_full = young >= 2 * job.limits.recent_rows;
        if is_due && self.writing.is_some() {
            self.haste.begins();
        }
        if self.writing.as_ref().is_some_and(|writing| is_full || writing.is_finished()) {
            self.haste.begins();
            let written = self.writing.take()?.await.map_err(|error| IndexError::Worker(error.to_string()));
            match written.and_then(|written| written) {
                Ok(index) => self.index = Some(Arc::new(index)),
                Err(error) => {
                    tracing::warn!(table = %job.model.name(), %error, "the key index is not up to date");
                    return None;
                }
            }
            self.old.truncate(1);
        }
        if self.is_broken {
            return None;
        }
        if is_due && self.writing.is_none() {
            let rows = Arc::new(std::mem::take(&mut self.young));
            self.since = Instant::now();
            self.old.push_front(Arc::clone(&rows));
            self.haste = Haste::default();
            let before = self.index.as_deref();
            let unwritten = Unwritten::new(job, entity, snapshot, before, &self.partitions, &self.haste);
            self.writing = Some(tokio::spawn(async move {
                let entries = rows.iter().map(|(key, row)| (*key, row.partition)).collect();
                unwritten.write(entries).await
            }));
        }
        Some(self)
    }
}

/// A partition, and its rows.
type Noted = (Vec<Option<String>>, Vec<Hashed>);

/// The hashes of a row.
struct Hashed {
    entity: u128,
    content: u128,
}

impl Hashed {
    fn at(&self, partition: u32) -> (u64, Row) {
        (low(self.entity), Row { entity: halves(self.entity).0, content: halves(self.content), partition })
    }
}

/// Makes hashes of rows in the model's columns.
pub(super) struct Noter {
    meta: Arc<store::TableMeta>,
    entity: Vec<usize>,
    shape: Shape,
}

impl Noter {
    pub(super) fn new(job: &Job<'_>, feed: &Feed) -> Result<Self> {
        let columns = job.columns();
        let entity = places(&columns, &feed.entity)?;
        Ok(Self { meta: Arc::clone(job.base.meta()), entity, shape: Shape::of(feed, &columns)? })
    }

    fn rows(&self, batch: &RecordBatch) -> Result<Vec<Noted>> {
        let entities = hash_rows(&pick(batch, &self.entity), batch.num_rows())?;
        let contents = self.shape.contents(batch)?;
        // The places of the rows, taken apart by partition.
        let places = UInt64Array::from_iter_values(0..batch.num_rows() as u64);
        let schema = Schema::new(vec![Field::new("place", DataType::UInt64, false)]);
        let places = RecordBatch::try_new(Arc::new(schema), vec![Arc::new(places)])?;
        let parts = store::by_partition(&self.meta, batch, places)?;
        let noted = |(partition, places): (Vec<Option<String>>, RecordBatch)| {
            let places = places.column(0).as_primitive::<UInt64Type>().values().iter().map(|place| *place as usize);
            let hashed = places.map(|place| Hashed { entity: entities[place], content: contents[place] });
            (partition, hashed.collect())
        };
        Ok(parts.into_iter().map(noted).collect())
    }
}

/// Whether the rows of a feed are kept in memory: an entity has one row at most, it may be stored anywhere, and what is new
/// is not more than is kept.
fn is_kept(job: &Job<'_>, feed: &Feed, news_rows: u64) -> bool {
    let same = |other: &&LoadedFeed| other.feed.entity == feed.entity;
    !super::is_placed(job, feed)
        && news_rows <= job.limits.recent_rows
        && job.model.feeds.iter().filter(same).all(|other| other.at_most_one)
}

/// What is known of a table's newest rows while a refresh works on it, by the definition of the index of the others; `None`
/// where it cannot be known for this refresh. It is taken out of what the run knows and given back when all rows are noted:
/// whatever goes wrong before forgets it.
pub(super) struct Recents(HashMap<String, Option<Recent>>);

impl Recents {
    /// None taken out yet. What a refresh before this one has noted and not committed is forgotten, also of feeds that have no
    /// news now: this one's commit does not bring it.
    pub(super) fn begin(job: &Job<'_>) -> Self {
        // Not of other models: one that is refreshed beside this one may be about to commit them.
        if let Some(known) = &job.known {
            for feed in &job.model.feeds {
                let name = index::definition(&feed.feed.entity, &job.columns(), &job.base);
                known.with_recent(&name, |recent| recent.pending.clear());
            }
        }
        Self(HashMap::new())
    }

    /// What is known of a feed's entities, of which this many rows are new; `None` in a run of one cycle, and where that is
    /// not kept.
    pub(super) async fn of(&mut self, job: &Job<'_>, feed: &Feed, news_rows: u64) -> Option<&mut Recent> {
        let known = job.known.as_ref()?;
        let name = index::definition(&feed.entity, &job.columns(), &job.base);
        if !is_kept(job, feed, news_rows) {
            // Nor of another feed of the same entity: rows of this one would be missing.
            known.take(&name);
            self.0.insert(name, None);
            return None;
        }
        if !self.0.contains_key(&name) {
            let before = match known.take(&name) {
                Some(before) => before.catch_up(job).await,
                None => None,
            };
            let recent = match before {
                None => Recent::open(job, feed, known.tails()).await,
                before => before,
            };
            self.0.insert(name.clone(), recent);
        }
        self.0.get_mut(&name)?.as_mut()
    }

    /// Gives back what was taken, with what was noted since.
    pub(super) fn give_back(self, job: &Job<'_>) {
        if let Some(known) = &job.known {
            let recents = self.0.into_iter().filter_map(|(name, recent)| Some((name, recent?)));
            recents.for_each(|(name, recent)| known.put(name, recent));
        }
    }
}

/// Takes over what a refresh has noted, once it has been committed as `snapshot`, which `added` files. Gives the lists of
/// entity columns of which the index need not follow now.
pub(super) async fn committed(job: &Job<'_>, snapshot: &Snapshot, added: &[Arc<DataFile>]) -> HashSet<Vec<String>> {
    let Some(known) = job.known.as_ref().filter(|_| job.mode == Mode::Refresh) else { return HashSet::new() };
    let entities: HashSet<&Vec<String>> = job.model.feeds.iter().map(|feed| &feed.feed.entity).collect();
    let mut kept = HashSet::new();
    for entity in entities {
        let name = index::definition(entity, &job.columns(), &job.base);
        let Some(recent) = known.take(&name) else { continue };
        // A commit that brings no row of these does not say that nothing came in between: the next refresh looks.
        let recent = match recent.pending.is_empty() || recent.version != job.base.version() {
            true => Some(recent),
            false => {
                recent.keep_filters(job, known, &name, added);
                known.tidy(&name, snapshot);
                recent.committed(job, entity, snapshot).await
            }
        };
        if let Some(recent) = recent {
            kept.insert(entity.clone());
            known.put(name, recent);
        }
    }
    kept
}
