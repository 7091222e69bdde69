//! `smelt sim`: retail events from a seed, as landing files, and the right answers to them.

use std::process::ExitCode;

use anyhow::Result;
use sim::{Catalog, FolderOptions, RateShape, Rows, Shares, SimConfig, SimError, Simulation, Weekly};

use crate::cli::{DirtArgs, SimArgs};
use crate::progress::{grouped, say};

/// Writes the files and says what is in them.
///
/// # Errors
/// Settings that cannot be followed, and I/O errors with the path.
pub fn run(args: SimArgs) -> Result<ExitCode> {
    let simulation = Simulation::new(config(&args)?)?;
    let options = FolderOptions { gzip: args.gzip, truth: args.truth, rate: args.rate };
    let truth = sim::write_folder(&simulation, &args.to, &options)?;
    for (name, counts) in &truth.counts {
        say(&format!(
            "{name}: {} events: {} facts, {} bad",
            grouped(counts.events),
            grouped(counts.facts),
            grouped(counts.quarantined)
        ));
    }
    Ok(ExitCode::SUCCESS)
}

fn config(args: &SimArgs) -> Result<SimConfig, SimError> {
    let catalog = &args.catalog;
    Ok(SimConfig {
        seed: args.seed,
        start: args.start,
        days: args.days,
        rows: rows(args)?,
        shares: shares(&args.dirt),
        shape: RateShape { peak: args.peak.clone(), ..RateShape::default() },
        catalog: Catalog { products: catalog.products, stores: catalog.stores, customers: catalog.customers },
        weekly: Weekly { full_extract_days: args.full_extract_days, ..Weekly::default() },
        ..SimConfig::default()
    })
}

/// The rows of each stream: its own number, or an even share of `--rows`.
fn rows(args: &SimArgs) -> Result<Rows, SimError> {
    if args.streams.is_empty() {
        return Rows::even(args.rows, &Rows::NAMES);
    }
    let shared: Vec<&str> =
        args.streams.iter().filter(|stream| stream.rows.is_none()).map(|stream| stream.name.as_str()).collect();
    let mut rows = Rows::even(args.rows, &shared)?;
    for stream in &args.streams {
        if let Some(own) = stream.rows {
            rows.set(&stream.name, own)?;
        }
    }
    Ok(rows)
}

fn shares(args: &DirtArgs) -> Shares {
    let base = if args.clean { Shares::clean() } else { Shares::default() };
    Shares {
        bad: args.bad.unwrap_or(base.bad),
        duplicate: args.duplicate.unwrap_or(base.duplicate),
        late: args.late.unwrap_or(base.late),
        out_of_order: args.out_of_order.unwrap_or(base.out_of_order),
        corrected: args.corrected.unwrap_or(base.corrected),
        unknown: args.unknown.unwrap_or(base.unknown),
    }
}
