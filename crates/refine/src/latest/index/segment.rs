//! Segments: up to a million entries in one immutable object, in order, that can be asked for a few keys.
//!
//! An object is its blocks, its filter and its directory, one after the other. The directory says of each block where it
//! begins, with which hash, and its checksum; then the checksums of the filter's pages. It is what a lookup reads first:
//! 16 bytes for 512 entries. Then come the pages of the filter, and of the keys that pass, the blocks.

use std::ops::Range;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use super::filter::Shape;
use super::pack::{self, BLOCK, Entry};
use super::tails::Tails;
use super::{IndexError, Objects};

/// Entries of a segment: what is sorted, encoded and checked at a time takes 16 MB.
pub(super) const SEGMENT: usize = 1 << 20;

/// Bytes of a block's place in the directory.
const PLACE: usize = 16;

/// An object of entries, as the manifest names it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Segment {
    /// Its name in the folder of runs.
    pub(super) name: String,
    pub(super) entries: u64,
    /// The least and the greatest hash.
    pub(super) first: u64,
    pub(super) last: u64,
    /// Bits of a partition's number.
    pub(super) partition_bits: u32,
    /// Where the filter begins; the blocks end there.
    pub(super) filter_at: u64,
    /// Where the directory begins; it ends with the object.
    pub(super) directory_at: u64,
    pub(super) bytes: u64,
    /// Of the directory.
    pub(super) checksum: u64,
}

/// Encodes entries, at least one, which are in order and without repetition. The name is to be given.
pub(super) fn encode(entries: &[Entry]) -> (Vec<u8>, Segment) {
    let (first, last) = (entries[0].0, entries[entries.len() - 1].0);
    let partition_bits = pack::width(entries.iter().map(|(_, partition)| u64::from(*partition)).max().unwrap_or(0));
    let mut bytes = Vec::with_capacity(entries.len() * 10);
    let mut directory = Vec::new();
    for block in entries.chunks(BLOCK) {
        let encoded = pack::encode(block, partition_bits);
        directory.extend_from_slice(&block[0].0.to_le_bytes());
        directory.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
        directory.extend_from_slice(&short(&encoded).to_le_bytes());
        bytes.extend_from_slice(&encoded);
    }
    let filter_at = bytes.len() as u64;
    let filter = Shape::new(entries.len() as u64, first, last).build(entries.iter().map(|(hash, _)| *hash));
    for page in filter.chunks(super::filter::PAGE) {
        directory.extend_from_slice(&short(page).to_le_bytes());
    }
    bytes.extend_from_slice(&filter);
    let directory_at = bytes.len() as u64;
    let checksum = xxh3_64(&directory);
    bytes.extend_from_slice(&directory);
    let (entries, length) = (entries.len() as u64, bytes.len() as u64);
    let name = String::new();
    let segment =
        Segment { name, entries, first, last, partition_bits, filter_at, directory_at, bytes: length, checksum };
    (bytes, segment)
}

fn short(bytes: &[u8]) -> u32 {
    xxh3_64(bytes) as u32
}

/// A segment's directory.
struct Directory<'a> {
    segment: &'a Segment,
    bytes: Bytes,
    shape: Shape,
}

impl<'a> Directory<'a> {
    /// Reads and checks what an object holds from `directory_at` on.
    fn new(segment: &'a Segment, bytes: Bytes) -> Result<Self, IndexError> {
        let shape = Shape::new(segment.entries, segment.first, segment.last.max(segment.first));
        let directory = Self { segment, bytes, shape };
        let length = directory.blocks() * PLACE + shape.bytes().div_ceil(super::filter::PAGE) * 4;
        let is_whole = directory.bytes.len() == length && xxh3_64(&directory.bytes) == segment.checksum;
        if is_whole { Ok(directory) } else { Err(IndexError::damaged(&segment.name, "its directory")) }
    }

