//! The loads, one file each.

pub mod batch;
pub mod catch_up;
pub mod change;
pub mod commits;
pub mod demo;
pub mod freshness;
pub mod ingest;
pub mod interop;
pub mod kafka;
pub mod moves;
pub mod questions;
pub mod scale_out;
pub mod small_files;
pub mod start;
pub mod weekly;
