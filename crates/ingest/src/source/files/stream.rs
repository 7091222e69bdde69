//! The landing files of one stream: look, judge, note in the ledger, load.
//!
//! A round lists the place and compares it with the ledger; a file that is listed there as it lies is not touched. What
//! is new is read once and judged, all judgements of a group become ledger rows in one commit, and the accepted files
//! are then loaded in the order of their numbers. A run that ends in between leaves accepted numbers beyond Bronze's
//! position, and the next run begins with those.

use std::sync::Arc;

use async_trait::async_trait;
use schema::Contract;
use store::{Lake, Snapshot};

use super::FileSettings;
use super::examine::{Examined, Look, Verdict, examine_all};
use super::ledger::{Entry, Ledger, Owner};
use super::load::{Load, LoadEnv, Loading};
use super::looks::Looks;
use super::notes::Notes;
use super::place::{Found, Listing, Place, Places};
use crate::source::{Outlet, Source, SourceError};
use crate::{FileOutcome, IngestError, Mode, StreamReport, lock};

/// Files that share one ledger commit.
pub(super) const GROUP_FILES: usize = 10_000;
/// Bytes of files that share one ledger commit.
pub(super) const GROUP_BYTES: u64 = 512 << 20;
/// Bytes of a group that stay in memory between the look and the load.
const HELD_BYTES: u64 = 32 << 20;

/// The landing files of one stream.
pub(crate) struct FileSource {
    lake: Lake,
    contract: Arc<Contract>,
    place: Arc<Place>,
    settings: FileSettings,
    input: Arc<str>,
    ledger: Ledger,
    looks: Looks,
    notes: Notes,
}

/// What a round has to do.
struct Plan {
    pending: Vec<Entry>,
    new: Vec<Found>,
}

