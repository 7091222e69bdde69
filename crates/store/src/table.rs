//! One table: its head, its history, and the ways to change it.

use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use schema::TableName;

use crate::changes::{self, Changes};
use crate::commit::{self, Commit, Committed};
use crate::error::{Result, StoreError};
use crate::lake::Lake;
use crate::log::{checkpoint, load};
use crate::maintain::{self, CleanPolicy, CleanReport, CompactPolicy, CompactReport, VacuumPolicy, VacuumReport};
use crate::snapshot::Snapshot;
use crate::writer::{TableWriter, WriterOptions};

/// A table of a lake. Clones share the cached snapshots.
#[derive(Clone)]
pub struct Table {
    inner: Arc<Inner>,
}

struct Inner {
    lake: Lake,
    name: TableName,
    /// The last snapshots seen, ascending by version, never empty; the last is the head.
    recent: Mutex<VecDeque<Arc<Snapshot>>>,
    /// Commits of this process take turns: the loser of a race would only have to check again.
    turn: tokio::sync::Mutex<()>,
    checkpointing: AtomicBool,
    /// The newest checkpoint that this process wrote. A snapshot made while it was being written does not know of it.
    checkpoint: AtomicI64,
}

impl fmt::Debug for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Table({} at {})", self.inner.name, self.snapshot().version)
    }
}

impl Table {
    /// A table whose last snapshots are known; there must be one at least.
    pub(crate) fn new(lake: Lake, name: TableName, snapshots: Vec<Arc<Snapshot>>) -> Self {
        debug_assert!(!snapshots.is_empty());
        let inner = Inner {
            lake,
            name,
            recent: Mutex::new(snapshots.into()),
            turn: tokio::sync::Mutex::new(()),
            checkpointing: AtomicBool::new(false),
            checkpoint: AtomicI64::new(-1),
        };
        Self { inner: Arc::new(inner) }
    }

    /// The table's name.
    pub fn name(&self) -> &TableName {
        &self.inner.name
    }

    /// The lake that holds the table.
    pub fn lake(&self) -> &Lake {
        &self.inner.lake
    }

