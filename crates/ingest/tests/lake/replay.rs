//! Replay of quarantine: a mended record is stored once, at its own place, whatever happens on the way.

use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use ingest::replay::{ReplayReport, StreamReplay};
use ingest::{Edits, IngestEnv, IngestError, Mend, ReplayOptions};
use object_store::memory::InMemory;
use schema::{Project, TableName};
use session::{QuarantineFilter, SessionFactory, SessionOptions};
use store::{CompactPolicy, Lake, LakeOptions};
use tokio_util::sync::CancellationToken;

use crate::faulty::{Fault, FaultyStore};
use crate::world::{EVENTS, ROWS, World, ask, events, input_options, number, project, run};

/// The events' contract after it was changed: another name for the id, and amounts may be negative.
fn relaxed() -> Arc<Project> {
    let events = EVENTS.replace("required = true", "aliases = [\"nr\"], required = true");
    project(&[("events", &events.replace(", rule = \"amount >= 0\"", "")), ("rows", ROWS)])
}

async fn try_replay(env: IngestEnv, options: ReplayOptions) -> Result<ReplayReport, IngestError> {
    ingest::replay(env, options, CancellationToken::new()).await
}

/// One replay of one stream to its end.
async fn replay(env: IngestEnv, stream: &str, options: ReplayOptions) -> StreamReplay {
    let streams = if options.edits.is_some() { Vec::new() } else { vec![stream.to_owned()] };
    let report = try_replay(env, ReplayOptions { streams, ..options }).await.unwrap();
    let stream = report.streams.into_iter().next().unwrap();
    assert_eq!((stream.selected, &stream.error), (stream.mended + stream.still_bad, &None), "{stream:?}");
    stream
}

fn mends(mends: &[&str]) -> ReplayOptions {
    ReplayOptions { mends: mends.iter().map(|mend| mend.parse::<Mend>().unwrap()).collect(), ..Default::default() }
}

/// What came out: whether mended, the reason, how many.
fn reasons(replayed: &StreamReplay) -> Vec<(bool, &str, u64)> {
    replayed.outcomes.iter().map(|outcome| (outcome.mended, outcome.reason.as_str(), outcome.records)).collect()
}

/// A question over the whole lake.
async fn sql(lake: &Lake, project: &Arc<Project>, sql: &str) -> String {
    let factory = SessionFactory::new(lake.clone(), Arc::clone(project), SessionOptions::default()).unwrap();
    let batches = factory.session().await.unwrap().sql(sql).await.unwrap().collect().await.unwrap();
    let mut csv = Vec::new();
    let mut writer = arrow::csv::WriterBuilder::new().with_header(false).build(&mut csv);
    batches.iter().for_each(|batch| writer.write(batch).unwrap());
    drop(writer);
    String::from_utf8(csv).unwrap()
}

