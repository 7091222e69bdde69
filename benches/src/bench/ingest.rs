//! Sales events from a file to committed Bronze.

use std::path::Path;

use anyhow::{Result, ensure};

use crate::Settings;
use crate::child::{self, Run, Smelt};
use crate::events;
use crate::report::{Report, median, two};

const ABOUT: &str = "Sales events (make_events.py, 163 bytes each) as NDJSON to committed Bronze with the shipped contract \
    and default sync, in a new process each time. Dirty: an unknown field in every record, 1 % of the records bad.";

/// Runs clean and dirty files by turns.
///
/// # Errors
/// When a run fails or stores anything but what came.
pub fn run(settings: &Settings, events: u64) -> Result<()> {
    let smelt = Smelt::find(settings)?;
    let files = [("clean", events::sales(events)?, 0), ("dirty", events::dirty_sales(events)?, events / 100)];
    let columns = ["pair", "events", "CPU us/event", "wall s", "events/s", "peak MiB"];
    let mut report = Report::new("ingest", ABOUT, &columns);
    report.fact("smelt", smelt.version()?);
    report.fact("events", events);
    let mut measured: [Vec<Run>; 2] = [Vec::new(), Vec::new()];
    for pair in 1..=settings.pairs {
        for (variant, (name, file, bad)) in files.iter().enumerate() {
            let run = once(settings, &smelt, file, events, *bad)?;
            report.row(vec![
                pair.to_string(),
                (*name).to_owned(),
                two(run.cpu_s * 1e6 / events as f64),
                two(run.wall_s),
                format!("{:.0}", events as f64 / run.wall_s),
                format!("{:.0}", run.peak_mib),
            ]);
            measured[variant].push(run);
        }
    }
    let cpu = measured.each_ref().map(|runs| median(runs.iter().map(|run| run.cpu_s * 1e6 / events as f64)));
    report.bar("CPU microseconds an event, clean (median)", cpu[0], 1.6);
    report.bar("dirty over clean", cpu[1] / cpu[0], 1.5);
    let [clean, dirty] =
        measured.each_ref().map(|runs| runs.iter().map(|run| run.peak_mib).fold(0.0, f64::max) * 1.048_576);
    report.bar("peak MB, of all clean runs", clean, 300.0);
    report.bar("peak MB, of all dirty runs (1.5 x that)", dirty, 450.0);
    report.finish(settings)
}

fn once(settings: &Settings, smelt: &Smelt, file: &Path, events: u64, bad: u64) -> Result<Run> {
    let project = child::fresh(settings, "project")?;
    let lake = child::fresh(settings, "ingest")?;
    let input = format!("sales_transactions={}", file.display());
    let run = child::run(smelt.on(&project, &lake).args(["ingest", "--input", &input, "--once"]))?;
    let count =
        |table: &str| smelt.sql(&project, &lake, &format!("SELECT count(*) AS n FROM {table}.sales_transactions"));
    let (stored, quarantined) = (count("bronze")?, count("quarantine")?);
    ensure!(stored.trim() == format!("n\n{}", events - bad), "stored {stored}, expected {}", events - bad);
    ensure!(quarantined.trim() == format!("n\n{bad}"), "quarantined {quarantined}, expected {bad}");
    Ok(run)
}
