//! `smelt demo`: a simulated retail week of five systems, from messages to answers, checked against the simulator's truth.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use arrow::compute::concat_batches;
use futures::TryStreamExt;
use ingest::{IngestEnv, IngestOptions, IngestReport};
use schema::Project;
use session::{LakeSession, SessionFactory};
use sim::{AnswerTable, Catalog, Rows, SimConfig, Simulation, Truth};

use crate::app::{open_lake, session_options, variables};
use crate::cli::{Common, DemoArgs};
use crate::cmd::refine::RefineProgress;
use crate::exit::Usage;
use crate::output;
use crate::progress::{IngestProgress, counted, grouped, say};
use crate::project;
use crate::settings::Settings;
use crate::shutdown;

/// The file that marks a folder as made by the demo, so that nothing else is ever removed.
const MARKER: &str = ".smelt-demo";

/// What the simulator makes, with a question that the project answers where it has models of it.
const ASKED: [(&str, &str); 6] = [
    ("pos_sales", "pos_totals"),
    ("invoices", "invoice_daily"),
    ("sales_transactions", "bf_store_hour"),
    ("inventory_updates", "bf_stock"),
    ("sales_events", "ec_daily"),
    ("weekly", "weekly_store_product"),
];

/// Small enough that a demo's events show in each store's and product's numbers.
const SMALL_CHAIN: Catalog = Catalog { products: 200, stores: 12, customers: 5_000 };

/// The questions whose answers are printed, with the most rows to show.
const SHOWN: [(&str, usize); 7] = [
    ("pos_totals", 1),
    ("pos_daily", 7),
    ("invoice_kpi_minute_country", 5),
    ("bf_top_products", 5),
    ("bf_running_out", 5),
    ("ec_daily", 7),
    ("weekly_worst_stores", 5),
];

/// Simulates, ingests, refines, answers, and compares every answer that the simulator knows with its truth.
///
/// # Errors
/// A folder that is not a demo's; anything that fails on the way; an answer that is not the truth.
pub async fn run(common: &Common, args: DemoArgs) -> Result<ExitCode> {
    if common.lake.is_some() {
        return Err(Usage("--lake: the demo makes its own lake; name its folder with --dir".to_owned()).into());
    }
    prepare(&args.dir)?;
    let folder = project::folder(common.project.as_deref())?;
    let settings = Settings::load(&folder, variables(), &common.set)?;
    let project = Arc::new(project::load(&folder)?);
    let lake_path = args.dir.join("lake");
    let lake = open_lake(&lake_path.to_string_lossy(), &settings).await?;
    let rows = Rows::even(args.rows, &simulated(&project))?;
    let config = SimConfig { seed: args.seed, rows, catalog: SMALL_CHAIN, ..SimConfig::default() };
    let simulation = Simulation::new(config.clone())?;
    say(&format!("a retail week from seed {}, into the lake {}", args.seed, lake_path.display()));

    let cancel = shutdown::token()?;
    let inputs = write_files(&simulation, &project, &args.dir.join("landing"))?;
    let env = IngestEnv::new(lake.clone(), Arc::clone(&project), &args.dir);
    let events =
        IngestOptions { simulator: Some(config), threads: settings.limits.cores(), ..IngestOptions::default() };
    let files = IngestOptions { inputs, ..IngestOptions::default() };
    let start = Instant::now();
    let progress = Arc::new(IngestProgress::new());
    let report = ingest::run(env.clone(), events, cancel.clone(), progress.clone()).await?;
    ingest::run(env, files, cancel.clone(), progress).await?;
    let ingested = start.elapsed().as_secs_f64();
    if cancel.is_cancelled() {
        bail!("stopped before the week was over");
    }
    say_counts(&report, ingested);

    let start = Instant::now();
    let factory = SessionFactory::new(lake.clone(), Arc::clone(&project), session_options(&settings))?;
    let env = refine::RefineEnv { factory: factory.clone(), lake: lake.clone(), project: Arc::clone(&project) };
    refine::run(env, refine::RefineOptions::default(), cancel, Arc::new(RefineProgress::new())).await?;
    lake.settle().await;
    say(&format!("refined to Silver and Gold in {:.1} s", start.elapsed().as_secs_f64()));

    let session = factory.session().await?;
    for (query, rows) in SHOWN {
        print_answer(&session, &project, query, rows).await?;
    }
    let truth = simulation.truth();
    truth.write(&args.dir.join("truth"))?;
    let checked = check(&session, &project, &truth, &report).await?;
    say(&format!(
        "all {checked} answers equal what the simulator counted itself ({})",
        args.dir.join("truth").display()
    ));
    // As it was called: after `cargo run` no smelt is on the path.
    let me = std::env::args().next().unwrap_or_else(|| "smelt".to_owned());
    let dir = lake_path.display();
    say(&format!(
        "next:\n  {me} query --list\n  {me} query pos_product --lake {dir}\n  {me} sql --lake {dir}\n  \
         {me} sql \"SELECT _error, count(*) FROM quarantine.pos_sales GROUP BY 1\" --lake {dir}\n  {me} status --lake {dir}"
    ));
    Ok(ExitCode::SUCCESS)
}

