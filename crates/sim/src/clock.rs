//! Event times over the days, and how they are written.

use chrono::{DateTime, Datelike, NaiveDate};

use crate::rng::Rng;
use crate::shares::RateShape;

/// Microseconds of a second, minute, hour and day.
pub(crate) const SECOND: i64 = 1_000_000;
pub(crate) const MINUTE: i64 = 60 * SECOND;
pub(crate) const HOUR: i64 = 60 * MINUTE;
pub(crate) const DAY: i64 = 24 * HOUR;

/// Midnight of a day in UTC, in microseconds since 1970.
pub(crate) fn midnight(day: NaiveDate) -> i64 {
    i64::from(day.to_epoch_days()) * DAY
}

/// The day in UTC that holds an instant.
pub(crate) fn day_of(at_us: i64) -> NaiveDate {
    DateTime::from_timestamp_micros(at_us).expect("simulated times lie within a few centuries").date_naive()
}

/// So many days from a first one.
pub(crate) fn days_from(start: NaiveDate, days: u32) -> impl Iterator<Item = NaiveDate> {
    start.iter_days().take(days as usize)
}

/// Deals `rows` out by weight: the parts add up to the rows exactly, unless all weights are 0.
pub(crate) fn apportion(weights: impl Iterator<Item = u64>, rows: u64) -> Vec<u64> {
    // Rounding the running sum, not each part, makes them add up.
    let running: Vec<u64> = weights
        .scan(0u64, |sum, weight| {
            *sum += weight;
            Some(*sum)
        })
        .collect();
    let total = u128::from(running.last().copied().unwrap_or(0)).max(1);
    let mut before = 0;
    let mut part = |sum: &u64| {
        let upto = (u128::from(*sum) * u128::from(rows) / total) as u64;
        let here = upto - before;
        before = upto;
        here
    };
    running.iter().map(&mut part).collect()
}

/// Yields exactly `rows` instants in ascending order, spread over the days by a shape. Within an hour they are even, with
/// a jitter below their distance.
#[derive(Debug)]
pub(crate) struct Slots {
    start: i64,
    per_hour: Vec<u64>,
    hour: usize,
    within: u64,
}

impl Slots {
    /// The instants of `rows` events from `start` on.
    pub fn new(start: NaiveDate, days: u32, rows: u64, shape: &RateShape) -> Slots {
        let weights = days_from(start, days).flat_map(|day| {
            let of_day = shape.weight(day);
            shape.hours.iter().map(move |hour| u64::from(*hour) * of_day)
        });
        let per_hour = apportion(weights, rows);
        Slots { start: midnight(start), per_hour, hour: 0, within: 0 }
    }

    /// The next instant, in microseconds since 1970.
    pub fn next(&mut self, rng: &mut Rng) -> Option<i64> {
        while *self.per_hour.get(self.hour)? == self.within {
            self.hour += 1;
            self.within = 0;
        }
        let place = (u128::from(self.within) << 32) + u128::from(rng.bits());
        let offset = (place * HOUR as u128 / u128::from(self.per_hour[self.hour])) >> 32;
        self.within += 1;
        Some(self.start + self.hour as i64 * HOUR + offset as i64)
    }
}

/// Writes instants as text; remembers the last day, because most calls repeat it.
#[derive(Debug, Clone)]
pub(crate) struct StampWriter {
    day: i64,
    ymd: [u8; 10],
}

impl StampWriter {
    /// A writer that has seen no day yet.
    pub fn new() -> StampWriter {
        StampWriter { day: i64::MIN, ymd: *b"0000-00-00" }
    }

    /// The day of an instant, as `YYYY-MM-DD`.
    pub fn date(&mut self, at_us: i64) -> &[u8; 10] {
        let day = at_us.div_euclid(DAY);
        if day != self.day {
            let date = day_of(at_us);
            self.ymd[..2].copy_from_slice(&digits((date.year() / 100) as u32));
            self.ymd[2..4].copy_from_slice(&digits((date.year() % 100) as u32));
            self.ymd[5..7].copy_from_slice(&digits(date.month()));
            self.ymd[8..].copy_from_slice(&digits(date.day()));
            self.day = day;
        }
        &self.ymd
    }

    /// Appends `YYYY-MM-DD<between>HH:MM:SS`; parts of a second are cut off.
    pub fn write(&mut self, at_us: i64, between: u8, out: &mut Vec<u8>) {
        let second = (at_us.rem_euclid(DAY) / SECOND) as u32;
        let [h, i] = digits(second / 3600);
        let [m, n] = digits(second / 60 % 60);
        let [s, t] = digits(second % 60);
        out.extend_from_slice(self.date(at_us));
        out.extend_from_slice(&[between, h, i, b':', m, n, b':', s, t]);
    }
}

/// An instant as answers have it: `YYYY-MM-DD HH:MM:SS` in UTC.
pub(crate) fn stamp(at_us: i64) -> String {
    let mut out = Vec::with_capacity(19);
    StampWriter::new().write(at_us, b' ', &mut out);
    out.into_iter().map(char::from).collect()
}

/// Two decimal digits of a number below 100.
pub(crate) fn digits(n: u32) -> [u8; 2] {
    [b'0' + (n / 10) as u8, b'0' + (n % 10) as u8]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_add_up_ascend_and_stay_within_the_days() {
        let start = NaiveDate::from_ymd_opt(2024, 2, 28).expect("a day");
        for rows in [0, 1, 7, 1000, 12_345] {
            let mut slots = Slots::new(start, 3, rows, &RateShape::default());
            let mut rng = Rng::new(1, "slots");
            let all: Vec<i64> = std::iter::from_fn(|| slots.next(&mut rng)).collect();
            assert_eq!(all.len() as u64, rows);
            assert!(all.is_sorted());
            assert!(all.iter().all(|at| (midnight(start)..midnight(start) + 3 * DAY).contains(at)));
        }
    }

    #[test]
    fn stamps_are_written_as_the_wire_has_them() {
        let mut stamps = StampWriter::new();
        let mut out = Vec::new();
        let leap = midnight(NaiveDate::from_ymd_opt(2024, 2, 29).expect("a day"));
        stamps.write(leap + 9 * HOUR + 5 * MINUTE + 7 * SECOND + 999_999, b' ', &mut out);
        stamps.write(leap + DAY, b'T', &mut out);
        assert_eq!(out, b"2024-02-29 09:05:072024-03-01T00:00:00");
    }
}
