//! Where landing files lie: a folder, one file or a glob on the local disk, or a prefix of an object store.
//!
//! A place lists what lies there and opens one of the files for reading from its start. Paths shown to people and stored
//! in tables are relative to the place's root, with `/` between the parts, whatever the root is.

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use futures::TryStreamExt;
use glob::{MatchOptions, Pattern};
use object_store::path::Path as ObjectPath;
use object_store::{ObjectStore, ObjectStoreExt};
use url::Url;

use super::remote::RemoteRead;
use super::unit::data_extension;

/// A file as a listing shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Found {
    /// Path relative to the root of the place.
    pub path: String,
    /// Size in bytes.
    pub size: u64,
    /// What changes when the file changes: the etag of an object, the modification time (nanoseconds) of a local file.
    pub stamp: String,
    /// Modification time in microseconds since 1970, UTC.
    pub modified_us: i64,
}

/// What a look into a place showed.
#[derive(Debug, Default)]
pub(crate) struct Listing {
    /// The files, in natural order of their paths.
    pub files: Vec<Found>,
    /// What lies there and cannot be a landing file, with the reason.
    pub odd: Vec<(String, String)>,
}

/// A place where landing files lie.
#[derive(Clone)]
pub(crate) struct Place {
    shown: String,
    root: Root,
    select: Option<Pattern>,
}

#[derive(Clone)]
enum Root {
    Local(PathBuf),
    LocalFile(PathBuf),
    Remote { store: Arc<dyn ObjectStore>, prefix: ObjectPath },
}

/// The places of one source, in the order in which they were given.
#[derive(Clone)]
pub(crate) struct Places(Arc<[Arc<Place>]>);

impl From<Vec<Arc<Place>>> for Places {
    fn from(places: Vec<Arc<Place>>) -> Self {
        Self(places.into())
    }
}

impl Places {
    /// The place in which a file lies: the first that has it, or `None` if there is no place at all. Blocks where there
    /// are several.
    pub fn holding(&self, path: &str) -> Option<&Place> {
        let has = |place: &&Arc<Place>| self.0.len() == 1 || matches!(place.look(path), Ok(Some(_)));
        self.0.iter().find(has).or(self.0.first()).map(Arc::as_ref)
    }
}

/// Why landing files cannot be looked for in a place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum PlaceError {
    /// There is no such file or folder.
    Absent,
    /// What is there, or the text, cannot be used: why, for people.
    Unfit(String),
}

impl From<String> for PlaceError {
    fn from(reason: String) -> Self {
        Self::Unfit(reason)
    }
}

/// `*` stays within a folder, `**` crosses folders.
const GLOB: MatchOptions =
    MatchOptions { case_sensitive: true, require_literal_separator: true, require_literal_leading_dot: true };

impl Place {
    /// Understands `text`: a URL, or a path (relative ones start at `base`, a folder or a URL) to a folder, a file, or a
    /// glob.
    ///
    /// # Errors
    /// [`PlaceError`]; of a place on an object store nothing is asked yet.
    pub fn parse(text: &str, base: &Path, storage: &BTreeMap<String, String>) -> Result<Self, PlaceError> {
        if let Some(path) = text.strip_prefix("file://") {
            return Self::local(text, Path::new(path));
        }
        if text.contains("://") {
            return Ok(Self::remote(text, storage)?);
        }
        let base_text = base.to_string_lossy();
        if base_text.contains("://") && !Path::new(text).is_absolute() {
            return Self::parse(&format!("{}/{text}", base_text.trim_end_matches('/')), Path::new("/"), storage);
        }
        Self::local(text, &base.join(text))
    }

    fn local(shown: &str, path: &Path) -> Result<Self, PlaceError> {
        let place = |root, select| Ok(Self { shown: shown.to_owned(), root, select });
        match fs::metadata(path) {
            Ok(meta) if meta.is_dir() => {
                let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
                if data_extension(&name) {
                    return Err(format!(
                        "is a folder that is named like a file; to load the files in it write {shown}/*"
                    )
                    .into());
                }
                place(Root::Local(path.to_owned()), None)
            }
            Ok(meta) if meta.is_file() => place(Root::LocalFile(path.to_owned()), None),
            Ok(_) => Err("is neither a file nor a folder".to_owned().into()),
            Err(_) if has_glob(path) => {
                let (root, pattern) = split_glob(&path.to_string_lossy());
                let pattern = Pattern::new(&pattern).map_err(|e| format!("is no glob: {e}"))?;
                if !Path::new(&root).exists() {
                    return Err(PlaceError::Absent);
                }
                if !Path::new(&root).is_dir() {
                    return Err(format!("{root} is not a folder").into());
                }
                place(Root::Local(PathBuf::from(root)), Some(pattern))
            }
            Err(e) if e.kind() == io::ErrorKind::NotFound => Err(PlaceError::Absent),
            Err(e) => Err(plain(&e).into()),
        }
    }

