//! Vacuum: removes data files that no kept version names.

use std::collections::HashSet;
use std::time::Duration;

use futures::{StreamExt, TryStreamExt};
use object_store::ObjectStore;
use object_store::path::Path;
use percent_encoding::percent_decode_str;

use super::{VacuumPolicy, VacuumReport};
use crate::error::{Result, StoreError};
use crate::log::{self, action};
use crate::table::Table;

/// Orphans are kept at least this long, because a writer commits files that are up to 24 h old.
const LEAST_FOR_ORPHANS: Duration = Duration::from_secs(48 * 3600);

fn ms(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

pub(crate) async fn vacuum(table: &Table, policy: &VacuumPolicy) -> Result<VacuumReport> {
    let now = table.lake().now_ms();
    // Listed before the head is read: a file that a commit brings meanwhile is then live, or younger than the cutoff.
    let listed = list(table).await?;
    let head = table.refresh().await?;
    let orphans_before = now.saturating_sub(ms(policy.orphans_after.max(LEAST_FOR_ORPHANS)));
    let removed_before = now.saturating_sub(ms(policy.tombstones_after));
    let mut needed: HashSet<String> = HashSet::new();
    for version in &policy.keep_versions {
        let kept = table.snapshot_at(*version).await?;
        needed.extend(kept.files().map(|file| file.path.to_string()));
    }
    // Consumers that read on from the oldest kept version need the files that were added and removed since.
    if let Some(oldest) = policy.keep_versions.iter().min() {
        needed.extend(named_since(table, *oldest, head.version()).await?);
    }
    let root = log::table_root(table.name());
    let mut report = VacuumReport::default();
    let mut doomed = Vec::new();
    for file in listed {
        let Some(path) = file.location.as_ref().strip_prefix(root.as_ref()).and_then(|p| p.strip_prefix('/')) else {
            continue;
        };
        if !is_data(path, &head.meta().partition_columns) {
            continue;
        }
        report.seen += 1;
        let written = file.last_modified.timestamp_millis();
        let is_doomed = match head.tombstones.get(path) {
            _ if head.files.contains(path) || needed.contains(path) => false,
            Some(tombstone) => tombstone.deleted_ms < removed_before,
            // Change data is in no state: it goes with the history that names it.
            None if path.starts_with("_change_data/") => written < removed_before.min(orphans_before),
            None => written < orphans_before,
        };
        if is_doomed {
            report.bytes += file.size;
            report.removed.push(path.to_string());
            doomed.push(file.location.clone());
        }
    }
    if !policy.dry_run {
        remove(table, doomed).await?;
    }
    Ok(report)
}

/// Whether a file holds rows. Names that start with `_` are the log's and other writers', except for change data and for
/// the folders of a partition column, as Bronze's `_status` is one.
fn is_data(path: &str, partition_columns: &[String]) -> bool {
    let is_ours = |folder: &str| {
        let column = folder.split_once('=').map(|(column, _)| percent_decode_str(column).decode_utf8_lossy());
        folder == "_change_data" || column.is_some_and(|column| partition_columns.iter().any(|known| *known == column))
    };
    path.ends_with(".parquet")
        && (!path.starts_with('_') || path.split_once('/').is_some_and(|(first, _)| is_ours(first)))
}

async fn list(table: &Table) -> Result<Vec<object_store::ObjectMeta>> {
    let root = log::table_root(table.name());
    let listed = table.lake().store().list(Some(&root)).try_collect().await;
    listed.map_err(|e| StoreError::storage("list", &root, e))
}

/// Paths of all files that the commits after a version name, as far as their log is kept.
async fn named_since(table: &Table, from: i64, to: i64) -> Result<Vec<String>> {
    use deltalake_core::kernel::Action;
    let store = table.lake().store().as_ref();
    let commits = log::load::read_range(store, table.name(), from + 1, to + 1).await?;
    let mut paths = Vec::new();
    for (version, bytes) in (from + 1..).zip(commits) {
        let Some(bytes) = bytes else { continue };
        for action in action::parse(table.name(), log::commit_path(table.name(), version).as_ref(), &bytes)? {
            match action {
                Action::Add(add) => paths.push(add.path),
                Action::Remove(remove) => paths.push(remove.path),
                Action::Cdc(cdc) => paths.push(cdc.path),
                _ => {}
            }
        }
    }
    Ok(paths)
}

async fn remove(table: &Table, doomed: Vec<Path>) -> Result<()> {
    let root = log::table_root(table.name());
    let mut gone = table.lake().store().delete_stream(futures::stream::iter(doomed.into_iter().map(Ok)).boxed());
    while let Some(result) = gone.next().await {
        match result {
            Ok(_) | Err(object_store::Error::NotFound { .. }) => {}
            Err(e) => return Err(StoreError::storage("remove files of", &root, e)),
        }
    }
    Ok(())
}
