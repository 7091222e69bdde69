//! Checks over small tables, results and loads as tables of a lake in memory, alerts against a real HTTP server.
#![allow(clippy::unwrap_used, reason = "tests")]

mod alerts;
mod checks;
mod kept;
mod server;
mod world;
