//! Landing sets: the files of a day are accepted together or not at all, whatever is missing, repeated or killed.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use ingest::{FlushPolicy, IngestEnv, IngestError, IngestOptions, IngestReport, Lack, Mode, SetReport, Silent};
use object_store::memory::InMemory;
use schema::TableName;
use store::{Lake, LakeOptions};
use tokio_util::sync::CancellationToken;

use crate::faulty::{Fault, FaultyStore};
use crate::files::until;
use crate::world::{World, ask, gzip, input_options, number, project, run};

const MEMBERS: [&str; 5] = ["calendar", "orders", "product", "stock", "store"];

fn contract(name: &str) -> String {
    format!(
        "description = \"{name} of a test\"\nentity = [\"id\"]\n\
         files = {{ path = \"shop\", format = \"csv\", date = \"{name}_%Y%m%d.csv\", set = \"shop\" }}\n\
         [fields]\nid = {{ type = \"int\", required = true }}\nname = {{ type = \"string\", required = true }}\n"
    )
}

async fn world() -> World {
    let contracts: Vec<(&str, String)> = MEMBERS.iter().map(|name| (*name, contract(name))).collect();
    let contracts: Vec<(&str, &str)> = contracts.iter().map(|(name, text)| (*name, text.as_str())).collect();
    World { project: project(&contracts), ..World::new().await }
}

/// Content of a member's file of January `day` 2024: rows of its own, and one row that all days have.
fn content(member: &str, day: u32) -> String {
    format!("id,name\n{day}0,{member} of {day}\n{day}1,\"two\nlines\"\n7,always\n")
}

fn name(member: &str, day: u32) -> String {
    format!("{member}_202401{day:02}.csv")
}

/// Writes the files of a day below the folder `in`.
fn deliver(world: &World, day: u32) {
    for member in MEMBERS {
        world.write(&format!("in/{}", name(member, day)), content(member, day));
    }
}

async fn load(world: &World, options: IngestOptions) -> SetReport {
    let report = world.ingest(options).await;
    for stream in &report.streams {
        assert_eq!(stream.error, None, "{}", stream.stream);
    }
    set_of(report)
}

fn set_of(report: IngestReport) -> SetReport {
    assert_eq!(report.sets.len(), 1, "{report:?}");
    report.sets.into_iter().next().unwrap()
}

async fn shop(world: &World) -> SetReport {
    load(world, input_options("shop", "in")).await
}

/// What is accepted and what holds up which day, in words.
fn told(report: &SetReport) -> (Vec<String>, Vec<String>) {
    let days = report.accepted.iter().map(|day| day.format("%d").to_string()).collect();
    (days, report.incomplete.iter().map(ToString::to_string).collect())
}

/// The good rows of all members: (member, source, line).
async fn rows(lake: &Lake) -> Vec<(String, String, String)> {
    let mut all = Vec::new();
    for member in MEMBERS {
        let sql = "SELECT _source, CAST(_offset AS VARCHAR) FROM t WHERE _status = 'stored' ORDER BY 1, 2";
        for row in ask(lake, &TableName::bronze(member), sql).await {
            all.push((member.to_owned(), row[0].clone(), row[1].clone()));
        }
    }
    all
}

/// Asserts that each member has the three rows of each of these days, once.
async fn assert_days(lake: &Lake, days: &[u32], what: &str) {
    let mut expected = Vec::new();
    for member in MEMBERS {
        for day in days {
            for line in ["2", "3", "5"] {
                expected.push((member.to_owned(), format!("files:{}", name(member, *day)), line.to_owned()));
            }
        }
    }
    assert_eq!(rows(lake).await, expected, "{what}");
}

/// Versions of the ledger and of the members' tables.
async fn versions(lake: &Lake) -> BTreeMap<String, i64> {
    let mut versions = BTreeMap::new();
    let tables = MEMBERS.iter().map(|member| TableName::bronze(*member)).chain([TableName::system("landing/shop")]);
    for table in tables {
        if let Some(found) = lake.open_table(&table).await.unwrap() {
            versions.insert(table.to_string(), found.refresh().await.unwrap().version());
        }
    }
    versions
}

