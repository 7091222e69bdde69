//! Reads an object from its start as [`Read`], a range at a time, with the next range already on its way.

use std::io::{self, Read};
use std::sync::Arc;

use bytes::{Buf, Bytes};
use object_store::path::Path;
use object_store::{GetOptions, GetRange, ObjectStore};
use tokio::runtime::Handle;
use tokio::task::JoinHandle;

/// Bytes asked for at once: large enough that the round trip is a small part of it.
const RANGE: u64 = 8 << 20;

/// An object that is being read. Must be used on a thread that may block, inside a Tokio runtime.
pub(super) struct RemoteRead {
    store: Arc<dyn ObjectStore>,
    location: Path,
    size: u64,
    stamp: String,
    asked: u64,
    runtime: Handle,
    next: Option<JoinHandle<object_store::Result<Bytes>>>,
    current: Bytes,
}

impl RemoteRead {
    /// Starts to read `size` bytes of the object whose etag is `stamp`; a change of it fails the read.
    pub fn new(store: Arc<dyn ObjectStore>, location: Path, size: u64, stamp: &str) -> Self {
        let mut read = Self {
            store,
            location,
            size,
            stamp: stamp.to_owned(),
            asked: 0,
            runtime: Handle::current(),
            next: None,
            current: Bytes::new(),
        };
        read.ask();
        read
    }

    fn ask(&mut self) {
        if self.asked >= self.size {
            return;
        }
        let range = self.asked..(self.asked + RANGE).min(self.size);
        self.asked = range.end;
        let (store, location) = (Arc::clone(&self.store), self.location.clone());
        // A store without etags stamps with the modification time, which is no condition for a read.
        let if_match = self.stamp.parse::<i64>().is_err().then(|| self.stamp.clone());
        let options = GetOptions { if_match, range: Some(GetRange::Bounded(range)), ..Default::default() };
        self.next = Some(self.runtime.spawn(async move { store.get_opts(&location, options).await?.bytes().await }));
    }
}

impl Read for RemoteRead {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        while self.current.is_empty() {
            let Some(next) = self.next.take() else { return Ok(0) };
            let bytes = self.runtime.block_on(next).map_err(io::Error::other)?.map_err(io::Error::other)?;
            self.current = bytes;
            self.ask();
        }
        let n = out.len().min(self.current.len());
        self.current.copy_to_slice(&mut out[..n]);
        Ok(n)
    }
}

impl Drop for RemoteRead {
    fn drop(&mut self) {
        if let Some(next) = self.next.take() {
            next.abort();
        }
    }
}
