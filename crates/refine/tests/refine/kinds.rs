//! Incremental equals rebuild, twice equals once, any order equals any other (ENGINE.md 25), and all of them equal what
//! plain code over the messages says.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use refine::{Limits, Outcome, RefineOptions};

use crate::world::{Order, Place, Shop, World, order, outcomes, run};

/// Cases of each property; more by `TEST_REFINE_CASES`.
fn cases() -> u32 {
    std::env::var("TEST_REFINE_CASES").ok().and_then(|text| text.parse().ok()).unwrap_or(12)
}

fn place() -> impl Strategy<Value = (bool, i64, i32)> {
    (any::<bool>(), 0..6i64, 1..12i32)
}

/// An order of few values, so that repeats, copies, corrections and moves are common. Places are made unique later.
fn any_order() -> impl Strategy<Value = Order> {
    let lines = vec((select(vec!["x", "yy"]), 1..4i32), 0..3);
    let shop = select(vec!["north", "south", "lost", "hidden"]);
    let version = select(vec![None, Some(1), Some(2)]);
    (select(vec!["a", "b", "c"]), select(vec![18_261, 18_262, 18_293]), version, shop, lines, place()).prop_map(
        |(id, day, version, shop, lines, (kafka, at, file))| Order {
            id: id.into(),
            day,
            version,
            shop: shop.into(),
            lines: lines.into_iter().map(|(sku, qty)| (sku.to_owned(), qty)).collect(),
            from: if kafka { Place::Kafka(at, 0) } else { Place::File(file, 0) },
        },
    )
}

fn any_shop() -> impl Strategy<Value = Shop> {
    let region = select(vec![None, Some("up".to_owned()), Some("down".to_owned())]);
    (select(vec!["north", "south", "lost"]), region, 1..12i32).prop_map(|(shop, region, file)| Shop {
        shop: shop.into(),
        region,
        from: Place::File(file, 0),
    })
}

/// What arrives, with the batch in which it is landed.
#[derive(Clone, Debug)]
struct History {
    orders: Vec<(Order, usize)>,
    shops: Vec<(Shop, usize)>,
    batches: usize,
    /// Whether the work is done in many rounds and spilled.
    tight: bool,
}

fn history() -> impl Strategy<Value = History> {
    let orders = vec((any_order(), 0..4usize), 1..24);
    let shops = vec((any_shop(), 0..4usize), 0..6);
    (orders, shops, any::<bool>()).prop_map(|(mut orders, mut shops, tight)| {
        // Offsets and lines are unique in their partition or file, and independent of the batch.
        for (number, (order, _)) in orders.iter_mut().enumerate() {
            match &mut order.from {
                Place::Kafka(_, offset) => *offset = number as i64,
                Place::File(_, line) => *line = number as i64,
            }
        }
        for (number, (shop, _)) in shops.iter_mut().enumerate() {
            if let Place::File(_, line) = &mut shop.from {
                *line = number as i64;
            }
        }
        History { orders, shops, batches: 4, tight }
    })
}

impl History {
    fn batch(&self, number: usize) -> (Vec<Order>, Vec<Shop>) {
        let orders = self.orders.iter().filter(|(_, batch)| *batch == number).map(|(order, _)| order.clone());
        let shops = self.shops.iter().filter(|(_, batch)| *batch == number).map(|(shop, _)| shop.clone());
        (orders.collect(), shops.collect())
    }

    async fn land_all(&self, world: &World) {
        let orders: Vec<Order> = self.orders.iter().map(|(order, _)| order.clone()).collect();
        let shops: Vec<Shop> = self.shops.iter().map(|(shop, _)| shop.clone()).collect();
        world.land(&orders, &shops).await;
    }
}

fn day(number: i32) -> String {
    let start = chrono::NaiveDate::default();
    (start + chrono::Duration::days(i64::from(number))).to_string()
}

/// `silver.orders` by plain code: per id the greatest (version, lineage).
fn expected_orders(history: &History) -> Vec<String> {
    let mut winners: BTreeMap<&str, &Order> = BTreeMap::new();
    for (order, _) in history.orders.iter().filter(|(order, _)| order.shop != "hidden") {
        let winner = winners.entry(&order.id).or_insert(order);
        if (order.version, order.from.lineage()) > (winner.version, winner.from.lineage()) {
            *winner = order;
        }
    }
    let text = |o: &&Order| {
        let version = o.version.map_or("null".to_owned(), |version| version.to_string());
        format!("{}|{}|{}|{version}", o.id, day(o.day), o.shop)
    };
    let mut rows: Vec<String> = winners.values().map(text).collect();
    rows.sort();
    rows
}

