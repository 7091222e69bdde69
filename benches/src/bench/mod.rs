//! The loads, one file each.

pub mod batch;
pub mod change;
pub mod commits;
pub mod demo;
pub mod ingest;
pub mod interop;
pub mod moves;
pub mod small_files;
pub mod start;
