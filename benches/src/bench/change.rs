//! New events into lakes of different ages.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, ensure};
use chrono::{Days, NaiveDate};

use crate::Settings;
use crate::child::{self, Run, Smelt};
use crate::report::{Report, median, two};
use crate::{events, peers};

const ABOUT: &str = "Ingest and refine (project benches/batch) of the same new events, 99 % of today and 1 % spread over the \
    last 20 days, into a lake of many days, into one with a tenth of them, and into an empty one. Each run starts from a \
    copy of the lake by hard links.";

/// The lakes, oldest first; `None` is the empty one.
const LAKES: [&str; 3] = ["old", "young", "empty"];

/// Builds the lakes, then runs them by turns.
///
/// # Errors
/// When a run fails or a lake does not hold what it was given.
pub fn run(settings: &Settings, rows_per_day: u64, days: u32, new_events: u64) -> Result<()> {
    ensure!(days >= 20, "expected at least 20 days, found {days}");
    let smelt = Smelt::find(settings)?;
    let project = peers::workspace().join("benches/batch");
    let columns = ["pair", "lake", "ingest s", "refine s", "total s", "CPU s", "peak MiB"];
    let mut report = Report::new("change", ABOUT, &columns);
    report.fact("smelt", smelt.version()?);
    report.fact("rows a day, days of the old lake, new events", format!("{rows_per_day}, {days}, {new_events}"));
    // The three lakes end on the same day.
    let last = NaiveDate::from_ymd_opt(2024, 6, 28).unwrap_or_default();
    let ages = [days, days / 10, 0];
    for (name, age) in LAKES.iter().zip(ages) {
        let built = build(settings, &smelt, &project, name, last, age, rows_per_day)?;
        report.note(format!(
            "{name} lake: {} rows over {age} days, built in {built:.0} s",
            rows_per_day * u64::from(age)
        ));
    }
    let file = new_file(settings, last, new_events)?;
    let mut measured: [Vec<Run>; 3] = Default::default();
    for pair in 1..=settings.pairs {
        for (index, name) in LAKES.iter().enumerate() {
            let lake = copy(settings, &settings.work.join(format!("change-{name}")))?;
            let ingest = ingest(&smelt, &project, &lake, &file)?;
            let refine = child::run(smelt.on(&project, &lake).arg("refine"))?;
            let (ingest_s, refine_s) = (two(ingest.wall_s), two(refine.wall_s));
            let run = ingest.then(refine);
            let figures = vec![ingest_s, refine_s, two(run.wall_s), two(run.cpu_s), format!("{:.0}", run.peak_mib)];
            report.row([vec![pair.to_string(), (*name).to_owned()], figures].concat());
            measured[index].push(run);
            let rows = smelt.sql(&project, &lake, "SELECT count(*) AS n FROM silver.sales")?;
            let expected = rows_per_day * u64::from(ages[index]) + new_events;
            ensure!(rows.trim() == format!("n\n{expected}"), "{name}: {rows} rows in Silver, expected {expected}");
        }
    }
    let [old, young, empty] = measured.map(|runs| median(runs.iter().map(|run| run.wall_s)));
    report.bar("time on the old lake over the young one (medians)", old / young, 1.3);
    report.bar("time on the old lake over the empty one (medians)", old / empty, 4.0);
    report.finish(settings)
}

/// Makes the lake of `age` days that end on `last`, anew; gives the seconds it took.
fn build(
    settings: &Settings,
    smelt: &Smelt,
    project: &Path,
    name: &str,
    last: NaiveDate,
    age: u32,
    rows_per_day: u64,
) -> Result<f64> {
    let lake = child::fresh(settings, &format!("change-{name}"))?;
    if age == 0 {
        return Ok(0.0);
    }
    let landing = child::fresh(settings, "change-landing")?;
    let file = landing.join("sales.ndjson");
    events::simulated(1, last - Days::new(u64::from(age) - 1), age, rows_per_day * u64::from(age), &file)?;
    let run = ingest(smelt, project, &lake, &file)?.then(child::run(smelt.on(project, &lake).arg("refine"))?);
    fs::remove_dir_all(landing)?;
    Ok(run.wall_s)
}

fn new_file(settings: &Settings, last: NaiveDate, count: u64) -> Result<PathBuf> {
    let path = child::fresh(settings, "change-new")?.join("new.ndjson");
    events::simulated(2, last - Days::new(19), 20, count / 100, &path)?;
    events::simulated(3, last, 1, count - count / 100, &path)?;
    Ok(path)
}

/// Ingests a file of sales.
pub(super) fn ingest(smelt: &Smelt, project: &Path, lake: &Path, file: &Path) -> Result<Run> {
    let input = format!("sales_transactions={}", file.display());
    child::run(smelt.on(project, lake).args(["ingest", "--input", &input, "--once"]))
}

/// A copy by hard links: files of a lake never change once they are written, only new ones appear.
pub(super) fn copy(settings: &Settings, from: &Path) -> Result<PathBuf> {
    let to = child::fresh(settings, "change")?;
    child::run(Command::new("cp").arg("-al").arg(format!("{}/.", from.display())).arg(&to))?;
    Ok(to)
}
