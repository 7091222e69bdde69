//! Tables on object storage: the only crate that knows Delta Lake.
//!
//! A [`Lake`] is a folder (local disk, S3, memory) of Delta tables. A [`Table`] gives [`Snapshot`]s, which cost no I/O to
//! hold and to read from: [`Snapshot::provider`] is a plain DataFusion Parquet scan over the files that a query needs,
//! [`Table::changes`] the signed rows between two versions. Writing is two steps: a [`TableWriter`] encodes Parquet
//! files that nobody sees yet, and [`Table::commit`] makes them visible in one atomic step, if and only if the inputs
//! that they were made from start where the table stands (ENGINE.md, rules 1 to 6). Upkeep (checkpoints, clean-up of the
//! log, compaction, vacuum) works under the same check.
//!
//! The crate knows no contracts, no models and no SQL: it moves Arrow batches.
//!
//! ```
//! use std::sync::Arc;
//! use arrow::array::{Int64Array, RecordBatch};
//! use arrow::datatypes::{DataType, Field, Schema};
//! use store::{Commit, Consumed, Lake, LakeOptions, Operation, TableSpec, WriterOptions};
//!
//! # #[tokio::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let lake = Lake::open("memory:///", LakeOptions::default()).await?;
//! let schema = Arc::new(Schema::new(vec![Field::new("n", DataType::Int64, true)]));
//! let table = lake.create_table(&"gold.numbers".parse()?, &TableSpec::new(schema.clone())).await?;
//!
//! let mut writer = table.writer(WriterOptions::default());
//! writer.write(RecordBatch::try_new(schema, vec![Arc::new(Int64Array::from(vec![1, 2, 3]))])?).await?;
//! let staged = writer.finish().await?;
//!
//! let mut commit = Commit::new(table.snapshot(), Operation::Append);
//! commit.inputs.push(Consumed { input: "files:numbers".into(), from: None, to: 3 });
//! commit.stage(staged);
//! let done = table.commit(commit).await?;
//! assert_eq!(done.snapshot.txn("files:numbers"), Some(3));
//! # Ok(())
//! # }
//! ```

mod changes;
mod commit;
mod error;
mod file;
mod history;
mod lake;
mod log;
mod maintain;
mod map;
mod meta;
mod provider;
mod release;
mod runs;
mod snapshot;
mod storage;
mod table;
pub mod testing;
mod writer;

pub use changes::{Changes, SIGN_COLUMN};
pub use commit::{Commit, Committed, Consumed, Operation};
pub use error::{ConflictReason, ErrorKind, Result, StoreError};
pub use file::{ColumnStats, DataFile, FileStats, Tombstone};
pub use history::HistoryEntry;
pub use lake::{Clock, Lake, LakeOptions, open_location};
pub use maintain::{CleanPolicy, CleanReport, CompactPolicy, CompactReport, VacuumPolicy, VacuumReport};
pub use map::PersistentMap;
pub use meta::{MetadataChange, TableMeta, TableSpec};
pub use provider::{LakeFiles, read_schema};
pub use release::{Release, Releases};
pub use runs::{LastRun, Run, newest_runs};
pub use snapshot::Snapshot;
pub use storage::{DurableStore, LocalStore, open_bucket};
pub use table::Table;
pub use writer::{CHANGE_TYPE_COLUMN, Spliced, Staged, TableWriter, WriterOptions, by_partition};
