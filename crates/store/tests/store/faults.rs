//! Storage that fails around a commit (ENGINE.md, rules 4 and 5).

use std::sync::Arc;
use std::time::Duration;

use store::testing::{Fault, FaultStore, Op};
use store::{CompactPolicy, ErrorKind, Lake, LakeOptions, StoreError, Table};

use crate::support::*;

async fn faulty() -> (Arc<FaultStore>, Table) {
    let store = Arc::new(FaultStore::in_memory());
    let options = LakeOptions { retry_pause: Duration::ZERO, ..LakeOptions::default() };
    let t = table(&Lake::with_durable_store(store.clone(), options)).await;
    (store, t)
}

/// What a fresh process sees.
async fn seen_by_others(store: &Arc<FaultStore>) -> (i64, Vec<i64>) {
    let t = table(&Lake::with_durable_store(store.clone(), LakeOptions::default())).await;
    (t.snapshot().version(), ids(t.snapshot().provider()).await)
}

#[tokio::test]
async fn a_commit_that_lands_with_an_error_is_not_repeated() {
    let (store, t) = faulty().await;
    store.add(Fault::after(Op::Put, "_delta_log/"));
    let done = append(&t, [1], 1).await.unwrap();
    assert_eq!((done.version, done.already, store.fired()), (1, false, 1));
    append(&t, [2], 2).await.unwrap();
    assert_eq!(seen_by_others(&store).await, (2, vec![1, 2]));
    // It was made durable before it was acknowledged: a sync of the commit itself.
    assert!(store.take_operations().iter().any(|(op, path)| *op == Op::Sync && path.as_ref().ends_with("1.json")));
}

#[tokio::test]
async fn a_commit_whose_put_fails_is_put_again_in_the_same_place() {
    let (store, t) = faulty().await;
    store.add(Fault::before(Op::Put, "_delta_log/").times(2));
    assert_eq!(append(&t, [1], 1).await.unwrap().version, 1);
    assert_eq!(seen_by_others(&store).await, (1, vec![1]));
}

#[tokio::test]
async fn a_lost_answer_and_a_failing_read_behind_it() {
    let (store, t) = faulty().await;
    store.add(Fault::after(Op::Put, "_delta_log/"));
    store.add(Fault::before(Op::Get, "_delta_log/").times(2));
    assert_eq!(append(&t, [1], 1).await.unwrap().version, 1);
    assert_eq!(seen_by_others(&store).await, (1, vec![1]));
}

#[tokio::test]
async fn a_commit_that_landed_and_was_overtaken_is_found() {
    let (store, t) = faulty().await;
    let other = table(&Lake::with_durable_store(store.clone(), LakeOptions::default())).await;
    // The put lands, its answer is lost, and before we look others commit behind it.
    store.add(Fault::after(Op::Put, "_delta_log/"));
    let (fault, pause) = Fault::pause(Op::Get, "00000000000000000001.json");
    store.add(fault);
    let task = {
        let t = t.clone();
        tokio::spawn(async move { append(&t, [1], 1).await })
    };
    pause.reached().await;
    other.refresh().await.unwrap();
    append(&other, [2], 2).await.unwrap();
    pause.resume();
    let done = task.await.unwrap().unwrap();
    assert_eq!((done.version, done.already), (1, false));
    assert_eq!(seen_by_others(&store).await, (2, vec![1, 2]));
}

#[tokio::test]
async fn storage_that_stays_away_leaves_the_fate_open_and_the_files_alone() {
    let (store, t) = faulty().await;
    store.add(Fault::before(Op::Put, "_delta_log/").times(100));
    let staged = stage(&t, [1]).await;
    let commit = appending(&t, staged, 1);
    let error = t.commit(commit.clone()).await.unwrap_err();
    assert!(matches!(error, StoreError::FateUnknown { version: 1, .. }), "{error}");
    assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Storage, true));
    assert!(store.take_operations().iter().all(|(op, _)| *op != Op::Delete));
    // The same commit again, when storage is back: the rows are there once.
    store.clear();
    assert_eq!(t.commit(commit).await.unwrap().version, 1);
    assert_eq!(seen_by_others(&store).await, (1, vec![1]));
}

#[tokio::test]
async fn writers_that_fail_stage_nothing() {
    for fault in
        [Fault::before(Op::Put, ".parquet"), Fault::after(Op::Put, ".parquet"), Fault::before(Op::Sync, "").times(1)]
    {
        let (store, t) = faulty().await;
        store.add(fault);
        let mut writer = t.writer(store::WriterOptions::default());
        writer.write(rows([1])).await.unwrap();
        assert!(writer.finish().await.is_err());
        assert_eq!(seen_by_others(&store).await, (0, vec![]));
    }
}

#[tokio::test]
async fn compaction_that_fails_changes_nothing() {
    for op in [Op::Get, Op::Put] {
        let (store, t) = faulty().await;
        for id in 0..5 {
            append(&t, [id], id + 1).await.unwrap();
        }
        store.add(Fault::before(op, ".parquet"));
        assert!(t.compact(&CompactPolicy::default()).await.is_err());
        assert_eq!(seen_by_others(&store).await, (5, vec![0, 1, 2, 3, 4]));
        t.compact(&CompactPolicy::default()).await.unwrap();
        assert_eq!(seen_by_others(&store).await, (6, vec![0, 1, 2, 3, 4]));
    }
}

#[tokio::test]
async fn creating_at_the_same_time_makes_one_table() {
    let store = Arc::new(FaultStore::in_memory());
    let open = || Lake::with_durable_store(store.clone(), LakeOptions::default());
    let (a, b) = (open(), open());
    let (a, b) = tokio::join!(table(&a), table(&b));
    assert_eq!(a.snapshot().id(), b.snapshot().id());
    // A first commit whose answer is lost is an error that may be repeated.
    let store = Arc::new(FaultStore::in_memory());
    let lake = Lake::with_durable_store(store.clone(), LakeOptions::default());
    store.add(Fault::after(Op::Put, "_delta_log/"));
    let name = "silver.t".parse().unwrap();
    assert!(lake.create_table(&name, &spec()).await.is_err());
    assert_eq!(lake.create_table(&name, &spec()).await.unwrap().snapshot().version(), 0);
}
