//! Who may commit what: the check of ENGINE.md, rule 3, between writers that do not know of each other.

use std::sync::Arc;

use store::testing::{Fault, FaultStore, Op};
use store::{Commit, CompactPolicy, ConflictReason, Consumed, Lake, LakeOptions, Operation, StoreError, Table};

use crate::support::*;

/// Two processes on one lake: their own caches, the same storage.
async fn two() -> (Arc<FaultStore>, Table, Table) {
    let store = Arc::new(FaultStore::in_memory());
    let open = || Lake::with_durable_store(store.clone(), LakeOptions::default());
    let first = table(&open()).await;
    let second = table(&open()).await;
    (store, first, second)
}

fn reason(error: StoreError) -> ConflictReason {
    match error {
        StoreError::Conflict { reason, .. } => reason,
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn appends_of_other_inputs_pass_each_other() {
    let (_, a, b) = two().await;
    let (from_a, from_b) = (stage(&a, [1]).await, stage(&b, [2]).await);
    let mut other = Commit::new(b.snapshot(), Operation::Append);
    other.inputs.push(Consumed { input: "other".into(), from: None, to: 1 });
    other.stage(from_b);
    a.commit(appending(&a, from_a, 1)).await.unwrap();
    let done = b.commit(other).await.unwrap();
    assert_eq!((done.version, done.snapshot.txn("in"), done.snapshot.txn("other")), (2, Some(1), Some(1)));
    assert_eq!(ids(done.snapshot.provider()).await, [1, 2]);
}

/// Rows that were computed from the table's own do not pass other rows; a compaction they pass.
#[tokio::test]
async fn an_exclusive_commit_takes_no_other_rows_beside_it() {
    let (_, a, b) = two().await;
    append(&a, [1, 2], 1).await.unwrap();
    append(&a, [3], 2).await.unwrap();
    b.refresh().await.unwrap();
    // An input that does not move says where the table must stand, and is no change of its own.
    let exclusive = async |base: &Table, rows: Vec<i64>| {
        let staged = stage(base, rows).await;
        let mut commit = Commit::new(base.snapshot(), Operation::Merge);
        commit.inputs.push(Consumed { input: "in".into(), from: Some(2), to: 2 });
        assert!(commit.is_empty());
        commit.exclusive = true;
        commit.stage(staged);
        commit
    };
    let computed = exclusive(&b, vec![4]).await;
    let crossing = exclusive(&b, vec![5]).await;
    a.compact(&CompactPolicy { min_files: 2, ..CompactPolicy::default() }).await.unwrap();
    assert_eq!(b.commit(computed).await.unwrap().version, 4);
    let error = a.commit(crossing).await.unwrap_err();
    assert_eq!(reason(error), ConflictReason::RowsChanged { version: 4 });
    assert_eq!(ids(a.refresh().await.unwrap().provider()).await, [1, 2, 3, 4]);
}

#[tokio::test]
async fn a_stalled_writer_does_not_add_its_rows_again() {
    let (store, stalled, heir) = two().await;
    let full_batch = stage(&stalled, [1, 2, 3]).await;
    let commit = appending(&stalled, full_batch, 3);
    let (fault, pause) = Fault::pause(Op::Put, "_delta_log/");
    store.add(fault);
    let stalled_task = {
        let stalled = stalled.clone();
        tokio::spawn(async move { stalled.commit(commit).await })
    };
    pause.reached().await;
    // Its inputs go to another process, which consumes the first part of them, and commits.
    append(&heir, [1, 2], 2).await.unwrap();
    pause.resume();
    let error = stalled_task.await.unwrap().unwrap_err();
    assert_eq!(reason(error), ConflictReason::InputMoved { input: "in".into(), expected: None, found: Some(2) });
    assert_eq!(ids(stalled.refresh().await.unwrap().provider()).await, [1, 2]);

    // A refreshed snapshot does not help a batch that was made before: its start is checked, not its age.
    let late = {
        let mut commit = Commit::new(stalled.snapshot(), Operation::Append);
        commit.inputs.push(Consumed { input: "in".into(), from: None, to: 3 });
        commit.stage(stage(&stalled, [1, 2, 3]).await);
        commit
    };
    assert!(matches!(stalled.commit(late).await, Err(StoreError::Conflict { .. })));

    // When the heir consumed all of it, the batch is done: it is dropped.
    append(&heir, [3, 4], 4).await.unwrap();
    let mut commit = Commit::new(stalled.snapshot(), Operation::Append);
    commit.inputs.push(Consumed { input: "in".into(), from: Some(2), to: 3 });
    commit.stage(stage(&stalled, [3]).await);
    let done = stalled.commit(commit).await.unwrap();
    assert!(done.already);
    assert_eq!(ids(done.snapshot.provider()).await, [1, 2, 3, 4]);
}

#[tokio::test]
async fn a_compaction_and_a_replace_that_cross() {
    for compaction_first in [true, false] {
        let (store, writer, upkeep) = two().await;
        for id in 0..6 {
            append(&writer, [id], id + 1).await.unwrap();
        }
        upkeep.refresh().await.unwrap();
        let base = writer.snapshot();
        let mut replace = Commit::new(base.clone(), Operation::Merge);
        replace.removes = base.files().cloned().collect();
        replace.inputs.push(Consumed { input: "in".into(), from: Some(6), to: 7 });
        replace.stage(stage(&writer, 10..16).await);
        if compaction_first {
            let report = upkeep.compact(&CompactPolicy::default()).await.unwrap();
            assert_eq!((report.files_removed, report.files_added), (6, 1));
            assert!(matches!(reason(writer.commit(replace).await.unwrap_err()), ConflictReason::FileGone { .. }));
            assert_eq!(ids(writer.refresh().await.unwrap().provider()).await, [0, 1, 2, 3, 4, 5]);
        } else {
            let (fault, pause) = Fault::pause(Op::Put, "_delta_log/");
            store.add(fault);
            let task = tokio::spawn(async move { upkeep.compact(&CompactPolicy::default()).await });
            pause.reached().await;
            writer.commit(replace).await.unwrap();
            pause.resume();
            let report = task.await.unwrap().unwrap();
            assert_eq!((report.conflicts, report.files_removed), (1, 0));
            assert_eq!(ids(writer.refresh().await.unwrap().provider()).await, [10, 11, 12, 13, 14, 15]);
        }
    }
}

#[tokio::test]
async fn an_append_crosses_a_compaction_without_harm() {
    let (_, writer, upkeep) = two().await;
    for id in 0..6 {
        append(&writer, [id], id + 1).await.unwrap();
    }
    let staged = stage(&writer, [6]).await;
    let commit = appending(&writer, staged, 7);
    upkeep.compact(&CompactPolicy::default()).await.unwrap();
    let done = writer.commit(commit).await.unwrap();
    assert_eq!(ids(done.snapshot.provider()).await, [0, 1, 2, 3, 4, 5, 6]);
    // For a consumer nothing changed but the append.
    assert_eq!(ids(writer.changes(6, done.version).await.unwrap().inserts()).await, [6]);
}

#[tokio::test]
async fn metadata_that_changed_refuses_a_commit() {
    let (_, a, b) = two().await;
    let staged = stage(&a, [1]).await;
    let commit = appending(&a, staged, 1);
    let mut alter = Commit::new(b.snapshot(), Operation::Alter);
    alter.metadata = Some(store::MetadataChange { fingerprint: Some("x".into()), ..Default::default() });
    b.commit(alter).await.unwrap();
    assert_eq!(reason(a.commit(commit).await.unwrap_err()), ConflictReason::MetadataChanged);
    append(&a, [1], 1).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn many_writers_at_once_lose_nothing() {
    const WRITERS: usize = 6;
    const EACH: i64 = 15;
    let store = Arc::new(FaultStore::in_memory());
    let mut tasks = Vec::new();
    for writer in 0..WRITERS {
        let lake = Lake::with_durable_store(store.clone(), LakeOptions::default());
        tasks.push(tokio::spawn(async move {
            let t = table(&lake).await;
            for n in 0..EACH {
                let id = i64::try_from(writer).unwrap() * 1000 + n;
                let mut commit = Commit::new(t.snapshot(), Operation::Append);
                let from = (n > 0).then_some(n);
                commit.inputs.push(Consumed { input: format!("in/{writer}"), from, to: n + 1 });
                commit.stage(stage(&t, [id]).await);
                assert!(!t.commit(commit).await.unwrap().already);
            }
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
    let t = table(&Lake::with_durable_store(store, LakeOptions::default())).await;
    assert_eq!(t.snapshot().version(), i64::try_from(WRITERS).unwrap() * EACH);
    assert_eq!(ids(t.snapshot().provider()).await.len(), WRITERS * 15);
}

#[tokio::test]
async fn a_head_is_found_without_listing_and_a_commit_costs_one_put() {
    let (store, a, _) = two().await;
    append(&a, [1], 1).await.unwrap();
    store.take_operations();
    let staged = stage(&a, [2]).await;
    store.take_operations();
    a.commit(appending(&a, staged, 2)).await.unwrap();
    let operations: Vec<Op> = store.take_operations().into_iter().map(|(op, _)| op).collect();
    assert_eq!(operations, [Op::Put]);
    a.refresh().await.unwrap();
    let operations: Vec<Op> = store.take_operations().into_iter().map(|(op, _)| op).collect();
    assert_eq!(operations, [Op::Get]);
    let fresh = Lake::with_durable_store(store.clone(), LakeOptions::default());
    fresh.table(a.name()).await.unwrap();
    assert!(store.take_operations().iter().all(|(op, _)| *op == Op::Get));
}

#[tokio::test]
async fn files_that_waited_a_day_are_not_committed() {
    let now = Arc::new(std::sync::atomic::AtomicI64::new(1_760_000_000_000));
    let clock = now.clone();
    let options = LakeOptions {
        clock: Arc::new(move || {
            chrono::DateTime::from_timestamp_millis(clock.load(std::sync::atomic::Ordering::SeqCst)).unwrap()
        }),
        ..LakeOptions::default()
    };
    let lake = Lake::with_store(Arc::new(object_store::memory::InMemory::new()), options);
    let t = table(&lake).await;
    let staged = stage(&t, [1]).await;
    now.fetch_add(25 * 3_600_000, std::sync::atomic::Ordering::SeqCst);
    let error = t.commit(appending(&t, staged, 1)).await.unwrap_err();
    assert!(matches!(error, StoreError::StaleFiles { age_hours: 25, .. }), "{error}");
}
