//! Checks hold a bad table back, gates a bad feed, and nothing else.

use refine::{ErrorKind, Outcome, RefineError, RefineOptions};

use crate::world::{MODELS, Order, World, order, outcomes, run};

fn with_checks(checks: &'static str) -> Vec<(&'static str, String)> {
    let text = format!(
        "/* models/gold/daily.sql\n---\ndescription = \"Sales by day\"\ngrain = [\"day\"]\nkept = \"scoped\"\nscope = \"day\"\n\
         {checks}\n--- */\nSELECT day, count(*) AS lines, sum(qty) AS units, sum(amount) AS sales FROM silver.lines GROUP BY day"
    );
    let others = MODELS.iter().filter(|(path, _)| *path != "models/gold/daily.sql");
    others.map(|(path, text)| (*path, (*text).to_owned())).chain([("models/gold/daily.sql", text)]).collect()
}

async fn held_by(checks: &'static str, name: &str) {
    let files = with_checks(checks);
    let files: Vec<(&str, &str)> = files.iter().map(|(path, text)| (*path, text.as_str())).collect();
    let world = World::of(&files).await;
    world.land(&[order("a", 18_261, "north", 1, 1)], &[]).await;
    world.refine().await;
    let good = world.rows("gold.daily", "day, units").await;
    world.land(&[order("b", 18_262, "north", 90, 2), order("c", 18_263, "north", 2, 2)], &[]).await;
    let error = world.try_refine(RefineOptions::default()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Gate);
    let RefineError::Gates { failures, report } = error else { panic!("{error}") };
    assert_eq!(failures.len(), 1);
    assert_eq!(failures[0].check, name);
    assert!(failures[0].to_string().contains("gold.daily"), "{}", failures[0]);
    assert_eq!(outcomes(&report)["gold.daily"], Outcome::Held);
    assert_eq!(outcomes(&report)["silver.lines"], Outcome::Changed, "others go on");
    assert_eq!(world.rows("gold.daily", "day, units").await, good, "the table stays as it was");

    // A correction lets it through, with all that waited.
    world.land(&[order("b", 18_262, "north", 3, 5)], &[]).await;
    world.refine().await;
    assert_eq!(world.rows("gold.daily", "units").await, ["1", "2", "3"]);
}

#[test]
fn a_range_holds_the_table_back() {
    run(held_by("checks = [\"range(units, 0, 50)\"]", "range(units, 0, 50)"));
}

#[test]
fn accepted_values_hold_the_table_back() {
    run(held_by("checks = [\"accepted_values(units, 1, 2, 3)\"]", "accepted_values(units, 1, 2, 3)"));
}

#[test]
fn sql_holds_the_table_back_and_sees_the_staged_state() {
    let checks = "checks = [\"as_many\"]\ncheck.as_many.sql = \"SELECT d.day FROM gold.daily d JOIN (SELECT day, sum(qty) AS \
                  units FROM silver.lines GROUP BY day) l ON d.day = l.day WHERE d.units <> l.units OR d.units > 50\"";
    run(held_by(checks, "as_many"));
}

#[test]
fn what_is_not_unique_is_held_back() {
    run(async {
        let mut files = MODELS.to_vec();
        files.push((
            "models/silver/shops_of_days.sql",
            "/* models/silver/shops_of_days.sql\n---\ndescription = \"d\"\ngrain = [\"day\"]\nkept = \"full\"\n\
             checks = [\"unique(day)\", \"not_null(shop)\"]\n--- */\nSELECT DISTINCT day, nullif(shop, 'none') AS shop FROM silver.lines",
        ));
        let world = World::of(&files).await;
        world.land(&[order("a", 18_261, "north", 1, 1), order("b", 18_261, "none", 1, 2)], &[]).await;
        let RefineError::Gates { failures, .. } = world.try_refine(RefineOptions::default()).await.unwrap_err() else {
            panic!("no gate")
        };
        let checks: Vec<&str> = failures.iter().map(|failure| failure.check.as_str()).collect();
        assert_eq!(checks, ["unique(day)", "not_null(shop)"]);
        assert_eq!(failures[0].sample[0].to_string(), "day=2019-12-31");
        let mended = [Order { shop: "north".into(), ..order("b", 18_261, "north", 1, 3) }];
        world.land(&mended, &[]).await;
        world.refine().await;
        assert_eq!(world.rows("silver.shops_of_days", "shop").await, ["north"]);
    });
}
