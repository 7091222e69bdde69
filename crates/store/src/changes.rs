//! The rows that changed between two versions of a table (ENGINE.md, rule 12).

use std::sync::Arc;

use datafusion::catalog::TableProvider;
use deltalake_core::kernel::Action;

use crate::error::{Result, StoreError};
use crate::file::DataFile;
use crate::lake::Lake;
use crate::log::{self, action};
use crate::meta::TableMeta;
use crate::provider::LakeFiles;
use crate::table::Table;

/// The column that [`Changes::provider`] adds: +1 for a row that came, −1 for one that went. Int32, not null.
pub const SIGN_COLUMN: &str = "_sign";

/// The signed set of rows that changed after one version up to and including another.
#[derive(Clone, Debug)]
pub struct Changes {
    pub(crate) lake: Lake,
    pub(crate) meta: Arc<TableMeta>,
    pub(crate) from: i64,
    pub(crate) to: i64,
    /// Files whose rows all came, and whose rows all went: data files, and change data files (which have a sign).
    pub(crate) files: Vec<(Arc<DataFile>, i32)>,
    pub(crate) reshaped: bool,
}

impl Changes {
    /// The version after which changes are counted, −1 for the beginning.
    pub fn from(&self) -> i64 {
        self.from
    }

    /// The last version whose changes are counted.
    pub fn to(&self) -> i64 {
        self.to
    }

    /// Whether no row changed.
    pub fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    /// Bytes of the files that tell what changed.
    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|(file, _)| file.size).sum()
    }

    /// Whether rows only came and none went, as in an append-only table.
    pub fn inserts_only(&self) -> bool {
        self.files.iter().all(|(_, sign)| *sign > 0)
    }

    /// Whether a commit replaced rows and the table's definition together: rows that went cannot be trusted to show all
    /// of their columns, because a partition column is not in its files.
    pub fn reshaped(&self) -> bool {
        self.reshaped
    }

    /// Files all of whose rows came, in the order of the commits.
    pub fn inserted_files(&self) -> Vec<Arc<DataFile>> {
        self.files.iter().filter(|(_, sign)| *sign > 0).map(|(file, _)| file.clone()).collect()
    }

    /// A scan of the changed rows: the table's columns and [`SIGN_COLUMN`] last.
    pub fn provider(&self) -> Arc<dyn TableProvider> {
        Arc::new(LakeFiles::signed(self.lake.clone(), self.meta.clone(), self.files.clone()))
    }

    /// A scan of the rows that came, without the sign: for upstreams that are append-only.
    pub fn inserts(&self) -> Arc<dyn TableProvider> {
        Arc::new(LakeFiles::new(self.lake.clone(), self.meta.clone(), self.inserted_files()))
    }
}

/// Reads what changed from the log.
pub(crate) async fn between(table: &Table, from: i64, to: i64) -> Result<Changes> {
    let mut head = table.snapshot();
    if from.max(to) > head.version {
        head = table.refresh().await?;
    }
    if from.max(to) > head.version {
        let (table, consumed) = (table.name().clone(), from.max(to));
        return Err(StoreError::UpstreamBehind { table, head: head.version, consumed });
    }
    let lake = || table.lake().clone();
    let changes = |meta: Arc<TableMeta>, files| Changes { lake: lake(), meta, from, to, files, reshaped: false };
    if from >= to {
        return Ok(changes(head.meta.clone(), Vec::new()));
    }
    let end = table.snapshot_at(to).await?;
    if from < 0 {
        // Everything is new: the files that are live are enough, and always there.
        let files = end.files().map(|file| (file.clone(), 1)).collect();
        return Ok(changes(end.meta.clone(), files));
    }
    let store = table.lake().store().as_ref();
    let commits = log::load::read_range(store, table.name(), from + 1, to + 1).await?;
    let mut files = Vec::new();
    let mut reshaped = false;
    for (version, bytes) in (from + 1..).zip(commits) {
        let Some(bytes) = bytes else {
            let oldest = log::load::oldest_commit(store, table.name()).await?.map(|version| version - 1);
            return Err(StoreError::HistoryGone { table: table.name().clone(), from, oldest });
        };
        let path = log::commit_path(table.name(), version);
        let actions = action::parse(table.name(), path.as_ref(), &bytes)?;
        let is_defined = actions.iter().any(|action| matches!(action, Action::Metadata(_)));
        reshaped |= is_defined && actions.iter().any(|a| matches!(a, Action::Remove(remove) if remove.data_change));
        files.extend(of_commit(&end.meta, path.as_ref(), actions)?);
    }
    Ok(Changes { reshaped, ..changes(end.meta.clone(), files) })
}

/// The files of one commit whose rows changed. Where a commit has change data, that alone says what changed.
fn of_commit(meta: &TableMeta, path: &str, actions: Vec<Action>) -> Result<Vec<(Arc<DataFile>, i32)>> {
    let mut changed = Vec::new();
    let mut files = Vec::new();
    for action in actions {
        match action {
            Action::Cdc(cdc) => {
                let file = action::data_file_of_change(meta, &cdc);
                let sign = file.sign.ok_or_else(|| StoreError::Corrupt {
                    table: meta.table.clone(),
                    path: path.to_string(),
                    message: format!(
                        "change data file {} was not written by smelt: rebuild what reads the table",
                        file.path
                    ),
                })?;
                changed.push((Arc::new(file), sign));
            }
            Action::Add(add) if add.data_change => files.push((Arc::new(action::data_file(meta, add)), 1)),
            Action::Remove(remove) if remove.data_change => {
                files.push((Arc::new(action::removed_file(meta, &remove)), -1))
            }
            _ => {}
        }
    }
    Ok(if changed.is_empty() { files } else { changed })
}
