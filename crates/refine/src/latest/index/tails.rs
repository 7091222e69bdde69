//! What is read of segments before their blocks, in memory: for a run that asks the same index again and again.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

/// Memory of all tails: those of a hundred and sixty million entries.
const MOST_BYTES: usize = 256 << 20;

/// Filters and directories of segments, by name. They were checked when they were read, and a segment never changes.
#[derive(Debug, Default)]
pub(in crate::latest) struct Tails(Mutex<HashMap<String, Bytes>>);

impl Tails {
    fn lock(&self) -> MutexGuard<'_, HashMap<String, Bytes>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn get(&self, segment: &str) -> Option<Bytes> {
        self.lock().get(segment).cloned()
    }

    /// Whether so many bytes may come in.
    pub(super) fn has_room(&self, bytes: u64) -> bool {
        self.lock().values().map(Bytes::len).sum::<usize>() as u64 + bytes <= MOST_BYTES as u64
    }

    pub(super) fn put(&self, segment: &str, bytes: Bytes) {
        self.lock().insert(segment.to_owned(), bytes);
    }

    /// Forgets segments.
    pub(super) fn remove<'a>(&self, segments: impl Iterator<Item = &'a str>) {
        let mut tails = self.lock();
        segments.for_each(|segment| drop(tails.remove(segment)));
    }
}
