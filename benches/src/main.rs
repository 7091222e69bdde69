//! The runner of the end-to-end measurements: each subcommand is one load, measured in alternating runs, compared with
//! its bar, and kept with machine, commit and settings under `benches/results/`.
//!
//! `cargo build --release -p smelt -p benches && target/release/benches ingest`

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a report on standard output is what the program is for")]

mod bench;
mod broker;
mod child;
mod duckdb;
mod events;
mod lake_log;
mod live;
mod machine;
mod peers;
mod report;
mod till;
mod usage;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Args, Parser, Subcommand};

/// That of `smelt`, for what is measured in this process.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Measures Smelt and its peers.
#[derive(Debug, Parser)]
#[command(name = "benches", version)]
struct Cli {
    #[command(flatten)]
    settings: Settings,
    #[command(subcommand)]
    bench: Bench,
}

/// What all loads share.
#[derive(Debug, Args)]
struct Settings {
    /// The release binary to measure [default: `smelt` beside this one]
    #[arg(long, global = true, value_name = "FILE")]
    smelt: Option<PathBuf>,
    /// Folder for lakes, made anew for each run; on the disk that is to be measured
    #[arg(long, global = true, value_name = "DIR", default_value = "/tmp/smelt-benches")]
    work: PathBuf,
    /// How often each variant is run; variants take turns, and the median counts
    #[arg(long, global = true, default_value_t = 5, value_name = "N")]
    pairs: usize,
    /// Print only, keep no result
    #[arg(long, global = true)]
    dry_run: bool,
}

/// The loads.
#[derive(Debug, Subcommand)]
enum Bench {
    /// Sales events from a file to committed Bronze: CPU time an event, peak memory
    Ingest {
        /// Number of events
        #[arg(long, default_value_t = 5_000_000)]
        events: u64,
    },
    /// The whole batch job against DuckDB's, with the same outputs
    Batch {
        /// Number of events
        #[arg(long, default_value_t = 5_000_000)]
        events: u64,
        /// Polars and Spark too, three times each at most
        #[arg(long)]
        peers: bool,
    },
    /// Thousands of small commits to one table: the last must cost what the first did
    Commits {
        /// Number of commits
        #[arg(long, default_value_t = 5_000)]
        commits: usize,
        /// Rows of each
        #[arg(long, default_value_t = 200)]
        rows: usize,
    },
    /// New events into lakes of different ages: the cost must follow the change
    Change {
        /// Rows a day of the lakes
        #[arg(long, default_value_t = 100_000)]
        rows_per_day: u64,
        /// Days of the old lake; the young one has a tenth
        #[arg(long, default_value_t = 200)]
        days: u32,
        /// New events
        #[arg(long, default_value_t = 100_000)]
        events: u64,
    },
    /// New events, 1 % of any day, into tables by day whose keys do not say the day: the cost must follow the change
    Moves {
        /// Rows of the large lake; the small one has a tenth
        #[arg(long, default_value_t = 50_000_000)]
        rows: u64,
        /// Days of both
        #[arg(long, default_value_t = 730)]
        days: u32,
        /// New events
        #[arg(long, default_value_t = 100_000)]
        events: u64,
    },
    /// Corrections of sales from everywhere in such a table
    Corrections {
        /// Rows of the large lake; the small one has a tenth
        #[arg(long, default_value_t = 20_000_000)]
        rows: u64,
        /// Days of both; a third lake has a tenth of rows and days
        #[arg(long, default_value_t = 730)]
        days: u32,
        /// Corrections
        #[arg(long, default_value_t = 1_000)]
        count: u64,
    },
    /// All rows of such a table once more: no file changes
    Resend {
        /// Rows
        #[arg(long, default_value_t = 5_000_000)]
        rows: u64,
        /// Days
        #[arg(long, default_value_t = 50)]
        days: u32,
    },
    /// The weekly store and product fact of a year against DuckDB's, and the set of one more day
    Weekly {
        /// Lines of sales
        #[arg(long, default_value_t = 20_000_000)]
        rows: u64,
        /// Days before the one more
        #[arg(long, default_value_t = 365)]
        days: u32,
        /// Stores
        #[arg(long, default_value_t = 50)]
        stores: u32,
        /// Products
        #[arg(long, default_value_t = 1_000)]
        products: u32,
    },
    /// Every named query through one session against DuckDB, on the lake of `weekly` with the other systems beside it
    Questions {
        /// Events of the other systems
        #[arg(long, default_value_t = 4_000_000)]
        rows: u64,
        /// Runs of each query
        #[arg(long, default_value_t = 20)]
        runs: usize,
        /// Only these
        #[arg(long = "query", value_name = "QUERY")]
        queries: Vec<String>,
    },
    /// Many small landing files: a second ingest finds nothing new, quickly
    SmallFiles {
        /// Number of files
        #[arg(long, default_value_t = 100_000)]
        files: u32,
    },
    /// From a cold process to the first answer
    Start {
        /// Number of runs
        #[arg(long, default_value_t = 20)]
        runs: usize,
    },
    /// The demo, twice
    Demo,
    /// From a real broker to a committed table, Smelt and its peers on the same topic
    Kafka {
        /// Number of events
        #[arg(long, default_value_t = 5_000_000)]
        events: u64,
        /// Partitions of the topic
        #[arg(long, default_value_t = 8)]
        partitions: i32,
        /// Only these
        #[arg(long = "engine", value_name = "ENGINE")]
        engines: Vec<bench::kafka::Engine>,
    },
    /// From an event to the release that has it, while `ingest --follow` and `refine --follow` run
    Freshness {
        /// Messages a second
        #[arg(long, default_value_t = 20_000)]
        rate: u64,
        /// For so many seconds
        #[arg(long, default_value_t = 600)]
        seconds: u64,
        /// The share of messages that are sales which were sent before
        #[arg(long, default_value_t = 0.01)]
        repeats: f64,
        /// Partitions of the topic
        #[arg(long, default_value_t = 8)]
        partitions: i32,
        /// The lake is on a MinIO of this machine, and not in the work folder
        #[arg(long)]
        minio: bool,
        /// A setting of Smelt that is not the default
        #[arg(long, value_name = "KEY=VALUE")]
        set: Vec<String>,
    },
    /// A reader that was away while events came, against one that reads from scratch
    CatchUp {
        /// Events that come while it is away
        #[arg(long, default_value_t = 5_000_000)]
        events: u64,
        /// Partitions of the topic
        #[arg(long, default_value_t = 8)]
        partitions: i32,
    },
    /// One reader, and three that share its topic
    ScaleOut {
        /// Number of events
        #[arg(long, default_value_t = 5_000_000)]
        events: u64,
        /// Partitions of the topic
        #[arg(long, default_value_t = 9)]
        partitions: i32,
    },
    /// Send the lines of a file to a topic: what the loads on a broker begin with
    #[command(hide = true)]
    Load {
        /// The brokers
        servers: String,
        /// The topic
        topic: String,
        /// Its partitions
        partitions: i32,
        /// The file
        file: PathBuf,
    },
    /// Count the messages of a topic and do nothing else: the ceiling that `kafka` measures
    #[command(hide = true)]
    Count {
        /// The brokers
        servers: String,
        /// The topic
        topic: String,
    },
    /// What other engines read from a lake, against what the store reads
    Interop {
        /// The lake's folder
        lake: PathBuf,
    },
}

