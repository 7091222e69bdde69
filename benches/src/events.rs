//! The files of events that the loads read, made once and kept.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use chrono::NaiveDate;
use sim::{EventBatch, Rows, Shares, SimConfig, Simulation, Stream};

use crate::peers;

/// Folder of the files: they are large, and the same for every run.
fn folder() -> Result<PathBuf> {
    let home = std::env::var_os("HOME").context("HOME is not set")?;
    let folder = PathBuf::from(home).join(".cache/smelt/benches");
    fs::create_dir_all(&folder)?;
    Ok(folder)
}

/// A file that `make` writes unless it is there; it gets its name only when it is whole.
fn kept(name: &str, make: impl FnOnce(&Path) -> Result<()>) -> Result<PathBuf> {
    let path = folder()?.join(name);
    if !path.exists() {
        let part = folder()?.join(format!("{name}.part"));
        make(&part)?;
        fs::rename(&part, &path)?;
    }
    Ok(path)
}

/// `count` events of the peers' `make_events.py`.
pub fn sales(count: u64) -> Result<PathBuf> {
    kept(&format!("sales-{count}.ndjson"), |path| {
        let make = peers::shared("peers/make_events.py")?;
        let count = PathBuf::from(count.to_string());
        peers::script(&peers::needed("duckdb-batch")?, &make, &[path, &count]).map(|_| ())
    })
}

/// The same events, each with a field that no contract names, and one in a hundred bad.
pub fn dirty_sales(count: u64) -> Result<PathBuf> {
    kept(&format!("sales-{count}-dirty.ndjson"), |path| {
        let input = BufReader::with_capacity(1 << 20, File::open(sales(count)?)?);
        let mut output = BufWriter::with_capacity(1 << 20, File::create(path)?);
        for (index, line) in input.lines().enumerate() {
            output.write_all(soil(&line?, index).as_bytes())?;
        }
        Ok(output.flush()?)
    })
}

/// One line with its unknown field; every hundredth is spoiled, in five ways by turns.
fn soil(line: &str, index: usize) -> String {
    let open = line.trim_end_matches('}');
    match index % 500 {
        0 => format!("{open},\"till\":\"T07\"\n"),
        100 => format!("{open},\"till\":\"T07\",\"quantity\":3}}\n"),
        200 => format!("{},\"till\":\"T07\"}}\n", open.replace("\"quantity\":", "\"quantity\":-")),
        300 => format!("{},\"till\":\"T07\"}}\n", open.replace("\"unit_price\":", "\"unit_price\":\"\",\"x\":")),
        400 => format!("{},\"till\":\"T07\"}}\n", open.replace("\"store_id\"", "\"store\"")),
        _ => format!("{open},\"till\":\"T07\"}}\n"),
    }
}

/// Sales of the simulator over some days, evenly, in one file in order of time; each seed has its own transactions.
pub fn simulated(seed: u64, start: NaiveDate, days: u32, rows: u64, path: &Path) -> Result<()> {
    let mut output = BufWriter::with_capacity(1 << 20, File::options().create(true).append(true).open(path)?);
    let rows = Rows { sales_transactions: rows, ..Rows::default() };
    let simulation =
        Simulation::new(SimConfig { seed, start, days, rows, shares: Shares::clean(), ..SimConfig::default() })?;
    let mut events = simulation.events(Stream::SalesTransactions);
    let mut batch = EventBatch::default();
    while events.next_into(&mut batch) {
        for entry in &batch.entries {
            output.write_all(batch.payload(entry))?;
            output.write_all(b"\n")?;
        }
        batch.clear();
    }
    Ok(output.flush()?)
}