    /// What was read and checked before.
    fn known(segment: &'a Segment, bytes: Bytes) -> Self {
        Self { segment, bytes, shape: Shape::new(segment.entries, segment.first, segment.last.max(segment.first)) }
    }

    fn blocks(&self) -> usize {
        (self.segment.entries as usize).div_ceil(BLOCK)
    }

    fn four(&self, at: usize) -> u32 {
        u32::from_le_bytes(self.bytes[at..at + 4].try_into().expect("four bytes"))
    }

    fn first(&self, block: usize) -> u64 {
        let at = block * PLACE;
        u64::from_le_bytes(self.bytes[at..at + 8].try_into().expect("eight bytes"))
    }

    fn range(&self, block: usize) -> Range<u64> {
        let begin = |block: usize| u64::from(self.four(block * PLACE + 8));
        let end = if block + 1 < self.blocks() { begin(block + 1) } else { self.segment.filter_at };
        begin(block)..end
    }

    /// The blocks that may hold a key: entries of one hash may go on into further blocks.
    fn holding(&self, key: u64) -> Range<usize> {
        let below = |wanted: &dyn Fn(u64) -> bool| {
            let (mut low, mut high) = (0, self.blocks());
            while low < high {
                let middle = (low + high) / 2;
                if wanted(self.first(middle)) { low = middle + 1 } else { high = middle }
            }
            low
        };
        below(&|first| first < key).saturating_sub(1)..below(&|first| first <= key)
    }

    fn page_range(&self, page: usize) -> Range<u64> {
        let bytes = self.shape.page_bytes(page);
        self.segment.filter_at + bytes.start as u64..self.segment.filter_at + bytes.end as u64
    }

    fn check_page(&self, page: usize, bytes: &[u8]) -> Result<(), IndexError> {
        let checksum = self.four(self.blocks() * PLACE + page * 4);
        if checksum == short(bytes) { Ok(()) } else { Err(IndexError::damaged(&self.segment.name, "its filter")) }
    }

    fn decode(&self, block: usize, bytes: &[u8], out: &mut Vec<Entry>) -> Result<(), IndexError> {
        let count = (self.segment.entries as usize - block * BLOCK).min(BLOCK);
        let damaged = || IndexError::damaged(&self.segment.name, "a block");
        if self.four(block * PLACE + 12) != short(bytes) {
            return Err(damaged());
        }
        pack::decode(bytes, self.first(block), count, self.segment.partition_bits, out).ok_or_else(damaged)
    }
}

/// All entries of a segment, in order.
///
/// # Errors
/// When the object cannot be read or is not what the manifest says.
pub(super) async fn read(objects: &Objects, segment: &Segment) -> Result<Vec<Entry>, IndexError> {
    let bytes = objects.read(&segment.name).await?;
    if bytes.len() as u64 != segment.bytes || segment.directory_at > segment.bytes {
        return Err(IndexError::damaged(&segment.name, "its length"));
    }
    let directory = Directory::new(segment, bytes.slice(segment.directory_at as usize..))?;
    let mut entries = Vec::with_capacity(segment.entries as usize);
    for block in 0..directory.blocks() {
        let range = directory.range(block);
        let part = bytes.get(range.start as usize..range.end as usize);
        let part = part.ok_or_else(|| IndexError::damaged(&segment.name, "a block's place"))?;
        directory.decode(block, part, &mut entries)?;
    }
    Ok(entries)
}

