//! Runs that end early or meet others.

use std::sync::Arc;

use refine::{Quiet, RefineOptions};
use store::testing::{Fault, FaultStore, Op};
use store::{CompactPolicy, Lake, LakeOptions};
use tokio_util::sync::CancellationToken;

use crate::world::{MODELS, Order, World, order, run};

/// Two refreshes at the same time on one lake: each change is in the tables once.
#[test]
fn two_at_once_count_nothing_twice() {
    run(async {
        // Two processes: nothing but the store is shared.
        let store = FaultStore::in_memory();
        let world = on(&store);
        let expected = World::new().await;
        for round in 0..6 {
            let orders: Vec<Order> = (0..8)
                .map(|n| order(&format!("o{}", (n + round) % 11), 18_261 + (n % 3) as i32, "north", 1, n + 10 * round))
                .collect();
            world.land(&orders, &[]).await;
            expected.land(&orders, &[]).await;
            let (first, other) = (on(&store), on(&store));
            let (one, two) =
                tokio::join!(first.try_refine(RefineOptions::default()), other.try_refine(RefineOptions::default()));
            one.unwrap();
            two.unwrap();
        }
        on(&store).refine().await;
        expected.refine().await;
        assert_eq!(on(&store).state().await, expected.state().await);
    });
}

/// Days are computed again while a refresh takes over new rows of these days: the rows are there once.
#[test]
fn a_range_beside_a_refresh_counts_nothing_twice() {
    run(async {
        let store = FaultStore::in_memory();
        let expected = World::new().await;
        let land = async |orders: &[Order]| {
            on(&store).land(orders, &[]).await;
            expected.land(orders, &[]).await;
        };
        land(&batch(0)).await;
        on(&store).refine().await;
        for round in 0..2 {
            // Rows that only come: neither commit removes a file, so that positions alone could tell.
            let name = |n: i64| format!("new{round}-{n}");
            let orders: Vec<Order> =
                (0..4).map(|n| order(&name(n), 18_261, "north", 1, 100 + 10 * round + n)).collect();
            land(&orders).await;
            let (fault, pause) = Fault::pause(Op::Put, "silver/lines/_delta_log/");
            store.add(fault);
            let range = RefineOptions { from: Some(chrono::NaiveDate::MIN), ..RefineOptions::default() };
            // The first time the range stalls and the refresh overtakes it, then the other way round.
            let (stalled, overtaking) = match round {
                0 => (range, RefineOptions::default()),
                _ => (RefineOptions::default(), range),
            };
            let overtake = async {
                pause.reached().await;
                on(&store).try_refine(overtaking).await.unwrap();
                pause.resume();
            };
            let stalling = on(&store);
            let (done, ()) = tokio::join!(stalling.try_refine(stalled), overtake);
            done.unwrap();
        }
        on(&store).refine().await;
        expected.refine().await;
        assert_eq!(on(&store).state().await, expected.state().await);
    });
}

/// A model that fails stays as it is; the others go on, and are released.
#[test]
fn one_failed_model_does_not_stop_the_others() {
    run(async {
        let world = World::new().await;
        world.land(&[order("a", 18_261, "north", 1, 1)], &[]).await;
        world.refine().await;
        world.land(&[order("b", 18_261, "north", 1, 2)], &[]).await;
        let edited: Vec<(&str, String)> = MODELS
            .iter()
            .map(|(path, text)| match *path {
                "models/silver/messages.sql" => (*path, text.replace("upper(shop)", "lower(shop)")),
                _ => (*path, (*text).to_owned()),
            })
            .collect();
        let edited: Vec<(&str, &str)> = edited.iter().map(|(path, text)| (*path, text.as_str())).collect();
        let other = world.with(&edited);
        let released = world.versions().await.1;
        let error = other.try_refine(RefineOptions::default()).await.unwrap_err();
        assert!(matches!(error, refine::RefineError::Edited { .. }), "{error}");
        assert_eq!(other.rows("gold.daily", "units").await, ["2"]);
        assert!(other.versions().await.1 > released);
        // What the error says to do: a model that keeps no change data is computed anew too.
        other.rebuild().await;
        assert_eq!(other.rows("silver.messages", "id, loud").await, ["a|north", "b|north"]);
    });
}

