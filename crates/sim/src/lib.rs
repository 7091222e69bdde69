//! Deterministic retail events, with the dirt that real ones have, and the truth about them.
//!
//! A [`Simulation`] makes the streams of the till (`pos_sales`), the international shop (`invoices`), the store chain
//! (`sales_transactions`, `inventory_updates`) and the web shop (`sales_events`), the files of their dimensions, and the
//! daily landing sets of a further chain, all from one seed: a rate that follows the day, with a Black Friday if wanted, bad
//! messages of every kind that SYSTEMS.md names, retries, late arrivals, corrections, unknown fields, customers that move,
//! products that appear and change. The same configuration gives the same bytes on every machine. Its [`Truth`] is counted
//! from the facts that it drew, in integers, and never by reading a message back: so it shares no code, and no mistake, with
//! what it judges.
//!
//! This crate knows no tables, no contracts and no broker.
//!
//! ```
//! use sim::{Rows, SimConfig, Simulation, Stream};
//!
//! let rows = Rows { pos_sales: 100, invoices: 50, ..Rows::default() };
//! let simulation = Simulation::new(SimConfig { rows, ..SimConfig::default() })?;
//! let first = simulation.events(Stream::Invoices).next().expect("fifty were asked for");
//! assert_eq!(first.offset, 0);
//! assert!(simulation.truth().answers.contains_key("invoice_daily"));
//! # Ok::<(), sim::SimError>(())
//! ```

mod answer;
mod bad;
mod catalog;
mod clock;
mod config;
mod error;
mod event;
mod export;
mod fields;
mod folder;
mod generator;
mod json;
mod output;
mod rng;
mod rows;
mod shares;
mod shop;
mod simulation;
mod stream;
mod streams;
mod tally;
mod truth;
mod weekly;

pub use answer::AnswerTable;
pub use bad::BadKind;
pub use config::{Catalog, SimConfig, Weekly};
pub use error::SimError;
pub use event::{Counts, Entry, EventBatch, SimEvent};
pub use folder::{FolderOptions, write_files, write_folder};
pub use rows::Rows;
pub use shares::{Exports, Peak, RateShape, Shares};
pub use simulation::{Arrival, Arrivals, Events, Simulation};
pub use stream::Stream;
pub use truth::Truth;
