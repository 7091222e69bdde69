//! The whole batch job against DuckDB's.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use crate::Settings;
use crate::child::{self, Run, Smelt};
use crate::report::{Report, median, two};
use crate::{events, peers};

const ABOUT: &str = "The whole job of batch_duckdb.py (NDJSON to Bronze, latest sale by transaction to Silver by day, three Gold \
    tables) by DuckDB 2.0.0 on two threads to Parquet, and by Smelt, as the project benches/batch, to Delta tables with default \
    sync. Smelt's time is that of its two processes, DuckDB's what its script says, without Python's start. The outputs are \
    compared row by row. With --peers Polars 2 and Spark 3.5 (two threads, to Parquet) do the same job, three times each at most. \
    Their time is that of their process, as Smelt's is; what their scripts say, without starts, stands in the phases.";

/// Peers that are slow and run a few times only: what they are called, their environment, their script, and the most that Smelt's time may be of theirs.
const OTHERS: [(&str, &str, &str, Option<f64>); 2] =
    [("polars", "polars", "peers/batch_polars.py", None), ("spark", "spark", "peers/batch_spark.py", Some(0.1))];

/// How often those run, at most.
const OTHERS_RUNS: usize = 3;

/// The outputs: what both are asked for, table by table.
const OUTPUTS: [(&str, &str); 4] = [
    (
        "silver",
        "SELECT transaction_id, product_id, \"timestamp\", quantity, unit_price, store_id, revenue, event_date FROM silver.sales",
    ),
    ("daily", "SELECT event_date, store_id, n, q, rev FROM gold.daily"),
    ("product", "SELECT event_date, product_id, n, q, rev FROM gold.product"),
    ("minute", "SELECT w, store_id, n, rev FROM gold.minute"),
];

/// The job's own models: the built-in ones, which lie beside a project's, would refine the same stream into theirs.
const MODELS: [&str; 4] = ["silver.sales", "gold.daily", "gold.product", "gold.minute"];

/// As many threads as the peer's script takes.
pub(super) const TWO_THREADS: [&str; 2] = ["--set", "limits.threads=2"];

/// Runs both by turns, and compares the outputs of the last runs; `with_peers` the others too.
///
/// # Errors
/// When a run fails, the peer cannot be had, or the outputs differ.
pub fn run(settings: &Settings, events: u64, with_peers: bool) -> Result<()> {
    let smelt = Smelt::find(settings)?;
    let python = peers::needed("duckdb-batch")?;
    let peer = peers::shared("peers/batch_duckdb.py")?;
    let file = events::sales(events)?;
    let project = peers::workspace().join("benches/batch");
    let mut report = Report::new("batch", ABOUT, &["pair", "engine", "wall s", "CPU s", "peak MiB", "phases"]);
    report.fact("smelt", smelt.version()?);
    let version = child::run(Command::new(&python).args(["-c", "import duckdb; print(duckdb.__version__)"]))?.output;
    report.fact("duckdb", format!("{}, threads=2, preserve_insertion_order=false", version.trim()));
    report.fact("smelt's settings", TWO_THREADS.join(" "));
    report.fact("events", events);
    let (mut ours, mut theirs): (Vec<Run>, Vec<Run>) = (Vec::new(), Vec::new());
    for pair in 1..=settings.pairs {
        let duckdb = child::fresh(settings, "duckdb")?;
        let mut run = peers::script(&python, &peer, &[&file, &duckdb])?;
        run.wall_s = total(&run.output)?;
        report.row(row(pair, "duckdb", &run, run.output.trim()));
        theirs.push(run);
        let lake = child::fresh(settings, "batch")?;
        let input = format!("sales_transactions={}", file.display());
        let ingest =
            child::run(smelt.on(&project, &lake).args(TWO_THREADS).args(["ingest", "--input", &input, "--once"]))?;
        let selected = MODELS.iter().flat_map(|model| ["--select", model]);
        let refine = child::run(smelt.on(&project, &lake).args(TWO_THREADS).arg("refine").args(selected))?;
        let phases = format!("ingest {:.2} refine {:.2} s", ingest.wall_s, refine.wall_s);
        let run = ingest.then(refine);
        report.row(row(pair, "smelt", &run, &phases));
        ours.push(run);
    }
    compare(settings, &smelt, &python, &project)?;
    report.note("all four outputs agree row by row");
    let wall = |runs: &[Run]| median(runs.iter().map(|run| run.wall_s));
    report.bar("Smelt's time over DuckDB's (medians)", wall(&ours) / wall(&theirs), 0.8);
    for (name, environment, script, at_most) in OTHERS.into_iter().filter(|_| with_peers) {
        let (python, script) = (peers::needed(environment)?, peers::shared(script)?);
        let (mut runs, mut said) = (Vec::new(), Vec::new());
        for number in 1..=settings.pairs.min(OTHERS_RUNS) {
            let run = peers::script(&python, &script, &[&file, &child::fresh(settings, name)?])?;
            report.row(row(number, name, &run, run.output.trim()));
            said.push(total(&run.output)?);
            runs.push(run);
        }
        let what = format!("Smelt's time over {name}'s (medians)");
        let (share, without_start) = (wall(&ours) / wall(&runs), wall(&ours) / median(said));
        report.note(format!("{what}: {share:.3}; {without_start:.3} of what {name}'s script says, without its start"));
        if let Some(at_most) = at_most {
            report.bar(&what, share, at_most);
        }
    }
    report.bar("Smelt's peak MB", ours.iter().map(|run| run.peak_mib).fold(0.0, f64::max) * 1.048_576, 800.0);
    report.finish(settings)
}

fn row(pair: usize, engine: &str, run: &Run, phases: &str) -> Vec<String> {
    vec![
        pair.to_string(),
        engine.into(),
        two(run.wall_s),
        two(run.cpu_s),
        format!("{:.0}", run.peak_mib),
        phases.into(),
    ]
}

/// The seconds after `total` in what the peer prints.
pub(super) fn total(output: &str) -> Result<f64> {
    let mut words = output.split_whitespace().skip_while(|word| *word != "total").skip(1);
    let seconds = words.next().with_context(|| format!("no total in {output}"))?;
    Ok(seconds.parse()?)
}

fn compare(settings: &Settings, smelt: &Smelt, python: &Path, project: &Path) -> Result<()> {
    let answers = child::fresh(settings, "batch-answers")?;
    let lake = settings.work.join("batch");
    for (name, statement) in OUTPUTS {
        let file = answers.join(format!("{name}.parquet"));
        let mut command = smelt.on(project, &lake);
        child::run(command.args(["sql", statement, "--format", "parquet", "--output"]).arg(&file))?;
    }
    let script = peers::workspace().join("benches/peers/compare_batch.py");
    let agreed = child::run(Command::new(python).arg(script).arg(settings.work.join("duckdb")).arg(&answers))?;
    print!("{}", agreed.output);
    Ok(())
}
