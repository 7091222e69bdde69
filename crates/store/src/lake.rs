//! A lake: a folder of tables.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::path::{Path as FsPath, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use datafusion::execution::object_store::ObjectStoreUrl;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::prefix::PrefixStore;
use object_store::{ObjectStore, PutMode};
use schema::{Layer, TableName};
use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;
use url::Url;

use crate::commit::{self, Commit, Operation};
use crate::error::{Result, StoreError};
use crate::log::{self, load};
use crate::meta::{self, TableSpec};
use crate::release::{Release, Releases};
use crate::storage::{Answering, DurableStore, LocalStore, open_bucket};
use crate::table::Table;

/// The lake's layout that this binary reads and writes.
const FORMAT: u64 = 1;

/// Where the time comes from; tests set their own.
pub type Clock = Arc<dyn Fn() -> DateTime<Utc> + Send + Sync>;

/// How a lake is used.
#[derive(Clone)]
pub struct LakeOptions {
    /// Whether local files are synced before they are acknowledged. Off, a power loss may lose acknowledged commits.
    pub sync: bool,
    /// Storage options by their usual names (`AWS_ENDPOINT_URL`, …); those not given are taken from the environment.
    pub storage: BTreeMap<String, String>,
    /// Where the time comes from.
    pub clock: Clock,
    /// The wait before a commit is tried again when storage fails; it grows fourfold each time.
    pub retry_pause: Duration,
}

impl Default for LakeOptions {
    fn default() -> Self {
        Self { sync: true, storage: BTreeMap::new(), clock: Arc::new(Utc::now), retry_pause: Duration::from_millis(40) }
    }
}

impl fmt::Debug for LakeOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Storage options hold secrets.
        f.debug_struct("LakeOptions").field("sync", &self.sync).finish_non_exhaustive()
    }
}

/// A lake of Delta tables. Clones are the same lake and share its opened tables.
#[derive(Clone)]
pub struct Lake {
    inner: Arc<Inner>,
}

struct Inner {
    url: Url,
    store: Arc<dyn DurableStore>,
    options: LakeOptions,
    /// Tables opened before; they know their last snapshots.
    tables: Mutex<HashMap<TableName, Table>>,
    /// The newest release that was seen.
    release: Mutex<Option<Release>>,
    background: Mutex<JoinSet<()>>,
    last_name_ms: Mutex<i64>,
    /// Tells this lake from others in DataFusion's registry of stores.
    number: u64,
    /// Whether the format marker is known to be there.
    marked: std::sync::atomic::AtomicBool,
}

/// The content of `_smelt/format.json`.
#[derive(Serialize, Deserialize)]
struct Format {
    format: u64,
}

impl fmt::Debug for Lake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Lake({})", self.inner.url)
    }
}

impl Lake {
    /// Opens the lake at a path, `file://`, `s3://bucket/prefix` or `memory:///`. A local folder that does not exist is
    /// made.
    ///
    /// # Errors
    /// When the address or the options are wrong, or the lake has a newer format than this binary knows.
    pub async fn open(url: &str, options: LakeOptions) -> Result<Lake> {
        let (root, store) = open_location(url, &options)?;
        let lake = Self::new(root, store, options);
        lake.check_format().await?;
        Ok(lake)
    }

    /// A lake on a store whose root is the lake's folder. Writes are taken to be durable when the store answers.
    pub fn with_store(store: Arc<dyn ObjectStore>, options: LakeOptions) -> Lake {
        Self::with_durable_store(Arc::new(Answering(store)), options)
    }

    /// A lake on a store that says itself when writes are durable.
    pub fn with_durable_store(store: Arc<dyn DurableStore>, options: LakeOptions) -> Lake {
        Self::new(Url::parse("memory:///").expect("a constant address"), store, options)
    }

    fn new(url: Url, store: Arc<dyn DurableStore>, options: LakeOptions) -> Lake {
        static LAKES: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
        let inner = Inner {
            url,
            store,
            options,
            tables: Mutex::default(),
            release: Mutex::default(),
            background: Mutex::default(),
            last_name_ms: Mutex::default(),
            number: LAKES.fetch_add(1, std::sync::atomic::Ordering::Relaxed),
            marked: false.into(),
        };
        Lake { inner: Arc::new(inner) }
    }

    /// The lake's address.
    pub fn url(&self) -> &Url {
        &self.inner.url
    }

    /// The lake's folder, when it is on local disk.
    pub fn local_path(&self) -> Option<PathBuf> {
        // The scheme has to be looked at: `memory:///` would give the root of the file system.
        (self.inner.url.scheme() == "file").then(|| self.inner.url.to_file_path().ok()).flatten()
    }

    /// The store that holds the lake; its root is the lake's folder.
    pub fn object_store(&self) -> Arc<dyn ObjectStore> {
        self.inner.store.clone()
    }

    /// The address under which [`Self::object_store`] must be registered in DataFusion's runtime before a scan runs:
    /// `runtime_env.register_object_store(lake.object_store_url().as_ref(), lake.object_store())`.
    pub fn object_store_url(&self) -> ObjectStoreUrl {
        ObjectStoreUrl::parse(format!("smelt://lake-{}", self.inner.number)).expect("a scheme and a host")
    }

