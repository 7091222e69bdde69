//! Creating, writing, reading, time travel, changes, growth of schemas.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, Date32Array, Int32Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
};
use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use datafusion::prelude::{SessionContext, col, lit};
use store::{
    CHANGE_TYPE_COLUMN, Commit, Consumed, ErrorKind, Lake, LakeOptions, MetadataChange, Operation, Release, StoreError,
    TableSpec, WriterOptions,
};

use crate::support::*;

#[tokio::test]
async fn rows_come_back_from_disk() {
    let folder = tempfile::tempdir().unwrap();
    let url = folder.path().join("lake").display().to_string();
    {
        let lake = Lake::open(&url, LakeOptions::default()).await.unwrap();
        let t = table(&lake).await;
        append(&t, [1, 205, 101, 3], 4).await.unwrap();
        append(&t, [2], 5).await.unwrap();
    }
    let lake = Lake::open(&url, LakeOptions::default()).await.unwrap();
    assert_eq!(lake.tables().await.unwrap(), ["silver.t".parse().unwrap()]);
    let t = lake.table(&"silver.t".parse().unwrap()).await.unwrap();
    let head = t.snapshot();
    assert_eq!((head.version(), head.txn("in"), head.rows(), head.file_count()), (2, Some(5), Some(5), 4));
    assert_eq!(ids(head.provider()).await, [1, 2, 3, 101, 205]);
    // Partition values and strings are in their rows, and columns in their declared order.
    let row = "SELECT concat(day, '|', name) FROM t WHERE id = 205";
    assert_eq!(one(head.provider(), row).await, "1970-01-03|n205");
    assert_eq!(
        head.provider().schema().fields().iter().map(|f| f.name().as_str()).collect::<Vec<_>>(),
        ["day", "id", "name"]
    );
}

#[tokio::test]
async fn a_day_opens_only_its_files() {
    let t = table(&memory_lake()).await;
    append(&t, 0..1000, 1).await.unwrap();
    append(&t, [350, 351], 2).await.unwrap();
    let head = t.snapshot();
    assert_eq!(head.file_count(), 11);
    let day = |n: i32| col("day").eq(lit(datafusion::common::ScalarValue::Date32(Some(n))));
    let kept = head.prune_files(&[day(3)]).unwrap();
    assert_eq!(kept.len(), 2);
    assert!(kept.iter().all(|file| file.path.starts_with("day=1970-01-04/")), "{kept:?}");
    // By statistics too, together with the partition, and with types that have to be coerced.
    assert_eq!(head.prune_files(&[day(3), col("id").lt(lit(350i32))]).unwrap().len(), 1);
    assert_eq!(head.prune_files(&[col("id").in_list(vec![lit(1i64), lit(999i64)], false)]).unwrap().len(), 2);
    assert_eq!(head.prune_files(&[col("name").gt(lit("n99"))]).unwrap().len(), 1);
    assert_eq!(head.prune_files(&[col("name").is_null()]).unwrap().len(), 0);
    assert_eq!(head.prune_files(&[col("nothing").is_null()]).unwrap_err().kind(), ErrorKind::Invalid);

    let context = SessionContext::new();
    context.register_table("t", head.provider()).unwrap();
    let sql = "SELECT count(*), sum(id) FROM t WHERE day = '1970-01-04' AND name <> 'n300'";
    let plan = context.sql(&format!("EXPLAIN {sql}")).await.unwrap().to_string().await.unwrap();
    assert_eq!(plan.matches(".parquet").count(), 2, "{plan}");
    let answer = context.sql(sql).await.unwrap().to_string().await.unwrap();
    assert!(answer.contains("| 101      | 35351"), "{answer}");
    // A count needs no file.
    let plan = context.sql("EXPLAIN SELECT count(*) FROM t").await.unwrap().to_string().await.unwrap();
    assert!(!plan.contains(".parquet"), "{plan}");
    assert_eq!(one(head.provider(), "SELECT count(*) FROM t").await, "1002");
    assert_eq!(one(head.provider(), "SELECT count(*) FROM (SELECT * FROM t LIMIT 7)").await, "7");
}