/// `gold.daily` by plain code: the lines of the last message of each id and day.
fn expected_daily(history: &History) -> Vec<String> {
    let mut winners: HashMap<(&str, i32), &Order> = HashMap::new();
    for (order, _) in &history.orders {
        let winner = winners.entry((&order.id, order.day)).or_insert(order);
        if order.from.lineage() > winner.from.lineage() {
            *winner = order;
        }
    }
    let mut days: BTreeMap<i32, (usize, Option<i32>, Option<i32>)> = BTreeMap::new();
    for order in winners.values() {
        let (lines, units, cents) = days.entry(order.day).or_default();
        *lines += order.lines.len().max(1);
        for (sku, qty) in &order.lines {
            *units = Some(units.unwrap_or(0) + qty);
            *cents = Some(cents.unwrap_or(0) + qty * (100 + sku.len() as i32));
        }
    }
    let text = |value: Option<i32>| value.map_or("null".to_owned(), |value| value.to_string());
    let money = |cents: Option<i32>| cents.map_or("null".to_owned(), |c| format!("{}.{:02}", c / 100, c % 100));
    let row = |(date, (lines, units, cents)): (&i32, &(usize, Option<i32>, Option<i32>))| {
        format!("{}|{lines}|{}|{}", day(*date), text(*units), money(*cents))
    };
    days.iter().map(row).collect()
}

async fn check(history: History) {
    let all_at_once = World::new().await;
    history.land_all(&all_at_once).await;
    all_at_once.refine().await;
    let expected = all_at_once.state().await;
    assert_eq!(expected["silver.orders"], expected_orders(&history));
    assert_eq!(expected["gold.daily"], expected_daily(&history));

    let mut step_by_step = World::new().await;
    if history.tight {
        step_by_step.limits = Limits {
            key_rows: 3,
            compare_rows: 2,
            slice_rows: 2,
            folded_groups: 2,
            held_bytes: Some(48),
            hashed_rows: 1,
            index_rows: 0,
            ..Limits::default()
        };
    }
    for number in 0..history.batches {
        let (orders, shops) = history.batch(number);
        step_by_step.land(&orders, &shops).await;
        step_by_step.refine().await;
    }
    let state = step_by_step.state().await;
    for (table, rows) in &expected {
        assert_eq!(&state[table], rows, "{table}: step by step differs from all at once");
    }

    let before = step_by_step.versions().await;
    let again = step_by_step.refine().await;
    assert!(again.release.is_none());
    assert_eq!(step_by_step.versions().await, before, "a second run commits nothing");

    let rebuilt = step_by_step.rebuild().await;
    // Positions may move, past upstream versions that changed no row.
    assert!(outcomes(&rebuilt).values().all(|outcome| *outcome != Outcome::Changed), "{:?}", outcomes(&rebuilt));
    assert_eq!(step_by_step.state().await, state, "a rebuild gives the same");
    let before = step_by_step.versions().await;
    let all = RefineOptions { from: Some(chrono::NaiveDate::MIN), ..RefineOptions::default() };
    step_by_step.try_refine(all).await.unwrap();
    assert_eq!(step_by_step.versions().await, before, "neither does it when days are computed again");
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: cases(),
        max_shrink_iters: 60,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn any_history_in_any_batches_gives_the_same_tables(history in history()) {
        run(check(history));
    }
}

/// A came at 1 and again at 3; the copy changed nothing. B, made at 2, arrives last and must lose.
#[test]
fn a_late_message_loses_against_a_copy_that_left_no_trace() {
    run(async {
        let world = World::new().await;
        for at in [1, 3] {
            world.land(&[order("a", 18_261, "north", 1, at)], &[]).await;
            world.refine().await;
        }
        world.land(&[order("a", 18_261, "south", 2, 2)], &[]).await;
        world.refine().await;
        assert_eq!(world.rows("silver.lines", "id, shop, qty").await, ["a|north|1"]);
        assert_eq!(world.rows("silver.orders", "id, shop").await, ["a|north"]);
        world.land(&[order("a", 18_261, "south", 2, 4)], &[]).await;
        world.refine().await;
        assert_eq!(world.rows("silver.lines", "id, shop, qty").await, ["a|south|2"]);
    });
}

/// Both of a pair move at once: the day that they leave must lose the pair, which neither of them shows alone.
#[test]
fn a_table_that_is_joined_with_itself_is_compared_with_what_it_was() {
    run(async {
        let world = World::new().await;
        world.land(&[order("a", 18_261, "north", 1, 1), order("b", 18_261, "north", 1, 2)], &[]).await;
        world.refine().await;
        assert_eq!(world.rows("gold.pairs", "day, one, other").await, ["2019-12-31|a|b"]);
        world.land(&[order("a", 18_262, "north", 1, 3), order("b", 18_262, "north", 1, 4)], &[]).await;
        world.refine().await;
        assert_eq!(world.rows("gold.pairs", "day, one, other").await, ["2020-01-01|a|b"]);
    });
}

