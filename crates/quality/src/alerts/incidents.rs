//! Incidents: what is wrong, from when to when, kept in the lake so that every run knows it.
//!
//! An incident has a key, which says what is wrong (`gate:silver.sales_lines:sales_events`). Below
//! `_smelt/incidents/<hash of the key>/` lie its events, numbered from 1 without gaps: odd ones opened it, even ones
//! resolved it. An event is put only if its number is free, so of two runs that find the same thing at the same time one
//! opens it. Beside an event `<n>.json` lie what became of its notices: `<n>.<channel>.<try>.claim` says until when one
//! run may be at it, `<n>.<channel>.sent` that it is done.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutMode};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use store::Lake;
use xxhash_rust::xxh3::xxh3_128;

use super::channel::ChannelKind;
use crate::{QualityError, Result};

/// Something that is wrong, or is no longer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Incident {
    /// What is wrong: the same for every run that finds it.
    pub key: String,
    /// Whether it is over.
    pub resolved: bool,
    /// When this was found, UTC.
    pub at: DateTime<Utc>,
    /// When it began, UTC.
    pub opened_at: DateTime<Utc>,
    /// What is wrong, in one line.
    pub title: String,
    /// What a person needs to know besides.
    pub details: String,
    /// The channels that are to be told, as they were configured then.
    pub(super) to: Vec<ChannelKind>,
}

/// The notice of an event to a channel is one run's until then.
#[derive(Serialize, Deserialize)]
struct Claim {
    until: DateTime<Utc>,
}

/// What is known of a key: its events, and what became of their notices.
#[derive(Clone, Debug, Default)]
pub(super) struct Known {
    /// The last event's number; 0 before the first.
    pub(super) last: u64,
    sent: BTreeSet<(u64, ChannelKind)>,
    /// The last try of each notice.
    tries: BTreeMap<(u64, ChannelKind), u32>,
}

impl Known {
    /// Whether the incident goes on.
    pub(super) fn is_open(&self) -> bool {
        self.last % 2 == 1
    }

    pub(super) fn is_sent(&self, number: u64, channel: ChannelKind) -> bool {
        self.sent.contains(&(number, channel))
    }

    /// Notes an object of the key's folder.
    fn note(&mut self, name: &str) -> Option<()> {
        let mut parts = name.split('.');
        let number: u64 = parts.next()?.parse().ok()?;
        match (parts.next()?, parts.next(), parts.next()) {
            ("json", None, None) => self.last = self.last.max(number),
            (channel, Some("sent"), None) => {
                self.sent.insert((number, ChannelKind::of_word(channel)?));
            }
            (channel, Some(attempt), Some("claim")) => {
                let last = self.tries.entry((number, ChannelKind::of_word(channel)?)).or_default();
                *last = (*last).max(attempt.parse().ok()?);
            }
            _ => {}
        }
        Some(())
    }
}

/// A notice that this run has taken on.
#[derive(Debug)]
pub(super) struct Taken {
    claim: Path,
    sent: Path,
}

/// The incidents of a lake.
#[derive(Clone, Debug)]
pub(super) struct Incidents {
    lake: Lake,
}

fn root() -> Path {
    Path::from("_smelt/incidents")
}

/// A key's folder.
pub(super) fn folder_of(key: &str) -> String {
    format!("{:032x}", xxh3_128(key.as_bytes()))
}

fn path(folder: &str, name: &str) -> Path {
    root().join(folder).join(name)
}

impl Incidents {
    pub(super) fn new(lake: Lake) -> Self {
        Self { lake }
    }

    pub(super) fn now(&self) -> DateTime<Utc> {
        self.lake.now()
    }

    /// All keys, by their folders.
    pub(super) async fn all(&self) -> Result<BTreeMap<String, Known>> {
        self.list(&root()).await
    }

    /// One key.
    pub(super) async fn one(&self, key: &str) -> Result<Known> {
        let folder = folder_of(key);
        Ok(self.list(&root().join(folder.as_str())).await?.remove(&folder).unwrap_or_default())
    }

    async fn list(&self, prefix: &Path) -> Result<BTreeMap<String, Known>> {
        let listed = self.lake.object_store().list(Some(prefix)).try_collect::<Vec<_>>().await;
        let files = match listed {
            Err(object_store::Error::NotFound { .. }) => Vec::new(),
            other => other.map_err(|error| failed(prefix, &error))?,
        };
        let mut known: BTreeMap<String, Known> = BTreeMap::new();
        for file in files {
            let parts: Vec<_> = file.location.parts().collect();
            if let [.., folder, name] = parts.as_slice() {
                // Names that are none of ours say nothing.
                let _ = known.entry(folder.as_ref().to_owned()).or_default().note(name.as_ref());
            }
        }
        Ok(known)
    }

