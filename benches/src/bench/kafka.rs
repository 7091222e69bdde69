//! From a real broker to a committed table: Smelt and what people use instead, on the same topic.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use servers::Kafka;

use crate::broker::{self, TOPIC};
use crate::child::{self, Run, Smelt};
use crate::report::{Report, median, two};
use crate::{Settings, events, peers};

const ABOUT: &str = "One broker (Apache Kafka, KRaft, its log on the same disk) with a topic of sales events (163 bytes), read \
    from its start to a committed table, by one process after the other: Smelt (`ingest --once`, default sync, every event \
    decoded, checked against its contract and partitioned), a consumer that only counts (the ceiling), a Python consumer \
    that appends with deltalake, and Spark Structured Streaming to Delta and to Parquet. Each starts with no offsets and no \
    table. CPU is that of the process alone, with all its threads and its start.";

/// What runs, in the order of their turns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Engine {
    /// Smelt
    Smelt,
    /// A consumer that only counts
    Count,
    /// A Python consumer with deltalake
    Python,
    /// Spark Structured Streaming to Delta
    SparkDelta,
    /// Spark Structured Streaming to Parquet
    SparkParquet,
}

impl Engine {
    /// All of them.
    pub const ALL: [Engine; 5] =
        [Engine::Smelt, Engine::Count, Engine::Python, Engine::SparkDelta, Engine::SparkParquet];

    fn name(self) -> &'static str {
        match self {
            Engine::Smelt => "smelt",
            Engine::Count => "count only",
            Engine::Python => "python, deltalake",
            Engine::SparkDelta => "spark, delta",
            Engine::SparkParquet => "spark, parquet",
        }
    }

    /// Peers are slow, and their figures steady: they run once.
    fn runs(self, pairs: usize) -> usize {
        match self {
            Engine::Smelt | Engine::Count => pairs,
            _ => 1,
        }
    }
}

/// What they all work on.
struct Bench {
    smelt: Smelt,
    kafka: Kafka,
    events: u64,
}

/// Loads a broker, then runs the engines one after the other.
///
/// # Errors
/// When the broker or a peer cannot be had, a run fails, or an event is missing.
pub fn run(settings: &Settings, events: u64, partitions: i32, engines: &[Engine]) -> Result<()> {
    let smelt = Smelt::find(settings)?;
    let columns = ["run", "engine", "events/s", "wall s", "CPU s", "us an event", "peak MiB", "MB written", "files"];
    let mut report = Report::new("kafka", ABOUT, &columns);
    report.fact("smelt", smelt.version()?);
    report.fact("events, partitions", format!("{events}, {partitions}"));
    report.fact(
        "peers",
        "pyspark 3.5.9 with spark-sql-kafka 3.5.7 and delta 3.3.2, confluent-kafka 2.16.1, deltalake 1.6.6",
    );
    let file = events::sales(events)?;
    let kafka = broker::start(&[])?;
    kafka.create_topic(TOPIC, partitions, &[]);
    let loaded = broker::load(&kafka, TOPIC, partitions, &file)?;
    ensure!(loaded == events, "{loaded} events in the topic, expected {events}");
    let bench = Bench { smelt, kafka, events };
    let mut costs: Vec<(Engine, f64)> = Vec::new();
    let mut peak = 0.0_f64;
    for engine in Engine::ALL.into_iter().filter(|engine| engines.is_empty() || engines.contains(engine)) {
        let mut cpu = Vec::new();
        for number in 1..=engine.runs(settings.pairs) {
            let out = child::fresh(settings, "kafka")?;
            let run = bench.run(engine, &out)?;
            let us = run.cpu_s * 1e6 / events as f64;
            report.row(row(number, engine, events, &run, &out)?);
            cpu.push(us);
            match engine {
                Engine::Smelt => {
                    bench.check(&out)?;
                    peak = peak.max(run.peak_mib * 1.048_576);
                }
                Engine::Count => ensure!(run.output.trim() == format!("{events} messages"), "{}", run.output),
                Engine::Python | Engine::SparkDelta | Engine::SparkParquet => bench.check_peer(&out)?,
            }
        }
        costs.push((engine, median(cpu)));
    }
    let of = |wanted: Engine| costs.iter().find(|(engine, _)| *engine == wanted).map(|(_, us)| *us);
    if let Some(ours) = of(Engine::Smelt) {
        report.bar("Smelt's CPU us an event (median)", ours, 1.8);
        report.bar("Smelt's peak MB", peak, 300.0);
        if let Some(spark) = of(Engine::SparkDelta) {
            report.bar("Smelt's CPU over that of Spark to Delta", ours / spark, 1.0 / 8.0);
        }
    }
    report.finish(settings)
}

