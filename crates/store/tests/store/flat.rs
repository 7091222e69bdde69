//! The cost of a commit does not grow with the number of versions and files.

use std::sync::Arc;
use std::time::{Duration, Instant};

use store::testing::{FaultStore, Op};
use store::{Lake, LakeOptions, Table};

use crate::support::*;

#[tokio::test]
async fn a_commit_does_the_same_on_every_version() {
    let store = Arc::new(FaultStore::in_memory());
    let lake = Lake::with_durable_store(store.clone(), LakeOptions::default());
    let t = table(&lake).await;
    let mut checkpoints = 0;
    for n in 0..450 {
        append(&t, [n], n + 1).await.unwrap();
        lake.settle().await;
        let (log, other): (Vec<_>, Vec<_>) =
            store.take_operations().into_iter().partition(|(_, path)| path.as_ref().contains("checkpoint"));
        checkpoints += log.iter().filter(|(op, path)| *op == Op::Put && path.as_ref().ends_with(".parquet")).count();
        let operations: Vec<Op> = other.iter().map(|(op, _)| *op).collect();
        if n > 0 {
            assert_eq!(operations, [Op::Put, Op::Sync, Op::Put], "commit {n}: {other:?}");
        }
    }
    assert_eq!(checkpoints, 4);
}

fn median(times: &[Duration]) -> Duration {
    let mut times = times.to_vec();
    times.sort_unstable();
    times[times.len() / 2]
}

/// User and system time of this process so far, in hundredths of a second; 0 where `/proc` does not tell.
fn cpu_ticks() -> u64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = stat.rsplit(')').next().unwrap_or("").split_whitespace().skip(11).take(2);
    fields.filter_map(|ticks| ticks.parse::<u64>().ok()).sum()
}

async fn timed(t: &Table, commits: i64) -> Vec<Duration> {
    let mut times = Vec::new();
    let mut cpu = cpu_ticks();
    for n in 0..commits {
        if n > 0 && n % 1000 == 0 {
            let now = cpu_ticks();
            println!(
                "  commits to {n}: CPU {} ms, median {:?}",
                (now - cpu) * 10,
                median(&times[times.len() - 1000..])
            );
            cpu = now;
        }
        let start = Instant::now();
        append(t, n * 200..n * 200 + 200, n + 1).await.unwrap();
        times.push(start.elapsed());
    }
    times
}

/// Prints what commits cost; `TEST_COMMITS=5000 cargo test --release -p store flat -- --nocapture` measures the bar. Times
/// are not asserted: a busy machine would fail it.
#[tokio::test(flavor = "multi_thread")]
async fn the_cost_of_a_commit() {
    let commits: i64 = std::env::var("TEST_COMMITS").ok().and_then(|text| text.parse().ok()).unwrap_or(300);
    for sync in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        let url = folder.path().display().to_string();
        let lake = Lake::open(&url, LakeOptions { sync, ..LakeOptions::default() }).await.unwrap();
        let spec = store::TableSpec::new(rows_schema());
        let t = lake.create_table(&"bronze.t".parse().unwrap(), &spec).await.unwrap();
        let times = timed(&t, commits).await;
        lake.settle().await;
        let (early, late) = (median(&times[100..200]), median(&times[times.len() - 100..]));
        println!("sync {sync}: commits 100 to 200 {early:?}, the last 100 of {commits} {late:?}");
        let start = Instant::now();
        let fresh = Lake::open(&url, LakeOptions::default()).await.unwrap();
        let head = fresh.table(t.name()).await.unwrap().snapshot();
        println!("sync {sync}: opening version {} took {:?}", head.version(), start.elapsed());
        assert_eq!((head.version(), head.rows()), (commits, Some(commits.unsigned_abs() * 200)));
    }
}
