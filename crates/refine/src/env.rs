//! What a run is given and what it reports.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use chrono::NaiveDate;
use quality::CheckResult;
use schema::{Project, TableName};
use session::SessionFactory;
use store::Lake;

/// The lake and the project that a run works on. Cheap to clone.
#[derive(Clone, Debug)]
pub struct RefineEnv {
    /// Plans and runs the models' SQL, under its limits of memory and threads.
    pub factory: SessionFactory,
    /// Where the tables are.
    pub lake: Lake,
    /// The models.
    pub project: Arc<Project>,
}

/// How much is kept in memory at a time; beyond, work is done in rounds or spilled. The results are the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// New messages whose keys are compared at a time, 8 or 16 bytes each.
    pub key_rows: u64,
    /// Stored rows that are compared with computed ones at a time, about 40 bytes each.
    pub compare_rows: u64,
    /// Groups that are folded at a time, some hundred bytes each; what changes more is computed again. 0 folds nothing.
    pub folded_groups: u64,
    /// Upstream rows of a slice, about: a model whose scopes tell upstream partitions apart is computed a slice of its scopes
    /// at a time where there are more.
    pub slice_rows: u64,
    /// Rows up to which a table is looked through for the scopes that it holds, where its partitions do not say them.
    pub listed_rows: u64,
    /// Bytes of rows that wait until all of their entity are there; `None`: a quarter of the session's memory.
    pub held_bytes: Option<usize>,
    /// Stored entities of new messages from which on hashes of their rows, 24 bytes each in as many bytes as rows may wait in,
    /// tell which messages change nothing, so that these do not wait.
    pub hashed_rows: usize,
    /// Rows of a `latest` table from which on an index says where older versions of an entity may be, where its key does
    /// not; a file counts as 10,000 rows. Smaller tables are looked through.
    pub index_rows: u64,
    /// Rows that a run which follows has stored last and keeps in memory, about 60 bytes each, before the index takes them;
    /// while it does, up to six times as many. What is more at once is not kept.
    pub recent_rows: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            key_rows: 16_000_000,
            compare_rows: 6_000_000,
            folded_groups: 1_000_000,
            slice_rows: 1_000_000,
            listed_rows: 1_000_000,
            held_bytes: None,
            hashed_rows: 1 << 16,
            index_rows: 1_000_000,
            recent_rows: 1_000_000,
        }
    }
}

/// What a run is asked to do. The default refreshes all models once.
#[derive(Clone, Debug, Default)]
pub struct RefineOptions {
    /// Only these models (`silver.sales_lines`, or `sales_lines` where that is one model alone). What they read is taken
    /// as it stands. Empty: all models.
    pub select: Vec<String>,
    /// Compute the models anew from all upstream rows. The one way to go on after a model was edited. The new table is
    /// compared with the stored one, and only rows that differ are written.
    pub full_refresh: bool,
    /// Compute anew the days from this one (inclusive). Moves no positions. `None` with `to`: from the first day.
    pub from: Option<NaiveDate>,
    /// Compute anew the days up to this one (inclusive). `None` with `from`: to the last day.
    pub to: Option<NaiveDate>,
    /// Feeds whose gate is left open this once (`sales_events`, or `silver.sales_lines.sales_events`): what waits is
    /// published, which is recorded, and what was let through holds nothing back later.
    pub allow: Vec<String>,
    /// Go on with cycle after cycle, looking for new upstream versions this often.
    pub follow: Option<Duration>,
    /// How much is kept in memory at a time.
    pub limits: Limits,
}

/// What a run did.
#[derive(Clone, Debug, Default)]
pub struct RefineReport {
    /// The models, each after all that it reads. In a run that follows: of the last cycle that changed something.
    pub models: Vec<ModelReport>,
    /// Number of the release that the run published last; `None` when nothing changed.
    pub release: Option<u64>,
    /// Cycles that changed something.
    pub cycles: u64,
}

/// What a refresh of one model did.
#[derive(Clone, Debug)]
pub struct ModelReport {
    /// The model.
    pub model: TableName,
    /// How it ended.
    pub outcome: Outcome,
    /// Upstream rows, or rows of the SQL's result, that were looked at.
    pub rows_in: u64,
    /// Whether the change was added to the stored groups, rather than what it touches computed again.
    pub folded: bool,
    /// In how many slices of its scopes it was computed, one after the other on each thread; 1: as a whole.
    pub slices: u64,
    /// Rows added to the table.
    pub rows_added: u64,
    /// Rows removed from the table; a changed row is removed and added.
    pub rows_removed: u64,
    /// Data files added, with those that were written again.
    pub files_added: u64,
    /// Data files removed, with those that were written again.
    pub files_removed: u64,
    /// The table's version after the refresh; `None` for a table that does not exist yet.
    pub version: Option<i64>,
    /// What the model's checks and the gates of its feeds found; empty where nothing was to be published.
    pub checks: Vec<CheckResult>,
    /// Wall-clock seconds.
    pub seconds: f64,
}

impl ModelReport {
    /// A report of nothing, to be filled.
    pub(crate) fn new(model: TableName) -> Self {
        Self {
            model,
            outcome: Outcome::Unchanged,
            rows_in: 0,
            folded: false,
            slices: 1,
            rows_added: 0,
            rows_removed: 0,
            files_added: 0,
            files_removed: 0,
            version: None,
            checks: Vec::new(),
            seconds: 0.0,
        }
    }
}

/// How the refresh of a model ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Upstream had nothing new; nothing was committed.
    Unchanged,
    /// Upstream rows were consumed, and none of them changed the table; the positions were committed.
    Positions,
    /// Rows were added or removed.
    Changed,
    /// A check failed, or the gates of all feeds that had news: nothing was committed, the table stays as it was.
    Held,
    /// The model takes no part in this run, for the reason given.
    Skipped(String),
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unchanged => f.write_str("unchanged"),
            Self::Positions => f.write_str("positions"),
            Self::Changed => f.write_str("changed"),
            Self::Held => f.write_str("held back"),
            Self::Skipped(reason) => write!(f, "skipped: {reason}"),
        }
    }
}

/// Hears how a run goes on. Called from the run's own task: implementations return at once.
pub trait Progress: Send + Sync {
    /// A model's refresh begins; others may be under way.
    fn started(&self, _model: &TableName) {}
    /// A model's refresh has ended.
    fn finished(&self, _report: &ModelReport) {}
    /// A model's refresh has ended without a report: it failed, or the run is cancelled.
    fn failed(&self, _model: &TableName) {}
    /// Checks and gates were evaluated, over all models of a cycle.
    fn checked(&self, _results: &[CheckResult]) {}
    /// A release was published.
    fn released(&self, _number: u64) {}
}

/// Hears nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Quiet;

impl Progress for Quiet {}
