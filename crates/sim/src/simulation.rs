//! The simulation as a whole: its streams, its files, and its truth.

use crate::answer::AnswerTable;
use crate::catalog::Chain;
use crate::config::SimConfig;
use crate::error::SimError;
use crate::event::{Counts, EventBatch, SimEvent};
use crate::export::exports;
use crate::generator::{Generator, Source};
use crate::stream::Stream;
use crate::streams::inventory_updates::InventoryUpdates;
use crate::streams::invoices::Invoices;
use crate::streams::pos_sales::{PosSales, stock_table};
use crate::streams::sales_events::SalesEvents;
use crate::streams::sales_transactions::SalesTransactions;
use crate::truth::{Tallies, Truth};
use crate::weekly::{Nowhere, WeeklySets};

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

    /// The messages of all streams in order of arrival.
    pub fn arrivals(&self) -> Arrivals {
        self.arrivals_with(false)
    }

    /// Like [`Simulation::arrivals`], and counts the truth on the way if asked to.
    pub(crate) fn arrivals_with(&self, truth: bool) -> Arrivals {
        let feeds = self.streams().map(|stream| Feed::new(Events::new(&self.config, stream, truth)));
        Arrivals { feeds: feeds.collect(), last: None }
    }

    /// The daily landing sets, if they have rows.
    pub(crate) fn weekly(&self, truth: bool) -> Option<WeeklySets> {
        (self.config.rows.weekly > 0).then(|| WeeklySets::new(&self.config, truth))
    }

    /// The dimension files that the shops with rows deliver before their events, by the name of their contract: `pos_stock`
    /// of the till; `products`, `stores` and `opening_stock` of the store chain.
    pub fn dimensions(&self) -> Vec<AnswerTable> {
        let rows = &self.config.rows;
        let mut tables = Vec::new();
        if rows.pos_sales > 0 || self.config.exports.is_some() {
            tables.push(stock_table(&self.config));
        }
        if rows.sales_transactions > 0 || rows.inventory_updates > 0 {
            let chain = Chain::new(&self.config);
            tables.extend([chain.products_table(), chain.stores_table(), chain.opening_stock_table()]);
        }
        tables
    }

    /// What a lake must answer that has taken in all events, the exports (if configured), the landing sets and
    /// [`Simulation::dimensions`]. Makes all events once and keeps none.
    pub fn truth(&self) -> Truth {
        let mut tallies = Tallies::default();
        for table in self.dimensions() {
            tallies.add_dimension(&table.name, table.rows());
        }
        if let Some(wanted) = &self.config.exports {
            let (_, counts) = exports(&self.config, wanted, tallies.till.get_or_insert_default());
            tallies.add_counts(Stream::PosSales.name(), counts);
        }
        for stream in self.streams() {
            let mut events = Events::new(&self.config, stream, true);
            let mut batch = EventBatch::default();
            while events.next_into(&mut batch) {
                batch.clear();
            }
            events.settle(&mut tallies);
        }
        if let Some(mut sets) = self.weekly(true) {
            while sets.next_day().is_some() && sets.write_next(&mut Nowhere).is_ok() {}
            sets.settle(&mut tallies);
        }
        tallies.into_truth(&self.config)
    }
}

/// The messages of one stream. As an iterator it hands out owned events; [`Events::next_into`] is the fast way.
pub struct Events {
    stream: Stream,
    source: Box<dyn Source>,
}

impl Events {
    fn new(config: &SimConfig, stream: Stream, truth: bool) -> Events {
        let source: Box<dyn Source> = match stream {
            Stream::PosSales => Box::new(Generator::new(config, PosSales::new(), truth)),
            Stream::Invoices => Box::new(Generator::new(config, Invoices::new(), truth)),
            Stream::SalesTransactions => Box::new(Generator::new(config, SalesTransactions::new(config), truth)),
            Stream::InventoryUpdates => Box::new(Generator::new(config, InventoryUpdates::new(config), truth)),
            Stream::SalesEvents => Box::new(Generator::new(config, SalesEvents::new(config), truth)),
        };
        Events { stream, source }
    }

    /// The stream.
    pub fn stream(&self) -> Stream {
        self.stream
    }

    /// Appends the next message to a batch; false when there is none left. A batch holds less than 4 GiB.
    pub fn next_into(&mut self, batch: &mut EventBatch) -> bool {
        self.source.step(batch)
    }

    /// What was made so far.
    pub fn counts(&self) -> Counts {
        self.source.counts()
    }

    /// Adds the stream's counts and, if it was asked for, its truth.
    pub(crate) fn settle(self, tallies: &mut Tallies) {
        self.source.settle(tallies);
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

/// The messages of several streams, in order of arrival over all of them.
pub struct Arrivals {
    feeds: Vec<Feed>,
    /// The feed whose message was handed out last.
    last: Option<usize>,
}

/// A message of [`Arrivals`], valid until the next one is taken.
#[derive(Debug, Clone, Copy)]
pub struct Arrival<'a> {
    /// Stream that it belongs to.
    pub stream: Stream,
    /// Partition of the topic, from 0.
    pub partition: i32,
    /// When it arrives, in milliseconds since 1970 UTC.
    pub arrived_at_ms: i64,
    /// The key that chose the partition.
    pub key: &'a [u8],
    /// The message.
    pub payload: &'a [u8],
}

/// A stream and its next message.
struct Feed {
    events: Events,
    head: EventBatch,
}

impl Feed {
    fn new(events: Events) -> Feed {
        let mut feed = Feed { events, head: EventBatch::default() };
        feed.advance();
        feed
    }

    fn advance(&mut self) {
        self.head.clear();
        self.events.next_into(&mut self.head);
    }

    fn arrives(&self) -> i64 {
        self.head.entries.first().map_or(i64::MAX, |entry| entry.arrived_at_ms)
    }
}

impl Arrivals {
    /// The streams.
    pub fn streams(&self) -> Vec<Stream> {
        self.feeds.iter().map(|feed| feed.events.stream()).collect()
    }

    /// The next message; of several at one millisecond, that of the first stream.
    #[allow(clippy::should_implement_trait, reason = "what it hands out borrows from it")]
    pub fn next(&mut self) -> Option<Arrival<'_>> {
        if let Some(feed) = self.last.and_then(|last| self.feeds.get_mut(last)) {
            feed.advance();
        }
        let (index, _) = self.feeds.iter().enumerate().min_by_key(|(_, feed)| feed.arrives())?;
        self.last = Some(index);
        let feed = &self.feeds[index];
        let entry = feed.head.entries.first()?;
        Some(Arrival {
            stream: feed.events.stream(),
            partition: entry.partition,
            arrived_at_ms: entry.arrived_at_ms,
            key: feed.head.key(entry),
            payload: feed.head.payload(entry),
        })
    }

    /// Adds the counts and truths of all streams.
    pub(crate) fn settle(self, tallies: &mut Tallies) {
        self.feeds.into_iter().for_each(|feed| feed.events.settle(tallies));
    }
}
