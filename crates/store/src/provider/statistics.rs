//! What a scan says of its rows before it runs: counts are exact, bounds are not (they hold, but need not be reached).

use std::sync::Arc;

use datafusion::common::stats::Precision;
use datafusion::common::{ColumnStatistics, ScalarValue, Statistics};

use super::LakeFiles;
use crate::file::DataFile;
use crate::meta::TableMeta;

/// Bounds of a scan are put together for up to this many files; beyond, planning would cost more than they gain.
const BOUNDED_FILES: usize = 1024;

/// Statistics of one file over the columns of a scan.
pub(super) fn of_file(files: &LakeFiles, file: &DataFile, partition: &[ScalarValue]) -> Arc<Statistics> {
    let width = files.scanned.table_schema().fields().len();
    let (known_width, known) = file.scan_stats.get_or_init(|| (width, Arc::new(build(files, file, partition))));
    if *known_width == width { known.clone() } else { Arc::new(build(files, file, partition)) }
}

fn build(files: &LakeFiles, file: &DataFile, partition: &[ScalarValue]) -> Statistics {
    let stats = file.stats(&files.meta);
    let rows = count(stats.rows);
    let in_file = files.scanned.file_schema().fields().iter().map(|field| {
        let known = stats.columns.get(field.name());
        let bound = |value: Option<&ScalarValue>| value.cloned().map_or(Precision::Absent, Precision::Inexact);
        ColumnStatistics {
            null_count: count(known.and_then(|column| column.nulls)),
            min_value: bound(known.and_then(|column| column.min.as_ref())),
            max_value: bound(known.and_then(|column| column.max.as_ref())),
            ..ColumnStatistics::new_unknown()
        }
    });
    let of_partition = partition.iter().map(|value| match value.is_null() {
        true => ColumnStatistics { null_count: rows, ..ColumnStatistics::new_unknown() },
        false => ColumnStatistics {
            null_count: Precision::Exact(0),
            min_value: Precision::Exact(value.clone()),
            max_value: Precision::Exact(value.clone()),
            ..ColumnStatistics::new_unknown()
        },
    });
    Statistics {
        num_rows: rows,
        total_byte_size: Precision::Absent,
        column_statistics: in_file.chain(of_partition).collect(),
    }
}

fn count(rows: Option<u64>) -> Precision<usize> {
    rows.and_then(|rows| usize::try_from(rows).ok()).map_or(Precision::Absent, Precision::Exact)
}

/// Statistics of a scan over files: the number of rows, and per column nulls and bounds.
pub(super) fn of_files(files: &LakeFiles, kept: &[(Arc<DataFile>, i32)]) -> Statistics {
    let mut whole = Statistics::new_unknown(files.scanned.table_schema());
    whole.num_rows = count(kept.iter().map(|(file, _)| file.rows(&files.meta)).sum());
    if kept.len() > BOUNDED_FILES {
        return whole;
    }
    let each: Vec<_> =
        kept.iter().map(|(file, sign)| of_file(files, file, &files.partition_values(file, *sign))).collect();
    for (at, column) in whole.column_statistics.iter_mut().enumerate() {
        let of = each.iter().map(|stats| &stats.column_statistics[at]);
        column.null_count = of.clone().map(|c| c.null_count).reduce(|a, b| a.add(&b)).unwrap_or(Precision::Absent);
        // A file of which nothing is known but that it is all null bounds nothing and is bounded by anything.
        let bounded =
            of.zip(&each).filter(|(c, stats)| c.null_count != stats.num_rows || c.min_value != Precision::Absent);
        let min = bounded.clone().map(|(c, _)| c.min_value.clone()).reduce(|a, b| a.min(&b));
        let max = bounded.map(|(c, _)| c.max_value.clone()).reduce(|a, b| a.max(&b));
        column.min_value = min.unwrap_or(Precision::Absent).to_inexact();
        column.max_value = max.unwrap_or(Precision::Absent).to_inexact();
    }
    whole
}

/// Drops files that a limit on rows makes unnecessary.
pub(super) fn cut_to(kept: &mut Vec<(Arc<DataFile>, i32)>, meta: &TableMeta, limit: u64) {
    let mut rows = 0;
    let enough = kept.iter().position(|(file, _)| {
        let before = rows;
        rows += file.rows(meta).unwrap_or(0);
        before >= limit
    });
    kept.truncate(enough.unwrap_or(kept.len()));
}
