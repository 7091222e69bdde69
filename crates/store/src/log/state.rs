//! How a commit changes a snapshot.

use std::sync::Arc;

use deltalake_core::kernel::Action;
use schema::TableName;

use super::action;
use crate::error::{Result, StoreError};
use crate::lake::Lake;
use crate::map::PersistentMap;
use crate::snapshot::Snapshot;

/// The snapshot that a first commit, or a checkpoint, stands for.
///
/// # Errors
/// When it lacks protocol or metadata, or asks for features that Smelt does not have.
pub(crate) fn start(lake: &Lake, table: &TableName, version: i64, actions: Vec<Action>) -> Result<Snapshot> {
    let missing = |what: &str| StoreError::Corrupt {
        table: table.clone(),
        path: super::commit_path(table, version).to_string(),
        message: format!("the table starts without {what}"),
    };
    let protocol = actions.iter().find_map(|a| if let Action::Protocol(p) = a { Some(p) } else { None });
    let versions = action::versions(table, protocol.ok_or_else(|| missing("protocol"))?)?;
    let metadata = actions.iter().find_map(|a| if let Action::Metadata(m) = a { Some(m) } else { None });
    let meta = action::table_meta(table, metadata.ok_or_else(|| missing("metadata"))?, versions)?;
    let mut snapshot = Snapshot {
        lake: lake.clone(),
        version,
        meta: Arc::new(meta),
        files: PersistentMap::default(),
        tombstones: PersistentMap::default(),
        txns: PersistentMap::default(),
        bytes: 0,
        confirmed_ms: lake.now_ms(),
        checkpoint: -1,
        commit_id: None,
        committed_ms: 0,
        rows_changed_at: version,
    };
    let rest = actions.into_iter().filter(|a| !matches!(a, Action::Protocol(_) | Action::Metadata(_))).collect();
    apply(&mut snapshot, version, rest)?;
    Ok(snapshot)
}

/// Applies the actions of a commit, all of them or (on an error) leaving a snapshot that must be dropped.
///
/// # Errors
/// When the table changes to a protocol that Smelt does not have, or its new schema cannot be read.
pub(crate) fn apply(snapshot: &mut Snapshot, version: i64, actions: Vec<Action>) -> Result<()> {
    let table = snapshot.meta.table.clone();
    // Protocol and metadata first: they say how the other lines are to be read.
    for action in &actions {
        if let Action::Protocol(protocol) = action {
            let versions = action::versions(&table, protocol)?;
            Arc::make_mut(&mut snapshot.meta).protocol = versions;
        }
    }
    for action in &actions {
        if let Action::Metadata(metadata) = action {
            snapshot.meta = Arc::new(action::table_meta(&table, metadata, snapshot.meta.protocol)?);
        }
    }
    snapshot.commit_id = action::commit_id(&actions).map(Arc::from);
    snapshot.committed_ms = action::timestamp(&actions).unwrap_or(snapshot.committed_ms);
    let changes_rows = |action: &Action| match action {
        Action::Add(add) => add.data_change,
        Action::Remove(remove) => remove.data_change,
        _ => false,
    };
    if actions.iter().any(changes_rows) {
        snapshot.rows_changed_at = version;
    }
    for action in actions {
        match action {
            Action::Add(add) => {
                let file = Arc::new(action::data_file(&snapshot.meta, add));
                snapshot.tombstones.remove(&file.path);
                snapshot.bytes += file.size;
                if let Some(old) = snapshot.files.insert(file.path.clone(), file) {
                    snapshot.bytes -= old.size;
                }
            }
            Action::Remove(remove) => {
                let path: Arc<str> = Arc::from(remove.path.as_str());
                if let Some(old) = snapshot.files.remove(&path) {
                    snapshot.bytes -= old.size;
                }
                snapshot.tombstones.insert(path, action::tombstone(remove));
            }
            Action::Txn(txn) => {
                snapshot.txns.insert(Arc::from(txn.app_id), txn.version);
            }
            Action::Protocol(_)
            | Action::Metadata(_)
            | Action::Cdc(_)
            | Action::CommitInfo(_)
            | Action::DomainMetadata(_) => {}
        }
    }
    snapshot.version = version;
    Ok(())
}
