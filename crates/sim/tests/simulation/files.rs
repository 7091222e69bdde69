//! A simulation as a folder.

use std::fs;
use std::path::Path;

use sim::{FolderOptions, Rows, SimConfig, Stream, write_files, write_folder};

use crate::support::{cell, dirty, files, simulation};

fn with_truth(folder: &Path) -> FolderOptions {
    FolderOptions { truth: Some(folder.join("truth")), ..FolderOptions::default() }
}

#[test]
fn the_folder_is_the_events_and_its_truth() {
    let folder = tempfile::tempdir().unwrap();
    let simulation = simulation(dirty(8));
    let truth = write_folder(&simulation, folder.path(), &with_truth(folder.path())).unwrap();
    assert_eq!(truth.counts_table(), simulation.truth().counts_table());
    assert_eq!(truth.answers, simulation.truth().answers);
    for stream in [Stream::Invoices, Stream::SalesTransactions, Stream::InventoryUpdates, Stream::SalesEvents] {
        let written = concatenated(&folder.path().join(stream.name()));
        let made: Vec<u8> =
            simulation.events(stream).flat_map(|event| [event.payload, b"\n".to_vec()].concat()).collect();
        assert!(written == made, "{stream}");
    }
    for (name, table) in &truth.answers {
        let text = fs::read_to_string(folder.path().join("truth").join(format!("{name}.csv"))).unwrap();
        assert_eq!(text, table.to_csv());
    }
}

fn concatenated(folder: &Path) -> Vec<u8> {
    files(folder).into_values().flatten().collect()
}

#[test]
fn exports_hold_what_real_ones_do() {
    let folder = tempfile::tempdir().unwrap();
    let config = SimConfig { rows: Rows::default(), ..dirty(9) };
    let truth = write_folder(&simulation(config), folder.path(), &with_truth(folder.path())).unwrap();
    let counts = truth.counts_of(Stream::PosSales);
    let text = String::from_utf8(concatenated(&folder.path().join("pos_sales"))).unwrap();
    let header = text.lines().next().unwrap();
    let (mut good, mut bad) = (Vec::new(), 0);
    for line in text.lines() {
        let dirt = [",,,,,", header, ""].contains(&line) || line.ends_with(",nowhere") || line.ends_with("too many");
        if dirt { bad += 1 } else { good.push(line) }
    }
    // The first line of each file is its header and no message.
    assert_eq!((good.len() + bad - 2) as u64, counts.events);
    assert_eq!(bad as u64 - 2, counts.quarantined);
    good.sort_unstable();
    good.dedup();
    assert_eq!(good.len() as u64, counts.facts);
    assert_eq!(cell(&truth.answers["pos_totals"], 0, "sale_lines"), counts.facts.to_string());
    assert_eq!(truth.answers["pos_monthly"].rows(), 2);
}

#[test]
fn files_are_the_same_with_and_without_truth_and_rate() {
    let config = SimConfig { rows: Rows::even(1_200, &Rows::NAMES).unwrap(), ..dirty(10) };
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let truth = write_folder(&simulation(config.clone()), one.path(), &with_truth(one.path())).unwrap();
    let paced = FolderOptions { rate: Some(20_000), ..FolderOptions::default() };
    let counts = write_folder(&simulation(config), two.path(), &paced).unwrap();
    assert_eq!((counts.counts_table(), counts.answers.len()), (truth.counts_table(), 0));
    for folder in ["", "weekly", "pos_sales", "invoices", "sales_transactions", "inventory_updates", "sales_events"] {
        let (one, two) = (files(&one.path().join(folder)), files(&two.path().join(folder)));
        assert!(!one.is_empty() && one == two, "{folder}");
        assert!(one.keys().all(|name| !name.ends_with(".part")), "{folder}");
    }
}

#[test]
fn files_beside_the_streams_are_those_of_the_folder() {
    let (whole, beside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    write_folder(&simulation(dirty(11)), whole.path(), &FolderOptions::default()).unwrap();
    write_files(&simulation(dirty(11)), beside.path()).unwrap();
    for folder in ["", "weekly"] {
        let (whole, beside) = (files(&whole.path().join(folder)), files(&beside.path().join(folder)));
        assert!(!beside.is_empty() && whole == beside, "{folder}");
    }
    assert!(!beside.path().join("invoices").exists());
}

#[test]
fn a_paced_run_takes_its_time() {
    let config = SimConfig { rows: Rows::even(300, &["invoices"]).unwrap(), exports: None, ..dirty(12) };
    let folder = tempfile::tempdir().unwrap();
    let start = std::time::Instant::now();
    let options = FolderOptions { rate: Some(1_000), ..FolderOptions::default() };
    let counts = write_folder(&simulation(config), folder.path(), &options).unwrap().counts_of(Stream::Invoices);
    let least = (counts.events as f64 - 1.0) / 1_000.0 - 0.005;
    assert!(start.elapsed().as_secs_f64() >= least, "{:?} for {} events", start.elapsed(), counts.events);
}
