//! Many small landing files.

use std::fs;

use anyhow::{Result, ensure};

use crate::Settings;
use crate::child::{self, Smelt};
use crate::report::{Report, median, two};

const ABOUT: &str = "A folder of landing files with one sale each. The first ingest takes them all in; the second, in a new \
    process, must find quickly that nothing is new.";

/// Ingests once, then looks again as often as there are pairs.
///
/// # Errors
/// When a run fails or does not store each sale once.
pub fn run(settings: &Settings, files: u32) -> Result<()> {
    let smelt = Smelt::find(settings)?;
    let mut report = Report::new("small-files", ABOUT, &["run", "wall s", "CPU s", "peak MiB"]);
    report.fact("smelt", smelt.version()?);
    report.fact("files", files);
    let landing = child::fresh(settings, "small-landing")?;
    for number in 0..files {
        let sale = format!(
            "{{\"transaction_id\":\"T-{number}\",\"product_id\":\"P1\",\"timestamp\":\"2024-03-04 10:00:00\",\
             \"quantity\":1,\"unit_price\":1.25,\"store_id\":\"W001\"}}\n"
        );
        fs::write(landing.join(format!("sales-{number:06}.ndjson")), sale)?;
    }
    let (project, lake) = (child::fresh(settings, "project")?, child::fresh(settings, "small")?);
    let input = format!("sales_transactions={}", landing.display());
    let mut again = Vec::new();
    for number in 0..=settings.pairs {
        let run = child::run(smelt.on(&project, &lake).args(["ingest", "--input", &input, "--once"]))?;
        let name = if number == 0 { "first".to_owned() } else { format!("again {number}") };
        report.row(vec![name, two(run.wall_s), two(run.cpu_s), format!("{:.0}", run.peak_mib)]);
        if number > 0 {
            again.push(run.wall_s);
        }
    }
    let rows = smelt.sql(&project, &lake, "SELECT count(*) AS n FROM bronze.sales_transactions")?;
    ensure!(rows.trim() == format!("n\n{files}"), "{rows} rows in Bronze, expected {files}");
    report.bar("seconds of a further ingest (median)", median(again), 2.0);
    report.finish(settings)
}
