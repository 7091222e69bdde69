//! What a simulation is made from.

use chrono::NaiveDate;
use serde::{Deserialize, Serialize};

use crate::bad::BadKind;
use crate::error::SimError;
use crate::rows::Rows;
use crate::shares::{Exports, RateShape, Shares};

/// How many things the shops have, apart from the till's, whose products are fixed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Catalog {
    /// Products of the store chain, of the landing sets and of the web shop, each with ids of their own.
    pub products: u32,
    /// Stores of the chain and of the landing sets.
    pub stores: u32,
    /// Customers of the web shop.
    pub customers: u32,
}

impl Default for Catalog {
    /// A chain of 50 stores with 1,000 products, and a web shop with 20,000 customers.
    fn default() -> Catalog {
        Catalog { products: 1_000, stores: 50, customers: 20_000 }
    }
}

/// The daily landing sets (system 2).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Weekly {
    /// Share of (day, store, product) that have a stock row.
    pub stock: f64,
    /// Each so many days the sales and inventory files are full extracts: every row up to that day, again. 0: never.
    /// Such files are made by making all earlier days again, so their cost grows with the days.
    pub full_extract_days: u32,
}

impl Default for Weekly {
    /// Nearly all pairs have a stock row, and each seventh day is a full extract.
    fn default() -> Weekly {
        Weekly { stock: 0.97, full_extract_days: 7 }
    }
}

/// Everything that the events depend on: two equal configurations give the same bytes, on every machine.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SimConfig {
    /// Seed of all choices.
    pub seed: u64,
    /// First day of the event times, in UTC.
    pub start: NaiveDate,
    /// Number of days.
    pub days: u32,
    /// Partitions of each topic; a key always goes to the same one.
    pub partitions: u32,
    /// Events of each stream.
    pub rows: Rows,
    /// How much of it is bad, doubled, late, corrected, or has unknown fields.
    pub shares: Shares,
    /// Kinds of badness to choose from; those that a stream does not know are left out there.
    pub bad_kinds: Vec<BadKind>,
    /// The greatest lateness, in minutes.
    pub max_late_minutes: u32,
    /// When in the week events happen.
    pub shape: RateShape,
    /// How many products, stores and customers there are.
    pub catalog: Catalog,
    /// How the daily landing sets look; [`Rows::weekly`] says how many sales they hold.
    pub weekly: Weekly,
    /// Also monthly exports of the till, written by [`write_folder`](crate::write_folder) only.
    pub exports: Option<Exports>,
}

impl Default for SimConfig {
    /// A retail week that starts on Monday, 4 March 2024.
    fn default() -> SimConfig {
        SimConfig {
            seed: 42,
            start: NaiveDate::from_ymd_opt(2024, 3, 4).expect("a day that exists"),
            days: 7,
            partitions: 4,
            rows: Rows::default(),
            shares: Shares::default(),
            bad_kinds: BadKind::ALL.to_vec(),
            max_late_minutes: 2 * 24 * 60,
            shape: RateShape::default(),
            catalog: Catalog::default(),
            weekly: Weekly::default(),
            exports: None,
        }
    }
}

impl SimConfig {
    /// Refuses settings that cannot be followed.
    ///
    /// # Errors
    /// [`SimError::Config`] with the first such key: a share outside 0 to 1, no day or partition, weights that are all
    /// zero, bad events without a kind, more ids than a till has, a catalog without products or far too large.
    pub fn validate(&self) -> Result<(), SimError> {
        for (key, share) in self.shares.named().into_iter().chain([("weekly.stock", self.weekly.stock)]) {
            if !(0.0..=1.0).contains(&share) {
                return Err(refused(key, format!("expected a share between 0 and 1, found {share}")));
            }
        }
        for (key, found, least, most) in self.bounds() {
            if !(least..=most).contains(&found) {
                return Err(refused(key, format!("expected {least} to {most}, found {found}")));
            }
        }
        if self.shape.hours.iter().all(|weight| *weight == 0) {
            return Err(refused("shape.hours", "expected at least one weight above 0".into()));
        }
        if self.shape.weekdays.iter().all(|weight| *weight == 0) {
            return Err(refused("shape.weekdays", "expected at least one weight above 0".into()));
        }
        if self.shares.bad > 0.0 && self.bad_kinds.is_empty() {
            return Err(refused("bad_kinds", "expected at least one kind when shares.bad is above 0".into()));
        }
        Ok(())
    }

    /// Numbers with the least and the greatest that can be followed. Ids on the wire are ints where a contract says so.
    fn bounds(&self) -> [(&'static str, u64, u64, u64); 11] {
        let catalog = &self.catalog;
        let pairs = u64::from(catalog.products) * u64::from(catalog.stores);
        let (months, rows) = self.exports.as_ref().map_or((1, 0), |exports| (exports.months, exports.rows));
        let factor = self.shape.peak.as_ref().map_or(1, |peak| peak.factor);
        [
            ("days", self.days.into(), 1, 3660),
            ("partitions", self.partitions.into(), 1, 10_000),
            ("rows.pos_sales", self.rows.pos_sales, 0, 1_000_000_000),
            ("rows.weekly", self.rows.weekly, 0, 2_000_000_000),
            ("exports.months", months.into(), 1, 240),
            ("exports.rows", rows, 0, 100_000_000),
            ("catalog.products", catalog.products.into(), 1, 1_000_000),
            ("catalog.stores", catalog.stores.into(), 1, 100_000),
            ("catalog.customers", catalog.customers.into(), 1, 50_000_000),
            ("catalog.products x catalog.stores", pairs, 1, 20_000_000),
            ("shape.peak.factor", factor.into(), 1, 1_000),
        ]
    }
}

fn refused(key: &'static str, reason: String) -> SimError {
    SimError::Config { key, reason }
}