/// A model whose first refresh failed, or was held by a check, left an empty table: once the model is mended, a plain
/// refresh fills it, also where its columns and partitions are others.
#[test]
fn a_model_that_failed_at_first_is_mended_without_a_rebuild() {
    let model = |header: &str, select: &str| {
        format!(
            "/* models/silver/sizes.sql\n---\ndescription = \"Sizes\"\ngrain = [\"id\"]\nkept = \"latest\"\nentity = [\"id\"]\n\
             {header}\n--- */\nSELECT id, {select}, _lineage FROM bronze.orders"
        )
    };
    let failed = model("", "CAST(shop AS INT) AS size");
    let held = model("checks = [\"range(size, 10, )\"]", "length(shop) AS size");
    let mended = model("partition_by = [\"size\"]", "shop, CAST(length(shop) AS VARCHAR) AS size");
    run(async {
        for first in [&failed, &held] {
            let files = |text| [MODELS, &[("models/silver/sizes.sql", text)]].concat();
            let world = World::of(&files(first.as_str())).await;
            world.land(&[order("a", 18_261, "north", 1, 1)], &[]).await;
            world.try_refine(RefineOptions::default()).await.unwrap_err();
            let other = world.with(&files(mended.as_str()));
            other.land(&[order("b", 18_261, "south-west", 1, 2)], &[]).await;
            other.refine().await;
            let rows = ["a|north|5", "b|south-west|10"];
            assert_eq!(other.rows("silver.sizes", "id, shop, size").await, rows);
            other.land(&[order("c", 18_261, "east", 1, 3)], &[]).await;
            other.refine().await;
            assert_eq!(other.rows("silver.sizes", "id, size").await, ["a|5", "b|10", "c|4"]);
            // What was published is protected as ever.
            let error = world.try_refine(RefineOptions::default()).await.unwrap_err();
            assert!(matches!(error, refine::RefineError::Edited { .. }), "{error}");
        }
    });
}

/// A run that is cut off at any point is taken up by the next one.
#[test]
fn a_run_that_is_dropped_is_taken_up() {
    run(async {
        let world = World::new().await;
        let expected = World::new().await;
        let mut begun = 0;
        for step in 0..40u32 {
            let n = i64::from(step);
            let orders =
                [order(&format!("o{}", step % 7), 18_261 + (step % 3) as i32, "north", 1 + (step % 2) as i32, n)];
            world.land(&orders, &[]).await;
            expected.land(&orders, &[]).await;
            let mut cut = Box::pin(world.try_refine(RefineOptions::default()));
            // Dropping a future at one of its suspensions is what a kill looks like from the lake.
            for _ in 0..step * 3 {
                let polled = futures::poll!(&mut cut);
                if polled.is_ready() {
                    break;
                }
                tokio::task::yield_now().await;
            }
            drop(cut);
            begun += usize::from(
                world.rows("silver.lines", "id, qty").await != expected.rows("silver.lines", "id, qty").await,
            );
            expected.refine().await;
        }
        assert!((5..40).contains(&begun), "{begun} of 40 runs were cut off before their first model");
        world.refine().await;
        expected.refine().await;
        assert_eq!(world.state().await, expected.state().await);
    });
}

#[test]
fn a_cancelled_run_ends_in_peace() {
    run(async {
        let world = World::new().await;
        world.land(&[order("a", 18_261, "north", 1, 1)], &[]).await;
        let cancel = CancellationToken::new();
        cancel.cancel();
        let options = RefineOptions { follow: Some(std::time::Duration::from_millis(1)), ..RefineOptions::default() };
        let report = refine::run(world.env(), options, cancel, Arc::new(Quiet)).await.unwrap();
        assert_eq!(report.cycles, 0);
        world.refine().await;
        assert_eq!(world.rows("gold.daily", "units").await, ["1"]);
    });
}

/// An upstream that lost versions which were consumed stops the run.
#[test]
fn an_upstream_that_fell_back_is_an_error() {
    run(async {
        let world = World::new().await;
        world.land(&[order("a", 18_261, "north", 1, 1)], &[]).await;
        world.land(&[order("b", 18_261, "north", 1, 2)], &[]).await;
        world.refine().await;
        let store = world.lake.object_store();
        let path = object_store::path::Path::from("bronze/orders/_delta_log/00000000000000000002.json");
        object_store::ObjectStoreExt::delete(store.as_ref(), &path).await.unwrap();
        let fallen = World::on(Lake::with_store(store, LakeOptions::default()), MODELS);
        let error = fallen.try_refine(RefineOptions::default()).await.unwrap_err().to_string();
        assert!(error.contains("was already consumed"), "{error}");
    });
}

