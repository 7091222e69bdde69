//! Writing runs: entries are sorted by the million, and runs are merged so that there are few.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::time::Instant;

use super::manifest::Run;
use super::pack::Entry;
use super::segment::{self, SEGMENT, Segment};
use super::{IndexError, Objects};

/// Entries that are sorted at a time, 16 bytes each.
const SORTED: usize = 4 * SEGMENT;

/// Entries that leisurely writing takes between two rests: some milliseconds of work.
const AT_A_TIME: usize = SEGMENT / 32;

/// Gathers entries in any order into runs.
pub(super) struct Gatherer<'a> {
    objects: &'a Objects,
    entries: Vec<Entry>,
    sorted: usize,
    runs: Vec<Run>,
}

impl<'a> Gatherer<'a> {
    pub(super) fn new(objects: &'a Objects) -> Self {
        Self { objects, entries: Vec::new(), sorted: SORTED, runs: Vec::new() }
    }

    /// Adds the hashes of entities that a partition holds.
    pub(super) async fn add(&mut self, partition: u32, hashes: &[u64]) -> Result<(), IndexError> {
        self.entries.extend(hashes.iter().map(|hash| (*hash, partition)));
        if self.entries.len() >= self.sorted { self.flush().await } else { Ok(()) }
    }

    /// Adds entries.
    pub(super) async fn add_all(&mut self, entries: Vec<Entry>) -> Result<(), IndexError> {
        self.entries.extend(entries);
        if self.entries.len() >= self.sorted { self.flush().await } else { Ok(()) }
    }

    async fn flush(&mut self) -> Result<(), IndexError> {
        let mut entries = std::mem::take(&mut self.entries);
        let sorting = tokio::task::spawn_blocking(move || {
            entries.sort_unstable();
            entries.dedup();
            entries
        });
        let entries = sorting.await.map_err(|error| IndexError::Worker(error.to_string()))?;
        let mut writer = Writer::new(self.objects);
        for entry in entries {
            writer.push(entry).await?;
        }
        self.runs.push(writer.finish().await?);
        Ok(())
    }

    /// The entries as one run; `None` where there are none.
    pub(super) async fn finish(mut self) -> Result<Option<Run>, IndexError> {
        if !self.entries.is_empty() {
            self.flush().await?;
        }
        match self.runs.len() {
            0 | 1 => Ok(self.runs.pop()),
            _ => merge(self.objects, &self.runs).await.map(Some),
        }
    }
}

/// Merges the newest runs while the one before them is less than twice their size: so there are few runs, and each
/// entry is written again a few times only while the table grows to a hundred times its size.
pub(super) async fn settle(objects: &Objects, mut runs: Vec<Run>) -> Result<Vec<Run>, IndexError> {
    let Some(mut from) = runs.len().checked_sub(1) else { return Ok(runs) };
    let mut size = runs[from].entries();
    while from > 0 && runs[from - 1].entries() < 2 * size {
        from -= 1;
        size += runs[from].entries();
    }
    if from + 1 < runs.len() {
        let merged = merge(objects, &runs[from..]).await?;
        runs.truncate(from);
        runs.push(merged);
    }
    Ok(runs)
}

/// Writes several runs as one, a segment of each in memory at a time.
async fn merge(objects: &Objects, runs: &[Run]) -> Result<Run, IndexError> {
    let mut cursors: Vec<Cursor> = runs.iter().map(Cursor::new).collect();
    let mut heap = BinaryHeap::new();
    for (index, cursor) in cursors.iter_mut().enumerate() {
        heap.extend(cursor.next(objects).await?.map(|entry| Reverse((entry, index))));
    }
    let mut writer = Writer::new(objects);
    while let Some(Reverse((entry, index))) = heap.pop() {
        writer.push(entry).await?;
        heap.extend(cursors[index].next(objects).await?.map(|entry| Reverse((entry, index))));
    }
    writer.finish().await
}

/// Goes through a run.
struct Cursor {
    segments: VecDeque<Segment>,
    entries: std::vec::IntoIter<Entry>,
}

impl Cursor {
    fn new(run: &Run) -> Self {
        Self { segments: run.segments.iter().cloned().collect(), entries: Vec::new().into_iter() }
    }

    async fn next(&mut self, objects: &Objects) -> Result<Option<Entry>, IndexError> {
        loop {
            if let Some(entry) = self.entries.next() {
                return Ok(Some(entry));
            }
            let Some(segment) = self.segments.pop_front() else { return Ok(None) };
            self.entries = segment::read(objects, &segment).await?.into_iter();
        }
    }
}

/// Writes entries that come in order as segments, each of equal ones once.
struct Writer<'a> {
    objects: &'a Objects,
    entries: Vec<Entry>,
    run: Run,
    /// Since its last rest, if it takes any.
    since: Instant,
}

impl<'a> Writer<'a> {
    fn new(objects: &'a Objects) -> Self {
        Self { objects, entries: Vec::new(), run: Run::default(), since: Instant::now() }
    }

    async fn push(&mut self, entry: Entry) -> Result<(), IndexError> {
        if self.entries.last() == Some(&entry) {
            return Ok(());
        }
        if self.entries.len() == SEGMENT {
            self.flush().await?;
        }
        self.entries.push(entry);
        if self.entries.len().is_multiple_of(AT_A_TIME) {
            self.objects.rest(&mut self.since).await;
        }
        Ok(())
    }

    async fn flush(&mut self) -> Result<(), IndexError> {
        if self.entries.is_empty() {
            return Ok(());
        }
        let entries = std::mem::take(&mut self.entries);
        let encoding = tokio::task::spawn_blocking(move || segment::encode(&entries));
        let (bytes, mut segment) = encoding.await.map_err(|error| IndexError::Worker(error.to_string()))?;
        self.objects.put_segment(bytes, &mut segment).await?;
        self.run.segments.push(segment);
        Ok(())
    }

    async fn finish(mut self) -> Result<Run, IndexError> {
        self.flush().await?;
        Ok(self.run)
    }
}

#[cfg(test)]
mod tests;
