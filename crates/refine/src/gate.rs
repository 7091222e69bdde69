//! Checks on what is about to be published: they look at the staged files, before anybody else can see them.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::Int64Type;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion::catalog::TableProvider;
use datafusion::execution::context::SessionContext;
use schema::{Check, Kept, TableName};
use store::{DataFile, LakeFiles, TableMeta};

use crate::job::{Job, Mode};
use crate::stage::Finished;
use crate::{GateFailure, Result};

/// Broken rows that a failure shows.
const SHOWN: usize = 3;

/// Runs the model's checks on the staged files and gives those that fail. Row checks look at the files that the commit
/// adds, after a rebuild at the whole table; uniqueness and SQL checks at the table as it would be.
///
/// # Errors
/// When a check's SQL fails.
pub(crate) async fn failures(job: &Job<'_>, finished: &Finished) -> Result<Vec<GateFailure>> {
    let checks = &job.model.model.checks;
    if checks.is_empty() {
        return Ok(Vec::new());
    }
    let adds = &finished.staged.adds;
    let whole: Vec<Arc<DataFile>> = {
        let gone: Vec<&str> = finished.removes.iter().map(|file| file.path.as_ref()).collect();
        job.base.files().filter(|file| !gone.contains(&file.path.as_ref())).chain(adds).cloned().collect()
    };
    let rows_of = if job.mode == Mode::Refresh { adds.clone() } else { whole.clone() };
    let mut failures = Vec::new();
    let name = job.model.name();
    let fresh = Subject::new(job, &finished.meta, rows_of.clone(), [])?;
    for check in checks {
        let failure = match check {
            Check::Sql { name: check, sql } => sql_check(job, &finished.meta, check, sql, whole.clone()).await?,
            Check::Unique(columns) if is_proven(job, columns) => None,
            Check::Unique(columns) => {
                let files = if is_local(job, columns) { adds.clone() } else { whole.clone() };
                let all = Subject::new(job, &finished.meta, files, [])?;
                all.unique(check, columns).await?
            }
            Check::NotNull(column) if no_nulls(&finished.meta, &rows_of, column) => None,
            _ => fresh.rows(check).await?,
        };
        failures.extend(failure.map(|(rows, sample)| GateFailure {
            model: name.clone(),
            check: shown(check),
            rows,
            sample,
        }));
    }
    Ok(failures)
}

/// A failure: how many rows, and some of them.
type Broken = Option<(u64, Vec<String>)>;

/// Files under the model's own name, for SQL.
struct Subject {
    context: SessionContext,
    table: String,
}

impl Subject {
    fn new(
        job: &Job<'_>,
        meta: &Arc<TableMeta>,
        files: Vec<Arc<DataFile>>,
        others: impl IntoIterator<Item = (TableName, Arc<dyn TableProvider>)>,
    ) -> Result<Self> {
        let name = job.model.name().clone();
        let table = name.to_string();
        let mut tables: HashMap<TableName, Arc<dyn TableProvider>> = others.into_iter().collect();
        tables.insert(name, Arc::new(LakeFiles::new(job.env.lake.clone(), Arc::clone(meta), files)));
        Ok(Self { context: job.env.factory.context(tables), table })
    }

    async fn rows(&self, check: &Check) -> Result<Broken> {
        let broken = match check {
            Check::NotNull(column) => format!("{} IS NULL", quoted(column)),
            Check::AcceptedValues { column, values } => {
                let list: Vec<String> = values.iter().map(|value| literal(value)).collect();
                format!("CAST({} AS VARCHAR) NOT IN ({})", quoted(column), list.join(", "))
            }
            Check::Range { column, min, max } => {
                let column = quoted(column);
                let under = min.as_ref().map(|min| format!("{column} < {}", bound(min)));
                let over = max.as_ref().map(|max| format!("{column} > {}", bound(max)));
                under.into_iter().chain(over).collect::<Vec<_>>().join(" OR ")
            }
            Check::Unique(_) | Check::Sql { .. } => return Ok(None),
        };
        if broken.is_empty() {
            return Ok(None);
        }
        let count = self.count(&format!("SELECT count(*) FROM {} WHERE {broken}", self.table)).await?;
        if count == 0 {
            return Ok(None);
        }
        let sample = self.sample(&format!("SELECT * FROM {} WHERE {broken} LIMIT {SHOWN}", self.table)).await?;
        Ok(Some((count, sample)))
    }

    async fn unique(&self, check: &Check, columns: &[String]) -> Result<Broken> {
        debug_assert!(matches!(check, Check::Unique(_)));
        let columns: Vec<String> = columns.iter().map(|column| quoted(column)).collect();
        let keys = columns.join(", ");
        let twice = format!("SELECT {keys} FROM {} GROUP BY {keys} HAVING count(*) > 1", self.table);
        let count = self.count(&format!("SELECT count(*) FROM ({twice})")).await?;
        if count == 0 {
            return Ok(None);
        }
        Ok(Some((count, self.sample(&format!("{twice} LIMIT {SHOWN}")).await?)))
    }