#[tokio::test]
async fn what_all_rows_of_each_file_have_is_not_read() {
    let t = table(&memory_lake()).await;
    let plan = async |sql: &str| {
        let context = SessionContext::new();
        context.register_table("t", t.snapshot().provider()).unwrap();
        context.sql(&format!("EXPLAIN {sql}")).await.unwrap().to_string().await.unwrap()
    };
    append(&t, [5], 1).await.unwrap();
    append(&t, [7], 2).await.unwrap();
    append(&t, [105], 3).await.unwrap();
    // Each file has one id and one name.
    for (sql, files) in [
        ("SELECT count(*) FROM t WHERE name = 'n7' OR id = 105", 0),
        ("SELECT count(*) FROM t WHERE name IN ('n5', 'n7') AND day = '1970-01-01'", 0),
        ("SELECT max(id) FROM t WHERE name LIKE 'n%5'", 2),
    ] {
        let plan = plan(sql).await;
        assert_eq!(plan.matches(".parquet").count(), files, "{plan}");
        assert!(!plan.contains("FilterExec") && !plan.contains("predicate="), "{plan}");
    }
    assert_eq!(one(t.snapshot().provider(), "SELECT count(*) FROM t WHERE name = 'n7' OR id = 105").await, "2");
    assert_eq!(one(t.snapshot().provider(), "SELECT max(id) FROM t WHERE name LIKE 'n%5'").await, "105");
    assert_eq!(one(t.snapshot().provider(), "SELECT count(*) FROM t WHERE name IS NULL OR id + 1 = 6").await, "1");
    assert_eq!(one(t.snapshot().provider(), "SELECT count(*) FROM t WHERE name = 'N7'").await, "0");
    // A file with two of them, and one with a null.
    append(&t, [8, 9], 4).await.unwrap();
    assert_eq!(one(t.snapshot().provider(), "SELECT count(*) FROM t WHERE name IN ('n7', 'n8')").await, "2");
    let mut writer = t.writer(WriterOptions::default());
    let names = StringArray::from(vec![Some("n7"), None]);
    let columns: Vec<ArrayRef> =
        vec![Arc::new(Date32Array::from(vec![0, 0])), Arc::new(Int64Array::from(vec![7, 7])), Arc::new(names)];
    writer.write(RecordBatch::try_new(rows_schema(), columns).unwrap()).await.unwrap();
    let commit = appending(&t, writer.finish().await.unwrap(), 5);
    t.commit(commit).await.unwrap();
    assert_eq!(one(t.snapshot().provider(), "SELECT count(*) FROM t WHERE name = 'n7'").await, "2");
    assert_eq!(one(t.snapshot().provider(), "SELECT count(*) FROM t WHERE name IS NULL").await, "1");
}

#[tokio::test]
async fn versions_and_changes() {
    let t = table(&memory_lake()).await;
    append(&t, [1, 101], 1).await.unwrap();
    append(&t, [2], 2).await.unwrap();
    // Replace the file of day 1: one row less, another one more.
    let base = t.snapshot();
    let old = base.files().find(|file| file.path.contains("1970-01-02")).unwrap().clone();
    let mut commit = Commit::new(base, Operation::Merge);
    commit.removes.push(old);
    commit.stage(stage(&t, [102]).await);
    t.commit(commit).await.unwrap();

    assert_eq!(ids(t.snapshot().provider()).await, [1, 2, 102]);
    assert_eq!(ids(t.snapshot_at(1).await.unwrap().provider()).await, [1, 101]);
    assert!(matches!(t.snapshot_at(9).await, Err(StoreError::NoSuchVersion { version: 9, .. })));

    let changes = t.changes(1, 3).await.unwrap();
    assert!(!changes.inserts_only() && !changes.is_empty());
    assert_eq!(
        one(changes.provider(), "SELECT string_agg(concat(id, ':', _sign), ' ' ORDER BY id) FROM t").await,
        "2:1 101:-1 102:1"
    );
    assert_eq!(one(changes.provider(), "SELECT count(*) FROM t WHERE _sign = -1 AND day = '1970-01-02'").await, "1");
    let appended = t.changes(0, 2).await.unwrap();
    assert!(appended.inserts_only());
    assert_eq!(ids(appended.inserts()).await, [1, 2, 101]);
    assert_eq!(ids(t.changes(-1, 3).await.unwrap().inserts()).await, [1, 2, 102]);
    assert!(t.changes(3, 3).await.unwrap().is_empty());
    assert!(matches!(t.changes(4, 5).await, Err(StoreError::UpstreamBehind { head: 3, consumed: 5, .. })));
}

