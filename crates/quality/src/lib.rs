//! Data quality: what must hold before rows are published, what was found, and who is told.
//!
//! * [`Subject::evaluate`] evaluates the checks of a model ([`schema::Check`]) on rows that the caller chose: `refine`
//!   gives it staged files before it publishes them, `smelt check` the tables as they stand. So there is one meaning of
//!   each check.
//! * [`gate`] measures how much of what a feed received is lost (ENGINE.md, rule 21).
//! * [`results`] keeps what was found as a table with history.
//! * [`loads`] keeps the history of what came in against what is kept.
//! * [`report`] writes results for other tools.
//! * [`alerts`] tells people, once an incident.
//!
//! It knows neither how models are refreshed nor where events come from. A check that is not met is data
//! ([`CheckResult`]), never an error.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use std::time::Duration;
//! use quality::alerts::{AlertOptions, Alerts};
//!
//! let lake = store::Lake::open("memory:///", store::LakeOptions::default()).await?;
//! let alerts = Alerts::new(lake, AlertOptions { channels: Vec::new(), wait: Duration::from_secs(10) });
//! assert!(alerts.raise("set:weekly:2024-01-05", "a file is missing", "store_20240105.csv").await?);
//! assert!(!alerts.raise("set:weekly:2024-01-05", "a file is missing", "still").await?, "it is open already");
//! assert!(alerts.resolve("set:weekly:2024-01-05").await?);
//! alerts.deliver().await?;
//! # Ok(())
//! # }
//! ```

pub mod alerts;
mod error;
mod evaluate;
pub mod gate;
pub mod loads;
pub mod report;
mod result;
pub mod results;
mod sql;

pub use error::{QualityError, Result};
pub use evaluate::{Reach, Rows, Subject, any_fails, any_holds};
pub use result::{CheckResult, SampleRow, incidents_of};
