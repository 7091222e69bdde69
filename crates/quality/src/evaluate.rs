//! Checks of a model, evaluated on rows that somebody else chose: what is staged, or a table as it stands.

use std::collections::HashMap;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int64Type, TimeUnit, TimestampMicrosecondType};
use chrono::{DateTime, Utc};
use datafusion::execution::context::SessionContext;
use futures::TryStreamExt;
use schema::{Check, Model, Severity, TableName};
use session::{LakeSession, Parameters, SessionError};

use crate::sql::{broken, quoted};
use crate::{CheckResult, QualityError, Result, SampleRow};

/// Broken rows that a result shows.
const SHOWN: usize = 3;

/// Where SQL runs: it finds the model's table, and those that its checks read, by their names.
#[derive(Clone)]
pub enum Rows {
    /// Over tables that the caller gave.
    Context(SessionContext),
    /// Over the lake as it stands.
    Session(LakeSession),
}

impl Rows {
    async fn collect(&self, sql: &str) -> Result<Vec<RecordBatch>, SessionError> {
        Ok(match self {
            Self::Context(context) => context.sql(sql).await?.collect().await?,
            Self::Session(session) => session.query(sql, &Parameters::new()).await?.try_collect().await?,
        })
    }

    /// The one row of an aggregate, as whole numbers; null is 0.
    pub(crate) async fn counts(&self, sql: &str) -> Result<Vec<u64>> {
        let batches = self.collect(sql).await?;
        let Some(batch) = batches.iter().find(|batch| batch.num_rows() > 0) else { return Ok(Vec::new()) };
        batch.columns().iter().map(|column| Ok(whole(column)?)).collect()
    }

    /// The one value of an aggregate.
    async fn value(&self, sql: &str) -> Result<Option<ArrayRef>> {
        let batches = self.collect(sql).await?;
        let batch = batches.into_iter().find(|batch| batch.num_rows() > 0);
        Ok(batch.map(|batch| batch.column(0).clone()))
    }

    async fn sample(&self, sql: &str) -> Result<Vec<SampleRow>> {
        sample(&self.collect(&format!("{sql} LIMIT {SHOWN}")).await?)
    }
}

fn sample(batches: &[RecordBatch]) -> Result<Vec<SampleRow>> {
    let mut rows = Vec::new();
    for batch in batches {
        rows.extend(SampleRow::all(&batch.slice(0, batch.num_rows().min(SHOWN - rows.len())))?);
    }
    Ok(rows)
}

fn whole(column: &ArrayRef) -> Result<u64, SessionError> {
    let column = cast(column, &DataType::Int64).map_err(datafusion::error::DataFusionError::from)?;
    let value = column.is_valid(0).then(|| column.as_primitive::<Int64Type>().value(0));
    Ok(value.map_or(0, i64::unsigned_abs))
}

/// Which rows a check looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reach {
    /// None: it is known that these rows meet the check.
    Proven {
        /// Rows of which that is known, where they are counted.
        rows: Option<u64>,
    },
    /// Rows that are new or changed.
    Fresh,
    /// All rows of the table as it is, or would be.
    Whole,
}

/// A table, or what is about to become of it.
pub struct Subject<'a> {
    /// The model that it is kept by.
    pub model: &'a Model,
    /// Where the table's name stands for the rows that are new or changed.
    pub fresh: Rows,
    /// Where it stands for all of its rows.
    pub whole: Rows,
    /// What freshness goes by.
    pub now: DateTime<Utc>,
}

