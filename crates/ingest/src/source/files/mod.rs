//! Landing files as a source: look, judge, note in the ledger, load.
//!
//! A round lists the place and compares it with the ledger; a file that is listed there as it lies is not touched. What
//! is new is read once and judged, all judgements of a group become ledger rows in one commit, and the accepted files
//! are then loaded in the order of their numbers. A run that ends in between leaves accepted numbers beyond Bronze's
//! position, and the next run begins with those.

mod examine;
mod ledger;
mod load;
mod place;
mod remote;
mod unit;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::{StreamExt, TryStreamExt};
use schema::Contract;
use store::{Lake, Snapshot};
use tokio::time::Instant;

use self::examine::{Examined, Verdict, examine};
use self::ledger::{Entry, Ledger};
use self::load::{Load, LoadEnd, LoadEnv, load};
use self::place::{Found, Listing};
pub(crate) use self::place::{Place, PlaceError};
use super::{Outlet, Source, SourceError};
use crate::report::FileCounts;
use crate::{Clock, FileNote, FileOutcome, IngestError, Mode, Progress, ProgressEvent, StreamReport, lock};

/// Files that share one ledger commit.
const GROUP_FILES: usize = 10_000;
/// Bytes of files that share one ledger commit.
const GROUP_BYTES: u64 = 512 << 20;
/// Bytes of a group that stay in memory between the look and the load.
const HELD_BYTES: u64 = 32 << 20;
/// Files that are judged by one job.
const JOB_FILES: usize = 64;
/// Bytes after which a job takes no more files.
const JOB_BYTES: u64 = 16 << 20;

/// How a stream's landing files are looked at.
pub(crate) struct FileSettings {
    pub mode: Mode,
    pub settle: Duration,
    pub look_every: Duration,
    pub lock_wait: Duration,
    pub threads: usize,
    pub clock: Clock,
    pub progress: Arc<dyn Progress>,
}

/// The landing files of one stream.
pub(crate) struct FileSource {
    lake: Lake,
    contract: Arc<Contract>,
    place: Place,
    settings: FileSettings,
    input: Arc<str>,
    ledger: Ledger,
    /// Files that were seen once and have to look the same at a second look.
    looks: HashMap<String, (Found, Instant)>,
    counts: FileCounts,
    notes: Vec<FileNote>,
    /// What was already said about things that are no landing files.
    said: HashSet<(String, String)>,
}

/// What a round has to do.
struct Plan {
    pending: Vec<Entry>,
    new: Vec<Found>,
}

impl FileSource {
    /// The files of `place` as a source of the contract's stream.
    pub fn new(lake: Lake, contract: Arc<Contract>, place: Place, settings: FileSettings) -> Self {
        let input = format!("files:{}", contract.name).into();
        let ledger = Ledger::new(lake.clone(), &contract.name);
        let (looks, counts) = (HashMap::new(), FileCounts::default());
        Self { lake, contract, place, settings, input, ledger, looks, counts, notes: Vec::new(), said: HashSet::new() }
    }

    fn position(&self, snapshot: Option<&Arc<Snapshot>>) -> i64 {
        snapshot.and_then(|snapshot| snapshot.txn(&self.input)).unwrap_or(0)
    }

    /// One round: look, and load what is new.
    async fn round(&mut self, position: i64, out: &Outlet) -> Result<i64, SourceError> {
        self.ledger.refresh().await?;
        let listing = self.list().await?;
        let plan = self.compare(&listing, position);
        if plan.pending.is_empty() && plan.new.is_empty() {
            return Ok(position);
        }
        let settings = &self.settings;
        let lock = lock::take(&self.lake, &self.contract.name, settings.lock_wait, &settings.clock).await?;
        // While this run waited another may have done the work: ask the table and the ledger again.
        let snapshot = out.settle(false).await?;
        let position = self.position(snapshot.as_ref());
        self.ledger.refresh().await?;
        let plan = self.compare(&listing, position);
        let pending = plan.pending.into_iter().map(|entry| Load { entry, held: None }).collect();
        self.load(pending, out).await?;
        for group in groups(plan.new) {
            let examined = self.examine(group).await?;
            let accepted = self.note(examined).await?;
            self.load(accepted, out).await?;
        }
        let snapshot = out.settle(false).await?;
        drop(lock);
        Ok(self.position(snapshot.as_ref()))
    }

    async fn list(&mut self) -> Result<Listing, IngestError> {
        let listing = self.place.list().await.map_err(|reason| self.input_error(reason))?;
        self.counts.seen = listing.files.len() as u64;
        for (path, reason) in &listing.odd {
            if self.said.insert((path.clone(), reason.clone())) {
                self.counts.refused += 1;
                self.say(path, FileOutcome::Refused, reason);
            }
        }
        Ok(listing)
    }

    fn input_error(&self, reason: String) -> IngestError {
        IngestError::Input { stream: self.contract.name.clone(), input: self.place.shown().to_owned(), reason }
    }