    fn remote(shown: &str, storage: &BTreeMap<String, String>) -> Result<Self, String> {
        let (text, pattern) = if shown.contains(['*', '?', '[']) {
            let (root, pattern) = split_glob(shown);
            (root, Some(Pattern::new(&pattern).map_err(|e| format!("is no glob: {e}"))?))
        } else {
            (shown.to_owned(), None)
        };
        let url = Url::parse(&text).map_err(|e| format!("is no URL: {e}"))?;
        let (store, prefix) = match url.scheme() {
            "s3" | "s3a" => {
                let prefix = ObjectPath::from_url_path(url.path()).map_err(|e| e.to_string())?;
                (store::open_bucket(&url, storage).map_err(|e| e.to_string())?, prefix)
            }
            _ => {
                let (store, prefix) = object_store::parse_url(&url).map_err(|e| e.to_string())?;
                (Arc::from(store), prefix)
            }
        };
        Ok(Self { shown: shown.to_owned(), root: Root::Remote { store, prefix }, select: pattern })
    }

    /// A place under `prefix` of a store.
    #[cfg(test)]
    pub fn of_store(store: Arc<dyn ObjectStore>, prefix: &str) -> Self {
        Self { shown: prefix.to_owned(), root: Root::Remote { store, prefix: ObjectPath::from(prefix) }, select: None }
    }

    /// The place as the user wrote it.
    pub fn shown(&self) -> &str {
        &self.shown
    }

    /// What lies there now; hidden names and those that end in `.tmp` or `.part` are left out.
    ///
    /// # Errors
    /// The root cannot be listed.
    pub async fn list(&self) -> Result<Listing, String> {
        let mut listing = match &self.root {
            Root::Remote { store, prefix } => list_remote(store, prefix).await?,
            Root::Local(root) => {
                let root = root.clone();
                joined(tokio::task::spawn_blocking(move || list_local(&root)).await)?
            }
            Root::LocalFile(path) => {
                let path = path.clone();
                joined(tokio::task::spawn_blocking(move || list_one(&path)).await)?
            }
        };
        if let Some(pattern) = &self.select {
            listing.files.retain(|file| pattern.matches_with(&file.path, GLOB));
            listing.odd.retain(|(path, _)| pattern.matches_with(path, GLOB));
        }
        let mut keyed: Vec<_> = listing.files.into_iter().map(|file| (natural_key(&file.path), file)).collect();
        keyed.sort_by(|a, b| a.0.cmp(&b.0));
        listing.files = keyed.into_iter().map(|(_, file)| file).collect();
        Ok(listing)
    }

    /// Opens a file from its start. Call it, and read, on a thread that may block.
    ///
    /// # Errors
    /// The file cannot be opened; for objects also if its etag is not `stamp` any more.
    pub fn open(&self, path: &str, size: u64, stamp: &str) -> io::Result<Box<dyn Read + Send>> {
        match &self.root {
            Root::Local(root) => Ok(Box::new(open_file(&root.join(path))?)),
            Root::LocalFile(file) => Ok(Box::new(open_file(file)?)),
            Root::Remote { store, prefix } => {
                let location = ObjectPath::parse(joined_path(prefix, path)).map_err(io::Error::other)?;
                Ok(Box::new(RemoteRead::new(Arc::clone(store), location, size, stamp)))
            }
        }
    }

    /// Size and stamp as they are now; `None` if the file is gone.
    pub fn look(&self, path: &str) -> io::Result<Option<(u64, String)>> {
        let meta = match &self.root {
            Root::Local(root) => fs::metadata(root.join(path)),
            Root::LocalFile(file) => fs::metadata(file),
            Root::Remote { store, prefix } => {
                let location = ObjectPath::parse(joined_path(prefix, path)).map_err(io::Error::other)?;
                return match tokio::runtime::Handle::current().block_on(store.head(&location)) {
                    Ok(meta) => Ok(Some((meta.size, remote_stamp(&meta)))),
                    Err(object_store::Error::NotFound { .. }) => Ok(None),
                    Err(e) => Err(io::Error::other(e)),
                };
            }
        };
        match meta {
            Ok(meta) => Ok(Some((meta.len(), stamp_of(&meta).0))),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(e),
        }
    }
}

