//! A lake in a temp folder, a landing folder beside it, and what tests ask of both.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{Array, AsArray};
use arrow::datatypes::DataType;
use datafusion::prelude::{SessionConfig, SessionContext};
use ingest::{IngestEnv, IngestOptions, IngestReport, Silent, StreamReport};
use schema::{Project, SourceFile, TableName};
use store::{Lake, LakeOptions};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

/// A stream of small JSON events.
pub const EVENTS: &str = r#"
description = "An event of a test"
entity = ["id"]
kafka = { topic = "events" }
files = { path = "landing", format = "ndjson" }

[fields]
id = { type = "int", required = true, description = "its number" }
name = { type = "string", description = "any text" }
amount = { type = "decimal(18,2)", rule = "amount >= 0", description = "money" }
"#;

/// A stream of CSV files.
pub const ROWS: &str = r#"
description = "A row of a test"
entity = ["id"]
files = { path = "rows", format = "csv" }

[fields]
id = { type = "int", required = true, description = "its number" }
name = { type = "string", description = "any text" }
"#;

/// A row of Bronze, as tests compare it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Row {
    pub source: String,
    pub partition: i64,
    pub offset: i64,
    pub status: String,
    pub error: String,
}

pub struct World {
    pub dir: TempDir,
    pub lake: Lake,
    pub project: Arc<Project>,
}

/// A project with these contracts.
pub fn project(contracts: &[(&str, &str)]) -> Arc<Project> {
    let files = contracts
        .iter()
        .map(|(name, text)| SourceFile { path: format!("models/bronze/{name}.toml"), text: (*text).to_owned() });
    Arc::new(Project::parse(files).expect("the contracts of a test are right"))
}

impl World {
    /// A new lake on the local disk, not synced: tests are not about power loss.
    pub async fn new() -> Self {
        // RUST_LOG shows what a test that hangs waits for; a second call changes nothing.
        let filter = tracing_subscriber::EnvFilter::from_default_env();
        let _ = tracing_subscriber::fmt().with_env_filter(filter).with_test_writer().try_init();
        let dir = tempfile::tempdir().unwrap();
        let lake = open(&dir.path().join("lake")).await;
        Self { dir, lake, project: project(&[("events", EVENTS), ("rows", ROWS)]) }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Writes a file below the world's folder.
    pub fn write(&self, name: &str, bytes: impl AsRef<[u8]>) {
        write(self.dir.path(), name, bytes);
    }

    pub fn env(&self) -> IngestEnv {
        IngestEnv::new(self.lake.clone(), Arc::clone(&self.project), self.dir.path())
    }

    /// One run to its end.
    pub async fn ingest(&self, options: IngestOptions) -> IngestReport {
        run(self.env(), options).await
    }

    /// One run of a stream's landing files, below `input`.
    pub async fn load(&self, stream: &str, input: &str) -> StreamReport {
        let report = self.ingest(input_options(stream, input)).await;
        assert_eq!(report.streams.len(), 1);
        let stream = report.streams.into_iter().next().unwrap();
        assert_eq!(stream.counts.delivered, stream.counts.stored + stream.counts.quarantined);
        stream
    }

    /// All rows of a stream, sorted.
    pub async fn rows(&self, stream: &str) -> Vec<Row> {
        rows(&self.lake, stream).await
    }

    /// Versions of all tables and ledgers: equal before and after a run that committed nothing.
    pub async fn versions(&self) -> BTreeMap<String, i64> {
        let mut versions = BTreeMap::new();
        for name in ["events", "rows", "pos_sales", "pos_stock", "invoices", "sales_transactions"] {
            for table in [TableName::bronze(name), TableName::system(format!("landing/{name}"))] {
                if let Some(found) = self.lake.open_table(&table).await.unwrap() {
                    versions.insert(table.to_string(), found.refresh().await.unwrap().version());
                }
            }
        }
        versions
    }

    /// A SQL question over one table, `t`; all values as text.
    pub async fn ask(&self, table: &TableName, sql: &str) -> Vec<Vec<String>> {
        ask(&self.lake, table, sql).await
    }
}

pub async fn open(path: &Path) -> Lake {
    let options = LakeOptions { sync: false, ..LakeOptions::default() };
    Lake::open(path.to_str().unwrap(), options).await.unwrap()
}

pub fn write(root: &Path, name: &str, bytes: impl AsRef<[u8]>) {
    let path = root.join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, bytes).unwrap();
}