/// Makes the folder anew, if it is a demo's or not there.
fn prepare(dir: &Path) -> Result<()> {
    let is_empty = fs::read_dir(dir).map_or(true, |mut entries| entries.next().is_none());
    if !is_empty && !dir.join(MARKER).exists() {
        return Err(Usage(format!(
            "--dir {}: holds something that is not a demo's; name another folder",
            dir.display()
        ))
        .into());
    }
    for made in ["lake", "truth", "landing"] {
        match fs::remove_dir_all(dir.join(made)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(error).with_context(|| format!("removing {}", dir.join(made).display()));
            }
            _ => {}
        }
    }
    fs::create_dir_all(dir).with_context(|| format!("making {}", dir.display()))?;
    fs::write(dir.join(MARKER), "made by smelt demo; a later demo removes lake, truth and landing\n")
        .with_context(|| format!("writing to {}", dir.display()))
}

/// What the simulator can make of the project: streams and landing sets that it has contracts for, and that it has models
/// of, because an answer is the point of a demo.
fn simulated(project: &Project) -> Vec<&'static str> {
    let is_known = |name: &&str| project.contracts.contains_key(if *name == "weekly" { "weekly_sales" } else { name });
    let is_asked = |name: &&str| ASKED.iter().any(|(of, query)| of == name && project.queries.contains_key(*query));
    Rows::NAMES.into_iter().filter(is_known).filter(is_asked).collect()
}

/// Writes what is delivered as files, dimensions and landing sets; returns which contract each path is for.
fn write_files(simulation: &Simulation, project: &Project, folder: &Path) -> Result<Vec<(String, String)>> {
    sim::write_files(simulation, folder)?;
    let folder = folder.canonicalize().with_context(|| format!("finding {}", folder.display()))?;
    let path = |name: &str| folder.join(name).to_string_lossy().into_owned();
    let dimensions = simulation.dimensions().into_iter().map(|table| table.name);
    let known = dimensions.filter(|name| project.contracts.contains_key(name));
    let mut inputs: Vec<(String, String)> = known.map(|name| (name.clone(), path(&format!("{name}.csv")))).collect();
    if simulation.config().rows.weekly > 0 {
        inputs.push(("weekly".to_owned(), path("weekly")));
    }
    Ok(inputs)
}

fn say_counts(report: &IngestReport, seconds: f64) {
    for stream in &report.streams {
        let counts = &stream.counts;
        say(&format!(
            "{}: {} events = {} stored + {} quarantined",
            stream.stream,
            grouped(counts.delivered),
            grouped(counts.stored),
            grouped(counts.quarantined)
        ));
    }
    let events = report.counts().delivered;
    say(&format!(
        "{} events to Bronze in {seconds:.1} s: {} events/s",
        grouped(events),
        grouped((events as f64 / seconds) as u64)
    ));
}