#[tokio::test]
async fn change_data_says_what_changed() {
    let lake = memory_lake();
    let mut wanted = spec();
    wanted.change_data = true;
    let t = lake.create_table(&"silver.t".parse().unwrap(), &wanted).await.unwrap();
    assert_eq!(t.snapshot().meta().protocol, (1, 4));
    append(&t, [1, 2, 101], 1).await.unwrap();

    // Row 1 moves to day 2 as row 201; row 2 is written again unchanged.
    let base = t.snapshot();
    let mut writer = t.writer(WriterOptions::default());
    writer.write(rows([2, 201])).await.unwrap();
    let moved = rows([1, 201]);
    let mut columns = moved.columns().to_vec();
    columns.push(Arc::new(StringArray::from(vec!["update_preimage", "update_postimage"])));
    let mut fields: Vec<_> = moved.schema().fields().iter().cloned().collect();
    fields.push(Arc::new(Field::new(CHANGE_TYPE_COLUMN, DataType::Utf8, false)));
    writer.write_changes(RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).unwrap()).await.unwrap();
    let staged = writer.finish().await.unwrap();
    assert_eq!((staged.rows, staged.adds.len(), staged.change_files.len()), (2, 2, 2));
    let mut commit = Commit::new(base.clone(), Operation::Merge);
    commit.removes.extend(base.files().filter(|file| file.path.contains("1970-01-01")).cloned());
    commit.stage(staged);
    t.commit(commit).await.unwrap();

    assert_eq!(ids(t.snapshot().provider()).await, [2, 101, 201]);
    let changes = t.changes(1, 2).await.unwrap();
    let text = "SELECT string_agg(concat(day, ' ', id, ':', _sign), ', ' ORDER BY id) FROM t";
    assert_eq!(one(changes.provider(), text).await, "1970-01-01 1:-1, 1970-01-03 201:1");
}

#[tokio::test]
async fn a_table_grows_by_nullable_columns_only() {
    let lake = memory_lake();
    let t = table(&lake).await;
    append(&t, [1], 1).await.unwrap();
    let with = |name: &str, kind, nullable| {
        let mut fields: Vec<_> = rows_schema().fields().iter().cloned().collect();
        fields.retain(|field| field.name() != name);
        fields.insert(1, Arc::new(Field::new(name, kind, nullable)));
        TableSpec::new(Arc::new(Schema::new(fields))).partitioned_by(["day"])
    };
    let name = "silver.t".parse().unwrap();
    lake.create_table(&name, &with("price", DataType::Decimal128(18, 2), true)).await.unwrap();
    append(&t, [2], 2).await.unwrap();
    let head = t.snapshot();
    assert_eq!(head.schema().field(3).name(), "price");
    assert_eq!(one(head.provider(), "SELECT count(*) FROM t WHERE price IS NULL").await, "2");
    assert_eq!(head.version(), 3);
    // The same again changes nothing.
    lake.create_table(&name, &with("price", DataType::Decimal128(18, 2), true)).await.unwrap();
    lake.create_table(&name, &spec()).await.unwrap();
    assert_eq!(t.refresh().await.unwrap().version(), 3);

    for wrong in [
        with("id", DataType::Int32, true),
        with("NAME", DataType::Utf8, true),
        with("cost", DataType::Utf8, false),
        TableSpec::new(rows_schema()),
    ] {
        let error = lake.create_table(&name, &wrong).await.unwrap_err();
        assert!(matches!(error, StoreError::Incompatible { .. } | StoreError::BadColumn { .. }), "{error}");
    }
    // A rebuild may change everything, together with the rows.
    let schema =
        Arc::new(Schema::new(vec![Field::new("id", DataType::Utf8, true), Field::new("x", DataType::Int32, true)]));
    let change = MetadataChange {
        schema: Some(schema.clone()),
        partition_by: Some(vec![]),
        fingerprint: Some("f2".into()),
        ..MetadataChange::default()
    };
    assert!(t.writer_after(&change, false, WriterOptions::default()).is_err());
    let mut writer = t.writer_after(&change, true, WriterOptions::default()).unwrap();
    let batch =
        RecordBatch::try_new(schema, vec![Arc::new(StringArray::from(vec!["a"])), Arc::new(Int32Array::from(vec![7]))]);
    writer.write(batch.unwrap()).await.unwrap();
    let base = t.snapshot();
    let mut commit = Commit::new(base.clone(), Operation::Rebuild);
    commit.removes = base.files().cloned().collect();
    commit.metadata = Some(change);
    commit.stage(writer.finish().await.unwrap());
    let done = t.commit(commit).await.unwrap();
    assert_eq!(done.snapshot.fingerprint(), Some("f2"));
    assert_eq!(one(done.snapshot.provider(), "SELECT concat(id, x) FROM t").await, "a7");
    let fresh = Lake::with_store(lake.object_store(), LakeOptions::default());
    let loaded = fresh.table(&name).await.unwrap().snapshot();
    assert_eq!(loaded.meta(), done.snapshot.meta());
}