    /// What of the listing is new. In follow mode a file must have looked the same for the settling time.
    fn compare(&mut self, listing: &Listing, position: i64) -> Plan {
        let mut plan = Plan { pending: self.ledger.pending(position), new: Vec::new() };
        self.counts.still_refused = 0;
        let settle = if self.settings.mode == Mode::Once { Duration::ZERO } else { self.settings.settle };
        let now = Instant::now();
        for found in &listing.files {
            if let Some(entry) = self.ledger.latest(&found.path)
                && entry.size == found.size
                && entry.stamp == found.stamp
            {
                self.counts.still_refused += u64::from(entry.outcome == FileOutcome::Refused);
                continue;
            }
            if settle > Duration::ZERO {
                match self.looks.get(&found.path) {
                    Some((seen, since)) if seen == found && now.duration_since(*since) >= settle => {}
                    Some((seen, _)) if seen == found => continue,
                    _ => {
                        self.looks.insert(found.path.clone(), (found.clone(), now));
                        continue;
                    }
                }
            }
            plan.new.push(found.clone());
        }
        plan
    }

    /// Reads the files of a group on all cores, in order.
    async fn examine(&self, group: Vec<Found>) -> Result<Vec<Examined>, IngestError> {
        let (mut jobs, mut job) = (Vec::new(), Vec::new());
        let (mut held, mut bytes) = (0, 0);
        for found in group {
            held += found.size;
            bytes += found.size;
            job.push((found, held <= HELD_BYTES));
            if job.len() >= JOB_FILES || bytes >= JOB_BYTES {
                jobs.push(std::mem::take(&mut job));
                bytes = 0;
            }
        }
        jobs.push(job);
        let looked = futures::stream::iter(jobs.into_iter().map(|job| {
            let (place, contract) = (self.place.clone(), Arc::clone(&self.contract));
            tokio::task::spawn_blocking(move || {
                job.into_iter().map(|(found, hold)| examine(&place, found, &contract, hold)).collect::<Vec<_>>()
            })
        }))
        .buffered(self.settings.threads.max(1));
        let judged: Vec<Vec<Examined>> =
            looked.try_collect().await.map_err(|e| IngestError::Internal(format!("a reader died: {e}")))?;
        Ok(judged.into_iter().flatten().collect())
    }

    /// Writes what was found to the ledger, in one commit, and returns the accepted files.
    async fn note(&mut self, examined: Vec<Examined>) -> Result<Vec<Load>, IngestError> {
        let mut noted = Noted { next: self.ledger.last() + 1, ..Noted::default() };
        for one in examined {
            self.looks.remove(&one.found.path);
            self.judge(one, &mut noted);
        }
        let seen_at = (self.settings.clock)().timestamp_micros();
        let rows = noted.rows.clone();
        self.ledger.append(noted.rows, seen_at).await?;
        let mut expected = 0;
        for entry in &rows {
            let count = match entry.outcome {
                FileOutcome::Accepted => {
                    expected += entry.size;
                    self.counts.accepted += 1;
                    continue;
                }
                FileOutcome::Same => &mut self.counts.same,
                FileOutcome::Empty => &mut self.counts.empty,
                FileOutcome::Refused => &mut self.counts.refused,
                FileOutcome::Gone => &mut self.counts.gone,
            };
            *count += 1;
            self.say(&entry.path, entry.outcome, &entry.reason);
        }
        self.settings.progress.event(ProgressEvent::Expected { stream: &self.contract.name, bytes: expected });
        Ok(noted.loads)
    }

    fn judge(&mut self, one: Examined, noted: &mut Noted) {
        let Examined { found, hash, verdict, held } = one;
        let same = self.ledger.same_content(&hash).or_else(|| noted.by_hash.get(&hash).copied());
        // What storage did not give may be there at the next look, with nothing to see in the listing.
        let again = matches!(verdict, Verdict::Unreadable(_));
        let (outcome, reason) = match verdict {
            Verdict::Changing => {
                self.say(&found.path, FileOutcome::Refused, "changed while it was read; left for a later look");
                self.looks.insert(found.path.clone(), (found, Instant::now()));
                return;
            }
            Verdict::Good => match same {
                Some(number) => (FileOutcome::Same, format!("same content as number {number}")),
                None if self.contract.entity.is_empty() && self.ledger.in_force(&found.path).is_some() => {
                    let reason = "has other content than what was loaded under this name, and the contract has no entity: \
                                  its rows would count beside the old ones; deliver new rows under a new name";
                    (FileOutcome::Refused, reason.to_owned())
                }
                None => (FileOutcome::Accepted, String::new()),
            },
            Verdict::Empty => (FileOutcome::Empty, "is empty".to_owned()),
            Verdict::Bad(reason) | Verdict::Unreadable(reason) => (FileOutcome::Refused, reason),
        };
        let known = self.ledger.latest(&found.path);
        if again && known.is_some_and(|row| row.outcome == outcome && row.stamp.is_empty() && row.reason == reason) {
            self.counts.still_refused += 1;
            return;
        }
        let number = noted.next;
        noted.next += 1;
        let accepted = outcome == FileOutcome::Accepted;
        let entry = Entry {
            number,
            stamp: if again { String::new() } else { found.stamp },
            path: found.path,
            size: found.size,
            modified_us: found.modified_us,
            hash,
            outcome,
            reason,
            same_as: same.filter(|_| outcome == FileOutcome::Same),
            supersedes: None,
        };
        let entry = Entry { supersedes: self.ledger.in_force(&entry.path).filter(|_| accepted), ..entry };
        if accepted {
            noted.by_hash.insert(entry.hash.clone(), number);
            noted.loads.push(Load { entry: entry.clone(), held });
        }
        noted.rows.push(entry);
    }