/// Prints a question and the first rows of its answer.
async fn print_answer(session: &LakeSession, project: &Project, name: &str, rows: usize) -> Result<()> {
    let named = query::named(project, name)?;
    let answer = query::run_named(session, named, &BTreeMap::new()).await?;
    let (schema, batches) = (answer.schema(), answer.try_collect::<Vec<_>>().await?);
    let all = concat_batches(&schema, &batches)?;
    let mut out = std::io::stdout();
    writeln!(out, "\n{}  [smelt query {name}]", named.question)?;
    output::write_batch(all.slice(0, all.num_rows().min(rows)), query::Format::Table, &mut out).await?;
    if all.num_rows() > rows {
        writeln!(out, "… {} in all", counted(all.num_rows() as u64, "row"))?;
    }
    Ok(())
}

/// The answer of a named query as CSV.
async fn answer(session: &LakeSession, project: &Project, name: &str) -> Result<String> {
    let rows = query::run_named(session, query::named(project, name)?, &BTreeMap::new()).await?;
    let mut csv = Vec::new();
    query::Format::Csv.write(rows, &mut csv).await?;
    Ok(String::from_utf8(csv)?)
}

/// Compares counts and answers with the truth; returns how many answers were compared.
async fn check(session: &LakeSession, project: &Project, truth: &Truth, report: &IngestReport) -> Result<usize> {
    for (stream, expected) in &truth.counts {
        let Some(got) = report.streams.iter().find(|report| report.stream == *stream) else { continue };
        let (delivered, quarantined) = (got.counts.delivered, got.counts.quarantined);
        if (delivered, quarantined) != (expected.events, expected.quarantined) {
            bail!(
                "{stream}: {delivered} events and {quarantined} quarantined, the simulator made {} and {} bad",
                expected.events,
                expected.quarantined
            );
        }
    }
    let asked: Vec<_> = truth.answers.iter().filter(|(name, _)| project.queries.contains_key(*name)).collect();
    for (name, expected) in &asked {
        compare(name, expected, &answer(session, project, name).await?)?;
    }
    Ok(asked.len())
}

/// The same columns and the same rows in any order; numbers by value, ratios nearly.
fn compare(name: &str, expected: &AnswerTable, got: &str) -> Result<()> {
    let mut lines = got.lines();
    let columns: Vec<&str> = lines.next().unwrap_or_default().split(',').collect();
    if columns != expected.columns.iter().map(String::as_str).collect::<Vec<_>>() {
        bail!("{name}: columns {columns:?}, the truth has {:?}", expected.columns);
    }
    let expected_csv = expected.to_csv();
    let rows = |text: &str| -> Vec<Vec<String>> {
        let mut rows: Vec<Vec<String>> =
            text.lines().skip(1).map(|line| line.split(',').map(by_value).collect()).collect();
        rows.sort();
        rows
    };
    let (expected, got) = (rows(&expected_csv), rows(got));
    let differ = |(expected, got): &(&Vec<String>, &Vec<String>)| {
        expected.len() != got.len() || expected.iter().zip(got.iter()).any(|(expected, got)| !is_same(expected, got))
    };
    if let Some((expected, got)) = expected.iter().zip(&got).find(differ) {
        bail!("{name}: got {}, the truth is {}", got.join(","), expected.join(","));
    }
    if expected.len() != got.len() {
        bail!("{name}: {} rows, the truth has {}", got.len(), expected.len());
    }
    Ok(())
}

/// A number without the zeros that do not change its value; any other text as it is.
fn by_value(field: &str) -> String {
    let is_number = field.contains('.') && field.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'.' | b'-'));
    let text = if is_number { field.trim_end_matches('0').trim_end_matches('.') } else { field };
    text.to_owned()
}

/// Equal; or, of numbers with more decimals than money has, which are ratios, nearly equal.
fn is_same(expected: &str, got: &str) -> bool {
    let is_ratio = expected.split_once('.').is_some_and(|(_, fraction)| fraction.len() > 6);
    let near = || match (expected.parse::<f64>(), got.parse::<f64>()) {
        (Ok(expected), Ok(got)) => (expected - got).abs() <= 1e-9 * expected.abs().max(1.0),
        _ => false,
    };
    expected == got || (is_ratio && near())
}
