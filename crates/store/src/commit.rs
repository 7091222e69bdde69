//! Commits: the only way in which a table changes (ENGINE.md, rules 1 to 5).

use std::sync::Arc;

use deltalake_core::kernel::Action;
use object_store::{ObjectStore, ObjectStoreExt, PutMode};
use schema::TableName;

use crate::error::{ConflictReason, ErrorKind, Result, StoreError};
use crate::file::DataFile;
use crate::lake::Lake;
use crate::log::{self, action};
use crate::meta::{MetadataChange, TableSpec};
use crate::snapshot::Snapshot;
use crate::table::Table;
use crate::writer::Staged;

/// What a commit does, as the table's history names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Creates the table.
    Create,
    /// Adds rows.
    Append,
    /// Replaces rows by newer ones.
    Merge,
    /// Replaces all rows.
    Rebuild,
    /// Changes schema or properties only.
    Alter,
    /// Writes rows together into fewer files.
    Compact,
}

impl Operation {
    /// Delta's name of the operation.
    pub fn name(self) -> &'static str {
        match self {
            Self::Create => "CREATE TABLE",
            Self::Append => "WRITE",
            Self::Merge => "MERGE",
            Self::Rebuild => "CREATE OR REPLACE TABLE AS SELECT",
            Self::Alter => "ADD COLUMNS",
            Self::Compact => "OPTIMIZE",
        }
    }
}

/// A range `(from, to]` of an input that a commit consumed. With `from` equal to `to` it only says where the table must
/// stand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Consumed {
    /// The input's id: `kafka:<cluster>/<topic>/<partition>`, `files:<stream>`, `table:<id>`. Never random.
    pub input: String,
    /// Where the table must stand: its `txn` of this input, `None` if it was never consumed.
    pub from: Option<i64>,
    /// Where the table stands afterwards.
    pub to: i64,
}

/// A change of a table that is to happen as a whole or not at all.
#[derive(Clone, Debug)]
pub struct Commit {
    /// The snapshot that the change was made from. The commit may land after later versions too, if the check still
    /// holds against them.
    pub base: Arc<Snapshot>,
    /// What it does, for the table's history.
    pub operation: Operation,
    /// What it consumed.
    pub inputs: Vec<Consumed>,
    /// Files that it adds.
    pub adds: Vec<Arc<DataFile>>,
    /// Live files that it removes.
    pub removes: Vec<Arc<DataFile>>,
    /// Change data files, for tables that keep them.
    pub change_files: Vec<Arc<DataFile>>,
    /// What it changes about the table itself.
    pub metadata: Option<MetadataChange>,
    /// Whether rows change; false for compaction.
    pub data_change: bool,
    /// Whether a change of rows that landed after `base` refuses it: for rows that were computed from the table's own,
    /// which the positions of inputs alone do not guard.
    pub exclusive: bool,
    /// Counts and notes that travel with the commit (ENGINE.md, rule 8), kept in `commitInfo`.
    pub info: serde_json::Map<String, serde_json::Value>,
}

impl Commit {
    /// A commit that changes nothing yet.
    pub fn new(base: Arc<Snapshot>, operation: Operation) -> Self {
        Self {
            base,
            operation,
            inputs: Vec::new(),
            adds: Vec::new(),
            removes: Vec::new(),
            change_files: Vec::new(),
            metadata: None,
            data_change: operation != Operation::Compact,
            exclusive: false,
            info: serde_json::Map::new(),
        }
    }

    /// Adds what a writer staged.
    pub fn stage(&mut self, staged: Staged) {
        self.adds.extend(staged.adds);
        self.change_files.extend(staged.change_files);
    }

    /// Whether the commit would change nothing at all, not even a position. An input that does not move is no change.
    pub fn is_empty(&self) -> bool {
        self.inputs.iter().all(|input| input.from == Some(input.to))
            && self.adds.is_empty()
            && self.removes.is_empty()
            && self.change_files.is_empty()
            && self.metadata.is_none()
    }
}

/// A commit that is durable and visible.
#[derive(Clone, Debug)]
pub struct Committed {
    /// The version that it became; where `already` is true, a version at which it was found to be done.
    pub version: i64,
    /// The table at that version or later.
    pub snapshot: Arc<Snapshot>,
    /// True when the ranges were already consumed by another commit: the batch is dropped, its rows are in the table,
    /// and the caller goes on from the table's positions.
    pub already: bool,
}

/// Puts that are tried when storage fails and the slot is seen to be free.
const ATTEMPTS: u32 = 5;
/// Files older than this are not committed: maintenance may take them for orphans soon (ENGINE.md, rule 18).
const OLDEST_FILE_MS: i64 = 24 * 3600 * 1000;

/// What the check of a commit against the head says.
enum Verdict {
    /// It may be put as the next version.
    Put,
    /// Another commit consumed all that it would consume.
    Done,
}

