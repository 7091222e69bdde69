//! The look that decides whether a landing file is accepted: all of it is read once, and nothing of it is stored.

use std::io::{self, Cursor, Read};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use schema::{Contract, Format};
use xxhash_rust::xxh3::Xxh3;

use super::head::Head;
use super::place::{Found, Place, plain};
use super::unit::{Compression, format_of};
use crate::{FileOutcome, IngestError};

/// Files up to this size are read whole before anything of them is decoded.
pub(super) const SMALL: u64 = 8 << 20;

/// Bytes read at a time from a larger file: they are hashed and cut into records while they are in a core's cache.
pub(super) const BLOCK: usize = 256 << 10;

/// Files that are judged by one job.
const JOB_FILES: usize = 64;
/// Bytes after which a job takes no more files.
const JOB_BYTES: u64 = 16 << 20;

/// A file that is to be looked at.
pub(super) struct Look {
    pub place: Arc<Place>,
    pub found: Found,
    /// The contract that it is to fit; without one, as its name is not as a contract says, only its content is hashed.
    pub contract: Option<Arc<Contract>>,
    /// Whether its bytes are to be held, if it is small.
    pub hold: bool,
}

/// What a look at a file showed.
#[derive(Debug, Clone)]
pub(super) struct Examined {
    pub found: Found,
    /// XXH3-128 of the file's bytes, hex; empty if they could not all be read.
    pub hash: String,
    pub verdict: Verdict,
    /// The file's bytes, if they were to be held.
    pub held: Option<Bytes>,
}

/// Whether a file can be loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It can.
    Good,
    /// It holds nothing.
    Empty,
    /// Its content cannot be read as its contract says.
    Bad(String),
    /// It was read without a contract: only its hash is known.
    Hashed,
    /// The storage did not give its bytes: another look may.
    Unreadable(String),
    /// It changed while it was read: it is not finished.
    Changing,
}

impl Verdict {
    /// What a ledger says of a file that is not accepted, and why; `None` for the verdicts that say nothing lasting.
    pub fn refusal(&self) -> Option<(FileOutcome, &str)> {
        match self {
            Self::Good | Self::Hashed | Self::Changing => None,
            Self::Empty => Some((FileOutcome::Empty, "is empty")),
            Self::Bad(reason) | Self::Unreadable(reason) => Some((FileOutcome::Refused, reason)),
        }
    }
}

/// Reads and judges files on `threads` threads; the answers come in the order of the files.
///
/// # Errors
/// Only when a thread dies.
pub(super) async fn examine_all(looks: Vec<Look>, threads: usize) -> Result<Vec<Examined>, IngestError> {
    let (mut jobs, mut job, mut bytes) = (Vec::new(), Vec::new(), 0);
    for look in looks {
        bytes += look.found.size;
        job.push(look);
        if job.len() >= JOB_FILES || bytes >= JOB_BYTES {
            jobs.push(std::mem::take(&mut job));
            bytes = 0;
        }
    }
    jobs.push(job);
    let run = |job: Vec<Look>| tokio::task::spawn_blocking(move || job.into_iter().map(examine).collect::<Vec<_>>());
    let looked = futures::stream::iter(jobs.into_iter().map(run)).buffered(threads.max(1));
    let judged: Vec<Vec<Examined>> =
        looked.try_collect().await.map_err(|e| IngestError::Internal(format!("a reader died: {e}")))?;
    Ok(judged.into_iter().flatten().collect())
}

/// Reads a file and judges it. Blocks.
fn examine(look: Look) -> Examined {
    let Look { place, found, contract, hold } = look;
    let contract = contract.as_deref();
    let mut examined = Examined { found, hash: String::new(), verdict: Verdict::Good, held: None };
    let found = &examined.found;
    let raw = match place.open(&found.path, found.size, &found.stamp) {
        Ok(raw) => raw,
        Err(error) => {
            examined.verdict = Verdict::Unreadable(plain(&error));
            return examined;
        }
    };
    let result = if found.size <= SMALL {
        read_whole(raw, found.size).map(|bytes| {
            examined.hash = hex(xxhash_rust::xxh3::xxh3_128(&bytes));
            examined.verdict = judge(Box::new(Cursor::new(bytes.clone())), first_bytes(&bytes), found, contract);
            examined.held = hold.then_some(bytes);
        })
    } else {
        stream(raw, found, contract).map(|(hash, verdict)| {
            examined.hash = hash;
            examined.verdict = verdict;
        })
    };
    if let Err(error) = result {
        examined.verdict = Verdict::Unreadable(plain(&error));
    }
    let now = place.look(&examined.found.path);
    if !matches!(now, Ok(Some((size, stamp))) if size == examined.found.size && stamp == examined.found.stamp) {
        examined.verdict = Verdict::Changing;
        examined.held = None;
    }
    examined
}

