//! Gates of feeds (ENGINE.md 21): how much of what was received is lost.
//!
//! A feed is looked at before its new rows are published. Time goes by arrival: the last window ends with the newest row
//! that is not published yet, and windows go back from there as far as unpublished rows do, so that a backlog of a week
//! is judged day by day. Each window counts all rows of the stream that arrived in it, published or not; what somebody
//! let through by name is left out. Of a window,
//!
//! * *rows in* are the messages that came: a mended row is no message of its own;
//! * *quarantined* are bad rows that no later revision replaced;
//! * *missing* are entities of good rows of which no message has a row in what the feed's SQL makes.
//!
//! Copies and replaced versions have a row in what the SQL makes, so they are not lost.

use std::collections::BTreeMap;
use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Array, AsArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int64Type};
use chrono::{DateTime, Utc};
use datafusion::catalog::TableProvider;
use datafusion::datasource::{ViewTable, provider_as_source};
use datafusion::execution::context::SessionContext;
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, cast as cast_expr, ident, lit};
use schema::{Contract, Gate, STATUS_QUARANTINED, Severity, TableName};
use session::SessionFactory;

use crate::sql::quoted;
use crate::{CheckResult, Result};

/// The names under which the SQL here finds what it is about, in the schema `_smelt`.
const FRESH: &str = "fresh";
const RECEIVED: &str = "received";
const FED: &str = "fed";

/// When a row arrived, microseconds.
const ARRIVED: &str = "CAST(coalesce(_arrived_at, _ingested_at) AS BIGINT)";

/// What was received of a stream in the windows that a gate looks at.
#[derive(Clone, Debug)]
pub struct Windows {
    factory: SessionFactory,
    gate: Gate,
    /// The newest arrival, microseconds since 1970 UTC: the end of window 0.
    newest_us: i64,
    /// The windows, counted back from the newest, that hold unpublished rows.
    wanted: Vec<i64>,
    /// When the newest of the unpublished rows was decoded.
    ingested_us: i64,
    /// What was decoded up to here was let through by name.
    allowed_us: Option<i64>,
}

/// What was lost in one window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Loss {
    /// Messages that came.
    pub rows_in: u64,
    /// Bad rows that are not mended.
    pub quarantined: u64,
    /// Entities without a row in what the feed makes.
    pub missing: u64,
    /// When the window ends, microseconds since 1970 UTC.
    pub until_us: i64,
}

impl Loss {
    /// Lost rows.
    pub fn lost(&self) -> u64 {
        self.quarantined + self.missing
    }

    /// Lost rows by rows in; 0 where nothing came.
    pub fn share(&self) -> f64 {
        if self.rows_in == 0 { 0.0 } else { self.lost() as f64 / self.rows_in as f64 }
    }

    /// Whether the gate lets it pass: nothing lost, too little to judge, or less than the limit.
    pub fn passes(&self, gate: &Gate) -> bool {
        self.lost() == 0 || self.rows_in < gate.min_rows || self.share() < gate.max_loss.get()
    }
}

impl Windows {
    /// The windows of the rows of `fresh`, a part of a stream's table; `None` when it has no rows. `allowed_us` is what
    /// [`Self::ingested_us`] was when the feed was last let through by name.
    ///
    /// # Errors
    /// When the rows cannot be read.
    pub async fn of(
        factory: &SessionFactory,
        gate: Gate,
        fresh: Arc<dyn TableProvider>,
        allowed_us: Option<i64>,
    ) -> Result<Option<Self>> {
        let context = factory.context(HashMap::from([(TableName::system(FRESH), fresh)]));
        let newest = format!("SELECT max({ARRIVED}) AS a, max(CAST(_ingested_at AS BIGINT)) AS i FROM _smelt.{FRESH}");
        let [newest_us, ingested_us] = longs(&context, &newest).await?[..] else { return Ok(None) };
        let Some((newest_us, ingested_us)) = newest_us.zip(ingested_us) else { return Ok(None) };
        let mut windows = Self {
            factory: factory.clone(),
            gate,
            newest_us,
            wanted: Vec::new(),
            ingested_us,
            allowed_us: allowed_us.filter(|allowed| *allowed < ingested_us),
        };
        let number = windows.number();
        let found = format!("SELECT {number} AS w, count(*) AS n FROM _smelt.{FRESH} GROUP BY {number}");
        windows.wanted = by_window(&context, &found).await?.into_keys().collect();
        Ok(Some(windows))
    }

    /// When the newest of the unpublished rows was decoded, microseconds since 1970 UTC: what to remember when they are
    /// let through by name.
    pub fn ingested_us(&self) -> i64 {
        self.ingested_us
    }

    /// The number of the window that a row arrived in, as SQL.
    fn number(&self) -> String {
        format!("greatest(({} - {ARRIVED}) / {}, 0)", self.newest_us, self.window_us())
    }

