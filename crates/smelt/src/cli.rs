//! The command line, as plain data.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// Retail events from Kafka and landing files to Bronze, Silver and Gold tables, and answers about them in SQL.
///
/// Results go to standard output, everything else to standard error. Exit codes: 0 fine; 1 failed; 2 wrong usage or
/// configuration; 3 a quality gate failed; 4 input not there yet.
#[derive(Debug, Parser)]
#[command(name = "smelt", version, propagate_version = true, arg_required_else_help = true, max_term_width = 100)]
#[command(after_help = "Start here:\n  smelt demo                       a simulated retail week, with answers\n  \
    smelt ingest --input pos_sales=exports/   your own files to Bronze\n  smelt refine                     Bronze to Silver and Gold\n  \
    smelt query --list               the questions that can be asked by name\n  smelt sql                        a prompt")]
pub struct Cli {
    /// What every command understands.
    #[command(flatten)]
    pub common: Common,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Flags of every command.
#[derive(Debug, Args)]
pub struct Common {
    /// Project folder: its `smelt.toml`, `models/` and `queries/` add to and override the built-in ones [default: here]
    #[arg(long, global = true, value_name = "DIR", help_heading = "Common options")]
    pub project: Option<PathBuf>,
    /// Where the tables are: a path, file:// or s3://bucket/prefix [default: the project's `lake`]
    #[arg(long, global = true, value_name = "URL", help_heading = "Common options")]
    pub lake: Option<String>,
    /// Any setting of smelt.toml, for example --set limits.memory=2GiB
    #[arg(long, global = true, value_name = "KEY=VALUE", help_heading = "Common options")]
    pub set: Vec<String>,
    /// How logs look on standard error
    #[arg(
        long,
        global = true,
        value_enum,
        default_value = "text",
        value_name = "FORMAT",
        help_heading = "Common options"
    )]
    pub log_format: LogFormat,
    /// More on standard error: -v what was done, -vv every step
    #[arg(short, long, global = true, action = clap::ArgAction::Count, help_heading = "Common options")]
    pub verbose: u8,
}

/// How logs look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// Lines for people.
    Text,
    /// One JSON object a line.
    Json,
}

/// The commands, one file each in `cmd/`.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Simulate a retail week, take it through Bronze, Silver and Gold, and print the answers
    Demo(DemoArgs),
    /// Make a project folder of your own
    Init(InitArgs),
    /// Take what is new in topics and landing files to Bronze
    Ingest(IngestArgs),
    /// Bring Silver and Gold up to date
    Refine(RefineArgs),
    /// Answer a question by name
    Query(QueryArgs),
    /// Run one SQL statement, or open a prompt
    Sql(SqlArgs),
    /// Records that were set aside: list them by reason, show them, mend and replay them
    Quarantine(QuarantineArgs),
    /// Tables, their versions, rows and files, and how far they are behind
    Status(StatusArgs),
    /// Compact, checkpoint and vacuum the tables
    Maintain(MaintainArgs),
    /// Make retail events from a seed, and the right answers to them
    Sim(SimArgs),
    /// Print a completion script for your shell
    Completions(CompletionsArgs),
}

/// `smelt demo`
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  smelt demo\n  smelt demo --dir /tmp/retail --rows 2000000 --seed 7")]
pub struct DemoArgs {
    /// The folder of the demo's lake; that of an earlier demo is made anew
    #[arg(long, default_value = "smelt-demo", value_name = "DIR")]
    pub dir: PathBuf,
    /// About how many events
    #[arg(long, default_value_t = 400_000, value_name = "N")]
    pub rows: u64,
    /// The seed that all of it comes from
    #[arg(long, default_value_t = 42, value_name = "N")]
    pub seed: u64,
}

/// `smelt init`
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  smelt init shop && cd shop && smelt ingest && smelt refine && smelt query kiosk_daily"
)]
pub struct InitArgs {
    /// The folder to make; it must not hold a project yet
    pub dir: PathBuf,
}

