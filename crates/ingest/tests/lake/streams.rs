//! What concerns all sources: the simulator, the stop rule, contracts that change, run records.

use ingest::{FlushPolicy, IngestOptions};
use schema::TableName;
use sim::{Rows, SimConfig, Simulation, Stream};

use crate::world::{EVENTS, World, ask, events, input_options, number, project, shipped};

fn simulated(rows: u64) -> SimConfig {
    let rows = Rows { pos_sales: rows, invoices: rows / 2, sales_transactions: rows / 2, ..Rows::default() };
    SimConfig { rows, ..SimConfig::default() }
}

fn options(config: &SimConfig, commit_rows: u64) -> IngestOptions {
    let flush = FlushPolicy { rows: commit_rows, ..FlushPolicy::default() };
    IngestOptions { simulator: Some(config.clone()), flush, ..IngestOptions::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_simulation_is_stored_once_with_the_counts_of_its_truth() {
    let world = World { project: shipped(), ..World::new().await };
    let config = simulated(20_000);
    let report = world.ingest(options(&config, 5_000)).await;
    assert!(!report.failed(), "{report:?}");
    assert_eq!(report.streams.len(), 3);
    let simulation = Simulation::new(config.clone()).unwrap();
    for stream in &report.streams {
        let mut made = simulation.events(stream.stream.parse::<Stream>().unwrap());
        let count = made.by_ref().count() as u64;
        let counts = made.counts();
        assert_eq!((stream.counts.delivered, stream.counts.quarantined), (count, counts.quarantined), "{stream:?}");
        assert_eq!(stream.counts.stored, counts.events - counts.quarantined);
        let offsets = "SELECT count(*) FROM (SELECT _partition, max(_offset) + 1 - count(*) AS holes FROM t \
                       GROUP BY _partition) WHERE holes <> 0";
        assert_eq!(number(&world.lake, &TableName::bronze(&stream.stream), offsets).await, 0);
    }
    let before = world.versions().await;
    let again = world.ingest(options(&config, 5_000)).await;
    assert_eq!((again.counts().delivered, world.versions().await), (0, before));
}

#[tokio::test(flavor = "multi_thread")]
async fn two_simulators_on_one_lake_store_each_event_once() {
    let world = World { project: shipped(), ..World::new().await };
    let config = simulated(10_000);
    let (a, b) = tokio::join!(world.ingest(options(&config, 500)), world.ingest(options(&config, 700)));
    assert!(!a.failed() && !b.failed(), "{a:?} {b:?}");
    let simulation = Simulation::new(config).unwrap();
    for stream in [Stream::PosSales, Stream::Invoices, Stream::SalesTransactions] {
        let table = TableName::bronze(stream.name());
        let rows =
            ask(&world.lake, &table, "SELECT count(*), count(DISTINCT _partition * 1000000 + _offset) FROM t").await;
        let made = simulation.events(stream).count().to_string();
        assert_eq!(rows, [[made.clone(), made]], "{stream}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_is_mostly_bad_is_stopped_and_nothing_of_it_is_consumed() {
    let mut world = World::new().await;
    let stop = "stop = { max_bad_ratio = 0.5, min_records = 10 }";
    world.project = project(&[("events", &format!("{stop}\n{EVENTS}"))]);
    world.write("in/a.ndjson", format!("{}{}", events(0, 5), "oops\n".repeat(30)));
    let report = world.load("events", "in").await;
    let error = report.error.as_deref().unwrap_or_default();
    assert!(error.starts_with("stream events stopped: 30 of the last 35 records are bad"), "{report:?}");
    assert_eq!((report.commits, world.rows("events").await.len()), (0, 0));
    // With a contract that allows it, the same file is loaded: it was not consumed.
    world.project = project(&[("events", EVENTS)]);
    assert_eq!(world.load("events", "in").await.counts.quarantined, 30);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_field_added_to_a_contract_is_a_new_column_and_a_changed_one_is_refused() {
    let mut world = World::new().await;
    world.write("in/a.ndjson", events(0, 3));
    world.load("events", "in").await;
    let grown = format!("{EVENTS}colour = {{ type = \"string\", description = \"of the thing\" }}\n");
    world.project = project(&[("events", &grown)]);
    world.write("in/b.ndjson", "{\"id\":3,\"colour\":\"red\"}\n");
    assert_eq!(world.load("events", "in").await.counts.stored, 1);
    let rows = world.ask(&TableName::bronze("events"), "SELECT id, colour FROM t ORDER BY id").await;
    assert_eq!(rows, [["0", ""], ["1", ""], ["2", ""], ["3", "red"]]);
    let table = world.lake.table(&TableName::bronze("events")).await.unwrap();
    assert_eq!(table.snapshot().meta().comments["colour"], "of the thing");

    world.project = project(&[("events", &EVENTS.replace("id = { type = \"int\"", "id = { type = \"string\""))]);
    world.write("in/c.ndjson", "{\"id\":\"x\"}\n");
    let before = world.versions().await;
    let error = world.load("events", "in").await.error.expect("another type");
    assert!(error.starts_with("bronze.events does not fit its contract: "), "{error}");
    assert!(error.contains("id"), "{error}");
    assert_eq!(world.versions().await["bronze.events"], before["bronze.events"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_run_leaves_a_record_and_an_idle_one_nothing_else() {
    let world = World::new().await;
    world.write("in/a.ndjson", format!("{}bad\n", events(0, 3)));
    let first = world.ingest(input_options("events", "in")).await;
    let second = world.ingest(input_options("events", "in")).await;
    for (report, delivered, quarantined) in [(&first, 4, 1), (&second, 0, 0)] {
        let text = std::fs::read_to_string(world.path(&format!("lake/_smelt/runs/{}.json", report.run))).unwrap();
        let record: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(record["streams"][0]["counts"]["delivered"], delivered, "{text}");
        assert_eq!(record["streams"][0]["counts"]["quarantined"], quarantined);
        assert_eq!((&record["command"], &record["failed"]), (&"ingest".into(), &false.into()));
    }
    let commit =
        std::fs::read_to_string(world.path("lake/bronze/events/_delta_log/00000000000000000001.json")).unwrap();
    let info = commit.lines().find(|line| line.contains("commitInfo")).expect("commit info");
    let info: serde_json::Value = serde_json::from_str(info).unwrap();
    assert_eq!(info["commitInfo"]["delivered"], 4, "{info}");
    assert_eq!(info["commitInfo"]["inputs"]["files:events"]["quarantined"], 1, "{info}");
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_without_a_source_are_named() {
    let world = World::new().await;
    let run = |streams: &[&str]| {
        let options =
            IngestOptions { streams: streams.iter().map(|s| (*s).to_owned()).collect(), ..Default::default() };
        ingest::run(world.env(), options, Default::default(), std::sync::Arc::new(ingest::Silent))
    };
    let error = run(&["evnts"]).await.expect_err("no such stream");
    assert_eq!(error.to_string(), "no stream \"evnts\"; the project has events, rows");
    assert!(error.is_usage());
    let nothing = run(&[]).await.unwrap();
    assert_eq!((nothing.streams.len(), nothing.failed()), (0, false), "no landing folder, no broker");
    let missing = run(&["events"]).await.unwrap();
    assert_eq!(
        missing.streams[0].error.as_deref(),
        Some("input landing of stream events: there is no such file or folder")
    );
}
