//! Entities that move between partitions: the table is the same whichever way the messages came, and whatever happened
//! to the index that finds their older versions.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use refine::{Limits, Outcome, RefineOptions};
use store::testing::{Fault, FaultStore, Op};
use store::{CompactPolicy, Lake, LakeOptions};

use crate::world::{MODELS, Order, Place, World, order, outcomes, run};

/// Lines of orders: by the day of the order, which may change and may be unknown; by what is ordered, so that one order
/// is in several partitions; and whole, in no partition or by their day. What reads them goes by their changes.
const MOVING: &[(&str, &str)] = &[
    MODELS[0],
    (
        "models/silver/moving.sql",
        r#"/* models/silver/moving.sql
---
description = "Lines of orders, by a day that may change"
grain = ["id", "line"]
kept = "latest"
entity = ["id"]
partition_by = ["day"]
checks = ["unique(id, line)"]
--- */
SELECT id, CASE WHEN shop = 'lost' THEN NULL ELSE day END AS day, shop, line, item['sku'] AS sku, item['qty'] AS qty, _lineage
FROM (SELECT id, day, shop, _lineage, unnest(lines) AS item,
        unnest(generate_series(1, CAST(cardinality(lines) AS BIGINT))) AS line
      FROM bronze.orders WHERE cardinality(lines) > 0)"#,
    ),
    (
        "models/silver/by_sku.sql",
        r#"/* models/silver/by_sku.sql
---
description = "Lines of orders, by what is ordered"
grain = ["id", "line"]
kept = "latest"
entity = ["id"]
version = "version"
partition_by = ["sku"]
checks = ["unique(id, line)"]
--- */
SELECT id, day, version, line, item['sku'] AS sku, item['qty'] AS qty, _lineage
FROM (SELECT id, day, version, _lineage, unnest(lines) AS item,
        unnest(generate_series(1, CAST(cardinality(lines) AS BIGINT))) AS line
      FROM bronze.orders WHERE cardinality(lines) > 0)"#,
    ),
    (
        "models/silver/whole.sql",
        r#"/* models/silver/whole.sql
---
description = "Orders"
grain = ["id"]
kept = "latest"
entity = ["id"]
checks = ["unique(id)"]
--- */
SELECT id, day, shop, _lineage FROM bronze.orders"#,
    ),
    (
        "models/silver/dated.sql",
        r#"/* models/silver/dated.sql
---
description = "Orders, by a day that may change"
grain = ["id"]
kept = "latest"
entity = ["id"]
partition_by = ["day"]
checks = ["unique(id)"]
--- */
SELECT id, CASE WHEN shop = 'lost' THEN NULL ELSE day END AS day, shop, _lineage FROM bronze.orders"#,
    ),
    (
        "models/gold/moving_days.sql",
        r#"/* models/gold/moving_days.sql
---
description = "Lines by day"
grain = ["day"]
kept = "scoped"
scope = "day"
--- */
SELECT day, count(*) AS lines, sum(qty) AS units FROM silver.moving GROUP BY day"#,
    ),
];

const TABLES: &[(&str, &str)] = &[
    ("silver.moving", "id, day, shop, line, sku, qty"),
    ("silver.by_sku", "id, day, version, line, sku, qty"),
    ("silver.whole", "id, day, shop"),
    ("silver.dated", "id, day, shop"),
    ("gold.moving_days", "day, lines, units"),
];

/// A world with an index from the first row on, or with none and with hashes of all rows that come again.
fn world(lake: Lake, index: bool, tight: bool) -> World {
    let mut world = World::on(lake, MOVING);
    if tight {
        // Some of the stored rows of a round are hashed, and all that wait are in files.
        world.limits =
            Limits { key_rows: 3, compare_rows: 2, held_bytes: Some(24), hashed_rows: 1, ..Limits::default() };
    }
    world.limits.index_rows = if index { 0 } else { u64::MAX };
    if !index {
        world.limits.hashed_rows = 1;
    }
    world
}

/// A process of its own on the same lake.
pub fn process(store: &FaultStore, tight: bool) -> World {
    world(Lake::with_durable_store(Arc::new(store.clone()), LakeOptions::default()), true, tight)
}

