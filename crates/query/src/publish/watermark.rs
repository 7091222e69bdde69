//! Up to when a stream is complete: the least over its active partitions of the greatest event time, less what late
//! events are waited for (ENGINE.md 22).

use std::collections::{BTreeMap, HashMap};

use arrow::array::{Array, AsArray};
use arrow::datatypes::{Int32Type, TimestampMicrosecondType};
use chrono::{DateTime, Utc};
use schema::{Contract, Publication};
use session::{SessionError, SessionFactory};
use store::{Snapshot, Table};

use super::ALL;
use super::state::{Newest, Seen, State};
use crate::QueryError;

/// A partition that had no message for so long holds no window open.
const IDLE_MICROS: i64 = 60_000_000;

/// Looks at what came since the last run, of what Silver has consumed. `None` when nothing was consumed yet.
///
/// # Errors
/// When the stream is unknown or has no event time; when a table fails.
pub(super) async fn advance(
    factory: &SessionFactory,
    publication: &Publication,
    known: Option<&State>,
) -> Result<Option<Seen>, QueryError> {
    let contract = factory.project().contracts.get(&publication.stream).ok_or_else(|| {
        QueryError::Publish(format!("`publish.stream` names {}, which has no contract", publication.stream))
    })?;
    let lake = factory.lake();
    let Some(table) = lake.open_table(&contract.table()).await.map_err(SessionError::from)? else { return Ok(None) };
    let Some(version) = consumed(factory, table.snapshot().id()).await? else { return Ok(None) };
    let mut seen = known.map(|known| known.stream.clone()).filter(|seen| seen.table == table.snapshot().id());
    if let Some(seen) = seen.as_ref().filter(|seen| seen.version >= version) {
        return Ok(Some(seen.clone()));
    }
    let news = news(&table, seen.as_ref().map(|seen| seen.version), version).await?;
    if news.is_none() {
        seen = None;
    }
    let mut seen = seen.unwrap_or_default();
    let provider = match news {
        Some(provider) => provider,
        None => table.snapshot_at(version).await.map_err(SessionError::from)?.provider(),
    };
    look(factory, contract, provider, &mut seen).await?;
    seen.table = table.snapshot().id().to_owned();
    seen.version = version;
    Ok(Some(seen))
}

/// The version of a Bronze table that all tables of the latest release which read it have consumed.
async fn consumed(factory: &SessionFactory, id: &str) -> Result<Option<i64>, QueryError> {
    let lake = factory.lake();
    let Some(release) = lake.releases().latest().await.map_err(SessionError::from)? else { return Ok(None) };
    let input = format!("table:{id}");
    let mut least: Option<i64> = None;
    for (name, version) in &release.tables {
        let Some(table) = lake.open_table(name).await.map_err(SessionError::from)? else { continue };
        let snapshot: std::sync::Arc<Snapshot> = table.snapshot_at(*version).await.map_err(SessionError::from)?;
        if let Some(position) = snapshot.txn(&input) {
            least = Some(least.map_or(position, |least| least.min(position)));
        }
    }
    Ok(least)
}

/// The rows that came after a version; `None` where all have to be looked at.
async fn news(
    table: &Table,
    from: Option<i64>,
    to: i64,
) -> Result<Option<std::sync::Arc<dyn datafusion::catalog::TableProvider>>, QueryError> {
    let Some(from) = from else { return Ok(None) };
    match table.changes(from, to).await {
        Ok(changes) => Ok(Some(changes.inserts())),
        Err(store::StoreError::HistoryGone { .. }) => Ok(None),
        Err(error) => Err(SessionError::from(error).into()),
    }
}

async fn look(
    factory: &SessionFactory,
    contract: &Contract,
    rows: std::sync::Arc<dyn datafusion::catalog::TableProvider>,
    seen: &mut Seen,
) -> Result<(), QueryError> {
    let Some(event_time) = &contract.event_time else {
        return Err(QueryError::Publish(format!(
            "{}: `publish.stream` names a stream without `event_time`, so no window of it is ever complete",
            contract.path
        )));
    };
    let name = contract.table();
    let sql = format!(
        "SELECT _source, CAST(_partition AS INT) AS part, max(least(\"{event_time}\", _arrived_at)) AS event, \
         max(_arrived_at) AS arrived FROM {name} WHERE _source NOT LIKE 'files:%' GROUP BY 1, 2"
    );
    let files = format!("SELECT 1 FROM {name} WHERE _source LIKE 'files:%' LIMIT 1");
    let context = factory.context(HashMap::from([(name, session::bronze_view(contract, rows)?)]));
    for batch in context.sql(&sql).await?.collect().await? {
        let sources = arrow::compute::cast(batch.column(0), &arrow::datatypes::DataType::Utf8)?;
        let parts = batch.column(1).as_primitive::<Int32Type>();
        let micros = |place: usize| batch.column(place).as_primitive::<TimestampMicrosecondType>();
        for row in 0..batch.num_rows() {
            if micros(2).is_null(row) {
                continue;
            }
            let newest = Newest { event: micros(2).value(row), arrived: micros(3).value(row) };
            note(
                &mut seen.partitions,
                format!("{}/{}", sources.as_string::<i32>().value(row), parts.value(row)),
                newest,
            );
        }
    }
    seen.files |= context.sql(&files).await?.collect().await?.iter().any(|batch| batch.num_rows() > 0);
    Ok(())
}

fn note(partitions: &mut BTreeMap<String, Newest>, name: String, newest: Newest) {
    let known = partitions.entry(name).or_insert(newest);
    known.event = known.event.max(newest.event);
    known.arrived = known.arrived.max(newest.arrived);
}

impl Seen {
    /// The time up to which windows are complete, microseconds since 1970 UTC; of a stream that comes from files alone, all
    /// time; `None` before the first row.
    pub(super) fn complete_to(&self, now: DateTime<Utc>, lateness_seconds: u64) -> Option<i64> {
        let active = |newest: &&Newest| now.timestamp_micros() - newest.arrived < IDLE_MICROS;
        let events = || self.partitions.values();
        let least = events().filter(active).map(|newest| newest.event).min();
        // With all of them idle, nothing says that one is behind the others.
        let newest = least.or_else(|| events().map(|newest| newest.event).max());
        let lateness = i64::try_from(lateness_seconds.saturating_mul(1_000_000)).unwrap_or(i64::MAX);
        match newest {
            Some(newest) => Some(newest.saturating_sub(lateness)),
            None => self.files.then_some(ALL),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slowest_active_partition_says_and_idle_ones_do_not() {
        let now = DateTime::from_timestamp_micros(1_000_000_000).expect("a time");
        let newest = |event, arrived| Newest { event, arrived };
        let of = |partitions: &[Newest], files| Seen {
            partitions: partitions.iter().enumerate().map(|(n, newest)| (n.to_string(), *newest)).collect(),
            files,
            ..Seen::default()
        };
        let (fresh, old) = (1_000_000_000 - 1, 1_000_000_000 - IDLE_MICROS);
        let check = |seen: Seen, expected| assert_eq!(seen.complete_to(now, 600), expected);
        check(of(&[newest(900_000_000, fresh), newest(800_000_000, fresh)], false), Some(200_000_000));
        check(of(&[newest(900_000_000, fresh), newest(800_000_000, old)], true), Some(300_000_000));
        check(of(&[newest(900_000_000, old), newest(800_000_000, old)], false), Some(300_000_000));
        check(of(&[], true), Some(ALL));
        check(of(&[], false), None);
    }
}
