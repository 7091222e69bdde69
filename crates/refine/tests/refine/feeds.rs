//! Gates of feeds: a feed that loses too much is held, alone, until its rows are mended or somebody lets it through.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use arrow::array::{
    ArrayRef, Date32Array, Int32Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
};
use refine::{ErrorKind, ModelReport, Outcome, Progress, RefineError, RefineOptions, RefineReport};
use tokio_util::sync::CancellationToken;

use crate::world::{World, outcomes, run};

const HOUR: i64 = 3_600_000_000;
const DAY: i64 = 24 * HOUR;

fn contract(stream: &str) -> String {
    format!(
        "description = \"{stream}\"\nentity = [\"id\"]\nkafka = {{ topic = \"{stream}\" }}\n[fields]\nid = {{ type = \"string\" }}\n\
         amount = {{ type = \"int\" }}\n"
    )
}

/// A feed of `silver.sales` whose SQL drops what `condition` says.
fn feed(stream: &str, entity: &str, header: &str, condition: &str) -> String {
    format!(
        "/* models/silver/sales/{stream}.sql\n---\ndescription = \"f\"\nentity = [{entity}]\n{header}\n--- */\n\
         SELECT '{stream}' AS source, id, amount, _lineage FROM bronze.{stream} {condition}"
    )
}

const TABLE: &str = "description = \"s\"\ngrain = [\"source\", \"id\"]\nkept = \"latest\"\n[columns]\n\
                     source = { type = \"string\" }\nid = { type = \"string\" }\namount = { type = \"int\" }\n";

/// Two streams into one table; the tills' feed has a gate, and drops what is not for sale.
async fn world(condition: &str) -> World {
    world_with(condition, TABLE).await
}

async fn world_with(condition: &str, table: &str) -> World {
    let gate = "gate = { max_loss = 0.05, min_rows = 100 }";
    let daily = "/* models/gold/daily.sql\n---\ndescription = \"d\"\ngrain = [\"source\"]\nkept = \"scoped\"\nscope = \"source\"\n--- */\n\
                 SELECT source, count(*) AS sales, sum(amount) AS amount FROM silver.sales GROUP BY source";
    let files = [
        ("models/bronze/tills.toml", contract("tills")),
        ("models/bronze/web.toml", contract("web")),
        ("models/silver/sales/table.toml", table.to_owned()),
        ("models/silver/sales/tills.sql", feed("tills", "\"source\", \"id\"", gate, condition)),
        ("models/silver/sales/web.sql", feed("web", "\"id\", \"source\"", "", "")),
        ("models/gold/daily.sql", daily.to_owned()),
    ];
    let files: Vec<(&str, &str)> = files.iter().map(|(path, text)| (*path, text.as_str())).collect();
    World::of(&files).await
}

/// A message: id, amount, whether it is good, offset, arrival, revision.
#[derive(Clone)]
struct Message {
    id: String,
    amount: i32,
    good: bool,
    offset: i64,
    at: i64,
    mends: Option<i32>,
}

fn message(offset: i64, good: bool, at: i64) -> Message {
    Message { id: format!("m{offset}"), amount: 1, good, offset, at, mends: None }
}

/// `n` messages from an offset on, of which the first `bad` are bad, arrived at `at`.
fn day(from: i64, n: i64, bad: i64, at: i64) -> Vec<Message> {
    (0..n).map(|i| message(from + i, i >= bad, at + i)).collect()
}

fn rows(messages: &[Message]) -> RecordBatch {
    let at = TimestampMicrosecondArray::from_iter_values(messages.iter().map(|m| m.at)).with_timezone("UTC");
    // Decoded in the order of the offsets, whenever they arrived; mended rows later.
    let ingested = messages.iter().map(|m| m.offset + i64::from(m.mends.unwrap_or(0)) * 1_000_000);
    let ingested = TimestampMicrosecondArray::from_iter_values(ingested).with_timezone("UTC");
    let status = |m: &Message| if m.good { "stored" } else { "quarantined" };
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("id", Arc::new(messages.iter().map(|m| m.good.then(|| m.id.clone())).collect::<StringArray>())),
        ("amount", Arc::new(messages.iter().map(|m| m.good.then_some(m.amount)).collect::<Int32Array>())),
        ("_source", Arc::new(StringArray::from_iter_values(messages.iter().map(|_| "kafka:c/t")))),
        ("_partition", Arc::new(Int32Array::from_iter_values(messages.iter().map(|_| 0)))),
        ("_offset", Arc::new(Int64Array::from_iter_values(messages.iter().map(|m| m.offset)))),
        ("_arrived_at", Arc::new(at)),
        ("_ingested_at", Arc::new(ingested)),
        ("_mends", Arc::new(messages.iter().map(|m| m.mends).collect::<Int32Array>())),
        ("_status", Arc::new(StringArray::from_iter_values(messages.iter().map(status)))),
        ("_ingested_on", Arc::new(Date32Array::from_iter_values(messages.iter().map(|_| 20_000)))),
    ];
    RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(n, c)| (n, c, true))).unwrap()
}

