//! Results of checks on their way into the table of results.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use quality::results::{Run, append};
use quality::{CheckResult, Result};
use schema::TableName;
use store::Lake;

/// How long results that say nothing new wait in a run that follows: a commit for each of its cycles would outnumber the
/// data's.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a result is about.
type About = (TableName, Option<String>, String);

/// Keeps the results of a run's cycles.
#[derive(Debug)]
pub(crate) struct Keeper {
    lake: Lake,
    follows: bool,
    /// The latest result of each check that is not written yet.
    waiting: BTreeMap<About, CheckResult>,
    /// What was written last of each check.
    written: HashMap<About, (bool, bool)>,
    since: Option<Instant>,
}

impl Keeper {
    /// A keeper of nothing yet. One that `follows` writes at once only what differs from what it wrote last.
    pub(crate) fn new(lake: Lake, follows: bool) -> Self {
        Self { lake, follows, waiting: BTreeMap::new(), written: HashMap::new(), since: None }
    }

    /// Takes the results of a cycle.
    ///
    /// # Errors
    /// When they cannot be written; they are kept for the next try.
    pub(crate) async fn keep(&mut self, results: &[CheckResult]) -> Result<()> {
        for result in results {
            let about = (result.table.clone(), result.feed.clone(), result.check.clone());
            self.waiting.insert(about, result.clone());
        }
        let is_new = |(about, result): (&About, &CheckResult)| {
            self.written.get(about) != Some(&(result.success, result.allowed))
        };
        let waited = self.since.is_none_or(|since| since.elapsed() >= PATIENCE);
        if !self.follows || waited || self.waiting.iter().any(is_new) {
            self.flush().await?;
        }
        Ok(())
    }

    /// Writes what waits, in one commit.
    ///
    /// # Errors
    /// When storage fails.
    pub(crate) async fn flush(&mut self) -> Result<()> {
        if self.waiting.is_empty() {
            return Ok(());
        }
        let results: Vec<CheckResult> = self.waiting.values().cloned().collect();
        append(&self.lake, &Run::now(&self.lake, "refine"), &results).await?;
        for (about, result) in std::mem::take(&mut self.waiting) {
            self.written.insert(about, (result.success, result.allowed));
        }
        self.since = Some(Instant::now());
        Ok(())
    }
}