fn joined<T>(result: Result<Result<T, String>, tokio::task::JoinError>) -> Result<T, String> {
    result.unwrap_or_else(|e| Err(e.to_string()))
}

fn open_file(path: &Path) -> io::Result<fs::File> {
    let file = fs::File::open(path)?;
    if file.metadata()?.is_dir() {
        return Err(io::Error::other("is a folder, not a file"));
    }
    Ok(file)
}

/// Modification time as a stamp (nanoseconds) and in microseconds.
fn stamp_of(meta: &fs::Metadata) -> (String, i64) {
    let since = meta.modified().ok().and_then(|t| t.duration_since(UNIX_EPOCH).ok()).unwrap_or_default();
    (since.as_nanos().to_string(), i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
}

fn remote_stamp(meta: &object_store::ObjectMeta) -> String {
    meta.e_tag.clone().unwrap_or_else(|| meta.last_modified.timestamp_micros().to_string())
}

fn list_one(path: &Path) -> Result<Listing, String> {
    let meta = fs::metadata(path).map_err(|e| plain(&e))?;
    let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    let (stamp, modified_us) = stamp_of(&meta);
    Ok(Listing { files: vec![Found { path: name, size: meta.len(), stamp, modified_us }], odd: Vec::new() })
}

fn list_local(root: &Path) -> Result<Listing, String> {
    let mut listing = Listing::default();
    let mut seen_links = HashSet::new();
    let mut folders = vec![(root.to_owned(), String::new())];
    while let Some((folder, prefix)) = folders.pop() {
        let entries = match fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(e) if prefix.is_empty() => return Err(plain(&e)),
            Err(e) => {
                listing
                    .odd
                    .push((prefix.trim_end_matches('/').to_owned(), format!("folder cannot be read: {}", plain(&e))));
                continue;
            }
        };
        for entry in entries {
            let entry = entry.map_err(|e| plain(&e))?;
            let name = entry.file_name();
            let Some(name) = name.to_str() else {
                listing.odd.push((format!("{prefix}{}", name.to_string_lossy()), "name is not UTF-8".to_owned()));
                continue;
            };
            if is_unfinished(name) {
                continue;
            }
            let path = format!("{prefix}{name}");
            // A link is followed: `metadata` of the entry itself would describe the link.
            let is_link = entry.file_type().is_ok_and(|kind| kind.is_symlink());
            let meta = if is_link { fs::metadata(entry.path()) } else { entry.metadata() };
            match meta {
                Ok(meta) if meta.is_dir() && data_extension(name) => {
                    listing.odd.push((path, "is a folder that is named like a file".to_owned()));
                }
                Ok(meta) if meta.is_dir() => {
                    let new = !is_link || fs::canonicalize(entry.path()).is_ok_and(|real| seen_links.insert(real));
                    if new {
                        folders.push((entry.path(), format!("{path}/")));
                    }
                }
                Ok(meta) if meta.is_file() => {
                    let (stamp, modified_us) = stamp_of(&meta);
                    listing.files.push(Found { path, size: meta.len(), stamp, modified_us });
                }
                Ok(_) => listing.odd.push((path, "is neither a file nor a folder".to_owned())),
                // It went away between the listing and the look: not there.
                Err(e) if e.kind() == io::ErrorKind::NotFound && !is_link => {}
                Err(e) => listing.odd.push((path, plain(&e))),
            }
        }
    }
    Ok(listing)
}

async fn list_remote(store: &Arc<dyn ObjectStore>, prefix: &ObjectPath) -> Result<Listing, String> {
    let mut listing = Listing::default();
    let mut objects = store.list(Some(prefix));
    while let Some(meta) = objects.try_next().await.map_err(|e| e.to_string())? {
        let relative = relative(&meta.location, prefix);
        if relative.is_empty() || relative.split('/').any(is_unfinished) {
            continue;
        }
        listing.files.push(Found {
            path: relative,
            size: meta.size,
            stamp: remote_stamp(&meta),
            modified_us: meta.last_modified.timestamp_micros(),
        });
    }
    if listing.files.is_empty() && !prefix.as_ref().is_empty() {
        // The prefix itself may name one object.
        match store.head(prefix).await {
            Ok(meta) => {
                let name = prefix.filename().unwrap_or_default().to_owned();
                let modified_us = meta.last_modified.timestamp_micros();
                listing.files.push(Found { path: name, size: meta.size, stamp: remote_stamp(&meta), modified_us });
            }
            Err(object_store::Error::NotFound { .. }) => {}
            Err(e) => return Err(e.to_string()),
        }
    }
    Ok(listing)
}