#[tokio::test(flavor = "multi_thread")]
async fn days_at_once_or_one_by_one_in_any_order_give_the_same_rows() {
    let once = world().await;
    (1..=4).for_each(|day| deliver(&once, day));
    let report = shop(&once).await;
    assert_eq!(told(&report).0, ["01", "02", "03", "04"]);
    assert_eq!((report.files.seen, report.files.accepted, report.failed()), (20, 20, false));
    assert_days(&once.lake, &[1, 2, 3, 4], "all at once").await;
    let ledger = TableName::system("landing/shop");
    let deliveries = "SELECT CAST(day AS VARCHAR), count(*), count(DISTINCT stream), min(number), min(delivery), \
                      max(delivery) FROM t GROUP BY 1 ORDER BY 1";
    let rows = once.ask(&ledger, deliveries).await;
    assert_eq!(rows[0], ["2024-01-01", "5", "5", "1", "1", "1"]);
    assert_eq!(rows[3], ["2024-01-04", "5", "5", "16", "16", "16"]);
    assert_eq!(versions(&once.lake).await["system.landing/shop"], 1, "made, and one commit for all");

    let before = versions(&once.lake).await;
    let again = shop(&once).await;
    assert_eq!((told(&again), again.files.seen), ((vec![], vec![]), 20));
    assert_eq!(versions(&once.lake).await, before, "a run with nothing to do commits nothing");

    for order in [[1, 2, 3, 4], [3, 1, 4, 2]] {
        let other = world().await;
        for day in order {
            deliver(&other, day);
            assert_eq!(told(&shop(&other).await).0, [format!("{day:02}")]);
        }
        assert_days(&other.lake, &[1, 2, 3, 4], "one by one").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_day_that_lacks_anything_stores_nothing_and_names_it() {
    let header = "id,name\n";
    let cut = content("stock", 2);
    let gz = gzip(content("stock", 2));
    let cases: Vec<(Option<Vec<u8>>, Lack, &str)> = vec![
        (None, Lack::Missing, "stock_20240102.csv is missing"),
        (Some(Vec::new()), Lack::Empty, "stock_20240102.csv is empty"),
        (Some(cut.as_bytes()[..cut.len() - 3].to_vec()), Lack::Unfit, "stock_20240102.csv: the last line is not ended"),
        (Some(b"id,na".to_vec()), Lack::Unfit, "stock_20240102.csv: the last line is not ended"),
        (Some(b"id,name\r\n20,a\r".to_vec()), Lack::Unfit, "stock_20240102.csv: the last line is not ended"),
        (Some(header.into()), Lack::Unfit, "stock_20240102.csv: holds no row"),
        (Some(format!("{header}\n \r\n").into()), Lack::Unfit, "stock_20240102.csv: holds no row"),
        (Some(b"id\n20\n".to_vec()), Lack::Unfit, "stock_20240102.csv: "),
        (Some(gz[..gz.len() - 9].to_vec()), Lack::Unfit, "stock_20240102.csv: gzip data is truncated"),
    ];
    for (bytes, lack, says) in cases {
        let world = world().await;
        (1..=3).for_each(|day| deliver(&world, day));
        let path = world.path("in/stock_20240102.csv");
        match &bytes {
            Some(bytes) => std::fs::write(&path, bytes).unwrap(),
            None => std::fs::remove_file(&path).unwrap(),
        }
        let report = shop(&world).await;
        assert_eq!(told(&report).0, ["01", "03"], "{says}");
        let [incomplete] = &report.incomplete[..] else { panic!("{says}: {report:?}") };
        assert_eq!((incomplete.set.as_str(), incomplete.day.to_string().as_str()), ("shop", "2024-01-02"));
        let [file] = &incomplete.files[..] else { panic!("{says}: {incomplete}") };
        assert_eq!((file.stream.as_str(), file.path.as_str(), file.lack), ("stock", "stock_20240102.csv", lack));
        assert!(incomplete.to_string().starts_with(&format!("the set shop of 2024-01-02 is not complete: {says}")));
        assert_eq!((report.failed(), report.files.waiting), (false, if bytes.is_some() { 5 } else { 4 }), "{says}");
        assert_days(&world.lake, &[1, 3], says).await;

        // It is said again as long as it is so, and costs no commit.
        let before = versions(&world.lake).await;
        assert_eq!(told(&shop(&world).await).1, told(&report).1);
        assert_eq!(versions(&world.lake).await, before, "{says}");

        deliver(&world, 2);
        assert_eq!(told(&shop(&world).await), (vec!["02".to_owned()], vec![]), "{says}");
        assert_days(&world.lake, &[1, 2, 3], says).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_day_that_comes_again_counts_once_and_with_new_content_supersedes() {
    let world = world().await;
    (1..=2).for_each(|day| deliver(&world, day));
    shop(&world).await;
    let bronze = |versions: BTreeMap<String, i64>| -> Vec<_> {
        versions.into_iter().filter(|(table, _)| table.starts_with("bronze")).collect()
    };
    let before = bronze(versions(&world.lake).await);

    // The same content: touched, in another folder, and under names that no pattern knows.
    for member in MEMBERS {
        let file = std::fs::File::options().write(true).open(world.path(&format!("in/{}", name(member, 1)))).unwrap();
        file.set_modified(std::time::SystemTime::now() + Duration::from_secs(60)).unwrap();
        world.write(&format!("in/again/{}", name(member, 1)), content(member, 1));
        world.write(&format!("in/{member}_20240101_copy.csv"), content(member, 1));
        world.write(&format!("in/a copy of {}", name(member, 2)), content(member, 2));
    }
    let report = shop(&world).await;
    assert_eq!((told(&report), report.files.same, report.failed()), ((vec![], vec![]), 20, false), "{report:?}");
    assert_eq!(bronze(versions(&world.lake).await), before);
    let all = versions(&world.lake).await;
    assert_eq!((shop(&world).await.files.same, versions(&world.lake).await), (0, all), "known from now on");

    // New content: under the old name, and of the same day in another folder.
    world.write("in/orders_20240101.csv", "id,name\n10,corrected\n");
    world.write("in/zz/stock_20240102.csv", "id,name\n20,corrected\n");
    world.write("in/0/store_20240102.csv", "id,name\n20,corrected\n");
    let report = shop(&world).await;
    assert_eq!((told(&report), report.files.accepted), ((vec!["01".to_owned(), "02".to_owned()], vec![]), 3));
    let latest = "SELECT name FROM t WHERE id IN (10, 20) ORDER BY _arrived_at DESC, _partition DESC LIMIT 1";
    for member in ["stock", "store"] {
        assert_eq!(world.ask(&TableName::bronze(member), latest).await, [["corrected"]]);
    }
    // A copy of what was superseded is the latest again.
    world.write("in/zzz/stock_20240102.csv", content("stock", 2));
    assert_eq!(shop(&world).await.files.accepted, 1);
    assert_eq!(world.ask(&TableName::bronze("stock"), latest).await, [["stock of 2"]]);

    // A redelivery that is cut changes nothing, and holds up the others of its day.
    world.write("in/orders_20240102.csv", "id,name\n20,cut");
    world.write("in/product_20240102.csv", "id,name\n20,newer\n");
    let before = bronze(versions(&world.lake).await);
    let report = shop(&world).await;
    assert_eq!(report.incomplete.len(), 1);
    assert_eq!(bronze(versions(&world.lake).await), before);
    world.write("in/orders_20240102.csv", "id,name\n20,whole\n");
    assert_eq!(shop(&world).await.files.accepted, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_content_on_a_later_day_is_later() {
    let world = world().await;
    (1..=4).for_each(|day| deliver(&world, day));
    // A, B, A, A: the rows of 2 January must not outlive those of the 3rd.
    for (day, text) in [(1, "a"), (2, "b"), (3, "a"), (4, "a")] {
        world.write(&format!("in/{}", name("product", day)), format!("id,name\n1,{text}\n"));
    }
    let last = std::fs::read(world.path("in/product_20240104.csv")).unwrap();
    std::fs::remove_file(world.path("in/product_20240104.csv")).unwrap();
    shop(&world).await;
    let names = "SELECT name FROM t ORDER BY _arrived_at";
    assert_eq!(world.ask(&TableName::bronze("product"), names).await, [["a"], ["b"], ["a"]]);
    // Of a day before one that has it, the same content adds nothing.
    world.write("in/product_20240104.csv", last);
    (5..=6).for_each(|day| deliver(&world, day));
    world.write("in/product_20240106.csv", "id,name\n1,c\n");
    shop(&world).await;
    for day in [7, 8] {
        deliver(&world, day);
        world.write(&format!("in/{}", name("product", day)), "id,name\n1,d\n");
    }
    std::fs::remove_file(world.path("in/store_20240107.csv")).unwrap();
    assert_eq!(told(&shop(&world).await).0, ["08"]);
    deliver(&world, 7);
    world.write("in/product_20240107.csv", "id,name\n1,d\n");
    let report = shop(&world).await;
    assert_eq!((told(&report).0, report.files.accepted, report.files.same), (vec!["07".to_owned()], 4, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_under_a_strange_name_is_known_once_its_day_is() {
    let world = world().await;
    deliver(&world, 1);
    std::fs::rename(world.path("in/orders_20240101.csv"), world.path("in/orders_copy.csv")).unwrap();
    let report = shop(&world).await;
    assert_eq!((told(&report).1.len(), report.files.refused), (1, 1));
    assert!(report.notes[0].reason.contains("the name is that of no member of the set shop"), "{:?}", report.notes);
    assert_eq!(shop(&world).await.files.still_refused, 1);
    deliver(&world, 1);
    let report = shop(&world).await;
    assert_eq!((told(&report).0.len(), report.files.same, report.files.still_refused), (1, 1, 0));
    assert!(!report.failed());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_row_in_a_complete_file_is_quarantined_and_the_day_stored() {
    let world = world().await;
    deliver(&world, 1);
    world.write("in/orders_20240101.csv", "id,name\nx,bad\n10,good\n");
    let report = world.ingest(input_options("shop", "in")).await;
    let orders = report.streams.iter().find(|stream| stream.stream == "orders").unwrap();
    assert_eq!((orders.counts.stored, orders.counts.quarantined, report.failed()), (1, 1, false));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_day_that_is_asked_for_must_be_there_and_later_ones_need_not() {
    let world = world().await;
    deliver(&world, 1);
    deliver(&world, 3);
    std::fs::remove_file(world.path("in/store_20240103.csv")).unwrap();
    let day = |day| IngestOptions { day: chrono::NaiveDate::from_ymd_opt(2024, 1, day), ..input_options("shop", "in") };
    let report = load(&world, day(2)).await;
    assert_eq!((told(&report).0, report.incomplete.len()), (vec!["01".to_owned()], 1));
    assert_eq!((report.incomplete[0].day.to_string().as_str(), report.incomplete[0].files.len()), ("2024-01-02", 5));
    assert_eq!(told(&load(&world, day(1)).await), (vec![], vec![]), "it is there; the 3rd is not due");
    assert_eq!(load(&world, day(3)).await.incomplete[0].files[0].path, "store_20240103.csv");
    // What was loaded may be moved away.
    std::fs::remove_dir_all(world.path("in")).unwrap();
    std::fs::create_dir(world.path("in")).unwrap();
    assert_eq!(told(&load(&world, day(1)).await), (vec![], vec![]));

    let configured = IngestOptions { inputs: Vec::new(), ..day(1) };
    assert_eq!(told(&load(&world, configured).await), (vec![], vec![]), "there is no folder `shop`");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_asked_for_is_refused() {
    let world = world().await;
    let refused = async |options: IngestOptions| -> IngestError {
        let run = ingest::run(world.env(), options, CancellationToken::new(), Arc::new(Silent));
        run.await.expect_err("it is refused")
    };
    let member = refused(input_options("orders", "in")).await;
    assert!(member.is_usage() && member.to_string().contains("shop, the landing set"), "{member}");
    let unknown = refused(input_options("shpo", "in")).await;
    assert_eq!(unknown.to_string(), "no stream \"shpo\"; the project has shop");
    let plain = World::new().await;
    let day = IngestOptions { day: chrono::NaiveDate::from_ymd_opt(2024, 1, 1), ..IngestOptions::default() };
    let run = ingest::run(plain.env(), day, CancellationToken::new(), Arc::new(Silent));
    let error = run.await.expect_err("there is no set");
    assert!(error.is_usage() && error.to_string().contains("a landing set"), "{error}");
    // A folder that is not there: an error where it was named, nothing to do where it was not.
    let report = world.ingest(input_options("shop", "nowhere")).await;
    assert!(report.broke() && report.sets[0].error.as_deref().is_some_and(|e| e.contains("nowhere")), "{report:?}");
    assert!(world.ingest(IngestOptions::default()).await.sets.is_empty());
}

fn lake(store: Arc<FaultyStore>) -> Lake {
    Lake::with_store(store, LakeOptions::default())
}

fn healthy(memory: &Arc<InMemory>) -> Lake {
    lake(FaultyStore::new(Arc::clone(memory), Fault::None))
}

/// One run over the landing folder `in`, on this lake.
async fn load_on(world: &World, lake: Lake) -> IngestReport {
    let flush = FlushPolicy { rows: 1, ..FlushPolicy::default() };
    let options = IngestOptions { flush, ..input_options("shop", "in") };
    run(IngestEnv { lake, ..world.env() }, options).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_dies_at_any_write_is_resumed_with_all_five() {
    let world = world().await;
    deliver(&world, 1);
    deliver(&world, 2);
    let counting = FaultyStore::new(Arc::new(InMemory::new()), Fault::None);
    assert_eq!(load_on(&world, lake(Arc::clone(&counting))).await.counts().stored, 30);
    let writes = counting.writes();
    assert!(writes >= 20, "a data file and a commit for the ledger and for each table: {writes}");
    let faults = (1..=writes).flat_map(|n| [Fault::DieBefore(n), Fault::DieAfter(n), Fault::LoseAnswer(n)]);
    // All at once: the store waits a while before it gives up on each.
    futures::future::join_all(faults.map(|fault| die_and_resume(&world, fault))).await;
}

async fn die_and_resume(world: &World, fault: Fault) {
    let memory = Arc::new(InMemory::new());
    load_on(world, lake(FaultyStore::new(Arc::clone(&memory), fault))).await;
    let resumed = load_on(world, healthy(&memory)).await;
    assert!(!resumed.failed() && resumed.incomplete().next().is_none(), "{fault:?}: {resumed:?}");
    assert_days(&healthy(&memory), &[1, 2], &format!("{fault:?}")).await;
    let before = versions(&healthy(&memory)).await;
    load_on(world, healthy(&memory)).await;
    assert_eq!(versions(&healthy(&memory)).await, before, "{fault:?}");
}

/// The store of a run that died when the ledger had its rows, and `loaded` of the five tables theirs, `store` not among them.
async fn died_behind_the_ledger(world: &World, loaded: usize) -> Arc<InMemory> {
    // The members load side by side: which are first is another thing each time.
    for n in (1..100).cycle().take(1_000) {
        let memory = Arc::new(InMemory::new());
        load_on(world, lake(FaultyStore::new(Arc::clone(&memory), Fault::DieAfter(n)))).await;
        let lake = healthy(&memory);
        let noted = number(&lake, &TableName::system("landing/shop"), "SELECT count(*) FROM t").await;
        let mut with_rows = 0;
        for member in MEMBERS {
            with_rows += usize::from(number(&lake, &TableName::bronze(member), "SELECT count(*) FROM t").await > 0);
        }
        let has_store = number(&lake, &TableName::bronze("store"), "SELECT count(*) FROM t").await > 0;
        if noted > 0 && with_rows == loaded && !has_store {
            return memory;
        }
    }
    panic!("no such moment");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delivery_that_goes_before_it_is_loaded_is_taken_back_as_a_whole() {
    let world = world().await;
    deliver(&world, 1);
    let memory = died_behind_the_ledger(&world, 0).await;
    let store = std::fs::read(world.path("in/store_20240101.csv")).unwrap();
    std::fs::remove_file(world.path("in/store_20240101.csv")).unwrap();
    let report = load_on(&world, healthy(&memory)).await;
    let set = &report.sets[0];
    assert_eq!((set.files.gone, told(set).1.len(), set.accepted.len()), (5, 1, 0), "{set:?}");
    assert!(rows(&healthy(&memory)).await.is_empty(), "not four of five");
    world.write("in/store_20240101.csv", store);
    load_on(&world, healthy(&memory)).await;
    assert_days(&healthy(&memory), &[1], "delivered again").await;

    // What is loaded stays, and the day is not complete before the rest is there again.
    let memory = died_behind_the_ledger(&world, 2).await;
    world.write("in/store_20240101.csv", "id,name\n10,changed\n");
    let report = load_on(&world, healthy(&memory)).await;
    assert_eq!((report.sets[0].files.gone, report.sets[0].accepted.len()), (1, 1), "{report:?}");
    let store = number(&healthy(&memory), &TableName::bronze("store"), "SELECT count(*) FROM t").await;
    assert_eq!((rows(&healthy(&memory)).await.len(), store), (4 * 3 + 1, 1));
    assert!(!load_on(&world, healthy(&memory)).await.failed());
}

#[tokio::test(flavor = "multi_thread")]
async fn two_runs_at_once_store_each_day_once() {
    let world = world().await;
    (1..=20).for_each(|day| deliver(&world, day));
    let days: Vec<u32> = (1..=20).collect();
    let (a, b) = tokio::join!(world.ingest(input_options("shop", "in")), world.ingest(input_options("shop", "in")));
    assert!(!a.failed() && !b.failed(), "{a:?} {b:?}");
    assert_eq!(
        (a.counts().stored + b.counts().stored, a.sets[0].files.accepted + b.sets[0].files.accepted),
        (300, 100)
    );
    assert_days(&world.lake, &days, "with a lock").await;

    let memory = Arc::new(InMemory::new());
    let (a, b) = tokio::join!(load_on(&world, healthy(&memory)), load_on(&world, healthy(&memory)));
    assert!(!a.failed() && !b.failed(), "{a:?} {b:?}");
    assert_eq!(a.counts().stored + b.counts().stored, 300);
    assert_days(&healthy(&memory), &days, "without a lock").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_follows_waits_for_the_last_file_of_a_day() {
    let world = world().await;
    world.write(&format!("in/{}", name("orders", 1)), content("orders", 1));
    let cancel = CancellationToken::new();
    let options = IngestOptions {
        mode: Mode::Follow,
        settle: Duration::from_millis(30),
        look_every: Duration::from_millis(10),
        ..input_options("shop", "in")
    };
    let running = tokio::spawn(ingest::run(world.env(), options, cancel.clone(), Arc::new(Silent)));
    for member in ["calendar", "product", "stock"] {
        tokio::time::sleep(Duration::from_millis(60)).await;
        world.write(&format!("in/{}", name(member, 1)), content(member, 1));
    }
    tokio::time::sleep(Duration::from_millis(150)).await;
    assert!(rows(&world.lake).await.is_empty(), "four of five");
    deliver(&world, 1);
    until("all five", async || rows(&world.lake).await.len() == 15).await;
    cancel.cancel();
    let report = running.await.unwrap().unwrap();
    assert!(!report.failed() && report.incomplete().next().is_none(), "{report:?}");
    assert_days(&world.lake, &[1], "followed").await;
}
