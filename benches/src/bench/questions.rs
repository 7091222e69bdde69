//! Named queries through one open session, against DuckDB on the same files.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use datafusion::arrow::array::{Array as _, AsArray as _, RecordBatch};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, Float64Type};
use datafusion::common::ScalarValue;
use futures::TryStreamExt;
use schema::{NamedQuery, Project};
use serde::Deserialize;
use session::{LakeSession, SessionFactory, SessionOptions};
use store::{Lake, LakeOptions};

use super::batch::TWO_THREADS;
use super::change::copy;
use crate::child::{self, Smelt};
use crate::report::{Report, median, two};
use crate::{Settings, duckdb, peers};

const ABOUT: &str = "Every named query with its default parameters through one open session, warm, on two threads, and the \
    same statement by DuckDB 2.0.0 over the same Parquet files (views over their list, metadata cached) through one \
    connection, warm. Queries that return more than 10,000 rows are named and not run to their end. What takes long is not run after \
    10 seconds, but three times at least. The lake is that of `benches weekly` with a year of the other four systems beside \
    it.";

/// Queries that return more rows are no questions of a dashboard.
const MOST_ROWS: usize = 10_000;

/// A query is not run again after so many milliseconds in all, but for the least number of runs.
const MOST_MS: f64 = 10_000.0;

/// The least number of runs.
const FEWEST_RUNS: usize = 3;

/// What DuckDB said of a query.
#[derive(Debug, Deserialize)]
struct Theirs {
    name: String,
    rows: Option<usize>,
    ms: Option<Vec<f64>>,
    /// Of each column.
    columns: Option<Vec<Column>>,
    error: Option<String>,
}

/// How many values of a column are not null, and the sum of numbers.
#[derive(Debug, Clone, Copy, Deserialize)]
struct Column(usize, Option<f64>);

impl Column {
    /// The same, but for the last digits of sums. A column of nothing has no type in DuckDB's answer.
    fn is_like(&self, other: &Column) -> bool {
        let sums = match (self.1, other.1) {
            (Some(a), Some(b)) => (a - b).abs() <= 1e-6 * a.abs().max(b.abs()).max(1.0),
            (a, b) => a.is_none() == b.is_none() || self.0 == 0,
        };
        self.0 == other.0 && sums
    }
}

/// What our session said of a query.
struct Ours {
    rows: usize,
    ms: f64,
    columns: Vec<Column>,
}

