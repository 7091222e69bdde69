//! A lake in memory, and a model over rows that the test writes as SQL.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use datafusion::catalog::TableProvider;
use quality::{CheckResult, Reach, Rows, Subject};
use schema::{Project, SourceFile, TableName};
use session::{SessionFactory, SessionOptions};
use store::{Lake, LakeOptions};

/// The runtime of all tests.
pub static RUNTIME: LazyLock<tokio::runtime::Runtime> =
    LazyLock::new(|| tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap());

/// Runs a test's future.
pub fn run<T>(future: impl Future<Output = T>) -> T {
    RUNTIME.block_on(future)
}

pub async fn lake() -> Lake {
    Lake::open("memory:///", LakeOptions::default()).await.unwrap()
}

/// A project of these files.
pub fn project(files: &[(&str, String)]) -> Arc<Project> {
    let files = files.iter().map(|(path, text)| SourceFile { path: (*path).into(), text: text.clone() });
    Arc::new(Project::parse(files).unwrap())
}

pub fn factory(lake: &Lake, project: &Arc<Project>) -> SessionFactory {
    SessionFactory::new(lake.clone(), Arc::clone(project), SessionOptions::default()).unwrap()
}

/// What the checks of `header` find in `silver.t`, whose rows are those of `rows`; `silver.other` has `others`.
pub async fn check(header: &str, rows: &str, others: &str) -> Vec<CheckResult> {
    let text = format!(
        "/* models/silver/t.sql\n---\ndescription = \"t\"\ngrain = [\"id\"]\nkept = \"full\"\n{header}\n--- */\nSELECT 1 AS id"
    );
    let (lake, project) = (lake().await, project(&[("models/silver/t.sql", text)]));
    let factory = factory(&lake, &project);
    let context = factory.context(HashMap::new());
    let mut tables: HashMap<TableName, Arc<dyn TableProvider>> = HashMap::new();
    for (name, sql) in [("t", rows), ("other", others)] {
        tables.insert(TableName::silver(name), context.sql(sql).await.unwrap().into_view());
    }
    let model = &project.models[&TableName::silver("t")];
    let rows = Rows::Context(factory.context(tables));
    let now = chrono::DateTime::parse_from_rfc3339("2024-01-10T12:00:00Z").unwrap().to_utc();
    let subject = Subject { model, fresh: rows.clone(), whole: rows, now };
    subject.evaluate(|_| Reach::Whole).await.unwrap()
}
