//! What a run did to each model, for its record under `_smelt/runs/`.

use std::collections::BTreeMap;

use schema::TableName;
use serde::{Deserialize, Serialize};
use store::{Lake, LastRun, newest_runs};

use crate::{ModelReport, Outcome, RefineError};

/// A run, all its cycles together.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Record {
    models: BTreeMap<String, ModelRecord>,
}

/// What a run did to one model.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct ModelRecord {
    /// How its last refresh ended.
    outcome: String,
    /// Commits of it.
    commits: u64,
    rows_in: u64,
    rows_added: u64,
    rows_removed: u64,
    files_added: u64,
    files_removed: u64,
    /// The table's version at the end.
    version: Option<i64>,
    /// Wall-clock seconds of the refreshes that committed.
    seconds: f64,
}

impl Record {
    /// Adds a refresh.
    pub(crate) fn add(&mut self, report: &ModelReport) {
        let model = self.models.entry(report.model.to_string()).or_default();
        model.outcome = report.outcome.to_string();
        model.version = report.version;
        if matches!(report.outcome, Outcome::Changed | Outcome::Positions) {
            model.commits += 1;
            model.rows_in += report.rows_in;
            model.rows_added += report.rows_added;
            model.rows_removed += report.rows_removed;
            model.files_added += report.files_added;
            model.files_removed += report.files_removed;
            model.seconds += report.seconds;
        }
    }

    /// Adds a refresh that failed.
    pub(crate) fn add_failed(&mut self, model: &TableName, error: &RefineError) {
        self.models.entry(model.to_string()).or_default().outcome = format!("failed: {error}");
    }
}

/// Per model, the last run that committed to its table, and how many rows it looked at.
pub async fn last_runs(lake: &Lake) -> BTreeMap<TableName, LastRun> {
    let mut runs = BTreeMap::new();
    for (run, record) in newest_runs::<Record>(lake, "refine").await {
        for (name, model) in record.models.into_iter().filter(|(_, model)| model.commits > 0) {
            let Ok(name) = name.parse() else { continue };
            let last = LastRun { run: run.clone(), seconds: model.seconds, rows: model.rows_in };
            runs.entry(name).or_insert(last);
        }
    }
    runs
}
