//! A table at one version: everything that a reader or a committer needs to know, in memory.

use std::fmt;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use chrono::{DateTime, Utc};
use datafusion::catalog::TableProvider;
use datafusion::prelude::Expr;
use schema::TableName;

use crate::error::Result;
use crate::file::{DataFile, Tombstone};
use crate::lake::Lake;
use crate::map::PersistentMap;
use crate::meta::TableMeta;
use crate::provider::LakeFiles;

/// A table at one version. Snapshots of one table share what they have in common, so that keeping several is cheap.
#[derive(Clone)]
pub struct Snapshot {
    pub(crate) lake: Lake,
    pub(crate) version: i64,
    pub(crate) meta: Arc<TableMeta>,
    pub(crate) files: PersistentMap<Arc<DataFile>>,
    pub(crate) tombstones: PersistentMap<Tombstone>,
    pub(crate) txns: PersistentMap<i64>,
    pub(crate) bytes: u64,
    /// When this version was last seen to be the head, milliseconds since 1970 UTC by the lake's clock.
    pub(crate) confirmed_ms: i64,
    /// The newest checkpoint at or below this version that is known of, -1 for none.
    pub(crate) checkpoint: i64,
    /// The attempt that made this version, if Smelt did and it is not read from a checkpoint.
    pub(crate) commit_id: Option<Arc<str>>,
    /// When this version was committed, by its writer's clock, milliseconds since 1970 UTC; 0 if not known.
    pub(crate) committed_ms: i64,
    /// The newest version that changed rows; one read from a checkpoint counts as such, as that does not tell.
    pub(crate) rows_changed_at: i64,
}

impl fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Snapshot({} at {}, {} files)", self.meta.table, self.version, self.files.len())
    }
}

impl Snapshot {
    /// The table's version.
    pub fn version(&self) -> i64 {
        self.version
    }

    /// The table's name.
    pub fn table(&self) -> &TableName {
        &self.meta.table
    }

    /// What the table is at this version: id, schema, partition columns, properties.
    pub fn meta(&self) -> &Arc<TableMeta> {
        &self.meta
    }

    /// Delta's id of the table.
    pub fn id(&self) -> &str {
        &self.meta.id
    }

    /// All columns in order: strings are `Utf8`, timestamps `Timestamp(Microsecond, "UTC")`. What a scan gives has
    /// string views instead, see [`crate::read_schema`].
    pub fn schema(&self) -> &SchemaRef {
        &self.meta.schema
    }

    /// Names of the partition columns.
    pub fn partition_columns(&self) -> &[String] {
        &self.meta.partition_columns
    }

    /// The fingerprint of the model that the table is kept by.
    pub fn fingerprint(&self) -> Option<&str> {
        self.meta.fingerprint()
    }

    /// How far an input is consumed (ENGINE.md, rule 1).
    pub fn txn(&self, input: &str) -> Option<i64> {
        self.txns.get(input).copied()
    }

    /// How far each input is consumed, in the order of their ids.
    pub fn txns(&self) -> impl Iterator<Item = (&str, i64)> {
        self.txns.iter().map(|(input, position)| (input.as_ref(), *position))
    }

    /// The live files in the order of their paths, which within a partition is the order in which they were written.
    pub fn files(&self) -> impl Iterator<Item = &Arc<DataFile>> {
        self.files.values()
    }

    /// Number of live files.
    pub fn file_count(&self) -> usize {
        self.files.len()
    }

    /// A live file by its path.
    pub fn file(&self, path: &str) -> Option<&Arc<DataFile>> {
        self.files.get(path)
    }

    /// Bytes of the live files.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Rows of the live files; `None` if some file does not say.
    pub fn rows(&self) -> Option<u64> {
        self.files().map(|file| file.rows(&self.meta)).sum()
    }

    /// When this version was committed, by its writer's clock. `None` when it was read from a checkpoint.
    pub fn committed_at(&self) -> Option<DateTime<Utc>> {
        DateTime::from_timestamp_millis(self.committed_ms).filter(|_| self.committed_ms > 0)
    }

    /// Files that were removed and are not vacuumed, with when.
    pub fn tombstones(&self) -> impl Iterator<Item = (&Arc<str>, &Tombstone)> {
        self.tombstones.iter()
    }

    /// A scan of all live files.
    pub fn provider(&self) -> Arc<dyn TableProvider> {
        self.provider_of(self.files().cloned().collect())
    }

    /// A scan of all live files, of which each thread reads a part: the rows come in any order.
    pub fn provider_in_any_order(&self) -> Arc<dyn TableProvider> {
        let files = self.files().cloned().collect();
        Arc::new(LakeFiles::new(self.lake.clone(), self.meta.clone(), files).in_any_order())
    }

    /// A scan of exactly these files, whether they are live, staged or already removed.
    pub fn provider_of(&self, files: Vec<Arc<DataFile>>) -> Arc<dyn TableProvider> {
        Arc::new(LakeFiles::new(self.lake.clone(), self.meta.clone(), files))
    }

    /// A scan of this file, live, staged or already removed, for its rows at these places, ascending, of which the first is 0.
    /// Where the log does not say how many rows it has, all of them come.
    pub fn provider_of_rows(&self, file: Arc<DataFile>, rows: &[u64]) -> Arc<dyn TableProvider> {
        Arc::new(LakeFiles::new(self.lake.clone(), self.meta.clone(), vec![file]).only(rows))
    }

    /// The live files that may hold rows for which all filters are true, by partition values and statistics.
    ///
    /// # Errors
    /// When a filter names a column that the table does not have.
    pub fn prune_files(&self, filters: &[Expr]) -> Result<Vec<Arc<DataFile>>> {
        LakeFiles::new(self.lake.clone(), self.meta.clone(), self.files().cloned().collect()).prune(filters)
    }
}
