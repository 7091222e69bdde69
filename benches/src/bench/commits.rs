//! Thousands of small commits to one table.

use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, Result};
use arrow::array::{Date32Array, Decimal128Array, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use store::{Commit, Consumed, Lake, LakeOptions, Operation, Table, TableSpec, WriterOptions};

use crate::Settings;
use crate::child;
use crate::report::{Report, median, three};
use crate::usage;

const ABOUT: &str = "Commits of a few rows, one after the other, to one partitioned table: encode, commit, and whatever \
    checkpoints the store makes meanwhile. Times are of the commit alone, and of encoding and commit together; CPU time \
    is of the whole process with its checkpoints, which each window waits for.";

/// Commits of a window, over which CPU time is taken.
const WINDOW: usize = 1_000;

/// What one series of commits took.
struct Series {
    commit_ms: Vec<f64>,
    both_ms: Vec<f64>,
    window_cpu_s: Vec<f64>,
}

/// Runs with and without sync by turns.
///
/// # Errors
/// When the store fails.
pub fn run(settings: &Settings, commits: usize, rows: usize) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let columns = [
        "pair",
        "sync",
        "commit 100-200 ms",
        "last 100 ms",
        "with encoding 100-200 ms",
        "last 100 ms",
        "CPU of each 1,000 s",
    ];
    let mut report = Report::new("commits", ABOUT, &columns);
    report.fact("commits", commits);
    report.fact("rows each", rows);
    let (mut flat, mut cpu) = (Vec::new(), Vec::new());
    for pair in 1..=settings.pairs {
        for sync in [false, true] {
            let series = runtime.block_on(series(settings, sync, commits, rows))?;
            let early = |times: &[f64]| median(times.iter().copied().skip(100).take(100));
            let late = |times: &[f64]| median(times[times.len().saturating_sub(100)..].iter().copied());
            report.row(vec![
                pair.to_string(),
                if sync { "on" } else { "off" }.into(),
                three(early(&series.commit_ms)),
                three(late(&series.commit_ms)),
                three(early(&series.both_ms)),
                three(late(&series.both_ms)),
                series.window_cpu_s.iter().map(|cpu| format!("{cpu:.2}")).collect::<Vec<_>>().join(" "),
            ]);
            if !sync {
                flat.push(late(&series.commit_ms) / early(&series.commit_ms));
                let (first, last) = series.window_cpu_s.first().zip(series.window_cpu_s.last()).context("no window")?;
                cpu.push(last / first);
            }
        }
    }
    report.bar("sync off: last 100 commit times over commits 100 to 200 (median)", median(flat), 1.5);
    report.bar("sync off: CPU of the last 1,000 commits over the first 1,000 (median)", median(cpu), 1.5);
    report.finish(settings)
}

async fn series(settings: &Settings, sync: bool, commits: usize, rows: usize) -> Result<Series> {
    let folder = child::fresh(settings, "commits")?;
    let lake = Lake::open(&folder.to_string_lossy(), LakeOptions { sync, ..LakeOptions::default() }).await?;
    let spec = TableSpec::new(columns()).partitioned_by(["day"]);
    let table = lake.create_table(&"silver.commits".parse()?, &spec).await?;
    let mut series = Series { commit_ms: Vec::new(), both_ms: Vec::new(), window_cpu_s: Vec::new() };
    let mut before = usage::own().cpu_s;
    for number in 0..commits {
        let batch = batch(number, rows)?;
        let start = Instant::now();
        let commit = staged(&table, number, batch).await?;
        let encoded = start.elapsed();
        table.commit(commit).await?;
        series.both_ms.push(start.elapsed().as_secs_f64() * 1e3);
        series.commit_ms.push((start.elapsed() - encoded).as_secs_f64() * 1e3);
        if (number + 1) % WINDOW == 0 || number + 1 == commits {
            lake.settle().await;
            let now = usage::own().cpu_s;
            series.window_cpu_s.push(now - before);
            before = now;
        }
    }
    Ok(series)
}

async fn staged(table: &Table, number: usize, batch: RecordBatch) -> Result<Commit> {
    let mut writer = table.writer(WriterOptions::default());
    writer.write(batch).await?;
    let staged = writer.finish().await?;
    let mut commit = Commit::new(table.snapshot(), Operation::Append);
    let from = number.checked_sub(1).map(|last| last as i64);
    commit.inputs.push(Consumed { input: "files:commits".into(), from, to: number as i64 });
    commit.stage(staged);
    Ok(commit)
}

fn columns() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("id", DataType::Int64, true),
        Field::new("product", DataType::Utf8, true),
        Field::new("price", DataType::Decimal128(18, 2), true),
        Field::new("day", DataType::Date32, true),
    ]))
}

/// Rows of one day; a day lasts a hundred commits.
fn batch(number: usize, rows: usize) -> Result<RecordBatch> {
    let ids = (0..rows).map(|row| (number * rows + row) as i64);
    let products = StringArray::from_iter_values(ids.clone().map(|id| format!("P{}", id % 1000)));
    let prices = Decimal128Array::from_iter_values(ids.clone().map(|id| i128::from(id % 10_000)));
    let days = Date32Array::from(vec![19_000 + (number / 100) as i32; rows]);
    let prices = prices.with_precision_and_scale(18, 2)?;
    let ids = Int64Array::from_iter_values(ids);
    Ok(RecordBatch::try_new(columns(), vec![Arc::new(ids), Arc::new(products), Arc::new(prices), Arc::new(days)])?)
}
