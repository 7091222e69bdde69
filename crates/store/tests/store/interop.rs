//! What another reader of Delta sees: `deltalake-core`'s own log replay, on the same folder.

use std::path::Path;

use deltalake_core::DeltaTable;
use store::{Commit, CompactPolicy, Lake, LakeOptions, Operation};
use url::Url;

use crate::support::*;

/// Version, number of rows by statistics, and the files as another reader finds them, each of which must exist.
async fn other_reader(folder: &Path) -> (u64, i64, usize) {
    let url = Url::from_directory_path(folder).unwrap();
    let mut table = DeltaTable::try_from_url(url).await.unwrap();
    table.load().await.unwrap();
    let snapshot = table.snapshot().unwrap();
    let actions = snapshot.add_actions_table(true).unwrap();
    let rows = actions.column_by_name("num_records").unwrap();
    let rows = arrow::compute::cast(rows, &arrow::datatypes::DataType::Int64).unwrap();
    let rows =
        arrow::compute::sum(arrow::array::AsArray::as_primitive::<arrow::datatypes::Int64Type>(&rows)).unwrap_or(0);
    let files: Vec<String> = table.get_file_uris().unwrap().collect();
    for file in &files {
        let path = file.strip_prefix("file://").unwrap_or(file);
        assert!(Path::new(path).exists(), "{file}");
    }
    (table.version().unwrap(), rows, files.len())
}

#[tokio::test(flavor = "multi_thread")]
async fn deltalake_reads_what_we_write() {
    let folder = tempfile::tempdir().unwrap();
    let url = folder.path().display().to_string();
    let lake = Lake::open(&url, LakeOptions { sync: false, ..LakeOptions::default() }).await.unwrap();
    let t = table(&lake).await;
    let path = folder.path().join("silver/t");

    append(&t, [1, 2, 103], 1).await.unwrap();
    append(&t, [4], 2).await.unwrap();
    assert_eq!(other_reader(&path).await, (2, 4, 3));

    let base = t.snapshot();
    let mut replace = Commit::new(base.clone(), Operation::Merge);
    replace.removes.extend(base.files().next().cloned());
    replace.stage(stage(&t, [2, 7, 8]).await);
    t.commit(replace).await.unwrap();
    let rows = t.snapshot().rows().unwrap();
    assert_eq!(other_reader(&path).await, (3, i64::try_from(rows).unwrap(), t.snapshot().file_count()));

    for n in 0..100 {
        append(&t, [1000 + n], 3 + n).await.unwrap();
    }
    lake.settle().await;
    assert!(path.join("_delta_log/_last_checkpoint").exists());
    let seen = other_reader(&path).await;
    assert_eq!(seen, (103, i64::try_from(t.snapshot().rows().unwrap()).unwrap(), t.snapshot().file_count()));

    let before = ids(t.snapshot().provider()).await;
    t.compact(&CompactPolicy::default()).await.unwrap();
    t.checkpoint().await.unwrap();
    let head = t.snapshot();
    assert_eq!(other_reader(&path).await, (u64::try_from(head.version()).unwrap(), seen.1, head.file_count()));
    assert!(head.file_count() < 10);
    assert_eq!(ids(head.provider()).await, before);
    // Only the checkpoint: the log before it is not needed by anybody.
    for version in 0..head.version() {
        std::fs::remove_file(path.join(format!("_delta_log/{version:020}.json"))).unwrap();
    }
    assert_eq!(other_reader(&path).await.1, seen.1);
    let fresh = Lake::open(&url, LakeOptions::default()).await.unwrap();
    let again = table(&fresh).await.snapshot();
    assert_eq!((again.version(), again.txn("in")), (head.version(), Some(102)));
    assert_eq!(ids(again.provider()).await, before);
    assert_eq!(again.meta(), head.meta());
}