/// Adds the other systems to the lake, then asks all queries of both, or those that are named.
///
/// # Errors
/// When the lake of `benches weekly` is not there, a run fails, or the peer cannot be had.
pub fn run(settings: &Settings, rows: u64, runs: usize, named: &[String]) -> Result<()> {
    let smelt = Smelt::find(settings)?;
    let python = peers::needed("duckdb-batch")?;
    let workspace = peers::workspace();
    let project = Arc::new(duckdb::project(&workspace)?);
    let mut report = Report::new("questions", ABOUT, &["query", "rows", "smelt ms", "duckdb ms", "ratio"]);
    report.fact("smelt", smelt.version()?);
    report.fact("events of the other four systems, runs of each query", format!("{rows}, {runs}"));
    let lake = build(settings, &smelt, &workspace, rows)?;
    let files = settings.work.join("questions.json");
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let session = runtime.block_on(open(&lake, &project, &files))?;
    let is_asked = |query: &&NamedQuery| named.is_empty() || named.contains(&query.name);
    let asked: Vec<&NamedQuery> = project.queries.values().filter(is_asked).collect();
    let theirs = ask_duckdb(&python, &workspace, &files, &asked, runs)?;
    let (mut slowest, mut worst) = (0.0_f64, 0.0_f64);
    let mut differ = 0;
    for theirs in theirs {
        let query = project.queries.get(&theirs.name).context("an answer to another question")?;
        let Some(ours) = runtime.block_on(ask(&session, query, runs))? else {
            ensure!(
                theirs.rows.is_none_or(|rows| rows > MOST_ROWS),
                "{}: DuckDB gives {:?} rows",
                query.name,
                theirs.rows
            );
            let many = format!("> {MOST_ROWS}");
            report.row([vec![query.name.clone(), many], vec!["-".to_owned(); 3]].concat());
            continue;
        };
        let ms = theirs.ms.map(median);
        let ratio = ms.map(|ms| ours.ms / ms);
        let shown = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), two);
        report.row(vec![query.name.clone(), ours.rows.to_string(), two(ours.ms), shown(ms), shown(ratio)]);
        slowest = slowest.max(ours.ms);
        if let Some(error) = theirs.error {
            report.note(format!("{}: DuckDB does not run it: {error}", query.name));
            continue;
        }
        let is_same = |columns: &Vec<Column>| {
            columns.len() == ours.columns.len() && columns.iter().zip(&ours.columns).all(|(a, b)| a.is_like(b))
        };
        let is_answered = theirs.rows == Some(ours.rows);
        if !is_answered || (ours.rows > 0 && !theirs.columns.as_ref().is_some_and(is_same)) {
            differ += 1;
            let (rows, columns) = (theirs.rows, theirs.columns);
            report.note(format!("{}: DuckDB gives {rows:?} rows, {columns:?} and not {:?}", query.name, ours.columns));
        }
        worst = worst.max(ratio.unwrap_or(0.0));
    }
    report.bar("queries that DuckDB answers otherwise", f64::from(differ), 0.0);
    report.bar("the slowest query, in ms", slowest, 100.0);
    report.bar("the worst of Smelt's time over DuckDB's (medians)", worst, 1.0);
    report.finish(settings)
}

/// The lake of the weekly fact with the other systems beside it.
fn build(settings: &Settings, smelt: &Smelt, project: &Path, rows: u64) -> Result<std::path::PathBuf> {
    let lake = settings.work.join("questions");
    if lake.join("gold").is_dir() {
        // Models may have come since, or become others.
        if child::run(smelt.on(project, &lake).args(TWO_THREADS).arg("refine")).is_ok() {
            return Ok(lake);
        }
        fs::remove_dir_all(&lake)?;
    }
    let weekly = settings.work.join("weekly-built");
    ensure!(weekly.is_dir(), "{} is not there: run `benches weekly` first", weekly.display());
    let at = copy(settings, &weekly)?;
    let folder = child::fresh(settings, "questions-landing")?;
    let streams = ["pos_sales", "invoices", "sales_transactions", "inventory_updates", "sales_events"];
    let mut sim = smelt.command();
    sim.args(["sim", "--days", "365", "--start", "2023-01-01", "--rows", &rows.to_string(), "--to"]).arg(&folder);
    sim.args(streams.iter().flat_map(|stream| ["--stream", stream]));
    child::run(&mut sim)?;
    let mut ingest = smelt.on(project, &at);
    ingest.args(TWO_THREADS).args(["ingest", "--once"]);
    for stream in streams.into_iter().chain(["products", "stores", "opening_stock", "pos_stock"]) {
        let folder_of = folder.join(stream);
        let input = if folder_of.exists() { folder_of } else { folder.join(format!("{stream}.csv")) };
        ingest.args(["--input", &format!("{stream}={}", input.display())]);
    }
    child::run(&mut ingest)?;
    child::run(smelt.on(project, &at).args(TWO_THREADS).arg("refine"))?;
    fs::remove_dir_all(&folder)?;
    fs::rename(at, &lake)?;
    Ok(lake)
}

async fn open(lake: &Path, project: &Arc<Project>, files: &Path) -> Result<LakeSession> {
    let lake = Lake::open(&lake.to_string_lossy(), LakeOptions::default()).await?;
    duckdb::describe(&lake, project, files).await?;
    let options = SessionOptions { threads: 2, ..SessionOptions::default() };
    Ok(SessionFactory::new(lake, Arc::clone(project), options)?.session().await?)
}