    async fn count(&self, sql: &str) -> Result<u64> {
        let batches = self.context.sql(sql).await?.collect().await?;
        let counts = batches.iter().filter(|batch| batch.num_rows() > 0);
        Ok(counts.map(|batch| batch.column(0).as_primitive::<Int64Type>().value(0) as u64).sum())
    }

    async fn sample(&self, sql: &str) -> Result<Vec<String>> {
        let batches = self.context.sql(sql).await?.collect().await?;
        Ok(batches.iter().flat_map(lines).take(SHOWN).collect())
    }
}

async fn sql_check(
    job: &Job<'_>,
    meta: &Arc<TableMeta>,
    name: &str,
    sql: &str,
    whole: Vec<Arc<DataFile>>,
) -> Result<Broken> {
    let others: Vec<_> = job.others.iter().map(|(name, table)| (name.clone(), Arc::clone(table))).collect();
    let subject = Subject::new(job, meta, whole, others)?;
    let sql = sql.trim().trim_end_matches(';');
    let found = subject.context.sql(sql).await;
    let batches = match found {
        Ok(frame) => frame.collect().await?,
        Err(error) => return Err(job.model.error(format!("check {name}: {}", error.strip_backtrace()))),
    };
    let rows: usize = batches.iter().map(RecordBatch::num_rows).sum();
    let sample = batches.iter().flat_map(lines).take(SHOWN).collect();
    Ok((rows > 0).then_some((rows as u64, sample)))
}

/// Whether the way in which the table is kept makes these columns unique.
fn is_proven(job: &Job<'_>, columns: &[String]) -> bool {
    let within = |names: &[String]| names.iter().all(|name| columns.contains(name));
    match &job.model.model.kept {
        Kept::Latest => is_local(job, columns) && job.model.feeds.iter().all(|feed| feed.at_most_one),
        Kept::Scoped { .. } | Kept::Full => match job.model.feeds.as_slice() {
            [feed] => feed.grouped_by.as_ref().is_some_and(|groups| within(groups)),
            _ => false,
        },
        Kept::Append | Kept::View => false,
    }
}

/// Whether rows that agree in these columns are always of one message, so that looking at new rows is enough.
fn is_local(job: &Job<'_>, columns: &[String]) -> bool {
    matches!(job.model.model.kept, Kept::Latest)
        && job.model.feeds.iter().all(|feed| feed.feed.entity.iter().all(|name| columns.contains(name)))
}

/// Whether the files' statistics say that a column has no nulls.
fn no_nulls(meta: &TableMeta, files: &[Arc<DataFile>], column: &str) -> bool {
    match meta.partition_columns.iter().position(|name| name == column) {
        Some(place) => files.iter().all(|file| file.partition_values[place].is_some()),
        None => files.iter().all(|file| file.stats(meta).columns.get(column).and_then(|c| c.nulls) == Some(0)),
    }
}

/// A check as the model's header has it.
fn shown(check: &Check) -> String {
    match check {
        Check::NotNull(column) => format!("not_null({column})"),
        Check::Unique(columns) => format!("unique({})", columns.join(", ")),
        Check::AcceptedValues { column, values } => format!("accepted_values({column}, {})", values.join(", ")),
        Check::Range { column, min, max } => {
            let bound = |bound: &Option<String>| bound.clone().unwrap_or_default();
            format!("range({column}, {}, {})", bound(min), bound(max))
        }
        Check::Sql { name, .. } => name.clone(),
    }
}

/// Rows as `column=value` lists.
fn lines(batch: &RecordBatch) -> Vec<String> {
    let options = FormatOptions::default().with_null("null");
    let schema = batch.schema();
    let formats: Vec<_> = batch.columns().iter().map(|column| ArrayFormatter::try_new(column, &options)).collect();
    let line = |row: usize| {
        let values = formats.iter().zip(schema.fields()).filter(|(_, field)| !field.name().starts_with('_'));
        let text = |(format, field): (&Result<ArrayFormatter<'_>, _>, &Arc<arrow::datatypes::Field>)| match format {
            Ok(format) => format!("{}={}", field.name(), format.value(row)),
            Err(_) => field.name().clone(),
        };
        values.map(text).collect::<Vec<_>>().join(", ")
    };
    (0..batch.num_rows()).map(line).collect()
}

fn quoted(column: &str) -> String {
    format!("\"{}\"", column.replace('"', "\"\""))
}

/// A bound: a number as it stands, anything else (a date) as text, which SQL reads in the column's type.
fn bound(text: &str) -> String {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let is_number =
        digits.chars().all(|c| c.is_ascii_digit() || c == '.') && digits.chars().any(|c| c.is_ascii_digit());
    if is_number { text.to_owned() } else { literal(text) }
}

fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}
