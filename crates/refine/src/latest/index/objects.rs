//! The folder of an index in the lake: immutable objects under names that are never used twice.
//!
//! ```text
//! _smelt/index/<layer>/<table>/<definition>/<version>-<id>.json    manifests
//! _smelt/index/<layer>/<table>/<definition>/runs/<id>.keys         segments
//! ```
//!
//! Whoever writes takes new names, so that two processes never disagree about an object; and what is removed is old, or
//! known to be broken, so that a reader has long ended with it. A reader that finds an object gone builds anew.

use std::collections::HashSet;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt, PutMode};

use super::IndexError;
use super::manifest::Manifest;
use super::segment::Segment;

/// Manifests that may lie about before it is looked which of them can go.
const UNTIDY: usize = 8;

/// What is younger than this stays: somebody may be reading it, or about to name it in a manifest.
const IN_USE: TimeDelta = TimeDelta::minutes(15);

/// Ranges of an object that are closer than this are read as one.
const GAP: u64 = 8 << 10;

/// How much longer than its work leisurely writing rests.
const REST: u32 = 2;

/// The objects of one index.
#[derive(Clone, Debug)]
pub(super) struct Objects {
    store: Arc<dyn ObjectStore>,
    folder: Path,
    in_use: TimeDelta,
    /// Until when writing takes its time; `None`: somebody waits for it from the start.
    haste: Option<Haste>,
}

/// Whether somebody waits for what is written meanwhile.
#[derive(Clone, Debug, Default)]
pub(in crate::latest) struct Haste(Arc<AtomicBool>);

