//! A store that fails, pauses and records single operations.

use std::fmt;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt};
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result, UploadPart,
};
use tokio::sync::Semaphore;

use crate::storage::{Answering, DurableStore};

/// An operation of a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Op {
    /// An object is put whole.
    Put,
    /// A part of an upload.
    Part,
    /// The end of an upload.
    Complete,
    /// A read, whole or in ranges.
    Get,
    /// A listing.
    List,
    /// A removal.
    Delete,
    /// A sync.
    Sync,
}

/// What happens at an operation.
#[derive(Clone, Debug)]
enum Effect {
    /// It fails and has no effect.
    FailBefore,
    /// It has its effect, and the answer is an error.
    FailAfter,
    /// It waits, before its effect, until the test goes on.
    Pause(Pause),
}

/// A rule for operations on paths that contain a text. It is used up after some uses.
#[derive(Clone, Debug)]
pub struct Fault {
    op: Op,
    path_contains: String,
    effect: Effect,
    skip: usize,
    times: usize,
}

impl Fault {
    fn new(op: Op, path_contains: &str, effect: Effect) -> Self {
        Self { op, path_contains: path_contains.to_string(), effect, skip: 0, times: 1 }
    }

    /// The next such operation fails without effect.
    pub fn before(op: Op, path_contains: &str) -> Self {
        Self::new(op, path_contains, Effect::FailBefore)
    }

    /// The next such operation has its effect and answers with an error.
    pub fn after(op: Op, path_contains: &str) -> Self {
        Self::new(op, path_contains, Effect::FailAfter)
    }

    /// The next such operation waits, before its effect, until [`Pause::resume`].
    pub fn pause(op: Op, path_contains: &str) -> (Self, Pause) {
        let pause = Pause { reached: Arc::new(Semaphore::new(0)), resumed: Arc::new(Semaphore::new(0)) };
        (Self::new(op, path_contains, Effect::Pause(pause.clone())), pause)
    }

    /// Lets this many operations pass first.
    pub fn after_skipping(mut self, operations: usize) -> Self {
        self.skip = operations;
        self
    }

    /// Applies to this many operations instead of one.
    pub fn times(mut self, operations: usize) -> Self {
        self.times = operations;
        self
    }
}

/// A point at which an operation waits.
#[derive(Clone, Debug)]
pub struct Pause {
    reached: Arc<Semaphore>,
    resumed: Arc<Semaphore>,
}

impl Pause {
    /// Waits until an operation is at the point.
    pub async fn reached(&self) {
        if let Ok(permit) = self.reached.acquire().await {
            permit.forget();
        }
    }

    /// Lets it go on.
    pub fn resume(&self) {
        self.resumed.add_permits(1);
    }

    async fn hold(&self) {
        self.reached.add_permits(1);
        if let Ok(permit) = self.resumed.acquire().await {
            permit.forget();
        }
    }
}

/// A store that fails, pauses and records single operations.
#[derive(Clone, Debug)]
pub struct FaultStore {
    inner: Arc<dyn DurableStore>,
    state: Arc<State>,
}

#[derive(Debug, Default)]
struct State {
    faults: Mutex<Vec<Fault>>,
    seen: Mutex<Vec<(Op, Path)>>,
    fired: AtomicUsize,
}

/// What is left to do of an operation after its start.
enum Verdict {
    Go,
    FailAfter,
}

impl FaultStore {
    /// Faults before a store.
    pub fn new(inner: Arc<dyn DurableStore>) -> Self {
        Self { inner, state: Arc::default() }
    }

    /// Faults before a fresh in-memory store.
    pub fn in_memory() -> Self {
        Self::new(Arc::new(Answering(Arc::new(InMemory::new()))))
    }

    /// Adds a fault.
    pub fn add(&self, fault: Fault) {
        self.state.faults.lock().unwrap_or_else(PoisonError::into_inner).push(fault);
    }

