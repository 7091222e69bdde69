//! What records of runs say of streams.

use std::collections::BTreeMap;

use serde::Deserialize;
use store::{Lake, LastRun, newest_runs};

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

/// Per stream, the last run that committed to it, and how many records it stored or set aside.
pub async fn last_runs(lake: &Lake) -> BTreeMap<String, LastRun> {
    let mut runs = BTreeMap::new();
    for (run, record) in newest_runs::<Read>(lake, "ingest").await {
        for stream in record.streams.into_iter().filter(|stream| stream.commits > 0) {
            let last = LastRun { run: run.clone(), seconds: stream.seconds, rows: stream.counts.delivered };
            runs.entry(stream.stream).or_insert(last);
        }
    }
    runs
}