fn main() -> ExitCode {
    match run(Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(Cli { settings, bench }: Cli) -> Result<()> {
    match bench {
        Bench::Ingest { events } => bench::ingest::run(&settings, events),
        Bench::Batch { events, peers } => bench::batch::run(&settings, events, peers),
        Bench::Commits { commits, rows } => bench::commits::run(&settings, commits, rows),
        Bench::Change { rows_per_day, days, events } => bench::change::run(&settings, rows_per_day, days, events),
        Bench::Moves { rows, days, events } => bench::moves::moves(&settings, rows, days, events),
        Bench::Corrections { rows, days, count } => bench::moves::corrections(&settings, rows, days, count),
        Bench::Resend { rows, days } => bench::moves::resend(&settings, rows, days),
        Bench::Weekly { rows, days, stores, products } => {
            bench::weekly::run(&settings, bench::weekly::Size { rows, days, stores, products })
        }
        Bench::Questions { rows, runs, queries } => bench::questions::run(&settings, rows, runs, &queries),
        Bench::SmallFiles { files } => bench::small_files::run(&settings, files),
        Bench::Start { runs } => bench::start::run(&settings, runs),
        Bench::Kafka { events, partitions, engines } => bench::kafka::run(&settings, events, partitions, &engines),
        Bench::Freshness { rate, seconds, repeats, partitions, minio, set } => {
            let load = bench::freshness::Load { rate, seconds, repeats, partitions, minio, set };
            bench::freshness::run(&settings, &load)
        }
        Bench::CatchUp { events, partitions } => bench::catch_up::run(&settings, events, partitions),
        Bench::ScaleOut { events, partitions } => bench::scale_out::run(&settings, events, partitions),
        Bench::Load { servers, topic, partitions, file } => {
            println!("{}", broker::send_lines(&servers, &topic, partitions, &file)?);
            Ok(())
        }
        Bench::Count { servers, topic } => {
            println!("{} messages", broker::count(&servers, &topic)?);
            Ok(())
        }
        Bench::Demo => bench::demo::run(&settings),
        Bench::Interop { lake } => bench::interop::run(&lake),
    }
}
