//! Records of runs: one small JSON file each under `<lake>/_smelt/runs/`, also of runs that consumed nothing.

use std::sync::Arc;

use chrono::{DateTime, SecondsFormat, Utc};
use futures::StreamExt;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutPayload};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::Lake;

/// A command that runs.
#[derive(Clone, Debug)]
pub struct Run {
    name: String,
    command: &'static str,
    started: DateTime<Utc>,
}

/// What a record holds.
#[derive(Serialize)]
struct Record<'a, R> {
    process: u32,
    started: String,
    ended: String,
    command: &'static str,
    failed: bool,
    #[serde(flatten)]
    report: &'a R,
}

impl Run {
    /// A run of `command` that starts now.
    pub fn start(command: &'static str, now: DateTime<Utc>) -> Self {
        let unique = uuid::Uuid::new_v4().simple().to_string();
        let name = format!("{}-{command}-{}", now.format("%Y%m%dT%H%M%S%.3fZ"), &unique[..8]);
        Self { name, command, started: now }
    }

    /// Its name: sorts by time, and is its own in any number of processes.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Writes the run's record: when it ran, whether it failed, and its report, an object in JSON. A lake that cannot be
    /// written is worth a warning only: the run itself has its own error.
    pub async fn end<R: Serialize>(&self, lake: &Lake, now: DateTime<Utc>, failed: bool, report: &R) {
        let record = Record {
            process: std::process::id(),
            started: self.started.to_rfc3339_opts(SecondsFormat::Millis, true),
            ended: now.to_rfc3339_opts(SecondsFormat::Millis, true),
            command: self.command,
            failed,
            report,
        };
        let path = folder().join(format!("{}.json", self.name));
        let Ok(text) = serde_json::to_vec_pretty(&record) else { return };
        if let Err(error) = lake.object_store().put(&path, PutPayload::from(text)).await {
            tracing::warn!(%path, %error, "the run's record could not be written");
        }
    }
}

fn folder() -> Path {
    Path::from("_smelt/runs")
}

/// What the last run that committed to a table did there.
#[derive(Clone, Debug, PartialEq)]
pub struct LastRun {
    /// Its name, which begins with the time at which it started.
    pub run: String,
    /// Wall-clock seconds.
    pub seconds: f64,
    /// Records or rows that it took.
    pub rows: u64,
}

/// Records that [`newest_runs`] looks at.
const MOST_READ: usize = 200;

/// The names and records of the newest runs of a command, as far as `R` reads them, the newest first; at most 200. What
/// cannot be read is left out.
pub async fn newest_runs<R: DeserializeOwned>(lake: &Lake, command: &str) -> Vec<(String, R)> {
    let (store, of_command) = (lake.object_store(), format!("-{command}-"));
    let mut listed: Vec<Path> = store
        .list(Some(&folder()))
        .filter_map(|file| std::future::ready(file.ok().map(|file| file.location)))
        .collect()
        .await;
    listed.retain(|path| path.as_ref().contains(&of_command));
    // Names begin with the time.
    listed.sort_by(|a, b| b.cmp(a));
    let reads = listed.into_iter().take(MOST_READ).map(|path| {
        let store = Arc::clone(&store);
        async move {
            let bytes = store.get(&path).await.ok()?.bytes().await.ok()?;
            let name = path.filename().unwrap_or_default().trim_end_matches(".json").to_owned();
            Some((name, serde_json::from_slice::<R>(&bytes).ok()?))
        }
    });
    futures::stream::iter(reads).buffered(16).filter_map(std::future::ready).collect().await
}