    /// The lake's settings.
    pub fn options(&self) -> &LakeOptions {
        &self.inner.options
    }

    /// The time by the lake's clock.
    pub fn now(&self) -> DateTime<Utc> {
        (self.inner.options.clock)()
    }

    /// The time by the lake's clock, milliseconds since 1970 UTC.
    pub(crate) fn now_ms(&self) -> i64 {
        self.now().timestamp_millis()
    }

    /// A time for the names of a writer's files: now, and later than all that this process gave out before, so that files
    /// sort in the order in which their writers began.
    pub(crate) fn next_name_ms(&self) -> i64 {
        let mut last = self.inner.last_name_ms.lock().unwrap_or_else(PoisonError::into_inner);
        *last = self.now_ms().max(*last + 1);
        *last
    }

    /// The store with its durability.
    pub(crate) fn store(&self) -> &Arc<dyn DurableStore> {
        &self.inner.store
    }

    /// All tables of the layers bronze, silver and gold, by listing folders.
    ///
    /// # Errors
    /// When storage fails.
    pub async fn tables(&self) -> Result<Vec<TableName>> {
        let mut tables = Vec::new();
        for layer in [Layer::Bronze, Layer::Silver, Layer::Gold] {
            let folder = Path::from(layer.as_str());
            let listed = match self.inner.store.list_with_delimiter(Some(&folder)).await {
                Err(object_store::Error::NotFound { .. }) => continue,
                other => other.map_err(|e| StoreError::storage("list", &folder, e))?,
            };
            let names = listed.common_prefixes.iter().filter_map(Path::filename);
            tables.extend(names.filter_map(|name| format!("{layer}.{name}").parse::<TableName>().ok()));
        }
        tables.sort();
        Ok(tables)
    }

    /// Opens a table at its head, or gives `None` if it does not exist.
    ///
    /// # Errors
    /// When storage fails, or the table needs Delta features that Smelt does not have.
    pub async fn open_table(&self, name: &TableName) -> Result<Option<Table>> {
        let known = self.opened().get(name).cloned();
        if let Some(table) = known {
            table.refresh().await?;
            return Ok(Some(table));
        }
        let Some(snapshots) = load::load(self, name, None).await? else { return Ok(None) };
        let table = self
            .opened()
            .entry(name.clone())
            .or_insert_with(|| Table::new(self.clone(), name.clone(), Vec::clone(&snapshots)))
            .clone();
        // Another task may have been first with an older head.
        table.remember(snapshots);
        Ok(Some(table))
    }

    fn opened(&self) -> std::sync::MutexGuard<'_, HashMap<TableName, Table>> {
        self.inner.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Opens a table at its head; one that does not exist is an error.
    ///
    /// # Errors
    /// As [`Self::open_table`], and [`StoreError::NoSuchTable`].
    pub async fn table(&self, name: &TableName) -> Result<Table> {
        self.open_table(name).await?.ok_or_else(|| StoreError::NoSuchTable { table: name.clone() })
    }

    /// Creates a table, or loads it where it exists. New nullable columns of the spec are added to an existing table;
    /// columns that the spec no longer has stay. The fingerprint of an existing table is left alone: a rebuild sets it.
    /// Several processes may do this at the same time: all get the same table.
    ///
    /// # Errors
    /// [`StoreError::Incompatible`] when an existing table differs in types or partition columns; it says what
    /// to do. [`StoreError::BadColumn`] for types that Delta or Smelt does not hold.
    pub async fn create_table(&self, name: &TableName, spec: &TableSpec) -> Result<Table> {
        self.mark_format().await?;
        let table = match self.open_table(name).await? {
            Some(table) => table,
            None => {
                commit::create(self, name, spec).await?;
                self.table(name).await?
            }
        };
        loop {
            let head = table.snapshot();
            let Some(change) = meta::growth(head.meta(), spec)? else { return Ok(table) };
            let mut commit = Commit::new(head, Operation::Alter);
            commit.metadata = Some(change);
            match table.commit(commit).await {
                // Another process changes the table too: look again at what is left to do.
                Ok(_) | Err(StoreError::Conflict { .. }) => {}
                Err(e) => return Err(e),
            }
        }
    }

    /// The releases: which versions of Silver and Gold belong together.
    pub fn releases(&self) -> Releases {
        Releases::new(self.clone())
    }

