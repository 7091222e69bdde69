//! Which windows are to be published, and their rows.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, SchemaRef, TimeUnit, TimestampMicrosecondType};
use datafusion::common::ScalarValue;
use datafusion::logical_expr::{Expr, ident, lit};
use futures::TryStreamExt;
use schema::{Model, Publication};
use session::{SessionError, SessionFactory};
use store::{Snapshot, StoreError, Table};

use super::ALL;
use super::files::Files;
use super::state::State;
use crate::QueryError;

/// The windows that a run publishes.
pub(super) struct Windows<'a> {
    model: &'a Model,
    publication: &'a Publication,
    snapshot: &'a Arc<Snapshot>,
    /// Windows that end at this time or before are complete.
    complete: i64,
    /// Windows that end after this time became complete since the last run; `None`: all are to be compared.
    since: Option<i64>,
    /// Windows whose rows changed since the last run.
    changed: BTreeSet<i64>,
}

impl<'a> Windows<'a> {
    /// Finds the windows that changed or became complete since the last run.
    ///
    /// # Errors
    /// When the table fails, or the window column is no timestamp.
    pub(super) fn new(
        model: &'a Model,
        publication: &'a Publication,
        snapshot: &'a Arc<Snapshot>,
        known: Option<&State>,
        complete: i64,
    ) -> Result<Self, QueryError> {
        let column = snapshot.schema().field_with_name(&publication.window)?;
        if !matches!(column.data_type(), DataType::Timestamp(TimeUnit::Microsecond, _)) {
            return Err(QueryError::Publish(format!(
                "{}: `publish.window` names {}, which is {} and no timestamp",
                model.path,
                publication.window,
                column.data_type()
            )));
        }
        Ok(Windows {
            model,
            publication,
            snapshot,
            complete,
            since: known.and_then(|known| known.complete_to),
            changed: BTreeSet::new(),
        })
    }

    /// Computes the figures of the windows and hands them to `files`. Gives the number of windows.
    ///
    /// # Errors
    /// When a figure cannot be computed, or the destination fails.
    pub(super) async fn write(
        mut self,
        factory: &SessionFactory,
        files: &mut Files,
        known: Option<&State>,
    ) -> Result<u64, QueryError> {
        let table = factory.lake().table(&self.model.name).await.map_err(SessionError::from)?;
        if let Some(known) = known {
            match self.changes(factory, &table, known.version).await? {
                Some(changed) => self.changed = changed,
                None => self.since = None,
            }
        }
        let mut missing = self.changed.clone();
        let mut rows = self.rows(factory).await?;
        let schema = rows.schema();
        let mut looked = 0;
        let mut open: Option<(i64, Vec<RecordBatch>)> = None;
        while let Some(batch) = rows.try_next().await? {
            for (window, part) in by_window(&batch) {
                match &mut open {
                    Some((current, parts)) if *current == window => parts.push(part),
                    _ => {
                        if let Some((window, parts)) = open.replace((window, vec![part])) {
                            missing.remove(&window);
                            looked += self.window(window, &parts, &schema, files).await?;
                        }
                    }
                }
            }
        }
        if let Some((window, parts)) = open {
            missing.remove(&window);
            looked += self.window(window, &parts, &schema, files).await?;
        }
        for window in missing {
            looked += self.window(window, &[], &schema, files).await?;
        }
        Ok(looked)
    }

    fn width(&self) -> i64 {
        i64::try_from(self.publication.width_seconds.saturating_mul(1_000_000)).unwrap_or(i64::MAX)
    }

    fn is_wanted(&self, window: i64) -> bool {
        let end = window.saturating_add(self.width());
        let is_new = self.since.is_none_or(|since| end > since);
        (self.complete == ALL || end <= self.complete) && (is_new || self.changed.contains(&window))
    }

