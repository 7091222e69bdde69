//! The sample under `data/` is what the generator makes, byte for byte.
#![allow(clippy::unwrap_used, reason = "in a test a panic is the report")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use sim::{Catalog, Exports, FolderOptions, Rows, Shares, SimConfig, Simulation, Weekly, write_folder};

/// What `data/` is made from: few rows, much dirt; two months and two retail weeks in four days.
fn sample() -> SimConfig {
    SimConfig {
        seed: 2024,
        start: "2024-02-29".parse().unwrap(),
        days: 4,
        rows: Rows {
            pos_sales: 0,
            invoices: 250,
            sales_transactions: 500,
            inventory_updates: 400,
            sales_events: 500,
            weekly: 400,
        },
        shares: Shares { bad: 0.03, duplicate: 0.04, late: 0.05, out_of_order: 0.05, corrected: 0.08, unknown: 0.05 },
        catalog: Catalog { products: 24, stores: 4, customers: 120 },
        weekly: Weekly { full_extract_days: 3, ..Weekly::default() },
        exports: Some(Exports { first_month: "2023-11-01".parse().unwrap(), months: 3, rows: 1_200 }),
        ..SimConfig::default()
    }
}

fn options(folder: &Path) -> FolderOptions {
    FolderOptions { truth: Some(folder.join("truth")), ..FolderOptions::default() }
}

fn data() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../data")
}

/// All files below a folder, by their path within it; the README is written by hand.
fn files(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.file_name().is_some_and(|name| name != "README.md") {
                found.insert(path.strip_prefix(folder).unwrap().to_owned(), fs::read(&path).unwrap());
            }
        }
    }
    found
}

/// `TEST_UPDATE_DATA=1 cargo test -p sim --test data` writes the sample anew, after a change that is meant.
#[test]
fn the_sample_is_what_the_generator_makes() {
    let simulation = Simulation::new(sample()).unwrap();
    if std::env::var_os("TEST_UPDATE_DATA").is_some() {
        write_folder(&simulation, &data(), &options(&data())).unwrap();
    }
    let folder = tempfile::tempdir().unwrap();
    write_folder(&simulation, folder.path(), &options(folder.path())).unwrap();
    let (made, kept) = (files(folder.path()), files(&data()));
    assert_eq!(made.keys().collect::<Vec<_>>(), kept.keys().collect::<Vec<_>>());
    for (path, bytes) in &made {
        assert!(kept[path] == *bytes, "data/{} differs from what the generator makes", path.display());
    }
    let size: usize = kept.values().map(Vec::len).sum();
    assert!(size < 900_000, "the sample has {size} bytes");
}
