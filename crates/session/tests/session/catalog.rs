//! Which rows a session shows: one release of Silver and Gold, Bronze at its head, good and bad rows apart.

use std::sync::Arc;

use arrow::array::{ArrayRef, Date32Array, Int32Array, Int64Array, StringArray, TimestampMicrosecondArray};
use insta::assert_snapshot;
use session::SessionOptions;
use store::Lake;

use crate::lake::{PROJECT, append, append_with, ask, batch, empty_lake, factory, project, refused, release};

fn ints(values: &[i32]) -> ArrayRef {
    Arc::new(Int32Array::from(values.to_vec()))
}

fn texts(values: &[&str]) -> ArrayRef {
    Arc::new(StringArray::from(values.to_vec()))
}

/// Appends till lines to Bronze: ids, with a status each, of file number `part`.
async fn land(lake: &Lake, source: &str, part: i32, ids: &[i32], status: &[&str]) {
    let schema = project(PROJECT).contracts["till"].bronze_schema();
    let rows = ids.len();
    let given: Vec<(&str, ArrayRef)> = vec![
        ("id", ints(ids)),
        ("amount", texts(&vec!["1.25"; rows])),
        ("day", Arc::new(Date32Array::from(vec![19_723; rows]))),
        ("_source", texts(&vec![source; rows])),
        ("_partition", ints(&vec![part; rows])),
        ("_offset", Arc::new(Int64Array::from_iter_values(1..=rows as i64))),
        ("_arrived_at", Arc::new(TimestampMicrosecondArray::from(vec![1_000_000; rows]).with_timezone("UTC"))),
        ("_status", texts(status)),
        ("_ingested_on", Arc::new(Date32Array::from(vec![19_724; rows]))),
    ];
    let bad = status.iter().filter(|status| **status == "quarantined").count();
    let counts = serde_json::json!({ "delivered": rows, "stored": rows - bad, "quarantined": bad, "skipped": 0 });
    let mut info = counts.as_object().cloned().expect("an object");
    info.insert("inputs".to_owned(), serde_json::json!({ "files:till": counts }));
    append_with(lake, "bronze.till", &["_status", "_ingested_on"], batch(schema, given), info).await;
}

