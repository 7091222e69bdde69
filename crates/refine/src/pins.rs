//! Which version of each table a cycle reads.

use std::collections::HashMap;
use std::sync::Arc;

use schema::TableName;
use store::{Lake, Snapshot, Table};

use crate::Result;
use crate::latest::Known;

/// The tables of a lake, each pinned to one version for the length of a cycle. A model's own commit moves its pin, so
/// that the models after it read what it wrote.
#[derive(Debug)]
pub(crate) struct Pins {
    lake: Lake,
    tables: HashMap<TableName, Table>,
    pinned: HashMap<TableName, Arc<Snapshot>>,
    /// What cycles learn of files for the cycles after them.
    known: Option<Arc<Known>>,
}

impl Pins {
    /// Nothing is opened yet. For a run that `follows` files are remembered from cycle to cycle.
    pub(crate) fn new(lake: Lake, follows: bool) -> Self {
        Self { lake, tables: HashMap::new(), pinned: HashMap::new(), known: follows.then(Arc::default) }
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
    pub(crate) async fn refresh(&mut self, names: impl IntoIterator<Item = &TableName>) -> Result<bool> {
        let mut moved = false;
        for name in names {
            let before = self.pinned.get(name).map(|snapshot| snapshot.version());
            let after = self.head(name).await?.map(|snapshot| snapshot.version());
            moved |= before != after;
        }
        Ok(moved)
    }

    /// Pins a table to its head; `None` when it does not exist.
    ///
    /// # Errors
    /// When storage fails.
    pub(crate) async fn head(&mut self, name: &TableName) -> Result<Option<Arc<Snapshot>>> {
        let snapshot = match self.tables.get(name) {
            Some(table) => table.refresh().await?,
            None => match self.lake.open_table(name).await? {
                None => return Ok(None),
                Some(table) => {
                    let snapshot = table.snapshot();
                    self.tables.insert(name.clone(), table);
                    snapshot
                }
            },
        };
        self.pinned.insert(name.clone(), Arc::clone(&snapshot));
        Ok(Some(snapshot))
    }

    /// The table and the version that it is pinned to.
    pub(crate) fn get(&self, name: &TableName) -> Option<(&Table, &Arc<Snapshot>)> {
        self.tables.get(name).zip(self.pinned.get(name))
    }

    /// Pins a table to a version that was just created or committed.
    pub(crate) fn set(&mut self, table: &Table, snapshot: Arc<Snapshot>) {
        self.tables.insert(table.name().clone(), table.clone());
        self.pinned.insert(table.name().clone(), snapshot);
    }
}
