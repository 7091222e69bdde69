//! The daily landing sets: the last good line of a key stands; full extracts change nothing.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use sim::{FolderOptions, Rows, SimConfig, Truth, Weekly, write_folder};

use crate::support::{cents_of, dirty, fields, files, rows, simulation};

const FILES: [(&str, usize, usize); 5] =
    [("sales", 12, 1), ("inventory", 9, 3), ("calendar", 3, 1), ("product", 5, 1), ("store", 6, 1)];

/// Two weeks of sets, which begin in the middle of a retail week.
fn sets(seed: u64, full_extract_days: u32, folder: &Path) -> Truth {
    let rows = Rows { weekly: 3_000, ..Rows::default() };
    let weekly = Weekly { full_extract_days, stock: 0.4 };
    let config = SimConfig { rows, weekly, days: 15, exports: None, ..dirty(seed) };
    let options = FolderOptions { truth: Some(folder.join("truth")), ..FolderOptions::default() };
    write_folder(&simulation(config), folder, &options).unwrap()
}

/// The last good line of each key, and the number of bad lines.
fn last_lines(folder: &Path, kind: &str) -> (BTreeMap<Vec<String>, Vec<String>>, u64) {
    let (_, width, keys) = FILES.into_iter().find(|file| file.0 == kind).unwrap();
    let (mut last, mut bad) = (BTreeMap::new(), 0);
    for (name, bytes) in files(folder) {
        if !name.starts_with(kind) {
            continue;
        }
        let text = String::from_utf8(bytes).unwrap();
        assert!(text.ends_with('\n'), "{name}");
        for line in text.lines().skip(1) {
            let row = fields(line);
            if row.len() == width && is_good(kind, &row) {
                last.insert(row[..keys].to_vec(), row);
            } else {
                bad += 1;
            }
        }
    }
    (last, bad)
}

fn is_good(kind: &str, row: &[String]) -> bool {
    let is_int = |at: usize| row[at].parse::<i32>().is_ok();
    let is_day = |at: usize| row[at].parse::<chrono::NaiveDate>().is_ok();
    let is_money = |at: usize| row[at].split_once('.').is_none_or(|(_, cents)| cents.len() <= 2);
    match kind {
        "sales" => is_int(0) && is_day(3) && is_int(5) && is_money(6),
        "inventory" => is_day(0) && is_int(3) && is_int(4),
        _ => true,
    }
}

#[derive(Default)]
struct Day {
    sales: i64,
    units: i64,
    amount: i64,
    cost: i64,
    ship: i64,
    stock: Option<(i64, i64, bool)>,
}

/// The row of a (week, store, product) from its days in order: exact columns as text, ratios as numbers.
fn measures(days: &BTreeMap<String, Day>) -> (Vec<i64>, Vec<Option<f64>>) {
    let sum = |of: &dyn Fn(&Day) -> i64| days.values().map(of).sum::<i64>();
    let (units, amount) = (sum(&|day| day.units), sum(&|day| day.amount));
    let last = days.values().rev().find_map(|day| day.stock);
    let out: Vec<&Day> = days.values().filter(|day| day.stock.is_some_and(|stock| stock.2)).collect();
    let low: Vec<&Day> = days.values().filter(|day| day.stock.is_some_and(|stock| stock.0 < day.units)).collect();
    let lost = |day: &&Day| {
        let (amount, on_hand) = (day.amount as f64 / 100.0, day.stock.unwrap().0 as f64);
        amount - on_hand * amount / day.units as f64
    };
    let per_unit = |value: f64| (units != 0).then(|| value / units as f64);
    let exact = vec![
        units,
        amount,
        last.map_or(-1, |stock| stock.0),
        last.map_or(-1, |stock| stock.1),
        sum(&|day| day.cost),
        sum(&|day| day.ship),
        (out.len() + low.len()) as i64,
        out.iter().map(|day| day.amount).sum(),
        low.len() as i64,
        out.len() as i64,
    ];
    let out_pct = 100.0 * out.len() as f64 / 7.0;
    let ratios = vec![
        per_unit(amount as f64 / 100.0),
        Some(out_pct),
        Some(100.0 - out_pct),
        Some(low.iter().map(lost).sum()),
        last.and_then(|stock| per_unit(stock.0 as f64)),
    ];
    (exact, ratios)
}

