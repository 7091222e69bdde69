//! Random histories against a model: appends, replaces, compactions, checkpoints, clean-up and reopening, in any order.

use std::collections::BTreeSet;

use proptest::prelude::*;
use store::{Commit, CompactPolicy, Consumed, Lake, LakeOptions, Operation, Table};

use crate::support::*;

#[derive(Clone, Debug)]
enum Step {
    /// New rows: days and how many of each.
    Append(Vec<(i64, i64)>),
    /// Rewrites a live file without its rows of odd id and with a new row.
    Replace(prop::sample::Index),
    Compact,
    Checkpoint,
    Reopen,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => prop::collection::vec((0i64..4, 1i64..6), 1..4).prop_map(Step::Append),
        3 => any::<prop::sample::Index>().prop_map(Step::Replace),
        1 => Just(Step::Compact),
        1 => Just(Step::Checkpoint),
        1 => Just(Step::Reopen),
    ]
}

/// The rows at each version.
type History = Vec<BTreeSet<i64>>;

async fn run(steps: Vec<Step>) {
    let store = std::sync::Arc::new(object_store::memory::InMemory::new());
    let open = || Lake::with_store(store.clone(), LakeOptions::default());
    let mut t = table(&open()).await;
    let mut history: History = vec![BTreeSet::new()];
    let mut next = 0;
    for step in steps {
        let mut rows = history.last().unwrap().clone();
        match step {
            Step::Append(days) => {
                let mut new = Vec::new();
                for (day, count) in days {
                    new.extend((next..next + count).map(|n| day * 100 + n % 100 + (n / 100) * 400));
                    next += count;
                }
                let to = t.snapshot().txn("in").unwrap_or(0) + 1;
                rows.extend(&new);
                append(&t, new, to).await.unwrap();
            }
            Step::Replace(index) => {
                let base = t.snapshot();
                let Some(file) = base.files().nth(index.index(base.file_count().max(1))).cloned() else { continue };
                let held = ids(base.provider_of(vec![file.clone()])).await;
                let mut kept: Vec<i64> = held.iter().copied().filter(|id| id % 2 == 0).collect();
                kept.push(100_000 + next);
                next += 1;
                rows.retain(|id| !held.contains(id));
                rows.extend(&kept);
                replace(&t, base, file, kept).await;
            }
            Step::Compact => {
                let report = t.compact(&CompactPolicy { min_files: 2, ..Default::default() }).await.unwrap();
                assert_eq!(report.conflicts, 0);
                history.extend(std::iter::repeat_n(rows, report.partitions));
                continue;
            }
            Step::Checkpoint => drop(t.checkpoint().await.unwrap()),
            Step::Reopen => t = table(&open()).await,
        }
        if t.snapshot().version() == i64::try_from(history.len()).unwrap() {
            history.push(rows);
        }
    }
    check(&t, &history).await;
    check(&table(&open()).await, &history).await;
}

async fn replace(
    t: &Table,
    base: std::sync::Arc<store::Snapshot>,
    file: std::sync::Arc<store::DataFile>,
    kept: Vec<i64>,
) {
    let mut commit = Commit::new(base.clone(), Operation::Merge);
    let from = base.txn("up");
    commit.inputs.push(Consumed { input: "up".into(), from, to: from.unwrap_or(0) + 1 });
    commit.removes.push(file);
    commit.stage(stage(t, kept).await);
    t.commit(commit).await.unwrap();
}

async fn check(t: &Table, history: &History) {
    let head = t.snapshot();
    assert_eq!(head.version(), i64::try_from(history.len()).unwrap() - 1);
    for (version, rows) in (0..).zip(history) {
        let snapshot = t.snapshot_at(version).await.unwrap();
        let found: Vec<i64> = ids(snapshot.provider()).await;
        assert!(found.iter().eq(rows), "version {version}: {found:?} for {rows:?}");
        assert_eq!(snapshot.rows(), Some(rows.len() as u64));
        // Before plus changes is after.
        let changes = t.changes(version, head.version()).await.unwrap();
        let net = "SELECT id, sum(_sign) AS n FROM t GROUP BY id HAVING sum(_sign) <> 0";
        let changed = query(changes.provider(), &format!("SELECT count(*) FROM ({net})")).await;
        let expected = rows.symmetric_difference(history.last().unwrap()).count();
        let count = arrow::util::display::array_value_to_string(changed[0].column(0), 0).unwrap();
        assert_eq!(count, expected.to_string(), "changes from {version}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]
    #[test]
    fn random_histories(steps in prop::collection::vec(step(), 1..25)) {
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap().block_on(run(steps));
    }
}