#[tokio::test]
async fn rows_that_do_not_fit_are_refused() {
    let t = table(&memory_lake()).await;
    let mut writer = t.writer(WriterOptions::default());
    let batch = |name: &str, kind: DataType| {
        let column = arrow::array::new_null_array(&kind, 1);
        let mut columns = rows([1]).columns().to_vec();
        columns.push(column);
        let mut fields: Vec<_> = rows_schema().fields().iter().cloned().collect();
        fields.push(Arc::new(Field::new(name, kind, true)));
        RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).unwrap()
    };
    let error = writer.write(batch("other", DataType::Int32)).await.unwrap_err();
    assert_eq!(error.to_string(), "table silver.t, column other: the table has no such column");
    let wrong = RecordBatch::try_from_iter([
        ("id", Arc::new(Int32Array::from(vec![1])) as Arc<dyn Array>),
        ("day", rows([1]).column(0).clone()),
    ]);
    let error = writer.write(wrong.unwrap()).await.unwrap_err();
    assert_eq!(error.to_string(), "table silver.t, column id: it is Int32 and the table has Int64");
}

#[tokio::test]
async fn many_partitions_and_row_groups_in_little_memory() {
    let t = table(&memory_lake()).await;
    let mut writer = t.writer(WriterOptions {
        row_group_rows: 100,
        memory_bytes: 64 << 10,
        target_file_bytes: 4 << 10,
        ..Default::default()
    });
    for chunk in 0..20 {
        writer.write(rows((0..1000).map(|i| (i * 7919 + chunk * 13) % 5000))).await.unwrap();
    }
    let staged = writer.finish().await.unwrap();
    assert_eq!(staged.rows, 20_000);
    assert!(staged.adds.len() > 50);
    let sum: u64 = staged.adds.iter().map(|file| file.rows(t.snapshot().meta()).unwrap()).sum();
    assert_eq!(sum, 20_000);
    t.commit(appending(&t, staged, 1)).await.unwrap();
    assert_eq!(
        one(
            t.snapshot().provider(),
            "SELECT count(*) FROM (SELECT id, count(*) c FROM t GROUP BY id HAVING min(name) = concat('n', id))"
        )
        .await,
        one(t.snapshot().provider(), "SELECT count(DISTINCT id) FROM t").await
    );
}

#[tokio::test]
async fn rows_of_a_partition_keep_their_order() {
    let lake = memory_lake();
    let schema = Arc::new(Schema::new(vec![Field::new("n", DataType::Int64, true)]));
    let t = lake.create_table(&"gold.n".parse().unwrap(), &TableSpec::new(schema.clone())).await.unwrap();
    let mut writer = t.writer(WriterOptions { row_group_rows: 64, ..Default::default() });
    for start in (0..1000).step_by(50) {
        let column = Int64Array::from_iter_values((start..start + 50).map(|n| 1000 - n));
        writer.write(RecordBatch::try_new(schema.clone(), vec![Arc::new(column)]).unwrap()).await.unwrap();
    }
    let staged = writer.finish().await.unwrap();
    assert_eq!(staged.adds.len(), 1);
    let config = datafusion::prelude::SessionConfig::new().with_target_partitions(1);
    let context = SessionContext::new_with_config(config);
    context.register_table("t", t.snapshot().provider_of(staged.adds)).unwrap();
    let batches = context.sql("SELECT n FROM t").await.unwrap().collect().await.unwrap();
    let all: Vec<i64> = batches
        .iter()
        .flat_map(|b| b.column(0).as_any().downcast_ref::<Int64Array>().unwrap().values().to_vec())
        .collect();
    assert!(all.iter().copied().eq((1..=1000).rev()));
}