/// A refresh that a gate cuts back: what it said and what it did.
async fn held(world: &World) -> (String, RefineReport) {
    let error = world.try_refine(RefineOptions::default()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Gate);
    let text = error.to_string();
    let RefineError::Gates { failures, report } = error else { panic!("{text}") };
    assert!(failures.iter().all(|failure| failure.feed.as_deref() == Some("tills")), "{failures:?}");
    (text, *report)
}

async fn sales(world: &World) -> Vec<String> {
    world.rows("gold.daily", "source, sales").await
}

#[test]
fn a_day_with_six_percent_bad_rows_publishes_nothing_of_its_feed() {
    run(async {
        let world = world("").await;
        world.commit("tills", rows(&day(0, 1000, 20, DAY))).await;
        world.commit("web", rows(&day(0, 10, 0, DAY))).await;
        world.refine().await;
        assert_eq!(sales(&world).await, ["tills|980", "web|10"], "2 % may be lost");

        world.commit("tills", rows(&day(1000, 1000, 60, 3 * DAY))).await;
        world.commit("web", rows(&day(10, 10, 9, 3 * DAY))).await;
        let (text, report) = held(&world).await;
        assert!(text.contains("silver.sales: feed tills: loss below 0.05 is not met"), "{text}");
        assert!(text.contains("0.0600 of 1000 rows") && text.contains("60 in quarantine"), "{text}");
        assert_eq!(outcomes(&report)["silver.sales"], Outcome::Changed, "the other feed has no gate and goes on");
        assert_eq!(sales(&world).await, ["tills|980", "web|11"]);

        // Nothing new: still held, and nothing is committed but the results.
        let before = world.versions().await;
        let (_, report) = held(&world).await;
        assert_eq!(outcomes(&report)["silver.sales"], Outcome::Held);
        assert_eq!(world.versions().await, before);

        // A good day after it does not carry the bad one through.
        world.commit("tills", rows(&day(2000, 1000, 0, 4 * DAY + HOUR))).await;
        held(&world).await;
        assert_eq!(sales(&world).await, ["tills|980", "web|11"]);
    });
}

#[test]
fn mending_frees_a_held_feed() {
    run(async {
        let world = world("").await;
        let bad = day(0, 1000, 60, DAY);
        world.commit("tills", rows(&bad)).await;
        held(&world).await;
        let mend = |from: usize, to: usize, good: bool, revision| {
            bad[from..to].iter().map(|m| Message { good, mends: Some(revision), ..m.clone() }).collect::<Vec<_>>()
        };
        // Mended in vain: still 60 open rows, each at its last revision.
        world.commit("tills", rows(&mend(0, 30, false, 1))).await;
        let (text, _) = held(&world).await;
        assert!(text.contains("0.0600 of 1000 rows"), "{text}");
        world.commit("tills", rows(&mend(0, 11, true, 2))).await;
        world.refine().await;
        assert_eq!(sales(&world).await, ["tills|951"], "49 of 1000 are below 5 %");
    });
}

#[test]
fn what_is_let_through_by_name_holds_nothing_later() {
    run(async {
        let world = world("").await;
        world.commit("tills", rows(&day(0, 1000, 60, DAY))).await;
        held(&world).await;
        let wrong = RefineOptions { allow: vec!["web".into()], ..RefineOptions::default() };
        let error = world.try_refine(wrong).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(error.to_string().contains("silver.sales.tills"), "{error}");

        let allow = RefineOptions { allow: vec!["tills".into()], ..RefineOptions::default() };
        let report = world.try_refine(allow).await.unwrap();
        assert_eq!(sales(&world).await, ["tills|940"]);
        let found = &report.models.iter().find(|model| model.model.name == "sales").unwrap().checks[0];
        assert!(!found.success && found.allowed && found.version.is_some(), "{found:?}");
        // More of the same day, good: what was let through no longer counts.
        world.commit("tills", rows(&day(1000, 200, 0, DAY + HOUR))).await;
        world.refine().await;
        assert_eq!(sales(&world).await, ["tills|1140"]);
        // And bad again: held again.
        world.commit("tills", rows(&day(1200, 200, 30, DAY + 2 * HOUR))).await;
        held(&world).await;
    });
}

#[test]
fn entities_that_the_sql_drops_are_missing_and_copies_are_not() {
    run(async {
        let world = world("WHERE id NOT LIKE 'x%'").await;
        let mut messages = day(0, 200, 0, DAY);
        // Copies and corrections of entities that are there lose nothing.
        messages.extend(day(0, 200, 0, DAY + HOUR).into_iter().map(|m| Message { offset: m.offset + 1000, ..m }));
        messages.iter_mut().take(15).for_each(|m| m.id = format!("x{}", m.offset));
        world.commit("tills", rows(&messages)).await;
        world.refine().await;
        assert_eq!(sales(&world).await, ["tills|200"], "15 of 400 are below 5 %");
        let dropped = day(2000, 20, 0, DAY + HOUR).into_iter().map(|m| Message { id: format!("x{}", m.offset), ..m });
        world.commit("tills", rows(&dropped.collect::<Vec<_>>())).await;
        let (text, _) = held(&world).await;
        assert!(text.contains("35 missing") && text.contains("of 420 rows"), "{text}");
    });
}