    pub(crate) fn known_release(&self) -> Option<Release> {
        self.inner.release.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn know_release(&self, release: &Release) {
        let mut known = self.inner.release.lock().unwrap_or_else(PoisonError::into_inner);
        if known.as_ref().is_none_or(|known| known.number < release.number) {
            *known = Some(release.clone());
        }
    }

    /// Waits for maintenance that runs in the background (checkpoints). A process calls it before it ends; work that is
    /// cut off loses nothing, but the next process has more of the log to read.
    pub async fn settle(&self) {
        loop {
            let mut running =
                std::mem::take(&mut *self.inner.background.lock().unwrap_or_else(PoisonError::into_inner));
            if running.is_empty() {
                return;
            }
            while running.join_next().await.is_some() {}
        }
    }

    /// Runs maintenance beside the caller; [`Self::settle`] waits for it.
    pub(crate) fn in_background(&self, work: impl Future<Output = ()> + Send + 'static) {
        let mut background = self.inner.background.lock().unwrap_or_else(PoisonError::into_inner);
        while background.try_join_next().is_some() {}
        background.spawn(work);
    }

    /// Refuses a lake of a newer format.
    async fn check_format(&self) -> Result<()> {
        let path = format_path();
        let Some(bytes) = log::read(self.inner.store.as_ref(), &path).await? else { return Ok(()) };
        let format: Format = serde_json::from_slice(&bytes)
            .map_err(|e| StoreError::BadFile { path: path.to_string(), message: e.to_string() })?;
        if format.format > FORMAT {
            let url = self.inner.url.to_string();
            return Err(StoreError::NewerLake { url, found: format.format, supported: FORMAT });
        }
        self.inner.marked.store(true, std::sync::atomic::Ordering::Relaxed);
        Ok(())
    }

    /// Marks a lake that has no marker yet.
    async fn mark_format(&self) -> Result<()> {
        if self.inner.marked.load(std::sync::atomic::Ordering::Relaxed) {
            return Ok(());
        }
        let path = format_path();
        let bytes = serde_json::to_vec(&Format { format: FORMAT }).unwrap_or_default();
        match self.inner.store.put_opts(&path, bytes.into(), PutMode::Create.into()).await {
            Ok(_) | Err(object_store::Error::AlreadyExists { .. }) => self.check_format().await,
            Err(e) => Err(StoreError::storage("write", &path, e)),
        }
    }
}

fn format_path() -> Path {
    Path::from("_smelt/format.json")
}

/// Opens a folder or bucket: a path, `file://`, `s3://bucket/prefix` or `memory:///`. A local folder that does not exist
/// is made. Gives its address and the store whose root it is.
///
/// # Errors
/// When the address or the options are wrong.
pub fn open_location(url: &str, options: &LakeOptions) -> Result<(Url, Arc<dyn DurableStore>)> {
    match parse_url(url)? {
        Place::Local(path) => {
            let store =
                LocalStore::new(&path, options.sync).map_err(|e| StoreError::storage("open", &Path::from(url), e))?;
            let root = Url::from_directory_path(store.root()).map_err(|()| bad_url(url, "the path is not absolute"))?;
            Ok((root, Arc::new(store)))
        }
        Place::Memory(url) => Ok((url, Arc::new(Answering(Arc::new(InMemory::new()))))),
        Place::S3(url) => {
            let store = s3(&url, options)?;
            Ok((url, Arc::new(Answering(store))))
        }
    }
}

/// Where an address leads.
#[derive(Debug, PartialEq, Eq)]
enum Place {
    Local(PathBuf),
    Memory(Url),
    S3(Url),
}

fn bad_url(url: &str, message: &str) -> StoreError {
    StoreError::BadUrl { url: url.to_string(), message: message.to_string() }
}

fn parse_url(text: &str) -> Result<Place> {
    let Some((scheme, _)) = text.split_once("://") else {
        let path = std::path::absolute(FsPath::new(text)).map_err(|e| bad_url(text, &e.to_string()))?;
        return Ok(Place::Local(path));
    };
    let url = Url::parse(text).map_err(|e| bad_url(text, &e.to_string()))?;
    match scheme {
        "file" => url.to_file_path().map(Place::Local).map_err(|()| bad_url(text, "expected file:///absolute/path")),
        "memory" => Ok(Place::Memory(url)),
        "s3" | "s3a" if url.host_str().is_some() => Ok(Place::S3(url)),
        "s3" | "s3a" => Err(bad_url(text, "expected s3://bucket/prefix")),
        _ => Err(bad_url(text, "expected a path, file://, s3:// or memory://")),
    }
}

/// The part of a bucket that an address names.
fn s3(url: &Url, options: &LakeOptions) -> Result<Arc<dyn ObjectStore>> {
    let store = open_bucket(url, &options.storage)?;
    let prefix = Path::from_url_path(url.path()).map_err(|e| bad_url(url.as_str(), &e.to_string()))?;
    Ok(match prefix.as_ref().is_empty() {
        true => store,
        false => Arc::new(PrefixStore::new(store, prefix)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        assert_eq!(parse_url("/tmp/lake").expect("a path"), Place::Local("/tmp/lake".into()));
        assert_eq!(parse_url("file:///tmp/a%20b").expect("a path"), Place::Local("/tmp/a b".into()));
        assert!(matches!(parse_url("lake"), Ok(Place::Local(path)) if path.is_absolute()));
        assert!(matches!(parse_url("s3://bucket/a/b"), Ok(Place::S3(_))));
        for wrong in ["s3:///x", "gs://bucket", "file://host/x"] {
            assert!(matches!(parse_url(wrong), Err(StoreError::BadUrl { .. })), "{wrong}");
        }
    }
}
