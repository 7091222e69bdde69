//! Questions and answers: named queries, output formats, and the prompt.
//!
//! - [`run_named`] runs a query of the project with typed parameters; [`bind`](params::bind) checks them; [`list`] shows
//!   what there is to ask.
//! - [`Format`] writes an answer as it comes: table, csv, json, ndjson, parquet or arrow.
//! - [`publish()`](publish::publish) puts the figures of a table of windows elsewhere as files.
//! - [`prompt()`] reads statements from a terminal, with history and completion; [`run_script`] from anywhere else.
//!
//! What tables there are, and what a session may do, is `session`'s; drawing charts and serving answers is left to
//! later crates.
//!
//! # Example
//! ```
//! # use std::sync::Arc;
//! use query::Format;
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let lake = store::Lake::open("memory:///", store::LakeOptions::default()).await?;
//! # let project = Arc::new(schema::Project::parse([])?);
//! # let factory = session::SessionFactory::new(lake, project, session::SessionOptions::default())?;
//! let session = factory.session().await?;
//! let rows = session.query("SELECT 1 AS one, DATE '2024-01-31' AS day", &Default::default()).await?;
//! let mut answer = Vec::new();
//! let written = Format::Csv.write(rows, &mut answer).await?;
//! assert_eq!(String::from_utf8(answer)?, "one,day\n1,2024-01-31\n");
//! assert_eq!(written.rows, 1);
//! # Ok(())
//! # }
//! ```

mod error;
mod format;
mod named;
pub mod params;
pub mod prompt;
pub mod publish;

pub use error::QueryError;
pub use format::{Format, Written};
pub use named::{QueryEntry, list, named, run_named};
pub use prompt::{PromptOptions, prompt, run_script};
pub use publish::{Complete, Destination, Published, publish};
