//! Buffers of batches, used again and again: memory that is new to the process costs more than to copy records into it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use crate::records::BATCH_BYTES;

/// Buffers that are kept for the batches to come.
const KEPT_BUFFERS: usize = 4;
/// The largest buffer that is kept.
const KEPT_BYTES: usize = 2 * BATCH_BYTES;

/// Buffers of batches that were decoded.
#[derive(Debug, Default)]
pub(crate) struct Buffers(Mutex<Vec<Vec<u8>>>);

impl Buffers {
    /// An empty buffer for about so many bytes.
    pub(crate) fn take(&self, bytes: usize) -> Vec<u8> {
        // With room for what comes behind the limit of a batch: a buffer that grows is a new one, of twice the size.
        self.lock().pop().unwrap_or_else(|| Vec::with_capacity(bytes + bytes / 8))
    }

    /// Keeps a buffer that nobody reads.
    pub(crate) fn put(&self, mut buffer: Vec<u8>) {
        let mut kept = self.lock();
        if kept.len() < KEPT_BUFFERS && buffer.capacity() <= KEPT_BYTES {
            buffer.clear();
            kept.push(buffer);
        }
    }

    /// The bytes of a buffer, which comes back when nobody reads them any more.
    pub(crate) fn lend(self: &Arc<Self>, buffer: Vec<u8>) -> Bytes {
        Bytes::from_owner(Lent { buffer, home: Arc::clone(self) })
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Vec<u8>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Lent {
    buffer: Vec<u8>,
    home: Arc<Buffers>,
}

impl AsRef<[u8]> for Lent {
    fn as_ref(&self) -> &[u8] {
        &self.buffer
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        self.home.put(std::mem::take(&mut self.buffer));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_comes_back_when_its_last_reader_is_gone() {
        let buffers = Arc::new(Buffers::default());
        let mut buffer = buffers.take(100);
        buffer.extend_from_slice(b"records");
        let address = buffer.as_ptr();
        let bytes = buffers.lend(buffer);
        let part = bytes.slice(2..4);
        drop(bytes);
        let other = buffers.take(0);
        assert_ne!(other.as_ptr(), address, "it is still read");
        assert_eq!(part.as_ref(), b"co");
        drop(part);
        let again = buffers.take(0);
        assert_eq!((again.as_ptr(), again.len()), (address, 0));
    }

    #[test]
    fn few_are_kept_and_no_large_ones() {
        let buffers = Buffers::default();
        buffers.put(Vec::with_capacity(KEPT_BYTES + 1));
        assert_eq!(buffers.take(0).capacity(), 0);
        (0..KEPT_BUFFERS + 1).for_each(|_| buffers.put(Vec::with_capacity(10)));
        let kept = (0..KEPT_BUFFERS + 1).filter(|_| buffers.take(0).capacity() > 0).count();
        assert_eq!(kept, KEPT_BUFFERS);
    }
}
