//! Checkpoints, clean-up of the log, compaction and vacuum.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema};
use object_store::ObjectStoreExt;
use object_store::path::Path;
use store::{
    CleanPolicy, Commit, CompactPolicy, Lake, LakeOptions, Operation, StoreError, Table, TableSpec, VacuumPolicy,
    WriterOptions,
};

use crate::support::*;

const HOUR: i64 = 3_600_000;

/// A lake on disk whose clock the test sets; files get their times from the disk, so the clock starts at the real time.
struct Timed {
    _folder: tempfile::TempDir,
    url: String,
    now: Arc<AtomicI64>,
}

impl Timed {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let url = folder.path().display().to_string();
        Self { _folder: folder, url, now: Arc::new(AtomicI64::new(chrono::Utc::now().timestamp_millis())) }
    }

    async fn lake(&self) -> Lake {
        let now = self.now.clone();
        let clock = move || chrono::DateTime::from_timestamp_millis(now.load(Ordering::SeqCst)).unwrap();
        let options = LakeOptions { sync: false, clock: Arc::new(clock), ..LakeOptions::default() };
        Lake::open(&self.url, options).await.unwrap()
    }

    fn pass(&self, ms: i64) {
        self.now.fetch_add(ms, Ordering::SeqCst);
    }
}

async fn append_each(t: &Table, ids: std::ops::Range<i64>) {
    for id in ids {
        append(t, [id], id + 1).await.unwrap();
    }
}

#[tokio::test]
async fn checkpoints_come_by_themselves_and_grow_apart() {
    let lake = memory_lake();
    let t = table(&lake).await;
    let mut versions = Vec::new();
    for id in 0..330 {
        append(&t, [id % 90], id + 1).await.unwrap();
        lake.settle().await;
        let hint = lake.object_store().get(&Path::from("silver/t/_delta_log/_last_checkpoint")).await;
        if let Ok(hint) = hint {
            let hint: serde_json::Value = serde_json::from_slice(&hint.bytes().await.unwrap()).unwrap();
            versions.push(hint["version"].as_i64().unwrap());
        }
    }
    versions.dedup();
    assert_eq!(versions, [100, 200, 300]);
    let fresh = Lake::with_store(lake.object_store(), LakeOptions::default());
    let again = table(&fresh).await.snapshot();
    assert_eq!((again.version(), again.file_count(), again.txn("in")), (330, 330, Some(330)));
    assert!(again.files().map(|file| &file.path).eq(t.snapshot().files().map(|file| &file.path)));
    assert_eq!(again.rows(), Some(330));
}

#[tokio::test]
async fn an_old_pointer_does_not_hide_the_head() {
    let timed = Timed::new();
    let lake = timed.lake().await;
    let t = table(&lake).await;
    append_each(&t, 0..5).await;
    t.checkpoint().await.unwrap();
    let log = Path::from("silver/t/_delta_log");
    let store = lake.object_store();
    let old = store.get(&log.clone().join("_last_checkpoint")).await.unwrap().bytes().await.unwrap();
    let old_checkpoint = log.clone().join(format!("{:020}.checkpoint.parquet", 5));
    let old_file = store.get(&old_checkpoint).await.unwrap().bytes().await.unwrap();
    append_each(&t, 5..10).await;
    t.checkpoint().await.unwrap();
    append_each(&t, 10..12).await;
    timed.pass(8 * 24 * HOUR);
    let report = t.clean_log(&CleanPolicy::default()).await.unwrap();
    assert_eq!((report.commits, report.checkpoints), (10, 1));
    // A slow process wrote its checkpoint, and the pointer to it, after the clean-up.
    store.put(&old_checkpoint, old_file.into()).await.unwrap();
    store.put(&log.join("_last_checkpoint"), old.into()).await.unwrap();
    let fresh = timed.lake().await;
    assert_eq!(table(&fresh).await.snapshot().version(), 12);
}