    /// Removes all faults: storage is well again.
    pub fn clear(&self) {
        self.state.faults.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// How many faults have fired.
    pub fn fired(&self) -> usize {
        self.state.fired.load(Ordering::Acquire)
    }

    /// The operations seen since the last call, in order.
    pub fn take_operations(&self) -> Vec<(Op, Path)> {
        std::mem::take(&mut *self.state.seen.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl State {
    async fn start(&self, op: Op, path: &Path) -> Result<Verdict> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).push((op, path.clone()));
        let effect = {
            let mut faults = self.faults.lock().unwrap_or_else(PoisonError::into_inner);
            let mut found = None;
            for fault in faults.iter_mut().filter(|f| f.op == op && path.as_ref().contains(&f.path_contains)) {
                if fault.skip > 0 {
                    fault.skip -= 1;
                } else if fault.times > 0 {
                    fault.times -= 1;
                    found = Some(fault.effect.clone());
                    break;
                }
            }
            faults.retain(|fault| fault.times > 0);
            found
        };
        let Some(effect) = effect else { return Ok(Verdict::Go) };
        self.fired.fetch_add(1, Ordering::AcqRel);
        match effect {
            Effect::FailBefore => Err(injected(op, path)),
            Effect::FailAfter => Ok(Verdict::FailAfter),
            Effect::Pause(pause) => {
                pause.hold().await;
                Ok(Verdict::Go)
            }
        }
    }
}

impl Verdict {
    fn answer<T>(self, op: Op, path: &Path, result: Result<T>) -> Result<T> {
        match self {
            Self::Go => result,
            Self::FailAfter => result.and_then(|_| Err(injected(op, path))),
        }
    }
}

fn injected(op: Op, path: &Path) -> Error {
    Error::Generic { store: "fault", source: format!("injected: {op:?} {path}").into() }
}

#[async_trait]
impl DurableStore for FaultStore {
    async fn sync(&self, paths: &[Path]) -> Result<()> {
        let path = paths.first().cloned().unwrap_or_default();
        let verdict = self.state.start(Op::Sync, &path).await?;
        verdict.answer(Op::Sync, &path, self.inner.sync(paths).await)
    }

    fn min_part_bytes(&self) -> usize {
        self.inner.min_part_bytes()
    }
}

impl fmt::Display for FaultStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FaultStore({})", self.inner)
    }
}

#[async_trait]
impl ObjectStore for FaultStore {
    async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        let verdict = self.state.start(Op::Put, location).await?;
        verdict.answer(Op::Put, location, self.inner.put_opts(location, payload, opts).await)
    }

    async fn put_multipart_opts(&self, location: &Path, opts: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        let inner = self.inner.put_multipart_opts(location, opts).await?;
        Ok(Box::new(FaultUpload { inner, state: self.state.clone(), path: location.clone() }))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let verdict = self.state.start(Op::Get, location).await?;
        verdict.answer(Op::Get, location, self.inner.get_opts(location, options).await)
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        let verdict = self.state.start(Op::Get, location).await?;
        verdict.answer(Op::Get, location, self.inner.get_ranges(location, ranges).await)
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let state = self.state.clone();
        let checked = locations.then(move |path| {
            let state = state.clone();
            async move {
                let path = path?;
                state.start(Op::Delete, &path).await?;
                Ok(path)
            }
        });
        self.inner.delete_stream(checked.boxed())
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let (state, inner) = (self.state.clone(), self.inner.list(prefix));
        let path = prefix.cloned().unwrap_or_default();
        async move {
            match state.start(Op::List, &path).await {
                Ok(_) => inner,
                Err(e) => futures::stream::iter([Err(e)]).boxed(),
            }
        }
        .flatten_stream()
        .boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.state.start(Op::List, &prefix.cloned().unwrap_or_default()).await?;
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}

#[derive(Debug)]
struct FaultUpload {
    inner: Box<dyn MultipartUpload>,
    state: Arc<State>,
    path: Path,
}

#[async_trait]
impl MultipartUpload for FaultUpload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        let (state, path, part) = (self.state.clone(), self.path.clone(), self.inner.put_part(data));
        async move {
            let verdict = state.start(Op::Part, &path).await?;
            verdict.answer(Op::Part, &path, part.await)
        }
        .boxed()
    }

    async fn complete(&mut self) -> Result<PutResult> {
        let verdict = self.state.start(Op::Complete, &self.path).await?;
        verdict.answer(Op::Complete, &self.path, self.inner.complete().await)
    }

    async fn abort(&mut self) -> Result<()> {
        self.inner.abort().await
    }
}
