//! The right answers, as the tables that named queries must give.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use crate::answer::AnswerTable;
use crate::catalog::Chain;
use crate::config::SimConfig;
use crate::error::SimError;
use crate::event::Counts;
use crate::stream::Stream;
use crate::streams::inventory_updates::StockTally;
use crate::streams::invoices::InvoiceTally;
use crate::streams::pos_sales::{PosTally, opening_stock};
use crate::streams::sales_transactions::SalesTally;
use crate::tally::chain;
use crate::tally::orders::OrderTally;

/// What a lake must hold and answer once all events of a simulation are in it.
#[derive(Debug, Clone, Default)]
pub struct Truth {
    /// The answer tables by name: `pos_totals`, `invoice_daily` and so on, for what has rows.
    pub answers: BTreeMap<String, AnswerTable>,
    /// How many messages, facts and bad messages there are, by the name of the contract; the exports of the till count for
    /// `pos_sales`.
    pub counts: BTreeMap<String, Counts>,
}

impl Truth {
    /// The counts of one stream.
    pub fn counts_of(&self, stream: Stream) -> Counts {
        self.counts.get(stream.name()).copied().unwrap_or_default()
    }

    /// The counts as a table: stream, events (all messages), facts (distinct ones), quarantined (messages).
    pub fn counts_table(&self) -> AnswerTable {
        let mut table = AnswerTable::new("counts", &["stream", "events", "facts", "quarantined"]);
        for (name, counts) in &self.counts {
            table.row(|row| {
                row.text(name);
                row.int(counts.events);
                row.int(counts.facts);
                row.int(counts.quarantined);
            });
        }
        table
    }

    /// Writes `<name>.csv` for each answer and `counts.csv` into a folder, which is made if it is not there.
    ///
    /// # Errors
    /// [`SimError::Io`] with the path that could not be written.
    pub fn write(&self, folder: &Path) -> Result<(), SimError> {
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| SimError::Io { path, source }
        };
        fs::create_dir_all(folder).map_err(failed(folder))?;
        for table in self.answers.values().chain([&self.counts_table()]) {
            let path = folder.join(format!("{}.csv", table.name));
            fs::write(&path, table.as_csv()).map_err(failed(&path))?;
        }
        Ok(())
    }
}

/// What was counted so far, by stream. One is there only if the truth of its stream was asked for.
#[derive(Default)]
pub(crate) struct Tallies {
    pub till: Option<PosTally>,
    pub invoices: Option<InvoiceTally>,
    pub sales: Option<SalesTally>,
    pub stock: Option<StockTally>,
    pub orders: Option<OrderTally>,
    /// Answers that were complete when their stream ended.
    pub answers: Vec<AnswerTable>,
    counts: BTreeMap<String, Counts>,
}

impl Tallies {
    /// Adds to the counts of a contract.
    pub fn add_counts(&mut self, name: &str, counts: Counts) {
        let sum = self.counts.entry(name.to_owned()).or_default();
        *sum = sum.plus(counts);
    }

    /// Adds a file of good rows, each of them another fact.
    pub fn add_dimension(&mut self, name: &str, rows: usize) {
        self.add_counts(name, Counts { events: rows as u64, facts: rows as u64, ..Counts::default() });
    }

    /// Leaves the counts only.
    pub fn forget_answers(&mut self) {
        *self = Tallies { counts: std::mem::take(&mut self.counts), ..Tallies::default() };
    }

    /// The answers and counts.
    pub fn into_truth(self, config: &SimConfig) -> Truth {
        let mut tables = self.answers;
        if let Some(till) = self.till {
            tables.extend(till.answers(opening_stock(config)));
        }
        if let Some(invoices) = self.invoices {
            tables.extend(invoices.answers());
        }
        if self.sales.is_some() || self.stock.is_some() {
            let (sales, stock) = (self.sales.unwrap_or_default(), self.stock.unwrap_or_default());
            tables.extend(chain::answers(&Chain::new(config), &sales, &stock, &self.counts));
        }
        if let Some(orders) = self.orders {
            tables.extend(orders.answers(&self.counts));
        }
        let answers = tables.into_iter().map(|table| (table.name.clone(), table)).collect();
        Truth { answers, counts: self.counts }
    }
}
