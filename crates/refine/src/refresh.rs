//! One model from its inputs to its commit.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Instant;

use arrow::datatypes::{FieldRef, Fields, Schema, SchemaRef};
use datafusion::catalog::TableProvider;
use schema::{ColumnDoc, Kept, TableName};
use store::{Commit, ConflictReason, MetadataChange, Operation, Snapshot, StoreError, Table, TableSpec};
use tokio::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard};
use tokio_util::sync::CancellationToken;

use crate::days;
use crate::fold::fold;
use crate::job::{Input, Job, Mode, inputs};
use crate::pins::Pins;
use crate::plan::{LoadedModel, Plan};
use crate::stage::{Finished, Stage};
use crate::{Limits, ModelReport, Outcome, RefineEnv, RefineError, Result};
use crate::{append, gate, gated, latest, recompute};

/// Versions that an input may be ahead without having changed a row, before a commit of positions alone is worth it: a
/// position must not fall out of the history that is kept.
const QUIET_LAG: i64 = 16;

/// What a model may have to consume to be refreshed beside others, in bytes of files.
const SMALL_NEWS: u64 = 16 << 20;

/// What models that are refreshed at the same time share.
#[derive(Debug, Default)]
pub(crate) struct SideBySide {
    /// Held by one that needs the memory of all, and shared by the others.
    room: RwLock<()>,
}

/// The room of one model, until it is dropped.
enum Room<'a> {
    /// Beside others.
    Shared { _guard: RwLockReadGuard<'a, ()> },
    /// Alone.
    Whole { _guard: RwLockWriteGuard<'a, ()> },
}

impl SideBySide {
    /// Waits until there is room for a model: alone, or beside others.
    async fn room(&self, is_alone: bool) -> Room<'_> {
        match is_alone {
            true => Room::Whole { _guard: self.room.write().await },
            false => Room::Shared { _guard: self.room.read().await },
        }
    }
}

/// How a refresh of a model ended.
pub(crate) enum Ended {
    /// As the report says: also when checks or gates held something back.
    Done(ModelReport),
    /// Another writer was first: begin again from the table.
    Again(StoreError),
    /// The run was cancelled before the commit.
    Cancelled,
}

/// Refreshes one model and moves its pin, beside others where little is new for it, or alone.
///
/// # Errors
/// As [`crate::run`].
pub(crate) async fn refresh(
    env: &RefineEnv,
    plan: &Plan,
    model: &LoadedModel,
    (mode, limits, allow): (Mode, Limits, &[String]),
    pins: &Pins,
    (beside, is_alone): (&SideBySide, bool),
    cancel: &CancellationToken,
) -> Result<Ended> {
    let started = Instant::now();
    let mut report = ModelReport::new(model.name().clone());
    let base = pins.head(model.name()).await?;
    report.version = base.as_ref().map(|base| base.version());
    let done = |mut report: ModelReport, outcome: Outcome, started: Instant| {
        let nothing = outcome == Outcome::Unchanged && quality::any_holds(&report.checks);
        report.outcome = if nothing { Outcome::Held } else { outcome };
        report.seconds = started.elapsed().as_secs_f64();
        Ok(Ended::Done(report))
    };
    if let Some(reason) = skipped(model, mode) {
        return done(report, Outcome::Skipped(reason), started);
    }
    let renewed = base.as_ref().is_some_and(|base| is_unpublished(base) && !is_of(base, model));
    if let Some(base) = base.as_ref().filter(|_| !renewed) {
        unedited(model, mode, base)?;
    }
    let mut inputs = inputs(model, mode, base.as_deref(), pins).await?;
    // Gates read too. What is a little news for much memory is much for a little.
    let small = SMALL_NEWS.min(env.factory.options().memory_bytes as u64 / 64);
    let is_alone = is_alone || inputs.values().map(Input::news_bytes).sum::<u64>() > small;
    let waits = Instant::now();
    let _room = tokio::select! {
        room = beside.room(is_alone) => room,
        () = cancel.cancelled() => return Ok(Ended::Cancelled),
    };
    let started = started + waits.elapsed();
    let gated = gated::gates(env, plan, model, base.as_deref(), &inputs, allow).await?;
    report.checks = gated.results;
    if mode != Mode::Refresh && !gated.held.is_empty() {
        // It would leave the held feed's rows out of a table that is computed as a whole.
        return done(report, Outcome::Held, started);
    }
    inputs.retain(|name, _| !gated.held.contains(name));
    let news = inputs.values().any(Input::has_news);
    let lagging = base.is_some() && inputs.values().any(|input| input.lag() > QUIET_LAG);
    let idle = match mode {
        Mode::Refresh => !news && !lagging,
        Mode::Rebuild => inputs.is_empty(),
        Mode::Range { .. } => base.as_ref().is_none_or(|base| is_unpublished(base)),
    };
    if idle {
        return done(report, Outcome::Unchanged, started);
    }
    // Nothing is stored that could be kept, or that changes could be added to.
    let mode = if renewed { Mode::Rebuild } else { mode };
    let replacement = base.as_ref().filter(|_| mode == Mode::Rebuild).and_then(|base| replacement(base, model));
    let (table, base) = table(env, model, (mode, replacement.is_some()), base, pins).await?;
    let others = others(env, plan, model, pins)?;
    let notes = gated.notes;
    let known = pins.known();
    let job = Job { env, plan, model, mode, limits, table, base, inputs, replacement, others, known, notes };
    let computed = tokio::select! {
        computed = compute(&job, &mut report) => computed?,
        () = cancel.cancelled() => return Ok(Ended::Cancelled),
    };
    if computed.is_change() || mode != Mode::Refresh {
        let results = gate::results(&job, &computed).await?;
        let holds = quality::any_holds(&results);
        report.checks.extend(results);
        if holds {
            return done(report, Outcome::Held, started);
        }
    }
    let added = computed.staged.adds.clone();
    match publish(&job, computed, &mut report).await {
        Ok(Some(snapshot)) => {
            let added = (report.outcome != Outcome::Unchanged).then_some(added.as_slice());
            latest::follow(&job, &snapshot, added).await;
            pins.set(&job.table, snapshot);
        }
        Ok(None) => {}
        Err(RefineError::Store(error)) if begins_again(&error) => return Ok(Ended::Again(error)),
        Err(error) => return Err(error),
    }
    let published = report.version;
    report.checks.iter_mut().filter(|result| !result.holds()).for_each(|result| result.version = published);
    let outcome = report.outcome.clone();
    done(report, outcome, started)
}

