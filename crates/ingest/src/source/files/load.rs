//! Loads accepted landing files: their bytes to record batches, each file ended by its position.

use std::io::{self, Cursor, Read};
use std::sync::Arc;

use bytes::Bytes;
use schema::{Contract, Format};

use super::examine::{BLOCK, Hashed, SMALL, hex, read_whole};
use super::ledger::Entry;
use super::place::{Place, Places, plain};
use super::unit::{Compression, format_of};
use crate::IngestError;
use crate::decode::{HeaderError, Origin, SplitLimits, Splitter};
use crate::records::RawBatch;
use crate::source::{Begins, Event, Outlet, Reached, SourceError};

/// An accepted file that is to be loaded, with its bytes if they are still in memory.
pub(super) struct Load {
    pub entry: Entry,
    pub held: Option<Bytes>,
}

/// How a stretch of loading ended.
enum LoadEnd {
    /// All files were handed over.
    All,
    /// The file at this place of the list is not the accepted version any more.
    Gone { index: usize, reason: String },
}

/// Files that are being loaded in the order of their numbers.
pub(super) struct Loading {
    env: LoadEnv,
    loads: Arc<Vec<Load>>,
    next: usize,
}

impl Loading {
    /// Files to be loaded; nothing is read yet.
    pub fn new(env: LoadEnv, loads: Vec<Load>) -> Self {
        Self { env, loads: Arc::new(loads), next: 0 }
    }

    /// Loads until a file is not the accepted version any more, and returns it with the reason: it has to be withdrawn in
    /// the ledger before the next call, so that no position ever passes it in silence. `None`: all are handed over.
    ///
    /// # Errors
    /// When storage does not give the bytes of a file that is still there.
    pub async fn until_gone(&mut self) -> Result<Option<(Entry, String)>, SourceError> {
        let (loads, env, start) = (Arc::clone(&self.loads), self.env.clone(), self.next);
        let end = tokio::task::spawn_blocking(move || load(&env, &loads, start)).await;
        match end.map_err(|e| IngestError::Internal(format!("a reader died: {e}")))?? {
            LoadEnd::All => Ok(None),
            LoadEnd::Gone { index, reason } => {
                self.next = index + 1;
                Ok(Some((self.loads[index].entry.clone(), reason)))
            }
        }
    }
}

/// What loading needs to know.
#[derive(Clone)]
pub(super) struct LoadEnv {
    pub places: Places,
    pub contract: Arc<Contract>,
    pub input: Arc<str>,
    pub out: Outlet,
}

/// Why a file was not loaded.
enum Failure {
    Gone(String),
    Source(SourceError),
}

impl From<crate::source::Closed> for Failure {
    fn from(closed: crate::source::Closed) -> Self {
        Self::Source(closed.into())
    }
}

/// Hands over the files from `start` on, in order. Blocks.
///
/// # Errors
/// When storage does not give the bytes of a file that is still there.
fn load(env: &LoadEnv, loads: &[Load], start: usize) -> Result<LoadEnd, SourceError> {
    for (index, load) in loads.iter().enumerate().skip(start) {
        let done = match &load.held {
            Some(bytes) => small(env, &load.entry, bytes.clone()),
            None => from_storage(env, &load.entry),
        };
        match done {
            Ok(()) => {}
            Err(Failure::Gone(reason)) => return Ok(LoadEnd::Gone { index, reason }),
            Err(Failure::Source(error)) => return Err(error),
        }
    }
    Ok(LoadEnd::All)
}

fn from_storage(env: &LoadEnv, entry: &Entry) -> Result<(), Failure> {
    let no_place = || failed(env, entry, "the landing place in which it was accepted is not there".to_owned());
    let place = env.places.holding(&entry.path).ok_or_else(no_place)?;
    still_there(env, place, entry)?;
    let raw =
        place.open(&entry.path, entry.size, &entry.stamp).map_err(|error| unreadable(env, place, entry, &error))?;
    if entry.size > SMALL {
        return large(env, place, entry, raw);
    }
    let bytes = read_whole(raw, entry.size).map_err(|error| unreadable(env, place, entry, &error))?;
    if hex(xxhash_rust::xxh3::xxh3_128(&bytes)) != entry.hash {
        return Err(Failure::Gone(CHANGED.to_owned()));
    }
    small(env, entry, bytes)
}

const CHANGED: &str = "changed after it was accepted";
const VANISHED: &str = "vanished after it was accepted";

/// Why a file is surely not the version of its ledger row any more, as far as that shows without reading it. Blocks.
///
/// # Errors
/// When the place cannot tell.
pub(super) fn lost(place: &Place, entry: &Entry) -> io::Result<Option<&'static str>> {
    Ok(match place.look(&entry.path)? {
        None => Some(VANISHED),
        // The stamp alone says nothing: the hash tells whether the content is the accepted one.
        Some((size, _)) => (size != entry.size).then_some(CHANGED),
    })
}

fn still_there(env: &LoadEnv, place: &Place, entry: &Entry) -> Result<(), Failure> {
    match lost(place, entry) {
        Ok(None) => Ok(()),
        Ok(Some(reason)) => Err(Failure::Gone(reason.to_owned())),
        Err(error) => Err(failed(env, entry, plain(&error))),
    }
}

fn failed(env: &LoadEnv, entry: &Entry, reason: String) -> Failure {
    Failure::Source(SourceError::Failed(IngestError::Input {
        stream: env.contract.name.clone(),
        input: entry.path.clone(),
        reason,
    }))
}

