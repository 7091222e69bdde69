//! DuckDB, Polars and Spark read the lake of the demo, and what the store writes: after appends, a replace, a hundred commits and a checkpoint, a
//! compaction, a change of rows with change data, and a column that was added. Each reader that cannot be had says so and
//! is skipped.
#![allow(clippy::print_stdout, reason = "a skipped reader is said on standard output")]

use std::fs;
use std::ops::Range;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use arrow::array::{
    ArrayRef, AsArray, BinaryArray, BooleanArray, Date32Array, Decimal128Array, Int32Array, Int64Array, ListArray,
    RecordBatch, StringArray, StructArray, TimestampMicrosecondArray,
};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Field, Fields, Int64Type, Schema, SchemaRef, TimeUnit};
use benches::interop::{Answers, Reader, differences, ours};
use store::{
    CHANGE_TYPE_COLUMN, Commit, CompactPolicy, Consumed, Lake, LakeOptions, MetadataChange, Operation, Table,
    TableSpec, WriterOptions,
};

/// Every type that Smelt's tables have.
fn columns() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("id", DataType::Int64, true),
        Field::new("quantity", DataType::Int32, true),
        Field::new("price", DataType::Decimal128(18, 2), true),
        Field::new("total", DataType::Decimal128(38, 3), true),
        Field::new("name", DataType::Utf8, true),
        Field::new("raw", DataType::Binary, true),
        Field::new("flag", DataType::Boolean, true),
        Field::new("at", DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())), true),
        Field::new("items", DataType::List(Arc::new(Field::new("element", DataType::Struct(item()), true))), true),
        Field::new("headers", DataType::List(Arc::new(Field::new("element", DataType::Struct(header()), true))), true),
        Field::new("status", DataType::Utf8, true),
        Field::new("day", DataType::Date32, true),
    ]))
}

/// As `_headers` has them.
fn header() -> Fields {
    Fields::from(vec![Field::new("key", DataType::Utf8, true), Field::new("value", DataType::Binary, true)])
}

/// Of one row in three none, of the others none to four, of which some have no name and some no value.
fn headers(ids: impl Iterator<Item = i64> + Clone) -> ListArray {
    let count = |id: i64| (id % 5) as usize;
    let each = ids.clone().flat_map(|id| (0..count(id)).map(move |n| id + n as i64));
    let structs = StructArray::new(
        header(),
        vec![
            Arc::new(StringArray::from_iter(each.clone().map(|n| (n % 7 != 0).then(|| format!("h{n}"))))) as ArrayRef,
            Arc::new(BinaryArray::from_iter(each.map(|n| (n % 3 != 0).then(|| n.to_le_bytes())))),
        ],
        None,
    );
    let nulls = ids.clone().map(|id| id % 3 != 0).collect::<Vec<bool>>();
    let element = Arc::new(Field::new("element", DataType::Struct(header()), true));
    ListArray::new(element, OffsetBuffer::from_lengths(ids.map(count)), Arc::new(structs), Some(nulls.into()))
}

fn item() -> Fields {
    Fields::from(vec![Field::new("sku", DataType::Utf8, true), Field::new("count", DataType::Int32, true)])
}

/// 50 rows of run `run`.
fn rows(run: i64) -> Result<RecordBatch> {
    rows_of(run * 50..run * 50 + 50)
}

/// A row for each id, with nulls in every column and partition values that paths must escape.
fn rows_of(range: Range<i64>) -> Result<RecordBatch> {
    let count = usize::try_from(range.end - range.start)?;
    let ids = || range.clone();
    let some = |id: i64, every: i64| (id % every != 0).then_some(id);
    let items = StructArray::new(
        item(),
        vec![
            Arc::new(StringArray::from_iter(ids().map(|id| some(id, 6).map(|id| format!("S{id}"))))) as ArrayRef,
            Arc::new(Int32Array::from_iter(ids().map(|id| some(id, 4).map(|id| id as i32)))),
        ],
        None,
    );
    let element = Arc::new(Field::new("element", DataType::Struct(item()), true));
    let lists = ListArray::new(element, OffsetBuffer::from_lengths(vec![1; count]), Arc::new(items), None);
    let status = ["stored", "quarantined", "a b/c=%d é"];
    let columns_of: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from_iter_values(ids())),
        Arc::new(Int32Array::from_iter(ids().map(|id| some(id, 7).map(|id| id as i32 - 20)))),
        Arc::new(
            Decimal128Array::from_iter(ids().map(|id| some(id, 5).map(|id| i128::from(id) * 101 - 5_000)))
                .with_precision_and_scale(18, 2)?,
        ),
        Arc::new(
            Decimal128Array::from_iter(ids().map(|id| some(id, 9).map(|id| i128::from(id) * 10i128.pow(20))))
                .with_precision_and_scale(38, 3)?,
        ),
        Arc::new(StringArray::from_iter(ids().map(|id| some(id, 3).map(|id| format!("Núñez \"{id}\""))))),
        Arc::new(BinaryArray::from_iter(ids().map(|id| some(id, 8).map(|id| id.to_le_bytes())))),
        Arc::new(BooleanArray::from_iter(ids().map(|id| some(id, 11).map(|id| id % 2 == 0)))),
        Arc::new(
            TimestampMicrosecondArray::from_iter(
                ids().map(|id| some(id, 10).map(|id| 1_700_000_000_000_000 + id * 61_000_001)),
            )
            .with_timezone("UTC"),
        ),
        Arc::new(lists),
        Arc::new(headers(ids())),
        Arc::new(StringArray::from_iter(ids().map(|id| some(id, 4).map(|id| status[id as usize % 3])))),
        Arc::new(Date32Array::from_iter(ids().map(|id| some(id, 25).map(|id| 19_700 + (id % 2) as i32)))),
    ];
    Ok(RecordBatch::try_new(columns(), columns_of)?)
}

