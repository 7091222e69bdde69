//! How much of everything is made.

use serde::{Deserialize, Serialize};

use crate::error::SimError;
use crate::stream::Stream;

/// How many events of each stream, and sales of the landing sets, are made, before retries and corrections are added.
/// Nothing by default.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Rows {
    /// Lines of the till.
    pub pos_sales: u64,
    /// Invoices, each with several items.
    pub invoices: u64,
    /// Sales of the store chain.
    pub sales_transactions: u64,
    /// Changes of the store chain's stock.
    pub inventory_updates: u64,
    /// Orders of the web shop.
    pub sales_events: u64,
    /// Sales in the daily landing sets.
    pub weekly: u64,
}

impl Rows {
    /// What rows can be asked of: the streams and `weekly`, the landing sets.
    pub const NAMES: [&str; 6] =
        ["pos_sales", "invoices", "sales_transactions", "inventory_updates", "sales_events", "weekly"];

    /// The rows of one stream.
    pub fn of(&self, stream: Stream) -> u64 {
        match stream {
            Stream::PosSales => self.pos_sales,
            Stream::Invoices => self.invoices,
            Stream::SalesTransactions => self.sales_transactions,
            Stream::InventoryUpdates => self.inventory_updates,
            Stream::SalesEvents => self.sales_events,
        }
    }

    /// Sets the rows of one of [`Rows::NAMES`].
    ///
    /// # Errors
    /// [`SimError::Config`] for any other name.
    pub fn set(&mut self, name: &str, rows: u64) -> Result<(), SimError> {
        let place = match name {
            "pos_sales" => &mut self.pos_sales,
            "invoices" => &mut self.invoices,
            "sales_transactions" => &mut self.sales_transactions,
            "inventory_updates" => &mut self.inventory_updates,
            "sales_events" => &mut self.sales_events,
            "weekly" => &mut self.weekly,
            _ => {
                let known = Rows::NAMES.join(", ");
                let reason = format!("{name} is not simulated; expected one of {known}");
                return Err(SimError::Config { key: "stream", reason });
            }
        };
        *place = rows;
        Ok(())
    }

    /// The same number of rows for each of some names, `rows` in all.
    ///
    /// # Errors
    /// As [`Rows::set`].
    pub fn even(rows: u64, names: &[&str]) -> Result<Rows, SimError> {
        let mut dealt = Rows::default();
        for name in names {
            dealt.set(name, rows / names.len() as u64)?;
        }
        Ok(dealt)
    }
}
