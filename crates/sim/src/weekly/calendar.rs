//! A retail calendar: weeks begin on Sunday, and a year on the Sunday nearest to 1 February. So its weeks are not those of
//! ISO, and some years have 53.

use chrono::{Datelike, Days, NaiveDate};

/// A week of a retail year.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct RetailWeek {
    pub year: i32,
    pub week: u32,
}

/// The week that a day belongs to.
pub(crate) fn week_of(day: NaiveDate) -> RetailWeek {
    let mut year = day.year();
    while day < first_day(year) {
        year -= 1;
    }
    let week = day.signed_duration_since(first_day(year)).num_days() as u32 / 7 + 1;
    RetailWeek { year, week }
}

/// The first day of the week that a day belongs to.
pub(crate) fn first_of_week(day: NaiveDate) -> NaiveDate {
    day - Days::new(u64::from(day.weekday().num_days_from_sunday()))
}

fn first_day(year: i32) -> NaiveDate {
    let february = NaiveDate::from_ymd_opt(year, 2, 1).expect("each year of the simulation has a February");
    let after = u64::from(february.weekday().num_days_from_sunday());
    if after <= 3 { february - Days::new(after) } else { february + Days::new(7 - after) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weeks_of_retail_years() {
        let week = |day: &str| {
            let RetailWeek { year, week } = week_of(day.parse().expect("a day"));
            (year, week)
        };
        assert_eq!([week("2023-01-28"), week("2023-01-29"), week("2023-02-04")], [(2022, 52), (2023, 1), (2023, 1)]);
        assert_eq!([week("2024-02-03"), week("2024-02-04")], [(2023, 53), (2024, 1)]);
        assert_eq!(week("2024-12-31"), (2024, 48));
    }

    #[test]
    fn every_week_has_seven_days_from_sunday() {
        let start = NaiveDate::from_ymd_opt(2020, 1, 5).expect("a day");
        for days in start.iter_days().take(4_000).collect::<Vec<_>>().chunks_exact(7) {
            assert!(days.iter().all(|day| week_of(*day) == week_of(days[0]) && first_of_week(*day) == days[0]));
        }
    }
}
