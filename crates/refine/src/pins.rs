//! Which version of each table a cycle reads.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::{StreamExt, TryStreamExt};
use schema::TableName;
use store::{Lake, Snapshot, Table};

use crate::Result;
use crate::latest::Known;

/// How many tables are looked at at a time.
const LOOKS: usize = 16;

/// The tables of a lake, each pinned to one version for the length of a cycle. A model's own commit moves its pin, so
/// that the models after it read what it wrote. Models that are refreshed side by side share them.
#[derive(Debug)]
pub(crate) struct Pins {
    lake: Lake,
    pinned: Mutex<HashMap<TableName, (Table, Arc<Snapshot>)>>,
    /// What cycles learn of files for the cycles after them.
    known: Option<Arc<Known>>,
}

impl Pins {
    /// Nothing is opened yet. For a run that `follows` files are remembered from cycle to cycle.
    pub(crate) fn new(lake: Lake, follows: bool) -> Self {
        Self { lake, pinned: Mutex::default(), known: follows.then(Arc::default) }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<TableName, (Table, Arc<Snapshot>)>> {
        self.pinned.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What cycles before this one learnt of files.
    pub(crate) fn known(&self) -> Option<Arc<Known>> {
        self.known.clone()
    }

    /// Begins a cycle: pins each of these tables that exists to its head. Gives whether any of them moved since the
    /// last cycle.
    ///
    /// # Errors
    /// When storage fails.
    pub(crate) async fn refresh(&self, names: impl IntoIterator<Item = TableName>) -> Result<bool> {
        let looks = names.into_iter().map(|name| async move {
            let before = self.get(&name).map(|(_, snapshot)| snapshot.version());
            let after = self.head(&name).await?.map(|snapshot| snapshot.version());
            Ok::<bool, crate::RefineError>(before != after)
        });
        let moved: Vec<bool> = futures::stream::iter(looks).buffer_unordered(LOOKS).try_collect().await?;
        Ok(moved.contains(&true))
    }

    /// Pins a table to its head; `None` when it does not exist.
    ///
    /// # Errors
    /// When storage fails.
    pub(crate) async fn head(&self, name: &TableName) -> Result<Option<Arc<Snapshot>>> {
        let (table, snapshot) = match self.get(name) {
            Some((table, _)) => {
                let snapshot = table.refresh().await?;
                (table, snapshot)
            }
            None => match self.lake.open_table(name).await? {
                None => return Ok(None),
                Some(table) => {
                    let snapshot = table.snapshot();
                    (table, snapshot)
                }
            },
        };
        self.set(&table, Arc::clone(&snapshot));
        Ok(Some(snapshot))
    }

    /// The table and the version that it is pinned to.
    pub(crate) fn get(&self, name: &TableName) -> Option<(Table, Arc<Snapshot>)> {
        self.lock().get(name).cloned()
    }

    /// Pins a table to a version that was just created or committed.
    pub(crate) fn set(&self, table: &Table, snapshot: Arc<Snapshot>) {
        self.lock().insert(table.name().clone(), (table.clone(), snapshot));
    }
}