/// The entries of these keys, which are in order and within the segment's bounds. Reads the directory, and of the rest
/// only what the keys need; with `tails`, the filter as a whole, unless it is there already.
///
/// # Errors
/// As [`read`].
pub(super) async fn lookup(
    objects: &Objects,
    segment: &Segment,
    keys: &[u64],
    tails: Option<&Tails>,
) -> Result<Vec<Entry>, IndexError> {
    let (directory, keys) = match tail(objects, segment, tails).await? {
        Some((directory, filter)) => {
            let may_hold = |key: &u64| {
                let page = directory.shape.page_bytes(directory.shape.page(*key));
                directory.shape.may_hold(&filter[page], *key)
            };
            let keys: Vec<u64> = keys.iter().copied().filter(may_hold).collect();
            (directory, keys)
        }
        None => {
            let place = segment.directory_at..segment.bytes;
            let Some(bytes) = objects.read_parts(&segment.name, std::slice::from_ref(&place)).await?.pop() else {
                return Ok(Vec::new());
            };
            let directory = Directory::new(segment, bytes)?;
            let keys = passing(objects, &directory, keys).await?;
            (directory, keys)
        }
    };
    let mut blocks: Vec<usize> = keys.iter().flat_map(|key| directory.holding(*key)).collect();
    blocks.dedup();
    let ranges: Vec<Range<u64>> = blocks.iter().map(|block| directory.range(*block)).collect();
    let parts = objects.read_parts(&segment.name, &ranges).await?;
    let mut found = Vec::new();
    let mut entries = Vec::with_capacity(BLOCK);
    let mut wanted = keys.iter().copied().peekable();
    for (block, bytes) in blocks.into_iter().zip(parts) {
        entries.clear();
        directory.decode(block, &bytes, &mut entries)?;
        for entry in &entries {
            while wanted.next_if(|key| *key < entry.0).is_some() {}
            if wanted.peek() == Some(&entry.0) {
                found.push(*entry);
            }
        }
    }
    Ok(found)
}

/// The directory and the filter of a segment, from memory or to be kept there; `None` where there is no room for them.
async fn tail<'a>(
    objects: &Objects,
    segment: &'a Segment,
    tails: Option<&Tails>,
) -> Result<Option<(Directory<'a>, Bytes)>, IndexError> {
    let Some(tails) = tails else { return Ok(None) };
    let filter_bytes = segment.directory_at.saturating_sub(segment.filter_at) as usize;
    if let Some(bytes) = tails.get(&segment.name) {
        return Ok(Some((Directory::known(segment, bytes.slice(filter_bytes..)), bytes)));
    }
    let place = segment.filter_at..segment.bytes;
    if !tails.has_room(place.end.saturating_sub(place.start)) {
        return Ok(None);
    }
    let Some(bytes) = objects.read_parts(&segment.name, std::slice::from_ref(&place)).await?.pop() else {
        return Ok(None);
    };
    if bytes.len() < filter_bytes {
        return Err(IndexError::damaged(&segment.name, "its length"));
    }
    let directory = Directory::new(segment, bytes.slice(filter_bytes..))?;
    if filter_bytes != directory.shape.bytes() {
        return Err(IndexError::damaged(&segment.name, "the place of its filter"));
    }
    for (page, part) in bytes[..filter_bytes].chunks(super::filter::PAGE).enumerate() {
        directory.check_page(page, part)?;
    }
    tails.put(&segment.name, bytes.clone());
    Ok(Some((directory, bytes)))
}

/// The keys that the filter lets through.
async fn passing(objects: &Objects, directory: &Directory<'_>, keys: &[u64]) -> Result<Vec<u64>, IndexError> {
    let mut pages: Vec<usize> = keys.iter().map(|key| directory.shape.page(*key)).collect();
    pages.dedup();
    let ranges: Vec<Range<u64>> = pages.iter().map(|page| directory.page_range(*page)).collect();
    let parts = objects.read_parts(&directory.segment.name, &ranges).await?;
    let mut passing = Vec::new();
    let mut keys = keys.iter().copied().peekable();
    for (page, bytes) in pages.into_iter().zip(parts) {
        directory.check_page(page, &bytes)?;
        while let Some(key) = keys.next_if(|key| directory.shape.page(*key) == page) {
            if directory.shape.may_hold(&bytes, key) {
                passing.push(key);
            }
        }
    }
    Ok(passing)
}
