//! A small lake in memory, for tests.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::SchemaRef;
use arrow::util::pretty::pretty_format_batches;
use schema::{Project, SourceFile, TableName};
use session::{LakeSession, SessionFactory, SessionOptions};
use store::{Commit, Consumed, Lake, LakeOptions, Operation, TableSpec, WriterOptions};

/// A stream of till lines, one of dated files, and models over the first.
pub const PROJECT: &[(&str, &str)] = &[
    (
        "models/bronze/till.toml",
        r#"
description = "A line of a till"
entity = ["id"]
files = { path = "landing/till", format = "ndjson" }
[fields]
id = { type = "int", required = true, description = "number of the line" }
day = { type = "date", description = "day of the sale" }
amount = { type = "decimal(18,2)", unit = "currency", description = "what was paid" }
"#,
    ),
    (
        "models/bronze/prices.toml",
        r#"
description = "Price of a product"
entity = ["product"]
files = { path = "landing/prices", format = "csv", date = "prices_%Y%m%d.csv" }
[fields]
product = { type = "string", required = true }
price = { type = "decimal(18,2)" }
"#,
    ),
    (
        "models/silver/lines.sql",
        r#"/* models/silver/lines.sql
---
description = "One row a till line"
grain = ["id"]
kept = "latest"
entity = ["id", "day"]
partition_by = ["day"]
columns.amount = { type = "decimal(30,3)", unit = "currency", description = "what was paid" }
--- */
SELECT id, day, amount, _lineage FROM bronze.till"#,
    ),
    (
        "models/gold/daily.sql",
        r#"/* models/gold/daily.sql
---
description = "Sales by day"
grain = ["day"]
kept = "scoped"
scope = "day"
--- */
SELECT day, sum(amount) AS sales, count(*) AS lines FROM silver.lines GROUP BY day"#,
    ),
    (
        "models/gold/best_day.sql",
        r#"/* models/gold/best_day.sql
---
description = "The best day"
grain = ["day"]
kept = "view"
--- */
SELECT day, sales FROM gold.daily ORDER BY sales DESC LIMIT 1"#,
    ),
];

/// Parses project files.
pub fn project(files: &[(&str, &str)]) -> Arc<Project> {
    let files = files.iter().map(|(path, text)| SourceFile { path: (*path).into(), text: (*text).into() });
    Arc::new(Project::parse(files).expect("a valid project"))
}

pub async fn empty_lake() -> Lake {
    Lake::open("memory:///", LakeOptions { sync: false, ..LakeOptions::default() }).await.expect("memory is there")
}

pub fn factory(lake: &Lake, options: SessionOptions) -> SessionFactory {
    SessionFactory::new(lake.clone(), project(PROJECT), options).expect("a usable temporary directory")
}

/// Appends a batch as one commit, making the table if need be; gives the version.
pub async fn append(lake: &Lake, name: &str, partition_by: &[&str], batch: RecordBatch) -> i64 {
    append_with(lake, name, partition_by, batch, serde_json::Map::new()).await
}

/// As [`append`], with notes in the commit.
pub async fn append_with(
    lake: &Lake,
    name: &str,
    partition_by: &[&str],
    batch: RecordBatch,
    info: serde_json::Map<String, serde_json::Value>,
) -> i64 {
    let name: TableName = name.parse().expect("a table name");
    let mut spec = TableSpec::new(batch.schema());
    spec.partition_by = partition_by.iter().map(|column| (*column).to_owned()).collect();
    let table = lake.create_table(&name, &spec).await.expect("created");
    let head = table.refresh().await.expect("readable");
    let mut writer = table.writer(WriterOptions::default());
    writer.write(batch).await.expect("written");
    let staged = writer.finish().await.expect("staged");
    let mut commit = Commit::new(head.clone(), Operation::Append);
    let from = head.txn("files:test");
    commit.inputs.push(Consumed { input: "files:test".into(), from, to: from.unwrap_or(0) + 1 });
    commit.stage(staged);
    commit.info.extend(info);
    table.commit(commit).await.expect("committed").version
}

/// Publishes a release of these table versions.
pub async fn release(lake: &Lake, tables: &[(&str, i64)]) {
    let tables: BTreeMap<TableName, i64> =
        tables.iter().map(|(name, version)| (name.parse().expect("a table name"), *version)).collect();
    lake.releases().advance(&tables).await.expect("published");
}

/// A batch of this schema from columns that are given by name, cast to their types; the rest is null.
pub fn batch(schema: SchemaRef, given: Vec<(&str, ArrayRef)>) -> RecordBatch {
    let rows = given[0].1.len();
    let columns = schema.fields().iter().map(|field| {
        let found = given.iter().find(|(name, _)| name == field.name());
        match found {
            Some((_, column)) => cast(column, field.data_type()).expect("castable"),
            None => arrow::array::new_null_array(field.data_type(), rows),
        }
    });
    RecordBatch::try_new(schema.clone(), columns.collect()).expect("columns of the schema")
}

/// The answer as an aligned table.
pub async fn ask(session: &LakeSession, sql: &str) -> String {
    let answer = session.sql(sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    let batches = answer.collect().await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    pretty_format_batches(&batches).expect("printable").to_string()
}

/// The error's message.
pub async fn refused(session: &LakeSession, sql: &str) -> String {
    match session.sql(sql).await {
        Err(error) => error.to_string(),
        Ok(answer) => match answer.collect().await {
            Err(error) => session::SessionError::from(error).to_string(),
            Ok(_) => panic!("{sql} was let through"),
        },
    }
}
