//! One file a stream: its facts, how they are written, and what is counted of them.

pub(crate) mod inventory_updates;
pub(crate) mod invoices;
pub(crate) mod pos_sales;
pub(crate) mod sales_events;
pub(crate) mod sales_transactions;
