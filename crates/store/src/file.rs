//! Data files as the log names them: path, partition values and statistics.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use datafusion::common::{ScalarValue, Statistics};

use crate::meta::TableMeta;

/// A Parquet file of a table: what its `add` action says.
#[derive(Debug)]
pub struct DataFile {
    /// Path relative to the table, `/` separated, as it is in storage (not URL-encoded).
    pub path: Arc<str>,
    /// Size in bytes.
    pub size: u64,
    /// One value per partition column of the table, in their order, in Delta's text form; `None` is null.
    pub partition_values: Vec<Option<String>>,
    /// When the file was written, milliseconds since 1970 UTC.
    pub modified_ms: i64,
    /// The statistics as Delta's JSON.
    pub stats_json: Option<Arc<str>>,
    /// For change data: the sign of its rows. Data files have none.
    pub sign: Option<i32>,
    /// The statistics, parsed on first use. A file belongs to one table and its column types never change, so that the
    /// first reading serves all.
    pub(crate) stats: OnceLock<FileStats>,
    /// The statistics in DataFusion's form, for the schema that has this many columns.
    pub(crate) scan_stats: OnceLock<(usize, Arc<Statistics>)>,
}

/// What is known of the rows of a file.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FileStats {
    /// Number of rows.
    pub rows: Option<u64>,
    /// By column name; only top-level columns.
    pub columns: HashMap<String, ColumnStats>,
}

/// What is known of one column of a file. Bounds hold for all values that are not null; they need not be reached.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ColumnStats {
    /// A lower bound.
    pub min: Option<ScalarValue>,
    /// An upper bound.
    pub max: Option<ScalarValue>,
    /// Number of nulls.
    pub nulls: Option<u64>,
}

/// A file that was removed but may still be read by older snapshots.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tombstone {
    /// When it was removed, milliseconds since 1970 UTC.
    pub deleted_ms: i64,
    /// Its size in bytes, if known.
    pub size: Option<u64>,
    /// Its partition values by column name, if known.
    pub partition_values: Option<Vec<(String, Option<String>)>>,
}

impl DataFile {
    /// A data file whose `stats_json` are the statistics of its rows, if they are known.
    pub fn new(
        path: impl Into<Arc<str>>,
        size: u64,
        partition_values: Vec<Option<String>>,
        modified_ms: i64,
        stats_json: Option<Arc<str>>,
    ) -> Self {
        Self {
            path: path.into(),
            size,
            partition_values,
            modified_ms,
            stats_json,
            sign: None,
            stats: OnceLock::new(),
            scan_stats: OnceLock::new(),
        }
    }

    /// Number of rows, if the writer said so.
    pub fn rows(&self, meta: &TableMeta) -> Option<u64> {
        self.stats(meta).rows
    }

    /// The statistics of the file, typed as the columns of the table are.
    pub fn stats(&self, meta: &TableMeta) -> &FileStats {
        self.stats.get_or_init(|| crate::log::stats::parse(self.stats_json.as_deref(), meta))
    }
}
