//! An object store in memory that dies, loses answers or stalls at a chosen write.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use futures::stream::BoxStream;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};
use tokio::sync::Notify;

/// What happens to a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// From the n-th write on nothing works any more; the n-th did not land.
    DieBefore(u64),
    /// From the n-th write on nothing works any more; the n-th landed.
    DieAfter(u64),
    /// The n-th write lands, but answers with an error.
    LoseAnswer(u64),
    /// The n-th commit to this table waits for [`FaultyStore::go_on`].
    StallCommit(&'static str),
    None,
}

/// One process's view of a store that others may share.
#[derive(Debug)]
pub struct FaultyStore {
    inner: Arc<InMemory>,
    fault: Fault,
    writes: AtomicU64,
    stalled: AtomicU64,
    /// Rung when a write stalls.
    pub reached: Notify,
    resume: Notify,
}

impl FaultyStore {
    pub fn new(inner: Arc<InMemory>, fault: Fault) -> Arc<Self> {
        let (writes, stalled) = (AtomicU64::new(0), AtomicU64::new(0));
        Arc::new(Self { inner, fault, writes, stalled, reached: Notify::new(), resume: Notify::new() })
    }

    /// Writes so far.
    pub fn writes(&self) -> u64 {
        self.writes.load(Ordering::SeqCst)
    }

    /// Lets the stalled write go on.
    pub fn go_on(&self) {
        self.resume.notify_one();
    }

    fn broken(&self) -> Error {
        Error::Generic { store: "faulty", source: "the process is dead".into() }
    }

    fn alive(&self) -> Result<()> {
        let dead = match self.fault {
            Fault::DieBefore(n) | Fault::DieAfter(n) => self.writes() >= n,
            _ => false,
        };
        if dead { Err(self.broken()) } else { Ok(()) }
    }
}

impl fmt::Display for FaultyStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FaultyStore")
    }
}

#[async_trait]
impl ObjectStore for FaultyStore {
    async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        self.alive()?;
        if let Fault::StallCommit(table) = self.fault
            && location.as_ref().starts_with(&format!("{table}/_delta_log/"))
            && !location.as_ref().ends_with("00000000000000000000.json")
            && self.stalled.fetch_add(1, Ordering::SeqCst) == 0
        {
            self.reached.notify_one();
            self.resume.notified().await;
        }
        let n = self.writes.fetch_add(1, Ordering::SeqCst) + 1;
        if self.fault == Fault::DieBefore(n) {
            return Err(self.broken());
        }
        let result = self.inner.put_opts(location, payload, opts).await;
        if matches!(self.fault, Fault::DieAfter(m) | Fault::LoseAnswer(m) if m == n) {
            Err(self.broken())
        } else {
            result
        }
    }

    async fn put_multipart_opts(&self, location: &Path, opts: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        self.alive()?;
        self.writes.fetch_add(1, Ordering::SeqCst);
        self.inner.put_multipart_opts(location, opts).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.alive()?;
        self.inner.get_opts(location, options).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.alive()?;
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.alive()?;
        self.inner.copy_opts(from, to, options).await
    }
}
