//! Files without some of their rows, of which most pages are copied.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Date32Array, Decimal128Array, Float64Array, Int32Array, Int64Array,
    RecordBatch, StringArray, StructArray, TimestampMicrosecondArray,
};
use arrow::compute::{concat_batches, filter_record_batch};
use arrow::datatypes::{DataType, Decimal128Type, Field, Fields, Int64Type, Schema, SchemaRef, TimeUnit};
use datafusion::catalog::TableProvider;
use datafusion::common::ScalarValue;
use datafusion::prelude::{SessionConfig, SessionContext};
use proptest::prelude::*;
use store::{Commit, DataFile, Operation, Table, TableSpec, WriterOptions};

use crate::support::{memory_lake, one};

fn lineage() -> Fields {
    Fields::from(vec![Field::new("file", DataType::Utf8, true), Field::new("line", DataType::Int64, true)])
}

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("day", DataType::Date32, true),
        Field::new("id", DataType::Int64, false),
        Field::new("source", DataType::Utf8, true),
        Field::new("text", DataType::Utf8, true),
        Field::new("money", DataType::Decimal128(30, 3), true),
        Field::new("small", DataType::Decimal128(12, 2), true),
        Field::new("count", DataType::Int32, true),
        Field::new("at", DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())), true),
        Field::new("is", DataType::Boolean, true),
        Field::new("ratio", DataType::Float64, true),
        Field::new("late", DataType::Utf8, true),
        Field::new("_lineage", DataType::Struct(lineage()), true),
    ]))
}

/// Rows with all kinds of columns: few values and many, nulls here and there, and a column that is null for thousands of rows.
fn rows(ids: std::ops::Range<i64>) -> RecordBatch {
    let some = |n: i64, nth: i64| (n % nth != 0).then_some(n);
    let text = |n: i64| some(n, 7).map(|n| format!("a text that is not short {:x}", n.wrapping_mul(0x9E37_79B9_7F4A)));
    let ids = || ids.clone();
    let files: StringArray = ids().map(|n| some(n, 50_000).map(|n| format!("file-{}", n / 1_000))).collect();
    let lines: Int64Array = ids().map(|n| Some(n % 1_000)).collect();
    let money: Decimal128Array = ids().map(|n| some(n, 3).map(|n| i128::from(n) << 40)).collect();
    let small: Decimal128Array = ids().map(|n| some(n, 4).map(|n| i128::from(n % 90))).collect();
    let at: TimestampMicrosecondArray = ids().map(|n| some(n, 11).map(|n| n * 1_000_003)).collect();
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Date32Array::from_iter(ids().map(|_| Some(5)))),
        Arc::new(Int64Array::from_iter_values(ids())),
        Arc::new(ids().map(|n| Some(["one", "two"][(n / 20_000 % 2) as usize])).collect::<StringArray>()),
        Arc::new(ids().map(text).collect::<StringArray>()),
        Arc::new(money.with_precision_and_scale(30, 3).unwrap()),
        Arc::new(small.with_precision_and_scale(12, 2).unwrap()),
        Arc::new(ids().map(|n| some(n, 5).map(|n| (n % 13) as i32)).collect::<Int32Array>()),
        Arc::new(at.with_timezone("UTC")),
        Arc::new(ids().map(|n| some(n, 6).map(|n| n % 2 == 0)).collect::<BooleanArray>()),
        Arc::new(ids().map(|n| some(n, 9).map(|n| n as f64 / 3.0)).collect::<Float64Array>()),
        Arc::new(ids().map(|n| (n > 14_000).then(|| format!("late {n}"))).collect::<StringArray>()),
        Arc::new(StructArray::new(lineage(), vec![Arc::new(files), Arc::new(lines)], None)),
    ];
    RecordBatch::try_new(schema(), columns).unwrap()
}

async fn table() -> Table {
    memory_lake()
        .create_table(&"silver.t".parse().unwrap(), &TableSpec::new(schema()).partitioned_by(["day"]))
        .await
        .unwrap()
}

fn options(row_group_rows: usize) -> WriterOptions {
    WriterOptions { row_group_rows, ..WriterOptions::default() }
}

/// A table with one file of all these rows.
async fn filled(all: &RecordBatch, row_group_rows: usize) -> Table {
    let t = table().await;
    let mut writer = t.writer(options(row_group_rows));
    writer.write(all.clone()).await.unwrap();
    let mut commit = Commit::new(t.snapshot(), Operation::Append);
    commit.stage(writer.finish().await.unwrap());
    t.commit(commit).await.unwrap();
    t
}

