//! What the good rows of a Bronze table look like in SQL, with each row's place in the order.

use std::sync::Arc;

use datafusion::catalog::TableProvider;
use datafusion::common::ScalarValue;
use datafusion::datasource::empty::EmptyTable;
use datafusion::datasource::{ViewTable, provider_as_source};
use datafusion::logical_expr::{Expr, LogicalPlanBuilder, cast, col, ident, lit};
use schema::{Contract, STATUS_STORED};

use crate::functions::lineage;
use crate::{LINEAGE_COLUMN, SessionError};

/// `bronze.<stream>`: the good rows (`_status` is `stored`) of a Bronze table with the contract's fields, the system
/// columns and `_lineage`, in that order.
///
/// `stored` is the table at any version, or any part of it (the files added since). Fields that the contract has and the
/// table does not have yet are null; columns that the contract no longer has are left out.
///
/// # Errors
/// When the table's types are not the contract's.
pub fn bronze_view(
    contract: &Contract,
    stored: Arc<dyn TableProvider>,
) -> Result<Arc<dyn TableProvider>, SessionError> {
    let plan = rows(contract, stored, STATUS_STORED, Some(lineage_of(contract)))?;
    Ok(Arc::new(ViewTable::new(plan.build()?, None)))
}

/// The Bronze table of a stream that was never loaded.
pub fn empty_bronze(contract: &Contract) -> Arc<dyn TableProvider> {
    Arc::new(EmptyTable::new(contract.bronze_schema()))
}

/// The rows of one status: the contract's fields, the system columns, and `lineage` if it is asked for.
pub(crate) fn rows(
    contract: &Contract,
    stored: Arc<dyn TableProvider>,
    status: &str,
    lineage: Option<Expr>,
) -> Result<LogicalPlanBuilder, SessionError> {
    let existing = stored.schema();
    let wanted = contract.bronze_schema();
    let mut columns = Vec::with_capacity(wanted.fields().len() + 1);
    let read = store::read_schema(&wanted);
    for (place, field) in wanted.fields().iter().enumerate() {
        let column = match existing.field_with_name(field.name()) {
            Err(_) => lit(ScalarValue::try_from(field.data_type())?).alias(field.name()),
            // A scan gives text as views: casting it would copy every value.
            Ok(found) if found.data_type() == read.field(place).data_type() => ident(field.name()),
            Ok(found) if found.data_type() == field.data_type() => ident(field.name()),
            Ok(_) => cast(ident(field.name()), field.data_type().clone()).alias(field.name()),
        };
        columns.push(column);
    }
    columns.extend(lineage);
    let scan = LogicalPlanBuilder::scan(contract.name.as_str(), provider_as_source(stored), None)?;
    Ok(scan.filter(col("_status").eq(lit(status)))?.project(columns)?)
}

/// `_lineage` as an expression over the system columns.
fn lineage_of(contract: &Contract) -> Expr {
    let dated = contract.files.as_ref().is_some_and(|files| files.date.is_some());
    let arguments = ["_source", "_partition", "_offset", "_arrived_at", "_mends"].map(ident).into_iter();
    lineage::udf().call(arguments.chain([lit(dated)]).collect()).alias(LINEAGE_COLUMN)
}
