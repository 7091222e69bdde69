//! A local folder as a store that keeps its promises over a loss of power.
//!
//! `object_store`'s own local store writes to a temporary file and links or renames it, but syncs nothing: after a loss
//! of power an acknowledged commit may be gone, or be there and name files that are empty. Here a put is: write, sync,
//! hard-link (or rename), sync the folder; folders that had to be made are synced up to the lake's root. Reading is left
//! to `object_store`.

use std::collections::{BTreeSet, HashSet};
use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path as FsPath, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use futures::FutureExt;
use futures::stream::BoxStream;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMode,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result, UploadPart,
};
use tokio::sync::Semaphore;
use tokio::task::{JoinError, JoinHandle};

use super::DurableStore;

/// From this many files on, all of the file system is synced at once: a thousand folders of a file each take two
/// thousand waits otherwise.
const SYNC_ALL_ABOVE: usize = 1024;

/// Threads that sync files at the same time: more only fill the disk's queue.
const SYNC_THREADS: usize = 8;

/// Written bytes of a file after which they are sent to the disk, while the next ones are made.
const FLUSH_BYTES: u64 = 4 << 20;

/// A local folder as a store.
#[derive(Debug)]
pub struct LocalStore {
    root: PathBuf,
    reader: LocalFileSystem,
    durable: Arc<Durability>,
}

/// What makes writes durable, and what is known to be durable already.
#[derive(Debug)]
struct Durability {
    root: PathBuf,
    sync: bool,
    /// Folders whose own entry in their parent is durable.
    known: Mutex<HashSet<PathBuf>>,
    /// How many files may be on their way to the disk while they are written.
    flushers: Arc<Semaphore>,
}

/// A file on its way to the disk while it is written, so that the sync before the commit has little left to wait for.
#[derive(Debug, Default)]
struct Flushing {
    /// Bytes written since that began last.
    waiting: u64,
    running: Option<JoinHandle<Result<()>>>,
    /// What ended badly. The system tells an error once, to whoever asks first: the sync at the end would not see it.
    failed: Option<Error>,
}

impl Flushing {
    /// Whether nothing is under way.
    fn is_idle(&mut self) -> bool {
        if self.running.as_ref().is_some_and(|running| !running.is_finished()) {
            return false;
        }
        if let Some(ended) = self.running.take().and_then(FutureExt::now_or_never) {
            self.failed = self.failed.take().or(flat(ended).err());
        }
        true
    }

    /// Waits for what is under way.
    async fn end(self) -> Result<()> {
        let ended = match self.running {
            Some(running) => flat(running.await),
            None => Ok(()),
        };
        self.failed.map_or(ended, Err)
    }
}

fn flat(ended: Result<Result<()>, JoinError>) -> Result<()> {
    ended.map_err(|source| Error::JoinError { source })?
}

impl LocalStore {
    /// The folder at `root`, which is made when it does not exist. With `sync` off nothing is synced.
    ///
    /// # Errors
    /// When the folder cannot be made or read.
    pub fn new(root: &FsPath, sync: bool) -> Result<Self> {
        let missing: Vec<&FsPath> = root.ancestors().take_while(|folder| !folder.exists()).collect();
        std::fs::create_dir_all(root).map_err(|e| failed("create folder", root, e))?;
        if sync {
            // The folders that were made are entries of their parents, and as durable as these.
            for parent in missing.iter().filter_map(|folder| folder.parent()) {
                let parent = if parent.as_os_str().is_empty() { FsPath::new(".") } else { parent };
                File::open(parent).and_then(|f| f.sync_all()).map_err(|e| failed("sync", parent, e))?;
            }
        }
        let root = root.canonicalize().map_err(|e| failed("open folder", root, e))?;
        let reader = LocalFileSystem::new_with_prefix(&root)?;
        let durable = Durability {
            root: root.clone(),
            sync,
            known: Mutex::new(HashSet::from([root.clone()])),
            flushers: Arc::new(Semaphore::new(SYNC_THREADS)),
        };
        Ok(Self { root, reader, durable: Arc::new(durable) })
    }

    /// The folder.
    pub fn root(&self) -> &FsPath {
        &self.root
    }

    fn file(&self, location: &Path) -> Result<PathBuf> {
        self.reader.path_to_filesystem(location)
    }
}

impl fmt::Display for LocalStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LocalStore({})", self.root.display())
    }
}

