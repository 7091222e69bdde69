//! The same rules on a real S3 (MinIO): conditional writes, lost and spoilt replies, orphans (ENGINE.md, rules 2 to 5, 18).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use chrono::Utc;
use futures::future::join_all;
use servers::Minio;
use servers::proxy::{Effect, Fault, Flaky, Proxy};
use store::{Clock, Commit, Consumed, Lake, LakeOptions, Operation, Table, VacuumPolicy, WriterOptions};

use crate::support::*;

/// A bucket behind a proxy.
struct Bucket {
    proxy: Proxy,
    minio: Minio,
}

impl Bucket {
    fn new() -> Option<Self> {
        let minio = Minio::start()?;
        minio.create_bucket("lake");
        Some(Self { proxy: Proxy::start(&minio.address()), minio })
    }

    /// What a process of its own opens.
    async fn open(&self, clock: Clock) -> Lake {
        let mut storage: BTreeMap<_, _> = self.minio.env().into_iter().map(|(k, v)| (k.to_owned(), v)).collect();
        storage.insert("AWS_ENDPOINT_URL".to_owned(), self.proxy.endpoint());
        let options = LakeOptions { storage, clock, retry_pause: Duration::ZERO, ..LakeOptions::default() };
        Lake::open("s3://lake/some/where", options).await.unwrap()
    }

    async fn table(&self) -> Table {
        table(&self.open(Arc::new(Utc::now)).await).await
    }

    /// What a fresh process sees.
    async fn seen_by_others(&self) -> (i64, Vec<i64>) {
        let t = self.table().await;
        (t.snapshot().version(), ids(t.snapshot().provider()).await)
    }
}