fn only_file(t: &Table) -> Arc<DataFile> {
    let head = t.snapshot();
    assert_eq!(head.file_count(), 1);
    head.files().next().unwrap().clone()
}

async fn ids(provider: Arc<dyn TableProvider>) -> Vec<i64> {
    let context = SessionContext::new_with_config(SessionConfig::new().with_target_partitions(1));
    let frame = context.read_table(provider).unwrap().select_columns(&["id"]).unwrap();
    let batches = frame.collect().await.unwrap();
    batches.iter().flat_map(|batch| batch.column(0).as_primitive::<Int64Type>().values().to_vec()).collect()
}

/// Where these ids are in a file, and some others.
async fn places(t: &Table, file: &Arc<DataFile>, wanted: &BTreeSet<i64>) -> Vec<u64> {
    let all = ids(t.snapshot().provider_of(vec![file.clone()])).await;
    let places: Vec<u64> =
        (0..all.len()).filter(|row| row % 6_007 == 5 || wanted.contains(&all[*row])).map(|row| row as u64).collect();
    let there: Vec<i64> = places.iter().map(|row| all[*row as usize]).collect();
    let of_rows = t.snapshot().provider_of_rows(file.clone(), &places);
    assert_eq!(one(of_rows.clone(), "SELECT count(*) FROM t").await, places.len().to_string());
    assert_eq!(ids(of_rows).await, there);
    places
}

/// Takes rows out of the one file of a table and adds others behind it; whether pages were copied.
async fn take_out(t: &Table, gone: &BTreeSet<i64>, more: Option<RecordBatch>, row_group_rows: usize) -> bool {
    let file = only_file(t);
    let mut writer = t.writer(options(row_group_rows));
    let columns = ["id".to_owned(), "day".to_owned()];
    let ids = gone.clone();
    let goes = move |batch: &RecordBatch| {
        assert_eq!(batch.num_columns(), 2);
        assert!(batch.column(1).as_primitive::<arrow::datatypes::Date32Type>().values().iter().all(|day| *day == 5));
        Ok(batch.column(0).as_primitive::<Int64Type>().iter().map(|id| id.map(|id| ids.contains(&id))).collect())
    };
    // Few rows are known by their places, with others.
    let among = if gone.len() < 10 { Some(places(t, &file, gone).await) } else { None };
    let Some(spliced) = writer.without(&file, &columns, among, goes).await.unwrap() else { return false };
    writer.append(&file, spliced).await.unwrap();
    if let Some(more) = more {
        writer.write(more).await.unwrap();
    }
    let mut commit = Commit::new(t.snapshot(), Operation::Merge);
    commit.removes.push(file);
    commit.stage(writer.finish().await.unwrap());
    t.commit(commit).await.unwrap();
    true
}

/// All rows, by id, in the table's columns.
async fn read(t: &Table) -> RecordBatch {
    let context = SessionContext::new_with_config(SessionConfig::new().with_target_partitions(1));
    context.register_table("t", t.snapshot().provider()).unwrap();
    let casts = "day, id, CAST(source AS VARCHAR) AS source, CAST(text AS VARCHAR) AS text, money, small, count, at, \
        \"is\", ratio, CAST(late AS VARCHAR) AS late, _lineage";
    let batches = context.sql(&format!("SELECT {casts} FROM t ORDER BY id")).await.unwrap().collect().await.unwrap();
    let all = concat_batches(&batches[0].schema(), &batches).unwrap();
    let cast = |(column, field): (&ArrayRef, &Arc<Field>)| arrow::compute::cast(column, field.data_type()).unwrap();
    RecordBatch::try_new(schema(), all.columns().iter().zip(schema().fields()).map(cast).collect()).unwrap()
}

fn without(all: &RecordBatch, gone: &BTreeSet<i64>) -> RecordBatch {
    let ids = all.column(1).as_primitive::<Int64Type>();
    let kept: BooleanArray = ids.values().iter().map(|id| Some(!gone.contains(id))).collect();
    filter_record_batch(all, &kept).unwrap()
}

