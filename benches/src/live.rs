//! Smelt on a topic of a real broker: what the loads share that follow one.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use servers::{Kafka, Minio};

use crate::Settings;
use crate::broker::{self, TOPIC};
use crate::child::{self, Run, Running, Smelt};
use crate::lake_log::LakeLog;
use crate::peers;

/// The stream.
const STREAM: &str = "sales_transactions";
/// Its table.
pub const BRONZE: &str = "bronze.sales_transactions";

/// The bucket of a lake on MinIO.
const BUCKET: &str = "live";
/// The pause between two looks at a log.
const LOOK: Duration = Duration::from_millis(5);
/// How long what was sent may take to be stored.
const STORED_WITHIN: Duration = Duration::from_secs(900);

/// A broker with a topic of sales, and Smelt on the project `live/`.
pub struct Live {
    /// The binary.
    pub smelt: Smelt,
    /// The broker.
    pub kafka: Kafka,
    /// Partitions of the topic.
    pub partitions: i32,
    /// Settings of every process, `key=value`.
    set: Vec<String>,
    minio: Option<Minio>,
}

/// Processes that stored a whole topic.
pub struct Loaded {
    /// Seconds from their start until the table held all of it.
    pub wall_s: f64,
    /// What each took, with its end.
    pub runs: Vec<Run>,
}

impl Loaded {
    /// CPU time of all of them, in seconds.
    pub fn cpu_s(&self) -> f64 {
        self.runs.iter().map(|run| run.cpu_s).sum()
    }

    /// The peak of memory of the one that took most, in MiB.
    pub fn peak_mib(&self) -> f64 {
        self.runs.iter().map(|run| run.peak_mib).fold(0.0, f64::max)
    }
}

impl Live {
    /// Starts a broker with these settings of its own, and makes the topic.
    ///
    /// # Errors
    /// When the binary or the broker is not there.
    pub fn start(settings: &Settings, partitions: i32, broker: &[(&str, &str)]) -> Result<Live> {
        ensure!(partitions > 0, "expected at least 1 partition, found {partitions}");
        let live = Live {
            smelt: Smelt::find(settings)?,
            kafka: broker::start(broker)?,
            partitions,
            set: Vec::new(),
            minio: None,
        };
        live.kafka.create_topic(TOPIC, partitions, &[]);
        Ok(live)
    }

    /// With these settings of Smelt's, `key=value`.
    pub fn with(mut self, set: &[String]) -> Live {
        self.set.extend_from_slice(set);
        self
    }

    /// With a MinIO; gives the address of a lake there.
    ///
    /// # Errors
    /// When it is not installed here.
    pub fn start_minio(&mut self) -> Result<String> {
        let minio = Minio::start().context("MinIO is not installed: tests/servers/setup.sh minio")?;
        minio.create_bucket(BUCKET);
        self.minio = Some(minio);
        Ok(format!("s3://{BUCKET}/lake"))
    }

    /// A command on the project and a lake, by its path or address.
    pub fn command(&self, lake: &str) -> Command {
        let mut command = self.smelt.on(&peers::workspace().join("benches/live"), Path::new(lake));
        command.args(["--set", &format!("kafka.bootstrap.servers={}", self.kafka.bootstrap_servers())]);
        command.args(self.set.iter().flat_map(|pair| ["--set", pair.as_str()]));
        command.envs(self.minio.iter().flat_map(Minio::env));
        command
    }

    /// `smelt ingest` of the stream, `--once` or `--follow`.
    pub fn ingest(&self, lake: &str, mode: &str) -> Command {
        let mut command = self.command(lake);
        command.args(["ingest", "--stream", STREAM, mode]);
        command
    }

    /// The lake's logs.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub fn log(&self, lake: &str) -> Result<LakeLog> {
        let storage = self.minio.iter().flat_map(Minio::env).map(|(key, value)| (key.to_owned(), value));
        LakeLog::open(lake, storage.collect())
    }

    /// Sends each line of a file; gives how many.
    ///
    /// # Errors
    /// When a message is not stored.
    pub fn load(&self, file: &Path) -> Result<u64> {
        broker::load(&self.kafka, TOPIC, self.partitions, file)
    }

    /// Stores what the topic has by now with so many processes that follow it together, and then ends them.
    ///
    /// # Errors
    /// When one ends by itself or fails, or not all is stored.
    pub fn follow(&self, lake: &str, processes: usize) -> Result<Loaded> {
        let (begun, started) = (Instant::now(), self.start_all(lake, "--follow", processes)?);
        self.until_stored(lake, &started)?;
        let wall_s = begun.elapsed().as_secs_f64();
        started.iter().try_for_each(Running::terminate)?;
        ended(wall_s, started)
    }

    /// Stores what the topic has by now with one process that ends by itself.
    ///
    /// # Errors
    /// As [`Live::follow`].
    pub fn once(&self, lake: &str) -> Result<Loaded> {
        let (begun, started) = (Instant::now(), self.start_all(lake, "--once", 1)?);
        self.until_stored(lake, &started)?;
        ended(begun.elapsed().as_secs_f64(), started)
    }

    fn start_all(&self, lake: &str, mode: &str, processes: usize) -> Result<Vec<Running>> {
        (0..processes).map(|_| child::start(&mut self.ingest(lake, mode))).collect()
    }

    /// Waits until the table holds all that the topic has.
    fn until_stored(&self, lake: &str, processes: &[Running]) -> Result<()> {
        let ends: Vec<i64> = (0..self.partitions).map(|partition| self.kafka.offsets(TOPIC, partition).1).collect();
        let (mut log, begun) = (self.log(lake)?, Instant::now());
        loop {
            // Asked first: one that has ended has stored what it will store.
            let ended: Vec<bool> = processes.iter().map(Running::has_ended).collect::<Result<_>>()?;
            let stored = log.stored(BRONZE, TOPIC, ends.len())?;
            if stored == ends {
                return Ok(());
            }
            if ended.contains(&true) || begun.elapsed() > STORED_WITHIN {
                processes.iter().try_for_each(Running::terminate)?;
                bail!("{BRONZE} is at {stored:?} after {:?}, the partitions end at {ends:?}", begun.elapsed());
            }
            std::thread::sleep(LOOK);
        }
    }

    /// What `smelt sql` answers, as CSV without its header.
    ///
    /// # Errors
    /// When the statement fails.
    pub fn sql(&self, lake: &str, statement: &str) -> Result<String> {
        let mut command = self.command(lake);
        // What is asked here is not measured, and may be about every single event.
        command.args(["--set", "limits.memory=8GiB", "sql", statement, "--format", "csv"]);
        let answer = child::run(&mut command)?.output;
        Ok(answer.trim().lines().skip(1).collect::<Vec<_>>().join("\n"))
    }

    /// Every message is in Bronze, once.
    ///
    /// # Errors
    /// When that is not so.
    pub fn check_bronze(&self, lake: &str, messages: u64) -> Result<()> {
        let places = "count(DISTINCT CAST(_partition AS BIGINT) * 1000000000000 + _offset)";
        let found = self.sql(lake, &format!("SELECT count(*) AS n, {places} AS places FROM {BRONZE}"))?;
        ensure!(found == format!("{messages},{messages}"), "{found} rows and places in Bronze, expected {messages}");
        Ok(())
    }
}

fn ended(wall_s: f64, processes: Vec<Running>) -> Result<Loaded> {
    Ok(Loaded { wall_s, runs: processes.into_iter().map(Running::wait).collect::<Result<_>>()? })
}
