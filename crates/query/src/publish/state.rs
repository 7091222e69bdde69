//! What was published so far: `_published/<table>.<extension>.json` at the destination.

use std::collections::BTreeMap;

use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use schema::TableName;
use serde::{Deserialize, Serialize};

use super::Destination;
use crate::{Format, QueryError};

/// What was published of a table to a destination.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct State {
    /// The table's id: a table that is made anew is published anew.
    pub(super) table: String,
    /// The version up to which its changes were published.
    pub(super) version: i64,
    /// Windows that end at this time or before were complete; microseconds since 1970 UTC.
    pub(super) complete_to: Option<i64>,
    /// What is known of the stream.
    pub(super) stream: Seen,
}

/// What was seen of a stream in Bronze.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Seen {
    /// The Bronze table's id.
    pub(super) table: String,
    /// The version up to which it was looked at.
    pub(super) version: i64,
    /// By partition of a topic, as `<source>/<partition>`.
    pub(super) partitions: BTreeMap<String, Newest>,
    /// Whether rows came from landing files.
    pub(super) files: bool,
}

/// The newest of a partition, microseconds since 1970 UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Newest {
    /// The greatest event time, not later than its arrival.
    pub(super) event: i64,
    /// The last arrival.
    pub(super) arrived: i64,
}

fn path(name: &TableName, format: Format) -> Path {
    Path::from(format!("_published/{name}.{}.json", format.extension()))
}

impl State {
    /// What is noted at the destination; `None` before the first run.
    ///
    /// # Errors
    /// When the destination fails, or the note cannot be read.
    pub(super) async fn read(to: &Destination, name: &TableName, format: Format) -> Result<Option<State>, QueryError> {
        let path = path(name, format);
        let bytes = match to.durable.get(&path).await {
            Err(object_store::Error::NotFound { .. }) => return Ok(None),
            Err(error) => return Err(error.into()),
            Ok(found) => found.bytes().await?,
        };
        let bad = |error: serde_json::Error| {
            QueryError::Publish(format!("{path}: {error}: remove it to have everything compared again"))
        };
        serde_json::from_slice(&bytes).map(Some).map_err(bad)
    }

    /// Notes it.
    ///
    /// # Errors
    /// When the destination fails.
    pub(super) async fn write(&self, to: &Destination, name: &TableName, format: Format) -> Result<(), QueryError> {
        let text = serde_json::to_vec(self).map_err(|error| QueryError::Encode(error.to_string()))?;
        to.durable.put_opts(&path(name, format), text.into(), Default::default()).await?;
        Ok(())
    }
}
