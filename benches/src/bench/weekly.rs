//! The weekly store and product fact, from scratch against DuckDB's, and one more day.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use chrono::{Days, NaiveDate};
use store::{Lake, LakeOptions};

use super::batch::{TWO_THREADS, total};
use super::change::copy;
use crate::child::{self, Run, Smelt};
use crate::report::{Report, median, two};
use crate::{Settings, duckdb, peers};

const ABOUT: &str = "The weekly store and product fact (models/gold/weekly_store_product.sql) over a year of sales and stock of \
    the landing sets, from scratch: by Smelt from Silver to a checked and synced Delta table, by DuckDB 2.0.0 from the same \
    Parquet files, by the same SQL, to a zstd Parquet file, both on two threads. Then the set of one more day: ingest, and \
    refresh of all that it changes. Each run of Smelt starts from a copy of the lake by hard links.";

/// The model under test and what it reads.
const FACT: &str = "gold.weekly_store_product";
const SILVER: [&str; 3] = ["silver.calendar", "silver.inventory_days", "silver.sales_lines"];

/// What the lake holds.
#[derive(Debug, Clone, Copy)]
pub struct Size {
    /// Lines of sales.
    pub rows: u64,
    /// Days, before the one more.
    pub days: u32,
    /// Stores.
    pub stores: u32,
    /// Products; each has a stock row in nearly each store a day.
    pub products: u32,
}

/// Builds the lake, then runs both by turns.
///
/// # Errors
/// When a run fails, the peer cannot be had, or the facts differ.
pub fn run(settings: &Settings, size: Size) -> Result<()> {
    let smelt = Smelt::find(settings)?;
    let python = peers::needed("duckdb-batch")?;
    let project = peers::workspace();
    let mut report = Report::new("weekly", ABOUT, &["pair", "engine", "wall s", "CPU s", "peak MiB"]);
    report.fact("smelt", smelt.version()?);
    report.fact("duckdb", "2.0.0, threads=2, preserve_insertion_order=false");
    report.fact("size", format!("{size:?}"));
    let (sets, more) = landing(settings, &smelt, size)?;
    let lake = child::fresh(settings, "weekly")?;
    let built = ingest(&smelt, &project, &lake, &sets)?.then(refine(&smelt, &project, &lake, &SILVER)?);
    report.note(format!("Bronze and Silver of the year were made in {:.0} s", built.wall_s));
    fs::remove_dir_all(&sets)?;
    let script = Peer::new(settings, &python, &project, &lake)?;

    let (mut ours, mut theirs): (Vec<Run>, Vec<Run>) = (Vec::new(), Vec::new());
    for pair in 1..=settings.pairs {
        let mut run = script.run()?;
        run.wall_s = total(&run.output)?;
        report.row(row(pair, "duckdb", &run));
        theirs.push(run);
        let at = copy(settings, &lake)?;
        let run = refine(&smelt, &project, &at, &[FACT])?;
        report.row(row(pair, "smelt", &run));
        ours.push(run);
    }
    let whole = copy(settings, &lake)?;
    refine(&smelt, &project, &whole, &[FACT])?;
    report.note(script.compare(&smelt, &project, &whole)?);
    let built = settings.work.join("weekly-built");
    let _ = fs::remove_dir_all(&built);
    fs::rename(&whole, &built)?;

    let mut days: Vec<Run> = Vec::new();
    for pair in 1..=settings.pairs {
        let at = copy(settings, &built)?;
        let models: Vec<&str> = SILVER.into_iter().chain([FACT]).collect();
        let run = ingest(&smelt, &project, &at, &more)?.then(refine(&smelt, &project, &at, &models)?);
        report.row(row(pair, "smelt, one more day", &run));
        days.push(run);
    }
    let wall = |runs: &[Run]| median(runs.iter().map(|run| run.wall_s));
    report.bar("Smelt's time over DuckDB's (medians)", wall(&ours) / wall(&theirs), 1.0);
    report.bar("one more day over the whole year (medians)", wall(&days) / wall(&ours), 0.05);
    report.finish(settings)
}