impl FileSource {
    /// The files of `place` as a source of the contract's stream.
    pub fn new(lake: Lake, contract: Arc<Contract>, place: Place, settings: FileSettings) -> Self {
        let owner = Owner::Stream(Arc::clone(&contract));
        Self {
            input: owner.input(),
            ledger: Ledger::new(lake.clone(), owner),
            looks: Looks::new(settings.settle),
            notes: Notes::new(&contract.name, Arc::clone(&settings.progress)),
            place: Arc::new(place),
            lake,
            contract,
            settings,
        }
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
            let examined = examine_all(self.looks_at(group), self.settings.threads).await?;
            let accepted = self.note(examined).await?;
            self.load(accepted, out).await?;
        }
        let snapshot = out.settle(false).await?;
        drop(lock);
        Ok(self.position(snapshot.as_ref()))
    }

    async fn list(&mut self) -> Result<Listing, IngestError> {
        let listing = self.place.list().await.map_err(|reason| IngestError::Input {
            stream: self.contract.name.clone(),
            input: self.place.shown().to_owned(),
            reason,
        })?;
        self.notes.counts.seen = listing.files.len() as u64;
        self.notes.refuse_odd(&listing.odd);
        Ok(listing)
    }

    /// What of the listing is new. In follow mode a file must have looked the same for the settling time.
    fn compare(&mut self, listing: &Listing, position: i64) -> Plan {
        let stream = &self.contract.name;
        let mut plan = Plan { pending: self.ledger.pending(stream, position), new: Vec::new() };
        self.notes.counts.still_refused = 0;
        for found in &listing.files {
            if let Some(entry) = self.ledger.knows(stream, &found.path, found.size, &found.stamp) {
                self.notes.counts.still_refused += u64::from(entry.outcome == FileOutcome::Refused);
            } else if self.looks.is_settled(found) {
                plan.new.push(found.clone());
            }
        }
        plan
    }

    /// How the files of a group are to be looked at; the small ones that come first stay in memory.
    fn looks_at(&self, group: Vec<Found>) -> Vec<Look> {
        let mut held = 0;
        let look = |found: Found| {
            held += found.size;
            let contract = (!self.is_misnamed(&found.path)).then(|| Arc::clone(&self.contract));
            Look { place: Arc::clone(&self.place), contract, hold: held <= HELD_BYTES, found }
        };
        group.into_iter().map(look).collect()
    }

    /// Whether the contract has a date pattern that the file's name does not match.
    fn is_misnamed(&self, path: &str) -> bool {
        let files = self.contract.files.as_ref();
        files.is_some_and(|files| files.date.is_some() && files.date_in(path).is_none())
    }

    /// Writes what was found to the ledger, in one commit, and returns the accepted files.
    async fn note(&mut self, examined: Vec<Examined>) -> Result<Vec<Load>, IngestError> {
        let (mut rows, mut loads, mut expected) = (Vec::new(), Vec::new(), 0);
        for mut one in examined {
            self.looks.forget(&one.found.path);
            let held = one.held.take();
            let Some(entry) = self.judge(one) else { continue };
            let entry = self.ledger.add(entry);
            if entry.outcome == FileOutcome::Accepted {
                expected += entry.size;
                loads.push(Load { entry: entry.clone(), held });
            }
            rows.push(entry);
        }
        let seen_at = (self.settings.clock)().timestamp_micros();
        self.ledger.write(seen_at).await?;
        rows.iter().for_each(|entry| self.notes.count(entry));
        self.notes.expect(expected);
        Ok(loads)
    }

    /// The ledger row of a file that was looked at; none if there is nothing new to say of it.
    fn judge(&mut self, one: Examined) -> Option<Entry> {
        let Examined { found, hash, verdict, .. } = one;
        let stream = &self.contract.name;
        let day = self.contract.files.as_ref().and_then(|files| files.date_in(&found.path));
        let same = self.ledger.same_content(&hash, stream, day);
        // What storage did not give may be there at the next look, with nothing to see in the listing.
        let again = matches!(verdict, Verdict::Unreadable(_));
        let (outcome, reason) = match (&verdict, same) {
            (Verdict::Changing, _) => {
                let reason = "changed while it was read; left for a later look";
                self.notes.say(&found.path, FileOutcome::Refused, reason);
                self.looks.begin(&found);
                return None;
            }
            (Verdict::Good | Verdict::Hashed, Some(number)) => {
                (FileOutcome::Same, format!("same content as number {number}"))
            }
            (Verdict::Hashed, None) => (FileOutcome::Refused, misnamed(&self.contract)),
            (Verdict::Good, None) => match self.conflict(&found.path) {
                Some(reason) => (FileOutcome::Refused, reason.to_owned()),
                None => (FileOutcome::Accepted, String::new()),
            },
            (verdict, _) => verdict.refusal().map(|(outcome, reason)| (outcome, reason.to_owned()))?,
        };
        let known = self.ledger.latest(stream, &found.path);
        if again && known.is_some_and(|row| row.outcome == outcome && row.stamp.is_empty() && row.reason == reason) {
            self.notes.counts.still_refused += 1;
            return None;
        }
        let accepted = outcome == FileOutcome::Accepted;
        Some(Entry {
            number: 0,
            stream: stream.clone(),
            day,
            stamp: if again { String::new() } else { found.stamp },
            size: found.size,
            modified_us: found.modified_us,
            hash,
            outcome,
            reason,
            same_as: same.filter(|_| outcome == FileOutcome::Same),
            supersedes: self.ledger.in_force(stream, &found.path).filter(|_| accepted),
            delivery: None,
            path: found.path,
        })
    }

    fn conflict(&self, path: &str) -> Option<&'static str> {
        let is_loaded = self.ledger.in_force(&self.contract.name, path).is_some();
        (self.contract.entity.is_empty() && is_loaded).then_some(NO_ENTITY)
    }

    /// Loads files in order. One that is not the accepted version any more is withdrawn in the ledger.
    async fn load(&mut self, loads: Vec<Load>, out: &Outlet) -> Result<(), SourceError> {
        if loads.is_empty() {
            return Ok(());
        }
        let env = LoadEnv {
            places: Places::from(vec![Arc::clone(&self.place)]),
            contract: Arc::clone(&self.contract),
            input: Arc::clone(&self.input),
            out: out.clone(),
        };
        let mut loading = Loading::new(env, loads);
        while let Some((entry, reason)) = loading.until_gone().await? {
            let row = self.ledger.add(entry.gone(reason));
            let seen_at = (self.settings.clock)().timestamp_micros();
            self.ledger.write(seen_at).await?;
            self.notes.count(&row);
        }
        Ok(())
    }
}

/// Why new content under the name of loaded rows that have no key is refused.
pub(super) const NO_ENTITY: &str = "has other content than what was loaded under this name, and the contract has no \
    entity: its rows would count beside the old ones; deliver new rows under a new name";

fn misnamed(contract: &Contract) -> String {
    let pattern = contract.files.as_ref().and_then(|files| files.date.as_deref()).unwrap_or_default();
    format!("the name states no date as {pattern} does")
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
                    if self.notes.is_new("", &error.to_string()) {
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
        report.files = self.notes.counts;
        report.notes = self.notes.take();
    }
}
