//! What a run can be asked to do.

use chrono::NaiveDate;
use refine::{ErrorKind, Outcome, RefineOptions};
use schema::TableName;

use crate::world::{MODELS, World, order, outcomes, run};

fn selecting(names: &[&str]) -> RefineOptions {
    RefineOptions { select: names.iter().map(|name| (*name).to_owned()).collect(), ..RefineOptions::default() }
}

#[test]
fn only_what_is_selected_is_refreshed() {
    run(async {
        let world = World::new().await;
        world.land(&[order("a", 18_261, "north", 1, 1)], &[]).await;
        let report = world.try_refine(selecting(&["silver.lines", "daily"])).await.unwrap();
        assert_eq!(outcomes(&report).keys().collect::<Vec<_>>(), ["gold.daily", "silver.lines"]);
        assert_eq!(world.rows("gold.daily", "units").await, ["1"]);
        assert!(world.rows("gold.monthly", "units").await.is_empty());
        let wrong = world.try_refine(selecting(&["gold.dayly"])).await.unwrap_err();
        assert_eq!(wrong.kind(), ErrorKind::Config);
        assert!(wrong.to_string().contains("did you mean gold.daily?"), "{wrong}");
        let view = world.try_refine(selecting(&["gold.seen_orders"])).await.unwrap_err();
        assert!(view.to_string().contains("a view is not stored"), "{view}");
    });
}

/// What else the project has does not concern a run of selected models: here one whose columns are not there. What a
/// selected model's checks read does, also where it reads the model itself.
#[test]
fn what_is_not_selected_is_not_planned() {
    run(async {
        let broken = "/* models/gold/broken.sql\n---\ndescription = \"d\"\ngrain = [\"day\"]\nkept = \"full\"\n--- */\n\
                      SELECT day, no_such_column FROM silver.lines";
        let check = "checks = [\"no_more\"]\ncheck.no_more.sql = \"SELECT m.month FROM gold.monthly m JOIN gold.daily d ON \
                     d.day = m.month WHERE d.units > m.units\"\n";
        let files: Vec<(&str, String)> = MODELS
            .iter()
            .map(|(path, text)| match *path {
                "models/gold/daily.sql" => {
                    (*path, text.replacen("checks = [\"not_null(day)\", \"unique(day)\"]\n", check, 1))
                }
                _ => (*path, (*text).to_owned()),
            })
            .chain([("models/gold/broken.sql", broken.to_owned())])
            .collect();
        assert!(files.iter().any(|(_, text)| text.contains("no_more")));
        let world = World::of(&files.iter().map(|(path, text)| (*path, text.as_str())).collect::<Vec<_>>()).await;
        world.land(&[order("a", 18_261, "north", 1, 1)], &[]).await;
        let report = world.try_refine(selecting(&["silver.lines", "daily"])).await.unwrap();
        assert_eq!(outcomes(&report).keys().collect::<Vec<_>>(), ["gold.daily", "silver.lines"]);
        assert_eq!(world.rows("gold.daily", "units").await, ["1"]);
        let all = world.try_refine(RefineOptions::default()).await.unwrap_err().to_string();
        assert!(all.contains("models/gold/broken.sql") && all.contains("no_such_column"), "{all}");
    });
}

/// An edited model is rebuilt when asked, in one commit that holds only the rows that differ.
#[test]
fn an_edited_model_waits_for_a_rebuild() {
    run(async {
        let world = World::new().await;
        let orders = [order("a", 18_261, "north", 1, 1), order("b", 18_262, "north", 5, 2)];
        world.land(&orders, &[]).await;
        world.refine().await;
        let files: Vec<(&str, String)> = MODELS
            .iter()
            .map(|(path, text)| {
                (*path, text.replace("sum(qty) AS units, sum(amount)", "least(sum(qty), 3) AS units, sum(amount)"))
            })
            .collect();
        let edited = world.with(&files.iter().map(|(path, text)| (*path, text.as_str())).collect::<Vec<_>>());
        let error = edited.try_refine(RefineOptions::default()).await.unwrap_err();
        assert!(error.to_string().contains("gold.daily") && error.to_string().contains("--full-refresh"), "{error}");
        let before = world.versions().await.0;
        let options = RefineOptions { full_refresh: true, ..selecting(&["gold.daily"]) };
        let report = edited.try_refine(options).await.unwrap();
        assert_eq!((report.models[0].rows_added, report.models[0].rows_removed), (1, 1));
        let report = edited.refine().await;
        assert_eq!(outcomes(&report)["gold.monthly"], Outcome::Changed);
        let after = world.versions().await.0;
        assert_eq!(after["gold.daily"], before["gold.daily"] + 1);
        assert_eq!(world.rows("gold.daily", "units").await, ["1", "3"]);
        assert_eq!(world.rows("gold.monthly", "units").await, ["1", "3"]);
    });
}

