//! `smelt status`: what the lake holds, how fresh each table is, and how far it is behind what it reads.

mod freshness;
mod topics;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use arrow::array::{ArrayRef, AsArray, Float64Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use arrow::datatypes::Int64Type;
use schema::{Layer, STATUS_QUARANTINED, TableName};
use session::LakeSession;
use store::{LastRun, Snapshot};

use self::freshness::{Freshness, Tables};
use crate::app::App;
use crate::cli::{Common, StatusArgs};
use crate::output;
use crate::progress::say;
use crate::units::Span;

/// Prints one row a table, null where a table has no such thing; and to standard error what is wrong since when.
///
/// | column | is |
/// |---|---|
/// | table, version, rows, files, bytes | the table at its head |
/// | quarantined, open | Bronze: records that were set aside; those of them that are not mended |
/// | quarantine_rate | Bronze: open records of all that were delivered, 0 to 1 |
/// | behind | models: upstream versions not yet consumed |
/// | messages_behind | Bronze: messages of the stream's topics not yet consumed; null where no broker says so |
/// | waiting_s | models: seconds that the oldest upstream rows not yet consumed have waited; 0 if none |
/// | newest_event | the newest event that the table knows of, by the event times in Bronze that it has consumed, UTC, to the millisecond |
/// | changed_at | when its newest data file was written, UTC |
/// | tombstones | files that were removed and are not vacuumed |
/// | last_run_s, last_run_rows | seconds of the last run that committed to it, and records or upstream rows that it took |
///
/// # Errors
/// When a table cannot be read.
pub async fn run(common: &Common, args: StatusArgs) -> Result<ExitCode> {
    let app = App::open(common).await?;
    let mut opened = Vec::new();
    for name in app.lake.tables().await?.into_iter().filter(|name| name.layer != Layer::System) {
        opened.push(app.lake.table(&name).await?);
    }
    let tables = Tables::new(&app.project, opened);
    let session = app.sessions()?.session().await?;
    let mut runs = refine::last_runs(&app.lake).await;
    runs.extend(ingest::last_runs(&app.lake).await.into_iter().map(|(stream, run)| (TableName::bronze(&stream), run)));
    let waiting = topics::waiting(&app, tables.all()).await;
    let mut rows = Vec::new();
    for table in tables.all() {
        let snapshot = table.snapshot();
        let open = open_records(&session, &app, &snapshot).await?;
        let mut row = Row::of(&snapshot, open, tables.freshness(&snapshot).await, runs.get(snapshot.table()));
        row.messages_behind = waiting.get(snapshot.table()).copied();
        rows.push(row);
    }
    if let Some(release) = app.lake.releases().latest().await? {
        say(&format!("lake {}: release {} of {}", app.lake.url(), release.number, release.at.format("%F %T UTC")));
    } else {
        say(&format!("lake {}: no release yet", app.lake.url()));
    }
    for incident in app.alerts().open_incidents().await? {
        let age = Span(Duration::from_secs((app.lake.now() - incident.at).num_seconds().unsigned_abs()));
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
    open: Option<i64>,
    quarantine_rate: Option<f64>,
    files: i64,
    bytes: i64,
    tombstones: i64,
    freshness: Freshness,
    messages_behind: Option<i64>,
    changed_at_us: Option<i64>,
    last_run: Option<LastRun>,
}

impl Row {
    fn of(snapshot: &Snapshot, open: Option<i64>, freshness: Freshness, last_run: Option<&LastRun>) -> Row {
        let is_bronze = snapshot.table().layer == Layer::Bronze;
        let rows = snapshot.rows().and_then(|rows| i64::try_from(rows).ok());
        let quarantined = is_bronze.then(|| quarantined(snapshot));
        // A mended record has two rows.
        let delivered = rows.zip(quarantined).zip(open).map(|((rows, bad), open)| rows - (bad - open));
        Row {
            table: snapshot.table().clone(),
            version: snapshot.version(),
            rows,
            quarantined,
            open,
            quarantine_rate: delivered.zip(open).filter(|(all, _)| *all > 0).map(|(all, bad)| bad as f64 / all as f64),
            files: snapshot.file_count() as i64,
            bytes: snapshot.bytes() as i64,
            tombstones: snapshot.tombstones().count() as i64,
            freshness,
            messages_behind: None,
            changed_at_us: snapshot.files().map(|file| file.modified_ms * 1_000).max(),
            last_run: last_run.cloned(),
        }
    }
}

fn quarantined(snapshot: &Snapshot) -> i64 {
    let bad = |file: &&Arc<store::DataFile>| {
        file.partition_values.first().is_some_and(|value| value.as_deref() == Some(STATUS_QUARANTINED))
    };
    snapshot.files().filter(bad).filter_map(|file| file.rows(snapshot.meta())).sum::<u64>() as i64
}

/// Records in quarantine that are not mended; `None` for tables without a quarantine.
async fn open_records(session: &LakeSession, app: &App, snapshot: &Snapshot) -> Result<Option<i64>> {
    let table = snapshot.table();
    if table.layer != Layer::Bronze || !app.project.contracts.contains_key(&table.name) {
        return Ok(None);
    }
    if quarantined(snapshot) == 0 {
        return Ok(Some(0));
    }
    let question = format!("SELECT count(*) FROM quarantine.{} WHERE NOT _mended", table.name);
    let failed = || format!("counting the open records of {table}");
    let answer = session.sql(&question).await.with_context(failed)?.collect().await.with_context(failed)?;
    Ok(answer.first().map(|batch| batch.column(0).as_primitive::<Int64Type>().value(0)))
}

fn batch(rows: &[Row]) -> Result<RecordBatch> {
    let ints =
        |value: fn(&Row) -> Option<i64>| -> ArrayRef { Arc::new(rows.iter().map(value).collect::<Int64Array>()) };
    let floats =
        |value: fn(&Row) -> Option<f64>| -> ArrayRef { Arc::new(rows.iter().map(value).collect::<Float64Array>()) };
    let instants = |value: fn(&Row) -> Option<i64>| -> ArrayRef {
        Arc::new(rows.iter().map(value).collect::<TimestampMicrosecondArray>().with_timezone("UTC"))
    };
    let names: ArrayRef = Arc::new(StringArray::from_iter_values(rows.iter().map(|row| row.table.to_string())));
    Ok(RecordBatch::try_from_iter_with_nullable([
        ("table", names, false),
        ("version", ints(|row| Some(row.version)), false),
        ("rows", ints(|row| row.rows), true),
        ("quarantined", ints(|row| row.quarantined), true),
        ("open", ints(|row| row.open), true),
        ("quarantine_rate", floats(|row| row.quarantine_rate), true),
        ("files", ints(|row| Some(row.files)), false),
        ("bytes", ints(|row| Some(row.bytes)), false),
        ("tombstones", ints(|row| Some(row.tombstones)), false),
        ("behind", ints(|row| row.freshness.behind), true),
        ("messages_behind", ints(|row| row.messages_behind), true),
        ("waiting_s", ints(|row| row.freshness.waiting_s), true),
        ("newest_event", instants(|row| row.freshness.newest_event_us), true),
        ("changed_at", instants(|row| row.changed_at_us), true),
        ("last_run_s", floats(|row| row.last_run.as_ref().map(|run| run.seconds)), true),
        ("last_run_rows", ints(|row| row.last_run.as_ref().map(|run| run.rows as i64)), true),
    ])?)
}
