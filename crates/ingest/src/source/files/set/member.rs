//! The landing files of one member of a set: loads what the set's ledger says is accepted and its Bronze table has not.

use std::collections::BTreeSet;
use std::sync::Arc;

use async_trait::async_trait;
use schema::Contract;
use store::{Lake, Snapshot};
use tokio::sync::Mutex;

use crate::source::files::FileSettings;
use crate::source::files::ledger::{Entry, Ledger, Owner};
use crate::source::files::load::{Load, LoadEnv, Loading};
use crate::source::files::notes::Notes;
use crate::source::files::place::Places;
use crate::source::{Outlet, Source, SourceError};
use crate::{Mode, StreamReport, lock};

/// The accepted files of one member of a set. It decides nothing: what lies in a landing place and is not in the ledger is
/// not there.
pub(crate) struct MemberSource {
    pub(super) lake: Lake,
    pub(super) contract: Arc<Contract>,
    pub(super) shown: String,
    pub(super) places: Places,
    pub(super) settings: FileSettings,
    pub(super) input: Arc<str>,
    pub(super) ledger: Arc<Mutex<Ledger>>,
    pub(super) notes: Notes,
    /// Numbers that this run handed over.
    pub(super) loaded: BTreeSet<i64>,
}

impl MemberSource {
    pub(super) fn new(set: &super::LandingSet, contract: &Arc<Contract>) -> Self {
        Self {
            lake: set.lake.clone(),
            contract: Arc::clone(contract),
            shown: set.shown(),
            places: set.all_places(),
            settings: set.settings.clone(),
            input: Owner::Set(set.name.clone()).input(),
            ledger: Arc::clone(&set.ledger),
            notes: Notes::new(&contract.name, Arc::clone(&set.settings.progress)),
            loaded: BTreeSet::new(),
        }
    }

    fn position(&self, snapshot: Option<&Arc<Snapshot>>) -> i64 {
        snapshot.and_then(|snapshot| snapshot.txn(&self.input)).unwrap_or(0)
    }

    async fn pending(&self, position: i64) -> Result<Vec<Entry>, SourceError> {
        let mut ledger = self.ledger.lock().await;
        ledger.refresh().await?;
        Ok(ledger.pending(&self.contract.name, position))
    }

    async fn round(&mut self, position: i64, out: &Outlet) -> Result<i64, SourceError> {
        if self.pending(position).await?.is_empty() {
            return Ok(position);
        }
        let settings = &self.settings;
        let lock = lock::take(&self.lake, &self.contract.name, settings.lock_wait, &settings.clock).await?;
        // While this run waited another may have done the work: ask the table and the ledger again.
        let position = self.position(out.settle(false).await?.as_ref());
        let pending = self.pending(position).await?;
        self.notes.expect(pending.iter().map(|entry| entry.size).sum());
        self.loaded.extend(pending.iter().map(|entry| entry.number));
        self.load(pending, out).await?;
        let snapshot = out.settle(false).await?;
        drop(lock);
        Ok(self.position(snapshot.as_ref()))
    }

    async fn load(&mut self, pending: Vec<Entry>, out: &Outlet) -> Result<(), SourceError> {
        let env = LoadEnv {
            places: self.places.clone(),
            contract: Arc::clone(&self.contract),
            input: Arc::clone(&self.input),
            out: out.clone(),
        };
        let loads = pending.into_iter().map(|entry| Load { entry, held: None }).collect();
        let mut loading = Loading::new(env, loads);
        while let Some((entry, reason)) = loading.until_gone().await? {
            let mut ledger = self.ledger.lock().await;
            ledger.refresh().await?;
            let row = ledger.add(entry.gone(reason));
            ledger.write((self.settings.clock)().timestamp_micros()).await?;
            drop(ledger);
            self.loaded.remove(&entry.number);
            self.notes.count(&row);
        }
        Ok(())
    }
}

#[async_trait]
impl Source for MemberSource {
    fn name(&self) -> String {
        self.shown.clone()
    }

    async fn run(&mut self, start: Option<Arc<Snapshot>>, out: Outlet) -> Result<(), SourceError> {
        let mut position = self.position(start.as_ref());
        loop {
            position = self.round(position, &out).await?;
            if self.settings.mode == Mode::Once {
                return Ok(());
            }
            tokio::time::sleep(self.settings.look_every).await;
        }
    }

    fn report(&mut self, report: &mut StreamReport) {
        report.files = self.notes.counts;
        report.files.accepted = self.loaded.len() as u64;
        report.files.seen = report.files.accepted + report.files.gone;
        report.notes = self.notes.take();
    }
}