#[tokio::test]
async fn good_and_bad_rows_are_apart_and_have_their_place() {
    let lake = empty_lake().await;
    land(&lake, "files:till_9.ndjson", 3, &[1, 2, 3], &["stored", "quarantined", "stored"]).await;
    land(&lake, "kafka:c/till", 0, &[4], &["stored"]).await;
    let session = factory(&lake, SessionOptions::default()).session().await.expect("a session");
    assert_snapshot!(ask(&session, "SELECT id, amount, _lineage FROM bronze.till ORDER BY id").await, @r"
    +----+--------+---------------------------------------------------------------------+
    | id | amount | _lineage                                                            |
    +----+--------+---------------------------------------------------------------------+
    | 1  | 1.25   | {at: , name: till_00019.ndjson, part: 3, offset: 1, revision: 0}    |
    | 3  | 1.25   | {at: , name: till_00019.ndjson, part: 3, offset: 3, revision: 0}    |
    | 4  | 1.25   | {at: 1970-01-01T00:00:01Z, name: , part: 0, offset: 1, revision: 0} |
    +----+--------+---------------------------------------------------------------------+
    ");
    assert_snapshot!(ask(&session, "SELECT id, _source, _offset FROM quarantine.till").await, @r"
    +----+---------------------+---------+
    | id | _source             | _offset |
    +----+---------------------+---------+
    | 2  | files:till_9.ndjson | 2       |
    +----+---------------------+---------+
    ");
    assert_eq!(
        refused(&session, "SELECT _lineage FROM quarantine.till").await.lines().next().unwrap_or(""),
        "unknown column _lineage"
    );
}

#[tokio::test]
async fn what_came_is_compared_with_what_is_kept() {
    let lake = empty_lake().await;
    land(&lake, "files:a", 1, &[1, 2, 3], &["stored", "quarantined", "stored"]).await;
    land(&lake, "files:b", 2, &[4], &["quarantined"]).await;
    let session = factory(&lake, SessionOptions::default()).session().await.expect("a session");
    let commits = "SELECT stream, version, delivered, stored, quarantined, skipped, rows_stored, rows_quarantined \
                   FROM quality.commits ORDER BY version";
    assert_snapshot!(ask(&session, commits).await, @r#"
    +--------+---------+-----------+--------+-------------+---------+-------------+------------------+
    | stream | version | delivered | stored | quarantined | skipped | rows_stored | rows_quarantined |
    +--------+---------+-----------+--------+-------------+---------+-------------+------------------+
    | till   | 1       | 3         | 2      | 1           | 0       | 2           | 1                |
    | till   | 2       | 1         | 0      | 1           | 0       | 0           | 1                |
    +--------+---------+-----------+--------+-------------+---------+-------------+------------------+
    "#);
    let inputs = "SELECT stream, input, delivered, stored, quarantined, committed_at IS NOT NULL AS dated \
                  FROM quality.reconciliation ORDER BY version";
    assert_snapshot!(ask(&session, inputs).await, @r#"
    +--------+------------+-----------+--------+-------------+-------+
    | stream | input      | delivered | stored | quarantined | dated |
    +--------+------------+-----------+--------+-------------+-------+
    | till   | files:till | 3         | 2      | 1           | true  |
    | till   | files:till | 1         | 0      | 1           | true  |
    +--------+------------+-----------+--------+-------------+-------+
    "#);
    assert_snapshot!(ask(&session, "SELECT stream, _source, _offset FROM quality.quarantine ORDER BY _source").await, @r#"
    +--------+---------+---------+
    | stream | _source | _offset |
    +--------+---------+---------+
    | till   | files:a | 2       |
    | till   | files:b | 1       |
    +--------+---------+---------+
    "#);
}

#[tokio::test]
async fn bronze_is_read_at_its_head_and_gold_from_one_release() {
    let lake = empty_lake().await;
    let factory = factory(&lake, SessionOptions::default());
    land(&lake, "files:a", 1, &[1], &["stored"]).await;
    let daily = |sales: &'static str| {
        let lake = lake.clone();
        async move {
            let schema = session_schema(&lake).await;
            let given =
                vec![("day", Arc::new(Date32Array::from(vec![19_723])) as ArrayRef), ("sales", texts(&[sales]))];
            append(&lake, "gold.daily", &[], batch(schema, given)).await
        }
    };
    let first = daily("10").await;
    release(&lake, &[("gold.daily", first)]).await;
    let before = factory.session().await.expect("a session");
    assert_eq!(before.release(), Some(1));
    // Asked before the next release: the table is opened after it, and still shows the release of the session.
    let second = daily("20").await;
    release(&lake, &[("gold.daily", second)]).await;
    daily("40").await;
    land(&lake, "files:b", 2, &[2], &["stored"]).await;

    let sum = "SELECT sum(sales) AS sales FROM gold.daily";
    let after = factory.session().await.expect("a session");
    assert_snapshot!(ask(&before, sum).await, @r"
    +--------+
    | sales  |
    +--------+
    | 10.000 |
    +--------+
    ");
    assert_snapshot!(ask(&after, sum).await, @r"
    +--------+
    | sales  |
    +--------+
    | 30.000 |
    +--------+
    ");
    assert_snapshot!(ask(&after, "SELECT count(*) AS lines FROM bronze.till").await, @r"
    +-------+
    | lines |
    +-------+
    | 2     |
    +-------+
    ");
    assert_snapshot!(ask(&after, "SELECT day, sales FROM best_day").await, @r"
    +------------+--------+
    | day        | sales  |
    +------------+--------+
    | 2024-01-01 | 20.000 |
    +------------+--------+
    ");
}

async fn session_schema(lake: &Lake) -> arrow::datatypes::SchemaRef {
    let session = factory(lake, SessionOptions::default()).session().await.expect("a session");
    Arc::clone(session.sql("SELECT * FROM gold.daily").await.expect("planned").schema().inner())
}

#[tokio::test]
async fn a_field_that_is_new_in_the_contract_is_null_in_old_rows() {
    let lake = empty_lake().await;
    land(&lake, "files:a", 1, &[1], &["stored"]).await;
    let mut files = PROJECT.to_vec();
    let wider = format!("{}store = {{ type = \"string\" }}\n", files[0].1);
    files[0].1 = &wider;
    let factory = session::SessionFactory::new(lake, project(&files), SessionOptions::default()).expect("a factory");
    let session = factory.session().await.expect("a session");
    assert_snapshot!(ask(&session, "SELECT id, store FROM bronze.till").await, @r"
    +----+-------+
    | id | store |
    +----+-------+
    | 1  |       |
    +----+-------+
    ");
}

#[tokio::test]
async fn views_in_a_circle_are_refused() {
    let view = |name: &str, reads: &str| {
        format!(
            "/* models/gold/{name}.sql\n---\ndescription = \"v\"\ngrain = [\"x\"]\nkept = \"view\"\n--- */\nSELECT x FROM gold.{reads}"
        )
    };
    let (a, b) = (view("a", "b"), view("b", "a"));
    let project = project(&[("models/gold/a.sql", &a), ("models/gold/b.sql", &b)]);
    let factory =
        session::SessionFactory::new(empty_lake().await, project, SessionOptions::default()).expect("a factory");
    let session = factory.session().await.expect("a session");
    assert_snapshot!(refused(&session, "SELECT * FROM a").await, @"models/gold/a.sql: reads itself: gold.a reads gold.b reads gold.a");
}

#[tokio::test]
async fn tables_are_described_with_units_and_meaning() {
    let session = factory(&empty_lake().await, SessionOptions::default()).session().await.expect("a session");
    let names: Vec<String> =
        session.tables().iter().map(|table| format!("{}.{} {}", table.schema, table.name, table.kind)).collect();
    assert_snapshot!(names.join("\n"), @r#"
    bronze.prices stream
    bronze.till stream
    quarantine.prices stream
    quarantine.till stream
    silver.lines latest
    gold.best_day view
    gold.daily scoped
    quality.commits view
    quality.quarantine view
    quality.reconciliation view
    quality.results view
    "#);
    let lines = session.describe("silver.lines").await.expect("described");
    let columns: Vec<String> = lines.columns.iter().map(|column| format!("{column:?}")).collect();
    assert_snapshot!(columns.join("\n"), @r#"
    ColumnDescription { name: "id", kind: "int", unit: None, description: None }
    ColumnDescription { name: "day", kind: "date", unit: None, description: None }
    ColumnDescription { name: "amount", kind: "decimal(30,3)", unit: Some("currency"), description: Some("what was paid") }
    ColumnDescription { name: "_lineage", kind: "struct<at timestamp, name string, part bigint, offset bigint, revision int>", unit: None, description: None }
    "#);
    assert_eq!(lines.grain, ["id"]);
    let error = session.describe("silver.lins").await.expect_err("unknown");
    assert_eq!(error.to_string(), "unknown table silver.lins; did you mean silver.lines?");
}

#[tokio::test]
async fn parameters_are_values_and_never_sql() {
    use datafusion::common::ScalarValue;
    let session = factory(&empty_lake().await, SessionOptions::default()).session().await.expect("a session");
    let parameters = session::Parameters::from([
        ("text".to_owned(), ScalarValue::from("'; DROP TABLE x; --")),
        ("day".to_owned(), ScalarValue::Date32(Some(19_723))),
        ("at".to_owned(), ScalarValue::TimestampMicrosecond(Some(1_706_686_200_000_001), Some("UTC".into()))),
        ("money".to_owned(), ScalarValue::Decimal128(Some(-1250), 6, 2)),
        ("none".to_owned(), ScalarValue::Date32(None)),
        ("n".to_owned(), ScalarValue::Int32(Some(-3))),
        ("top".to_owned(), ScalarValue::Int64(Some(1))),
    ]);
    let sql = "SELECT $text AS text, $day AS day, $at AS at, $money AS money, $none IS NULL AS none, $n AS n \
               FROM (VALUES (1), (2)) LIMIT $top";
    let answer = session.sql_with(sql, &parameters).await.expect("planned").collect().await.expect("answered");
    assert_snapshot!(arrow::util::pretty::pretty_format_batches(&answer).expect("printable"), @r"
    +---------------------+------------+-----------------------------+--------+------+----+
    | text                | day        | at                          | money  | none | n  |
    +---------------------+------------+-----------------------------+--------+------+----+
    | '; DROP TABLE x; -- | 2024-01-01 | 2024-01-31T07:30:00.000001Z | -12.50 | true | -3 |
    +---------------------+------------+-----------------------------+--------+------+----+
    ");
}