const PLACES: &str = "SELECT _source, _partition, _offset, id, coalesce(_mends, 0) FROM t WHERE _status = 'stored' \
                      ORDER BY 1, 2, 3, 5";

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_contract_lets_records_in_once_at_their_own_place() {
    let mut world = World::new().await;
    let bad = "{\"id\":1,\"amount\":-1}\n{\"nr\":2,\"amount\":2}\nno json\n{\"id\":4,\"amount\":4.005}\n";
    world.write("in/a.ndjson", format!("{}{bad}", events(10, 2)));
    world.load("events", "in").await;
    world.project = relaxed();
    let before = world.versions().await;

    let dry = replay(world.env(), "events", ReplayOptions { dry_run: true, ..Default::default() }).await;
    assert_eq!((dry.selected, dry.mended, dry.still_bad, dry.version), (4, 2, 2, None));
    assert_eq!(world.versions().await, before, "a dry run changes nothing");

    let done = replay(world.env(), "events", ReplayOptions::default()).await;
    assert_eq!((done.selected, done.mended, done.still_bad, done.replay), (4, 2, 2, Some(1)));
    assert_eq!(done.outcomes, dry.outcomes, "what the dry run said comes true");
    let why = reasons(&done);
    assert!(why.contains(&(true, "rule broken: amount >= 0", 1)), "{why:?}");
    assert!(why.contains(&(false, "amount: 4.005 does not fit decimal(18,2)", 1)), "{why:?}");

    let rows = world.ask(&TableName::bronze("events"), PLACES).await;
    let place =
        |line: &str, id: &str, mends: &str| ["files:a.ndjson", "1", line, id, mends].map(str::to_owned).to_vec();
    assert_eq!(rows, [place("1", "10", "0"), place("2", "11", "0"), place("3", "1", "1"), place("4", "2", "1")]);
    let same = "SELECT count(DISTINCT _arrived_at), count(*) FROM t";
    assert_eq!(world.ask(&TableName::bronze("events"), same).await, [["1", "8"]], "nothing is deleted");

    let open = "SELECT _mended, count(*) FROM quarantine.events GROUP BY 1 ORDER BY 1";
    assert_eq!(sql(&world.lake, &world.project, open).await, "false,2\ntrue,2\n");
    assert_eq!(
        sql(&world.lake, &world.project, &open.replace("quarantine.events", "quality.quarantine")).await,
        "false,2\ntrue,2\n"
    );
    let balance = "SELECT sum(delivered), sum(stored), sum(quarantined), sum(mended), sum(rows_stored), \
                   sum(rows_quarantined) FROM quality.commits";
    assert_eq!(sql(&world.lake, &world.project, balance).await, "6,2,4,2,4,4\n");
    let input = "SELECT delivered, mended FROM quality.reconciliation WHERE input = 'replay:events'";
    assert_eq!(sql(&world.lake, &world.project, input).await, "0,2\n");

    let stored = world.versions().await;
    let again = replay(world.env(), "events", ReplayOptions::default()).await;
    assert_eq!((again.selected, again.mended, again.replay), (2, 0, None));
    assert_eq!(world.versions().await, stored, "a replay that mends nothing commits nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn csv_rows_are_read_by_their_own_header_without_their_file() {
    let world = World::new().await;
    world.write("in/a.csv", "name;note;id\na;1;x1\nb;;2\nc;3;\n");
    world.write("in/b.csv", b"id,name\n7,caf\xe9\n8,\"a,b\"\n9x,\"say \"\"hi\"\"\"\n");
    world.load("rows", "in").await;
    std::fs::remove_dir_all(world.path("in")).unwrap();
    let none = replay(world.env(), "rows", ReplayOptions::default()).await;
    assert_eq!((none.selected, none.mended), (4, 0), "{none:?}");

    let text = replay(world.env(), "rows", mends(&["_raw=_raw_latin1"])).await;
    assert_eq!((text.mended, text.still_bad), (1, 3), "{text:?}");
    let numbers = replay(world.env(), "rows", mends(&["id = regexp_replace(_wire['id'], 'x', '')"])).await;
    assert_eq!((numbers.mended, numbers.still_bad), (2, 1), "{numbers:?}");
    assert!(reasons(&numbers).contains(&(false, "id: required, but absent or null", 1)), "{numbers:?}");
    let rows = "SELECT id, name, _rescued, _partition, _offset FROM t WHERE _status = 'stored' ORDER BY 1";
    let rows: Vec<String> = world.ask(&TableName::bronze("rows"), rows).await.iter().map(|row| row.join("|")).collect();
    assert_eq!(rows, ["1|a|{\"note\":\"1\"}|1|2", "2|b||1|3", "7|café||2|2", "8|a,b||2|3", "9|say \"hi\"||2|4"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn expressions_see_the_fields_that_can_be_read() {
    let world = World::new().await;
    let bad = [
        r#"{"id":1,"amount":-1.10}"#,
        r#"{"id":"2","amount":-2,"x":[1]}"#,
        r#"{"id":3,"amount":-3,"amount":-4}"#,
        r#"{"id":4,"amount":1e2,"name":5}"#,
        "no json",
    ];
    world.write("in/a.ndjson", format!("{}\n", bad.join("\n")));
    world.load("events", "in").await;
    let options =
        mends(&["amount=abs(amount)", "id=coalesce(id, CAST(_wire['id'] AS INT))", "name=concat('n', _offset)"]);
    let done = replay(world.env(), "events", options).await;
    assert_eq!((done.mended, done.still_bad), (4, 1), "{done:?}");
    let rows = "SELECT id, amount, name, coalesce(_rescued, '-') FROM t WHERE _status = 'stored' ORDER BY 1";
    let rows: Vec<String> =
        world.ask(&TableName::bronze("events"), rows).await.iter().map(|row| row.join(" ")).collect();
    assert_eq!(rows, ["1 1.10 n1 -", "2 2.00 n2 {\"x\":[1]}", "3 3.00 n3 -", "4 100.00 n4 -"]);

    for (mend, reason) in [
        ("amuont=1", "has no such field; it has id, name, amount"),
        ("amount=abs(amuont)", "did you mean amount?"),
        ("amount=sum(amount)", "a mend sees one"),
        ("amount=make_array(1)", "not a list"),
        ("_raw=1", "the record's new text"),
        ("amount=now()", "depends on the clock"),
    ] {
        let options = ReplayOptions { streams: vec!["events".into()], ..mends(&[mend]) };
        let error = try_replay(world.env(), options).await.unwrap_err();
        assert!(error.is_usage() && error.to_string().contains(reason), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_filter_and_a_limit_pick_open_rows() {
    let world = World::new().await;
    world.write("in/a.ndjson", "{\"id\":1,\"amount\":-1}\n{\"id\":2,\"amount\":-2}\n{\"id\":3}x\n");
    world.load("events", "in").await;
    let picked = |filter| ReplayOptions { filter, ..mends(&["amount=0"]) };
    let by = |reason: &str| QuarantineFilter { reason: Some(reason.into()), ..Default::default() };
    let count = async |options| {
        let options = ReplayOptions { dry_run: true, ..options };
        replay(world.env(), "events", options).await.selected
    };
    assert_eq!(count(picked(by("amount >= 0"))).await, 2);
    assert_eq!(count(picked(by("rule%"))).await, 2);
    assert_eq!(count(picked(by("%rule"))).await, 0);
    let now = chrono::Utc::now();
    let hour = Duration::from_secs(3600);
    assert_eq!(
        count(picked(QuarantineFilter { from: Some(now - hour), until: Some(now + hour), reason: None })).await,
        3
    );
    assert_eq!(count(picked(QuarantineFilter { until: Some(now - hour), ..Default::default() })).await, 0);
    let one = ReplayOptions { limit: Some(1), ..picked(by("rule%")) };
    assert_eq!(replay(world.env(), "events", one).await.mended, 1);
    let rows = "SELECT _offset FROM t WHERE _mends = 1";
    assert_eq!(world.ask(&TableName::bronze("events"), rows).await, [["1"]], "the one that arrived first");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edited_file_names_its_rows_or_changes_nothing() {
    let world = World::new().await;
    world.write("in/a.ndjson", b"{\"id\":1}}\ncaf\xe9 \\\n{\"id\":3,\"amount\":-1}\n");
    world.load("events", "in").await;
    let line = |offset: i32, raw: &str, more: &str| {
        let raw = serde_json::Value::from(raw);
        let place = "\"stream\":\"events\",\"source\":\"files:a.ndjson\",\"partition\":1";
        format!("{{{place},\"offset\":{offset},\"raw\":{raw},\"reason\":\"as shown\"{more}}}\n")
    };
    let edited = |text: &str| {
        let edits = Edits::parse("bad.ndjson", text).unwrap();
        ReplayOptions { edits: Some(Arc::new(edits)), ..Default::default() }
    };
    let first = line(1, "{\"id\":1}", "");
    let before = world.versions().await;
    let error = try_replay(world.env(), edited(&format!("{first}{}", line(9, "{}", "")))).await.unwrap_err();
    assert!(error.is_usage() && error.to_string().starts_with("bad.ndjson:2: no row in quarantine"), "{error}");
    assert_eq!(world.versions().await, before, "bad input changes nothing");

    let all = format!(
        "{first}{}{}",
        line(2, r"{\x22id\x22:2,\x22name\x22:\x22\\\\\x22}", ",\"escaped\":true,\"header\":null"),
        line(3, "3;b", ",\"header\":\"id;name\"")
    );
    let done = replay(world.env(), "events", edited(&all)).await;
    assert_eq!((done.mended, done.still_bad, done.mended_before), (3, 0, 0), "{done:?}");
    let rows = "SELECT id, coalesce(name, '-'), _offset FROM t WHERE _mends = 1 ORDER BY 1";
    let rows: Vec<String> =
        world.ask(&TableName::bronze("events"), rows).await.iter().map(|row| row.join(" ")).collect();
    assert_eq!(rows, ["1 - 1", "2 \\ 2", "3 b 3"]);
    let again = replay(world.env(), "events", edited(&all)).await;
    assert_eq!((again.mended, again.mended_before, again.version), (0, 3, None));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_cut_is_mended_by_hand_only() {
    let mut world = World::new().await;
    let events = EVENTS.replace("entity =", "max_record = \"1KiB\"\nentity =");
    let huge = format!("{{\"id\":1}}{}{{\"id\":2}}\n", " ".repeat(2_000));
    world.project = project(&[("events", &events)]);
    world.write("in/a.ndjson", huge);
    world.load("events", "in").await;
    let done = replay(world.env(), "events", mends(&["_raw=trim(_raw)"])).await;
    assert_eq!((done.mended, done.still_bad), (0, 1));
    assert!(done.outcomes[0].reason.starts_with("only its start was kept"), "{done:?}");
}

fn lake(store: Arc<FaultyStore>) -> Lake {
    Lake::with_store(store, LakeOptions::default())
}

fn healthy(memory: &Arc<InMemory>) -> Lake {
    lake(FaultyStore::new(Arc::clone(memory), Fault::None))
}

/// A lake with ten good and ten bad events, which the relaxed contract lets in.
async fn ten_bad(world: &World) -> Arc<InMemory> {
    let memory = Arc::new(InMemory::new());
    let bad: String = (10..20).map(|id| format!("{{\"nr\":{id},\"amount\":{id}}}\n")).collect();
    world.write("in/a.ndjson", format!("{}{bad}", events(0, 10)));
    let env = IngestEnv { lake: healthy(&memory), ..world.env() };
    assert_eq!(run(env, input_options("events", "in")).await.counts().quarantined, 10);
    memory
}

/// Asserts that all twenty events are stored, each once and at its own place, and that none is open.
async fn assert_all_mended_once(memory: &Arc<InMemory>, project: &Arc<Project>) {
    let lake = healthy(memory);
    let table = TableName::bronze("events");
    let ids = "SELECT count(*), count(DISTINCT id), count(DISTINCT _offset) FROM t WHERE _status = 'stored'";
    assert_eq!(ask(&lake, &table, ids).await, [["20", "20", "20"]]);
    let open = "SELECT count(*) FILTER (WHERE NOT _mended), count(*) FROM quarantine.events";
    assert_eq!(sql(&lake, project, open).await, "0,10\n");
    let balance = "SELECT sum(mended), sum(rows_stored) FROM quality.commits";
    assert_eq!(sql(&lake, project, balance).await, "10,20\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_that_dies_at_any_write_is_repeated_exactly() {
    let mut world = World::new().await;
    let before = ten_bad(&world).await;
    world.project = relaxed();
    let counting = FaultyStore::new(Arc::new(before.fork()), Fault::None);
    let env = IngestEnv { lake: lake(Arc::clone(&counting)), ..world.env() };
    assert_eq!(replay(env, "events", ReplayOptions::default()).await.mended, 10);
    let writes = counting.writes();
    assert!(writes >= 2, "a data file and a commit: {writes}");
    let faults = (1..=writes).flat_map(|n| [Fault::DieBefore(n), Fault::DieAfter(n), Fault::LoseAnswer(n)]);
    let world = &world;
    join_all(faults.map(async |fault| {
        let memory = Arc::new(before.fork());
        let dying = IngestEnv { lake: lake(FaultyStore::new(Arc::clone(&memory), fault)), ..world.env() };
        let _ = try_replay(dying, ReplayOptions { streams: vec!["events".into()], ..Default::default() }).await;
        let env = IngestEnv { lake: healthy(&memory), ..world.env() };
        replay(env, "events", ReplayOptions::default()).await;
        assert_all_mended_once(&memory, &world.project).await;
    }))
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_replays_and_a_stalled_one_mend_each_record_once() {
    let mut world = World::new().await;
    let memory = ten_bad(&world).await;
    world.project = relaxed();
    let env = |lake| IngestEnv { lake, ..world.env() };
    let stalling = FaultyStore::new(Arc::clone(&memory), Fault::StallCommit("bronze/events"));
    let zombie = tokio::spawn(replay(env(lake(Arc::clone(&stalling))), "events", ReplayOptions::default()));
    stalling.reached.notified().await;
    let both = (0..2).map(|_| replay(env(healthy(&memory)), "events", ReplayOptions::default()));
    let mended: u64 = join_all(both).await.iter().map(|replayed| replayed.mended).sum();
    assert_eq!(mended, 10);
    stalling.go_on();
    let zombie = zombie.await.unwrap();
    assert_eq!((zombie.selected, zombie.mended, zombie.conflicts), (0, 0, 1), "{zombie:?}");
    assert_all_mended_once(&memory, &world.project).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn compaction_keeps_who_is_mended() {
    let mut world = World::new().await;
    let memory = ten_bad(&world).await;
    world.project = relaxed();
    let lake = healthy(&memory);
    let env = || IngestEnv { lake: lake.clone(), ..world.env() };
    for limit in [3, 4, 3] {
        replay(env(), "events", ReplayOptions { limit: Some(limit), ..Default::default() }).await;
        let table = lake.table(&TableName::bronze("events")).await.unwrap();
        let policy = CompactPolicy { min_files: 2, ..CompactPolicy::default() };
        assert!(table.compact(&policy).await.unwrap().files_removed > 0);
    }
    assert_all_mended_once(&memory, &world.project).await;
    let files = "SELECT count(*) FROM t WHERE _mends IS NOT NULL AND _status = 'stored'";
    assert_eq!(number(&lake, &TableName::bronze("events"), files).await, 10);
    assert_eq!(replay(env(), "events", ReplayOptions::default()).await.selected, 0);
}