    /// Loads files in order. One that is not the accepted version any more is withdrawn in the ledger first, so that no
    /// position ever passes it in silence.
    async fn load(&mut self, loads: Vec<Load>, out: &Outlet) -> Result<(), SourceError> {
        if loads.is_empty() {
            return Ok(());
        }
        let loads = Arc::new(loads);
        let env = LoadEnv {
            place: self.place.clone(),
            contract: Arc::clone(&self.contract),
            input: Arc::clone(&self.input),
            out: out.clone(),
        };
        let mut start = 0;
        loop {
            let (shared, env) = (Arc::clone(&loads), env.clone());
            let end = tokio::task::spawn_blocking(move || load(&env, &shared, start)).await;
            match end.map_err(|e| IngestError::Internal(format!("a reader died: {e}")))?? {
                LoadEnd::All => return Ok(()),
                LoadEnd::Gone { index, reason } => {
                    self.withdraw(&loads[index].entry, reason).await?;
                    start = index + 1;
                }
            }
        }
    }

    async fn withdraw(&mut self, entry: &Entry, reason: String) -> Result<(), IngestError> {
        self.counts.gone += 1;
        self.say(&entry.path, FileOutcome::Gone, &reason);
        let row = Entry {
            number: self.ledger.last() + 1,
            stamp: String::new(),
            hash: String::new(),
            outcome: FileOutcome::Gone,
            reason,
            same_as: None,
            supersedes: Some(entry.number),
            ..entry.clone()
        };
        let seen_at = (self.settings.clock)().timestamp_micros();
        self.ledger.append(vec![row], seen_at).await
    }

    fn say(&mut self, path: &str, outcome: FileOutcome, reason: &str) {
        let warning = !matches!(outcome, FileOutcome::Same);
        let message = format!("{path}: {reason}");
        self.settings.progress.event(ProgressEvent::Note { stream: &self.contract.name, message: &message, warning });
        if self.notes.len() < crate::MAX_NOTES {
            self.notes.push(FileNote { path: path.to_owned(), outcome, reason: reason.to_owned() });
        }
    }
}

/// Rows of one ledger commit in the making.
#[derive(Default)]
struct Noted {
    next: i64,
    rows: Vec<Entry>,
    loads: Vec<Load>,
    by_hash: HashMap<String, i64>,
}

/// Splits what is new into groups that share a ledger commit.
fn groups(new: Vec<Found>) -> Vec<Vec<Found>> {
    let mut groups: Vec<Vec<Found>> = Vec::new();
    let mut bytes = 0;
    for found in new {
        match groups.last_mut().filter(|group| group.len() < GROUP_FILES && bytes + found.size <= GROUP_BYTES) {
            Some(group) => {
                bytes += found.size;
                group.push(found);
            }
            None => {
                bytes = found.size;
                groups.push(vec![found]);
            }
        }
    }
    groups
}

#[async_trait]
impl Source for FileSource {
    fn name(&self) -> String {
        self.place.shown().to_owned()
    }

    async fn run(&mut self, start: Option<Arc<Snapshot>>, out: Outlet) -> Result<(), SourceError> {
        let mut position = self.position(start.as_ref());
        loop {
            match self.round(position, &out).await {
                Ok(reached) => position = reached,
                // A landing place that is away for a while is no reason to stop following it.
                Err(SourceError::Failed(error @ IngestError::Input { .. })) if self.settings.mode == Mode::Follow => {
                    if self.said.insert((String::new(), error.to_string())) {
                        tracing::warn!(stream = self.contract.name, %error, "the landing place cannot be read; trying again");
                    }
                }
                Err(error) => return Err(error),
            }
            if self.settings.mode == Mode::Once {
                return Ok(());
            }
            tokio::time::sleep(self.settings.look_every).await;
        }
    }

    fn report(&mut self, report: &mut StreamReport) {
        report.files = self.counts;
        report.notes = std::mem::take(&mut self.notes);
    }
}