fn relative(location: &ObjectPath, prefix: &ObjectPath) -> String {
    let location = location.as_ref();
    let prefix = prefix.as_ref();
    location.strip_prefix(prefix).unwrap_or(location).trim_start_matches('/').to_owned()
}

/// The path of an object in the store. A prefix that names the object itself is followed by its own file name.
fn joined_path(prefix: &ObjectPath, path: &str) -> String {
    let prefix_text = prefix.as_ref();
    if prefix.filename() == Some(path) && data_extension(path) {
        return prefix_text.to_owned();
    }
    if prefix_text.is_empty() { path.to_owned() } else { format!("{prefix_text}/{path}") }
}

/// Hidden, or still being written.
fn is_unfinished(name: &str) -> bool {
    name.starts_with('.') || name.ends_with(".tmp") || name.ends_with(".part")
}

fn has_glob(path: &Path) -> bool {
    path.to_string_lossy().contains(['*', '?', '['])
}

/// Splits before the first part that holds a wildcard: the folder to list, and the pattern of paths below it.
fn split_glob(text: &str) -> (String, String) {
    let first = text.find(['*', '?', '[']).unwrap_or(text.len());
    match text[..first].rfind('/') {
        Some(0) => ("/".to_owned(), text[1..].to_owned()),
        Some(slash) => (text[..slash].to_owned(), text[slash + 1..].to_owned()),
        None => (".".to_owned(), text.to_owned()),
    }
}

/// An I/O error without its number.
pub(crate) fn plain(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "there is no such file or folder".to_owned(),
        io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        _ => error.to_string(),
    }
}

/// A key whose byte order is the natural order of `text`: runs of digits compare as numbers.
pub(crate) fn natural_key(text: &str) -> Vec<u8> {
    let bytes = text.as_bytes();
    let mut key = Vec::with_capacity(bytes.len() + 8);
    let mut at = 0;
    while at < bytes.len() {
        if !bytes[at].is_ascii_digit() {
            key.push(bytes[at]);
            at += 1;
            continue;
        }
        let end = bytes[at..].iter().position(|b| !b.is_ascii_digit()).map_or(bytes.len(), |n| at + n);
        let digits = &bytes[at..end];
        let zeros = digits.iter().take_while(|b| **b == b'0').count().min(digits.len() - 1);
        key.push(b'0');
        key.extend_from_slice(&u32::try_from(digits.len() - zeros).unwrap_or(u32::MAX).to_be_bytes());
        key.extend_from_slice(&digits[zeros..]);
        at = end;
    }
    // Paths that differ only in leading zeros still have one order.
    key.push(0);
    key.extend_from_slice(bytes);
    key
}

#[cfg(test)]
mod tests {
    use object_store::PutPayload;
    use object_store::memory::InMemory;

    use super::*;

    fn write(root: &Path, path: &str) {
        let path = root.join(path);
        fs::create_dir_all(path.parent().expect("below the root")).expect("a temp folder");
        fs::write(path, "x\n").expect("a temp file");
    }

    async fn listed(place: &Place) -> Vec<String> {
        let listing = place.list().await.expect("listed");
        listing.files.into_iter().map(|file| file.path).collect()
    }

    #[tokio::test]
    async fn a_folder_is_listed_deeply_in_natural_order_without_unfinished_names() {
        let root = tempfile::tempdir().expect("a temp folder");
        for path in ["f10.csv", "f9.csv", "sub/f1.csv", ".hidden.csv", "x.csv.tmp", "y.part", ".sub/z.csv"] {
            write(root.path(), path);
        }
        fs::create_dir(root.path().join("dir.csv")).expect("a folder");
        let place = Place::parse(&root.path().to_string_lossy(), Path::new("/"), &BTreeMap::new()).expect("a folder");
        assert_eq!(listed(&place).await, ["f9.csv", "f10.csv", "sub/f1.csv"]);
        let odd = place.list().await.expect("listed").odd;
        assert_eq!(odd, [("dir.csv".to_owned(), "is a folder that is named like a file".to_owned())]);
    }

