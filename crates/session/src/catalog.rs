//! The schemas of a session: which tables there are, each opened when a query first names it.

use std::sync::Arc;

use async_trait::async_trait;
use datafusion::catalog::{SchemaProvider, TableProvider};
use datafusion::common::Result;
use datafusion::logical_expr::TableType;
use schema::{Layer, TableName};

use crate::resolver::Resolver;

/// One schema of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Area {
    /// Good rows of the streams.
    Bronze,
    /// Their bad rows.
    Quarantine,
    /// Models.
    Silver,
    /// Models.
    Gold,
    /// What came in against what is kept.
    Quality,
}

impl Area {
    pub(crate) const ALL: [Area; 5] = [Area::Bronze, Area::Quarantine, Area::Silver, Area::Gold, Area::Quality];

    pub(crate) fn schema(self) -> &'static str {
        match self {
            Area::Bronze => "bronze",
            Area::Quarantine => "quarantine",
            Area::Silver => "silver",
            Area::Gold => "gold",
            Area::Quality => "quality",
        }
    }

    /// The layer whose tables this area shows.
    pub(crate) fn layer(self) -> Layer {
        match self {
            Area::Bronze | Area::Quarantine => Layer::Bronze,
            Area::Silver => Layer::Silver,
            Area::Gold => Layer::Gold,
            Area::Quality => Layer::System,
        }
    }
}

/// One schema, as DataFusion asks it.
#[derive(Debug)]
pub(crate) struct LakeSchema {
    area: Area,
    resolver: Arc<Resolver>,
    /// Models whose SQL is being planned: one that comes up again reads itself.
    visiting: Vec<TableName>,
}

impl LakeSchema {
    pub(crate) fn new(area: Area, resolver: Arc<Resolver>, visiting: Vec<TableName>) -> Self {
        Self { area, resolver, visiting }
    }
}

#[async_trait]
impl SchemaProvider for LakeSchema {
    fn table_names(&self) -> Vec<String> {
        self.resolver.names(self.area)
    }

    async fn table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>> {
        Ok(Resolver::table(&self.resolver, self.area, name, &self.visiting).await?)
    }

    async fn table_type(&self, name: &str) -> Result<Option<TableType>> {
        Ok(self.resolver.table_type(self.area, name))
    }

    fn table_exist(&self, name: &str) -> bool {
        self.resolver.table_type(self.area, name).is_some()
    }
}