/// The landing sets of the year, and the one of the day after it.
fn landing(settings: &Settings, smelt: &Smelt, size: Size) -> Result<(PathBuf, PathBuf)> {
    let folder = child::fresh(settings, "weekly-landing")?;
    let start = NaiveDate::from_ymd_opt(2023, 1, 1).unwrap_or_default();
    let mut command = smelt.command();
    command.args(["sim", "--clean", "--full-extract-days", "0", "--to"]).arg(&folder);
    command.args(["--stream", &format!("weekly={}", size.rows), "--start", &start.to_string()]);
    command.args(["--days", &(size.days + 1).to_string(), "--stores", &size.stores.to_string()]);
    child::run(command.args(["--products", &size.products.to_string()]))?;
    let more = child::fresh(settings, "weekly-more")?;
    let last = (start + Days::new(u64::from(size.days))).format("%Y%m%d").to_string();
    let sets = folder.join("weekly");
    let mut moved = 0;
    for entry in fs::read_dir(&sets)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().contains(&last) {
            fs::rename(entry.path(), more.join(entry.file_name()))?;
            moved += 1;
        }
    }
    ensure!(moved == 5, "{moved} files of the day after the year, expected 5");
    Ok((sets, more))
}

fn ingest(smelt: &Smelt, project: &Path, lake: &Path, sets: &Path) -> Result<Run> {
    let input = format!("weekly={}", sets.display());
    child::run(smelt.on(project, lake).args(TWO_THREADS).args(["ingest", "--input", &input, "--once"]))
}

fn refine(smelt: &Smelt, project: &Path, lake: &Path, models: &[&str]) -> Result<Run> {
    let mut command = smelt.on(project, lake);
    command.args(TWO_THREADS).arg("refine");
    command.args(models.iter().flat_map(|model| ["--select", model]));
    child::run(&mut command)
}

fn row(pair: usize, engine: &str, run: &Run) -> Vec<String> {
    vec![pair.to_string(), engine.into(), two(run.wall_s), two(run.cpu_s), format!("{:.0}", run.peak_mib)]
}

/// DuckDB, with what it needs to do the same.
struct Peer<'a> {
    python: &'a Path,
    scripts: PathBuf,
    files: PathBuf,
    model: PathBuf,
    out: PathBuf,
}

impl<'a> Peer<'a> {
    fn new(settings: &Settings, python: &'a Path, workspace: &Path, lake: &Path) -> Result<Peer<'a>> {
        let out = child::fresh(settings, "weekly-duckdb")?;
        let project = duckdb::project(workspace)?;
        let model = project.models.get(&FACT.parse()?).with_context(|| format!("no model {FACT}"))?;
        let sql = model.feeds.first().map(|feed| feed.sql.as_str()).unwrap_or_default();
        let peer = Peer {
            python,
            scripts: workspace.join("benches/peers"),
            files: out.join("lake.json"),
            model: out.join("model.sql"),
            out,
        };
        fs::write(&peer.model, sql)?;
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        runtime.block_on(async {
            let lake = Lake::open(&lake.to_string_lossy(), LakeOptions::default()).await?;
            duckdb::describe(&lake, &project, &peer.files).await
        })?;
        Ok(peer)
    }

    fn run(&self) -> Result<Run> {
        peers::script(self.python, &self.scripts.join("weekly_duckdb.py"), &[&self.files, &self.model, &self.out])
    }

    /// Compares the facts row by row.
    fn compare(&self, smelt: &Smelt, project: &Path, lake: &Path) -> Result<String> {
        let ours = self.out.join("ours.parquet");
        let statement = format!("SELECT * FROM {FACT}");
        child::run(smelt.on(project, lake).args(["sql", &statement, "--format", "parquet", "--output"]).arg(&ours))?;
        let script = self.scripts.join("compare_weekly.py");
        let agreed = peers::script(self.python, &script, &[&self.out.join("weekly.parquet"), &ours])?;
        Ok(format!("both facts: {}", agreed.output.trim()))
    }
}