#[async_trait]
impl DurableStore for LocalStore {
    async fn sync(&self, paths: &[Path]) -> Result<()> {
        if !self.durable.sync || paths.is_empty() {
            return Ok(());
        }
        if paths.len() > SYNC_ALL_ABOVE {
            let root = self.durable.root.clone();
            return blocking(move || sync_file_system(&root)).await;
        }
        let files = paths.iter().map(|path| self.file(path)).collect::<Result<Vec<_>>>()?;
        let folders: BTreeSet<PathBuf> = files.iter().filter_map(|f| f.parent().map(FsPath::to_path_buf)).collect();
        let share = files.len().div_ceil(SYNC_THREADS);
        let workers: Vec<_> = files
            .chunks(share)
            .map(|chunk| {
                let chunk = chunk.to_vec();
                blocking(move || {
                    chunk.iter().try_for_each(|file| {
                        File::open(file).and_then(|f| f.sync_all()).map_err(|e| failed("sync", file, e))
                    })
                })
            })
            .collect();
        for done in futures::future::join_all(workers).await {
            done?;
        }
        let durable = self.durable.clone();
        blocking(move || folders.iter().try_for_each(|folder| durable.sync_folder(folder))).await
    }

    fn min_part_bytes(&self) -> usize {
        0
    }
}

impl Durability {
    /// Notes that bytes were written to a file, and sends it to the disk if they are many and the disk is not behind. To be
    /// called where there is a runtime.
    fn written(&self, flushing: &Mutex<Flushing>, file: File, path: &FsPath, bytes: u64) {
        let mut flushing = flushing.lock().unwrap_or_else(PoisonError::into_inner);
        flushing.waiting += bytes;
        if !self.sync || flushing.waiting < FLUSH_BYTES || !flushing.is_idle() {
            return;
        }
        let Ok(permit) = Arc::clone(&self.flushers).try_acquire_owned() else { return };
        flushing.waiting = 0;
        let path = path.to_path_buf();
        flushing.running = Some(tokio::task::spawn_blocking(move || {
            let done = file.sync_data().map_err(|e| failed("sync", &path, e));
            drop(permit);
            done
        }));
    }

    /// Makes the entries of a folder durable, and the folder itself where that is not known yet.
    fn sync_folder(&self, folder: &FsPath) -> Result<()> {
        if !self.sync {
            return Ok(());
        }
        let sync = |path: &FsPath| File::open(path).and_then(|f| f.sync_all()).map_err(|e| failed("sync", path, e));
        sync(folder)?;
        let mut child = folder;
        loop {
            let known = self.known.lock().unwrap_or_else(PoisonError::into_inner).contains(child);
            if known || !child.starts_with(&self.root) {
                return Ok(());
            }
            let Some(parent) = child.parent() else { return Ok(()) };
            sync(parent)?;
            self.known.lock().unwrap_or_else(PoisonError::into_inner).insert(child.to_path_buf());
            child = parent;
        }
    }

    /// Writes a temporary file beside `target`, under a name that readers of the folder skip.
    fn write_beside(&self, target: &FsPath, payload: &PutPayload) -> Result<PathBuf> {
        let mut name = target.as_os_str().to_owned();
        // `#` and digits: object_store's listing leaves such names out as unfinished uploads. The digits are random and
        // not the process's number, because processes in containers that share a folder often have the same one.
        name.push(format!("#{}", uuid::Uuid::new_v4().as_u128()));
        let path = PathBuf::from(name);
        let mut file = create(&path)?;
        let written = payload.iter().try_for_each(|part| file.write_all(part)).and_then(|()| match self.sync {
            true => file.sync_all(),
            false => Ok(()),
        });
        match written {
            Ok(()) => Ok(path),
            Err(e) => {
                let _ = std::fs::remove_file(&path);
                Err(failed("write", &path, e))
            }
        }
    }

    fn put(&self, target: &FsPath, payload: &PutPayload, mode: &PutMode) -> Result<PutResult> {
        let temporary = self.write_beside(target, payload)?;
        let placed = match mode {
            PutMode::Create => std::fs::hard_link(&temporary, target),
            PutMode::Overwrite | PutMode::Update(_) => std::fs::rename(&temporary, target),
        };
        if !matches!((mode, &placed), (PutMode::Overwrite, Ok(()))) {
            let _ = std::fs::remove_file(&temporary);
        }
        match placed {
            Ok(()) => {}
            Err(source) if source.kind() == ErrorKind::AlreadyExists => {
                return Err(Error::AlreadyExists { path: target.display().to_string(), source: source.into() });
            }
            Err(e) => return Err(failed("link", target, e)),
        }
        if let Some(folder) = target.parent() {
            self.sync_folder(folder)?;
        }
        Ok(PutResult { e_tag: None, version: None })
    }
}