impl Subject<'_> {
    /// Evaluates the model's checks, each on the rows that `reach` says; gives their results in the model's order.
    ///
    /// # Errors
    /// When the SQL of a check fails, or a table cannot be read.
    pub async fn evaluate(&self, reach: impl Fn(&Check) -> Reach) -> Result<Vec<CheckResult>> {
        let mut results = Vec::new();
        let mut by_row: HashMap<Reach, Vec<(usize, &Check)>> = HashMap::new();
        for (place, (severity, check)) in self.model.all_checks().enumerate() {
            let (reach, mut result) = (reach(check), CheckResult::met(&self.model.name, severity, check));
            match reach {
                Reach::Proven { rows } => result.element_count = rows,
                _ if broken(check).is_some() => by_row.entry(reach).or_default().push((place, check)),
                _ => self.one(check, self.rows(reach), &mut result).await?,
            }
            results.push(result);
        }
        for (reach, checks) in by_row {
            self.row_checks(self.rows(reach), &checks, &mut results).await?;
        }
        Ok(results)
    }

    fn rows(&self, reach: Reach) -> &Rows {
        if reach == Reach::Whole { &self.whole } else { &self.fresh }
    }

    fn table(&self) -> String {
        self.model.name.to_string()
    }

    /// All checks that look at each row by itself, in one pass over the rows.
    async fn row_checks(&self, rows: &Rows, checks: &[(usize, &Check)], results: &mut [CheckResult]) -> Result<()> {
        let table = self.table();
        let conditions: Vec<String> = checks.iter().filter_map(|(_, check)| broken(check)).collect();
        let counts: Vec<String> = conditions.iter().map(|c| format!("count(*) FILTER (WHERE {c})")).collect();
        // Named apart: two conditions may be the same in SQL.
        let counts: Vec<String> = counts.iter().enumerate().map(|(i, count)| format!("{count} AS c{i}")).collect();
        let counts = rows.counts(&format!("SELECT count(*) AS n, {} FROM {table}", counts.join(", "))).await?;
        for (i, ((place, _), condition)) in checks.iter().zip(&conditions).enumerate() {
            let result = &mut results[*place];
            result.element_count = counts.first().copied();
            result.unexpected_count = counts.get(i + 1).copied().unwrap_or(0);
            result.success = result.unexpected_count == 0;
            if !result.success {
                result.sample = rows.sample(&format!("SELECT * FROM {table} WHERE {condition}")).await?;
            }
        }
        Ok(())
    }

    async fn one(&self, check: &Check, rows: &Rows, result: &mut CheckResult) -> Result<()> {
        match check {
            Check::Unique(columns) => self.unique(columns, rows, result).await,
            Check::References { column, table, to } => self.references(column, (table, to), rows, result).await,
            Check::Freshness { column, max_age_seconds } => {
                self.freshness(column, *max_age_seconds, rows, result).await
            }
            Check::Volume { min, max } => self.volume((*min, *max), rows, result).await,
            Check::RowLoss { table, max } => self.row_loss(table, max.get(), rows, result).await,
            Check::Sql { name, sql } => statement(name, sql, rows, result).await,
            Check::NotNull(_) | Check::AcceptedValues { .. } | Check::Range { .. } => Ok(()),
        }
    }

    async fn unique(&self, columns: &[String], rows: &Rows, result: &mut CheckResult) -> Result<()> {
        let keys: Vec<String> = columns.iter().map(|column| quoted(column)).collect();
        let (keys, table) = (keys.join(", "), self.table());
        let groups = format!("SELECT {keys}, count(*) AS rows_of_key FROM {table} GROUP BY {keys}");
        let counted = "count(*) FILTER (WHERE rows_of_key > 1) AS twice, sum(rows_of_key) AS n";
        let counts = rows.counts(&format!("SELECT {counted} FROM ({groups})")).await?;
        result.element_count = counts.get(1).copied();
        result.unexpected_count = counts.first().copied().unwrap_or(0);
        result.success = result.unexpected_count == 0;
        if !result.success {
            let twice = format!("SELECT {keys} FROM {table} GROUP BY {keys} HAVING count(*) > 1");
            result.sample = rows.sample(&twice).await?;
        }
        Ok(())
    }

    async fn references(
        &self,
        column: &str,
        (other, to): (&TableName, &str),
        rows: &Rows,
        result: &mut CheckResult,
    ) -> Result<()> {
        let (column, to, table) = (quoted(column), quoted(to), self.table());
        let lost = format!(
            "FROM {table} AS t WHERE t.{column} IS NOT NULL AND NOT EXISTS (SELECT 1 FROM {other} AS o WHERE o.{to} = t.{column})"
        );
        result.element_count = rows.counts(&format!("SELECT count(*) FROM {table}")).await?.first().copied();
        result.unexpected_count = rows.counts(&format!("SELECT count(*) {lost}")).await?.first().copied().unwrap_or(0);
        result.success = result.unexpected_count == 0;
        if !result.success {
            result.sample = rows.sample(&format!("SELECT DISTINCT t.{column} {lost}")).await?;
        }
        Ok(())
    }

    async fn freshness(&self, column: &str, max_age: u64, rows: &Rows, result: &mut CheckResult) -> Result<()> {
        let newest = rows.value(&format!("SELECT max({}) FROM {}", quoted(column), self.table())).await?;
        let Some(at) = newest.as_ref().map(instant).transpose()?.flatten() else {
            result.observed_value = Some("no rows".to_owned());
            return Ok(());
        };
        let age = (self.now - at).num_seconds();
        result.success = u64::try_from(age).unwrap_or(0) <= max_age;
        result.observed_value = Some(format!("the newest is of {}", at.format("%Y-%m-%dT%H:%M:%SZ")));
        Ok(())
    }

    async fn volume(
        &self,
        (min, max): (Option<u64>, Option<u64>),
        rows: &Rows,
        result: &mut CheckResult,
    ) -> Result<()> {
        let count = rows.counts(&format!("SELECT count(*) FROM {}", self.table())).await?.first().copied();
        let count = count.unwrap_or(0);
        result.element_count = Some(count);
        result.observed_value = Some(format!("{count} rows"));
        result.success = min.is_none_or(|min| count >= min) && max.is_none_or(|max| count <= max);
        Ok(())
    }

    async fn row_loss(&self, other: &TableName, max: f64, rows: &Rows, result: &mut CheckResult) -> Result<()> {
        let count = async |table: &str| -> Result<u64> {
            Ok(rows.counts(&format!("SELECT count(*) FROM {table}")).await?.first().copied().unwrap_or(0))
        };
        let (own, of) = (count(&self.table()).await?, count(&other.to_string()).await?);
        let lost = of.saturating_sub(own);
        result.element_count = Some(of);
        result.unexpected_count = lost;
        result.success = lost as f64 <= max * of as f64;
        result.observed_value = Some(format!("{own} rows of {of}"));
        Ok(())
    }
}