/// Days by (year, week, store, product), from the files.
fn weeks(folder: &Path) -> HashMap<Vec<String>, BTreeMap<String, Day>> {
    let (calendar, _) = last_lines(folder, "calendar");
    let mut weeks: HashMap<Vec<String>, BTreeMap<String, Day>> = HashMap::new();
    let mut at = |day: &String, store: &String, product: &String, add: &dyn Fn(&mut Day)| {
        let week = &calendar[std::slice::from_ref(day)];
        let key = vec![week[1].clone(), week[2].clone(), store.clone(), product.clone()];
        add(weeks.entry(key).or_default().entry(day.clone()).or_default());
    };
    for row in last_lines(folder, "sales").0.values() {
        at(&row[3], &row[2], &row[1], &|day| {
            day.sales += 1;
            day.units += row[5].parse::<i64>().unwrap();
            day.amount += cents_of(&row[7]);
            day.cost += cents_of(&row[9]);
            day.ship += cents_of(&row[11]);
        });
    }
    for row in last_lines(folder, "inventory").0.values() {
        at(&row[0], &row[1], &row[2], &|day| {
            day.stock = Some((row[3].parse().unwrap(), row[4].parse().unwrap(), row[5] == "1"));
        });
    }
    weeks
}

#[test]
fn the_weekly_fact_is_what_the_files_say() {
    let folder = tempfile::tempdir().unwrap();
    let truth = sets(41, 6, folder.path());
    let mut weeks = weeks(&folder.path().join("weekly"));
    let table = &truth.answers["weekly_store_product"];
    assert_eq!(table.rows(), weeks.len());
    assert!(rows(table).iter().any(|row| row[4] == "0") && rows(table).iter().any(|row| row[7].is_empty()));
    for row in rows(table) {
        let (exact, ratios) = measures(&weeks.remove(&row[..4]).unwrap());
        let int = |at: usize| if row[at].is_empty() { -1 } else { row[at].parse().unwrap() };
        let money = |at: usize| cents_of(&row[at]);
        let got = vec![int(4), money(5), int(7), int(8), money(9), money(10), int(13), money(15), int(16), int(17)];
        assert_eq!(got, exact, "{row:?}");
        for (at, expected) in [6, 11, 12, 14, 18].into_iter().zip(ratios) {
            let got = row[at].parse::<f64>().ok();
            assert_eq!(got.is_some(), expected.is_some(), "{row:?}");
            assert!(got.zip(expected).is_none_or(|(a, b)| (a - b).abs() <= 1e-9 * b.abs().max(1.0)), "{row:?}");
        }
    }
}

#[test]
fn counts_are_distinct_facts_and_bad_lines() {
    let folder = tempfile::tempdir().unwrap();
    let truth = sets(42, 6, folder.path());
    let ((sales, bad), (stock, _)) =
        (last_lines(&folder.path().join("weekly"), "sales"), last_lines(&folder.path().join("weekly"), "inventory"));
    assert!(bad > 100);
    let expected = vec![sales.len().to_string(), stock.len().to_string(), bad.to_string()];
    assert_eq!(rows(&truth.answers["weekly_counts"]), [expected]);
}

#[test]
fn full_extracts_change_no_answer() {
    let (full, delta) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (with, without) = (sets(43, 4, full.path()), sets(43, 0, delta.path()));
    assert_eq!(with.answers, without.answers);
    let name = "sales_20240311.csv";
    let lines = |folder: &Path| files(&folder.join("weekly"))[name].split(|byte| *byte == b'\n').count();
    assert!(lines(full.path()) > 5 * lines(delta.path()), "the eighth day is a full extract");
}

#[test]
fn each_day_has_its_five_files_with_their_headers() {
    let folder = tempfile::tempdir().unwrap();
    sets(44, 7, folder.path());
    let files = files(&folder.path().join("weekly"));
    assert_eq!(files.len(), 15 * 5);
    for (kind, width, _) in FILES {
        let name = format!("{kind}_20240304.csv");
        let text = String::from_utf8_lossy(&files[&name]);
        let (header, row) = (text.lines().next().unwrap(), text.lines().nth(1).unwrap());
        assert_eq!((header.split(',').count(), fields(row).len()), (width, width), "{name}");
    }
    assert_ne!(files["product_20240304.csv"], files["product_20240318.csv"], "products appear and change");
}
