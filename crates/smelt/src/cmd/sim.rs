//! `smelt sim`: retail events from a seed, as landing files, and the right answers to them.

use std::process::ExitCode;

use anyhow::Result;
use sim::{FolderOptions, Rows, SimConfig, Simulation, Stream};

use crate::cli::SimArgs;
use crate::progress::{grouped, say};

/// Writes the files and says what is in them.
///
/// # Errors
/// Settings that cannot be followed, and I/O errors with the path.
pub fn run(args: SimArgs) -> Result<ExitCode> {
    let streams = if args.streams.is_empty() { vec![Stream::PosSales, Stream::Invoices] } else { args.streams };
    let config =
        SimConfig { seed: args.seed, days: args.days, rows: share_out(args.rows, &streams), ..SimConfig::default() };
    let simulation = Simulation::new(config)?;
    let truth = sim::write_folder(&simulation, &args.to, FolderOptions { gzip: args.gzip, truth: args.truth })?;
    for (stream, counts) in &truth.counts {
        say(&format!(
            "{stream}: {} events: {} facts, {} bad",
            grouped(counts.events),
            grouped(counts.facts),
            grouped(counts.quarantined)
        ));
    }
    Ok(ExitCode::SUCCESS)
}

/// Deals `rows` out to the streams evenly.
pub fn share_out(rows: u64, streams: &[Stream]) -> Rows {
    let each = |stream: Stream| if streams.contains(&stream) { rows / streams.len() as u64 } else { 0 };
    Rows {
        pos_sales: each(Stream::PosSales),
        invoices: each(Stream::Invoices),
        sales_transactions: each(Stream::SalesTransactions),
    }
}
