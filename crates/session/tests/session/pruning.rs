//! A query opens only what it needs: the tables that it names, and of those the files of its days.

use std::sync::Arc;

use arrow::array::{ArrayRef, Date32Array, Decimal128Array, Int32Array, RecordBatch};
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
