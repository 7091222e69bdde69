//! Clean-up of the log.
//!
//! Commits below a checkpoint are removed once they are old and no consumer needs them, oldest first and one at a time:
//! so, whenever a commit is still there, all later ones are too. Readers and writers rely on that to tell the head of the
//! log from a hole in it (see `log::load`). A consumer that was given up finds its next commit gone, so it can never read
//! on over a gap.

use std::time::Duration;

use futures::TryStreamExt;
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt};

use super::{CleanPolicy, CleanReport};
use crate::error::{Result, StoreError};
use crate::log::{self, LogFile, checkpoint};
use crate::table::Table;

/// Commits are kept at least this long, far longer than the time after which a snapshot counts as stale.
const LEAST: Duration = Duration::from_secs(3600);

pub(crate) async fn clean_log(table: &Table, policy: &CleanPolicy) -> Result<CleanReport> {
    let store = table.lake().store();
    let before =
        |span: Duration| table.lake().now_ms().saturating_sub(i64::try_from(span.as_millis()).unwrap_or(i64::MAX));
    let keep_for = policy.keep_for.max(LEAST);
    let (cutoff, too_late) = (before(keep_for), before(policy.most_lag.max(keep_for)));
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
    let old = |file: &ObjectMeta| file.last_modified.timestamp_millis() < cutoff;
    let is_given_up = |consumed: i64| match commits.binary_search_by_key(&(consumed + 1), |(version, _)| *version) {
        Ok(next) => {
            let is_near = commits.last().is_some_and(|(newest, _)| newest - consumed <= policy.near);
            !is_near && commits[next].1.last_modified.timestamp_millis() < too_late
        }
        // Before all that there is: an earlier clean-up has removed it.
        Err(place) => place == 0 && !commits.is_empty(),
    };
    let consumers = policy.consumed.iter().copied().filter(|consumed| !is_given_up(*consumed));
    let readable = consumers.chain(policy.keep_after).fold(hint.version, i64::min);
    // One whose own commit is the next of a consumer that was given up would leave it the changes, but not their files.
    let is_floor = |version: &i64| *version <= readable && !policy.consumed.contains(&(version - 1));
    let floor = checkpoints.iter().rfind(|(version, file)| is_floor(version) && old(file));
    let gone = |oldest: Option<&(i64, &ObjectMeta)>| {
        let is_gone = |consumed: &i64| oldest.is_some_and(|(version, _)| consumed + 1 < *version);
        let mut gone: Vec<i64> = policy.consumed.iter().copied().filter(is_gone).collect();
        gone.sort_unstable();
        gone
    };
    report.gone = gone(commits.first());
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
    report.gone = gone(commits.get(report.commits));
    Ok(report)
}
