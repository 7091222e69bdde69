//! Upkeep: compaction, clean-up of the log, vacuum (ENGINE.md, rule 18). It runs beside everything else.

use std::time::Duration;

/// What compaction aims at.
#[derive(Clone, Debug)]
pub struct CompactPolicy {
    /// Size aimed at in partitions that still grow.
    pub open_bytes: u64,
    /// Size aimed at in the others.
    pub closed_bytes: u64,
    /// How long after its last file a partition counts as still growing.
    pub open_for: Duration,
    /// Files a partition must have before it is worth the work.
    pub min_files: usize,
}

impl Default for CompactPolicy {
    fn default() -> Self {
        Self { open_bytes: 8 << 20, closed_bytes: 128 << 20, open_for: Duration::from_secs(24 * 3600), min_files: 4 }
    }
}

/// What compaction did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CompactReport {
    /// Partitions that were written together.
    pub partitions: usize,
    /// Files that went.
    pub files_removed: usize,
    /// Files that came.
    pub files_added: usize,
    /// Bytes that were read.
    pub bytes_read: u64,
    /// Bytes that were written.
    pub bytes_written: u64,
    /// Partitions that another writer changed meanwhile; left for the next time.
    pub conflicts: usize,
}

/// What of the log is kept.
#[derive(Clone, Debug)]
pub struct CleanPolicy {
    /// Commits younger than this are kept. At least an hour is always kept.
    pub keep_for: Duration,
    /// The lowest version that somebody still has to read as a whole, if any.
    pub keep_after: Option<i64>,
    /// Versions that consumers have read, and read on from.
    pub consumed: Vec<i64>,
    /// A consumer that has not read a commit for so long is given up: nothing is kept for it any more.
    pub most_lag: Duration,
    /// A consumer that is at most so many versions behind is never given up: versions in which no row changed may stay
    /// unread for as long as nothing else comes.
    pub near: i64,
}

impl Default for CleanPolicy {
    fn default() -> Self {
        let day = Duration::from_secs(24 * 3600);
        Self { keep_for: 7 * day, keep_after: None, consumed: Vec::new(), most_lag: 30 * day, near: 64 }
    }
}

/// What clean-up did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CleanReport {
    /// Commits that were removed.
    pub commits: usize,
    /// Checkpoints that were removed.
    pub checkpoints: usize,
    /// The consumed versions that can be read on from no more, ascending: what stands there must be rebuilt.
    pub gone: Vec<i64>,
}

/// What data files are kept.
#[derive(Clone, Debug)]
pub struct VacuumPolicy {
    /// Files that no version ever named are kept this long: a writer may be about to commit them.
    pub orphans_after: Duration,
    /// Removed files are kept this long for older snapshots and consumers.
    pub tombstones_after: Duration,
    /// Versions whose files are kept whatever their age: those of young releases, and after which consumers read on.
    pub keep_versions: Vec<i64>,
    /// Only report.
    pub dry_run: bool,
}

impl Default for VacuumPolicy {
    fn default() -> Self {
        Self {
            orphans_after: Duration::from_secs(48 * 3600),
            tombstones_after: Duration::from_secs(7 * 24 * 3600),
            keep_versions: Vec::new(),
            dry_run: false,
        }
    }
}

/// What vacuum did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VacuumReport {
    /// Paths that were removed (or would be), relative to the table.
    pub removed: Vec<String>,
    /// Their bytes.
    pub bytes: u64,
    /// Files that were looked at.
    pub seen: usize,
}

mod clean;
mod compact;
mod vacuum;

pub(crate) use clean::clean_log;
pub(crate) use compact::compact;
pub(crate) use vacuum::vacuum;
