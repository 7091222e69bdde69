//! Folding equals recomputing (ENGINE.md 15, 25).

use refine::{Limits, Outcome, RefineOptions, RefineReport};

use crate::world::{MODELS, Order, Place, Shop, World, run};

/// Tables that can be folded in every way: with and without a count of rows, over values that may be null, over a chain
/// of tables, a look-up, a view, other columns of the same group, an empty text in a partition.
const FOLDED: &[(&str, &str, &str, &str)] = &[
    (
        "daily",
        "day",
        "",
        "SELECT day, count(*) AS lines, sum(qty) AS units, sum(amount) AS sales FROM silver.lines GROUP BY day",
    ),
    ("uncounted", "day", "", "SELECT day, sku, sum(amount) AS sales FROM silver.lines GROUP BY day, sku"),
    ("keys", "shop", "", "SELECT day, shop FROM silver.orders GROUP BY day, shop"),
    (
        "signs",
        "shop",
        "partition_by = [\"shop\"]",
        "SELECT shop, sum(CASE WHEN qty > 2 THEN 1 ELSE 0 END) AS large, count(qty) AS some, sum(1 - qty) AS net \
         FROM silver.lines GROUP BY shop",
    ),
    (
        "monthly",
        "month",
        "",
        "SELECT month, extract(YEAR FROM month) AS y, units, sales, 'all' AS what FROM (SELECT \
         CAST(date_trunc('month', day) AS DATE) AS month, sum(units) AS units, sum(sales) AS sales FROM gold.daily \
         GROUP BY CAST(date_trunc('month', day) AS DATE))",
    ),
    (
        "regions",
        "day",
        "",
        "SELECT l.day, s.region, count(*) AS lines, sum(l.qty) FILTER (WHERE l.qty > 1) AS units \
         FROM silver.lines AS l LEFT JOIN silver.shops AS s ON l.shop = s.shop GROUP BY l.day, s.region",
    ),
    (
        "both",
        "day",
        "",
        "SELECT day, sum(n) AS n FROM (SELECT day, qty AS n FROM silver.lines UNION ALL \
         SELECT day, version AS n FROM silver.orders) GROUP BY day",
    ),
];

fn models() -> Vec<(String, String)> {
    // Checks, and a table that nothing here reads, would take most of the time.
    let unchecked =
        |text: &str| -> String { text.split_inclusive('\n').filter(|l| !l.starts_with("checks")).collect() };
    let silver = MODELS.iter().filter(|(path, _)| !path.contains("gold") && !path.contains("messages"));
    let silver = silver.map(|(path, text)| ((*path).to_owned(), unchecked(text)));
    let gold = FOLDED.iter().map(|(name, scope, more, sql)| {
        let header =
            format!("description = \"{name}\"\ngrain = [\"{scope}\"]\nkept = \"scoped\"\nscope = \"{scope}\"\n{more}");
        (format!("models/gold/{name}.sql"), format!("/* models/gold/{name}.sql\n---\n{header}\n--- */\n{sql}"))
    });
    silver.chain(gold).collect()
}

/// Numbers that look drawn (splitmix64).
struct Draw(u64);

impl Draw {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % end
    }

    fn of<T: Copy>(&mut self, values: &[T]) -> T {
        values[self.below(values.len() as u64) as usize]
    }

    /// New orders, repeats, corrections and moves between days, of few ids; sometimes without lines. Lines of a quantity
    /// of nothing make sums that are zero but not null.
    fn order(&mut self, number: i64) -> Order {
        let lines = (0..self.below(3)).map(|_| (self.of(&["x", "yy"]).to_owned(), self.below(4) as i32)).collect();
        Order {
            id: self.of(&["a", "b", "c", "d", "e"]).into(),
            day: self.of(&[18_261, 18_262, 18_293]),
            version: self.of(&[None, Some(1), Some(2)]),
            shop: self.of(&["north", "south", "", "hidden"]).into(),
            lines,
            from: Place::Kafka(self.below(50) as i64 + number, number),
        }
    }

    fn shop(&mut self, number: i64) -> Shop {
        let region = self.of(&[None, Some("up"), Some("down")]).map(str::to_owned);
        Shop { shop: self.of(&["north", "south"]).into(), region, from: Place::File(number as i32, 1) }
    }
}

async fn gold(world: &World) -> Vec<(String, Vec<String>)> {
    let mut state = Vec::new();
    for (name, ..) in FOLDED {
        state.push(((*name).to_owned(), world.rows(&format!("gold.{name}"), "*").await));
    }
    state
}

fn folded(report: &RefineReport) -> usize {
    report.models.iter().filter(|model| model.folded && model.outcome == Outcome::Changed).count()
}

#[test]
fn folding_equals_recomputing_over_two_hundred_batches() {
    run(async {
        let models = models();
        let models: Vec<(&str, &str)> = models.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
        let folding = World::of(&models).await;
        let mut computing = World::of(&models).await;
        computing.limits = Limits { folded_groups: 0, ..Limits::default() };
        let mut draw = Draw(1);
        let mut count = 0;
        for batch in 0..200 {
            let orders: Vec<Order> = (0..=draw.below(3) as i64).map(|n| draw.order(batch * 4 + n)).collect();
            let shops: Vec<Shop> = if draw.below(10) == 0 { vec![draw.shop(batch)] } else { Vec::new() };
            for world in [&folding, &computing] {
                world.land(&orders, &shops).await;
            }
            // Sometimes Gold waits, and takes over several versions of Silver at once.
            let select = match draw.below(4) {
                0 => ["lines", "orders", "shops"].map(|name| format!("silver.{name}")).to_vec(),
                _ => Vec::new(),
            };
            let options = RefineOptions { select, ..RefineOptions::default() };
            count += folded(&folding.try_refine(options.clone()).await.unwrap());
            let report = computing.try_refine(RefineOptions { limits: computing.limits, ..options }).await.unwrap();
            assert_eq!(folded(&report), 0);
            if batch % 10 == 9 {
                folding.refine().await;
                computing.refine().await;
                assert_eq!(gold(&folding).await, gold(&computing).await, "after batch {batch}");
            }
        }
        assert!(count > 500, "only {count} refreshes were folded");
        let rebuilt = folding.rebuild().await;
        assert!(rebuilt.models.iter().all(|model| model.outcome != Outcome::Changed), "{rebuilt:?}");
    });
}