async fn memory(index: bool) -> World {
    world(Lake::open("memory:///", LakeOptions::default()).await.unwrap(), index, false)
}

async fn state(world: &World) -> BTreeMap<&'static str, Vec<String>> {
    let mut state = BTreeMap::new();
    for (table, columns) in TABLES {
        state.insert(*table, world.rows(table, columns).await);
    }
    state
}

/// What happens before a batch is taken over.
#[derive(Clone, Debug)]
pub enum Event {
    Nothing,
    /// All objects of the indexes are gone, or every second one.
    Lost(bool),
    /// A byte of each object is another; so far into it.
    Damaged(usize),
    /// The indexes are as they were when the last such event came.
    Stale,
    Compacted,
    /// Days are computed again, with the batch still to be taken over.
    Range(i32, i32),
    Rebuilt,
    /// Two processes take the batch over at once.
    Twice,
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        2 => Just(Event::Nothing),
        1 => any::<bool>().prop_map(Event::Lost),
        1 => (0..100usize).prop_map(Event::Damaged),
        1 => Just(Event::Stale),
        1 => Just(Event::Compacted),
        1 => (0..3i32, 0..3i32).prop_map(|(a, b)| Event::Range(a.min(b), a.max(b))),
        1 => Just(Event::Rebuilt),
        1 => Just(Event::Twice),
    ]
}

const DAYS: [i32; 3] = [18_261, 18_262, 18_263];

fn message() -> impl Strategy<Value = Order> {
    let lines = vec((select(vec!["x", "y", "z"]), 1..3i32), 0..4);
    let place = (any::<bool>(), 0..6i64, 1..12i32);
    let version = select(vec![None, Some(1), Some(2)]);
    (0..8u32, select(DAYS.to_vec()), version, select(vec!["north", "lost"]), lines, place).prop_map(
        |(id, day, version, shop, lines, (kafka, at, file))| Order {
            id: format!("o{id}"),
            day,
            version,
            shop: shop.into(),
            lines: lines.into_iter().map(|(sku, qty)| (sku.to_owned(), qty)).collect(),
            from: if kafka { Place::Kafka(at, 0) } else { Place::File(file, 0) },
        },
    )
}

/// Batches of messages, each after an event.
pub fn histories() -> impl Strategy<Value = Vec<(Event, Vec<Order>)>> {
    vec((event(), vec(message(), 0..8)), 2..7).prop_map(|mut history| {
        let messages = history.iter_mut().flat_map(|(_, batch)| batch);
        for (number, message) in (0..).zip(messages) {
            match &mut message.from {
                Place::Kafka(_, offset) => *offset = number,
                Place::File(_, line) => *line = number,
            }
        }
        history
    })
}

async fn index_objects(store: &FaultStore) -> Vec<(Path, bytes::Bytes)> {
    let listed: Vec<_> = store.list(Some(&Path::from("_smelt/index"))).try_collect().await.unwrap();
    let read = listed.into_iter().map(async |object| {
        let bytes = store.get(&object.location).await.unwrap().bytes().await.unwrap();
        (object.location, bytes)
    });
    futures::stream::iter(read).buffered(4).collect().await
}