    /// The newest version that this process has seen. No I/O.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        let recent = self.inner.recent.lock().unwrap_or_else(PoisonError::into_inner);
        recent.back().cloned().expect("a table has at least one snapshot, see Table::new")
    }

    /// Remembers snapshots, ascending by version, as far as they are newer than the head (or confirm it).
    pub(crate) fn remember(&self, snapshots: impl IntoIterator<Item = Arc<Snapshot>>) {
        let mut recent = self.inner.recent.lock().unwrap_or_else(PoisonError::into_inner);
        for snapshot in snapshots {
            let head = recent.back().map_or(-1, |s| s.version);
            if snapshot.version == head {
                recent.pop_back();
            }
            if snapshot.version >= head {
                recent.push_back(snapshot);
            }
        }
        while recent.len() > load::KEPT {
            recent.pop_front();
        }
    }

    /// Reads on to the head of the log, by asking for the next version until there is none.
    ///
    /// # Errors
    /// When storage fails or the log is broken.
    pub async fn refresh(&self) -> Result<Arc<Snapshot>> {
        self.refresh_from(self.snapshot()).await
    }

    /// Reads on from a snapshot of this table.
    pub(crate) async fn refresh_from(&self, known: Arc<Snapshot>) -> Result<Arc<Snapshot>> {
        let asked_at = self.lake().now_ms();
        let seen = load::read_on(&known, None).await?;
        if !seen.is_empty() {
            self.remember(seen);
        } else if self.is_stale(&known)
            && !load::exists(self.lake().store().as_ref(), self.name(), known.version).await?
        {
            // The log has been cleaned up beyond what this process knows.
            let loaded = load::load(self.lake(), self.name(), None).await?;
            self.remember(loaded.ok_or_else(|| StoreError::NoSuchTable { table: self.name().clone() })?);
        } else {
            let mut confirmed = Snapshot::clone(&known);
            confirmed.confirmed_ms = asked_at;
            self.remember([Arc::new(confirmed)]);
        }
        Ok(self.snapshot())
    }

    /// Whether so much time has passed since this snapshot was known to be the head that the log after it may have been
    /// cleaned up. A clock that went back counts as much time.
    pub(crate) fn is_stale(&self, snapshot: &Snapshot) -> bool {
        let age = self.lake().now_ms() - snapshot.confirmed_ms;
        !(0..load::STALE_MS).contains(&age)
    }

    /// The table at a version. Costs nothing for the versions that this process saw last.
    ///
    /// # Errors
    /// [`StoreError::NoSuchVersion`] when it was never committed or its log is cleaned up.
    pub async fn snapshot_at(&self, version: i64) -> Result<Arc<Snapshot>> {
        let known = {
            let recent = self.inner.recent.lock().unwrap_or_else(PoisonError::into_inner);
            recent.iter().find(|s| s.version == version).cloned()
        };
        if let Some(snapshot) = known {
            return Ok(snapshot);
        }
        if version > self.snapshot().version && self.refresh().await?.version == version {
            return Ok(self.snapshot());
        }
        let loaded = load::load(self.lake(), self.name(), Some(version)).await?;
        let found = loaded.and_then(|seen| seen.into_iter().next_back());
        found.ok_or_else(|| StoreError::NoSuchVersion { table: self.name().clone(), version })
    }

    /// The signed rows that changed after version `from` (−1: since the beginning) up to and including version `to`.
    ///
    /// # Errors
    /// [`StoreError::HistoryGone`] when the log no longer reaches back to `from`; [`StoreError::UpstreamBehind`] when
    /// `from` or `to` is ahead of the table's head.
    pub async fn changes(&self, from: i64, to: i64) -> Result<Changes> {
        changes::between(self, from, to).await
    }

    /// A writer of files that nobody sees until they are committed.
    pub fn writer(&self, options: WriterOptions) -> TableWriter {
        TableWriter::new(self.lake().clone(), self.snapshot().meta.clone(), options)
    }

    /// A writer for a schema that a commit with a [`crate::MetadataChange`] is about to bring.
    ///
    /// # Errors
    /// [`StoreError::Incompatible`] when the change is refused beside live files and `rebuild` is false.
    pub fn writer_after(
        &self,
        change: &crate::MetadataChange,
        rebuild: bool,
        options: WriterOptions,
    ) -> Result<TableWriter> {
        let meta = crate::meta::changed(&self.snapshot().meta, change, rebuild)?;
        Ok(TableWriter::new(self.lake().clone(), Arc::new(meta), options))
    }

    /// Commits: durable and visible when it returns.
    ///
    /// A commit without effect ([`Commit::is_empty`]) is not written and returns the current version.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when another writer consumed the same inputs or removed the same files, and
    /// [`StoreError::FateUnknown`] when storage fails for good: in both cases drop the batch, refresh, and start again
    /// from the table. Files of a failed commit are left to vacuum, because the commit may have landed.
    pub async fn commit(&self, commit: Commit) -> Result<Committed> {
        let turn = self.inner.turn.lock().await;
        let done = commit::run(self, commit).await;
        drop(turn);
        if let Ok(done) = &done
            && self.checkpoint_is_due(&done.snapshot)
        {
            self.checkpoint_in_background();
        }
        done
    }

    /// Writes a checkpoint of the head, so that opening the table reads one file. Commits do this by themselves, in the
    /// background, when the log has grown long. Gives the version.
    ///
    /// # Errors
    /// When storage fails.
    pub async fn checkpoint(&self) -> Result<i64> {
        let head = self.refresh().await?;
        if self.last_checkpoint(&head) < head.version {
            self.write_checkpoint(head.clone()).await?;
        }
        Ok(head.version)
    }

    async fn write_checkpoint(&self, snapshot: Arc<Snapshot>) -> Result<()> {
        let version = snapshot.version;
        checkpoint::write(snapshot).await?;
        self.inner.checkpoint.fetch_max(version, Ordering::AcqRel);
        Ok(())
    }

    fn last_checkpoint(&self, snapshot: &Snapshot) -> i64 {
        snapshot.checkpoint.max(self.inner.checkpoint.load(Ordering::Acquire))
    }

    fn checkpoint_is_due(&self, snapshot: &Snapshot) -> bool {
        checkpoint::is_due(snapshot, self.last_checkpoint(snapshot))
    }

    fn checkpoint_in_background(&self) {
        if self.inner.checkpointing.swap(true, Ordering::AcqRel) {
            return;
        }
        let table = self.clone();
        self.lake().in_background(async move {
            let head = table.snapshot();
            if table.checkpoint_is_due(&head)
                && let Err(error) = table.write_checkpoint(head).await
            {
                // Nothing is lost: the next commit tries again.
                tracing::warn!(table = %table.name(), %error, "checkpoint failed");
            }
            table.inner.checkpointing.store(false, Ordering::Release);
        });
    }

    /// Writes small files together, without changing rows or their order within a partition.
    ///
    /// # Errors
    /// When storage fails. A conflict with another writer is no error: the files of that partition are left for the
    /// next time and counted in the report.
    pub async fn compact(&self, policy: &CompactPolicy) -> Result<CompactReport> {
        maintain::compact(self, policy).await
    }

    /// Removes commits and checkpoints of the log that nobody needs any more.
    ///
    /// # Errors
    /// When storage fails.
    pub async fn clean_log(&self, policy: &CleanPolicy) -> Result<CleanReport> {
        maintain::clean_log(self, policy).await
    }

    /// Removes data files that no kept version names.
    ///
    /// # Errors
    /// When storage fails.
    pub async fn vacuum(&self, policy: &VacuumPolicy) -> Result<VacuumReport> {
        maintain::vacuum(self, policy).await
    }
}