impl Haste {
    /// Somebody waits from now on.
    pub(in crate::latest) fn begins(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    fn is_there(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// A manifest that is there.
#[derive(Clone, Debug)]
pub(super) struct Listed {
    pub(super) version: i64,
    pub(super) path: Path,
    written: DateTime<Utc>,
}

impl Objects {
    pub(super) fn new(store: Arc<dyn ObjectStore>, folder: Path) -> Self {
        Self { store, folder, in_use: IN_USE, haste: None }
    }

    /// For writing that leaves the processors to others most of the time until somebody waits for it.
    pub(super) fn leisurely(self, until: &Haste) -> Self {
        Self { haste: Some(until.clone()), ..self }
    }

    /// Rests after work that began at `since`, if nobody waits for it. Others on the thread have their turn in any case.
    pub(super) async fn rest(&self, since: &mut Instant) {
        match &self.haste {
            Some(haste) if !haste.is_there() => tokio::time::sleep(REST * since.elapsed()).await,
            _ => tokio::task::yield_now().await,
        }
        *since = Instant::now();
    }

    fn runs(&self) -> Path {
        self.folder.clone().join("runs")
    }

    /// The manifests, newest version first, and of one version the one that was written last.
    pub(super) async fn manifests(&self) -> Result<Vec<Listed>, IndexError> {
        let listed = match self.store.list_with_delimiter(Some(&self.folder)).await {
            Err(object_store::Error::NotFound { .. }) => return Ok(Vec::new()),
            other => other.map_err(|error| IndexError::storage(&self.folder, error))?,
        };
        let mut manifests: Vec<Listed> = listed.objects.into_iter().filter_map(listed_manifest).collect();
        manifests.sort_by(|a, b| (b.version, b.written, &b.path).cmp(&(a.version, a.written, &a.path)));
        Ok(manifests)
    }

    /// Reads a manifest.
    pub(super) async fn manifest(&self, path: &Path) -> Result<Manifest, IndexError> {
        Manifest::parse(path, &self.get(path).await?)
    }

    /// Puts a manifest in its place.
    pub(super) async fn put_manifest(&self, manifest: &Manifest) -> Result<Path, IndexError> {
        let id = uuid::Uuid::new_v4().simple().to_string();
        let path = self.folder.clone().join(format!("{:020}-{}.json", manifest.version, &id[..12]));
        self.put(&path, manifest.to_bytes()).await?;
        Ok(path)
    }

    /// Puts a segment in its place and gives it its name.
    pub(super) async fn put_segment(&self, bytes: Vec<u8>, segment: &mut Segment) -> Result<(), IndexError> {
        segment.name = format!("{}.keys", uuid::Uuid::new_v4().simple());
        self.put(&self.runs().join(segment.name.as_str()), bytes).await
    }

    /// A segment as a whole.
    pub(super) async fn read(&self, name: &str) -> Result<Bytes, IndexError> {
        self.get(&self.runs().join(name)).await
    }

    /// Parts of a segment, which are in order and do not overlap; neighbours are read together.
    pub(super) async fn read_parts(&self, name: &str, parts: &[Range<u64>]) -> Result<Vec<Bytes>, IndexError> {
        if parts.is_empty() {
            return Ok(Vec::new());
        }
        let path = self.runs().join(name);
        let mut joined: Vec<Range<u64>> = Vec::new();
        for part in parts {
            match joined.last_mut() {
                Some(last) if part.start <= last.end + GAP => last.end = last.end.max(part.end),
                _ => joined.push(part.clone()),
            }
        }
        let read = self.store.get_ranges(&path, &joined).await;
        let read = read.map_err(|error| IndexError::storage(&path, error))?;
        let mut at = 0;
        let cut = |part: &Range<u64>| {
            while joined[at].end < part.end {
                at += 1;
            }
            let (start, end) = (part.start - joined[at].start, part.end - joined[at].start);
            let whole = read.get(at).filter(|bytes| bytes.len() as u64 >= end);
            let whole = whole.ok_or_else(|| IndexError::damaged(name, "its length"))?;
            Ok(whole.slice(start as usize..end as usize))
        };
        parts.iter().map(cut).collect()
    }

    async fn get(&self, path: &Path) -> Result<Bytes, IndexError> {
        let failed = |error| IndexError::storage(path, error);
        self.store.get(path).await.map_err(failed)?.bytes().await.map_err(failed)
    }

    async fn put(&self, path: &Path, bytes: Vec<u8>) -> Result<(), IndexError> {
        let put = self.store.put_opts(path, bytes.into(), PutMode::Create.into()).await;
        put.map(drop).map_err(|error| IndexError::storage(path, error))
    }

    /// Removes a manifest that is broken or leads to what is.
    pub(super) async fn drop_manifest(&self, path: &Path) {
        if let Err(error) = self.store.delete(path).await {
            tracing::debug!(%path, %error, "a broken manifest of a key index stays");
        }
    }

    /// Removes old manifests but those in `keep`, and the segments that none of the others names. What cannot be removed
    /// is left to the next time.
    pub(super) async fn tidy(&self, keep: &[&Path]) {
        if let Err(error) = self.try_tidy(keep).await {
            tracing::debug!(folder = %self.folder, %error, "an index is not tidied");
        }
    }

    async fn try_tidy(&self, keep: &[&Path]) -> Result<(), IndexError> {
        let manifests = self.manifests().await?;
        // By the store's own clock.
        let Some(now) = manifests.iter().map(|listed| listed.written).max() else { return Ok(()) };
        if manifests.len() < UNTIDY {
            return Ok(());
        }
        let in_use = |written: DateTime<Utc>| now - written < self.in_use;
        let stays = |listed: &&Listed| in_use(listed.written) || keep.contains(&&listed.path);
        let (kept, old): (Vec<&Listed>, Vec<&Listed>) = manifests.iter().partition(|listed| stays(listed));
        if old.is_empty() {
            return Ok(());
        }
        // Segments are looked at first: those of a manifest that comes meanwhile are young.
        let runs = self.runs();
        let listed = self.store.list(Some(&runs)).try_collect::<Vec<ObjectMeta>>().await;
        let segments = listed.map_err(|error| IndexError::storage(&runs, error))?;
        let mut named: HashSet<String> = HashSet::new();
        for listed in kept {
            named.extend(self.manifest(&listed.path).await?.segments().map(|segment| segment.name.clone()));
        }
        for listed in old {
            self.delete(&listed.path).await?;
        }
        for segment in segments.into_iter().filter(|segment| !in_use(segment.last_modified)) {
            if segment.location.filename().is_some_and(|name| !named.contains(name)) {
                self.delete(&segment.location).await?;
            }
        }
        Ok(())
    }

    async fn delete(&self, path: &Path) -> Result<(), IndexError> {
        match self.store.delete(path).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(IndexError::storage(path, error)),
        }
    }

    /// Removes the indexes of the same table under definitions that it no longer has.
    pub(super) async fn drop_others(&self, definitions: &[String]) {
        let (Some(definition), Some((table, _))) = (self.folder.filename(), self.folder.as_ref().rsplit_once('/'))
        else {
            return;
        };
        debug_assert!(definitions.iter().any(|known| known == definition));
        let listed = self.store.list_with_delimiter(Some(&Path::from(table))).await;
        let Ok(listed) = listed else { return };
        for folder in listed.common_prefixes {
            if folder.filename().is_some_and(|name| definitions.iter().any(|known| known == name)) {
                continue;
            }
            let objects = self.store.list(Some(&folder)).map_ok(|object| object.location);
            let paths: Vec<Path> = objects.try_collect().await.unwrap_or_default();
            for path in paths {
                if let Err(error) = self.delete(&path).await {
                    tracing::debug!(%path, %error, "an index that nobody needs stays");
                }
            }
        }
    }
}

fn listed_manifest(object: ObjectMeta) -> Option<Listed> {
    let (version, _) = object.location.filename()?.strip_suffix(".json")?.split_once('-')?;
    let version = version.parse().ok()?;
    Some(Listed { version, path: object.location, written: object.last_modified })
}

#[cfg(test)]
mod tests {
    use super::super::manifest::Run;
    use super::super::segment::encode;
    use super::*;
    use object_store::memory::InMemory;

    async fn put(objects: &Objects, version: i64, runs: Vec<Run>) -> (Path, Manifest) {
        let (table, files) = ("silver.t".to_owned(), "0-0".to_owned());
        let manifest =
            Manifest { table, entity: vec!["id".into()], version, files, partitions: vec![vec![None]], runs };
        (objects.put_manifest(&manifest).await.expect("puts"), manifest)
    }

    async fn run(objects: &Objects, hash: u64) -> Run {
        let (bytes, mut segment) = encode(&[(hash, 0)]);
        objects.put_segment(bytes, &mut segment).await.expect("puts");
        Run { segments: vec![segment] }
    }

    /// What is kept leads to what it needs; the rest goes once it is old, and not before.
    #[tokio::test]
    async fn old_objects_go() {
        let store = Arc::new(InMemory::new());
        let young = Objects::new(store, Path::from("index"));
        let old = Objects { in_use: TimeDelta::seconds(-1), ..young.clone() };
        let mut newest = None;
        for version in 0..20 {
            let runs = vec![run(&young, version as u64).await];
            newest = Some(put(&young, version, runs).await);
        }
        let (path, manifest) = newest.expect("twenty");
        young.tidy(&[&path]).await;
        assert_eq!(young.manifests().await.expect("lists").len(), 20);
        old.tidy(&[&path]).await;
        let left = young.manifests().await.expect("lists");
        assert_eq!(left.iter().map(|listed| &listed.path).collect::<Vec<_>>(), [&path]);
        assert_eq!(young.manifest(&path).await.expect("reads"), manifest);
        let segments: Vec<ObjectMeta> = young.store.list(Some(&young.runs())).try_collect().await.expect("lists");
        assert_eq!(segments.len(), 1);
        young.read(&manifest.runs[0].segments[0].name).await.expect("is there");
    }

    #[tokio::test]
    async fn a_manifest_that_was_touched_is_damaged() {
        let objects = Objects::new(Arc::new(InMemory::new()), Path::from("index"));
        let (path, manifest) = put(&objects, 3, vec![run(&objects, 7).await]).await;
        let good = manifest.to_bytes();
        assert_eq!(Manifest::parse(&path, &good).expect("whole"), manifest);
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 1;
            assert!(Manifest::parse(&path, &bad).expect_err("touched").is_broken());
            assert!(Manifest::parse(&path, &good[..at]).is_err());
        }
    }

    #[tokio::test]
    async fn definitions_that_are_gone_leave_nothing() {
        let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        for definition in ["a", "b"] {
            let objects = Objects::new(Arc::clone(&store), Path::from("t").join(definition));
            put(&objects, 1, vec![run(&objects, 1).await]).await;
        }
        let objects = Objects::new(Arc::clone(&store), Path::from("t").join("b"));
        objects.drop_others(&["b".to_owned()]).await;
        let left: Vec<ObjectMeta> = store.list(None).try_collect().await.expect("lists");
        assert!(left.len() == 2 && left.iter().all(|object| object.location.as_ref().starts_with("t/b/")), "{left:?}");
    }
}
