//! The schema `quality`: what came in against what is kept, over all streams of the project at once.
//!
//! | table | one row is |
//! |---|---|
//! | `quality.results` | what a check or a gate found in one run |
//! | `quality.quarantine` | a bad record of any stream, with reason and raw bytes |
//! | `quality.reconciliation` | what a commit to Bronze said that it took from one input |
//! | `quality.commits` | a commit to Bronze: what it said, and the rows of the files that it added |
//!
//! A replay of quarantine is a commit that delivers nothing and stores `mended` rows: `rows_stored` is `stored` + `mended`.
//! The record it mends stays counted as quarantined where it came, so delivered = stored + quarantined holds for ever.
//!
//! The last two are read from the logs of Bronze and, for what maintenance has cleaned up there, from the table that keeps
//! it (`_smelt/quality/loads`).

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use datafusion::catalog::TableProvider;
use datafusion::datasource::empty::EmptyTable;
use datafusion::datasource::{MemTable, ViewTable, provider_as_source};
use datafusion::logical_expr::{LogicalPlanBuilder, cast, ident, lit};
use futures::future::try_join_all;
use schema::{PARTITION_COLUMNS, STATUS_QUARANTINED, STATUS_STORED, TableName};
use serde_json::{Map, Value};
use store::{HistoryEntry, Table};

use crate::catalog::Area;
use crate::resolver::Resolver;
use crate::{MENDED_COLUMN, SessionError, SessionFactory};

/// The tables of the schema, with what one row is.
pub(crate) const TABLES: [(&str, &str); 4] = [
    ("commits", "A commit to Bronze: what it said of itself, and the rows of the files that it added"),
    ("quarantine", "A bad record of any stream, with the reason and its raw bytes; open while it is not _mended"),
    ("reconciliation", "What a commit to Bronze said that it took from one input"),
    ("results", "What a check or a gate found in one run"),
];

/// Columns of `quality.quarantine`, besides `stream`.
const QUARANTINE_COLUMNS: [&str; 9] =
    ["_source", "_partition", "_offset", "_arrived_at", "_ingested_at", "_error", "_raw", "_header", MENDED_COLUMN];

/// The table of that name; `None` when there is none.
pub(crate) async fn table(
    resolver: &Resolver,
    factory: &SessionFactory,
    name: &str,
) -> Result<Option<Arc<dyn TableProvider>>, SessionError> {
    Ok(Some(match name {
        "quarantine" => quarantine(resolver, factory).await?,
        "commits" => commits(factory).await?,
        "reconciliation" => reconciliation(factory).await?,
        "results" => kept(factory, &schema::results_table(), schema::results_schema()).await?,
        _ => return Ok(None),
    }))
}

/// A table of Smelt's own at its head, with the columns of `wanted`; empty where it was never written.
async fn kept(
    factory: &SessionFactory,
    name: &TableName,
    wanted: SchemaRef,
) -> Result<Arc<dyn TableProvider>, SessionError> {
    Ok(match factory.snapshot(name, None).await? {
        Some(snapshot) => snapshot.provider(),
        None => Arc::new(EmptyTable::new(store::read_schema(&wanted))),
    })
}

async fn quarantine(resolver: &Resolver, factory: &SessionFactory) -> Result<Arc<dyn TableProvider>, SessionError> {
    let streams = factory.project().contracts.keys();
    let opened = streams.clone().map(|stream| resolver.stream(Area::Quarantine, stream));
    let opened = try_join_all(opened).await?;
    let mut all: Option<LogicalPlanBuilder> = None;
    for (stream, table) in streams.zip(opened) {
        let Some(table) = table else { continue };
        let columns = std::iter::once(lit(stream.as_str()).alias("stream")).chain(QUARANTINE_COLUMNS.map(ident));
        let rows = LogicalPlanBuilder::scan(stream.as_str(), provider_as_source(table), None)?.project(columns)?;
        all = Some(match all {
            None => rows,
            Some(before) => before.union(rows.build()?)?,
        });
    }
    match all {
        Some(all) => Ok(Arc::new(ViewTable::new(all.build()?, None))),
        // A project without streams has no bad records, and no columns to show either but the first.
        None => {
            let columns = Schema::new(vec![Field::new("stream", DataType::Utf8, true)]);
            Ok(Arc::new(EmptyTable::new(Arc::new(columns))))
        }
    }
}

