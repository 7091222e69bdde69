//! A query opens only what it needs: the tables that it names, and of those the files of its days.

use std::sync::Arc;

use arrow::array::{ArrayRef, Date32Array, Decimal128Array, Int32Array, RecordBatch, StringArray};
use session::SessionOptions;

use crate::lake::{append, ask, empty_lake, factory, release};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_one_day_query_opens_the_files_of_that_day() {
    let lake = empty_lake().await;
    let days = 20;
    let mut version = 0;
    for day in 0..days {
        let amounts = Decimal128Array::from(vec![100, 250]).with_precision_and_scale(30, 3).expect("fits");
        let batch = RecordBatch::try_from_iter([
            ("id", Arc::new(Int32Array::from(vec![day * 2, day * 2 + 1])) as ArrayRef),
            ("day", Arc::new(Date32Array::from(vec![19_723 + day; 2])) as ArrayRef),
            ("amount", Arc::new(amounts) as ArrayRef),
        ])
        .expect("columns of one length");
        version = append(&lake, "silver.lines", &["day"], batch).await;
    }
    release(&lake, &[("silver.lines", version)]).await;
    let session = factory(&lake, SessionOptions::default()).session().await.expect("a session");

    let files = |plan: &str| plan.matches(".parquet").count();
    let all = ask(&session, "EXPLAIN SELECT sum(amount) FROM silver.lines").await;
    // EXPLAIN shows the first files of a long list.
    assert!(files(&all) > 1, "{all}");
    let sql = "SELECT sum(amount) AS amount FROM silver.lines WHERE day = DATE '2024-01-03'";
    let one = ask(&session, &format!("EXPLAIN {sql}")).await;
    assert_eq!(files(&one), 1, "{one}");
    assert!(ask(&session, sql).await.contains("0.350"));
    // By the statistics of files as well, not by partition alone.
    let by_id = ask(&session, "EXPLAIN SELECT amount FROM silver.lines WHERE id = 7").await;
    assert_eq!(files(&by_id), 1, "{by_id}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_of_days_are_counted_by_the_log() {
    let lake = empty_lake().await;
    let rows = |day: i32, sources: &[&str]| {
        RecordBatch::try_from_iter([
            ("id", Arc::new(Int32Array::from_iter_values(0..sources.len() as i32)) as ArrayRef),
            ("day", Arc::new(Date32Array::from(vec![19_723 + day; sources.len()])) as ArrayRef),
            ("source", Arc::new(StringArray::from(sources.to_vec())) as ArrayRef),
        ])
        .expect("columns of one length")
    };
    let mut version = 0;
    for (day, sources) in [(0, &["a", "a"] as &[&str]), (0, &["b"]), (1, &["a", "a", "a"]), (2, &["b"]), (1, &["a"])] {
        version = append(&lake, "silver.lines", &["day"], rows(day, sources)).await;
    }
    release(&lake, &[("silver.lines", version)]).await;
    let session = factory(&lake, SessionOptions::default()).session().await.expect("a session");
    let by_log = [
        "SELECT day, count(*) AS n, count(1) + 1 AS m FROM silver.lines WHERE source = 'a' GROUP BY day ORDER BY day",
        "SELECT l.source, l.day, count(*) AS n FROM silver.lines l WHERE day > DATE '2024-01-01' GROUP BY 1, 2 ORDER BY 1, 2",
        "SELECT sum(n) AS n FROM (SELECT source, count(*) AS n FROM silver.lines GROUP BY source HAVING count(*) > 2)",
        "SELECT day, count(*) AS n FROM silver.lines WHERE source = 'c' GROUP BY day",
        "SELECT DISTINCT day FROM silver.lines WHERE source = 'b' ORDER BY day DESC LIMIT 1",
    ];
    let read = |sql: &str| {
        let counted = "sum(CASE WHEN id >= 0 THEN 1 ELSE 0 END)";
        sql.replace("count(*)", counted).replace("count(1)", counted)
    };
    for sql in by_log {
        let plan = ask(&session, &format!("EXPLAIN {sql}")).await;
        assert!(!plan.contains(".parquet"), "{plan}");
        assert_eq!(ask(&session, sql).await, ask(&session, &read(sql)).await, "{sql}");
    }
    for sql in [
        "SELECT day, count(*) AS n, sum(id) AS s FROM silver.lines GROUP BY day ORDER BY day",
        "SELECT day, count(DISTINCT source) AS n FROM silver.lines GROUP BY day ORDER BY day",
        "SELECT day, count(*) FILTER (WHERE id > 0) AS n FROM silver.lines GROUP BY day ORDER BY day",
        "SELECT day, count(*) AS n FROM silver.lines WHERE id > 0 GROUP BY day ORDER BY day",
        "SELECT id, count(*) AS n FROM silver.lines GROUP BY id ORDER BY id",
    ] {
        let plan = ask(&session, &format!("EXPLAIN {sql}")).await;
        assert!(plan.contains(".parquet"), "{plan}");
    }
    let several = "SELECT (SELECT count(*) FROM silver.lines WHERE source = 'a') AS a, \
        (SELECT count(*) FROM silver.lines WHERE source = 'b') AS b, (SELECT count(*) FROM silver.lines) AS both_of";
    assert!(ask(&session, several).await.contains("| 6 | 2 | 8       |"), "{}", ask(&session, several).await);
    // A file with rows of both.
    version = append(&lake, "silver.lines", &["day"], rows(2, &["a", "b"])).await;
    release(&lake, &[("silver.lines", version)]).await;
    let session = factory(&lake, SessionOptions::default()).session().await.expect("a session");
    for sql in by_log {
        assert_eq!(ask(&session, sql).await, ask(&session, &read(sql)).await, "{sql}");
    }
    let total = "SELECT count(*) AS n FROM silver.lines WHERE source = 'a'";
    assert_eq!(ask(&session, total).await, ask(&session, &read(total)).await);
    for sql in [by_log[0], total] {
        let plan = ask(&session, &format!("EXPLAIN {sql}")).await;
        assert_eq!(plan.matches(".parquet").count(), 1, "only what the log does not say is read: {plan}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_rows_come_of_the_files_that_can_have_them() {
    let lake = empty_lake().await;
    let mut version = 0;
    // In no order; neighbours share values, and one file has nulls.
    for part in [3, 0, 5, 1, 4, 2] {
        let at = (0..11).map(|n| (part != 1 || n != 4).then_some(part * 10 + n));
        let batch = RecordBatch::try_from_iter_with_nullable([
            ("id", Arc::new(Int32Array::from_iter_values((0..11).map(|n| part * 100 + n))) as ArrayRef, false),
            ("at", Arc::new(at.collect::<Int32Array>()) as ArrayRef, true),
            ("source", Arc::new(StringArray::from(vec![if part > 3 { "b" } else { "a" }; 11])) as ArrayRef, false),
        ])
        .expect("columns of one length");
        version = append(&lake, "silver.lines", &[], batch).await;
    }
    release(&lake, &[("silver.lines", version)]).await;
    // EXPLAIN shows five files of each thread.
    let options = SessionOptions { threads: 2, ..SessionOptions::default() };
    let session = factory(&lake, options).session().await.expect("a session");
    for (sql, files) in [
        ("SELECT id, at FROM silver.lines ORDER BY at DESC NULLS LAST, id LIMIT 11", 2),
        ("SELECT id, at FROM silver.lines ORDER BY at DESC NULLS LAST, id LIMIT 12", 3),
        ("SELECT id, at FROM silver.lines ORDER BY at DESC NULLS LAST, id LIMIT 5 OFFSET 20", 4),
        ("SELECT id, at FROM silver.lines ORDER BY at DESC, id LIMIT 3", 3),
        ("SELECT id, at FROM silver.lines ORDER BY at, id LIMIT 12", 3),
        ("SELECT id, later FROM (SELECT id, at AS later FROM silver.lines) AS l ORDER BY l.later, id LIMIT 1", 2),
        ("SELECT id, at FROM silver.lines WHERE source = 'a' ORDER BY at DESC NULLS LAST, id LIMIT 4", 2),
        ("SELECT id, at FROM silver.lines WHERE id % 2 = 0 ORDER BY at DESC NULLS LAST, id LIMIT 4", 6),
        ("SELECT id, at FROM silver.lines ORDER BY at, id LIMIT 100", 6),
    ] {
        let plan = ask(&session, &format!("EXPLAIN {sql}")).await;
        assert_eq!(plan.matches(".parquet").count(), files, "{sql}\n{plan}");
        let unbounded = sql.replace("ORDER BY at", "ORDER BY at + 0").replace("l.later,", "l.later + 0,");
        assert_eq!(ask(&session, sql).await, ask(&session, &unbounded).await, "{sql}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_is_read_by_all_threads() {
    let lake = empty_lake().await;
    // Two row groups, of 131,072 rows and of the rest; shares end elsewhere.
    let rows = 140_000;
    let batch = |rows: i32| {
        RecordBatch::try_from_iter([
            ("id", Arc::new(Int32Array::from_iter_values(0..rows)) as ArrayRef),
            ("name", Arc::new(StringArray::from_iter_values((0..rows).map(|n| format!("n{}", n % 7)))) as ArrayRef),
        ])
        .expect("columns of one length")
    };
    let version = append(&lake, "silver.lines", &[], batch(rows)).await;
    let small = append(&lake, "silver.few", &[], batch(1_000)).await;
    release(&lake, &[("silver.lines", version), ("silver.few", small)]).await;
    let options = SessionOptions { threads: 3, ..SessionOptions::default() };
    let session = factory(&lake, options).session().await.expect("a session");
    for (sql, parts, answer) in [
        (
            "SELECT count(*) AS n, sum(id) AS s, min(id) AS a, max(id) AS z FROM silver.lines WHERE id >= 0",
            3,
            "| 140000 | 9799930000 | 0 | 139999 |",
        ),
        ("SELECT id FROM silver.lines ORDER BY id DESC LIMIT 2 OFFSET 9000", 3, "| 130999 |\n| 130998 |"),
        (
            "SELECT count(*) AS n, sum(id) AS s FROM silver.lines WHERE id BETWEEN 130500 AND 131499",
            3,
            "| 1000 | 130999500 |",
        ),
        ("SELECT name, sum(id) AS s FROM silver.lines GROUP BY name ORDER BY name LIMIT 1", 3, "| n0   | 1399930000 |"),
        ("SELECT sum(id) AS s FROM silver.few", 1, "| 499500 |"),
    ] {
        let plan = ask(&session, &format!("EXPLAIN {sql}")).await;
        assert_eq!(plan.matches(".parquet").count(), parts, "{plan}");
        let found = ask(&session, sql).await;
        assert!(found.contains(answer), "{sql}\n{found}");
    }
}