pub async fn happen(event: &Event, store: &FaultStore, tight: bool, kept: &mut Vec<(Path, bytes::Bytes)>) {
    match event {
        Event::Nothing | Event::Twice => {}
        Event::Lost(all) => {
            for (at, (path, _)) in index_objects(store).await.into_iter().enumerate() {
                if *all || at % 2 == 0 {
                    store.delete(&path).await.unwrap();
                }
            }
        }
        Event::Damaged(at) => {
            for (path, bytes) in index_objects(store).await {
                let mut bytes = bytes.to_vec();
                let place = bytes.len() * at / 100;
                bytes[place] ^= 1;
                store.put(&path, bytes.into()).await.unwrap();
            }
        }
        Event::Stale => {
            let now = index_objects(store).await;
            for (path, _) in &now {
                store.delete(path).await.unwrap();
            }
            for (path, bytes) in std::mem::replace(kept, now) {
                store.put(&path, bytes.into()).await.unwrap();
            }
        }
        Event::Compacted => {
            for (name, _) in TABLES {
                if let Some(table) = process(store, tight).lake.open_table(&name.parse().unwrap()).await.unwrap() {
                    table.compact(&CompactPolicy { min_files: 2, ..CompactPolicy::default() }).await.unwrap();
                }
            }
        }
        Event::Range(from, to) => {
            let day = |at: i32| chrono::NaiveDate::default() + chrono::Duration::days(i64::from(DAYS[at as usize]));
            let (from, to) = (Some(day(*from)), Some(day(*to)));
            let world = process(store, tight);
            let options = RefineOptions { from, to, limits: world.limits, ..RefineOptions::default() };
            let before = state(&world).await;
            world.try_refine(options).await.unwrap();
            // What was right stays so: nothing comes back, nothing is there twice.
            let after = state(&world).await;
            for table in ["silver.moving", "silver.by_sku", "silver.whole"] {
                assert_eq!(before[table], after[table], "{table}");
            }
        }
        Event::Rebuilt => {
            process(store, tight).rebuild().await;
        }
    }
}

/// `silver.moving` by plain code: the lines of the last message of each order that has any.
pub fn expected_moving(history: &[(Event, Vec<Order>)]) -> Vec<String> {
    let mut winners: BTreeMap<&str, &Order> = BTreeMap::new();
    for order in history.iter().flat_map(|(_, batch)| batch).filter(|order| !order.lines.is_empty()) {
        let winner = winners.entry(&order.id).or_insert(order);
        if order.from.lineage() > winner.from.lineage() {
            *winner = order;
        }
    }
    let mut rows = Vec::new();
    for order in winners.values() {
        let date = chrono::NaiveDate::default() + chrono::Duration::days(i64::from(order.day));
        let day = if order.shop == "lost" { "null".to_owned() } else { date.to_string() };
        let line = |(at, (sku, qty)): (usize, &(String, i32))| {
            format!("{}|{day}|{}|{}|{sku}|{qty}", order.id, order.shop, at + 1)
        };
        rows.extend(order.lines.iter().enumerate().map(line));
    }
    rows.sort();
    rows
}

async fn check(history: Vec<(Event, Vec<Order>)>, tight: bool) {
    let expected = memory(false).await;
    let all: Vec<Order> = history.iter().flat_map(|(_, batch)| batch.clone()).collect();
    expected.land(&all, &[]).await;
    expected.refine().await;
    let expected = state(&expected).await;
    assert_eq!(expected["silver.moving"], expected_moving(&history));

    let store = FaultStore::in_memory();
    let mut kept = Vec::new();
    for (event, batch) in &history {
        process(&store, tight).land(batch, &[]).await;
        happen(event, &store, tight, &mut kept).await;
        let (one, two) = (process(&store, tight), process(&store, tight));
        match event {
            Event::Twice => drop(tokio::join!(one.refine(), two.refine())),
            _ => drop(one.refine().await),
        }
    }
    let world = process(&store, tight);
    assert_eq!(state(&world).await, expected);
    let again = world.refine().await;
    assert!(again.models.iter().all(|model| model.outcome == Outcome::Unchanged), "twice equals once");
    let rebuilt = world.rebuild().await;
    assert!(outcomes(&rebuilt).values().all(|outcome| *outcome != Outcome::Changed), "{:?}", outcomes(&rebuilt));
}

pub fn cases() -> u32 {
    std::env::var("TEST_REFINE_CASES").ok().and_then(|text| text.parse().ok()).unwrap_or(24)
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: cases(),
        max_shrink_iters: 100,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn orders_that_move_are_there_once(history in histories(), tight: bool) {
        run(check(history, tight));
    }
}

pub fn on_day(id: &str, day: usize, at: i64) -> Order {
    order(id, DAYS[day], "north", 1, at)
}

