//! Run records: one small JSON file a run under `<lake>/_smelt/runs/`, also for runs that consumed nothing.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::StreamExt;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutPayload};
use serde::{Deserialize, Serialize};
use store::Lake;

use crate::Clock;

/// What a run record holds.
#[derive(Serialize)]
struct RunRecord<'a, R> {
    process: u32,
    started: String,
    ended: String,
    #[serde(flatten)]
    ran: Ran<'a, R>,
}

/// What ran, and what it did.
#[derive(Serialize)]
pub(crate) struct Ran<'a, R> {
    /// The command.
    pub command: &'static str,
    /// Whether it failed.
    pub failed: bool,
    /// Its report.
    #[serde(flatten)]
    pub report: &'a R,
}

/// The name of a run of `command` that starts now: sorts by time, and is its own in any number of processes.
pub(crate) fn name(clock: &Clock, command: &str) -> String {
    let unique = uuid::Uuid::new_v4().simple().to_string();
    format!("{}-{command}-{}", clock().format("%Y%m%dT%H%M%S%.3fZ"), &unique[..8])
}

/// Writes the record of a run. A lake that cannot be written is worth a warning only: the run itself has its own error.
pub(crate) async fn write<R: Serialize>(
    lake: &Lake,
    clock: &Clock,
    started: chrono::DateTime<chrono::Utc>,
    name: &str,
    ran: Ran<'_, R>,
) {
    let record = RunRecord {
        process: std::process::id(),
        started: started.to_rfc3339_opts(chrono::SecondsFormat::Millis, true),
        ended: clock().to_rfc3339_opts(chrono::SecondsFormat::Millis, true),
        ran,
    };
    let path = Path::from(format!("_smelt/runs/{name}.json"));
    let Ok(text) = serde_json::to_vec_pretty(&record) else { return };
    if let Err(error) = lake.object_store().put(&path, PutPayload::from(text)).await {
        tracing::warn!(%path, %error, "the run's record could not be written");
    }
}

/// What the last run that committed rows of a stream did.
#[derive(Debug, Clone, PartialEq)]
pub struct LastRun {
    /// Its record, which names when it began.
    pub run: String,
    /// Wall-clock seconds.
    pub seconds: f64,
    /// Records that it stored or set aside.
    pub records: u64,
}

/// A record, as far as it is read again.
#[derive(Deserialize)]
struct Read {
    #[serde(default)]
    streams: Vec<ReadStream>,
}

#[derive(Deserialize)]
struct ReadStream {
    stream: String,
    #[serde(default)]
    commits: u64,
    #[serde(default)]
    counts: ReadCounts,
    #[serde(default)]
    seconds: f64,
}

#[derive(Default, Deserialize)]
struct ReadCounts {
    #[serde(default)]
    delivered: u64,
}

/// Records that are looked at for [`last_runs`].
const MOST_READ: usize = 200;

/// Per stream, the last run that committed to it, by the newest records of the lake. What cannot be read is left out.
pub async fn last_runs(lake: &Lake) -> BTreeMap<String, LastRun> {
    let store = lake.object_store();
    let folder = Path::from("_smelt/runs");
    let mut listed: Vec<Path> = store
        .list(Some(&folder))
        .filter_map(|file| std::future::ready(file.ok().map(|file| file.location)))
        .collect()
        .await;
    listed.retain(|path| path.as_ref().contains("-ingest-"));
    // Names begin with the time.
    listed.sort_by(|a, b| b.cmp(a));
    let reads = listed.into_iter().take(MOST_READ).map(|path| {
        let store = Arc::clone(&store);
        async move {
            let bytes = store.get(&path).await.ok()?.bytes().await.ok()?;
            Some((path, serde_json::from_slice::<Read>(&bytes).ok()?))
        }
    });
    let records: Vec<_> = futures::stream::iter(reads).buffered(16).collect().await;
    let mut runs = BTreeMap::new();
    for (path, record) in records.into_iter().flatten() {
        for stream in record.streams.into_iter().filter(|stream| stream.commits > 0) {
            let run = path.filename().unwrap_or_default().trim_end_matches(".json").to_owned();
            let last = LastRun { run, seconds: stream.seconds, records: stream.counts.delivered };
            runs.entry(stream.stream).or_insert(last);
        }
    }
    runs
}