#[tokio::test]
async fn a_consumer_that_lags_too_far_is_given_up_and_never_reads_on() {
    let timed = Timed::new();
    let lake = timed.lake().await;
    let t = table(&lake).await;
    append_each(&t, 0..3).await;
    t.checkpoint().await.unwrap();
    append_each(&t, 3..6).await;
    t.checkpoint().await.unwrap();
    timed.pass(10 * 24 * HOUR);
    append_each(&t, 6..8).await;
    let policy = CleanPolicy { consumed: vec![3, 8], near: 2, ..CleanPolicy::default() };
    // Ten days behind: what it needs is kept.
    let report = t.clean_log(&policy).await.unwrap();
    assert_eq!((report.commits, report.gone.as_slice()), (3, &[][..]));
    assert_eq!(ids(t.changes(3, 8).await.unwrap().inserts()).await, [3, 4, 5, 6, 7]);
    // A month behind, but near: nothing but quiet versions may have come.
    timed.pass(21 * 24 * HOUR);
    let near = CleanPolicy { near: 5, ..policy.clone() };
    assert_eq!(t.clean_log(&near).await.unwrap(), Default::default());
    // A month behind: it is given up, and says so also when it is asked again.
    for commits in [3, 0] {
        let report = t.clean_log(&policy).await.unwrap();
        assert_eq!((report.commits, report.gone.as_slice()), (commits, &[3][..]));
    }
    assert!(matches!(t.changes(3, 8).await, Err(StoreError::HistoryGone { from: 3, .. })));
    let keep = VacuumPolicy { keep_versions: vec![8], ..VacuumPolicy::default() };
    t.vacuum(&keep).await.unwrap();
    assert_eq!(ids(table(&timed.lake().await).await.snapshot().provider()).await, [0, 1, 2, 3, 4, 5, 6, 7]);

    // A checkpoint right behind a consumer that was given up is no place to begin: it would find its changes there.
    let policy = CleanPolicy { consumed: vec![7], near: 0, ..CleanPolicy::default() };
    t.checkpoint().await.unwrap();
    timed.pass(31 * 24 * HOUR);
    let report = t.clean_log(&policy).await.unwrap();
    assert_eq!(report.gone, [0; 0]);
    assert_eq!(ids(t.changes(7, 8).await.unwrap().inserts()).await, [7]);
}

#[tokio::test]
async fn clean_up_keeps_what_readers_and_consumers_need() {
    let timed = Timed::new();
    let lake = timed.lake().await;
    let t = table(&lake).await;
    let slow = table(&timed.lake().await).await;
    append_each(&t, 0..3).await;
    // Nothing to start from yet: nothing goes.
    timed.pass(30 * 24 * HOUR);
    assert_eq!(t.clean_log(&CleanPolicy::default()).await.unwrap(), Default::default());
    t.checkpoint().await.unwrap();
    append_each(&t, 3..6).await;
    t.checkpoint().await.unwrap();
    timed.pass(30 * 24 * HOUR);
    // Who stands at version 4 needs it as a whole, not only what came after.
    let needed = |version| CleanPolicy { keep_after: Some(version), ..CleanPolicy::default() };
    let report = t.clean_log(&needed(4)).await.unwrap();
    assert_eq!((report.commits, report.checkpoints), (3, 0));
    let cold = table(&timed.lake().await).await;
    assert_eq!(ids(cold.snapshot_at(4).await.unwrap().provider()).await, [0, 1, 2, 3]);
    assert_eq!(ids(t.changes(4, 6).await.unwrap().inserts()).await, [4, 5]);
    assert!(matches!(t.changes(1, 6).await, Err(StoreError::HistoryGone { from: 1, oldest: Some(2), .. })));
    assert_eq!(ids(t.changes(-1, 6).await.unwrap().inserts()).await, [0, 1, 2, 3, 4, 5]);
    t.clean_log(&CleanPolicy::default()).await.unwrap();

    // A process that slept through all of it neither takes its old head for the head nor commits behind it.
    assert_eq!(slow.snapshot().version(), 0);
    // Its first range was consumed long ago: done, and nothing added.
    assert!(append(&slow, [0], 1).await.unwrap().already);
    assert_eq!(slow.snapshot().version(), 6);
    append(&slow, [6], 7).await.unwrap();
    let fresh = table(&timed.lake().await).await;
    assert_eq!(ids(fresh.snapshot().provider()).await, [0, 1, 2, 3, 4, 5, 6]);
    assert!(matches!(fresh.snapshot_at(2).await, Err(StoreError::NoSuchVersion { .. })));
}

#[tokio::test]
async fn compaction_aims_at_small_files_and_keeps_rows_and_their_order() {
    let timed = Timed::new();
    let lake = timed.lake().await;
    let t = table(&lake).await;
    for id in 0..12 {
        append(&t, [id, 150 - id], id + 1).await.unwrap();
    }
    let report = t.compact(&CompactPolicy::default()).await.unwrap();
    assert_eq!((report.partitions, report.files_removed, report.files_added), (2, 24, 2));
    assert_eq!(t.snapshot().file_count(), 2);
    let order = "SELECT string_agg(CAST(id AS varchar), ' ') FROM t";
    for (day, wanted) in [("1970-01-01", (0..12).collect::<Vec<i64>>()), ("1970-01-02", (139..=150).rev().collect())] {
        let files = t.snapshot().files().filter(|file| file.path.contains(day)).cloned().collect();
        let found = one(t.snapshot().provider_of(files), order).await;
        assert!(found.split(' ').map(|id| id.parse::<i64>().unwrap()).eq(wanted), "{found}");
    }
    // Again there is nothing to do; a few new files are left alone.
    assert_eq!(t.compact(&CompactPolicy::default()).await.unwrap(), Default::default());
    append(&t, [50], 13).await.unwrap();
    assert_eq!(t.compact(&CompactPolicy::default()).await.unwrap().files_removed, 0);
    // The commit is no change for consumers, and new files of the partition still come after the old rows.
    let head = t.snapshot();
    assert!(t.changes(12, 14).await.unwrap().is_empty());
    let files: Vec<_> = head.files().filter(|file| file.path.starts_with("day=1970-01-01")).collect();
    assert_eq!(ids(head.provider_of(vec![files[1].clone()])).await, [50]);
    assert_eq!(head.tombstones().count(), 24);
}

