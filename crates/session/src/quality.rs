//! The schema `quality`: what came in against what is kept, over all streams of the project at once.
//!
//! | table | one row is |
//! |---|---|
//! | `quality.results` | what a check or a gate found in one run |
//! | `quality.quarantine` | a bad record of any stream, with reason and raw bytes |
//! | `quality.reconciliation` | what a commit to Bronze said that it took from one input |
//! | `quality.commits` | a commit to Bronze: what it said, and the rows of the files that it added |
//!
//! The last two tell of the commits that the tables' logs still have (maintenance cleans logs up).

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use arrow::datatypes::SchemaRef;
use datafusion::catalog::TableProvider;
use datafusion::datasource::empty::EmptyTable;
use datafusion::datasource::{MemTable, ViewTable, provider_as_source};
use datafusion::logical_expr::{LogicalPlanBuilder, ident, lit};
use futures::future::try_join_all;
use schema::{PARTITION_COLUMNS, STATUS_QUARANTINED, STATUS_STORED, TableName};
use serde_json::{Map, Value};
use store::HistoryEntry;

use crate::catalog::Area;
use crate::resolver::Resolver;
use crate::{SessionError, SessionFactory};

/// The tables of the schema, with what one row is.
pub(crate) const TABLES: [(&str, &str); 4] = [
    ("commits", "A commit to Bronze: what it said of itself, and the rows of the files that it added"),
    ("quarantine", "A bad record of any stream, with the reason and its raw bytes"),
    ("reconciliation", "What a commit to Bronze said that it took from one input"),
    ("results", "What a check or a gate found in one run"),
];

/// Columns of `quality.quarantine`, besides `stream`.
const QUARANTINE_COLUMNS: [&str; 7] =
    ["_source", "_partition", "_offset", "_arrived_at", "_ingested_at", "_error", "_raw"];

/// The table of that name; `None` when there is none.
pub(crate) async fn table(
    resolver: &Resolver,
    factory: &SessionFactory,
    name: &str,
) -> Result<Option<Arc<dyn TableProvider>>, SessionError> {
    Ok(Some(match name {
        "quarantine" => quarantine(resolver, factory).await?,
        "commits" => commits(&histories(factory).await?)?,
        "reconciliation" => reconciliation(&histories(factory).await?)?,
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
        None => rows([("stream", texts(Vec::new()))]),
    }
}

/// The commits of each stream's Bronze table, oldest first.
async fn histories(factory: &SessionFactory) -> Result<Vec<(String, Vec<HistoryEntry>)>, SessionError> {
    let histories = factory.project().contracts.values().map(|contract| async move {
        let history = match factory.table(&contract.table()).await? {
            None => Vec::new(),
            Some(table) => {
                table.refresh().await?;
                table.history().await?
            }
        };
        Ok::<_, SessionError>((contract.name.clone(), history))
    });
    try_join_all(histories).await
}

/// The commits that brought data, with their stream.
fn loads(histories: &[(String, Vec<HistoryEntry>)]) -> impl Iterator<Item = (&str, &HistoryEntry)> {
    let all = histories.iter().flat_map(|(stream, entries)| entries.iter().map(move |entry| (stream.as_str(), entry)));
    all.filter(|(_, entry)| entry.info.contains_key("delivered"))
}

fn commits(histories: &[(String, Vec<HistoryEntry>)]) -> Result<Arc<dyn TableProvider>, SessionError> {
    let loads: Vec<_> = loads(histories).collect();
    let of = |count: &str| longs(loads.iter().map(|(_, entry)| count_of(&entry.info, count)));
    let rows_of = |status: &str| longs(loads.iter().map(|(_, entry)| Some(rows_with(entry, status))));
    rows([
        ("stream", texts(loads.iter().map(|(stream, _)| *stream).collect())),
        ("version", longs(loads.iter().map(|(_, entry)| Some(entry.version)))),
        ("committed_at", instants(loads.iter().map(|(_, entry)| *entry))),
        ("delivered", of("delivered")),
        ("stored", of("stored")),
        ("quarantined", of("quarantined")),
        ("skipped", of("skipped")),
        ("rows_stored", rows_of(STATUS_STORED)),
        ("rows_quarantined", rows_of(STATUS_QUARANTINED)),
    ])
}

fn reconciliation(histories: &[(String, Vec<HistoryEntry>)]) -> Result<Arc<dyn TableProvider>, SessionError> {
    let none = Map::new();
    let parts: Vec<(&str, &HistoryEntry, &str, &Map<String, Value>)> = loads(histories)
        .flat_map(|(stream, entry)| {
            let inputs = entry.info.get("inputs").and_then(Value::as_object).into_iter().flatten();
            let none = &none;
            inputs.map(move |(input, counts)| (stream, entry, input.as_str(), counts.as_object().unwrap_or(none)))
        })
        .collect();
    let of = |count: &str| longs(parts.iter().map(|(_, _, _, counts)| count_of(counts, count)));
    rows([
        ("stream", texts(parts.iter().map(|part| part.0).collect())),
        ("version", longs(parts.iter().map(|part| Some(part.1.version)))),
        ("committed_at", instants(parts.iter().map(|part| part.1))),
        ("input", texts(parts.iter().map(|part| part.2).collect())),
        ("delivered", of("delivered")),
        ("stored", of("stored")),
        ("quarantined", of("quarantined")),
        ("skipped", of("skipped")),
    ])
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

fn texts(values: Vec<&str>) -> ArrayRef {
    Arc::new(StringArray::from(values))
}

fn longs(values: impl Iterator<Item = Option<i64>>) -> ArrayRef {
    Arc::new(values.collect::<Int64Array>())
}

fn instants<'a>(entries: impl Iterator<Item = &'a HistoryEntry>) -> ArrayRef {
    let micros = entries.map(|entry| entry.at.map(|at| at.timestamp_micros()));
    Arc::new(micros.collect::<TimestampMicrosecondArray>().with_timezone("UTC"))
}

fn rows<const N: usize>(columns: [(&str, ArrayRef); N]) -> Result<Arc<dyn TableProvider>, SessionError> {
    let batch = RecordBatch::try_from_iter_with_nullable(columns.map(|(name, column)| (name, column, true)))
        .map_err(datafusion::common::DataFusionError::from)?;
    Ok(Arc::new(MemTable::try_new(batch.schema(), vec![vec![batch]])?))
}