/// A query of the project's own that must return no rows.
async fn statement(name: &str, sql: &str, rows: &Rows, result: &mut CheckResult) -> Result<()> {
    let batches = rows.collect(sql.trim().trim_end_matches(';')).await;
    let batches = batches.map_err(|source| QualityError::Sql { check: name.to_owned(), source })?;
    result.unexpected_count = batches.iter().map(|batch| batch.num_rows() as u64).sum();
    result.success = result.unexpected_count == 0;
    result.sample = sample(&batches)?;
    Ok(())
}

/// The instant that a date or timestamp stands for; a date for its end, because only then is its day complete.
fn instant(value: &ArrayRef) -> Result<Option<DateTime<Utc>>> {
    let wanted = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    let is_date = matches!(value.data_type(), DataType::Date32 | DataType::Date64);
    let value = cast(value, &wanted)?;
    let micros = value.is_valid(0).then(|| value.as_primitive::<TimestampMicrosecondType>().value(0));
    let end = if is_date { chrono::Duration::days(1) } else { chrono::Duration::zero() };
    Ok(micros.and_then(DateTime::from_timestamp_micros).and_then(|at| at.checked_add_signed(end)))
}

/// Whether any of these results holds rows back.
pub fn any_holds(results: &[CheckResult]) -> bool {
    results.iter().any(CheckResult::holds)
}

/// Whether any result that is no warning says that a check is not met.
pub fn any_fails(results: &[CheckResult]) -> bool {
    results.iter().any(|result| !result.success && result.severity == Severity::Fail)
}