/// What all commits to Bronze said: those that were kept for history, and those of the logs since.
async fn loads(factory: &SessionFactory) -> Result<LogicalPlanBuilder, SessionError> {
    let kept = factory.snapshot(&schema::loads_table(), None).await?;
    let kept = kept.as_deref();
    let opened = factory.project().contracts.values().map(|contract| async move {
        let Some(table) = factory.table(&contract.table()).await? else { return Ok(None) };
        table.refresh().await?;
        let after = kept.and_then(|kept| kept.txn(&load_input(&table))).unwrap_or(-1);
        Ok::<_, SessionError>(Some(load_rows(&contract.name, &table.history_after(after).await?)?))
    });
    let logged: Vec<RecordBatch> = try_join_all(opened).await?.into_iter().flatten().collect();
    let logged = MemTable::try_new(schema::loads_schema(), vec![logged])?;
    let wanted = store::read_schema(&schema::loads_schema());
    let columns = || {
        let column = |field: &FieldRef| cast(ident(field.name()), field.data_type().clone()).alias(field.name());
        wanted.fields().iter().map(column).collect::<Vec<_>>()
    };
    let all = LogicalPlanBuilder::scan("logged", provider_as_source(Arc::new(logged)), None)?.project(columns())?;
    Ok(match kept {
        None => all,
        Some(kept) => {
            let kept =
                LogicalPlanBuilder::scan("kept", provider_as_source(kept.provider()), None)?.project(columns())?;
            all.union(kept.build()?)?
        }
    })
}

/// The commits of all streams, as a whole.
async fn commits(factory: &SessionFactory) -> Result<Arc<dyn TableProvider>, SessionError> {
    let columns = ["stream", "version", "committed_at", "delivered", "stored", "quarantined", "skipped", "mended"];
    let columns = columns.into_iter().chain(["rows_stored", "rows_quarantined"]).map(ident);
    let rows = loads(factory).await?.filter(ident("input").is_null())?.project(columns)?;
    Ok(Arc::new(ViewTable::new(rows.build()?, None)))
}

/// The same, input by input.
async fn reconciliation(factory: &SessionFactory) -> Result<Arc<dyn TableProvider>, SessionError> {
    let columns =
        ["stream", "version", "committed_at", "input", "delivered", "stored", "quarantined", "skipped", "mended"];
    let rows = loads(factory).await?.filter(ident("input").is_not_null())?.project(columns.map(ident))?;
    Ok(Arc::new(ViewTable::new(rows.build()?, None)))
}

/// The id under which the table of loads keeps how far it has taken over a Bronze table's log.
pub fn load_input(table: &Table) -> String {
    format!("table:{}", table.snapshot().id())
}

/// What commits to a stream's Bronze table said of themselves, in the columns of [`schema::loads_schema`]: a row for each
/// commit that brought data, and one for each of its inputs.
///
/// # Errors
/// Never in practice: the columns are all of one length.
pub fn load_rows(stream: &str, entries: &[HistoryEntry]) -> Result<RecordBatch, SessionError> {
    let mut rows: Vec<(&HistoryEntry, Option<&str>, &Map<String, Value>)> = Vec::new();
    for entry in entries.iter().filter(|entry| entry.info.contains_key("delivered")) {
        rows.push((entry, None, &entry.info));
        let inputs = entry.info.get("inputs").and_then(Value::as_object).into_iter().flatten();
        let counts = inputs.filter_map(|(input, counts)| Some((input.as_str(), counts.as_object()?)));
        rows.extend(counts.map(|(input, counts)| (entry, Some(input), counts)));
    }
    let of = |count: &str| longs(rows.iter().map(|(_, _, counts)| count_of(counts, count)));
    let rows_of =
        |status: &str| longs(rows.iter().map(|(entry, input, _)| input.is_none().then(|| rows_with(entry, status))));
    let columns: Vec<ArrayRef> = vec![
        texts(vec![Some(stream); rows.len()]),
        longs(rows.iter().map(|(entry, ..)| Some(entry.version))),
        instants(rows.iter().map(|(entry, ..)| *entry)),
        texts(rows.iter().map(|(_, input, _)| *input).collect()),
        of("delivered"),
        of("stored"),
        of("quarantined"),
        of("skipped"),
        longs(rows.iter().map(|(_, _, counts)| Some(count_of(counts, "mended").unwrap_or(0)))),
        rows_of(STATUS_STORED),
        rows_of(STATUS_QUARANTINED),
    ];
    let batch = RecordBatch::try_new(schema::loads_schema(), columns);
    Ok(batch.map_err(datafusion::common::DataFusionError::from)?)
}

fn count_of(info: &Map<String, Value>, count: &str) -> Option<i64> {
    info.get(count).and_then(Value::as_i64)
}

/// Rows that the commit's files add to a status: the first partition column.
fn rows_with(entry: &HistoryEntry, status: &str) -> i64 {
    debug_assert_eq!(PARTITION_COLUMNS[0], "_status");
    let of_status = entry.added_rows.iter().filter(|(values, _)| values.first() == Some(&Some(status.to_owned())));
    of_status.map(|(_, rows)| i64::try_from(*rows).unwrap_or(i64::MAX)).sum()
}

fn texts(values: Vec<Option<&str>>) -> ArrayRef {
    Arc::new(StringArray::from(values))
}

fn longs(values: impl Iterator<Item = Option<i64>>) -> ArrayRef {
    Arc::new(values.collect::<Int64Array>())
}

fn instants<'a>(entries: impl Iterator<Item = &'a HistoryEntry>) -> ArrayRef {
    let micros = entries.map(|entry| entry.at.map(|at| at.timestamp_micros()));
    Arc::new(micros.collect::<TimestampMicrosecondArray>().with_timezone("UTC"))
}
