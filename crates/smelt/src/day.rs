//! Days as people name them, and the zone whose days are meant.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Days, NaiveDate, Utc};
use chrono_tz::Tz;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A day: `2024-01-31`, `today` or `yesterday`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Day {
    /// The day that it is.
    Today,
    /// The day before.
    Yesterday,
    /// This one.
    Date(NaiveDate),
}

impl Day {
    /// The date that is meant at the instant `now` in `zone`.
    pub fn at(self, now: DateTime<Utc>, zone: Zone) -> NaiveDate {
        let today = now.with_timezone(&zone.0).date_naive();
        match self {
            Self::Today => today,
            Self::Yesterday => today.checked_sub_days(Days::new(1)).unwrap_or(today),
            Self::Date(date) => date,
        }
    }
}

impl FromStr for Day {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "today" => Ok(Self::Today),
            "yesterday" => Ok(Self::Yesterday),
            _ => text.parse().map(Self::Date).map_err(|_| {
                format!("{text:?} is not a day; expected for example 2024-01-31, \"today\" or \"yesterday\"")
            }),
        }
    }
}

/// A time zone by its IANA name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Zone(pub Tz);

impl FromStr for Zone {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let expected = || format!("{text:?} is not a time zone; expected an IANA name, for example \"Europe/Berlin\"");
        text.parse().map(Self).map_err(|_| expected())
    }
}

impl fmt::Display for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.name())
    }
}

impl<'de> Deserialize<'de> for Zone {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

impl Serialize for Zone {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_those_of_the_zone() {
        let now = "2024-03-01T05:00:00Z".parse().expect("an instant");
        let check = |day: &str, zone: &str, expected: &str| {
            let (day, zone) = (day.parse::<Day>().expect("a day"), zone.parse().expect("a zone"));
            assert_eq!(day.at(now, zone).to_string(), expected);
        };
        check("yesterday", "UTC", "2024-02-29");
        check("yesterday", "America/Vancouver", "2024-02-28");
        check("today", "Asia/Tokyo", "2024-03-01");
        check("2023-01-29", "Asia/Tokyo", "2023-01-29");
        assert!("29.01.2023".parse::<Day>().is_err() && "Berlin".parse::<Zone>().is_err());
    }
}
