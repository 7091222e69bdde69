//! One file a stream: its facts, how they are written, and their truth.

pub(crate) mod invoices;
pub(crate) mod pos_sales;
pub(crate) mod sales_transactions;
