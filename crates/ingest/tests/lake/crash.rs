//! Runs that end at any write, lose an answer, or stall while another takes over: nothing twice, nothing missing.

use std::sync::Arc;
use std::time::Duration;

use ingest::{FlushPolicy, IngestEnv, IngestOptions, IngestReport};
use object_store::memory::InMemory;
use schema::TableName;
use store::{Lake, LakeOptions};

use crate::faulty::{Fault, FaultyStore};
use crate::world::{World, ask, assert_each_once, events, input_options, number, run, write};

fn lake(store: Arc<FaultyStore>) -> Lake {
    Lake::with_store(store, LakeOptions::default())
}

fn healthy(memory: &Arc<InMemory>) -> Lake {
    lake(FaultyStore::new(Arc::clone(memory), Fault::None))
}

/// One run over the landing folder `in`, on this lake.
async fn load(world: &World, lake: Lake) -> IngestReport {
    // A commit after every file, so that there are many places to die at.
    let flush = FlushPolicy { rows: 1, ..FlushPolicy::default() };
    let options = IngestOptions { flush, ..input_options("events", "in") };
    run(IngestEnv { lake, ..world.env() }, options).await
}

fn four_files(world: &World) {
    for i in 0..4 {
        world.write(&format!("in/{i}.ndjson"), events(i * 10, 10));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_dies_at_any_write_is_resumed_exactly() {
    let world = World::new().await;
    four_files(&world);
    let counting = FaultyStore::new(Arc::new(InMemory::new()), Fault::None);
    assert_eq!(load(&world, lake(Arc::clone(&counting))).await.counts().stored, 40);
    let writes = counting.writes();
    assert!(writes >= 10, "a data file and a commit for the ledger and for each file: {writes}");
    let faults = (1..=writes).flat_map(|n| [Fault::DieBefore(n), Fault::DieAfter(n), Fault::LoseAnswer(n)]);
    // All at once: the store waits a while before it gives up on each.
    futures::future::join_all(faults.map(|fault| die_and_resume(&world, fault))).await;
}

async fn die_and_resume(world: &World, fault: Fault) {
    let memory = Arc::new(InMemory::new());
    let died = load(world, lake(FaultyStore::new(Arc::clone(&memory), fault))).await;
    let resumed = load(world, healthy(&memory)).await;
    assert!(!resumed.failed(), "{fault:?}: {resumed:?}");
    assert_each_once(&healthy(&memory), "events", 40).await;
    let again = load(world, healthy(&memory)).await;
    assert_eq!((again.streams[0].commits, again.failed()), (0, false), "{fault:?} {died:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_changes_or_goes_between_ledger_and_bronze_is_withdrawn_and_said() {
    let world = World::new().await;
    four_files(&world);
    let memory = Arc::new(InMemory::new());
    // Finds the first write that makes ledger rows durable but no Bronze rows.
    let mut n = 1;
    let ledger = TableName::system("landing/events");
    loop {
        assert!(n < 50, "the ledger is written before Bronze");
        let trial = Arc::new(InMemory::new());
        load(&world, lake(FaultyStore::new(Arc::clone(&trial), Fault::DieAfter(n)))).await;
        if number(&healthy(&trial), &ledger, "SELECT count(*) FROM t").await == 4 {
            break;
        }
        n += 1;
    }
    load(&world, lake(FaultyStore::new(Arc::clone(&memory), Fault::DieAfter(n)))).await;
    std::fs::remove_file(world.path("in/1.ndjson")).unwrap();
    world.write("in/2.ndjson", events(20, 12));
    let report = load(&world, healthy(&memory)).await;
    let stream = &report.streams[0];
    assert_eq!((stream.files.gone, stream.files.accepted, stream.error.as_deref()), (2, 1, None), "{stream:?}");
    assert!(report.failed(), "somebody has to look at it");
    let said: Vec<_> = stream.notes.iter().map(|n| (n.path.as_str(), n.reason.as_str())).collect();
    assert_eq!(said, [("1.ndjson", "vanished after it was accepted"), ("2.ndjson", "changed after it was accepted")]);
    let rows =
        ask(&healthy(&memory), &TableName::bronze("events"), "SELECT _source, count(*) FROM t GROUP BY 1 ORDER BY 1")
            .await;
    assert_eq!(rows, [["files:0.ndjson", "10"], ["files:2.ndjson", "12"], ["files:3.ndjson", "10"]]);
    assert_eq!(load(&world, healthy(&memory)).await.streams[0].commits, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_writer_that_stalls_while_another_takes_over_adds_nothing() {
    let world = World::new().await;
    four_files(&world);
    let memory = Arc::new(InMemory::new());
    // The table exists, so that the stalled write is a data commit.
    write(world.dir.path(), "first/x.ndjson", events(100, 1));
    let first = IngestEnv { lake: healthy(&memory), ..world.env() };
    run(first, input_options("events", "first")).await;
    let stalling = FaultyStore::new(Arc::clone(&memory), Fault::StallCommit("bronze/events"));
    let zombie = tokio::spawn({
        let (env, store) = (world.env(), Arc::clone(&stalling));
        async move { run(IngestEnv { lake: lake(store), ..env }, input_options("events", "in")).await }
    });
    stalling.reached.notified().await;
    let other = run(IngestEnv { lake: healthy(&memory), ..world.env() }, input_options("events", "in")).await;
    assert_eq!(other.counts().stored, 40);
    stalling.go_on();
    let zombie = zombie.await.unwrap();
    assert_eq!((zombie.counts().stored, zombie.failed()), (0, false), "{zombie:?}");
    assert_eq!(zombie.streams[0].conflicts, 1);
    let all = number(&healthy(&memory), &TableName::bronze("events"), "SELECT count(*) FROM t").await;
    assert_eq!(all, 41);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_runs_without_a_lock_share_the_work_or_drop_it() {
    let world = World::new().await;
    for i in 0..30 {
        world.write(&format!("in/{i}.ndjson"), events(i * 10, 10));
    }
    let memory = Arc::new(InMemory::new());
    let (a, b) = tokio::join!(load(&world, healthy(&memory)), load(&world, healthy(&memory)));
    assert!(!a.failed() && !b.failed(), "{a:?} {b:?}");
    assert_eq!(a.counts().stored + b.counts().stored, 300);
    assert_each_once(&healthy(&memory), "events", 300).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_run_commits_what_it_has_and_the_next_goes_on() {
    let world = World::new().await;
    for i in 0..200 {
        world.write(&format!("in/{i:03}.ndjson"), events(i * 10, 10));
    }
    let cancel = tokio_util::sync::CancellationToken::new();
    let options = input_options("events", "in");
    let running = tokio::spawn(ingest::run(world.env(), options.clone(), cancel.clone(), Arc::new(ingest::Silent)));
    tokio::time::sleep(Duration::from_millis(15)).await;
    cancel.cancel();
    let first = running.await.unwrap().unwrap();
    let second = world.ingest(options).await;
    assert_eq!(first.counts().stored + second.counts().stored, 2_000);
    assert_each_once(&world.lake, "events", 2_000).await;
}
