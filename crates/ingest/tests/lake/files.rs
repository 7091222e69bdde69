//! Landing files that are as they should be: counts, ledger, order, repetition, follow mode.

use std::sync::Arc;
use std::time::{Duration, Instant};

use ingest::{FileOutcome, IngestOptions, Mode, Silent};
use schema::TableName;
use tokio_util::sync::CancellationToken;

use crate::world::{World, assert_each_once, events, gzip, input_options, shared, shipped};

#[tokio::test(flavor = "multi_thread")]
async fn the_real_till_files_give_every_row_once_and_say_what_is_wrong_with_the_bad_ones() {
    let Some(folder) = shared("real/pos") else { return };
    let world = World { project: shipped(), ..World::new().await };
    let input = folder.to_string_lossy().into_owned();
    let report = world.load("pos_sales", &input).await;
    assert_eq!((report.error.as_deref(), report.files.refused, report.commits), (None, 0, 1));
    assert_eq!(report.files.accepted, std::fs::read_dir(&folder).unwrap().count() as u64);
    let mut lines = 0;
    for entry in std::fs::read_dir(&folder).unwrap() {
        let mut text = Vec::new();
        let file = std::fs::File::open(entry.unwrap().path()).unwrap();
        std::io::Read::read_to_end(&mut flate2::read::MultiGzDecoder::new(file), &mut text).unwrap();
        lines += text.iter().filter(|b| **b == b'\n').count() as u64 - 1;
    }
    assert_eq!(report.counts.delivered, lines, "each line but the headers is a record");
    let reasons = world
        .ask(
            &TableName::bronze("pos_sales"),
            "SELECT _error, count(*), count(_raw) FROM t WHERE _status = 'quarantined' GROUP BY 1 ORDER BY 2 DESC",
        )
        .await;
    assert!(reasons.len() >= 2, "blank rows and repeated headers: {reasons:?}");
    assert!(reasons.iter().all(|reason| !reason[0].is_empty() && reason[1] == reason[2]), "{reasons:?}");
    let before = world.versions().await;
    let again = world.load("pos_sales", &input).await;
    assert_eq!((again.counts.delivered, again.commits, world.versions().await), (0, 0, before));
}

#[tokio::test(flavor = "multi_thread")]
async fn files_one_at_a_time_in_any_order_give_the_same_rows_as_all_at_once() {
    let names = ["d.ndjson", "b.ndjson.gz", "a.jsonl", "c.ndjson.zst", "e.json"];
    let content = |i: usize| events(i * 100, 100 - i);
    let write = |world: &World, i: usize| {
        let text = content(i);
        match names[i].rsplit('.').next() {
            Some("gz") => world.write(&format!("in/{}", names[i]), gzip(text)),
            Some("zst") => world.write(&format!("in/{}", names[i]), zstd::encode_all(text.as_bytes(), 1).unwrap()),
            _ => world.write(&format!("in/{}", names[i]), text),
        }
    };
    let (once, shuffled) = (World::new().await, World::new().await);
    (0..names.len()).for_each(|i| write(&once, i));
    assert_eq!(once.load("events", "in").await.commits, 1, "small files share a commit");
    for i in [3, 0, 4, 1, 2] {
        write(&shuffled, i);
        let report = shuffled.load("events", "in").await;
        assert_eq!((report.files.accepted, report.commits), (1, 1));
    }
    let places = |rows: Vec<crate::world::Row>| {
        rows.into_iter().map(|row| (row.source, row.offset, row.status)).collect::<Vec<_>>()
    };
    assert_eq!(places(once.rows("events").await), places(shuffled.rows("events").await));
    assert_eq!(once.rows("events").await.len(), 490);
}

