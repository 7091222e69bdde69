//! How the rows spread over time and over fates.

use chrono::{Datelike, NaiveDate};
use serde::{Deserialize, Serialize};

/// Shares of the rows, each between 0 and 1, drawn independently.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Shares {
    /// Messages that must be quarantined.
    pub bad: f64,
    /// Facts that are sent again with the same content.
    pub duplicate: f64,
    /// Facts that arrive late, up to [`crate::SimConfig::max_late_minutes`].
    pub late: f64,
    /// Facts that arrive up to a minute late, so that neighbours change places.
    pub out_of_order: f64,
    /// Facts that are corrected by a later message of the same key, where the stream has an order of versions (a quarter
    /// of these corrections is bad, unless `bad` is 0, and must leave the fact as it was; some are taken back).
    pub corrected: f64,
    /// Messages with a field that no contract names.
    pub unknown: f64,
}

impl Default for Shares {
    fn default() -> Shares {
        Shares { bad: 0.005, duplicate: 0.01, late: 0.02, out_of_order: 0.02, corrected: 0.005, unknown: 0.01 }
    }
}

impl Shares {
    /// Clean events only, each once and on time.
    pub fn clean() -> Shares {
        Shares { bad: 0.0, duplicate: 0.0, late: 0.0, out_of_order: 0.0, corrected: 0.0, unknown: 0.0 }
    }

    pub(crate) fn named(&self) -> [(&'static str, f64); 6] {
        [
            ("shares.bad", self.bad),
            ("shares.duplicate", self.duplicate),
            ("shares.late", self.late),
            ("shares.out_of_order", self.out_of_order),
            ("shares.corrected", self.corrected),
            ("shares.unknown", self.unknown),
        ]
    }
}

/// A day on which far more is sold than on others: a Black Friday.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Peak {
    /// The day, in UTC.
    pub day: NaiveDate,
    /// How many times the sales of an ordinary such day.
    pub factor: u32,
}

/// When in a week events happen, as weights.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RateShape {
    /// Weight of each hour of the day, in UTC.
    pub hours: [u32; 24],
    /// Weight of each day of the week, from Monday.
    pub weekdays: [u32; 7],
    /// A day above all others.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peak: Option<Peak>,
}

impl RateShape {
    /// The weight of a day against other days.
    pub(crate) fn weight(&self, day: NaiveDate) -> u64 {
        let factor = self.peak.as_ref().filter(|peak| peak.day == day).map_or(1, |peak| peak.factor);
        u64::from(self.weekdays[day.weekday().num_days_from_monday() as usize]) * u64::from(factor)
    }
}

impl Default for RateShape {
    /// A shop: quiet nights, a peak at noon and a higher one after work, a strong Saturday.
    fn default() -> RateShape {
        RateShape {
            hours: [2, 1, 1, 1, 1, 2, 6, 14, 26, 38, 48, 58, 66, 58, 48, 46, 54, 68, 74, 58, 36, 20, 10, 4],
            weekdays: [90, 85, 90, 100, 130, 150, 75],
            peak: None,
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
