//! Releases: which versions of Silver and Gold belong together (ENGINE.md, rule 19).

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutMode};
use schema::TableName;
use serde::{Deserialize, Serialize};

use crate::error::{Result, StoreError};
use crate::lake::Lake;
use crate::log;

/// A set of table versions that belong together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Release {
    /// Its number, dense from 1.
    pub number: u64,
    /// The version of each table.
    pub tables: BTreeMap<TableName, i64>,
    /// When it was published, UTC.
    pub at: DateTime<Utc>,
}

/// A release as it is stored: `_releases/<20 digits>.json`.
#[derive(Serialize, Deserialize)]
struct Stored {
    number: u64,
    at: DateTime<Utc>,
    tables: BTreeMap<String, i64>,
}

/// The releases of a lake.
#[derive(Clone, Debug)]
pub struct Releases {
    lake: Lake,
}

/// How old a release may be that newer ones are looked for from, one number after the other. Those after it are younger, so
/// none of them is cleaned away; and a run that publishes some in a second would else list more of them each time.
const LOOKED_ON_FROM: TimeDelta = TimeDelta::hours(1);

fn folder() -> Path {
    Path::from("_releases")
}

fn path(number: u64) -> Path {
    folder().join(format!("{number:020}.json"))
}

fn number_of(path: &Path) -> Option<u64> {
    path.filename()?.strip_suffix(".json").filter(|digits| digits.len() == 20)?.parse().ok()
}

impl Releases {
    pub(crate) fn new(lake: Lake) -> Self {
        Self { lake }
    }

    /// The newest release, `None` before the first.
    ///
    /// # Errors
    /// When storage fails or a release cannot be read.
    pub async fn latest(&self) -> Result<Option<Release>> {
        let known = self.lake.known_release().filter(|release| self.lake.now() - release.at < LOOKED_ON_FROM);
        let found = match known {
            Some(release) => Some(release),
            None => match self.numbers().await?.into_iter().next_back() {
                Some(number) => self.read(number).await?,
                None => None,
            },
        };
        let Some(mut newest) = found else { return Ok(None) };
        // In steps that grow until there is none, then shrink: a reader may be thousands of releases behind.
        let (mut step, mut grows) = (1, true);
        while step > 0 {
            if let Some(next) = self.read(newest.number + step).await? {
                newest = next;
            } else {
                grows = false;
            }
            step = if grows { step * 2 } else { step / 2 };
        }
        self.lake.know_release(&newest);
        Ok(Some(newest))
    }

    /// A release by its number, `None` when there is none.
    ///
    /// # Errors
    /// When storage fails or the release cannot be read.
    pub async fn read(&self, number: u64) -> Result<Option<Release>> {
        let path = path(number);
        let Some(bytes) = log::read(self.lake.store().as_ref(), &path).await? else { return Ok(None) };
        let bad = |message: String| StoreError::BadFile { path: path.to_string(), message };
        let stored: Stored = serde_json::from_slice(&bytes).map_err(|e| bad(e.to_string()))?;
        let table =
            |(name, version): (String, i64)| Ok((name.parse().map_err(|_| bad(format!("table {name:?}")))?, version));
        let tables = stored.tables.into_iter().map(table).collect::<Result<_>>()?;
        Ok(Some(Release { number: stored.number, tables, at: stored.at }))
    }

    /// The numbers of all releases that are kept, ascending.
    ///
    /// # Errors
    /// When storage fails.
    pub async fn numbers(&self) -> Result<Vec<u64>> {
        let folder = folder();
        let listed = self.lake.store().list(Some(&folder)).try_collect::<Vec<_>>().await;
        let files = match listed {
            Err(object_store::Error::NotFound { .. }) => Vec::new(),
            other => other.map_err(|e| StoreError::storage("list", &folder, e))?,
        };
        let mut numbers: Vec<u64> = files.iter().filter_map(|file| number_of(&file.location)).collect();
        numbers.sort_unstable();
        Ok(numbers)
    }

    /// Publishes a release under its number, if that is free.
    ///
    /// # Errors
    /// [`StoreError::ReleaseTaken`] when another process published this number.
    pub async fn publish(&self, release: &Release) -> Result<()> {
        let path = path(release.number);
        let stored = Stored {
            number: release.number,
            at: release.at,
            tables: release.tables.iter().map(|(name, version)| (name.to_string(), *version)).collect(),
        };
        let bytes = serde_json::to_vec(&stored)
            .map_err(|e| StoreError::BadFile { path: path.to_string(), message: e.to_string() })?;
        match self.lake.store().put_opts(&path, bytes.clone().into(), PutMode::Create.into()).await {
            Ok(_) => Ok(()),
            Err(error) => {
                // The answer may be lost although it landed, and "exists" may speak of our own first try.
                match log::read(self.lake.store().as_ref(), &path).await? {
                    Some(found) if found == bytes => Ok(()),
                    Some(_) => Err(StoreError::ReleaseTaken { number: release.number }),
                    None => Err(StoreError::storage("write", &path, error)),
                }
            }
        }
    }

    /// Publishes the next release: the newest one with these tables moved on. A table never goes back: of two processes
    /// that publish at the same time the greater version of each table stays. When nothing moves, the newest release
    /// stays as it is and is returned.
    ///
    /// # Errors
    /// When storage fails.
    pub async fn advance(&self, tables: &BTreeMap<TableName, i64>) -> Result<Release> {
        loop {
            let latest = self.latest().await?;
            let mut next = Release {
                number: latest.as_ref().map_or(1, |release| release.number + 1),
                tables: latest.as_ref().map(|release| release.tables.clone()).unwrap_or_default(),
                at: self.lake.now(),
            };
            for (table, version) in tables {
                let held = next.tables.entry(table.clone()).or_insert(*version);
                *held = (*held).max(*version);
            }
            if let Some(latest) = latest.filter(|latest| latest.tables == next.tables) {
                return Ok(latest);
            }
            match self.publish(&next).await {
                Err(StoreError::ReleaseTaken { .. }) => {}
                done => return done.map(|()| next),
            }
        }
    }

    /// Removes all but the newest releases that are older than this (at least an hour); the newest one always stays. Gives how
    /// many.
    ///
    /// # Errors
    /// When storage fails.
    pub async fn clean(&self, keep_for: std::time::Duration) -> Result<usize> {
        let mut removed = 0;
        let mut numbers = self.numbers().await?;
        numbers.pop();
        for number in numbers {
            let Some(release) = self.read(number).await? else { continue };
            let age = self.lake.now() - release.at;
            if age > LOOKED_ON_FROM && age.to_std().is_ok_and(|age| age > keep_for) {
                let path = path(number);
                self.lake.store().delete(&path).await.map_err(|e| StoreError::storage("remove", &path, e))?;
                removed += 1;
            }
        }
        Ok(removed)
    }
}
