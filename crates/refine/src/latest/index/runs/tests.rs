//! Runs against a plain set, and against damage.

use std::collections::BTreeSet;
use std::sync::Arc;

use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use proptest::prelude::*;

use super::*;
use crate::latest::index::tails::Tails;

fn objects() -> (Arc<InMemory>, Objects) {
    let store = Arc::new(InMemory::new());
    let objects = Objects::new(Arc::clone(&store) as Arc<dyn ObjectStore>, Path::from("index"));
    (store, objects)
}

fn spread(n: u64) -> u64 {
    xxhash_rust::xxh3::xxh3_64(&n.to_le_bytes())
}

/// Sorted and written a few at a time.
async fn gathered(objects: &Objects, entries: &[Entry], sorted: usize) -> Run {
    let mut gatherer = Gatherer { sorted, ..Gatherer::new(objects) };
    for (hash, partition) in entries {
        gatherer.add(*partition, &[*hash]).await.expect("writes");
    }
    gatherer.finish().await.expect("writes").unwrap_or_default()
}

async fn ask(objects: &Objects, run: &Run, keys: &[u64], tails: Option<&Tails>) -> Vec<Entry> {
    let mut found = Vec::new();
    for segment in &run.segments {
        let inside: Vec<u64> =
            keys.iter().copied().filter(|key| (segment.first..=segment.last).contains(key)).collect();
        found.extend(segment::lookup(objects, segment, &inside, tails).await.expect("reads"));
    }
    found
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_run_answers_like_a_set(
        entries in proptest::collection::vec((0..900u64, 0..40u32), 1..4000),
        sorted in 100..5000usize,
        dense: bool,
    ) {
        let key = |n: u64| if dense { n } else { spread(n) };
        let entries: Vec<Entry> = entries.into_iter().map(|(n, partition)| (key(n), partition)).collect();
        let set: BTreeSet<Entry> = entries.iter().copied().collect();
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let (_, objects) = objects();
            let run = gathered(&objects, &entries, sorted).await;
            assert_eq!(run.entries(), set.len() as u64);
            // Every third key, and some that are not there.
            let mut keys: Vec<u64> = (0..1200).filter(|n| n % 3 == 0).map(key).collect();
            keys.sort_unstable();
            let expected: Vec<Entry> = set.iter().copied().filter(|(hash, _)| keys.binary_search(hash).is_ok()).collect();
            assert_eq!(ask(&objects, &run, &keys, None).await, expected);
            let tails = Tails::default();
            for _ in 0..2 {
                assert_eq!(ask(&objects, &run, &keys, Some(&tails)).await, expected);
            }
        });
    }
}

#[tokio::test]
async fn there_are_few_runs_whatever_comes() {
    let (_, objects) = objects();
    let mut runs: Vec<Run> = Vec::new();
    let mut set = BTreeSet::new();
    for round in 0..60u64 {
        let size = 1 + round * 7 % 400;
        let entries: Vec<Entry> = (0..size).map(|n| (spread(round * 300 + n), (round % 5) as u32)).collect();
        set.extend(entries.iter().copied());
        runs.push(gathered(&objects, &entries, SORTED).await);
        runs = settle(&objects, runs).await.expect("merges");
        assert!(runs.windows(2).all(|pair| pair[0].entries() >= 2 * pair[1].entries()));
    }
    let mut all = BTreeSet::new();
    for run in &runs {
        for segment in &run.segments {
            all.extend(segment::read(&objects, segment).await.expect("reads"));
        }
    }
    assert_eq!(all, set);
}