/// `smelt ingest`
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  smelt ingest                                        every stream that has a source\n  \
    smelt ingest --input pos_sales=exports/*.csv.gz     these files, under the contract pos_sales\n  \
    smelt ingest --stream invoices --follow             until stopped (Ctrl-C commits what it has)"
)]
pub struct IngestArgs {
    /// Only these streams
    #[arg(long = "stream", value_name = "STREAM")]
    pub streams: Vec<String>,
    /// Files for a stream: a file, folder, glob or URL
    #[arg(long = "input", value_name = "STREAM=PATH")]
    pub inputs: Vec<String>,
    /// Take what is there and end (the default)
    #[arg(long, conflicts_with = "follow")]
    pub once: bool,
    /// Go on until stopped
    #[arg(long)]
    pub follow: bool,
}

/// `smelt refine`
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  smelt refine\n  smelt refine --select gold.pos_monthly --full-refresh\n  \
    smelt refine --from 2024-01-01 --to 2024-01-31      compute these days again")]
pub struct RefineArgs {
    /// Only these models, for example silver.sales_lines
    #[arg(long = "select", value_name = "MODEL")]
    pub select: Vec<String>,
    /// Compute everything again from Bronze, and commit what differs
    #[arg(long)]
    pub full_refresh: bool,
    /// First day to compute again
    #[arg(long, value_name = "YYYY-MM-DD", requires = "to", conflicts_with = "full_refresh")]
    pub from: Option<chrono::NaiveDate>,
    /// Last day to compute again
    #[arg(long, value_name = "YYYY-MM-DD", requires = "from")]
    pub to: Option<chrono::NaiveDate>,
    /// Go on until stopped
    #[arg(long, conflicts_with_all = ["full_refresh", "from"])]
    pub follow: bool,
}

/// How results are printed.
#[derive(Debug, Args)]
pub struct OutputArgs {
    /// How the result is printed
    #[arg(long, value_enum, default_value = "table", value_name = "FORMAT")]
    pub format: OutputFormat,
    /// Write the result to this file instead of standard output
    #[arg(long, short, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

/// The output formats.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum OutputFormat {
    /// Aligned columns for people
    Table,
    /// Comma-separated values with a header
    Csv,
    /// One JSON array of objects
    Json,
    /// One JSON object a line
    Ndjson,
    /// A Parquet file
    Parquet,
    /// An Arrow IPC stream
    Arrow,
}

/// `smelt query`
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  smelt query --list\n  smelt query pos_monthly --format csv\n  smelt query pos_best_products --param top=5"
)]
pub struct QueryArgs {
    /// The question's name
    #[arg(required_unless_present = "list")]
    pub name: Option<String>,
    /// List the questions with their parameters
    #[arg(long, conflicts_with = "name")]
    pub list: bool,
    /// A parameter of the question
    #[arg(long = "param", value_name = "KEY=VALUE")]
    pub params: Vec<String>,
    /// The result's form.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// `smelt sql`
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  smelt sql \"SELECT count(*) FROM silver.sales_lines\"\n  smelt sql < report.sql\n  smelt sql        a prompt, \\? for help"
)]
pub struct SqlArgs {
    /// The statement; without it, a prompt, or standard input where that is not a terminal
    pub statement: Option<String>,
    /// The result's form.
    #[command(flatten)]
    pub output: OutputArgs,
}

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
    mended record is stored once, at the place where it came in; one that is still bad stays as it is.\n\n\
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

/// `smelt status`
#[derive(Debug, Args)]
#[command(long_about = "Tables, their versions, and how far they are behind: one row a table.\n\n\
    quarantined and open: records of Bronze that were set aside, and those not mended since; quarantine_rate: open ones of \
    all that were delivered. behind: upstream versions not yet consumed; waiting_s: how long the oldest rows in them have \
    waited. newest_event: the newest event that has reached the table. last_run_s and last_run_rows: the last ingest that \
    committed to it.")]
#[command(after_help = "Examples:\n  smelt status\n  smelt status --format json")]
pub struct StatusArgs {
    /// The result's form.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// `smelt maintain`
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  smelt maintain\n  smelt maintain --table silver.sales_lines")]
pub struct MaintainArgs {
    /// Only these tables
    #[arg(long = "table", value_name = "TABLE")]
    pub tables: Vec<String>,
}

/// `smelt sim`
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  smelt sim --to landing --rows 100000 --seed 7 --truth")]
pub struct SimArgs {
    /// The folder to write the streams' files to
    #[arg(long, value_name = "DIR")]
    pub to: PathBuf,
    /// Also write the right answers, one CSV a question, to the folder `truth` in it
    #[arg(long)]
    pub truth: bool,
    /// Only these streams: pos_sales, invoices or sales_transactions [default: pos_sales and invoices]
    #[arg(long = "stream", value_name = "STREAM")]
    pub streams: Vec<sim::Stream>,
    /// About how many events in all, before retries and corrections
    #[arg(long, default_value_t = 100_000, value_name = "N")]
    pub rows: u64,
    /// How many days the events spread over
    #[arg(long, default_value_t = 7, value_name = "N")]
    pub days: u32,
    /// Compress the files
    #[arg(long)]
    pub gzip: bool,
    /// The seed: the same one gives the same bytes
    #[arg(long, default_value_t = 42, value_name = "N")]
    pub seed: u64,
}

/// `smelt completions`
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  smelt completions bash > ~/.local/share/bash-completion/completions/smelt")]
pub struct CompletionsArgs {
    /// The shell
    pub shell: clap_complete::Shell,
}
