//! A store that loses power at any point, and forgets what was not synced.

use std::collections::BTreeSet;
use std::fmt;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt};
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, ObjectStoreExt,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result, UploadPart,
};

use crate::storage::DurableStore;

/// A store that loses power at a chosen write and keeps, after that, only what was durable.
///
/// It promises what a local folder does: an object put whole is durable when the put returns; an uploaded one after
/// [`DurableStore::sync`]. The write at which power is lost may or may not have happened, and each object that was not
/// synced is afterwards gone, empty, cut short or whole: a seed decides.
#[derive(Clone, Debug)]
pub struct PowerStore {
    disk: Arc<InMemory>,
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct State {
    /// Writes until power is lost; `None` while it is not to be.
    writes_left: Option<u64>,
    writes: u64,
    off: bool,
    unsynced: BTreeSet<Path>,
    random: u64,
}

impl State {
    /// A small generator (splitmix64): the same seed loses the same writes.
    fn coin(&mut self, sides: u64) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % sides
    }
}

/// What becomes of a write.
#[derive(PartialEq, Eq)]
enum Fate {
    Done,
    /// Power is lost during it; it still happens.
    LastDone,
    /// Power is lost before it happens.
    Lost,
}

impl PowerStore {
    /// A fresh store that loses power at the write of this number (counted from 0), if ever.
    pub fn new(lose_power_at: Option<u64>, seed: u64) -> Self {
        let state =
            State { writes_left: lose_power_at, writes: 0, off: false, unsynced: BTreeSet::new(), random: seed };
        Self { disk: Arc::new(InMemory::new()), state: Arc::new(Mutex::new(state)) }
    }

    /// Writes seen so far.
    pub fn writes(&self) -> u64 {
        self.lock().writes
    }

    /// Whether power is lost.
    pub fn is_off(&self) -> bool {
        self.lock().off
    }

    /// What the disk holds when power is back.
    ///
    /// # Errors
    /// None in practice: the disk is memory.
    pub async fn restart(&self) -> Result<PowerStore> {
        let unsynced = std::mem::take(&mut self.lock().unsynced);
        for path in unsynced {
            let side = self.lock().coin(4);
            let content = self.disk.get(&path).await?.bytes().await?;
            match side {
                0 => self.disk.delete(&path).await?,
                1 => drop(self.disk.put(&path, PutPayload::default()).await?),
                2 => drop(self.disk.put(&path, content.slice(..content.len() / 2).into()).await?),
                _ => {}
            }
        }
        let random = self.lock().coin(u64::MAX);
        let state = State { writes_left: None, writes: 0, off: false, unsynced: BTreeSet::new(), random };
        Ok(PowerStore { disk: self.disk.clone(), state: Arc::new(Mutex::new(state)) })
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> Result<Fate> {
        let mut state = self.lock();
        if state.off {
            return Err(no_power());
        }
        state.writes += 1;
        if state.writes_left == Some(0) {
            state.off = true;
            return Ok(if state.coin(2) == 0 { Fate::LastDone } else { Fate::Lost });
        }
        state.writes_left = state.writes_left.map(|left| left - 1);
        Ok(Fate::Done)
    }

    fn read(&self) -> Result<()> {
        if self.lock().off { Err(no_power()) } else { Ok(()) }
    }
}

fn no_power() -> Error {
    Error::Generic { store: "power", source: "power is lost".into() }
}

#[async_trait]
impl DurableStore for PowerStore {
    async fn sync(&self, paths: &[Path]) -> Result<()> {
        if paths.is_empty() {
            return self.read();
        }
        let fate = self.write()?;
        if fate != Fate::Lost {
            let mut state = self.lock();
            state.unsynced.retain(|path| !paths.contains(path));
        }
        if fate == Fate::Done { Ok(()) } else { Err(no_power()) }
    }

    fn min_part_bytes(&self) -> usize {
        0
    }
}

impl fmt::Display for PowerStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PowerStore")
    }
}

#[async_trait]
impl ObjectStore for PowerStore {
    async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        match self.write()? {
            Fate::Lost => Err(no_power()),
            Fate::Done => self.disk.put_opts(location, payload, opts).await,
            Fate::LastDone => self.disk.put_opts(location, payload, opts).await.and(Err(no_power())),
        }
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        _opts: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.read()?;
        Ok(Box::new(PowerUpload { store: self.clone(), path: location.clone(), content: Arc::default() }))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.read()?;
        self.disk.get_opts(location, options).await
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.read()?;
        self.disk.get_ranges(location, ranges).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let store = self.clone();
        let checked = locations.map(move |path| match store.write()? {
            Fate::Lost => Err(no_power()),
            Fate::Done | Fate::LastDone => path,
        });
        self.disk.delete_stream(checked.boxed())
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        match self.read() {
            Ok(()) => self.disk.list(prefix),
            Err(e) => futures::stream::iter([Err(e)]).boxed(),
        }
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.read()?;
        self.disk.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        match self.write()? {
            Fate::Lost => Err(no_power()),
            Fate::Done | Fate::LastDone => self.disk.copy_opts(from, to, options).await,
        }
    }
}

/// An upload that is visible as it grows, as a file is, and not durable before a sync.
#[derive(Debug)]
struct PowerUpload {
    store: PowerStore,
    path: Path,
    content: Arc<Mutex<Vec<u8>>>,
}

#[async_trait]
impl MultipartUpload for PowerUpload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        let (store, path, content) = (self.store.clone(), self.path.clone(), self.content.clone());
        async move {
            let fate = store.write()?;
            if fate != Fate::Lost {
                let whole = {
                    let mut content = content.lock().unwrap_or_else(PoisonError::into_inner);
                    data.iter().for_each(|part| content.extend_from_slice(part));
                    content.clone()
                };
                store.lock().unsynced.insert(path.clone());
                store.disk.put(&path, whole.into()).await?;
            }
            if fate == Fate::Done { Ok(()) } else { Err(no_power()) }
        }
        .boxed()
    }

    async fn complete(&mut self) -> Result<PutResult> {
        self.store.read()?;
        Ok(PutResult { e_tag: None, version: None })
    }

    async fn abort(&mut self) -> Result<()> {
        self.store.read()?;
        self.store.disk.delete(&self.path).await
    }
}
