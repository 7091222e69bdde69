//! The look that decides whether a landing file is accepted: all of it is read once, and nothing of it is stored.

use std::io::{self, Cursor, Read};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use schema::{Contract, Format};
use xxhash_rust::xxh3::Xxh3;

use super::place::{Found, Place, plain};
use super::unit::{Compression, format_of};
use crate::decode::{Origin, SplitLimits, Splitter};

/// Files up to this size are read whole before anything of them is decoded.
pub(super) const SMALL: u64 = 8 << 20;

/// A header that is longer than this is judged when the file is loaded.
const HEADER_WITHIN: u64 = 64 << 10;

/// Bytes read at a time from a larger file.
pub(super) const BLOCK: usize = 4 << 20;

/// What a look at a file showed.
#[derive(Debug)]
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
    /// The storage did not give its bytes: another look may.
    Unreadable(String),
    /// It changed while it was read: it is not finished.
    Changing,
}

/// Reads a file and judges it. Blocks.
pub(super) fn examine(place: &Place, found: Found, contract: &Contract, hold: bool) -> Examined {
    let mut examined = Examined { found, hash: String::new(), verdict: Verdict::Good, held: None };
    let found = &examined.found;
    if let Some(pattern) = contract.files.as_ref().and_then(|files| files.date.as_deref())
        && contract.arrival_of(&found.path).is_none()
    {
        examined.verdict = Verdict::Bad(format!("the name states no date as {pattern} does"));
        return examined;
    }
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

fn stream(mut raw: Box<dyn Read + Send>, found: &Found, contract: &Contract) -> io::Result<(String, Verdict)> {
    let mut first = [0; 4];
    raw.read_exact(&mut first)?;
    let hashed = Hashed::new(Box::new(Cursor::new(first).chain(raw)));
    let hash = hashed.hash();
    let verdict = judge(Box::new(hashed), first, found, contract);
    Ok((if verdict == Verdict::Good { hash.hex() } else { String::new() }, verdict))
}

/// Reads the text behind `raw` to its end.
fn judge(raw: Box<dyn Read + Send>, first: [u8; 4], found: &Found, contract: &Contract) -> Verdict {
    let compression = Compression::of(&found.path, &first);
    let mut text = match compression.decode(raw) {
        Ok(text) => text,
        Err(error) => return Verdict::Bad(compression.explain(&error)),
    };
    let format = match &contract.files {
        Some(files) => format_of(&found.path, &files.format),
        None => format_of(&found.path, &Format::Ndjson),
    };
    let mut header = matches!(format, Format::Csv { .. }).then(|| header_check(contract, format));
    let mut block = vec![0; (256 << 10).min(usize::try_from(found.size.max(64)).unwrap_or(256 << 10) * 4)];
    let (mut length, mut last) = (0u64, b'\n');
    loop {
        let n = match text.read(&mut block) {
            Ok(0) => break,
            Ok(n) => n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) if compression == Compression::None => return Verdict::Unreadable(plain(&error)),
            Err(error) => return Verdict::Bad(compression.explain(&error)),
        };
        length += n as u64;
        last = block[n - 1];
        if let Some(splitter) = &mut header {
            if let Err(error) = splitter.push(&block[..n]) {
                return Verdict::Bad(error.to_string());
            }
            if length >= HEADER_WITHIN {
                header = None;
            }
        }
    }
    if length == 0 {
        return Verdict::Empty;
    }
    if let Some(mut splitter) = header
        && let Err(error) = splitter.finish()
    {
        return Verdict::Bad(error.to_string());
    }
    if last != b'\n' && last != b'\r' {
        return Verdict::Bad("the last line is not ended: the file may be incomplete".to_owned());
    }
    Verdict::Good
}

fn header_check(contract: &Contract, format: Format) -> Splitter {
    let origin = Origin { source: Arc::from(""), partition: 0, arrived_at: 0 };
    Splitter::new(contract, format, origin, SplitLimits::default())
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