/// To another day and back, with the content that it had: A, B, A leaves A, once.
#[test]
fn an_order_moves_and_moves_back() {
    run(async {
        let store = FaultStore::in_memory();
        for (at, day) in [(1, 0), (2, 1), (3, 0), (4, 2)] {
            process(&store, false).land(&[on_day("a", day, at), on_day(&format!("b{at}"), day, at + 10)], &[]).await;
            process(&store, false).refine().await;
            let rows = process(&store, false).rows("silver.moving", "id, day").await;
            let of_a: Vec<&String> = rows.iter().filter(|row| row.starts_with("a|")).collect();
            assert_eq!(of_a, [&format!("a|{}", ["2019-12-31", "2020-01-01", "2020-01-02"][day])], "{at}");
        }
        let days = process(&store, false).rows("gold.moving_days", "day, lines").await;
        assert_eq!(days, ["2019-12-31|2", "2020-01-01|1", "2020-01-02|2"]);
    });
}

/// The message that belongs before the stored one came late, on another day.
#[test]
fn a_late_message_of_another_day_loses() {
    run(async {
        let world = memory(true).await;
        for (at, day, shop) in [(1, 0, "north"), (3, 0, "north"), (2, 1, "south")] {
            world.land(&[order("a", DAYS[day], shop, 1, at)], &[]).await;
            world.refine().await;
        }
        // The copy at 3 left no trace, and beats what was made at 2.
        assert_eq!(world.rows("silver.moving", "id, day, shop").await, ["a|2019-12-31|north"]);
    });
}

/// Paths of data files of a table that were read.
fn read_files(store: &FaultStore, table: &str) -> BTreeSet<String> {
    let operations = store.take_operations().into_iter();
    let reads = operations.filter(|(op, path)| *op == Op::Get && path.as_ref().starts_with(table));
    let data = reads.map(|(_, path)| path.to_string()).filter(|path| path.contains("/day="));
    data.collect()
}

/// Orders that are new read no stored row; a correction reads the day that holds it, and rewrites its file alone.
#[test]
fn only_what_holds_older_versions_is_read() {
    run(async {
        let store = FaultStore::in_memory();
        let days = |from: i64| (from..from + 30).map(|n| on_day(&format!("o{n}"), n as usize % 3, n));
        process(&store, false).land(&days(0).collect::<Vec<_>>(), &[]).await;
        process(&store, false).refine().await;
        process(&store, false).land(&days(100).collect::<Vec<_>>(), &[]).await;
        let world = process(&store, false);
        let before: BTreeSet<String> = {
            let table = world.lake.table(&"silver.moving".parse().unwrap()).await.unwrap();
            table.snapshot().files().map(|file| format!("silver/moving/{}", file.path)).collect()
        };
        store.take_operations();
        let select = || vec!["silver.moving".to_owned()];
        let options = RefineOptions { select: select(), limits: world.limits, ..RefineOptions::default() };
        world.try_refine(options.clone()).await.unwrap();
        let read = read_files(&store, "silver/moving");
        assert!(read.is_disjoint(&before), "{read:?}");

        process(&store, false).land(&[Order { day: DAYS[0], ..order("o4", 0, "south", 2, 500) }], &[]).await;
        store.take_operations();
        let report = process(&store, false).try_refine(options).await.unwrap();
        // o4 was of the second day: one file of its first batch went, and a row of the first day came.
        let model = &report.models[0];
        assert_eq!((model.rows_added, model.rows_removed, model.files_removed), (1, 1, 1));
        let read: BTreeSet<String> = read_files(&store, "silver/moving").intersection(&before).cloned().collect();
        assert!(read.iter().all(|path| path.contains("2020-01-01")), "{read:?}");
        let rows = process(&store, false).rows("silver.moving", "id, day, shop").await;
        assert_eq!(rows.iter().filter(|row| row.starts_with("o4|")).collect::<Vec<_>>(), ["o4|2019-12-31|south"]);
    });
}