async fn table(lake: &Lake, name: &str, change_data: bool) -> Result<Table> {
    let spec = TableSpec { change_data, ..TableSpec::new(columns()).partitioned_by(["status", "day"]) };
    Ok(lake.create_table(&name.parse()?, &spec).await?)
}

/// A commit of these rows, with the position that the table stands at moved on by one.
async fn commit_of(table: &Table, operation: Operation, batch: RecordBatch) -> Result<Commit> {
    let mut writer = table.writer(WriterOptions::default());
    writer.write(batch).await?;
    let mut commit = Commit::new(table.snapshot(), operation);
    let from = commit.base.txn("files:interop");
    commit.inputs.push(Consumed { input: "files:interop".into(), from, to: from.unwrap_or(0) + 1 });
    commit.stage(writer.finish().await?);
    Ok(commit)
}

async fn append(table: &Table, run: i64) -> Result<()> {
    table.commit(commit_of(table, Operation::Append, rows(run)?).await?).await?;
    Ok(())
}

/// The places of the columns that hold lists.
const LISTS: [usize; 2] = [8, 9];

/// Rows of the table of large files.
const LARGE: i64 = 60_000;

/// Makes a lake with a table for each history.
async fn make(path: &Path) -> Result<()> {
    let lake = Lake::open(&path.to_string_lossy(), LakeOptions { sync: false, ..LakeOptions::default() }).await?;

    table(&lake, "bronze.empty", false).await?;

    let appended = table(&lake, "bronze.appended", false).await?;
    for run in 0..3 {
        append(&appended, run).await?;
    }

    let replaced = table(&lake, "silver.replaced", false).await?;
    append(&replaced, 0).await?;
    let mut rebuild = commit_of(&replaced, Operation::Rebuild, rows(7)?).await?;
    rebuild.removes = replaced.snapshot().files().cloned().collect();
    replaced.commit(rebuild).await?;

    // Full pages of values that differ: those of small files have dictionaries.
    let large = table(&lake, "silver.large", false).await?;
    large.commit(commit_of(&large, Operation::Append, rows_of(0..LARGE)?).await?).await?;

    splice(&lake).await?;

    let hundred = table(&lake, "silver.hundred", false).await?;
    for run in 0..100 {
        append(&hundred, run).await?;
    }
    hundred.checkpoint().await?;
    append(&hundred, 100).await?;

    let compacted = table(&lake, "gold.compacted", false).await?;
    for run in 0..12 {
        append(&compacted, run).await?;
    }
    let policy = CompactPolicy { min_files: 2, ..CompactPolicy::default() };
    let report = compacted.compact(&policy).await?;
    assert!(report.files_removed > report.files_added, "{report:?}");

    let changed = table(&lake, "gold.changed", true).await?;
    append(&changed, 0).await?;
    change(&changed).await?;

    let widened = table(&lake, "gold.widened", false).await?;
    append(&widened, 0).await?;
    widen(&widened).await?;
    lake.settle().await;
    Ok(())
}

/// A file without three of its rows, whose other pages are copied, with new rows behind.
async fn splice(lake: &Lake) -> Result<()> {
    let flat: Vec<usize> = (0..columns().fields().len()).filter(|at| !LISTS.contains(at)).collect();
    let spec = TableSpec::new(Arc::new(columns().project(&flat)?));
    let table = lake.create_table(&"silver.spliced".parse()?, &spec).await?;
    table.commit(commit_of(&table, Operation::Append, rows_of(0..LARGE)?.project(&flat)?).await?).await?;
    let file = table.snapshot().files().next().context("a file")?.clone();
    let mut writer = table.writer(WriterOptions::default());
    let goes = |batch: &RecordBatch| {
        let ids = batch.column(0).as_primitive::<Int64Type>().values();
        Ok(ids.iter().map(|id| Some([3, 20_000, 41_003].contains(id))).collect())
    };
    let spliced = writer.without(&file, &["id".to_owned()], None, goes).await?.context("pages that are copied")?;
    writer.append(&file, spliced).await?;
    writer.write(rows_of(LARGE..LARGE + 50)?.project(&flat)?).await?;
    let mut commit = Commit::new(table.snapshot(), Operation::Merge);
    commit.removes.push(file);
    commit.stage(writer.finish().await?);
    table.commit(commit).await?;
    Ok(())
}