    /// The windows of which rows came or went since `version`; `None` when the table no longer tells.
    async fn changes(
        &self,
        factory: &SessionFactory,
        table: &Table,
        version: i64,
    ) -> Result<Option<BTreeSet<i64>>, QueryError> {
        let changes = match table.changes(version, self.snapshot.version()).await {
            Ok(changes) if changes.reshaped() => return Ok(None),
            Ok(changes) => changes,
            Err(StoreError::HistoryGone { .. } | StoreError::UpstreamBehind { .. }) => return Ok(None),
            Err(error) => return Err(SessionError::from(error).into()),
        };
        let context = factory.context(HashMap::new());
        let found = context.read_table(changes.provider())?.select([ident(&self.publication.window)])?.distinct()?;
        let mut windows = BTreeSet::new();
        for batch in found.collect().await? {
            windows.extend(batch.column(0).as_primitive::<TimestampMicrosecondType>().iter().flatten());
        }
        Ok(Some(windows))
    }

    /// The rows that may be wanted, in the order of their windows: window, the rest of the grain, the figures.
    async fn rows(
        &self,
        factory: &SessionFactory,
    ) -> Result<datafusion::execution::SendableRecordBatchStream, QueryError> {
        let context = factory.context(HashMap::from([(self.model.name.clone(), self.snapshot.provider())]));
        let frame = context.table(self.model.name.to_string().as_str()).await?;
        let frame = match self.bounds() {
            Some(bounds) => frame.filter(bounds)?,
            None => frame,
        };
        let grain = self.grain();
        let mut columns: Vec<Expr> = grain.iter().map(|name| ident(*name)).collect();
        for (name, sql) in &self.publication.figures {
            let parsed = frame.parse_sql_expr(sql).map_err(|error| {
                let message = error.strip_backtrace();
                QueryError::Publish(format!("{}: `publish.figures.{name}`: {message}", self.model.path))
            })?;
            columns.push(parsed.alias(name));
        }
        let order = grain.iter().map(|name| ident(*name).sort(true, true)).collect();
        Ok(frame.select(columns)?.sort(order)?.execute_stream().await?)
    }

    /// The window column first, then the rest of the grain.
    fn grain(&self) -> Vec<&str> {
        let window = self.publication.window.as_str();
        let rest = self.model.grain.iter().map(String::as_str).filter(|name| *name != window);
        std::iter::once(window).chain(rest).collect()
    }

    /// A condition that all wanted windows meet, for pruning.
    fn bounds(&self) -> Option<Expr> {
        let column = || ident(&self.publication.window);
        let at = |micros: i64| lit(ScalarValue::TimestampMicrosecond(Some(micros), Some("UTC".into())));
        let last = (self.complete != ALL).then(|| column().lt_eq(at(self.complete.saturating_sub(self.width()))));
        let first = self.since.map(|since| {
            let since = since.saturating_sub(self.width());
            column().gt_eq(at(self.changed.first().map_or(since, |first| since.min(*first))))
        });
        first.into_iter().chain(last).reduce(Expr::and)
    }

    /// Writes the files of one window. Gives 1 if it is wanted.
    async fn window(
        &self,
        window: i64,
        parts: &[RecordBatch],
        schema: &SchemaRef,
        files: &mut Files,
    ) -> Result<u64, QueryError> {
        if !self.is_wanted(window) {
            return Ok(0);
        }
        let rows = concat_batches(schema, parts)?;
        let grain = self.grain();
        for (place, (figure, _)) in self.publication.figures.iter().enumerate() {
            let columns: Vec<usize> = (0..grain.len()).chain([grain.len() + place]).collect();
            let name = match &grain[1..] {
                [] => figure.clone(),
                rest => format!("{figure}_by_{}", rest.join("_")),
            };
            files.put(&name, (grain[0], window), rows.project(&columns)?).await?;
        }
        Ok(1)
    }
}

/// A batch in runs of rows of the same window. Rows without a window belong to none.
fn by_window(batch: &RecordBatch) -> Vec<(i64, RecordBatch)> {
    let windows = batch.column(0).as_primitive::<TimestampMicrosecondType>();
    let mut runs = Vec::new();
    let mut start = 0;
    for row in 1..=batch.num_rows() {
        let ends = row == batch.num_rows()
            || windows.is_null(row) != windows.is_null(start)
            || windows.value(row) != windows.value(start);
        if ends {
            if windows.is_valid(start) {
                runs.push((windows.value(start), batch.slice(start, row - start)));
            }
            start = row;
        }
    }
    runs
}
