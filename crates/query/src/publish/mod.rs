//! Publishing: the figures of a table of windows as files elsewhere, a file a window, figure and revision.
//!
//! `<figure>/<window column>=<RFC 3339>/<revision>.<json|csv|parquet>` holds the rows of one window: the other columns of
//! the table's grain, and the figure. A figure of a finer table is named after what it is by: `orders_by_country`. A
//! window is published once it is complete, that is when the watermark has passed its end; a correction is the next
//! revision, and the greatest revision is what holds. A window that lost all its rows gets a revision without rows.
//!
//! Files are put only where there is none, and a revision only where the content differs from the last one. What was
//! published is noted at the end in `_published/` beside the files, so a run that ended early is simply done again; two at
//! the same time write the same files.

mod files;
mod state;
mod watermark;
mod windows;

use std::sync::Arc;

use chrono::{DateTime, Utc};
use schema::{Model, Publication, TableName};
use session::SessionFactory;
use store::{DurableStore, LakeOptions, Snapshot};

use crate::{Format, QueryError};

use files::Files;
use state::State;
use windows::Windows;

/// Where files go.
#[derive(Clone)]
pub struct Destination {
    /// Puts files without waiting for the disk.
    pub(crate) fast: Arc<dyn DurableStore>,
    /// Makes them durable.
    pub(crate) durable: Arc<dyn DurableStore>,
}

impl Destination {
    /// Opens a folder or bucket by its address.
    ///
    /// # Errors
    /// When the address is wrong or the folder cannot be made.
    pub fn open(url: &str, options: &LakeOptions) -> store::Result<Destination> {
        let durable = store::open_location(url, options)?.1;
        let fast = match url.starts_with("memory:") {
            true => Arc::clone(&durable),
            false => {
                let options = LakeOptions { sync: false, ..options.clone() };
                store::open_location(url, &options)?.1
            }
        };
        Ok(Destination { fast, durable })
    }
}

/// What a run did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Published {
    /// Complete windows whose figures were looked at.
    pub windows: u64,
    /// Files written.
    pub files: u64,
    /// The time up to which windows are complete; `None` when nothing of the stream was consumed yet.
    pub complete_to: Option<Complete>,
}

/// Up to when windows are complete.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Complete {
    /// All windows that end at this time or before.
    Until(DateTime<Utc>),
    /// All of them: the stream comes from files alone.
    All,
}

/// Publishes what is new or changed of a table, as of the latest release.
///
/// # Errors
/// [`QueryError::Publish`] for a table that declares no publication, or a figure that cannot be computed; when the lake or
/// the destination fails.
pub async fn publish(
    factory: &SessionFactory,
    name: &TableName,
    to: &Destination,
    format: Format,
) -> Result<Published, QueryError> {
    let project = Arc::clone(factory.project());
    let (model, publication) = declared(&project, name)?;
    let nothing = Published { windows: 0, files: 0, complete_to: None };
    let Some(snapshot) = released(factory, name).await? else { return Ok(nothing) };
    let known = State::read(to, name, format).await?.filter(|known| known.table == snapshot.id());
    let stream = watermark::advance(factory, publication, known.as_ref()).await?;
    let Some(stream) = stream else { return Ok(nothing) };
    let now = stream.complete_to(factory.lake().now(), publication.lateness_seconds);
    let complete = later(now, known.as_ref().and_then(|known| known.complete_to));
    let Some(complete) = complete else { return Ok(nothing) };
    let windows = Windows::new(model, publication, &snapshot, known.as_ref(), complete)?;
    let mut files = Files::new(to.clone(), format, known.is_none());
    let looked = windows.write(factory, &mut files, known.as_ref()).await?;
    let written = files.finish().await?;
    let state =
        State { table: snapshot.id().to_owned(), version: snapshot.version(), complete_to: Some(complete), stream };
    if known.as_ref() != Some(&state) {
        state.write(to, name, format).await?;
    }
    Ok(Published { windows: looked, files: written, complete_to: Some(shown(complete)) })
}

/// The model of that name and how it is published.
fn declared<'a>(project: &'a schema::Project, name: &TableName) -> Result<(&'a Model, &'a Publication), QueryError> {
    let published = || project.models.values().filter(|model| model.publication.is_some());
    match project.models.get(name).and_then(|model| Some((model, model.publication.as_ref()?))) {
        Some(found) => Ok(found),
        None => {
            let names: Vec<String> = published().map(|model| model.name.to_string()).collect();
            Err(QueryError::Publish(format!(
                "{name} declares no `publish` in its header; these do: {}",
                if names.is_empty() { "none".to_owned() } else { names.join(", ") }
            )))
        }
    }
}

/// The table as of the latest release.
async fn released(factory: &SessionFactory, name: &TableName) -> Result<Option<Arc<Snapshot>>, QueryError> {
    let lake = factory.lake();
    let of_store = |error: store::StoreError| QueryError::from(session::SessionError::from(error));
    let Some(release) = lake.releases().latest().await.map_err(of_store)? else { return Ok(None) };
    let Some(version) = release.tables.get(name) else { return Ok(None) };
    let table = lake.table(name).await.map_err(of_store)?;
    Ok(Some(table.snapshot_at(*version).await.map_err(of_store)?))
}

/// The end of time stands for "all".
const ALL: i64 = i64::MAX;

/// A watermark never goes back. That files closed all windows says nothing of a topic that the stream comes from since.
fn later(now: Option<i64>, before: Option<i64>) -> Option<i64> {
    now.max(before.filter(|before| *before != ALL))
}

fn shown(complete: i64) -> Complete {
    match DateTime::from_timestamp_micros(complete) {
        Some(at) if complete != ALL => Complete::Until(at),
        _ => Complete::All,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_watermark_never_goes_back_and_all_is_none() {
        assert_eq!(later(Some(5), Some(7)), Some(7));
        assert_eq!(later(None, Some(7)), Some(7));
        assert_eq!(later(Some(5), Some(ALL)), Some(5));
        assert_eq!(later(Some(ALL), Some(ALL)), Some(ALL));
    }
}
