//! Dates in names of landing files: `sales_%Y%m%d.csv`.

use chrono::{Datelike, NaiveDate, NaiveTime};

use crate::zone::instant_of;
use crate::{Contract, FilesSpec};

/// A parsed pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DatedName {
    parts: Vec<Part>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Literal(char),
    /// `*`: any text.
    Any,
    /// So many digits, of the date (`Some`) or of no account.
    Digits(usize, Option<Unit>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Unit {
    Year,
    /// Of this century.
    ShortYear,
    Month,
    Day,
}

const EXPECTED: &str = "a pattern with year, month and day once each, for example \"sales_%Y%m%d.csv\"; \
                        it may have %Y or %y, %m, %d, %F (%Y-%m-%d), %H, %M, %S, %% and `*` for any text";

impl DatedName {
    /// Reads a pattern.
    ///
    /// # Errors
    /// What was expected.
    pub(crate) fn parse(pattern: &str) -> Result<Self, String> {
        let mut parts: Vec<Part> = Vec::new();
        let pattern = pattern.replace("%F", "%Y-%m-%d");
        let mut chars = pattern.chars();
        while let Some(c) = chars.next() {
            parts.push(match c {
                '*' => Part::Any,
                '%' => match chars.next() {
                    Some('Y') => Part::Digits(4, Some(Unit::Year)),
                    Some('y') => Part::Digits(2, Some(Unit::ShortYear)),
                    Some('m') => Part::Digits(2, Some(Unit::Month)),
                    Some('d') => Part::Digits(2, Some(Unit::Day)),
                    Some('H' | 'M' | 'S') => Part::Digits(2, None),
                    Some('%') => Part::Literal('%'),
                    _ => return Err(EXPECTED.to_owned()),
                },
                '/' => return Err("a pattern of the file's name, without folders".to_owned()),
                other => Part::Literal(other),
            });
        }
        let count = |units: &[Unit]| {
            parts.iter().filter(|p| matches!(p, Part::Digits(_, Some(unit)) if units.contains(unit))).count()
        };
        match [&[Unit::Year, Unit::ShortYear][..], &[Unit::Month], &[Unit::Day]].map(count) {
            [1, 1, 1] => Ok(DatedName { parts }),
            _ => Err(EXPECTED.to_owned()),
        }
    }

    /// The date in `name`, if the whole name matches.
    pub(crate) fn date_in(&self, name: &str) -> Option<NaiveDate> {
        matched(&self.parts, name, [0; 3])
    }

    /// The name of a file of `day`; `*` and what is no part of the date stand for any text.
    fn name_on(&self, day: NaiveDate) -> String {
        let part = |part: &Part| match part {
            Part::Literal(c) => c.to_string(),
            Part::Any => "*".to_owned(),
            Part::Digits(_, Some(Unit::Year)) => format!("{:04}", day.year()),
            Part::Digits(_, Some(Unit::ShortYear)) => format!("{:02}", day.year() % 100),
            Part::Digits(_, Some(Unit::Month)) => format!("{:02}", day.month()),
            Part::Digits(_, Some(Unit::Day)) => format!("{:02}", day.day()),
            Part::Digits(n, None) => "?".repeat(*n),
        };
        self.parts.iter().map(part).collect()
    }
}

/// Matches `name` against `parts`; `date` holds year, month and day found so far.
fn matched(parts: &[Part], name: &str, date: [u32; 3]) -> Option<NaiveDate> {
    let Some((part, rest)) = parts.split_first() else {
        let [year, month, day] = date;
        return name.is_empty().then(|| NaiveDate::from_ymd_opt(year as i32, month, day))?;
    };
    match part {
        Part::Literal(c) => matched(rest, name.strip_prefix(*c)?, date),
        Part::Any => {
            let ends = name.char_indices().map(|(i, _)| i).chain([name.len()]);
            ends.map(|end| &name[end..]).find_map(|after| matched(rest, after, date))
        }
        Part::Digits(n, unit) => {
            let digits = name.get(..*n).filter(|text| text.bytes().all(|b| b.is_ascii_digit()))?;
            let (number, mut date): (u32, _) = (digits.parse().ok()?, date);
            match unit {
                Some(Unit::Year) => date[0] = number,
                Some(Unit::ShortYear) => date[0] = 2000 + number,
                Some(Unit::Month) => date[1] = number,
                Some(Unit::Day) => date[2] = number,
                None => {}
            }
            matched(rest, &name[*n..], date)
        }
    }
}

impl FilesSpec {
    /// The date in a file's name (folders before it and a compression suffix `.gz` or `.zst` are left aside), if the
    /// contract has a pattern for it and the name matches.
    pub fn date_in(&self, path: &str) -> Option<NaiveDate> {
        let pattern = DatedName::parse(self.date.as_deref()?).ok()?;
        let file_name = path.rsplit('/').next().unwrap_or(path);
        let plain = file_name.strip_suffix(".gz").or_else(|| file_name.strip_suffix(".zst")).unwrap_or(file_name);
        pattern.date_in(plain).or_else(|| pattern.date_in(file_name))
    }

    /// What a file of `day` is called, if the contract has a pattern: `*` for any text, `?` for any digit.
    pub fn name_on(&self, day: NaiveDate) -> Option<String> {
        Some(DatedName::parse(self.date.as_deref()?).ok()?.name_on(day))
    }
}

impl Contract {
    /// When a file arrived by the date in its name: 00:00 of that day in the contract's zone, microseconds UTC. `None`
    /// without a pattern, or when the name does not match it.
    pub fn arrival_of(&self, path: &str) -> Option<i64> {
        let date = self.files.as_ref()?.date_in(path)?;
        Some(instant_of(self.time_zone, date.and_time(NaiveTime::MIN)).0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_in_names() {
        let check = |pattern: &str, name: &str, date: Option<&str>| {
            let found = DatedName::parse(pattern).expect("a pattern").date_in(name);
            assert_eq!(found.map(|d| d.to_string()).as_deref(), date, "{name}");
        };
        check("sales_%Y%m%d.csv", "sales_20230129.csv", Some("2023-01-29"));
        check("sales_%Y%m%d.csv", "sales_20230229.csv", None);
        check("sales_%Y%m%d.csv", "sales_20230129.csv.bak", None);
        check("*_%d-%m-%Y*", "a_b_01-02-2024 (copy).csv", Some("2024-02-01"));
        check("*_%F*", "shop-7_2024-02-29_part2.csv", Some("2024-02-29"));
        check("*%y%m%d.*", "x240229.ndjson", Some("2024-02-29"));
        check("%Y%m%dT%H%M%S.csv", "20240229T031500.csv", Some("2024-02-29"));
    }

    #[test]
    fn the_name_of_a_day() {
        let day = NaiveDate::from_ymd_opt(2023, 1, 9).expect("a day");
        for (pattern, name) in [
            ("sales_%Y%m%d.csv", "sales_20230109.csv"),
            ("*_%d-%m-%y_100%%.csv", "*_09-01-23_100%.csv"),
            ("%FT%H%M.csv", "2023-01-09T????.csv"),
        ] {
            assert_eq!(DatedName::parse(pattern).expect("a pattern").name_on(day), name);
        }
    }

    #[test]
    fn patterns_without_a_whole_date_are_refused() {
        for pattern in ["sales.csv", "%Y%m.csv", "%Y%m%d%d", "%Y%y%m%d", "%Y%m%d%Q", "a/%Y%m%d"] {
            assert!(DatedName::parse(pattern).is_err(), "{pattern}");
        }
    }

    #[test]
    fn the_day_starts_in_the_zone_of_the_contract() {
        let text = "description = \"t\"\ntime_zone = \"Europe/Berlin\"\n\
                    files = { path = \"in\", format = \"csv\", date = \"s_%Y%m%d.csv\" }\n\
                    [fields]\na = { type = \"int\" }\n";
        let contract = crate::text::contract::contract("t", "models/bronze/t.toml", text).expect("a contract");
        assert_eq!(contract.arrival_of("in/s_20230701.csv.gz"), Some(1_688_162_400_000_000), "2023-06-30 22:00 UTC");
        assert_eq!(contract.arrival_of("s_2023070.csv"), None);
    }
}
