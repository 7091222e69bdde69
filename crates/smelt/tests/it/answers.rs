//! Compares a CSV with an answer: same columns in the same order, same rows in any order, numbers by value.

use std::cmp::Ordering;

/// Columns that hold unrounded ratios; every other column is exact.
const RATIOS: [&str; 7] = [
    "rate_of_return",
    "average_transaction_size",
    "avg_sales_price",
    "out_of_stock_pct",
    "in_stock_pct",
    "potential_low_stock_impact",
    "weeks_of_supply",
];

/// Fails with the first difference, unless `got` is the answer `expected`; ratios agree within `tolerance` relative to
/// max(|value|, 1).
#[track_caller]
pub fn assert_same(name: &str, expected: &str, got: &str, tolerance: f64) {
    let (columns, mut expected) = rows(expected);
    let (got_columns, mut got) = rows(got);
    assert_eq!(got_columns, columns, "{name}: columns");
    assert_eq!(got.len(), expected.len(), "{name}: number of rows");
    // Ratios take no part in the order of rows, because they only agree nearly.
    let key = |row: &Vec<String>| -> Vec<String> {
        row.iter()
            .zip(&columns)
            .filter(|(_, column)| !RATIOS.contains(&column.as_str()))
            .map(|(v, _)| v.clone())
            .collect()
    };
    expected.sort_by_key(key);
    got.sort_by_key(key);
    for (expected, got) in expected.iter().zip(&got) {
        for ((column, e), g) in columns.iter().zip(expected).zip(got) {
            let same = e == g || RATIOS.contains(&column.as_str()) && near(e, g, tolerance);
            assert!(
                same,
                "{name}: column {column}: expected {e:?}, got {g:?}\n expected {expected:?}\n got      {got:?}"
            );
        }
    }
}

fn near(a: &str, b: &str, tolerance: f64) -> bool {
    match (a.parse::<f64>(), b.parse::<f64>()) {
        (Ok(a), Ok(b)) => {
            (a - b).abs().partial_cmp(&(tolerance * a.abs().max(b.abs()).max(1.0))) != Some(Ordering::Greater)
        }
        _ => false,
    }
}

fn rows(text: &str) -> (Vec<String>, Vec<Vec<String>>) {
    let mut reader = csv::ReaderBuilder::new().from_reader(text.as_bytes());
    let columns = reader.headers().expect("a header").iter().map(str::to_lowercase).collect();
    let rows = reader.records().map(|row| row.expect("a row").iter().map(value).collect()).collect();
    (columns, rows)
}

/// One spelling for each value: `1.50` and `1.5`, `2024-01-01T00:00:00Z` and `2024-01-01` are the same.
fn value(text: &str) -> String {
    let text = text.trim();
    if is_date(text) {
        let text = text.replace('T', " ");
        let text = text.trim_end_matches('Z').trim_end_matches("+00:00");
        let text = text
            .split_once('.')
            .map_or(text, |(whole, fraction)| if fraction.bytes().all(|b| b == b'0') { whole } else { text });
        return text.trim_end_matches(" 00:00:00").to_owned();
    }
    let digits = text.strip_prefix('-').unwrap_or(text);
    let is_number = !digits.is_empty()
        && digits.bytes().all(|b| b.is_ascii_digit() || b == b'.')
        && digits.bytes().filter(|b| *b == b'.').count() <= 1;
    if !is_number {
        return text.to_owned();
    }
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let (whole, fraction) = (whole.trim_start_matches('0'), fraction.trim_end_matches('0'));
    let whole = if whole.is_empty() { "0" } else { whole };
    let plain = if fraction.is_empty() { whole.to_owned() } else { format!("{whole}.{fraction}") };
    if text.starts_with('-') && plain != "0" { format!("-{plain}") } else { plain }
}

fn is_date(text: &str) -> bool {
    let bytes = text.as_bytes();
    bytes.len() >= 10 && bytes[4] == b'-' && bytes[7] == b'-' && bytes[..4].iter().all(u8::is_ascii_digit)
}

#[test]
fn values_are_compared_by_what_they_are() {
    assert_same("t", "a,b\n1.50,2024-01-01\n,x\n", "a,b\n,x\n1.5,2024-01-01T00:00:00Z\n", 0.0);
    assert_same("t", "rate_of_return\n0.3333333333\n", "rate_of_return\n0.33333333331\n", 1e-9);
}

#[test]
#[should_panic(expected = "column a")]
fn a_cent_is_a_difference() {
    assert_same("t", "a\n1.50\n", "a\n1.51\n", 1e-9);
}
