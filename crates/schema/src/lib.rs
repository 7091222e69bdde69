//! What an event or a table is: the text formats of a project, parsed and checked.
//!
//! A project is a set of text files: contracts (`models/bronze/*.toml`), models (`models/silver`, `models/gold`) and
//! named queries (`queries/*.sql`). This crate turns them into plain data ([`Contract`], [`Model`], [`NamedQuery`],
//! together a [`Project`]) and refuses what is wrong with file, line, key, what was expected and, for a mistyped key, a
//! suggestion. It also says which Arrow schema a contract's Bronze table has, and whether a changed contract still fits
//! the table that exists.
//!
//! It does no I/O and plans no SQL: it leaves reading files to the binary, expressions to `session`, tables to `store`.
//!
//! ```
//! use schema::{Project, SourceFile};
//!
//! let contract = r#"
//! description = "Opening stock"
//! entity = ["product"]
//! files = { path = "landing/stock", format = "csv" }
//! [fields]
//! product = { type = "string", required = true }
//! stock_quantity = { type = "int", unit = "pieces" }
//! "#;
//! let file = SourceFile { path: "models/bronze/stock.toml".into(), text: contract.into() };
//! let project = Project::parse([file])?;
//! assert_eq!(project.contracts["stock"].payload_schema().fields().len(), 2);
//! # Ok::<(), schema::SchemaError>(())
//! ```

mod bronze;
mod check;
mod contract;
mod dated;
mod error;
mod evolve;
mod field;
mod kafka;
mod model;
mod name;
mod project;
mod publication;
mod quality;
mod query;
#[cfg(test)]
mod tests;
mod text;
mod zone;

pub use bronze::{
    HEADERS_COLUMN, MENDED_REVISION, PARTITION_COLUMNS, STATUS_QUARANTINED, STATUS_STORED, SYSTEM_COLUMNS,
    headers_field, system_fields,
};
pub use check::{Check, Gate, Severity, Share};
pub use contract::{Contract, Drift, FilesSpec, Format, RawPolicy, Rule, SetName, StopRule};
pub use error::{Location, SchemaError};
pub use evolve::{SchemaChange, evolve};
pub use field::{Field, FieldType};
pub use kafka::{KafkaFormat, KafkaSpec, KafkaStart, Tombstones, is_pattern};
pub use model::{ColumnDoc, Feed, Kept, Model};
pub use name::{Layer, TableName};
pub use project::{Project, SourceFile};
pub use publication::Publication;
pub use quality::{loads_schema, loads_table, results_schema, results_table};
pub use query::{Chart, NamedQuery, Param};
pub use zone::{ClockTime, instant_of};
