//! The arguments of `smelt sim`.

use std::path::PathBuf;

use ::sim::{Peak, Rows};
use chrono::NaiveDate;
use clap::Args;

/// `smelt sim`
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  smelt sim --to data --truth data/truth                       a little of everything\n  \
    smelt sim --to data --stream sales_events=5000000 --clean    one stream, without dirt\n  \
    smelt sim --to data --stream weekly=20000000 --days 365 --full-extract-days 0 --products 1000 --stores 50\n  \
    smelt sim --to data --stream sales_transactions --start 2024-11-25 --peak 2024-11-29=8 --rate 200\n  \
    smelt sim --to kafka --bootstrap localhost:9092 --rate 500   all streams, each to the topic of its contract"
)]
pub struct SimArgs {
    /// The folder to write the streams' files to, or `kafka`: the topics of their contracts
    ///
    /// To Kafka go the messages of the streams, each once and under its key; dimension files and landing sets are files and
    /// need a folder. The broker is that of --bootstrap or of `[kafka]` in smelt.toml. A topic that is not there is made if
    /// the broker makes topics by itself. Ctrl-C ends after what is under way. (A folder named kafka is ./kafka.)
    #[arg(long, value_name = "DIR|kafka", value_parser = destination)]
    pub to: Destination,
    /// With --to kafka: the brokers, instead of `bootstrap.servers` of `[kafka]` in smelt.toml
    #[arg(long, value_name = "HOST:PORT,...")]
    pub bootstrap: Option<String>,
    /// Also write the right answers to this folder, one CSV a question
    #[arg(long, value_name = "DIR")]
    pub truth: Option<PathBuf>,
    /// Only these streams, or `weekly` for the daily landing sets, with as many rows as said [default: all, evenly]
    #[arg(long = "stream", value_name = "STREAM[=ROWS]", value_parser = stream_rows)]
    pub streams: Vec<StreamRows>,
    /// About how many events in all for the streams without a number of their own, before retries and corrections
    #[arg(long, default_value_t = 100_000, value_name = "N")]
    pub rows: u64,
    /// The first day
    #[arg(long, value_name = "DATE", default_value = "2024-03-04")]
    pub start: NaiveDate,
    /// How many days the events spread over
    #[arg(long, default_value_t = 7, value_name = "N")]
    pub days: u32,
    /// A day that sells several times as much as others: a Black Friday [default factor: 6]
    #[arg(long, value_name = "DATE[=FACTOR]", value_parser = peak)]
    pub peak: Option<Peak>,
    #[command(flatten)]
    pub dirt: DirtArgs,
    #[command(flatten)]
    pub catalog: CatalogArgs,
    /// Each so many days, the landing sets' sales and stock files are full extracts; 0 for never
    #[arg(long, default_value_t = 7, value_name = "N")]
    pub full_extract_days: u32,
    /// At most so many messages a second, for a source that is live; a file gets its name when its day is over
    #[arg(long, value_name = "N")]
    pub rate: Option<u32>,
    /// Compress the files
    #[arg(long)]
    pub gzip: bool,
    /// The seed: the same one gives the same bytes
    #[arg(long, default_value_t = 42, value_name = "N")]
    pub seed: u64,
}

/// How dirty the events of `smelt sim` are: shares between 0 and 1
#[derive(Debug, Args)]
pub struct DirtArgs {
    /// No dirt at all, but for the shares that are given
    #[arg(long)]
    pub clean: bool,
    /// Share of messages that must be quarantined [default: 0.005]
    #[arg(long, value_name = "SHARE")]
    pub bad: Option<f64>,
    /// Share of facts that are sent again [default: 0.01]
    #[arg(long, value_name = "SHARE")]
    pub duplicate: Option<f64>,
    /// Share of facts that arrive minutes to days late [default: 0.02]
    #[arg(long, value_name = "SHARE")]
    pub late: Option<f64>,
    /// Share of facts that arrive up to a minute late [default: 0.02]
    #[arg(long, value_name = "SHARE")]
    pub out_of_order: Option<f64>,
    /// Share of facts that are corrected later [default: 0.005]
    #[arg(long, value_name = "SHARE")]
    pub corrected: Option<f64>,
    /// Share of messages with a field that no contract names [default: 0.01]
    #[arg(long, value_name = "SHARE")]
    pub unknown: Option<f64>,
}

/// How many things the shops of `smelt sim` have
#[derive(Debug, Args)]
pub struct CatalogArgs {
    /// Products of each shop but the till's; nearly each pair of store and product has a stock row a day
    #[arg(long, default_value_t = 200, value_name = "N")]
    pub products: u32,
    /// Stores of each chain
    #[arg(long, default_value_t = 20, value_name = "N")]
    pub stores: u32,
    /// Customers of the web shop
    #[arg(long, default_value_t = 20_000, value_name = "N")]
    pub customers: u32,
}

/// Where events go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Destination {
    /// To files in this folder.
    Folder(PathBuf),
    /// To the topics of the contracts.
    Kafka,
}

/// What `--stream` asks for.
#[derive(Debug, Clone)]
pub struct StreamRows {
    /// One of [`Rows::NAMES`].
    pub name: String,
    /// Its rows, if it has a number of its own.
    pub rows: Option<u64>,
}

fn destination(text: &str) -> Result<Destination, String> {
    match text {
        "kafka" => Ok(Destination::Kafka),
        "" => Err("expected a folder, or kafka".to_owned()),
        folder => Ok(Destination::Folder(PathBuf::from(folder))),
    }
}

fn stream_rows(text: &str) -> Result<StreamRows, String> {
    let (name, rows) = match text.split_once('=') {
        Some((name, rows)) => (name, Some(rows.parse().map_err(|e| format!("{rows:?} is no number of rows: {e}"))?)),
        None => (text, None),
    };
    Rows::default().set(name, 0).map_err(|error| error.to_string())?;
    Ok(StreamRows { name: name.to_owned(), rows })
}

fn peak(text: &str) -> Result<Peak, String> {
    let (day, factor) = text.split_once('=').unwrap_or((text, "6"));
    let day = day.parse().map_err(|e| format!("{day:?} is no day like 2024-11-29: {e}"))?;
    Ok(Peak { day, factor: factor.parse().map_err(|e| format!("{factor:?} is no factor: {e}"))? })
}