/// Runs a commit to its end: put, or found to be done, or refused.
pub(crate) async fn run(table: &Table, commit: Commit) -> Result<Committed> {
    let newer = |a: Arc<Snapshot>, b: Arc<Snapshot>| if a.version > b.version { a } else { b };
    let mut head = newer(table.snapshot(), commit.base.clone());
    if commit.is_empty() {
        return Ok(Committed { version: head.version, snapshot: head, already: false });
    }
    validate(table, &commit)?;
    if table.is_stale(&head) {
        head = table.refresh_from(head).await?;
    }
    let id = uuid::Uuid::new_v4().to_string();
    let mut failures = 0;
    loop {
        if let Verdict::Done = check(&commit, &head)? {
            return Ok(Committed { version: head.version, snapshot: head, already: true });
        }
        let actions = actions(&commit, &head, &id)?;
        let bytes = action::serialize(&actions).map_err(|e| bad(table, format!("it cannot be written: {e}")))?;
        let version = head.version + 1;
        let path = log::commit_path(table.name(), version);
        let put = table.lake().store().put_opts(&path, bytes.into(), PutMode::Create.into()).await;
        let error = match put {
            Ok(_) if !table.is_stale(&head) => return landed(table, &head, version, actions),
            Ok(_) => {
                // It took so long that the log may have been cleaned up under us: then this slot was long taken.
                let store = table.lake().store();
                if log::load::exists(store.as_ref(), table.name(), head.version).await? {
                    return landed(table, &head, version, actions);
                }
                store.delete(&path).await.map_err(|e| StoreError::storage("remove", &path, e))?;
                head = table.refresh_from(head).await?;
                continue;
            }
            Err(error) => error,
        };
        // The slot is taken, or the fate is unknown: the log itself says which (rule 4).
        match read_winners(table, &head, &id).await {
            Ok(Winners::Ours(snapshot)) => {
                // It landed although the answer was an error: it is acknowledged only when it is known to be durable.
                let path = log::commit_path(table.name(), snapshot.version);
                table
                    .lake()
                    .store()
                    .sync(std::slice::from_ref(&path))
                    .await
                    .map_err(|e| StoreError::storage("sync", &path, e))?;
                return Ok(Committed { version: snapshot.version, snapshot, already: false });
            }
            Ok(Winners::Others(newest)) => head = newest,
            Ok(Winners::None) => give_up_if_hopeless(table, version, &mut failures, error).await?,
            Err(reading) => {
                tracing::debug!(table = %table.name(), error = %reading, "reading on after a failed put");
                give_up_if_hopeless(table, version, &mut failures, error).await?;
            }
        }
    }
}

/// The commits that others made, or the one that turned out to be ours.
enum Winners {
    None,
    Ours(Arc<Snapshot>),
    Others(Arc<Snapshot>),
}

async fn read_winners(table: &Table, head: &Snapshot, id: &str) -> Result<Winners> {
    let seen = log::load::read_on(head, None).await?;
    table.remember(seen.iter().cloned());
    if let Some(ours) = seen.iter().find(|s| s.commit_id.as_deref() == Some(id)) {
        return Ok(Winners::Ours(ours.clone()));
    }
    Ok(seen.into_iter().next_back().map_or(Winners::None, Winners::Others))
}

/// Waits before the next attempt, or ends with the store's error when another attempt makes no sense.
async fn give_up_if_hopeless(
    table: &Table,
    version: i64,
    failures: &mut u32,
    error: object_store::Error,
) -> Result<()> {
    *failures += 1;
    let path = log::commit_path(table.name(), version);
    let error = match StoreError::storage("write", &path, error) {
        StoreError::Storage { source, .. } if *failures >= ATTEMPTS => {
            StoreError::FateUnknown { table: table.name().clone(), version, source }
        }
        other => other,
    };
    if *failures >= ATTEMPTS || matches!(error.kind(), ErrorKind::Denied | ErrorKind::Full) {
        return Err(error);
    }
    tracing::debug!(table = %table.name(), version, %error, "commit failed, trying again");
    tokio::time::sleep(table.lake().options().retry_pause * 4u32.pow(*failures - 1)).await;
    Ok(())
}

fn landed(table: &Table, head: &Snapshot, version: i64, actions: Vec<Action>) -> Result<Committed> {
    let mut next = head.clone();
    log::state::apply(&mut next, version, actions)?;
    next.confirmed_ms = table.lake().now_ms();
    let snapshot = Arc::new(next);
    table.remember([snapshot.clone()]);
    Ok(Committed { version, snapshot, already: false })
}

fn bad(table: &Table, message: String) -> StoreError {
    StoreError::BadCommit { table: table.name().clone(), message }
}

