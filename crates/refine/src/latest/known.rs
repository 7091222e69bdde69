//! What a run that follows knows from one cycle to the next: what it has stored last ([`Recent`]), and which entities are in
//! files that it has written or looked through: a filter for each file.
//!
//! The index says in which partition an entity is. A run that follows a busy stream adds to one partition all day, and
//! an event that is sent twice would have it look through all of that again, more of it at each cycle.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use store::{DataFile, Snapshot};

use super::index::{Filter, Tails};
use super::recent::Recent;
use crate::keyset::KeySet;

/// Memory of all filters: those of eighty million rows. The oldest ones go first: what is sent again mostly comes soon.
const MOST_BYTES: usize = 128 << 20;

/// What a filter takes beside its bits: its places in a map and in the order, and a path.
const ENTRY_BYTES: usize = 256;

/// Keys from which on files are looked through without asking their filters first.
const FEW: usize = 1 << 16;

/// What cycles leave to the cycles after them.
#[derive(Debug, Default)]
pub(crate) struct Known {
    filters: Mutex<Filters>,
    /// By definition of the index.
    recents: Mutex<HashMap<String, Recent>>,
    /// What indexes keep in memory.
    tails: Arc<Tails>,
}

fn size(filter: &Filter) -> usize {
    filter.bytes() + ENTRY_BYTES
}

/// Filters of data files. A file never changes, so its filter is right for as long as anybody reads the file.
#[derive(Debug, Default)]
struct Filters {
    bytes: usize,
    /// By definition of the index (which names the table and the entity), then by the file's path.
    tables: HashMap<Arc<str>, HashMap<Arc<str>, Filter>>,
    /// The tables and paths of all of them, in the order in which they came.
    order: VecDeque<(Arc<str>, Arc<str>)>,
}

impl Filters {
    /// Forgets the oldest filters, so that so many bytes fit into `most`.
    fn make_room(&mut self, bytes: usize, most: usize) {
        while self.bytes + bytes > most
            && let Some((table, path)) = self.order.pop_front()
        {
            let gone = self.tables.get_mut(&table).and_then(|known| known.remove(&path));
            self.bytes -= gone.map_or(0, |gone| size(&gone));
        }
    }

    fn add(&mut self, table: &str, path: &Arc<str>, filter: Filter) {
        let table = match self.tables.get_key_value(table) {
            Some((known, _)) => Arc::clone(known),
            None => Arc::from(table),
        };
        let known = self.tables.entry(Arc::clone(&table)).or_default();
        // A file does not change: what is there says the same.
        if !known.contains_key(path) {
            self.bytes += size(&filter);
            known.insert(Arc::clone(path), filter);
            self.order.push_back((table, Arc::clone(path)));
        }
    }
}

impl Known {
    fn lock(&self) -> MutexGuard<'_, Filters> {
        self.filters.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What indexes keep in memory.
    pub(super) fn tails(&self) -> &Arc<Tails> {
        &self.tails
    }

    /// Takes out what was stored last.
    pub(super) fn take(&self, table: &str) -> Option<Recent> {
        self.recents.lock().unwrap_or_else(PoisonError::into_inner).remove(table)
    }

    /// Does something to what was stored last, if it is known.
    pub(super) fn with_recent(&self, table: &str, work: impl FnOnce(&mut Recent)) {
        if let Some(recent) = self.recents.lock().unwrap_or_else(PoisonError::into_inner).get_mut(table) {
            work(recent);
        }
    }

    /// Keeps what was stored last.
    pub(super) fn put(&self, table: String, recent: Recent) {
        self.recents.lock().unwrap_or_else(PoisonError::into_inner).insert(table, recent);
    }

    /// Leaves out files that hold none of these keys, as far as is known.
    pub(super) fn narrow(&self, table: &str, files: &mut Vec<Arc<DataFile>>, wanted: &KeySet) {
        if wanted.len() > FEW {
            return;
        }
        let filters = self.lock();
        let Some(known) = filters.tables.get(table) else { return };
        let keys = wanted.between(0, u64::MAX);
        files.retain(|file| known.get(&file.path).is_none_or(|filter| keys.iter().any(|key| filter.may_hold(*key))));
    }

    /// Keeps what a file holds.
    pub(super) fn add(&self, table: &str, file: &DataFile, keys: Vec<u64>) {
        // Made without the lock: files are looked through side by side.
        let filter = Filter::of(keys);
        let mut filters = self.lock();
        filters.make_room(size(&filter), MOST_BYTES);
        filters.add(table, &file.path, filter);
    }

    /// Forgets the files of a table that are not live any more at a version of it.
    pub(super) fn tidy(&self, table: &str, at: &Snapshot) {
        let mut filters = self.lock();
        let filters = &mut *filters;
        let most = 2 * at.file_count() + 64;
        let Some(known) = filters.tables.get_mut(table).filter(|known| known.len() > most) else {
            return;
        };
        let live: HashSet<&Arc<str>> = at.files().map(|file| &file.path).collect();
        known.retain(|path, filter| {
            let is_live = live.contains(path);
            filters.bytes -= if is_live { 0 } else { size(filter) };
            is_live
        });
        filters.order.retain(|(of, path)| **of != *table || live.contains(path));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_filters_go_first() {
        let path = |n: u64| -> Arc<str> { Arc::from(format!("{n}.parquet")) };
        let filter = |n: u64| Filter::of((0..1_000).map(|key| key * 7 + n).collect());
        let size = size(&filter(0));
        let mut filters = Filters::default();
        for n in 0..10 {
            filters.make_room(size, 4 * size);
            filters.add("a table", &path(n), filter(n));
            filters.add("a table", &path(n), filter(n));
        }
        let left = |n: u64| filters.tables["a table"].contains_key(&path(n));
        assert_eq!((0..10).filter(|n| left(*n)).collect::<Vec<u64>>(), [6, 7, 8, 9]);
        assert_eq!((filters.bytes, filters.order.len()), (4 * size, 4));
        filters.make_room(5 * size, 4 * size);
        assert_eq!((filters.bytes, filters.order.len()), (0, 0));
    }
}
