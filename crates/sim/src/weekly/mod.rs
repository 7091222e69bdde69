//! The daily landing sets (SYSTEMS.md, system 2): five CSV files a day.

mod calendar;
mod file;
mod products;
mod sales;
mod spoil;
mod stock;
mod tally;

use std::collections::BTreeSet;

use chrono::{Days, NaiveDate};

use crate::answer::AnswerTable;
use crate::config::SimConfig;
use crate::error::SimError;
use crate::event::Counts;
use crate::rng::fnv1a;
use crate::truth::Tallies;

use calendar::{first_of_week, week_of};
use file::SetFile;
use products::Assortment;
use sales::Sales;
use stock::Stock;
use tally::WeeklyTally;

/// Corrections move a sale back by at most so many days.
const MOST_DAYS_BACK: u32 = 2;
/// The first files have a calendar with other weeks, unless the simulation ends with them.
const CALENDAR_CORRECTED_ON: u32 = 3;

/// Where the files of a set go.
pub(crate) trait Landing {
    /// Begins a file; the one before is ended.
    fn begin(&mut self, name: &str) -> Result<(), SimError>;
    /// Appends to the file under way.
    fn write(&mut self, bytes: &[u8]) -> Result<(), SimError>;
    /// Ends the file under way.
    fn end(&mut self) -> Result<(), SimError>;
}

/// A landing that keeps nothing, for those who want the truth only.
pub(crate) struct Nowhere;

impl Landing for Nowhere {
    fn begin(&mut self, _: &str) -> Result<(), SimError> {
        Ok(())
    }

    fn write(&mut self, _: &[u8]) -> Result<(), SimError> {
        Ok(())
    }

    fn end(&mut self) -> Result<(), SimError> {
        Ok(())
    }
}

/// The sets of all days, from the first.
pub(crate) struct WeeklySets {
    start: NaiveDate,
    days: u32,
    full_extract_days: u32,
    /// Calendars are sometimes a day behind, and the first ones wrong.
    has_dirt: bool,
    assortment: Assortment,
    sales: SetFile<Sales>,
    stock: SetFile<Stock>,
    tally: Option<WeeklyTally>,
    next: u32,
    dimensions: [Dimension; 3],
}

/// How many rows the files of a dimension have had, and the last one of them. Files of the same content count once: a later
/// one says nothing new.
#[derive(Default)]
struct Dimension {
    contents: BTreeSet<u64>,
    rows: u64,
    keys: u64,
}

impl Dimension {
    fn add(&mut self, table: &AnswerTable) {
        if self.contents.insert(fnv1a(table.as_csv())) {
            self.rows += table.rows() as u64;
        }
        self.keys = self.keys.max(table.rows() as u64);
    }
}

impl WeeklySets {
    /// The sets under a valid configuration; with `truth`, their answers are counted on the way.
    pub fn new(config: &SimConfig, truth: bool) -> WeeklySets {
        WeeklySets {
            start: config.start,
            days: config.days,
            full_extract_days: config.weekly.full_extract_days,
            has_dirt: config.shares.corrected > 0.0,
            assortment: Assortment::new(config),
            sales: SetFile::new(config, Sales::new(config)),
            stock: SetFile::new(config, Stock::new(config)),
            tally: truth.then(|| WeeklyTally::new(config)),
            next: 0,
            dimensions: Default::default(),
        }
    }

    /// The day of the next set; `None` after the last.
    pub fn next_day(&self) -> Option<NaiveDate> {
        (self.next < self.days).then(|| self.start + Days::new(u64::from(self.next)))
    }

    /// Writes the next set, if there is one left.
    pub fn write_next(&mut self, landing: &mut dyn Landing) -> Result<(), SimError> {
        let Some(date) = self.next_day() else { return Ok(()) };
        let (day, suffix) = (self.next, date.format("%Y%m%d"));
        self.next += 1;
        let is_full = self.full_extract_days > 0 && self.next.is_multiple_of(self.full_extract_days);
        landing.begin(&format!("sales_{suffix}.csv"))?;
        self.sales.write_day(day, is_full, landing, self.tally.as_mut())?;
        landing.end()?;
        landing.begin(&format!("inventory_{suffix}.csv"))?;
        self.stock.write_day(day, is_full, landing, self.tally.as_mut())?;
        landing.end()?;
        let tables = [self.calendar(day), self.assortment.products_table(day), self.assortment.stores_table(day)];
        for (table, dimension) in tables.iter().zip(&mut self.dimensions) {
            landing.begin(&format!("{}_{suffix}.csv", table.name))?;
            landing.write(table.as_csv())?;
            landing.end()?;
            dimension.add(table);
        }
        if let Some(tally) = &mut self.tally {
            tally.close_before(self.next.saturating_sub(MOST_DAYS_BACK));
        }
        Ok(())
    }

    /// The calendar of a day's set: from the week before the first day to the end of the week after this one. Each fifth is
    /// a day behind, so that the day's rows wait for the next; the first ones number the weeks from Monday.
    fn calendar(&self, day: u32) -> AnswerTable {
        let today = self.start + Days::new(u64::from(day));
        let is_last = day + 1 == self.days;
        let is_behind = self.has_dirt && day % 5 == 3 && !is_last;
        let is_wrong = self.has_dirt && day < CALENDAR_CORRECTED_ON && self.days > CALENDAR_CORRECTED_ON;
        let from = first_of_week(self.start) - Days::new(7);
        let to = if is_behind { today } else { first_of_week(today) + Days::new(14) };
        let mut table = AnswerTable::new("calendar", &["CAL_DT", "YR_NUM", "WK_NUM"]);
        for date in from.iter_days().take_while(|date| *date < to) {
            let week = week_of(if is_wrong { date - Days::new(1) } else { date });
            table.row(|row| {
                row.text(&date.to_string());
                row.int(week.year);
                row.int(week.week);
            });
        }
        table
    }

    /// Adds counts and, if it was asked for, the truth over all sets written so far.
    pub fn settle(self, tallies: &mut Tallies) {
        let (sales, stock) = (self.sales.counts(), self.stock.counts());
        tallies.add_counts("weekly_sales", sales);
        tallies.add_counts("weekly_inventory", stock);
        for (name, dimension) in ["weekly_calendar", "weekly_product", "weekly_store"].iter().zip(self.dimensions) {
            tallies.add_counts(name, Counts { events: dimension.rows, facts: dimension.keys, ..Counts::default() });
        }
        if let Some(tally) = self.tally {
            tallies.answers.extend([tally.into_table(), weekly_counts(sales, stock)]);
        }
    }
}

fn weekly_counts(sales: Counts, stock: Counts) -> AnswerTable {
    let mut table = AnswerTable::new("weekly_counts", &["sales", "stock_rows", "quarantined_sales"]);
    table.row(|row| {
        row.int(sales.facts);
        row.int(stock.facts);
        row.int(sales.quarantined);
    });
    table
}
