//! What the bad rows of a Bronze table look like in SQL, which of them are mended, and picking some of them.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use datafusion::catalog::TableProvider;
use datafusion::common::{JoinType, ScalarValue};
use datafusion::datasource::{ViewTable, provider_as_source};
use datafusion::functions::expr_fn::contains;
use datafusion::logical_expr::{Expr, LogicalPlanBuilder, col, ident, lit};
use schema::{Contract, STATUS_QUARANTINED, STATUS_STORED};
use store::Snapshot;

use crate::bronze::rows;
use crate::{SessionError, empty_bronze};

/// The column of quarantine that says whether a row was mended since. A row that was not is open.
pub const MENDED_COLUMN: &str = "_mended";

/// What names a record of a stream: a mended row has the place of the quarantined one.
pub const PLACE_COLUMNS: [&str; 3] = ["_source", "_partition", "_offset"];

/// `quarantine.<stream>`: all records that were set aside, with reason (`_error`) and raw bytes (`_raw`): the contract's
/// fields (filled where the record could be read), the system columns, and `_mended`: whether a row of `bronze.<stream>`
/// mends it. `stored` is the Bronze table; `None` where the stream was never loaded.
///
/// Only files that hold mended rows are looked into for `_mended`: without any it costs nothing.
///
/// # Errors
/// When the table's types are not the contract's.
pub fn quarantine_view(contract: &Contract, stored: Option<&Snapshot>) -> Result<Arc<dyn TableProvider>, SessionError> {
    let bad = stored.map_or_else(|| empty_bronze(contract), Snapshot::provider);
    let bad = rows(contract, bad, STATUS_QUARANTINED, None)?;
    let columns: Vec<Expr> = contract.bronze_schema().fields().iter().map(|field| ident(field.name())).collect();
    let plan = match stored.map(mended).transpose()?.flatten() {
        None => bad.project(columns.into_iter().chain([lit(false).alias(MENDED_COLUMN)]))?,
        Some(mended) => {
            let [source, partition, offset] = PLACE_COLUMNS;
            let keys = (mended_names().to_vec(), vec![source, partition, offset]);
            let is_mended = ident(mended_names()[2]).is_not_null().alias(MENDED_COLUMN);
            // The few mended rows first: they are what the join holds in memory.
            mended.join(bad.build()?, JoinType::Right, keys, None)?.project(columns.into_iter().chain([is_mended]))?
        }
    };
    Ok(Arc::new(ViewTable::new(plan.build()?, None)))
}

/// Names of [`PLACE_COLUMNS`] on the side of the mended rows.
fn mended_names() -> [&'static str; 3] {
    ["__source", "__partition", "__offset"]
}

/// The places of mended rows; `None` where no file can hold one.
fn mended(stored: &Snapshot) -> Result<Option<LogicalPlanBuilder>, SessionError> {
    let filters = [col("_mends").is_not_null(), col("_status").eq(lit(STATUS_STORED))];
    let files = stored.prune_files(&filters)?;
    if files.is_empty() {
        return Ok(None);
    }
    let scan = LogicalPlanBuilder::scan("mended", provider_as_source(stored.provider_of(files)), None)?;
    let places = PLACE_COLUMNS.iter().zip(mended_names()).map(|(name, other)| ident(*name).alias(other));
    let [mends, status] = filters;
    Ok(Some(scan.filter(mends.and(status))?.project(places)?.distinct()?))
}

/// Which rows of quarantine are meant; nothing set means all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct QuarantineFilter {
    /// The reason (`_error`) holds this text; with a `%` in it, it is a pattern of SQL's LIKE for all of the reason.
    pub reason: Option<String>,
    /// The first instant of arrival (`_arrived_at`).
    pub from: Option<DateTime<Utc>>,
    /// The instant of arrival before which it ends.
    pub until: Option<DateTime<Utc>>,
}

impl QuarantineFilter {
    /// The filter over the columns of `quarantine.<stream>` or `quality.quarantine`; `None` where all are meant.
    pub fn condition(&self) -> Option<Expr> {
        let reason = self.reason.as_ref().map(|reason| match reason.contains('%') {
            true => ident("_error").like(lit(reason.as_str())),
            false => contains(ident("_error"), lit(reason.as_str())),
        });
        let from = self.from.map(|from| ident("_arrived_at").gt_eq(instant(from)));
        let until = self.until.map(|until| ident("_arrived_at").lt(instant(until)));
        [reason, from, until].into_iter().flatten().reduce(Expr::and)
    }
}

fn instant(at: DateTime<Utc>) -> Expr {
    lit(ScalarValue::TimestampMicrosecond(Some(at.timestamp_micros()), Some("UTC".into())))
}
