//! The refresh of one model: its inputs, and the contexts in which its SQL runs.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, SchemaRef};
use chrono::NaiveDate;
use datafusion::catalog::TableProvider;
use datafusion::execution::context::SessionContext;
use datafusion::functions::core::expr_fn::nullif;
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, cast, col, ident, lit};
use datafusion::prelude::DataFrame;
use schema::TableName;
use store::{Changes, Consumed, MetadataChange, Snapshot, StoreError, Table};

use crate::latest::Known;
use crate::pins::Pins;
use crate::plan::{LoadedFeed, LoadedModel, Plan};
use crate::{Limits, RefineEnv, Result};

/// Why and how a model is computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// From what changed upstream.
    Refresh,
    /// From everything, compared with what is stored.
    Rebuild,
    /// Like a rebuild, for these days alone; positions stay.
    Range {
        /// First day, inclusive.
        from: Option<NaiveDate>,
        /// Last day, inclusive.
        to: Option<NaiveDate>,
    },
}

/// A table that a model reads, from the position that the model's table holds to the pinned version.
pub(crate) struct Input {
    pub(crate) table: Table,
    /// The pinned version.
    pub(crate) at: Arc<Snapshot>,
    /// What was consumed so far.
    pub(crate) from: Option<i64>,
    /// What changed since; `None` where nothing was consumed yet or the pinned version is consumed.
    pub(crate) changes: Option<Changes>,
}

impl Input {
    /// The input's id in the table's positions.
    pub(crate) fn id(&self) -> String {
        input_id(&self.at)
    }

    /// Whether there are rows that the model has not consumed.
    pub(crate) fn has_news(&self) -> bool {
        match (&self.changes, self.from) {
            (Some(changes), _) => !changes.is_empty(),
            (None, None) => self.at.file_count() > 0,
            (None, Some(_)) => false,
        }
    }

    /// Bytes of the files that hold what the model has not consumed.
    pub(crate) fn news_bytes(&self) -> u64 {
        match (&self.changes, self.from) {
            (Some(changes), _) => changes.bytes(),
            (None, None) => self.at.files().map(|file| file.size).sum(),
            (None, Some(_)) => 0,
        }
    }

    /// Versions between the position and the pinned version.
    pub(crate) fn lag(&self) -> i64 {
        self.from.map_or(0, |from| self.at.version() - from)
    }

    /// The range that a commit consumes.
    pub(crate) fn consumed(&self) -> Consumed {
        Consumed { input: self.id(), from: self.from, to: self.at.version() }
    }
}

/// The id under which a table's version is kept as a position.
pub(crate) fn input_id(snapshot: &Snapshot) -> String {
    format!("table:{}", snapshot.id())
}

/// One model, about to be computed against pinned versions.
pub(crate) struct Job<'a> {
    pub(crate) env: &'a RefineEnv,
    pub(crate) plan: &'a Plan,
    pub(crate) model: &'a LoadedModel,
    pub(crate) mode: Mode,
    pub(crate) limits: Limits,
    pub(crate) table: Table,
    /// The table as it stands: what the commit is checked against.
    pub(crate) base: Arc<Snapshot>,
    /// The tables that the model reads, those that exist.
    pub(crate) inputs: HashMap<TableName, Input>,
    /// What the commit makes of the table where its columns or partitions become others: then no stored row stays.
    pub(crate) replacement: Option<MetadataChange>,
    /// Tables that only the checks read, as SQL sees them.
    pub(crate) others: HashMap<TableName, Arc<dyn TableProvider>>,
    /// What cycles before this one learnt of files; `None` in a run of one cycle.
    pub(crate) known: Option<Arc<Known>>,
    /// What the commit says of gates besides: see [`crate::gated::Gated::notes`].
    pub(crate) notes: Vec<Consumed>,
}

