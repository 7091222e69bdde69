//! One DataFusion session factory over the lake: the same catalog, limits and functions for every front end.
//!
//! [`SessionFactory`] is made once per process. From it come
//! - [`LakeSession`]s, for questions: read-only SQL over the schemas `bronze`, `quarantine`, `silver`, `gold` and
//!   `quality` (what came in against what is kept, see `quality.rs`), with Silver and Gold pinned to the latest release and tables opened only when a query names them;
//! - plain contexts over tables that the caller gives ([`SessionFactory::context`]), for computing models.
//!
//! Also here: what the rows of Bronze look like in SQL ([`bronze_view`], [`quarantine_view`]), the row rules of
//! contracts ([`RowExpr`]), values computed of one row ([`RowValue`]), and the functions of [`functions`]. Named queries, formats and the prompt are the crate
//! `query`'s; tables on storage are `store`'s.
//!
//! # Example
//! ```
//! # use std::sync::Arc;
//! # use session::{SessionFactory, SessionOptions};
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let lake = store::Lake::open("memory:///", store::LakeOptions::default()).await?;
//! let project = Arc::new(schema::Project::parse([])?);
//! let factory = SessionFactory::new(lake, project, SessionOptions::default())?;
//! let session = factory.session().await?;
//! let answer = session.sql("SELECT ratio(1, 3, 4) AS third").await?.collect().await?;
//! assert_eq!(answer[0].num_rows(), 1);
//! # Ok(())
//! # }
//! ```

mod bronze;
mod catalog;
mod describe;
mod error;
mod factory;
pub mod functions;
mod lake_session;
mod limits;
mod log_counts;
mod options;
mod plans;
mod quality;
mod quarantine;
mod resolver;
mod row_expr;
mod row_value;
mod statement;
mod stored;
mod top_bound;
mod top_rows;

pub use bronze::{bronze_view, empty_bronze};
pub use describe::{ColumnDescription, TableDescription, TableEntry};
pub use error::SessionError;
pub use factory::{CATALOG, SessionFactory};
pub use functions::lineage::LINEAGE_COLUMN;
pub use lake_session::LakeSession;
pub use options::{MEMORY_SETTING, SessionOptions, TIME_LIMIT_SETTING};
pub use quality::{load_input, load_rows};
pub use quarantine::{MENDED_COLUMN, PLACE_COLUMNS, QuarantineFilter, quarantine_view};
pub use row_expr::RowExpr;
pub use row_value::{RowValue, RowValues};
pub use statement::Parameters;
pub use stored::stored_schema;
