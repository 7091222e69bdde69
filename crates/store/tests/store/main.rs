//! Tests of the lake's tables from outside: reading, writing, changes, faults, upkeep, and what another reader sees.
#![allow(clippy::unwrap_used, reason = "a test that fails to set itself up has failed")]
#![allow(missing_docs, reason = "a test binary has no users")]
#![allow(clippy::print_stdout, reason = "measurements are printed")]

mod basics;
mod commits;
mod faults;
mod flat;
mod interop;
mod model;
mod power;
mod s3;
mod splice;
mod support;
mod upkeep;