impl Bench {
    fn run(&self, engine: Engine, out: &Path) -> Result<Run> {
        let servers = self.kafka.bootstrap_servers();
        let workspace = peers::workspace();
        let scripts = workspace.join("benches/peers");
        match engine {
            Engine::Smelt => {
                let mut command = self.smelt.on(&workspace, out);
                command.args(["--set", &format!("kafka.bootstrap.servers={servers}")]);
                child::run(command.args(["ingest", "--stream", "sales_transactions", "--once"]))
            }
            Engine::Count => child::run(Command::new(std::env::current_exe()?).args(["count", servers, TOPIC])),
            Engine::Python => {
                let mut command = Command::new(peers::needed("kafka-python")?);
                command.arg(scripts.join("kafka_python.py")).args([servers, TOPIC, &self.events.to_string()]);
                child::run(command.arg(out.join("table")))
            }
            Engine::SparkDelta | Engine::SparkParquet => {
                let python = peers::needed("spark")?;
                let jars = benches::interop::environments()?.join("jars");
                let format = if engine == Engine::SparkDelta { "delta" } else { "parquet" };
                let mut command = Command::new(python);
                command.arg(scripts.join("kafka_spark.py")).args([servers, TOPIC, format]);
                child::run(command.arg(jars).arg(out.join("table")).arg(out.join("checkpoint")))
            }
        }
    }

    /// Every event is there.
    fn check(&self, lake: &Path) -> Result<()> {
        let statement = "SELECT count(*) AS n FROM bronze.sales_transactions";
        let rows = self.smelt.sql(&peers::workspace(), lake, statement)?;
        ensure!(rows.trim() == format!("n\n{}", self.events), "{rows} rows in Bronze, expected {}", self.events);
        Ok(())
    }

    /// Every event is in a peer's table too.
    fn check_peer(&self, out: &Path) -> Result<()> {
        let mut python = Command::new(peers::needed("kafka-python")?);
        let rows = child::run(python.args(["-c", ROWS]).arg(out.join("table")))?.output;
        ensure!(rows.trim() == self.events.to_string(), "{rows} rows in the peer's table, expected {}", self.events);
        Ok(())
    }
}

/// Rows of all Parquet files of a folder, without those of a log: each peer only adds files.
const ROWS: &str = "import sys, pyarrow.dataset as d; print(d.dataset(sys.argv[1], format='parquet').count_rows())";

fn row(number: usize, engine: Engine, events: u64, run: &Run, out: &Path) -> Result<Vec<String>> {
    let (files, bytes) = data_files(out)?;
    Ok(vec![
        number.to_string(),
        engine.name().to_owned(),
        format!("{:.0}", events as f64 / run.wall_s),
        two(run.wall_s),
        two(run.cpu_s),
        two(run.cpu_s * 1e6 / events as f64),
        format!("{:.0}", run.peak_mib),
        two(bytes as f64 / 1e6),
        files.to_string(),
    ])
}

/// Parquet files below a folder, and their bytes, without checkpoints of logs.
fn data_files(folder: &Path) -> Result<(usize, u64)> {
    let mut found = (0, 0);
    let mut folders: Vec<PathBuf> = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).with_context(|| format!("reading {}", folder.display()))? {
            let entry = entry?;
            let path = entry.path();
            if path.is_dir() {
                if entry.file_name() != "_delta_log" {
                    folders.push(path);
                }
            } else if path.extension().is_some_and(|extension| extension == "parquet") {
                found = (found.0 + 1, found.1 + entry.metadata()?.len());
            }
        }
    }
    Ok(found)
}
