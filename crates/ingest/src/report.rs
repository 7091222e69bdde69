//! What a run did, in numbers that add up: delivered = stored + quarantined.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::AddAssign;

use chrono::NaiveDate;
use serde::Serialize;

/// How many records came and what became of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Records that the source delivered.
    pub delivered: u64,
    /// Records stored as good rows.
    pub stored: u64,
    /// Records stored as quarantined rows, with reason and raw bytes.
    pub quarantined: u64,
    /// Places of the log that held no record: transaction markers, aborted or compacted away, tombstones where the
    /// contract skips them.
    pub skipped: u64,
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.delivered += other.delivered;
        self.stored += other.stored;
        self.quarantined += other.quarantined;
        self.skipped += other.skipped;
    }
}

/// What became of a landing file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FileOutcome {
    /// Accepted; its rows are (or will be) in Bronze.
    Accepted,
    /// The same content as an earlier version; adds nothing.
    Same,
    /// Holds no byte; adds nothing, and is looked at again when it changes.
    Empty,
    /// Cannot be read as the contract says; adds nothing, and is looked at again when it changes.
    Refused,
    /// Was accepted, but had changed or gone when its turn came; adds nothing under this number.
    Gone,
}

impl FileOutcome {
    /// The word that the ledger stores.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Same => "same",
            Self::Empty => "empty",
            Self::Refused => "refused",
            Self::Gone => "gone",
        }
    }

    /// The outcome that [`FileOutcome::as_str`] names so.
    pub fn from_word(word: &str) -> Option<Self> {
        [Self::Accepted, Self::Same, Self::Empty, Self::Refused, Self::Gone].into_iter().find(|o| o.as_str() == word)
    }
}

/// A landing file that was not simply accepted, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FileNote {
    /// Path relative to the landing root.
    pub path: String,
    /// What became of it.
    pub outcome: FileOutcome,
    /// Why.
    pub reason: String,
}

/// Landing files by outcome.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct FileCounts {
    /// Files seen in the landing place (hidden and unfinished names not counted).
    pub seen: u64,
    /// New versions accepted.
    pub accepted: u64,
    /// New versions with the content of an earlier one.
    pub same: u64,
    /// New versions without any byte.
    pub empty: u64,
    /// New versions that were refused.
    pub refused: u64,
    /// Accepted versions that had changed or gone when their turn came.
    pub gone: u64,
    /// Unchanged versions that an earlier run refused and that still lie there.
    pub still_refused: u64,
    /// Files of a set whose day is not complete: nothing of them is loaded before it is.
    pub waiting: u64,
}

/// Messages that are gone, or a topic that was made anew, where the user had the run go on all the same
/// (`--accept-gap`). It stands in the commit that goes on behind it and in the run's record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Gap {
    /// The input behind the gap, `kafka:<cluster>/<topic>/<partition>`.
    pub input: String,
    /// What is missing, as the error said it.
    pub reason: String,
}

/// What one source of one stream gave.
#[derive(Debug, Clone, Default, Serialize)]
pub struct StreamReport {
    /// The stream.
    pub stream: String,
    /// The source, as a person would name it.
    pub source: String,
    /// Records.
    pub counts: Counts,
    /// Raw bytes of the records.
    pub bytes: u64,
    /// Landing files (all zero for other sources).
    pub files: FileCounts,
    /// Landing files that need a word, at most [`MAX_NOTES`] of them.
    pub notes: Vec<FileNote>,
    /// Gaps that the user accepted.
    pub gaps: Vec<Gap>,
    /// Stored rows that break a warning rule of the contract, by rule.
    pub warnings: BTreeMap<String, u64>,
    /// Commits made to the Bronze table.
    pub commits: u64,
    /// Batches dropped because another run had consumed the same input; their records were read again from the table's
    /// position and are counted once.
    pub conflicts: u64,
    /// Version of the Bronze table after the last commit of this run.
    pub version: Option<i64>,
    /// Wall-clock seconds.
    pub seconds: f64,
    /// Why the source stopped early, if it did.
    pub error: Option<String>,
}

/// The most notes that one report keeps; counts are always complete.
pub const MAX_NOTES: usize = 1000;