/// Makes all that was written to the file system of `root` durable.
fn sync_file_system(root: &FsPath) -> Result<()> {
    #[cfg(target_os = "linux")]
    let synced = File::open(root).and_then(|folder| Ok(rustix::fs::syncfs(&folder)?));
    #[cfg(not(target_os = "linux"))]
    let synced = sync_below(root);
    synced.map_err(|e| failed("sync", root, e))
}

#[cfg(not(target_os = "linux"))]
fn sync_below(path: &FsPath) -> io::Result<()> {
    File::open(path)?.sync_all()?;
    if path.is_dir() {
        std::fs::read_dir(path)?.try_for_each(|entry| sync_below(&entry?.path()))?;
    }
    Ok(())
}

/// Creates a new file, and the folders that lead to it where they are missing.
fn create(path: &FsPath) -> Result<File> {
    let open = || OpenOptions::new().write(true).create(true).truncate(true).open(path);
    match open() {
        Err(e) if e.kind() == ErrorKind::NotFound => {
            if let Some(folder) = path.parent() {
                std::fs::create_dir_all(folder).map_err(|e| failed("create folder", folder, e))?;
            }
            open().map_err(|e| failed("create", path, e))
        }
        other => other.map_err(|e| failed("create", path, e)),
    }
}

fn failed(action: &str, path: &FsPath, error: io::Error) -> Error {
    let path = path.display().to_string();
    match error.kind() {
        ErrorKind::NotFound => Error::NotFound { path, source: error.into() },
        ErrorKind::PermissionDenied => Error::PermissionDenied { path, source: error.into() },
        _ => Error::Generic {
            store: "local",
            source: Box::new(Annotated { context: format!("{action} {path}"), source: error }),
        },
    }
}

/// An error of the operating system with what was attempted; keeps the cause, so that a full disk can be told.
#[derive(Debug, thiserror::Error)]
#[error("{context}")]
struct Annotated {
    context: String,
    #[source]
    source: io::Error,
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(|source| Error::JoinError { source })?
}

#[async_trait]
impl ObjectStore for LocalStore {
    async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        if matches!(opts.mode, PutMode::Update(_)) {
            return Err(Error::NotSupported { source: "a local folder has no conditional update".into() });
        }
        let target = self.file(location)?;
        let durable = self.durable.clone();
        blocking(move || durable.put(&target, &payload, &opts.mode)).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        _opts: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        let (target, durable) = (self.file(location)?, Arc::clone(&self.durable));
        Ok(Box::new(LocalUpload { target, offset: 0, started: false, durable, flushing: Arc::default() }))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.reader.get_opts(location, options).await
    }

    async fn get_ranges(&self, location: &Path, ranges: &[std::ops::Range<u64>]) -> Result<Vec<bytes::Bytes>> {
        self.reader.get_ranges(location, ranges).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.reader.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.reader.list(prefix)
    }

    fn list_with_offset(&self, prefix: Option<&Path>, offset: &Path) -> BoxStream<'static, Result<ObjectMeta>> {
        self.reader.list_with_offset(prefix, offset)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.reader.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.reader.copy_opts(from, to, options).await
    }
}

/// An upload in parts, straight into its place: nobody looks for a data file before a commit names it. No file stays
/// open between parts, because a writer over many partitions has many uploads.
#[derive(Debug)]
struct LocalUpload {
    target: PathBuf,
    offset: u64,
    started: bool,
    durable: Arc<Durability>,
    flushing: Arc<Mutex<Flushing>>,
}

