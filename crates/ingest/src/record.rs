//! Run records: one small JSON file a run under `<lake>/_smelt/runs/`, also for runs that consumed nothing.

use object_store::path::Path;
use object_store::{ObjectStoreExt, PutPayload};
use serde::Serialize;
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