/// Any byte that is changed or missing is noticed by whoever needs it.
#[tokio::test]
async fn damage_is_noticed() {
    let (store, objects) = objects();
    let entries: Vec<Entry> = (0..3000).map(|n| (spread(n), (n % 9) as u32)).collect();
    let run = gathered(&objects, &entries, SORTED).await;
    let segment = &run.segments[0];
    let path = Path::from("index/runs").join(segment.name.as_str());
    let good = objects.read(&segment.name).await.expect("reads").to_vec();
    let mut keys: Vec<u64> = entries.iter().map(|(hash, _)| *hash).collect();
    keys.sort_unstable();
    for at in (0..good.len()).step_by(97) {
        let mut bad = good.clone();
        bad[at] ^= 0x10;
        store.put(&path, bad.into()).await.expect("puts");
        for tails in [None, Some(&Tails::default())] {
            let error = segment::lookup(&objects, segment, &keys, tails).await.expect_err("damaged");
            assert!(error.is_broken(), "{error}");
        }
    }
    for length in [0, 1, good.len() / 2, good.len() - 1] {
        store.put(&path, good[..length].to_vec().into()).await.expect("puts");
        for tails in [None, Some(&Tails::default())] {
            assert!(segment::lookup(&objects, segment, &keys, tails).await.is_err());
        }
        assert!(segment::read(&objects, segment).await.is_err());
    }
    store.delete(&path).await.expect("removes");
    assert!(segment::lookup(&objects, segment, &keys, None).await.expect_err("gone").is_broken());
}

/// A few keys read a small part of a large run.
#[tokio::test]
async fn a_few_keys_read_little() {
    let (store, objects) = objects();
    let entries: Vec<Entry> = (0..200_000).map(|n| (spread(n), (n % 700) as u32)).collect();
    let run = gathered(&objects, &entries, SORTED).await;
    let bytes: u64 = run.segments.iter().map(|segment| segment.bytes).sum();
    assert!(bytes < entries.len() as u64 * 10, "{bytes} bytes for {} keys", entries.len());
    let counted = Counting::new(store);
    let objects = Objects::new(counted.clone(), Path::from("index"));
    let mut keys: Vec<u64> = (0..5).map(|n| spread(n * 1000)).chain((0..20).map(|n| spread(1 << 40 | n))).collect();
    keys.sort_unstable();
    assert_eq!(ask(&objects, &run, &keys, None).await.len(), 5);
    let read = counted.bytes();
    assert!(read < bytes / 8, "{read} of {bytes} bytes were read");
}

/// Counts the bytes that are read.
#[derive(Debug)]
struct Counting {
    store: Arc<InMemory>,
    bytes: std::sync::atomic::AtomicU64,
}

impl Counting {
    fn new(store: Arc<InMemory>) -> Arc<Self> {
        Arc::new(Self { store, bytes: 0.into() })
    }

    fn bytes(&self) -> u64 {
        self.bytes.load(std::sync::atomic::Ordering::Relaxed)
    }
}

impl std::fmt::Display for Counting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.store.fmt(f)
    }
}

#[async_trait::async_trait]
impl ObjectStore for Counting {
    async fn put_opts(
        &self,
        location: &Path,
        payload: object_store::PutPayload,
        opts: object_store::PutOptions,
    ) -> object_store::Result<object_store::PutResult> {
        self.store.put_opts(location, payload, opts).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        opts: object_store::PutMultipartOptions,
    ) -> object_store::Result<Box<dyn object_store::MultipartUpload>> {
        self.store.put_multipart_opts(location, opts).await
    }

    async fn get_opts(
        &self,
        location: &Path,
        options: object_store::GetOptions,
    ) -> object_store::Result<object_store::GetResult> {
        let result = self.store.get_opts(location, options).await?;
        self.bytes.fetch_add(result.range.end - result.range.start, std::sync::atomic::Ordering::Relaxed);
        Ok(result)
    }

    async fn get_ranges(
        &self,
        location: &Path,
        ranges: &[std::ops::Range<u64>],
    ) -> object_store::Result<Vec<bytes::Bytes>> {
        let length: u64 = ranges.iter().map(|range| range.end - range.start).sum();
        self.bytes.fetch_add(length, std::sync::atomic::Ordering::Relaxed);
        self.store.get_ranges(location, ranges).await
    }

    fn delete_stream(
        &self,
        locations: futures::stream::BoxStream<'static, object_store::Result<Path>>,
    ) -> futures::stream::BoxStream<'static, object_store::Result<Path>> {
        self.store.delete_stream(locations)
    }

    fn list(
        &self,
        prefix: Option<&Path>,
    ) -> futures::stream::BoxStream<'static, object_store::Result<object_store::ObjectMeta>> {
        self.store.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> object_store::Result<object_store::ListResult> {
        self.store.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: object_store::CopyOptions) -> object_store::Result<()> {
        self.store.copy_opts(from, to, options).await
    }
}
