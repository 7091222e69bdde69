//! How fresh a table is: the newest event that it knows of, and what upstream has that it does not.

use std::collections::HashMap;
use std::sync::Arc;

use chrono::Utc;
use datafusion::common::ScalarValue;
use futures::FutureExt;
use futures::future::BoxFuture;
use schema::{Layer, Project, STATUS_STORED};
use store::{Snapshot, Table};

/// What is known of a table's freshness; see `smelt status`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Freshness {
    /// Upstream versions not yet consumed; `None` for Bronze.
    pub behind: Option<i64>,
    /// Seconds that the oldest upstream rows not yet consumed have waited; `None` for Bronze.
    pub waiting_s: Option<i64>,
    /// The newest event, microseconds UTC.
    pub newest_event_us: Option<i64>,
}

/// The tables of a lake, by what others call them.
pub struct Tables {
    project: Arc<Project>,
    tables: Vec<Table>,
    by_id: HashMap<String, usize>,
}

impl Tables {
    /// These tables, which were just opened.
    pub fn new(project: &Arc<Project>, tables: Vec<Table>) -> Self {
        let by_id = tables.iter().enumerate().map(|(at, table)| (table.snapshot().id().to_owned(), at)).collect();
        Self { project: Arc::clone(project), tables, by_id }
    }

    /// All of them.
    pub fn all(&self) -> impl Iterator<Item = &Table> {
        self.tables.iter()
    }

    /// How fresh a table is. What the logs do not tell any more is left out.
    pub async fn freshness(&self, snapshot: &Snapshot) -> Freshness {
        let newest_event_us = self.newest_event(snapshot).await;
        if snapshot.table().layer == Layer::Bronze {
            return Freshness { newest_event_us, ..Freshness::default() };
        }
        let (mut behind, mut oldest_ms) = (0, None);
        for (upstream, at) in self.upstreams(snapshot) {
            let head = upstream.snapshot().version();
            behind += head - at;
            if head > at {
                oldest_ms = oldest_ms.into_iter().chain(first_rows_after(upstream, at).await).min();
            }
        }
        let waited = oldest_ms.map_or(0, |ms: i64| (Utc::now().timestamp_millis() - ms).max(0) / 1_000);
        Freshness { behind: Some(behind), waiting_s: Some(waited), newest_event_us }
    }

    /// The tables that a snapshot consumed, and up to which version.
    fn upstreams(&self, snapshot: &Snapshot) -> impl Iterator<Item = (&Table, i64)> {
        let inputs: Vec<(&str, i64)> = snapshot.txns().collect();
        let known = inputs.into_iter().filter_map(|(input, at)| {
            let place = self.by_id.get(input.strip_prefix("table:")?)?;
            Some((&self.tables[*place], at))
        });
        known.collect::<Vec<_>>().into_iter()
    }

    /// The greatest event time of the Bronze rows that a snapshot is made of.
    fn newest_event<'a>(&'a self, snapshot: &'a Snapshot) -> BoxFuture<'a, Option<i64>> {
        async move {
            if snapshot.table().layer == Layer::Bronze {
                let contract = self.project.contracts.get(&snapshot.table().name)?;
                return newest_in(snapshot, contract.event_time.as_ref()?);
            }
            let mut newest = None;
            for (upstream, at) in self.upstreams(snapshot) {
                // A version that the log does not have any more tells nothing.
                if let Ok(consumed) = upstream.snapshot_at(at).await {
                    newest = newest.max(self.newest_event(&consumed).await);
                }
            }
            newest
        }
        .boxed()
    }
}

/// The greatest value of a timestamp or date column over the good rows, by the files' statistics: of a timestamp its
/// millisecond, because that is what Delta's statistics tell.
fn newest_in(snapshot: &Snapshot, column: &str) -> Option<i64> {
    let good = |file: &&Arc<store::DataFile>| {
        file.partition_values.first().is_some_and(|value| value.as_deref() == Some(STATUS_STORED))
    };
    let greatest = |file: &Arc<store::DataFile>| match file.stats(snapshot.meta()).columns.get(column)?.max {
        Some(ScalarValue::TimestampMicrosecond(us, _)) => us.map(|us| us - us.rem_euclid(1_000)),
        Some(ScalarValue::Date32(day)) => day.map(|day| i64::from(day) * 86_400_000_000),
        _ => None,
    };
    snapshot.files().filter(good).filter_map(greatest).max()
}

/// When the first commit after version `at` that brought rows was made, milliseconds UTC.
async fn first_rows_after(table: &Table, at: i64) -> Option<i64> {
    let history = table.history().await.ok()?;
    let first = history.into_iter().find(|entry| entry.version > at && !entry.added_rows.is_empty())?;
    first.at.map(|at| at.timestamp_millis())
}