/// Replaces all rows under change data: before images of the old, after images of the new.
async fn change(table: &Table) -> Result<()> {
    let mut writer = table.writer(WriterOptions::default());
    writer.write(rows(5)?).await?;
    for (kind, run) in [("update_preimage", 0), ("update_postimage", 5)] {
        let rows = rows(run)?;
        let mut fields: Vec<Field> = rows.schema().fields().iter().map(|field| field.as_ref().clone()).collect();
        fields.push(Field::new(CHANGE_TYPE_COLUMN, DataType::Utf8, false));
        let mut arrays = rows.columns().to_vec();
        arrays.push(Arc::new(StringArray::from(vec![kind; rows.num_rows()])));
        writer.write_changes(RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays)?).await?;
    }
    let mut commit = Commit::new(table.snapshot(), Operation::Merge);
    commit.removes = table.snapshot().files().cloned().collect();
    commit.stage(writer.finish().await?);
    table.commit(commit).await?;
    Ok(())
}

/// Adds a column beside live files, and rows that have it.
async fn widen(table: &Table) -> Result<()> {
    let mut fields: Vec<Field> = columns().fields().iter().map(|field| field.as_ref().clone()).collect();
    fields.push(Field::new("extra", DataType::Int32, true));
    let wider = Arc::new(Schema::new(fields));
    let mut commit = Commit::new(table.snapshot(), Operation::Alter);
    commit.metadata = Some(MetadataChange { schema: Some(Arc::clone(&wider)), ..MetadataChange::default() });
    table.commit(commit).await?;
    let rows = rows(1)?;
    let mut arrays = rows.columns().to_vec();
    arrays.push(Arc::new(Int32Array::from_iter_values(0..rows.num_rows() as i32)));
    table.commit(commit_of(table, Operation::Append, RecordBatch::try_new(wider, arrays)?).await?).await?;
    Ok(())
}

/// What the lists of 150 rows hold: see [`headers`] and [`rows`].
const LISTED: [&str; 4] = ["200", "173", "150", "125"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn other_engines_read_what_the_store_writes() -> Result<()> {
    let folder = tempfile::tempdir()?;
    make(folder.path()).await?;
    let expected = ours(folder.path()).await?;
    let rows = |table: &str| expected.get(&(table.to_owned(), "rows".to_owned())).map(String::as_str);
    assert_eq!(rows("bronze/empty"), Some("0"));
    let appended =
        |measure: &str| expected.get(&("bronze/appended".to_owned(), measure.to_owned())).map(String::as_str);
    let lists = ["elements(headers)", "values(headers.key)", "values(headers.value)", "values(items.sku)"];
    assert_eq!(lists.map(appended), LISTED.map(Some));
    assert_eq!(rows("bronze/appended"), Some("150"));
    assert_eq!(rows("silver/replaced"), Some("50"));
    assert_eq!(rows("silver/large"), Some("60000"));
    assert_eq!(rows("silver/spliced"), Some("60047"));
    assert_eq!(rows("silver/hundred"), Some("5050"));
    assert_eq!(rows("gold/compacted"), Some("600"));
    assert_eq!(rows("gold/changed"), Some("50"));
    assert_eq!(rows("gold/widened"), Some("100"));
    read_by_all(folder.path(), &expected)
}

/// Tables of the demo, of all layers and kinds: Spark takes seconds for each.
const DEMO: [&str; 5] = [
    "bronze/sales_events",
    "silver/sales_lines",
    "gold/dim_customer_history",
    "gold/weekly_store_product",
    "_smelt/landing/products",
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn other_engines_read_the_lake_of_the_demo() -> Result<()> {
    // A build of the workspace's tests makes the binary: beside the folder of this one.
    let here = std::env::current_exe()?;
    let smelt = here.ancestors().nth(2).context("a test lies in target/<profile>/deps")?.join("smelt");
    let folder = tempfile::tempdir()?;
    let mut demo = Command::new(&smelt);
    let ran = demo.arg("demo").arg("--dir").arg(folder.path()).args(["--rows", "20000"]).output();
    let ran = ran.with_context(|| format!("{}: not built, or not runnable", smelt.display()))?;
    ensure!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    let lake = folder.path().join("some");
    for table in DEMO {
        let to = lake.join(table);
        fs::create_dir_all(to.parent().context("a table lies in a layer")?)?;
        fs::rename(folder.path().join("lake").join(table), to).with_context(|| table.to_owned())?;
    }
    let expected = ours(&lake).await?;
    for table in DEMO {
        let rows = expected.get(&(table.to_owned(), "rows".to_owned()));
        assert!(rows.is_some_and(|rows| rows != "0"), "{table}: {rows:?} rows");
    }
    read_by_all(&lake, &expected)
}

/// Every reader finds what the store does.
fn read_by_all(lake: &Path, expected: &Answers) -> Result<()> {
    for reader in Reader::ALL {
        match reader.read(lake)? {
            Err(why) => println!("{why}"),
            Ok(answers) => {
                let found = differences(expected, &answers);
                assert!(found.is_empty(), "{reader:?} reads something else:\n{}", found.join("\n"));
            }
        }
    }
    Ok(())
}