/// A table that is replaced by one with other partitions: what reads it loses what went.
#[test]
fn what_reads_a_replaced_table_is_computed_anew() {
    run(async {
        let world = World::new().await;
        world.land(&[order("a", 18_261, "north", 1, 1), order("b", 18_293, "north", 2, 2)], &[]).await;
        world.refine().await;
        assert_eq!(world.rows("gold.monthly", "month, units").await, ["2019-12-01|1", "2020-02-01|2"]);
        let models: Vec<(&str, String)> = crate::world::MODELS
            .iter()
            .map(|(path, text)| match *path {
                "models/gold/daily.sql" => {
                    let text = text.replace("scope = \"day\"", "scope = \"day\"\npartition_by = [\"day\"]");
                    (*path, text.replace("GROUP BY day", "WHERE day > DATE '2020-01-01' GROUP BY day"))
                }
                _ => (*path, (*text).to_owned()),
            })
            .collect();
        let models: Vec<(&str, &str)> = models.iter().map(|(path, text)| (*path, text.as_str())).collect();
        let world = world.with(&models);
        let select = vec!["gold.daily".to_owned()];
        world.try_refine(RefineOptions { select, full_refresh: true, ..RefineOptions::default() }).await.unwrap();
        world.refine().await;
        assert_eq!(world.rows("gold.monthly", "month, units").await, ["2020-02-01|2"]);
    });
}

/// Delta keeps no empty text in a partition: what is sent again must meet the stored row all the same.
#[test]
fn an_empty_text_in_a_partition_is_null_everywhere() {
    run(async {
        let by_shop = r#"/* models/silver/by_shop.sql
---
description = "Orders by shop"
grain = ["id", "shop"]
kept = "latest"
entity = ["id", "shop"]
partition_by = ["shop"]
--- */
SELECT id, shop, day, _lineage FROM bronze.orders"#;
        let models = [crate::world::MODELS[0], ("models/silver/by_shop.sql", by_shop)];
        let world = World::of(&models).await;
        for at in 1..4 {
            world.land(&[order("a", 18_260 + at as i32, "", 1, at)], &[]).await;
            world.refine().await;
        }
        assert_eq!(world.rows("silver.by_shop", "id, shop, day").await, ["a|null|2020-01-02"]);
    });
}

/// The same by files, which have no time: their names order them.
#[test]
fn a_late_file_loses_against_a_copy_that_left_no_trace() {
    run(async {
        let world = World::new().await;
        let from = |number: i32, shop: &str| Order { from: Place::File(number, 1), ..order("a", 18_261, shop, 1, 0) };
        for message in [from(1, "north"), from(10, "north"), from(9, "south")] {
            world.land(&[message], &[]).await;
            world.refine().await;
        }
        assert_eq!(world.rows("silver.lines", "id, shop").await, ["a|north"]);
    });
}

/// An extract that is sent again in full changes no file.
#[test]
fn rows_that_are_sent_again_are_not_written_again() {
    run(async {
        let world = World::new().await;
        let orders: Vec<Order> = (0..50).map(|n| order(&format!("o{n}"), 18_261 + n % 3, "north", n, 1)).collect();
        world.land(&orders, &[]).await;
        world.refine().await;
        let name = "silver.lines".parse().unwrap();
        let files = |table: &store::Table| -> BTreeSet<String> {
            table.snapshot().files().map(|file| file.path.to_string()).collect()
        };
        let before = files(&world.lake.table(&name).await.unwrap());
        let again: Vec<Order> =
            orders.iter().map(|o| Order { from: Place::Kafka(2, 100 + i64::from(o.day)), ..o.clone() }).collect();
        world.land(&again, &[]).await;
        let report = world.refine().await;
        assert_eq!(outcomes(&report)["silver.lines"], Outcome::Positions);
        assert_eq!(outcomes(&report)["gold.daily"], Outcome::Unchanged);
        let table = world.lake.table(&name).await.unwrap();
        table.refresh().await.unwrap();
        assert_eq!(files(&table), before);
    });
}

/// A correction rewrites the files that hold it and no other, and downstream sees exactly the rows that changed.
#[test]
fn a_correction_touches_only_its_own_day() {
    run(async {
        let world = World::new().await;
        let orders: Vec<Order> = (0..30).map(|n| order(&format!("o{n}"), 18_261 + n % 3, "north", n, 1)).collect();
        world.land(&orders, &[]).await;
        world.refine().await;
        world.land(&[Order { lines: vec![], ..order("o3", 18_261, "north", 0, 9) }], &[]).await;
        let report = world.refine().await;
        let lines = report.models.iter().find(|m| m.model.to_string() == "silver.lines").unwrap();
        assert_eq!((lines.rows_added, lines.rows_removed, lines.files_removed), (1, 1, 1));
        let daily = report.models.iter().find(|m| m.model.to_string() == "gold.daily").unwrap();
        assert_eq!((daily.rows_in, daily.rows_added, daily.rows_removed), (1, 1, 1));
    });
}
