//! Loss of power at every write of a busy day: no acknowledged commit is lost, and none names a file that is not whole.

use std::sync::Arc;
use std::time::Duration;

use store::testing::PowerStore;
use store::{CompactPolicy, Lake, LakeOptions, Table};

use crate::support::*;

/// Appends, compacts and writes checkpoints until power is lost; gives the ids whose commits were acknowledged, and
/// those of the commit that was under way.
async fn day(store: &Arc<PowerStore>) -> (Vec<i64>, Vec<i64>) {
    let options = LakeOptions { retry_pause: Duration::ZERO, ..LakeOptions::default() };
    let lake = Lake::with_durable_store(store.clone(), options);
    let mut acknowledged = Vec::new();
    let mut under_way = Vec::new();
    let name = "silver.t".parse().unwrap();
    let Ok(t) = lake.create_table(&name, &spec()).await else { return (acknowledged, under_way) };
    for step in 0..8 {
        under_way = vec![step, step + 100];
        if try_append(&t, &under_way, step + 1).await.is_err() {
            return (acknowledged, under_way);
        }
        acknowledged.append(&mut under_way);
        let upkeep = match step {
            3 => t.checkpoint().await.map(drop),
            5 => t.compact(&CompactPolicy { min_files: 2, ..CompactPolicy::default() }).await.map(drop),
            _ => Ok(()),
        };
        if upkeep.is_err() {
            break;
        }
    }
    (acknowledged, under_way)
}

async fn try_append(t: &Table, ids: &[i64], to: i64) -> store::Result<()> {
    let mut writer = t.writer(store::WriterOptions::default());
    writer.write(rows(ids.iter().copied())).await?;
    let staged = writer.finish().await?;
    t.commit(appending(t, staged, to)).await.map(drop)
}

#[tokio::test]
async fn power_may_be_lost_at_any_write() {
    let calm = Arc::new(PowerStore::new(None, 0));
    let (all, _) = day(&calm).await;
    assert_eq!(all.len(), 16);
    let writes = calm.writes();
    assert!(writes > 40, "{writes}");
    // `TEST_POWER_SEEDS` loses more different sets of writes at each point.
    let seeds = std::env::var("TEST_POWER_SEEDS").ok().and_then(|text| text.parse().ok()).unwrap_or(3);
    for at in 0..writes {
        for seed in 0..seeds {
            let store = Arc::new(PowerStore::new(Some(at), seed));
            let (acknowledged, under_way) = day(&store).await;
            assert!(store.is_off());
            let after = Arc::new(store.restart().await.unwrap());
            let lake = Lake::with_durable_store(after.clone(), LakeOptions::default());
            let t = table(&lake).await;
            let mut found = ids(t.snapshot().provider()).await;
            // The commit that was under way happened as a whole or not at all.
            if under_way.iter().any(|id| found.contains(id)) {
                found.retain(|id| !under_way.contains(id));
            }
            let mut wanted = acknowledged.clone();
            wanted.sort_unstable();
            assert_eq!(found, wanted, "power lost at write {at}, seed {seed}");
            // And the table goes on.
            let to = t.snapshot().txn("in").unwrap_or(0) + 1;
            append(&t, [5000], to).await.unwrap();
        }
    }
}
