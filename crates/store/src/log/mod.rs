//! The transaction log: its files, its actions, and the one function that applies a commit to a snapshot.
//!
//! The same [`apply`](state::apply) serves the first load, the refresh and the check before a commit, so that they cannot
//! disagree.

pub(crate) mod action;
pub(crate) mod checkpoint;
pub(crate) mod load;
pub(crate) mod state;
pub(crate) mod stats;

use bytes::Bytes;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use schema::{Layer, TableName};

use crate::error::{Result, StoreError};

/// The folder of a table in the lake.
pub(crate) fn table_root(table: &TableName) -> Path {
    match table.layer {
        Layer::System => Path::from(format!("_smelt/{}", table.name)),
        layer => Path::from(format!("{layer}/{}", table.name)),
    }
}

/// The log's folder.
pub(crate) fn log_root(table: &TableName) -> Path {
    table_root(table).join("_delta_log")
}

/// The file of a commit.
pub(crate) fn commit_path(table: &TableName, version: i64) -> Path {
    log_root(table).join(format!("{version:020}.json"))
}

/// The file of a checkpoint.
pub(crate) fn checkpoint_path(table: &TableName, version: i64) -> Path {
    log_root(table).join(format!("{version:020}.checkpoint.parquet"))
}

/// The file that names the newest checkpoint.
pub(crate) fn last_checkpoint_path(table: &TableName) -> Path {
    log_root(table).join("_last_checkpoint")
}

/// What a file in the log's folder is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LogFile {
    Commit(i64),
    Checkpoint(i64),
    Other,
}

impl LogFile {
    /// Reads the name of a file in the log's folder.
    pub fn of(name: &str) -> Self {
        let (digits, rest) = name.split_at_checked(20).unwrap_or(("", ""));
        match (digits.parse(), rest) {
            (Ok(version), ".json") => Self::Commit(version),
            (Ok(version), ".checkpoint.parquet") => Self::Checkpoint(version),
            _ => Self::Other,
        }
    }
}

/// Reads an object whole; `None` when there is none.
pub(crate) async fn read(store: &dyn ObjectStore, path: &Path) -> Result<Option<Bytes>> {
    let result = match store.get(path).await {
        Ok(found) => found.bytes().await,
        Err(e) => Err(e),
    };
    match result {
        Ok(bytes) => Ok(Some(bytes)),
        Err(object_store::Error::NotFound { .. }) => Ok(None),
        Err(e) => Err(StoreError::storage("read", path, e)),
    }
}

/// Reads the bytes of a commit; `None` when there is none.
pub(crate) async fn read_commit(store: &dyn ObjectStore, table: &TableName, version: i64) -> Result<Option<Bytes>> {
    read(store, &commit_path(table, version)).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_log_files() {
        assert_eq!(LogFile::of("00000000000000000012.json"), LogFile::Commit(12));
        assert_eq!(LogFile::of("00000000000000000012.checkpoint.parquet"), LogFile::Checkpoint(12));
        for other in ["_last_checkpoint", "00000000000000000012.crc", "x", "0000000000000000001é.json"] {
            assert_eq!(LogFile::of(other), LogFile::Other, "{other}");
        }
    }
}