/// A column that a model gains is a new column of its table.
#[test]
fn a_rebuild_adds_columns() {
    run(async {
        let world = World::new().await;
        world.land(&[order("a", 18_261, "north", 1, 1)], &[]).await;
        world.refine().await;
        let files: Vec<(&str, String)> = MODELS
            .iter()
            .map(|(path, text)| {
                (
                    *path,
                    text.replace(
                        "SELECT day, count(*) AS lines",
                        "SELECT day, min(shop) AS first_shop, count(*) AS lines",
                    ),
                )
            })
            .collect();
        let edited = world.with(&files.iter().map(|(path, text)| (*path, text.as_str())).collect::<Vec<_>>());
        edited.rebuild().await;
        assert_eq!(edited.rows("gold.daily", "day, first_shop, units").await, ["2019-12-31|north|1"]);
        edited.land(&[order("b", 18_261, "abc", 1, 2)], &[]).await;
        edited.refine().await;
        assert_eq!(edited.rows("gold.daily", "first_shop, units").await, ["abc|2"]);
    });
}

/// Columns that go or change their type, and other partitions: the table is replaced in one commit, and so can be what
/// reads it.
#[test]
fn a_rebuild_may_replace_the_table() {
    run(async {
        let world = World::new().await;
        world.land(&[order("a", 18_261, "north", 1, 1), order("b", 18_262, "north", 2, 2)], &[]).await;
        world.refine().await;
        let edit = |(path, text): &(&'static str, &'static str)| {
            let text = text.replace(
                "count(*) AS lines, sum(qty) AS units, sum(amount)",
                "CAST(sum(qty) AS VARCHAR) AS units, sum(amount)",
            );
            let text = match *path {
                "models/gold/daily.sql" => text.replace("scope = \"day\"", "scope = \"day\"\npartition_by = [\"day\"]"),
                _ => text.replace("sum(units) AS units, sum(sales)", "sum(CAST(units AS BIGINT)) AS units, sum(sales)"),
            };
            (*path, text)
        };
        let files: Vec<(&str, String)> = MODELS.iter().map(edit).collect();
        let edited = world.with(&files.iter().map(|(path, text)| (*path, text.as_str())).collect::<Vec<_>>());
        edited.rebuild().await;
        assert_eq!(edited.rows("gold.daily", "day, units").await, ["2019-12-31|1", "2020-01-01|2"]);
        let table = edited.lake.table(&"gold.daily".parse().unwrap()).await.unwrap();
        assert_eq!(table.snapshot().partition_columns(), ["day"]);
        assert!(table.snapshot().schema().field_with_name("lines").is_err());
        edited.land(&[order("c", 18_262, "north", 5, 3)], &[]).await;
        edited.refine().await;
        assert_eq!(edited.rows("gold.daily", "units").await, ["1", "7"]);
        assert_eq!(edited.rows("gold.monthly", "units").await, ["1", "7"]);
    });
}

