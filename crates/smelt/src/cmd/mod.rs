//! The commands, one file each, each with one verb: `run(common, args)` returns the exit code.

pub mod check;
pub mod completions;
pub mod demo;
pub mod ingest;
pub mod init;
pub mod maintain;
pub mod publish;
pub mod quarantine;
pub mod query;
pub mod refine;
pub mod sim;
pub mod sql;
pub mod status;
