//! From sources to Bronze: landing files, Kafka and the simulator, one seam for the three of them.
//!
//! [`run()`] opens a source for every stream that is asked for, decodes its records by the stream's contract, and commits
//! good and bad rows together with how far the source was consumed, so that each record is stored exactly once after
//! any crash, rebalance or repetition (ENGINE.md, rules 1 to 9). [`replay()`] does the same with records that were set
//! aside, mended. It knows no models.
//!
//! ```no_run
//! # async fn example(lake: store::Lake, project: std::sync::Arc<schema::Project>) -> Result<(), ingest::IngestError> {
//! use std::sync::Arc;
//! let env = ingest::IngestEnv::new(lake, project, ".");
//! let options = ingest::IngestOptions {
//!     inputs: vec![("pos_sales".into(), "exports/*.csv.gz".into())],
//!     ..Default::default()
//! };
//! let report = ingest::run(env, options, Default::default(), Arc::new(ingest::Silent)).await?;
//! assert_eq!(report.counts().delivered, report.counts().stored + report.counts().quarantined);
//! # Ok(())
//! # }
//! ```

mod bronze;
mod buffers;
pub mod decode;
mod decoders;
mod error;
mod lock;
mod options;
mod pending;
mod plan;
mod plan_sets;
pub mod progress;
mod record;
pub mod records;
mod registry;
pub mod replay;
mod report;
mod run;
mod run_sets;
mod sink;
mod source;
mod stop;

pub use error::IngestError;
pub use options::{Clock, FlushPolicy, IngestEnv, IngestOptions, Mode};
pub use progress::{Progress, ProgressEvent, Silent};
pub use record::last_runs;
pub use registry::RegistryOptions;
pub use replay::{Edits, Mend, ReplayOptions, ReplayReport, replay};
pub use report::{
    Counts, FileCounts, FileNote, FileOutcome, Gap, IncompleteFile, IncompleteSet, IngestReport, Lack, MAX_NOTES,
    SetReport, StreamReport,
};
pub use run::run;
pub use source::kafka::{Lag, lag};