/// Whether the same work is to be begun again from the table: the commit was refused, or nobody knows its fate.
fn begins_again(error: &StoreError) -> bool {
    error.kind() == store::ErrorKind::Conflict || matches!(error, StoreError::FateUnknown { .. })
}

/// Why a model takes no part in a run of this mode.
fn skipped(model: &LoadedModel, mode: Mode) -> Option<String> {
    let dated = recompute::date_column(model).is_some();
    (matches!(mode, Mode::Range { .. }) && !dated).then(|| {
        "no date in its scope or partitions: it takes over changes of what it reads in the next refresh".to_owned()
    })
}

/// Whether nothing was ever published to a table: its first refresh failed, or a check held it back. Whatever it was made
/// for, it can become the table of the model as it is now.
fn is_unpublished(base: &Snapshot) -> bool {
    base.file_count() == 0 && base.txns().next().is_none()
}

/// Whether the table is kept by the model as it is now.
fn is_of(base: &Snapshot, model: &LoadedModel) -> bool {
    base.fingerprint() == Some(model.fingerprint.as_str())
}

/// After an edit only a rebuild is allowed (ENGINE.md 20).
fn unedited(model: &LoadedModel, mode: Mode, base: &Snapshot) -> Result<()> {
    if mode == Mode::Rebuild || is_of(base, model) {
        return Ok(());
    }
    let names = |schema: &Schema| -> Vec<String> {
        schema.fields().iter().map(|field| format!("{} {}", field.name(), field.data_type())).collect()
    };
    let what = match names(base.schema()) == names(&model.schema) {
        true => "its SQL or how it is kept differs",
        false => "its columns differ",
    };
    Err(RefineError::Edited { model: model.name().clone(), what: what.to_owned() })
}

/// The model's columns, with their documentation as comments.
fn documented(model: &LoadedModel) -> SchemaRef {
    let field = |field: &FieldRef| match model.model.column(field.name()).and_then(ColumnDoc::comment) {
        Some(text) => Arc::new(field.as_ref().clone().with_metadata([("comment".to_owned(), text)].into())),
        None => Arc::clone(field),
    };
    Arc::new(Schema::new(model.schema.fields().iter().map(field).collect::<Fields>()))
}

fn spec(model: &LoadedModel) -> TableSpec {
    TableSpec {
        schema: documented(model),
        partition_by: model.model.partition_by.clone(),
        change_data: !matches!(model.model.kept, Kept::Append),
        fingerprint: Some(model.fingerprint.clone()),
        description: Some(model.model.description.clone()),
        properties: BTreeMap::new(),
    }
}

/// The model's table, made if it does not exist yet. A rebuild gives a table that exists its new columns.
async fn table(
    env: &RefineEnv,
    model: &LoadedModel,
    (mode, is_replaced): (Mode, bool),
    base: Option<Arc<Snapshot>>,
    pins: &Pins,
) -> Result<(Table, Arc<Snapshot>)> {
    let known = pins.get(model.name()).map(|(table, _)| table);
    if let (Some(table), Some(base)) = (known, base)
        && (mode != Mode::Rebuild || is_replaced || base.schema().fields().len() == model.schema.fields().len())
    {
        return Ok((table, base));
    }
    let table = env.lake.create_table(model.name(), &spec(model)).await?;
    let base = table.snapshot();
    pins.set(&table, Arc::clone(&base));
    Ok((table, base))
}