/// What is asked of rows by filters, which skip pages by their bounds.
async fn check_filters(t: &Table, expected: &RecordBatch) {
    let ids = expected.column(1).as_primitive::<Int64Type>();
    let asked = |id: i64| format!("SELECT count(*) FROM t WHERE id = {id}");
    for id in [0, 4_095, 4_096, 9_999, 17_777, 20_001] {
        let count = ids.values().iter().filter(|known| **known == id).count();
        assert_eq!(one(t.snapshot().provider(), &asked(id)).await, count.to_string(), "{id}");
    }
    let nulls = |at: usize| expected.column(at).null_count().to_string();
    for (name, at) in [("text", 3), ("money", 4), ("late", 10)] {
        let sql = format!("SELECT count(*) FROM t WHERE {name} IS NULL");
        assert_eq!(one(t.snapshot().provider(), &sql).await, nulls(at), "{name}");
        let stats = only_file(t).stats(t.snapshot().meta()).columns[name].nulls;
        assert_eq!(stats.map(|nulls| nulls.to_string()), Some(nulls(at)), "{name}");
    }
    // Other engines take the log's bounds for the least and the greatest.
    let bounds = &only_file(t).stats(t.snapshot().meta()).columns["id"].clone();
    let (least, greatest) = (arrow::compute::min(ids), arrow::compute::max(ids));
    assert_eq!((&bounds.min, &bounds.max), (&Some(ScalarValue::Int64(least)), &Some(ScalarValue::Int64(greatest))));
    let money = expected.column(4).as_primitive::<Decimal128Type>();
    let bounds = &only_file(t).stats(t.snapshot().meta()).columns["money"].clone();
    let value = |value: Option<i128>| Some(ScalarValue::Decimal128(value, 30, 3));
    assert_eq!((&bounds.min, &bounds.max), (&value(arrow::compute::min(money)), &value(arrow::compute::max(money))));
    let late = expected.num_rows() - expected.column(10).null_count();
    assert_eq!(one(t.snapshot().provider(), "SELECT count(*) FROM t WHERE late >= 'late'").await, late.to_string());
    assert_eq!(only_file(t).rows(t.snapshot().meta()), Some(expected.num_rows() as u64));
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_that_keep_their_rows_are_copied() {
    let all = rows(0..30_000);
    let t = filled(&all, 128 * 1024).await;
    let gone = BTreeSet::from([0, 4_095, 17_777]);
    assert!(take_out(&t, &gone, None, 128 * 1024).await);
    let expected = without(&all, &gone);
    assert_eq!(read(&t).await, expected);
    check_filters(&t, &expected).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_are_not_worth_it_are_not_copied() {
    let t = filled(&rows(0..30_000), 128 * 1024).await;
    let each_page = (0..30_000).step_by(4_000).collect();
    assert!(!take_out(&t, &each_page, None, 128 * 1024).await);
    // Small row groups are put together again.
    let t = filled(&rows(0..30_000), 100).await;
    assert!(!take_out(&t, &BTreeSet::from([7]), None, 128 * 1024).await);
    // Older files lack a column.
    let t = filled(&rows(0..30_000), 128 * 1024).await;
    let mut wider: Vec<Arc<Field>> = schema().fields().iter().cloned().collect();
    wider.push(Arc::new(Field::new("new", DataType::Utf8, true)));
    let mut alter = Commit::new(t.snapshot(), Operation::Alter);
    alter.metadata = Some(store::MetadataChange { schema: Some(Arc::new(Schema::new(wider))), ..Default::default() });
    t.commit(alter).await.unwrap();
    assert!(!take_out(&t, &BTreeSet::from([7]), None, 128 * 1024).await);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, max_shrink_iters: 20, failure_persistence: None, ..ProptestConfig::default() })]

    /// Again and again, with new rows behind, over row groups of any size.
    #[test]
    fn rows_are_taken_out_again_and_again(
        group_rows in prop::sample::select(vec![1_000_usize, 5_000, 9_000, 16_384, 128 * 1024]),
        steps in prop::collection::vec((prop::collection::btree_set(0..30_400_i64, 0..5), any::<bool>()), 1..5),
    ) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(async {
            let mut expected = rows(0..30_000);
            let t = filled(&expected, group_rows).await;
            for (number, (mut gone, whole_group)) in steps.into_iter().enumerate() {
                if whole_group {
                    // All of a row group, or of some pages.
                    gone.extend(5_000..10_000);
                }
                let more = rows(30_000 + number as i64 * 100..30_100 + number as i64 * 100);
                if take_out(&t, &gone, Some(more.clone()), group_rows).await {
                    expected = concat_batches(&schema(), &[without(&expected, &gone), more]).unwrap();
                }
                assert_eq!(read(&t).await, expected);
                check_filters(&t, &expected).await;
            }
        });
    }
}
