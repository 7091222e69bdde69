//! Deterministic retail events, with the dirt that real ones have, and the truth about them.
//!
//! A [`Simulation`] makes the streams of the till (`pos_sales`), the international shop (`invoices`) and the store chain
//! (`sales_transactions`) from one seed: a rate that follows the day, bad messages of every kind that SYSTEMS.md names,
//! retries, late arrivals, corrections, unknown fields. The same configuration gives the same bytes on every machine and
//! with every later version. Its [`Truth`] is counted from the facts that it drew, in integers, and never by reading a
//! message back: so it shares no code, and no mistake, with what it judges.
//!
//! This crate knows no tables, no contracts and no broker.
//!
//! ```
//! use sim::{Rows, SimConfig, Simulation, Stream};
//!
//! let rows = Rows { pos_sales: 100, invoices: 50, sales_transactions: 0 };
//! let simulation = Simulation::new(SimConfig { rows, ..SimConfig::default() })?;
//! let first = simulation.events(Stream::Invoices).next().expect("fifty were asked for");
//! assert_eq!(first.offset, 0);
//! assert!(simulation.truth().answers.contains_key("invoice_daily"));
//! # Ok::<(), sim::SimError>(())
//! ```

mod bad;
mod clock;
mod config;
mod error;
mod event;
mod export;
mod folder;
mod generator;
mod json;
mod rng;
mod simulation;
mod streams;
mod truth;

pub use bad::BadKind;
pub use config::{Exports, RateShape, Rows, Shares, SimConfig, Stream};
pub use error::SimError;
pub use event::{Counts, Entry, EventBatch, SimEvent};
pub use folder::{FolderOptions, write_folder};
pub use simulation::{Events, Simulation};
pub use truth::{AnswerTable, Truth};
