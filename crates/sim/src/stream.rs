//! The streams that the generator can make.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::SimError;

/// A stream of events that the generator can make; named as its contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stream {
    /// Lines of a till (system 4).
    PosSales,
    /// Orders and returns of an international shop (system 3).
    Invoices,
    /// Sales of a store chain (system 1).
    SalesTransactions,
    /// Changes of that chain's stock (system 1).
    InventoryUpdates,
    /// Orders of a web shop (system 5).
    SalesEvents,
}

impl Stream {
    /// All streams, in a fixed order.
    pub const ALL: [Stream; 5] =
        [Stream::PosSales, Stream::Invoices, Stream::SalesTransactions, Stream::InventoryUpdates, Stream::SalesEvents];

    /// The stream's name, as in `models/bronze/<name>.toml`.
    pub fn name(self) -> &'static str {
        match self {
            Stream::PosSales => "pos_sales",
            Stream::Invoices => "invoices",
            Stream::SalesTransactions => "sales_transactions",
            Stream::InventoryUpdates => "inventory_updates",
            Stream::SalesEvents => "sales_events",
        }
    }
}

impl fmt::Display for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Stream {
    type Err = SimError;

    fn from_str(name: &str) -> Result<Stream, SimError> {
        Stream::ALL.into_iter().find(|stream| stream.name() == name).ok_or_else(|| {
            let known = Stream::ALL.map(Stream::name).join(", ");
            SimError::Config { key: "stream", reason: format!("{name} is not simulated; expected one of {known}") }
        })
    }
}
