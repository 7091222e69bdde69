//! What each commit of a table said of itself: who wants to reconcile counts reads it from the log.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use deltalake_core::kernel::Action;
use futures::{StreamExt, TryStreamExt};
use serde_json::{Map, Value};

use crate::error::Result;
use crate::log::{self, action};
use crate::table::Table;

/// Commits that are read at the same time; each is a small object.
const READS: usize = 16;

/// One commit, as the log tells it.
#[derive(Clone, Debug, PartialEq)]
pub struct HistoryEntry {
    /// The version that it made.
    pub version: i64,
    /// When, if it says so.
    pub at: Option<DateTime<Utc>>,
    /// What it did, for example `WRITE`.
    pub operation: String,
    /// Its notes ([`Commit::info`](crate::Commit)): counts, for example.
    pub info: Map<String, Value>,
    /// Rows of the data files that it added, by the values of the partition columns. Only data that it brought: the files
    /// of a compaction do not count.
    pub added_rows: BTreeMap<Vec<Option<String>>, u64>,
}

impl Table {
    /// The commits that the log still has, oldest first, up to the version that is known. A log that was cleaned up starts
    /// later than version 0.
    ///
    /// # Errors
    /// When a commit cannot be read.
    pub async fn history(&self) -> Result<Vec<HistoryEntry>> {
        self.history_after(-1).await
    }

    /// As [`Self::history`], without the commits up to and including version `after`.
    ///
    /// # Errors
    /// When a commit cannot be read.
    pub async fn history_after(&self, after: i64) -> Result<Vec<HistoryEntry>> {
        let head = self.snapshot();
        let store = self.lake().object_store();
        let first = after.saturating_add(1).max(0);
        let reads = (first..=head.version()).rev().map(|version| {
            let store = store.clone();
            async move {
                let bytes = log::read_commit(store.as_ref(), self.name(), version).await?;
                let path = log::commit_path(self.name(), version);
                bytes.map(|bytes| action::parse(self.name(), path.as_ref(), &bytes)).transpose().map(|it| (version, it))
            }
        });
        let mut reads = futures::stream::iter(reads).buffered(READS);
        let mut entries = Vec::new();
        // Backwards, so that the first gap is where the log was cleaned up.
        while let Some((version, Some(actions))) = reads.try_next().await? {
            entries.push(entry(head.meta(), version, actions));
        }
        entries.reverse();
        Ok(entries)
    }
}

fn entry(meta: &crate::TableMeta, version: i64, actions: Vec<Action>) -> HistoryEntry {
    let at = action::timestamp(&actions).and_then(DateTime::from_timestamp_millis);
    let mut entry =
        HistoryEntry { version, at, operation: String::new(), info: Map::new(), added_rows: BTreeMap::new() };
    for action in actions {
        match action {
            Action::CommitInfo(info) => {
                entry.operation = info.operation.unwrap_or_default();
                entry.info = info.info.into_iter().collect();
            }
            Action::Add(add) if add.data_change => {
                let file = action::data_file(meta, add);
                let rows = file.rows(meta).unwrap_or(0);
                *entry.added_rows.entry(file.partition_values.clone()).or_default() += rows;
            }
            _ => {}
        }
    }
    entry
}