/// A full extract that is sent again changes no file, wherever its rows are.
#[test]
fn an_extract_that_is_sent_again_changes_nothing() {
    run(async {
        let store = FaultStore::in_memory();
        let extract = |at: i64| (0..60).map(move |n| on_day(&format!("o{n}"), n as usize % 3, at + n));
        process(&store, false).land(&extract(0).collect::<Vec<_>>(), &[]).await;
        process(&store, false).refine().await;
        process(&store, false).land(&extract(1000).collect::<Vec<_>>(), &[]).await;
        let report = process(&store, false).refine().await;
        for table in ["silver.moving", "silver.by_sku", "silver.whole"] {
            assert_eq!(outcomes(&report)[table], Outcome::Positions, "{table}");
        }
    });
}

/// A table that lost its last commit and went on with others: the index of what is lost says nothing about them, although
/// the versions are the same.
#[test]
fn an_index_of_a_lost_version_is_not_believed() {
    run(async {
        let store = FaultStore::in_memory();
        let select = RefineOptions {
            select: vec!["silver.moving".to_owned()],
            limits: process(&store, false).limits,
            ..RefineOptions::default()
        };
        process(&store, false).land(&[on_day("a", 0, 1), on_day("b", 0, 2)], &[]).await;
        process(&store, false).try_refine(select.clone()).await.unwrap();
        process(&store, false).land(&[on_day("c", 1, 3)], &[]).await;
        process(&store, false).try_refine(select.clone()).await.unwrap();
        let head = process(&store, false).versions().await.0["silver.moving"];
        store.delete(&Path::from(format!("silver/moving/_delta_log/{head:020}.json"))).await.unwrap();
        // The same version again, with more in it, while the index cannot be written.
        process(&store, false).land(&[on_day("d", 2, 4)], &[]).await;
        store.add(Fault::before(Op::Put, "_smelt/index").times(100));
        process(&store, false).try_refine(select.clone()).await.unwrap();
        store.clear();
        assert_eq!(process(&store, false).versions().await.0["silver.moving"], head);
        process(&store, false).land(&[on_day("d", 0, 5), on_day("c", 0, 6)], &[]).await;
        process(&store, false).try_refine(select).await.unwrap();
        let rows = process(&store, false).rows("silver.moving", "id, day").await;
        assert_eq!(rows, ["a|2019-12-31", "b|2019-12-31", "c|2019-12-31", "d|2019-12-31"]);
    });
}

/// Nothing rests on the index: where its folder takes no object, or gives none, the refresh goes on without.
#[test]
fn a_lake_that_takes_no_index_is_refreshed_all_the_same() {
    run(async {
        let store = FaultStore::in_memory();
        for (at, op) in [(1, Op::Put), (2, Op::Get), (3, Op::List), (4, Op::Put)] {
            store.add(Fault::before(op, "_smelt/index").times(1000));
            process(&store, false)
                .land(&[on_day("a", at as usize % 3, at), on_day(&format!("b{at}"), 0, 9 + at)], &[])
                .await;
            process(&store, false).refine().await;
            store.clear();
        }
        let rows = process(&store, false).rows("silver.moving", "id, day").await;
        assert_eq!(rows.iter().filter(|row| row.starts_with("a|")).collect::<Vec<_>>(), ["a|2020-01-01"]);
        assert_eq!(rows.len(), 5);
    });
}

/// Many small commits leave few objects behind, and none that a manifest does not name once it is old.
#[test]
fn an_index_stays_small() {
    run(async {
        let store = FaultStore::in_memory();
        for at in 0..24 {
            process(&store, false).land(&[on_day(&format!("o{at}"), at as usize % 3, at)], &[]).await;
            process(&store, false).refine().await;
        }
        let folders: BTreeSet<String> = index_objects(&store)
            .await
            .iter()
            .map(|(path, _)| path.as_ref().split('/').take(5).collect::<Vec<_>>().join("/"))
            .collect();
        assert_eq!(folders.len(), 4, "one index a table: {folders:?}");
        let newest =
            index_objects(&store).await.into_iter().filter(|(path, _)| path.as_ref().ends_with(".json")).last();
        let (_, manifest) = newest.unwrap();
        let text = String::from_utf8(manifest.to_vec()).unwrap();
        let runs = text.matches("\"segments\"").count();
        assert!(runs <= 5, "{runs} runs of 24 keys");
    });
}
