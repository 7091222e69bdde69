//! The loads, one file each.

pub mod batch;
pub mod change;
pub mod commits;
pub mod demo;
pub mod ingest;
pub mod interop;
pub mod small_files;
pub mod start;
