//! Models: what changed upstream becomes what changes in Silver and Gold.
//!
//! A refresh cycle ([`run()`]) goes through the project's models in the order in which they read each other. For each it
//! finds the rows that are new or changed since the positions that the table itself holds, computes the rows of the
//! model that depend on them, compares those with the stored ones, stages only what differs, runs the model's checks on
//! the staged files, and commits these very files together with the new positions. A cycle that changed something ends
//! with a release, so that readers see all tables of one cycle or none (ENGINE.md, rules 10 to 20).
//!
//! How a table is kept is declared in the model ([`schema::Kept`]); what this crate promises for each kind:
//!
//! * any order and any grouping of the same upstream rows gives the same table;
//! * a refresh that is repeated, killed, or run twice at the same time changes nothing twice;
//! * rows that are computed again with the values that they have are not written.
//!
//! It knows no Kafka and no landing files: Bronze is a table like any other. SQL is planned by `session`, files and
//! commits belong to `store`.

mod affected;
mod append;
mod cycle;
mod days;
mod diff;
mod env;
mod error;
mod fold;
mod gate;
mod gated;
mod grouping;
mod images;
mod job;
mod keeper;
mod keys;
mod keyset;
mod latest;
mod one_pass;
mod pins;
mod plan;
mod recompute;
mod record;
mod refresh;
mod rewrite;
mod scope;
mod slices;
mod stage;
mod stream;

pub use env::{Limits, ModelReport, Outcome, Progress, Quiet, RefineEnv, RefineOptions, RefineReport};
pub use error::{ErrorKind, RefineError, Result};
pub use record::last_runs;

use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// Runs one refresh cycle, or with [`RefineOptions::follow`] cycle after cycle until `cancel` is cancelled.
///
/// Every model's commit is atomic and carries the positions that it consumed, so a cycle that ends early is taken up by
/// the next one. A cancelled run finishes the commit that it is in and returns what it did. At its end the run's record is
/// written to `<lake>/_smelt/runs/`, also when it failed or changed nothing.
///
/// # Errors
/// [`RefineError::Gates`] when checks held models or gates held feeds back; all others were refreshed, and the report is
/// in the error. Otherwise the first failure of a model; the others were refreshed and released all the same.
pub async fn run(
    env: RefineEnv,
    options: RefineOptions,
    cancel: CancellationToken,
    progress: Arc<dyn Progress>,
) -> Result<RefineReport> {
    let (lake, run) = (env.lake.clone(), store::Run::start("refine", env.lake.now()));
    let mut cycles = cycle::Cycles::new(env, &options, progress).await?;
    let ended = match options.follow {
        None => cycles.once(&cancel).await,
        Some(every) => cycles.follow(every, &cancel).await,
    };
    run.end(&lake, lake.now(), ended.is_err(), cycles.record()).await;
    ended
}

/// Plans and checks all models of a project without reading a table: what is wrong with them is found before anything
/// runs.
///
/// # Errors
/// [`RefineError::Model`] with file and line.
pub async fn check(env: &RefineEnv) -> Result<()> {
    plan::Plan::load(env, &plan::Sources::parse(env, None)?).await.map(drop)
}
