//! What the tests share: tables of numbered rows, and questions asked of them.

use std::sync::{Arc, OnceLock};

use arrow::array::{ArrayRef, AsArray, Date32Array, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef};
use datafusion::catalog::TableProvider;
use datafusion::prelude::{SessionConfig, SessionContext};
use store::{Commit, Committed, Consumed, Lake, LakeOptions, Operation, Staged, Table, TableSpec, WriterOptions};

pub fn rows_schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("day", DataType::Date32, true),
        Field::new("id", DataType::Int64, true),
        Field::new("name", DataType::Utf8, true),
    ]))
}

pub fn spec() -> TableSpec {
    TableSpec::new(rows_schema()).partitioned_by(["day"])
}

/// Rows with these ids; the day is the id over 100, the name says the id.
pub fn rows(ids: impl IntoIterator<Item = i64>) -> RecordBatch {
    let ids: Vec<i64> = ids.into_iter().collect();
    let days = Date32Array::from_iter_values(ids.iter().map(|id| i32::try_from(id / 100).unwrap()));
    let names = StringArray::from_iter_values(ids.iter().map(|id| format!("n{id}")));
    let columns: Vec<ArrayRef> = vec![Arc::new(days), Arc::new(Int64Array::from(ids)), Arc::new(names)];
    RecordBatch::try_new(rows_schema(), columns).unwrap()
}

/// 20,000 rows of one day whose names do not compress.
pub fn noise(seed: u64) -> RecordBatch {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let names = StringArray::from_iter_values((0..20_000).map(|_| format!("{:016x}{:016x}", next(), next())));
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Date32Array::from_value(0, 20_000)),
        Arc::new(Int64Array::from_iter_values(0..20_000)),
        Arc::new(names),
    ];
    RecordBatch::try_new(rows_schema(), columns).unwrap()
}

pub fn memory_lake() -> Lake {
    Lake::with_store(Arc::new(object_store::memory::InMemory::new()), LakeOptions::default())
}

pub async fn table(lake: &Lake) -> Table {
    lake.create_table(&"silver.t".parse().unwrap(), &spec()).await.unwrap()
}

pub async fn stage(table: &Table, ids: impl IntoIterator<Item = i64>) -> Staged {
    let mut writer = table.writer(WriterOptions::default());
    writer.write(rows(ids)).await.unwrap();
    writer.finish().await.unwrap()
}

/// A commit of staged rows that consumes the input `in` from where the table stands.
pub fn appending(table: &Table, staged: Staged, to: i64) -> Commit {
    let base = table.snapshot();
    let mut commit = Commit::new(base.clone(), Operation::Append);
    commit.inputs.push(Consumed { input: "in".into(), from: base.txn("in"), to });
    commit.stage(staged);
    commit
}

pub async fn append(table: &Table, ids: impl IntoIterator<Item = i64>, to: i64) -> store::Result<Committed> {
    let staged = stage(table, ids).await;
    table.commit(appending(table, staged, to)).await
}

pub async fn query(provider: Arc<dyn TableProvider>, sql: &str) -> Vec<RecordBatch> {
    let context = SessionContext::new();
    context.register_table("t", provider).unwrap();
    context.sql(sql).await.unwrap().collect().await.unwrap()
}

/// The ids of a scan, sorted.
pub async fn ids(provider: Arc<dyn TableProvider>) -> Vec<i64> {
    // One context for all: making one costs more than reading these tables.
    static CONTEXT: OnceLock<SessionContext> = OnceLock::new();
    let context =
        CONTEXT.get_or_init(|| SessionContext::new_with_config(SessionConfig::new().with_target_partitions(1)));
    let rows = context.read_table(provider).unwrap().select_columns(&["id"]).unwrap();
    let batches = rows.collect().await.unwrap();
    let mut ids: Vec<i64> =
        batches.iter().flat_map(|batch| batch.column(0).as_primitive::<Int64Type>().values().to_vec()).collect();
    ids.sort_unstable();
    ids
}

/// The first column of the first row, as text.
pub async fn one(provider: Arc<dyn TableProvider>, sql: &str) -> String {
    let batches = query(provider, sql).await;
    arrow::util::display::array_value_to_string(batches[0].column(0), 0).unwrap()
}
