//! Landing sets: the files of a day of all members are accepted together or not at all (ENGINE.md, rule 9).
//!
//! Accepting is one thing and loading another. [`LandingSet`] looks at the landing places and writes the set's ledger: a
//! day that is complete becomes rows of one ledger commit. Each [`MemberSource`] then loads what the ledger says, into its
//! own Bronze table, with its own position. Five tables have no common commit, so the ledger's is the one that counts: a
//! run that ends behind it leaves numbers that are pending for some members, and the next run begins with those, before it
//! looks at anything. Until then a reader may see a day in some tables only, never for good.

mod accept;
mod day;
mod landed;
mod member;
mod pending;

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use chrono::NaiveDate;
use schema::Contract;
use store::Lake;
use tokio::sync::Mutex;

pub(crate) use self::landed::SetPlace;
use self::landed::{FileKey, list, sort};
use self::member::MemberSource;
use self::pending::{pending, positions, withdrawals};
use super::FileSettings;
use super::examine::Examined;
use super::ledger::{Entry, Ledger, Owner};
use super::looks::Looks;
use super::notes::Notes;
use super::place::Places;
use crate::{IncompleteSet, IngestError, SetReport, lock};

/// A landing set: what lies in its places, and what of it is accepted.
pub(crate) struct LandingSet {
    lake: Lake,
    name: String,
    members: Vec<Arc<Contract>>,
    places: Vec<SetPlace>,
    settings: FileSettings,
    /// The day that must be there.
    day: Option<NaiveDate>,
    ledger: Arc<Mutex<Ledger>>,
    looks: Looks,
    /// What was seen of complete files whose day is not: not read again while they stay as they are.
    examined: HashMap<FileKey, Examined>,
    /// Up to this number every member has loaded what was accepted.
    loaded: i64,
    notes: Notes,
    accepted: BTreeSet<NaiveDate>,
    incomplete: Vec<IncompleteSet>,
}

impl LandingSet {
    /// The set of this name with these members, whose files lie in these places.
    pub fn new(
        lake: Lake,
        name: &str,
        members: Vec<Arc<Contract>>,
        places: Vec<SetPlace>,
        day: Option<NaiveDate>,
        settings: FileSettings,
    ) -> Self {
        let ledger = Ledger::new(lake.clone(), Owner::Set(name.to_owned()));
        Self {
            lake,
            name: name.to_owned(),
            members,
            places,
            day,
            ledger: Arc::new(Mutex::new(ledger)),
            looks: Looks::new(settings.settle),
            examined: HashMap::new(),
            loaded: 0,
            notes: Notes::new(name, Arc::clone(&settings.progress)),
            settings,
            accepted: BTreeSet::new(),
            incomplete: Vec::new(),
        }
    }

    /// The source of a member: what this set accepts.
    pub fn member(&self, contract: &Arc<Contract>) -> MemberSource {
        MemberSource::new(self, contract)
    }

    /// The set's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How long to wait between two rounds.
    pub fn look_every(&self) -> Duration {
        self.settings.look_every
    }

    /// Bytes of what is accepted and not loaded by all members, about.
    pub async fn waiting_bytes(&self) -> u64 {
        let ledger = self.ledger.lock().await;
        let waiting = self.members.iter().flat_map(|member| ledger.pending(&member.name, self.loaded));
        waiting.map(|entry| entry.size).sum()
    }

    /// The places as the user wrote them.
    fn shown(&self) -> String {
        self.places.iter().map(|place| place.place.shown()).collect::<Vec<_>>().join(", ")
    }

    fn all_places(&self) -> Places {
        self.places.iter().map(|place| Arc::clone(&place.place)).collect::<Vec<_>>().into()
    }

    /// One round: looks, and accepts the days that are complete. May be dropped at any await.
    ///
    /// # Errors
    /// A place that cannot be listed, a lake that fails, or a conflict: another run accepted first.
    pub async fn round(&mut self) -> Result<(), IngestError> {
        let ledger = Arc::clone(&self.ledger);
        let mut ledger = ledger.lock().await;
        ledger.refresh().await?;
        let landed = list(&self.name, &self.places, &mut self.notes).await?;
        let mut sorted = sort(&landed, &ledger, &mut self.looks, &mut self.notes);
        let mut lost = self.lost(&ledger).await?;
        if sorted.has_new() || !lost.is_empty() {
            let settings = &self.settings;
            let lock = lock::take(&self.lake, &self.name, settings.lock_wait, &settings.clock).await?;
            // While this run waited another may have done the work.
            ledger.refresh().await?;
            lost = self.lost(&ledger).await?;
            self.withdraw(lost, &mut ledger).await?;
            sorted = sort(&landed, &ledger, &mut self.looks, &mut self.notes);
            self.accept(sorted, &mut ledger).await?;
            drop(lock);
        } else {
            self.accept(sorted, &mut ledger).await?;
        }
        Ok(())
    }

    /// The rows that take back what was accepted, was not loaded and is not there any more.
    async fn lost(&mut self, ledger: &Ledger) -> Result<Vec<Entry>, IngestError> {
        if ledger.last() == self.loaded {
            return Ok(Vec::new());
        }
        let input = Owner::Set(self.name.clone()).input();
        let positions = positions(&self.lake, &self.members, &input).await?;
        let pending = pending(ledger, &positions);
        if pending.is_empty() {
            self.loaded = ledger.last();
        }
        withdrawals(ledger, &positions, pending, &self.all_places()).await
    }

    async fn withdraw(&mut self, lost: Vec<Entry>, ledger: &mut Ledger) -> Result<(), IngestError> {
        let rows: Vec<Entry> = lost.into_iter().map(|entry| ledger.add(entry)).collect();
        ledger.write(self.now()).await?;
        rows.iter().for_each(|row| self.notes.count(row));
        Ok(())
    }

    fn now(&self) -> i64 {
        (self.settings.clock)().timestamp_micros()
    }

    /// Says, once, that a place cannot be read and that the next round tries again.
    pub fn say_unreadable(&mut self, error: &IngestError) {
        if self.notes.is_new("", &error.to_string()) {
            tracing::warn!(set = self.name, %error, "the landing place cannot be read; trying again");
        }
    }

    /// Takes part in the run's report.
    pub fn report(&mut self) -> SetReport {
        SetReport {
            set: self.name.clone(),
            source: self.shown(),
            files: self.notes.counts,
            notes: self.notes.take(),
            accepted: self.accepted.iter().copied().collect(),
            incomplete: self.incomplete.clone(),
            ..SetReport::default()
        }
    }
}
