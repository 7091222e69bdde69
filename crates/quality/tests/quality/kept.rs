//! What is kept in the lake: results, and what logs said before they were cleaned up.

use std::sync::Arc;

use arrow::array::{ArrayRef, Date32Array, Int64Array, RecordBatch, StringArray};
use arrow::util::pretty::pretty_format_batches;
use quality::results::{Run, append, latest};
use quality::{CheckResult, SampleRow, loads};
use schema::{Check, Project, Severity, TableName};
use store::{Commit, Consumed, Lake, Operation, TableSpec, WriterOptions};

use crate::world::{factory, lake, project, run};

async fn ask(lake: &Lake, project: &Arc<Project>, sql: &str) -> String {
    let session = factory(lake, project).session().await.unwrap();
    pretty_format_batches(&session.sql(sql).await.unwrap().collect().await.unwrap()).unwrap().to_string()
}

#[test]
fn the_last_result_of_each_check_comes_back_as_it_was() {
    run(async {
        let (lake, project) = (lake().await, project(&[]));
        let table = TableName::silver("t");
        let good = CheckResult::met(&table, Severity::Fail, &Check::NotNull("a".into()));
        let bad = CheckResult {
            success: false,
            feed: None,
            version: Some(7),
            observed_value: Some("2 rows".into()),
            element_count: Some(9),
            unexpected_count: 2,
            sample: vec![SampleRow(vec![("a".into(), Some("'\"<".into())), ("b".into(), None)])],
            ..CheckResult::met(&table, Severity::Warn, &Check::NotNull("b".into()))
        };
        let gate = CheckResult { feed: Some("f".into()), check: "loss below 0.05".into(), ..good.clone() };
        let run =
            |second: i64| Run { at: chrono::DateTime::from_timestamp(second, 0).unwrap(), ..Run::now(&lake, "refine") };
        append(&lake, &run(1), &[]).await.unwrap();
        assert!(lake.open_table(&schema::results_table()).await.unwrap().is_none(), "nothing checked, nothing written");
        append(&lake, &run(1), &[CheckResult { success: true, ..bad.clone() }, good.clone()]).await.unwrap();
        append(&lake, &run(2), &[bad.clone(), gate.clone()]).await.unwrap();
        let session = factory(&lake, &project).session().await.unwrap();
        let mut found = latest(&session).await.unwrap();
        found.sort_by(|a, b| (&a.feed, &a.check).cmp(&(&b.feed, &b.check)));
        assert_eq!(found, [good, bad, gate]);
    });
}

/// A commit to Bronze that says what it took.
async fn load(lake: &Lake, project: &Project, from: Option<i64>, delivered: i64) {
    let contract = &project.contracts["till"];
    let mut spec = TableSpec::new(contract.bronze_schema());
    spec.partition_by = schema::PARTITION_COLUMNS.map(str::to_owned).to_vec();
    let table = lake.create_table(&contract.table(), &spec).await.unwrap();
    let base = table.refresh().await.unwrap();
    let mut writer = table.writer(WriterOptions::default());
    let n = usize::try_from(delivered).unwrap();
    let columns: [(&str, ArrayRef); 3] = [
        ("n", Arc::new(Int64Array::from(vec![1; n]))),
        ("_status", Arc::new(StringArray::from(vec!["stored"; n]))),
        ("_ingested_on", Arc::new(Date32Array::from(vec![20_000; n]))),
    ];
    writer.write(RecordBatch::try_from_iter_with_nullable(columns.map(|(n, c)| (n, c, true))).unwrap()).await.unwrap();
    let mut commit = Commit::new(base, Operation::Append);
    let to = from.unwrap_or(0) + delivered;
    commit.inputs.push(Consumed { input: "kafka:c/t/0".into(), from, to });
    let counts = serde_json::json!({ "delivered": delivered, "stored": delivered, "quarantined": 0, "skipped": 0 });
    commit.info = counts.as_object().unwrap().clone();
    commit.info.insert("inputs".into(), serde_json::json!({ "kafka:c/t/0": counts }));
    commit.stage(writer.finish().await.unwrap());
    table.commit(commit).await.unwrap();
}

#[test]
fn what_logs_said_is_kept_once_and_read_with_what_they_say_since() {
    run(async {
        let contract =
            "description = \"t\"\nkafka = { topic = \"t\" }\n[fields]\nn = { type = \"bigint\" }\n".to_owned();
        let (lake, project) = (lake().await, project(&[("models/bronze/till.toml", contract)]));
        load(&lake, &project, None, 5).await;
        load(&lake, &project, Some(5), 7).await;
        let commits = "SELECT version, delivered, rows_stored FROM quality.commits ORDER BY version";
        let parts = "SELECT version, input, delivered FROM quality.reconciliation ORDER BY version";
        let before = (ask(&lake, &project, commits).await, ask(&lake, &project, parts).await);
        assert_eq!(loads::keep(&lake, project.contracts.values()).await.unwrap(), 4);
        assert_eq!(loads::keep(&lake, project.contracts.values()).await.unwrap(), 0, "each commit once");
        assert_eq!((ask(&lake, &project, commits).await, ask(&lake, &project, parts).await), before);
        load(&lake, &project, Some(12), 9).await;
        let sum = "SELECT count(*) AS commits, sum(delivered) AS delivered FROM quality.commits";
        assert!(ask(&lake, &project, sum).await.contains("| 3       | 21 "), "{}", ask(&lake, &project, sum).await);
        assert_eq!(loads::keep(&lake, project.contracts.values()).await.unwrap(), 2);
        // The log goes, as when it is cleaned up; what it said stays.
        lake.table(&TableName::bronze("till")).await.unwrap().checkpoint().await.unwrap();
        for version in 0..=2 {
            let path = format!("bronze/till/_delta_log/{version:020}.json");
            object_store::ObjectStoreExt::delete(lake.object_store().as_ref(), &path.into()).await.unwrap();
        }
        assert!(ask(&lake, &project, sum).await.contains("| 3       | 21 "));
    });
}