#[tokio::test]
async fn odd_partition_values_and_timestamps() {
    let lake = memory_lake();
    let time = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    let schema = Arc::new(Schema::new(vec![
        Field::new("p", DataType::Utf8, true),
        Field::new("at", time, true),
        Field::new("n", DataType::Int32, true),
    ]));
    let wanted = TableSpec::new(schema.clone()).partitioned_by(["p", "n"]);
    let t = lake.create_table(&"silver.odd".parse().unwrap(), &wanted).await.unwrap();
    let values = [Some("a/b=c %25 é"), None, Some(""), Some("plain")];
    let batch = RecordBatch::try_new(
        schema,
        vec![
            Arc::new(StringArray::from(values.to_vec())),
            Arc::new(TimestampMicrosecondArray::from(vec![1, 2, 3, -1]).with_timezone("UTC")),
            Arc::new(Int32Array::from(vec![Some(-5), None, Some(7), Some(0)])),
        ],
    );
    let mut writer = t.writer(WriterOptions::default());
    writer.write(batch.unwrap()).await.unwrap();
    let staged = writer.finish().await.unwrap();
    assert_eq!(staged.adds.len(), 4);
    t.commit(appending(&t, staged, 1)).await.unwrap();
    let reopened = Lake::with_store(lake.object_store(), LakeOptions::default());
    let head = reopened.table(&"silver.odd".parse().unwrap()).await.unwrap().snapshot();
    let text = "SELECT string_agg(concat(coalesce(p, 'null'), ':', coalesce(n, -1)), ',' ORDER BY at) FROM t";
    assert_eq!(one(head.provider(), text).await, "plain:0,a/b=c %25 é:-5,null:-1,null:7");
    let kept = head.prune_files(&[col("p").is_null()]).unwrap();
    assert_eq!(kept.len(), 2);
    assert_eq!(one(head.provider(), "SELECT at FROM t WHERE p = 'plain'").await, "1969-12-31T23:59:59.999999Z");
    assert_eq!(one(head.provider(), "SELECT count(*) FROM t WHERE at >= '1970-01-01T00:00:00.000002Z'").await, "2");
}

#[tokio::test]
async fn releases_never_go_back() {
    let lake = memory_lake();
    let releases = lake.releases();
    assert_eq!(releases.latest().await.unwrap(), None);
    let tables = |a: i64, b: i64| BTreeMap::from([("silver.a".parse().unwrap(), a), ("gold.b".parse().unwrap(), b)]);
    assert_eq!(releases.advance(&tables(3, 4)).await.unwrap().number, 1);
    assert_eq!(releases.advance(&tables(2, 4)).await.unwrap().number, 1);
    let second = releases.advance(&tables(2, 5)).await.unwrap();
    assert_eq!((second.number, second.tables), (2, tables(3, 5)));
    let taken = Release { number: 2, tables: tables(9, 9), at: lake.now() };
    assert!(matches!(releases.publish(&taken).await, Err(StoreError::ReleaseTaken { number: 2 })));
    assert_eq!(releases.clean(std::time::Duration::from_secs(3600)).await.unwrap(), 0);
    assert_eq!(releases.numbers().await.unwrap(), [1, 2]);
}

#[tokio::test]
async fn the_newest_release_is_found_however_far_behind_a_reader_is() {
    let folder = tempfile::tempdir().unwrap();
    let url = folder.path().display().to_string();
    let (writer, reader) = (
        Lake::open(&url, LakeOptions::default()).await.unwrap(),
        Lake::open(&url, LakeOptions::default()).await.unwrap(),
    );
    let mut published = 0;
    for more in [1, 0, 1, 2, 3, 7, 8, 30] {
        for _ in 0..more {
            published += 1;
            writer.releases().advance(&BTreeMap::from([("gold.b".parse().unwrap(), published)])).await.unwrap();
        }
        let latest = reader.releases().latest().await.unwrap().unwrap();
        assert_eq!((latest.number, latest.tables.values().copied().collect()), (published as u64, vec![published]));
    }
}

#[tokio::test]
async fn a_newer_lake_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let url = folder.path().display().to_string();
    let lake = Lake::open(&url, LakeOptions::default()).await.unwrap();
    table(&lake).await;
    std::fs::write(folder.path().join("_smelt/format.json"), "{\"format\":2}").unwrap();
    let error = Lake::open(&url, LakeOptions::default()).await.unwrap_err();
    assert!(matches!(error, StoreError::NewerLake { found: 2, supported: 1, .. }), "{error}");
}

#[tokio::test]
async fn commits_that_contradict_themselves_are_refused() {
    let t = table(&memory_lake()).await;
    let refused = |commit: Commit| {
        let t = t.clone();
        async move { assert!(matches!(t.commit(commit).await, Err(StoreError::BadCommit { .. }))) }
    };
    let input = |from, to| Consumed { input: "in".into(), from, to };
    let mut back = Commit::new(t.snapshot(), Operation::Append);
    back.inputs.push(input(Some(5), 4));
    refused(back).await;
    let mut twice = Commit::new(t.snapshot(), Operation::Append);
    twice.inputs = vec![input(None, 1), input(None, 2)];
    refused(twice).await;
    let nothing = t.commit(Commit::new(t.snapshot(), Operation::Append)).await.unwrap();
    assert_eq!(nothing.version, 0);
}
