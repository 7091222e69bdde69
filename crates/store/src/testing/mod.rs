//! Faulty stores, for tests of this crate and of those that build on it.
//!
//! [`FaultStore`] fails, pauses and records single operations by rule; [`PowerStore`] loses power at any point and
//! forgets what was not synced. Both wrap an in-memory store and go where a real one goes:
//!
//! ```
//! use std::sync::Arc;
//! use store::testing::{Fault, FaultStore, Op};
//! use store::{Lake, LakeOptions};
//!
//! # #[tokio::main]
//! # async fn main() {
//! let faults = Arc::new(FaultStore::in_memory());
//! let lake = Lake::with_durable_store(faults.clone(), LakeOptions::default());
//! // The next commit lands, but its answer is an error.
//! faults.add(Fault::after(Op::Put, "_delta_log/"));
//! # let _ = lake;
//! # }
//! ```

mod fault;
mod power;

pub use fault::{Fault, FaultStore, Op, Pause};
pub use power::PowerStore;
