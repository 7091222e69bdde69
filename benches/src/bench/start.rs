//! From a cold process to the first answer.

use anyhow::{Result, ensure};

use crate::Settings;
use crate::child::{self, Smelt};
use crate::peers;
use crate::report::{Report, median};

const ABOUT: &str = "smelt query pos_totals on a small lake (the samples under data/), a new process each time; the file \
    system's cache is warm.";

/// Builds the small lake and asks it.
///
/// # Errors
/// When a run fails or the answer is not the sample's truth.
pub fn run(settings: &Settings, runs: usize) -> Result<()> {
    let smelt = Smelt::find(settings)?;
    let data = peers::workspace().join("data");
    let mut report = Report::new("start", ABOUT, &["runs", "median ms", "least ms", "most ms", "peak MiB"]);
    report.fact("smelt", smelt.version()?);
    let (project, lake) = (child::fresh(settings, "project")?, child::fresh(settings, "start")?);
    let input = |stream: &str, path: &str| format!("{stream}={}", data.join(path).display());
    let mut ingest = smelt.on(&project, &lake);
    ingest.args(["ingest", "--once"]);
    for (stream, path) in [("pos_sales", "pos_sales"), ("pos_stock", "pos_stock.csv"), ("invoices", "invoices")] {
        ingest.args(["--input", &input(stream, path)]);
    }
    child::run(&mut ingest)?;
    child::run(smelt.on(&project, &lake).arg("refine"))?;
    let expected = std::fs::read_to_string(data.join("truth/pos_totals.csv"))?;
    let mut times = Vec::new();
    let mut peak: f64 = 0.0;
    for _ in 0..runs {
        let run = child::run(smelt.on(&project, &lake).args(["query", "pos_totals", "--format", "csv"]))?;
        ensure!(run.output == expected, "answered {}, expected {expected}", run.output);
        times.push(run.wall_s * 1e3);
        peak = peak.max(run.peak_mib);
    }
    times.sort_by(f64::total_cmp);
    let middle = median(times.iter().copied());
    let end = |at: usize| format!("{:.0}", times.get(at).copied().unwrap_or_default());
    report.row(vec![
        runs.to_string(),
        format!("{middle:.0}"),
        end(0),
        end(runs.saturating_sub(1)),
        format!("{peak:.0}"),
    ]);
    report.bar("milliseconds from start to answer (median)", middle, 150.0);
    report.finish(settings)
}
