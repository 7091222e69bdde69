//! The demo, as a user runs it.

use anyhow::Result;

use crate::Settings;
use crate::child::{self, Smelt};
use crate::report::{Report, two};

const ABOUT: &str = "smelt demo as it is, twice into the same folder, a new process each time. It compares its answers with \
    the simulator's truth itself, and fails where they differ.";

/// Runs the demo, and runs it again.
///
/// # Errors
/// When a run fails.
pub fn run(settings: &Settings) -> Result<()> {
    let smelt = Smelt::find(settings)?;
    let mut report = Report::new("demo", ABOUT, &["run", "wall s", "CPU s", "peak MiB"]);
    report.fact("smelt", smelt.version()?);
    let dir = child::fresh(settings, "demo")?;
    let mut longest: f64 = 0.0;
    for number in 1..=2 {
        let run = child::run(smelt.command().arg("demo").arg("--dir").arg(&dir))?;
        report.row(vec![number.to_string(), two(run.wall_s), two(run.cpu_s), format!("{:.0}", run.peak_mib)]);
        longest = longest.max(run.wall_s);
    }
    report.bar("seconds of the longer run", longest, 60.0);
    report.finish(settings)
}
