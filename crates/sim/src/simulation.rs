//! The simulation as a whole: its streams, and its truth.

use crate::config::{SimConfig, Stream};
use crate::error::SimError;
use crate::event::{Counts, EventBatch, SimEvent};
use crate::export::exports;
use crate::generator::Generator;
use crate::streams::invoices::Invoices;
use crate::streams::pos_sales::{PosSales, PosTally, opening_stock};
use crate::streams::sales_transactions::SalesTransactions;
use crate::truth::{AnswerTable, Truth};

/// A simulation under one checked configuration. It holds no events: each call makes them anew, always the same.
#[derive(Debug, Clone)]
pub struct Simulation {
    config: SimConfig,
}

impl Simulation {
    /// Checks a configuration.
    ///
    /// # Errors
    /// [`SimError::Config`], as [`SimConfig::validate`].
    pub fn new(config: SimConfig) -> Result<Simulation, SimError> {
        config.validate()?;
        Ok(Simulation { config })
    }

    /// The configuration.
    pub fn config(&self) -> &SimConfig {
        &self.config
    }

    /// The streams that have rows.
    pub fn streams(&self) -> impl Iterator<Item = Stream> + '_ {
        Stream::ALL.into_iter().filter(|stream| self.config.rows.of(*stream) > 0)
    }

    /// The messages of a stream in order of arrival, from the first; none if it has no rows. A reader that resumes skips
    /// those below its offsets, at more than a million a second.
    pub fn events(&self, stream: Stream) -> Events {
        Events::new(&self.config, stream, false)
    }

    /// Like [`Simulation::events`], and counts the truth on the way.
    pub(crate) fn events_with_truth(&self, stream: Stream) -> Events {
        Events::new(&self.config, stream, true)
    }

    /// What a lake must answer that has taken in all events, the exports (if configured) and [`Simulation::pos_stock`].
    /// Makes all events once and keeps none.
    pub fn truth(&self) -> Truth {
        let mut truth = Truth::default();
        let mut till: Option<PosTally> = None;
        for stream in self.streams() {
            let mut events = self.events_with_truth(stream);
            let mut batch = EventBatch::default();
            while events.next_into(&mut batch) {
                batch.clear();
            }
            truth.add_counts(stream, events.counts());
            events.settle(&mut truth, &mut till);
        }
        if let Some(wanted) = &self.config.exports {
            let (_, counts) = exports(&self.config, wanted, till.get_or_insert_default());
            truth.add_counts(Stream::PosSales, counts);
        }
        if let Some(till) = till {
            truth.stock_rows = opening_stock(&self.config).count() as u64;
            truth.add(till.answers(opening_stock(&self.config)));
        }
        truth
    }

    /// [`Simulation::pos_stock`] as the CSV file that the shop delivers, with its header.
    pub fn pos_stock_csv(&self) -> String {
        let mut stock = AnswerTable::new("pos_stock", &["product", "stock_quantity"]);
        opening_stock(&self.config)
            .for_each(|(product, quantity)| stock.push(vec![product.into(), quantity.to_string()]));
        stock.to_csv()
    }

    /// The opening stock of the till's products: `pos_stock`'s rows (product, stock_quantity).
    pub fn pos_stock(&self) -> Vec<(&'static str, i64)> {
        opening_stock(&self.config).collect()
    }
}

/// The messages of one stream. As an iterator it hands out owned events; [`Events::next_into`] is the fast way.
pub struct Events {
    stream: Stream,
    source: Source,
}

enum Source {
    PosSales(Box<Generator<PosSales>>),
    Invoices(Box<Generator<Invoices>>),
    SalesTransactions(Box<Generator<SalesTransactions>>),
}

impl Events {
    fn new(config: &SimConfig, stream: Stream, truth: bool) -> Events {
        let source = match stream {
            Stream::PosSales => Source::PosSales(Box::new(Generator::new(config, PosSales::new(), truth))),
            Stream::Invoices => Source::Invoices(Box::new(Generator::new(config, Invoices::new(), truth))),
            Stream::SalesTransactions => {
                let model = SalesTransactions::new(config.seed);
                Source::SalesTransactions(Box::new(Generator::new(config, model, truth)))
            }
        };
        Events { stream, source }
    }

    /// The stream.
    pub fn stream(&self) -> Stream {
        self.stream
    }

    /// Appends the next message to a batch; false when there is none left. A batch holds less than 4 GiB.
    pub fn next_into(&mut self, batch: &mut EventBatch) -> bool {
        match &mut self.source {
            Source::PosSales(source) => source.step(batch),
            Source::Invoices(source) => source.step(batch),
            Source::SalesTransactions(source) => source.step(batch),
        }
    }

    /// What was made so far.
    pub fn counts(&self) -> Counts {
        match &self.source {
            Source::PosSales(source) => source.counts(),
            Source::Invoices(source) => source.counts(),
            Source::SalesTransactions(source) => source.counts(),
        }
    }

    /// Adds the stream's answers to the truth; the till's go to `till`, because exports add to them.
    pub(crate) fn settle(self, truth: &mut Truth, till: &mut Option<PosTally>) {
        match self.source {
            Source::PosSales(source) => {
                if let Some(tally) = source.into_tally() {
                    till.get_or_insert_default().merge(tally);
                }
            }
            Source::Invoices(source) => truth.add(source.into_tally().map_or_else(Vec::new, |tally| tally.answers())),
            Source::SalesTransactions(source) => {
                truth.add(source.into_tally().map_or_else(Vec::new, |tally| tally.answers()));
            }
        }
    }
}

impl Iterator for Events {
    type Item = SimEvent;

    fn next(&mut self) -> Option<SimEvent> {
        let mut batch = EventBatch::default();
        if !self.next_into(&mut batch) {
            return None;
        }
        let entry = batch.entries.last()?;
        Some(SimEvent {
            stream: self.stream,
            partition: entry.partition,
            offset: entry.offset,
            arrived_at_ms: entry.arrived_at_ms,
            key: batch.key(entry).to_vec(),
            payload: batch.payload(entry).to_vec(),
        })
    }
}