/// What must change about a table that cannot hold the model's rows beside its own: where a column went, has another
/// type, or the partitions are others. A column that came is no such change.
fn replacement(base: &Snapshot, model: &LoadedModel) -> Option<MetadataChange> {
    let same = |field: &FieldRef| {
        model.schema.field_with_name(field.name()).is_ok_and(|wanted| wanted.data_type() == field.data_type())
    };
    let fits = base.schema().fields().iter().all(same) && base.partition_columns() == model.model.partition_by;
    (!fits).then(|| MetadataChange {
        schema: Some(documented(model)),
        partition_by: Some(model.model.partition_by.clone()),
        fingerprint: Some(model.fingerprint.clone()),
        description: Some(model.model.description.clone()),
        properties: BTreeMap::new(),
    })
}

/// Tables that only the model's checks read, as they are pinned.
fn others(
    env: &RefineEnv,
    plan: &Plan,
    model: &LoadedModel,
    pins: &Pins,
) -> Result<HashMap<TableName, Arc<dyn TableProvider>>> {
    let mut others = HashMap::new();
    for name in &model.check_reads {
        let stored = pins.get(name).map(|(_, snapshot)| snapshot.provider());
        others.insert(name.clone(), plan.seen(env, name, stored)?);
    }
    Ok(others)
}

async fn compute(job: &Job<'_>, report: &mut ModelReport) -> Result<Finished> {
    let mut stage = match &job.replacement {
        Some(change) => Stage::replacing(&job.table, &job.base, change)?,
        None => Stage::new(&job.table, &job.base),
    };
    let computed = match &job.model.model.kept {
        Kept::Append if job.mode == Mode::Refresh => append::append(job, &mut stage).await,
        Kept::Latest => latest::latest(job, &mut stage).await,
        _ => fold_or_recompute(job, &mut stage, report).await,
    };
    match computed {
        Ok(rows) => report.rows_in = rows,
        Err(error) => {
            stage.abort().await;
            return Err(error);
        }
    }
    let finished = stage.finish().await?;
    report.rows_added = finished.rows_added;
    report.rows_removed = finished.rows_removed;
    report.files_added = finished.staged.adds.len() as u64;
    report.files_removed = finished.removes.len() as u64;
    Ok(finished)
}

async fn fold_or_recompute(job: &Job<'_>, stage: &mut Stage, report: &mut ModelReport) -> Result<u64> {
    let groups = if job.mode == Mode::Refresh { fold(job, stage).await? } else { None };
    report.folded = groups.is_some();
    match groups {
        Some(groups) => Ok(groups),
        None => {
            let computed = recompute::recompute(job, stage).await?;
            report.slices = computed.slices;
            Ok(computed.rows)
        }
    }
}

/// Commits what was staged with the positions. Gives the new version, or `None` when there is nothing to commit.
async fn publish(job: &Job<'_>, finished: Finished, report: &mut ModelReport) -> Result<Option<Arc<Snapshot>>> {
    let is_change = finished.is_change();
    let operation = match (job.mode, finished.removes.is_empty()) {
        (Mode::Rebuild, _) => Operation::Rebuild,
        (_, true) => Operation::Append,
        (_, false) => Operation::Merge,
    };
    let mut commit = Commit::new(Arc::clone(&job.base), operation);
    // Rows were computed from the table's own and from all inputs where they stood, also from those that do not move.
    commit.exclusive = is_change;
    commit.inputs = job.inputs.values().filter_map(|input| job.guarded(input)).collect();
    commit.inputs.extend(job.notes.iter().cloned());
    commit.inputs.extend(days::note(job, is_change));
    commit.inputs.sort_by(|a, b| a.input.cmp(&b.input));
    if let Some(change) = &job.replacement {
        commit.metadata = Some(change.clone());
    } else if !is_of(&job.base, job.model) {
        let fingerprint = Some(job.model.fingerprint.clone());
        let description = Some(job.model.model.description.clone());
        commit.metadata = Some(MetadataChange { fingerprint, description, ..MetadataChange::default() });
    }
    if is_change {
        commit.stage(finished.staged);
        commit.removes = finished.removes;
        let counts = [("rows_added", finished.rows_added), ("rows_removed", finished.rows_removed)];
        commit.info.extend(counts.map(|(name, count)| (name.to_owned(), count.into())));
    }
    if commit.is_empty() {
        report.outcome = Outcome::Unchanged;
        return Ok(None);
    }
    let committed = job.table.commit(commit).await?;
    if committed.already && job.mode != Mode::Refresh {
        // What another run consumed was not computed anew by it, or not for these days.
        let (table, base) = (job.model.name().clone(), committed.version);
        return Err(StoreError::Conflict { table, base, reason: ConflictReason::SlotTaken }.into());
    }
    if committed.already {
        // Another refresh consumed the same changes. What it wrote is what this one staged.
        report.outcome = Outcome::Unchanged;
        (report.rows_added, report.rows_removed, report.files_added, report.files_removed) = (0, 0, 0, 0);
    } else {
        report.outcome = if is_change { Outcome::Changed } else { Outcome::Positions };
    }
    report.version = Some(committed.snapshot.version());
    Ok(Some(committed.snapshot))
}
