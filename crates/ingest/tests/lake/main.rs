//! Ingest into real lakes: landing files, the simulator and Kafka's mock cluster, with faults.
#![allow(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]
#![allow(clippy::print_stdout, reason = "what was skipped or measured")]

mod bad_files;
mod crash;
mod faulty;
mod files;
mod kafka;
mod replay;
mod sets;
mod streams;
mod world;