#[tokio::test(flavor = "multi_thread")]
async fn content_decides_what_is_new() {
    let world = World::new().await;
    world.write("in/a.ndjson", events(0, 10));
    assert_eq!(world.load("events", "in").await.counts.stored, 10);

    // The same content under another name is noted and adds nothing.
    world.write("in/b.ndjson", events(0, 10));
    let same = world.load("events", "in").await;
    assert_eq!((same.files.same, same.files.accepted, same.commits, same.failed()), (1, 0, 0, false));
    assert_eq!(same.notes[0].reason, "same content as number 1");

    // New content under an old name is a new version.
    world.write("in/a.ndjson", events(0, 11));
    let newer = world.load("events", "in").await;
    assert_eq!((newer.files.accepted, newer.counts.stored), (1, 11));
    let ledger = TableName::system("landing/events");
    let rows = world.ask(&ledger, "SELECT number, path, status, same_as, supersedes FROM t ORDER BY number").await;
    let row = |cells: [&str; 5]| cells.map(str::to_owned).to_vec();
    assert_eq!(
        rows,
        [
            row(["1", "a.ndjson", "accepted", "", ""]),
            row(["2", "b.ndjson", "same", "1", ""]),
            row(["3", "a.ndjson", "accepted", "", "1"])
        ]
    );

    // A touched file is read again, found the same, and adds nothing.
    let file = std::fs::File::options().write(true).open(world.path("in/a.ndjson")).unwrap();
    file.set_modified(std::time::SystemTime::now() + Duration::from_secs(60)).unwrap();
    let touched = world.load("events", "in").await;
    assert_eq!((touched.files.same, touched.commits), (1, 0));
    let before = world.versions().await;
    assert_eq!(world.load("events", "in").await.files.same, 0);
    assert_eq!(world.versions().await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_file_is_one_commit_with_every_line() {
    let world = World::new().await;
    let lines = 300_000;
    world.write("in/large.ndjson", events(0, lines));
    let report = world.load("events", "in").await;
    assert_eq!((report.commits, report.counts.stored), (1, lines as u64));
    assert_each_once(&world.lake, "events", lines).await;
    let misplaced =
        "SELECT count(*) FROM t WHERE _offset <> id + 1 OR _partition <> 1 OR _source <> 'files:large.ndjson'";
    assert_eq!(crate::world::number(&world.lake, &TableName::bronze("events"), misplaced).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_run_over_many_small_files_only_lists_them() {
    let files: usize = std::env::var("TEST_MANY_FILES").ok().map_or(3_000, |n| n.parse().unwrap());
    let world = World::new().await;
    for i in 0..files {
        world.write(&format!("in/{}/{i}.ndjson", i % 100), events(i, 1));
    }
    let first = world.load("events", "in").await;
    assert_eq!((first.counts.stored, first.files.accepted), (files as u64, files as u64));
    assert!(first.commits as usize <= 1 + files / 5_000, "{} commits", first.commits);
    assert_each_once(&world.lake, "events", files).await;
    let before = world.versions().await;
    let begun = Instant::now();
    let second = world.load("events", "in").await;
    let took = begun.elapsed();
    println!("{files} files: first run {:.2} s, second {:.3} s", first.seconds, took.as_secs_f64());
    assert_eq!((second.files.seen, second.commits), (files as u64, 0));
    assert_eq!(world.versions().await, before);
    assert!(took < Duration::from_secs(2), "{took:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn follow_mode_takes_files_as_they_settle_and_commits_when_stopped() {
    let world = World::new().await;
    world.write("in/first.ndjson", events(0, 5));
    let options = IngestOptions {
        mode: Mode::Follow,
        settle: Duration::from_millis(20),
        look_every: Duration::from_millis(10),
        ..input_options("events", "in")
    };
    let cancel = CancellationToken::new();
    let running = tokio::spawn(ingest::run(world.env(), options, cancel.clone(), Arc::new(Silent)));
    until("the first file", async || world.rows("events").await.len() == 5).await;
    // A file that is not finished yet is not taken; once its last line is ended it is.
    world.write("in/second.ndjson", events(5, 5).trim_end());
    world.write("in/third.ndjson", events(10, 5));
    until("the third file", async || world.rows("events").await.len() == 10).await;
    world.write("in/second.ndjson", events(5, 5));
    until("the second file", async || world.rows("events").await.len() == 15).await;
    cancel.cancel();
    let report = running.await.unwrap().unwrap();
    assert_eq!(report.counts().stored, 15);
    assert_each_once(&world.lake, "events", 15).await;
    assert!(report.streams[0].files.refused <= 1, "the unfinished look may have been noted");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_runs_at_once_load_each_file_once() {
    let world = World::new().await;
    for i in 0..40 {
        world.write(&format!("in/{i}.ndjson"), events(i * 50, 50));
    }
    let options = || input_options("events", "in");
    let (one, two) = (crate::world::open(&world.path("lake")).await, crate::world::open(&world.path("lake")).await);
    let env = |lake| ingest::IngestEnv { lake, ..world.env() };
    let (a, b) = tokio::join!(crate::world::run(env(one), options()), crate::world::run(env(two), options()));
    assert_eq!(a.counts().stored + b.counts().stored, 2_000, "{a:?} {b:?}");
    assert_each_once(&world.lake, "events", 2_000).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_has_to_wait_too_long_names_the_other() {
    let world = World::new().await;
    world.write("in/a.ndjson", events(0, 1));
    let folder = world.path("lake/_smelt/locks");
    std::fs::create_dir_all(&folder).unwrap();
    let lock = std::fs::File::create(folder.join("ingest-events")).unwrap();
    lock.lock().unwrap();
    std::fs::write(folder.join("ingest-events"), "process 7 since yesterday").unwrap();
    let options = IngestOptions { lock_wait: Duration::from_millis(60), ..input_options("events", "in") };
    let report = world.ingest(options.clone()).await;
    assert_eq!(
        report.streams[0].error.as_deref(),
        Some("another run is loading stream events: process 7 since yesterday")
    );
    lock.unlock().unwrap();
    let report = world.ingest(options).await;
    assert_eq!((report.counts().stored, report.failed()), (1, false));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_date_in_a_name_is_the_arrival() {
    let mut world = World::new().await;
    let text = crate::world::ROWS.replace("format = \"csv\"", "format = \"csv\", date = \"r_%Y%m%d.csv\"");
    world.project = crate::world::project(&[("rows", &text)]);
    world.write("rows/r_20240229.csv", "id,name\n1,a\n");
    world.write("rows/other.csv", "id,name\n2,b\n");
    let report = world.load("rows", "rows").await;
    assert_eq!(report.notes.len(), 1);
    assert_eq!((report.notes[0].outcome, report.notes[0].path.as_str()), (FileOutcome::Refused, "other.csv"));
    let rows = world.ask(&TableName::bronze("rows"), "SELECT id, _arrived_at FROM t").await;
    assert_eq!(rows, [["1", "2024-02-29T00:00:00Z"]]);
}

/// Waits for something that will come, up to a minute.
pub async fn until(what: &str, mut come: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !come().await {
        assert!(Instant::now() < deadline, "waited a minute for {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