/// `None`: more rows than a question has.
async fn ask(session: &LakeSession, query: &NamedQuery, runs: usize) -> Result<Option<Ours>> {
    let mut times = Vec::with_capacity(runs);
    let mut answer = Vec::new();
    // The first one warms up.
    while times.len() <= runs && (times.len() <= FEWEST_RUNS || times.iter().sum::<f64>() < MOST_MS) {
        answer.clear();
        let (began, mut rows) = (Instant::now(), 0);
        let mut stream = query::run_named(session, query, &BTreeMap::new()).await?;
        while let Some(batch) = stream.try_next().await? {
            rows += batch.num_rows();
            if rows > MOST_ROWS {
                return Ok(None);
            }
            answer.push(batch);
        }
        times.push(began.elapsed().as_secs_f64() * 1000.0);
    }
    let rows = answer.iter().map(RecordBatch::num_rows).sum();
    let fields = answer.first().map_or(0, RecordBatch::num_columns);
    let columns = (0..fields).map(|place| column(&answer, place)).collect::<Result<_>>()?;
    Ok(Some(Ours { rows, ms: median(times.into_iter().skip(1)), columns }))
}

fn column(answer: &[RecordBatch], place: usize) -> Result<Column> {
    let (mut values, mut sum) = (0, 0.0);
    let mut is_number = false;
    for batch in answer {
        let column = batch.column(place);
        values += column.len() - column.null_count();
        is_number = column.data_type().is_numeric();
        if is_number {
            let numbers = cast(column, &DataType::Float64)?;
            sum += numbers.as_primitive::<Float64Type>().iter().flatten().sum::<f64>();
        }
    }
    Ok(Column(values, (is_number && values > 0).then_some(sum)))
}

fn ask_duckdb(
    python: &Path,
    workspace: &Path,
    files: &Path,
    queries: &[&NamedQuery],
    runs: usize,
) -> Result<Vec<Theirs>> {
    let asked = files.with_extension("ndjson");
    let mut lines = File::create(&asked)?;
    for query in queries {
        writeln!(lines, "{}", serde_json::json!({ "name": query.name, "sql": filled_in(query)? }))?;
    }
    let mut command = Command::new(python);
    command.arg(workspace.join("benches/peers/questions_duckdb.py")).arg(files);
    command.args([runs.to_string(), FEWEST_RUNS.to_string(), MOST_MS.to_string(), MOST_ROWS.to_string()]);
    command.stdin(File::open(&asked)?).stderr(Stdio::inherit());
    let output = command.output()?;
    ensure!(output.status.success(), "DuckDB ended with {}", output.status);
    String::from_utf8_lossy(&output.stdout).lines().map(|line| Ok(serde_json::from_str(line)?)).collect()
}

/// The statement with the default values of its parameters in it.
fn filled_in(query: &NamedQuery) -> Result<String> {
    let mut values: Vec<(String, ScalarValue)> = query::params::bind(query, &BTreeMap::new())?.into_iter().collect();
    // A name may begin with another one.
    values.sort_by_key(|(name, _)| std::cmp::Reverse(name.len()));
    let mut sql = query.sql.clone();
    for (name, value) in values {
        let kind = query.params.iter().find(|param| param.name == name).map(|param| param.kind.to_string());
        let text = match &value {
            value if value.is_null() => "NULL".to_owned(),
            ScalarValue::Utf8(Some(text)) | ScalarValue::Utf8View(Some(text)) => format!("'{text}'"),
            value => format!("'{value}'"),
        };
        let kind =
            kind.map_or_else(|| "VARCHAR".to_owned(), |kind| if kind == "string" { "VARCHAR".into() } else { kind });
        sql = sql.replace(&format!("${name}"), &format!("CAST({text} AS {kind})"));
    }
    Ok(sql)
}
