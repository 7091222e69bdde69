//! The table of results: `_smelt/quality/results` in the lake, `quality.results` in SQL.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, Float64Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
};
use chrono::{DateTime, Utc};
use schema::{results_schema, results_table};
use store::{Commit, Lake, Operation, TableSpec, WriterOptions};

use crate::{CheckResult, Result};

/// Who evaluated checks, and when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// Its id: one for all results that were found together.
    pub id: String,
    /// When.
    pub at: DateTime<Utc>,
    /// `refine`, for rows about to be published, or `check`, for tables as they stand.
    pub by: &'static str,
}

impl Run {
    /// A run of this process, now.
    pub fn now(lake: &Lake, by: &'static str) -> Self {
        let at = lake.now();
        Self { id: format!("{}-{}", at.format("%Y%m%dT%H%M%S%6fZ"), std::process::id()), at, by }
    }
}

/// Appends results in one commit; without results nothing is written.
///
/// # Errors
/// When storage fails.
pub async fn append(lake: &Lake, run: &Run, results: &[CheckResult]) -> Result<()> {
    if results.is_empty() {
        return Ok(());
    }
    let mut spec = TableSpec::new(results_schema());
    spec.description = Some("What each check and gate found, run by run".to_owned());
    let table = lake.create_table(&results_table(), &spec).await?;
    let mut writer = table.writer(WriterOptions::default());
    writer.write(rows(run, results)?).await?;
    let mut commit = Commit::new(table.snapshot(), Operation::Append);
    commit.stage(writer.finish().await?);
    table.commit(commit).await?;
    Ok(())
}

fn rows(run: &Run, results: &[CheckResult]) -> Result<RecordBatch> {
    let text = |value: &dyn Fn(&CheckResult) -> Option<String>| -> ArrayRef {
        Arc::new(results.iter().map(value).collect::<StringArray>())
    };
    let long = |value: &dyn Fn(&CheckResult) -> Option<i64>| -> ArrayRef {
        Arc::new(results.iter().map(value).collect::<Int64Array>())
    };
    let flag = |value: &dyn Fn(&CheckResult) -> bool| -> ArrayRef {
        Arc::new(results.iter().map(|result| Some(value(result))).collect::<BooleanArray>())
    };
    let at = TimestampMicrosecondArray::from(vec![run.at.timestamp_micros(); results.len()]).with_timezone("UTC");
    let percent: Float64Array = results.iter().map(CheckResult::unexpected_percent).collect();
    let whole = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
    let columns: Vec<ArrayRef> = vec![
        text(&|_| Some(run.id.clone())),
        Arc::new(at),
        text(&|_| Some(run.by.to_owned())),
        text(&|result| Some(result.table.to_string())),
        text(&|result| result.feed.clone()),
        long(&|result| result.version),
        text(&|result| Some(result.check.clone())),
        text(&|result| Some(result.severity.as_str().to_owned())),
        flag(&|result| result.success),
        flag(&|result| result.allowed),
        text(&|result| result.observed_value.clone()),
        long(&|result| result.element_count.map(whole)),
        long(&|result| Some(whole(result.unexpected_count))),
        Arc::new(percent),
        text(&|result| serde_json::to_string(&result.sample).ok()),
    ];
    Ok(RecordBatch::try_new(results_schema(), columns)?)
}