impl StreamReport {
    /// Records a second, over the time the source was open.
    pub fn rows_per_second(&self) -> f64 {
        if self.seconds > 0.0 { self.counts.delivered as f64 / self.seconds } else { 0.0 }
    }

    /// Whether a source ended with an error or a landing file was refused or gone.
    pub fn failed(&self) -> bool {
        self.error.is_some() || self.files.refused > 0 || self.files.gone > 0
    }
}

/// What one landing set gave: which days were accepted and which are not complete. The rows are in the reports of its
/// members.
#[derive(Debug, Clone, Default, Serialize)]
pub struct SetReport {
    /// The set.
    pub set: String,
    /// Where its files lie, as a person would name it.
    pub source: String,
    /// The files of all members, and those that no member claims.
    pub files: FileCounts,
    /// Landing files that need a word, at most [`MAX_NOTES`] of them.
    pub notes: Vec<FileNote>,
    /// Days of which this run accepted new files, ascending.
    pub accepted: Vec<NaiveDate>,
    /// Days that were due and not complete at the last look, ascending; nothing new of them is stored.
    pub incomplete: Vec<IncompleteSet>,
    /// Wall-clock seconds until the days were accepted.
    pub seconds: f64,
    /// Why no look was possible, if none was.
    pub error: Option<String>,
}

impl SetReport {
    /// Whether no look was possible, or a file was refused or gone. Incomplete days are another matter.
    pub fn failed(&self) -> bool {
        self.error.is_some() || self.files.refused > 0 || self.files.gone > 0
    }
}

/// A day of a landing set of which files are missing or not complete, so that nothing new of it is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct IncompleteSet {
    /// The set.
    pub set: String,
    /// The day that the names of its files state.
    pub day: NaiveDate,
    /// The files that hold it up, by the names of the members; at least one.
    pub files: Vec<IncompleteFile>,
}

/// A file that holds up its set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct IncompleteFile {
    /// The member of the set.
    pub stream: String,
    /// Path relative to the landing root; of a missing file the name that was expected.
    pub path: String,
    /// What is wrong.
    pub lack: Lack,
    /// What is wrong, in words.
    pub reason: String,
}

/// What is wrong with a file that holds up its set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Lack {
    /// It is not there.
    Missing,
    /// It holds no byte.
    Empty,
    /// It is not whole, has not the columns or no row, or cannot be read.
    Unfit,
}

impl fmt::Display for IncompleteSet {
    /// `the set weekly of 2023-01-29 is not complete: store_20230129.csv is missing; …`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the set {} of {} is not complete: ", self.set, self.day)?;
        for (place, file) in self.files.iter().enumerate() {
            let between = if place > 0 { "; " } else { "" };
            write!(f, "{between}{file}")?;
        }
        Ok(())
    }
}

impl fmt::Display for IncompleteFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.lack {
            Lack::Missing | Lack::Empty => write!(f, "{} {}", self.path, self.reason),
            Lack::Unfit => write!(f, "{}: {}", self.path, self.reason),
        }
    }
}

/// What a run did.
#[derive(Debug, Clone, Default, Serialize)]
pub struct IngestReport {
    /// Name of the run record under `_smelt/runs/`.
    pub run: String,
    /// One entry per source of a stream, in the order of the streams' names.
    pub streams: Vec<StreamReport>,
    /// One entry per landing set, in the order of their names.
    pub sets: Vec<SetReport>,
    /// Wall-clock seconds of the whole run.
    pub seconds: f64,
}

impl IngestReport {
    /// Sums of all streams.
    pub fn counts(&self) -> Counts {
        let mut sum = Counts::default();
        for stream in &self.streams {
            sum += stream.counts;
        }
        sum
    }

    /// Whether a source or a set ended with an error: not all that was there was looked at.
    pub fn broke(&self) -> bool {
        self.streams.iter().any(|stream| stream.error.is_some()) || self.sets.iter().any(|set| set.error.is_some())
    }

    /// Whether a source ended with an error, or a landing file was refused or gone.
    pub fn failed(&self) -> bool {
        self.streams.iter().any(StreamReport::failed) || self.sets.iter().any(SetReport::failed)
    }

    /// The days of all sets that are not complete: what an alert names.
    pub fn incomplete(&self) -> impl Iterator<Item = &IncompleteSet> {
        self.sets.iter().flat_map(|set| &set.incomplete)
    }
}
