//! How a name becomes a table: which version of what is stored, a view, or an empty table of the right schema.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use arrow::datatypes::SchemaRef;
use datafusion::catalog::TableProvider;
use datafusion::datasource::ViewTable;
use datafusion::datasource::empty::EmptyTable;
use datafusion::logical_expr::{LogicalPlan, TableType};
use futures::FutureExt;
use futures::future::BoxFuture;
use schema::{Kept, Layer, Model, TableName};
use store::Release;

use crate::catalog::Area;
use crate::stored::{conform, stored_schema};
use crate::{SessionError, SessionFactory, bronze_view, empty_bronze, quality, quarantine_view};

/// The tables of one session, opened once each.
#[derive(Debug)]
pub(crate) struct Resolver {
    factory: SessionFactory,
    release: Option<Release>,
    opened: Mutex<HashMap<(Area, String), Arc<dyn TableProvider>>>,
}

impl Resolver {
    pub(crate) fn new(factory: SessionFactory, release: Option<Release>) -> Self {
        Self { factory, release, opened: Mutex::default() }
    }

    pub(crate) fn release(&self) -> Option<&Release> {
        self.release.as_ref()
    }

    /// Names in an area: those of the project and, in Silver and Gold, those of the release. Sorted.
    pub(crate) fn names(&self, area: Area) -> Vec<String> {
        let project = self.factory.project();
        let layer = area.layer();
        let mut names = BTreeSet::new();
        if area == Area::Quality {
            names.extend(quality::TABLES.map(|(name, _)| name.to_owned()));
        } else if layer == Layer::Bronze {
            names.extend(project.contracts.keys().cloned());
        } else {
            names.extend(project.models.keys().filter(|name| name.layer == layer).map(|name| name.name.clone()));
            let released = self.release.iter().flat_map(|release| release.tables.keys());
            names.extend(released.filter(|name| name.layer == layer).map(|name| name.name.clone()));
        }
        names.into_iter().collect()
    }

    /// What a table is, without opening it; `None` for a name that nothing declares.
    pub(crate) fn table_type(&self, area: Area, name: &str) -> Option<TableType> {
        let project = self.factory.project();
        if area == Area::Quality {
            return quality::TABLES.iter().any(|(known, _)| *known == name).then_some(TableType::View);
        }
        if area.layer() == Layer::Bronze {
            return project.contracts.contains_key(name).then_some(TableType::Base);
        }
        let table = TableName { layer: area.layer(), name: name.to_owned() };
        match project.models.get(&table) {
            Some(model) if is_view(model) => Some(TableType::View),
            Some(_) => Some(TableType::Base),
            None => self.released(&table).map(|_| TableType::Base),
        }
    }

    /// The table of that name, `None` when nothing declares it.
    ///
    /// # Errors
    /// Storage failures; a model whose SQL cannot be planned or that reads itself.
    pub(crate) async fn table(
        this: &Arc<Self>,
        area: Area,
        name: &str,
        visiting: &[TableName],
    ) -> Result<Option<Arc<dyn TableProvider>>, SessionError> {
        let key = (area, name.to_owned());
        if let Some(table) = this.lock().get(&key) {
            return Ok(Some(Arc::clone(table)));
        }
        let opened = match area {
            Area::Bronze | Area::Quarantine => this.stream(area, name).await?,
            Area::Quality => quality::table(this, &this.factory, name).await?,
            Area::Silver | Area::Gold => {
                let table = TableName { layer: area.layer(), name: name.to_owned() };
                Self::model(this, table, visiting).await?
            }
        };
        // Two that open the same table at once read the same version of a pinned one; of Bronze the first stays.
        Ok(opened.map(|table| Arc::clone(this.lock().entry(key).or_insert(table))))
    }

    /// The good or the bad rows of a stream at its head, opened now; `None` when the project has no such stream.
    pub(crate) async fn stream(&self, area: Area, name: &str) -> Result<Option<Arc<dyn TableProvider>>, SessionError> {
        let Some(contract) = self.factory.project().contracts.get(name) else { return Ok(None) };
        let stored = self.factory.snapshot(&contract.table(), None).await?;
        if area == Area::Quarantine {
            return Ok(Some(quarantine_view(contract, stored.as_deref())?));
        }
        let stored = stored.map_or_else(|| empty_bronze(contract), |snapshot| snapshot.provider());
        Ok(Some(bronze_view(contract, stored)?))
    }

    /// Boxed, because a view's plan opens the tables that it reads, which may be views.
    fn model<'a>(
        this: &'a Arc<Self>,
        name: TableName,
        visiting: &'a [TableName],
    ) -> BoxFuture<'a, Result<Option<Arc<dyn TableProvider>>, SessionError>> {
        async move {
            let model = this.factory.project().models.get(&name);
            if let Some(model) = model.filter(|model| is_view(model)) {
                let (plan, schema) = this.plan(model, visiting).await?;
                let plan = conform(plan, &schema)?;
                let definition = model.feeds.first().map(|feed| feed.sql.clone());
                let view: Arc<dyn TableProvider> = Arc::new(ViewTable::new(plan, definition));
                return Ok(Some(view));
            }
            if let Some(version) = this.released(&name)
                && let Some(snapshot) = this.factory.snapshot(&name, Some(version)).await?
            {
                return Ok(Some(snapshot.provider_in_any_order()));
            }
            let Some(model) = model else { return Ok(None) };
            let (_, schema) = this.plan(model, visiting).await?;
            let empty: Arc<dyn TableProvider> = Arc::new(EmptyTable::new(schema));
            Ok(Some(empty))
        }
        .boxed()
    }

    /// The plan of a model's first feed, and the schema in which its rows are stored.
    async fn plan(
        self: &Arc<Self>,
        model: &Model,
        visiting: &[TableName],
    ) -> Result<(LogicalPlan, SchemaRef), SessionError> {
        let Some(feed) = model.feeds.first() else {
            let message = "has no SQL".to_owned();
            return Err(SessionError::Model { path: model.name.to_string(), message });
        };
        let failed = |message: String| SessionError::Model { path: feed.path.clone(), message };
        if visiting.contains(&model.name) {
            let circle: Vec<String> = visiting.iter().chain([&model.name]).map(TableName::to_string).collect();
            return Err(failed(format!("reads itself: {}", circle.join(" reads "))));
        }
        let mut visiting = visiting.to_vec();
        visiting.push(model.name.clone());
        let plan = self.factory.state_over(self, &visiting).create_logical_plan(&feed.sql).await;
        let plan = match plan.map_err(SessionError::from) {
            Ok(plan) => plan,
            Err(error @ (SessionError::Store(_) | SessionError::Model { .. })) => return Err(error),
            Err(error) => return Err(failed(error.to_string())),
        };
        let schema = stored_schema(model, plan.schema().as_arrow());
        Ok((plan, schema))
    }

    fn released(&self, name: &TableName) -> Option<i64> {
        self.release.as_ref().and_then(|release| release.tables.get(name).copied())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<(Area, String), Arc<dyn TableProvider>>> {
        // The map is whole after any panic: it is only read and inserted into.
        self.opened.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn is_view(model: &Model) -> bool {
    matches!(model.kept, Kept::View)
}
