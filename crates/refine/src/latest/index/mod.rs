//! The key index of a `latest` table: which partitions may hold an entity that its key alone does not place
//! (ENGINE.md 14).
//!
//! It is a set of (64-bit hash of the entity, partition), of which each row of the table has one; it may have others, of
//! rows that are gone, so that a hit is only a place to look at. What is read of it to find a thousand keys does not grow
//! with the table, but for a directory of 16 bytes for 512 keys, and a key that is not there mostly costs a page of a
//! filter.
//!
//! The index is made of the table's own rows, on demand, and nothing rests on it. It is tagged with the version of the
//! table that it covers, and with the files that the table had there. Before it is used it is brought up to the version
//! that a refresh works on, by the rows that the table's changes brought since; where that cannot be done (there is none,
//! it is of another history of the table, an object is gone or broken) it is made anew of all rows, and where that cannot
//! be done either, all files are looked through instead.
//!
//! Compactions put rows into other files of the same partition, so they do not concern it. Feeds with the same entity
//! columns share one: each row of the table is in it, whichever feed made it.

mod bring_up;
mod filter;
mod manifest;
mod objects;
mod pack;
mod runs;
mod segment;
mod tails;
mod unwritten;

use std::collections::HashSet;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use store::{DataFile, Snapshot};
use xxhash_rust::xxh3::xxh3_64;

pub(super) use filter::Filter;
pub(super) use manifest::{Partition, Partitions};
pub(super) use objects::Haste;
pub(super) use tails::Tails;
pub(super) use unwritten::Unwritten;

use crate::RefineError;
use crate::job::Job;
use crate::keyset::KeySet;
use manifest::Manifest;
use objects::Objects;

/// Segments that are asked at the same time.
const ASKED: usize = 8;

/// Rows that opening one more file costs as much as, when a table is looked through.
const ROWS_A_FILE: u64 = 10_000;

/// The layout of the objects; another one gets folders of its own.
const FORMAT: u32 = 1;

/// What can go wrong with an index. None of it concerns the table: the caller does without the index.
#[derive(Debug, thiserror::Error)]
pub(super) enum IndexError {
    /// Storage failed, or an object is gone.
    #[error("{path}: {source}")]
    Storage { path: String, source: object_store::Error },
    /// An object is not what its name or its manifest says.
    #[error("{path} is damaged: {what}")]
    Damaged { path: String, what: String },
    /// The table's rows could not be read.
    #[error(transparent)]
    Rows(#[from] Box<RefineError>),
    /// A background task ended early.
    #[error("worker stopped: {0}")]
    Worker(String),
}

impl IndexError {
    fn storage(path: &Path, source: object_store::Error) -> Self {
        Self::Storage { path: path.to_string(), source }
    }

    fn damaged(path: &str, what: &str) -> Self {
        Self::Damaged { path: path.to_owned(), what: what.to_owned() }
    }

    /// Whether the objects are not what they have to be, so that trying again makes no sense.
    fn is_broken(&self) -> bool {
        match self {
            Self::Damaged { .. } => true,
            Self::Storage { source, .. } => matches!(source, object_store::Error::NotFound { .. }),
            Self::Rows(_) | Self::Worker(_) => false,
        }
    }
}

impl From<RefineError> for IndexError {
    fn from(error: RefineError) -> Self {
        Self::Rows(Box::new(error))
    }
}

/// Whether a table is so large that an index is cheaper than a look through all of its files.
pub(super) fn is_worth(job: &Job<'_>, snapshot: &Snapshot) -> bool {
    let rows = snapshot.rows().unwrap_or(u64::MAX);
    rows.saturating_add(snapshot.file_count() as u64 * ROWS_A_FILE) >= job.limits.index_rows
}

/// The name of the index of a table by these entity columns: the same for all that would have the same entries.
pub(super) fn definition(entity: &[String], columns: &SchemaRef, snapshot: &Snapshot) -> String {
    let kind = |name: &String| columns.field_with_name(name).map(|field| field.data_type().to_string());
    let kinds: Vec<String> = entity.iter().map(|name| kind(name).unwrap_or_default()).collect();
    let text = format!("{FORMAT} {} {entity:?} {kinds:?} {:?}", snapshot.id(), snapshot.partition_columns());
    format!("{:016x}", xxh3_64(text.as_bytes()))
}

/// An index, ready to be asked about the version that it was opened for.
#[derive(Debug)]
pub(super) struct KeyIndex {
    objects: Objects,
    /// Where the manifest lies, if it was stored.
    path: Option<Path>,
    manifest: Manifest,
    /// What a run that follows keeps of its segments in memory.
    tails: Option<Arc<Tails>>,
}

/// What an index knows of some keys.
#[derive(Debug, Default)]
pub(super) struct Places {
    /// The keys that may be stored.
    pub(super) keys: KeySet,
    /// Where.
    partitions: HashSet<Vec<Option<String>>>,
}

impl Places {
    /// Whether a file is in one of the partitions.
    pub(super) fn holds(&self, file: &DataFile) -> bool {
        self.partitions.contains(&file.partition_values)
    }

