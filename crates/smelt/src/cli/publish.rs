//! `smelt publish`

use clap::{Args, ValueEnum};

/// `smelt publish`
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  smelt publish kpi_minute --to /srv/kpi\n  smelt publish gold.kpi_minute_country --to s3://bucket/kpi --format csv\n\n\
    Files are <figure>/<window column>=<start of the window>/<revision>.<json|csv|parquet>, one JSON object a row. A window is put once \
    it is complete; when it changes later, as the next revision. Running it again puts nothing twice."
)]
pub struct PublishArgs {
    /// The table; its model's header says what is published
    #[arg(value_name = "TABLE")]
    pub table: String,
    /// The folder or bucket: a path, file:// or s3://bucket/prefix
    #[arg(long, value_name = "URL")]
    pub to: String,
    /// The files' form
    #[arg(long, value_enum, default_value = "json", value_name = "FORMAT")]
    pub format: FileFormat,
}

/// The formats of published files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum FileFormat {
    /// One JSON object a row
    Json,
    /// Comma-separated values with a header
    Csv,
    /// Parquet
    Parquet,
}
