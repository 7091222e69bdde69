//! Days that were accepted and not loaded, whose files have gone since: what is left of such a delivery is taken back.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use schema::Contract;
use store::Lake;

use crate::IngestError;
use crate::source::files::ledger::{Entry, Ledger};
use crate::source::files::load::lost;
use crate::source::files::place::Places;

/// How far the Bronze table of each member has loaded `input`, by the members' names.
///
/// # Errors
/// A table that cannot be read.
pub(super) async fn positions(
    lake: &Lake,
    members: &[Arc<Contract>],
    input: &str,
) -> Result<HashMap<String, i64>, IngestError> {
    let mut positions = HashMap::new();
    for member in members {
        let position = match lake.open_table(&member.table()).await? {
            Some(table) => table.refresh().await?.txn(input).unwrap_or(0),
            None => 0,
        };
        positions.insert(member.name.clone(), position);
    }
    Ok(positions)
}

/// What was accepted, and is not loaded by these positions.
pub(super) fn pending(ledger: &Ledger, positions: &HashMap<String, i64>) -> Vec<Entry> {
    positions.iter().flat_map(|(stream, position)| ledger.pending(stream, *position)).collect()
}

/// The rows that withdraw what cannot be loaded any more: `pending` versions that are not there as they were. Of a delivery
/// of which nothing is loaded all is withdrawn, so that it is judged anew, as a whole.
///
/// # Errors
/// A place that cannot tell what lies there.
pub(super) async fn withdrawals(
    ledger: &Ledger,
    positions: &HashMap<String, i64>,
    pending: Vec<Entry>,
    places: &Places,
) -> Result<Vec<Entry>, IngestError> {
    let mut rows = Vec::new();
    for (entry, reason) in find_lost(pending, places).await? {
        let untouched = entry.delivery.filter(|first| {
            ledger.delivery(*first).all(|other| positions.get(&other.stream).is_none_or(|at| other.number > *at))
        });
        rows.push((entry.number, entry.gone(reason.to_owned())));
        for other in untouched.into_iter().flat_map(|first| ledger.delivery(first)) {
            let reason = format!("was accepted together with {}, which {reason}", entry.path);
            rows.push((other.number, other.gone(reason)));
        }
    }
    // A lost file is said to be lost, not to have come with another one that is.
    rows.sort_by_key(|(number, row)| (*number, row.reason.starts_with("was ")));
    let mut seen = BTreeSet::new();
    Ok(rows.into_iter().filter(|(number, _)| seen.insert(*number)).map(|(_, row)| row).collect())
}

async fn find_lost(pending: Vec<Entry>, places: &Places) -> Result<Vec<(Entry, &'static str)>, IngestError> {
    if pending.is_empty() {
        return Ok(Vec::new());
    }
    let places = places.clone();
    let looked = tokio::task::spawn_blocking(move || {
        let mut found = Vec::new();
        for entry in pending {
            let Some(place) = places.holding(&entry.path) else { continue };
            let reason = lost(place, &entry).map_err(|error| IngestError::Input {
                stream: entry.stream.clone(),
                input: entry.path.clone(),
                reason: error.to_string(),
            })?;
            found.extend(reason.map(|reason| (entry, reason)));
        }
        Ok(found)
    });
    looked.await.map_err(|e| IngestError::Internal(format!("a reader died: {e}")))?
}