    /// Adds a key that is stored in this partition.
    pub(super) fn add(&mut self, keys: impl IntoIterator<Item = (u64, Vec<Option<String>>)>) {
        let (keys, partitions): (Vec<u64>, Vec<Vec<Option<String>>>) = keys.into_iter().unzip();
        if !keys.is_empty() {
            self.keys = self.keys.union(keys);
            self.partitions.extend(partitions);
        }
    }
}

impl KeyIndex {
    fn objects(job: &Job<'_>, entity: &[String], snapshot: &Snapshot) -> Objects {
        let table = job.model.name();
        let folder = ["_smelt", "index", table.layer.as_str(), table.name.as_str()];
        let folder = Path::from_iter(folder).join(definition(entity, &job.columns(), snapshot));
        Objects::new(job.env.lake.object_store(), folder)
    }

    /// Where the index says that entities of these hashes may be stored.
    ///
    /// # Errors
    /// [`IndexError`]; call [`Self::give_up`] then.
    pub(super) async fn lookup(&self, wanted: &KeySet) -> Result<Places, IndexError> {
        let asked = self.manifest.segments().map(|segment| async move {
            let keys = wanted.between(segment.first, segment.last);
            if keys.is_empty() {
                return Ok(Vec::new());
            }
            segment::lookup(&self.objects, segment, &keys, self.tails.as_deref()).await
        });
        let mut found = futures::stream::iter(asked).buffer_unordered(ASKED);
        let mut keys: Vec<u64> = Vec::new();
        let mut numbers = HashSet::new();
        while let Some(entries) = found.try_next().await? {
            keys.extend(entries.iter().map(|(hash, _)| *hash));
            numbers.extend(entries.into_iter().map(|(_, partition)| partition));
        }
        let partition = |number: u32| {
            let partition = self.manifest.partitions.get(number as usize).cloned();
            partition.ok_or_else(|| IndexError::damaged(&self.manifest.table, "the number of a partition"))
        };
        let partitions = numbers.into_iter().map(partition).collect::<Result<_, _>>()?;
        Ok(Places { keys: KeySet::from_keys(keys), partitions })
    }

    /// Numbers of its partitions.
    pub(super) fn partitions(&self) -> Partitions {
        Partitions::from(self.manifest.partitions.clone())
    }

    /// Removes what led to an error, if nobody else should try it.
    pub(super) async fn give_up(&self, error: &IndexError) {
        if let Some(path) = self.path.as_ref().filter(|_| error.is_broken()) {
            self.objects.drop_manifest(path).await;
        }
    }
}

/// The index of a table by `entity` at `job.base`, for many questions: what it reads of its segments stays in `tails`.
///
/// # Errors
/// As [`KeyIndex::at`].
pub(super) async fn open(job: &Job<'_>, entity: &[String], tails: Arc<Tails>) -> Result<KeyIndex, IndexError> {
    let index = KeyIndex::at(job, entity, &job.base).await?;
    Ok(KeyIndex { tails: Some(tails), ..index })
}

/// Asks the index of a table by `entity` where these keys may be stored at `job.base`; it is brought up to that version
/// first. `None` where there can be no index: then all files have to be looked through.
pub(super) async fn places(job: &Job<'_>, entity: &[String], wanted: &KeySet) -> Option<Places> {
    // The second time it is made anew.
    for attempt in 0..2 {
        let index = match KeyIndex::at(job, entity, &job.base).await {
            Ok(index) => index,
            Err(error) => {
                tracing::warn!(table = %job.model.name(), %error, "no key index: all files are looked through");
                return None;
            }
        };
        match index.lookup(wanted).await {
            Ok(places) => return Some(places),
            Err(error) => {
                tracing::warn!(table = %job.model.name(), %error, attempt, "the key index cannot be read");
                index.give_up(&error).await;
                if !error.is_broken() {
                    return None;
                }
            }
        }
    }
    None
}

/// Brings the indexes of a table up to what a refresh has just committed, so that the next one finds them ready; but for
/// those by the columns in `kept`, because the run knows what they lack. What fails is left to the next refresh.
pub(super) async fn follow(job: &Job<'_>, snapshot: &Arc<Snapshot>, kept: &HashSet<Vec<String>>) {
    if !is_worth(job, snapshot) {
        return;
    }
    let mut done: Vec<&Vec<String>> = Vec::new();
    for feed in job.model.feeds.iter().filter(|feed| !super::is_placed(job, &feed.feed)) {
        let entity = &feed.feed.entity;
        if done.contains(&entity) || kept.contains(entity) {
            continue;
        }
        done.push(entity);
        if let Err(error) = KeyIndex::at(job, entity, snapshot).await {
            tracing::warn!(table = %job.model.name(), %error, "the key index is not up to date");
        }
    }
}