/// Appends the rows `100 * writer + n` one commit after the other, each of which consumes the writer's own input.
async fn write_alone(table: Table, writer: i64, commits: i64) {
    let input = format!("in-{writer}");
    for n in 1..=commits {
        let staged = stage(&table, [100 * writer + n]).await;
        let base = table.snapshot();
        let mut commit = Commit::new(base.clone(), Operation::Append);
        commit.inputs.push(Consumed { input: input.clone(), from: base.txn(&input), to: n });
        commit.stage(staged);
        assert!(!table.commit(commit).await.unwrap().already);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn writers_at_the_same_time_commit_once_each() {
    let Some(bucket) = Bucket::new() else { return };
    let tables = join_all((0..8).map(|_| bucket.table())).await;
    let writers = tables.into_iter().zip(0..).map(|(table, writer)| tokio::spawn(write_alone(table, writer, 12)));
    join_all(writers).await.into_iter().for_each(|done| done.unwrap());
    let expected: Vec<i64> = (0..8).flat_map(|writer| (1..=12).map(move |n| 100 * writer + n)).collect();
    assert_eq!(bucket.seen_by_others().await, (8 * 12, expected));
}

#[tokio::test(flavor = "multi_thread")]
async fn writers_over_a_flaky_network_commit_once_each() {
    let Some(bucket) = Bucket::new() else { return };
    let tables = join_all((0..4).map(|_| bucket.table())).await;
    bucket.proxy.make_flaky(Flaky { seed: 4, per_mille: 25, delay: Duration::from_millis(4) });
    let writers = tables.into_iter().zip(0..).map(|(table, writer)| tokio::spawn(write_alone(table, writer, 10)));
    join_all(writers).await.into_iter().for_each(|done| done.unwrap());
    assert!(bucket.proxy.fired() > 20, "{} faults", bucket.proxy.fired());
    bucket.proxy.clear();
    let expected: Vec<i64> = (0..4).flat_map(|writer| (1..=10).map(move |n| 100 * writer + n)).collect();
    assert_eq!(bucket.seen_by_others().await, (4 * 10, expected));
}

#[tokio::test]
async fn a_commit_whose_reply_is_lost_or_spoilt_is_done() {
    let Some(bucket) = Bucket::new() else { return };
    let t = bucket.table().await;
    for (version, effect) in [(1, Effect::LoseReply), (2, Effect::SpoilReply(500)), (3, Effect::SpoilReply(503))] {
        bucket.proxy.add(Fault::new("PUT", "_delta_log/", effect));
        let done = append(&t, [version], version).await.unwrap();
        assert_eq!((done.version, done.already), (version, false));
    }
    // The client repeats what got no answer or an error, and then meets its own commit: 412.
    let seen = bucket.proxy.take_seen();
    let of =
        |name: &str| seen.iter().filter(|s| s.method == "PUT" && s.path.contains(name)).map(|s| s.status).collect();
    let statuses: [Vec<Option<u16>>; 2] = [of("00000000000000000001.json"), of("00000000000000000002.json")];
    assert_eq!(statuses, [vec![Some(200), Some(412)], vec![Some(200), Some(412)]]);
    assert_eq!(bucket.seen_by_others().await, (3, vec![1, 2, 3]));
}

#[tokio::test]
async fn a_commit_that_never_arrived_is_put_again() {
    let Some(bucket) = Bucket::new() else { return };
    let t = bucket.table().await;
    for (version, effect) in [(1, Effect::Cut), (2, Effect::Refuse(503)), (3, Effect::Refuse(500))] {
        bucket.proxy.add(Fault::new("PUT", "_delta_log/", effect).times(2));
        assert_eq!(append(&t, [version], version).await.unwrap().version, version);
    }
    assert_eq!(bucket.seen_by_others().await, (3, vec![1, 2, 3]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_whose_reply_is_lost_and_that_others_overtook_is_found() {
    let Some(bucket) = Bucket::new() else { return };
    let (t, other) = (bucket.table().await, bucket.table().await);
    bucket.proxy.add(Fault::new("PUT", "_delta_log/", Effect::LoseReply));
    let (fault, pause) = Fault::hold("GET", "00000000000000000001.json");
    bucket.proxy.add(fault);
    let task = tokio::spawn(async move { append(&t, [1], 1).await });
    tokio::task::block_in_place(|| pause.reached());
    other.refresh().await.unwrap();
    append(&other, [2], 2).await.unwrap();
    pause.resume();
    let done = task.await.unwrap().unwrap();
    assert_eq!((done.version, done.already), (1, false));
    assert_eq!(bucket.seen_by_others().await, (2, vec![1, 2]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_writer_that_was_overtaken_while_it_waited_drops_its_batch() {
    let Some(bucket) = Bucket::new() else { return };
    let (t, other) = (bucket.table().await, bucket.table().await);
    let (fault, pause) = Fault::hold("PUT", "_delta_log/");
    bucket.proxy.add(fault);
    // Both consume the same part of the same input.
    let zombie = tokio::spawn(async move { append(&t, [1], 1).await });
    tokio::task::block_in_place(|| pause.reached());
    append(&other, [1], 1).await.unwrap();
    pause.resume();
    assert!(zombie.await.unwrap().unwrap().already);
    assert_eq!(bucket.seen_by_others().await, (1, vec![1]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_comes_back_is_gone_on_with() {
    let Some(bucket) = Bucket::new() else { return };
    let t = bucket.table().await;
    append(&t, [1], 1).await.unwrap();
    let (fault, pause) = Fault::hold("PUT", "_delta_log/");
    bucket.proxy.add(fault);
    let task = tokio::spawn(async move { append(&t, [2], 2).await });
    tokio::task::block_in_place(|| {
        pause.reached();
        bucket.minio.kill();
        pause.resume();
        bucket.minio.restart();
    });
    assert_eq!(task.await.unwrap().unwrap().version, 2);
    assert_eq!(bucket.seen_by_others().await, (2, vec![1, 2]));
}

/// A file of several parts: its random-looking names do not compress below them.
async fn large(table: &Table) -> store::Result<store::Staged> {
    let mut writer = table.writer(WriterOptions::default());
    for batch in 0..40 {
        writer.write(noise(batch)).await?;
    }
    writer.finish().await
}

#[tokio::test]
async fn uploads_in_parts_survive_what_a_network_does() {
    let Some(bucket) = Bucket::new() else { return };
    let t = bucket.table().await;
    let effects = [Effect::Refuse(503), Effect::Cut, Effect::LoseReply, Effect::SpoilReply(500)];
    let mut position = 0;
    for request in [("POST", "?uploads"), ("PUT", "partNumber=1"), ("PUT", "partNumber=2"), ("POST", "uploadId=")] {
        for effect in &effects {
            bucket.proxy.add(Fault::new(request.0, request.1, effect.clone()));
            let staged = large(&t).await.unwrap_or_else(|e| panic!("{request:?} {effect:?}: {e}: {e:?}"));
            let fired = bucket.proxy.fired();
            position += 1;
            assert_eq!(fired, position, "{request:?} {effect:?}: the file had no such request");
            let file = &staged.adds[0];
            let done = t.commit(appending(&t, staged.clone(), i64::try_from(position).unwrap())).await.unwrap();
            assert_eq!(done.snapshot.files().filter(|live| live.path == file.path).count(), 1);
        }
    }
    let rows = one(t.snapshot().provider(), "SELECT count(name) FROM t").await;
    assert_eq!(rows, (40 * 20_000 * position).to_string());
}

#[tokio::test]
async fn orphans_go_after_two_days_and_not_before() {
    let Some(bucket) = Bucket::new() else { return };
    let t = bucket.table().await;
    append(&t, [1], 1).await.unwrap();
    // A writer that died after its file and before its commit.
    let orphan = stage(&t, [2]).await.adds[0].path.to_string();
    let hours = Arc::new(AtomicI64::new(0));
    let clock: Clock = {
        let hours = Arc::clone(&hours);
        Arc::new(move || Utc::now() + chrono::Duration::hours(hours.load(Ordering::Relaxed)))
    };
    let later = table(&bucket.open(clock).await).await;
    for (hour, removed) in [(0, vec![]), (47, vec![]), (49, vec![orphan])] {
        hours.store(hour, Ordering::Relaxed);
        assert_eq!(later.vacuum(&VacuumPolicy::default()).await.unwrap().removed, removed, "after {hour} h");
    }
    assert_eq!(bucket.seen_by_others().await, (1, vec![1]));
}
