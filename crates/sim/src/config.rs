//! What a simulation is made from.

use std::fmt;
use std::str::FromStr;

use chrono::NaiveDate;
use serde::{Deserialize, Serialize};

use crate::bad::BadKind;
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
}

impl Stream {
    /// All streams, in a fixed order.
    pub const ALL: [Stream; 3] = [Stream::PosSales, Stream::Invoices, Stream::SalesTransactions];

    /// The stream's name, as in `models/bronze/<name>.toml`.
    pub fn name(self) -> &'static str {
        match self {
            Stream::PosSales => "pos_sales",
            Stream::Invoices => "invoices",
            Stream::SalesTransactions => "sales_transactions",
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

/// How many events of each stream are made, before retries and corrections are added.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Rows {
    /// Lines of the till.
    pub pos_sales: u64,
    /// Invoices, each with several items.
    pub invoices: u64,
    /// Sales of the store chain.
    pub sales_transactions: u64,
}

impl Default for Rows {
    /// The week of the demo: systems 3 and 4, a little over 300,000 events.
    fn default() -> Rows {
        Rows { pos_sales: 200_000, invoices: 110_000, sales_transactions: 0 }
    }
}

impl Rows {
    /// The rows of one stream.
    pub fn of(&self, stream: Stream) -> u64 {
        match stream {
            Stream::PosSales => self.pos_sales,
            Stream::Invoices => self.invoices,
            Stream::SalesTransactions => self.sales_transactions,
        }
    }
}

/// Shares of the rows, each between 0 and 1, drawn independently.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Shares {
    /// Messages that must be quarantined.
    pub bad: f64,
    /// Facts that are sent again with the same content.
    pub duplicate: f64,
    /// Facts that arrive late, up to [`SimConfig::max_late_minutes`].
    pub late: f64,
    /// Facts that are corrected by a later message of the same key, where the stream has an order of versions (a quarter
    /// of these corrections is bad, unless `bad` is 0, and must leave the fact as it was; some are taken back).
    pub corrected: f64,
    /// Messages with a field that no contract names.
    pub unknown: f64,
}

impl Default for Shares {
    fn default() -> Shares {
        Shares { bad: 0.005, duplicate: 0.01, late: 0.02, corrected: 0.005, unknown: 0.01 }
    }
}

impl Shares {
    /// Clean events only, each once and on time.
    pub fn clean() -> Shares {
        Shares { bad: 0.0, duplicate: 0.0, late: 0.0, corrected: 0.0, unknown: 0.0 }
    }

    fn named(&self) -> [(&'static str, f64); 5] {
        [
            ("shares.bad", self.bad),
            ("shares.duplicate", self.duplicate),
            ("shares.late", self.late),
            ("shares.corrected", self.corrected),
            ("shares.unknown", self.unknown),
        ]
    }
}

/// When in a week events happen, as weights.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RateShape {
    /// Weight of each hour of the day, in UTC.
    pub hours: [u32; 24],
    /// Weight of each day of the week, from Monday.
    pub weekdays: [u32; 7],
}

impl Default for RateShape {
    /// A shop: quiet nights, a peak at noon and a higher one after work, a strong Saturday.
    fn default() -> RateShape {
        RateShape {
            hours: [2, 1, 1, 1, 1, 2, 6, 14, 26, 38, 48, 58, 66, 58, 48, 46, 54, 68, 74, 58, 36, 20, 10, 4],
            weekdays: [90, 85, 90, 100, 130, 150, 75],
        }
    }
}

/// Monthly CSV exports of the till (system 4), with what real ones hold: blank rows, repeated headers, exact copies.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Exports {
    /// First day of the first month, in UTC.
    pub first_month: NaiveDate,
    /// Number of months, one file each.
    pub months: u32,
    /// Lines over all months, before copies and bad rows are added.
    pub rows: u64,
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
            exports: None,
        }
    }
}

impl SimConfig {
    /// Refuses settings that cannot be followed.
    ///
    /// # Errors
    /// [`SimError::Config`] with the first such key: a share outside 0 to 1, no day or partition, weights that are all
    /// zero, bad events without a kind, more ids than a till has.
    pub fn validate(&self) -> Result<(), SimError> {
        let refuse = |key, reason: String| Err(SimError::Config { key, reason });
        for (key, share) in self.shares.named() {
            if !(0.0..=1.0).contains(&share) {
                return refuse(key, format!("expected a share between 0 and 1, found {share}"));
            }
        }
        if self.days == 0 || self.days > 3660 {
            return refuse("days", format!("expected 1 to 3660, found {}", self.days));
        }
        if self.partitions == 0 || self.partitions > 10_000 {
            return refuse("partitions", format!("expected 1 to 10000, found {}", self.partitions));
        }
        if self.shape.hours.iter().all(|weight| *weight == 0) {
            return refuse("shape.hours", "expected at least one weight above 0".into());
        }
        if self.shape.weekdays.iter().all(|weight| *weight == 0) {
            return refuse("shape.weekdays", "expected at least one weight above 0".into());
        }
        if self.shares.bad > 0.0 && self.bad_kinds.is_empty() {
            return refuse("bad_kinds", "expected at least one kind when shares.bad is above 0".into());
        }
        if self.rows.pos_sales > 1_000_000_000 {
            return refuse("rows.pos_sales", "a Sale_ID is an int: expected at most 1,000,000,000".into());
        }
        match &self.exports {
            Some(exports) if exports.months == 0 || exports.months > 240 => {
                refuse("exports.months", format!("expected 1 to 240, found {}", exports.months))
            }
            Some(exports) if exports.rows > 100_000_000 => {
                refuse("exports.rows", format!("expected at most 100,000,000, found {}", exports.rows))
            }
            _ => Ok(()),
        }
    }
}
