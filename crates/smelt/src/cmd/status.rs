//! `smelt status`: what the lake holds, and how far each table is behind what it reads.

use std::collections::HashMap;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Result;
use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use schema::{Layer, STATUS_QUARANTINED, TableName};
use store::{Snapshot, Table};

use crate::app::App;
use crate::cli::{Common, StatusArgs};
use crate::output;
use crate::progress::say;
use crate::units::Span;

/// Prints one row a table, and to standard error what is wrong since when.
///
/// Columns: table, version, rows, quarantined (rows of Bronze kept with a reason), files, bytes, behind (upstream versions
/// not yet consumed), changed_at (UTC, of the newest data file); null where a table has no such thing.
///
/// # Errors
/// When a table cannot be read.
pub async fn run(common: &Common, args: StatusArgs) -> Result<ExitCode> {
    let app = App::open(common).await?;
    let mut tables = Vec::new();
    for name in app.lake.tables().await?.into_iter().filter(|name| name.layer != Layer::System) {
        tables.push(app.lake.table(&name).await?);
    }
    let heads = tables.iter().map(|table| (table.snapshot().id().to_owned(), table.snapshot().version())).collect();
    let rows: Vec<Row> = tables.iter().map(|table| Row::of(table, &heads)).collect();
    if let Some(release) = app.lake.releases().latest().await? {
        say(&format!("lake {}: release {} of {}", app.lake.url(), release.number, release.at.format("%F %T UTC")));
    } else {
        say(&format!("lake {}: no release yet", app.lake.url()));
    }
    for incident in app.alerts().open_incidents().await? {
        let age = Span(std::time::Duration::from_secs((app.lake.now() - incident.at).num_seconds().unsigned_abs()));
        say(&format!("since {} ({age}): {}; {}", incident.at.format("%F %T UTC"), incident.title, incident.details));
    }
    let mut writer = args.output.open()?;
    output::write_batch(batch(&rows)?, args.output.format.into(), &mut writer).await?;
    writer.finish()?;
    Ok(ExitCode::SUCCESS)
}

struct Row {
    table: TableName,
    version: i64,
    rows: Option<i64>,
    quarantined: Option<i64>,
    files: i64,
    bytes: i64,
    behind: Option<i64>,
    changed_at_us: Option<i64>,
}

impl Row {
    fn of(table: &Table, heads: &HashMap<String, i64>) -> Row {
        let snapshot = table.snapshot();
        let is_bronze = table.name().layer == Layer::Bronze;
        Row {
            table: table.name().clone(),
            version: snapshot.version(),
            rows: snapshot.rows().and_then(|rows| i64::try_from(rows).ok()),
            quarantined: is_bronze.then(|| quarantined(&snapshot)),
            files: snapshot.file_count() as i64,
            bytes: snapshot.bytes() as i64,
            behind: (!is_bronze).then(|| behind(&snapshot, heads)),
            changed_at_us: snapshot.files().map(|file| file.modified_ms * 1_000).max(),
        }
    }
}

fn quarantined(snapshot: &Snapshot) -> i64 {
    let bad = |file: &&Arc<store::DataFile>| {
        file.partition_values.first().is_some_and(|value| value.as_deref() == Some(STATUS_QUARANTINED))
    };
    snapshot.files().filter(bad).filter_map(|file| file.rows(snapshot.meta())).sum::<u64>() as i64
}

/// Upstream versions that `snapshot` has not consumed, over all that it reads.
fn behind(snapshot: &Snapshot, heads: &HashMap<String, i64>) -> i64 {
    let inputs = snapshot.txns().filter_map(|(input, at)| input.strip_prefix("table:").map(|id| (id, at)));
    inputs.filter_map(|(id, at)| heads.get(id).map(|head| head - at)).sum()
}

fn batch(rows: &[Row]) -> Result<RecordBatch> {
    let ints =
        |value: fn(&Row) -> Option<i64>| -> ArrayRef { Arc::new(rows.iter().map(value).collect::<Int64Array>()) };
    let names: ArrayRef = Arc::new(StringArray::from_iter_values(rows.iter().map(|row| row.table.to_string())));
    let changed: TimestampMicrosecondArray = rows.iter().map(|row| row.changed_at_us).collect();
    Ok(RecordBatch::try_from_iter_with_nullable([
        ("table", names, false),
        ("version", ints(|row| Some(row.version)), false),
        ("rows", ints(|row| row.rows), true),
        ("quarantined", ints(|row| row.quarantined), true),
        ("files", ints(|row| Some(row.files)), false),
        ("bytes", ints(|row| Some(row.bytes)), false),
        ("behind", ints(|row| row.behind), true),
        ("changed_at", Arc::new(changed.with_timezone("UTC")), true),
    ])?)
}