#[test]
fn too_few_rows_judge_nothing_and_a_rebuild_is_held_as_a_whole() {
    run(async {
        let world = world("").await;
        world.commit("tills", rows(&day(0, 99, 50, DAY))).await;
        world.refine().await;
        assert_eq!(sales(&world).await, ["tills|49"]);
        world.commit("tills", rows(&day(100, 100, 50, 9 * DAY))).await;
        let rebuild = RefineOptions { full_refresh: true, ..RefineOptions::default() };
        let error = world.try_refine(rebuild.clone()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Gate);
        assert_eq!(sales(&world).await, ["tills|49"], "nothing that was published goes");
        world.try_refine(RefineOptions { allow: vec!["silver.sales.tills".into()], ..rebuild }).await.unwrap();
        assert_eq!(sales(&world).await, ["tills|99"]);
    });
}

#[test]
fn results_are_kept_run_by_run() {
    run(async {
        let world = world("").await;
        world.commit("tills", rows(&day(0, 1000, 60, DAY))).await;
        held(&world).await;
        let allow = RefineOptions { allow: vec!["tills".into()], ..RefineOptions::default() };
        world.try_refine(allow).await.unwrap();
        world.refine().await;
        let session = world.env().factory.session().await.unwrap();
        let sql = "SELECT count(DISTINCT run_id), count(*), sum(unexpected_count) FROM quality.results";
        let batches = session.sql(sql).await.unwrap().collect().await.unwrap();
        let counts = arrow::util::pretty::pretty_format_batches(&batches).unwrap().to_string();
        assert!(
            counts.contains("| 2 ") && counts.contains("| 120 "),
            "a run that checks nothing keeps nothing: {counts}"
        );
    });
}

/// What became of the sales, cycle after cycle.
#[derive(Default)]
struct Outcomes(Mutex<Vec<Outcome>>);

impl Outcomes {
    /// Waits until so many cycles have ended like that.
    async fn reach(&self, wanted: Outcome, count: usize) {
        while self.0.lock().unwrap().iter().filter(|outcome| **outcome == wanted).count() < count {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

impl Progress for Outcomes {
    fn finished(&self, report: &ModelReport) {
        if report.model.name == "sales" {
            self.0.lock().unwrap().push(report.outcome.clone());
        }
    }
}

/// A run that follows notes what it is about to store; what a check then holds back, and a gate leaves out of the next commit,
/// is not stored.
#[test]
fn what_was_held_back_does_not_count_as_stored_when_another_feed_is_committed() {
    run(async {
        let kept = "kept = \"latest\"\n";
        let checked = format!("{kept}partition_by = [\"amount\"]\nchecks = [\"range(amount, 0, 50)\"]\n");
        let world = world_with("", &TABLE.replace(kept, &checked)).await;
        world.commit("tills", rows(&day(0, 200, 0, DAY))).await;
        world.commit("web", rows(&day(0, 10, 0, DAY))).await;
        let (cancel, seen) = (CancellationToken::new(), Arc::new(Outcomes::default()));
        let options = RefineOptions { follow: Some(Duration::from_millis(1)), ..RefineOptions::default() };
        let follower = refine::run(world.env(), options, cancel.clone(), seen.clone());
        let lander = async {
            seen.reach(Outcome::Changed, 1).await;
            let dear = |offset, amount| Message { id: "dear".into(), amount, ..message(offset, true, 3 * DAY) };
            world.commit("web", rows(&[dear(10, 99)])).await;
            seen.reach(Outcome::Held, 1).await;
            world.commit("tills", rows(&day(1000, 100, 0, 3 * DAY))).await;
            seen.reach(Outcome::Held, 2).await;
            let bad = day(1100, 50, 50, 3 * DAY + HOUR);
            world.commit("tills", rows(&bad)).await;
            seen.reach(Outcome::Held, 3).await;
            world.commit("web", rows(&[dear(11, 9)])).await;
            seen.reach(Outcome::Changed, 2).await;
            let mended: Vec<_> = bad.iter().map(|m| Message { good: true, mends: Some(1), ..m.clone() }).collect();
            world.commit("tills", rows(&mended)).await;
            seen.reach(Outcome::Changed, 3).await;
            cancel.cancel();
        };
        let (report, ()) = tokio::join!(follower, lander);
        report.unwrap();
        world.refine().await;
        assert_eq!(sales(&world).await, ["tills|350", "web|11"]);
    });
}
