//! Simulations with much dirt, and plain readings of what they make.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use chrono::{DateTime, NaiveDateTime};
use serde_json::{Map, Value};
use sim::{AnswerTable, Catalog, Exports, Rows, Shares, SimConfig, SimEvent, Simulation};

/// A small simulation with far more dirt than usual.
pub fn dirty(seed: u64) -> SimConfig {
    let mut rows = Rows::even(18_000, &Rows::NAMES).unwrap();
    rows.weekly = 2_000;
    SimConfig {
        seed,
        rows,
        shares: Shares { bad: 0.05, duplicate: 0.1, late: 0.1, out_of_order: 0.1, corrected: 0.2, unknown: 0.1 },
        exports: Some(Exports { first_month: "2024-01-01".parse().unwrap(), months: 2, rows: 2_000 }),
        catalog: Catalog { products: 60, stores: 8, customers: 300 },
        ..SimConfig::default()
    }
}

/// As [`dirty`], of some rows only, and without bad messages.
pub fn readable(seed: u64, names: &[&str]) -> Simulation {
    let shares = Shares { bad: 0.0, ..dirty(seed).shares };
    let rows = Rows::even(3_000 * names.len() as u64, names).unwrap();
    simulation(SimConfig { rows, shares, exports: None, ..dirty(seed) })
}

/// The simulation of settings that are right.
pub fn simulation(config: SimConfig) -> Simulation {
    Simulation::new(config).unwrap()
}

/// The object of a good message. Names that are there twice would be lost here: the test of bad kinds looks for them.
pub fn object(event: &SimEvent) -> Option<Map<String, Value>> {
    match serde_json::from_slice(&event.payload) {
        Ok(Value::Object(object)) => Some(object),
        _ => None,
    }
}

/// The text of a field, or nothing where it is null or absent.
pub fn text(object: &Map<String, Value>, name: &str) -> String {
    object.get(name).and_then(Value::as_str).unwrap_or_default().to_owned()
}

/// The whole number of a field.
pub fn int(object: &Map<String, Value>, name: &str) -> i64 {
    object[name].as_f64().unwrap() as i64
}

/// Money of a field, in cents.
pub fn cents(object: &Map<String, Value>, name: &str) -> i64 {
    (object[name].as_f64().unwrap() * 100.0).round() as i64
}

/// An instant in microseconds: with an offset, or in UTC.
pub fn instant(text: &str) -> i64 {
    let zoned = DateTime::parse_from_rfc3339(text).map(|at| at.timestamp_micros());
    zoned.unwrap_or_else(|_| {
        NaiveDateTime::parse_from_str(text, "%Y-%m-%d %H:%M:%S").unwrap().and_utc().timestamp_micros()
    })
}

/// Cents as answers have them.
pub fn decimal(cents: i64) -> String {
    format!("{}{}.{:02}", if cents < 0 { "-" } else { "" }, cents.abs() / 100, cents.abs() % 100)
}

/// An instant as answers have it.
pub fn stamp(at_us: i64) -> String {
    DateTime::from_timestamp_micros(at_us).unwrap().format("%Y-%m-%d %H:%M:%S").to_string()
}

/// The fields of a line of CSV.
pub fn fields(line: &str) -> Vec<String> {
    let mut fields = vec![String::new()];
    let mut is_quoted = false;
    for piece in line.split_inclusive(['"', ',']) {
        let last = fields.last_mut().unwrap();
        match piece.strip_suffix('"') {
            Some(inside) => {
                // A quote after a quote is one of the text.
                if !is_quoted && inside.is_empty() && last.ends_with('\u{1}') {
                    last.pop();
                    last.push('"');
                }
                last.push_str(inside);
                is_quoted = !is_quoted;
                if !is_quoted {
                    last.push('\u{1}');
                }
            }
            None if is_quoted => last.push_str(piece),
            None => match piece.strip_suffix(',') {
                Some(end) => {
                    last.push_str(end);
                    fields.push(String::new());
                }
                None => last.push_str(piece),
            },
        }
    }
    fields.into_iter().map(|field| field.replace('\u{1}', "")).collect()
}

/// The rows of an answer, in an order of their own.
pub fn rows(table: &AnswerTable) -> Vec<Vec<String>> {
    let mut rows: Vec<_> = table.to_csv().lines().skip(1).map(fields).collect();
    rows.sort();
    rows
}

/// One field of an answer.
pub fn cell(table: &AnswerTable, row: usize, column: &str) -> String {
    let at = table.columns.iter().position(|name| name == column).unwrap();
    fields(table.to_csv().lines().nth(row + 1).unwrap())[at].clone()
}

/// An answer is these rows, in any order.
#[track_caller]
pub fn assert_rows(table: &AnswerTable, mut expected: Vec<Vec<String>>) {
    expected.sort();
    let got = rows(table);
    assert!(!got.is_empty(), "{} is empty", table.name);
    for (got, expected) in got.iter().zip(&expected) {
        assert_eq!(got, expected, "{}", table.name);
    }
    assert_eq!(got.len(), expected.len(), "{}", table.name);
}

/// The files of a folder by their names.
pub fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let paths = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    paths
        .filter(|path| path.is_file())
        .map(|path| (path.file_name().unwrap().to_string_lossy().into_owned(), fs::read(&path).unwrap()))
        .collect()
}

/// A decimal's cents.
pub fn cents_of(text: &str) -> i64 {
    (text.parse::<f64>().unwrap() * 100.0).round() as i64
}