#[tokio::test]
async fn vacuum_removes_only_what_nobody_can_need() {
    let timed = Timed::new();
    let lake = timed.lake().await;
    let t = table(&lake).await;
    append_each(&t, 0..4).await;
    let staged = stage(&t, [50]).await; // never committed
    t.compact(&CompactPolicy::default()).await.unwrap();
    let none = t.vacuum(&VacuumPolicy::default()).await.unwrap();
    assert_eq!((none.removed.len(), none.seen), (0, 6));
    timed.pass(49 * HOUR);
    let keep = VacuumPolicy { tombstones_after: Duration::ZERO, keep_versions: vec![3], ..VacuumPolicy::default() };
    let report = t.vacuum(&keep).await.unwrap();
    assert_eq!(report.removed, [staged.adds[0].path.to_string()]);
    assert_eq!(ids(t.snapshot_at(3).await.unwrap().provider()).await, [0, 1, 2]);

    let all = VacuumPolicy { tombstones_after: Duration::from_secs(24 * 3600), ..VacuumPolicy::default() };
    let dry = t.vacuum(&VacuumPolicy { dry_run: true, ..all.clone() }).await.unwrap();
    assert_eq!(dry.removed.len(), 4);
    assert_eq!(t.vacuum(&all).await.unwrap(), dry);
    assert_eq!(ids(t.snapshot().provider()).await, [0, 1, 2, 3]);
    assert_eq!(t.vacuum(&all).await.unwrap().seen, 1);
}

#[tokio::test]
async fn vacuum_finds_orphans_below_columns_whose_names_begin_with_an_underscore() {
    let timed = Timed::new();
    let lake = timed.lake().await;
    let schema = Arc::new(Schema::new(vec![
        Field::new("_status", DataType::Utf8, false),
        Field::new("id", DataType::Int64, false),
    ]));
    let spec = TableSpec::new(schema.clone()).partitioned_by(["_status"]);
    let t = lake.create_table(&"bronze.t".parse().unwrap(), &spec).await.unwrap();
    let columns: Vec<ArrayRef> = vec![Arc::new(StringArray::from(vec!["ok"])), Arc::new(Int64Array::from(vec![1]))];
    let row = RecordBatch::try_new(schema, columns).unwrap();
    let staged = async || {
        let mut writer = t.writer(WriterOptions::default());
        writer.write(row.clone()).await.unwrap();
        writer.finish().await.unwrap()
    };
    let live = staged().await;
    t.commit(appending(&t, live, 1)).await.unwrap();
    let orphan = staged().await.adds[0].path.to_string();
    assert!(orphan.starts_with("_status=ok/"), "{orphan}");
    timed.pass(47 * HOUR);
    assert_eq!(t.vacuum(&VacuumPolicy::default()).await.unwrap().removed, Vec::<String>::new());
    timed.pass(2 * HOUR);
    assert_eq!(t.vacuum(&VacuumPolicy::default()).await.unwrap().removed, [orphan]);
    assert_eq!(one(t.snapshot().provider(), "SELECT count(*) FROM t").await, "1");
}

#[tokio::test]
async fn change_data_goes_with_its_history() {
    let timed = Timed::new();
    let lake = timed.lake().await;
    let mut wanted = spec();
    wanted.change_data = true;
    let t = lake.create_table(&"silver.t".parse().unwrap(), &wanted).await.unwrap();
    append_each(&t, 0..2).await;
    let mut writer = t.writer(WriterOptions::default());
    writer.write(rows([0, 9])).await.unwrap();
    let changed = rows([1, 9]);
    let mut columns = changed.columns().to_vec();
    columns.push(Arc::new(StringArray::from(vec!["delete", "insert"])));
    let mut fields: Vec<_> = changed.schema().fields().iter().cloned().collect();
    fields.push(Arc::new(Field::new("_change_type", DataType::Utf8, false)));
    let schema = Arc::new(Schema::new(fields));
    writer.write_changes(RecordBatch::try_new(schema, columns).unwrap()).await.unwrap();
    let base = t.snapshot();
    let mut commit = Commit::new(base.clone(), Operation::Merge);
    commit.removes = base.files().cloned().collect();
    commit.stage(writer.finish().await.unwrap());
    t.commit(commit).await.unwrap();
    timed.pass(9 * 24 * HOUR);
    let kept = t.vacuum(&VacuumPolicy { keep_versions: vec![1], ..VacuumPolicy::default() }).await.unwrap();
    assert_eq!(kept.removed, Vec::<String>::new());
    let gone = t.vacuum(&VacuumPolicy::default()).await.unwrap();
    assert_eq!(gone.removed.iter().filter(|path| path.starts_with("_change_data/")).count(), 2);
    assert_eq!(ids(t.snapshot().provider()).await, [0, 9]);
}
