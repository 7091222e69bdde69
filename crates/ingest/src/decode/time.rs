//! Timestamps and dates from their text.

use chrono::format::{Item, Parsed, StrftimeItems};
use chrono::{DateTime, Datelike, NaiveDate, NaiveDateTime, NaiveTime, TimeDelta};
use chrono_tz::Tz;
use schema::{ClockTime, instant_of};

const DAY_US: i64 = 86_400_000_000;

/// Reads the times of one field: the standard forms, then the contract's own patterns.
///
/// Standard are `YYYY-MM-DD HH:MM:SS`, with a fraction of up to microseconds (more digits only if they are zeros), with
/// `T` or a space in the middle, and with an offset (`Z`, `+05:30`) or, in the contract's zone, without. Years are 0001
/// to 9999; a leap second is refused, because no engine that reads the table has one.
pub(crate) struct TimeReader {
    zone: Tz,
    patterns: Vec<Vec<Item<'static>>>,
    /// The last date read and the start of its day, microseconds since the epoch, as if in UTC.
    last: ([u8; 10], i64),
}

/// An instant, and whether the clock time that it was read from is a special one.
pub(crate) type Instant = (i64, ClockTime);

impl TimeReader {
    /// A reader for `patterns` (`strftime`) and times without a zone in `zone`.
    pub(crate) fn new(zone: Tz, patterns: &[String]) -> Self {
        let owned = |p: &String| StrftimeItems::new(p).map(Item::to_owned).collect();
        TimeReader { zone, patterns: patterns.iter().map(owned).collect(), last: (*b"1970-01-01", 0) }
    }

    /// The instant that `text` says, microseconds UTC.
    #[inline]
    pub(crate) fn timestamp(&mut self, text: &[u8]) -> Option<Instant> {
        match self.standard(text) {
            Some(instant) => Some(instant),
            None => self.by_pattern(text),
        }
    }

    /// The day that `text` says, days since the epoch.
    pub(crate) fn date(&mut self, text: &[u8]) -> Option<i32> {
        let standard = text.first_chunk().filter(|_| text.len() == 10);
        if let Some(start) = standard.and_then(|date| self.day_start(date)) {
            return Some((start / DAY_US) as i32);
        }
        let text = std::str::from_utf8(text).ok()?;
        self.patterns.iter().find_map(|items| {
            let mut parsed = Parsed::new();
            chrono::format::parse(&mut parsed, text, items.iter()).ok()?;
            days(parsed.to_naive_date().ok()?)
        })
    }

    #[inline]
    fn standard(&mut self, text: &[u8]) -> Option<Instant> {
        let (head, tail) = text.split_first_chunk::<19>()?;
        if !matches!(head[10], b' ' | b'T' | b't') || head[13] != b':' || head[16] != b':' {
            return None;
        }
        let start = self.day_start(head.first_chunk()?)?;
        let (hour, minute, second) = (two(head, 11)?, two(head, 14)?, two(head, 17)?);
        if hour > 23 || minute > 59 || second > 59 {
            return None;
        }
        let seconds = i64::from(hour) * 3600 + i64::from(minute) * 60 + i64::from(second);
        let clock = start + seconds * 1_000_000;
        if tail.is_empty() { Some(self.in_zone(clock)) } else { self.with_tail(clock, tail) }
    }

    /// A fraction, an offset, or both.
    fn with_tail(&self, mut clock: i64, mut tail: &[u8]) -> Option<Instant> {
        if let [b'.', rest @ ..] = tail {
            let digits = rest.iter().take_while(|b| b.is_ascii_digit()).count();
            let (fraction, after) = rest.split_at(digits);
            if digits == 0 || fraction.iter().skip(6).any(|b| *b != b'0') {
                return None;
            }
            let padded = fraction.iter().chain(std::iter::repeat(&b'0')).take(6);
            clock += padded.fold(0, |us, digit| us * 10 + i64::from(digit - b'0'));
            tail = after;
        }
        match tail {
            [] => Some(self.in_zone(clock)),
            [b'Z' | b'z'] => Some((clock, ClockTime::Once)),
            [sign @ (b'+' | b'-'), h1, h2, b':', m1, m2] => {
                let (hours, minutes) = (two(&[*h1, *h2], 0)?, two(&[*m1, *m2], 0)?);
                if hours > 23 || minutes > 59 {
                    return None;
                }
                let offset = (i64::from(hours) * 60 + i64::from(minutes)) * 60_000_000;
                Some((if *sign == b'+' { clock - offset } else { clock + offset }, ClockTime::Once))
            }
            _ => None,
        }
    }

    /// The start of a `YYYY-MM-DD` day as if in UTC; the last answer is remembered, because events come in bursts.
    #[inline]
    fn day_start(&mut self, date: &[u8; 10]) -> Option<i64> {
        if self.last.0 == *date {
            return Some(self.last.1);
        }
        if date[4] != b'-' || date[7] != b'-' {
            return None;
        }
        let year = i32::from(two(date, 0)?) * 100 + i32::from(two(date, 2)?);
        let date_found = NaiveDate::from_ymd_opt(year, two(date, 5)?.into(), two(date, 8)?.into())?;
        let start = i64::from(days(date_found)?) * DAY_US;
        self.last = (*date, start);
        Some(start)
    }