#[test]
fn days_are_computed_again_without_moving_positions() {
    run(async {
        let world = World::new().await;
        world.land(&[order("a", 18_261, "north", 1, 1), order("b", 18_262, "north", 5, 2)], &[]).await;
        world.refine().await;
        let before = world.versions().await;
        let day = |text: &str| Some(text.parse::<NaiveDate>().unwrap());
        let range = RefineOptions { from: day("2020-01-01"), to: day("2020-01-01"), ..RefineOptions::default() };
        let report = world.try_refine(range.clone()).await.unwrap();
        assert_eq!(outcomes(&report)["gold.daily"], Outcome::Unchanged);
        assert!(matches!(outcomes(&report)["silver.orders"], Outcome::Skipped(_)));
        assert_eq!(world.versions().await, before);
        // What Bronze has gained since is in those days only, and is not counted twice afterwards.
        world.land(&[order("c", 18_261, "north", 7, 3), order("d", 18_262, "north", 7, 4)], &[]).await;
        world.try_refine(range).await.unwrap();
        assert_eq!(world.rows("gold.daily", "units").await, ["1", "12"]);
        world.refine().await;
        assert_eq!(world.rows("gold.daily", "units").await, ["12", "8"]);
        let wrong = RefineOptions { from: day("2020-01-02"), to: day("2020-01-01"), ..RefineOptions::default() };
        assert_eq!(world.try_refine(wrong).await.unwrap_err().kind(), ErrorKind::Config);
    });
}

/// A release holds all tables of a cycle, and a run after a crash between commits and release publishes it.
#[test]
fn a_cycle_ends_with_a_release() {
    run(async {
        let world = World::new().await;
        world.land(&[order("a", 18_261, "north", 1, 1)], &[]).await;
        assert_eq!(world.refine().await.release, Some(1));
        let release = world.lake.releases().latest().await.unwrap().unwrap();
        let (versions, _) = world.versions().await;
        for (name, version) in &release.tables {
            assert_eq!(versions[&name.to_string()], *version);
        }
        assert!(release.tables.keys().any(|name| name.to_string() == "gold.daily"));
        assert_eq!(world.refine().await.release, None);
    });
}

/// Each run leaves its record, also one that fails or finds nothing new; what the last run of a table cost is told by the
/// last one that committed to it.
#[test]
fn runs_leave_records_of_what_they_cost() {
    run(async {
        let (lines, daily) = (TableName::silver("lines"), TableName::gold("daily"));
        let world = World::new().await;
        world.land(&[order("a", 18_261, "north", 1, 1), order("b", 18_262, "north", 1, 2)], &[]).await;
        world.refine().await;
        let first = refine::last_runs(&world.lake).await;
        assert_eq!((first[&lines].rows, first[&daily].rows), (2, 2));
        assert!(first.values().all(|last| last.seconds > 0.0 && last.run.contains("-refine-")), "{first:?}");
        world.refine().await;
        assert_eq!(refine::last_runs(&world.lake).await, first, "nothing was new");

        world.land(&[order("c", 18_262, "north", 1, 3)], &[]).await;
        world.try_refine(selecting(&["silver.lines"])).await.unwrap();
        let next = refine::last_runs(&world.lake).await;
        assert_eq!((next[&lines].rows, &next[&daily]), (1, &first[&daily]));

        let text = |text: &str| text.replace("upper(shop)", "lower(shop)");
        let files: Vec<(&str, String)> = MODELS.iter().map(|(path, model)| (*path, text(model))).collect();
        let edited = world.with(&files.iter().map(|(path, text)| (*path, text.as_str())).collect::<Vec<_>>());
        edited.try_refine(RefineOptions::default()).await.unwrap_err();
        let records = store::newest_runs::<serde_json::Value>(&world.lake, "refine").await;
        let failed: Vec<bool> = records.iter().map(|(_, record)| record["failed"] == true).collect();
        assert_eq!(failed, [true, false, false, false]);
        let models = &records[0].1["models"];
        assert_eq!(models["gold.daily"]["rows_added"], 1, "{models}");
        let why = models["silver.messages"]["outcome"].as_str().unwrap();
        assert!(why.starts_with("failed: silver.messages: the model was changed"), "{why}");
    });
}

/// A stream that was never loaded is an empty table: its models commit nothing.
#[test]
fn nothing_comes_of_nothing() {
    run(async {
        let world = World::new().await;
        let report = world.refine().await;
        assert!(outcomes(&report).values().all(|outcome| *outcome == Outcome::Unchanged));
        assert!(report.release.is_none());
        assert!(world.lake.tables().await.unwrap().is_empty());
    });
}