/// All bytes of a small file; `size` is what the listing said and only a hint.
pub(super) fn read_whole(raw: Box<dyn Read + Send>, size: u64) -> io::Result<Bytes> {
    let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or(0) + 1);
    // A file that grew far beyond the listing is caught by the look after the read; it must not fill the memory.
    raw.take(size.saturating_add(1)).read_to_end(&mut bytes)?;
    Ok(Bytes::from(bytes))
}

fn first_bytes(bytes: &Bytes) -> [u8; 4] {
    let mut first = [0; 4];
    let n = bytes.len().min(4);
    first[..n].copy_from_slice(&bytes[..n]);
    first
}

fn stream(mut raw: Box<dyn Read + Send>, found: &Found, contract: Option<&Contract>) -> io::Result<(String, Verdict)> {
    let mut first = [0; 4];
    raw.read_exact(&mut first)?;
    let hashed = Hashed::new(Box::new(Cursor::new(first).chain(raw)));
    let hash = hashed.hash();
    let verdict = judge(Box::new(hashed), first, found, contract);
    let is_whole = matches!(verdict, Verdict::Good | Verdict::Hashed);
    Ok((if is_whole { hash.hex() } else { String::new() }, verdict))
}

/// Reads what is behind `raw` to its end, as text if there is a contract that it is to fit.
fn judge(raw: Box<dyn Read + Send>, first: [u8; 4], found: &Found, contract: Option<&Contract>) -> Verdict {
    let Some(contract) = contract else {
        return match drain(raw) {
            Ok(()) => Verdict::Hashed,
            Err(error) => Verdict::Unreadable(plain(&error)),
        };
    };
    let compression = Compression::of(&found.path, &first);
    let text = match compression.decode(raw) {
        Ok(text) => text,
        Err(error) => return Verdict::Bad(compression.explain(&error)),
    };
    let format = match &contract.files {
        Some(files) => format_of(&found.path, &files.format),
        None => format_of(&found.path, &Format::Ndjson),
    };
    let block = BLOCK.min(usize::try_from(found.size.max(64)).unwrap_or(BLOCK) * 4);
    match judge_text(text, Head::new(contract, format), block) {
        Ok(verdict) => verdict,
        Err(error) if compression == Compression::None => Verdict::Unreadable(plain(&error)),
        Err(error) => Verdict::Bad(compression.explain(&error)),
    }
}

/// Reads a text to its end: its head has to fit, its last line to be ended.
fn judge_text(mut text: Box<dyn Read + Send>, mut head: Head, block: usize) -> io::Result<Verdict> {
    let mut block = vec![0; block];
    let (mut length, mut last, mut has_newline) = (0u64, b'\n', false);
    loop {
        let n = match text.read(&mut block) {
            Ok(0) => break,
            Ok(n) => n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        length += n as u64;
        last = block[n - 1];
        has_newline = has_newline || memchr::memchr(b'\n', &block[..n]).is_some();
        if let Err(reason) = head.push(&block[..n]) {
            return Ok(Verdict::Bad(reason));
        }
    }
    if length == 0 {
        return Ok(Verdict::Empty);
    }
    // Where lines end in `\n` or `\r\n`, a carriage return at the end is half of a line end.
    if last != b'\n' && (last != b'\r' || has_newline) {
        return Ok(Verdict::Bad("the last line is not ended: the file may be incomplete".to_owned()));
    }
    Ok(head.finish().map_or_else(Verdict::Bad, |()| Verdict::Good))
}

fn drain(mut raw: Box<dyn Read + Send>) -> io::Result<()> {
    io::copy(&mut raw, &mut io::sink()).map(|_| ())
}

/// Lower-case hex of a content hash.
pub(super) fn hex(hash: u128) -> String {
    format!("{hash:032x}")
}

/// Hashes what is read through it.
pub(super) struct Hashed {
    inner: Box<dyn Read + Send>,
    state: RunningHash,
}

/// The hash of what was read so far.
#[derive(Clone)]
pub(super) struct RunningHash(Arc<Mutex<Xxh3>>);

impl RunningHash {
    /// The hash as hex.
    pub fn hex(&self) -> String {
        hex(self.0.lock().unwrap_or_else(PoisonError::into_inner).digest128())
    }
}

impl Hashed {
    /// Hashes what is read from `inner`.
    pub fn new(inner: Box<dyn Read + Send>) -> Self {
        Self { inner, state: RunningHash(Arc::new(Mutex::new(Xxh3::new()))) }
    }

    /// A handle on the hash.
    pub fn hash(&self) -> RunningHash {
        self.state.clone()
    }
}

impl Read for Hashed {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(out)?;
        self.state.0.lock().unwrap_or_else(PoisonError::into_inner).update(&out[..n]);
        Ok(n)
    }
}