#[async_trait]
impl MultipartUpload for LocalUpload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        let (target, durable, flushing) = (self.target.clone(), self.durable.clone(), self.flushing.clone());
        let mut offset = self.offset;
        let first = !self.started;
        self.offset += data.content_length() as u64;
        self.started = true;
        blocking(move || {
            let file = match first {
                true => create(&target)?,
                false => OpenOptions::new().write(true).open(&target).map_err(|e| failed("open", &target, e))?,
            };
            for part in data.iter() {
                file.write_all_at(part, offset).map_err(|e| failed("write", &target, e))?;
                offset += part.len() as u64;
            }
            durable.written(&flushing, file, &target, data.content_length() as u64);
            Ok(())
        })
        .boxed()
    }

    async fn complete(&mut self) -> Result<PutResult> {
        if !self.started {
            let target = self.target.clone();
            blocking(move || create(&target).map(drop)).await?;
        }
        let flushing = std::mem::take(&mut *self.flushing.lock().unwrap_or_else(PoisonError::into_inner));
        flushing.end().await?;
        Ok(PutResult { e_tag: None, version: None })
    }

    async fn abort(&mut self) -> Result<()> {
        let target = self.target.clone();
        blocking(move || match std::fs::remove_file(&target) {
            Err(e) if e.kind() != ErrorKind::NotFound => Err(failed("remove", &target, e)),
            _ => Ok(()),
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use object_store::ObjectStoreExt;

    use super::*;

    fn files_below(folder: &FsPath) -> Vec<String> {
        let mut found = Vec::new();
        let mut folders = vec![folder.to_path_buf()];
        while let Some(next) = folders.pop() {
            for entry in std::fs::read_dir(next).expect("a folder") {
                let path = entry.expect("an entry").path();
                match path.is_dir() {
                    true => folders.push(path),
                    false => found.push(path.strip_prefix(folder).expect("below").display().to_string()),
                }
            }
        }
        found.sort();
        found
    }

    #[tokio::test]
    async fn a_name_is_given_once_and_nothing_is_left_behind() {
        let folder = tempfile::tempdir().expect("a folder");
        let store = LocalStore::new(folder.path(), true).expect("a store");
        let path = Path::from("a/b/1.json");
        store.put_opts(&path, "first".into(), PutMode::Create.into()).await.expect("free");
        let again = store.put_opts(&path, "second".into(), PutMode::Create.into()).await;
        assert!(matches!(again, Err(Error::AlreadyExists { .. })), "{again:?}");
        store.put(&Path::from("a/pointer"), "x".into()).await.expect("written");
        store.put(&Path::from("a/pointer"), "y".into()).await.expect("replaced");
        assert_eq!(store.get(&path).await.expect("there").bytes().await.expect("read"), "first");
        assert_eq!(files_below(folder.path()), ["a/b/1.json", "a/pointer"]);
    }

    #[tokio::test]
    async fn uploads_are_whole_files_and_may_be_given_up() {
        let folder = tempfile::tempdir().expect("a folder");
        let store = LocalStore::new(folder.path(), true).expect("a store");
        let path = Path::parse("t/day=a%2Fb/part.parquet").expect("a path");
        let mut upload = store.put_multipart(&path).await.expect("begun");
        upload.put_part("one ".into()).await.expect("written");
        upload.put_part("two".into()).await.expect("written");
        upload.complete().await.expect("ended");
        store.sync(std::slice::from_ref(&path)).await.expect("synced");
        assert_eq!(store.get(&path).await.expect("there").bytes().await.expect("read"), "one two");
        let listed: Vec<_> = futures::TryStreamExt::try_collect(store.list(None)).await.expect("listed");
        assert_eq!(listed.iter().map(|file: &ObjectMeta| &file.location).collect::<Vec<_>>(), [&path]);

        // Parts that are on their way to the disk while the next ones are written.
        let large = Path::from("t/large");
        let mut upload = store.put_multipart(&large).await.expect("begun");
        let part = vec![7u8; FLUSH_BYTES as usize / 2 + 1];
        for _ in 0..6 {
            upload.put_part(part.clone().into()).await.expect("written");
        }
        upload.complete().await.expect("ended");
        store.sync(std::slice::from_ref(&large)).await.expect("synced");
        let read = store.get(&large).await.expect("there").bytes().await.expect("read");
        assert_eq!((read.len(), read.iter().all(|byte| *byte == 7)), (part.len() * 6, true));
        std::fs::remove_file(folder.path().join("t/large")).expect("removed");

        let other = Path::from("t/other");
        let mut upload = store.put_multipart(&other).await.expect("begun");
        upload.put_part("x".into()).await.expect("written");
        upload.abort().await.expect("given up");
        assert_eq!(files_below(folder.path()), ["t/day=a%2Fb/part.parquet"]);
        assert!(store.sync(&[other]).await.is_err());
    }

    #[test]
    fn the_system_tells_a_full_disk_from_a_lost_one() {
        for (code, kind) in
            [(28, crate::ErrorKind::Full), (30, crate::ErrorKind::Denied), (5, crate::ErrorKind::Storage)]
        {
            let error = failed("write", FsPath::new("/x"), io::Error::from_raw_os_error(code));
            assert_eq!(crate::StoreError::storage("write", &Path::from("x"), error).kind(), kind, "{code}");
        }
    }
}
