//! The real binary in temporary lakes: answers against known truth, faults, bad input, and the first day of a user.
//!
//! One integration binary, because linking is the expensive part. Real data of others is read from `TEST_SHARED` (default
//! `../shared` from the workspace root); a test that needs it says `skipped: …` where it is absent.

#![allow(clippy::print_stdout, reason = "what a test skipped or counted is told on its standard output")]

mod answers;
mod bad_input;
mod demo;
mod faults;
mod first_day;
mod held_feed;
mod history;
mod kafka;
mod kafka_groups;
mod kafka_secured;
mod kafka_sim;
mod kafka_torture;
mod kafka_trouble;
mod meanings;
mod pieces;
mod publish;
mod quality;
mod quarantine;
mod registry;
mod s3;
#[path = "../../../quality/tests/quality/server.rs"]
#[allow(dead_code, reason = "the tests of quality use all of it")]
mod server;
mod sets;
mod support;
mod systems;
mod topic;
mod truth;
mod upkeep;