    #[tokio::test]
    async fn one_file_and_a_glob_have_paths_below_their_folder() {
        let root = tempfile::tempdir().expect("a temp folder");
        for path in ["a/one.csv", "a/two.csv", "a/three.ndjson", "a/deep/four.csv"] {
            write(root.path(), path);
        }
        let parse = |text: &str| Place::parse(text, root.path(), &BTreeMap::new()).expect("a place");
        assert_eq!(listed(&parse("a/one.csv")).await, ["one.csv"]);
        assert_eq!(listed(&parse("a/*.csv")).await, ["one.csv", "two.csv"]);
        assert_eq!(listed(&parse("a/**/*.csv")).await, ["deep/four.csv", "one.csv", "two.csv"]);
        assert_eq!(listed(&parse("*/deep/*")).await, ["a/deep/four.csv"]);
    }

    #[test]
    fn what_is_no_place_says_why() {
        let root = tempfile::tempdir().expect("a temp folder");
        fs::create_dir(root.path().join("dir.csv.gz")).expect("a folder");
        let error = |text: &str| Place::parse(text, root.path(), &BTreeMap::new()).err().expect("no place");
        assert_eq!(error("nowhere"), PlaceError::Absent);
        assert_eq!(error("nowhere/*.csv"), PlaceError::Absent);
        let reason = |text: &str| match error(text) {
            PlaceError::Unfit(reason) => reason,
            PlaceError::Absent => panic!("{text} is there"),
        };
        assert!(
            reason("dir.csv.gz").starts_with("is a folder that is named like a file; to load the files in it write ")
        );
        assert!(reason("gopher://x/y").contains("gopher"));
    }

    #[test]
    fn relative_places_start_at_a_url_too() {
        let storage = BTreeMap::from([("AWS_REGION".to_owned(), "eu-1".to_owned())]);
        let place = Place::parse("landing/pos", Path::new("s3://bucket/shop/"), &storage).expect("a place");
        assert_eq!(place.shown(), "s3://bucket/shop/landing/pos");
        assert!(matches!(place.root, Root::Remote { .. }));
    }

    #[test]
    fn a_folder_on_the_way_that_may_not_be_read_is_not_absent() {
        let root = tempfile::tempdir().expect("a temp folder");
        write(root.path(), "file");
        // Not a folder: something is there, and it is wrong.
        let error = Place::parse("file/in", root.path(), &BTreeMap::new()).err().expect("no place");
        assert!(matches!(error, PlaceError::Unfit(_)), "{error:?}");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn objects_are_read_by_their_relative_paths() {
        let store = Arc::new(InMemory::new());
        let big = vec![b'z'; 20 << 20];
        for (path, bytes) in
            [("in/d/a.csv", b"1\n".to_vec()), ("in/big.csv", big.clone()), ("in/.no", vec![1]), ("out/b", vec![2])]
        {
            store.put(&ObjectPath::from(path), PutPayload::from(bytes)).await.expect("in memory");
        }
        let place = Place::of_store(store, "in");
        let files = place.list().await.expect("listed").files;
        assert_eq!(files.iter().map(|f| f.path.as_str()).collect::<Vec<_>>(), ["big.csv", "d/a.csv"]);
        let (one, file) = (place.clone(), files[0].clone());
        let read = tokio::task::spawn_blocking(move || {
            let mut bytes = Vec::new();
            one.open(&file.path, file.size, &file.stamp)?.read_to_end(&mut bytes)?;
            let now = one.look(&file.path)?;
            let gone = one.look("d/none.csv")?;
            // Another etag is another object: the read must fail.
            let other = one.open(&file.path, file.size, "\"other\"")?.read(&mut [0; 8]);
            Ok::<_, io::Error>((bytes, now == Some((file.size, file.stamp)), gone, other.is_err()))
        });
        let (bytes, same, gone, refused) = read.await.expect("no panic").expect("read");
        assert!(bytes == big && same && gone.is_none() && refused);
    }

    #[test]
    fn natural_order_compares_numbers_by_value() {
        let mut names = vec!["a10", "a9", "a009", "a", "b1", "a9b", "a99999999999999999999"];
        names.sort_by_key(|name| natural_key(name));
        assert_eq!(names, ["a", "a009", "a9", "a9b", "a10", "a99999999999999999999", "b1"]);
    }
}