    fn window_us(&self) -> i64 {
        i64::try_from(self.gate.window_seconds).unwrap_or(i64::MAX / 2_000_000).saturating_mul(1_000_000)
    }

    /// The rows of a stream's table that arrived in these windows and were not let through.
    ///
    /// # Errors
    /// When the table lacks the system columns.
    pub fn received(&self, stored: Arc<dyn TableProvider>) -> Result<Arc<dyn TableProvider>> {
        let instant = stored.schema().field_with_name("_arrived_at")?.data_type().clone();
        let at = |micros: i64| {
            let value = datafusion::common::ScalarValue::TimestampMicrosecond(Some(micros), None);
            cast_expr(lit(value), instant.clone())
        };
        let oldest = self.wanted.iter().max().copied().unwrap_or(0);
        let from = self.newest_us.saturating_sub((oldest + 1).saturating_mul(self.window_us()));
        let arrived = ident("_arrived_at").gt(at(from)).or(ident("_arrived_at").is_null());
        let filter = match self.allowed_us {
            None => arrived,
            Some(allowed) => arrived.and(ident("_ingested_at").gt(at(allowed))),
        };
        let rows = LogicalPlanBuilder::scan(RECEIVED, provider_as_source(stored), None)?.filter(filter)?.build()?;
        Ok(Arc::new(ViewTable::new(rows, None)))
    }

    /// What was lost, in the worst window that holds unpublished rows; `None` when there is none. `received` comes from
    /// [`Self::received`]; `fed` is the feed's SQL over it, left out where the SQL is known to make a row of each message.
    ///
    /// # Errors
    /// When the rows cannot be read or the feed's SQL fails.
    pub async fn worst(
        &self,
        contract: &Contract,
        received: Arc<dyn TableProvider>,
        fed: Option<LogicalPlan>,
    ) -> Result<Option<Loss>> {
        let mut tables: HashMap<TableName, Arc<dyn TableProvider>> = HashMap::new();
        tables.insert(contract.table(), session::bronze_view(contract, Arc::clone(&received))?);
        tables.insert(TableName::system(RECEIVED), received);
        let drops = fed.is_some();
        if let Some(fed) = fed {
            tables.insert(TableName::system(FED), Arc::new(ViewTable::new(fed, None)));
        }
        let context = self.factory.context(tables);
        let rows_in = by_window(&context, &self.rows_in_sql()).await?;
        let bad = by_window(&context, &self.quarantined_sql()).await?;
        let missing = if drops { by_window(&context, &self.missing_sql(contract)).await? } else { BTreeMap::new() };
        let of = |counts: &BTreeMap<i64, u64>, window: &i64| counts.get(window).copied().unwrap_or(0);
        let losses = self.wanted.iter().map(|window| Loss {
            rows_in: of(&rows_in, window),
            quarantined: of(&bad, window),
            missing: of(&missing, window),
            until_us: self.newest_us.saturating_sub(window.saturating_mul(self.window_us())),
        });
        // One that fails is worse than one that is too small to judge, whatever its share.
        let rank = |loss: &Loss| (!loss.passes(&self.gate), loss.share());
        Ok(losses.max_by(|a, b| rank(a).0.cmp(&rank(b).0).then(rank(a).1.total_cmp(&rank(b).1))))
    }

    fn rows_in_sql(&self) -> String {
        let number = self.number();
        format!(
            "SELECT {number} AS w, count(*) AS n FROM _smelt.{RECEIVED} WHERE coalesce(_mends, 0) = 0 GROUP BY {number}"
        )
    }

