//! Refresh cycles over small lakes in memory: Bronze is written through `store`, tables are read back through SQL.
#![allow(clippy::unwrap_used, reason = "tests")]

mod faults;
mod feeds;
mod folding;
mod following;
mod gates;
mod kinds;
mod mended;
mod moves;
mod options;
mod plans;
mod shipped;
mod side_by_side;
mod slices;
mod world;
