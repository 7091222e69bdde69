//! What a replay did: how many records became rows, and why the others did not.

use std::collections::BTreeMap;

use serde::Serialize;
use session::functions::raw_text::escaped;

use super::open::Record;

/// Reasons that a report tells apart in each stream; further ones are counted together.
const MOST_REASONS: usize = 100;
/// Characters of a record that an example shows.
const EXAMPLE_CHARS: usize = 300;

/// What a replay did, or would do.
#[derive(Debug, Clone, Default, Serialize)]
pub struct ReplayReport {
    /// Name of the run record under `_smelt/runs/`; a dry run leaves none.
    pub run: String,
    /// Whether nothing was stored because only an answer was wanted.
    pub dry_run: bool,
    /// One entry a stream, in the order of their names.
    pub streams: Vec<StreamReplay>,
    /// Wall-clock seconds.
    pub seconds: f64,
}

impl ReplayReport {
    /// Whether a stream was stopped by an error.
    pub fn failed(&self) -> bool {
        self.streams.iter().any(|stream| stream.error.is_some())
    }
}

/// What became of the open records of one stream: `selected` = `mended` + `still_bad`.
#[derive(Debug, Clone, Default, Serialize)]
pub struct StreamReplay {
    /// The stream.
    pub stream: String,
    /// Open records that were looked at.
    pub selected: u64,
    /// Those that became rows, or would.
    pub mended: u64,
    /// Those that stay in quarantine.
    pub still_bad: u64,
    /// Lines of an edited file whose record was mended before: they add nothing.
    pub mended_before: u64,
    /// What came out, by outcome and reason.
    pub outcomes: Vec<Outcome>,
    /// The number of this replay of the stream; `None` if it stored nothing.
    pub replay: Option<i64>,
    /// Version of the Bronze table that holds the mended rows.
    pub version: Option<i64>,
    /// Commits that were dropped because another run was first.
    pub conflicts: u32,
    /// Why the stream was stopped, if it was; nothing of it was stored then.
    pub error: Option<String>,
}

impl StreamReplay {
    /// Nothing done for `stream` yet.
    pub(super) fn of(stream: &str) -> Self {
        Self { stream: stream.to_owned(), ..Self::default() }
    }
}

/// Records with one outcome and reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Outcome {
    /// Whether they are good now.
    pub mended: bool,
    /// Why they were in quarantine, for mended ones; why they are bad now, for the others.
    pub reason: String,
    /// How many.
    pub records: u64,
    /// One of them.
    pub example: Example,
}

/// A record as it was replayed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Example {
    /// `_source`
    pub source: String,
    /// `_partition`
    pub partition: i32,
    /// `_offset`
    pub offset: i64,
    /// Its text after the mend, at most its first 300 characters.
    pub raw: String,
}

/// Counts outcomes.
#[derive(Debug, Default)]
pub(super) struct Tally {
    outcomes: BTreeMap<(bool, String), (u64, Example)>,
    mended: u64,
    still_bad: u64,
}

impl Tally {
    /// Counts a record that is good (`why` `None`) or bad.
    pub fn add(&mut self, record: &Record, why: Option<&str>) {
        let mended = why.is_none();
        *(if mended { &mut self.mended } else { &mut self.still_bad }) += 1;
        let mut key = (mended, why.unwrap_or(&record.reason).to_owned());
        if self.outcomes.len() >= MOST_REASONS && !self.outcomes.contains_key(&key) {
            key.1 = "other reasons".to_owned();
        }
        self.outcomes.entry(key).or_insert_with(|| (0, example(record))).0 += 1;
    }

    /// Records that are good.
    pub fn mended(&self) -> u64 {
        self.mended
    }

    /// Puts the counts into a report, the most frequent outcome first.
    pub fn fill(self, report: &mut StreamReplay) {
        report.selected = self.mended + self.still_bad;
        (report.mended, report.still_bad) = (self.mended, self.still_bad);
        let outcome = |((mended, reason), (records, example))| Outcome { mended, reason, records, example };
        report.outcomes = self.outcomes.into_iter().map(outcome).collect();
        report.outcomes.sort_by_key(|outcome| (!outcome.mended, std::cmp::Reverse(outcome.records)));
    }
}

fn example(record: &Record) -> Example {
    let text = match std::str::from_utf8(&record.raw) {
        Ok(text) => text.to_owned(),
        Err(_) => escaped(&record.raw),
    };
    Example {
        source: record.place.source.to_string(),
        partition: record.place.partition,
        offset: record.place.offset,
        raw: text.chars().take(EXAMPLE_CHARS).collect(),
    }
}
