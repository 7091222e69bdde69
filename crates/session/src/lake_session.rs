//! A session for questions: read-only SQL over one consistent state of the lake.

use std::sync::Arc;

use datafusion::common::TableReference;
use datafusion::dataframe::DataFrame;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::execution::context::SessionContext;
use futures::future::try_join_all;

use crate::catalog::Area;
use crate::plans::{Place, Plans, Prepared};
use crate::resolver::Resolver;
use crate::statement::{self, Parameters};
use crate::{CATALOG, SessionError, SessionFactory};

/// A session over one release of Silver and Gold. Clones are the same session.
///
/// Tables are opened once, when a query first names them, so all queries of a session see one state. To see newer data,
/// ask the factory for another session: that costs one look for a newer release.
#[derive(Clone)]
pub struct LakeSession {
    factory: SessionFactory,
    resolver: Arc<Resolver>,
    context: SessionContext,
    plans: Arc<Plans>,
}

impl LakeSession {
    pub(crate) fn new(factory: SessionFactory, resolver: Arc<Resolver>, context: SessionContext) -> Self {
        Self { factory, resolver, context, plans: Arc::default() }
    }

    /// The factory that the session came from.
    pub fn factory(&self) -> &SessionFactory {
        &self.factory
    }

    /// The number of the release that Silver and Gold are read from; `None` before the first.
    pub fn release(&self) -> Option<u64> {
        self.resolver.release().map(|release| release.number)
    }

    /// The version at which the session reads a table of Silver or Gold; `None` for what no release names.
    pub fn version(&self, table: &schema::TableName) -> Option<i64> {
        self.resolver.release().and_then(|release| release.tables.get(table).copied())
    }

    pub(crate) fn resolver(&self) -> &Arc<Resolver> {
        &self.resolver
    }

    /// Plans a statement that only reads: a query, EXPLAIN, SHOW or DESCRIBE.
    ///
    /// # Errors
    /// Syntax errors, statements that would write, unknown tables and columns (with suggestions), storage failures.
    pub async fn sql(&self, sql: &str) -> Result<DataFrame, SessionError> {
        self.sql_with(sql, &Parameters::new()).await
    }

    /// As [`sql`](Self::sql), with values for the statement's `$name` parameters.
    ///
    /// # Errors
    /// As [`sql`](Self::sql), and [`SessionError::MissingParameter`].
    pub async fn sql_with(&self, sql: &str, parameters: &Parameters) -> Result<DataFrame, SessionError> {
        let state = self.context.state();
        let mut statement = statement::parse(&state, sql)?;
        statement::bind(&mut statement, parameters)?;
        self.open_tables(&state.resolve_table_references(&statement)?).await?;
        let plan = state.statement_to_plan(statement).await?;
        Ok(DataFrame::new(state, plan))
    }

    /// Runs a planned query on the factory's own threads: its rows as they come, under the session's time and memory
    /// limits. Dropping the stream stops the query.
    ///
    /// # Errors
    /// When the query cannot be planned; what happens later comes in the stream.
    pub async fn execute(&self, query: DataFrame) -> Result<SendableRecordBatchStream, SessionError> {
        self.factory.start(Prepared::new(query, None)).await
    }

    /// [`sql_with`](Self::sql_with), then [`execute`](Self::execute). A query that the session was asked before is not planned
    /// again.
    ///
    /// # Errors
    /// As both.
    pub async fn query(&self, sql: &str, parameters: &Parameters) -> Result<SendableRecordBatchStream, SessionError> {
        let place = Place::new(&self.plans, sql, parameters);
        let prepared = match place.known() {
            Some(plan) => Prepared::known(self.context.state(), plan),
            None => Prepared::new(self.sql_with(sql, parameters).await?, Some(place)),
        };
        self.factory.start(prepared).await
    }

    /// Opens the tables that a statement names, all at once, and refuses those that are not there.
    async fn open_tables(&self, references: &[TableReference]) -> Result<(), SessionError> {
        let functions = self.context.state_ref();
        let is_function = |name: &TableReference| {
            name.schema().is_none() && functions.read().table_functions().contains_key(name.table())
        };
        let tables = references.iter().filter(|reference| !is_function(reference));
        let opening = tables.map(|reference| async move {
            let schema = reference.schema().unwrap_or("gold");
            let elsewhere = reference.catalog().is_some_and(|catalog| catalog != CATALOG);
            if !elsewhere && schema == "information_schema" {
                return Ok(());
            }
            let unknown = || self.unknown_table(&reference.to_string());
            let area = Area::ALL.into_iter().find(|area| !elsewhere && area.schema() == schema).ok_or_else(unknown)?;
            let table = Resolver::table(&self.resolver, area, reference.table(), &[]).await?;
            table.map(|_| ()).ok_or_else(unknown)
        });
        try_join_all(opening).await?;
        Ok(())
    }
}
