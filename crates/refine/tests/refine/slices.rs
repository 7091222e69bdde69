//! Computing some scopes at a time gives what computing all at once gives (ENGINE.md 14, 16, 25).

use std::collections::BTreeMap;

use refine::{Limits, Outcome, RefineOptions, RefineReport};

use crate::world::{MODELS, Order, Place, World, run};

/// Tables whose scopes are partitions of what they read, functions of them, finer than they are, or are looked up by a join;
/// and one, by shop, each of whose scopes reads everything.
const SLICED: &[(&str, &str, &str, &str)] = &[
    ("daily", "day", "", "SELECT day, sku, sum(amount) AS sales FROM silver.lines GROUP BY day, sku"),
    (
        "monthly",
        "month",
        "",
        "SELECT CAST(date_trunc('month', day) AS DATE) AS month, count(*) AS lines FROM silver.lines \
         GROUP BY CAST(date_trunc('month', day) AS DATE)",
    ),
    (
        "calendar",
        "day",
        "",
        "SELECT day, extract(YEAR FROM day) AS y, extract(DAY FROM day) % 2 AS w FROM silver.lines GROUP BY day",
    ),
    (
        "weekly",
        "y\", \"w",
        "partition_by = [\"w\"]",
        "SELECT y, w, shop, sum(lines) AS lines, last_value(shop ORDER BY day, lines) AS last FROM (\
         SELECT c.y, c.w, l.day, l.shop, count(*) AS lines FROM gold.calendar AS c \
         JOIN silver.lines AS l ON l.day = c.day GROUP BY c.y, c.w, l.day, l.shop UNION ALL \
         SELECT c.y, c.w, o.day, o.shop, 1 FROM gold.calendar AS c JOIN silver.orders AS o ON o.day = c.day) \
         GROUP BY y, w, shop",
    ),
    (
        "ranked",
        "day",
        "",
        "SELECT l.day, l.id, s.region, row_number() OVER (PARTITION BY l.day ORDER BY l.id, l.line) AS place \
         FROM silver.lines AS l LEFT JOIN silver.shops AS s ON s.shop = l.shop",
    ),
    ("orders", "day", "", "SELECT day, count(*) AS orders FROM silver.orders GROUP BY day"),
    ("skus", "day\", \"sku", "", "SELECT day, sku, count(*) AS lines FROM silver.lines GROUP BY day, sku"),
    ("shops", "shop", "", "SELECT shop, count(DISTINCT id) AS ids FROM silver.lines GROUP BY shop"),
];

fn models(from_day: i32) -> Vec<(String, String)> {
    let silver = MODELS.iter().filter(|(path, _)| !path.contains("gold") && !path.contains("messages"));
    // By day, so that orders that move leave days without any.
    let by_day = |text: &str| text.replace("checks = [\"unique(id)\"]", "partition_by = [\"day\"]");
    let silver = silver.map(|(path, text)| ((*path).to_owned(), by_day(text)));
    let gold = SLICED.iter().map(|(name, scope, more, sql)| {
        let header = format!(
            "description = \"{name}\"\ngrain = [\"{scope}\"]\nkept = \"scoped\"\nscope = [\"{scope}\"]\n{more}"
        );
        // An edit that changes nothing but the rows.
        let sql = sql.replace(
            "FROM silver.lines GROUP",
            &format!("FROM silver.lines WHERE CAST(day AS INT) >= {from_day} GROUP"),
        );
        (format!("models/gold/{name}.sql"), format!("/* models/gold/{name}.sql\n---\n{header}\n--- */\n{sql}"))
    });
    silver.chain(gold).collect()
}

fn orders() -> Vec<Order> {
    let order = |n: i64| Order {
        id: format!("id-{}", n % 97),
        day: 18_250 + (n % 40) as i32,
        version: Some(1),
        shop: ["north", "south", "east", ""][n as usize % 4].into(),
        lines: vec![("x".to_owned(), 1), ("y".to_owned(), (n % 5) as i32)],
        from: Place::Kafka(n, n),
    };
    (0..400).map(order).collect()
}

async fn gold(world: &World) -> BTreeMap<&'static str, Vec<String>> {
    let mut state = BTreeMap::new();
    for (name, ..) in SLICED {
        state.insert(*name, world.rows(&format!("gold.{name}"), "*").await);
    }
    state
}

fn slices(report: &RefineReport) -> BTreeMap<&str, u64> {
    let gold = report.models.iter().filter(|model| model.model.to_string().starts_with("gold."));
    gold.map(|model| (model.model.name.as_str(), model.slices)).collect()
}

async fn world(files: &[(String, String)], lake: Option<&World>, slice_rows: u64) -> World {
    let files: Vec<(&str, &str)> = files.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
    let mut world = match lake {
        Some(world) => world.with(&files),
        None => World::of(&files).await,
    };
    // The calendar has 40 rows, so its weeks are listed; what the lines hold is not.
    world.limits = Limits { slice_rows, listed_rows: 100, folded_groups: 0, ..Limits::default() };
    world
}

#[test]
fn slices_give_what_the_whole_gives() {
    run(async {
        let files = models(0);
        let whole = world(&files, None, 0).await;
        let sliced = world(&files, None, 50).await;
        for world in [&whole, &sliced] {
            world.land(&orders(), &[]).await;
        }
        assert!(slices(&whole.refine().await).values().all(|slices| *slices == 1));
        let report = sliced.refine().await;
        let found = slices(&report);
        for name in ["daily", "monthly", "calendar", "weekly", "ranked", "orders", "skus"] {
            assert!(found[name] > 1, "{name} of {found:?}");
        }
        assert_eq!(found["shops"], 1, "each slice would read everything");
        assert_eq!(gold(&whole).await, gold(&sliced).await);

        // Computed again it is what is stored.
        let again = sliced.rebuild().await;
        assert!(again.models.iter().all(|model| model.outcome != Outcome::Changed), "{again:?}");

        // A day that lost all its orders since is gone, although no slice of what is upstream has it.
        let silver = || ["lines", "orders", "shops"].map(|name| format!("silver.{name}")).to_vec();
        let move_on = |(order, place): (Order, i64)| Order {
            day: order.day.max(18_252),
            version: Some(2),
            from: Place::Kafka(place, place),
            ..order
        };
        let moved: Vec<Order> = orders().into_iter().zip(1_000..).map(move_on).collect();
        for world in [&whole, &sliced] {
            world.land(&moved, &[]).await;
            world.try_refine(RefineOptions { select: silver(), ..RefineOptions::default() }).await.unwrap();
        }
        whole.rebuild().await;
        let report = sliced.rebuild().await;
        assert!(slices(&report)["orders"] > 1, "{report:?}");
        assert!(!sliced.rows("gold.orders", "CAST(day AS INT)").await.contains(&"18251".to_owned()));
        assert_eq!(gold(&whole).await, gold(&sliced).await);

        // Other rows: those that go are found slice by slice.
        let files = models(18_270);
        let (whole, sliced) = (world(&files, Some(&whole), 0).await, world(&files, Some(&sliced), 50).await);
        whole.rebuild().await;
        let report = sliced.rebuild().await;
        assert!(slices(&report)["daily"] > 1, "{report:?}");
        assert_eq!(gold(&whole).await, gold(&sliced).await);
    });
}
