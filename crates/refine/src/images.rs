//! Changed rows in the place of the table that they belong to.

use std::fmt;
use std::sync::Arc;

use arrow::datatypes::{Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::datasource::{TableType, provider_as_source};
use datafusion::error::Result;
use datafusion::logical_expr::{Expr, LogicalPlanBuilder, TableProviderFilterPushDown, ident, lit, utils::conjunction};
use datafusion::physical_plan::ExecutionPlan;
use store::{Changes, SIGN_COLUMN};

/// The before images (`sign` −1) or after images (+1) of a table's changes, as a table with the table's own columns.
pub(crate) struct Images {
    changes: Arc<dyn TableProvider>,
    sign: i32,
    schema: SchemaRef,
}

impl Images {
    /// The images of one sign.
    pub(crate) fn new(changes: &Changes, sign: i32) -> Self {
        let changes = changes.provider();
        let fields =
            changes.schema().fields().iter().filter(|field| field.name() != SIGN_COLUMN).cloned().collect::<Vec<_>>();
        Self { changes, sign, schema: Arc::new(Schema::new(fields)) }
    }
}

impl fmt::Debug for Images {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Images").field("sign", &self.sign).finish_non_exhaustive()
    }
}

#[async_trait]
impl TableProvider for Images {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::View
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        Ok(vec![TableProviderFilterPushDown::Inexact; filters.len()])
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        _limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let mut wanted = ident(SIGN_COLUMN).eq(lit(self.sign));
        // Filters name columns as the query does; here they are the only table.
        let bare: Vec<Expr> = filters.iter().map(|filter| unqualified(filter.clone())).collect::<Result<_>>()?;
        if let Some(filters) = conjunction(bare) {
            wanted = wanted.and(filters);
        }
        let fields = self.schema.fields();
        let columns: Vec<Expr> = match projection {
            Some(places) => places.iter().map(|&place| ident(fields[place].name())).collect(),
            None => fields.iter().map(|field| ident(field.name())).collect(),
        };
        let plan = LogicalPlanBuilder::scan("changes", provider_as_source(Arc::clone(&self.changes)), None)?
            .filter(wanted)?
            .project(columns)?
            .build()?;
        state.create_physical_plan(&plan).await
    }
}

fn unqualified(expr: Expr) -> Result<Expr> {
    use datafusion::common::tree_node::{Transformed, TreeNode};
    let bare = expr.transform(|node| match node {
        Expr::Column(column) if column.relation.is_some() => Ok(Transformed::yes(ident(column.name))),
        other => Ok(Transformed::no(other)),
    })?;
    Ok(bare.data)
}
