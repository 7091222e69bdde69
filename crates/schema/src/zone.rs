//! Clock times of a zone as instants.

use chrono::offset::{LocalResult, Offset};
use chrono::{NaiveDateTime, TimeDelta, TimeZone};
use chrono_tz::Tz;

/// How a clock time relates to the instants of its zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClockTime {
    /// It occurs once.
    Once,
    /// It occurs twice, as clocks go back: its first instant is taken.
    Twice,
    /// It never occurs, as clocks go forward: it moves forward by what the clocks skip (02:30 becomes 03:30).
    Never,
}

/// The instant of a clock time of `zone`, in microseconds since the epoch, UTC (ENGINE.md 22).
///
/// Both special cases come to the same: the offset that held before the clocks changed.
pub fn instant_of(zone: Tz, clock: NaiveDateTime) -> (i64, ClockTime) {
    let (offset, kind) = match zone.offset_from_local_datetime(&clock) {
        LocalResult::Single(offset) => (offset.fix(), ClockTime::Once),
        LocalResult::Ambiguous(first, _) => (first.fix(), ClockTime::Twice),
        LocalResult::None => (offset_before_gap(zone, clock), ClockTime::Never),
    };
    let seconds = i64::from(offset.local_minus_utc());
    (clock.and_utc().timestamp_micros() - seconds * 1_000_000, kind)
}

/// The offset just before a gap that `clock` lies in. The longest gap so far was a day (Samoa, 2011-12-30).
fn offset_before_gap(zone: Tz, clock: NaiveDateTime) -> chrono::FixedOffset {
    let quarters = 1..=(26 * 4);
    let earlier = quarters.filter_map(|n| clock.checked_sub_signed(TimeDelta::minutes(15 * n)));
    let mut offsets = earlier.filter_map(|time| zone.offset_from_local_datetime(&time).latest());
    offsets.next().map_or_else(|| zone.offset_from_utc_datetime(&clock).fix(), |offset| offset.fix())
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::*;

    fn check(zone: Tz, clock: &str, instant: &str, kind: ClockTime) {
        let clock = NaiveDateTime::parse_from_str(clock, "%Y-%m-%d %H:%M:%S").expect("a clock time");
        let wanted = DateTime::parse_from_rfc3339(instant).expect("an instant").timestamp_micros();
        assert_eq!(instant_of(zone, clock), (wanted, kind), "{clock} in {zone}");
    }

    #[test]
    fn first_of_two_and_forward_over_a_gap() {
        check(Tz::UTC, "2024-03-31 02:30:00", "2024-03-31T02:30:00Z", ClockTime::Once);
        check(Tz::Europe__Berlin, "2024-03-31 01:59:59", "2024-03-31T00:59:59Z", ClockTime::Once);
        check(Tz::Europe__Berlin, "2024-03-31 02:30:00", "2024-03-31T01:30:00Z", ClockTime::Never);
        check(Tz::Europe__Berlin, "2024-03-31 03:30:00", "2024-03-31T01:30:00Z", ClockTime::Once);
        check(Tz::Europe__Berlin, "2024-10-27 02:30:00", "2024-10-27T00:30:00Z", ClockTime::Twice);
        check(Tz::America__New_York, "2024-03-10 02:00:00", "2024-03-10T07:00:00Z", ClockTime::Never);
        check(Tz::Pacific__Apia, "2011-12-30 12:00:00", "2011-12-30T22:00:00Z", ClockTime::Never);
    }
}
