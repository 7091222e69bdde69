//! Landing files that are not as they should be: each a clear message or quarantined rows, and nothing by halves.

use ingest::FileOutcome;
use schema::TableName;

use crate::world::{World, events, gzip};

/// The outcome and reason of the one file that a run has to speak of.
async fn one_note(world: &World, stream: &str, input: &str) -> (FileOutcome, String) {
    let report = world.load(stream, input).await;
    assert_eq!(report.notes.len(), 1, "{:?}", report.notes);
    (report.notes[0].outcome, report.notes[0].reason.clone())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_truncated_archive_gives_nothing_and_the_others_go_on() {
    let world = World::new().await;
    let whole = gzip(events(0, 5_000));
    world.write("in/broken.ndjson.gz", &whole[..whole.len() - 20]);
    let frames = zstd::encode_all(events(0, 5_000).as_bytes(), 1).unwrap();
    world.write("in/broken.ndjson.zst", &frames[..frames.len() / 2]);
    world.write("in/no.ndjson.gz", "this is no archive\n");
    world.write("in/good.ndjson", events(0, 10));
    let report = world.load("events", "in").await;
    assert!(report.failed());
    assert_eq!((report.files.refused, report.files.accepted, report.counts.stored), (3, 1, 10));
    let reasons: Vec<_> = report.notes.iter().map(|n| (n.path.as_str(), n.reason.as_str())).collect();
    assert_eq!(
        reasons[..2],
        [("broken.ndjson.gz", "gzip data is truncated"), ("broken.ndjson.zst", "zstd data is truncated"),]
    );
    assert!(reasons[2].1.starts_with("is not gzip data"), "{reasons:?}");
    assert!(world.rows("events").await.iter().all(|row| row.source == "files:good.ndjson"));

    // It is not read again until it changes; then it is loaded.
    let before = world.versions().await;
    let again = world.load("events", "in").await;
    assert_eq!((again.files.still_refused, again.files.refused, again.failed()), (3, 0, false));
    assert_eq!(world.versions().await, before);
    world.write("in/broken.ndjson.gz", &whole);
    assert_eq!(world.load("events", "in").await.counts.stored, 5_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_cannot_be_a_csv_of_the_stream_are_refused_with_the_reason() {
    for (content, part) in
        [("name\nx\n", "id"), ("id,name,id\n1,a,2\n", "twice"), ("id,name\n1,a", "the last line is not ended")]
    {
        let world = World::new().await;
        world.write("rows/x.csv", content);
        let (outcome, reason) = one_note(&world, "rows", "rows").await;
        assert_eq!(outcome, FileOutcome::Refused, "{content:?}");
        assert!(reason.contains(part), "{content:?}: {reason}");
        assert!(world.rows("rows").await.is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_file_is_noted_and_looked_at_again_when_it_is_filled() {
    let world = World::new().await;
    world.write("in/a.ndjson", "");
    world.write("in/b.ndjson.gz", gzip(""));
    let report = world.load("events", "in").await;
    assert_eq!((report.files.empty, report.failed(), report.commits), (2, false, 0));
    assert_eq!(report.notes[0].reason, "is empty");
    let ledger = TableName::system("landing/events");
    assert_eq!(
        world.ask(&ledger, "SELECT status, reason FROM t").await,
        [["empty", "is empty"], ["empty", "is empty"]]
    );
    world.write("in/a.ndjson", events(0, 3));
    assert_eq!(world.load("events", "in").await.counts.stored, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_file_is_named() {
    let world = World::new().await;
    world.write("in/sub.csv/x.csv", "id,name\n1,a\n");
    world.write("in/y.csv", "id,name\n2,b\n");
    let (outcome, reason) = one_note(&world, "rows", "in").await;
    assert_eq!((outcome, reason.as_str()), (FileOutcome::Refused, "is a folder that is named like a file"));
    assert_eq!(world.rows("rows").await.len(), 1, "the file beside it is loaded");

    let report = world.load("rows", "in/sub.csv").await;
    let error = report.error.expect("a folder is no file");
    assert!(error.starts_with("input in/sub.csv of stream rows: is a folder that is named like a file"), "{error}");
    let error = world.load("rows", "nowhere.csv").await.error.expect("nothing there");
    assert_eq!(error, "input nowhere.csv of stream rows: there is no such file or folder");
}

#[tokio::test(flavor = "multi_thread")]
async fn unfinished_and_hidden_names_are_left_alone() {
    let world = World::new().await;
    for name in ["in/a.ndjson.tmp", "in/b.part", "in/.c.ndjson"] {
        world.write(name, events(0, 1));
    }
    let report = world.load("events", "in").await;
    assert_eq!((report.files.seen, report.commits, report.failed()), (0, 0, false));
    assert!(world.versions().await.is_empty(), "nothing was made");
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread")]
async fn a_file_without_permission_is_named_and_tried_again() {
    use std::os::unix::fs::PermissionsExt;
    let world = World::new().await;
    world.write("in/a.ndjson", events(0, 4));
    let set =
        |mode| std::fs::set_permissions(world.path("in/a.ndjson"), std::fs::Permissions::from_mode(mode)).unwrap();
    set(0o000);
    if std::fs::File::open(world.path("in/a.ndjson")).is_ok() {
        println!("skipped: permissions: this user may read everything");
        set(0o644);
        return;
    }
    let (outcome, reason) = one_note(&world, "events", "in").await;
    assert_eq!((outcome, reason.as_str()), (FileOutcome::Refused, "permission denied"));
    let before = world.versions().await;
    assert_eq!(world.load("events", "in").await.files.still_refused, 1);
    assert_eq!(world.versions().await, before, "the same refusal is not noted twice");
    set(0o644);
    assert_eq!(world.load("events", "in").await.counts.stored, 4, "its modification time did not change");
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_records_are_rows_of_the_same_commit() {
    let world = World::new().await;
    let deep = format!("{{\"id\":1,\"x\":{}{}}}", "[".repeat(5_000), "]".repeat(5_000));
    let digits = |n: usize| format!("{{\"id\":1,\"amount\":{}}}", "9".repeat(n));
    let bad: Vec<Vec<u8>> = vec![
        b"{\"id\":1,\"name\":\"\xff\xfe\"}".to_vec(),
        b"{\"id\":1,\"name\":\"\0\"}".to_vec(),
        b"\0\0\0".to_vec(),
        deep.into_bytes(),
        digits(260).into_bytes(),
        digits(400).into_bytes(),
        b"{\"id\":1,\"id\":1}".to_vec(),
        b"{\"id\":1.5}".to_vec(),
        b"{\"id\":1,\"amount\":1.005}".to_vec(),
        b"{\"id\":1,\"amount\":-1}".to_vec(),
        b"{\"name\":\"no id\"}".to_vec(),
        b"{\"id\":1 \"name\":\"x\"}".to_vec(),
        b"{\"id\":1}{\"id\":2}".to_vec(),
        b"[1,2]".to_vec(),
        Vec::new(),
    ];
    let mut file = events(0, 3).into_bytes();
    for record in &bad {
        file.extend_from_slice(record);
        file.push(b'\n');
    }
    world.write("in/a.ndjson", &file);
    let report = world.load("events", "in").await;
    assert_eq!((report.counts.stored, report.counts.quarantined, report.commits), (3, bad.len() as u64, 1));
    let rows = world.rows("events").await;
    for (i, row) in rows.iter().enumerate() {
        assert_eq!(row.offset, i as i64 + 1);
        assert_eq!((row.status == "stored", row.error.is_empty()), (i < 3, i < 3), "{row:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_over_the_limit_keeps_its_start() {
    let mut world = World::new().await;
    world.project = crate::world::project(&[("events", &format!("max_record = \"1MiB\"\n{}", crate::world::EVENTS))]);
    let long = format!("{{\"id\":7,\"name\":\"{}\"}}\n", "x".repeat(3 << 20));
    world.write("in/a.ndjson", format!("{}{long}{}", events(0, 1), events(1, 1)));
    let report = world.load("events", "in").await;
    assert_eq!((report.counts.stored, report.counts.quarantined), (2, 1), "{report:?}");
    let rows = world
        .ask(
            &TableName::bronze("events"),
            "SELECT octet_length(CAST(_raw AS VARCHAR)), _error FROM t WHERE _error IS NOT NULL",
        )
        .await;
    assert_eq!(rows[0][0], "65536");
    assert!(rows[0][1].contains(&(long.len() - 1).to_string()), "{}", rows[0][1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn csv_dialects_are_read() {
    let world = World::new().await;
    world.write("rows/bom.csv", "\u{feff}id,name\r\n1,a\r\n");
    world.write("rows/semi.csv", "id;name\n2;b\n");
    world.write("rows/quotes.csv", "id,name\n3,5\" pipe\n4,\"two\nlines\"\n");
    world.write("rows/header.csv", "id,name\n");
    let report = world.load("rows", "rows").await;
    assert_eq!((report.files.accepted, report.counts.stored, report.counts.quarantined), (4, 4, 0));
    let rows = world.ask(&TableName::bronze("rows"), "SELECT id, name FROM t ORDER BY id").await;
    assert_eq!(rows, [["1", "a"], ["2", "b"], ["3", "5\" pipe"], ["4", "two\nlines"]]);
}
