//! What a run is told: where the lake is, which streams, from where, how long and how large its commits are.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, NaiveDate, Utc};
use schema::Project;
use store::Lake;

use crate::RegistryOptions;

/// The clock a run reads: `_ingested_at`, run records and the age of landing files come from it.
pub type Clock = Arc<dyn Fn() -> DateTime<Utc> + Send + Sync>;

/// What a run works on: the lake it commits to and the contracts it follows.
#[derive(Clone)]
pub struct IngestEnv {
    /// The lake that is written.
    pub lake: Lake,
    /// The contracts (its models and queries are not looked at).
    pub project: Arc<Project>,
    /// The folder that relative landing paths of contracts and inputs start from.
    pub root: PathBuf,
    /// The clock.
    pub clock: Clock,
}

impl IngestEnv {
    /// An environment with the system clock, whose relative paths start at `root`.
    pub fn new(lake: Lake, project: Arc<Project>, root: impl Into<PathBuf>) -> Self {
        Self { lake, project, root: root.into(), clock: Arc::new(Utc::now) }
    }
}

/// Whether a run ends by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    /// Take what is there when the run starts, then end.
    #[default]
    Once,
    /// Go on until cancelled.
    Follow,
}

/// When rows that were read are committed: as soon as one of these is reached at a place where a commit may be made
/// (between messages, between landing files).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FlushPolicy {
    /// Records of a commit.
    pub rows: u64,
    /// Bytes of raw records of a commit.
    pub bytes: u64,
    /// Age of the oldest uncommitted record.
    pub interval: Duration,
}

impl Default for FlushPolicy {
    /// 2 M records, 512 MiB or 5 seconds: a commit of small events is then a data file of 20 to 60 MB.
    fn default() -> Self {
        Self { rows: 2_000_000, bytes: 512 << 20, interval: Duration::from_secs(5) }
    }
}

/// What a run takes, and how.
#[derive(Clone)]
pub struct IngestOptions {
    /// The streams and landing sets to run, a set as a whole; with none and no input named: every one whose source is
    /// configured.
    pub streams: Vec<String>,
    /// `(stream or set, path)`: a file, a folder, a glob or a URL that feeds it instead of what its contract names.
    pub inputs: Vec<(String, String)>,
    /// The day that each landing set must have: a file of it that is not there is missing, also if none is. Later days
    /// are not due yet.
    pub day: Option<NaiveDate>,
    /// Once or follow.
    pub mode: Mode,
    /// When to commit.
    pub flush: FlushPolicy,
    /// Client properties of Kafka by librdkafka's names; streams are read from Kafka if `bootstrap.servers` is given.
    pub kafka: BTreeMap<String, String>,
    /// The schema registry, for streams whose messages stand behind ids of schemas.
    pub registry: Option<RegistryOptions>,
    /// In once mode, how long a Kafka broker or the schema registry may be away, or silent, before the stream gives up.
    pub patience: Duration,
    /// Streams that go on behind messages that expired unread, and with a topic that was made anew. What was accepted is
    /// recorded: [`crate::StreamReport::gaps`].
    pub accept_gaps: Vec<String>,
    /// Reads from the simulator instead of any other source.
    pub simulator: Option<sim::SimConfig>,
    /// In follow mode, how long a landing file must look the same before it is accepted.
    pub settle: Duration,
    /// In follow mode, the time between two looks into a landing folder.
    pub look_every: Duration,
    /// How long to wait for another run that loads landing files of the same stream before giving up.
    pub lock_wait: Duration,
    /// Threads that decode; 0 means one per core.
    pub threads: usize,
}

impl Default for IngestOptions {
    fn default() -> Self {
        Self {
            streams: Vec::new(),
            inputs: Vec::new(),
            day: None,
            mode: Mode::Once,
            flush: FlushPolicy::default(),
            kafka: BTreeMap::new(),
            registry: None,
            patience: Duration::from_secs(300),
            accept_gaps: Vec::new(),
            simulator: None,
            settle: Duration::from_secs(2),
            look_every: Duration::from_secs(2),
            lock_wait: Duration::from_secs(600),
            threads: 0,
        }
    }
}

impl IngestOptions {
    /// Threads that decode.
    pub(crate) fn thread_count(&self) -> usize {
        match self.threads {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            threads => threads,
        }
    }
}