    /// An event.
    pub(super) async fn read(&self, folder: &str, number: u64) -> Result<Option<Incident>> {
        self.get(&path(folder, &format!("{number:020}.json"))).await
    }

    /// Appends an event; gives whether it was this call that did.
    pub(super) async fn append(&self, known: &Known, incident: &Incident) -> Result<bool> {
        let name = format!("{:020}.json", known.last + 1);
        self.put(&path(&folder_of(&incident.key), &name), incident, PutMode::Create).await
    }

    /// Takes on the notice of an event for as long as `wait`; `None` while another run is at it.
    pub(super) async fn take(
        &self,
        folder: &str,
        (number, channel): (u64, ChannelKind),
        known: &Known,
        wait: std::time::Duration,
    ) -> Result<Option<Taken>> {
        let name = |attempt: u32| path(folder, &format!("{number:020}.{}.{attempt:06}.claim", channel.word()));
        let last = known.tries.get(&(number, channel)).copied().unwrap_or(0);
        if last > 0
            && let Some(claim) = self.get::<Claim>(&name(last)).await?
            && claim.until > self.now()
        {
            return Ok(None);
        }
        // A run that is slow to mark what it sent has as long again before another one takes over.
        let until = self.now() + chrono::Duration::from_std(wait * 2).unwrap_or_default();
        let claim = name(last + 1);
        let taken = self.put(&claim, &Claim { until }, PutMode::Create).await?;
        let sent = path(folder, &format!("{number:020}.{}.sent", channel.word()));
        Ok(taken.then_some(Taken { claim, sent }))
    }

    /// The notice was sent.
    pub(super) async fn done(&self, taken: &Taken) -> Result<()> {
        let at = Claim { until: self.now() };
        self.put(&taken.sent, &at, PutMode::Overwrite).await.map(drop)
    }

    /// The notice could not be sent: the next run may try at once.
    pub(super) async fn give_back(&self, taken: &Taken) -> Result<()> {
        let now = Claim { until: self.now() };
        self.put(&taken.claim, &now, PutMode::Overwrite).await.map(drop)
    }

    /// Removes what lies below a key's last incident; gives how many objects.
    pub(super) async fn clean(&self) -> Result<usize> {
        let known = self.all().await?;
        let store = self.lake.object_store();
        let files: Vec<_> = store.list(Some(&root())).try_collect().await.map_err(|error| failed(&root(), &error))?;
        let mut removed = 0;
        for file in files {
            let parts: Vec<_> = file.location.parts().collect();
            let [.., folder, name] = parts.as_slice() else { continue };
            let number = name.as_ref().split('.').next().and_then(|number| number.parse::<u64>().ok());
            let last = known.get(folder.as_ref()).map_or(0, |known| known.last);
            if number.is_some_and(|number| number + 2 <= last) {
                store.delete(&file.location).await.map_err(|error| failed(&file.location, &error))?;
                removed += 1;
            }
        }
        Ok(removed)
    }

    async fn get<T: DeserializeOwned>(&self, path: &Path) -> Result<Option<T>> {
        let got = match self.lake.object_store().get(path).await {
            Err(object_store::Error::NotFound { .. }) => return Ok(None),
            other => other.map_err(|error| failed(path, &error))?,
        };
        let bytes = got.bytes().await.map_err(|error| failed(path, &error))?;
        serde_json::from_slice(&bytes).map(Some).map_err(|error| failed(path, &error))
    }

    /// Puts an object; gives false when there is one already and none may be replaced.
    async fn put<T: Serialize>(&self, path: &Path, content: &T, mode: PutMode) -> Result<bool> {
        let bytes = serde_json::to_vec(content).map_err(|error| failed(path, &error))?;
        match self.lake.object_store().put_opts(path, bytes.into(), mode.into()).await {
            Ok(_) => Ok(true),
            Err(object_store::Error::AlreadyExists { .. }) => Ok(false),
            Err(error) => Err(failed(path, &error)),
        }
    }
}

fn failed(path: &Path, error: &dyn std::fmt::Display) -> QualityError {
    QualityError::Incident { path: path.to_string(), message: error.to_string() }
}
