//! A run that follows remembers what it has stored last and the files that it has looked through: the tables are those of
//! runs that do not.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use proptest::prelude::*;
use proptest::sample::select;
use refine::{Limits, ModelReport, Outcome, Progress, RefineOptions};
use store::testing::{FaultStore, Op};
use tokio_util::sync::CancellationToken;

use crate::moves::{Event, cases, expected_moving, happen, histories, on_day, process};
use crate::world::{Order, outcomes, run};

proptest! {
    #![proptest_config(ProptestConfig {
        cases: cases(),
        max_shrink_iters: 100,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn a_run_that_follows_keeps_the_same_table(
        history in histories(),
        recent_rows in select(vec![0, 4, 20, 1_000_000]),
        index_rows in select(vec![0, 1_000_000]),
    ) {
        run(check(history, Limits { recent_rows, index_rows, ..Limits::default() }));
    }
}

/// Counts the cycles of a run by the last model.
#[derive(Default)]
struct Cycles(AtomicU64);

impl Cycles {
    fn count(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }

    /// Waits until there were more than so many.
    async fn past(&self, count: u64) {
        while self.count() <= count {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

impl Progress for Cycles {
    fn finished(&self, report: &ModelReport) {
        if report.model.name == "moving_days" {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }
}

/// Lands batch after batch under a run that follows, which remembers the files that it has looked through.
/// After each batch it waits for `taken`, which gets how many cycles there were before.
async fn follow(
    store: &FaultStore,
    history: &[(Event, Vec<Order>)],
    limits: Limits,
    taken: impl AsyncFn(u64, &Cycles),
) {
    let (world, cycles, cancel) = (process(store, false), Arc::new(Cycles::default()), CancellationToken::new());
    let options = RefineOptions { follow: Some(Duration::from_millis(1)), limits, ..RefineOptions::default() };
    let progress = Arc::clone(&cycles);
    let follower = refine::run(world.env(), options, cancel.clone(), progress);
    let lander = async {
        for (event, batch) in history {
            if matches!(event, Event::Lost(_) | Event::Damaged(_) | Event::Compacted) {
                happen(event, store, false, &mut Vec::new()).await;
            }
            if !batch.is_empty() {
                let before = cycles.count();
                process(store, false).land(batch, &[]).await;
                taken(before, &cycles).await;
            }
        }
        cancel.cancel();
    };
    let (report, ()) = tokio::join!(follower, lander);
    report.unwrap();
}

async fn check(history: Vec<(Event, Vec<Order>)>, limits: Limits) {
    let store = FaultStore::in_memory();
    // A cycle that had begun before counts too: then batches are taken together.
    follow(&store, &history, limits, async |before, cycles| cycles.past(before).await).await;
    let world = process(&store, false);
    // What came last may have been left to the next run.
    world.refine().await;
    assert_eq!(world.rows("silver.moving", "id, day, shop, line, sku, qty").await, expected_moving(&history));
    let rebuilt = world.rebuild().await;
    assert!(outcomes(&rebuilt).values().all(|outcome| *outcome != Outcome::Changed), "{:?}", outcomes(&rebuilt));
}

/// Waits until `silver.whole` has consumed all of Bronze; reads logs alone.
async fn whole_is_up_to_date(store: &FaultStore) {
    let up_to_date = async || {
        let lake = process(store, false).lake;
        let bronze = lake.table(&"bronze.orders".parse().unwrap()).await.unwrap().snapshot();
        let whole = lake.open_table(&"silver.whole".parse().unwrap()).await.unwrap()?.snapshot();
        (whole.txn(&format!("table:{}", bronze.id())) == Some(bronze.version())).then_some(())
    };
    while up_to_date().await.is_none() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// Events of which some come again: how often each file of the orders is read. Of twelve batches of five events, `again` says
/// which one comes once more behind a batch.
async fn reads_of_files(limits: Limits, again: impl Fn(i64) -> Option<i64>) -> BTreeMap<String, usize> {
    let store = FaultStore::in_memory();
    let batch = |at: i64| {
        let new = (0..5).map(move |n| on_day(&format!("o{}", 5 * at + n), 0, 100 * at + n));
        new.chain(again(at).map(|id| on_day(&format!("o{id}"), 0, 100 * at + 50))).collect::<Vec<_>>()
    };
    let history: Vec<(Event, Vec<Order>)> = (0..12).map(|at| (Event::Nothing, batch(at))).collect();
    store.take_operations();
    follow(&store, &history, limits, async |_, _| whole_is_up_to_date(&store).await).await;
    let operations = store.take_operations();
    let mut reads: BTreeMap<String, usize> = BTreeMap::new();
    for (op, path) in operations {
        if op == Op::Get && path.as_ref().starts_with("silver/whole/") && path.as_ref().ends_with(".parquet") {
            *reads.entry(path.to_string()).or_default() += 1;
        }
    }
    reads
}

fn one_of_the_batch_before(at: i64) -> Option<i64> {
    (at > 0).then(|| 5 * at - 1)
}

/// Each file is looked through once, whoever asks for its day how often.
#[test]
fn a_run_that_follows_looks_through_a_file_once() {
    run(async {
        let limits = Limits { index_rows: 0, recent_rows: 0, ..Limits::default() };
        let reads = reads_of_files(limits, one_of_the_batch_before).await;
        // Once for its keys, once for the index, once for the row that came again, with a footer each; not once a cycle.
        let most = reads.values().max().copied().unwrap_or(0);
        assert!(reads.len() >= 12 && most <= 8, "{reads:?}");
    });
}

/// What it has stored a moment ago it knows.
#[test]
fn a_run_that_follows_opens_no_file_for_an_event_that_comes_again() {
    run(async {
        for index_rows in [0, 1_000_000] {
            let limits = Limits { index_rows, ..Limits::default() };
            let reads = reads_of_files(limits, one_of_the_batch_before).await;
            assert!(reads.is_empty(), "{reads:?}");
        }
    });
}

/// What it has stored long ago is in one of many files of a day, and it knows which.
#[test]
fn a_run_that_follows_opens_one_file_for_an_event_that_comes_again_late() {
    run(async {
        let limits = Limits { index_rows: 0, recent_rows: 6, ..Limits::default() };
        let reads = reads_of_files(limits, |at| (at == 11).then_some(2)).await;
        assert_eq!(reads.len(), 1, "{reads:?}");
    });
}