fn on(store: &FaultStore) -> World {
    World::on(Lake::with_durable_store(Arc::new(store.clone()), LakeOptions::default()), MODELS)
}

fn batch(round: i64) -> Vec<Order> {
    let id = |n: i64| format!("o{}", (n + round) % 8);
    (0..6).map(|n| order(&id(n), 18_261 + (n % 3) as i32, "north", 1 + round as i32, n + 10 * round)).collect()
}

/// A put that fails, or that lands and answers with an error, at any place of a refresh: the next run, in a process that
/// knows nothing of the first, ends with the same tables.
#[test]
fn a_put_that_fails_or_loses_its_answer_changes_nothing_twice() {
    run(async {
        let store = FaultStore::in_memory();
        let expected = World::new().await;
        for step in 0..16usize {
            let orders = batch(step as i64);
            on(&store).land(&orders, &[]).await;
            expected.land(&orders, &[]).await;
            let path = if step % 4 < 2 { "_delta_log" } else { "_releases" };
            let fault = if step % 2 == 0 { Fault::before(Op::Put, path) } else { Fault::after(Op::Put, path) };
            store.add(fault.after_skipping(if step % 4 < 2 { step % 7 } else { 0 }));
            // It may fail or, where an answer was lost only, find out that it succeeded.
            let _ = on(&store).try_refine(RefineOptions::default()).await;
            store.clear();
            on(&store).refine().await;
        }
        assert!(store.fired() > 10);
        expected.refine().await;
        assert_eq!(on(&store).state().await, expected.state().await);
        let before = on(&store).versions().await;
        on(&store).refine().await;
        assert_eq!(on(&store).versions().await, before);
    });
}

/// A refresh stalls just before its commit while its files are compacted, then goes on.
#[test]
fn a_compaction_that_crosses_a_refresh_loses_no_row() {
    run(async {
        let store = FaultStore::in_memory();
        let expected = World::new().await;
        for round in 0..4 {
            on(&store).land(&batch(round), &[]).await;
            expected.land(&batch(round), &[]).await;
            on(&store).refine().await;
        }
        let correction = [order("o3", 18_261, "south", 9, 900), order("o4", 18_262, "south", 9, 901)];
        on(&store).land(&correction, &[]).await;
        expected.land(&correction, &[]).await;
        let (fault, pause) = Fault::pause(Op::Put, "silver/lines/_delta_log/");
        store.add(fault);
        let stalled = on(&store);
        let compacting = async {
            pause.reached().await;
            let table = on(&store).lake.table(&"silver.lines".parse().unwrap()).await.unwrap();
            let policy = CompactPolicy { min_files: 2, ..CompactPolicy::default() };
            let compacted = table.compact(&policy).await.unwrap();
            assert!(compacted.files_removed > 0);
            pause.resume();
        };
        tokio::join!(stalled.refine(), compacting);
        expected.refine().await;
        assert_eq!(on(&store).state().await, expected.state().await);
    });
}

/// A writer that stalls with a full batch while another takes its input over and commits drops its batch.
#[test]
fn a_writer_that_wakes_up_late_drops_its_batch() {
    run(async {
        let store = FaultStore::in_memory();
        let expected = World::new().await;
        on(&store).land(&batch(0), &[]).await;
        on(&store).refine().await;
        on(&store).land(&batch(1), &[]).await;
        let (fault, pause) = Fault::pause(Op::Put, "silver/messages/_delta_log/");
        store.add(fault);
        let stalled = on(&store);
        let overtaking = async {
            pause.reached().await;
            on(&store).refine().await;
            on(&store).land(&batch(2), &[]).await;
            on(&store).refine().await;
            pause.resume();
        };
        tokio::join!(stalled.refine(), overtaking);
        for round in 0..3 {
            expected.land(&batch(round), &[]).await;
        }
        expected.refine().await;
        on(&store).refine().await;
        assert_eq!(on(&store).state().await, expected.state().await);
    });
}
