//! A few rows into tables whose entities may be stored on any day: new ones, corrections, and all of them again.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};
use chrono::{Days, NaiveDate};

use super::change::{copy, ingest};
use crate::Settings;
use crate::child::{self, Run, Smelt};
use crate::report::{Report, median, two};
use crate::{events, peers};

const MOVES: &str = "Ingest and refine (project benches/moves: a sale is its id, the table is by day, and Gold has its sums by \
    day and store) of the same new events, 99 % of the last day and 1 % of any day, into a lake and into one with a tenth of its rows on the same days. Each run \
    starts from a copy of the lake by hard links.";

const CORRECTIONS: &str = "Ingest and refine (project benches/moves) of corrections of sales that are spread over the whole \
    lake: in a lake, in one with a tenth of its rows on the same days, and in one of a tenth of its days. Each run starts \
    from a copy of the lake by hard links.";

const RESEND: &str =
    "Ingest and refine (project benches/moves) of all rows of a lake once more: no file of Silver or Gold changes.";

const COLUMNS: [&str; 7] = ["pair", "lake", "ingest s", "refine s", "total s", "CPU s", "peak MiB"];

/// A lake that is measured, and what goes into it.
struct Lake {
    name: &'static str,
    rows: u64,
    days: u32,
    /// The new file.
    file: PathBuf,
    /// Rows of Silver afterwards.
    expected: u64,
}

/// What a run needs.
struct Bench<'a> {
    settings: &'a Settings,
    smelt: Smelt,
    project: PathBuf,
    last: NaiveDate,
}

/// New events, of which 1 % are late.
///
/// # Errors
/// When a run fails or a lake does not hold what it was given.
pub fn moves(settings: &Settings, rows: u64, days: u32, new_events: u64) -> Result<()> {
    let bench = Bench::new(settings)?;
    let mut report = bench.report("moves", MOVES)?;
    report.fact("rows, days, new events", format!("{rows}, {days}, {new_events}"));
    let file = child::fresh(settings, "moves-2")?.join("sales-2.ndjson");
    events::simulated(2, bench.first(days), days, new_events / 100, &file)?;
    events::simulated(3, bench.last, 1, new_events - new_events / 100, &file)?;
    let lake = |name, rows| Lake { name, rows, days, file: file.clone(), expected: rows + new_events };
    let lakes = [lake("large", rows), lake("small", rows / 10)];
    for lake in &lakes {
        bench.build(lake, &mut report, |_| Ok(()))?;
    }
    let [large, small] = bench.measure(&lakes, &mut report)?;
    report.bar("time on the large lake over the small one (medians)", large / small, 1.5);
    report.finish(settings)
}

/// Corrections of keys from everywhere.
///
/// # Errors
/// As [`moves`].
pub fn corrections(settings: &Settings, rows: u64, days: u32, count: u64) -> Result<()> {
    ensure!(days >= 10, "expected at least 10 days, found {days}");
    let bench = Bench::new(settings)?;
    let mut report = bench.report("corrections", CORRECTIONS)?;
    report.fact("rows, days, corrections", format!("{rows}, {days}, {count}"));
    let folder = child::fresh(settings, "moves-2")?;
    let lake = |name: &'static str, rows, days| {
        let file = folder.join(name).join("sales-2.ndjson");
        Lake { name, rows, days, file, expected: rows }
    };
    let lakes = [lake("large", rows, days), lake("small", rows / 10, days), lake("short", rows / 10, days / 10)];
    for lake in &lakes {
        bench.build(lake, &mut report, |sent| corrected(sent, lake.rows, count, &lake.file))?;
    }
    let [large, small, short] = bench.measure(&lakes, &mut report)?;
    report.bar("time on the large lake over the small one (medians)", large / small, 2.0);
    report.bar("time on the large lake over the short one (medians)", large / short, 2.0);
    report.note("a file that has a corrected row is written again, so the cost follows the days that are reached");
    report.finish(settings)
}

/// All rows again.
///
/// # Errors
/// As [`moves`], and when a file of Silver or Gold changed.
pub fn resend(settings: &Settings, rows: u64, days: u32) -> Result<()> {
    let bench = Bench::new(settings)?;
    let mut report = bench.report("resend", RESEND)?;
    report.fact("rows, days", format!("{rows}, {days}"));
    let file = child::fresh(settings, "moves-2")?.join("sales-2.ndjson");
    let lake = Lake { name: "whole", rows, days, file, expected: rows };
    bench.build(&lake, &mut report, |sent| {
        let mut text = BufWriter::new(File::create(&lake.file)?);
        std::io::copy(&mut File::open(sent)?, &mut text)?;
        // A blank line more, or it would be known as the same content.
        Ok(writeln!(text)?)
    })?;
    let before = data_files(&settings.work.join("moves-whole"))?;
    bench.measure(&[lake], &mut report)?;
    ensure!(data_files(&settings.work.join("change"))? == before, "files of Silver or Gold changed");
    report.finish(settings)
}

