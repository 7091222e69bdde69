//! Which version of each table a cycle reads.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures::{StreamExt, TryStreamExt};
use schema::TableName;
use store::{Lake, Snapshot, Table};

use crate::Result;
use crate::latest::Known;

/// How many tables are looked at at a time.
const LOOKS: usize = 16;

/// How often a run that follows looks for tables that were not there: each look is a listing, and most projects have streams
/// that nobody sends.
const ABSENT_FOR: Duration = Duration::from_secs(1);

/// The tables of a lake, each pinned to one version for the length of a cycle. A model's own commit moves its pin, so
/// that the models after it read what it wrote. Models that are refreshed side by side share them.
#[derive(Debug)]
pub(crate) struct Pins {
    lake: Lake,
    pinned: Mutex<HashMap<TableName, (Table, Arc<Snapshot>)>>,
    /// What cycles learn of files for the cycles after them.
    known: Option<Arc<Known>>,
    /// When tables that were not there were looked for last.
    looked: Mutex<Option<Instant>>,
}

impl Pins {
    /// Nothing is opened yet. For a run that `follows` files are remembered from cycle to cycle.
    pub(crate) fn new(lake: Lake, follows: bool) -> Self {
        Self { lake, pinned: Mutex::default(), known: follows.then(Arc::default), looked: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<TableName, (Table, Arc<Snapshot>)>> {
        self.pinned.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What cycles before this one learnt of files.
    pub(crate) fn known(&self) -> Option<Arc<Known>> {
        self.known.clone()
    }

    /// Begins a cycle: pins each of these tables that exists to its head. Gives whether any of them moved since the
    /// last cycle. A run that follows finds one that is new within a second.
    ///
    /// # Errors
    /// When storage fails.
    pub(crate) async fn refresh(&self, names: impl IntoIterator<Item = TableName>) -> Result<bool> {
        let (mut names, absent): (Vec<TableName>, Vec<TableName>) =
            names.into_iter().partition(|name| self.get(name).is_some());
        let looked = self.found(absent).await?;
        let is_look = looked.is_some();
        names.extend(looked.unwrap_or_default());
        let looks = names.into_iter().map(|name| async move {
            let before = self.get(&name).map(|(_, snapshot)| snapshot.version());
            let after = self.head(&name).await?.map(|snapshot| snapshot.version());
            Ok::<bool, crate::RefineError>(before != after)
        });
        let moved: Vec<bool> = futures::stream::iter(looks).buffer_unordered(LOOKS).try_collect().await?;
        if is_look {
            // Not before: a table that could not be opened is not one that is not there.
            *self.looked() = Some(Instant::now());
        }
        Ok(moved.contains(&true))
    }

    /// Those of the tables, none of which was there before, that may be there now; `None` where that was looked for a moment
    /// ago.
    async fn found(&self, absent: Vec<TableName>) -> Result<Option<Vec<TableName>>> {
        let last = *self.looked();
        let Some(last) = last.filter(|_| self.known.is_some() && !absent.is_empty()) else { return Ok(Some(absent)) };
        if last.elapsed() < ABSENT_FOR {
            return Ok(None);
        }
        let there: HashSet<TableName> = self.lake.tables().await?.into_iter().collect();
        Ok(Some(absent.into_iter().filter(|name| there.contains(name)).collect()))
    }

    fn looked(&self) -> MutexGuard<'_, Option<Instant>> {
        self.looked.lock().unwrap_or_else(PoisonError::into_inner)
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

#[cfg(test)]
mod tests {
    use arrow::datatypes::{DataType, Field, Schema};
    use store::{LakeOptions, TableSpec};

    use super::*;

    #[tokio::test]
    async fn a_table_that_comes_later_is_found() {
        let lake = Lake::open("memory:///", LakeOptions::default()).await.expect("a lake");
        let spec = TableSpec::new(Arc::new(Schema::new(vec![Field::new("a", DataType::Int64, true)])));
        let names: Vec<TableName> = ["bronze.early", "bronze.late"].map(|name| name.parse().expect("a name")).to_vec();
        lake.create_table(&names[0], &spec).await.expect("a table");
        let pins = Pins::new(lake.clone(), true);
        assert!(pins.refresh(names.clone()).await.expect("looks"));
        assert!(pins.get(&names[0]).is_some() && pins.get(&names[1]).is_none());
        lake.create_table(&names[1], &spec).await.expect("a table");
        // However slow the machine is.
        let looked = |at: Option<Instant>| {
            assert!(at.is_some());
            *pins.looked() = at;
        };
        looked(Instant::now().checked_add(Duration::from_secs(3600)));
        assert!(!pins.refresh(names.clone()).await.expect("looks"), "a moment ago it was not there");
        looked(Instant::now().checked_sub(ABSENT_FOR));
        assert!(pins.refresh(names.clone()).await.expect("looks"));
        assert!(pins.get(&names[1]).is_some());
        assert!(!pins.refresh(names).await.expect("looks"), "none moved");
    }
}
