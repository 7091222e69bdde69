//! The Bronze table of a contract: made when the first record comes, widened when the contract grows.

use schema::{Contract, PARTITION_COLUMNS, SchemaChange, SchemaError};
use store::{Lake, StoreError, Table, TableSpec};

use crate::IngestError;

/// Opens the stream's table, makes it, or adds the columns that its contract has gained.
///
/// # Errors
/// [`IngestError::Incompatible`] when a column has another type than the contract says; it says what to do.
pub(crate) async fn table(lake: &Lake, contract: &Contract) -> Result<Table, IngestError> {
    let mut spec = TableSpec::new(contract.bronze_schema()).partitioned_by(PARTITION_COLUMNS);
    spec.description = Some(contract.description.clone());
    lake.create_table(&contract.table(), &spec).await.map_err(|error| match error {
        StoreError::Incompatible { table, message, advice } => {
            IngestError::Incompatible { table: table.to_string(), reason: format!("{message}; {advice}") }
        }
        other => other.into(),
    })
}

/// The stream's table if there is one, with all columns of the contract.
///
/// # Errors
/// [`IngestError::Incompatible`] when a column changed its type or is no longer in the contract; it says what to do.
pub(crate) async fn existing(lake: &Lake, contract: &Contract) -> Result<Option<Table>, IngestError> {
    let Some(found) = lake.open_table(&contract.table()).await? else { return Ok(None) };
    let name = contract.table().to_string();
    let change = schema::evolve(&name, found.snapshot().schema(), &contract.bronze_schema());
    match change.map_err(|error| incompatible(&name, error))? {
        SchemaChange::Same => Ok(Some(found)),
        SchemaChange::Add(_) => table(lake, contract).await.map(Some),
    }
}

fn incompatible(table: &str, error: SchemaError) -> IngestError {
    let reason = match error {
        SchemaError::Incompatible { problem, advice, .. } => format!("{problem}; {advice}"),
        other => other.to_string(),
    };
    IngestError::Incompatible { table: table.to_owned(), reason }
}