/// Finds the inputs of a model whose table stands at `base` (`None`: it does not exist).
///
/// # Errors
/// [`StoreError::UpstreamBehind`] when an upstream lost versions that were consumed, [`StoreError::HistoryGone`] when
/// what changed since is no longer kept.
pub(crate) async fn inputs(
    model: &LoadedModel,
    mode: Mode,
    base: Option<&Snapshot>,
    pins: &Pins,
) -> Result<HashMap<TableName, Input>> {
    let mut inputs = HashMap::new();
    for name in &model.reads {
        let Some((table, mut at)) = pins.get(name) else { continue };
        let from = base.and_then(|base| base.txn(&input_id(&at)));
        if from.is_some_and(|from| from > at.version()) {
            // Another refresh may have gone on from a newer version than the one that this cycle is pinned to.
            at = pins.head(name).await?.unwrap_or(at);
        }
        let changes = match from {
            Some(from) if from > at.version() => {
                let table = name.clone();
                return Err(StoreError::UpstreamBehind { table, head: at.version(), consumed: from }.into());
            }
            Some(from) if mode == Mode::Refresh && from < at.version() => {
                Some(table.changes(from, at.version()).await?)
            }
            _ => None,
        };
        inputs.insert(name.clone(), Input { table, at, from, changes });
    }
    Ok(inputs)
}

impl Job<'_> {
    /// What a commit says of an input: the range that it consumes, or, where positions stay, where the table must stand.
    pub(crate) fn guarded(&self, input: &Input) -> Option<Consumed> {
        match self.mode {
            Mode::Range { .. } => input.from.map(|at| Consumed { input: input.id(), from: Some(at), to: at }),
            Mode::Refresh | Mode::Rebuild => Some(input.consumed()),
        }
    }

    /// The columns of the model's rows as streams carry them: as stored, with text as views.
    pub(crate) fn columns(&self) -> SchemaRef {
        store::read_schema(&self.model.schema)
    }

    /// What `name` is at the pinned version, as SQL sees it; empty where it was never loaded.
    pub(crate) fn pinned(&self, name: &TableName) -> Result<Arc<dyn TableProvider>> {
        self.seen(name, self.inputs.get(name).map(|input| input.at.provider()))
    }

    /// A stored table, or part of one, as SQL sees it.
    pub(crate) fn seen(
        &self,
        name: &TableName,
        stored: Option<Arc<dyn TableProvider>>,
    ) -> Result<Arc<dyn TableProvider>> {
        self.plan.seen(self.env, name, stored)
    }

    /// A context over all that the model reads at the pinned versions; `instead` takes the place of some of it.
    ///
    /// # Errors
    /// When a view cannot be planned.
    pub(crate) async fn context(
        &self,
        instead: impl IntoIterator<Item = (TableName, Arc<dyn TableProvider>)>,
    ) -> Result<SessionContext> {
        let mut tables: HashMap<TableName, Arc<dyn TableProvider>> = instead.into_iter().collect();
        for name in &self.model.reads {
            if !tables.contains_key(name) {
                tables.insert(name.clone(), self.pinned(name)?);
            }
        }
        self.with_views(tables).await
    }

    /// A context over `tables` and the views of the model over them.
    pub(crate) async fn with_views(
        &self,
        tables: HashMap<TableName, Arc<dyn TableProvider>>,
    ) -> Result<SessionContext> {
        self.plan.with_views(self.env, self.model, tables).await
    }

    /// The SQL of a feed as a plan, in the model's columns, by name.
    ///
    /// # Errors
    /// When the SQL cannot be planned, which loading has ruled out unless a table has other types than its contract.
    pub(crate) async fn feed(&self, context: &SessionContext, feed: &LoadedFeed) -> Result<LogicalPlan> {
        self.shaped(context.state().create_logical_plan(&feed.feed.sql).await?)
    }

    /// A plan of a feed's SQL in the model's columns, by name.
    ///
    /// # Errors
    /// When a column cannot be cast.
    pub(crate) fn shaped(&self, plan: LogicalPlan) -> Result<LogicalPlan> {
        self.shaped_as(plan, &self.columns())
    }

    /// A plan in these of the model's columns, by name, with the values that storage gives back.
    ///
    /// # Errors
    /// When a column cannot be cast.
    pub(crate) fn shaped_as(&self, plan: LogicalPlan, columns: &SchemaRef) -> Result<LogicalPlan> {
        let plan = conform(plan, columns)?;
        let is_text = |name: &str| columns.field_with_name(name).is_ok_and(|f| f.data_type() == &DataType::Utf8View);
        let partition_by = &self.model.model.partition_by;
        if !partition_by.iter().any(|name| is_text(name)) {
            return Ok(plan);
        }
        // Delta keeps no empty text in a partition: it is null there, and has to be so in what is compared with it.
        let stored = columns.fields().iter().map(|field| match partition_by.contains(field.name()) {
            true if is_text(field.name()) => nullif(ident(field.name()), lit("")).alias(field.name()),
            _ => ident(field.name()),
        });
        Ok(LogicalPlanBuilder::from(plan).project(stored.collect::<Vec<Expr>>())?.build()?)
    }

    /// The stored rows of these files in the model's columns, optionally only those for which `filter` is true.
    ///
    /// # Errors
    /// When the scan cannot be planned.
    pub(crate) fn stored(
        &self,
        context: &SessionContext,
        files: Vec<Arc<store::DataFile>>,
        filter: Option<Expr>,
    ) -> Result<DataFrame> {
        let frame = context.read_table(self.base.provider_of(files))?;
        self.in_columns(match filter {
            Some(filter) => frame.filter(filter)?,
            None => frame,
        })
    }

    /// The stored rows at these places of a file, ascending, in the model's columns; see [`Snapshot::provider_of_rows`].
    ///
    /// # Errors
    /// When the scan cannot be planned.
    pub(crate) fn stored_rows(
        &self,
        context: &SessionContext,
        file: Arc<store::DataFile>,
        rows: &[u64],
    ) -> Result<DataFrame> {
        self.in_columns(context.read_table(self.base.provider_of_rows(file, rows))?)
    }

    fn in_columns(&self, frame: DataFrame) -> Result<DataFrame> {
        let (state, plan) = frame.into_parts();
        Ok(DataFrame::new(state, conform(plan, &self.columns())?))
    }

    /// A filter on a date or timestamp column for the days of [`Mode::Range`]; `None` in other modes.
    pub(crate) fn days(&self, column: &str) -> Option<Expr> {
        let Mode::Range { from, to } = self.mode else { return None };
        let day = cast(col(ident_text(column)), DataType::Date32);
        let bound = |date: NaiveDate| lit(datafusion::common::ScalarValue::Date32(Some(days_since_epoch(date))));
        let from = from.map(|date| day.clone().gt_eq(bound(date)));
        let to = to.map(|date| day.clone().lt_eq(bound(date)));
        from.into_iter().chain(to).reduce(Expr::and).or_else(|| Some(lit(true)))
    }
}

