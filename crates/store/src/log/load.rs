//! Loading a table: the newest checkpoint, then the commits after it.

use std::sync::Arc;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use object_store::{ObjectStore, ObjectStoreExt};
use schema::TableName;

use super::{LogFile, action, checkpoint, commit_path, state};
use crate::error::{Result, StoreError};
use crate::lake::Lake;
use crate::snapshot::Snapshot;

/// Commits that are asked for at the same time while a long log is read.
const WINDOW: i64 = 32;

/// Snapshots that are kept of those passed on the way to the head: a release names versions near it.
pub(crate) const KEPT: usize = 16;

/// After this long without having been seen as the head, a snapshot's next version may have been committed *and* cleaned
/// up. Far below the least age at which clean-up removes commits.
pub(crate) const STALE_MS: i64 = 5 * 60 * 1000;

/// Loads a table at its head or at a version; `None` when it does not exist, or not at that version.
///
/// # Errors
/// When storage fails or the log is broken.
pub(crate) async fn load(lake: &Lake, table: &TableName, at: Option<i64>) -> Result<Option<Vec<Arc<Snapshot>>>> {
    let store = lake.store().as_ref();
    let mut from = checkpoint::read_hint(store, table).await?.map(|hint| hint.version);
    if from.is_some_and(|version| at.is_some_and(|at| at < version)) {
        from = newest_checkpoint(store, table, at).await?;
    }
    let Some(mut snapshot) = first(lake, table, from, at).await? else { return Ok(None) };
    let mut seen = read_on(&snapshot, at).await?;
    // A checkpoint whose own commit is gone lies below what was cleaned up: a slow writer left an old pointer.
    let alone = seen.is_empty() && snapshot.version > 0 && at.is_none();
    if alone && !exists(store, table, snapshot.version).await? {
        let newest = newest_checkpoint(store, table, at).await?;
        if newest.is_some_and(|version| version > snapshot.version) {
            let Some(newer) = first(lake, table, newest, at).await? else { return Ok(None) };
            snapshot = newer;
            seen = read_on(&snapshot, at).await?;
        }
    }
    if seen.is_empty() {
        seen.push(Arc::new(snapshot));
    }
    let reached = seen.last().map(|s| s.version);
    Ok((at.is_none() || at == reached).then_some(seen))
}

/// The snapshot that a checkpoint holds, or the first commit where there is none.
async fn first(lake: &Lake, table: &TableName, from: Option<i64>, at: Option<i64>) -> Result<Option<Snapshot>> {
    let store = lake.store().as_ref();
    if let Some(version) = from
        && let Some(snapshot) = read_checkpoint(lake, table, version).await?
    {
        return Ok(Some(snapshot));
    }
    if let Some(bytes) = super::read_commit(store, table, 0).await? {
        let actions = action::parse(table, commit_path(table, 0).as_ref(), &bytes)?;
        return state::start(lake, table, 0, actions).map(Some);
    }
    // Neither a pointer nor a beginning: only now is the folder listed.
    match newest_checkpoint(store, table, at).await? {
        Some(version) => read_checkpoint(lake, table, version).await,
        None => Ok(None),
    }
}

async fn read_checkpoint(lake: &Lake, table: &TableName, version: i64) -> Result<Option<Snapshot>> {
    let path = super::checkpoint_path(table, version);
    let Some(bytes) = super::read(lake.store().as_ref(), &path).await? else { return Ok(None) };
    let name = table.clone();
    let worker = tokio::task::spawn_blocking(move || checkpoint::decode(&name, path.as_ref(), bytes));
    let actions = worker.await.map_err(|e| StoreError::Worker(e.to_string()))??;
    let mut snapshot = state::start(lake, table, version, actions)?;
    snapshot.checkpoint = version;
    Ok(Some(snapshot))
}

/// The newest checkpoint, at or below a version if one is given.
pub(crate) async fn newest_checkpoint(
    store: &dyn ObjectStore,
    table: &TableName,
    at: Option<i64>,
) -> Result<Option<i64>> {
    let checkpoint = |file| match file {
        LogFile::Checkpoint(version) if at.is_none_or(|at| version <= at) => Some(version),
        _ => None,
    };
    Ok(list(store, table).await?.into_iter().filter_map(checkpoint).max())
}

/// The oldest commit that is still there.
pub(crate) async fn oldest_commit(store: &dyn ObjectStore, table: &TableName) -> Result<Option<i64>> {
    let commit = |file| if let LogFile::Commit(version) = file { Some(version) } else { None };
    Ok(list(store, table).await?.into_iter().filter_map(commit).min())
}

async fn list(store: &dyn ObjectStore, table: &TableName) -> Result<Vec<LogFile>> {
    let root = super::log_root(table);
    let names = store.list(Some(&root)).map_ok(|file| file.location.filename().map_or(LogFile::Other, LogFile::of));
    match names.try_collect().await {
        Err(object_store::Error::NotFound { .. }) => Ok(Vec::new()),
        other => other.map_err(|e| StoreError::storage("list", &root, e)),
    }
}

/// Whether a commit is there.
pub(crate) async fn exists(store: &dyn ObjectStore, table: &TableName, version: i64) -> Result<bool> {
    let path = commit_path(table, version);
    match store.head(&path).await {
        Ok(_) => Ok(true),
        Err(object_store::Error::NotFound { .. }) => Ok(false),
        Err(e) => Err(StoreError::storage("look for", &path, e)),
    }
}

/// The last snapshots after this one, in order, up to the head or to a version: one per commit, none when there is none.
///
/// # Errors
/// When storage fails or a commit cannot be read.
pub(crate) async fn read_on(snapshot: &Snapshot, to: Option<i64>) -> Result<Vec<Arc<Snapshot>>> {
    let table = &snapshot.meta.table;
    let asked_at = snapshot.lake.now_ms();
    let mut seen: Vec<Arc<Snapshot>> = Vec::new();
    let mut window = 1;
    loop {
        let last = seen.last().map_or(snapshot, |s| s.as_ref());
        let first = last.version + 1;
        let end = (first + window).min(to.map_or(i64::MAX, |to| to + 1));
        if first >= end {
            return Ok(seen);
        }
        let commits = read_range(snapshot.lake.store().as_ref(), table, first, end).await?;
        let complete = commits.iter().all(Option::is_some);
        for (version, bytes) in (first..).zip(commits.into_iter().map_while(|bytes| bytes)) {
            let mut next = seen.last().map_or(snapshot, |s| s.as_ref()).clone();
            let actions = action::parse(table, commit_path(table, version).as_ref(), &bytes)?;
            state::apply(&mut next, version, actions)?;
            next.confirmed_ms = asked_at;
            seen.push(Arc::new(next));
            if seen.len() > 2 * KEPT {
                seen.drain(..KEPT);
            }
        }
        if !complete {
            return Ok(seen);
        }
        window = (window * 2).min(WINDOW);
    }
}

/// The bytes of the commits of a range, asked for at the same time; `None` for those that are not there.
pub(crate) async fn read_range(
    store: &dyn ObjectStore,
    table: &TableName,
    first: i64,
    end: i64,
) -> Result<Vec<Option<Bytes>>> {
    let width = usize::try_from(WINDOW).unwrap_or(1);
    futures::stream::iter(first..end)
        .map(|version| super::read_commit(store, table, version))
        .buffered(width)
        .try_collect()
        .await
}
