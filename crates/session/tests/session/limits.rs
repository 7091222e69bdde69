//! Limits: what does not fit memory spills, what cannot spill says which setting to raise, and time ends.

use std::time::Duration;

use futures::TryStreamExt;
use session::{SessionError, SessionFactory, SessionOptions};

use crate::lake::{empty_lake, project};

async fn factory(options: SessionOptions) -> SessionFactory {
    SessionFactory::new(empty_lake().await, project(&[]), options).expect("a factory")
}

async fn rows(factory: &SessionFactory, sql: &str) -> Result<usize, SessionError> {
    let session = factory.session().await?;
    let stream = session.query(sql, &Default::default()).await?;
    let counts: Vec<usize> = stream.map_ok(|batch| batch.num_rows()).try_collect().await?;
    Ok(counts.iter().sum())
}

/// About 100 bytes a row, in no order.
const WIDE: &str =
    "SELECT md5(CAST(v AS VARCHAR)) AS k, repeat('x', 60) AS t, v FROM generate_series(1, 400000) AS s(v)";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sort_and_an_aggregation_beyond_memory_spill() {
    let spill = tempfile::tempdir().expect("a directory");
    let options = SessionOptions {
        memory_bytes: 16 << 20,
        threads: 2,
        temp_dir: Some(spill.path().join("spill")),
        ..SessionOptions::default()
    };
    let factory = factory(options).await;
    let session = factory.session().await.expect("a session");

    let sorted = format!("EXPLAIN ANALYZE SELECT * FROM ({WIDE}) ORDER BY k");
    let plan = crate::lake::ask(&session, &sorted).await;
    assert!(spilled(&plan), "the sort did not spill: {plan}");

    let grouped = format!("EXPLAIN ANALYZE SELECT k, max(t), sum(v) FROM ({WIDE}) GROUP BY k");
    let plan = crate::lake::ask(&session, &grouped).await;
    assert!(spilled(&plan), "the aggregation did not spill: {plan}");

    let counted = format!("SELECT k FROM (SELECT k, max(t) AS t, sum(v) AS v FROM ({WIDE}) GROUP BY k) ORDER BY k");
    assert_eq!(rows(&factory, &counted).await.expect("answered"), 400_000);
}

/// Whether some operator of an analysed plan says that it spilled.
fn spilled(plan: &str) -> bool {
    plan.split("spill_count=").skip(1).any(|rest| !rest.starts_with("0,") && !rest.starts_with("0]"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_spill_names_the_setting() {
    let options = SessionOptions { memory_bytes: 4 << 20, threads: 2, ..SessionOptions::default() };
    let sql = format!("SELECT array_agg(t || k) FROM ({WIDE})");
    let error = rows(&factory(options).await, &sql).await.expect_err("too much");
    assert!(matches!(error, SessionError::MemoryLimit { limit_mb: 4, .. }), "{error}");
    assert!(error.to_string().contains("`limits.memory`"), "{error}");
    assert!(!error.is_usage());
}

/// On one thread: what keeps the time must not be what computes.
#[tokio::test]
async fn time_ends() {
    let limit = Duration::from_millis(50);
    let options = SessionOptions { time_limit: Some(limit), ..SessionOptions::default() };
    let sql = "SELECT count(*) FROM generate_series(1, 1000000) AS a(x), generate_series(1, 1000000) AS b(y) \
               WHERE x % 7 = y % 5";
    let error = rows(&factory(options).await, sql).await.expect_err("too long");
    assert!(matches!(error, SessionError::TimeLimit { limit: found } if found == limit), "{error}");
    assert!(error.to_string().contains("`limits.query_time`"), "{error}");
}

#[tokio::test]
async fn a_temporary_directory_that_cannot_be_made_is_named() {
    let file = tempfile::NamedTempFile::new().expect("a file");
    let temp_dir = Some(file.path().join("below"));
    let options = SessionOptions { temp_dir, ..SessionOptions::default() };
    let error = SessionFactory::new(empty_lake().await, project(&[]), options).expect_err("refused");
    assert!(error.to_string().contains("below"), "{error}");
}