/// A column name as [`col`] reads it: quoted, so that case is kept.
fn ident_text(column: &str) -> String {
    format!("\"{}\"", column.replace('"', "\"\""))
}

fn days_since_epoch(date: NaiveDate) -> i32 {
    date.signed_duration_since(NaiveDate::default()).num_days() as i32
}

/// The plan's columns of these names, cast to these types, in this order; columns that it lacks are null.
pub(crate) fn conform(plan: LogicalPlan, columns: &SchemaRef) -> Result<LogicalPlan> {
    let found = plan.schema();
    let same = found.fields().len() == columns.fields().len()
        && found
            .fields()
            .iter()
            .zip(columns.fields())
            .all(|(a, b)| a.name() == b.name() && a.data_type() == b.data_type());
    if same {
        return Ok(plan);
    }
    let mut exprs = Vec::with_capacity(columns.fields().len());
    for field in columns.fields() {
        let kind = field.data_type();
        let expr = match found.iter().find(|(_, f)| f.name() == field.name()) {
            None => lit(datafusion::common::ScalarValue::try_from(kind)?),
            Some((relation, source)) => {
                let column = match relation {
                    Some(relation) => Expr::Column((Some(relation), source).into()),
                    None => ident(field.name()),
                };
                if source.data_type() == kind { column } else { cast(column, kind.clone()) }
            }
        };
        exprs.push(expr.alias(field.name()));
    }
    Ok(LogicalPlanBuilder::from(plan).project(exprs)?.build()?)
}