/// Refuses commits that contradict themselves, or name files that maintenance may already be after.
fn validate(table: &Table, commit: &Commit) -> Result<()> {
    for (at, input) in commit.inputs.iter().enumerate() {
        if input.from.is_some_and(|from| from > input.to) {
            return Err(bad(table, format!("input {} would go back to {}", input.input, input.to)));
        }
        if commit.inputs[..at].iter().any(|other| other.input == input.input) {
            return Err(bad(table, format!("input {} is named twice", input.input)));
        }
    }
    let keeps_changes = commit.data_change && commit.base.meta.change_data();
    if !commit.change_files.is_empty() && !keeps_changes {
        return Err(bad(table, "it has change data, and the table keeps none".to_string()));
    }
    let oldest = commit.adds.iter().chain(&commit.change_files).min_by_key(|file| file.modified_ms);
    if let Some(file) = oldest {
        let age = table.lake().now_ms() - file.modified_ms;
        if age > OLDEST_FILE_MS {
            let table = table.name().clone();
            return Err(StoreError::StaleFiles { table, path: file.path.to_string(), age_hours: age / 3_600_000 });
        }
    }
    Ok(())
}

/// Rule 3: whether the commit still holds against this head.
fn check(commit: &Commit, head: &Snapshot) -> Result<Verdict> {
    let moving = || commit.inputs.iter().filter(|input| input.from != Some(input.to));
    let reached = |input: &Consumed| head.txn(&input.input).is_some_and(|position| position >= input.to);
    if moving().next().is_some() && moving().all(reached) {
        return Ok(Verdict::Done);
    }
    let refused = |reason| StoreError::Conflict { table: head.table().clone(), base: head.version, reason };
    for input in &commit.inputs {
        let found = head.txn(&input.input);
        if found != input.from {
            let (input, expected) = (input.input.clone(), input.from);
            return Err(refused(ConflictReason::InputMoved { input, expected, found }));
        }
    }
    if head.meta.protocol != commit.base.meta.protocol {
        return Err(refused(ConflictReason::ProtocolChanged));
    }
    if !Arc::ptr_eq(&head.meta, &commit.base.meta) && head.meta != commit.base.meta {
        return Err(refused(ConflictReason::MetadataChanged));
    }
    if commit.exclusive && head.rows_changed_at > commit.base.version {
        return Err(refused(ConflictReason::RowsChanged { version: head.rows_changed_at }));
    }
    if let Some(gone) = commit.removes.iter().find(|file| !head.files.contains(&file.path)) {
        return Err(refused(ConflictReason::FileGone { path: gone.path.to_string() }));
    }
    Ok(Verdict::Put)
}

/// The lines of the commit, if it is put after this head.
fn actions(commit: &Commit, head: &Snapshot, id: &str) -> Result<Vec<Action>> {
    let now = head.lake.now_ms();
    let parameters: &[(&str, String)] = match commit.operation {
        Operation::Append => &[("mode", "Append".to_string())],
        Operation::Rebuild => &[("isManaged", "false".to_string())],
        _ => &[],
    };
    let info = action::commit_info(commit.operation.name(), parameters, now, head.version, id, &commit.info);
    let mut lines = vec![info];
    let mut meta = head.meta.clone();
    if let Some(change) = &commit.metadata {
        let rebuild = commit.removes.len() == head.files.len();
        meta = Arc::new(crate::meta::changed(&head.meta, change, rebuild)?);
        if meta.protocol != head.meta.protocol {
            lines.push(action::protocol(&meta)?);
        }
        lines.push(action::metadata(&meta)?);
    }
    let moved = commit.inputs.iter().filter(|input| input.from != Some(input.to));
    lines.extend(moved.map(|input| action::txn(&input.input, input.to, now)));
    lines.extend(commit.removes.iter().map(|file| action::remove(&head.meta, file, commit.data_change, now)));
    lines.extend(commit.adds.iter().map(|file| action::add(&meta, file, commit.data_change)));
    lines.extend(commit.change_files.iter().map(|file| action::change_file(&meta, file)));
    Ok(lines)
}

/// Creates a table: version 0, or what another process made of it meanwhile.
pub(crate) async fn create(lake: &Lake, name: &TableName, spec: &TableSpec) -> Result<()> {
    let meta = crate::meta::created(lake, name, spec)?;
    let id = uuid::Uuid::new_v4().to_string();
    let info = action::commit_info(Operation::Create.name(), &[], lake.now_ms(), -1, &id, &serde_json::Map::new());
    let lines = [info, action::protocol(&meta)?, action::metadata(&meta)?];
    let message = |e: serde_json::Error| StoreError::BadCommit { table: name.clone(), message: e.to_string() };
    let bytes = action::serialize(&lines).map_err(message)?;
    let path = log::commit_path(name, 0);
    match lake.store().put_opts(&path, bytes.into(), PutMode::Create.into()).await {
        // Whoever was first: the caller loads what is there. An unknown fate ends here too, as an error that may be
        // repeated, because creating is idempotent.
        Ok(_) | Err(object_store::Error::AlreadyExists { .. }) => Ok(()),
        Err(e) => Err(StoreError::storage("write", &path, e)),
    }
}
