//! `smelt quarantine`

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::OutputArgs;

/// `smelt quarantine`
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  smelt quarantine list                                   which reasons, how often, still open or mended\n  \
    smelt quarantine show --stream pos_sales --reason Quantity\n  \
    smelt quarantine replay --stream pos_sales              what a changed contract would let in; --yes stores it"
)]
pub struct QuarantineArgs {
    /// What to do with them.
    #[command(subcommand)]
    pub command: QuarantineCommand,
}

/// The commands of `smelt quarantine`.
#[derive(Debug, Subcommand)]
pub enum QuarantineCommand {
    /// Count the records by stream and reason: open and mended, first and last arrival
    List(QuarantineListArgs),
    /// Show the records: where each came from, why it was set aside, its text
    Show(QuarantineShowArgs),
    /// Take open records through their contract again, as they came or mended, and store the good ones
    Replay(QuarantineReplayArgs),
}

/// Which records of quarantine are meant.
#[derive(Debug, Args)]
pub struct QuarantineSelectArgs {
    /// Only these streams
    #[arg(long = "stream", value_name = "STREAM")]
    pub streams: Vec<String>,
    /// Only records whose reason holds this text; with a % in it, is LIKE this
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
    /// Only records that arrived then or later: YYYY-MM-DD, or a time (UTC unless it says otherwise)
    #[arg(long, value_name = "TIME")]
    pub from: Option<Moment>,
    /// Only records that arrived then or earlier; a day counts to its end
    #[arg(long, value_name = "TIME")]
    pub to: Option<Moment>,
}

/// `smelt quarantine list`
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  smelt quarantine list\n  smelt quarantine list --stream pos_sales --by-day --from 2024-01-01"
)]
pub struct QuarantineListArgs {
    /// Which records.
    #[command(flatten)]
    pub select: QuarantineSelectArgs,
    /// A line for each day of arrival
    #[arg(long)]
    pub by_day: bool,
    /// The result's form.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// `smelt quarantine show`
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  smelt quarantine show --stream pos_sales --limit 20\n  \
    smelt quarantine show --reason \"blank row\" --format ndjson --output bad.ndjson     to be edited, see replay --file")]
pub struct QuarantineShowArgs {
    /// Which records.
    #[command(flatten)]
    pub select: QuarantineSelectArgs,
    /// At most so many, those that arrived first
    #[arg(long, value_name = "N")]
    pub limit: Option<usize>,
    /// Also those that are mended
    #[arg(long)]
    pub all: bool,
    /// The result's form.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// `smelt quarantine replay`
#[derive(Debug, Args)]
#[command(
    long_about = "Take open records through their contract again, as they came or mended, and store the good ones.\n\n\
    Without --yes nothing is changed: what would become of the records is said, by outcome and reason, with an example. A \
    mended record is stored once, at the place where it came in, and is not mended again: what was mended wrongly is \
    corrected by a record of the same entity. One that is still bad stays as it is.\n\n\
    Three ways to mend: change the contract (another name, another rule) and replay the records as they came; give \
    expressions (--mend); or edit what `quarantine show --format ndjson` printed and give it back (--file).\n\n\
    An expression sees each field of the contract (null where it is absent or does not fit), _wire['field'] (the value's \
    text as it came), _raw (the record's text, null if it is not UTF-8), _raw_latin1 (its bytes read as ISO 8859-1), \
    _error, _source, _partition, _offset, _arrived_at and _header. The value of a field is written into the record, the \
    rest of which stays, and is read by the contract as any other."
)]
#[command(
    after_help = "Examples:\n  smelt quarantine replay --stream pos_sales --yes                     after its contract was changed\n  \
    smelt quarantine replay --stream pos_sales --mend \"quantity=abs(quantity)\" --reason quantity\n  \
    smelt quarantine replay --stream pos_sales --mend \"_raw=replace(_raw, ';', ',')\"\n  \
    smelt quarantine show --format ndjson --output bad.ndjson && vi bad.ndjson && smelt quarantine replay --file bad.ndjson --yes"
)]
pub struct QuarantineReplayArgs {
    /// Which of the open records.
    #[command(flatten)]
    pub select: QuarantineSelectArgs,
    /// At most so many of each stream, those that arrived first
    #[arg(long, value_name = "N")]
    pub limit: Option<usize>,
    /// What a field, or the whole record (_raw), is to be: a SQL expression over the record
    #[arg(long = "mend", value_name = "COLUMN=SQL")]
    pub mends: Vec<String>,
    /// Records as `quarantine show --format ndjson` prints them, with `raw` (or `header`) edited
    #[arg(long, value_name = "FILE", conflicts_with_all = ["streams", "reason", "from", "to", "limit", "mends"])]
    pub file: Option<PathBuf>,
    /// Store the good ones
    #[arg(long)]
    pub yes: bool,
    /// Only say what would be done (the default)
    #[arg(long, conflicts_with = "yes")]
    pub dry_run: bool,
    /// The result's form.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// A day, or an instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// A calendar day in UTC.
    Day(chrono::NaiveDate),
    /// An instant.
    Instant(chrono::DateTime<chrono::Utc>),
}

impl Moment {
    /// The first instant of it.
    pub fn start(self) -> chrono::DateTime<chrono::Utc> {
        match self {
            Moment::Day(day) => day.and_time(chrono::NaiveTime::MIN).and_utc(),
            Moment::Instant(at) => at,
        }
    }

    /// The first instant after it, to the microsecond.
    pub fn end(self) -> chrono::DateTime<chrono::Utc> {
        match self {
            Moment::Day(_) => self.start() + chrono::Duration::days(1),
            Moment::Instant(at) => at + chrono::Duration::microseconds(1),
        }
    }
}

impl std::str::FromStr for Moment {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(day) = text.parse() {
            return Ok(Moment::Day(day));
        }
        if let Ok(at) = chrono::DateTime::parse_from_rfc3339(text) {
            return Ok(Moment::Instant(at.to_utc()));
        }
        let forms = ["%Y-%m-%d %H:%M", "%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M:%S%.f"];
        let read = forms.iter().find_map(|form| chrono::NaiveDateTime::parse_from_str(text, form).ok());
        read.map(|at| Moment::Instant(at.and_utc()))
            .ok_or_else(|| "expected 2024-01-31, 2024-01-31 08:30:00 (UTC) or 2024-01-31T08:30:00+01:00".to_owned())
    }
}