    #[inline]
    fn in_zone(&self, clock: i64) -> Instant {
        match self.zone {
            Tz::UTC => (clock, ClockTime::Once),
            zone => {
                let clock = DateTime::UNIX_EPOCH.naive_utc() + TimeDelta::microseconds(clock);
                instant_of(zone, clock)
            }
        }
    }

    #[cold]
    fn by_pattern(&self, text: &[u8]) -> Option<Instant> {
        let text = std::str::from_utf8(text).ok()?;
        self.patterns.iter().find_map(|items| {
            let mut parsed = Parsed::new();
            chrono::format::parse(&mut parsed, text, items.iter()).ok()?;
            if let Ok(instant) = parsed.to_datetime() {
                days(instant.date_naive())?;
                return exact_micros(instant.naive_utc()).map(|us| (us, ClockTime::Once));
            }
            // A pattern without a time of day means midnight; one with half a time of day means nothing.
            let time = match (parsed.hour_mod_12(), parsed.minute()) {
                (None, None) => NaiveTime::MIN,
                _ => parsed.to_naive_time().ok()?,
            };
            let clock = parsed.to_naive_date().ok()?.and_time(time);
            days(clock.date())?;
            Some(self.in_zone(exact_micros(clock)?))
        })
    }
}

/// Microseconds since the epoch, unless the time is finer than that or a leap second.
fn exact_micros(clock: NaiveDateTime) -> Option<i64> {
    let nanos = clock.and_utc().timestamp_subsec_nanos();
    (nanos < 1_000_000_000 && nanos.is_multiple_of(1000)).then(|| clock.and_utc().timestamp_micros())
}

/// Days since the epoch of a date in the years 0001 to 9999.
fn days(date: NaiveDate) -> Option<i32> {
    (1..=9999).contains(&date.year()).then(|| date.to_epoch_days())
}

/// The two digits at `at`.
#[inline]
fn two(text: &[u8], at: usize) -> Option<u8> {
    let (a, b) = (text[at].wrapping_sub(b'0'), text[at + 1].wrapping_sub(b'0'));
    if a < 10 && b < 10 { Some(a * 10 + b) } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(reader: &mut TimeReader, text: &str, wanted: Option<&str>) {
        let found = reader.timestamp(text.as_bytes()).map(|(us, _)| us);
        let wanted = wanted.map(|w| DateTime::parse_from_rfc3339(w).expect("RFC 3339").timestamp_micros());
        assert_eq!(found, wanted, "{text}");
    }

    #[test]
    fn standard_forms() {
        let mut utc = TimeReader::new(Tz::UTC, &[]);
        for (text, wanted) in [
            ("2023-11-24 07:03:01", Some("2023-11-24T07:03:01Z")),
            ("2023-11-24T07:03:01", Some("2023-11-24T07:03:01Z")),
            ("2023-11-24T07:03:01Z", Some("2023-11-24T07:03:01Z")),
            ("2023-11-24t07:03:01z", Some("2023-11-24T07:03:01Z")),
            ("2023-11-24T12:39:42+05:30", Some("2023-11-24T07:09:42Z")),
            ("2023-11-24 12:39:42.25-00:30", Some("2023-11-24T13:09:42.25Z")),
            ("2023-11-24 12:39:42.123456000", Some("2023-11-24T12:39:42.123456Z")),
            ("2023-11-24 12:39:42.1234561", None),
            ("2023-11-24 12:39:42.", None),
            ("2023-11-24 24:00:00", None),
            ("2023-11-24 23:59:60", None),
            ("2023-02-29 00:00:00", None),
            ("2024-02-29 00:00:00", Some("2024-02-29T00:00:00Z")),
            ("0000-01-01 00:00:00", None),
            ("1969-12-31 23:59:59", Some("1969-12-31T23:59:59Z")),
            ("2023-11-24", None),
            ("2023-11-24 7:03:01", None),
            ("2023-11-24 07:03:01 Z", None),
            ("2023-11-24 07:03:01+24:00", None),
            ("yesterday", None),
            ("", None),
        ] {
            check(&mut utc, text, wanted);
        }
    }

    #[test]
    fn patterns_and_zones() {
        let patterns = ["%m/%d/%y %H:%M".to_owned(), "%d.%m.%Y".to_owned()];
        let mut berlin = TimeReader::new(Tz::Europe__Berlin, &patterns);
        check(&mut berlin, "04/19/19 08:46", Some("2019-04-19T06:46:00Z"));
        check(&mut berlin, "19.04.2019", Some("2019-04-18T22:00:00Z"));
        check(&mut berlin, "04/19/19 08", None);
        check(&mut berlin, "2024-10-27 02:30:00", Some("2024-10-27T00:30:00Z"));
        check(&mut berlin, "2024-10-27 02:30:00Z", Some("2024-10-27T02:30:00Z"));
        let twice = berlin.timestamp(b"2024-10-27 02:30:00").map(|(_, kind)| kind);
        assert_eq!(twice, Some(ClockTime::Twice));
        assert_eq!(berlin.date(b"2019-04-19"), berlin.date(b"19.04.2019"));
        assert_eq!(berlin.date(b"2019-04-31"), None);
    }
}
