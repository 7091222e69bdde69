//! The table of results: `_smelt/quality/results` in the lake, `quality.results` in SQL.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Float64Array, Int64Array, RecordBatch, StringArray,
    TimestampMicrosecondArray,
};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int64Type};
use chrono::{DateTime, Utc};
use futures::TryStreamExt;
use schema::{Severity, results_schema, results_table};
use session::{LakeSession, Parameters};
use store::{Commit, Lake, Operation, TableSpec, WriterOptions};

use crate::{CheckResult, Result, SampleRow};

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

/// The last result of each check and gate, by table, feed and check.
///
/// # Errors
/// When the table of results cannot be read.
pub async fn latest(session: &LakeSession) -> Result<Vec<CheckResult>> {
    let sql = "SELECT table_name, feed, check_name, severity, success, allowed, version, observed_value, element_count, \
               unexpected_count, partial_unexpected_list FROM (SELECT *, row_number() OVER (PARTITION BY table_name, \
               feed, check_name ORDER BY run_at DESC, run_id DESC) AS place FROM quality.results) AS ranked \
               WHERE place = 1 ORDER BY table_name, feed, check_name";
    let batches: Vec<RecordBatch> = session.query(sql, &Parameters::new()).await?.try_collect().await?;
    let mut results = Vec::new();
    for batch in &batches {
        let text = |place: usize| cast(batch.column(place), &DataType::Utf8);
        let (table, feed, check, severity) = (text(0)?, text(1)?, text(2)?, text(3)?);
        let (success, allowed) = (batch.column(4).as_boolean(), batch.column(5).as_boolean());
        let (observed, sample) = (text(7)?, text(10)?);
        let long = |place: usize, row: usize| {
            let column = batch.column(place);
            column.is_valid(row).then(|| column.as_primitive::<Int64Type>().value(row))
        };
        let text = |column: &ArrayRef, row: usize| {
            column.is_valid(row).then(|| column.as_string::<i32>().value(row).to_owned())
        };
        for row in 0..batch.num_rows() {
            // A name that no table can have is none of ours.
            let Some(Ok(table)) = text(&table, row).map(|name| name.parse()) else { continue };
            results.push(CheckResult {
                table,
                feed: text(&feed, row),
                check: text(&check, row).unwrap_or_default(),
                severity: if text(&severity, row).as_deref() == Some("warn") { Severity::Warn } else { Severity::Fail },
                success: success.value(row),
                allowed: allowed.value(row),
                version: long(6, row),
                observed_value: text(&observed, row),
                element_count: long(8, row).map(i64::unsigned_abs),
                unexpected_count: long(9, row).map_or(0, i64::unsigned_abs),
                sample: text(&sample, row).map(|json| SampleRow::of_json(&json)).unwrap_or_default(),
            });
        }
    }
    Ok(results)
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