/// An error in the middle: the file was replaced under us, or storage failed.
fn unreadable(env: &LoadEnv, place: &Place, entry: &Entry, error: &io::Error) -> Failure {
    match still_there(env, place, entry) {
        Err(gone @ Failure::Gone(_)) => gone,
        _ => failed(env, entry, plain(error)),
    }
}

/// A file whose bytes are known to be the accepted ones: nothing can be wrong with it any more.
fn small(env: &LoadEnv, entry: &Entry, bytes: Bytes) -> Result<(), Failure> {
    let mut first = [0; 4];
    let n = bytes.len().min(4);
    first[..n].copy_from_slice(&bytes[..n]);
    let mut splitting = Splitting::new(env, entry);
    let compression = Compression::of(&entry.path, &first);
    if compression == Compression::None {
        splitting.push(&bytes)?;
    } else {
        let raw = Box::new(Cursor::new(bytes));
        let text = compression.decode(raw).map_err(|error| failed(env, entry, compression.explain(&error)))?;
        splitting.push_all(text, BLOCK).map_err(|error| match error {
            Ended::Read(error) => failed(env, entry, compression.explain(&error)),
            Ended::Other(failure) => failure,
        })?;
    }
    splitting.finish()
}

/// A file that is decoded while it is read: its rows stand alone until its hash proves that it is the accepted one.
fn large(env: &LoadEnv, place: &Place, entry: &Entry, mut raw: Box<dyn Read + Send>) -> Result<(), Failure> {
    let mut first = [0; 4];
    raw.read_exact(&mut first).map_err(|error| unreadable(env, place, entry, &error))?;
    env.out.blocking_send(Event::Alone)?;
    let hashed = Hashed::new(Box::new(Cursor::new(first).chain(raw)));
    let hash = hashed.hash();
    let mut splitting = Splitting::new(env, entry);
    let compression = Compression::of(&entry.path, &first);
    let read = match compression.decode(hashed) {
        Ok(text) => splitting.push_all(text, BLOCK),
        Err(error) => Err(Ended::Read(error)),
    };
    let failure = match read {
        Ok(()) if hash.hex() == entry.hash => return splitting.finish(),
        Ok(()) => Failure::Gone(CHANGED.to_owned()),
        // Data that was whole when it was accepted and is not now has changed.
        Err(Ended::Read(_)) if compression != Compression::None => Failure::Gone(CHANGED.to_owned()),
        Err(Ended::Read(error)) => unreadable(env, place, entry, &error),
        Err(Ended::Other(failure)) => failure,
    };
    env.out.blocking_send(Event::Discard)?;
    Err(failure)
}

/// The header was judged when the file was accepted: one that fails now was judged by another contract.
fn unfit(error: &HeaderError) -> Failure {
    Failure::Gone(format!("was accepted by an earlier contract; by this one {error}"))
}

/// Why reading a text ended early.
enum Ended {
    Read(io::Error),
    Other(Failure),
}

/// Cuts one file into batches and keeps the last one back, so that it can carry the file's position.
struct Splitting<'a> {
    env: &'a LoadEnv,
    entry: &'a Entry,
    splitter: Splitter,
    last: Option<RawBatch>,
}

impl<'a> Splitting<'a> {
    fn new(env: &'a LoadEnv, entry: &'a Entry) -> Self {
        let files = env.contract.files.as_ref();
        let format = format_of(&entry.path, files.map_or(&Format::Ndjson, |files| &files.format));
        let arrived_at = env.contract.arrival_of(&entry.path).unwrap_or(entry.modified_us);
        let origin = Origin {
            source: format!("files:{}", entry.path).into(),
            partition: i32::try_from(entry.number).unwrap_or(i32::MAX),
            arrived_at,
        };
        let splitter = Splitter::new(&env.contract, format, origin, SplitLimits::default());
        Self { env, entry, splitter, last: None }
    }

    fn push_all(&mut self, mut text: Box<dyn Read + Send>, block: usize) -> Result<(), Ended> {
        let mut buffer = vec![0; block];
        loop {
            let mut filled = 0;
            while filled < buffer.len() {
                match text.read(&mut buffer[filled..]) {
                    Ok(0) => break,
                    Ok(n) => filled += n,
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) => return Err(Ended::Read(error)),
                }
            }
            if filled == 0 {
                return Ok(());
            }
            self.push(&buffer[..filled]).map_err(Ended::Other)?;
        }
    }

    fn push(&mut self, chunk: &[u8]) -> Result<(), Failure> {
        self.splitter.push(chunk).map_err(|error| unfit(&error))?;
        self.send_full()
    }

    fn send_full(&mut self) -> Result<(), Failure> {
        while let Some(batch) = self.splitter.take() {
            if let Some(full) = self.last.replace(batch) {
                self.env.out.blocking_send(Event::Records(full, None))?;
            }
        }
        Ok(())
    }

    fn finish(mut self) -> Result<(), Failure> {
        self.splitter.finish().map_err(|error| unfit(&error))?;
        self.send_full()?;
        let reached =
            Reached { input: Arc::clone(&self.env.input), from: Begins::AsAnswered, to: self.entry.number, skipped: 0 };
        let event = match self.last.take() {
            Some(batch) => Event::Records(batch, Some(reached)),
            None => Event::Reached(reached),
        };
        Ok(self.env.out.blocking_send(event)?)
    }
}