impl<'a> Bench<'a> {
    fn new(settings: &'a Settings) -> Result<Bench<'a>> {
        let last = NaiveDate::from_ymd_opt(2024, 6, 28).unwrap_or_default();
        Ok(Bench { settings, smelt: Smelt::find(settings)?, project: peers::workspace().join("benches/moves"), last })
    }

    fn report(&self, name: &str, about: &str) -> Result<Report> {
        let mut report = Report::new(name, about, &COLUMNS);
        report.fact("smelt", self.smelt.version()?);
        Ok(report)
    }

    fn first(&self, days: u32) -> NaiveDate {
        self.last - Days::new(u64::from(days) - 1)
    }

    /// Makes a lake anew; `sent` sees the file that it is made of.
    fn build(&self, lake: &Lake, report: &mut Report, sent: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
        let at = child::fresh(self.settings, &format!("moves-{}", lake.name))?;
        let landing = child::fresh(self.settings, "moves-1")?;
        let file = landing.join("sales-1.ndjson");
        events::simulated(1, self.first(lake.days), lake.days, lake.rows, &file)?;
        let run = ingest(&self.smelt, &self.project, &at, &file)?;
        let run = run.then(self.refine(&at)?);
        sent(&file)?;
        fs::remove_dir_all(landing)?;
        let note =
            format!("{} lake: {} rows over {} days, built in {:.0} s", lake.name, lake.rows, lake.days, run.wall_s);
        report.note(note);
        Ok(())
    }

    /// Refreshes the project's own tables: the built-in models read these sales too.
    fn refine(&self, lake: &Path) -> Result<Run> {
        let models = ["--select", "silver.sales", "--select", "gold.daily"];
        child::run(self.smelt.on(&self.project, lake).arg("refine").args(models))
    }

    /// Runs by turns; gives the median seconds of each lake.
    fn measure<const N: usize>(&self, lakes: &[Lake; N], report: &mut Report) -> Result<[f64; N]> {
        let mut measured: [Vec<Run>; N] = std::array::from_fn(|_| Vec::new());
        for pair in 1..=self.settings.pairs {
            for (index, lake) in lakes.iter().enumerate() {
                let at = copy(self.settings, &self.settings.work.join(format!("moves-{}", lake.name)))?;
                let ingest = ingest(&self.smelt, &self.project, &at, &lake.file)?;
                let refine = self.refine(&at)?;
                let (ingest_s, refine_s) = (two(ingest.wall_s), two(refine.wall_s));
                let run = ingest.then(refine);
                let figures = vec![ingest_s, refine_s, two(run.wall_s), two(run.cpu_s), format!("{:.0}", run.peak_mib)];
                report.row([vec![pair.to_string(), lake.name.to_owned()], figures].concat());
                measured[index].push(run);
                for counted in ["count(*) AS n FROM silver.sales", "CAST(sum(n) AS BIGINT) AS n FROM gold.daily"] {
                    let rows = self.smelt.sql(&self.project, &at, &format!("SELECT {counted}"))?;
                    let (name, expected) = (lake.name, lake.expected);
                    ensure!(rows.trim() == format!("n\n{expected}"), "{name}: {rows}: {counted}, expected {expected}");
                }
            }
        }
        Ok(measured.map(|runs| median(runs.iter().map(|run| run.wall_s))))
    }
}

/// Writes `count` of the rows that were sent, from everywhere, with another quantity.
fn corrected(sent: &Path, rows: u64, count: u64, path: &Path) -> Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let step = (rows / count).max(1) as usize;
    let mut output = BufWriter::new(File::create(path)?);
    let lines = BufReader::with_capacity(1 << 20, File::open(sent)?).lines();
    for (index, line) in lines.step_by(step).take(count as usize).enumerate() {
        let line = line?;
        writeln!(output, "{}", line.replace("\"quantity\":", &format!("\"quantity\":{}", 1 + index % 9)))?;
    }
    Ok(output.flush()?)
}

/// The data files of Silver and Gold, by path and size.
fn data_files(lake: &Path) -> Result<Vec<(PathBuf, u64)>> {
    let mut files = Vec::new();
    let mut folders = vec![lake.join("silver/sales"), lake.join("gold/daily")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder)? {
            let entry = entry?;
            // Logs, indexes and change data are no data files.
            if entry.file_name().to_string_lossy().starts_with('_') {
                continue;
            }
            match entry.metadata()? {
                about if about.is_dir() => folders.push(entry.path()),
                about => files.push((entry.path().strip_prefix(lake)?.to_owned(), about.len())),
            }
        }
    }
    files.sort();
    Ok(files)
}
