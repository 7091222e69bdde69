//! The files at the destination: revisions, put only where their content is new.

use std::collections::HashMap;

use arrow::array::RecordBatch;
use bytes::Bytes;
use chrono::{DateTime, SecondsFormat};
use futures::stream::FuturesUnordered;
use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutMode};

use super::Destination;
use crate::{Format, QueryError};

/// Files that are on their way at the same time.
const AT_ONCE: usize = 32;

/// Files that are made durable together.
const TOGETHER: usize = 16_384;

type Put = futures::future::BoxFuture<'static, Result<Option<Path>, QueryError>>;

/// Revisions on their way to a destination.
pub(super) struct Files {
    to: Destination,
    format: Format,
    /// The last revision of each window of a figure, by folder, where all of a figure were listed.
    listed: Option<HashMap<String, HashMap<String, u64>>>,
    running: FuturesUnordered<Put>,
    /// Files that are not durable yet.
    fresh: Vec<Path>,
    written: u64,
}

impl Files {
    /// `all`: most windows are to be put, so that one listing a figure is cheaper than one a window.
    pub(super) fn new(to: Destination, format: Format, all: bool) -> Self {
        let listed = all.then(HashMap::new);
        Self { to, format, listed, running: FuturesUnordered::new(), fresh: Vec::new(), written: 0 }
    }

    /// Puts the rows of a window as the next revision of a figure, unless they are what the last one holds. A window that
    /// was never published and has no rows is left alone.
    ///
    /// # Errors
    /// When the destination fails.
    pub(super) async fn put(
        &mut self,
        figure: &str,
        (column, window): (&str, i64),
        rows: RecordBatch,
    ) -> Result<(), QueryError> {
        let at = DateTime::from_timestamp_micros(window).unwrap_or_default();
        let part = format!("{column}={}", at.to_rfc3339_opts(SecondsFormat::AutoSi, true));
        let folder = format!("{figure}/{part}");
        let known = match &mut self.listed {
            None => None,
            Some(listed) => {
                if !listed.contains_key(figure) {
                    listed.insert(figure.to_owned(), list(&self.to, figure, self.format).await?);
                }
                Some(listed[figure].get(&part).copied().unwrap_or(0))
            }
        };
        let is_empty = rows.num_rows() == 0;
        let content = self.format.encode_whole(&rows)?;
        let (to, format) = (self.to.clone(), self.format);
        let put = async move { revise(to, folder, format, known, Bytes::from(content), is_empty).await };
        self.running.push(Box::pin(put));
        while self.running.len() >= AT_ONCE {
            self.one_done().await?;
        }
        Ok(())
    }

    async fn one_done(&mut self) -> Result<(), QueryError> {
        if let Some(path) = self.running.try_next().await?.flatten() {
            self.fresh.push(path);
            self.written += 1;
        }
        if self.fresh.len() >= TOGETHER {
            self.settle().await?;
        }
        Ok(())
    }

    async fn settle(&mut self) -> Result<(), QueryError> {
        Ok(self.to.durable.sync(&std::mem::take(&mut self.fresh)).await?)
    }

    /// Waits until all files are durable. Gives their number.
    ///
    /// # Errors
    /// When the destination fails.
    pub(super) async fn finish(mut self) -> Result<u64, QueryError> {
        while !self.running.is_empty() {
            self.one_done().await?;
        }
        self.settle().await?;
        Ok(self.written)
    }
}

/// The last revision in each folder of a figure.
async fn list(to: &Destination, figure: &str, format: Format) -> Result<HashMap<String, u64>, QueryError> {
    let mut found = to.fast.list(Some(&Path::from(figure)));
    let mut last = HashMap::new();
    while let Some(object) = found.next().await {
        let object = object?;
        let mut parts = object.location.parts().skip(1).map(|part| part.as_ref().to_owned());
        let (Some(window), Some(file)) = (parts.next(), parts.next()) else { continue };
        if let Some(revision) = revision(&file, format) {
            let known = last.entry(window).or_insert(revision);
            *known = revision.max(*known);
        }
    }
    Ok(last)
}

/// The number in a file's name.
fn revision(file: &str, format: Format) -> Option<u64> {
    file.strip_suffix(format.extension())?.strip_suffix('.')?.parse().ok()
}

/// Puts a revision where the last one differs; gives its path.
async fn revise(
    to: Destination,
    folder: String,
    format: Format,
    known: Option<u64>,
    content: Bytes,
    is_empty: bool,
) -> Result<Option<Path>, QueryError> {
    let path = |revision: u64| Path::parse(format!("{folder}/{revision}.{}", format.extension()));
    let mut last = match known {
        Some(last) => last,
        None => last_in(&to, &folder, format).await?,
    };
    loop {
        if last > 0 && to.fast.get(&path(last)?).await?.bytes().await? == content {
            return Ok(None);
        }
        if last == 0 && is_empty {
            return Ok(None);
        }
        let next = path(last + 1)?;
        match to.fast.put_opts(&next, content.clone().into(), PutMode::Create.into()).await {
            Ok(_) => return Ok(Some(next)),
            // Another run was first: what it wrote is compared too.
            Err(object_store::Error::AlreadyExists { .. }) => last += 1,
            Err(error) => return Err(error.into()),
        }
    }
}

async fn last_in(to: &Destination, folder: &str, format: Format) -> Result<u64, QueryError> {
    let folder = Path::parse(folder)?;
    let found: Vec<_> = to.fast.list(Some(&folder)).try_collect().await?;
    let revisions = found.iter().filter_map(|object| revision(object.location.filename()?, format));
    Ok(revisions.max().unwrap_or(0))
}