    /// Open rows: those of which no row of the same place has a greater revision.
    fn quarantined_sql(&self) -> String {
        let number = self.number();
        format!(
            "SELECT w, count(*) AS n FROM (
               SELECT {number} AS w, _source, _partition, _offset, coalesce(_mends, 0) AS revision
               FROM _smelt.{RECEIVED} WHERE _status = '{STATUS_QUARANTINED}') AS bad
             WHERE NOT EXISTS (
               SELECT 1 FROM _smelt.{RECEIVED} AS mended
               WHERE mended._mends > 0 AND mended._source = bad._source AND mended._partition = bad._partition
                 AND mended._offset = bad._offset AND mended._mends > bad.revision)
             GROUP BY w"
        )
    }

    /// Good messages and what the feed makes of them are brought together by their place in the order, then messages by
    /// their entity: a message that gives no row is no loss where another one of its entity does.
    fn missing_sql(&self, contract: &Contract) -> String {
        let (number, names) = (self.number(), &contract.entity);
        let list = |of: &dyn Fn(usize, &String) -> String| -> String {
            names.iter().enumerate().map(|(i, name)| format!(", {}", of(i, name))).collect()
        };
        let (good, none) =
            (list(&|i, name| format!("{} AS e{i}", quoted(name))), list(&|i, _| format!("NULL AS e{i}")));
        let of_message = list(&|i, _| format!("max(e{i}) AS e{i}"));
        let messages = format!(
            "SELECT max(w) AS w, max(made) AS made{of_message} FROM (
               SELECT _lineage AS message, {number} AS w, 0 AS made{good} FROM {}
               UNION ALL SELECT _lineage AS message, NULL AS w, 1 AS made{none} FROM _smelt.{FED}) AS both
             GROUP BY message",
            contract.table()
        );
        let entities = match names.is_empty() {
            true => format!("SELECT w FROM ({messages}) AS messages WHERE made = 0"),
            false => {
                let keys: Vec<String> = (0..names.len()).map(|i| format!("e{i}")).collect();
                let keys = keys.join(", ");
                format!("SELECT min(w) AS w FROM ({messages}) AS messages GROUP BY {keys} HAVING max(made) = 0")
            }
        };
        format!("SELECT w, count(*) AS n FROM ({entities}) AS lost GROUP BY w")
    }
}

/// The result of a gate.
pub fn result(table: &TableName, feed: &str, gate: &Gate, loss: &Loss) -> CheckResult {
    let until = DateTime::<Utc>::from_timestamp_micros(loss.until_us).unwrap_or_default();
    CheckResult {
        table: table.clone(),
        feed: Some(feed.to_owned()),
        check: gate.to_string(),
        severity: Severity::Fail,
        success: loss.passes(gate),
        allowed: false,
        version: None,
        observed_value: Some(format!(
            "{:.4} of {} rows that arrived up to {} are lost ({} in quarantine, {} missing)",
            loss.share(),
            loss.rows_in,
            until.format("%Y-%m-%dT%H:%M:%SZ"),
            loss.quarantined,
            loss.missing
        )),
        element_count: Some(loss.rows_in),
        unexpected_count: loss.lost(),
        sample: Vec::new(),
    }
}

/// Whether a filter of a feed's SQL is the one by which the good rows of Bronze are told from the bad ones.
pub fn is_status_filter(predicate: &Expr) -> bool {
    predicate.column_refs().iter().all(|column| column.name == "_status") && !predicate.column_refs().is_empty()
}

/// The first row of a query, as whole numbers.
async fn longs(context: &SessionContext, sql: &str) -> Result<Vec<Option<i64>>> {
    let batches = context.sql(sql).await?.collect().await?;
    let Some(batch) = batches.iter().find(|batch| batch.num_rows() > 0) else { return Ok(Vec::new()) };
    let value = |column: &Arc<dyn Array>| -> Result<Option<i64>> {
        let column = cast(column, &DataType::Int64)?;
        Ok(column.is_valid(0).then(|| column.as_primitive::<Int64Type>().value(0)))
    };
    batch.columns().iter().map(value).collect()
}

/// Counts by window: the query gives `w` and `n`.
async fn by_window(context: &SessionContext, sql: &str) -> Result<BTreeMap<i64, u64>> {
    let mut counts = BTreeMap::new();
    for batch in context.sql(sql).await?.collect().await? {
        let (windows, rows) = (cast(batch.column(0), &DataType::Int64)?, cast(batch.column(1), &DataType::Int64)?);
        let (windows, rows) = (windows.as_primitive::<Int64Type>(), rows.as_primitive::<Int64Type>());
        let both = windows.iter().zip(rows.iter()).filter_map(|(window, rows)| window.zip(rows));
        both.for_each(|(window, rows)| *counts.entry(window).or_default() += rows.unsigned_abs());
    }
    Ok(counts)
}

#[cfg(test)]
mod tests {
    use super::*;
    use schema::Share;

    fn gate(max_loss: f64, min_rows: u64) -> Gate {
        Gate { max_loss: Share::new(max_loss).expect("a share"), min_rows, window_seconds: 86_400 }
    }

    fn loss(rows_in: u64, quarantined: u64, missing: u64) -> Loss {
        Loss { rows_in, quarantined, missing, until_us: 0 }
    }

    #[test]
    fn a_loss_passes_below_the_limit_and_where_too_little_came() {
        let five = gate(0.05, 1000);
        assert!(loss(1000, 49, 0).passes(&five));
        assert!(!loss(1000, 50, 0).passes(&five), "less than 5 % may be lost");
        assert!(!loss(1000, 25, 25).passes(&five), "both kinds count");
        assert!(loss(999, 999, 0).passes(&five), "too few to judge");
        assert!(loss(1000, 0, 0).passes(&gate(0.0, 1)));
        assert!(!loss(1000, 1, 0).passes(&gate(0.0, 1)));
    }
}