pub fn input_options(stream: &str, input: &str) -> IngestOptions {
    IngestOptions { inputs: vec![(stream.to_owned(), input.to_owned())], ..IngestOptions::default() }
}

/// One run to its end.
pub async fn run(env: IngestEnv, options: IngestOptions) -> IngestReport {
    ingest::run(env, options, CancellationToken::new(), Arc::new(Silent)).await.unwrap()
}

pub async fn rows(lake: &Lake, stream: &str) -> Vec<Row> {
    let sql = "SELECT _source, _partition, _offset, _status, coalesce(_error, '') FROM t ORDER BY 1, 2, 3";
    let rows = ask(lake, &TableName::bronze(stream), sql).await;
    let row = |r: Vec<String>| {
        let [source, partition, offset, status, error] = r.try_into().unwrap();
        Row { source, partition: partition.parse().unwrap(), offset: offset.parse().unwrap(), status, error }
    };
    rows.into_iter().map(row).collect()
}

/// A SQL question over one table, `t`; all values as text. A table that does not exist has no rows.
pub async fn ask(lake: &Lake, table: &TableName, sql: &str) -> Vec<Vec<String>> {
    let Some(table) = lake.open_table(table).await.unwrap() else { return Vec::new() };
    let snapshot = table.refresh().await.unwrap();
    let context = SessionContext::new_with_config(SessionConfig::new().with_target_partitions(2));
    context.runtime_env().register_object_store(lake.object_store_url().as_ref(), lake.object_store());
    context.register_table("t", snapshot.provider()).unwrap();
    let batches = context.sql(sql).await.unwrap().collect().await.unwrap();
    let mut all = Vec::new();
    for batch in batches {
        let texts: Vec<_> = batch.columns().iter().map(|c| arrow::compute::cast(c, &DataType::Utf8).unwrap()).collect();
        for row in 0..batch.num_rows() {
            let text = |c: &Arc<dyn Array>| {
                let c = c.as_string::<i32>();
                if c.is_null(row) { String::new() } else { c.value(row).to_owned() }
            };
            all.push(texts.iter().map(text).collect());
        }
    }
    all
}

/// The one number that a question answers; 0 for a table that does not exist.
pub async fn number(lake: &Lake, table: &TableName, sql: &str) -> i64 {
    ask(lake, table, sql).await.first().map_or(0, |row| row[0].parse().unwrap())
}

/// Asserts that the records of a stream are `0..n`, each stored once, whatever their partition and offset.
pub async fn assert_each_once(lake: &Lake, stream: &str, n: usize) {
    let rows = ask(lake, &TableName::bronze(stream), "SELECT id FROM t WHERE _status = 'stored' ORDER BY id").await;
    let ids: Vec<usize> = rows.iter().map(|row| row[0].parse().unwrap()).collect();
    let twice: Vec<_> = ids.windows(2).filter(|w| w[0] == w[1]).map(|w| w[0]).collect();
    let missing: Vec<_> = (0..n).filter(|id| ids.binary_search(id).is_err()).take(20).collect();
    assert!(twice.is_empty() && missing.is_empty() && ids.len() == n, "twice {twice:?}, missing {missing:?}");
    let places = "SELECT count(*) FROM (SELECT 1 FROM t GROUP BY _source, _partition, _offset HAVING count(*) > 1)";
    assert_eq!(number(lake, &TableName::bronze(stream), places).await, 0, "places that two rows claim");
}

/// A folder of the shared data, if it is there.
pub fn shared(path: &str) -> Option<PathBuf> {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let root = std::env::var_os("TEST_SHARED").map_or_else(|| workspace.join("../shared"), PathBuf::from);
    let path = root.join(path);
    if path.exists() {
        return Some(path);
    }
    println!("skipped: {}: there is no shared data here (TEST_SHARED)", path.display());
    None
}

/// The shipped project.
pub fn shipped() -> Arc<Project> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/bronze");
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        files.push(SourceFile { path: format!("models/bronze/{name}"), text: std::fs::read_to_string(path).unwrap() });
    }
    Arc::new(Project::parse(files).expect("the shipped contracts are right"))
}

/// `count` JSON events from `first` on, a line each.
pub fn events(first: usize, count: usize) -> String {
    (first..first + count).map(|id| format!("{{\"id\":{id},\"name\":\"n{id}\",\"amount\":{id}.25}}\n")).collect()
}

pub fn gzip(text: impl AsRef<[u8]>) -> Vec<u8> {
    use std::io::Write;
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(text.as_ref()).unwrap();
    encoder.finish().unwrap()
}
