//! Clean-up of the log.
//!
//! Commits below a checkpoint are removed once they are old and no consumer needs them, oldest first and one at a time:
//! so, whenever a commit is still there, all later ones are too. Readers and writers rely on that to tell the head of the
//! log from a hole in it (see `log::load`).

use std::time::Duration;

use futures::TryStreamExt;
use object_store::{ObjectStore, ObjectStoreExt};

use super::{CleanPolicy, CleanReport};
use crate::error::{Result, StoreError};
use crate::log::{self, LogFile, checkpoint};
use crate::table::Table;

/// Commits are kept at least this long, far longer than the time after which a snapshot counts as stale.
const LEAST: Duration = Duration::from_secs(3600);

pub(crate) async fn clean_log(table: &Table, policy: &CleanPolicy) -> Result<CleanReport> {
    let store = table.lake().store();
    let keep_ms = i64::try_from(policy.keep_for.max(LEAST).as_millis()).unwrap_or(i64::MAX);
    let cutoff = table.lake().now_ms().saturating_sub(keep_ms);
    let mut report = CleanReport::default();
    let Some(hint) = checkpoint::read_hint(store.as_ref(), table.name()).await? else { return Ok(report) };

    let root = log::log_root(table.name());
    let failed = |e| StoreError::storage("list", &root, e);
    let files: Vec<_> = store.list(Some(&root)).try_collect().await.map_err(failed)?;
    let named = files.iter().filter_map(|file| Some((LogFile::of(file.location.filename()?), file)));
    let mut commits = Vec::new();
    let mut checkpoints = Vec::new();
    for (kind, file) in named {
        match kind {
            LogFile::Commit(version) => commits.push((version, file)),
            LogFile::Checkpoint(version) => checkpoints.push((version, file)),
            LogFile::Other => {}
        }
    }
    commits.sort_by_key(|(version, _)| *version);
    checkpoints.sort_by_key(|(version, _)| *version);

    // Readers start from a checkpoint: the newest one that is old enough is the floor, and its own commit stays. A version
    // that must stay readable needs one at or below it.
    let old = |file: &object_store::ObjectMeta| file.last_modified.timestamp_millis() < cutoff;
    let readable = hint.version.min(policy.keep_after.unwrap_or(i64::MAX));
    let floor = checkpoints.iter().rfind(|(version, file)| *version <= readable && old(file));
    let Some((floor, _)) = floor else { return Ok(report) };
    // Old checkpoints first: without its commits one would look like a head.
    for (_, file) in checkpoints.iter().filter(|(version, _)| *version < *floor) {
        store.delete(&file.location).await.map_err(|e| StoreError::storage("remove", &file.location, e))?;
        report.checkpoints += 1;
    }
    for (_, file) in commits.iter().take_while(|(version, file)| *version < *floor && old(file)) {
        store.delete(&file.location).await.map_err(|e| StoreError::storage("remove", &file.location, e))?;
        report.commits += 1;
    }
    Ok(report)
}
