//! The gates of a model's feeds, looked at before anything of them is computed (ENGINE.md 21).

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use datafusion::catalog::TableProvider;
use datafusion::logical_expr::LogicalPlan;
use quality::CheckResult;
use quality::gate::{self, Windows};
use schema::{Feed, Project, TableName};
use store::{Consumed, Snapshot, StoreError};

use crate::job::{Input, conform};
use crate::plan::{LoadedFeed, LoadedModel, Plan};
use crate::{RefineEnv, RefineError, Result};

/// What the gates of a model say.
#[derive(Default)]
pub(crate) struct Gated {
    /// What each gate found that had rows to judge.
    pub(crate) results: Vec<CheckResult>,
    /// Inputs that stay where they are.
    pub(crate) held: BTreeSet<TableName>,
    /// What a commit of the others says of gates: where the held inputs must stand, and which rows were let through.
    pub(crate) notes: Vec<Consumed>,
}

/// Looks at the gates of all feeds that have rows to publish. Feeds that read the same table are held together, because
/// they share its position.
///
/// # Errors
/// When Bronze cannot be read or a feed's SQL fails.
pub(crate) async fn gates(
    env: &RefineEnv,
    plan: &Plan,
    model: &LoadedModel,
    base: Option<&Snapshot>,
    inputs: &HashMap<TableName, Input>,
    allow: &[String],
) -> Result<Gated> {
    let mut gated = Gated::default();
    for feed in &model.feeds {
        let Some((gate, name)) = feed.feed.gate.as_ref().zip(feed.reads.first()) else { continue };
        let Some(input) = inputs.get(name) else { continue };
        let Some(fresh) = unpublished(input).await? else { continue };
        let remembered = format!("gate:{}", feed.feed.name);
        let before = base.and_then(|base| base.txn(&remembered));
        let Some(windows) = Windows::of(&env.factory, *gate, fresh, before).await? else { continue };
        let contract = &env.project.contracts[&name.name];
        let received = windows.received(input.at.provider())?;
        let fed = match feed.keeps_all {
            true => None,
            false => Some(fed(env, plan, (model, feed), name, Arc::clone(&received)).await?),
        };
        let Some(loss) = windows.worst(contract, received, fed).await? else { continue };
        let mut result = gate::result(model.name(), &feed.feed.name, gate, &loss);
        if !result.success && allow.iter().any(|text| is_named(text, model.name(), &feed.feed)) {
            result.allowed = true;
            gated.notes.push(Consumed { input: remembered, from: before, to: windows.ingested_us() });
        } else if !result.success {
            gated.held.insert(name.clone());
            gated.notes.extend(input.from.map(|at| Consumed { input: input.id(), from: Some(at), to: at }));
        }
        gated.results.push(result);
    }
    Ok(gated)
}

/// The rows of an input that the model has not published; `None` where there are none.
async fn unpublished(input: &Input) -> Result<Option<Arc<dyn TableProvider>>> {
    let all = || Some(input.at.provider());
    Ok(match (&input.changes, input.from) {
        (Some(changes), _) if changes.is_empty() => None,
        (Some(changes), _) if changes.inserts_only() => Some(changes.inserts()),
        (Some(_), _) => all(),
        (None, None) => all().filter(|_| input.at.file_count() > 0),
        (None, Some(from)) if from < input.at.version() => {
            // A rebuild publishes them too, though it asks for no changes.
            match input.table.changes(from, input.at.version()).await {
                Ok(changes) if changes.is_empty() => None,
                Ok(changes) if changes.inserts_only() => Some(changes.inserts()),
                Ok(_) | Err(StoreError::HistoryGone { .. }) => all(),
                Err(error) => return Err(error.into()),
            }
        }
        (None, Some(_)) => None,
    })
}

/// What a feed's SQL makes of these rows of its table.
async fn fed(
    env: &RefineEnv,
    plan: &Plan,
    (model, feed): (&LoadedModel, &LoadedFeed),
    name: &TableName,
    received: Arc<dyn TableProvider>,
) -> Result<LogicalPlan> {
    let mut tables = HashMap::new();
    tables.insert(name.clone(), plan.seen(env, name, Some(received))?);
    for other in model.reads.iter().filter(|other| *other != name) {
        tables.insert(other.clone(), plan.seen(env, other, None)?);
    }
    let context = plan.with_views(env, model, tables).await?;
    let fed = context.state().create_logical_plan(&feed.feed.sql).await?;
    conform(fed, &store::read_schema(&model.schema))
}

/// Whether `--allow` means this feed.
fn is_named(text: &str, model: &TableName, feed: &Feed) -> bool {
    text == feed.name || text == format!("{model}.{}", feed.name)
}

/// Refuses names in `--allow` that mean no feed with a gate.
///
/// # Errors
/// [`RefineError::Options`], which names the feeds that have one.
pub(crate) fn named_feeds(project: &Project, allow: &[String]) -> Result<()> {
    let all = || project.models.values().flat_map(|model| model.feeds.iter().map(move |feed| (&model.name, feed)));
    let gated = || all().filter(|(_, feed)| feed.gate.is_some());
    let Some(text) = allow.iter().find(|text| !gated().any(|(model, feed)| is_named(text, model, feed))) else {
        return Ok(());
    };
    let known: Vec<String> = gated().map(|(model, feed)| format!("{model}.{}", feed.name)).collect();
    let known = if known.is_empty() { "no feed has one".to_owned() } else { known.join(", ") };
    Err(RefineError::Options(format!("--allow {text}: no feed of this name has a gate (feeds with a gate: {known})")))
}
