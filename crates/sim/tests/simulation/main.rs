//! The generator from outside: the same seed gives the same bytes, good messages are good, bad ones are bad, and the
//! truth is what a plain reading of the good messages gives.
#![allow(clippy::unwrap_used, reason = "in a test a panic is the report")]

mod chain;
mod files;
mod orders;
mod settings;
mod streams;
mod support;
mod weekly;
